"""``hub status``: how it stands, on one screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import typer
from rich.text import Text

from hub.cli import words
from hub.cli.bus import said_astray
from hub.cli.command import add
from hub.cli.mapping_life import shown, tell_drafts
from hub.cli.screen import duration, instant, local, plain
from hub.cli.session import Session
from hub.errors import Cause, HubError
from hub.pipe.alarms import Alarm
from hub.pipe.backlog import Backlog, backlogs
from hub.pipe.queries import ConnectionStatus, Status, SyncStatus, status
from hub.pipe.shown import Shown
from hub.wiring import Hub

__all__ = ["register", "show"]

_SHOWN = tuple(Shown)


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, show, "status")


def show(session: Session) -> None:
    """Show connections, syncs, what is owed by state, what is parked and why, the bus, and the age of the seal."""
    with session.hub() as hub:
        found = hub.store.read_now(status, hub.project)
        behind, astray, project = _behind(hub), _astray(session, hub), hub.project
    if session.as_json:
        texts = {
            "drafts": [list(key) for key in project.drafts],
            "no_file": [list(key) for key in project.absent],
        }
        session.screen.json({**_json(found), **texts, "bus": {**_bus_json(behind), "astray": astray}})
    else:
        if astray is not None:
            session.screen.line(astray, style="bold red")
        _print(session, found)
        tell_drafts(session, project.drafts)
        for key in project.absent:
            known = {"name": shown(key), "number": project.revisions.get(key, 0)}
            session.screen.line(session.text("no_file", **known), style="yellow")
        _print_bus(session, behind)
        _print_audit(session, found)


def _behind(hub: Hub) -> Sequence[Backlog] | str:
    """Return what waits on the bus, or why that cannot be said; a hub that never ran has no bus yet."""
    if hub.settings.kafka_bootstrap is None and not (hub.settings.data_dir / "bus.db").exists():
        return ()
    try:
        return asyncio.run(backlogs(hub.store, hub.bus))
    except HubError as error:
        return str(error)


def _astray(session: Session, hub: Hub) -> str | None:
    """Say why nothing is taken from this bus; one that cannot be looked at is told of by :func:`_behind`."""
    with contextlib.suppress(HubError):
        return said_astray(session, hub)
    return None


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
    for one in found.connections:
        _door(session, one, found.now)
    _trouble(session, found)
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
        if sync.reading is not None and sync.reading.waiting:
            read = sync.reading
            known = {"topic": read.topic, "waiting": read.waiting, "until": read.until}
            screen.line(text("read_paused", sync=sync.name, **known), style="yellow")


def _trouble(session: Session, found: Status) -> None:
    """Say what did not start, what stands still and what is owed to nobody, and what to do."""
    for down in (one.down for one in found.connections if one.down is not None):
        known = {"age": duration(found.now - down.since), "why": plain(down.text)}
        session.screen.line(session.text("status_down", name=down.about, **known), style="red")
    for alarm in found.alarms:
        known = {"age": duration(found.now - alarm.since), "why": plain(alarm.text), "holder": alarm.holder}
        session.screen.line(session.text("status_alarm", about=alarm.about, **known), style="bold red")
    for sync in found.strays:
        count = sync.counts.total()
        session.screen.line(
            session.text("status_removed", sync=plain(sync.name), count=count), style="yellow"
        )


def _print_bus(session: Session, behind: Sequence[Backlog] | str) -> None:
    line, text = session.screen.line, session.text
    if isinstance(behind, str):
        line(text("bus_down", error=plain(behind)), style="red")
        return
    waiting = [one for one in behind if one.messages]
    for one in waiting:
        said = text("bus_backlog", topic=one.topic, messages=one.messages)
        streams = ", ".join(f"{plain(source)} {count}" for source, count in one.streams.items())
        whole = one.looked_at >= one.messages
        if streams:
            said += text("bus_all_streams" if whole else "bus_streams", count=one.looked_at, streams=streams)
        line(said)
    if behind and not waiting:
        line(text("bus_empty"))


def _print_audit(session: Session, found: Status) -> None:
    screen, text, audit = session.screen, session.text, found.audit
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


def _door(session: Session, one: ConnectionStatus, now: int) -> None:
    """Show what the webhook of a connection has to tell: callbacks refused, and what the vendor says of the app."""
    told = one.door
    for zh, en, since in told.health.values():
        age = session.text("label.ago", age=duration(now - since))
        session.screen.line(f"{one.name}: {zh if session.lang == 'zh' else en} ({age})", style="red")
    if told.refused:
        age = duration(now - told.at)
        session.screen.line(
            session.text("door_refused", name=one.name, count=told.refused, age=age, why=plain(told.why)),
            style="red",
        )


def _lines(session: Session, one: ConnectionStatus, now: int) -> list[tuple[object, ...]]:
    state = session.text("label.open_connection" if one.state == "open" else "label.down")
    if one.state == "paused":
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
    state = session.text("label.removed") if sync.mode == "removed" else sync.mode
    state = session.text("label.paused") if sync.paused else state
    if sync.reading is not None:
        state += f" ({session.text('label.paused' if sync.reading.waiting else 'label.reading')})"
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
                "down": None if one.down is None else _alarm_json(one.down),
                "door": _door_json(one),
                "syncs": [_sync_json(sync) for sync in one.syncs],
            }
            for one in found.connections
        ],
        "strays": [_sync_json(sync) for sync in found.strays],
        "alarms": [{"about": one.about, "holder": one.holder, **_alarm_json(one)} for one in found.alarms],
        "audit": {
            "last_act": instant(audit.last_act),
            "last_seal": instant(audit.last_seal),
            "sealed": audit.sealed,
            "unsealed": audit.unsealed,
            "unsealed_since": instant(audit.unsealed_since),
        },
    }


def _alarm_json(one: Alarm) -> dict[str, Any]:
    return {"why": one.text, "since": instant(one.since)}


def _door_json(one: ConnectionStatus) -> dict[str, Any]:
    told = one.door
    last = {"at": instant(told.at), "cause": told.cause, "why": told.why} if told.refused else None
    health = [
        {"about": about, "zh": zh, "en": en, "since": instant(since)}
        for about, (zh, en, since) in told.health.items()
    ]
    return {"refused": told.refused, "last_refused": last, "health": health}


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
        "reading": None
        if sync.reading is None
        else {
            "paused": bool(sync.reading.waiting),
            "waiting": sync.reading.waiting,
            "topic": sync.reading.topic or None,
        },
        "absent": [{"stream": one.stream, "absent": one.absent, "live": one.live} for one in sync.absent],
    }


def _bus_json(behind: Sequence[Backlog] | str) -> dict[str, Any]:
    if isinstance(behind, str):
        return {"error": behind, "topics": []}
    topics = [
        {
            "topic": one.topic,
            "messages": one.messages,
            "streams": dict(one.streams),
            "looked_at": one.looked_at,
        }
        for one in behind
    ]
    return {"error": None, "topics": topics}
