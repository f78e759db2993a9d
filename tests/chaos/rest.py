"""Whether a hub is at rest: everything taken, nothing owed but what a person must see. Looks into its store and bus.

This is the conductor's: it only says when the judges may begin, and judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil

from hub.bus import INBOUND, INBOUND_BULK, Bus
from hub.clock import SystemClock
from hub.settings import PREFIX, Settings
from hub.store import Store
from hub.wiring import open_bus
from tests.chaos.hubs import Cluster, Member

__all__ = ["Watcher"]

AWAY = 2.0
"""Seconds between two answers of the store from which on it was away: on a busy machine one takes a second."""
OWED = """
SELECT sync, state, count(*) FROM owed AS one WHERE NOT (state = 'waiting' AND EXISTS (
    SELECT 1 FROM owed AS other
    WHERE other.state = 'parked' AND one.waits_for IN ('target:' || other.target, 'xref:' || other.target)
)) GROUP BY 1, 2
"""
"""What is owed; who waits behind a dead letter waits for a person."""
LOOK, WARM_UP = 5.0, 60.0
"""Seconds between two looks at memory, and for which a process may grow first."""
LATE = 12.0
"""Seconds from which on a takeover is told when it is seen."""
OVER = ("done", "held")
"""States of a complete read whose absences were counted, or wait for a person."""


class Watcher:
    """Looks at a hub's store and bus while it runs; reads only."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Take the environment of the hub's processes."""
        named = {key.removeprefix(PREFIX).lower(): value for key, value in environment.items()}
        self.takeover = 0.0
        self.resident: list[int] = []
        self.unrest: list[str] = []
        """What was still busy when nobody wanted to wait any longer."""
        self._settings = Settings(
            **{key: value for key, value in named.items() if key in Settings.model_fields}
        )

    def store(self) -> Store:
        return Store.open(self._settings.store_address, SystemClock())

    async def drained(self, patience: float) -> float:
        """Wait until it is at rest, at most ``patience``; return the seconds that took. ``unrest``: what is left then."""
        started = time.monotonic()
        store, bus = self.store(), await asyncio.to_thread(open_bus, self._settings, SystemClock())
        try:
            while busy := await _busy(store, bus):
                if time.monotonic() - started > patience:
                    self.unrest = [f"{what}: {state}" for what, state in busy.items()]
                    break
                await asyncio.sleep(0.3)
            return time.monotonic() - started
        finally:
            await bus.aclose()
            await store.aclose()

    async def takeovers(self, cluster: Cluster) -> None:
        """Watch until cancelled how long claims of processes that died stay theirs: ``takeover``, the longest.

        Time in which the store did not answer does not count: nobody could take anything.
        """
        store, answered, away = self.store(), time.monotonic(), list[tuple[float, float]]()
        try:
            while True:
                await asyncio.sleep(0.5)
                with contextlib.suppress(Exception):  # the store may be away
                    holders = await store.read(_holders)
                    now = time.monotonic()
                    if now - answered > AWAY:
                        away.append((answered, now))
                    answered = now
                    dead = {pid: at for one in cluster.members for pid, at in one.deaths.items()}
                    held = [_without(away, dead[pid], now) for pid in holders if pid in dead]
                    longest = max([self.takeover, *held])
                    if longest > max(self.takeover, LATE):
                        print(f"claims are a dead process's after {longest:.1f} s, load {os.getloadavg()[0]:.0f}",
                              file=sys.stderr, flush=True)  # fmt: skip
                    self.takeover = longest
        finally:
            await store.aclose()

    async def memory(self, member: Member, begun: Callable[[], bool]) -> None:
        """Watch until cancelled how much memory a member holds, once ``begun``: MiB into ``resident``, its warm-up left out."""
        while not begun():
            await asyncio.sleep(LOOK)
        await asyncio.sleep(WARM_UP)
        while True:
            with contextlib.suppress(psutil.Error):
                self.resident.append(psutil.Process(member.pid).memory_info().rss >> 20)
            await asyncio.sleep(LOOK)

    async def backlog(self, file: Path) -> None:
        """Write into ``file`` until cancelled how much waits in the bus and the store; what is away says nothing."""
        store, bus = self.store(), await asyncio.to_thread(open_bus, self._settings, SystemClock())
        try:
            while True:
                with contextlib.suppress(Exception):
                    jobs, owed = await store.read(_look)
                    behind = sum([end - taken async for _, taken, end in _places(jobs, bus)])
                    file.write_text(f"{behind + owed.total()}\n")
                await asyncio.sleep(1.0)
        finally:
            await bus.aclose()
            await store.aclose()

    async def held(self) -> bool:
        """Tell whether a complete read waits for a person to confirm what it did not show."""
        store = self.store()
        try:
            jobs, _ = await store.read(_look)
        finally:
            await store.aclose()
        return any(state == "held" for state, _ in jobs.values())


async def _busy(store: Store, bus: Bus) -> dict[str, Any]:
    jobs, owed = await store.read(_look)
    busy: dict[str, Any] = {
        name: f"{taken} of {end}" async for name, taken, end in _places(jobs, bus) if taken < end
    }
    busy |= {
        name: state for name, (state, _) in jobs.items() if name.startswith("sweep:") and state not in OVER
    }
    return busy | {f"{sync} {state}": count for (sync, state), count in owed.items() if state != "parked"}


async def _places(jobs: Mapping[str, tuple[str, Any]], bus: Bus) -> AsyncIterator[tuple[str, int, int]]:
    """Yield for each partition how far it is taken and where it ends."""
    for topic in (INBOUND, INBOUND_BULK):
        for number in range(await bus.partitions(topic)):
            name = f"bus:{topic}:{number}"
            yield name, jobs[name][1]["next"] if name in jobs else 0, (await bus.bounds(topic, number)).next


def _without(away: Sequence[tuple[float, float]], since: float, now: float) -> float:
    """Return the seconds since then, without those in which the store was away."""
    return now - since - sum(max(0.0, end - max(begin, since)) for begin, end in away)


def _holders(tx: Any) -> set[int]:
    """Return the processes that hold claims; a holder is named host:pid."""
    tx.cursor.execute("SELECT DISTINCT holder FROM owed WHERE state = 'claimed'")
    return {int(holder.rpartition(":")[2]) for (holder,) in tx.cursor.fetchall()}


def _look(tx: Any) -> tuple[dict[str, tuple[str, Any]], Counter[tuple[str, str]]]:
    tx.cursor.execute("SELECT name, state, position FROM jobs WHERE kind IN ('bus', 'sweep')")
    jobs = {name: (state, orjson.loads(position)) for name, state, position in tx.cursor.fetchall()}
    tx.cursor.execute(OWED)
    return jobs, Counter({(sync, state): count for sync, state, count in tx.cursor.fetchall()})
