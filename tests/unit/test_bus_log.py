"""What the embedded log promises beyond the bus: atomic batches, trimming, retention, a private safe file."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from hub.bus import INBOUND, Log, Message, Topic, partition_of
from hub.bus.log import GROUP_TASKS
from hub.clock import SECOND, SystemClock
from hub.errors import Cause, IntegrityError, SettingsError, TryAgain
from tests.buses import LogPlace
from tests.contract.test_bus import survives

DAY = 86_400 * SECOND
START = 1_790_000_000 * SECOND
KEY = "k3/customer/1"


class HandClock(SystemClock):
    """Moved by hand; sleeps for ever; ``broken`` makes the next commit fail as a full disk would."""

    def __init__(self) -> None:
        super().__init__()
        self.time = START
        self.broken = False

    def now(self) -> int:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()

    def crash_point(self, name: str) -> None:
        if self.broken and name == "bus.commit.before":
            self.broken = False
            raise sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["file", "memory"])
async def log(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock):
    memory = request.param == "memory"
    opened = Log.open(None if memory else tmp_path / "bus.db", clock, inline=memory)
    yield opened
    await opened.aclose()


async def add(log: Log, count: int, key: str = KEY) -> int:
    placed = await log.publish(INBOUND, [Message(key, {}, str(n).encode()) for n in range(count)])
    return placed[-1].partition


async def test_a_failed_commit_leaves_nothing_and_is_told_to_everybody(log: Log, clock: HandClock) -> None:
    partition = await add(log, 1)
    clock.broken = True
    with pytest.raises(TryAgain):
        await add(log, 10)
    assert (await log.bounds(INBOUND, partition)).next == 1
    await add(log, 1)
    assert [m.body for m in (await log.read(INBOUND, partition, 0, 9)).events] == [b"0", b"0"]


async def test_a_burst_is_committed_in_groups(tmp_path: Path) -> None:
    commits = 0

    class Counting(SystemClock):
        def crash_point(self, name: str) -> None:
            nonlocal commits
            commits += name == "bus.commit.after"

    log = Log.open(tmp_path / "bus.db", Counting())
    await asyncio.gather(*(add(log, 1) for _ in range(GROUP_TASKS * 2)))
    await log.aclose()
    assert commits < GROUP_TASKS


async def test_a_publisher_that_gave_up_stops_nobody(log: Log) -> None:
    given_up = asyncio.ensure_future(add(log, 1))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await log.bounds(INBOUND, await add(log, 1))).next in {1, 2}
    assert given_up.done()


async def test_who_waits_is_woken_by_the_commit_and_by_no_timer(log: Log) -> None:
    partition = await add(log, 1)
    waiting = [asyncio.ensure_future(log.wait(INBOUND, partition, 1, 1e9)) for _ in range(3)]
    await asyncio.sleep(0)
    await add(log, 1)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 20) == [True] * 3
    assert not any(log._nudges.values())


async def test_trimmed_messages_are_gone_and_their_offsets_are_not_given_again(log: Log) -> None:
    partition = await add(log, 5_000)
    assert await log.trim(INBOUND, partition, 4_500) == 4_500
    assert (await log.bounds(INBOUND, partition)).first == 4_500
    assert (await log.read(INBOUND, partition, 4_500, 1)).events[0].body == b"4500"
    with pytest.raises(IntegrityError) as caught:
        await log.read(INBOUND, partition, 4_499, 1)
    assert caught.value.cause == Cause.POSITION
    assert await log.trim(INBOUND, partition, 5_000) == 500
    assert await log.trim(INBOUND, partition, 10) == 0
    await add(log, 1)
    assert (await log.bounds(INBOUND, partition)).next == 5_001


async def test_nothing_behind_the_end_can_be_trimmed(log: Log) -> None:
    partition = await add(log, 3)
    with pytest.raises(IntegrityError) as caught:
        await log.trim(INBOUND, partition, 4)
    assert caught.value.cause == Cause.POSITION
    assert await add(log, 1) == partition


async def test_retention_removes_what_is_old_but_never_what_is_needed(log: Log, clock: HandClock) -> None:
    partition = await add(log, 10)
    clock.time += 5 * DAY
    await add(log, 10)
    clock.time += 3 * DAY
    assert await log.purge(INBOUND, {}) == 0
    assert await log.purge(INBOUND, {partition: 4}) == 4
    assert await log.purge(INBOUND, {partition: 20}) == 6
    assert (await log.bounds(INBOUND, partition)).first == 10
    assert await log.purge(INBOUND, {partition: 15}, before=clock.time) == 5


async def test_a_clock_that_goes_back_does_not_make_messages_older(log: Log, clock: HandClock) -> None:
    partition = await add(log, 2)
    clock.time -= 30 * DAY
    await add(log, 2)
    assert await log.purge(INBOUND, {partition: 4}, before=START) == 0
    assert await log.purge(INBOUND, {partition: 4}, before=START + 1) == 4


@pytest.mark.parametrize(("gone", "asked"), [(2, 0), (0, 0), (4, 4)])
async def test_a_message_that_vanished_from_the_file_is_an_alarm(
    tmp_path: Path, clock: HandClock, gone: int, asked: int
) -> None:
    log = Log.open(tmp_path / "bus.db", clock)
    partition = await add(log, 5)
    with sqlite3.connect(tmp_path / "bus.db") as other:
        other.execute('DELETE FROM events WHERE "offset" = ?', (gone,))
    other.close()
    with pytest.raises(IntegrityError) as caught:
        await log.read(INBOUND, partition, asked, 9)
    assert caught.value.cause == Cause.POSITION
    await log.aclose()


async def test_a_log_that_exists_keeps_its_partition_counts(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "bus.db"
    first = Log.open(path, clock, topics={"t": Topic("t", 2, 60)})
    await first.aclose()
    second = Log.open(path, clock, topics={"t": Topic("t", 8, 60), "new": Topic("new", 3, 60)})
    assert (await second.partitions("t"), await second.partitions("new")) == (2, 3)
    await second.aclose()


async def test_the_file_is_private_and_durable(tmp_path: Path, clock: HandClock) -> None:
    log = Log.open(tmp_path / "bus.db", clock)
    assert stat.S_IMODE((tmp_path / "bus.db").stat().st_mode) == 0o600
    assert log._conn.execute("PRAGMA synchronous").fetchone() == (2,)
    assert log._conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await log.aclose()


async def test_a_file_that_is_no_log_is_refused_by_name(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "bus.db"
    path.write_bytes(b"this is no database, for certain" * 100)
    with pytest.raises(SettingsError) as caught:
        Log.open(path, clock)
    assert caught.value.file == str(path)
    with pytest.raises(SettingsError):
        Log.open(tmp_path / "no" / "bus.db", clock)


async def test_a_log_of_a_newer_program_is_refused(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "bus.db"
    await Log.open(path, clock).aclose()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE log SET format = 99")
    other.close()
    with pytest.raises(SettingsError):
        Log.open(path, clock)


async def test_a_closed_log_says_so(log: Log) -> None:
    await log.aclose()
    await log.aclose()
    with pytest.raises(RuntimeError):
        await add(log, 1)


async def test_offsets_are_dense(log: Log) -> None:
    placed = await log.publish(INBOUND, [Message(f"key {n}", {}, b"") for n in range(200)])
    for partition in range(4):
        offsets = [place.offset for place in placed if place.partition == partition]
        assert offsets == list(range(len(offsets)))


@pytest.mark.parametrize("point", ["bus.commit.before:3", "bus.commit.after:3"])
async def test_what_was_acknowledged_survives_a_death_inside_the_commit(tmp_path: Path, point: str) -> None:
    place = LogPlace(tmp_path)
    await survives(place, place.topics[INBOUND].name, armed=point)


def test_the_partition_of_a_key_never_changes() -> None:
    assert [partition_of(key.encode(), 4) for key in ("k3/customer/1", "k3/customer/2", "金蝶")] == [3, 1, 0]
    spread = [partition_of(f"k3/customer/{n}".encode(), 4) for n in range(10_000)]
    assert min(spread.count(partition) for partition in range(4)) > 2_000
