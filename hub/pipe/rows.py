"""The transitions of one owed row (``pipe.md`` section 3): every function is one line of the table, or a part of it.

They change rows in a :class:`View`; the caller's transaction flushes. States: ready, claimed, in_doubt, waiting,
parked; a paid row is deleted.
"""

from __future__ import annotations

from typing import Any

from hub.clock import SECOND
from hub.errors import Cause
from hub.pipe.times import LONGEST, SKEW
from hub.store.rows import KEEP, Owed
from hub.store.view import View

__all__ = [
    "CLAIMED",
    "IN_DOUBT",
    "PARKED",
    "READY",
    "WAITING",
    "backoff",
    "close",
    "delete",
    "hold",
    "is_partial",
    "lapse",
    "new_row",
    "owe",
    "paid",
    "park",
    "put_off",
    "ready",
    "ref_of",
    "replay",
    "target_key",
    "wait",
    "xref_key",
]

READY, CLAIMED, IN_DOUBT, WAITING, PARKED = "ready", "claimed", "in_doubt", "waiting", "parked"
LAST_DEATH = 3
"""A row whose claim dies this often is parked."""


def target_key(connection: str, object_: str, org: str, record: bytes) -> str:
    """Name the target of a delivery: at most one attempt is open at it."""
    return f"{connection}/{object_}/{org}/{record.hex()}"


def ref_of(target: str) -> tuple[str, str, str, bytes]:
    """Read a target key: (connection, object, organisation, record)."""
    connection, object_, org, record = target.split("/")
    return (connection, object_, org, bytes.fromhex(record))


def xref_key(target: str) -> str:
    """Name the wait for this target's object to exist and be complete."""
    return f"xref:{target}"


def new_row(
    view: View,
    *,
    sync: str,
    subject: str,
    connection: str,
    target: str | None,
    lane: int,
    want: int | None = None,
) -> Owed:
    """Make a debt; the caller gives it to the view."""
    return Owed(
        id=view.tx.clock.new_id(),
        sync=sync,
        subject=subject,
        connection=connection,
        target=target,
        lane=lane,
        state=READY,
        due=view.now,
        want=view.act if want is None else want,
        since=view.now,
        act=view.act if want is None else want,
        source=None,
        payload=None,
        is_new=True,
    )


def owe(view: View, made: Owed, *, source: Any = None, fetchable: bool = True, forced: bool = False) -> Owed:
    """Raise a debt, or move the want of the one that exists; ``made`` comes from :func:`new_row`.

    ``source``: an arrival's raw record, None for a hint. A stream that cannot be fetched keeps its newest body.
    """
    row = view.owed.get((made.sync, made.subject))
    if row is None:
        row = made
        row.source = source
    else:
        if row.is_read:
            if row.source is KEEP:  # what it holds may be a fact that no read shows again
                view.load_sealed([row])
            row.source = _newest(row, source, view.now, fetchable=fetchable)
        row.want = view.act
        row.lane = min(row.lane, made.lane)
        if row.state in (WAITING, PARKED) and not row.open:
            row.cause = None
            ready(view, row, repaired=row.state == PARKED)
    if forced:
        row.force = view.act
    view.save_owed(row)
    return row


def _newest(row: Owed, source: Any, now: int, *, fetchable: bool) -> Any:
    """Of two bodies the one observed later stays; a hint asks for a fresh read, so no body takes its place.

    A partial record gives way to a newer one of its kind alone: no read shows it again. What was observed later than
    ``now`` was so by a clock that ran ahead: whatever comes after it is newer.
    """
    known = row.source
    older = (
        isinstance(known, dict)
        and source is not None
        and source["observed_at"] < known["observed_at"] <= now + SKEW
    )
    if is_partial(known) or is_partial(source):
        older = is_partial(known) and is_partial(source) and older
        return known if older or not is_partial(source) else source
    if fetchable and (row.open or source is None or known is None):
        return None
    if source is None:
        return KEEP
    return known if older else source


def is_partial(source: Any) -> bool:
    """Say whether a row's raw record names a fact that no read shows again."""
    return isinstance(source, dict) and source.get("partial") is True


