"""Partitions go from worker to worker while messages come: who gets one back goes on where the other ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest

from hub.bus.port import INBOUND, Message
from hub.pipe.runtime import Runtime
from hub.sdk.connector import Write, WriteResult
from hub.wiring import Hub
from tests.flows.cli_site import Scripted, make_site
from tests.flows.test_moved_store import opened

MESSAGES = 40
"""Enough for every partition to get some."""


async def until(runtimes: dict[Runtime, asyncio.Task[None]], said: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not said():
            for running in runtimes.values():
                assert not running.done(), running.exception()
            await asyncio.sleep(0.01)


def holders(hub: Hub) -> list[str]:
    """Return who holds the partitions of live messages."""
    sql = "SELECT holder FROM jobs WHERE kind = 'bus' AND lease > 0 AND name LIKE 'bus:hub.inbound:%'"
    return [holder for (holder,) in hub.store.read_now(lambda tx: tx.cursor.execute(sql).fetchall())]


def taken(hub: Hub, ends: dict[str, int]) -> bool:
    sql = "SELECT name, position FROM jobs WHERE kind = 'bus'"
    found = hub.store.read_now(lambda tx: tx.cursor.execute(sql).fetchall())
    reached = {name: orjson.loads(position)["next"] for name, position in found}
    return all(reached.get(name, 0) >= end for name, end in ends.items())


async def show(hub: Hub) -> dict[str, int]:
    """Publish messages; return where each partition ends now."""
    await hub.bus.publish(INBOUND, [Message(f"k{number}", {}, b"{}") for number in range(MESSAGES)])
    count = await hub.bus.partitions(INBOUND)
    return {f"bus:{INBOUND}:{one}": (await hub.bus.bounds(INBOUND, one)).next for one in range(count)}


async def test_a_partition_that_comes_back_is_read_on_where_the_other_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await asyncio.to_thread(opened, make_site(tmp_path))
    runtimes: dict[Runtime, asyncio.Task[None]] = {}

    def start(holder: str) -> Runtime:
        made = Runtime(hub.store, hub.world, hub.bus, hub.clock, {}, holder=holder)
        runtimes[made] = asyncio.ensure_future(made.run())
        return made

    try:
        start("a")
        ends = await show(hub)
        await until(runtimes, lambda: taken(hub, ends))
        other = start("b")
        await until(runtimes, lambda: set(holders(hub)) == {"a", "b"})
        ends = await show(hub)
        await until(runtimes, lambda: taken(hub, ends))
        other.stop.set()
        await runtimes.pop(other)
        ends = await show(hub)
        await until(runtimes, lambda: taken(hub, ends))
        assert set(holders(hub)) == {"a"}
        assert [record.getMessage() for record in caplog.records if "integrity" in record.getMessage()] == []
    finally:
        for runtime in runtimes:
            runtime.stop.set()
        await asyncio.gather(*runtimes.values())
        await hub.aclose()


class Hanging(Scripted):
    """A vendor that answers no write until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.may = asyncio.Event(), asyncio.Event()

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        self.called.set()
        await self.may.wait()
        return await super().write(writes)


async def test_a_worker_that_is_asked_to_stop_gives_its_partitions_before_its_last_call_has_ended(
    tmp_path: Path,
) -> None:
    site = make_site(tmp_path)
    await asyncio.to_thread(site.customer)
    hub = await asyncio.to_thread(opened, site)
    vendor = Hanging()
    runtime = Runtime(hub.store, hub.world, hub.bus, hub.clock, {"k3": vendor}, holder="a")
    running = asyncio.ensure_future(runtime.run())
    try:
        async with asyncio.timeout(60):
            await vendor.called.wait()
        await until({runtime: running}, lambda: holders(hub) != [])
        runtime.stop.set()
        await until({runtime: running}, lambda: holders(hub) == [])
        assert not running.done()
    finally:
        vendor.may.set()
        runtime.stop.set()
        await running
        await hub.aclose()
