"""Shares of a cluster: every job has one holder, workers hold equal parts, who comes gets some, who dies is replaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from hub.pipe.share import LEASE, Pool, Share, members
from hub.store import Store
from tests.simulation.rules import SteppedClock
from tests.stores import new_store_url

BUS = Pool("bus", tuple(f"bus:hub.inbound:{number}" for number in range(8)), {"cluster": "c", "next": 0})
SLOTS = Pool("slot", tuple(f"slot:k3:{number}" for number in range(3)))
POOLS = (BUS, SLOTS)
STEPPED = pytest.mark.parametrize("store", ["memory"], indirect=True)
"""PostgreSQL goes by its server's own clock."""
JOBS = BUS.jobs + SLOTS.jobs


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(params=["memory", "postgresql"])
def store(clock: SteppedClock, request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = Store.open(new_store_url(request.param, request), clock, inline=request.param == "memory")
    yield opened
    opened.close()


class Cluster:
    """Workers that take their turns one after the other, and give up at once what is too much."""

    def __init__(self, store: Store, clock: SteppedClock) -> None:
        self.store, self.clock = store, clock
        self.workers: dict[str, Share] = {}

    def add(self, name: str) -> Share:
        self.workers[name] = Share(self.store, self.clock, name, POOLS)
        return self.workers[name]

    async def rounds(self, count: int = 2) -> None:
        for _ in range(count):
            for one in self.workers.values():
                await one.turn()
                await one.give(one.surplus)

    def parts(self, pool: Pool) -> list[int]:
        """Return how many jobs of a pool each worker holds; fails if one has two holders."""
        held = Counter(dict.fromkeys(self.workers, 0))
        for job in pool.jobs:
            holders = [name for name, one in self.workers.items() if one.holds(job)]
            assert len(holders) <= 1, (job, holders)
            held.update(holders)
        return sorted(held.values(), reverse=True)


@pytest.fixture
def cluster(store: Store, clock: SteppedClock) -> Cluster:
    return Cluster(store, clock)


async def test_one_worker_alone_holds_everything(cluster: Cluster) -> None:
    alone = cluster.add("a")
    await cluster.rounds(1)
    assert [job for job in JOBS if not alone.holds(job)] == []


@pytest.mark.parametrize("count", [2, 3, 4, 11])
async def test_workers_that_come_one_by_one_end_with_equal_parts(cluster: Cluster, count: int) -> None:
    for number in range(count):
        cluster.add(f"w{number:02}")
        await cluster.rounds()
    for pool in POOLS:
        parts = cluster.parts(pool)
        assert sum(parts) == len(pool.jobs)
        assert parts[0] - parts[-1] <= 1


async def test_what_a_worker_keeps_it_keeps_by_the_same_lease(cluster: Cluster, store: Store) -> None:
    first = cluster.add("a")
    await cluster.rounds()
    cluster.add("b")
    await cluster.rounds()
    kept = {job for job in BUS.jobs if first.holds(job)}
    cluster.add("c")
    await cluster.rounds()
    assert {job for job in BUS.jobs if first.holds(job)} < kept


@STEPPED
async def test_the_jobs_of_a_dead_worker_are_free_once_its_leases_lapse(
    cluster: Cluster, clock: SteppedClock, store: Store
) -> None:
    cluster.add("a")
    cluster.add("b")
    await cluster.rounds()
    dead = cluster.workers.pop("b")
    clock.at += LEASE / 2
    await cluster.rounds()
    assert sum(cluster.parts(BUS)) == 4
    clock.at += LEASE / 2 + 0.001
    assert not any(dead.holds(job) for job in JOBS), "a sleeper that wakes up begins with nothing"
    await cluster.rounds()
    assert sum(cluster.parts(BUS)) == 8
    assert store.read_now(members) == ["a"]


@STEPPED
async def test_a_sleeper_that_wakes_up_has_another_fence_than_who_took_over(
    cluster: Cluster, clock: SteppedClock, store: Store
) -> None:
    cluster.add("a")
    await cluster.rounds()
    before = fences(store)
    cluster.workers.clear()
    clock.at += LEASE + 1
    cluster.add("b")
    await cluster.rounds()
    assert before.keys() == fences(store).keys()
    assert all(fences(store)[job] > fence for job, fence in before.items())


async def test_who_leaves_holds_nothing_and_the_others_need_not_wait(cluster: Cluster, store: Store) -> None:
    cluster.add("a")
    cluster.add("b")
    await cluster.rounds()
    await cluster.workers.pop("b").leave()
    await cluster.rounds(1)
    assert cluster.parts(BUS) == [8]
    assert store.read_now(members) == ["a"]


async def test_who_leaves_may_keep_what_is_in_use_while_the_others_have_the_rest(
    cluster: Cluster, store: Store
) -> None:
    cluster.add("a")
    cluster.add("b")
    await cluster.rounds()
    leaving = cluster.workers.pop("b")
    in_use = [job for job in SLOTS.jobs if leaving.holds(job)]
    await leaving.leave(BUS.jobs)
    await cluster.rounds(1)
    assert cluster.parts(BUS) == [8]
    assert [job for job in SLOTS.jobs if leaving.holds(job)] == in_use != []
    await leaving.leave()
    await cluster.rounds(1)
    assert cluster.parts(SLOTS) == [3]


async def test_what_is_still_in_use_stays_with_its_holder_until_it_is_given(cluster: Cluster) -> None:
    first = cluster.add("a")
    await cluster.rounds()
    second = cluster.add("b")
    for _ in range(3):
        await second.turn()
        await first.turn()
    assert len(first.surplus & set(BUS.jobs)) == 4
    assert not any(second.holds(job) for job in BUS.jobs)
    await first.give(first.surplus)
    await second.turn()
    assert sum(second.holds(job) for job in BUS.jobs) == 4


@STEPPED
async def test_a_member_that_renews_writes_nothing_more_often_than_it_must(
    cluster: Cluster, clock: SteppedClock, store: Store
) -> None:
    alone = cluster.add("a")
    await cluster.rounds()
    runs = 0
    run = store.run

    async def counted(*args, **kwargs):
        nonlocal runs
        runs += 1
        return await run(*args, **kwargs)

    store.run = counted
    for _ in range(14):
        clock.at += 0.5
        await alone.turn()
    assert runs == 2
    assert all(alone.holds(job) for job in JOBS)


def fences(store: Store) -> dict[str, int]:
    def read(tx):
        tx.cursor.execute("SELECT name, fence FROM jobs WHERE kind IN ('bus', 'slot')")
        return dict(tx.cursor.fetchall())

    return store.read_now(read)
