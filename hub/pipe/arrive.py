"""What comes in takes effect: stale check, decision, records, keys, xref, and the debts a change raises.

Used by `take` (a batch from the bus), by `settle` (a read that a hint asked for) and by the API (one record).
"""

from __future__ import annotations

import logging
from dataclasses import replace

import orjson

from hub.crm.dealings import extend
from hub.crm.decide import Arrival, Change, Park, RecordChange, Same, Verdict, decide
from hub.crm.relate import placed, relate
from hub.errors import Cause, HubError
from hub.mapping import Mapped, Wait
from hub.pipe import rows
from hub.pipe.change import Told, write_records
from hub.pipe.dealings import dealings_of
from hub.pipe.items import Item, source_dict
from hub.pipe.people import people_of
from hub.pipe.times import SKEW
from hub.pipe.world import World
from hub.project.values import LANE_BULK, Sync
from hub.store import sql
from hub.store.rows import Owed, Record, Xref
from hub.store.schema import jobs
from hub.store.view import View

__all__ = [
    "apply",
    "arrive",
    "join_owed",
    "owe_hint",
    "owe_item",
    "owe_reread",
]

log = logging.getLogger(__name__)

_TOLD = frozenset({Cause.NO_ROUTE, Cause.CONFLICT})
"""Causes whose sentence names routes, states and amounts, and nobody's personal values: the act keeps it too."""

forget_told = sql.command(
    "UPDATE owed SET source = NULL WHERE waits_for = ? AND sync = ? AND state = 'waiting'"
)
owe_recheck = sql.bulk_upsert(jobs, "name kind spec position due fence progress state act", key="name")


def arrive(
    view: View, item: Item, world: World, row: Owed | None = None
) -> Change | Same | Park | Wait | None:
    """Let one item take effect, or owe it. ``row``: its debt, when a worker settles a read. None: it was stale."""
    if _is_stale(view, item, world):
        owe_hint(view, item, world, row)
        return None
    verdict = _guarded(view, item, world, repair=row is not None and row.force is not None)
    busy = next((record for record in _found(verdict) if _open_target(view, item, record)), None)
    if busy is not None:
        owe_hint(view, item, world, row, record=busy)
        return None
    then: Park | None = None
    match verdict:
        case Change(then=then):
            apply(view, verdict, item, world)
        case Same(record=known, pairs=pairs, gone=gone, then=then):
            never = known is None and item.source is not None and item.source.deleted
            _mark_seen(view, item, world, known, pairs, gone=gone)
            view.note(record=known.hex() if known else None, sync=item.sync_name, subject=item.subject,
                      outcome="gone" if gone or never else "same", event=item.event or None)  # fmt: skip
            if never:
                item.gone = view.now
                _never_comes(view, item, world)
        case Park() | Wait():
            owe_item(view, item, world, row, stop=verdict)
            return verdict
    if item.source is not None and item.source.partial:
        _read_again(view, item, world, row)
    elif then is not None:
        owe_item(view, item, world, row, stop=then)
    elif row is not None:
        rows.paid(view, row)
    return verdict


def _never_comes(view: View, item: Item, world: World) -> None:
    """Nobody will see an object that is gone and was never known: what was only told to who waits for it is forgotten.

    The net wakes them; their own objects are then read, and are gone too, or their wait begins anew.
    """
    for sync in world.project.syncs.values():
        if (sync.direction, sync.connection) == ("in", item.connection) and world.is_fetchable(sync):
            forget_told(view.tx, f"arrival:{'/'.join(item.at)}", sync.name)


def _read_again(view: View, item: Item, world: World, row: Owed | None) -> None:
    """A partial record took effect: the whole object is read. One that came meanwhile stays for the next claim."""
    if row is not None and row.want == row.generation:
        row.source = None
    owe_hint(view, item, world, row, outcome="read_again")


