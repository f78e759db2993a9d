"""The bus on Apache Kafka, by aiokafka: the same edges as the log in a file.

The client lives in a thread with an event loop of its own: it keeps its connections alive whatever the hub's loop is
busy with, and may be used from any loop. Positions and partition ownership are the store's (:mod:`hub.bus.kafka_reading`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Self, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from hub.bus.kafka_client import KafkaAddress, administrator, calm_logs, closers
from hub.bus.kafka_cluster import prepare
from hub.bus.kafka_reading import Cursors
from hub.bus.kafka_writing import Row, Writer, pack
from hub.bus.port import TOPICS, Batch, Bounds, Message, Placed, Topic
from hub.clock import SECOND, Clock
from hub.errors import Cause, IntegrityError, SettingsError, TryAgain, Unreachable

__all__ = ["Kafka"]

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which an unanswered request says so; a broker that died is replaced in about nine."""


class Kafka:
    """A :class:`hub.bus.port.Bus` on Kafka; opened with :meth:`open`, used from any event loop."""

    def __init__(
        self, address: KafkaAddress, clock: Clock, topics: Mapping[str, Topic], prefix: str, patience: float
    ) -> None:
        """Not for callers: use :meth:`open`."""
        self._address, self._clock, self._patience = address, clock, patience
        self._topics, self._prefix = topics, prefix
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka", daemon=True)
        self._thread.start()
        self._cluster = ""
        self._closed = False
        self._looks: set[asyncio.Task[Any]] = set()
        self._sends: set[asyncio.Task[Any]] = set()
        self._cursors: Cursors | None = None
        self._writer: Writer | None = None

    @classmethod
    def open(
        cls,
        address: KafkaAddress,
        clock: Clock,
        *,
        topics: Mapping[str, Topic] = TOPICS,
        prefix: str = "",
        patience: float = PATIENCE,
    ) -> Self:
        """Connect, make the topics that are missing, check that they are durable.

        Args:
            address: the brokers.
            clock: paces waiting.
            topics: what the hub keeps there, by the hub's own names.
            prefix: what their names begin with on this cluster, for more than one hub on it.
            patience: seconds until an unanswered request says so.

        Raises:
            Unreachable: no broker answers, or none is ready.
            SettingsError: no broker lets us in, or a topic is not what the hub needs.
        """
        calm_logs(clock)
        bus = cls(address, clock, topics, prefix, patience)
        try:
            bus._now(bus._begin(), 4 * patience)
        except BaseException:
            bus._end()
            raise
        return bus

    @property
    def cluster(self) -> str:
        """Id of the cluster, drawn when it was made."""
        return self._cluster

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[Placed]:
        """Send the messages; return where they lie, once the in-sync replicas have them.

        Raises:
            Refused: a message is too large or its key is no Unicode text; nothing was sent.
            TryAgain: the brokers do not acknowledge; what was sent may be in the log, now or later.
            IntegrityError: ``Cause.POSITION``: there is no such topic, or its partitions are not what they were.
        """
        count = self._count(topic)
        rows = pack(messages, count)
        return await self._call(self._publish(topic, rows), self._sends) if rows else []

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> Batch:
        """Return up to ``limit`` messages from ``offset`` on (fewer if they are very large)."""
        where = self._where(topic, partition)
        following, events = await self._call(self._reading.read(where, offset, limit))
        return Batch(topic, partition, self._cluster, offset, following, events)

    async def wait(self, topic: str, partition: int, offset: int, seconds: float) -> bool:
        """Wait until a message lies at ``offset``; False if ``seconds`` passed without one."""
        return await self._call(self._reading.wait(self._where(topic, partition), offset, seconds))

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has.

        Raises:
            IntegrityError: ``Cause.POSITION``: there is no such topic, or somebody changed their number.
        """
        return self._count(topic)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return which offsets a partition holds."""
        return await self._call(self._reading.bounds(self._where(topic, partition)))

    async def purge(self, topic: str, needed: Mapping[int, int], *, before: int | None = None) -> int:
        """Remove what is older than ``before`` (µs; default: the topic's retention) and no longer needed.

        ``needed``: per partition the lowest position of any reader. A partition that is not in it is left alone.
        """
        since = self._clock.now() - self._topics[topic].retention * SECOND if before is None else before
        wanted = {self._where(topic, partition): position for partition, position in sorted(needed.items())}
        return await self._call(self._purge(wanted, since)) if wanted else 0

    async def confirm(self) -> None:
        """Do nothing: brokers keep their own files, and one that takes nothing says so when it is asked to."""

    async def aclose(self) -> None:
        """Finish what was published, end what is read or waited for, let go of the brokers; closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._let_go(), self._loop))
        finally:
            await asyncio.to_thread(self._end)

    # ------------------------------------------------------------------------------------ in the client's loop

    async def _begin(self) -> None:
        options = self._address.options(self._patience)
        named = {self._prefix + name: topic for name, topic in self._topics.items()}
        made = {name: Topic(name, topic.partitions, topic.retention) for name, topic in named.items()}
        self._cluster = await prepare(self._address, made, self._clock, self._patience)
        self._cursors = Cursors(options, self._clock, self._patience)
        self._writer = Writer(options, list(made), self._patience)
        await self._writer.start()

    async def _publish(self, topic: str, rows: Sequence[Row]) -> list[Placed]:
        assert self._writer is not None  # opened
        return await self._writer.write(self._prefix + topic, rows)

    async def _purge(self, wanted: Mapping[TopicPartition, int], since: int) -> int:
        looker = await self._reading.looker()
        found = await looker.offsets_for_times({where: max(0, since // 1000) for where in wanted})
        removed: dict[TopicPartition, RecordsToDelete] = {}
        total = 0
        for where, position in wanted.items():
            bounds, young = await self._reading.bounds(where), found[where]
            cut = min(bounds.next if young is None else young.offset, position)
            if cut > bounds.first:
                removed[where] = RecordsToDelete(cut)
                total += cut - bounds.first
        if removed:
            async with administrator(self._address, self._patience) as admin:
                await admin.delete_records(removed)
            self._clock.crash_point("bus.trim")
        return total

    async def _let_go(self) -> None:
        for look in self._looks:
            look.cancel()
        if tasks := self._looks | self._sends:
            await asyncio.wait(tasks)  # bounded: a send gives up after a while
        if self._writer is not None:
            await self._writer.aclose()
        if self._cursors is not None:
            await self._cursors.aclose()
        if closers:
            await asyncio.wait(closers)

    # ------------------------------------------------------------------------------------ between the loops

    @property
    def _reading(self) -> Cursors:
        if self._cursors is None or self._closed:
            raise RuntimeError("the bus is closed")
        return self._cursors

    def _is_closed(self) -> bool:
        return self._closed

    def _count(self, topic: str) -> int:
        known = self._topics.get(topic)
        if known is None:
            raise IntegrityError(Cause.POSITION, f"the bus has no topic {topic!r}")
        now = self._writer.partitions(self._prefix + topic) if self._writer is not None else None
        if now is not None and now != known.partitions:
            raise IntegrityError(
                Cause.POSITION,
                f"topic {topic!r} has {now} partitions, it had {known.partitions}: keys would change their partition",
            )
        return known.partitions

    def _where(self, topic: str, partition: int) -> TopicPartition:
        known = self._topics.get(topic)
        if known is None or not 0 <= partition < known.partitions:
            raise IntegrityError(Cause.POSITION, f"the bus has no partition {partition} of {topic!r}")
        return TopicPartition(self._prefix + topic, partition)

    async def _call(self, work: Coroutine[Any, Any, T], among: set[asyncio.Task[Any]] | None = None) -> T:
        """Do it in the client's loop and tell its failures as the hub knows them."""
        if self._closed:
            work.close()
            raise RuntimeError("the bus is closed")
        doing = _noted(work, self._looks if among is None else among)
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(doing, self._loop))
        except (KafkaError, TimeoutError) as error:
            raise TryAgain(f"the brokers do not answer: {error or type(error).__name__}") from error
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._is_closed() and caller is not None and not caller.cancelling():
                raise RuntimeError("the bus was closed meanwhile") from None
            raise

    def _now(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        doing = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return doing.result(seconds)
        except FutureTimeout:
            doing.cancel()
            raise Unreachable(
                f"{self._address.bootstrap} does not answer", field="HUB_KAFKA_BOOTSTRAP"
            ) from None
        except UnknownTopicOrPartitionError as error:
            raise SettingsError(f"a topic is not there: {error}", field="HUB_KAFKA_BOOTSTRAP") from error

    def _end(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()


async def _noted(work: Coroutine[Any, Any, T], among: set[asyncio.Task[Any]]) -> T:
    """Do it, seen by whoever closes the bus."""
    task = asyncio.current_task()
    assert task is not None  # in a coroutine
    among.add(task)
    try:
        return await work
    finally:
        among.discard(task)
