"""The doors and the pipe of one process, served together until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hmac
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import uvicorn

from hub import log as hublog
from hub.access.gate import Gate, is_closed, is_loopback
from hub.access.viewer import Viewer
from hub.api.app import create_app
from hub.api.files import FileDoor, Front
from hub.api.guard import ConnectionLimits, Watch, guarded
from hub.api.hooks import QUIET, Doors, Publish, doors_of
from hub.api.kept import Kept, unkept
from hub.api.published import Published
from hub.api.scrape import Scrape
from hub.api.services import Services
from hub.api.writer import record_writer
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.model.record import Scope
from hub.pipe.alarms import not_started
from hub.pipe.astray import refuse_astray
from hub.pipe.doors import add_door_news
from hub.pipe.runtime import Runtime
from hub.settings import Settings
from hub.store.engine import Tx
from hub.store.secrets import get_secret
from hub.vault import Vault
from hub.wiring import Hub, archiving, holder_name, is_gone, seal_heads, sealer

__all__ = ["API_TOKEN", "ROLES", "Part", "Role", "access_state", "doors", "news_keeper", "serve", "services"]

NEWS_SECONDS = 2
"""How often what the doors have to tell people is saved; nothing is written while there is nothing new."""
UVICORN = "uvicorn.error"
"""The server's own logger: it warns of every request that is no HTTP."""
API_TOKEN = "api-token"  # noqa: S105 - the name of the secret, not the secret
"""The secret that callers of the API present as a bearer token; ``api-token-previous`` is accepted beside it."""


class Part(enum.Flag):
    """What a process may do for the hub: take callbacks in, work, answer people and systems of our own."""

    DOORS = enum.auto()
    PIPE = enum.auto()
    API = enum.auto()


Role = Literal["all", "gateway", "worker", "console"]
ROLES: Mapping[Role, Part] = {
    "all": ~Part(0),
    "gateway": Part.DOORS,
    "worker": Part.PIPE,
    "console": Part.API,
}
"""Role -> its parts. Any number of processes of each; health is told by all of them on ``listen_ops``."""


def services(
    hub: Hub, runtime: Runtime | None = None, *, metrics: Callable[[], Awaitable[bytes]] | None = None
) -> Services:
    """Return what the API needs of this process; ``runtime``: its pipe, if it has one, ``metrics``: their page."""
    take_in = record_writer(hub.store, lambda: hub.world)

    async def write(asked: ExternalWrite) -> WriteAnswer | WriteRefused:
        answer = await take_in(asked)
        if runtime is not None:
            runtime.nudge()
        return answer

    async def ready() -> Mapping[str, bool]:
        writes_open = await hub.store.read(lambda tx: tx.writes_open)
        lost = await unkept(hub)
        checks = {"store": "store" not in lost, "bus": "bus" not in lost and bool(hub.bus.cluster)}
        if runtime is not None:
            checks["writes"] = writes_open
            checks["pipe"] = not runtime.stop.is_set() and not runtime.alarms
        return checks

    async def notes() -> Sequence[str]:
        down = await hub.store.read(not_started, list(hub.project.connections))
        alarms = runtime.alarms if runtime is not None else {}
        lost = await unkept(hub)
        return [
            *(f"{name}: {why}" for name, why in sorted(lost.items())),
            *(
                f"{', '.join(sorted(hub.world.unfit))}: {why}"
                for why in (hub.world.why_unfit,)
                if why and runtime is None
            ),
            *(f"connection {name} did not start: {one.text}" for name, one in sorted(down.items())),
            *(f"{name}: {why}" for name, why in sorted(alarms.items())),
        ]

    return Services(
        project=lambda: hub.project,
        read=hub.store.read,
        write_record=write,
        ready=ready,
        notes=notes,
        cursor_key=hub.vault.digest(b"cursor") * 4,
        log=hublog.get_logger("api"),
        metrics=metrics,
        gate=_gate(hub).admit,
    )


def access_state(hub: Hub) -> Literal["closed", "open", "nobody"]:
    """Say whom the API lets in: who has a token; while none exists, this machine, or nobody."""
    if hub.store.read_now(is_closed, lambda tx: _tokens(tx, hub.vault)):
        return "closed"
    return "open" if _is_local(hub.settings) else "nobody"


async def _say_who_may(hub: Hub, parts: Part) -> None:
    if Part.API in parts and (state := await asyncio.to_thread(access_state, hub)) != "closed":
        hublog.get_logger("access").warning(f"access.{state}", listen=hub.settings.listen_ops)


def _is_local(settings: Settings) -> bool:
    """Say whether only this machine can call: a proxy in front makes every caller look as if it stood here."""
    return is_loopback(settings.listen_ops) and not settings.trusted_proxies.strip()


def _gate(hub: Hub) -> Gate:
    return Gate(
        hub.store.read,
        hub.store.run,
        hub.vault,
        hub.clock,
        hublog.get_logger("access"),
        local=_is_local(hub.settings),
        shared=lambda tx: _tokens(tx, hub.vault),
        same=hmac.compare_digest,
        shared_viewer=Viewer(f"token:{API_TOKEN}", frozenset({"integrator"}), Scope.ALL),
    )


def _tokens(tx: Tx, vault: Vault) -> list[bytes]:
    names = (API_TOKEN, f"{API_TOKEN}-previous")
    return [secret.value for name in names if (secret := get_secret(tx, vault, name)) is not None]


