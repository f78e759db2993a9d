"""A clock that jumps a year ahead for a moment: nothing waits a year for it, and what must not fall does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.bus import INBOUND_BULK
from hub.clock import SECOND, SystemClock
from hub.errors import Cause, IntegrityError
from hub.pipe.alarms import alarms
from hub.pipe.jobs import lease, save_position
from hub.pipe.limits import Gate, gate_of, pause
from hub.pipe.marker import SweepEnd, note_end
from hub.pipe.queries import status
from hub.pipe.read import LEASE
from hub.pipe.runtime import CLOCK, Runtime
from hub.pipe.share import Pool, Share, members
from hub.pipe.times import LONGEST, ClockWatch, has_come
from hub.store import Store
from hub.store.view import View
from tests.pipe_stand import HandClock, Stand
from tests.reading_site import WHOLE, ReadingSite
from tests.vendor import Fate

YEAR = 366 * 86_400 * SECOND
POOL = Pool("bus", tuple(f"bus:hub.inbound:{number}" for number in range(4)), {"next": 0})


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand("customer")
    yield made
    made.close()


def test_a_time_has_come_when_it_passed_or_lies_further_ahead_than_it_was_ever_set() -> None:
    now = 1_000 * SECOND
    assert [has_come(now + ahead * SECOND, now, 10.0) for ahead in (-1, 0, 1, 10, 12, 13)] == [
        True, True, False, False, False, True,
    ]  # fmt: skip
    assert has_come(None, now, 10.0)


def test_a_lease_taken_in_the_jump_by_a_process_that_died_is_free_after_it(stand: Stand) -> None:
    stand.clock.at += YEAR
    dead = stand.store.run_now(lease, "read:x", "reader", "dead", LEASE)
    assert stand.store.run_now(lease, "read:x", "reader", "next", LEASE) is None
    stand.clock.at -= YEAR
    taken = stand.store.run_now(lease, "read:x", "reader", "next", LEASE)
    assert taken is not None
    with pytest.raises(IntegrityError, match="took over"):  # the fence keeps a sleeper out
        stand.store.run_now(save_position, dead, 1, due=0, seconds=LEASE)


async def test_the_jobs_of_a_member_that_died_in_the_jump_are_taken_over(stand: Stand) -> None:
    stand.clock.at += YEAR
    await Share(stand.store, stand.clock, "dead", [POOL]).turn()
    stand.clock.at -= YEAR
    assert stand.store.read_now(members) == []
    living = Share(stand.store, stand.clock, "living", [POOL])
    await living.turn()
    assert all(living.holds(job) for job in POOL.jobs)


async def test_a_member_that_lived_through_the_jump_keeps_its_jobs_and_renews_them(stand: Stand) -> None:
    alone = Share(stand.store, stand.clock, "a", [POOL])
    await alone.turn()
    for jump in (YEAR, -YEAR):
        stand.clock.at += jump
        await alone.turn()
    assert all(alone.holds(job) for job in POOL.jobs)
    ends = {until for (until,) in stand.ask("SELECT lease FROM jobs WHERE holder = 'a'")}
    assert max(ends) <= stand.clock.at + 10 * SECOND


def test_a_pause_of_a_connection_that_was_set_in_the_jump_is_probed_after_it(stand: Stand) -> None:
    def down(tx: Any) -> None:
        view = View(tx, stand.vault)
        pause(view, "mem", Cause.UNREACHABLE, "down")
        view.flush("w", "pause")

    stand.clock.at += YEAR
    stand.store.run_now(down)
    assert stand.store.read_now(gate_of, "mem") is Gate.SHUT
    stand.clock.at -= YEAR
    assert stand.store.read_now(gate_of, "mem") is Gate.PROBE
    stand.put("C-1", name="one")
    assert len(stand.claim()) == 1, "one row goes out as a probe"
    assert stand.claim() == []


def test_a_retry_put_off_in_the_jump_is_due_after_it(stand: Stand) -> None:
    stand.put("C-1", name="one")
    stand.clock.at += YEAR
    stand.step(Fate.TRY)
    stand.clock.at -= YEAR
    assert stand.step() == 0
    stand.sweep()
    assert stand.step() == 1
    stand.run()
    assert not stand.rows()


def test_a_claim_of_the_jump_lapses_after_it_but_may_still_land_until_it_said(stand: Stand) -> None:
    stand.put("C-1", name="one")
    stand.clock.at += YEAR
    (attempt,) = stand.claim()
    before = stand.row("customer.out")["absent_after"]
    stand.clock.at -= YEAR
    stand.sweep()
    row = stand.row("customer.out")
    assert (row["state"], row["absent_after"]) == ("in_doubt", before)
    assert stand.settle(attempt, stand.send(attempt)) == 1, "whoever made it may still settle it"


def test_a_row_in_doubt_whose_last_moment_is_a_year_ahead_is_looked_up_once_a_day_not_in_a_loop() -> None:
    stand = Stand("customer")
    stand.put("C-1", name="one")
    stand.clock.at += YEAR
    assert len(stand.claim()) == 1
    stand.clock.at -= YEAR
    stand.sweep()
    for _ in range(3):
        stand.run()
        stand.sweep()
    (row,) = stand.rows()
    assert row["state"] == "in_doubt"
    assert stand.clock.at < row["due"] <= stand.clock.at + LONGEST * SECOND
    assert row["absent_after"] > stand.clock.at + YEAR - SECOND
    stand.close()


def test_an_object_seen_in_the_jump_is_not_stale_for_a_year(stand: Stand) -> None:
    thing = stand.vendor.add("customer", name="one", phone="+8613800138000", street="1")
    stand.clock.at += YEAR
    stand.take(thing)
    stand.clock.at -= YEAR
    stand.vendor.edit("customer", thing.id, name="two")
    stand.take(thing)
    for _ in range(3):
        stand.clock.at += SECOND
        stand.run()
    assert not stand.rows()
    names = [body for (body,) in stand.ask("SELECT body FROM records")]
    assert ["two" in body for body in names] == [True]


async def test_a_stream_read_in_the_jump_is_read_again_when_its_schedule_says() -> None:
    site = ReadingSite(WHOLE)
    sync = replace(site.sync, schedule=60.0)
    made = Runtime(
        site.stand.store, site.stand.world, site.bus, site.stand.clock, {"mem": site.connector}, holder="h"
    )
    site.add(2)
    site.stand.clock.at += YEAR
    await made._read_due(sync)
    assert len(site.connector.asked) == 1
    site.stand.clock.at -= YEAR
    await made._read_due(sync)
    assert len(site.connector.asked) == 2
    await made._read_due(sync)
    assert len(site.connector.asked) == 2
    await site.aclose()


async def test_a_complete_read_that_was_cut_in_the_jump_begins_anew_and_its_end_counts() -> None:
    site = ReadingSite(WHOLE)
    site.add(9)
    site.stand.clock.at += YEAR
    site.connector.trouble = [(1, RuntimeError("cut"))]
    with pytest.raises(RuntimeError, match="cut"):
        await site.read()
    site.stand.clock.at -= YEAR
    report = await site.read(holder="next")
    assert (report.resumed, report.published, report.done) == (False, 9, True)
    await site.aclose()


def test_the_end_of_a_complete_read_of_the_jump_holds_up_no_later_one(stand: Stand) -> None:
    def end(started: int) -> SweepEnd:
        return SweepEnd("customer.in", "mem", "", ("customer",), f"{started:032x}", started, 1, 1)

    def note(tx: Any, one: SweepEnd) -> None:
        view = View(tx, stand.vault)
        note_end(view, one, f"bus:{INBOUND_BULK}:0")
        if tx.has_act:
            view.flush("take", "take")

    early = stand.clock.at
    stand.clock.at += YEAR
    stand.store.run_now(note, end(stand.clock.at))
    stand.clock.at -= YEAR
    stand.store.run_now(note, end(early))
    stand.store.run_now(note, end(early + YEAR + 1))  # a marker of the jump that is taken after it
    (spec,) = stand.ask("SELECT spec FROM jobs WHERE kind = 'sweep'")
    assert f'"started":{early}' in spec[0]


# clocks that differ ---------------------------------------------------------------------------------------------


async def test_a_store_whose_clock_went_back_is_told_of_once(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    watch = ClockWatch(stand.store, stand.clock)
    stand.clock.at += YEAR
    stand.put("C-1", name="one")
    assert await watch.look() is None
    stand.clock.at -= YEAR
    with caplog.at_level(logging.WARNING, "hub.pipe.times"):
        for _ in range(3):
            assert await watch.look() is None
    assert [record.message.partition(" ")[0] for record in caplog.records] == ["clock.behind"]


class Ahead(SystemClock):
    """A machine whose clock is ten seconds ahead."""

    def now(self) -> int:
        return super().now() + 10 * SECOND


async def test_a_worker_whose_clock_is_off_the_server_s_says_so_and_claims_nothing(
    fresh_postgres_url: str,
) -> None:
    right, wrong = SystemClock(), Ahead()
    store = Store.open(fresh_postgres_url, right)
    try:
        assert await ClockWatch(store, right).look() is None
        why = await ClockWatch(store, wrong).look()
        assert why is not None
        assert "+10" in why
    finally:
        await store.aclose()


async def test_while_its_clock_is_wrong_a_process_reads_nothing_and_the_store_knows_why() -> None:
    site = ReadingSite(WHOLE)
    stand = site.stand
    site.add(1)
    made = Runtime(stand.store, stand.world, site.bus, Off(stand.clock), {"mem": site.connector}, holder="h")
    await Share(stand.store, stand.clock, "h", [POOL]).turn()
    await made._watch()
    await made._read_due(replace(site.sync, schedule=60.0))
    assert site.connector.asked == []
    assert list(made.alarms) == [CLOCK]
    assert [(one.holder, one.about) for one in stand.store.read_now(alarms)] == [("h", CLOCK)]
    assert [one.about for one in stand.store.read_now(status, stand.world.project).alarms] == [CLOCK]
    made._clocks.clock = stand.clock
    await made._watch()
    assert stand.store.read_now(alarms) == []
    await site.aclose()


class Off:
    """The stand's clock, a minute slow."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def now(self) -> int:
        return self._clock.now() - 60 * SECOND
