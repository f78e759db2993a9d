"""The bus as the hub sees it: topics cut into partitions, each a run of rising offsets, nothing more.

An offset is a name, not a count: a log may leave some out (a transaction's marker, a message that was removed). So
a reader goes on at ``Batch.next`` and never adds to an offset; the log in a file happens to give them densely.

The bus remembers no reader: positions live in the store, moved together with the effects, and whoever reads says
from where. It never dedupes: a repeated publish is a second message, and taking is what makes it one effect. Every
implementation passes ``tests/contract/test_bus.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from zlib import crc32

__all__ = [
    "ALERTS",
    "CHANGES",
    "INBOUND",
    "INBOUND_BULK",
    "MAX_MESSAGE",
    "TOPICS",
    "Batch",
    "Bounds",
    "Bus",
    "Message",
    "Placed",
    "Topic",
    "lag",
    "partition_of",
    "reader",
]

INBOUND = "hub.inbound"
"""What comes in live; key: connection, object, vendor id."""
INBOUND_BULK = "hub.inbound.bulk"
"""Backfills, sweeps, files; key as above."""
CHANGES = "hub.changes"
"""What changed in the CRM; key: record id."""
ALERTS = "hub.alerts"
"""What operators must see, and the heads of seals."""

MAX_MESSAGE = 1_000_000
"""Most bytes of key, headers and body together; Kafka's own limit lies at 1,048,588."""

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic; ``retention``: seconds for which a message is kept at least, unless it is still needed."""

    name: str
    partitions: int
    retention: int


TOPICS: Mapping[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(INBOUND, 4, 7 * _DAY),  # raw personal data: not a day longer than a replay needs
        Topic(INBOUND_BULK, 4, 7 * _DAY),
        Topic(CHANGES, 4, 30 * _DAY),
        Topic(ALERTS, 1, 190 * _DAY),
    )
}
"""The topics of an installation. A log that exists keeps its own partition counts: a change would break order."""


@dataclass(frozen=True, slots=True)
class Message:
    """What the bus carries: a CloudEvent in binary mode, of which the bus looks at the key only."""

    key: str
    headers: Mapping[str, str]
    body: bytes


class Placed(NamedTuple):
    """Where a message lies; a tuple, for there is one per message published."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The offsets of a partition: ``first`` still there, ``next`` to be given."""

    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages from offset ``start`` on, before ``next``, in order; ``cluster`` names the log they are from.

    There may be fewer than ``next - start``. An empty batch whose ``next`` is ``start``: the end of the log.
    """

    topic: str
    partition: int
    cluster: str
    start: int
    next: int
    events: tuple[Message, ...]


class Bus(Protocol):
    """Durable, ordered per key, read from any offset; one of the three ports."""

    @property
    def cluster(self) -> str:
        """Id of the log, the same as long as its offsets mean the same."""
        ...

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[Placed]:
        """Append messages; return where they lie, once they are durable.

        Messages of one key keep their order, within a call and from a finished call to the next.

        Raises:
            Refused: a message is larger than ``MAX_MESSAGE``; nothing was appended.
            TryAgain: the log is unavailable; the messages may or may not be in it (a door answers 503).
        """
        ...

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> Batch:
        """Return up to ``limit`` messages from ``offset`` on; none at the end of the log. Never waits for more.

        Raises:
            IntegrityError: ``Cause.POSITION``: the offset lies behind the end or before what is kept, or there is
                no such partition: the position belongs to another log.
            TryAgain: the log is unavailable.
        """
        ...

    async def wait(self, topic: str, partition: int, offset: int, seconds: float) -> bool:
        """Wait until a message lies at ``offset``; False if ``seconds`` passed without one.

        Raises:
            IntegrityError, TryAgain: as :meth:`read`.
        """
        ...

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        ...

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return which offsets a partition holds.

        Raises:
            IntegrityError, TryAgain: as :meth:`read`.
        """
        ...

    async def purge(self, topic: str, needed: Mapping[int, int], *, before: int | None = None) -> int:
        """Forget messages older than ``before`` (µs; default: the topic's retention) that lie below ``needed``.

        ``needed``: partition -> the lowest position of any reader; a partition that is not in it is left alone.
        Returns how many offsets went. A log that forgets by itself must be told not to: positions live in the store.

        Raises:
            IntegrityError, TryAgain: as :meth:`read`.
        """
        ...

    async def confirm(self) -> None:
        """Look whether what is published is still kept. Cheap: asked every second or so.

        Raises:
            IntegrityError: ``Cause.REPLACED``: the log's file was removed or replaced under this process.
            TryAgain: it could not be written last time, and still cannot.
        """
        ...

    async def aclose(self) -> None:
        """Finish what was asked for and let go of the log."""
        ...


def partition_of(key: bytes, count: int) -> int:
    """Return the partition of a key (its UTF-8) among ``count``: the same on every machine, for ever."""
    return crc32(key) % count


async def lag(bus: Bus, topic: str, partition: int, position: int) -> int:
    """Return how many messages lie at or behind a reader's position, at most."""
    return (await bus.bounds(topic, partition)).next - position


async def reader(
    bus: Bus, topic: str, partition: int, offset: int, *, limit: int = 200, seconds: float = 30.0
) -> AsyncIterator[Batch]:
    """Give batches that follow on each other, from ``offset`` on, for ever; ``seconds``: length of one wait.

    Raises:
        IntegrityError, TryAgain: as :meth:`Bus.read`.
    """
    while True:
        batch = await bus.read(topic, partition, offset, limit)
        if batch.events:
            yield batch
        if batch.next > offset:
            offset = batch.next
        else:
            await bus.wait(topic, partition, offset, seconds)
