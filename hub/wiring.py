"""The only place that joins concrete parts: which store, which bus, which connectors, which doors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from hub import log as hublog
from hub import registry
from hub.audit.seal import PUBLIC, Heads, Signer, heads_after, seal
from hub.bus.log import Log
from hub.bus.logfile import is_used
from hub.bus.port import TOPICS, Bus
from hub.clock import Clock, SystemClock
from hub.errors import HubError, IntegrityError, SettingsError
from hub.pipe.alarms import note_started
from hub.pipe.archiving import Archiving, verified
from hub.pipe.heads import HeadFile, HeadTopic, OutsideHead, open_head
from hub.pipe.tokens import TOKEN, StoredToken
from hub.pipe.world import World
from hub.project.load import load_project
from hub.project.opening import open_project
from hub.project.references import resolve, secret_names
from hub.project.values import Connection, Project
from hub.sdk.connector import Connector, Toolbox
from hub.sdk.http import HttpClient
from hub.sdk.secret import Redactor, Secret
from hub.store.engine import Store, Tx
from hub.store.epoch import Head, Stop, judge, stop_writes
from hub.store.secrets import bind_vault, get_secret, is_bound
from hub.tracing import Tracer, open_tracer
from hub.vault import Vault

if TYPE_CHECKING:
    from hub.sdk.spec import ConnectorSpec
    from hub.settings import Settings

__all__ = [
    "HEADS",
    "PUBLIC_KEY",
    "Hub",
    "archiving",
    "connect",
    "holder_name",
    "is_gone",
    "open_bus",
    "open_hub",
    "seal_heads",
    "sealer",
    "tell_drafts",
]

T = TypeVar("T")

GOODBYE = 2.0
"""Seconds that connectors have in all to end their sessions when the process ends."""

PUBLIC_KEY, HEADS = PUBLIC, "seals.log"
"""Files in the data folder: the key that checks seals, and the heads handed out of the store."""

LARGEST_ANSWER = 16 << 20
"""Bytes of one answer that a connector may get (a page of 2,000 records)."""


@dataclass
class Hub:
    """Everything one process opened. Close it with :meth:`aclose`.

    ``down``: connection -> why it did not start. ``listening``: listener (hooks, ops) -> its URL, once it is served.
    """

    settings: Settings
    clock: Clock
    store: Store
    vault: Vault
    project: Project
    world: World
    connectors: dict[str, Connector] = field(default_factory=dict)
    clients: list[HttpClient] = field(default_factory=list)
    down: dict[str, SettingsError] = field(default_factory=dict)
    listening: dict[str, str] = field(default_factory=dict)
    _bus: Bus | None = None

    @property
    def bus(self) -> Bus:
        """The bus, opened at first use (a command that only looks opens none)."""
        if self._bus is None:
            self._bus = open_bus(self.settings, self.clock)
        return self._bus

    async def disconnect(self) -> None:
        """Let go of what belongs to the event loop that runs: connectors and their clients."""
        for connector in self.connectors.values():
            await connector.close()
        for client in self.clients:
            await client.close()
        self.connectors.clear()
        self.clients.clear()

    async def aclose(self) -> None:
        """Let go of everything, in the reverse order; vendors are told good-bye for :data:`GOODBYE` seconds in all."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await asyncio.gather(*map(_goodbye, self.connectors.values()))
        for client in self.clients:
            await client.close()
        if self.world.tracer is not None:
            await asyncio.to_thread(self.world.tracer.close)
        if self._bus is not None:
            await self._bus.aclose()
        await self.store.aclose()

    def close(self) -> None:
        """Let go of everything, from a synchronous caller."""
        asyncio.run(self.aclose())


async def _goodbye(connector: Connector) -> None:
    with contextlib.suppress(HubError):
        await connector.close()


def open_bus(settings: Settings, clock: Clock) -> Bus:
    """Open the bus of an installation: for the hub, and for whoever subscribes to ``hub.changes``.

    Raises:
        SettingsError: it cannot be used, or not durably.
    """
    if settings.kafka_bootstrap is None:
        return Log.open(settings.data_dir / "bus.db", clock)
    from hub.bus.kafka import Kafka  # noqa: PLC0415 - a client of 50 ms and 10 MB that the embedded hub never needs
    from hub.bus.kafka_client import KafkaAddress  # noqa: PLC0415 - as above

    password = settings.kafka_sasl_password
    address = KafkaAddress(
        settings.kafka_bootstrap,
        protocol=settings.kafka_security_protocol,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_sasl_username,
        password=None if password is None else password.get_secret_value(),
        ca_file=settings.kafka_ca_file,
        single_broker=settings.kafka_single_broker,
    )
    topics = {
        name: topic if topic.partitions == 1 else replace(topic, partitions=settings.kafka_partitions)
        for name, topic in TOPICS.items()
    }
    return Kafka.open(address, clock, topics=topics, prefix=settings.kafka_topic_prefix)


