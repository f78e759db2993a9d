"""The records a mapping is tried on: out, those of the CRM that changed last; in, what sources said last.

What a source said lies on the bus for some days, and in the rows that are owed; what was only hinted at was read and is
kept nowhere. :func:`read_known` asks the vendor for that: reads alone, counted against its budgets like any other.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from hub.bus.port import INBOUND, INBOUND_BULK, Bus, Message
from hub.errors import RemoteError
from hub.mapping import Compiled, Context, Wait
from hub.model.event import Event, InvalidEvent
from hub.pipe.items import RECORD, Item, context_in, from_event, source_of
from hub.pipe.limits import Gate, admit, spend
from hub.pipe.read_gate import reading
from hub.pipe.render import Lookups, Ref, context_of
from hub.pipe.rows import target_key
from hub.pipe.shadow import Given, outcome_of, part_of
from hub.pipe.world import World
from hub.project.values import Sync
from hub.sdk.connector import Connector, SourceRecord, VendorKey
from hub.store import schema, sql
from hub.store.engine import Store
from hub.store.rows import OWED_COLUMNS, XREF_COLUMNS, Record, xref_of
from hub.store.tx import Tx
from hub.store.view import View

__all__ = [
    "given_in",
    "given_out",
    "heard",
    "known_keys",
    "last_changed",
    "newest",
    "owed_sources",
    "read_known",
    "syncs_of",
]

_BATCH: Final = 200
_WINDOW: Final = 500
_MOST: Final = 20_000
"""Messages of one partition that are looked through, from its end."""
_ROUNDS: Final = 4
"""As the claim: how often a rendering may ask for xrefs that it has not seen."""

_newest = sql.query(
    "SELECT id FROM records WHERE kind = ? AND deleted IS NULL AND merged_into IS NULL ORDER BY act DESC, id DESC LIMIT ?"
)
"""Walks the kind's records: seconds for a million of them, for a person who waits, at no cost to every write."""
_owed_in = sql.query(
    f"SELECT {', '.join(OWED_COLUMNS.split())} FROM owed WHERE sync = ? AND target IS NULL AND source IS NOT NULL "
    "ORDER BY want DESC LIMIT ?"
)
_known = sql.query(
    f"SELECT {', '.join(XREF_COLUMNS.split())} FROM xrefs WHERE connection = ? AND object = ? AND gone IS NULL "
    "ORDER BY seen DESC, vendor_id LIMIT ?"
)
_of_record = sql.bulk_select(schema.xrefs, XREF_COLUMNS, key="record connection")


def syncs_of(world: World, name: str) -> list[Sync]:
    """Return the syncs that use a mapping."""
    return [one for one in world.project.syncs.values() if one.mapped and one.mapping.name == name]


# ---------------------------------------------------------------------------------------------------- out


def last_changed(tx: Tx, world: World, sync: Sync, most: int) -> list[bytes]:
    """Return the records that a sync is for, the last changed first; one that is erased has nothing to show."""
    view, limit, asked = View(tx, world.vault), most, 0
    while True:
        ids = [bytes(row[0]) for row in _newest(tx, sync.kind, limit)]
        view.load_records(ids[asked:], lock=False)
        view.load_primary([_at(sync, id_) for id_ in ids[asked:]])
        served = [id_ for id_ in ids if id_ in view.records and _serves(view, world, sync, view.records[id_])]
        if len(served) >= most or len(ids) < limit:
            return served[:most]
        asked, limit = len(ids), limit * 4


