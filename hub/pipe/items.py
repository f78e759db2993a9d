"""Records on their way in: how they stand on the bus and how they look to `take`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from hub.mapping import Context, Failed, Mapped, Wait
from hub.model.event import Event
from hub.pipe.world import World
from hub.project.values import LANE_BULK, Sync
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store.view import View

if TYPE_CHECKING:
    from hub.mapping import Outcome

__all__ = [
    "Item",
    "bus_key",
    "context_in",
    "from_event",
    "latest_per_key",
    "map_in",
    "source_dict",
    "source_of",
    "to_event",
]

RECORD, HINT = "hub.source.record", "hub.source.hint"

PARTITION_KEY = "partitionkey"
"""CloudEvents' own extension: events that share it keep their order."""
READ_ENDED = "readended"
"""Our extension: when the read that showed a record had ended (µs, the clock of whoever read)."""


@dataclass(slots=True)
class Item:
    """One record or hint of one stream. ``source`` is None for a hint; ``outcome`` is set by :func:`map_in`.

    ``read_ended``: when the read that showed it had ended (µs), None where nobody said so; ``gone``: when the object was
    found gone before anybody knew it.
    """

    connection: str
    stream: str
    key: VendorKey
    source: SourceRecord | None
    sync: Sync | None
    event: str = ""
    traceparent: str = ""
    owner: str | None = None
    bulk: bool = False
    chosen: bytes | None = None
    read_ended: int | None = None
    gone: int | None = field(default=None, compare=False)
    broken: str = ""
    """Why taking it failed again and again: it becomes a dead letter, undecided."""
    outcome: Outcome | None = field(default=None, compare=False)

    @property
    def subject(self) -> str:
        """The subject of its owed row."""
        return f"{self.key.org}/{self.key.id}"

    @property
    def sync_name(self) -> str:
        """The sync, or a name that says which one is missing."""
        return self.sync.name if self.sync else f"{self.connection}/{self.stream}"

    @property
    def at(self) -> tuple[str, str, str, str]:
        """The xref it is about."""
        return (self.connection, self.sync.object if self.sync else self.stream, self.key.org, self.key.id)

    @property
    def lane(self) -> int:
        """Bulk if it came by the bulk topic, else its sync's."""
        return LANE_BULK if self.bulk else (self.sync.lane if self.sync else LANE_BULK)


def source_dict(source: SourceRecord) -> dict[str, Any]:
    """Return a source record as JSON, as it is kept in an owed row and on the bus."""
    return {
        "org": source.key.org,
        "id": source.key.id,
        "body": source.body,
        "observed_at": source.observed_at,
        "version": source.version,
        "stage": source.stage,
        "stable_key": source.stable_key,
        "deleted": source.deleted,
        "partial": source.partial,
    }


def source_of(value: Mapping[str, Any]) -> SourceRecord:
    """Read what :func:`source_dict` wrote."""
    return SourceRecord(
        VendorKey(value["org"], value["id"]),
        value["body"],
        value["observed_at"],
        value.get("version"),
        value.get("stage"),
        value.get("stable_key"),
        bool(value.get("deleted")),
        bool(value.get("partial")),
    )


def to_event(
    connection: str,
    stream: str,
    record: SourceRecord | VendorKey,
    *,
    event_id: str,
    parent: str | None = None,
    read_ended: int | None = None,
    traceparent: str = "",
) -> Event:
    """Make the event of a record, or of a hint (a bare key).

    ``read_ended``: when the read that showed the record had ended (µs): a read that begins later is newer.
    ``traceparent``: the trace it belongs to (W3C), "" for none.

    ``parent``: the stream its record hangs on (`StreamSpec.parent`). It then carries the key of that record as the
    CloudEvents extension ``partitionkey``, so that both lie in one partition and this one comes behind.
    """
    hint = isinstance(record, VendorKey)
    key = record if isinstance(record, VendorKey) else record.key
    data = {"org": key.org, "id": key.id} if isinstance(record, VendorKey) else source_dict(record)
    extensions = {} if parent is None else {PARTITION_KEY: _key_of_parent(connection, parent, key)}
    if read_ended is not None:
        extensions[READ_ENDED] = str(read_ended)
    if traceparent:
        extensions["traceparent"] = traceparent
    return Event(
        id=event_id,
        source=f"{connection}/{stream}",
        type=HINT if hint else RECORD,
        subject=f"{key.org}/{key.id}",
        data=orjson.dumps(data),
        extensions=extensions,
    )


