"""What one event costs in a store of 10,000, 100,000 and 1,000,000 customers known to three syncs each.

    python -m benchmarks.growth [--sizes 10000 100000 1000000] [--engine SQLite] [--turns 40]

`make bench` measures the first two sizes. The stores (`benchmarks.ballast`) stand side by side and take turns of some 50 ms
each. What counts is the median over the turns: of the cost, and of the cost beside that of the smallest store in the same
turn, so that a slow moment of the machine meets both. An event is a record taken, claimed,
settled, marked or woken, or a page of 50. Half of what is taken are new customers, half are changes of customers drawn
at random (seed below) from the whole store; claim and settle work off what these owe. Rows are marked owed by the job
that follows up a complete read (every tenth customer was not shown: 100,000 of a million), and woken as by a sync that
begins to write. CPU is this process's, on PostgreSQL that of the server's backends of this database too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psycopg

from benchmarks.ballast import BATCH, CONNECTION, HOUR, KIND, LANE, SYNCS, UNSEEN, Site, source
from benchmarks.measure import Row, engines, row
from hub.crm.query import find
from hub.model.record import Scope
from hub.pipe import rows
from hub.pipe.absence import confirm_absent, look_for_absent
from hub.pipe.marker import SweepEnd, note_end
from hub.pipe.take import take
from hub.pipe.work import wake
from hub.store import Tx
from hub.store.view import View

SIZES = (10_000, 100_000)
TURNS = 40
LARGE = 10
"""One in so many turns marks and wakes: those are of a tenth of the store."""
PAGES, PAGE = 20, 50
GROWN = 1.1
SEED = 7
INBOUND = f"{KIND}.in"
WAITING = f"mode:{SYNCS[0]}"


@dataclass
class Cost:
    """What some events took."""

    events: int = 0
    cpu: float = 0.0
    wall: float = 0.0

    def each(self, seconds: float) -> float:
        """Return µs an event."""
        return seconds / self.events * 1e6


@dataclass
class Store:
    """One store that is measured."""

    site: Site
    url: str
    server: psycopg.Connection[Any] | None
    draw: random.Random = field(default_factory=lambda: random.Random(SEED))
    costs: dict[str, list[Cost]] = field(default_factory=lambda: defaultdict(list))

    def cpu(self) -> float:
        """Return seconds of CPU used so far: this process, and the server's backends of this database."""
        used = time.process_time_ns()
        if self.server is not None:
            asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            used += sum(_on_cpu(pid) for (pid,) in self.server.execute(asked).fetchall())
        return used / 1e9

    @contextlib.contextmanager
    def measured(self, name: str) -> Iterator[Cost]:
        """Measure a part of a round; the caller says how many events it was."""
        cost = Cost()
        cpu, wall = self.cpu(), time.perf_counter()
        yield cost
        cost.wall, cost.cpu = time.perf_counter() - wall, self.cpu() - cpu
        self.costs[name].append(cost)


def _on_cpu(pid: int) -> int:
    """Return ns a process was on a CPU; Linux keeps them."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except OSError:  # it ended
        return 0


def opened(url: str, size: int) -> Store:
    """Make a store of that size."""
    began = time.perf_counter()
    site = Site(url, size)
    server = None
    if url.startswith("postgresql"):
        server = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        server.execute("VACUUM ANALYZE")  # as autovacuum will have done by then
        server.execute("CHECKPOINT")
    print(f"  {size:,} customers made in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return Store(site, url, server)


# a turn -----------------------------------------------------------------------------------------------------------


async def _take(store: Store) -> None:
    """Take one batch, and deliver what it owes: claim and settle take turns, as in the pipe."""
    site, half = store.site, BATCH // 2
    known, fresh = store.draw.sample(range(site.size), half), range(site.next, site.next + half)
    site.next += half
    batch = site.batch([source(n, f"visit {site.taken}") for n in known] + [source(n) for n in fresh])
    with store.measured("take") as cost:
        cost.events = await site.store.run(take, batch, site.world)
    _require(cost.events, BATCH)
    spent = {"claim": Cost(), "settle": Cost()}

    async def part(name: str, work: Awaitable[Any]) -> Any:
        cpu, wall = store.cpu(), time.perf_counter()
        found = await work
        spent[name].wall += time.perf_counter() - wall
        spent[name].cpu += store.cpu() - cpu
        return found

    while attempts := await part("claim", site.claimed()):
        await part("settle", site.settled(attempts))
        for cost in spent.values():
            cost.events += len(attempts)
    for name, cost in spent.items():
        _require(cost.events, len(SYNCS) * BATCH)
        store.costs[name].append(cost)


async def _mark(store: Store) -> None:
    """Follow up a complete read that did not show every tenth customer; what it marks is forgotten again."""
    site, clock = store.site, store.site.clock

    def ended(tx: Tx) -> None:
        view = View(tx, site.vault)
        end = SweepEnd(INBOUND, CONNECTION, "", (KIND,), clock.new_id().hex(), site.began - HOUR, 1, 1)
        note_end(view, end, "bus:hub.inbound.bulk:0")
        view.flush("bench", "end")

    await site.store.run(ended)
    with store.measured("mark owed") as cost:
        cost.events = await look_for_absent(site.store, site.world, clock, "bench")
        if cost.events == 0:  # so many: a person decides
            await site.store.run(confirm_absent, INBOUND, site.world, by="bench")
            cost.events = await look_for_absent(site.store, site.world, clock, "bench")
    unseen = len(range(0, site.size, UNSEEN))
    if not 0 < cost.events <= unseen:  # some of them were taken meanwhile
        raise RuntimeError(f"{cost.events} rows were marked of {unseen}")
    await site.store.run(_forget, f"sync = '{INBOUND}'")


async def _wake(store: Store) -> None:
    """Wake every tenth customer's delivery; then it is forgotten."""
    site = store.site
    ids = site.ids[::UNSEEN]
    for first in range(0, len(ids), 5_000):
        await site.store.run(_wait, site, ids[first : first + 5_000])
    with store.measured("wake") as cost:
        await site.store.run(wake, [WAITING], site.world)
        cost.events = len(ids)
    woken = await site.store.run(_forget, f"sync = '{SYNCS[0]}' AND state = 'ready'")
    _require(woken, len(ids))


