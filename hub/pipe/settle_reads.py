"""T2 of a claimed read: what the vendor showed arrives, an error makes the row due again."""

from __future__ import annotations

from collections.abc import Sequence

from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, RemoteError, TryAgain
from hub.pipe import rows
from hub.pipe.answers import count, held, later, noted_only, park_told, told
from hub.pipe.arrive import arrive
from hub.pipe.claim import Attempt, note_row
from hub.pipe.items import Item
from hub.pipe.limits import pause
from hub.pipe.load import in_order, load_arrivals
from hub.pipe.unknown import note_gone
from hub.pipe.world import World
from hub.sdk.connector import Failed, Gone, SourceRecord
from hub.store.engine import Tx
from hub.store.rows import Owed
from hub.store.view import View

__all__ = ["settle_reads"]


def settle_reads(
    tx: Tx, pairs: Sequence[tuple[Attempt, SourceRecord | Gone | Failed]], world: World, holder: str
) -> int:
    """Let what was read arrive; an error makes the row due again. Returns how many rows were still ours."""
    view = View(tx, world.vault)
    ours = held(view, [attempt for attempt, _ in pairs])
    view.load_sealed([row for row in ours.values() if row is not None])
    items: dict[bytes, Item] = {}
    for attempt, result in pairs:
        row = ours[attempt.row]
        if row is not None and not isinstance(result, Failed):
            items[attempt.row] = _item(row, attempt, result, world)
    load_arrivals(view, list(items.values()), world)
    for attempt, result in pairs:
        row = ours[attempt.row]
        if row is None:
            noted_only(view, attempt, result, world)
        elif isinstance(result, Failed):
            _read_failed(view, row, result.error, world)
    by_item = {id(item): row for row, item in items.items()}
    for item in in_order(view, list(items.values()), world):
        settled = ours[by_item[id(item)]]
        assert settled is not None  # items were made of rows that are ours
        settled.deaths = 0
        arrive(view, item, world, settled)
    note_gone(view, items.values())
    if pairs:
        count(view, [(ours[a.row], r) for a, r in pairs if a.source is None], world)
    view.flush(f"worker:{holder}", "settle")
    return sum(row is not None for row in ours.values())


def _item(row: Owed, attempt: Attempt, result: SourceRecord | Gone, world: World) -> Item:
    sync = world.sync(row.sync)
    assert attempt.key is not None  # a read has one
    if isinstance(result, Gone):
        source = SourceRecord(attempt.key, None, _attempt_time(attempt), deleted=True)
    else:
        source = result
    chosen = attempt.source.get("chosen") if attempt.source else None
    return Item(
        row.connection,
        attempt.stream,
        source.key,  # a callback may know an object by another name (an address): the record says whose it is
        source,
        sync,
        traceparent=attempt.traceparent,
        owner=attempt.source.get("owner") if attempt.source else None,
        chosen=bytes.fromhex(chosen) if isinstance(chosen, str) else None,
    )


def _attempt_time(attempt: Attempt) -> int:
    """Return a time for "nothing was there": the claim's act is newer than any settle before it."""
    return 1 << 62 if attempt.source is None else int(attempt.source["observed_at"])


_AGAIN = TryAgain | ConnectionDown | OutcomeUnknown | NotSent
"""What a read that failed is tried again after; anything else is the answer."""


def _read_failed(view: View, row: Owed, error: RemoteError, world: World) -> None:
    sync = world.sync(row.sync)
    rows.close(view, row, reopens=False)
    if isinstance(error, ConnectionDown | NotSent):
        # it was not asked: else an outage, or slots that went to others, spend every budget
        row.attempts -= 1
    if isinstance(error, ConnectionDown):
        pause(view, row.connection, error.cause, str(error), after=getattr(error, "until", None))
    limit = sync.retry.max_attempts if sync else 1
    if not isinstance(error, _AGAIN) or row.attempts >= limit:
        known = error.cause if not isinstance(error, TryAgain | ConnectionDown) else Cause.GAVE_UP
        park_told(view, row, known, error)
        return
    row.cause = told(error)
    rows.ready(view, row, at=later(view, row, sync, getattr(error, "after", None)))
    note_row(view, row, "retry", cause=error.cause.value, code=error.code, message=str(error))
