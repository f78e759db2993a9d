"""What only the bus on Kafka can meet: brokers that die, topics others change, doors that do not open.

What every bus promises runs over Kafka in ``test_bus.py`` and ``test_bus_positions.py``. Readers join no group here, so
there is no rebalance and no listener that could be slow or raise; ownership and positions are the store's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from hub.bus import INBOUND, Bus, Message, Placed, Topic, partition_of
from hub.bus.kafka import Kafka
from hub.bus.kafka_client import KafkaAddress
from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, SettingsError, TryAgain
from hub.settings import load_settings
from hub.wiring import open_bus
from tests.buses import BROKER, KafkaPlace
from tests.kafka import PASSWORD, USER, Broker, Shared, Unavailable, quorum

PATIENCE = 60.0  # seconds until a test that hangs fails
KEYS = tuple(f"k3/customer/{number}" for number in range(8))


@pytest.fixture
def place(kafka: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaPlace:
    monkeypatch.setenv(BROKER, kafka.address)
    return KafkaPlace(tmp_path)


@pytest.fixture
async def bus(place: KafkaPlace) -> AsyncIterator[Kafka]:
    opened = await place.open()
    assert isinstance(opened, Kafka)
    yield opened
    await opened.aclose()


@pytest.fixture
def inbound(place: KafkaPlace) -> str:
    return place.topics[INBOUND].name


async def opened(address: KafkaAddress, *topics: Topic, patience: float = 5.0, prefix: str = "") -> Kafka:
    named = {topic.name: topic for topic in topics}
    make = functools.partial(
        Kafka.open, address, SystemClock(), topics=named, patience=patience, prefix=prefix
    )
    return await asyncio.to_thread(make)


@contextlib.asynccontextmanager
async def administrator(address: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def message(key: str, number: int = 0) -> Message:
    return Message(key, {"ce_id": f"{number}"}, f"{number}".encode())


# ------------------------------------------------------------------------------------------ brokers that die


class Load:
    """Publishers, one for each key, that repeat what was not acknowledged."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self.bus, self.topic = bus, topic
        self.acknowledged: dict[str, list[Placed]] = {key: [] for key in KEYS}
        self.repeated = 0
        self._moved = asyncio.Condition()

    async def publish(self, key: str) -> None:
        while True:
            mine = self.acknowledged[key]
            try:
                (placed,) = await self.bus.publish(self.topic, [message(key, len(mine))])
            except TryAgain:
                self.repeated += 1
                continue
            mine.append(placed)
            async with self._moved:
                self._moved.notify_all()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        tasks = [asyncio.ensure_future(self.publish(key)) for key in KEYS]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def until(self, more: int) -> None:
        """Wait until each key got ``more`` further acknowledgements."""
        aims = {key: len(mine) + more for key, mine in self.acknowledged.items()}
        async with asyncio.timeout(PATIENCE), self._moved:
            await self._moved.wait_for(lambda: all(len(self.acknowledged[key]) >= aims[key] for key in KEYS))

    async def check(self) -> None:
        """Everything acknowledged lies where it was said to lie, and each key in its order."""
        for key, mine in self.acknowledged.items():
            partition = partition_of(key.encode(), await self.bus.partitions(self.topic))
            found = [
                (at, one) for at, one in await everything(self.bus, self.topic, partition) if one.key == key
            ]
            for number, placed in enumerate(mine):
                assert placed.partition == partition
                assert (placed.offset, message(key, number)) in found
            numbers = [int(one.body) for _, one in found]
            assert numbers == sorted(numbers)
            assert len(numbers) <= len(mine) + self.repeated + 1  # the last was cut off by the test


async def everything(bus: Bus, topic: str, partition: int) -> list[tuple[int, Message]]:
    """Return a partition's messages with their offsets (dense: no transactions here)."""
    bounds = await bus.bounds(topic, partition)
    offset, found = bounds.first, []
    while offset < bounds.next:
        batch = await bus.read(topic, partition, offset, 500)
        found += list(enumerate(batch.events, start=batch.start))
        offset = batch.next
    return found


