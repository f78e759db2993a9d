"""``hub pause`` and ``resume``: syncs and connections as a whole (``run`` is in :mod:`hub.cli.reading`)."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli.command import add
from hub.cli.reading import run
from hub.cli.session import Session
from hub.pipe import desk

__all__ = ["pause", "register", "resume"]

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
