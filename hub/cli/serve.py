"""``hub up`` and ``hub sandbox``: what runs until it is stopped."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from hub import log as hublog
from hub import registry, wiring
from hub.api.serve import ROLES, Part, Role, access_state, serve
from hub.cli.command import add
from hub.cli.patience import patiently
from hub.cli.session import NOT_FOUND, Failure, Session
from hub.clock import SystemClock
from hub.errors import SettingsError
from hub.sdk.sandbox import serve_forever
from hub.settings import PREFIX
from hub.wiring import Hub

__all__ = ["register", "sandbox", "up"]


BEHIND = 5
"""How much nicer a worker is than a door or an API on the same machine: a vendor waits 5 s for an answer, a debt waits."""


def register(app: typer.Typer, lang: str) -> None:
    """Add the commands."""
    add(app, lang, up, "up")
    add(app, lang, sandbox, "sandbox")


def up(
    session: Session,
    *,
    role: Annotated[Role, typer.Option("--role", help="opt.role")] = "all",
) -> None:
    """Run the hub: read the project, publish what changed in it as revisions, serve and work until stopped."""
    settings = session.settings
    _require_free(settings.listen_ops, "LISTEN_OPS")
    if Part.DOORS in ROLES[role]:
        _require_free(settings.listen_hooks, "LISTEN_HOOKS")
    if ROLES[role] == Part.PIPE:
        os.nice(BEHIND)
    clock = SystemClock()
    hublog.configure(clock.now, level=settings.log_level, form=settings.log_format)
    hub = patiently(session, clock, functools.partial(wiring.open_hub, settings, clock=clock, start=True))
    for name, error in hub.down.items():
        session.screen.warn(session.text("up_down", name=name, error=error))
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(session, hub, role))


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


async def _serve(session: Session, hub: Hub, role: Role) -> None:
    ready = asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, role=role, ready=ready))
    telling = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({serving, telling}, return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set() and not serving.done():
            gc.collect()
            gc.freeze()  # what stays for good: a full collection walks through it and stops all threads meanwhile
            _tell(session, hub.listening["ops"], hub.listening.get("hooks"))
            if Part.API in ROLES[role] and (state := access_state(hub)) != "closed":
                session.screen.warn(session.text(f"access_{state}"), style="yellow")
        await serving
    finally:
        telling.cancel()
        await hub.aclose()


def _tell(session: Session, url: str, hooks: str | None) -> None:
    if session.as_json:
        session.screen.json({"ready": True, "url": url, "hooks_url": f"{hooks}/hooks" if hooks else None})
    else:
        session.screen.line(session.text("up_ready", url=url))
    sys.stdout.flush()


def sandbox(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.sandbox", metavar="NAME")],
    *,
    port: Annotated[int, typer.Option("--port", help="opt.port", min=0, max=65535)] = 0,
    state: Annotated[Path | None, typer.Option("--state", help="opt.state")] = None,
    host: Annotated[str, typer.Option("--host", help="opt.host")] = "127.0.0.1",
) -> None:
    """Print one line {base_url, credentials, control_url, ledger}, then serve until stopped."""
    known = registry.sandboxes()
    if name not in known:
        raise Failure(f"{session.text('not_there', what=name)} ({', '.join(known)})", NOT_FOUND)
    try:
        serve_forever(registry.sandbox(name)(state=state), port, host)
    except OSError as error:
        raise Failure(f"{host}:{port}: {error.strerror}") from error
