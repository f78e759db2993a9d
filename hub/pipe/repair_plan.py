"""What a repair would do to each field that bad revisions wrote; nothing is written here."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeGuard, TypeVar

from hub.mapping import Compiled, Mapped
from hub.pipe.repair_scan import Changed, Found, Written
from hub.pipe.rows import target_key
from hub.pipe.shadow import Given, compare, outcome_of
from hub.pipe.shadow_records import given_out
from hub.pipe.world import World
from hub.project.values import Sync
from hub.sdk.connector import SourceRecord
from hub.store.engine import Store
from hub.store.rows import Record
from hub.store.tx import Tx
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["Fate", "Left", "Line", "Plan", "is_alive", "is_final", "plan", "target_of"]

PAYMENT: Final = "payment"
DOCUMENTS: Final = frozenset({PAYMENT, "approval"})
"""Kinds of what a person alone takes back once it was sent: a receipt in books, a form that somebody was asked by."""
_BATCH: Final = 200
T = TypeVar("T")


class Fate(enum.StrEnum):
    """What becomes of a field. ``KEPT``: what the vendor's object held before is not known here; it keeps what was sent."""

    REREAD = "reread"
    RESTORE = "restore"
    SEND = "send"
    PERSON = "person"
    POSTED = "posted"
    NO_SOURCE = "no_source"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the preview: of one sync and field, how many records share a fate. ``field`` is "" for all of them."""

    direction: str
    sync: str
    field: str
    fate: Fate


@dataclass(frozen=True, slots=True)
class Left:
    """What is left to a person: the record, the field ("" for all of it), the vendor's id where one is known."""

    sync: str
    record: str
    field: str
    fate: Fate
    vendor_id: str = ""


@dataclass(slots=True)
class Plan:
    """What is to be done. ``restores``: (sync, subject) -> fields that get their old value; ``rereads``: what is read anew.

    ``arrivals``: those of either. ``sources``: what is taken from the bus where a stream cannot be asked.
    """

    lines: Counter[Line] = field(default_factory=Counter)
    arrivals: list[Changed] = field(default_factory=list)
    restores: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    rereads: set[tuple[str, str]] = field(default_factory=set)
    sources: dict[tuple[str, str], SourceRecord] = field(default_factory=dict)
    deliveries: list[tuple[str, bytes]] = field(default_factory=list)
    echoes: dict[tuple[str, bytes], dict[str, Written]] = field(default_factory=dict)
    """(sync, record) of a delivery -> CRM fields that only repeat what it wrote at the vendor: they get their old value."""
    left: list[Left] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Return how many objects and deliveries are to be done."""
        return len(self.arrivals) + len(self.deliveries)


def plan(
    store: Store,
    world: World,
    found: Found,
    *,
    bad: Mapping[str, Sequence[Compiled]],
    sources: Mapping[tuple[str, str], SourceRecord],
) -> Plan:
    """Say what becomes of everything that was found.

    Args:
        store: the records as they are.
        world: with the mappings in force.
        found: what bad revisions wrote.
        bad: mapping -> its bad revisions that can still be compiled, the newest last.
        sources: (sync, subject) -> what a stream that cannot be asked said last.
    """
    made = Plan(sources=dict(sources))
    planner = _Planner(world, found, bad, made)
    for changed in _batches(found.changed.values()):
        store.read_now(planner.arrivals, changed)
    by_sync: dict[str, list[bytes]] = {}
    for name, record in found.deliveries:
        by_sync.setdefault(name, []).append(record)
    for name, records in by_sync.items():
        sync = world.project.syncs[name]  # the scan asked for those that are configured
        for some in _batches(records):
            store.read_now(planner.deliveries, sync, some)
    return made


def is_alive(record: Record | None) -> TypeGuard[Record]:
    """Say whether there is anything to repair: not deleted, merged or erased."""
    return record is not None and record.deleted is None and record.merged_into is None and bool(record.body)


def is_final(world: World, sync: Sync) -> bool:
    """Say whether what a sync sent is a person's to take back, and never written again."""
    obj = world.object(sync)
    return sync.kind in DOCUMENTS or obj is None or not obj.edits


def target_of(sync: Sync, record: bytes) -> str:
    """Return the key of a delivery's target."""
    return target_key(sync.connection, sync.object, sync.org, record)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    whole = list(items)
    for at in range(0, len(whole), _BATCH):
        yield whole[at : at + _BATCH]


