"""Slots of a vendor: so many calls at a time, and none waits for a slot that will not come."""

from __future__ import annotations

import asyncio

import pytest

from hub.errors import NotSent
from hub.sdk.slots import Slots


class Calls:
    """Calls that end when they are told to; ``most``: how many ran at a time."""

    def __init__(self, slots: Slots, count: int) -> None:
        self.slots, self.end, self.running, self.most = slots, asyncio.Event(), 0, 0
        self.tasks = [asyncio.ensure_future(self._one()) for _ in range(count)]

    async def _one(self) -> None:
        async with self.slots:
            self.running += 1
            self.most = max(self.most, self.running)
            await self.end.wait()
            self.running -= 1

    async def settled(self) -> list[BaseException | None]:
        self.end.set()
        return await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 5)


async def rounds() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_calls_run_at_a_time_than_there_are_slots() -> None:
    calls = Calls(Slots(3), 10)
    await rounds()
    assert calls.running == 3
    assert await calls.settled() == [None] * 10
    assert calls.most == 3


async def test_a_worker_that_is_given_more_lets_more_in_and_one_with_fewer_interrupts_nobody() -> None:
    slots = Slots(4)
    await slots.resize(1)
    calls = Calls(slots, 4)
    await rounds()
    assert calls.running == 1
    await slots.resize(3)
    await rounds()
    assert calls.running == 3
    await slots.resize(2)
    await rounds()
    assert (calls.running, slots.used) == (3, 3)
    assert await calls.settled() == [None] * 4
    assert slots.used == 0


async def test_who_waits_when_the_last_slot_goes_is_told_that_nothing_was_sent() -> None:
    slots = Slots(1)
    calls = Calls(slots, 3)
    await rounds()
    await slots.resize(0)
    await rounds()
    assert calls.running == 1
    ended = await calls.settled()
    assert sorted(type(one).__name__ for one in ended) == ["NoneType", "NotSent", "NotSent"]
    with pytest.raises(NotSent, match="another worker"):
        async with slots:
            raise AssertionError("let in")
