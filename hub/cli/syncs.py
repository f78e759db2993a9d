"""``hub pause``, ``resume`` and ``run``: syncs and connections as a whole."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hub import wiring
from hub.cli.command import add
from hub.cli.session import PROBLEM, USAGE, Failure, Session
from hub.pipe import desk
from hub.pipe.read import ReadReport, read_stream
from hub.pipe.refusal import NotThere
from hub.project.values import Sync
from hub.wiring import Hub

__all__ = ["pause", "register", "resume", "run"]

Name = Annotated[str, typer.Argument(help="opt.name", metavar="SYNC|CONNECTION")]


def register(app: typer.Typer, lang: str) -> None:
    """Add the commands."""
    for function in (pause, resume, run):
        add(app, lang, function, function.__name__)


def pause(session: Session, name: Name) -> None:
    """Pause a sync or a connection; its rows stay owed."""
    with session.hub() as hub:
        kind = hub.store.run_now(desk.pause, name, hub.world, by=session.actor)
    _tell(session, "pause", name, kind)


def resume(session: Session, name: Name) -> None:
    """Open a sync or a connection again."""
    with session.hub() as hub:
        kind = hub.store.run_now(desk.resume, name, hub.world, by=session.actor)
    _tell(session, "resume", name, kind)


def _tell(session: Session, action: str, name: str, kind: str) -> None:
    if session.as_json:
        session.screen.json(
            {"ok": True, "kind": kind, "name": name, "state": "paused" if action == "pause" else "open"}
        )
    else:
        session.screen.line(session.text(f"done.{action}", name=name))


def run(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.sync_name", metavar="SYNC")],
    *,
    full: Annotated[bool, typer.Option("--full", help="opt.full")] = False,
) -> None:
    """Read an inbound sync once and publish what changed; the running hub takes it in."""
    with session.hub(create=True) as hub:
        sync = hub.project.sync(name)
        if sync is None:
            raise NotThere(name)
        if sync.direction != "in":
            raise Failure(session.text("run_inbound", sync=name), USAGE)
        report = asyncio.run(_read(hub, sync, full=full))
    if report.busy:
        raise Failure(session.text("run_busy", sync=name), PROBLEM)
    if session.as_json:
        session.screen.json({"ok": True, "sync": name, "records": report.records, "pages": report.pages})
    else:
        session.screen.line(session.text("done.run", sync=name, records=report.records, pages=report.pages))


async def _read(hub: Hub, sync: Sync, *, full: bool) -> ReadReport:
    connector = wiring.connect(hub, sync.connection)
    try:
        return await read_stream(
            hub.store, hub.bus, hub.clock, sync, connector, holder=wiring.holder_name(), full=full
        )
    finally:
        await hub.aclose()
