"""How much a reader may publish before whoever takes has caught up: the bus must not fill faster than it empties."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hub.bus.port import Bus
from hub.clock import Clock
from hub.pipe.jobs import positions
from hub.store.engine import Store

__all__ = ["Room", "topic_lag"]

STEP = 0.5
"""Seconds between looks while a reader is paused."""


async def topic_lag(store: Store, bus: Bus, topic: str) -> int:
    """Return how many messages of a topic wait to be taken, over all partitions."""
    count = await bus.partitions(topic)
    stored = await store.read(positions, [f"bus:{topic}:{number}" for number in range(count)])
    behind = 0
    for number in range(count):
        bounds = await bus.bounds(topic, number)
        at = stored.get(f"bus:{topic}:{number}")
        start = at["next"] if at and at.get("cluster") == bus.cluster else bounds.first
        behind += max(0, bounds.next - start)
    return behind


class Room:
    """Lets ``limit`` messages through, then asks how far the takers are and waits until half of them are taken."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, topic: str, limit: int) -> None:
        """Look at nothing yet."""
        self._store, self._bus, self._clock = store, bus, clock
        self._topic, self._limit = topic, limit
        self._left = 0

    async def reserve(
        self, count: int, keep: Callable[[], Awaitable[None]], tell: Callable[[int], None]
    ) -> None:
        """Return when ``count`` more messages may be published; cancelling it is safe.

        ``keep`` is awaited at every look (the lease), ``tell`` is told how many messages wait, and 0 when it goes on.
        """
        if self._left <= 0:
            behind = await topic_lag(self._store, self._bus, self._topic)
            paused = behind > self._limit
            while behind > self._limit or (paused and behind > self._limit // 2):
                tell(behind)
                await self._clock.sleep(STEP)
                await keep()
                behind = await topic_lag(self._store, self._bus, self._topic)
            if paused:
                tell(0)
            self._left = self._limit - behind
        self._left -= count