@pytest.fixture
def broker(kafka: Shared, tmp_path: Path) -> Iterator[Broker]:
    """Give a broker of the test's own, to be killed."""
    made = Broker(tmp_path / "broker", "hubtestsCCCCCCCCCCCCCC")
    try:
        made.format()
        made.start()
        made.wait_ready()
        yield made
    except Unavailable as error:
        pytest.fail(f"the run's broker starts, a second does not: {error}")
    finally:
        made.stop()


@pytest.mark.slow
async def test_a_broker_killed_and_started_again_under_load_loses_nothing_it_acknowledged(
    broker: Broker,
) -> None:
    topic = Topic("load", 4, 3600)
    bus = await opened(KafkaAddress(broker.address, single_broker=True), topic)
    load = Load(bus, topic.name)
    async with load.running():
        await load.until(20)
        broker.kill()
        broker.start()
        await load.until(20)
        broker.kill()
        broker.start()
        await load.until(20)
    await load.check()
    await bus.aclose()


@pytest.mark.slow
async def test_one_of_three_brokers_killed_under_load_loses_nothing(kafka: Shared, tmp_path: Path) -> None:
    topic = Topic("load", 6, 3600)
    with quorum(tmp_path, 3) as brokers:
        bus = await opened(KafkaAddress(",".join(one.address for one in brokers)), topic, patience=10.0)
        load = Load(bus, topic.name)
        async with load.running():
            await load.until(20)
            brokers[1].kill()
            await load.until(20)
            brokers[1].start()
            await load.until(20)
        await load.check()
        await bus.aclose()