def _found(verdict: Change | Same | Park | Wait) -> list[bytes]:
    """Return the records that the arrival is, or may be: while one is being written there, nothing can be said."""
    match verdict:
        case Change(records=(RecordChange(record=Record(id=known)), *_)):
            return [known]
        case Same(record=bytes() as known):
            return [known]
        case Park(candidates=candidates):
            return [bytes.fromhex(candidate) for candidate in candidates]
        case _:
            return []


def _guarded(view: View, item: Item, world: World, *, repair: bool) -> Verdict:
    """Decide; a programming mistake parks this record and the batch goes on."""
    sync = item.sync
    if sync is None:
        return Park(Cause.SETTINGS, message=f"no sync takes {item.connection}/{item.stream} in")
    region = world.project.region_of(item.connection, item.owner) or sync.region
    arrival = Arrival(
        kind=sync.kind,
        at=item.at,
        outcome=item.outcome or Mapped(item.key.id, {}),
        region=region,
        authority=sync.authority_of,
        entity=sync.entity,
        owner=item.owner,
        deleted=item.source is not None and item.source.deleted,
        repair=repair,
        chosen=item.chosen,
        people=people_of(view, item, world),
        known=world.project.kind(sync.kind),
    )
    try:
        verdict = decide(view, arrival, world.project.rules(sync.kind), world.digests[sync.kind])
        verdict = placed(verdict, world.project.regions) if sync.kind == "employee" else verdict
        verdict = relate(view, arrival, verdict)
        return extend(view, verdict, dealings_of(sync.kind, item.connection, world))
    except HubError:
        raise
    except Exception as error:
        log.exception("decide.bug sync=%s subject=%s", item.sync_name, item.subject)
        return Park(Cause.BUG, message=f"{type(error).__name__}: {error}")


def _is_stale(view: View, item: Item, world: World) -> bool:
    """A target with an open attempt, or a read that began before the last one taken, or our last write, had ended.

    Or one that began before its object, which nobody knew, was found gone.
    """
    xref = view.xrefs.get(item.at)
    if item.source is None:
        return False
    if xref is None:
        shows = not (item.source.deleted or item.source.partial)
        return shows and item.gone is not None and item.source.observed_at < item.gone
    if _open_target(view, item, xref.record):
        return True
    if item.source.partial or (item.sync is not None and not world.is_fetchable(item.sync)):
        return False
    if item.source.observed_at >= xref.seen:
        return False
    if xref.seen > view.now + SKEW:  # a clock that ran ahead saw it: whatever begins from now on is newer
        xref.seen = view.now
        view.save_xref(xref)
    return True


def _open_target(view: View, item: Item, record: bytes) -> bool:
    connection, object_, org, _ = item.at
    return rows.target_key(connection, object_, org, record) in view.targets


def owe_hint(
    view: View,
    item: Item,
    world: World,
    row: Owed | None,
    *,
    record: bytes | None = None,
    outcome: str = "stale",
) -> None:
    """Owe a fresh read: after the attempt at its target, or at once. What cannot be read again keeps its body.

    ``record``: whose object it is, where no xref says so yet.
    """
    fetchable = item.sync is not None and world.is_fetchable(item.sync)
    kept = not fetchable or (item.source is not None and item.source.partial and outcome == "stale")
    if row is not None:
        rows.close(view, row, reopens=False)
        if not kept and not rows.is_partial(row.source):
            row.source = None
        rows.ready(view, row)
    else:
        row = owe_item(view, item if kept else replace(item, source=None), world, None)
    xref = view.xrefs.get(item.at)
    about = xref.record if xref is not None else record
    if about is not None and _open_target(view, item, about) and not row.open:
        rows.wait(view, row, f"target:{rows.target_key(*item.at[:3], about)}")
    view.note(record=about.hex() if about else None, sync=item.sync_name, subject=item.subject,
              outcome=outcome, event=item.event or None, traceparent=item.traceparent or None)  # fmt: skip


