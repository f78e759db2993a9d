"""What comes in takes effect: stale check, decision, records, keys, xref, and the debts a change raises.

Used by `take` (a batch from the bus), by `settle` (a read that a hint asked for) and by the API (one record).
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from hub.crm.decide import Arrival, Change, Park, RecordChange, Same, decide
from hub.errors import Cause, HubError
from hub.mapping import Context, Mapped, Wait
from hub.model.kinds import KINDS, key_values
from hub.pipe import rows
from hub.pipe.items import Item, map_in, source_dict
from hub.pipe.world import World
from hub.project.values import LANE_BULK, Sync
from hub.store import sql
from hub.store.rows import Owed, Record, Xref
from hub.store.schema import jobs
from hub.store.view import View

if TYPE_CHECKING:
    from hub.crm.merge import Conflict
    from hub.model.record import Json

__all__ = ["apply", "apply_merge", "arrive", "change_record", "load_arrivals", "load_debts", "owe_hint", "owe_item", "owe_reread", "owe_syncs"]

log = logging.getLogger(__name__)

owe_recheck = sql.bulk_upsert(jobs, "name kind spec position due fence progress state act", key="name")


def load_arrivals(view: View, items: Sequence[Item], world: World) -> None:
    """Map the items in, then load and lock everything a decision about them looks at, in the lock order.

    The rows owed (in) must be locked already by whoever settles; `take` locks them here.
    """
    map_in(view, items, world)
    view.lock_owed([(item.sync_name, item.subject) for item in items])
    at = [item.at for item in items]
    view.load_xrefs(at, lock=False)
    view.asked.update(at)
    keys = [key for item in items for key in _match_keys(view, item)]
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


def _match_keys(view: View, item: Item) -> list[tuple[str, str]]:
    """Only who is not known by xref is looked for by keys."""
    if item.at in view.xrefs or item.sync is None or not isinstance(item.outcome, Mapped):
        return []
    try:
        return [(name, value) for name, value, _ in key_values(KINDS[item.sync.kind], item.outcome.fields)]
    except ValueError:  # the decision parks it and names the field
        return []


def arrive(view: View, item: Item, world: World, row: Owed | None = None) -> Change | Same | Park | Wait | None:
    """Let one item take effect, or owe it. ``row``: its debt, when a worker settles a read. None: it was stale."""
    if _is_stale(view, item, world):
        owe_hint(view, item, world, row)
        return None
    verdict = _guarded(view, item, world)
    record = verdict.records[0].record if isinstance(verdict, Change) else None
    if record is not None and _open_target(view, item, record.id):
        owe_hint(view, item, world, row)
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


def owe_hint(view: View, item: Item, world: World, row: Owed | None) -> None:
    """Owe a fresh read: after the attempt at its target, or at once. An unfetchable stream keeps the body."""
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
    if xref is not None and _open_target(view, item, xref.record) and not row.open:
        rows.wait(view, row, f"target:{rows.target_key(xref.connection, xref.object, xref.org, xref.record)}")
    view.note(record=xref.record.hex() if xref else None, sync=item.sync_name, subject=item.subject,
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
    rows.park(view, row, stop.cause, field=stop.field, message=stop.message, candidates=list(stop.candidates) or None)
    for candidate in stop.candidates:  # the trace of each candidate shows who came
        view.note(record=candidate, row=row.id.hex(), sync=item.sync_name, subject=item.subject, outcome="candidate")


def apply(view: View, change: Change, item: Item, world: World) -> None:
    """Write the records of a change, their keys, the xref of the arriving object; owe every sync it touches."""
    for number, one in enumerate(change.records):
        back = bool(change.merged.owe_back) and number == 0
        told = Told(item.sync_name, item.subject, item.event, item.sync.revision if item.sync else None)
        record = _write_record(view, one, world)
        if number == 0:
            xref = _arriving_xref(view, item, record, world)
            xref.snapshot = {**xref.snapshot, **change.merged.pairs}
            _taken(xref, item.sync_name, record)
            view.save_xref(xref)
        _note_change(view, record, one, change.conflicts, told, world)
        if one.changed or one.record is None or back:
            owe_syncs(view, record, one, world, origin=None if back else item.at[:3],
                      lane=LANE_BULK if item.bulk else None)  # fmt: skip


def apply_merge(view: View, change: Change, world: World, *, by: str, origin: tuple[str, ...]) -> None:
    """Write what a settle took from the vendor: a user's edit that came in between. Owe the other syncs."""
    for one in change.records:
        record = _write_record(view, one, world)
        _note_change(view, record, one, change.conflicts, Told(by, record.id.hex()), world)
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


