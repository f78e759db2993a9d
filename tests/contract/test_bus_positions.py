"""Who takes from a bus keeps its place in the store: the same over every kind of bus (``tests/buses.py``)."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from hub.bus import INBOUND, Bus, Placed
from hub.errors import Cause, IntegrityError
from hub.pipe.astray import astray, require_own_bus
from hub.pipe.intake import LEASE, Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.room import topic_lag
from tests.buses import Place, bus, place
from tests.pipe_stand import Stand

__all__ = ["bus", "place"]  # fixtures


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.close()


async def show(bus: Bus, stand: Stand, topic: str, *names: str) -> list[Placed]:
    """Publish customers of the vendor, all under one key so that they lie in one partition."""
    messages = []
    for name in names:
        thing = stand.vendor.add("customer", name=name, phone=f"+8613800{len(messages):06d}")
        event = to_event("mem", "customer", stand.vendor.source(thing, stand.clock.now()), event_id=thing.id)
        messages.append(to_message(event))
    placed = []
    for message in messages:
        placed += await bus.publish(topic, [type(message)("one key", message.headers, message.body)])
    return placed


def taker(stand: Stand, bus: Bus, topic: str, where: Placed, holder: str = "a") -> Intake:
    return Intake(stand.store, stand.world, bus, holder, topic=topic, partition=where.partition)


def names(stand: Stand) -> list[str]:
    found = [orjson.loads(body)["name"] for (body,) in stand.ask("SELECT body FROM records")]
    return sorted(found, key=lambda name: "甲乙丙丁".index(name[0]))


def position(stand: Stand, intake: Intake) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(
        stand.ask("SELECT position FROM jobs WHERE name = ?", intake.job)[0][0]
    )
    return found


async def test_the_position_moves_in_the_store_together_with_the_effects(
    bus: Bus, place: Place, stand: Stand
) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司", "乙公司", "丙公司")
    intake = taker(stand, bus, topic, placed[0])
    assert await intake.turn(2) == 2
    assert names(stand) == ["甲公司", "乙公司"]
    at = position(stand, intake)
    assert at["cluster"] == bus.cluster
    assert placed[1].offset < at["next"] <= placed[2].offset  # type: ignore[operator]
    assert await topic_lag(stand.store, bus, topic) >= 1
    assert await intake.turn(2) == 1
    assert await intake.turn(2) == 0
    assert await topic_lag(stand.store, bus, topic) == 0


async def test_what_was_read_but_not_taken_is_taken_once_by_the_next(
    bus: Bus, place: Place, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司", "乙公司")
    dying = taker(stand, bus, topic, placed[0])

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dying, "_take", die)
        with pytest.raises(KeyboardInterrupt):
            await dying.turn()
    assert names(stand) == []
    stand.clock.at += round(LEASE * 1.1e6)
    assert await taker(stand, bus, topic, placed[0], "b").turn() == 2
    assert names(stand) == ["甲公司", "乙公司"]


async def test_a_sleeper_whose_partition_was_taken_over_changes_nothing(
    bus: Bus, place: Place, stand: Stand
) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司", "乙公司")
    sleeper, other = taker(stand, bus, topic, placed[0]), taker(stand, bus, topic, placed[0], "b")
    assert await sleeper.turn(1) == 1
    assert await other.turn() == 0  # somebody else holds it
    stand.clock.at += round(LEASE * 1.1e6)
    assert await other.turn(1) == 1
    acts = stand.ask("SELECT count(*) FROM acts")
    with pytest.raises(IntegrityError) as caught:
        await sleeper.turn(1)
    assert caught.value.cause is Cause.FENCED
    assert stand.ask("SELECT count(*) FROM acts") == acts
    assert names(stand) == ["甲公司", "乙公司"]


async def test_a_position_of_another_cluster_stops_and_says_so(bus: Bus, place: Place, stand: Stand) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司")
    before = taker(stand, bus, topic, placed[0])
    await before.turn()
    await place.recreate()
    anew = await place.open()
    await show(anew, stand, topic, "乙公司", "丙公司", "丁公司")  # the old offset exists here too
    with pytest.raises(IntegrityError) as caught:
        await taker(stand, anew, topic, placed[0]).turn()
    assert caught.value.cause is Cause.POSITION
    assert position(stand, before)["cluster"] == bus.cluster
    assert names(stand) == ["甲公司"]
    await anew.aclose()


@pytest.mark.parametrize("far", [1, 1000])
async def test_a_stored_position_behind_the_end_stops_and_is_not_guessed(
    bus: Bus, place: Place, stand: Stand, far: int
) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司")
    intake = taker(stand, bus, topic, placed[0])
    await intake.turn()
    end = (await bus.bounds(topic, placed[0].partition)).next
    wrong = orjson.dumps({"cluster": bus.cluster, "next": end + far}).decode()
    stand.store.run_now(
        lambda tx: (
            tx.cursor.execute("UPDATE jobs SET position = ? WHERE name = ?", (wrong, intake.job)) and None
        )
    )
    stand.clock.at += round(LEASE * 1.1e6)
    again = taker(stand, bus, topic, placed[0], "b")
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            await again.turn()
        assert caught.value.cause is Cause.POSITION
    assert orjson.dumps(position(stand, intake)).decode() == wrong


@pytest.mark.parametrize("far", [1, 1000])
async def test_a_bus_that_holds_less_than_was_taken_is_found_before_anything_is_published(
    bus: Bus, place: Place, stand: Stand, far: int
) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司")
    intake = taker(stand, bus, topic, placed[0])
    await intake.turn()
    assert await astray(stand.store, bus, [topic]) == []
    end = (await bus.bounds(topic, placed[0].partition)).next
    wrong = orjson.dumps({"cluster": bus.cluster, "next": end + far}).decode()
    stand.store.run_now(
        lambda tx: (
            tx.cursor.execute("UPDATE jobs SET position = ? WHERE name = ?", (wrong, intake.job)) and None
        )
    )
    (found,) = await astray(stand.store, bus, [topic])
    assert (found.partition, found.position, found.other) == (placed[0].partition, end + far, False)
    with pytest.raises(IntegrityError, match="hub bus replaced"):
        await require_own_bus(stand.store, bus, topic)


async def test_another_bus_is_found_before_anything_is_published(
    bus: Bus, place: Place, stand: Stand
) -> None:
    topic = place.topics[INBOUND].name
    placed = await show(bus, stand, topic, "甲公司")
    await taker(stand, bus, topic, placed[0]).turn()
    await place.recreate()
    anew = await place.open()
    try:
        await show(anew, stand, topic, "乙公司", "丙公司", "丁公司")  # the old offset exists here too
        (found,) = await astray(stand.store, anew, [topic])
        assert found.other
        with pytest.raises(IntegrityError, match="hub bus replaced"):
            await require_own_bus(stand.store, anew, topic)
    finally:
        await anew.aclose()