def owe_item(
    view: View,
    item: Item,
    world: World,
    row: Owed | None,
    *,
    stop: Park | Wait | None = None,
) -> Owed:
    """Owe an arrival: as a hint, with its body, or stopped with the reason and the body kept."""
    source = source_dict(item.source) if item.source is not None else None
    fetchable = item.sync is not None and world.is_fetchable(item.sync)
    if row is None:
        made = rows.new_row(view, sync=item.sync_name, subject=item.subject, connection=item.connection,
                            target=None, lane=item.lane)  # fmt: skip
        row = rows.owe(view, made, source=source, fetchable=fetchable)
    elif stop is not None:
        current = row.want == row.generation
        rows.close(view, row, reopens=False)
        if not current:
            if fetchable and not rows.is_partial(row.source):
                row.source = None
            rows.ready(view, row)
            return row
        row.source = source
    if stop is None or row.open or row.state not in (rows.READY, rows.CLAIMED):
        return row
    xref = view.xrefs.get(item.at)
    record = xref.record.hex() if xref else None
    if isinstance(stop, Park):
        _park(view, row, item, stop)
        view.note(record=record, row=row.id.hex(), sync=item.sync_name, subject=item.subject, outcome="parked",
                  cause=stop.cause.value, field=stop.field, event=item.event or None,
                  message=stop.message if stop.cause in _TOLD else None)  # fmt: skip
    else:
        rows.wait(view, row, stop.key)
        _raise_arrival(view, stop.key, world)
        view.note(record=record, row=row.id.hex(), sync=item.sync_name, subject=item.subject, outcome="waiting",
                  waits_for=stop.key, event=item.event or None, traceparent=item.traceparent or None)  # fmt: skip
    return row


def join_owed(view: View, item: Item, world: World) -> None:
    """Let what comes join the debt that its object has already, and say so in the act: no event ends without a trace."""
    row = owe_item(view, item, world, None)
    xref = view.xrefs.get(item.at)
    view.note(record=xref.record.hex() if xref else None, row=row.id.hex(), sync=item.sync_name, subject=item.subject,
              outcome="joined", event=item.event or None, traceparent=item.traceparent or None)  # fmt: skip


def _raise_arrival(view: View, key: str, world: World) -> None:
    """Have the object that somebody waits for read, unless it is owed already; its debt is never moved."""
    connection, object_, org, vendor_id = key.removeprefix("arrival:").split("/", 3)
    sync = world.inbound(connection, object_)
    subject = f"{org}/{vendor_id}"
    if sync is None or not world.is_fetchable(sync) or (sync.name, subject) in view.owed:
        return
    made = rows.new_row(view, sync=sync.name, subject=subject, connection=connection, target=None,
                        lane=sync.lane)  # fmt: skip
    view.raise_owed(made)


def _park(view: View, row: Owed, item: Item, stop: Park) -> None:
    rows.park(
        view,
        row,
        stop.cause,
        field=stop.field,
        message=stop.message,
        candidates=list(stop.candidates) or None,
    )
    for candidate in stop.candidates:  # the trace of each candidate shows who came
        view.note(
            record=candidate, row=row.id.hex(), sync=item.sync_name, subject=item.subject, outcome="candidate"
        )


def apply(view: View, change: Change, item: Item, world: World) -> None:
    """Write the records of a change, their keys, the xref of the arriving object; owe every sync it touches."""
    revision = item.sync.revision if item.sync else None
    told = Told(item.sync_name, item.subject, item.event, revision, item.traceparent)
    born = None if item.at in view.xrefs else "/".join(item.at)
    record, _ = write_records(view, change.records, world, told, origin=item.at[:3], conflicts=change.conflicts,
                              lane=LANE_BULK if item.bulk else None, back=bool(change.merged.owe_back), born=born)  # fmt: skip
    xref = _arriving_xref(view, item, record, world)
    xref.snapshot = {**xref.snapshot, **change.merged.pairs}
    if change.gone:
        _is_gone(view, xref)
    _taken(xref, item.sync_name, record)
    view.save_xref(xref)


