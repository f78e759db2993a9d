"""The doors and the pipe of one process, served together until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import uvicorn

from hub import log as hublog
from hub.api.app import create_app
from hub.api.guard import ConnectionLimits, Watch, guarded
from hub.api.hooks import Doors, doors_of
from hub.api.services import Services
from hub.api.writer import record_writer
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.pipe.runtime import Runtime
from hub.settings import Settings
from hub.store.engine import Tx
from hub.store.secrets import get_secret
from hub.vault import Vault
from hub.wiring import Hub, holder_name, sealer

__all__ = ["API_TOKEN", "doors", "serve", "services"]

API_TOKEN = "api-token"  # noqa: S105 - the name of the secret, not the secret
"""The secret that callers of the API present as a bearer token; ``api-token-previous`` is accepted beside it."""


def services(hub: Hub, runtime: Runtime) -> Services:
    """Return what the API needs of this process."""
    take_in = record_writer(hub.store, lambda: hub.world)

    async def write(asked: ExternalWrite) -> WriteAnswer | WriteRefused:
        answer = await take_in(asked)
        runtime.nudge()
        return answer

    async def tokens() -> Sequence[bytes]:
        return await hub.store.read(_tokens, hub.vault)

    async def ready() -> Mapping[str, bool]:
        await hub.store.read(lambda tx: tx.now)
        return {
            "store": True,
            "bus": bool(hub.bus.cluster),
            "pipe": not runtime.stop.is_set() and not runtime.alarms,
        }

    return Services(
        project=lambda: hub.project,
        read=hub.store.read,
        write_record=write,
        tokens=tokens,
        ready=ready,
        cursor_key=hub.vault.digest(b"cursor") * 4,
        log=hublog.get_logger("api"),
    )


def _tokens(tx: Tx, vault: Vault) -> list[bytes]:
    names = (API_TOKEN, f"{API_TOKEN}-previous")
    return [secret.value for name in names if (secret := get_secret(tx, vault, name)) is not None]


def doors(hub: Hub) -> Doors:
    """Return the webhook doors of this process."""
    return Doors(
        doors_of(hub.connectors),
        hub.bus.publish,
        hub.clock,
        hublog.get_logger("hooks"),
        closed=frozenset(hub.down),
    )


async def serve(hub: Hub, *, ready: asyncio.Event | None = None, stop: asyncio.Event | None = None) -> None:
    """Run the pipe, the API and the doors until ``stop`` is set or the process gets SIGINT or SIGTERM.

    Two listeners: ``listen_ops`` serves the API and nothing of ``/hooks``, ``listen_hooks`` the doors and nothing else.
    Once ``ready`` is set, ``hub.listening`` names their addresses.
    """
    runtime = Runtime(
        hub.store, hub.world, hub.bus, hub.clock, hub.connectors, holder=holder_name(), sealer=sealer(hub)
    )
    settings = hub.settings
    # uvicorn's own limit counts idle connections, too: thousands of them would make the doors answer 503.
    servers = {
        "hooks": _Server(_config(doors(hub), settings.listen_hooks, settings, fast=True, ws="none", limit_concurrency=None)),
        "ops": _Server(_config(create_app(services(hub, runtime)), settings.listen_ops, settings, limit_concurrency=1000)),
    }  # fmt: skip
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM) if stop is None else ():
        loop.add_signal_handler(number, runtime.stop.set)
    serving = [asyncio.ensure_future(server.serve()) for server in servers.values()]
    pipe = asyncio.ensure_future(runtime.run())
    ending = asyncio.ensure_future((stop or runtime.stop).wait())
    if ready is not None:
        while not all(
            server.started or task.done() for server, task in zip(servers.values(), serving, strict=True)
        ):
            await hub.clock.sleep(0.01)
        hub.listening = {name: server.address for name, server in servers.items() if server.started}
        ready.set()
    await asyncio.wait({*serving, pipe, ending}, return_when=asyncio.FIRST_COMPLETED)
    runtime.stop.set()
    for server in servers.values():
        server.should_exit = True
    ending.cancel()
    await asyncio.gather(*serving, pipe)


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
