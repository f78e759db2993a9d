"""Reading a stream: what goes where, what a cut or a dead reader leaves, and when a reader waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from hub.bus import INBOUND, INBOUND_BULK, MAX_MESSAGE
from hub.errors import Cause, IntegrityError, TryAgain
from hub.pipe.backlog import backlogs
from hub.pipe.intake import Intake
from hub.pipe.items import HINT, RECORD
from hub.pipe.jobs import lease
from hub.pipe.marker import SWEEP_END
from hub.pipe.queries import Reading, status
from hub.pipe.read import CUT, LEASE, TRIES, preview_stream, read_stream
from hub.pipe.refusal import NotPossible, Reason
from hub.pipe.room import topic_lag
from tests.reading_site import CHANGED, WHOLE, Cut, ReadingSite


@pytest.fixture
async def site() -> AsyncIterator[ReadingSite]:
    made = ReadingSite(WHOLE)
    yield made
    await made.aclose()


@pytest.fixture
async def changed() -> AsyncIterator[ReadingSite]:
    made = ReadingSite(CHANGED)
    yield made
    await made.aclose()


def dies_at(site: ReadingSite, point: str, times: int = 1) -> None:
    """Kill the reader at the n-th passing of a crash point."""
    left = times

    def crash(name: str) -> None:
        nonlocal left
        left -= name == point
        if name == point and left == 0:
            raise Cut

    site.stand.clock.crash_point = crash  # type: ignore[method-assign]


async def subjects(site: ReadingSite, topic: str = INBOUND_BULK) -> list[str]:
    return sorted(f"{e.source}{e.subject}" for e in await site.events(topic) if e.type == RECORD)


# topics ------------------------------------------------------------------------------------------------------


async def test_a_complete_read_goes_to_the_bulk_topic_and_its_end_is_marked_in_every_partition(
    site: ReadingSite,
) -> None:
    site.add(7)
    report = await site.read()
    assert (report.records, report.pages, report.complete, report.done) == (7, 3, True, True)
    assert await site.messages(INBOUND) == []
    for number in range(2):
        end = (await site.bus.bounds(INBOUND_BULK, number)).next
        (last,) = (await site.bus.read(INBOUND_BULK, number, end - 1, 9)).events
        assert last.headers["ce_type"] == SWEEP_END
        data = orjson.loads(last.body)
        assert (data["sync"], data["streams"], data["of"]) == ("customer.in", ["customer", "card"], 2)
        assert data["started"] == report.started


async def test_a_poll_of_what_changed_goes_to_the_live_topic_and_the_first_one_to_bulk(
    changed: ReadingSite,
) -> None:
    changed.add(4)
    assert (await changed.read()).complete
    assert len(await subjects(changed)) == 4
    changed.add(2, start=4)
    report = await changed.read()
    assert (report.complete, report.records) == (False, 2)
    assert len(await subjects(changed, INBOUND)) == 2
    full = await changed.read(full=True)
    assert (full.complete, full.records) == (True, 6)
    assert len(await subjects(changed, INBOUND)) == 2
    assert (await changed.read()).records == 0  # it goes on from there


async def test_what_the_same_answer_shows_beside_is_published_before_it(site: ReadingSite) -> None:
    site.add(2, "card")
    site.add(3)
    await site.read()
    for number in range(2):
        batch = await site.bus.read(INBOUND_BULK, number, 0, 99)
        sources = [m.headers["ce_source"] for m in batch.events if m.headers["ce_type"] == RECORD]
        assert sources == sorted(sources)  # mem/card, then mem/customer
    assert len(await subjects(site)) == 5


async def test_a_stream_that_no_sync_takes_in_is_not_published(site: ReadingSite) -> None:
    made = site.stand.world.project
    kept = {name: one for name, one in made.syncs.items() if name != "card.in"}
    site.stand.world = replace(site.stand.world, project=replace(made, syncs=kept))
    site.add(2, "card")
    site.add(1)
    await site.read()
    assert await subjects(site) == ["mem/customer/C3"]


async def test_a_stream_that_is_read_with_another_says_which_sync_reads_it(site: ReadingSite) -> None:
    stand = site.stand
    with pytest.raises(NotPossible, match=r"card\.in → customer\.in") as caught:
        await read_stream(stand.store, stand.world, site.bus, stand.clock, stand.world.project.syncs["card.in"],
                          site.connector, holder="r")  # fmt: skip
    assert caught.value.reason is Reason.READ_WITH


# cuts and deaths ---------------------------------------------------------------------------------------------


async def test_a_read_that_was_killed_goes_on_at_its_page_and_keeps_its_beginning(site: ReadingSite) -> None:
    site.add(8)
    dies_at(site, "published", 2)
    with pytest.raises(Cut):
        await site.read()
    before = site.job("read:customer.in")["position"]
    assert (before["cursor"]["done"], before["sweep"]["published"]) == (3, 3)
    site.stand.clock.at += 5_000_000
    report = await site.read()
    assert site.connector.asked == [None, {"done": 3, "of": 8}]
    assert (report.resumed, report.records, report.published) == (True, 5, 8)
    assert report.started == before["sweep"]["started"]
    ends = [orjson.loads(e.data) for e in await site.events() if e.type == SWEEP_END]
    assert {end["sweep"] for end in ends} == {before["sweep"]["id"]}
    assert len(await subjects(site)) == 11  # one page was published twice, none was skipped
    assert site.job("read:customer.in")["position"] == {"cursor": None, "sweep": None}


async def test_a_death_behind_the_markers_repeats_them_under_the_same_id(site: ReadingSite) -> None:
    site.add(2)
    dies_at(site, "sweep.marked")
    with pytest.raises(Cut):
        await site.read()
    await site.read()
    ends = [orjson.loads(e.data)["sweep"] for e in await site.events() if e.type == SWEEP_END]
    assert len(ends) == 4
    assert len(set(ends)) == 1


async def test_a_read_that_was_cut_is_due_at_once_and_a_finished_one_by_its_schedule(
    site: ReadingSite,
) -> None:
    site.add(5)
    dies_at(site, "published", 2)
    with pytest.raises(Cut):
        await site.read(schedule=86_400)
    assert site.job("read:customer.in")["due"] == 0
    report = await site.read(schedule=86_400)
    assert site.job("read:customer.in")["due"] == (report.started or 0) + 86_400_000_000


async def test_a_read_that_was_cut_long_ago_begins_anew(site: ReadingSite) -> None:
    site.add(5)
    dies_at(site, "published", 2)
    with pytest.raises(Cut):
        await site.read()
    site.stand.clock.at += CUT
    assert not (await site.read()).resumed
    assert site.connector.asked == [None, None]


async def test_asked_for_everything_it_begins_anew_whatever_was_cut(site: ReadingSite) -> None:
    site.add(5)
    dies_at(site, "published", 2)
    with pytest.raises(Cut):
        await site.read()
    assert (await site.read(full=True)).records == 5


async def test_a_cancelled_read_lets_go_of_its_stream_and_is_gone_on_with(site: ReadingSite) -> None:
    site.add(5)
    site.connector.trouble = [(1, asyncio.CancelledError())]
    with pytest.raises(asyncio.CancelledError):
        await site.read(holder="first")
    report = await site.read(holder="second")
    assert (report.busy, report.resumed, report.published) == (False, True, 5)


async def test_a_reader_whose_stream_was_taken_over_saves_nothing_more(site: ReadingSite) -> None:
    site.add(6)
    stand = site.stand

    def slow(name: str) -> None:
        if name == "published" and len(site.connector.asked) == 1:
            stand.clock.at += round(LEASE * 1.1e6)
            stand.store.run_now(lease, "read:customer.in", "reader", "other", LEASE)

    stand.clock.crash_point = slow  # type: ignore[method-assign]
    with pytest.raises(IntegrityError) as caught:
        await site.read()
    assert caught.value.cause is Cause.FENCED
    assert site.job("read:customer.in")["position"]["cursor"] is None


async def test_somebody_else_s_stream_is_left_alone(site: ReadingSite) -> None:
    site.stand.store.run_now(lease, "read:customer.in", "reader", "other", LEASE)
    assert (await site.read()).busy
    assert site.connector.asked == []


# troubles ----------------------------------------------------------------------------------------------------


async def test_a_page_that_cannot_be_had_now_is_asked_for_again_where_it_stopped(site: ReadingSite) -> None:
    site.add(7)
    site.connector.trouble = [(1, TryAgain("busy", cause=Cause.RATE, after=30.0)), (0, TryAgain("busy"))]
    began = site.stand.clock.at
    report = await site.read()
    assert site.connector.asked == [None, {"done": 3, "of": 7}, {"done": 3, "of": 7}]
    assert report.records == 7
    assert site.stand.clock.at - began >= 30_000_000


async def test_a_vendor_that_does_not_answer_at_all_is_told_at_once(site: ReadingSite) -> None:
    site.add(2)
    site.connector.trouble = [(0, TryAgain("busy"))]
    with pytest.raises(TryAgain):
        await site.read()
    assert len(site.connector.asked) == 1


async def test_a_vendor_whose_limit_is_met_on_the_first_page_is_asked_again_after_the_moment_it_names(
    site: ReadingSite,
) -> None:
    site.add(2)
    site.connector.trouble = [(0, TryAgain("busy", cause=Cause.RATE, after=1.0))]
    assert (await site.read()).records == 2
    site.connector.trouble = [(0, TryAgain("busy", cause=Cause.RATE, after=3600.0))]
    with pytest.raises(TryAgain):
        await site.read()


async def test_a_vendor_that_stops_answering_is_given_up_after_some_tries(site: ReadingSite) -> None:
    site.add(7)
    site.connector.trouble = [(1, TryAgain("busy")), *[(0, TryAgain("busy"))] * TRIES]
    with pytest.raises(TryAgain):
        await site.read()
    assert len(site.connector.asked) == TRIES + 1
    assert (await site.read()).resumed


async def test_a_record_too_large_for_the_bus_is_asked_for_on_its_own_and_the_others_go_on(
    site: ReadingSite,
) -> None:
    things = site.add(3)
    things[1].fields["remark"] = "x" * MAX_MESSAGE
    report = await site.read()
    assert (report.records, report.refused) == (3, 1)
    found = [(e.type, e.subject) for e in await site.events() if e.type != SWEEP_END]
    assert sorted(found) == [(HINT, "/C2"), (RECORD, "/C1"), (RECORD, "/C3")]


async def test_a_bus_that_is_down_keeps_the_cursor(
    site: ReadingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(3)

    async def down(*_: object) -> None:
        raise TryAgain("down")

    with monkeypatch.context() as patch:
        patch.setattr(site.bus, "publish", down)
        with pytest.raises(TryAgain):
            await site.read()
    assert site.job("read:customer.in")["position"]["cursor"] is None
    assert (await site.read()).records == 3


# seen twice --------------------------------------------------------------------------------------------------


async def test_what_a_later_page_of_the_same_read_shows_again_is_not_stale_however_late_it_is_taken(
    site: ReadingSite,
) -> None:
    site.add(6)
    card, *_ = site.add(3, "card")
    site.connector.cards_everywhere, site.connector.seconds = True, 0.2
    site.connector.size = 2
    stand = site.stand
    sleep = stand.clock.sleep

    async def edited(seconds: float) -> None:
        await sleep(seconds)
        stand.vendor.edit("card", card.id, street=f"{stand.clock.now()} 号")

    stand.clock.sleep = edited  # type: ignore[method-assign]
    await site.read()
    stand.advance(30)  # every page lay on the bus for long
    intake = Intake(stand.store, stand.world, site.bus, "t", topic=INBOUND_BULK, partition=0)
    other = Intake(stand.store, stand.world, site.bus, "t", topic=INBOUND_BULK, partition=1)
    while await intake.turn(1) + await other.turn(1):
        """Each message in a transaction of its own: none is left out for a newer one of its batch."""
    assert stand.rows() == []  # nothing is read again
    assert "stale" not in "".join(body for (body,) in stand.ask("SELECT body FROM acts"))
    newest = card.fields["street"]
    assert newest in {orjson.loads(body).get("street") for (body,) in stand.ask("SELECT body FROM records")}


async def test_a_read_says_on_the_bus_when_it_had_ended(site: ReadingSite) -> None:
    site.add(4)
    site.connector.size, site.connector.seconds = 2, 0.5
    began = site.stand.clock.now()
    await site.read()
    ended = sorted(int(e.extensions["readended"]) for e in await site.events() if e.type == RECORD)
    half = 500_000
    assert ended == [began + half, began + half, began + 2 * half, began + 2 * half]


# waiting -----------------------------------------------------------------------------------------------------


async def test_a_reader_pauses_while_too_much_waits_to_be_taken_and_keeps_its_lease() -> None:
    site = ReadingSite(WHOLE, lag=10)
    site.add(60)
    site.connector.size = 6
    clock, most = site.stand.clock, 0
    sleep, naps = clock.sleep, 0

    async def taken_later(seconds: float) -> None:
        nonlocal naps, most
        await sleep(seconds)
        naps += 1
        most = max(most, await topic_lag(site.stand.store, site.bus, INBOUND_BULK))
        if naps % 300 == 0:  # nobody takes for 150 s: longer than a lease lasts
            assert site.stand.store.run_now(lease, "read:customer.in", "reader", "thief", LEASE) is None
            await site.take(INBOUND_BULK)

    clock.sleep = taken_later  # type: ignore[method-assign]
    report = await site.read()
    assert report.records == 60
    assert naps >= 300
    assert most <= 10 + 6 + 6  # the limit, and pages of the last look
    assert any(told.waiting > 10 for told in site.reports)
    assert not site.reports[-1].waiting
    await site.aclose()


async def test_a_small_read_does_not_wait_for_the_backlog_of_another() -> None:
    site = ReadingSite(WHOLE, lag=1000)
    site.add(40)
    await site.read()
    site.stand.world = replace(site.stand.world, timing=replace(site.stand.world.timing, read_lag=20))
    site.connector.hidden = {thing.id for thing in site.connector.shown("customer")[3:]}
    assert (await site.read(full=True)).records == 3  # a tenth of the limit, and the page that goes over it
    assert not any(told.waiting for told in site.reports)
    site.connector.hidden, paused = set(), asyncio.Event()
    sleep = site.stand.clock.sleep

    async def until_taken(seconds: float) -> None:
        await sleep(seconds)
        paused.set()
        await site.take(INBOUND_BULK)

    site.stand.clock.sleep = until_taken  # type: ignore[method-assign]
    assert (await site.read(full=True)).records == 40
    assert paused.is_set()
    await site.aclose()


async def test_a_reader_gives_up_when_nobody_takes_anything_but_not_while_somebody_does() -> None:
    site = ReadingSite(WHOLE, lag=10)
    site.add(60)
    site.connector.size = 6
    clock, stand = site.stand.clock, site.stand
    sleep, takers = clock.sleep, 12

    async def some_taken(seconds: float) -> None:
        nonlocal takers
        await sleep(seconds + 4)
        if takers and (takers := takers - 1) % 2:  # every ninth second one message
            await Intake(stand.store, stand.world, site.bus, "t", topic=INBOUND_BULK, partition=0).turn(1)

    clock.sleep = some_taken  # type: ignore[method-assign]
    began = clock.monotonic()
    with pytest.raises(NotPossible) as caught:
        await read_stream(stand.store, stand.world, site.bus, clock, site.sync, site.connector, holder="r",
                          patience=20.0, progress=lambda report: site.reports.append(replace(report)))  # fmt: skip
    assert caught.value.reason is Reason.NOT_TAKEN
    assert clock.monotonic() - began > 12 * 4.5 + 10  # the takers', and its own patience
    assert max(told.idle for told in site.reports) >= 20.0
    assert site.job("read:customer.in")["progress"] is None
    clock.sleep = sleep  # type: ignore[method-assign]
    await site.take(INBOUND_BULK)
    site.stand.world = replace(site.stand.world, timing=replace(site.stand.world.timing, read_lag=1000))
    report = await site.read()
    assert (report.resumed, report.published, report.done) == (True, 60, True)
    await site.aclose()


async def test_a_reader_that_pauses_says_so_where_others_look() -> None:
    site = ReadingSite(WHOLE, lag=10)
    site.add(40)
    site.connector.size = 6
    clock, stand = site.stand.clock, site.stand
    sleep, told = clock.sleep, []

    async def looked_at(seconds: float) -> None:
        await sleep(seconds)
        (one,) = [
            sync
            for connection in stand.store.read_now(status, stand.world.project).connections
            for sync in connection.syncs
            if sync.name == "customer.in"
        ]
        told.append(one.reading)
        assert (await backlogs(stand.store, site.bus))[1].streams == {"mem/customer": 12}
        await site.take(INBOUND_BULK)

    clock.sleep = looked_at  # type: ignore[method-assign]
    await site.read()
    assert told[0] == Reading(12, INBOUND_BULK, 5)
    after = stand.store.read_now(status, stand.world.project).connections
    assert {sync.reading for one in after for sync in one.syncs} == {None}
    await site.aclose()


async def test_progress_tells_share_and_total(site: ReadingSite) -> None:
    site.add(6)
    await site.read()
    assert [(one.published, one.share, one.total) for one in site.reports] == [(3, 0.5, 6), (6, 1.0, 6)]


async def test_a_preview_makes_the_calls_and_changes_nothing(site: ReadingSite) -> None:
    site.add(6)
    stand = site.stand
    acts = stand.ask("SELECT count(*) FROM acts")
    whole = await preview_stream(stand.store, stand.world, site.sync, site.connector)
    first = await preview_stream(stand.store, stand.world, site.sync, site.connector, pages=1)
    assert (whole.records, whole.done, first.records, first.share, first.done) == (6, True, 3, 0.5, False)
    assert await site.messages(INBOUND_BULK) == []
    assert stand.ask("SELECT count(*) FROM acts") == acts