def _key_of_parent(connection: str, parent: str, key: VendorKey) -> str:
    return f"{connection}/{parent}/{key.org}/{key.id.rpartition('/')[2]}"


def bus_key(event: Event) -> str:
    """Return the key by which the bus places an event: that of its parent's record, else that of its own."""
    return event.extensions.get(PARTITION_KEY) or f"{event.source}/{event.subject}"


def from_event(event: Event, world: World, *, bulk: bool) -> Item:
    """Read an event of the inbound topics."""
    connection, _, stream = event.source.partition("/")
    value = orjson.loads(event.data)
    key = VendorKey(value["org"], value["id"])
    source = source_of(value) if event.type == RECORD else None
    ended = event.extensions.get(READ_ENDED)
    return Item(
        connection,
        stream,
        key,
        source,
        world.inbound(connection, stream),
        event=event.id,
        traceparent=event.extensions.get("traceparent", ""),
        bulk=bulk,
        read_ended=None if ended is None else int(ended),
    )


def latest_per_key(items: Iterable[Item]) -> list[Item]:
    """Keep the newest item of each object; a hint ranks after any record: it asks for a fresh read.

    The newest is the one observed last: a reader that slept may have published an old page behind a new one. A partial
    record ranks before all: no read shows it again, and it is followed by a read anyway.
    """
    kept: dict[tuple[str, str, str, str], Item] = {}
    for item in items:
        before = kept.get(item.at)
        if before is not None and _outranks(before.source, item.source):
            continue
        kept[item.at] = item
    return list(kept.values())


def _outranks(before: SourceRecord | None, now: SourceRecord | None) -> bool:
    """Say whether the earlier of two items of one object stays."""
    partial = (before is not None and before.partial, now is not None and now.partial)
    if partial[0] != partial[1]:
        return partial[0]
    if now is None:
        return False
    if before is None:  # a hint; what is deleted need not be read again
        return not now.deleted
    return before.observed_at > now.observed_at


def map_in(view: View, items: Iterable[Item], world: World) -> None:
    """Map every record in; the result or the failure stays with the item.

    xref() asks the view; what it lacks is loaded for the whole batch at once and mapped again.
    """
    todo = [
        item
        for item in items
        if item.source is not None and item.sync is not None and not item.source.deleted and not item.broken
    ]
    for attempt in range(_ROUNDS):
        missing: dict[tuple[str, str, str, str], None] = {}
        for item in todo:
            item.outcome = _map_one(view, item, missing, world, final=attempt == _ROUNDS - 1)
        if not missing:
            return
        view.load_xrefs(missing, lock=False)
        view.asked.update(missing)
        todo = [item for item in todo if isinstance(item.outcome, Wait)]


_ROUNDS = 4


def _map_one(
    view: View, item: Item, missing: dict[tuple[str, str, str, str], None], world: World, *, final: bool
) -> Outcome:
    assert item.sync is not None and item.source is not None  # noqa: PT018 - map_in picked these
    if not item.sync.mapped:
        body = item.source.body
        if not isinstance(body, dict):
            return Failed("", "the body is not an object", "")
        return Mapped(item.key.id, dict(body))

    context = context_in(view, item, missing, world, final=final)
    return item.sync.mapping.run(item.source.body, context)


def context_in(
    view: View, item: Item, missing: dict[tuple[str, str, str, str], None], world: World, *, final: bool
) -> Context:
    """Return what an inbound mapping may ask beside the object; ``missing``: takes the xrefs that are not loaded yet, unless ``final``."""
    assert item.sync is not None  # whoever maps an item knows by what

    def xref(target: str, value: str) -> str | Wait:
        connection = item.connection
        at = (connection, target.rpartition(".")[2], item.key.org, value)
        found = view.xrefs.get(at)
        if found is not None:
            return found.record.hex()
        if not final and at not in view.asked:
            missing[at] = None
        return Wait(f"arrival:{'/'.join(at)}")

    def user(value: str) -> str:
        return world.project.employee(item.connection, value)

    return Context(
        region=item.sync.region,
        org=item.key.org,
        xref=xref,
        user=user,
        legal_entity=world.project.legal_entity,
    )
