"""What comes in over Kafka takes effect once: takers that die, sleep, and meet each other, on the real broker.

Run as a program (``test_kafka_take.py PREFIX FOLDER``) this file is the taker that gets killed: it takes what there is,
five at a time, with a store in a file, and ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest

from hub.bus import INBOUND, Bus
from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, TryAgain
from hub.pipe.intake import LEASE, Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.room import topic_lag
from hub.store import Store
from hub.vault import Vault
from tests.buses import BROKER, KafkaPlace
from tests.kafka import Shared
from tests.pipe_stand import Stand
from tests.worlds import world

CUSTOMERS = 60


@pytest.fixture
def place(kafka: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaPlace:
    monkeypatch.setenv(BROKER, kafka.address)
    return KafkaPlace(tmp_path)


@pytest.fixture
async def bus(place: KafkaPlace) -> AsyncIterator[Bus]:
    opened = await place.open()
    yield opened
    await opened.aclose()


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.close()


@pytest.fixture
def topic(place: KafkaPlace) -> str:
    return place.topics[INBOUND].name


async def show(bus: Bus, stand: Stand, topic: str) -> list[str]:
    """Publish customers of the vendor, each under its own key; return their names."""
    messages, names = [], []
    for number in range(CUSTOMERS):
        names.append(f"客户 {number:02d}")
        thing = stand.vendor.add("customer", name=names[-1], phone=f"+8613800{number:06d}")
        source = stand.vendor.source(thing, stand.clock.now())
        messages.append(to_message(to_event("mem", "customer", source, event_id=thing.id)))
    await bus.publish(topic, messages)
    return names


def takers(stand: Stand, bus: Bus, topic: str, holder: str) -> list[Intake]:
    return [
        Intake(stand.store, stand.world, bus, holder, topic=topic, partition=number)
        for number in range(4)
    ]  # fmt: skip


def told(stand: Stand) -> list[tuple[str, int]]:
    """Return each record's name and version."""
    return sorted(
        (orjson.loads(body)["name"], version)
        for body, version in stand.ask("SELECT body, version FROM records")
    )


async def take_all(intakes: list[Intake], limit: int = 5) -> int:
    taken = 0
    for intake in intakes:
        while found := await intake.turn(limit):
            taken += found
    return taken


async def test_a_taker_that_dies_after_its_take_repeats_nothing_and_one_that_sleeps_is_fenced_out(
    bus: Bus, stand: Stand, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await show(bus, stand, topic)
    dying = takers(stand, bus, topic, "a")
    taken = sum([await intake.turn(5) for intake in dying])
    run = stand.store.run

    async def run_and_die(*args: object) -> object:
        await run(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stand.store, "run", run_and_die)
        with pytest.raises(KeyboardInterrupt):
            await dying[0].turn(5)  # it is in the store; the one who did it does not know
    before = len(told(stand))
    assert before > taken
    stand.clock.at += round(LEASE * 1.1e6)
    following = takers(stand, bus, topic, "b")
    assert await take_all(following) == CUSTOMERS - before
    assert told(stand) == [(name, 1) for name in names]
    assert await topic_lag(stand.store, bus, topic) == 0
    await show_again(bus, stand, topic)
    acts = stand.ask("SELECT count(*) FROM acts")
    for sleeper in dying[1:]:
        with pytest.raises(IntegrityError) as caught:
            await sleeper.turn(5)
        assert caught.value.cause is Cause.FENCED
    assert stand.ask("SELECT count(*) FROM acts") == acts


async def show_again(bus: Bus, stand: Stand, topic: str) -> None:
    """Let the vendor send everything a second time."""
    sources = [stand.vendor.source(thing, stand.clock.now()) for thing in stand.vendor.things.values()]
    await bus.publish(
        topic, [to_message(to_event("mem", "customer", source, event_id=source.key.id)) for source in sources]
    )


async def test_a_broker_that_is_away_stops_the_taking_and_nothing_else(
    place: KafkaPlace, bus: Bus, stand: Stand, topic: str
) -> None:
    names = await show(bus, stand, topic)
    intakes = takers(stand, bus, topic, "a")
    taken = sum([await intake.turn(5) for intake in intakes])
    acts = stand.ask("SELECT count(*) FROM acts")
    with place.outage():
        with pytest.raises(TryAgain):
            await take_all(
                intakes, limit=CUSTOMERS
            )  # what a consumer holds already is taken; then it says so
        during = len(told(stand))
        assert during >= taken
        stand.put("C-1", name="by the API")  # the store is there, so the API and the workers go on
    assert stand.ask("SELECT count(*) FROM acts") > acts
    await take_all(intakes)
    assert told(stand) == sorted([("by the API", 1), *((name, 1) for name in names)])


@pytest.mark.slow
async def test_a_process_killed_at_every_tenth_commit_takes_each_message_once(
    place: KafkaPlace, bus: Bus, stand: Stand, topic: str, tmp_path: Path
) -> None:
    names = await show(bus, stand, topic)
    program = [sys.executable, __file__, place.prefix, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    deaths = 0
    while True:
        armed = {"HUB_CRASH_POINT": f"store.commit.{('after', 'before')[deaths % 2]}:10"}
        done = await asyncio.to_thread(subprocess.run, program, env={**env, **armed}, check=False, timeout=60)
        if not done.returncode:
            break
        assert done.returncode == -signal.SIGKILL
        deaths += 1
    assert deaths > 1
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}", SystemClock())
    try:

        def look(tx: object) -> list[tuple[str, int]]:
            tx.cursor.execute("SELECT body, version FROM records")  # type: ignore[attr-defined]
            return sorted((orjson.loads(body)["name"], version) for body, version in tx.cursor.fetchall())  # type: ignore[attr-defined]

        assert store.read_now(look) == [(name, 1) for name in names]
        assert await topic_lag(store, bus, topic) == 0
    finally:
        await store.aclose()


async def main(prefix: str, folder: Path) -> None:
    clock = SystemClock()
    store, vault = Store.open(f"sqlite:///{folder / 'hub.db'}", clock), Vault.open(folder / "key", clock)
    place = KafkaPlace(folder, prefix=prefix)
    bus = await place.open()
    topic = place.topics[INBOUND].name
    made = world(store, vault)
    await take_all([Intake(store, made, bus, "w", topic=topic, partition=number) for number in range(4)])
    await bus.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
