"""Outgoing calls: the SDK's HTTP client beside bare httpx on the aiohttp transport, to one server in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
import aiohttp.web
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from hub.clock import SystemClock
from hub.log import configure
from hub.sdk.http import HttpClient, Outbound, PrivateEntry, json
from hub.sdk.secret import Secret

BUDGET = 0.8
CALLS = 1500
ROUNDS = 5
AT_ONCE = 20
BODY = orjson.dumps({"formid": "AR_RECEIVEBILL", "data": {"Model": {"FBillNo": "SKD-1", "FNote": "x" * 400}}})
ANSWER = orjson.dumps({"Result": {"ResponseStatus": {"IsSuccess": True}, "Id": 100029, "Number": "SKD-1"}})


async def _rate(call: Callable[[], Awaitable[None]]) -> float:
    """Return calls per second, AT_ONCE of them in flight."""
    left = CALLS

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return CALLS / (time.perf_counter() - started)


async def _measure() -> tuple[float, float]:
    """Return the client's best rate and the bare one's, measured in turns so that both meet the same machine."""

    async def answer(request: aiohttp.web.Request) -> aiohttp.web.Response:
        await request.read()
        return aiohttp.web.Response(body=ANSWER, content_type="application/json")

    app = aiohttp.web.Application()
    app.router.add_post("/k3cloud/Save", answer)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    url = f"http://127.0.0.1:{port}/k3cloud/Save?lang=2052"
    headers = {"Content-Type": "application/json", "X-Api-Nonce": "1764000000"}
    clock = SystemClock()
    rules = Outbound(private=(PrivateEntry.parse(f"127.0.0.1:{port}", plain_http=True),))
    client = HttpClient(rules, clock=clock, secrets=[Secret("app-secret-1"), Secret("app-secret-2")])

    async def ours() -> None:
        answer = await client.request(
            "POST", url, content=BODY, headers=headers, deadline=clock.monotonic() + 60
        )
        json(answer, read_only=False)

    async with httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as bare:

        async def theirs() -> None:
            orjson.loads((await bare.post(url, content=BODY, headers=headers)).content)

        await _rate(ours)
        await _rate(theirs)
        pairs = [(await _rate(ours), await _rate(theirs)) for _ in range(ROUNDS)]
    await client.close()
    await runner.cleanup()
    return max(rate for rate, _ in pairs), max(limit for _, limit in pairs)


def run() -> list[dict[str, object]]:
    """Measure and return one row per path, logging as a running hub does."""
    configure(SystemClock().now, level="info")
    rate, limit = asyncio.run(_measure())
    row = {"path": "http client", "rate": round(rate), "limit": round(limit), "ratio": round(rate / limit, 3)}
    return [{**row, "budget": BUDGET, "unit": "calls/s"}]


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
