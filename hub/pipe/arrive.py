"""What comes in takes effect: stale check, decision, records, keys, xref, and the debts a change raises.

Used by `take` (a batch from the bus), by `settle` (a read that a hint asked for) and by the API (one record).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import orjson

from hub.crm.decide import Arrival, Change, Park, RecordChange, Same, decide
from hub.errors import Cause, HubError
from hub.mapping import Mapped, Wait
from hub.model.kinds import KINDS, key_values
from hub.pipe import rows
from hub.pipe.change import Told, note_change, owe_syncs, write_record
from hub.pipe.items import Item, map_in, source_dict
from hub.pipe.world import World
from hub.project.values import LANE_BULK, Sync
from hub.store import sql
from hub.store.rows import KEEP, Owed, Record, Xref
from hub.store.schema import jobs
from hub.store.view import View

__all__ = [
    "apply",
    "apply_merge",
    "arrive",
    "load_arrivals",
    "load_debts",
    "owe_hint",
    "owe_item",
    "owe_reread",
]

log = logging.getLogger(__name__)

owe_recheck = sql.bulk_upsert(jobs, "name kind spec position due fence progress state act", key="name")


def load_arrivals(view: View, items: Sequence[Item], world: World) -> None:
    """Map the items in, then load and lock everything a decision about them looks at, in the lock order.

    The rows owed (in) must be locked already by whoever settles; `take` locks them here.
    """
    map_in(view, items)
    pairs = [(item.sync_name, item.subject) for item in items]
    view.lock_owed(pairs)
    view.load_sealed(
        [view.owed[pair] for pair in pairs if pair in view.owed and view.owed[pair].source is KEEP]
    )
    at = [item.at for item in items]
    view.load_xrefs(at, lock=False)
    view.asked.update(at)
    keys = [key for item in items for key in _match_keys(view, item, world)]
    view.lock_keys(keys)
    view.load_keys(keys)
    records = {view.xrefs[key].record for key in at if key in view.xrefs}
    records |= {record for key in keys for record, _ in view.keys.get(key, ())}
    records |= {item.chosen for item in items if item.chosen}
    load_debts(view, sorted(records), world)
    view.load_xrefs(at, lock=True)


def load_debts(view: View, records: Iterable[bytes], world: World) -> None:
    """Lock records and the deliveries that a change of them may owe."""
    ids = list(records)
    view.load_records(ids, lock=True)
    pairs = [
        (sync.name, id_.hex())
        for id_ in ids
        if id_ in view.records
        for sync in world.project.syncs_out(view.records[id_].kind)
    ]
    view.lock_owed(pairs)


def _match_keys(view: View, item: Item, world: World) -> list[tuple[str, str]]:
    """Who is not known by xref is looked for by the keys that decide; who is known may take a strong key only if it is free.

    Never by a reference: one customer has thousands of payments, and each of them would be loaded and locked.
    """
    if item.sync is None or not isinstance(item.outcome, Mapped):
        return []
    known = item.at in view.xrefs
    deciding = world.deciding_keys[item.sync.kind]
    try:
        keys = key_values(KINDS[item.sync.kind], item.outcome.fields)
        return [(name, value) for name, value, strong in keys if strong or (name in deciding and not known)]
    except ValueError:  # the decision parks it and names the field
        return []


def arrive(
    view: View, item: Item, world: World, row: Owed | None = None
) -> Change | Same | Park | Wait | None:
    """Let one item take effect, or owe it. ``row``: its debt, when a worker settles a read. None: it was stale."""
    if _is_stale(view, item, world):
        owe_hint(view, item, world, row)
        return None
    verdict = _guarded(view, item, world)
    busy = next((record for record in _found(verdict) if _open_target(view, item, record)), None)
    if busy is not None:
        owe_hint(view, item, world, row, record=busy)
        return None
    match verdict:
        case Change():
            apply(view, verdict, item, world)
        case Same(record=known, pairs=pairs, gone=gone):
            _mark_seen(view, item, world, known, pairs, gone=gone)
            view.note(record=known.hex() if known else None, sync=item.sync_name, subject=item.subject,
                      outcome="gone" if gone else "same", event=item.event or None)  # fmt: skip
        case Park() | Wait():
            owe_item(view, item, world, row, stop=verdict)
            return verdict
    if row is not None:
        rows.paid(view, row)
    return verdict


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


def _guarded(view: View, item: Item, world: World) -> Change | Same | Park | Wait:
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
        owner=item.owner,
        deleted=item.source is not None and item.source.deleted,
        chosen=item.chosen,
    )
    try:
        return decide(view, arrival, world.project.rules(sync.kind), world.digests[sync.kind])
    except HubError:
        raise
    except Exception as error:
        log.exception("decide.bug sync=%s subject=%s", item.sync_name, item.subject)
        return Park(Cause.BUG, message=f"{type(error).__name__}: {error}")


def _is_stale(view: View, item: Item, world: World) -> bool:
    """A target with an open attempt, or a read that began before the object's last settle or merge ended."""
    xref = view.xrefs.get(item.at)
    if xref is None or item.source is None:
        return False
    if _open_target(view, item, xref.record):
        return True
    if item.sync is not None and not world.is_fetchable(item.sync):
        return False
    return item.source.observed_at < xref.seen