def doors(hub: Hub, publish: Publish | None = None) -> Doors:
    """Return the webhook doors of this process; ``publish``: instead of the bus's own."""
    return Doors(
        doors_of(hub.connectors),
        publish or hub.bus.publish,
        hub.clock,
        hublog.get_logger("hooks"),
        closed=frozenset(hub.down),
        tracer=hub.world.tracer,
    )


def news_keeper(hub: Hub, front: Doors) -> Callable[[], Awaitable[None]]:
    """Return what saves the news of these doors for `hub status`; a store that is away keeps no door from answering."""
    log = hublog.get_logger("hooks")

    async def keep() -> None:
        news = {name: told for name, counts in front.counts.items() if (told := counts.news()) is not None}
        try:
            if news:
                await hub.store.run(add_door_news, news)
        except Exception as error:  # noqa: BLE001 - the log and the counters have it all the same
            log.warning("hooks.news_lost", connections=sorted(news), error=type(error).__name__)

    return keep


async def serve(
    hub: Hub,
    *,
    role: Role = "all",
    ready: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the parts of a role (:data:`ROLES`) until ``stop`` is set or the process gets SIGINT or SIGTERM.

    Two listeners: ``listen_ops`` serves health and the API and nothing of ``/hooks``, ``listen_hooks`` the doors and
    nothing else. Once ``ready`` is set, ``hub.listening`` names their addresses.

    Raises:
        SettingsError: the bus is not the one that this store has taken from; nothing was accepted.
        IntegrityError: store or bus were replaced meanwhile.
    """
    await refuse_astray(hub.store, hub.bus, hub.clock)
    parts, settings, stopped = ROLES[role], hub.settings, stop or asyncio.Event()
    runtime = _runtime(hub) if Part.PIPE in parts else None
    kept = Kept(hub, runtime)
    front = doors(hub, kept.publish) if Part.DOORS in parts else None
    page = Scrape(hub, role, runtime=runtime, doors=lambda: front.counts if front is not None else {})
    ops = create_app(services(hub, runtime, metrics=page.text), records=Part.API in parts)
    servers = {"ops": _Server(_config(ops, settings.listen_ops, settings, limit_concurrency=1000))}
    files = FileDoor(hub, hub.clock, hublog.get_logger("files"))
    if front is not None:
        # uvicorn's own limit counts idle connections, too: thousands of them would make the doors answer 503.
        config = _config(
            Front(front, files), settings.listen_hooks, settings, fast=True, ws="none", limit_concurrency=None,
            callback_notify=news_keeper(hub, front), timeout_notify=NEWS_SECONDS,
        )  # fmt: skip
        servers["hooks"] = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM) if stop is None else ():
        loop.add_signal_handler(number, stopped.set)
    serving = [asyncio.ensure_future(server.serve()) for server in servers.values()]
    uncalm = hublog.calm([UVICORN], hublog.Quiet(hub.clock.monotonic, QUIET), level=logging.WARNING)
    serving[0].add_done_callback(lambda _: uncalm())
    working = [asyncio.ensure_future(runtime.run())] if runtime is not None else []
    watching = asyncio.ensure_future(kept.watch())
    following = asyncio.ensure_future(Published(hub, runtime).watch())
    ending = asyncio.ensure_future(stopped.wait())
    if ready is not None:
        while not all(
            one.started or task.done() for one, task in zip(servers.values(), serving, strict=True)
        ):
            await hub.clock.sleep(0.01)
        hub.listening = {name: server.address for name, server in servers.items() if server.started}
        ready.set()
    await _say_who_may(hub, parts)
    await asyncio.wait({*serving, *working, watching, following, ending}, return_when=asyncio.FIRST_COMPLETED)
    if runtime is not None:
        runtime.stop.set()
    for server in servers.values():
        server.should_exit = True
    for task in (ending, watching, following):
        task.cancel()
    ends = await asyncio.gather(watching, following, *serving, *working, return_exceptions=True)
    await files.close()
    for ended in ends:
        if isinstance(ended, Exception):
            raise ended


def _runtime(hub: Hub) -> Runtime:
    return Runtime(
        hub.store, hub.world, hub.bus, hub.clock, hub.connectors, holder=holder_name(), sealer=sealer(hub),
        heads=seal_heads(hub.settings, hub.bus), archiving=archiving(hub),
        gone=is_gone if hub.store.dialect == "sqlite" else None,
    )  # fmt: skip


def _config(app: Any, address: str, settings: Settings, *, fast: bool = False, **more: Any) -> uvicorn.Config:
    """Configure one listener.

    Who the caller is: the peer of the socket. X-Forwarded-For and X-Forwarded-Proto are read only if the peer is a
    proxy named in the settings, Forwarded and X-Real-IP never.
    """
    host, _, port = address.rpartition(":")
    limits = ConnectionLimits(
        settings.request_head_seconds, settings.request_body_seconds, settings.waiting_connections
    )
    proxies = [part.strip() for part in settings.trusted_proxies.split(",") if part.strip()]
    return uvicorn.Config(
        app, host=host.strip("[]"), port=int(port), http=guarded(Watch(limits), fast=fast), log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=5, proxy_headers=bool(proxies), forwarded_allow_ips=proxies,
        lifespan="off", **more,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """Signals belong to :func:`serve`: the pipe ends its turns first."""

    @property
    def address(self) -> str:
        """The URL it listens at, with the port it got."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
