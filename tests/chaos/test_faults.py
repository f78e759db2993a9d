"""The plan of a run: each point is armed until it is died at, everything is done once, and all live at the end."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from tests.chaos.faults import COMMAND_POINTS, TRIES, Breaker, Times
from tests.chaos.hubs import Cluster

QUICK = Times(alive=0.0, stops=(0.0,), rolls=1, point=0.0)


class Puppet:
    """A member that dies at every point but one, where it is killed instead."""

    def __init__(self, role: str, never: str = "") -> None:
        self.role, self.never, self.alive, self.armed = role, never, True, list[str]()
        self.stops = self.rolls = 0

    async def start(self, crash_point: str = "") -> bool:
        assert not self.alive
        self.alive = True
        self.armed += [crash_point] if crash_point else []
        return True

    async def dies_within(self, seconds: float) -> bool:
        self.alive = False
        return self.armed[-1].partition(":")[0] != self.never

    async def kill(self) -> None:
        assert self.alive
        self.alive = False

    async def stopped_for(self, seconds: float) -> None:
        assert self.alive
        self.stops += 1

    async def leave(self) -> None:
        assert self.alive
        self.alive, self.rolls = False, self.rolls + 1


class Troupe:
    """A cluster of puppets; a command with a crash point dies at it."""

    def __init__(self, *members: Puppet) -> None:
        self.members, self.downs = members, dict[str, int]()
        self.spared: Puppet | None = None

    def of(self, *roles: str) -> list[Puppet]:
        return [one for one in self.members if one.role in roles]

    def count(self, what: str) -> None:
        self.downs[what] = self.downs.get(what, 0) + 1

    async def command(self, *words: str, crash_point: str = "") -> dict[str, Any] | None:
        return None if crash_point else {}


def broken(troupe: Troupe, points: tuple[str, ...], times: int = 0, **outages: Any) -> Breaker:
    """Run a plan, and then ``times`` deaths more."""
    left = iter(range(times))
    breaker = Breaker(cast("Cluster", troupe), QUICK, random.Random(1), outages, points=points)
    asyncio.run(breaker.run(lambda: next(left, None) is not None))
    return breaker


def test_every_point_is_died_at_and_everything_is_done_once() -> None:
    alone = Puppet("all")
    troupe = Troupe(alone)
    away: list[int] = []

    async def outage() -> None:
        away.append(1)

    found = broken(troupe, ("claimed", "settled"), away=outage)
    assert found.reached == {
        "claimed",
        "settled",
        *(f"{point} of {words[0]}" for point, words in COMMAND_POINTS.items()),
    }
    assert (alone.stops, alone.rolls, len(away)) == (1, 1, 1)
    assert (troupe.downs["crash point"], troupe.downs["stop"], troupe.downs["away"]) == (2, 1, 1)
    assert alone.alive


def test_a_point_that_never_comes_is_tried_some_times_and_is_not_counted() -> None:
    alone = Puppet("all", never="claimed")
    assert "claimed" not in broken(Troupe(alone), ("claimed",)).reached
    assert len(alone.armed) == TRIES
    assert set(alone.armed[1:]) == {"claimed:1"}


def test_only_who_works_is_armed_and_all_live_at_the_end() -> None:
    gateway, worker = Puppet("gateway"), Puppet("worker")
    broken(Troupe(gateway, worker), ("claimed", "settled"), times=20)
    assert gateway.armed == []
    assert len(worker.armed) == 2
    assert gateway.alive
    assert worker.alive


def test_what_one_worker_does_is_died_at_by_the_only_one() -> None:
    workers = [Puppet("worker") for _ in range(3)]
    troupe = Troupe(*workers)
    assert "changes.published" in broken(troupe, ("changes.published",)).reached
    assert troupe.downs["kill -9"] >= 3
    assert all(worker.alive for worker in workers)


def test_who_is_spared_is_never_killed() -> None:
    workers = Puppet("worker"), Puppet("worker")
    troupe = Troupe(*workers)
    troupe.spared = workers[1]
    deaths = list[Puppet]()
    for one in workers:
        one.kill = _noting(deaths, one)  # type: ignore[method-assign]
    broken(troupe, (), times=12)
    assert len(deaths) > 5
    assert workers[1] not in deaths


def _noting(deaths: list[Puppet], one: Puppet) -> Any:
    async def kill() -> None:
        one.alive = False
        deaths.append(one)

    return kill