def _open_target(view: View, item: Item, record: bytes) -> bool:
    connection, object_, org, _ = item.at
    return rows.target_key(connection, object_, org, record) in view.targets


def owe_hint(view: View, item: Item, world: World, row: Owed | None, *, record: bytes | None = None) -> None:
    """Owe a fresh read: after the attempt at its target, or at once. An unfetchable stream keeps the body.

    ``record``: whose object it is, where no xref says so yet.
    """
    fetchable = item.sync is not None and world.is_fetchable(item.sync)
    source = None if fetchable or item.source is None else source_dict(item.source)
    if row is not None:
        rows.close(view, row, reopens=False)
        if fetchable:
            row.source = None
        rows.ready(view, row)
    else:
        row = owe_item(view, item, world, None, body=source)
    xref = view.xrefs.get(item.at)
    about = xref.record if xref is not None else record
    if about is not None and _open_target(view, item, about) and not row.open:
        rows.wait(view, row, f"target:{rows.target_key(*item.at[:3], about)}")
    view.note(record=about.hex() if about else None, sync=item.sync_name, subject=item.subject,
              outcome="stale", event=item.event or None)  # fmt: skip


def owe_item(
    view: View,
    item: Item,
    world: World,
    row: Owed | None,
    *,
    stop: Park | Wait | None = None,
    body: dict[str, object] | None = None,
) -> Owed:
    """Owe an arrival: as a hint, with its body, or stopped with the reason and the body kept."""
    source = source_dict(item.source) if item.source is not None and body is None else body
    fetchable = item.sync is not None and world.is_fetchable(item.sync)
    if row is None:
        made = rows.new_row(view, sync=item.sync_name, subject=item.subject, connection=item.connection,
                            target=None, lane=item.lane)  # fmt: skip
        row = rows.owe(view, made, source=source, fetchable=fetchable)
    elif stop is not None:
        current = row.want == row.generation
        rows.close(view, row, reopens=False)
        if not current:
            row.source = None if fetchable else row.source
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
                  cause=stop.cause.value, field=stop.field, event=item.event or None)  # fmt: skip
    else:
        rows.wait(view, row, stop.key)
        view.note(record=record, row=row.id.hex(), sync=item.sync_name, subject=item.subject, outcome="waiting",
                  waits_for=stop.key, event=item.event or None)  # fmt: skip
    return row


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
    for number, one in enumerate(change.records):
        back = bool(change.merged.owe_back) and number == 0
        told = Told(item.sync_name, item.subject, item.event, item.sync.revision if item.sync else None)
        record = write_record(view, one, world)
        if number == 0:
            xref = _arriving_xref(view, item, record, world)
            xref.snapshot = {**xref.snapshot, **change.merged.pairs}
            _taken(xref, item.sync_name, record)
            view.save_xref(xref)
        note_change(view, record, one, change.conflicts, told, world)
        if one.changed or one.record is None or back:
            owe_syncs(view, record, one, world, origin=None if back else item.at[:3],
                      lane=LANE_BULK if item.bulk else None)  # fmt: skip


def apply_merge(view: View, change: Change, world: World, *, by: str, origin: tuple[str, ...]) -> None:
    """Write what a settle took from the vendor: a user's edit that came in between. Owe the other syncs."""
    for one in change.records:
        record = write_record(view, one, world)
        note_change(view, record, one, change.conflicts, Told(by, record.id.hex()), world)
        owe_syncs(view, record, one, world, origin=origin)


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
    return xref


def _show(view: View, xref: Xref, item: Item, world: World) -> None:
    """Take over what a read shows about the object itself: it was seen now, its number, its stage."""
    xref.seen = view.now
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
        xref.gone, xref.is_primary, xref.complete, xref.seen = view.now, False, None, view.now
    else:
        _show(view, xref, item, world)
    if pairs:
        xref.snapshot = {**xref.snapshot, **pairs}
    view.save_xref(xref)
