"""The way out: changes to whoever subscribes, and what the bus may forget. Leased jobs, one of each in a cluster."""

from __future__ import annotations

from hub.audit.publish import changes_after
from hub.bus.port import CHANGES, INBOUND, INBOUND_BULK, TOPICS, Bus
from hub.clock import SECOND, Clock
from hub.pipe.jobs import Lease, lease, move_quietly, positions, release, save_position
from hub.pipe.share import LEASE
from hub.pipe.times import has_come
from hub.store.engine import Store, Tx

__all__ = ["PUBLISH", "RETENTION", "Outlet", "retain"]

PUBLISH, RETENTION = "publish", "retention"
"""Names of the jobs; the position of the first is ``{"seq": the last act published}``."""
EVERY = 3600 * SECOND
"""µs between two looks at what is too old."""


class Outlet:
    """Publishes sealed acts in the order of their numbers; a crash repeats some, it never skips one."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, holder: str) -> None:
        """Take the parts; no lease is taken yet."""
        self._store, self._bus, self._clock, self._holder = store, bus, clock, holder
        self._held: Lease | None = None
        self._seq = 0
        self._until = 0.0

    async def turn(self, limit: int = 500) -> int:
        """Publish the next acts; return how far their numbers went (0: nothing there, or somebody else's job).

        Raises:
            IntegrityError: somebody else took over meanwhile; what was published is published again by them.
            TryAgain: the bus is down; the position stays.
        """
        if not await self._hold():
            return 0
        held = self._held
        assert held is not None  # _hold says so
        found = await self._store.read(changes_after, self._seq, limit)
        if found.last == self._seq:
            return 0
        if found.messages:
            await self._bus.publish(CHANGES, found.messages)
            self._clock.crash_point("changes.published")
        moved, self._held = found.last - self._seq, None  # if the next line fails: read the position again
        await self._store.run(move_quietly, held, {"seq": self._seq}, {"seq": found.last}, LEASE)
        self._held, self._seq = held, found.last
        return moved

    async def _hold(self) -> bool:
        """Keep the lease, or take it and read where the last one ended."""
        now = self._clock.monotonic()
        if self._held is not None and now < self._until:
            return True
        held = await self._store.run(lease, PUBLISH, PUBLISH, self._holder, LEASE, {"seq": 0})
        if held is None:
            self._held = None
            return False
        self._held, self._seq, self._until = held, held.at["seq"], now + LEASE / 3
        return True


async def retain(store: Store, bus: Bus, holder: str) -> int:
    """Have the bus forget what is older than each topic's retention, if an hour has passed since the last look.

    What a position in the store still needs stays, however old; a partition nobody has read yet is left alone.
    Subscribers of ``hub.changes`` keep their own positions: for them only the age counts. Returns how many went.
    """
    held = await store.run(lease, RETENTION, RETENTION, holder, LEASE)
    if held is None:
        return 0
    try:
        now = await store.read(lambda tx: tx.now)
        if not has_come(held.due, now, EVERY / SECOND):
            return 0
        gone = 0
        for topic in TOPICS:
            gone += await bus.purge(topic, await _needed(store, bus, topic))
        await store.run(_looked, held)
    finally:
        await store.run(release, held)
    return gone


async def _needed(store: Store, bus: Bus, topic: str) -> dict[int, int]:
    count = await bus.partitions(topic)
    if topic not in (INBOUND, INBOUND_BULK):
        return {number: (await bus.bounds(topic, number)).next for number in range(count)}
    names = {f"bus:{topic}:{number}": number for number in range(count)}
    found = await store.read(positions, list(names))
    return {names[name]: at["next"] for name, at in found.items() if at["cluster"] == bus.cluster}


def _looked(tx: Tx, held: Lease) -> None:
    save_position(tx, held, None, due=tx.now + EVERY, seconds=LEASE)