def _wait(tx: Tx, site: Site, ids: Sequence[bytes]) -> None:
    view, sync = View(tx, site.vault), site.world.project.syncs[SYNCS[0]]
    for id_ in ids:
        target = rows.target_key(sync.connection, sync.object, sync.org, id_)
        made = rows.new_row(
            view, sync=sync.name, subject=id_.hex(), connection=sync.connection, target=target, lane=LANE
        )
        rows.wait(view, made, WAITING, verdict="update", fields=["remark"])
    view.flush("bench", "wait")


def _forget(tx: Tx, which: str) -> int:
    tx.cursor.execute(f"DELETE FROM owed WHERE {which}")
    gone = int(tx.cursor.rowcount)
    tx.cursor.execute("DELETE FROM jobs WHERE kind = 'sweep'")
    return gone


async def _list(store: Store) -> None:
    site = store.site
    for name, depth in (("list, first page", None), ("list, deep page", 0.9)):
        with store.measured(name) as cost:
            for _ in range(PAGES):
                after = (
                    None
                    if depth is None
                    else ("", site.ids[int(len(site.ids) * depth) - store.draw.randrange(PAGE)])
                )
                page = await site.store.read(find, Scope.ALL, KIND, after=after, limit=PAGE + 1)
                _require(len(page), PAGE + 1)
                cost.events += 1


def _require(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} events were to be {wanted}")


PARTS: Mapping[str, tuple[Callable[[Store], Coroutine[Any, Any, None]], int]] = {
    "take": (_take, 1), "list": (_list, 1), "mark": (_mark, LARGE), "wake": (_wake, LARGE),
}  # fmt: skip
"""Name -> what it does, in one of how many turns."""


def measured(stores: Sequence[Store], turns: int, parts: Sequence[str]) -> None:
    """Let the stores take turns, part by part; the first turns warm up and do not count."""
    gc.collect()
    gc.freeze()
    for name in parts:
        work, one_in = PARTS[name]
        for _ in range(1 + turns // 10 if one_in == 1 else 1):
            for store in stores:
                asyncio.run(work(store))
    for store in stores:
        store.costs.clear()
    for turn in range(turns):
        for name in parts:
            work, one_in = PARTS[name]
            for store in stores if turn % one_in == 0 else ():
                asyncio.run(work(store))


def _rows(engine: str, stores: Sequence[Store]) -> list[Row]:
    found = []
    least = stores[0]
    for name in least.costs:
        for store in stores:
            path = f"growth, {engine}, {name}, {store.site.size:,} customers"
            costs = store.costs[name]
            wall = median(cost.each(cost.wall) for cost in costs)
            told = f"{sum(cost.events for cost in costs):,} events, {wall:,.0f} µs of wall time"
            found.append(
                row(
                    f"{path}: CPU an event ({told})",
                    median(cost.each(cost.cpu) for cost in costs),
                    None,
                    None,
                    "µs",
                )
            )
            if store is not least:
                pairs = zip(costs, least.costs[name], strict=True)
                times = median(one.each(one.cpu) / base.each(base.cpu) for one, base in pairs)
                found.append(row(f"{path} over {least.site.size:,}", times, None, GROWN, "×"))
    return found


def run(
    sizes: Sequence[int] = SIZES,
    turns: int = TURNS,
    only: Sequence[str] = (),
    parts: Sequence[str] = tuple(PARTS),
) -> list[Row]:
    """Measure every size on every engine."""
    found = []
    with engines() as made:
        for engine, new in made.items():
            if only and engine not in only:
                continue
            print(
                f"growth, {engine}, seed {SEED}, load {os.getloadavg()[0]:.0f}", file=sys.stderr, flush=True
            )
            stores = [opened(new(), size) for size in sizes]
            try:
                measured(stores, turns, parts)
                found += _rows(engine, stores)
            finally:
                for store in stores:
                    store.site.store.close()
                    if store.server is not None:
                        store.server.close()
    return found


def quick() -> list[Row]:
    """Measure a little."""
    return run((2_000, 4_000), 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--engine", action="append", default=[], help="SQLite or PostgreSQL; default: both")
    parser.add_argument("--part", action="append", choices=PARTS, default=[])
    options = parser.parse_args()
    found = run(options.sizes, options.turns, options.engine, options.part or tuple(PARTS))
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
