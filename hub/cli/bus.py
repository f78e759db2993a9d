"""``hub bus``: what a person does about a bus that is not the one the store has taken from."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer

from hub.cli.command import add, group
from hub.cli.screen import plain
from hub.cli.session import USAGE, Failure, Session
from hub.pipe.astray import Astray, astray, was_taken_from
from hub.pipe.replaced import Replaced
from hub.pipe.replaced import replaced as replace_bus
from hub.wiring import Hub

__all__ = ["register", "replaced", "said_astray"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "bus")
    add(made, lang, replaced, "replaced", key="help.bus.replaced")


def replaced(
    session: Session, *, yes: Annotated[bool, typer.Option("--yes", help="opt.yes")] = False
) -> None:
    """Say that the bus is another or an older one: it is read from its beginning, and every source anew."""
    with session.hub() as hub:
        if not yes:
            _ask(session)
        done = asyncio.run(replace_bus(hub.store, hub.bus, hub.world, by=session.actor))
    _tell(session, done)


def _ask(session: Session) -> None:
    if not sys.stdin.isatty() or os.environ.get("CI"):
        raise Failure(session.text("need_yes"), USAGE)
    if not typer.confirm(session.text("bus_ask")):
        raise Failure("", 1)


def _tell(session: Session, done: Replaced) -> None:
    if session.as_json:
        session.screen.json(
            {"ok": True, "messages": done.messages, "reads": list(done.reads), "by_hand": list(done.by_hand)}
        )
        return
    session.screen.line(session.text("bus_replaced", messages=done.messages))
    if done.reads:
        session.screen.line(session.text("bus_reads", syncs=", ".join(done.reads)))
    for name in done.by_hand:
        session.screen.line(session.text("bus_by_hand", sync=name))


def said_astray(session: Session, hub: Hub) -> str | None:
    """Return in the reader's language that what lies on the bus is not taken, and why; None: it is.

    Raises:
        TryAgain: the bus cannot be looked at.
    """
    if hub.settings.kafka_bootstrap is None and not (file := hub.settings.data_dir / "bus.db").exists():
        lost = hub.store.read_now(was_taken_from)
        return session.text("bus_lost", file=plain(file)) if lost else None  # not opened: that would make one
    found: list[Astray] = asyncio.run(astray(hub.store, hub.bus))
    for one in found:
        known = {"topic": one.topic, "partition": one.partition, "position": one.position, "holds": one.holds}
        return session.text(
            "bus_other" if one.other else "bus_astray", **{k: plain(v) for k, v in known.items()}
        )
    return None
