"""Reading Kafka from an offset of our own: consumers without a group, each standing at one place of one partition.

Who may read a partition, and from where, is said by the store (leases and positions), so nothing of Kafka's groups is
used: no rebalance, no listener that may be slow or raise, no committed offset that could be believed. A consumer gives
records only from where it was sought to; whatever has another offset than the next expected one is looked into.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError

from hub.bus.kafka_client import started, stop_later, stopped
from hub.bus.port import Bounds, Message
from hub.clock import Clock
from hub.errors import Cause, IntegrityError, TryAgain

__all__ = ["Cursors"]

POLL_MS = 250
"""How long a broker holds an empty fetch: a consumer that is sought elsewhere has to wait for the one under way."""
IDLE_SECONDS = 60.0
"""A consumer nobody asked for so long is closed: its partition went to another worker."""
IDLE_MOST = 2
"""Consumers of one partition that are kept for the next reader."""


class _Cursor:
    """A consumer and the offset of the record it gives next; None: it has to be sought first."""

    __slots__ = ("consumer", "idle_since", "kept", "next", "where")

    def __init__(self, consumer: AIOKafkaConsumer, where: TopicPartition) -> None:
        self.consumer, self.where = consumer, where
        self.next: int | None = None
        self.kept: deque[ConsumerRecord] = deque()
        self.idle_since = 0.0

    def seek(self, offset: int) -> None:
        self.kept.clear()
        self.consumer.seek(self.where, offset)
        self.next = offset

    async def fill(self, most: int, seconds: float) -> None:
        """Keep up to ``most`` records, waiting for the first one if none is kept."""
        if most < 1:
            return
        timeout = 0 if self.kept else round(seconds * 1000)
        found = await self.consumer.getmany(self.where, timeout_ms=timeout, max_records=most)
        self.kept.extend(found.get(self.where, ()))

    async def passed(self) -> int:
        """Return the next offset if nothing is kept: it moves over what holds no message."""
        return int(await self.consumer.position(self.where))


class Cursors:
    """Reads any partition from any offset, for any number of readers at once; lives in one event loop."""

    def __init__(self, options: Mapping[str, Any], clock: Clock, patience: float) -> None:
        """``patience``: seconds until a read that gets no answer says so."""
        self._options = options
        self._clock = clock
        self._patience = patience
        self._idle: dict[TopicPartition, list[_Cursor]] = {}
        self._looker: AIOKafkaConsumer | None = None
        self._starting = asyncio.Lock()

    async def read(self, where: TopicPartition, offset: int, limit: int) -> tuple[int, tuple[Message, ...]]:
        """Return up to ``limit`` messages from ``offset`` on, and the offset to go on at.

        Raises:
            IntegrityError: ``Cause.POSITION``.
            TryAgain: the broker did not answer.
        """
        if limit < 1:
            await self._checked(where, offset)
            return offset, ()
        async with self._at(where, offset) as cursor:
            await cursor.fill(limit - len(cursor.kept), 0)
            if not cursor.kept and (await self._checked(where, offset)).next > offset:
                await self._first(cursor, offset, limit)
            records = [cursor.kept.popleft() for _ in range(min(limit, len(cursor.kept)))]
            if records and records[0].offset != offset:
                await self._gap(where, offset, records[0].offset)
            following = records[-1].offset + 1 if records else await cursor.passed()
            cursor.next = following
            return following, tuple(map(_message, records))

    async def wait(self, where: TopicPartition, offset: int, seconds: float) -> bool:
        """Wait until a message lies at ``offset`` or behind it. Raises as :meth:`read`."""
        async with self._at(where, offset) as cursor:
            if not cursor.kept:
                await cursor.fill(1, seconds)
            if cursor.kept or seconds * 1000 > 2 * POLL_MS:
                return bool(cursor.kept)
            return (
                await self._checked(where, offset)
            ).next > offset  # too short for a fetch to have come back

    async def bounds(self, where: TopicPartition) -> Bounds:
        """Return which offsets a partition holds. Raises KafkaError."""
        looker = await self.looker()
        first, end = await asyncio.gather(looker.beginning_offsets([where]), looker.end_offsets([where]))
        return Bounds(first[where], end[where])

    async def looker(self) -> AIOKafkaConsumer:
        """Return the consumer that only asks: a broker answers a connection's requests in turn, fetches would delay it."""
        async with self._starting:
            if self._looker is None:
                self._looker = await self._start()
            return self._looker

    async def aclose(self) -> None:
        """Close every consumer."""
        cursors = [cursor for idle in self._idle.values() for cursor in idle]
        self._idle.clear()
        consumers = [cursor.consumer for cursor in cursors]
        if self._looker is not None:
            consumers.append(self._looker)
        await asyncio.gather(*(stopped(consumer) for consumer in consumers))

    # ------------------------------------------------------------------------------------ cursors

    async def _first(self, cursor: _Cursor, offset: int, limit: int) -> None:
        """Wait for records that are there; what lies at ``offset`` may hold no message (a transaction's marker)."""
        until = self._clock.monotonic() + self._patience
        while not cursor.kept and await cursor.passed() == offset:
            if self._clock.monotonic() > until:
                raise TryAgain(f"{_named(cursor.where)}: no record came within {self._patience:g} s")
            await cursor.fill(limit, POLL_MS / 1000)

    @contextlib.asynccontextmanager
    async def _at(self, where: TopicPartition, offset: int) -> AsyncIterator[_Cursor]:
        """Give a consumer that stands at ``offset``, nobody else's meanwhile."""
        cursor = await self._take(where, offset)
        broken = False
        try:
            if cursor.next != offset:
                await self._checked(where, offset)
                cursor.seek(offset)
            yield cursor
        except OffsetOutOfRangeError as error:
            cursor.next = None
            await self._checked(where, offset)  # says so, unless it was in between that the log got shorter
            raise TryAgain(f"{_named(where)}: offset {offset} was not there") from error
        except CorruptRecordException as error:
            broken = True
            raise IntegrityError(
                Cause.POSITION, f"{_named(where)}: a record at or behind {offset} is damaged"
            ) from error
        except (IntegrityError, asyncio.CancelledError):
            cursor.next = None
            raise
        except BaseException:
            broken = True
            raise
        finally:
            self._give_back(cursor, broken=broken)

    async def _take(self, where: TopicPartition, offset: int) -> _Cursor:
        idle = self._idle.setdefault(where, [])
        if idle:
            idle.sort(key=lambda cursor: cursor.next == offset)  # the one that fits last, else any
            return idle.pop()
        consumer = await self._start()
        consumer.assign([where])
        return _Cursor(consumer, where)

    def _give_back(self, cursor: _Cursor, *, broken: bool) -> None:
        now = cursor.idle_since = self._clock.monotonic()
        idle = self._idle.setdefault(cursor.where, [])
        leaving = []
        if broken or len(idle) >= IDLE_MOST:
            leaving.append(cursor)
        else:
            idle.append(cursor)
        for one in self._idle.values():
            leaving += [cursor for cursor in one if now - cursor.idle_since > IDLE_SECONDS]
            one[:] = [cursor for cursor in one if now - cursor.idle_since <= IDLE_SECONDS]
        for one_left in leaving:
            stop_later(one_left.consumer)

    async def _start(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=POLL_MS,
        )
        await started(consumer)
        return consumer

    async def _checked(self, where: TopicPartition, offset: int) -> Bounds:
        """Return the bounds; refuse an offset that no reader of this log can have."""
        bounds = await self.bounds(where)
        if not bounds.first <= offset <= bounds.next:
            raise IntegrityError(
                Cause.POSITION,
                f"offset {offset} of {_named(where)} cannot be: it holds {bounds.first} to {bounds.next}",
            )
        return bounds

    async def _gap(self, where: TopicPartition, expected: int, found: int) -> None:
        """An offset may be left out (a marker); one that was removed under a reader, or given again, is an alarm."""
        await self._checked(where, expected)
        if found < expected:
            raise IntegrityError(Cause.POSITION, f"{_named(where)}: asked for {expected}, got {found}")


def _named(where: TopicPartition) -> str:
    return f"{where.topic!r} partition {where.partition}"


def _message(record: ConsumerRecord) -> Message:
    """Read a record; what another program wrote without key or not as text still gives a message (a dead letter)."""
    headers = {name: str(value or b"", "utf-8", "replace") for name, value in record.headers}
    return Message(str(record.key or b"", "utf-8", "replace"), headers, record.value or b"")
