"""What settling reads and settling writes have in common: whose rows they are, how an error is told, when again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, RemoteError, TryAgain
from hub.pipe import rows
from hub.pipe.arrive import owe_reread
from hub.pipe.claim import Attempt, note_row
from hub.pipe.limits import note_results
from hub.pipe.tally import tally
from hub.pipe.world import World
from hub.project.values import Sync
from hub.sdk.connector import CannotTell, Failed, VendorRef
from hub.store.rows import Owed
from hub.store.view import View

__all__ = ["count", "held", "later", "noted_only", "park_told", "told"]


def told(error: RemoteError) -> dict[str, Any]:
    """Return what a person should know of an error, as the cause of a row."""
    told = {"code": error.cause.value, "vendor_code": error.code, "field": error.field, "message": str(error)}
    return {name: value for name, value in told.items() if value is not None}


def park_told(view: View, row: Owed, cause: Cause, error: RemoteError | None) -> None:
    """Park a row and tell it, with what the vendor said."""
    if error is None:
        rows.park(view, row, cause)
        note_row(view, row, "parked", cause=cause.value)
        return
    rows.park(
        view, row, cause, vendor_code=error.code, field=error.field, message=str(error), why=error.cause.value
    )
    note_row(view, row, "parked", cause=cause.value, code=error.code, field=error.field, message=str(error))


def later(view: View, row: Owed, sync: Sync | None, asked: float | None) -> int:
    """Return when to try again: what the vendor asked for, else by the retries of the sync, with jitter."""
    seconds = asked if asked is not None else (sync.retry.delay(row.attempts) if sync else 60.0)
    return rows.backoff(seconds, view.tx.clock.random(), view.now)


def held(view: View, attempts: Sequence[Attempt]) -> dict[bytes, Owed | None]:
    """Lock the rows; only those whose (id, fence, epoch) match are ours to settle."""
    found = {row.id: row for row in view.lock_owed_by_id([attempt.row for attempt in attempts])}
    states = (rows.CLAIMED, rows.IN_DOUBT, rows.PARKED)
    ours: dict[bytes, Owed | None] = {}
    for attempt in attempts:
        row = found.get(attempt.row)
        match = row is not None and row.open and row.fence == attempt.fence and row.state in states
        ours[attempt.row] = row if match and attempt.epoch == view.tx.epoch else None
    return ours


def noted_only(view: View, attempt: Attempt, result: object, world: World) -> None:
    """A zombie's answer: note it, and hint the object it spoke of."""
    view.note(row=attempt.row.hex(), sync=attempt.sync, subject=attempt.subject, outcome="late",
              answer=type(result).__name__)  # fmt: skip
    sync = world.sync(attempt.sync)
    ref = getattr(result, "ref", None) or (attempt.write.ref if attempt.write else None)
    if sync is not None and isinstance(ref, VendorRef):
        record = None if attempt.send is None else attempt.subject
        owe_reread(view, sync, ref.vendor_id, world, at=view.now, record=record)


def count(view: View, pairs: Sequence[tuple[Owed | None, object]], world: World) -> None:
    """Count who answered: a connection on which nobody does pauses. And what became of their rows, for the metrics."""
    tally(view, world, [row for row, _ in pairs])
    results = [result for row, result in pairs if row is not None]
    if not results:
        return
    connection = next(row.connection for row, _ in pairs if row is not None)
    errors = [r.error for r in results if isinstance(r, Failed | CannotTell) and r.error is not None]
    silent = [
        e for e in errors if e.cause in (Cause.UNREACHABLE, Cause.UNAVAILABLE) and isinstance(e, TryAgain)
    ]
    mute = [e for e in errors if isinstance(e, NotSent | ConnectionDown | OutcomeUnknown)]
    answered = len(results) > len(silent) + len(mute)
    note_results(view, connection, answered=answered, unanswered=bool(silent))