@dataclass(frozen=True, slots=True)
class Told:
    """Who an act says a change came by."""

    sync: str
    subject: str = ""
    event: str = ""
    revision: int | None = None


def _taken(xref: Xref, sync: str, record: Record) -> None:
    xref.sent = {**xref.sent, sync: {"version": record.version}}


def _write_record(view: View, one: RecordChange, world: World) -> Record:
    before = {} if one.record is None else one.record.body
    if one.record is None:
        id_ = view.tx.clock.new_id()
        _, sealed = world.vault.new_data_key(id_)
        record = Record(id_, one.kind, 1, one.region, one.entity, one.owner, one.body, data_key=sealed, is_new=True)
    else:
        record = one.record
        if one.changed or record.owner != one.owner:
            record.version += 1
        record.body, record.entity, record.owner = one.body, one.entity, one.owner
    known = KINDS[one.kind]
    old = {(name, value): strong for name, value, strong in key_values(known, before)}
    new = {(name, value): strong for name, value, strong in key_values(known, record.body)}
    for name, value in old.keys() - new.keys():
        view.drop_key(name, value, record.id)
    for (name, value), strong in new.items():
        if (name, value) not in old:
            view.add_key(name, value, record.id, strong=strong)
    view.save_record(record)
    return record


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


def _mark_seen(view: View, item: Item, world: World, known: bytes | None, pairs: dict[str, list[object]], *, gone: bool) -> None:
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


def owe_syncs(
    view: View,
    record: Record,
    one: RecordChange,
    world: World,
    *,
    origin: tuple[str, ...] | None,
    lane: int | None = None,
    forced: bool = False,
) -> list[str]:
    """Owe every sync whose `when` holds before or after the change; return their names.

    ``origin``: (connection, object, org) the change came from: it knows already.
    """
    owed = []
    for sync in world.project.syncs_out(record.kind):
        if (sync.connection, sync.object, sync.org) == origin or not world.serves(sync, record):
            continue
        if one.record is not None and not forced and origin is not None and not (one.changed & sync.mapping.reads):
            continue
        if not _concerns(sync, record, one):
            continue
        made = rows.new_row(
            view,
            sync=sync.name,
            subject=record.id.hex(),
            connection=sync.connection,
            target=rows.target_key(sync.connection, sync.object, sync.org, record.id),
            lane=sync.lane if lane is None else max(lane, sync.lane),
        )
        rows.owe(view, made, forced=forced)
        owed.append(sync.name)
    if owed:
        view.note(record=record.id.hex(), outcome="owed", syncs=owed)
    return owed


def _concerns(sync: Sync, record: Record, one: RecordChange) -> bool:
    before = {**one.body, **one.before}
    context = Context(region=record.region, record=record.id.hex())
    return any(sync.mapping.when(body, context) is not False for body in (record.body, before))


def _note_change(
    view: View, record: Record, one: RecordChange, conflicts: Sequence[Conflict], told: Told, world: World
) -> None:
    digest = world.digests[one.kind]
    after = {name: one.body.get(name) for name in sorted(one.changed)}
    before = {name: one.before.get(name) for name in after}
    values: dict[str, object] = {"before": before, "after": after}
    if conflicts:
        values["lost"] = {conflict.field: conflict.loser for conflict in conflicts}
    view.note(
        record=record.id.hex(),
        kind=record.kind,
        version=record.version,
        sync=told.sync,
        subject=told.subject,
        event=told.event or None,
        revision=told.revision,
        outcome="created" if one.record is None else "changed",
        fields={name: [digest(name, before[name]), digest(name, after[name])] for name in after},
        conflicts={conflict.field: conflict.winner for conflict in conflicts} or None,
        values=_sealed_values(view, record, values, world),
    )


def _sealed_values(view: View, record: Record, values: dict[str, object], world: World) -> str | None:
    if record.data_key is None:
        return None
    key = world.vault.open_data_key(record.id, record.data_key)
    plain = orjson.dumps(values)
    return base64.b64encode(world.vault.seal_values(key, plain, str(view.act).encode())).decode()


def change_record(view: View, record: Record, fields: dict[str, Json], world: World, *, by: str) -> list[str]:
    """Change a record by hand (repair desk): an ordinary new version that owes every sync. Returns their names."""
    body = {name: value for name, value in {**record.body, **fields}.items() if value is not None}
    changed = frozenset(name for name in fields if record.body.get(name) != body.get(name))
    before = {name: record.body.get(name) for name in changed}
    one = RecordChange(record, record.kind, body, changed, before, record.region, record.entity, record.owner)
    written = _write_record(view, one, world)
    _note_change(view, written, one, (), Told(by), world)
    return owe_syncs(view, written, one, world, origin=None)
