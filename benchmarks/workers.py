"""Deliveries to a vendor that answers after 200 ms, with 1, 2 and 4 worker processes, on both pairs of engines.

    python -m benchmarks.workers [--rounds N] [--each N] [--slots N] [--at-once N]

Every call waits: SLOTS calls at a time and worker, so that waiting for the vendor, and not the processors, is the limit.
A vendor's slots are one number for the cluster, which its workers share out among them. So the setting (Kingdee's
``sessions``) grows with the workers here: more workers at a vendor that takes no more calls deliver no more. The limit
of a row is the vendor's own: slots a call takes 200 ms.

Customers are written through the API while the connection is paused (`hub pause k3`). It is resumed when every worker
has its part of the slots, and what counts is how fast effects follow one another in the vendor's ledger, from the
first tenth to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter

import orjson

from benchmarks.customers import PATIENCE, Office, office, project
from benchmarks.measure import Row, row
from benchmarks.people import Look
from benchmarks.running import Running, engines, running_hub

LATENCY = 0.2
SLOTS = 2
"""Calls at the same time for each worker; Kingdee's setting ends at 10."""
EACH = 150
"""Customers for each worker: 15 seconds of them."""
COUNTS = (1, 2, 4)
BUDGETS = {2: 1.8, 4: 3.4}
ROUNDS = 1
REMARK = "first contact at the fair"


async def _shared(look: Look, workers: int, slots: int) -> None:
    """Wait until every worker has its part of the vendor."""
    until = time.perf_counter() + PATIENCE
    fair = [slots // workers] * workers
    while True:
        now = time.time_ns() // 1000
        held = look.all("SELECT holder FROM jobs WHERE name LIKE 'slot:k3:_' AND lease > ?", now)
        if sorted(Counter(held).values()) == fair:
            return
        if time.perf_counter() > until:
            raise RuntimeError(f"{workers} workers did not share {slots} slots: {Counter(held)}")
        await asyncio.sleep(0.1)


async def _delivered(
    hub: Running, desk: Office, *, workers: int, slots: int, count: int
) -> tuple[float, float]:
    """Return deliveries per second and µs of CPU a delivery, all workers together."""
    with contextlib.ExitStack() as stack, contextlib.closing(Look(hub)) as look:
        await asyncio.to_thread(hub.run, "pause", "k3")
        await desk.slow(LATENCY * 1000)
        await desk.put_all(range(count), REMARK)
        for _ in range(workers):
            await asyncio.to_thread(hub.up, stack, "worker")
        await _shared(look, workers, slots)
        used = hub.cpu
        await asyncio.to_thread(hub.run, "resume", "k3")
        effects = await desk.until(count, lambda one: one["verb"] == "create")
        cpu = (hub.cpu - used) / count
        names = {one["fields"]["FName"] for one in effects}
        if len(names) != count or len(effects) != count:
            raise RuntimeError(
                f"{count} customers were owed, the vendor made {len(effects)} with {len(names)} names"
            )
        del hub.processes[1:]
    times = sorted(one["at"] for one in effects)
    first, last = len(times) // 10, len(times) * 9 // 10
    return (last - first) / (times[last] - times[first]) * 1e6, cpu * 1e6


async def _one(engine: str, workers: int, slots: int, count: int) -> tuple[float, float]:
    started = running_hub(project(slots), engine=engine, roles=("console",))
    hub = await asyncio.to_thread(started.__enter__)
    try:
        async with office(hub) as desk:
            return await _delivered(hub, desk, workers=workers, slots=slots, count=count)
    finally:
        await asyncio.to_thread(started.__exit__, None, None, None)


def run(
    rounds: int = ROUNDS, each: int = EACH, slots: int = SLOTS, counts: tuple[int, ...] = COUNTS
) -> list[Row]:
    """Measure in turns; the best round of each counts."""
    found = []
    for engine in engines():
        best: dict[int, tuple[float, float]] = {}
        for _ in range(rounds):
            for workers in counts:
                one = asyncio.run(_one(engine, workers, slots * workers, each * workers))
                best[workers] = max(best.get(workers, one), one)
                print(f"  {engine}, {workers}: {one[0]:.1f}/s, {one[1]:.0f} µs", file=sys.stderr, flush=True)
        for workers, (rate, cpu) in best.items():
            name = (
                f"deliveries, {LATENCY * 1000:.0f} ms a call, {engine}, {workers} worker{'s' * (workers > 1)}"
            )
            ceiling = slots * workers / LATENCY
            found.append(
                row(f"{name}, beside the vendor's {slots * workers} slots", rate, ceiling, None, "records/s")
            )
            found.append(row(f"{name}: CPU of the hub a delivery", cpu, None, None, "µs"))
            if workers in BUDGETS:
                found.append(row(f"{name} over 1", rate, best[1][0], BUDGETS[workers], "records/s"))
    return found


def quick() -> list[Row]:
    """Measure a little."""
    return run(1, 40, SLOTS, (1, 2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--each", type=int, default=EACH, help="customers for each worker")
    parser.add_argument("--slots", type=int, default=SLOTS, help="calls at the same time for each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=COUNTS)
    options = parser.parse_args()
    found = run(options.rounds, options.each, options.slots, tuple(options.workers))
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
