"""How soon a dead worker's claims are others', and what a worker that leaves, joins or dies costs the others.

``python -m tests.chaos.measure takeover`` kills the worker that holds claims, and the next one before the last one's
were taken over, and prints for how long the longest stayed a dead one's. ``… handover`` has workers leave (SIGTERM),
join and die under load, and prints how long who left took for it, the longest time for which messages lay in a
partition and none was taken, and the longest time without an effect at a vendor. Vendors and lines are clean here: what
is measured is the hub's own. One JSON line a measure, code 1 if one is above what is promised.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from hub.bus import INBOUND, Bus
from hub.clock import SystemClock
from hub.store import Store
from hub.wiring import open_bus
from tests.chaos import children, run
from tests.chaos.__main__ import _parser
from tests.chaos.hubs import Cluster, Member
from tests.chaos.nursery import nursery
from tests.chaos.project import prepare
from tests.chaos.rest import Watcher

__all__: list[str] = []

LOOK = 0.05
"""Seconds between two looks."""
CLEAN = {
    "drop": 0.0, "late": 0.0, "broken": 0.0, "network": 0.0, "poison": 0.0, "latency": 300.0, "rate": 40.0, "lanes": 8,
    "acts": 20.0, "edits": 4.0, "customers": 40, "workers": 3, "kills": 20, "takeover": 15.0, "drain": 60.0, "lines": False,
}  # fmt: skip
"""Knobs: load without faults, at vendors that take long enough for claims to be held most of the time."""
PAUSED = 3.0
"""Seconds for which a worker that joins or leaves may pause what is taken."""
LAPSE = 15.0
"""Seconds after which a dead worker's partitions are taken by others."""


@dataclass
class Scene:
    """A cluster under load, and a look at its store, its bus and what vendors did."""

    cluster: Cluster
    store: Store
    bus: Bus
    ledger: Path

    @property
    def workers(self) -> list[Member]:
        return self.cluster.of("worker")


@contextlib.asynccontextmanager
async def staged(wanted: argparse.Namespace, folder: Path) -> AsyncIterator[Scene]:
    """Start everything, with load on it, and end it."""
    async with contextlib.AsyncExitStack() as stack:
        site = await run._site(stack, wanted, folder)
        prepare(folder, site.engine.environment, site.vendors, settle_after=wanted.settle_after)
        environment = {**site.engine.environment, "HUB_PROJECT_DIR": str(folder)}
        born = await stack.enter_async_context(nursery(folder / "processes"))
        cluster = Cluster(folder, environment, born, site.engine.roles)
        stack.push_async_callback(cluster.end)
        await cluster.start()
        watcher = Watcher(environment)
        store = watcher.store()
        stack.push_async_callback(store.aclose)
        bus = await asyncio.to_thread(open_bus, watcher._settings, SystemClock())
        stack.push_async_callback(bus.aclose)
        acting = await run._generator(
            wanted, folder, await run._reachable(stack, site, cluster, wanted), site
        )
        stack.push_async_callback(run._killed, acting)
        yield Scene(cluster, store, bus, folder / "kingdee.jsonl")


# ------------------------------------------------------------------------------------------ takeover


