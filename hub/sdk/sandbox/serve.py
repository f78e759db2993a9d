"""A sandbox on a real socket: inside a test's loop or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

from hub.sdk.sandbox.frame import Sandbox

__all__ = ["listening", "running", "serve_forever"]


class _Server(uvicorn.Server):
    """Tells when it listens; leaves signals alone unless it owns the process."""

    def __init__(self, app: Any, *, owns_process: bool) -> None:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1,
            server_header=False, date_header=False,
        )  # fmt: skip
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()
        self._owns_process = owns_process

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        if self._owns_process:
            await super().main_loop()
        else:
            await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._owns_process:
            await super().shutdown(sockets)
            return
        for server in self.servers:  # at once: tests start and stop many of these
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._owns_process:
            yield
            return
        with super().capture_signals():
            yield


def _listen(port: int, host: str = "127.0.0.1") -> tuple[socket.socket, str]:
    # The protocol is named so that asyncio turns TCP_NODELAY on; without it every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(512)
    return listener, f"http://{host}:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def running(sandbox: Sandbox, port: int = 0) -> AsyncIterator[str]:
    """Serve ``sandbox`` on 127.0.0.1 within this loop and yield its base URL; port 0 takes a free one."""
    try:
        async with listening(sandbox, port) as base_url:
            yield base_url
    finally:
        sandbox.ledger().sync()


@contextlib.asynccontextmanager
async def listening(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve any ASGI application as :func:`running` does a sandbox."""
    listener, base_url = _listen(port)
    server = _Server(app, owns_process=False)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await server.listening.wait()
        yield base_url
    finally:
        server.stopping.set()
        await serving
        listener.close()


def serve_forever(sandbox: Sandbox, port: int = 0, host: str = "127.0.0.1") -> None:
    """Print one JSON line {base_url, credentials, control_url, ledger}, then serve until stopped.

    ``host``: where it listens; whoever reaches it may act as the vendor's user, so other machines only on purpose.
    """

    async def serve() -> None:
        listener, base_url = _listen(port, host)
        server = _Server(sandbox, owns_process=True)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        await server.listening.wait()
        control = f"{base_url}/control/"
        about = {
            "base_url": base_url, "credentials": dict(sandbox.credentials(base_url)),
            "control_url": control, "ledger": f"{control}ledger",
        }  # fmt: skip
        sys.stdout.write(json.dumps(about) + "\n")
        sys.stdout.flush()
        await serving

    with contextlib.closing(sandbox.ledger()), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
