"""How much a connection may do now: its pause and probe, its breaker, its budgets, all in the store.

Every process sees the same rows, so limits hold however many workers run.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from hub.clock import SECOND
from hub.errors import Cause
from hub.pipe.times import LONGEST, has_come
from hub.pipe.world import World
from hub.sdk.spec import Budget
from hub.store import sql
from hub.store.engine import Overtaken, Tx
from hub.store.schema import budgets, connections
from hub.store.view import View

__all__ = [
    "BREAKER",
    "Gate",
    "admit",
    "gate_of",
    "gates",
    "note_results",
    "pause",
    "quotas",
    "resume",
    "spend",
    "spend_on",
]

BREAKER = 5
"""A connection pauses after this many batches in a row in which nobody answered."""
FIRST_PAUSE, LAST_PAUSE = 2.0, 60.0
"""Seconds until the first probe and the longest time between probes."""

lock_connection = sql.bulk_select(
    connections, "name state cause until failures act", key="name", lock="update"
)
read_connection = sql.bulk_select(connections, "name state cause until failures", key="name")
upsert_connection = sql.bulk_upsert(connections, "name state cause until failures act", key="name")
read_budget = sql.bulk_select(budgets, "scope window used until", key="scope")
spend_budget = sql.command(
    'INSERT INTO budgets (scope, "window", used) VALUES (?, ?, ?) ON CONFLICT (scope) DO UPDATE SET until = NULL, '
    'used = CASE WHEN budgets."window" = excluded."window" THEN budgets.used ELSE 0 END + excluded.used, '
    '"window" = excluded."window" '
    'WHERE CASE WHEN budgets."window" = excluded."window" THEN budgets.used ELSE 0 END + excluded.used <= ?'
)


class Gate(enum.Enum):
    """How a connection stands: open, shut, or shut but to one row that may try whether it works again."""

    OPEN = "open"
    SHUT = "shut"
    PROBE = "probe"


def gate_of(tx: Tx, connection: str) -> Gate:
    """Say how a connection stands now; nothing is changed."""
    return gates(tx, [connection])[connection]


def gates(tx: Tx, names: Sequence[str]) -> dict[str, Gate]:
    """Say how connections stand now."""
    found = dict.fromkeys(names, Gate.OPEN)
    for name, state, _, until, _ in read_connection(tx, [(name,) for name in names]):
        if state == "paused":
            found[name] = Gate.PROBE if _is_over(until, tx.now) else Gate.SHUT
    return found


def quotas(tx: Tx, world: World) -> list[tuple[str, str, int, int]]:
    """Return (connection, budget, calls left in the window that runs now, calls of a window) for every rate a vendor states."""
    rates = [(name, scope, budget) for name in world.specs for scope, budget in _rates(world, name).items()]
    known = {row[0]: row for row in read_budget(tx, [(scope,) for _, scope, _ in rates])}
    return [
        (name, budget.name, _left(known.get(scope), budget, tx.now), budget.limit)
        for name, scope, budget in rates
    ]


def admit(tx: Tx, connection: str, rows: int, world: World, gate: Gate) -> int:
    """Return how many of the rows that are due may be claimed: one as a probe, else what the budgets leave.

    Asked only when something is due: an empty lane must not spend the probe. Nothing is locked: what is really called is
    counted by :func:`spend`.
    """
    if gate is not Gate.OPEN:
        return _probe(tx, connection)
    rates = _rates(world, connection)
    known = {row[0]: row for row in read_budget(tx, [(scope,) for scope in rates])}
    return min([rows, *(_left(known.get(scope), budget, tx.now) for scope, budget in rates.items())])


def spend(tx: Tx, connection: str, calls: int, world: World) -> None:
    """Count calls that will be made; the last thing a claim does, for others wait from here to its commit.

    Raises:
        Overtaken: other workers have spent the budget since it was looked at.
    """
    for scope, budget in sorted(_rates(world, connection).items()) if calls else ():
        if not spend_budget(tx, scope, _window(budget, tx.now), calls, budget.limit):
            raise Overtaken(scope)


def spend_on(tx: Tx, connection: str, people: Sequence[str], world: World) -> bool:
    """Count one notice to each of these people; False: one of them has had as many as the vendor delivers, nothing is counted.

    The vendor would drop it without a word.
    """
    spec = world.specs.get(connection)
    budgets = [budget for budget in spec.budgets if budget.kind == "person"] if spec else []
    scopes = {f"{connection}/person/{one.name}/{who}": one for one in budgets for who in people}
    known = {row[0]: row for row in read_budget(tx, [(scope,) for scope in scopes])}
    if not all(_left(known.get(scope), budget, tx.now) for scope, budget in scopes.items()):
        return False
    for scope, budget in sorted(scopes.items(), key=lambda one: one[0]):
        if not spend_budget(tx, scope, _window(budget, tx.now), 1, budget.limit):
            raise Overtaken(scope)
    return True


def _rates(world: World, connection: str) -> dict[str, Budget]:
    """Return what a vendor allows in a time, by the name of its counter."""
    spec = world.specs.get(connection)
    rates = [budget for budget in spec.budgets if budget.kind == "rate"] if spec else []
    return {f"{connection}/{budget.scope}/{budget.name}": budget for budget in rates}


def _window(budget: Budget, now: int) -> int:
    return int(now // (budget.per * SECOND))


def _left(row: Sequence[Any] | None, budget: Budget, now: int) -> int:
    """Return how many calls are left in the window that runs now; none while the vendor has blocked it."""
    _, window, used, until = row or ("", -1, 0, None)
    if not has_come(until, now, LONGEST):
        return 0
    return max(0, budget.limit - (used if window == _window(budget, now) else 0))


def _probe(tx: Tx, connection: str) -> int:
    """Let one row through once `until` has passed, and move it: one probe at a time in the whole cluster."""
    _, state, cause, until, failures, act = lock_connection(tx, [(connection,)])[0]
    if state != "paused":
        return 1
    if not _is_over(until, tx.now):
        return 0
    upsert_connection(tx, [(connection, state, cause, tx.now + _pause(failures), failures, act)])
    return 1


def _is_over(until: int | None, now: int) -> bool:
    """Say whether a pause is over as far as a probe may go out; None: a person ends it."""
    return until is not None and has_come(until, now, LONGEST)


def _pause(failures: int, asked: float | None = None) -> int:
    seconds = (
        min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(max(failures - BREAKER, 0), 16))
        if asked is None
        else min(asked, LONGEST)
    )
    return int(seconds * SECOND)


def pause(view: View, connection: str, cause: Cause, message: str, *, after: float | None = None) -> None:
    """Pause a connection: its rows stay owed, one alarm, one probe resumes."""
    rows = lock_connection(view.tx, [(connection,)])
    if rows and _by_a_person(rows[0]):
        return
    failures = rows[0][4] + 1 if rows else BREAKER
    until = view.now + _pause(max(failures, BREAKER), after)
    upsert_connection(view.tx, [(connection, "paused", cause.value, until, max(failures, BREAKER), view.act)])
    if not rows or rows[0][1] != "paused":
        view.note(connection=connection, outcome="paused", cause=cause.value, message=message)


def _by_a_person(row: Sequence[Any]) -> bool:
    """Say whether a person paused it: then no answer of a call under way opens it, and nothing probes it."""
    return bool(row[1] == "paused" and row[3] is None)


def resume(view: View, connection: str) -> None:
    """Open a connection again."""
    upsert_connection(view.tx, [(connection, "open", None, None, 0, view.act)])
    view.note(connection=connection, outcome="resumed")


def note_results(view: View, connection: str, *, answered: bool, unanswered: bool) -> None:
    """Count batches in which nobody answered; an answer closes the breaker. Writes only when something changes."""
    rows = read_connection(view.tx, [(connection,)])
    state, failures = (rows[0][1], rows[0][4]) if rows else ("open", 0)
    if rows and _by_a_person(rows[0]):
        return
    if answered:
        if state == "paused":
            resume(view, connection)
        elif failures:
            upsert_connection(view.tx, [(connection, "open", None, None, 0, view.act)])
    elif unanswered and state == "open":
        if failures + 1 >= BREAKER:
            pause(view, connection, Cause.UNREACHABLE, Cause.UNREACHABLE.en)
        else:
            upsert_connection(view.tx, [(connection, "open", None, None, failures + 1, view.act)])
