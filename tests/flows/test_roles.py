"""The same hub as separate processes: doors, workers and the API each alone, any number, on both pairs of engines."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from hub.bus import INBOUND
from hub.cli.serve import BEHIND
from hub.clock import SystemClock
from hub.pipe.share import members
from hub.store import Store
from tests.chaos.payments import credit_code
from tests.cluster import TOKEN, Cluster, running

PATIENCE = 90.0
"""Seconds until a wait that never ends fails."""


@pytest.fixture(params=["embedded", "kafka"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    environment = {}
    if request.param == "kafka":
        environment = {
            "HUB_STORE_URL": request.getfixturevalue("fresh_postgres_url"),
            "HUB_KAFKA_BOOTSTRAP": request.getfixturevalue("kafka").address,
            "HUB_KAFKA_SINGLE_BROKER": "true",
            "HUB_KAFKA_TOPIC_PREFIX": f"{tmp_path.name}.{os.getpid()}.",
        }
    with running(tmp_path, environment, "kingdee", "wecom") as made:
        yield made


@pytest.fixture
def store(cluster: Cluster) -> Iterator[Store]:
    address = cluster.environment.get("HUB_STORE_URL", f"sqlite:///{cluster.folder / 'var' / 'hub.db'}")
    opened = Store.open(address, SystemClock())
    yield opened
    opened.close()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30.0) as made:
        yield made


async def until(look: Callable[[], Awaitable[bool]]) -> float:
    """Wait until it is so; return the seconds it took."""
    began = time.monotonic()
    while not await look():
        assert time.monotonic() < began + PATIENCE
        await asyncio.sleep(0)
    return time.monotonic() - began


class Office:
    """Writes customers through a console and sees them in Kingdee."""

    def __init__(self, cluster: Cluster, client: httpx.AsyncClient, url: str) -> None:
        self.ledger, self.client, self.url = cluster.vendors["kingdee"]["ledger"], client, url
        self.sent: list[str] = []

    async def send(self, count: int) -> None:
        for _ in range(count):
            number = len(self.sent)
            name = f"示例科技{number}有限公司"
            body = {"name": name, "uscc": credit_code(number)}
            answer = await self.client.put(
                f"{self.url}/api/v1/customers/by-external/crm/C-{number}", json=body,
                headers={"Authorization": f"Bearer {TOKEN}"},
            )  # fmt: skip
            answer.raise_for_status()
            self.sent.append(name)

    async def created(self) -> Counter[str]:
        told = (await self.client.get(self.ledger)).json()
        effects = told if isinstance(told, list) else told["effects"]
        return Counter(one["fields"]["FName"] for one in effects if one["verb"] == "create")

    async def all_there(self) -> bool:
        return (await self.created()).keys() >= set(self.sent)


def holders(store: Store) -> list[str]:
    """Return who holds the partitions of callbacks."""

    def read(tx):
        tx.cursor.execute(
            f"SELECT DISTINCT holder FROM jobs WHERE name LIKE 'bus:{INBOUND}:%' AND lease > {tx.now}"
        )
        return [holder for (holder,) in tx.cursor.fetchall()]

    return store.read_now(read)


async def test_workers_share_the_work_and_one_that_is_killed_is_replaced(
    cluster: Cluster, store: Store, client: httpx.AsyncClient
) -> None:
    workers = [cluster.up("worker"), cluster.up("worker")]
    office = Office(cluster, client, cluster.up("console").url)

    async def shared() -> bool:
        return len(store.read_now(members)) == 2 and len(holders(store)) == 2

    await until(shared)
    await office.send(10)
    await until(office.all_there)
    workers.pop().kill()
    await office.send(10)

    async def alone() -> bool:
        return len(store.read_now(members)) == 1 and len(holders(store)) == 1

    assert await until(alone) <= 15
    await until(office.all_there)
    assert set((await office.created()).values()) == {1}, "none twice"
    assert workers[0].end() == 0
    assert store.read_now(members) == []


async def test_each_role_serves_its_own_part_and_tells_its_health(
    cluster: Cluster, client: httpx.AsyncClient
) -> None:
    gateway, console = cluster.up("gateway"), cluster.up("console")
    assert console.told["hooks_url"] is None
    for member, status in ((gateway, 404), (console, 401)):
        assert (await client.get(f"{member.url}/healthz")).status_code == 200
        ready = (await client.get(f"{member.url}/readyz")).json()
        assert ready["checks"] == {"store": True, "bus": True}
        assert (await client.get(f"{member.url}/api/v1/customers")).status_code == status
        metrics = (await client.get(f"{member.url}/metrics")).text.splitlines()
        assert {
            "hub_store_up 1.0",
            "hub_bus_up 1.0",
            'hub_bus_backlog_messages{topic="hub.inbound"} 0.0',
        } <= set(metrics)
    door = await client.post(f"{gateway.told['hooks_url']}/wecom", content=b"<xml/>")
    assert door.status_code in (400, 401), "a door that is there refuses what is not signed"
    for member in (gateway, console):
        assert member.end() == 0


@pytest.mark.parametrize("cluster", ["embedded"], indirect=True)
async def test_a_worker_steps_behind_the_doors_of_its_machine(cluster: Cluster) -> None:
    pids = {role: cluster.up(role).process.pid for role in ("gateway", "worker")}
    niceness = {role: os.getpriority(os.PRIO_PROCESS, pid) for role, pid in pids.items()}
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness == {"gateway": own, "worker": min(19, own + BEHIND)}


@pytest.mark.parametrize(
    "cluster", ["kafka"], indirect=True
)  # a file that a frozen process locks stays locked
async def test_a_worker_that_is_frozen_for_long_finds_its_work_taken_and_does_nothing_twice(
    cluster: Cluster, store: Store, client: httpx.AsyncClient
) -> None:
    frozen = cluster.up("worker")
    office = Office(cluster, client, cluster.up("console").url)
    await office.send(5)
    os.kill(frozen.process.pid, signal.SIGSTOP)
    await office.send(5)
    second = cluster.up("worker")
    await until(office.all_there)
    os.kill(frozen.process.pid, signal.SIGCONT)

    async def both() -> bool:
        return len(store.read_now(members)) == 2

    await until(both)
    await office.send(5)
    await until(office.all_there)
    assert set((await office.created()).values()) == {1}
    assert (frozen.end(), second.end()) == (0, 0)
