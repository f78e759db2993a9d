"""``hub mapping rollback --repair``: what the bad revisions wrote is counted, shown and undone."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import typer

from hub import registry
from hub.cli.screen import plain
from hub.cli.session import Failure, Session
from hub.mapping import Compiled
from hub.pipe.repair import Span, narrowed, repair, scan, span_of
from hub.pipe.repair_plan import Fate, Left, Plan, plan
from hub.pipe.repair_scan import Found
from hub.pipe.shadow_records import heard, newest, owed_sources
from hub.pipe.share import members
from hub.project import ProjectInvalid
from hub.project.folder import Key
from hub.project.load import load_project
from hub.project.revisions import history, texts_at
from hub.sdk.connector import SourceRecord

if TYPE_CHECKING:
    from hub.wiring import Hub

__all__ = ["repaired"]

SHOWN: Final = 20
"""Lines of what is left to a person on the screen; a program gets all of them."""
MOST_SOURCES: Final = 100_000
TAKEN_UP: Final = 2.0
"""Seconds after which running processes have taken a publication up: until then one may still write by the bad one."""
PASSES: Final = 20
Bad: TypeAlias = "Mapping[str, Sequence[Compiled]]"
"""Mapping -> its bad revisions that this program can still compile, the newest last."""


def repaired(session: Session, key: Key, target: int, *, note: str, yes: bool) -> dict[str, Any]:
    """Preview, ask, repair; return what a program is told."""
    with session.hub() as hub:
        span = hub.store.read_now(_span, key, target)
        span = None if span is None else narrowed(span, hub.world)
        if span is None or not span.bad:
            _say(session, "repair_none")
            return {"planned": False, "done": False}
        bad = _bad(session, hub, span)
        made = _planned(hub, span, bad)
        told = _json(span, made)
        _print(session, span, made)
        if not made.size or not (yes or _agreed(session, made)):
            return told | {"done": not made.size}
        count, last = _repair(session, hub, span, bad, made, note=note)
        _say(session, "repair_done", count=count)
        since = [one for one in last.left if one not in made.left]  # sent, say, after the preview
        if since:
            _print_left(session, since)
        return told | {"done": True, "owed": count, "left": _left_told([*made.left, *since])}


def _span(tx: Any, key: Key, target: int) -> Span | None:
    return span_of(tx, key, history(tx, *key), target)


def _agreed(session: Session, made: Plan) -> bool:
    if session.as_json:
        return False  # a program says --yes
    return typer.confirm(session.text("repair_ask", count=made.size))


def _repair(session: Session, hub: Hub, span: Span, bad: Bad, made: Plan, *, note: str) -> tuple[int, Plan]:
    """Repair, and again what running processes still wrote by the bad revision before they took up the new one.

    Returns how much was done, and the last look: what is left to people after all.
    """
    repair(hub.store, hub.world, made, by=session.actor, note=note)
    count = made.size
    for _ in range(PASSES):
        if hub.store.read_now(members):
            asyncio.run(hub.clock.sleep(TAKEN_UP))
        late = _planned(hub, span, bad)
        if not late.size:
            return count, late
        repair(hub.store, hub.world, late, by=session.actor, note=note)
        count += late.size
    raise Failure(session.text("repair_goes_on"))


def _planned(hub: Hub, span: Span, bad: Bad) -> Plan:
    found = scan(hub.store, hub.world, span)
    return plan(hub.store, hub.world, found, bad=bad, sources=_sources(hub, found))


def _bad(session: Session, hub: Hub, span: Span) -> Bad:
    """Compile the bad revisions with what was in force beside them; one that this program cannot use is left out."""
    made: dict[str, list[Compiled]] = {}
    for act in span.acts:
        texts = hub.store.read_now(texts_at, act)
        with contextlib.suppress(ProjectInvalid):
            project = load_project(session.project, registry.specs(), texts, places={})
            for compiled in {
                one.mapping.name: one.mapping for one in project.syncs.values() if one.mapped
            }.values():
                if compiled.name in span.bad:
                    made.setdefault(compiled.name, []).append(compiled)
    return made


def _sources(hub: Hub, found: Found) -> dict[tuple[str, str], SourceRecord]:
    """Return what the bus still has of streams that cannot be asked again."""
    sources: dict[tuple[str, str], SourceRecord] = {}
    has_bus = bool(hub.settings.kafka_bootstrap) or (hub.settings.data_dir / "bus.db").exists()
    for name in dict.fromkeys(sync for sync, _ in found.changed):
        sync = hub.world.project.sync(name)
        if sync is None or hub.world.is_fetchable(sync):
            continue
        said = hub.store.read_now(owed_sources, hub.world, sync, MOST_SOURCES)
        if has_bus:
            said = [*said, *asyncio.run(heard(hub.bus, hub.world, sync, MOST_SOURCES))]
        for one in newest(said, MOST_SOURCES):
            sources[name, f"{one.key.org}/{one.key.id}"] = one
    return sources


# ---------------------------------------------------------------------------------------------------- telling


def _say(session: Session, key: str, **known: Any) -> None:
    if not session.as_json:
        session.screen.line(session.text(key, **known))


def _json(span: Span, made: Plan) -> dict[str, Any]:
    return {
        "planned": True,
        "revisions": {name: sorted(numbers) for name, numbers in span.bad.items()},
        "complete": span.complete,
        "objects": len(made.arrivals),
        "deliveries": len(made.deliveries),
        "fields": [
            {"direction": line.direction, "sync": line.sync, "field": line.field, "fate": line.fate.value, "records": count}
            for line, count in sorted(made.lines.items(), key=lambda one: (one[0].direction, one[0].sync, one[0].field))
            if count
        ],
        "left": _left_told(made.left),
    }  # fmt: skip


def _left_told(left: Sequence[Left]) -> list[dict[str, Any]]:
    return [
        {"sync": one.sync, "record": one.record, "field": one.field or None, "fate": one.fate.value,
         "vendor_id": one.vendor_id or None}
        for one in left
    ]  # fmt: skip


def _print(session: Session, span: Span, made: Plan) -> None:
    if session.as_json:
        return
    screen, say = session.screen, session.text
    names = ", ".join(f"{name} {'/'.join(map(str, sorted(numbers)))}" for name, numbers in span.bad.items())
    screen.line(say("repair_head", names=names), style="bold")
    if not span.complete:
        screen.warn(say("repair_exported"))
    told = functools.partial(_fate, session)
    lines = [
        (line.sync, line.field or say("repair_whole"), told(line.fate), count)
        for line, count in sorted(made.lines.items(), key=lambda one: (one[0].sync, one[0].field))
        if count
    ]
    screen.table([say(f"head.{one}") for one in ("sync", "field", "becomes", "records")], lines)
    if made.left:
        _print_left(session, made.left)
    if not made.size:
        screen.line(say("repair_nothing"))


def _print_left(session: Session, left: Sequence[Left]) -> None:
    if session.as_json:
        return
    screen, say = session.screen, session.text
    screen.line(say("repair_left", count=len(left)), style="bold")
    heads = [say(f"head.{one}") for one in ("record", "sync", "field", "becomes")]
    screen.table(heads, [_left(session, one) for one in left[:SHOWN]])
    if len(left) > SHOWN:
        screen.line(say("trial_more", count=len(left) - SHOWN))


def _left(session: Session, one: Left) -> tuple[str, str, str, str]:
    what = one.field or session.text("repair_whole")
    return one.record, one.sync, what, f"{_fate(session, one.fate)} {plain(one.vendor_id)}".rstrip()


def _fate(session: Session, fate: Fate) -> str:
    return session.text(f"repair_{fate.value}")
