"""Payments through the API until each is a receipt in the Kingdee sandbox; hub, vendor and caller are three processes.

The limit is two plain HTTP hops a record, one after the other as the data must go: caller to a door that answers at
once, door to vendor (httpx on the aiohttp transport, as in the SDK), at the same concurrency, in this process. It
stores nothing, signs nothing, maps nothing. Latency is from the call's start to the effect in the vendor's ledger,
both on this machine's clock; CPU is the hub process's alone, not that of a PostgreSQL or a Kafka behind it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp.web
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from benchmarks.measure import Row, row
from benchmarks.running import TOKEN, Running, engines, running_hub

RECEIPTS = 300
AT_ONCE = 16
DRAIN = 20.0
CUSTOMER = {"name": "示例科技有限公司", "uscc": "91350100M000100Y43"}
PAYMENT = {"amount": "1000.00", "currency": "CNY", "received_on": "2026-01-10", "method": "bank",
           "account_no": "ACC-001", "customer": {"external": "C-1"}}  # fmt: skip


async def _all(count: int, call: Any) -> None:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def _measure(hub: Running, engine: str) -> list[Row]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = httpx.AsyncClient(
        base_url=f"{hub.url}/api/v1",
        headers=headers,
        transport=AiohttpTransport(),
        timeout=30.0,
        trust_env=False,
    )
    async with client, httpx.AsyncClient(trust_env=False) as judge:
        (await client.put("/customers/by-external/crm/C-1", json=CUSTOMER)).raise_for_status()
        await _booked(judge, hub, 1, form="BD_Customer", verb="audit")
        sent: dict[str, int] = {}

        async def pay(number: int) -> None:
            no = f"PAY-{number}"
            sent[no] = time.time_ns() // 1000
            answer = await client.put(f"/payments/by-external/crm/{no}", json={"no": no, **PAYMENT})
            answer.raise_for_status()

        used, began = hub.cpu, time.perf_counter()
        await _all(RECEIPTS, pay)
        accepted = time.perf_counter() - began
        effects = await _booked(judge, hub, RECEIPTS, form="AR_RECEIVEBILL", verb="create")
        cpu = (hub.cpu - used) / RECEIPTS
    first, booked = min(sent.values()), {_no(effect): effect["at"] for effect in effects}
    seconds = (max(booked.values()) - first) / 1e6
    late = sorted((booked[no] - at) / 1e6 for no, at in sent.items())
    limit = await _two_hops()
    return [
        row(
            f"API write to receipt, {engine}, beside two plain HTTP hops",
            RECEIPTS / seconds,
            limit,
            None,
            "records/s",
        ),
        row(
            f"API writes accepted, {engine}, the pipe working them off meanwhile",
            RECEIPTS / accepted,
            None,
            None,
            "records/s",
        ),
        row(f"API write to receipt, {engine}, p95", late[int(len(late) * 0.95)], None, None, "s"),
        row(f"API write to receipt, {engine}, CPU of the hub a record", cpu * 1e6, None, None, "µs"),
    ]


def _no(effect: dict[str, Any]) -> str:
    return str(effect["fields"]["FRECEIVEBILLENTRY"][0]["FCOMMENT"])


async def _booked(
    judge: httpx.AsyncClient, hub: Running, count: int, *, form: str, verb: str
) -> list[dict[str, Any]]:
    """Wait until the vendor's ledger holds so many effects, and return them."""
    until = time.perf_counter() + DRAIN
    while time.perf_counter() < until:
        told = orjson.loads((await judge.get(hub.ledger)).content)
        effects = told if isinstance(told, list) else told["effects"]
        found = [one for one in effects if (one["form"], one["verb"], one["by"]) == (form, verb, "api")]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.5)
    raise RuntimeError(f"after {DRAIN:.0f} s the vendor has {len(found)} of {count} {form}")


async def _two_hops() -> float:
    """Return records per second of the same two hops with nothing in between."""
    vendor, vendor_url = await server(lambda body: _answer(body, None))
    async with httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as onward:
        door, door_url = await server(lambda body: _answer(body, (onward, vendor_url)))
        async with httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as caller:

            async def call(number: int) -> None:
                (await caller.put(door_url, json={"no": f"PAY-{number}", **PAYMENT})).raise_for_status()

            await _all(AT_ONCE * 2, call)
            began = time.perf_counter()
            await _all(RECEIPTS * 3, call)
            seconds = time.perf_counter() - began
        await door.cleanup()
    await vendor.cleanup()
    return RECEIPTS * 3 / seconds


async def _answer(body: bytes, onward: tuple[httpx.AsyncClient, str] | None) -> bytes:
    if onward is None:
        return b'{"Result": {"ResponseStatus": {"IsSuccess": true}}}'
    return (await onward[0].put(onward[1], content=body)).content


async def server(answer: Any) -> tuple[aiohttp.web.AppRunner, str]:
    """Start a server that answers a body with what ``answer`` makes of it; return it and its URL."""

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(body=await answer(await request.read()), content_type="application/json")

    app = aiohttp.web.Application()
    app.router.add_put("/", handle)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


def run() -> list[Row]:
    """Start everything and measure, on each pair of engines."""
    found = []
    for engine in engines():
        with running_hub(engine=engine) as hub:
            found += asyncio.run(_measure(hub, engine))
    return found


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
