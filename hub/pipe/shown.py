"""Owed rows as people read them: one function derives the state they see, one value holds what is shown."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.errors import Cause
from hub.pipe import rows
from hub.pipe.advice import Origin, Place, origin_of, place_of
from hub.pipe.world import World
from hub.store.rows import Owed
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json, Scope
    from hub.store.rows import Record

__all__ = ["CauseShown", "RowShown", "Shown", "may_see", "shown", "shown_state", "title_of"]


class Shown(enum.StrEnum):
    """The states people see; what succeeded is no row any more."""

    SCHEDULED = "scheduled"
    PROCESSING = "processing"
    RETRYING = "retrying"
    IN_DOUBT = "in_doubt"
    WAITING = "waiting"
    BLOCKED = "blocked"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CauseShown:
    """Why a row stopped, or why it is tried again. ``message``: the vendor's or the mapping's own words."""

    code: Cause
    message: str | None = None
    vendor_code: str | None = None
    field: str | None = None
    at: int | None = None
    candidates: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    by: str | None = None
    why: Cause | None = None


@dataclass(frozen=True, slots=True)
class RowShown:
    """One owed row. ``record``: of a delivery, or what an arrival is known as; times in µs."""

    id: bytes
    sync: str
    subject: str
    connection: str
    record: bytes | None
    kind: str | None
    title: str | None
    inbound: bool
    state: Shown
    due: int
    since: int
    lane: int
    attempts: int
    open: bool
    step: str | None
    absent_after: int | None
    waits_for: str | None
    cause: CauseShown | None
    origin: Origin | None
    place: Place | None


def shown_state(row: Owed, now: int) -> Shown:
    """Return the state people see (conventions: retrying is ready with a later due time, failed is parked)."""
    match row.state:
        case rows.CLAIMED:
            return Shown.PROCESSING
        case rows.IN_DOUBT:
            return Shown.IN_DOUBT
        case rows.PARKED:
            return Shown.FAILED
        case rows.WAITING:
            return Shown.BLOCKED if (row.cause or {}).get("code") == Cause.BLOCKED else Shown.WAITING
        case _:
            if row.open:
                return Shown.PROCESSING  # between two steps of its plan
            return Shown.RETRYING if row.due > now else Shown.SCHEDULED


def title_of(body: dict[str, Json] | None) -> str | None:
    """Return what people call a record: its name, or its number."""
    for name in ("name", "no"):
        value = (body or {}).get(name)
        if isinstance(value, str) and value:
            return value
    return None


def shown(view: View, found: Iterable[Owed], world: World) -> list[RowShown]:
    """Return rows as people read them; loads the records they are about."""
    taken = list(found)
    known = _records_of(view, taken, world)
    view.load_records({id_ for id_ in known.values() if id_}, lock=False)
    return [
        _shown(row, view.records.get(known[row.id] or b""), known[row.id], world, view.now) for row in taken
    ]


def _records_of(view: View, taken: list[Owed], world: World) -> dict[bytes, bytes | None]:
    """Return row -> record: a delivery names it, an arrival's object may be known by xref."""
    at: dict[bytes, tuple[str, str, str, str]] = {}
    found: dict[bytes, bytes | None] = {}
    for row in taken:
        sync = world.sync(row.sync)
        if not row.is_read:
            found[row.id] = bytes.fromhex(row.subject)
        elif sync is not None:
            org, _, vendor_id = row.subject.partition("/")
            at[row.id] = (sync.connection, sync.object, org, vendor_id)
    view.load_xrefs([key for key in at.values() if key not in view.xrefs], lock=False)
    for id_, key in at.items():
        found[id_] = view.xrefs[key].record if key in view.xrefs else None
    return {row.id: found.get(row.id) for row in taken}


def _shown(row: Owed, record: Record | None, id_: bytes | None, world: World, now: int) -> RowShown:
    sync = world.sync(row.sync)
    cause = _cause(row.cause)
    origin = origin_of(sync, cause.field, world.project) if cause else None
    parked = row.state == rows.PARKED or shown_state(row, now) is Shown.BLOCKED
    return RowShown(
        id=row.id,
        sync=row.sync,
        subject=row.subject,
        connection=row.connection,
        record=id_,
        kind=record.kind if record else sync.kind if sync else None,
        title=title_of(record.body) if record else None,
        inbound=row.is_read,
        state=shown_state(row, now),
        due=row.due,
        since=row.since,
        lane=row.lane,
        attempts=row.attempts,
        open=row.open,
        step=row.plan[row.step] if row.step < len(row.plan) else None,
        absent_after=row.absent_after,
        waits_for=row.waits_for,
        cause=cause,
        origin=origin,
        place=place_of(_why(cause), origin) if cause and parked else None,
    )


def _cause(stored: dict[str, Any] | None) -> CauseShown | None:
    code = _known(stored, "code")
    if stored is None or code is None:
        return None
    return CauseShown(
        code,
        _text(stored.get("message")),
        _text(stored.get("vendor_code")),
        _text(stored.get("field")),
        stored.get("at"),
        tuple(map(str, stored.get("candidates") or ())),
        tuple(map(str, stored.get("refs") or ())),
        _text(stored.get("by")),
        _known(stored, "why"),
    )


def _known(stored: dict[str, Any] | None, name: str) -> Cause | None:
    value = (stored or {}).get(name)
    return next((cause for cause in Cause if cause.value == value), None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _why(cause: CauseShown) -> Cause:
    """A spent budget hides what went wrong each time: that is what must be repaired."""
    return cause.why if cause.code is Cause.GAVE_UP and cause.why else cause.code


def may_see(scope: Scope, row: Owed, record: Record | None, world: World) -> bool:
    """Say whether a reader may see a row: by its record, or by where its sync puts new ones."""
    if record is not None:
        return scope.admits(record.region, record.entity, record.owner)
    sync, connection = world.sync(row.sync), world.project.connections.get(row.connection)
    region = world.project.region_of(row.connection, None) or (sync.region if sync else "")
    return scope.admits(
        region, (sync.entity if sync else None) or (connection.entity if connection else None), None
    )