def ready(view: View, row: Owed, *, at: int | None = None, repaired: bool = False) -> None:
    """Make a row due: now, or at a time (µs), within a day."""
    row.state, row.due, row.waits_for = READY, view.now if at is None else _soon(view, at), None
    row.holder = row.lease = None
    if repaired:
        row.attempts, row.deaths = 0, 0
    view.save_owed(row)


def close(view: View, row: Owed, *, reopens: bool) -> None:
    """End the attempt; who waits for the target, and for an object the plan re-opened or made, is woken."""
    if row.target:
        view.wake(f"target:{row.target}")
        if reopens:
            view.wake(xref_key(row.target))
    row.generation = row.operation = row.key = row.key_until = row.base = row.ref = row.refs = None
    row.version = row.revision = row.pinned_force = row.absent_after = row.holder = row.lease = None
    row.step, row.deaths = 0, 0
    if not row.is_read:
        row.payload = None
    view.save_owed(row)


def delete(view: View, row: Owed, *, reopens: bool = False) -> None:
    """Delete a row: the debt is paid, void or discarded."""
    if row.open and row.target:
        view.wake(f"target:{row.target}")
        if reopens:
            view.wake(xref_key(row.target))
    view.delete_owed(row)


def paid(view: View, row: Owed, *, reopens: bool = False) -> bool:
    """Delete the row if its attempt paid the whole debt, else close it and make it ready; say which."""
    if row.force is not None and row.pinned_force == row.force:
        row.force = None
    if row.want == row.generation:
        delete(view, row, reopens=reopens)
        return True
    close(view, row, reopens=reopens)
    row.attempts = 0
    ready(view, row)
    return False


def park(view: View, row: Owed, cause: Cause, **known: Any) -> None:
    """Stop for a person. An open row keeps its attempt."""
    row.state, row.waits_for = PARKED, None
    row.cause = {"code": cause.value, "at": view.now, **{k: v for k, v in known.items() if v is not None}}
    row.holder = row.lease = None
    view.save_owed(row)


def wait(view: View, row: Owed, key: str, **known: Any) -> None:
    """Sleep until somebody wakes this key; what the wait is about may be told in ``known``."""
    row.state, row.waits_for, row.due = WAITING, key, view.now
    row.cause = known or None
    row.holder = row.lease = None
    view.save_owed(row)


def put_off(view: View, row: Owed, at: int, *, doubt: bool = False) -> None:
    """Look at the row again at a time (µs), within a day; it stays what it is, or becomes in doubt."""
    row.due = _soon(view, at)
    if doubt:
        row.state = IN_DOUBT
        row.holder = row.lease = None
    view.save_owed(row, quiet=not doubt)


def _soon(view: View, at: int) -> int:
    """No row is put off for longer than a day: so the sweep knows a due time that a clock set which ran ahead."""
    return min(at, view.now + int(LONGEST * SECOND))


def hold(view: View, row: Owed, *, holder: str, lease: int) -> None:
    """Claim the row: the fence is this transaction's act, so no number is ever seen twice."""
    row.state, row.fence = CLAIMED, view.act
    row.deaths += 1
    row.attempts += 1
    row.holder, row.lease = holder, lease
    view.save_owed(row)


def lapse(view: View, row: Owed) -> str:
    """Take a claim from a dead worker: a read starts over, a write is in doubt (its fence stays: it may settle)."""
    dead = row.deaths >= LAST_DEATH
    if row.is_read:
        deaths = row.deaths
        close(view, row, reopens=False)
        row.deaths = deaths
    if dead:
        park(view, row, Cause.CRASHED)
    else:
        row.state, row.due, row.holder, row.lease = (READY if row.is_read else IN_DOUBT), view.now, None, None
        view.save_owed(row)
    return row.state


def replay(view: View, row: Owed) -> None:
    """Try a parked row again because a person said so; an open one is looked up first.

    A delivery is forced: it carries every field. An arrival is not any more: what a repair left to a person is decided
    by whoever replays it, as the sync's authority says.
    """
    row.want = view.act
    row.force = None if row.is_read else view.act
    row.deaths = row.attempts = 0
    row.cause = None
    row.state, row.due, row.waits_for = (IN_DOUBT if row.open else READY), view.now, None
    view.save_owed(row)


def backoff(seconds: float, jitter: float, now: int) -> int:
    """Return the due time after a delay with up to 25 % jitter (0 ≤ jitter < 1)."""
    return now + int(seconds * (1 + jitter / 4) * SECOND)
