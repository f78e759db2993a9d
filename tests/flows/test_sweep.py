"""What a complete read did not show: looked at one by one, only when all of it was taken, and never much unasked."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import orjson
import pytest

from hub.bus import INBOUND, INBOUND_BULK, partition_of
from hub.pipe.absence import FEW, Missing, confirm_absent, held_back
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.pipe.jobs import lease
from hub.pipe.marker import SWEEP_END, SweepEnd, end_of, ends, note_end
from hub.pipe.queries import status
from hub.pipe.refusal import NotPossible, NotThere, Reason
from hub.sdk.connector import VendorKey
from hub.store import Store, Tx
from hub.store.view import View
from tests.reading_site import CHANGED, WHOLE, Cut, ReadingSite
from tests.stores import postgres_store

__all__ = ["postgres_store"]  # fixture

JOB = "sweep:customer.in"


@pytest.fixture(params=["memory", "postgresql"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[ReadingSite]:
    url = "sqlite://" if request.param == "memory" else request.getfixturevalue("fresh_postgres_url")
    made = ReadingSite(WHOLE, url=url)
    yield made
    await made.aclose()


@pytest.fixture
async def small() -> AsyncIterator[ReadingSite]:
    made = ReadingSite(WHOLE)
    yield made
    await made.aclose()


async def test_an_object_that_vanished_is_read_again_and_found_gone_the_others_are_left_alone(
    site: ReadingSite,
) -> None:
    things = site.add(6)
    assert await site.sweep() == 0
    site.stand.vendor.remove("customer", things[2].id)
    assert await site.sweep() == 1
    assert site.gone() == {things[2].id}
    assert site.job(JOB)["state"] == "done"
    assert site.job(JOB)["progress"] == {"streams": [{"stream": "customer", "absent": 1, "live": 6},
                                                     {"stream": "card", "absent": 0, "live": 0}]}  # fmt: skip
    assert await site.sweep() == 0  # gone is gone: nobody asks again
    assert "absent" in site.stand.outcomes()


async def test_an_object_that_only_left_the_list_stays(site: ReadingSite) -> None:
    things = site.add(3)
    await site.sweep()
    site.connector.hidden = {things[0].id}
    assert await site.sweep() == 1
    assert site.gone() == set()
    assert site.stand.rows() == []
    assert await site.sweep() == 1  # and is looked at once per complete read


async def test_absence_counts_only_when_every_partition_has_consumed_its_marker(site: ReadingSite) -> None:
    things = site.add(8)
    await site.sweep()
    site.stand.vendor.remove("customer", things[0].id)
    site.stand.clock.at += 1_000_000
    await site.read()
    await site.take(INBOUND_BULK, partitions=[1])
    assert (site.job(JOB)["state"], site.job(JOB)["position"]) == ("taking", {"taken": [1]})
    assert await site.absence() == 0
    await site.take(INBOUND_BULK, partitions=[0])
    assert site.job(JOB)["state"] == "due"
    assert await site.absence() == 1


async def test_a_marker_is_noted_in_the_transaction_that_takes_what_lies_before_it(
    small: ReadingSite,
) -> None:
    small.add(4)
    await small.read()
    await small.take()
    acts = [
        orjson.loads(body)["items"]
        for (body,) in small.stand.ask("SELECT body FROM acts WHERE verb = 'take'")
    ]
    noted = [items for items in acts if any(item["outcome"] == "sweep_end" for item in items)]
    assert len(noted) == 2
    assert sum(item["outcome"] == "created" for items in noted for item in items) == 4
    for items in noted:
        assert items[-1]["outcome"] == "sweep_end"


async def test_streams_read_beside_are_swept_with_it(small: ReadingSite) -> None:
    cards = small.add(3, "card", start=50)
    small.add(2)
    await small.sweep()
    small.stand.vendor.remove("card", cards[1].id)
    assert await small.sweep() == 1
    assert small.gone() == {cards[1].id}


async def test_a_stream_whose_lists_may_be_partial_is_never_swept() -> None:
    spec = replace(WHOLE, streams={"customer": replace(WHOLE.streams["customer"], complete_sweep=False)})
    site = ReadingSite(spec)
    things = site.add(3)
    await site.sweep()
    site.stand.vendor.remove("customer", things[0].id)
    await site.sweep()
    assert not [e for e in await site.events() if e.type == SWEEP_END]
    assert site.gone() == set()
    await site.aclose()


async def test_what_changed_is_no_complete_read_but_everything_asked_for_is() -> None:
    site = ReadingSite(CHANGED)
    things = site.add(3)
    await site.sweep()
    site.stand.vendor.remove("customer", things[0].id)
    assert await site.sweep() == 0
    site.stand.clock.at += 1_000_000
    await site.read(full=True)
    await site.take()
    assert await site.absence() == 1
    await site.aclose()


async def test_whoever_was_shown_but_could_not_be_decided_is_not_absent(small: ReadingSite) -> None:
    good, bad, stuck = small.add(3)
    await small.sweep()
    bad.fields["phone"] = 17  # parks
    stuck.fields["name"] = "other"
    event = to_event("mem", "customer", VendorKey("", stuck.id), event_id="h")
    await small.bus.publish(INBOUND, [to_message(event)])
    await small.take()  # a hint is owed: what the sweep shows joins its debt
    small.stand.clock.at += 1_000_000
    await small.read()
    await small.take()
    assert small.hinted() == {bad.id, stuck.id}
    assert await small.absence() == 0
    assert small.job(JOB)["progress"]["streams"][0] == {"stream": "customer", "absent": 0, "live": 3}
    assert good.id not in small.hinted()


async def test_an_old_dead_letter_of_an_object_that_vanished_does_not_hide_it(small: ReadingSite) -> None:
    thing, *_ = small.add(3)
    await small.sweep()
    thing.fields["phone"] = 17
    await small.sweep()
    assert small.stand.row("customer.in")["state"] == "parked"
    small.stand.vendor.remove("customer", thing.id)
    assert await small.sweep() == 1
    assert small.gone() == {thing.id}


async def test_every_object_the_sweep_showed_is_seen_since_it_began_whether_or_not_it_changed(
    small: ReadingSite,
) -> None:
    things = small.add(5)
    await small.sweep()
    things[1].fields["name"] = "new name"
    small.stand.clock.at += 1_000_000
    report = await small.read()
    await small.take()
    assert {seen >= report.started for (seen,) in small.stand.ask("SELECT seen FROM xrefs")} == {True}


# much is missing ---------------------------------------------------------------------------------------------


async def test_if_much_is_missing_nothing_is_done_until_a_person_says_so(site: ReadingSite) -> None:
    things = site.add(FEW + 10)
    await site.sweep()
    for thing in things[: FEW + 1]:
        site.stand.vendor.remove("customer", thing.id)
    assert await site.sweep() == 0
    assert (site.job(JOB)["state"], site.gone()) == ("held", set())
    stand = site.stand
    missing = Missing("customer", FEW + 1, FEW + 10)
    assert stand.store.read_now(held_back)["customer.in"][0] == missing
    shown = stand.store.read_now(status, stand.world.project)
    assert [one.absent[0] for c in shown.connections for one in c.syncs if one.absent] == [missing]
    assert await site.absence() == 0
    assert stand.store.run_now(confirm_absent, "customer.in", stand.world, by="user:a")[0] == missing
    assert await site.absence() == FEW + 1
    stand.run()
    assert site.gone() == {thing.id for thing in things[: FEW + 1]}
    assert stand.store.read_now(held_back) == {}
    assert stand.ask("SELECT actor FROM acts WHERE verb = 'confirm'") == [("user:a",)]


async def test_few_are_looked_at_unasked_and_so_is_one_in_a_hundred(small: ReadingSite) -> None:
    assert not Missing("x", FEW, FEW).many
    assert Missing("x", FEW + 1, 100 * FEW).many
    assert not Missing("x", FEW + 1, 100 * (FEW + 1)).many
    things = small.add(FEW + 1)
    await small.sweep()
    small.connector.hidden = {thing.id for thing in things[:FEW]}
    assert await small.sweep() == FEW


async def test_the_next_complete_read_asks_anew(small: ReadingSite) -> None:
    things = small.add(FEW + 5)
    await small.sweep()
    small.connector.hidden = {thing.id for thing in things[1:]}
    await small.sweep()
    assert small.job(JOB)["state"] == "held"
    small.connector.hidden = set()
    assert await small.sweep() == 0
    assert small.job(JOB)["state"] == "done"


async def test_there_is_nothing_to_confirm_unless_it_was_held_back(small: ReadingSite) -> None:
    stand = small.stand
    small.add(1)
    for _ in range(2):
        with pytest.raises(NotPossible) as caught:
            stand.store.run_now(confirm_absent, "customer.in", stand.world, by="user:a")
        assert caught.value.reason is Reason.NOT_HELD
        await small.sweep()
    with pytest.raises(NotThere):
        stand.store.run_now(confirm_absent, "nobody", stand.world, by="user:a")


# repeats, deaths, several at once ----------------------------------------------------------------------------


async def test_a_late_marker_of_an_older_read_changes_nothing(small: ReadingSite) -> None:
    small.add(2)
    await small.read()
    old = [e for e in await small.events() if e.type == SWEEP_END]
    await small.take()
    await small.absence()
    await small.sweep()
    before = small.job(JOB)
    await small.bus.publish(INBOUND_BULK, [to_message(event) for event in old])
    await small.take()
    assert small.job(JOB) == before


async def test_a_newer_read_replaces_one_that_was_never_taken_whole(small: ReadingSite) -> None:
    small.add(6)
    await small.read()
    await small.take(INBOUND_BULK, partitions=[0])
    small.stand.clock.at += 1_000_000
    await small.read()
    await small.take(INBOUND_BULK, partitions=[0])
    assert small.job(JOB)["position"] == {"taken": [0]}
    await small.take(INBOUND_BULK, partitions=[1])
    assert small.job(JOB)["state"] == "due"


async def test_a_death_among_the_hints_is_gone_on_with_and_hints_nobody_twice(
    small: ReadingSite, monkeypatch
) -> None:
    monkeypatch.setattr("hub.pipe.absence.CHUNK", 2)
    things = small.add(9)
    await small.sweep()
    small.connector.hidden = {thing.id for thing in things[:7]}
    small.stand.clock.at += 1_000_000
    await small.read()
    await small.take()

    def crash(name: str) -> None:
        if name == "sweep.hinted":
            raise Cut

    small.stand.clock.crash_point = crash  # type: ignore[method-assign]
    with pytest.raises(Cut):
        await small.absence()
    small.stand.clock.crash_point = lambda name: None  # type: ignore[method-assign]
    assert len(small.hinted()) == 2
    assert await small.absence() == 5
    assert small.hinted() == {thing.id for thing in things[:7]}
    assert small.stand.outcomes().count("absent") == 7


async def test_only_one_of_many_follows_a_sweep_up(small: ReadingSite) -> None:
    things = small.add(3)
    await small.sweep()
    small.connector.hidden = {things[0].id}
    small.stand.clock.at += 1_000_000
    await small.read()
    await small.take()
    assert small.stand.store.run_now(lease, JOB, "sweep", "other", 60.0)
    assert await small.absence() == 0
    small.stand.clock.at += 61_000_000
    assert await small.absence() == 1


def test_markers_reach_every_partition_whatever_their_number() -> None:
    for count in (1, 2, 4, 7, 64):
        end = SweepEnd("a.in", "a", "", ("contact", "follow"), "f" * 32, 1, 2, count)
        made = ends(end)
        assert [partition_of(to_message(event).key.encode(), count) for event in made] == list(range(count))
        assert {end_of(event) for event in made} == {end}


def test_partitions_taken_at_once_are_all_noted(postgres_store: Store) -> None:
    end = SweepEnd("a.in", "a", "", ("contact",), "f" * 32, 1, 2, 8)

    def note(tx: Tx, partition: int) -> None:
        view = View(tx, None)  # type: ignore[arg-type]  # nothing sealed
        note_end(view, end, f"bus:hub.inbound.bulk:{partition}")
        view.flush("take", "take")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda partition: postgres_store.run_now(note, partition), range(8)))

    def job(tx: Tx) -> tuple[str, str]:
        tx.cursor.execute("SELECT state, position FROM jobs WHERE name = 'sweep:a.in'")
        found: tuple[str, str] = tx.cursor.fetchone()
        return found

    state, position = postgres_store.read_now(job)
    assert (state, orjson.loads(position)) == ("due", {"taken": list(range(8))})


@pytest.mark.parametrize("seed", range(5))
async def test_after_any_changes_and_losses_the_sweep_leaves_exactly_what_the_vendor_holds(
    small: ReadingSite, seed: int
) -> None:
    print(f"seed {seed}")
    draw = random.Random(seed)
    small.add(12)
    await small.sweep()
    for round_ in range(6):
        live = small.connector.shown("customer")
        for thing in draw.sample(live, min(3, len(live))):
            if draw.random() < 0.5:
                small.stand.vendor.remove("customer", thing.id)
            else:
                thing.fields["street"] = f"street {round_}"
        small.add(draw.randrange(3), start=100 * (round_ + 1))
        await small.sweep()
    small.stand.drain()
    rows = small.stand.ask(
        "SELECT vendor_id, body FROM xrefs JOIN records ON records.id = record WHERE gone IS NULL AND object = 'customer'"
    )
    assert {id_: orjson.loads(body)["street"] for id_, body in rows} == {
        thing.id: thing.fields["street"] for thing in small.connector.shown("customer")
    }
