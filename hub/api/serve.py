"""The doors and the pipe of one process, served together until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence

import uvicorn

from hub import log as hublog
from hub.api.app import create_app
from hub.api.services import Services
from hub.api.writer import record_writer
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.pipe.runtime import Runtime
from hub.store.engine import Tx
from hub.store.secrets import get_secret
from hub.vault import Vault
from hub.wiring import Hub, holder_name, sealer

__all__ = ["API_TOKEN", "serve", "services"]

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


async def serve(hub: Hub, *, ready: asyncio.Event | None = None, stop: asyncio.Event | None = None) -> None:
    """Run the pipe and the API until ``stop`` is set or the process gets SIGINT or SIGTERM."""
    runtime = Runtime(
        hub.store, hub.world, hub.bus, hub.clock, hub.connectors, holder=holder_name(), sealer=sealer(hub)
    )
    host, _, port = hub.settings.listen_ops.rpartition(":")
    config = uvicorn.Config(create_app(services(hub, runtime)), host=host, port=int(port), log_config=None,
                            access_log=False, server_header=False, http="h11", limit_concurrency=1000, timeout_graceful_shutdown=5)  # fmt: skip
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM) if stop is None else ():
        loop.add_signal_handler(number, runtime.stop.set)
    door = asyncio.ensure_future(server.serve())
    pipe = asyncio.ensure_future(runtime.run())
    ending = asyncio.ensure_future((stop or runtime.stop).wait())
    if ready is not None:
        while not server.started and not door.done():
            await hub.clock.sleep(0.01)
        ready.set()
    await asyncio.wait({door, pipe, ending}, return_when=asyncio.FIRST_COMPLETED)
    runtime.stop.set()
    server.should_exit = True
    ending.cancel()
    await asyncio.gather(door, pipe)


class _Server(uvicorn.Server):
    """Signals belong to :func:`serve`: the pipe ends its turns first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
