"""What every bus promises, whatever lies behind it: this file runs unchanged over each kind in ``tests/buses.py``.

Offsets are names here, never counts: a test goes on at ``Batch.next`` and takes offsets from what a publish returned.
Run as a program (``test_bus.py KIND FOLDER TOPIC publish|count``) this file is the publisher that gets killed, and the
other process that looks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub.bus import (
    CHANGES,
    INBOUND,
    INBOUND_BULK,
    MAX_MESSAGE,
    Bus,
    Message,
    Placed,
    lag,
    partition_of,
    reader,
)
from hub.clock import SECOND, SystemClock
from hub.errors import Cause, IntegrityError, Refused, TryAgain
from hub.model.event import Event
from tests.buses import PLACES, Place, bus, place

__all__ = ["bus", "place"]  # fixtures

PATIENCE = 20.0  # seconds until a test that hangs fails


@pytest.fixture
def inbound(place: Place) -> str:
    return place.topics[INBOUND].name


@pytest.fixture
def bulk(place: Place) -> str:
    return place.topics[INBOUND_BULK].name


@pytest.fixture
def changes(place: Place) -> str:
    return place.topics[CHANGES].name


def message(key: str, number: int = 0) -> Message:
    return Message(key, {"ce_id": str(number), "ce_说明": "é"}, f"body {number}".encode())


async def everything(bus: Bus, topic: str) -> dict[int, list[Message]]:
    """Read each partition from its first message to its end."""
    found: dict[int, list[Message]] = {}
    for partition in range(await bus.partitions(topic)):
        bounds = await bus.bounds(topic, partition)
        offset, found[partition] = bounds.first, []
        while offset < bounds.next:
            batch = await bus.read(topic, partition, offset, 50)
            assert batch.start == offset < batch.next
            assert len(batch.events) <= batch.next - batch.start
            found[partition].extend(batch.events)
            offset = batch.next
    return found


async def put(bus: Bus, topic: str, count: int, key: str = "k3/customer/1") -> list[Placed]:
    """Publish ``count`` messages of one key."""
    placed = await bus.publish(topic, [message(key, number) for number in range(count)])
    assert len({place.partition for place in placed}) == 1
    return placed


def bodies(messages: object) -> list[bytes]:
    return [one.body for one in messages]  # type: ignore[attr-defined]


def numbers(*wanted: int) -> list[bytes]:
    return [f"body {number}".encode() for number in wanted]


async def test_what_is_published_comes_back_whole(bus: Bus, inbound: str) -> None:
    sent = Message("k3/customer/金蝶 1", {"ce_id": "7", "ce_source": "中文"}, bytes(range(256)))
    (placed,) = await bus.publish(inbound, [sent])
    batch = await bus.read(inbound, placed.partition, placed.offset, 10)
    assert batch.events == (sent,)
    assert (batch.topic, batch.partition, batch.cluster) == (inbound, placed.partition, bus.cluster)


async def test_an_event_keeps_its_attributes_and_its_trace_on_the_way(bus: Bus, inbound: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = Event("7", "wecom/contact", "hub.source.hint", "/wm1", "2026-01-10T02:03:04Z", b"{}",
                  extensions={"traceparent": trace})  # fmt: skip
    headers = {name: value.decode() for name, value in event.headers()}
    assert headers["ce_specversion"] == "1.0"
    (placed,) = await bus.publish(inbound, [Message("wecom/contact//wm1", headers, event.data)])
    (got,) = (await bus.read(inbound, placed.partition, placed.offset, 1)).events
    parsed = Event.parse([(name, value.encode()) for name, value in got.headers.items()], got.body)
    assert parsed == event
    assert parsed.extensions["traceparent"] == trace


async def test_topics_have_the_partitions_they_were_asked_for(bus: Bus, place: Place) -> None:
    asked = {topic.name: topic.partitions for topic in place.topics.values()}
    assert {name: await bus.partitions(name) for name in asked} == asked


async def test_one_key_keeps_its_order_in_the_one_partition_every_machine_knows(
    bus: Bus, inbound: str
) -> None:
    keys = [f"k3/customer/{number % 17}" for number in range(400)]
    for at in range(0, 400, 40):
        await bus.publish(inbound, [message(keys[number], number) for number in range(at, at + 40)])
    found = await everything(bus, inbound)
    for key in set(keys):
        home = partition_of(key.encode(), await bus.partitions(inbound))
        assert [
            partition for partition, messages in found.items() if any(m.key == key for m in messages)
        ] == [home]
        kept = bodies(m for m in found[home] if m.key == key)
        assert kept == numbers(*(number for number in range(400) if keys[number] == key))
    assert sum(bool(messages) for messages in found.values()) > 1


async def test_a_publish_tells_where_each_message_lies(bus: Bus, inbound: str) -> None:
    sent = [message(f"key {number}", number) for number in range(100)]
    placed = await bus.publish(inbound, sent)
    assert len(set(placed)) == 100
    for where, one in zip(placed, sent, strict=True):
        assert (await bus.read(inbound, where.partition, where.offset, 1)).events == (one,)


async def test_offsets_rise_and_the_end_lies_behind_the_last(bus: Bus, inbound: str) -> None:
    offsets = [one.offset for one in await put(bus, inbound, 30)]
    assert offsets == sorted(set(offsets))
    partition = (await put(bus, inbound, 1))[0].partition
    bounds = await bus.bounds(inbound, partition)
    assert bounds.first <= offsets[0]
    assert bounds.next > offsets[-1]


async def test_publishers_at_once_keep_each_their_own_order(bus: Bus, inbound: str) -> None:
    async def publish(who: int) -> None:
        for at in range(0, 60, 20):
            await bus.publish(inbound, [message(f"by {who}", number) for number in range(at, at + 20)])

    await asyncio.gather(*(publish(who) for who in range(8)))
    found = await everything(bus, inbound)
    for who in range(8):
        theirs = bodies(m for messages in found.values() for m in messages if m.key == f"by {who}")
        assert theirs == numbers(*range(60))


async def test_a_repeated_publish_is_a_second_message(bus: Bus, inbound: str) -> None:
    first = await bus.publish(inbound, [message("k")])
    second = await bus.publish(inbound, [message("k")])
    assert first != second
    assert len((await everything(bus, inbound))[first[0].partition]) == 2


async def test_nothing_published_is_nothing_done(bus: Bus, inbound: str) -> None:
    assert await bus.publish(inbound, []) == []
    assert not any((await everything(bus, inbound)).values())


async def test_topics_do_not_mix(bus: Bus, inbound: str, bulk: str, changes: str) -> None:
    await bus.publish(inbound, [message("k")])
    assert not any((await everything(bus, bulk)).values())
    assert not any((await everything(bus, changes)).values())


async def test_a_reader_begins_anywhere_as_often_as_it_likes(bus: Bus, inbound: str) -> None:
    placed = await put(bus, inbound, 30)
    for number in (0, 29, 7, 7):
        batch = await bus.read(inbound, placed[0].partition, placed[number].offset, 5)
        assert bodies(batch.events) == numbers(*range(number, min(30, number + 5)))
    end = (await bus.bounds(inbound, placed[0].partition)).next
    batch = await bus.read(inbound, placed[0].partition, end, 5)
    assert (batch.events, batch.start, batch.next) == ((), end, end)


async def test_a_reader_that_died_before_it_saved_reads_the_same_again(
    bus: Bus, place: Place, inbound: str
) -> None:
    placed = await put(bus, inbound, 10)
    before = await bus.read(inbound, placed[0].partition, placed[2].offset, 4)
    other = await place.open()
    assert await other.read(inbound, placed[0].partition, placed[2].offset, 4) == before
    await other.aclose()


@pytest.mark.parametrize("which", ["before the first", "behind the end", "far away"])
async def test_an_impossible_offset_is_an_alarm_not_a_guess(bus: Bus, inbound: str, which: str) -> None:
    partition = (await put(bus, inbound, 30))[0].partition
    bounds = await bus.bounds(inbound, partition)
    offset = {"before the first": bounds.first - 1, "behind the end": bounds.next + 1, "far away": 2**40}[
        which
    ]
    for look in (bus.read(inbound, partition, offset, 5), bus.wait(inbound, partition, offset, 0)):
        with pytest.raises(IntegrityError) as caught:
            await look
        assert caught.value.cause == Cause.POSITION


async def test_a_partition_or_topic_that_is_not_there_is_an_alarm(bus: Bus, inbound: str) -> None:
    for look in (
        bus.read(inbound, 99, 0, 1),
        bus.bounds(inbound, 99),
        bus.wait(inbound, 99, 0, 0),
        bus.partitions("hub.unknown"),
        bus.publish("hub.unknown", [message("k")]),
    ):
        with pytest.raises(IntegrityError) as caught:
            await look
        assert caught.value.cause == Cause.POSITION


async def test_a_message_that_is_too_large_is_refused_with_all_beside_it(bus: Bus, inbound: str) -> None:
    large = Message("k", {}, bytes(MAX_MESSAGE))
    with pytest.raises(Refused):
        await bus.publish(inbound, [message("k"), large])
    assert not any((await everything(bus, inbound)).values())
    (placed,) = await bus.publish(inbound, [Message("k", {}, bytes(MAX_MESSAGE - 100))])
    (got,) = (await bus.read(inbound, placed.partition, placed.offset, 1)).events
    assert len(got.body) == MAX_MESSAGE - 100


async def test_a_key_that_is_no_text_is_refused(bus: Bus, inbound: str) -> None:
    with pytest.raises(Refused):
        await bus.publish(inbound, [message("\ud800")])


async def test_a_bus_that_is_away_says_try_again_and_goes_on_afterwards(
    bus: Bus, place: Place, inbound: str
) -> None:
    await put(bus, inbound, 1)
    with place.outage(), pytest.raises(TryAgain):
        await asyncio.wait_for(bus.publish(inbound, [message("k3/customer/1", 7)]), PATIENCE)
    placed = await put(bus, inbound, 1)
    assert (await bus.read(inbound, placed[0].partition, placed[0].offset, 1)).events


async def test_waiting_ends_as_soon_as_something_is_published(bus: Bus, inbound: str) -> None:
    partition = (await put(bus, inbound, 1))[0].partition
    end = (await bus.bounds(inbound, partition)).next
    waiting = asyncio.ensure_future(bus.wait(inbound, partition, end, PATIENCE))
    await asyncio.sleep(0)
    assert not waiting.done()
    await put(bus, inbound, 1)
    assert await asyncio.wait_for(waiting, PATIENCE / 2)


async def test_waiting_for_what_is_there_does_not_wait(bus: Bus, inbound: str) -> None:
    placed = await put(bus, inbound, 2)
    assert await asyncio.wait_for(bus.wait(inbound, placed[1].partition, placed[1].offset, 3600), PATIENCE)


async def test_waiting_in_vain_says_so(bus: Bus, inbound: str) -> None:
    partition = (await put(bus, inbound, 1))[0].partition
    assert not await bus.wait(inbound, partition, (await bus.bounds(inbound, partition)).next, 0.01)


async def test_two_readers_do_not_know_of_each_other(bus: Bus, inbound: str) -> None:
    placed = await put(bus, inbound, 25)
    partition = placed[0].partition
    slow = reader(bus, inbound, partition, placed[0].offset, limit=1)
    quick = reader(bus, inbound, partition, placed[20].offset, limit=10)
    assert bodies((await anext(quick)).events) == numbers(*range(20, 25))
    position = placed[0].offset
    for number in range(3):
        batch = await anext(slow)
        assert (batch.start, bodies(batch.events)) == (position, numbers(number))
        position = batch.next
    await slow.aclose()
    await quick.aclose()


async def test_lag_tells_how_much_lies_before_a_reader(bus: Bus, inbound: str) -> None:
    placed = await put(bus, inbound, 25)
    partition = placed[0].partition
    end = (await bus.bounds(inbound, partition)).next
    assert await lag(bus, inbound, partition, placed[3].offset) >= 22
    assert await lag(bus, inbound, partition, end) == 0


async def test_a_reader_at_the_end_goes_on_when_there_is_more(bus: Bus, inbound: str) -> None:
    partition = (await put(bus, inbound, 3))[0].partition
    end = (await bus.bounds(inbound, partition)).next
    batches = reader(bus, inbound, partition, end)
    following = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    await put(bus, inbound, 2)
    batch = await asyncio.wait_for(following, PATIENCE)
    assert batch.start >= end
    assert bodies(batch.events) in (numbers(0), numbers(0, 1))
    await batches.aclose()


async def test_the_log_is_the_same_after_it_was_opened_again(place: Place, inbound: str) -> None:
    first = await place.open()
    placed = await put(first, inbound, 5)
    cluster = first.cluster
    await first.aclose()
    second = await place.open()
    assert second.cluster == cluster
    assert len((await second.read(inbound, placed[0].partition, placed[0].offset, 9)).events) == 5
    (more,) = await put(second, inbound, 1)
    assert more.partition == placed[0].partition
    assert more.offset > placed[-1].offset
    await second.aclose()


async def test_a_log_that_was_made_anew_has_another_id(place: Place, inbound: str) -> None:
    first = await place.open()
    await put(first, inbound, 1)
    cluster = first.cluster
    await first.aclose()
    await place.recreate()
    second = await place.open()
    assert second.cluster != cluster
    await second.aclose()


async def test_two_processes_append_to_one_log_and_wake_each_other(place: Place, inbound: str) -> None:
    one, other = await place.open(), await place.open()
    assert one.cluster == other.cluster
    partition = (await put(one, inbound, 1))[0].partition
    end = (await one.bounds(inbound, partition)).next
    waiting = asyncio.ensure_future(other.wait(inbound, partition, end, PATIENCE))
    placed = await asyncio.gather(*(put(bus, inbound, 3) for bus in (one, other, one, other)))
    assert await asyncio.wait_for(waiting, PATIENCE)
    assert len({where for run in placed for where in run}) == 12
    assert await one.bounds(inbound, partition) == await other.bounds(inbound, partition)
    await one.aclose()
    await other.aclose()


async def test_what_is_old_is_forgotten_but_never_what_a_position_needs(bus: Bus, inbound: str) -> None:
    placed = await put(bus, inbound, 20)
    partition, later = placed[0].partition, SystemClock().now() + 60 * SECOND
    assert await bus.purge(inbound, {}, before=later) == 0  # a reader that is not known needs everything
    assert await bus.purge(inbound, {partition: placed[12].offset}) == 0  # nothing is seven days old
    await bus.purge(inbound, {partition: placed[12].offset}, before=later)
    first = (await bus.bounds(inbound, partition)).first
    assert placed[11].offset < first <= placed[12].offset
    assert bodies((await bus.read(inbound, partition, placed[12].offset, 1)).events) == numbers(12)
    with pytest.raises(IntegrityError) as caught:
        await bus.read(inbound, partition, placed[11].offset, 1)
    assert caught.value.cause == Cause.POSITION
    await bus.purge(inbound, {partition: (await bus.bounds(inbound, partition)).next}, before=later)
    (more,) = await put(bus, inbound, 1)
    assert more.offset > placed[-1].offset  # no offset is given twice


async def test_another_process_that_came_and_went_takes_nothing_away(place: Place, inbound: str) -> None:
    here = await place.open()
    other = await place.open()  # a second client of one process is closed while the first goes on
    await put(here, inbound, 3)
    assert await asyncio.to_thread(count_elsewhere, place, inbound) == 3
    await other.aclose()
    await put(here, inbound, 2)
    assert await asyncio.to_thread(count_elsewhere, place, inbound) == 5
    await put(here, inbound, 1)
    assert await asyncio.to_thread(count_elsewhere, place, inbound) == 6
    await here.aclose()


def program(place: Place, topic: str, what: str) -> list[str]:
    return [sys.executable, __file__, place.name, str(Path(place.address).parent), topic, what]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def count_elsewhere(place: Place, topic: str) -> int:
    """Have another process open the bus, count what a topic holds, and close it."""
    done = subprocess.run(program(place, topic, "count"), env=environment(), capture_output=True, check=True)
    return int(done.stdout)


async def test_what_was_acknowledged_survives_kill_9(place: Place, inbound: str) -> None:
    await survives(place, inbound, armed="")


async def survives(place: Place, topic: str, *, armed: str) -> None:
    """Kill a publisher, from outside or at a crash point; everything it was told is there."""
    env = environment(**({"HUB_CRASH_POINT": armed} if armed else {}))
    acknowledged = []
    with subprocess.Popen(program(place, topic, "publish"), stdout=subprocess.PIPE, env=env) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.endswith(b"\n"):
                acknowledged.append(line.decode().split())
            if not armed and len(acknowledged) == 200:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert acknowledged
    bus = await place.open()
    for key, partition, offset in acknowledged:
        assert (await bus.read(topic, int(partition), int(offset), 1)).events[0].key == key
    await put(bus, topic, 1)  # it goes on
    await bus.aclose()


async def publish_until_killed(bus: Bus, topic: str) -> None:
    for number in range(1_000_000):
        keys = [f"key-{number}-{n}" for n in range(5)]
        placed = await bus.publish(topic, [message(key) for key in keys])
        lines = [f"{key} {where.partition} {where.offset}\n" for key, where in zip(keys, placed, strict=True)]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


async def main(kind: str, folder: str, topic: str, what: str) -> None:
    bus = await PLACES[kind](Path(folder), prefix=topic.removesuffix(f".{INBOUND}")).open()
    if what == "publish":
        await publish_until_killed(bus, topic)
    sys.stdout.write(str(sum(map(len, (await everything(bus, topic)).values()))))
    await bus.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
