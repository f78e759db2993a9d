"""``hub writes``: why writes to vendors are stopped, and how they open again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hub import wiring
from hub.cli.command import add, group
from hub.cli.screen import instant, local, plain
from hub.cli.session import Session
from hub.pipe import writes
from hub.pipe.writes import LOOK_DAYS, Stopped
from hub.store.epoch import Stop, head_of

__all__ = ["moved", "register", "resume", "show"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "writes")
    for function in (show, resume, moved):
        add(made, lang, function, function.__name__, key=f"help.writes.{function.__name__}")


def show(session: Session) -> None:
    """Say whether writes are stopped, why, and what next."""
    with session.hub() as hub:
        found = hub.store.read_now(writes.stopped)
    if session.as_json:
        session.screen.json(_json(found))
    elif found is None:
        session.screen.line(session.text("writes_open"))
    else:
        _print(session, found)


def resume(
    session: Session,
    *,
    days: Annotated[int, typer.Option("--look-days", help="opt.days", min=0, max=90)] = LOOK_DAYS,
    unread: Annotated[bool, typer.Option("--unread", help="opt.unread")] = False,
) -> None:
    """Have the running hub read its sources, take what is owed as in doubt, and open the writes."""
    with session.hub() as hub:
        found = hub.store.run_now(writes.ask, by=session.actor, days=days, unread=unread)
    if session.as_json:
        session.screen.json(_json(found))
    else:
        session.screen.line(session.text("writes_asked"))


def moved(session: Session) -> None:
    """Say that this is the installation itself, only moved: its writes open, and the head outside is its own."""
    with session.hub() as hub:
        hub.store.run_now(writes.moved, by=session.actor)
        heads = wiring.seal_heads(hub.settings, hub.bus if hub.settings.kafka_bootstrap else None)
        asyncio.run(heads.put(hub.store.read_now(head_of)))
    if session.as_json:
        session.screen.json({"writes": "open"})
    else:
        session.screen.line(session.text("writes_moved"))


def _print(session: Session, found: Stopped) -> None:
    line, text = session.screen.line, session.text
    line(text("writes_stopped").partition("：" if session.lang == "zh" else ":")[0], style="bold red")
    line(text("writes_why", why=session.cause(found.why), at=local(found.since)))
    if "backup_at" in found.spec:
        line(text("writes_lost", at=local(found.spec["backup_at"])))
    if "head_at" in found.spec:
        line(text("writes_head", acts=found.spec["head_acts"], at=local(found.spec["head_at"])))
    if not found.asked:
        line(text("writes_next"))
        if found.why is Stop.UNKNOWN:
            line(text("writes_next_moved"))
        return
    line(text("writes_asked"))
    line(text("writes_reading", read=", ".join(found.progress.get("read", ())) or "-"))
    for sync, trouble in found.progress.get("trouble", {}).items():
        line(text("writes_trouble", sync=sync, text=plain(trouble)), style="red")


def _json(found: Stopped | None) -> dict[str, object]:
    if found is None:
        return {"writes": "open"}
    return {
        "writes": "stopped",
        "why": found.why.value,
        "since": instant(found.since),
        "asked": found.asked,
        "read": found.progress.get("read", []),
        "trouble": found.progress.get("trouble", {}),
    }
