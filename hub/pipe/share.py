"""Who is there, and which part of the cluster's work each holds: partitions, a vendor's slots, what runs once.

Every process that works is a member. What exists in a fixed number is a pool of jobs; each member leases its fair share
and gives up what is too much, so that a new worker gets its part at once and a dead one's is taken over when its leases
lapse. A lease here only says who may begin; what must never happen twice is fenced where it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.clock import SECOND, Clock
from hub.pipe.jobs import delete_job, lock_job, new_job, take_job
from hub.pipe.times import has_come
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.schema import jobs

__all__ = ["ALARM", "EVERY", "LEASE", "MEMBER", "Gone", "Pool", "Share", "members"]

MEMBER = "member"
ALARM = "alarm:"
"""What begins the name of the row with a member's alarms; it goes with the member."""
LEASE, RENEW = 10.0, 3.0
"""Seconds until what a dead member held is free, and after how many seconds of them a living one renews."""
EVERY = 0.5
"""Seconds between two turns."""
FORGET = 3600 * SECOND
"""µs after which the row of a member that went without a word is removed."""

read_leases = sql.bulk_select(jobs, "name holder lease", key="name")
read_members = sql.query("SELECT name, lease FROM jobs WHERE kind = 'member' ORDER BY name")
give_up = sql.bulk_update(jobs, "lease", key="name holder")
_LEASED = "'bus', 'once', 'slot', 'reader', 'token', 'publish', 'retention', 'sweep', 'writes'"
free_jobs = sql.command(
    f"UPDATE jobs SET lease = 0 WHERE kind IN ({_LEASED}) AND (holder = ? OR holder LIKE ?) AND lease <> 0"
)
free_rows = sql.command("UPDATE owed SET lease = 0 WHERE state = 'claimed' AND holder = ? AND lease > 0")

Gone = Callable[[str], bool]
"""Says whether a holder surely lives no more; who cannot know it says no, and waits for the leases to lapse."""


