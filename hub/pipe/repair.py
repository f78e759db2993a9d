"""The way back from a bad mapping, data included: what its revisions wrote is undone by ordinary debts and changes.

:func:`scan` reads the acts since the bad revision was published, :func:`plan` says what becomes of each field,
:func:`repair` does it, some records a transaction; each may be done again and goes on where it ended. An object is read
anew and mapped by the mapping in force now; a field that only the bad one filled gets its old value back from the act;
a delivery is owed again and carries every field. Nothing overrides what somebody changed since, and a document that was
sent is a person's to reverse.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import orjson

from hub.pipe import rows
from hub.pipe.change import load_debts
from hub.pipe.items import source_dict
from hub.pipe.repair_plan import Plan, is_alive, is_final, target_of
from hub.pipe.repair_scan import BY_REPAIR, REPAIRED, Changed, Found, Wanted, Written, take_act
from hub.pipe.revise import change_record
from hub.pipe.world import World
from hub.project.folder import Key
from hub.project.revisions import Entry
from hub.project.values import LANE_BULK, Sync
from hub.store import sql
from hub.store.engine import Store
from hub.store.tx import Tx
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["AT_ONCE", "Span", "narrowed", "repair", "scan", "span_of"]

AT_ONCE: Final = 200
"""Records that one transaction repairs."""
_PAGE: Final = 500

_acts = sql.query(f"SELECT id, body FROM acts WHERE id > ? ORDER BY id LIMIT {_PAGE}")
_has_act = sql.query("SELECT 1 FROM acts WHERE id = ?")
_revisions = sql.query(
    "SELECT name, revision, act FROM revisions WHERE kind = 'mapping' AND act >= ? AND act < ? ORDER BY act"
)


@dataclass(frozen=True, slots=True)
class Span:
    """When a text was bad. ``since``: the act that published it, ``until``: the act that took it back.

    ``bad``: mapping -> its revisions of that time: the text's own, or those of the mappings that use it. ``acts``: of
    each of these revisions, the act that published it. ``complete``: every act of that time is still in the store.
    """

    key: Key
    since: int
    until: int
    bad: Mapping[str, frozenset[int]]
    acts: tuple[int, ...]
    complete: bool


def span_of(tx: Tx, key: Key, entries: Sequence[Entry], target: int) -> Span | None:
    """Return the time in which revisions behind ``target`` were in force; the newest entry is the way back to it.

    ``entries``: the text's history, the newest first. None: there was no such time.
    """
    newest = entries[0]
    spans = [
        (one.act, after.act)
        for after, one in pairwise(entries)
        if one.number > target and one.digest != newest.digest
    ]
    if not spans:
        return None
    since, until = spans[-1][0], newest.act
    bad: dict[str, set[int]] = {}
    acts = []
    for name, number, act in _revisions(tx, since, until):
        if (key[0] != "mapping" or name == key[1]) and any(first <= act < end for first, end in spans):
            bad.setdefault(name, set()).add(int(number))
            acts.append(int(act))
    complete = bool(_has_act(tx, since))
    return Span(key, since, until, {name: frozenset(found) for name, found in bad.items()},
                tuple(dict.fromkeys(acts)), complete)  # fmt: skip


def narrowed(span: Span, world: World) -> Span:
    """Return the span with the mappings alone that use its text, as they are in force now."""
    kind, name = span.key
    if kind == "mapping":
        return span
    using = {
        one.mapping.name
        for one in world.project.syncs.values()
        if one.mapped
        and (name in one.mapping.value_maps or f"crm.{name}" in (one.mapping.source, one.mapping.target))
    }
    return replace(span, bad={name: found for name, found in span.bad.items() if name in using})


def scan(store: Store, world: World, span: Span) -> Found:
    """Read every act since the bad revision was published; see :func:`take_act`.

    Always from the beginning: on PostgreSQL an act may be committed behind one with a higher number.
    """
    found = Found(upto=span.since - 1)
    syncs = [one for one in world.project.syncs.values() if one.mapped and one.mapping.name in span.bad]
    bad = {one.name: span.bad[one.mapping.name] for one in syncs}
    kinds = {one.name: one.kind for one in syncs if one.direction == "in"}
    shows: dict[str, str] = {}
    for one in syncs:
        if one.direction == "out":
            shows[one.name] = one.name  # what a write's answer showed
            if (source := world.project.sync_in(one.connection, one.object)) is not None:
                shows[source.name] = one.name
    wanted = Wanted(bad, kinds, shows)
    while store.read_now(_scan_page, world, found, wanted):
        pass
    return found


def _scan_page(tx: Tx, world: World, found: Found, wanted: Wanted) -> bool:
    page = [(int(act), orjson.loads(body).get("items") or []) for act, body in _acts(tx, found.upto)]
    view = View(tx, world.vault)
    named = {
        bytes.fromhex(item["record"])
        for _, items in page
        for item in items
        if item.get("values") and (item.get("sync") in wanted.kinds or item.get("sync") in wanted.shows)
    }
    view.load_records(named, lock=False)

    def open_values(record: bytes, sealed: str, aad: bytes) -> Mapping[str, Any]:
        known = view.records.get(record)
        if known is None or known.data_key is None:
            return {}  # it is erased: there is nothing to bring back
        key = known.key = known.key or world.vault.open_data_key(known.id, known.data_key)
        opened: Mapping[str, Any] = orjson.loads(world.vault.open_values(key, base64.b64decode(sealed), aad))
        return opened

    for act, items in page:
        take_act(found, act, items, wanted, open_values)
    return len(page) == _PAGE


@dataclass(slots=True)
class _Order:
    """What one transaction does."""

    arrivals: list[Changed] = field(default_factory=list)
    deliveries: list[tuple[str, bytes]] = field(default_factory=list)


def repair(store: Store, world: World, made: Plan, *, by: str, note: str) -> None:
    """Carry a plan out, some records a transaction.

    Ended in between, it may be planned and done again: the acts tell what is done.
    """
    for at in range(0, len(made.arrivals), AT_ONCE):
        store.run_now(_repair, _Order(arrivals=made.arrivals[at : at + AT_ONCE]), world, made, by, note)
    for at in range(0, len(made.deliveries), AT_ONCE):
        store.run_now(_repair, _Order(deliveries=made.deliveries[at : at + AT_ONCE]), world, made, by, note)


def _repair(tx: Tx, order: _Order, world: World, made: Plan, by: str, note: str) -> None:
    view = View(tx, world.vault)
    pairs = [(one.sync, one.subject) for one in order.arrivals]
    view.lock_owed(pairs)
    back = [one for one in order.arrivals if made.restores.get((one.sync, one.subject))]
    records = {one.record for one in back if one.record is not None}
    load_debts(view, sorted(records | {record for _, record in order.deliveries}), world)
    for one in back:
        sync = world.sync(one.sync)
        wanted = {name: one.fields[name] for name in made.restores[one.sync, one.subject]}
        if sync is not None and (fields := _restored(view, one.record, wanted, world)):
            _agree(view, one, fields, sync, world)
    for one in order.arrivals:
        if (one.sync, one.subject) in made.rereads:
            _owe_arrival(view, one, world, made)
        else:
            _tell(view, one.sync, one.subject, one.record)
    syncs = [(sync, id_) for name, id_ in order.deliveries if (sync := world.sync(name)) is not None]
    view.load_primary(((sync.connection, sync.object, sync.org, id_) for sync, id_ in syncs), lock=True)
    for name, id_ in order.deliveries:
        _restored(view, id_, made.echoes.get((name, id_), {}), world)
        _owe_delivery(view, name, id_, world)
    if note and view.items:
        view.note(outcome="note", message=note)
    view.flush(by, BY_REPAIR)


def _tell(view: View, sync: str, subject: str, record: bytes | None) -> None:
    view.note(record=record.hex() if record else None, sync=sync, subject=subject, outcome=REPAIRED)


def _restored(view: View, id_: bytes | None, wanted: Mapping[str, Written], world: World) -> dict[str, Json]:
    """Give fields their old values back, if they still hold what the bad mapping wrote: nobody else did since."""
    record = view.records.get(id_ or b"")
    if not wanted or not is_alive(record):
        return {}
    digest = world.digests[record.kind]
    fields = {
        name: written.old
        for name, written in wanted.items()
        if digest(name, record.body.get(name)) == written.last
    }
    if fields:
        change_record(view, record, fields, world, by=BY_REPAIR)
    return fields


def _agree(view: View, one: Changed, fields: Mapping[str, Json], sync: Sync, world: World) -> None:
    """What is restored is ours and no news for the object it came from: that one was never written."""
    org, _, vendor_id = one.subject.partition("/")
    at = (sync.connection, sync.object, org, vendor_id)
    view.load_xrefs([at], lock=True)
    xref = view.xrefs.get(at)
    if xref is None:
        return
    digest = world.digests[sync.kind]
    for name, value in fields.items():
        pair = xref.snapshot.get(name)
        if pair is not None:
            xref.snapshot[name] = [digest(name, value), *pair[1:]]
    view.save_xref(xref)


def _owe_arrival(view: View, one: Changed, world: World, made: Plan) -> None:
    sync = world.sync(one.sync)
    if sync is None:
        return
    source = made.sources.get((one.sync, one.subject))
    row = rows.new_row(view, sync=one.sync, subject=one.subject, connection=sync.connection, target=None,
                       lane=max(LANE_BULK, sync.lane))  # fmt: skip
    rows.owe(view, row, source=None if source is None else source_dict(source),
             fetchable=world.is_fetchable(sync), forced=True)  # fmt: skip
    _tell(view, one.sync, one.subject, one.record)


def _owe_delivery(view: View, name: str, id_: bytes, world: World) -> None:
    sync, record = world.sync(name), view.records.get(id_)
    if sync is None or not is_alive(record):
        return
    at = (sync.connection, sync.object, sync.org, id_)
    known = view.owed.get((name, id_.hex()))
    if is_final(world, sync) and (at in view.primary or (known is not None and known.open)):
        return  # it was sent since it was planned: the next look lists it
    row = rows.new_row(view, sync=name, subject=id_.hex(), connection=sync.connection, target=target_of(sync, id_),
                       lane=max(LANE_BULK, sync.lane))  # fmt: skip
    rows.owe(view, row, forced=True)
    _tell(view, name, id_.hex(), id_)
