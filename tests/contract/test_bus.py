"""What every bus promises, whatever lies behind it.

An implementation joins by a name in ``OPENERS``: how to open it at an address that the fixture ``address`` makes.
Run as a program (``test_bus.py NAME ADDRESS``) this file is the publisher that gets killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hub.bus import CHANGES, INBOUND, INBOUND_BULK, MAX_MESSAGE, TOPICS, Bus, Log, Message, lag, reader
from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, Refused

PATIENCE = 20.0  # seconds until a test that hangs fails


async def open_log(address: str) -> Bus:
    return Log.open(Path(address), SystemClock())


OPENERS: dict[str, Callable[[str], Awaitable[Bus]]] = {"log": open_log}


@pytest.fixture(params=sorted(OPENERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def address(name: str, tmp_path: Path) -> str:
    return str(tmp_path / "bus.db")


@pytest.fixture
async def bus(name: str, address: str):
    opened = await OPENERS[name](address)
    yield opened
    await opened.aclose()


def message(key: str, number: int = 0) -> Message:
    return Message(key, {"ce_id": str(number), "ce_说明": "é"}, f"body {number}".encode())


async def everything(bus: Bus, topic: str = INBOUND) -> dict[int, list[Message]]:
    """Read each partition from its first message to its end."""
    found = {}
    for partition in range(await bus.partitions(topic)):
        bounds = await bus.bounds(topic, partition)
        offset, found[partition] = bounds.first, []
        while offset < bounds.next:
            batch = await bus.read(topic, partition, offset, 50)
            assert (batch.start, batch.next) == (offset, offset + len(batch.events))
            assert batch.events
            found[partition].extend(batch.events)
            offset = batch.next
    return found


async def partition_with(bus: Bus, count: int, key: str = "k3/customer/1") -> int:
    """Publish ``count`` messages of one key; return their partition."""
    placed = await bus.publish(INBOUND, [message(key, number) for number in range(count)])
    return placed[0].partition


async def test_what_is_published_comes_back_whole(bus: Bus) -> None:
    sent = Message("k3/customer/金蝶 1", {"ce_id": "7", "ce_source": "中文"}, bytes(range(256)))
    (placed,) = await bus.publish(INBOUND, [sent])
    batch = await bus.read(INBOUND, placed.partition, placed.offset, 10)
    assert batch.events == (sent,)
    assert (batch.topic, batch.partition, batch.cluster) == (INBOUND, placed.partition, bus.cluster)


async def test_topics_have_the_partitions_of_the_table(bus: Bus) -> None:
    assert {topic: await bus.partitions(topic) for topic in TOPICS} == {
        t.name: t.partitions for t in TOPICS.values()
    }


async def test_one_key_keeps_its_order_in_one_partition(bus: Bus) -> None:
    keys = [f"k3/customer/{number % 17}" for number in range(400)]
    for at in range(0, 400, 40):
        await bus.publish(INBOUND, [message(keys[number], number) for number in range(at, at + 40)])
    found = await everything(bus)
    for key in set(keys):
        homes = [partition for partition, messages in found.items() if any(m.key == key for m in messages)]
        assert len(homes) == 1
        bodies = [m.body for m in found[homes[0]] if m.key == key]
        assert bodies == [f"body {number}".encode() for number in range(400) if keys[number] == key]
    assert sum(bool(messages) for messages in found.values()) > 1


async def test_offsets_are_dense_and_tell_where_each_message_lies(bus: Bus) -> None:
    sent = [message(f"key {number}", number) for number in range(100)]
    placed = await bus.publish(INBOUND, sent)
    found = await everything(bus)
    assert [found[place.partition][place.offset] for place in placed] == sent
    assert {(p, o) for p, messages in found.items() for o in range(len(messages))} == set(placed)


async def test_publishers_at_once_keep_each_their_own_order(bus: Bus) -> None:
    async def publish(who: int) -> None:
        for at in range(0, 60, 20):
            await bus.publish(INBOUND, [message(f"by {who}", number) for number in range(at, at + 20)])

    await asyncio.gather(*(publish(who) for who in range(8)))
    found = await everything(bus)
    for who in range(8):
        bodies = [m.body for messages in found.values() for m in messages if m.key == f"by {who}"]
        assert bodies == [f"body {number}".encode() for number in range(60)]


async def test_a_repeated_publish_is_a_second_message(bus: Bus) -> None:
    first = await bus.publish(INBOUND, [message("k")])
    second = await bus.publish(INBOUND, [message("k")])
    assert first != second
    assert len((await everything(bus))[first[0].partition]) == 2


async def test_nothing_published_is_nothing_done(bus: Bus) -> None:
    assert await bus.publish(INBOUND, []) == []
    assert not any((await everything(bus)).values())


async def test_topics_do_not_mix(bus: Bus) -> None:
    await bus.publish(INBOUND, [message("k")])
    assert not any((await everything(bus, INBOUND_BULK)).values())
    assert not any((await everything(bus, CHANGES)).values())


async def test_a_reader_begins_anywhere_as_often_as_it_likes(bus: Bus) -> None:
    partition = await partition_with(bus, 30)
    for offset in (0, 29, 7, 7, 30):
        batch = await bus.read(INBOUND, partition, offset, 5)
        assert [m.body for m in batch.events] == [
            f"body {number}".encode() for number in range(offset, min(30, offset + 5))
        ]
        assert batch.next == min(30, offset + 5)


@pytest.mark.parametrize("offset", [-1, 31, 2**40])
async def test_an_impossible_offset_is_an_alarm_not_a_guess(bus: Bus, offset: int) -> None:
    partition = await partition_with(bus, 30)
    for look in (bus.read(INBOUND, partition, offset, 5), bus.wait(INBOUND, partition, offset, 0)):
        with pytest.raises(IntegrityError) as caught:
            await look
        assert caught.value.cause == Cause.POSITION


async def test_a_partition_or_topic_that_is_not_there_is_an_alarm(bus: Bus) -> None:
    for look in (
        bus.read(INBOUND, 99, 0, 1),
        bus.bounds(INBOUND, 99),
        bus.wait(INBOUND, 99, 0, 0),
        bus.partitions("hub.unknown"),
        bus.publish("hub.unknown", [message("k")]),
    ):
        with pytest.raises(IntegrityError) as caught:
            await look
        assert caught.value.cause == Cause.POSITION


async def test_a_message_that_is_too_large_is_refused_with_all_beside_it(bus: Bus) -> None:
    large = Message("k", {}, bytes(MAX_MESSAGE))
    with pytest.raises(Refused):
        await bus.publish(INBOUND, [message("k"), large])
    assert not any((await everything(bus)).values())
    (placed,) = await bus.publish(INBOUND, [Message("k", {}, bytes(MAX_MESSAGE - 100))])
    assert len((await bus.read(INBOUND, placed.partition, 0, 1)).events[0].body) == MAX_MESSAGE - 100


async def test_a_key_that_is_no_text_is_refused(bus: Bus) -> None:
    with pytest.raises(Refused):
        await bus.publish(INBOUND, [message("\ud800")])


async def test_waiting_ends_as_soon_as_something_is_published(bus: Bus) -> None:
    partition = await partition_with(bus, 1)
    waiting = asyncio.ensure_future(bus.wait(INBOUND, partition, 1, PATIENCE))
    await asyncio.sleep(0)
    assert not waiting.done()
    await partition_with(bus, 1)
    assert await asyncio.wait_for(waiting, PATIENCE / 2)


async def test_waiting_for_what_is_there_does_not_wait(bus: Bus) -> None:
    partition = await partition_with(bus, 2)
    assert await asyncio.wait_for(bus.wait(INBOUND, partition, 1, 3600), PATIENCE)


async def test_waiting_in_vain_says_so(bus: Bus) -> None:
    partition = await partition_with(bus, 1)
    assert not await bus.wait(INBOUND, partition, 1, 0.01)


async def test_two_readers_do_not_know_of_each_other(bus: Bus) -> None:
    partition = await partition_with(bus, 25)
    slow, quick = reader(bus, INBOUND, partition, 0, limit=1), reader(bus, INBOUND, partition, 20, limit=10)
    assert [m.body for m in (await anext(quick)).events] == [f"body {n}".encode() for n in range(20, 25)]
    for number in range(3):
        batch = await anext(slow)
        assert (batch.start, batch.next, batch.events[0].body) == (
            number,
            number + 1,
            f"body {number}".encode(),
        )
    assert await lag(bus, INBOUND, partition, 3) == 22
    await slow.aclose()
    await quick.aclose()


async def test_a_reader_at_the_end_goes_on_when_there_is_more(bus: Bus) -> None:
    partition = await partition_with(bus, 3)
    batches = reader(bus, INBOUND, partition, 3)
    following = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    await partition_with(bus, 2)
    batch = await asyncio.wait_for(following, PATIENCE)
    assert (batch.start, batch.next) in {(3, 4), (3, 5)}
    await batches.aclose()


async def test_the_log_is_the_same_after_it_was_opened_again(name: str, address: str) -> None:
    first = await OPENERS[name](address)
    partition = await partition_with(first, 5)
    cluster = first.cluster
    await first.aclose()
    second = await OPENERS[name](address)
    assert second.cluster == cluster
    assert len((await second.read(INBOUND, partition, 0, 9)).events) == 5
    assert await partition_with(second, 1) == partition
    assert (await second.bounds(INBOUND, partition)).next == 6
    await second.aclose()


async def test_two_processes_append_to_one_log_and_wake_each_other(name: str, address: str) -> None:
    one, other = await OPENERS[name](address), await OPENERS[name](address)
    assert one.cluster == other.cluster
    partition = await partition_with(one, 1)
    waiting = asyncio.ensure_future(other.wait(INBOUND, partition, 1, PATIENCE))
    await asyncio.gather(*(partition_with(bus, 3) for bus in (one, other, one, other)))
    assert await asyncio.wait_for(waiting, PATIENCE)
    bounds = await one.bounds(INBOUND, partition)
    assert bounds == await other.bounds(INBOUND, partition)
    assert bounds.next == 13
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize("kill", ["from outside", "bus.commit.before:3", "bus.commit.after:3"])
async def test_what_was_acknowledged_survives_kill_9(name: str, address: str, kill: str) -> None:
    armed = {} if kill == "from outside" else {"HUB_CRASH_POINT": kill}
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **armed}
    acknowledged = []
    with subprocess.Popen(
        [sys.executable, __file__, name, address], stdout=subprocess.PIPE, env=env
    ) as child:
        for line in child.stdout:
            if line.endswith(b"\n"):
                acknowledged.append(line.decode().split())
            if kill == "from outside" and len(acknowledged) == 200:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert acknowledged
    bus = await OPENERS[name](address)
    found = await everything(bus)
    for key, partition, offset in acknowledged:
        assert found[int(partition)][int(offset)].key == key
    assert await partition_with(bus, 1) in found  # it goes on
    await bus.aclose()


async def publish_until_killed(name: str, address: str) -> None:
    bus = await OPENERS[name](address)
    for number in range(1_000_000):
        keys = [f"key-{number}-{n}" for n in range(5)]
        placed = await bus.publish(INBOUND, [message(key) for key in keys])
        lines = [f"{key} {place.partition} {place.offset}\n" for key, place in zip(keys, placed, strict=True)]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(publish_until_killed(*sys.argv[1:]))
