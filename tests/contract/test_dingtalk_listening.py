"""The hub's side of a socket: leased once per cluster, published before it is acknowledged, taken over when a worker is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.sandbox.acts import PutUser, Start
from hub.api.serve import serve
from hub.bus import INBOUND, Log
from hub.clock import SystemClock
from hub.pipe.doors import door_news
from hub.pipe.listen import Listening, listens
from hub.pipe.loops import Loops
from hub.sdk import Connector, Emit, Health, InboundEvent, Received, VendorKey
from hub.sdk.kit import Bench
from hub.settings import load_settings
from hub.store.engine import Store
from hub.wiring import open_hub
from tests.contract.dingtalk_stand import CONTRACT, SELLER, bench, dingtalk
from tests.stores import served_store


class Worker:
    """One process of a cluster as far as listening goes."""

    def __init__(self, name: str, store: Store, bus: Any, connector: Connector) -> None:
        self.loops = Loops(SystemClock().monotonic)
        self.listening = Listening(store, bus, name, self.loops)
        self.tasks = [asyncio.ensure_future(one) for one in self.listening.loops({"ding": connector})]

    async def stop(self) -> None:
        self.loops.stop.set()
        await asyncio.gather(*self.tasks)


class Telling(Connector):
    """Counts who listens; ``says`` is what it hears."""

    def __init__(self, says: Callable[[Emit], Awaitable[None]] | None = None) -> None:
        self.settings = {}
        self.spec = DingTalkConnector.spec  # type: ignore[misc]
        self.says, self.at_once, self.most, self.begun = says, 0, 0, 0
        self.changed = asyncio.Event()

    async def check(self) -> Any: ...

    async def listen(self, emit: Emit) -> None:
        self.at_once += 1
        self.begun += 1
        self.most = max(self.most, self.at_once)
        self.changed.set()
        try:
            if self.says is not None:
                await self.says(emit)
            await asyncio.Event().wait()
        finally:
            self.at_once -= 1


@pytest.fixture
def store(served_store: Store) -> Store:
    """Both engines: the lease is theirs."""
    return served_store


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Log]:
    made = Log.open(tmp_path / "bus.db", SystemClock())
    yield made
    await made.aclose()


async def stored(bus: Log) -> list[str]:
    found = []
    for number in range(await bus.partitions(INBOUND)):
        found += [one.key for one in (await bus.read(INBOUND, number, 0, 1000)).events]
    return found


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


async def test_of_three_workers_one_listens_and_another_takes_over_when_it_stops(
    store: Store, bus: Log
) -> None:
    told = {f"host:{number}": Telling() for number in range(3)}
    workers = {name: Worker(name, store, bus, telling) for name, telling in told.items()}
    for left in (3, 2, 1):
        await until(lambda: any(telling.at_once for telling in told.values()))
        await asyncio.sleep(0.7 if left > 1 else 0)  # the others ask every half second, in vain
        (holder,) = [name for name, telling in told.items() if telling.at_once]
        await workers[holder].stop()
        assert told[holder].at_once == 0
    assert [telling.begun for telling in told.values()] == [1, 1, 1]


async def test_what_is_heard_is_on_the_bus_when_emit_returns(store: Store, bus: Log) -> None:
    seen: list[list[str]] = []

    async def says(emit: Emit) -> None:
        event = InboundEvent("approval", VendorKey("", "PROC-1/i-1"), "e-1", "bpms_instance_change")
        await emit(Received((event,)))
        seen.append(await stored(bus))

    worker = Worker("host:1", store, bus, Telling(says))
    await until(lambda: seen)
    await worker.stop()
    assert seen == [["ding/approval//PROC-1/i-1"]]


async def test_what_a_source_says_of_itself_is_shown_to_people_and_taken_back(store: Store, bus: Log) -> None:
    said = asyncio.Event()
    go_on = asyncio.Event()

    async def says(emit: Emit) -> None:
        await emit(Received(health=Health("stream", "断开", "is down")))
        said.set()
        await go_on.wait()
        await emit(Received(health=Health("stream")))
        said.set()

    worker = Worker("host:1", store, bus, Telling(says))
    await asyncio.wait_for(said.wait(), 20)
    told = await store.read(door_news, ["ding"])
    assert told["ding"].health["stream"][:2] == ("断开", "is down")
    said.clear()
    go_on.set()
    await asyncio.wait_for(said.wait(), 20)
    assert await store.read(door_news, ["ding"]) == {}
    await worker.stop()


async def test_a_listener_that_breaks_is_begun_again_and_raises_an_alarm_when_it_goes_on(
    store: Store, bus: Log
) -> None:
    async def says(_emit: Emit) -> None:
        raise RuntimeError("broken")

    telling = Telling(says)
    worker = Worker("host:1", store, bus, telling)
    await until(lambda: worker.loops.alarms)
    await worker.stop()
    assert telling.begun >= 3


async def test_a_bus_that_is_away_is_told_to_the_listener(store: Store) -> None:
    class Away:
        async def publish(self, _topic: str, _messages: Any) -> None:
            raise ConnectionError("away")

    met: list[Exception] = []

    async def says(emit: Emit) -> None:
        try:
            await emit(Received((InboundEvent("approval", VendorKey("", "a/b"), "e", "x"),)))
        except ConnectionError as error:
            met.append(error)

    worker = Worker("host:1", store, Away(), Telling(says))
    await until(lambda: met)
    await worker.stop()


def test_who_polls_or_has_no_source_listens_to_nothing(bench: Bench) -> None:
    settings = bench.stand.settings()
    assert listens(bench.connect(settings))
    assert listens(bench.connect(settings | {"receive": "callback"}))
    assert not listens(bench.connect(settings | {"receive": "poll"}))


async def test_an_event_of_the_real_stream_reaches_the_bus_through_a_cluster_of_two(
    bench: Bench, dingtalk: DingTalkConnector, store: Store, bus: Log
) -> None:
    box = bench.stand.sandbox
    box.dials.stream_redeliver_seconds = 0.2
    workers = [Worker("host:1", store, bus, dingtalk), Worker("host:2", store, bus, bench.connect())]
    await until(lambda: box.gateway.connections)
    box.act(PutUser(act="put_user", userid="first", name="一"))
    await until(lambda: box.gateway.counts["acknowledged"] == 1)
    assert len(box.gateway.connections) == 1
    await workers[0].stop()
    box.act(PutUser(act="put_user", userid="second", name="二"))
    await until(lambda: box.gateway.counts["acknowledged"] == 2)
    await workers[1].stop()
    assert set(await stored(bus)) == {"ding/user//first", "ding/user//second"}


HUB_YAML = """\
version: 1
regions: [cn]
connections:
  ding:
    connector: dingtalk
    region: cn
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
    settings:
      base_url: {url}
      old_url: {url}
      corp_id: {corp_id}
      app_key: {app_key}
      app_secret: ${{env:DINGTALK_TEST_SECRET}}
      process_codes: {process_codes}