async def test_a_reader_goes_on_where_it_was_when_the_broker_comes_back(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    placed = await bus.publish(inbound, [message("k", number) for number in range(3)])
    partition = placed[0].partition
    assert (await bus.read(inbound, partition, placed[0].offset, 1)).events == (message("k", 0),)
    with place.outage():
        looking = asyncio.ensure_future(bus.bounds(inbound, partition))
        with pytest.raises(TryAgain):
            await asyncio.wait_for(looking, PATIENCE)
    batch = await bus.read(inbound, partition, placed[1].offset, 5)
    assert batch.events == (message("k", 1), message("k", 2))


# ----------------------------------------------------------------------------------------------- the producer


async def test_a_producer_that_failed_for_good_is_made_anew(bus: Kafka, inbound: str) -> None:
    (placed,) = await bus.publish(inbound, [message("k", 0)])
    before = bus._writer._producer
    where = TopicPartition(inbound, placed.partition)
    before._txn_manager.increment_sequence_number(where, 5)  # a hole, as a batch that was given up leaves it
    with pytest.raises(TryAgain) as caught:
        await bus.publish(inbound, [message("k", 1)])
    assert "OutOfOrderSequenceNumber" in str(caught.value)
    (again,) = await bus.publish(inbound, [message("k", 1)])
    assert bus._writer._producer is not before
    assert [one.body for _, one in await everything(bus, inbound, again.partition)] == [b"0", b"1"]


async def test_what_is_given_up_while_the_broker_is_away_arrives_later_and_in_order(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    (first,) = await bus.publish(inbound, [message("k", 0)])
    with place.outage(), pytest.raises(TryAgain):
        await bus.publish(inbound, [message("k", 1)])
    (third,) = await bus.publish(inbound, [message("k", 2)])
    found = [one.body for _, one in await everything(bus, inbound, first.partition)]
    assert found == [
        b"0",
        b"1",
        b"2",
    ]  # "may or may not be in it": here it is, before what was published later
    assert third.offset == first.offset + 2


async def test_a_bus_whose_broker_is_away_still_closes(place: KafkaPlace, inbound: str) -> None:
    bus = await place.open()
    try:
        with place.outage():
            with pytest.raises(TryAgain):
                await bus.publish(inbound, [message("k", 0)])
            await asyncio.wait_for(bus.aclose(), PATIENCE)
    finally:
        await bus.aclose()


# ---------------------------------------------------------------------------------------- what others change


async def test_a_topic_that_was_made_anew_is_noticed_by_an_impossible_offset(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    placed = await bus.publish(inbound, [message("k", number) for number in range(5)])
    end = (await bus.bounds(inbound, placed[0].partition)).next
    assert (await bus.read(inbound, placed[0].partition, end, 5)).events == ()
    async with administrator(place.address) as admin, asyncio.timeout(PATIENCE):
        await admin.delete_topics([inbound])
        while (await admin.describe_topics([inbound]))[0]["error_code"] == 0:
            pass
    other = await place.open()
    await other.publish(inbound, [message("k", 9)])
    for one in (other, bus):
        with pytest.raises(IntegrityError) as caught:
            await one.read(inbound, placed[0].partition, end, 5)
        assert caught.value.cause is Cause.POSITION
    await other.aclose()


async def test_a_topic_with_another_number_of_partitions_does_not_start(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    await add_partitions(place, inbound)
    with pytest.raises(SettingsError, match="has 6 partitions, the hub is set up for 4"):
        await place.open()


async def test_partitions_added_under_a_running_hub_stop_it(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    await bus.publish(inbound, [message("k")])
    await add_partitions(place, inbound)
    client = bus._writer._producer.client
    async with asyncio.timeout(PATIENCE):
        while len(client.cluster.partitions_for_topic(inbound)) == 4:
            await bus._call(_updated(client))  # it looks by itself every 30 s
    for doing in (bus.publish(inbound, [message("k")]), bus.partitions(inbound)):
        with pytest.raises(IntegrityError, match="has 6 partitions, it had 4") as caught:
            await doing
        assert caught.value.cause is Cause.POSITION


async def add_partitions(place: KafkaPlace, topic: str) -> None:
    """Make it six, and wait until the broker says so."""
    async with administrator(place.address) as admin, asyncio.timeout(PATIENCE):
        await admin.create_partitions({topic: NewPartitions(6)})
        while len((await admin.describe_topics([topic]))[0]["partitions"]) < 6:
            pass


async def _updated(client: Any) -> None:
    await client.force_metadata_update()


async def test_markers_of_somebodys_transactions_are_passed_over(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=place.address, transactional_id=place.prefix)
    await producer.start()
    for number in range(2):
        async with producer.transaction():
            await producer.send_and_wait(inbound, b"%d" % number, partition=1)
    await producer.stop()
    first = await bus.read(inbound, 1, 0, 10)
    assert [one.body for one in first.events] in ([b"0"], [b"0", b"1"])
    found, offset = [], 0
    while True:
        batch = await bus.read(inbound, 1, offset, 10)
        if batch.next == offset:
            break
        found += [one.body for one in batch.events]
        offset = batch.next
    assert found == [b"0", b"1"]
    assert offset == (await bus.bounds(inbound, 1)).next == 4


async def test_what_another_program_wrote_without_a_key_or_not_as_text_is_a_message(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=place.address) as producer:
        await producer.send_and_wait(inbound, None, b"\xff", 0, headers=[("a", None), ("b", b"\xff")])
        await producer.send_and_wait(inbound, b"x", None, 0)
    batch = await bus.read(inbound, 0, 0, 5)
    assert batch.events == (Message("\ufffd", {"a": "", "b": "\ufffd"}, b""), Message("", {}, b"x"))


# ---------------------------------------------------------------------------------------------- reading


async def test_a_reader_that_waits_holds_up_no_other_of_its_partition(bus: Kafka, inbound: str) -> None:
    placed = await bus.publish(inbound, [message("k", number) for number in range(3)])
    partition = placed[0].partition
    end = (await bus.bounds(inbound, partition)).next
    waiting = [asyncio.ensure_future(bus.wait(inbound, partition, end, PATIENCE)) for _ in range(4)]
    assert (await bus.read(inbound, partition, placed[1].offset, 1)).events == (message("k", 1),)
    assert not any(one.done() for one in waiting)
    await bus.publish(inbound, [message("k", 3)])
    assert await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE) == [True] * 4


async def test_what_a_wait_has_fetched_is_read_once_and_only_where_it_belongs(
    bus: Kafka, inbound: str
) -> None:
    placed = await bus.publish(inbound, [message("k", number) for number in range(5)])
    partition = placed[0].partition
    assert await bus.wait(inbound, partition, placed[2].offset, PATIENCE)
    assert (await bus.read(inbound, partition, placed[2].offset, 1)).events == (message("k", 2),)
    assert await bus.wait(inbound, partition, placed[3].offset, PATIENCE)
    assert (await bus.read(inbound, partition, placed[0].offset, 2)).events == (
        message("k", 0),
        message("k", 1),
    )
    assert await bus.wait(inbound, partition, placed[2].offset, PATIENCE)
    assert (await bus.read(inbound, partition, placed[2].offset, 9)).events == tuple(
        message("k", number) for number in (2, 3, 4)
    )
    empty = await bus.read(inbound, partition, placed[2].offset, 0)
    assert (empty.events, empty.next) == ((), placed[2].offset)


async def test_a_wait_that_was_cancelled_leaves_nothing_out(bus: Kafka, inbound: str) -> None:
    placed = await bus.publish(inbound, [message("k", 0)])
    partition = placed[0].partition
    end = (await bus.bounds(inbound, partition)).next
    waiting = asyncio.ensure_future(bus.wait(inbound, partition, end, PATIENCE))
    await bus.bounds(inbound, partition)  # a round trip: the wait is under way
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await bus.publish(inbound, [message("k", 1)])
    assert (await bus.read(inbound, partition, end, 5)).events == (message("k", 1),)


async def test_closing_ends_whoever_waits(bus: Kafka, inbound: str) -> None:
    waiting = asyncio.ensure_future(bus.wait(inbound, 0, 0, 3600))
    await bus.bounds(inbound, 0)
    await asyncio.wait_for(bus.aclose(), PATIENCE)
    with pytest.raises(RuntimeError, match="the bus was closed"):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        await bus.read(inbound, 0, 0, 1)


async def test_reading_joins_no_group_so_that_no_rebalance_can_interrupt_it(
    place: KafkaPlace, bus: Kafka, inbound: str
) -> None:
    async with administrator(place.address) as admin:
        before = await admin.list_consumer_groups()
        (placed,) = await bus.publish(inbound, [message("k")])
        await bus.read(inbound, placed.partition, placed.offset, 1)
        assert await admin.list_consumer_groups() == before


# -------------------------------------------------------------------------------------- settings and doors


def refused(bus: Callable[[], Kafka]) -> str:
    with pytest.raises(SettingsError) as caught:
        bus()
    return str(caught.value)


async def test_one_broker_is_refused_unless_it_is_stated(place: KafkaPlace, inbound: str) -> None:
    fresh = Topic(f"{place.prefix}.fresh", 4, 3600)
    with pytest.raises(SettingsError, match="InvalidReplicationFactor") as caught:
        await opened(KafkaAddress(place.address), fresh)
    assert "HUB_KAFKA_SINGLE_BROKER=true" in str(caught.value)
    stated = await opened(KafkaAddress(place.address, single_broker=True), fresh)
    await stated.aclose()
    with pytest.raises(SettingsError, match=r"has 1 replica\(s\)") as caught:
        await opened(KafkaAddress(place.address), fresh)
    assert caught.value.field == "HUB_KAFKA_SINGLE_BROKER"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("retention.ms", "604800000"),
        ("cleanup.policy", "compact"),
        ("flush.messages", "9223372036854775807"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", "1000000"),
        ("unclean.leader.election.enable", "true"),
    ],
)
async def test_a_topic_that_would_lose_messages_is_refused_and_says_which_setting(
    place: KafkaPlace, setting: str, value: str
) -> None:
    topic, alone = Topic(f"{place.prefix}.wrong", 1, 3600), KafkaAddress(place.address, single_broker=True)
    async with administrator(place.address) as admin:
        await admin.create_topics(
            [NewTopic(topic.name, 1, 1, topic_configs={**alone.wanted(), setting: value})]
        )
    with pytest.raises(SettingsError) as caught:
        await opened(alone, topic)
    assert f"{setting}={value} (must be {alone.wanted()[setting]})" in str(caught.value)


async def test_a_broker_that_is_not_there_says_so(kafka: Shared) -> None:
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:1 cannot be used") as caught:
        await opened(KafkaAddress("127.0.0.1:1", single_broker=True), Topic("x", 1, 3600))
    assert caught.value.field == "HUB_KAFKA_BOOTSTRAP"


@pytest.fixture
def secure(kafka: Shared) -> KafkaAddress:
    if not kafka.secure_address:
        pytest.skip("the broker is somebody's own: its TLS listener is not known")
    return KafkaAddress(
        kafka.secure_address,
        "SASL_SSL",
        "SCRAM-SHA-512",
        USER,
        PASSWORD,
        Path(kafka.ca_file),
        single_broker=True,
    )


async def test_tls_and_a_password_open_the_door(
    secure: KafkaAddress, place: KafkaPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUB_KAFKA_BOOTSTRAP", raising=False)
    assert PASSWORD not in repr(secure)
    settings = load_settings(
        kafka_bootstrap=secure.bootstrap,
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_username=USER,
        kafka_sasl_password=PASSWORD,
        kafka_ca_file=secure.ca_file,
        kafka_single_broker=True,
        kafka_topic_prefix=f"{place.prefix}.",
        kafka_partitions=3,
    )
    bus = await asyncio.to_thread(open_bus, settings, SystemClock())
    (placed,) = await bus.publish(INBOUND, [message("k")])
    batch = await bus.read(INBOUND, placed.partition, placed.offset, 1)
    assert (batch.topic, batch.events) == (INBOUND, (message("k"),))
    assert await bus.partitions(INBOUND) == 3
    await bus.aclose()
    async with administrator(place.address) as admin:
        names = {name for name in await admin.list_topics() if name.startswith(place.prefix)}
    assert f"{place.prefix}.{INBOUND}" in names
    assert len(names) == 4


@pytest.mark.parametrize("wrong", ["password", "ca"])
async def test_a_door_that_does_not_open_says_why_and_shows_no_password(
    secure: KafkaAddress, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    caplog.set_level(logging.DEBUG)
    options = {"protocol": "SASL_SSL", "username": USER, "single_broker": True}
    if wrong == "password":
        address = KafkaAddress(secure.bootstrap, password="not-it-99", ca_file=secure.ca_file, **options)
    else:
        address = KafkaAddress(secure.bootstrap, password="not-it-99", **options)
    with pytest.raises(SettingsError) as caught:
        await opened(address, Topic("x", 1, 3600))
    said = {"password": "uthentication", "ca": "CERTIFICATE_VERIFY_FAILED"}[wrong]
    assert said in str(caught.value)
    assert "not-it-99" not in str(caught.value) + caplog.text


def test_a_password_is_asked_for_where_the_protocol_needs_one() -> None:
    address = KafkaAddress("127.0.0.1:1", "SASL_SSL")
    said = refused(lambda: Kafka.open(address, SystemClock(), patience=1.0))
    assert "HUB_KAFKA_SASL_USERNAME" in said