@dataclass(slots=True)
class _Planner:
    """Says what becomes of some records at a time, into ``made``."""

    world: World
    found: Found
    bad: Mapping[str, Sequence[Compiled]]
    made: Plan

    # ------------------------------------------------------------------------------------------------ in

    def arrivals(self, tx: Tx, changed: Sequence[Changed]) -> None:
        """Plan what came in."""
        view = View(tx, self.world.vault)
        view.load_records([one.record for one in changed if one.record is not None], lock=False)
        view.load_primary(
            (sync.connection, sync.object, sync.org, record.id)
            for record in view.records.values()
            if record.kind == PAYMENT
            for sync in self.world.project.syncs_out(PAYMENT)
        )
        for one in changed:
            record = view.records.get(one.record or b"")
            if record is not None and not is_alive(record):
                continue
            if record is not None and (at := self._booked(view, record)) is not None:
                self._leave(Line("in", one.sync, "", Fate.POSTED), record.id, at)
            else:
                self._arrival(one, record)

    def _arrival(self, one: Changed, record: Record | None) -> None:
        made, key = self.made, (one.sync, one.subject)
        sync = self.world.project.syncs[one.sync]
        can_read = self.world.is_fetchable(sync) or key in made.sources
        known = dict(self._fates(one, sync, record)) if record is not None else {}
        unread = {} if can_read else {Fate.REREAD: Fate.NO_SOURCE}
        fates = {name: unread.get(fate, fate) for name, fate in known.items()}
        for name, fate in fates.items():
            line = Line("in", one.sync, name, fate)
            if record is not None and fate in (Fate.PERSON, Fate.NO_SOURCE):
                self._leave(line, record.id)
            else:
                made.lines[line] += 1
        if back := [name for name, fate in fates.items() if fate is Fate.RESTORE]:
            made.restores[key] = back
        if can_read and (record is None or set(fates.values()) - {Fate.RESTORE}):
            made.rereads.add(key)
        if key in made.restores or key in made.rereads:
            made.arrivals.append(one)

    def _fates(self, one: Changed, sync: Sync, record: Record) -> Iterator[tuple[str, Fate]]:
        digest = self.world.digests[record.kind]
        wrote = {name for compiled in self.bad.get(sync.mapping.name, ()) for name in compiled.fields}
        for name, written in one.fields.items():
            now = digest(name, record.body.get(name))
            only_bad = name in wrote and name not in sync.mapping.fields
            if now == written.last:
                yield name, Fate.RESTORE if only_bad else Fate.REREAD
            elif now != digest(name, written.old) or not only_bad:
                yield name, Fate.PERSON

    def _booked(self, view: View, record: Record) -> str | None:
        """Return the number under which a payment stands in books, None where it is in none."""
        for sync in self.world.project.syncs_out(PAYMENT) if record.kind == PAYMENT else ():
            xref = view.primary.get((sync.connection, sync.object, sync.org, record.id))
            if xref is not None:
                return xref.stable_key or xref.vendor_id
        return None

    def _leave(self, line: Line, record: bytes, vendor_id: str = "") -> None:
        self.made.lines[line] += 1
        self.made.left.append(Left(line.sync, record.hex(), line.field, line.fate, vendor_id))

    # ------------------------------------------------------------------------------------------------ out

    def deliveries(self, tx: Tx, sync: Sync, ids: Sequence[bytes]) -> None:
        """Plan what went out by one sync."""
        view = View(tx, self.world.vault)
        view.load_records(ids, lock=False)
        view.load_primary((sync.connection, sync.object, sync.org, id_) for id_ in ids)
        view.load_targets(target_of(sync, id_) for id_ in ids)
        again: list[bytes] = []
        for id_ in ids:
            if not is_alive(view.records.get(id_)):
                continue
            xref = view.primary.get((sync.connection, sync.object, sync.org, id_))
            if is_final(self.world, sync) and (xref is not None or target_of(sync, id_) in view.targets):
                # of one on its way nobody knows the number yet
                number = "" if xref is None else xref.stable_key or xref.vendor_id
                self._leave(Line("out", sync.name, "", Fate.POSTED), id_, number)
            else:
                again.append(id_)
        self.made.deliveries += [(sync.name, id_) for id_ in again]
        self.made.lines[Line("out", sync.name, "", Fate.SEND)] += len(again)
        revisions = self.bad.get(sync.mapping.name, ())
        if not revisions or not again:
            return
        given = given_out(tx, self.world, sync, [*revisions, sync.mapping], again)
        self._count(sync, given, revisions)
        for one in given:
            record = view.records[bytes.fromhex(one.record or "")]
            if changed := self.found.echoes.get((sync.name, record.id)):
                self._echo(sync, one, record, changed)

    def _count(self, sync: Sync, given: Sequence[Given], bad: Sequence[Compiled]) -> None:
        only_bad = {name for compiled in bad for name in compiled.fields} - set(sync.mapping.fields)
        for name, count in compare(bad[-1], sync.mapping, given).fields.items():
            fate = Fate.KEPT if name in only_bad else Fate.SEND
            self.made.lines[Line("out", sync.name, name, fate)] += count

    def _echo(self, sync: Sync, given: Given, record: Record, changed: Mapping[str, Written]) -> None:
        """Tell what only came back from the vendor's object, as a bad revision had written it, from what its people typed."""
        source = self.world.project.sync_in(sync.connection, sync.object)
        if source is None or not isinstance(given.source, dict):
            return
        digest = self.world.digests[record.kind]
        then = replace(given, source={**given.source, **{name: one.old for name, one in changed.items()}})
        for name, written in changed.items():
            now = digest(name, record.body.get(name))
            came_back = self._came_back(source, sync, then, name)
            if now == digest(name, written.old) or written.last not in {
                digest(name, one) for one in came_back
            }:
                continue
            if now == written.last:
                self.made.lines[Line("in", source.name, name, Fate.RESTORE)] += 1
                self.made.echoes.setdefault((sync.name, record.id), {})[name] = written
            else:
                self._leave(Line("in", source.name, name, Fate.PERSON), record.id)

    def _came_back(self, source: Sync, sync: Sync, given: Given, name: str) -> Iterator[Json]:
        """Yield what a field of the CRM becomes by what each bad revision wrote otherwise than the good one does."""
        good = outcome_of(sync.mapping, given)
        reads = source.mapping.fields[name].reads if name in source.mapping.fields else frozenset()
        for compiled in self.bad.get(sync.mapping.name, ()):
            wrote = outcome_of(compiled, given)
            if not (isinstance(wrote, Mapped) and isinstance(good, Mapped)):
                continue
            if any(wrote.fields.get(one) != good.fields.get(one) for one in reads):
                # whose object it is says nothing of the field
                whole = {**wrote.fields, **dict.fromkeys(source.mapping.key_fields, "1")}
                shown = source.mapping.run(whole, self.world.inward(source, sync.org), only={name})
                if isinstance(shown, Mapped) and name in shown.fields:
                    yield shown.fields[name]
