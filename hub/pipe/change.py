"""A record changes: its new version, its match keys, what the act says of it, and the debts it raises."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from hub.clock import uuid8
from hub.crm.decide import RecordChange
from hub.mapping import Context
from hub.model.kinds import KINDS, key_values
from hub.model.region import is_within
from hub.pipe import rows
from hub.pipe.world import World
from hub.project.values import Sync
from hub.store.rows import Record
from hub.store.view import View

if TYPE_CHECKING:
    from hub.crm.merge import Conflict, Merged

__all__ = ["Told", "leave_taken", "load_debts", "note_change", "owe_syncs", "write_record", "write_records"]


@dataclass(slots=True)  # not frozen: see RecordChange
class Told:
    """Who an act says a change came by; ``traceparent``: the trace its event belongs to (W3C), handed on with the change."""

    sync: str
    subject: str = ""
    event: str = ""
    revision: int | None = None
    traceparent: str = ""


def load_debts(view: View, records: Iterable[bytes], world: World) -> None:
    """Lock records and the deliveries that a change of them may owe, and see in whose books they are."""
    ids = list(records)
    view.load_records(ids, lock=True)
    view.load_primary(
        (sync.connection, sync.object, sync.org, id_)
        for id_ in ids
        if id_ in view.records
        for sync in world.books[view.records[id_].kind]
    )
    pairs = [
        (sync.name, id_.hex())
        for id_ in ids
        if id_ in view.records
        for sync in world.project.syncs_out(view.records[id_].kind)
    ]
    view.lock_owed(pairs)


def write_record(view: View, one: RecordChange, world: World, *, born: str | None = None) -> Record:
    """Write one record of a change and its match keys; a new one gets its own data key.

    ``born``: the object of another system that becomes this record, None for one that is made here.
    """
    before = {} if one.record is None else one.record.body
    if one.record is None:
        clock = view.tx.clock
        id_ = clock.new_id() if born is None else uuid8(clock.now(), world.vault.digest(born.encode()))
        key, sealed = world.vault.new_data_key(id_)
        record = Record(id_, one.kind, 1, one.region, one.entity, one.owner, one.body, data_key=sealed, is_new=True,
                        key=key)  # fmt: skip
    else:
        record = one.record
        if one.changed or (record.owner, record.region) != (one.owner, one.region):
            record.version += 1
        record.body, record.entity, record.owner = one.body, one.entity, one.owner
        record.region = one.region
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


def leave_taken(view: View, record: Record, merged: Merged) -> list[str]:
    """Take out of a merge the strong keys that another record holds; return their fields."""
    kind = KINDS[record.kind]
    body = {name: merged.taken[name] for name in kind.strong_keys if name in merged.taken}
    keys = [(name, value) for name, value, strong in key_values(kind, body) if strong]
    view.lock_keys(keys)
    view.load_keys(keys)
    left = [
        name.partition(".")[2]
        for name, value in keys
        if any(holder != record.id for holder, _ in view.keys.get((name, value), ()))
    ]
    for name in left:
        del merged.taken[name]
        merged.pairs.pop(name, None)
    return left


def owe_syncs(
    view: View,
    record: Record,
    one: RecordChange,
    world: World,
    *,
    origin: tuple[str, ...] | None,
    lane: int | None = None,
    forced: bool = False,
    came: str | None = None,
) -> list[str]:
    """Owe every sync whose `when` holds before or after the change; return their names.

    ``origin``: (connection, object, org) the change came from: it knows already. ``came``: the region it moved from.
    """
    owed = []
    for sync in world.project.syncs_out(record.kind):
        place = (sync.connection, sync.object, sync.org)
        needed = (*place, record.id) in view.primary or (sync.name, record.id.hex()) in view.owed
        if place == origin or not world.serves(sync, record, needed=needed):
            continue
        if (
            one.record is not None
            and not forced
            and origin is not None
            and not (one.changed & _matters(sync))
            and (came is None or is_within(came, sync.region))
        ):
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


def _matters(sync: Sync) -> frozenset[str]:
    """Return the fields whose change a sync must look at: what it maps, what admits a record, whose books it is in."""
    admitting = sync.admission.fields if sync.admission else ()
    return sync.mapping.reads | {*admitting, "entity"}


def _concerns(sync: Sync, record: Record, one: RecordChange) -> bool:
    context = Context(region=record.region, record=record.id.hex())
    if sync.mapping.when(record.body, context) is not False:
        return True
    return bool(one.before) and sync.mapping.when({**one.body, **one.before}, context) is not False


def note_change(
    view: View, record: Record, one: RecordChange, conflicts: Sequence[Conflict], told: Told, world: World
) -> None:
    """Tell in the act what changed: digests in plain, values only under the record's own key."""
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
        traceparent=told.traceparent or None,
        revision=told.revision,
        outcome="created" if one.record is None else "changed",
        fields={name: [digest(name, before[name]), digest(name, after[name])] for name in after},
        conflicts={conflict.field: conflict.winner for conflict in conflicts} or None,
        by=list(one.by) or None,
        values=_sealed_values(view, record, values, world),
    )


def _sealed_values(view: View, record: Record, values: dict[str, object], world: World) -> str | None:
    if record.data_key is None:
        return None
    key = record.key or world.vault.open_data_key(record.id, record.data_key)
    plain = orjson.dumps(values)
    return base64.b64encode(world.vault.seal_values(key, plain, str(view.act).encode())).decode()


def write_records(
    view: View,
    records: Sequence[RecordChange],
    world: World,
    told: Told,
    *,
    origin: tuple[str, ...] | None,
    lane: int | None = None,
    back: bool = False,
    conflicts: Sequence[Conflict] = (),
    born: str | None = None,
) -> tuple[Record, list[str]]:
    """Write the records of a change, tell them in the act, owe every sync they touch.

    Returns the first record, whose change it is, and the syncs it owes. ``back``: it is owed to where it came from too.
    ``born``: of the first record, see :func:`write_record`; the others are named by it and by their own names.
    """
    written: dict[int, Record] = {}
    owed: list[str] = []
    for number, one in reversed(list(enumerate(records))):  # what others refer to is made first
        named = {name: written[place].id.hex() for name, place in one.refers}
        whole = replace(one, body={**one.body, **named}) if named else one
        first = number == 0
        came = one.record.region if one.record is not None and one.record.region != one.region else None
        record = written[number] = write_record(
            view, whole, world, born=born if first else _beside(born, whole)
        )
        note_change(view, record, whole, conflicts if first else (), told, world)
        if one.changed or one.record is None or came is not None or (first and back):
            owed = owe_syncs(
                view, record, whole, world, origin=None if first and back else origin, lane=lane, came=came
            )
    return written[0], owed


def _beside(born: str | None, one: RecordChange) -> str | None:
    """Name a record that is made together with the one that arrives: a customer by the company noted for a person."""
    name = one.body.get("name")
    return None if born is None or not name else f"{born}/{one.kind}/{name}"
