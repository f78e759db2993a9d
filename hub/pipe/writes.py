"""Stopped writes: why, what a person may do about it, and what the lost time means for what is owed (``pipe.md`` 6).

A store that was put back does not know what was sent after its last act. So before it sends again, whatever it
owed then is taken as in doubt: it is looked up at its vendor first, and where nobody can look a person decides. What
comes in again afterwards (a CRM that sends twice, a bus that is read from an earlier position) owes objects that may be
there already: for some days each create is looked up first, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from hub.clock import SECOND
from hub.errors import Cause, IntegrityError
from hub.pipe.decide import Send
from hub.pipe.refusal import NotPossible, Reason
from hub.pipe.world import World
from hub.sdk.spec import Delivery
from hub.store import schema, sql
from hub.store.engine import Tx
from hub.store.epoch import WRITES, Stop, open_writes, stop_of

if TYPE_CHECKING:
    from hub.sdk.spec import Step
    from hub.store.rows import Owed

__all__ = ["LOOK_DAYS", "Look", "Stopped", "ask", "leave", "look_of", "moved", "stopped"]

LOOK_DAYS = 7
"""For so long creates are looked up first: as long as the bus keeps what came in."""
ASKED, LOOKING = "asked", "looking"
_DAY = 86_400 * SECOND
_NEW = orjson.dumps({"cursor": None, "sweep": None}).decode()

_read = sql.bulk_select(schema.jobs, "name state spec progress", key="name")
_lock = sql.bulk_select(schema.jobs, "name state spec fence", key="name", lock="update")
_set = sql.bulk_update(schema.jobs, "state spec progress act", key="name")


@dataclass(frozen=True, slots=True)
class Stopped:
    """Writes are stopped: ``since`` µs. ``asked``: a person said to go on, and the sources are read first.

    ``spec``: what else is known of it; ``progress``: how the reading goes.
    """

    why: Stop
    since: int
    asked: bool
    spec: dict[str, Any]
    progress: dict[str, Any]

    @property
    def reads(self) -> bool:
        """Say whether sources are read before writes open."""
        return not self.spec.get("unread")


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked up before it is sent: rows raised up to ``since``, and every create until ``until`` (µs).

    ``safe_at``: from then on nothing that was sent before can still take effect.
    """

    since: int
    safe_at: int
    until: int

    def concerns(self, row: Owed, now: int, *, creates: bool) -> bool:
        """Say whether a fresh row is looked up first; one that was looked up and is not there has an attempt behind it."""
        return row.attempts == 0 and (row.since <= self.since or (creates and now < self.until))

    def first(self, row: Owed, step: Step | None) -> Send | None:
        """Return how such a row begins with this step; None: nobody can look and a repeat may double, a person decides."""
        if step is None or step.delivery is Delivery.PUT:
            return Send.FIRST
        if step.delivery is Delivery.FINDABLE or (step.delivery is Delivery.KEYED and step.findable):
            return Send.FIND
        return Send.FIRST if row.since > self.since else None


def stopped(tx: Tx) -> Stopped | None:
    """Return why writes are stopped, None if they are open."""
    if tx.writes_open:
        return None
    for _, state, spec, progress in _read(tx, [(WRITES,)]):
        told, gone = orjson.loads(spec), orjson.loads(progress)
        return Stopped(stop_of(spec) or Stop.UNKNOWN, told.get("at", 0), state == ASKED, told, gone or {})
    return Stopped(Stop.UNKNOWN, tx.now, asked=False, spec={}, progress={})


def look_of(tx: Tx) -> Look | None:
    """Return what is looked up before it is sent, None if nothing is."""
    for _, state, spec, _ in _read(tx, [(WRITES,)]):
        if state == LOOKING:
            told = orjson.loads(spec)
            return Look(told["since"], told["safe_at"], told["until"])
    return None


def ask(tx: Tx, *, by: str, days: int = LOOK_DAYS, unread: bool = False) -> Stopped:
    """Have writes opened: the running hub reads its sources anew, takes what is owed as in doubt, and opens them.

    ``unread``: sources are not read first (a vendor that is gone). ``days``: how long creates are looked up first.

    Raises:
        NotPossible: writes are open.
    """
    found = _required(tx)
    if found.asked:
        return found
    spec = {**found.spec, "days": days, "unread": unread, "by": by}
    if not unread:  # a read that a backup cut in the middle goes on nowhere
        tx.cursor.execute(f"UPDATE jobs SET position = '{_NEW}' WHERE kind = 'reader'")
    _set(tx, [(WRITES, ASKED, orjson.dumps(spec).decode(), "null", tx.act)])
    tx.journal(by, "writes.asked", {"items": [{"outcome": "asked", "days": days, "unread": unread}]})
    return Stopped(found.why, found.since, asked=True, spec=spec, progress={})


def moved(tx: Tx, *, by: str) -> None:
    """Open writes of a store that was only moved: nobody worked with a copy of it meanwhile, so nothing is lost.

    Raises:
        NotPossible: writes are open, or the store is known to be an older one or another one.
    """
    found = _required(tx)
    if found.why is not Stop.UNKNOWN:
        raise NotPossible(Reason.NOT_MOVED, found.why.en)
    open_writes(tx)
    _set(tx, [(WRITES, "due", "null", "null", tx.act)])
    tx.journal(by, "writes.opened", {"items": [{"outcome": "opened", "why": "moved"}]})


def leave(tx: Tx, world: World, fence: int) -> None:
    """Open writes: everything that was owed or under way is in doubt from now on.

    An open attempt waits until nothing sent before can land; a row without one is looked up when it is rendered.

    Raises:
        IntegrityError: ``Cause.FENCED``: somebody else does it.
    """
    found = _lock(tx, [(WRITES,)])
    if not found or found[0][1] != ASKED or found[0][3] != fence:
        raise IntegrityError(Cause.FENCED, "somebody else opens the writes")
    spec = orjson.loads(found[0][2])
    safe_at = tx.now + int((world.timing.send_window + _longest(world)) * SECOND)
    tx.cursor.execute(
        f"UPDATE owed SET absent_after = {safe_at} "
        f"WHERE target IS NOT NULL AND generation IS NOT NULL AND absent_after < {safe_at}"
    )
    tx.cursor.execute("UPDATE owed SET attempts = 0 WHERE target IS NOT NULL AND generation IS NULL")
    look = {"since": tx.now, "safe_at": safe_at, "until": tx.now + int(spec["days"]) * _DAY}
    open_writes(tx)
    _set(tx, [(WRITES, LOOKING, orjson.dumps(look).decode(), "null", tx.act)])
    tx.journal(spec["by"], "writes.opened", {"items": [{"outcome": "opened", "why": spec["why"], **look}]})


def _longest(world: World) -> float:
    """Return how long a write may take effect after its answer was lost, at the slowest vendor."""
    settings = list(world.settle_after.values())
    specs = [obj.settle_after for spec in world.specs.values() for obj in spec.objects.values()]
    return max([*settings, *([] if settings else specs)], default=0.0)


def _required(tx: Tx) -> Stopped:
    found = stopped(tx)
    if found is None:
        raise NotPossible(Reason.WRITES_OPEN)
    return found
