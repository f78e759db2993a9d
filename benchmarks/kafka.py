"""Kafka, 800 B messages produced and consumed through the bus, beside plain aiokafka loops on the same topic.

The loops do what the bus must: acknowledged by all in-sync replicas, batches of 256 kB, key and headers, four partitions.
The broker is the one of the tests: one process, which flushes each batch, as a stated single broker must.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.measure import Row, row
from hub.bus import INBOUND, Message, Topic, partition_of, reader
from hub.bus.kafka import Kafka
from hub.bus.kafka_client import KafkaAddress
from hub.clock import SystemClock
from tests.kafka import Unavailable, remove_brokers, shared

COUNT, SIZE, AT_ONCE, PARTITIONS = 20_000, 800, 2_000, 4
READ = 200  # messages a batch, as the takers read
ROUNDS = 3
BUDGET = 0.5
HEADERS = {"ce_specversion": "1.0", "ce_id": "0199c0de-0000-7000-8000-000000000001", "ce_type": "hub.inbound"}
OPTIONS = {"acks": "all", "enable_idempotence": True, "max_batch_size": 262_144}
PLACE = "benchmark"


def messages() -> list[Message]:
    """Return what either loop sends."""
    body = os.urandom(SIZE)
    return [Message(f"k3/customer/{number}", HEADERS, body) for number in range(COUNT)]


async def produce(bus: Kafka, work: list[Message]) -> float:
    """Return messages a second for the bus."""
    started = perf_counter()
    for at in range(0, COUNT, AT_ONCE):
        await bus.publish(INBOUND, work[at : at + AT_ONCE])
    return COUNT / (perf_counter() - started)


async def produce_bare(address: str, work: list[Message]) -> float:
    """Return messages a second for the shortest loop of the library's own calls."""
    rows = [
        (
            m.body,
            m.key.encode(),
            partition_of(m.key.encode(), PARTITIONS),
            [(k, v.encode()) for k, v in HEADERS.items()],
        )
        for m in work
    ]
    async with AIOKafkaProducer(bootstrap_servers=address, **OPTIONS) as producer:
        await producer.partitions_for(PLACE + INBOUND)
        started = perf_counter()
        for at in range(0, COUNT, AT_ONCE):
            sent = [
                await producer.send(PLACE + INBOUND, body, key, partition, headers=headers)
                for body, key, partition, headers in rows[at : at + AT_ONCE]
            ]
            for one in sent:
                await one
        return COUNT / (perf_counter() - started)


async def consume(bus: Kafka) -> float:
    """Return messages a second for the bus: four readers at once."""
    bounds = [await bus.bounds(INBOUND, number) for number in range(PARTITIONS)]

    async def one(number: int) -> int:
        found = 0
        async for batch in reader(bus, INBOUND, number, bounds[number].first, limit=READ):
            found += len(batch.events)
            if batch.next == bounds[number].next:
                break
        return found

    started = perf_counter()
    found = await asyncio.gather(*map(one, range(PARTITIONS)))
    return sum(found) / (perf_counter() - started)


async def consume_bare(address: str, total: int) -> float:
    """Return messages a second for one consumer that counts."""
    where = [TopicPartition(PLACE + INBOUND, number) for number in range(PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        consumer.assign(where)
        for one in where:
            consumer.seek(one, 0)
        found = 0
        started = perf_counter()
        while found < total:
            got = await consumer.getmany(timeout_ms=1000, max_records=READ)
            found += sum(map(len, got.values()))
        return found / (perf_counter() - started)


async def measure(address: str) -> list[Row]:
    """Measure in turns; the best round of each counts."""
    work = messages()
    topics = {INBOUND: Topic(INBOUND, PARTITIONS, 3600)}
    bus = Kafka.open(KafkaAddress(address, single_broker=True), SystemClock(), topics=topics, prefix=PLACE)
    try:
        rates: dict[str, list[float]] = {"produce": [], "bare produce": [], "consume": [], "bare consume": []}

        async def total() -> int:
            return sum([(await bus.bounds(INBOUND, number)).next for number in range(PARTITIONS)])

        for _ in range(ROUNDS + 1):  # the first one warms up
            steps: list[tuple[str, Callable[[], Awaitable[float]]]] = [
                ("bare produce", lambda: produce_bare(address, work)),
                ("produce", lambda: produce(bus, work)),
            ]
            for name, step in steps:
                rates[name].append(await step())
            rates["bare consume"].append(await consume_bare(address, await total()))
            rates["consume"].append(await consume(bus))
    finally:
        await bus.aclose()
    best = {name: max(found[1:]) for name, found in rates.items()}
    return [
        row(f"Kafka {what}, 800 B", best[what], best[f"bare {what}"], BUDGET, "messages/s")
        for what in ("produce", "consume")
    ]


def run() -> list[Row]:
    """Measure; nothing where no broker starts."""
    try:
        address = shared().address
    except Unavailable as error:
        print(f"Kafka is left out: {error}", flush=True)
        return []
    try:
        return asyncio.run(measure(address))
    finally:
        remove_brokers()


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line))
