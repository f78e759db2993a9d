"""Somebody is added in WeCom: signed callback → contact read → customer made → its number in Kingdee.

Four processes: both sandboxes, a running hub, and this one, which lets people be added. Latency is from the click at
WeCom to the effect in Kingdee's ledger, both by this machine's clock. Three ways: a steady PER_SECOND, a burst of
BURST in one moment (how many a second, and what one costs), and a steady two a second while both vendors take 50 ms
for an answer and a complete read of BACKFILL people and half as many relations again is taken in.

The limit is the same three calls a person with nothing in between, one after the other as the data must go: vendor to
door, door to vendor (the contact), door to the other vendor (the save), httpx on the aiohttp transport, at the
sandbox's own concurrency, in this process. It verifies, stores, maps and signs nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import time
from typing import Any

import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from benchmarks.api_receipt import server
from benchmarks.measure import Row, row
from benchmarks.people import Corp, Look, Newcomers, at, corp, project
from benchmarks.running import Running, engines, running_hub

PER_SECOND, SECONDS = 10, 20
BURST, AT_ONCE, HOPS = 300, 16, 1_000
BACKFILL, EMPLOYEES = 10_000, 10
SLOW_MS = 50.0
LATE = 1.0
PATIENCE = 60.0
EMPLOYEE = "Sales00000"


async def _numbered(hub: Running, sent: dict[str, int]) -> dict[str, float]:
    """Wait until each company is a customer of Kingdee; return the seconds each took, none booked twice."""
    until = time.perf_counter() + PATIENCE
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as judge:
        while True:
            effects = (await judge.get(hub.ledger, params={"form": "BD_Customer", "by": "api"})).json()
            made = [(one["fields"]["FName"], one["at"]) for one in effects if one["verb"] == "create"]
            ours = [(name, booked) for name, booked in made if name in sent]
            if len(ours) >= len(sent):
                break
            if time.perf_counter() > until:
                raise RuntimeError(f"after {PATIENCE:.0f} s Kingdee has {len(ours)} of {len(sent)} customers")
            await asyncio.sleep(0.5)
    if len(ours) != len(sent):
        raise RuntimeError(f"{len(sent)} people were added, Kingdee made {len(ours)} customers of them")
    return {name: (booked - sent[name]) / 1e6 for name, booked in ours}


async def _slow(hub: Running, door: Corp) -> None:
    """Let both vendors take their time."""
    await door.turn(latency_ms=SLOW_MS)
    async with httpx.AsyncClient(trust_env=False) as client:
        control = hub.sites["kingdee"]["control_url"]
        (await client.patch(f"{control}dials", json={"latency_ms": SLOW_MS})).raise_for_status()


# the three ways ---------------------------------------------------------------------------------------------------


async def _steady(hub: Running, door: Corp, look: Look, seconds: float) -> list[float]:
    newcomers = Newcomers(door, look, EMPLOYEE, "平日", every=1 / PER_SECOND)
    until = time.perf_counter() + seconds
    await newcomers.come(lambda: time.perf_counter() >= until)
    return list((await _numbered(hub, newcomers.sent)).values())


async def _burst(hub: Running, door: Corp, count: int) -> tuple[float, float]:
    """Return people per second and µs of CPU each, until nothing is owed to Kingdee any more."""
    companies = [f"示例展会{number}号科技有限公司" for number in range(count)]
    used, began = hub.cpu, time.time_ns() // 1000
    await door.add_all(EMPLOYEE, companies)
    late = await _numbered(hub, dict.fromkeys(companies, began))
    return count / max(late.values()), (hub.cpu - used) / count * 1e6


async def _alone(engine: str, seconds: float, burst: int) -> tuple[list[float], float, float]:
    with running_hub(project("name"), engine=engine) as hub, contextlib.closing(Look(hub)) as look:
        async with corp(hub) as door:
            await door.seed(10, 10, EMPLOYEES)
            await door.listen(door.hooks)
            await _steady(hub, door, look, 1.0)
            late = await _steady(hub, door, look, seconds)
            await door.turn(callback_parallel=AT_ONCE)
            return late, *await _burst(hub, door, burst)


async def _beside_a_backfill(engine: str, people: int) -> tuple[list[float], int]:
    """Return how long each person took and how many of the complete read's messages were taken meanwhile."""
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(running_hub(project("name"), engine=engine))
        look = stack.enter_context(contextlib.closing(Look(hub)))
        async with corp(hub) as door:
            await door.seed(people, people * 3 // 2, EMPLOYEES)
            await door.listen(door.hooks)
            await _slow(hub, door)
            reader = hub.command(stack, "run", "wecom.follow.in")
            while not look.taken():  # the command's start-up is over
                _alive(reader)
                await asyncio.sleep(0.1)
            newcomers = Newcomers(door, look, EMPLOYEE, "途中")
            await newcomers.come(lambda: reader.poll() is not None)
            _alive(reader)
            taken = look.taken()
            return list((await _numbered(hub, newcomers.sent)).values()), taken


def _alive(reader: subprocess.Popen[str]) -> None:
    if reader.poll() not in (None, 0):
        raise RuntimeError(f"hub run ended with {reader.returncode}")


# the hand-written hops --------------------------------------------------------------------------------------------


async def _three_hops(count: int) -> float:
    """Return people per second of the three calls with nothing in between."""
    contact = orjson.dumps({"errcode": 0, "external_contact": {"external_userid": "wm1", "name": "新客户"}})
    saved = b'{"Result": {"ResponseStatus": {"IsSuccess": true}, "Id": 1, "Number": "C1"}}'
    async with contextlib.AsyncExitStack() as stack:

        async def vendor(answer: bytes) -> str:
            async def said(body: bytes) -> bytes:
                return answer

            runner, url = await server(said)
            stack.push_async_callback(runner.cleanup)
            return url

        def client() -> Any:
            return stack.enter_async_context(httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False))

        first, second = await vendor(contact), await vendor(saved)
        onward, caller = await client(), await client()

        async def hook(body: bytes) -> bytes:
            shown = (await onward.put(first, content=body)).content
            await onward.put(second, content=shown)
            return b"success"

        runner, url = await server(hook)
        stack.push_async_callback(runner.cleanup)
        numbers = iter(range(count))

        async def lane() -> None:
            for number in numbers:
                (await caller.put(url, content=b"<xml>%d</xml>" % number)).raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
        return count / (time.perf_counter() - began)