def given_out(
    tx: Tx, world: World, sync: Sync, mappings: Sequence[Compiled], ids: Iterable[bytes]
) -> list[Given]:
    """Return records as the claim gives them to a sync's mapping, with every xref these mappings look up."""
    view, asked = View(tx, world.vault), Lookups()
    wanted = list(ids)
    view.load_records(wanted, lock=False)
    records = [view.records[id_] for id_ in wanted if id_ in view.records and view.records[id_].body]
    found = [
        Given(sync.name, record.id.hex(), "", world.visible(record), _unlinked(context_of(view, record, sync, world, asked)),
              functools.partial(_held, world, sync, record))
        for record in records
    ]  # fmt: skip
    for _ in range(_ROUNDS):
        _ask_all(mappings, found)
        unseen: dict[Ref, None] = dict.fromkeys(ref for ref in asked.missing if ref not in view.asked_primary)
        asked.missing.clear()
        asked.used.clear()
        if not unseen:
            break
        view.asked_primary.update(unseen)
        view.load_primary(unseen)
        view.load_targets([target_key(*ref) for ref in unseen])
    return found


def _held(world: World, sync: Sync, record: Record, names: Iterable[str]) -> str | None:
    kept = world.held_back(sync, record, names)
    return None if kept is None else f"{sync.connection}/{kept}"


def _unlinked(context: Context) -> Context:
    """Return the context without links that open on a phone: whoever looks at a preview gets none."""
    link = context.file_link

    def unlinked(url: str) -> str | None:
        return None if link(url) is None else "(a link)"

    return replace(context, file_link=unlinked)


def _serves(view: View, world: World, sync: Sync, record: Record) -> bool:
    has_it = _at(sync, record.id) in view.primary
    return bool(record.body) and record.kind == sync.kind and world.serves(sync, record, needed=has_it)


def _at(sync: Sync, record: bytes) -> Ref:
    return sync.connection, sync.object, sync.org, record


# ---------------------------------------------------------------------------------------------------- in


def owed_sources(tx: Tx, world: World, sync: Sync, most: int) -> list[SourceRecord]:
    """Return what sources said and what is not settled yet: it waits, or is a dead letter."""
    view = View(tx, world.vault)
    owed = view.add_owed(_owed_in(tx, sync.name, most))
    view.load_sealed(owed)
    return [source_of(row.source) for row in owed if isinstance(row.source, dict)]


async def heard(bus: Bus, world: World, sync: Sync, most: int) -> list[SourceRecord]:
    """Return what a stream said last, as far as the bus has it: the newest of each object, the newest first.

    Raises:
        TryAgain, IntegrityError: the bus cannot be looked at.
    """
    source = f"{sync.connection}/{sync.stream}"
    found: list[SourceRecord] = []
    for topic in (INBOUND, INBOUND_BULK):
        for partition in range(await bus.partitions(topic)):
            found += await _last_of(bus, world, (topic, partition), source, most)
    return newest(found, most)


async def _last_of(
    bus: Bus, world: World, place: tuple[str, int], source: str, most: int
) -> list[SourceRecord]:
    """Look a partition through from its end, a window at a time."""
    bounds = await bus.bounds(*place)
    end, least = bounds.next, max(bounds.first, bounds.next - _MOST)
    found: dict[tuple[str, str], SourceRecord] = {}
    while end > least and len(found) < most:
        start = max(least, end - _WINDOW)
        for record in [one async for one in _window(bus, world, place, source, (start, end))]:
            key = (record.key.org, record.key.id)
            if key not in found or record.observed_at > found[key].observed_at:
                found[key] = record
        end = start
    return list(found.values())


async def _window(
    bus: Bus, world: World, place: tuple[str, int], source: str, window: tuple[int, int]
) -> AsyncIterator[SourceRecord]:
    at, end = window
    while at < end:
        batch = await bus.read(*place, at, end - at)
        if batch.next == at:
            return
        at = batch.next
        for message in batch.events:
            record = _record(message, world, source)
            if record is not None:
                yield record


def _record(message: Message, world: World, source: str) -> SourceRecord | None:
    """Return the record that a message carries; None: a hint, another stream's, or nothing anybody can read."""
    if message.headers.get("ce_source") != source or message.headers.get("ce_type") != RECORD:
        return None
    try:
        event = Event.parse([(name, value.encode()) for name, value in message.headers.items()], message.body)
        record = from_event(event, world, bulk=False).source
    except (InvalidEvent, ValueError, KeyError, TypeError):
        return None
    return record if record is not None and not record.deleted and not record.partial else None