def holder_name() -> str:
    """Return the name under which this process holds leases."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(holder: str) -> bool:
    """Say whether the process behind a holder's name surely ended: it was one of this host, and there is none.

    To be asked of those alone who share this machine, as all do that share the file of an embedded store.
    """
    host, _, number = holder.rpartition(":")
    if os.name != "posix" or host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it lives, and is somebody else's
    return False


def open_hub(settings: Settings, *, clock: Clock | None = None, start: bool = False) -> Hub:
    """Open store, vault and project.

    ``start``: this process will work: what nobody published yet becomes a revision, and connectors are built.

    Raises:
        SettingsError: what an operator must change, with file, line and field where there is one.
    """
    clock = clock or SystemClock()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    specs = registry.specs()
    if settings.store_url is None and not (settings.data_dir / "hub.db").exists():
        load_project(settings.project_dir, specs)  # one that is not valid begins no store
    _refuse_lost_key(settings)
    _refuse_lost_store(settings)
    if settings.store_url is None:
        Vault.open(settings.key_path, clock)  # before the store: one without a key file has lost it
    store = Store.open(settings.store_address, clock)
    bus = None
    try:
        if not settings.key_path.exists() and store.read_now(is_bound):
            raise _lost_key(settings)
        vault = Vault.open(settings.key_path, clock)
        store.run_now(bind_vault, vault)
        if start:
            bus = open_bus(settings, clock) if settings.kafka_bootstrap else None
            store = _checked(settings, store, bus, clock)
        project = open_project(store, settings.project_dir, specs, start=start)
        used = {
            name: specs[one.connector].bought(one.settings)
            for name, one in project.connections.items()
            if one.connector in specs
        }
        tracer = _tracer() if start else None
        world = World(project, used, vault, store.epoch, tracer=tracer, public_url=settings.public_url)
        hub = Hub(settings, clock, store, vault, project, world, _bus=bus)
        if start:
            tell_drafts(project)
            _connect(hub, used)
    except BaseException:
        store.close()
        if bus is not None:
            _now(bus.aclose())
        raise
    return hub


def tell_drafts(project: Project) -> None:
    """Say in the log what lies in the folder and is not in force, and the other way round."""
    log = hublog.get_logger("project")
    for kind, name in project.drafts:
        log.warning("project.draft", kind=kind, name=name, next=f"hub mapping publish {name}")
    for kind, name in project.absent:
        log.warning("project.no_file", kind=kind, name=name, in_force=project.revisions.get((kind, name)))


def seal_heads(settings: Settings, bus: Bus | None) -> OutsideHead:
    """Return where the newest seal is kept outside the store; ``bus``: Kafka, None for the embedded engine."""
    return HeadFile(settings.head_path) if bus is None or settings.kafka_bootstrap is None else HeadTopic(bus)


def _checked(settings: Settings, store: Store, bus: Bus | None, clock: Clock) -> Store:
    """Compare the store with the head kept outside; one that is not what worked here last gets stopped writes.

    Returns the store, opened anew if it got a new epoch: nobody else goes on with it either.
    """
    heads = seal_heads(settings, bus)
    outside = _now(heads.last())
    why = store.read_now(_judged, outside)
    if why is None:
        head = store.read_now(open_head)
        if outside is None and head is not None:  # a first start: a copy made from now on is known
            _now(heads.put(head))
        return store
    log = hublog.get_logger("store")
    log.error("writes.stopped", why=why.value, text=why.en, next="hub writes")
    known = None if outside is None else {"head_at": outside.at, "head_acts": outside.seq}
    with contextlib.suppress(IntegrityError):  # another process was quicker
        store.run_now(stop_writes, why, by="start", known=known)
    store.close()
    return Store.open(settings.store_address, clock)


def _judged(tx: Tx, outside: Head | None) -> Stop | None:
    return judge(tx, outside) if tx.writes_open else None


def _now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, from a synchronous caller, whether or not an event loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _refuse_lost_key(settings: Settings) -> None:
    """A store without its key file must not get a new one: it would open nothing and hide the loss."""
    if (
        settings.store_url is None
        and (settings.data_dir / "hub.db").exists()
        and not settings.key_path.exists()
    ):
        raise _lost_key(settings)


def _lost_key(settings: Settings) -> SettingsError:
    return SettingsError(
        "the store is there but its key file is not: bring it here from where you keep it (another host of this hub has "
        "it too), a new one opens nothing",
        file=str(settings.key_path),
    )


def _refuse_lost_store(settings: Settings) -> None:
    """What is left of a store must not get a new one beside it: that would take the bus from 0 and know nothing."""
    if settings.store_url is not None or (settings.data_dir / "hub.db").exists():
        return
    heads, bus = settings.data_dir / HEADS, settings.data_dir / "bus.db"
    left = heads if heads.exists() and heads.stat().st_size else bus if is_used(bus) else None
    if left is not None:
        raise SettingsError(
            f"the store is not there, but {left.name} beside it is: put hub.db back, or a backup of it (hub restore); "
            "to begin anew, move the whole folder away",
            file=str(settings.data_dir / "hub.db"),
        )


def _tracer() -> Tracer | None:
    """Return where spans go, if the environment says so."""
    try:
        return open_tracer(os.environ)
    except ImportError as error:
        hublog.get_logger("tracing").warning(
            "tracing.not_installed", missing=error.name, next="pip install 'integration-hub[otel]'"
        )
        return None


def connect(hub: Hub, name: str) -> Connector:
    """Build the connector of one connection.

    Raises:
        SettingsError: unknown connection, a secret that is not set, a setting that does not fit.
    """
    found = hub.project.connections.get(name)
    if found is None:
        raise SettingsError(f"no connection {name}; there are: {', '.join(sorted(hub.project.connections))}")
    spec = hub.world.specs.get(name)
    if spec is None:
        raise SettingsError(f"{name} is a system that calls our API: there is nothing to connect to")
    connector = _build(hub, found, spec)
    hub.connectors[name] = connector
    return connector


def _connect(hub: Hub, specs: Mapping[str, ConnectorSpec]) -> None:
    """Build every connector; one that cannot start stays down with its reason, the others go on."""
    for name in specs:
        try:
            connect(hub, name)
        except SettingsError as error:
            hub.down[name] = error
    why = {name: str(error) for name, error in hub.down.items()}
    hub.store.run_now(note_started, holder_name(), list(hub.connectors), why)
    settle = {
        (name, object_): connector.settle_after(object_)
        for name, connector in hub.connectors.items()
        for object_ in connector.spec.objects
    }
    hub.world = replace(hub.world, settle_after=settle)


def _build(hub: Hub, connection: Connection, spec: ConnectorSpec) -> Connector:
    stored = hub.store.read_now(_stored_secrets, hub.vault, secret_names(connection))
    values = resolve(connection, spec, secret=stored.get, env=os.environ)
    secrets = [value for value in values.values() if isinstance(value, Secret)]
    hublog.mask_with(Redactor(secrets))
    rules = replace(connection.outbound, timeout=60.0, max_bytes=LARGEST_ANSWER)
    metrics = hub.world.metrics
    observe = functools.partial(metrics.request, connection.connector)
    client = HttpClient(rules, clock=hub.clock, secrets=secrets, observe=observe)
    hub.clients.append(client)
    shown = "\0".join(value.reveal() for value in secrets)  # another credential has another token
    name = f"{TOKEN}{connection.name}:{hub.vault.digest(shown.encode()).hex()}"
    token = StoredToken(hub.store, hub.vault, hub.clock, holder_name(), name, connection.name, metrics)
    tools = Toolbox(client, hub.clock, hublog.get_logger(f"connector.{connection.name}"), token)
    return registry.connector(connection.connector)(values, tools)


def _stored_secrets(tx: Tx, vault: Vault, names: Sequence[str]) -> dict[str, str]:
    found = {name: get_secret(tx, vault, name) for name in names}
    return {name: secret.value.decode() for name, secret in found.items() if secret is not None}


def archiving(hub: Hub) -> Archiving | None:
    """Return what has old acts leave the store, None where they stay."""
    days = hub.settings.audit_keep_days
    if days is None:
        return None
    check = verified(hub.settings.data_dir / PUBLIC_KEY)
    return Archiving(hub.store, hub.clock, holder_name(), hub.settings.archive_path, days, check)


def sealer(hub: Hub) -> Callable[[], Awaitable[int]]:
    """Seal what is not sealed yet and hand the heads out of the store."""
    folder = hub.settings.data_dir
    signer = Signer.open(hub.store, hub.vault, folder)
    heads = Heads(folder / HEADS)
    outside = seal_heads(hub.settings, hub.bus)

    async def seal_some() -> int:
        sealed = await hub.store.run(seal, signer)
        if sealed:
            known = await asyncio.to_thread(heads.last)
            new = await hub.store.read(heads_after, known)
            await asyncio.to_thread(heads.append, new)
            head = await hub.store.read(open_head)
            if head is not None:
                await outside.put(head)
        return sealed

    return seal_some