def _nobody(_holder: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Pool:
    """Jobs of one kind that are shared out among the members. ``start``: the position of one that nobody had yet."""

    kind: str
    jobs: tuple[str, ...]
    start: Any = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a member should do now: keep its jobs, give up the surplus among them, take some that are free."""

    mine: tuple[str, ...]
    surplus: tuple[str, ...]
    take: tuple[str, ...]
    renew: bool
    gone: tuple[str, ...]


class Share:
    """One member's part. Call :meth:`turn` every :data:`EVERY` seconds."""

    def __init__(
        self, store: Store, clock: Clock, holder: str, pools: Sequence[Pool], gone: Gone | None = None
    ) -> None:
        """Take the pools; nothing is leased yet. ``gone``: whose leases need not be waited for."""
        self._store, self._clock, self._holder, self._pools = store, clock, holder, tuple(pools)
        self._gone = gone or _nobody
        self._mine: frozenset[str] = frozenset()
        self._until = 0.0
        self.surplus: frozenset[str] = frozenset()
        """Held, but more than our share: to be given up with :meth:`give` once its use has ended."""

    def holds(self, job: str) -> bool:
        """Say whether a job is ours to begin with: leased, not too much, and the lease has not lapsed."""
        return job in self._mine and job not in self.surplus and self._clock.monotonic() < self._until

    async def turn(self) -> None:
        """Renew what is ours, take what is free up to our share, note what is too much."""
        began = self._clock.monotonic()
        plan = await self._store.read(_plan, self._holder, self._pools, self._gone)
        if plan.renew or plan.take or plan.gone:
            self._mine = await self._store.run(_divide, self._holder, self._pools, plan.gone)
            self._until = began + LEASE
        else:
            self._mine = frozenset(plan.mine)
        self.surplus = frozenset(plan.surplus) & self._mine

    async def give(self, given: Collection[str]) -> None:
        """Let the others have these jobs at once."""
        if given:
            await self._store.run(_give, self._holder, given)
            self._mine -= set(given)
            self.surplus -= set(given)

    async def leave(self, given: Collection[str] | None = None) -> None:
        """Be no member any more, so that the others' share grows, and give up these jobs (None: all)."""
        given = self._mine if given is None else self._mine & set(given)
        await self._store.run(_leave, self._holder, given)
        self._mine -= given
        self.surplus -= given


def members(tx: Tx) -> list[str]:
    """Return who works now: host and process, sorted."""
    return [name.removeprefix(f"{MEMBER}:") for name, until in read_members(tx) if _is_held(until, tx.now)]


def _is_held(until: int | None, now: int) -> bool:
    return not has_come(until, now, LEASE)


def _plan(tx: Tx, holder: str, pools: Sequence[Pool], gone: Gone = _nobody) -> _Plan:
    until = next((until for name, until in read_members(tx) if name == _name(holder)), None)
    living = sorted({holder, *members(tx)})
    place, count = living.index(holder), len(living)
    rows = {name: row for name, *row in read_leases(tx, [(job,) for pool in pools for job in pool.jobs])}
    mine: list[str] = []
    surplus: list[str] = []
    take: list[str] = []
    for number, pool in enumerate(pools):
        least, more = divmod(len(pool.jobs), count)
        allowed = least + ((place + number) % count < more)  # who gets one more differs from pool to pool
        held = {job: rows[job][0] for job in pool.jobs if job in rows and _is_held(rows[job][1], tx.now)}
        ours = [job for job, by in held.items() if by == holder]
        mine += ours
        surplus += ours[allowed:]
        take += [job for job in pool.jobs if job not in held][: max(0, allowed - len(ours))]
    renew = not _is_held(until, tx.now) or (until or 0) - tx.now < (LEASE - RENEW) * SECOND
    left = [name.removeprefix(f"{MEMBER}:") for name, _ in read_members(tx) if name != _name(holder)]
    return _Plan(tuple(mine), tuple(surplus), tuple(take), renew, tuple(name for name in left if gone(name)))


def _divide(tx: Tx, holder: str, pools: Sequence[Pool], gone: Collection[str] = ()) -> frozenset[str]:
    """Lease the member's own row, what it has and what it should take; return the jobs it has now.

    ``gone``: members whose leases are freed first, those of the rows they claimed too: no bytes of theirs are under way.
    """
    for one in gone:
        free_jobs(tx, one, f"{one}:%")
        free_rows(tx, one)
        _forget(tx, one)
    plan = _plan(tx, holder, pools)
    kinds = {job: (pool.kind, pool.start) for pool in pools for job in pool.jobs} | {
        _name(holder): (MEMBER, None)
    }
    names = sorted({_name(holder), *plan.mine, *plan.take})
    rows = {row[0]: row for row in lock_job(tx, [(name,) for name in names])}
    if missing := [name for name in names if name not in rows]:
        new_job(tx, [_row(tx, name, *kinds[name]) for name in missing])
        tx.journal(holder, "job", {"items": [{"job": name, "outcome": "made"} for name in missing]})
        rows |= {row[0]: row for row in lock_job(tx, [(name,) for name in missing])}
    until = tx.now + int(LEASE * SECOND)
    ours = {name: row for name, row in rows.items() if row[5] == holder or not _is_held(row[6], tx.now)}
    take_job(
        tx,
        [
            (name, holder, until, row[7] if row[5] == holder else tx.act, row[10])
            for name, row in ours.items()
        ],
    )
    for name, lapsed in read_members(tx):
        if abs((lapsed or 0) - tx.now) > FORGET:
            _forget(tx, name.removeprefix(f"{MEMBER}:"))
    return frozenset(ours) - {_name(holder)}


def _row(tx: Tx, name: str, kind: str, start: Any) -> tuple[Any, ...]:
    return (name, kind, "null", orjson.dumps(start).decode(), 0, None, 0, 0, "null", "due", tx.act)


def _give(tx: Tx, holder: str, given: Collection[str]) -> None:
    give_up(tx, [(job, holder, 0) for job in sorted(given)])


def _leave(tx: Tx, holder: str, held: Collection[str]) -> None:
    _give(tx, holder, held)
    _forget(tx, holder)


def _forget(tx: Tx, holder: str) -> None:
    delete_job(tx, [(_name(holder),), (ALARM + holder,)])


def _name(holder: str) -> str:
    return f"{MEMBER}:{holder}"
