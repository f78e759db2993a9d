"""Changes on their way out: every sealed act once or more, in order per record, and never a value of a record."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from hub.audit.publish import SOURCE, changes_after
from hub.audit.seal import Signer, seal
from hub.bus import CHANGES, INBOUND, INBOUND_BULK, TOPICS, Log, Message
from hub.clock import SystemClock
from hub.errors import IntegrityError, TryAgain
from hub.model.event import Event
from hub.pipe.items import Item
from hub.pipe.jobs import lease
from hub.pipe.outlet import LEASE, PUBLISH, Outlet, retain
from tests.pipe_stand import Stand

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400_000_000


class Died(BaseException):
    """The process died here."""


class Site:
    """A store with a sealer, a bus, and whoever publishes between them."""

    def __init__(self, *objects: str) -> None:
        self.stand = Stand(*objects)
        self.clock = self.stand.clock
        self.bus = Log.open(None, self.clock, inline=True)
        self.signer = Signer.in_memory(self.clock)
        self.outlet = self.new()

    def new(self, holder: str = "a") -> Outlet:
        return Outlet(self.stand.store, self.bus, self.clock, holder)

    def seal(self) -> int:
        return self.stand.store.run_now(seal, self.signer)

    async def publish(self) -> None:
        self.seal()
        while await self.outlet.turn(3):
            self.seal()  # the acts of publishing itself, if there were any

    async def events(self) -> list[Event]:
        found = []
        for number in range(await self.bus.partitions(CHANGES)):
            batch = await self.bus.read(CHANGES, number, 0, 100_000)
            found += [
                Event.parse([(n, v.encode()) for n, v in m.headers.items()], m.body) for m in batch.events
            ]
        return sorted(found, key=lambda event: [int(part) for part in event.id.split(".")])

    def position(self) -> int:
        return int(
            orjson.loads(self.stand.ask("SELECT position FROM jobs WHERE name = 'publish'")[0][0])["seq"]
        )


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    yield made
    await made.bus.aclose()
    made.stand.close()


async def test_a_change_becomes_one_thin_event(site: Site) -> None:
    record = site.stand.put("C-1", name="甲公司")
    await site.publish()
    (event,) = await site.events()
    assert (event.type, event.source, event.subject) == ("hub.customer.created", SOURCE, record)
    assert (event.extensions["version"], event.extensions["origin"]) == ("1", "api:crm:customer")
    assert event.time == "2026-01-01T00:00:00Z"
    assert orjson.loads(event.data) == {
        "id": record, "kind": "customer", "version": 1, "changed": ["name", "phone"], "origin": "api:crm:customer",
    }  # fmt: skip
    act = int(event.extensions["act"])
    assert site.stand.ask("SELECT verb FROM acts WHERE id = ?", act)[0][0] == "put"


async def test_no_value_of_a_record_ever_gets_on_the_bus(site: Site) -> None:
    site.stand.put("C-1", name="甲公司", phone="+8613900001234", street="幸福路 7 号")
    site.stand.put("C-1", name="乙公司", phone="+8613900005678")
    site.stand.take(site.stand.vendor.add("customer", name="丙公司", phone="+8613900009999"))
    await site.publish()
    assert len(await site.events()) == 3
    for number in range(4):
        for message in (await site.bus.read(CHANGES, number, 0, 99)).events:
            raw = orjson.dumps(dict(message.headers)) + message.body
            for value in (
                "甲公司",
                "乙公司",
                "丙公司",
                "幸福路",
                "13900001234",
                "13900005678",
                "13900009999",
            ):
                assert value.encode() not in raw


async def test_where_a_change_came_from_is_told(site: Site) -> None:
    site.stand.take(site.stand.vendor.add("customer", name="丙公司", phone="+8613900009999"))
    await site.publish()
    assert [event.extensions["origin"] for event in await site.events()] == ["customer.in"]


async def test_only_what_is_sealed_leaves(site: Site) -> None:
    site.stand.put("C-1", name="甲公司")
    assert await site.outlet.turn() == 0
    assert await site.events() == []
    await site.publish()
    assert len(await site.events()) == 1


async def test_an_act_that_was_numbered_but_never_sealed_stays(site: Site) -> None:
    site.stand.put("C-1", name="甲公司")
    site.stand.store.run_now(lambda tx: tx.cursor.execute("UPDATE acts SET seq = 1, hash = x'00'") and None)
    assert site.stand.ask("SELECT seq FROM acts") == [(1,)]
    assert await site.outlet.turn() == 0


async def test_publishing_tells_of_no_change_and_comes_to_rest(site: Site) -> None:
    site.stand.put("C-1", name="甲公司")
    await site.publish()
    before = site.stand.ask("SELECT count(*) FROM acts"), site.position()
    for _ in range(3):
        site.clock.at += round(LEASE * 1e6)
        assert site.seal() == 0
        assert await site.outlet.turn() == 0
    assert (site.stand.ask("SELECT count(*) FROM acts"), site.position()) == before


async def test_a_death_between_bus_and_position_repeats_and_skips_nothing(site: Site) -> None:
    for number in range(7):
        site.stand.put(f"C-{number}", name=f"公司 {number}")
    site.seal()

    def crash(name: str) -> None:
        if name == "changes.published":
            raise Died

    site.clock.crash_point = crash  # type: ignore[method-assign]
    with pytest.raises(Died):
        await site.outlet.turn(4)
    site.clock.crash_point = lambda name: None  # type: ignore[method-assign]
    site.clock.at += round(LEASE * 1.1e6)
    site.outlet = site.new("b")
    await site.publish()
    ids = [event.id for event in await site.events()]
    assert len(set(ids)) == 7
    assert len(ids) > 7  # a repeat has the id of the first
    assert [event.subject for event in await site.events()].count(None) == 0


async def test_a_bus_that_is_down_keeps_the_position(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.stand.put("C-1", name="甲公司")
    site.seal()

    async def down(*_: object) -> None:
        raise TryAgain("down")

    with monkeypatch.context() as patch:
        patch.setattr(site.bus, "publish", down)
        with pytest.raises(TryAgain):
            await site.outlet.turn()
    assert site.position() == 0
    await site.publish()
    assert len(await site.events()) == 1


async def test_one_of_many_publishes_and_a_sleeper_moves_nothing(site: Site) -> None:
    site.stand.put("C-1", name="甲公司")
    site.seal()
    other = site.new("b")
    assert await site.outlet.turn(1) == 1
    assert await other.turn() == 0
    site.clock.at += round(LEASE * 1.1e6)
    await other.turn(1)
    site.stand.put("C-2", name="乙公司")
    site.seal()
    site.outlet._until = 1e12  # it slept and believes in its lease
    with pytest.raises(IntegrityError):
        while await site.outlet.turn(1):
            pass
    assert site.stand.store.run_now(lease, PUBLISH, PUBLISH, "c", LEASE) is None


@pytest.mark.parametrize("seed", range(5))
async def test_a_record_s_versions_come_in_order_whatever_dies(site: Site, seed: int) -> None:
    print(f"seed {seed}")
    draw = random.Random(seed)

    def crash(name: str) -> None:
        if name == "changes.published" and draw.random() < 0.4:
            raise Died

    site.clock.crash_point = crash  # type: ignore[method-assign]
    for number in range(40):
        site.stand.put(f"C-{draw.randrange(4)}", name=f"公司 {number}")
        site.seal()
        try:
            await site.outlet.turn(draw.randrange(1, 6))
        except Died:
            site.clock.at += round(LEASE * 1.1e6)
            site.outlet = site.new(f"h{number}")
    site.clock.crash_point = lambda name: None  # type: ignore[method-assign]
    await site.publish()
    for partition in range(4):
        seen: dict[str, int] = {}
        for message in (await site.bus.read(CHANGES, partition, 0, 10_000)).events:
            version = orjson.loads(message.body)["version"]
            assert version <= seen.get(message.key, 0) + 1  # a repeat may go back; nothing is left out
            seen[message.key] = max(version, seen.get(message.key, 0))
        for record, version in seen.items():
            assert site.stand.ask("SELECT version FROM records WHERE id = ?", bytes.fromhex(record)) == [
                (version,)
            ]
    assert len({event.subject for event in await site.events()}) == len(
        site.stand.ask("SELECT id FROM records")
    )


async def test_an_act_about_no_record_tells_nobody(site: Site) -> None:
    site.stand.store.run_now(lambda tx: tx.journal("user:a", "pause", {"items": [{"outcome": "paused"}]}))
    site.seal()
    found = site.stand.store.read_now(changes_after, 0, 100)
    assert (found.messages, found.last > 0) == ((), True)


def test_the_example_subscriber_prints_each_change_and_goes_on_where_it_was(tmp_path: Path) -> None:
    assert len((ROOT / "examples/subscriber.py").read_text("utf-8").splitlines()) <= 40
    made = Site()
    file = Log.open(tmp_path / "bus.db", SystemClock())
    made.outlet = Outlet(made.stand.store, file, made.clock, "a")

    def follow() -> list[str]:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples/subscriber.py"), str(tmp_path / "position"), "--once"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "HUB_DATA_DIR": str(tmp_path)},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.splitlines()

    async def publish() -> None:
        await made.publish()

    record = made.stand.put("C-1", name="甲公司")
    asyncio.run(publish())
    assert follow() == [f"hub.customer.created {record} 1 name phone"]
    assert follow() == []
    made.stand.put("C-1", name="乙公司")
    asyncio.run(publish())
    assert follow() == [f"hub.customer.changed {record} 2 name"]
    asyncio.run(file.aclose())
    asyncio.run(made.bus.aclose())
    made.stand.close()


# what the bus may forget -------------------------------------------------------------------------------------


async def test_retention_keeps_what_a_position_needs_however_old(site: Site) -> None:
    async def old(topic: str, count: int) -> int:
        return (await site.bus.publish(topic, [Message("k", {}, b"") for _ in range(count)]))[0].partition

    partition = await old(INBOUND, 10)
    await old(INBOUND_BULK, 10)
    await old(CHANGES, 10)
    text = orjson.dumps({"cluster": site.bus.cluster, "next": 4})
    site.stand.store.run_now(lease, f"bus:{INBOUND}:{partition}", "bus", "a", 1.0, orjson.loads(text))
    site.clock.at += TOPICS[CHANGES].retention * 1_000_000 + DAY
    assert (
        await retain(site.stand.store, site.bus, "a") == 4 + 10
    )  # of inbound what was taken; changes by age alone
    assert (await site.bus.bounds(INBOUND, partition)).first == 4
    assert (await site.bus.bounds(INBOUND_BULK, partition)).first == 0  # nobody has read it yet
    assert await retain(site.stand.store, site.bus, "a") == 0


async def test_retention_is_looked_at_once_an_hour_by_one_of_many(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    purge = site.bus.purge

    async def watched(topic: str, needed: dict[int, int]) -> int:
        asked.append(topic)
        return await purge(topic, needed)

    monkeypatch.setattr(site.bus, "purge", watched)
    for holder in ("a", "b", "a"):
        await retain(site.stand.store, site.bus, holder)
    assert asked == list(TOPICS)
    site.clock.at += 3_601_000_000
    await retain(site.stand.store, site.bus, "b")
    assert len(asked) == 2 * len(TOPICS)


async def test_a_position_of_another_log_permits_nothing_to_be_forgotten(site: Site) -> None:
    placed = await site.bus.publish(INBOUND, [Message("k", {}, b"") for _ in range(5)])
    name = f"bus:{INBOUND}:{placed[0].partition}"
    site.stand.store.run_now(lease, name, "bus", "a", 1.0, {"cluster": "another", "next": 5})
    site.clock.at += 40 * DAY
    await retain(site.stand.store, site.bus, "a")
    assert (await site.bus.bounds(INBOUND, placed[0].partition)).first == 0


async def test_the_trace_an_event_came_with_goes_on_with_the_change_it_made():
    site = Site("card")
    thing = site.stand.vendor.add("card", name="新客户有限公司", phone="+8613900000001")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    source = site.stand.vendor.source(thing, site.clock.now())
    item = Item("mem", "card", source.key, source, site.stand.world.inbound("mem", "card"), traceparent=trace)
    site.stand.take_items([item])
    await site.publish()
    assert [event.extensions["traceparent"] for event in await site.events()] == [trace]