async def takeover(scene: Scene, wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Kill a worker that holds claims again and again; return for how long they stayed a dead one's."""
    dead: dict[int, float] = {}
    stayed: dict[int, float] = {}

    async def watch() -> None:
        while True:
            for pid in (await scene.store.read(_holders)).keys() & dead.keys():
                stayed[pid] = time.monotonic() - dead[pid]
            await asyncio.sleep(LOOK)

    watching = asyncio.ensure_future(watch())
    claims = []
    for _ in range(wanted.kills):
        victim, held = await _holding(scene)
        pid = victim.pid
        await victim.kill()
        dead[pid] = time.monotonic()
        claims.append(held)
        await asyncio.sleep(wanted.alive)
        await victim.start()
    await asyncio.sleep(wanted.takeover + 1.0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    found = sorted(stayed.values())
    return [
        _told("a dead worker's claims are others'", max(found), wanted.takeover, kills=len(dead), with_claims=len(found),
              claims=sum(claims), median=round(found[len(found) // 2], 1)),
    ]  # fmt: skip


async def _holding(scene: Scene) -> tuple[Member, int]:
    """Wait for a worker that holds claims; return the one with most of them, and how many."""
    while True:
        holders = await scene.store.read(_holders)
        most = max(scene.workers, key=lambda one: holders.get(one.pid, 0) if one.alive else -1)
        if held := holders.get(most.pid, 0):
            return most, held
        await asyncio.sleep(LOOK)


def _holders(tx: Any) -> dict[int, int]:
    """Return process -> how many claims are its."""
    tx.cursor.execute("SELECT holder, count(*) FROM owed WHERE state = 'claimed' GROUP BY holder")
    return {int(holder.rpartition(":")[2]): count for holder, count in tx.cursor.fetchall()}


# ------------------------------------------------------------------------------------------ handover


@dataclass
class Gaps:
    """The longest standstills since the last :meth:`reset`."""

    scene: Scene
    taken: float = 0.0
    sent: float = 0.0
    took: int = 0
    _at: dict[str, tuple[int, float]] = field(default_factory=dict)
    _effects: tuple[int, float] = (0, 0.0)

    async def watch(self) -> None:
        """Look until cancelled."""
        count = await self.scene.bus.partitions(INBOUND)
        while True:
            ends = {
                f"bus:{INBOUND}:{one}": (await self.scene.bus.bounds(INBOUND, one)).next
                for one in range(count)
            }
            positions = await self.scene.store.read(_positions)
            now = time.monotonic()
            for name, end in ends.items():
                self._look(name, positions.get(name, 0), end, now)
            size = self.scene.ledger.stat().st_size
            if size != self._effects[0]:
                self._effects = (size, now)
            self.sent = max(self.sent, now - self._effects[1])
            await asyncio.sleep(LOOK)

    def _look(self, name: str, position: int, end: int, now: float) -> None:
        """Note for how long a partition has held messages of which none was taken."""
        before, since = self._at.get(name, (-1, now))
        if position != before or position >= end:
            self.took += max(0, position - before) if before >= 0 else 0
            since = now
        self._at[name] = (position, since)
        self.taken = max(self.taken, now - since)

    def reset(self) -> None:
        """Begin anew; what stands still now counts from now on."""
        now = time.monotonic()
        self._at = {name: (position, now) for name, (position, _) in self._at.items()}
        self._effects = (self._effects[0], now)
        self.taken = self.sent = 0.0
        self.took = 0


def _positions(tx: Any) -> dict[str, int]:
    tx.cursor.execute("SELECT name, position FROM jobs WHERE kind = 'bus'")
    return {name: orjson.loads(position)["next"] for name, position in tx.cursor.fetchall()}


async def handover(scene: Scene, wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Have workers leave, join and die; return how long that kept messages and deliveries waiting."""
    gaps = Gaps(scene)
    gaps.reset()
    watching = asyncio.ensure_future(gaps.watch())
    longest: dict[str, list[float]] = {}
    drains: list[float] = []
    codes: list[int] = []

    async def phase(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        known = longest.setdefault(name, [0.0, 0.0, 0])
        longest[name] = [max(known[0], gaps.taken), max(known[1], gaps.sent), known[2] + gaps.took]
        gaps.reset()

    await phase("warm-up", 20.0)
    await phase("nothing happens", 10.0)
    for number in range(wanted.rolls):
        member = scene.workers[number % len(scene.workers)]
        began = time.monotonic()
        codes.append(await member.leave(patience=2 * wanted.drain))
        drains.append(time.monotonic() - began)
        await phase("a worker left", 8.0)
        await member.start()
        await phase("a worker joined", 8.0)
        await member.kill()
        await phase("a worker was killed", 16.0)
        await member.start()
        await phase("its successor joined", 8.0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    most = {
        "a worker left": PAUSED,
        "a worker joined": PAUSED,
        "a worker was killed": LAPSE,
        "its successor joined": LAPSE,
    }
    return [
        _told("who is asked to stop has ended", max(drains), wanted.drain, times=len(drains), codes=codes),
        *(
            _told(f"messages lay while {name}", taken, most.get(name), deliveries_paused=round(sent, 1), taken=took)
            for name, (taken, sent, took) in longest.items()
        ),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------ telling


def _told(what: str, seconds: float, most: float | None, **more: Any) -> dict[str, Any]:
    ok = most is None or seconds <= most
    return {"measure": what, "seconds": round(seconds, 1), "promised": most, "ok": ok, **more}


MEASURES = {"takeover": takeover, "handover": handover}


async def _measured(wanted: argparse.Namespace, folder: Path) -> int:
    async with staged(wanted, folder) as scene:
        found = await MEASURES[wanted.measure](scene, wanted)
    for line in found:
        print(json.dumps({**line, "engine": wanted.engine, "load": round(os.getloadavg()[0], 1)}), flush=True)
    return int(not all(line["ok"] for line in found))


def main() -> int:
    """Measure one thing."""
    parser = _parser()
    parser.prog = "python -m tests.chaos.measure"
    parser.add_argument("measure", choices=MEASURES)
    parser.set_defaults(**CLEAN)
    wanted = parser.parse_args()
    children.end_as_interrupted()
    folder = Path(tempfile.mkdtemp(prefix="hub-measure-"))
    code = 1
    try:
        code = asyncio.run(_measured(wanted, folder))
    finally:
        if code == 0 and not wanted.keep:
            shutil.rmtree(folder)
        else:
            print(f"kept: {folder}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
