"""The mistakes of pipe.md 8, planted into the real code one at a time: whoever checks the pipe must catch each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hub.crm import merge
from hub.errors import Cause, Refused
from hub.pipe import arrive, claim, render, rows, settle, settle_reads, waits, work
from hub.pipe.decide import Facts, Send, Verdict, decide
from hub.sdk.connector import Absent, Failed, Gone, Several
from hub.store.view import View, advance_job

__all__ = ["BUGS", "planted"]

Patch = contextlib.AbstractContextManager[Any]


def _hold_without_claim(view: View, row: Any, *, holder: str, lease: int) -> None:
    row.fence = view.act
    row.attempts += 1
    view.save_owed(row)


def _any_fence(view: View, attempts: Sequence[Any]) -> dict[bytes, Any]:
    found = {row.id: row for row in view.lock_owed_by_id([attempt.row for attempt in attempts])}
    return {a.row: found[a.row] if a.row in found and found[a.row].open else None for a in attempts}


_lapse, _hold, _claim, _agree = rows.lapse, rows.hold, claim.claim, merge.agree


def _lapse_to_ready(view: View, row: Any) -> str:
    _lapse(view, row)
    if row.state == rows.IN_DOUBT:
        row.state = rows.READY
    return row.state


def _paid_always(view: View, row: Any, *, reopens: bool = False) -> bool:
    if row.want >= row.generation:
        rows.delete(view, row, reopens=reopens)
    return True


def _decide(
    change: Callable[[Facts, Any], tuple[Facts, Any]], after: Callable[[Verdict], Verdict] = lambda v: v
) -> Patch:
    def planted_decide(facts: Facts, result: Any) -> Verdict:
        return after(decide(*change(facts, result)))

    return patch.object(settle, "decide", planted_decide)


def _repeat_as_first(facts: Facts, result: Any) -> tuple[Facts, Any]:
    return (replace(facts, send=Send.FIRST) if facts.send is Send.REPEAT else facts), result


def _advance_blindly(view: View, job: str, fence: int, start: str, following: str) -> None:
    del start
    (position,) = [row[3] for row in _read_job(view, job)]
    advance_job(view.tx, following, view.act, job, next(row[7] for row in _read_job(view, job)), position)


def _read_job(view: View, job: str) -> list[tuple[Any, ...]]:
    from hub.store.view import read_job

    return read_job(view.tx, [(job,)])


_counted: dict[bytes, int] = {}


def _count_fence(view: View, row: Any, *, holder: str, lease: int) -> None:
    counted = (row.fence or 0) + 1
    _hold(view, row, holder=holder, lease=lease)
    row.fence = _counted[row.id] = counted


def _claim_counted(tx: Any, wanted: Any, world: Any) -> list[Any]:
    return [replace(attempt, fence=_counted[attempt.row]) for attempt in _claim(tx, wanted, world)]


_pin, _load, _next = claim._Claiming._pin, claim._Claiming.load, settle.Settling._next
_close, _delete, _plan = rows.close, rows.delete, render._plan


def _pin_clears_force(self: Any, row: Any, *args: Any) -> None:
    _pin(self, row, *args)
    row.force = None


def _next_keeps_complete(self: Any, row: Any, attempt: Any, result: Any, *args: Any) -> None:
    sync = args[-1]
    before = self._xref(row, sync)
    complete = before.complete if before is not None else None
    _next(self, row, attempt, result, *args)
    self._xref(row, sync).complete = complete or self.view.now


def _by_its_row(view: View, ref: Any, world: Any) -> bool:
    return view.primary.get(ref) is not None


def _by_complete(view: View, ref: Any, world: Any) -> bool:
    xref = view.primary.get(ref)
    return xref is not None and xref.complete is not None and xref.gone is None


def _satisfied(by: Callable[..., bool]) -> Patch:
    stack = contextlib.ExitStack()
    for module in (claim, render, settle, waits):
        stack.enter_context(patch.object(module, "satisfied", by))
    return stack


def _quiet_close(view: View, row: Any, *, reopens: bool) -> None:
    _close(view, row, reopens=False)


def _quiet_delete(view: View, row: Any, *, reopens: bool = False) -> None:
    _delete(view, row, reopens=False)


def _plan_by_complete(record: Any, row: Any, sync: Any, obj: Any, world: Any, xref: Any) -> Any:
    if xref is None or not obj.reached:
        return _plan(record, row, sync, obj, world, xref)
    stage, xref.stage = xref.stage, "A" if xref.complete is None else "C"
    try:
        return _plan(record, row, sync, obj, world, xref)
    finally:
        xref.stage = stage


def _plan_forgets_complete(record: Any, row: Any, sync: Any, obj: Any, world: Any, xref: Any) -> Any:
    made = _plan(record, row, sync, obj, world, xref)
    return render.Unchanged() if isinstance(made, render._Plan) and not made.writes else made


def _rest_of_primary(self: Any, due: Any) -> None:
    _load(self, due)
    for row in due:
        sync = self.world.sync(row.sync)
        xref = (
            self.view.primary.get((sync.connection, sync.object, sync.org, bytes.fromhex(row.subject)))
            if row.target
            else None
        )
        self.resting[row.id] = xref.rest_until if xref else 0


def _one_digest(*args: Any, **known: Any) -> merge.Merged:
    result = _agree(*args, **known)
    result.pairs = {name: [pair[1], *pair[1:]] for name, pair in result.pairs.items()}
    return result


def _sent_is_stored(crm: Any, stored: Any, snapshot: Any, **known: Any) -> merge.Merged:
    return _agree(crm, None, snapshot, **known)


def _both(*patches: Patch) -> Patch:
    stack = contextlib.ExitStack()
    for one in patches:
        stack.enter_context(one)
    return stack


BUGS: dict[str, Callable[[], Patch]] = {
    "no claim": lambda: patch.object(rows, "hold", _hold_without_claim),
    "no fence": lambda: _both(
        patch.object(settle, "held", _any_fence), patch.object(settle_reads, "held", _any_fence)
    ),
    "lapse to ready": lambda: patch.object(rows, "lapse", _lapse_to_ready),
    "ABS ignored": lambda: _decide(lambda facts, result: (replace(facts, passed=True), result)),
    "delete on want >= generation": lambda: patch.object(rows, "paid", _paid_always),
    "snapshot = what we sent": lambda: patch.object(settle, "agree", _sent_is_stored),
    "no stale check": lambda: _both(
        patch.object(arrive, "_is_stale", lambda *args: False),
        patch.object(arrive, "_open_target", lambda *args: False),
    ),
    "no compare-and-set on positions": lambda: patch.object(View, "advance", _advance_blindly),
    "a repeat's definite answer closes the attempt": lambda: _decide(_repeat_as_first),
    "no rest": lambda: _decide(
        lambda facts, result: (facts, result), lambda verdict: replace(verdict, rest=False)
    ),
    "fence counted in the row": lambda: _both(
        patch.object(rows, "hold", _count_fence), patch.object(work, "claim", _claim_counted)
    ),
    "force cleared at claim": lambda: patch.object(claim._Claiming, "_pin", _pin_clears_force),
    "one digest instead of the pair": lambda: _both(
        patch.object(merge, "agree", _one_digest), patch.object(settle, "agree", _one_digest)
    ),
    "xref satisfied by its row alone": lambda: _satisfied(_by_its_row),
    "complete kept by UnAudit": lambda: patch.object(settle.Settling, "_next", _next_keeps_complete),
    "open attempt not looked at": lambda: _satisfied(_by_complete),
    "close without wake of xref": lambda: _both(
        patch.object(rows, "close", _quiet_close), patch.object(rows, "delete", _quiet_delete)
    ),
    "innocent refusal parks": lambda: _decide(lambda facts, result: (replace(facts, innocent=False), result)),
    "plan by complete only": lambda: patch.object(render, "_plan", _plan_by_complete),
    "Unchanged of an object not complete": lambda: patch.object(render, "_plan", _plan_forgets_complete),
    "rest of the primary xref only": lambda: patch.object(claim._Claiming, "load", _rest_of_primary),
    "Gone taken as Refused": lambda: _decide(
        lambda facts, result: (
            facts,
            Failed(Refused("gone", cause=Cause.NOT_FOUND)) if isinstance(result, Gone) else result,
        )
    ),
    "Several taken as Absent": lambda: _decide(
        lambda facts, result: (facts, Absent() if isinstance(result, Several) else result)
    ),
}
"""Name -> the mistake. Without code to plant it in: "merge at any time" (two records are not merged yet). On
PostgreSQL, with real connections: "no unique index on target", "wake without the row lock"."""


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant one mistake."""
    with BUGS[name]():
        yield
