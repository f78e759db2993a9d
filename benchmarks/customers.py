"""What the paths to Kingdee share: the project, the CRM that writes customers, the ledger in which they appear."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from benchmarks.running import ROOT, TOKEN, Running

AT_ONCE = 16
PATIENCE = 120.0
LOOK = 0.25
FORM = "BD_Customer"


def project(sessions: int) -> Callable[[Path], None]:
    """Return what writes the project; ``sessions``: calls that k3 takes at the same time, over all workers."""
    return partial(_written, sessions)


def _written(sessions: int, folder: Path) -> None:
    text = Path(__file__).with_name("deliveries.yaml").read_text("utf-8")
    with socket.socket() as probe:  # bound and let go: nobody listens there
        probe.bind(("127.0.0.1", 0))
        nobody = str(probe.getsockname()[1])
    text = text.replace("SESSIONS", str(sessions)).replace("NOBODY", nobody)
    (folder / "hub.yaml").write_text(text, "utf-8")
    shutil.copytree(ROOT / "mappings", folder / "mappings")


class Office:
    """The CRM's side, the vendor's ledger, and the vendor's dials."""

    def __init__(self, hub: Running, api: httpx.AsyncClient, site: httpx.AsyncClient) -> None:
        """Take a client for each."""
        self._hub, self._api, self._site = hub, api, site
        self._seen = 0

    async def put(self, number: int | str, remark: str, *, system: str = "crm") -> None:
        """Write a customer: a new one, or its new remark."""
        body = {"name": f"示例科技{number}号有限公司", "remark": remark, "street": "深南大道 1 号"}
        answer = await self._api.put(f"/customers/by-external/{system}/{number}", json=body)
        answer.raise_for_status()

    async def put_all(self, numbers: Iterable[int], remark: str, *, system: str = "crm") -> None:
        """Write them, AT_ONCE at a time."""
        left = iter(numbers)

        async def lane() -> None:
            for number in left:
                await self.put(number, remark, system=system)

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))

    async def slow(self, milliseconds: float) -> None:
        """Let the vendor take its time for every call."""
        control = self._hub.sites["kingdee"]["control_url"]
        answer = await self._site.patch(f"{control}dials", json={"latency_ms": milliseconds})
        answer.raise_for_status()

    async def effects(self) -> list[dict[str, Any]]:
        """Return what the vendor did since the last look: at (µs), fields."""
        asked: dict[str, str | int] = {"form": FORM, "by": "api", "after": self._seen}
        found: list[dict[str, Any]] = orjson.loads(
            (await self._site.get(self._hub.ledger, params=asked)).content
        )
        self._seen = max((one["seq"] for one in found), default=self._seen)
        return found

    async def until(self, count: int, which: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Wait until so many effects are there, and return them."""
        until = time.perf_counter() + PATIENCE
        found: list[dict[str, Any]] = []
        while len(found) < count:
            if time.perf_counter() > until:
                raise RuntimeError(f"after {PATIENCE:.0f} s the vendor has {len(found)} of {count} customers")
            await asyncio.sleep(LOOK)
            found += [one for one in await self.effects() if which(one)]
        return found


@contextlib.asynccontextmanager
async def office(hub: Running) -> AsyncIterator[Office]:
    """Give the two sides of a running hub."""
    known: dict[str, Any] = {"trust_env": False, "timeout": PATIENCE}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    api = httpx.AsyncClient(
        base_url=f"{hub.url}/api/v1", headers=headers, transport=AiohttpTransport(), **known
    )
    async with api, httpx.AsyncClient(**known) as site:
        yield Office(hub, api, site)
