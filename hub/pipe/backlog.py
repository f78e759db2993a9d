"""What lies on the bus and was not taken yet, by topic and stream: for people who ask how it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.bus.port import INBOUND, INBOUND_BULK, Bus
from hub.errors import IntegrityError
from hub.pipe.room import topic_places
from hub.store.engine import Store

__all__ = ["Backlog", "backlogs"]

STEP = 1_000
MOST = 5_000
"""Messages of one partition that are looked at: the oldest, which are taken first."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """``messages`` of a topic wait to be taken; ``streams``: of the first ``looked_at`` of them, source -> how many.

    A source is ``connection/stream``.
    """

    topic: str
    messages: int
    streams: Mapping[str, int]
    looked_at: int


async def backlogs(
    store: Store, bus: Bus, topics: Sequence[str] = (INBOUND, INBOUND_BULK), *, most: int = MOST
) -> tuple[Backlog, ...]:
    """Return how much waits in each topic. Nothing is taken.

    Raises:
        TryAgain: the bus is unavailable.
    """
    found = []
    for topic in topics:
        streams: Counter[str] = Counter()
        places = await topic_places(store, bus, topic)
        for number, (start, end) in enumerate(places):
            streams += await _sources(bus, topic, number, start, min(end, start + most))
        behind = sum(end - start for start, end in places)
        found.append(Backlog(topic, behind, dict(streams.most_common()), streams.total()))
    return tuple(found)


async def _sources(bus: Bus, topic: str, partition: int, start: int, end: int) -> Counter[str]:
    """Count messages by source; a position that cannot be one of this bus shows none (its taker raises the alarm)."""
    found: Counter[str] = Counter()
    while start < end:
        try:
            batch = await bus.read(topic, partition, start, min(STEP, end - start))
        except IntegrityError:
            break
        if batch.next == start:
            break
        found.update(message.headers.get("ce_source", "?") for message in batch.events)
        start = batch.next
    return found