def owe_reread(
    view: View, sync: Sync, vendor_id: str, world: World, *, at: int, record: str | None = None
) -> None:
    """Have the vendor's object read once more at a time (µs): by its stream, or by a look-up where it has none."""
    source = world.project.sync_in(sync.connection, sync.object)
    if source is not None and world.is_fetchable(source):
        subject = f"{sync.org}/{vendor_id}"
        view.lock_owed([(source.name, subject)])
        known = view.owed.get((source.name, subject))
        made = rows.new_row(view, sync=source.name, subject=subject, connection=sync.connection, target=None,
                            lane=source.lane)  # fmt: skip
        row = rows.owe(view, made)
        if known is None:
            row.due = at
    elif record is not None:
        target = rows.target_key(sync.connection, sync.object, sync.org, bytes.fromhex(record))
        spec = orjson.dumps({"sync": sync.name, "record": record}).decode()
        owe_recheck(view.tx, [(f"recheck:{target}", "recheck", spec, "null", at, 0, "null", "due", view.act)])


def _is_gone(view: View, xref: Xref) -> None:
    xref.gone, xref.is_primary, xref.complete, xref.seen = view.now, False, None, view.now


def _taken(xref: Xref, sync: str, record: Record) -> None:
    xref.sent = {**xref.sent, sync: {"version": record.version}}


def _arriving_xref(view: View, item: Item, record: Record, world: World) -> Xref:
    connection, object_, org, vendor_id = item.at
    xref = view.xrefs.get(item.at)
    if xref is None:
        at = (connection, object_, org, record.id)
        if not record.is_new:
            view.load_primary([at])
        xref = Xref(connection, object_, org, vendor_id, record.id, is_primary=at not in view.primary,
                    complete=view.now)  # fmt: skip
        view.wake(f"arrival:{'/'.join(item.at)}")
    _show(view, xref, item, world)
    if xref.gone is not None and item.source is not None and not item.source.deleted:
        at = (connection, object_, org, record.id)
        view.load_primary([at])
        xref.gone, xref.is_primary, xref.complete = None, at not in view.primary, view.now  # it is back
    return xref


def _ended(view: View, item: Item) -> int:
    """Return when the read that showed the item had ended: now at the latest, and where nobody said so.

    A page waits on the bus while its reader reads on: were it counted as ended only when it is taken, whatever the
    same read shows again (a person, once for each who follows it) would count as older than itself.
    """
    return view.now if item.read_ended is None else min(item.read_ended, view.now)


def _show(view: View, xref: Xref, item: Item, world: World) -> None:
    """Take over what a read shows about the object itself: until when it was seen, its number, its stage."""
    xref.seen = max(xref.seen, _ended(view, item))
    source = item.source
    if source is None:
        return
    xref.stable_key = source.stable_key or xref.stable_key
    xref.stored_version = source.version
    if source.stage is None or item.sync is None:
        return
    xref.stage = source.stage
    spec = world.object(item.sync)
    writer = world.writers.get((xref.connection, xref.object, xref.org))
    if spec is None or writer is None:
        return
    if not spec.is_complete(source.stage, world.stop_at(writer)):
        xref.complete = None
    elif xref.complete is None:
        xref.complete = view.now
        view.wake(rows.xref_key(rows.target_key(xref.connection, xref.object, xref.org, xref.record)))


def _mark_seen(
    view: View, item: Item, world: World, known: bytes | None, pairs: dict[str, list[object]], *, gone: bool
) -> None:
    xref = view.xrefs.get(item.at)
    if xref is None:
        if known is None:
            return
        xref = _arriving_xref(view, item, view.records[known], world)
    elif gone:
        _is_gone(view, xref)
    else:
        _show(view, xref, item, world)
    if pairs:
        xref.snapshot = {**xref.snapshot, **pairs}
    view.save_xref(xref)
