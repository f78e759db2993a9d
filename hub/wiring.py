"""The only place that joins concrete parts: which store, which bus, which connectors, which doors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hub import log as hublog
from hub import registry
from hub.audit.seal import Heads, Signer, heads_after, seal
from hub.bus.log import Log
from hub.bus.port import TOPICS, Bus
from hub.clock import Clock, SystemClock
from hub.errors import HubError, SettingsError
from hub.pipe.world import World
from hub.project.load import load_project
from hub.project.references import resolve, secret_names
from hub.project.revisions import publish_revisions
from hub.project.values import Connection, Project
from hub.sdk.connector import Connector, Toolbox
from hub.sdk.http import HttpClient
from hub.sdk.secret import Redactor, Secret
from hub.store.engine import Store, Tx
from hub.store.secrets import bind_vault, get_secret
from hub.vault import Vault

if TYPE_CHECKING:
    from hub.sdk.spec import ConnectorSpec
    from hub.settings import Settings

__all__ = [
    "HEADS",
    "PUBLIC_KEY",
    "Hub",
    "connect",
    "holder_name",
    "known_revisions",
    "open_bus",
    "open_hub",
    "sealer",
]

PUBLIC_KEY, HEADS = "audit.pub", "seals.log"
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

    async def aclose(self) -> None:
        """Let go of everything, in the reverse order."""
        for connector in self.connectors.values():
            with contextlib.suppress(HubError):
                await connector.close()
        for client in self.clients:
            await client.close()
        if self._bus is not None:
            await self._bus.aclose()
        await self.store.aclose()

    def close(self) -> None:
        """Let go of everything, from a synchronous caller."""
        asyncio.run(self.aclose())


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


def open_hub(settings: Settings, *, clock: Clock | None = None, start: bool = False) -> Hub:
    """Open store, vault and project.

    ``start``: this process will work: a changed project file becomes a revision, and connectors are built.

    Raises:
        SettingsError: what an operator must change, with file, line and field where there is one.
    """
    clock = clock or SystemClock()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    specs = registry.specs()
    project = load_project(settings.project_dir, specs)
    _refuse_lost_key(settings)
    vault = Vault.open(settings.key_path, clock)
    store = Store.open(settings.store_address, clock)
    try:
        store.run_now(bind_vault, vault)
        if start:
            project = project.with_revisions(store.run_now(publish_revisions, project.files))
        else:
            project = project.with_revisions(store.read_now(known_revisions))
        used = {
            name: specs[one.connector] for name, one in project.connections.items() if one.connector in specs
        }
        world = World(project, used, vault, store.epoch)
        hub = Hub(settings, clock, store, vault, project, world)
        if start:
            _connect(hub, used)
    except BaseException:
        store.close()
        raise
    return hub


def _refuse_lost_key(settings: Settings) -> None:
    """A store without its key file must not get a new one: it would open nothing and hide the loss."""
    if (
        settings.store_url is None
        and (settings.data_dir / "hub.db").exists()
        and not settings.key_path.exists()
    ):
        raise SettingsError(
            "the store is there but its key file is not: bring it back from where you keep it, a new one opens nothing",
            file=str(settings.key_path),
        )


def known_revisions(tx: Tx) -> Mapping[tuple[str, str], int]:
    """Return the newest revision of every text of the project."""
    tx.cursor.execute("SELECT kind, name, max(revision) FROM revisions GROUP BY kind, name")
    return {(kind, name): revision for kind, name, revision in tx.cursor.fetchall()}


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
    settle = {
        name: max((connector.settle_after(obj) for obj in connector.spec.objects), default=0.0)
        for name, connector in hub.connectors.items()
    }
    hub.world = replace(hub.world, settle_after=settle)


def _build(hub: Hub, connection: Connection, spec: ConnectorSpec) -> Connector:
    stored = hub.store.read_now(_stored_secrets, hub.vault, secret_names(connection))
    values = resolve(connection, spec, secret=stored.get, env=os.environ)
    secrets = [value for value in values.values() if isinstance(value, Secret)]
    hublog.mask_with(Redactor(secrets))
    rules = replace(connection.outbound, timeout=60.0, max_bytes=LARGEST_ANSWER)
    client = HttpClient(rules, clock=hub.clock, secrets=secrets)
    hub.clients.append(client)
    tools = Toolbox(client, hub.clock, hublog.get_logger(f"connector.{connection.name}"))
    return registry.connector(connection.connector)(values, tools)


def _stored_secrets(tx: Tx, vault: Vault, names: Sequence[str]) -> dict[str, str]:
    found = {name: get_secret(tx, vault, name) for name in names}
    return {name: secret.value.decode() for name, secret in found.items() if secret is not None}


def sealer(hub: Hub) -> Callable[[], Awaitable[int]]:
    """Seal what is not sealed yet and hand the heads out of the store."""
    folder = hub.settings.data_dir
    signer = Signer.open(folder, hub.vault, hub.clock)
    signer.publish_key(folder / PUBLIC_KEY)
    heads = Heads(folder / HEADS)

    async def seal_some() -> int:
        sealed = await hub.store.run(seal, signer)
        if sealed:
            known = await asyncio.to_thread(heads.last)
            new = await hub.store.read(heads_after, known)
            await asyncio.to_thread(heads.append, new)
        return sealed

    return seal_some
