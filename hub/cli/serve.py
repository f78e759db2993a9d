"""``hub up`` and ``hub sandbox``: what runs until it is stopped."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from hub import log as hublog
from hub import registry, wiring
from hub.api.serve import serve
from hub.cli.command import add
from hub.cli.session import NOT_FOUND, Failure, Session
from hub.clock import SystemClock
from hub.errors import SettingsError
from hub.sdk.sandbox import serve_forever
from hub.settings import PREFIX
from hub.wiring import Hub

__all__ = ["register", "sandbox", "up"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the commands."""
    add(app, lang, up, "up")
    add(app, lang, sandbox, "sandbox")


def up(session: Session) -> None:
    """Run the hub: read the project, publish what changed in it as revisions, serve and work until stopped."""
    settings = session.settings
    for address, variable in ((settings.listen_ops, "LISTEN_OPS"), (settings.listen_hooks, "LISTEN_HOOKS")):
        _require_free(address, variable)
    clock = SystemClock()
    hublog.configure(clock.now, level=settings.log_level, form=settings.log_format)
    hub = wiring.open_hub(settings, clock=clock, start=True)
    for name, error in hub.down.items():
        session.screen.warn(session.text("up_down", name=name, error=error))
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(session, hub))


def _loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop where there is a wheel of it: a fifth less CPU a record, see docs/performance.md."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _require_free(address: str, variable: str) -> None:
    """Say what is wrong with the address before anything is opened; the server itself would only end."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {address}: {error.strerror}", field=f"{PREFIX}{variable}"
        ) from error


async def _serve(session: Session, hub: Hub) -> None:
    ready = asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready))
    telling = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({serving, telling}, return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set() and not serving.done():
            _tell(session, hub.listening["ops"], hub.listening["hooks"])
        await serving
    finally:
        telling.cancel()
        await hub.aclose()


def _tell(session: Session, url: str, hooks: str) -> None:
    if session.as_json:
        session.screen.json({"ready": True, "url": url, "hooks_url": f"{hooks}/hooks"})
    else:
        session.screen.line(session.text("up_ready", url=url))
    sys.stdout.flush()


def sandbox(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.sandbox", metavar="NAME")],
    *,
    port: Annotated[int, typer.Option("--port", help="opt.port", min=0, max=65535)] = 0,
    state: Annotated[Path | None, typer.Option("--state", help="opt.state")] = None,
) -> None:
    """Print one line {base_url, credentials, control_url, ledger}, then serve until stopped."""
    known = registry.sandboxes()
    if name not in known:
        raise Failure(f"{session.text('not_there', what=name)} ({', '.join(known)})", NOT_FOUND)
    try:
        serve_forever(registry.sandbox(name)(state=state), port)
    except OSError as error:
        raise Failure(f"127.0.0.1:{port}: {error.strerror}") from error
