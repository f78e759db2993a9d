"""How much a reader may publish before whoever takes has caught up: the bus must not fill faster than it empties.

What counts is everything that waits in the topic the reader fills, whoever published it: streams share the partitions,
so a message lies behind all that is there, whose ever it is. A reader's first tenth is free: a small stream (a corp's
employees) goes out at once and does not wait for another's backfill to get through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hub.bus.port import Bus
from hub.clock import Clock
from hub.pipe.jobs import positions
from hub.pipe.refusal import NotPossible, Reason
from hub.store.engine import Store

__all__ = ["Room", "Waiting", "topic_lag", "topic_places"]

FREE = 10
"""One part in so many of the limit is free for every reader, so the bus holds a little more than the limit at most."""
STEP = 0.5
"""Seconds between looks while a reader is paused."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pause: ``behind`` messages of ``topic`` wait, 0 when it is over; for ``idle`` seconds nobody has taken any.

    ``until``: it ends when no more than so many wait.
    """

    topic: str
    behind: int
    idle: float = 0.0
    until: int = 0


async def topic_places(store: Store, bus: Bus, topic: str) -> list[tuple[int, int]]:
    """Return for each partition the next offset to be taken and the next to be given."""
    count = await bus.partitions(topic)
    stored = await store.read(positions, [f"bus:{topic}:{number}" for number in range(count)])
    places = []
    for number in range(count):
        bounds = await bus.bounds(topic, number)
        at = stored.get(f"bus:{topic}:{number}")
        start = at["next"] if at and at.get("cluster") == bus.cluster else bounds.first
        places.append((start, max(start, bounds.next)))
    return places


async def topic_lag(store: Store, bus: Bus, topic: str) -> int:
    """Return how many messages of a topic wait to be taken, over all partitions."""
    return sum(end - start for start, end in await topic_places(store, bus, topic))


class Room:
    """Lets a tenth of ``limit`` messages through, then asks how far the takers are and waits until half are taken.

    ``patience``: seconds without anything taken after which it gives up; None: never.
    """

    def __init__(
        self, store: Store, bus: Bus, clock: Clock, topic: str, limit: int, patience: float | None = None
    ) -> None:
        """Look at nothing yet."""
        self._store, self._bus, self._clock = store, bus, clock
        self._topic, self._limit, self._patience = topic, limit, patience
        self._left = limit // FREE

    async def reserve(
        self, count: int, keep: Callable[[], Awaitable[None]], tell: Callable[[Waiting], Awaitable[None]]
    ) -> None:
        """Return when ``count`` more messages may be published; cancelling it is safe.

        ``keep`` is awaited at every look (the lease), ``tell`` is told how it waits, and at last that it goes on.

        Raises:
            NotPossible: nobody takes anything.
        """
        if self._left <= 0:
            taken, behind = await self._look()
            if behind > self._limit:
                behind = await self._wait(taken, behind, keep, tell)
            self._left = self._limit - behind
        self._left -= count

    async def _wait(
        self,
        taken: int,
        behind: int,
        keep: Callable[[], Awaitable[None]],
        tell: Callable[[Waiting], Awaitable[None]],
    ) -> int:
        since = self._clock.monotonic()
        try:
            while behind > (until := self._limit // 2):
                idle = self._clock.monotonic() - since
                await tell(Waiting(self._topic, behind, idle, until))
                if self._patience is not None and idle >= self._patience:
                    raise NotPossible(Reason.NOT_TAKEN, f"{self._topic}, {behind}, {idle:.0f} s")
                await self._clock.sleep(STEP)
                await keep()
                before = taken
                taken, behind = await self._look()
                since = self._clock.monotonic() if taken > before else since
        finally:
            await tell(Waiting(self._topic, 0))
        return behind

    async def _look(self) -> tuple[int, int]:
        """Return how many messages were ever taken, and how many wait."""
        places = await topic_places(self._store, self._bus, self._topic)
        return sum(start for start, _ in places), sum(end - start for start, end in places)
