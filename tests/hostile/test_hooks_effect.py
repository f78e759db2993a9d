"""Copies of one callback, from the door to the store (reliability.md 5: W5, W6): each answered, one effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog

from hub.api.hooks import Door, Doors
from hub.bus import INBOUND, Log
from hub.clock import SystemClock
from hub.pipe.intake import Intake
from hub.sdk import InboundEvent, InboundRequest, Received, SourceRecord, VendorKey
from hub.store import Store
from hub.vault import Vault
from tests.hook_site import served
from tests.worlds import world

COPIES, CONNECTIONS = 1_000, 50


def receive(request: InboundRequest) -> Received:
    """Read a customer as its vendor hands it over: the event's id stands in a header."""
    body = orjson.loads(request.body)
    record = SourceRecord(VendorKey("", body["id"]), body, request.now)
    return Received((InboundEvent("customer", record.key, request.headers["x-id"], "changed", record),))


class Hub:
    """A door, the log behind it and the store it is taken into."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.store = Store.open("sqlite://", clock, inline=True)
        self.bus = Log.open(folder / "bus.db", clock)
        self.doors = Doors(
            {"mem": Door(receive, {"customer": None})}, self.bus.publish, clock, structlog.get_logger()
        )
        self.world = world(self.store, Vault.in_memory(clock))

    async def take_all(self) -> int:
        """Take everything there is; return how many messages that was."""
        taken = 0
        for number in range(await self.bus.partitions(INBOUND)):
            intake = Intake(self.store, self.world, self.bus, "test", topic=INBOUND, partition=number)
            while now := await intake.turn():
                taken += now
        return taken

    def rows(self, what: str) -> list[Any]:
        return self.store.read_now(lambda tx: [tuple(row) for row in tx.conn.exec_driver_sql(what)])


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    opened = Hub(tmp_path)
    yield opened
    await opened.bus.aclose()
    opened.store.close()


def customer(name: str = "示例科技有限公司") -> bytes:
    return orjson.dumps(
        {"id": "V-1", "number": "C-1", "name": name, "phone": None, "street": None, "remark": None}
    )


async def test_w6_a_thousand_copies_over_fifty_connections_have_one_effect(hub: Hub) -> None:
    body = customer()
    head = f"POST /hooks/mem HTTP/1.1\r\nHost: hub\r\nX-Id: e-1\r\nContent-Length: {len(body)}\r\n\r\n"
    answers: list[bytes] = []

    async def send(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(COPIES // CONNECTIONS):
            writer.write(head.encode() + body)
            answers.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.transport.abort()

    async with served(hub.doors) as (port, _):
        await asyncio.gather(*(send(port) for _ in range(CONNECTIONS)))
    assert answers == [b"HTTP/1.1 200 OK"] * COPIES
    counts = hub.doors.counts["mem"]
    assert (counts.accepted, counts.repeats, counts.altered) == (COPIES, COPIES - 1, 0)
    assert await hub.take_all() == COPIES
    assert hub.rows("SELECT kind, version FROM records") == [("customer", 1)]
    assert hub.rows("SELECT count(*) FROM xrefs WHERE vendor_id = 'V-1'") == [(1,)]


async def test_w5_a_repeat_changes_nothing_and_the_same_id_with_another_body_is_flagged(hub: Hub) -> None:
    transport = httpx.ASGITransport(app=hub.doors)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        for name, altered in (("一号公司", 0), ("一号公司", 0), ("二号公司", 1)):
            answer = await client.post("/hooks/mem", content=customer(name), headers={"x-id": "e-1"})
            assert answer.status_code == 200
            assert hub.doors.counts["mem"].altered == altered
            if not altered:
                await hub.take_all()
                assert hub.rows("SELECT version FROM records") == [(1,)]
    assert hub.doors.counts["mem"].repeats == 2
