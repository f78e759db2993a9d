"""Writing to Kafka: one idempotent producer, made anew when a batch failed for good.

A batch that is given up leaves a hole in the producer's sequence, and everything behind it would be refused; so the
producer goes, and all who waited for it are told to try again. A producer whose brokers are away stays: what it holds
is sent later, in order, whatever its caller was told meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import RecordMetadata

from hub.bus.kafka_client import LARGEST_BATCH, is_dead, started, stop_later, stopped
from hub.bus.port import MAX_MESSAGE, Message, Placed, partition_of
from hub.errors import Refused, TryAgain

__all__ = ["Row", "Writer", "pack"]

Row = tuple[int, bytes, list[tuple[str, bytes]], bytes]
"""Partition, key, headers, body."""
Sent = asyncio.Future[RecordMetadata]

BATCH_BYTES = 262_144


def pack(messages: Sequence[Message], partitions: int) -> list[Row]:
    """Make rows of messages; the partition is the hub's own choice, the same over every bus.

    Raises:
        Refused: one is too large, or its key is no Unicode text.
    """
    rows = []
    for message in messages:
        body = message.body
        try:
            key = message.key.encode()
        except UnicodeEncodeError as error:
            raise Refused("a key is not valid Unicode") from error
        headers = [(name, value.encode()) for name, value in message.headers.items()]
        size = len(key) + len(body) + sum(len(name) + len(value) for name, value in headers)
        if size > MAX_MESSAGE:
            raise Refused(f"a message of {size} bytes; at most {MAX_MESSAGE}")
        rows.append((partition_of(key, partitions), key, headers, body))
    return rows


class Writer:
    """Sends rows and waits for the in-sync replicas; lives in one event loop."""

    def __init__(self, options: Mapping[str, Any], topics: Sequence[str], patience: float) -> None:
        """``topics``: whose partitions are watched; ``patience``: seconds until an unacknowledged row says so."""
        self._options, self._topics, self._patience = options, topics, patience
        self._producer: AIOKafkaProducer | None = None
        self._changing = asyncio.Lock()

    async def start(self) -> AIOKafkaProducer:
        """Return the producer; a new one if there is none. Raises KafkaError."""
        async with self._changing:
            if self._producer is not None and is_dead(self._producer):
                stop_later(self._producer)
                self._producer = None
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=LARGEST_BATCH,
                )
                await started(producer)
                producer.client.set_topics(self._topics)  # a future: nobody waits for it
                self._producer = producer
            return self._producer

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions the brokers say a topic has now; None: not known. From any thread."""
        producer = self._producer
        found = None if producer is None else producer.client.cluster.partitions_for_topic(topic)
        return None if found is None else len(found)

    async def write(self, topic: str, rows: Sequence[Row]) -> list[Placed]:
        """Send rows; return where they lie.

        Raises:
            TryAgain: not acknowledged in time, or given up; they may be in the log.
        """
        producer: AIOKafkaProducer | None = None
        sent: list[Sent] = []
        try:
            async with asyncio.timeout(self._patience):
                producer = await self.start()
                for partition, key, headers, body in rows:
                    sent.append(await producer.send(topic, body, key, partition, headers=headers))
                placed = [Placed(at.partition, at.offset) for at in [await one for one in sent]]
        except (TimeoutError, KafkaTimeoutError) as error:
            raise TryAgain(
                f"{topic}: not acknowledged within {self._patience:g} s; it may arrive later"
            ) from error
        except KafkaError as error:
            if producer is not None:
                await self._give_up(producer)
            raise TryAgain(f"{topic}: not written: {error!r}") from error
        finally:
            _forget(sent)
        if any(one.offset < 0 for one in placed):  # the broker has it, and no longer knows where
            raise TryAgain(f"{topic}: written, but nobody knows where")
        return placed

    async def aclose(self) -> None:
        """Send what waits, for a moment, and close."""
        async with self._changing:
            if self._producer is not None:
                await stopped(self._producer)
                self._producer = None

    async def _give_up(self, broken: AIOKafkaProducer) -> None:
        async with self._changing:
            ours = self._producer is broken  # else another caller was first
            if ours:
                self._producer = None
                await stopped(broken)


def _forget(sent: Sequence[Sent]) -> None:
    """Let go of what is not awaited any more, whatever becomes of it."""
    for one in sent:
        if not one.done():
            one.cancel()
        elif not one.cancelled():
            one.exception()
