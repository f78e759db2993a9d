"""``hub status``: how it stands, on one screen."""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from hub.cli import words
from hub.cli.command import add
from hub.cli.screen import duration, instant, local
from hub.cli.session import Session
from hub.errors import Cause
from hub.pipe.queries import ConnectionStatus, Status, SyncStatus, status
from hub.pipe.shown import Shown

__all__ = ["register", "show"]

_SHOWN = tuple(Shown)


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, show, "status")


def show(session: Session) -> None:
    """Show connections, syncs, what is owed by state, what is parked and why, and the age of the seal."""
    with session.hub() as hub:
        found = hub.store.read_now(status, hub.project)
    if session.as_json:
        session.screen.json(_json(found))
    else:
        _print(session, found)


def _print(session: Session, found: Status) -> None:
    screen, text = session.screen, session.text
    if not found.writes_open:
        screen.line(text("writes_stopped"), style="bold red")
    lines = [line for one in found.connections for line in _lines(session, one, found.now)]
    lines += [_sync(session, sync, found.now) for sync in found.strays]
    heads = [
        text("head.connection"),
        text("head.state"),
        *(words.state(one, session.lang) for one in _SHOWN),
        text("head.due"),
    ]
    screen.table(heads, lines, whole=(0,))
    for sync in (*(sync for one in found.connections for sync in one.syncs), *found.strays):
        for cause, count in sync.causes.most_common(5):
            screen.line(
                f"{sync.name}: {count} × {session.cause(cause)}  (hub dlq list --sync {sync.name} --cause {cause.value})"
            )
        for absent in sync.absent:
            if absent.many:
                screen.line(
                    text(
                        "run_held",
                        sync=sync.name,
                        stream=absent.stream,
                        absent=absent.absent,
                        live=absent.live,
                    ),
                    style="red",
                )
    audit = found.audit
    age = duration(found.now - audit.last_seal) if audit.last_seal else "-"
    unsealed = f"{audit.unsealed}" + (
        f" ({duration(found.now - audit.unsealed_since)})" if audit.unsealed_since else ""
    )
    screen.pairs(
        {
            text("label.last_act"): text("label.ago", age=duration(found.now - audit.last_act))
            if audit.last_act
            else "-",
            text("label.last_seal"): f"{text('label.ago', age=age)}  ({audit.sealed})"
            if audit.last_seal
            else "-",
            text("label.unsealed"): unsealed,
        }
    )


def _lines(session: Session, one: ConnectionStatus, now: int) -> list[tuple[object, ...]]:
    state = session.text("label.open_connection")
    if one.state != "open":
        cause = next((session.cause(cause) for cause in Cause if cause.value == one.cause), one.cause or "")
        until = session.text("label.until", at=local(one.until)[11:19]) if one.until else ""
        state = " ".join(part for part in (session.text("label.paused"), cause, until) if part)
    head = (
        Text(one.name, style="bold"),
        Text(state, style="" if one.state == "open" else "red"),
        *[""] * len(_SHOWN),
        "",
    )
    return [head, *(_sync(session, sync, now) for sync in one.syncs)]


def _sync(session: Session, sync: SyncStatus, now: int) -> tuple[object, ...]:
    counts = [sync.counts[shown] or "" for shown in _SHOWN]
    due = ""
    if sync.oldest_due is not None:
        due = (
            duration(now - sync.oldest_due)
            if sync.oldest_due <= now
            else f"+{duration(sync.oldest_due - now)}"
        )
    state = session.text("label.paused") if sync.paused else sync.mode
    return (f"  {sync.name}", state, *counts, due)


def _json(found: Status) -> dict[str, Any]:
    audit = found.audit
    return {
        "now": instant(found.now),
        "writes": "open" if found.writes_open else "stopped",
        "connections": [
            {
                "name": one.name,
                "connector": one.connector,
                "state": one.state,
                "cause": one.cause,
                "until": instant(one.until),
                "failures": one.failures,
                "syncs": [_sync_json(sync) for sync in one.syncs],
            }
            for one in found.connections
        ],
        "strays": [_sync_json(sync) for sync in found.strays],
        "audit": {
            "last_act": instant(audit.last_act),
            "last_seal": instant(audit.last_seal),
            "sealed": audit.sealed,
            "unsealed": audit.unsealed,
            "unsealed_since": instant(audit.unsealed_since),
        },
    }


def _sync_json(sync: SyncStatus) -> dict[str, Any]:
    return {
        "name": sync.name,
        "direction": sync.direction,
        "mode": sync.mode,
        "paused": sync.paused,
        "counts": {shown.value: sync.counts[shown] for shown in _SHOWN},
        "parked_by_cause": {cause.value: count for cause, count in sync.causes.items()},
        "oldest_due": instant(sync.oldest_due),
        "oldest": instant(sync.oldest),
        "last_read": instant(sync.last_read),
        "absent": [{"stream": one.stream, "absent": one.absent, "live": one.live} for one in sync.absent],
    }