"""


async def test_a_whole_hub_hears_the_stream_and_shows_when_it_cannot(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(bench.stand.sandbox.credentials(bench.stand.base_url))
    monkeypatch.setenv("DINGTALK_TEST_SECRET", given["app_secret"])
    project = tmp_path / "project"
    (project / "mappings").mkdir(parents=True)
    text = HUB_YAML.format(url=bench.stand.base_url, port=bench.stand.base_url.rpartition(":")[2], **given)
    (project / "hub.yaml").write_text(text, "utf-8")
    known = {"listen_ops": "127.0.0.1:0", "listen_hooks": "127.0.0.1:0"}
    hub = open_hub(load_settings(data_dir=tmp_path / "var", project_dir=project, **known), start=True)
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    box = bench.stand.sandbox
    try:
        await until(lambda: box.gateway.connections)
        (made,) = box.act(
            Start(
                act="start",
                process_code=CONTRACT,
                userid=SELLER,
                values={"客户名称": "示例", "合同金额": "5"},
            )
        )
        await until(lambda: box.gateway.pending == 0)
        assert box.gateway.counts["acknowledged"] == 3
        box.gate.app.secret = "changed-at-the-vendor"
        box.gateway.cut()
        async with asyncio.timeout(30):
            while not (await hub.store.read(door_news, ["ding"])).get("ding"):
                await asyncio.sleep(0.05)
        (told,) = (await hub.store.read(door_news, ["ding"]))["ding"].health.items()
        assert told[0] == "stream"
        assert "authFailed" in told[1][1]
    finally:
        stop.set()
        await serving
        keys = await stored(hub.bus)  # type: ignore[arg-type]
        await hub.aclose()
    assert set(keys) == {f"ding/approval//{CONTRACT}/{made['id']}"}