def newest(found: Iterable[SourceRecord], most: int) -> list[SourceRecord]:
    """Return the newest of each object, the newest first."""
    kept: dict[tuple[str, str], SourceRecord] = {}
    for record in sorted(found, key=lambda one: one.observed_at or 0):
        kept[record.key.org, record.key.id] = record
    return list(reversed(kept.values()))[:most]


def known_keys(tx: Tx, sync: Sync, most: int, record: bytes | None = None) -> list[VendorKey]:
    """Return the objects of a sync's stream that are known, those seen last first; ``record``: only this record's."""
    if record is None:
        rows = list(_known(tx, sync.connection, sync.object, most))
    else:
        rows = list(_of_record(tx, [(record, sync.connection)]))
    found = [xref_of(row) for row in rows]
    return [
        VendorKey(one.org, one.vendor_id) for one in found if one.object == sync.object and one.gone is None
    ]


async def read_known(
    store: Store, world: World, sync: Sync, connector: Connector, keys: Sequence[VendorKey]
) -> tuple[list[SourceRecord], str]:
    """Read objects again, so many at a time as a worker does; nothing is published, nothing takes effect.

    Returns what they look like, and why it ended early, "" if it did not: the connection is paused, its budget is used
    up, the vendor did not answer. An object that is gone or refused is left out.
    """
    found: list[SourceRecord] = []
    for at in range(0, len(keys), _BATCH):
        some = keys[at : at + _BATCH]
        count = await store.run(_may_read, world, sync, len(some))
        if not count:
            return found, "budget"
        try:
            answers = await connector.fetch(sync.stream or sync.object, some[:count])
        except RemoteError as error:
            return found, error.cause.value
        found += [one for one in answers if isinstance(one, SourceRecord) and not one.deleted]
        if count < len(some):
            return found, "budget"
    return found, ""


def _may_read(tx: Tx, world: World, sync: Sync, calls: int) -> int:
    if reading(tx, sync)[0] is not Gate.OPEN:
        return 0
    count = admit(tx, sync.connection, calls, world, Gate.OPEN)
    spend(tx, sync.connection, count, world)
    return count


def given_in(
    tx: Tx, world: World, sync: Sync, mappings: Sequence[Compiled], sources: Iterable[SourceRecord]
) -> list[Given]:
    """Return what sources said as `take` gives it to a sync's mapping, with every xref these mappings look up."""
    view = View(tx, world.vault)
    items = [Item(sync.connection, sync.stream or sync.object, one.key, one, sync) for one in sources]
    view.load_xrefs([item.at for item in items], lock=False)
    view.asked.update(item.at for item in items)
    missing: dict[tuple[str, str, str, str], None] = {}
    found = [
        Given(sync.name, _known_as(view, item), item.subject.lstrip("/"), _body(item),
              context_in(view, item, missing, world, final=False))
        for item in items
    ]  # fmt: skip
    for _ in range(_ROUNDS):
        _ask_all(mappings, found)
        if not missing:
            break
        view.load_xrefs(list(missing), lock=False)
        view.asked.update(missing)
        missing.clear()
    return found


def _body(item: Item) -> Any:
    return None if item.source is None else item.source.body


def _known_as(view: View, item: Item) -> str | None:
    known = view.xrefs.get(item.at)
    return None if known is None else known.record.hex()


def _ask_all(mappings: Sequence[Compiled], found: Iterable[Given]) -> None:
    """Run the mappings for what they look up; a field behind one that waits looks up by itself."""
    for given in found:
        for compiled in mappings:
            if isinstance(outcome_of(compiled, given), Wait):
                for name in compiled.fields:
                    part_of(compiled, given, name)