async def _measure(engine: str, seconds: float, burst: int, people: int, hops: int) -> list[Row]:
    late, rate, cpu = await _alone(engine, seconds, burst)
    await _three_hops(hops // 4)
    limit = await _three_hops(hops)
    beside, taken = await _beside_a_backfill(engine, people)
    name = f"callback → customer → Kingdee, {engine}"
    return [
        row(f"{name}, {burst} at once, beside three plain HTTP hops", rate, limit, None, "people/s"),
        row(f"{name}, {burst} at once: CPU of the hub a person", cpu, None, None, "µs"),
        row(f"{name}, {PER_SECOND}/s, p50", at(late, 0.5), None, None, "s"),
        row(f"{name}, {PER_SECOND}/s, p95 ({len(late)} people)", at(late, 0.95), None, None, "s"),
        row(f"{name}, vendors answering in {SLOW_MS:.0f} ms, {taken:,} messages of a backfill taken meanwhile, p50",
            at(beside, 0.5), None, None, "s"),
        row(f"{name}, the same, p95 ({len(beside)} people)", at(beside, 0.95), None, LATE, "s"),
    ]  # fmt: skip


def run(seconds: float = SECONDS, burst: int = BURST, people: int = BACKFILL, hops: int = HOPS) -> list[Row]:
    """Start everything and measure, on each pair of engines."""
    return [
        one for engine in engines() for one in asyncio.run(_measure(engine, seconds, burst, people, hops))
    ]


def quick() -> list[Row]:
    """Measure a little."""
    return run(3, 30, 500, 200)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a small one, to see that it works")
    found = quick() if parser.parse_args().quick else run()
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
