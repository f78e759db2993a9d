"""The sweep takes a dead worker's claims from it, however long a vendor lets others wait for an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.pipe import runtime
from tests.reading_site import WHOLE, ReadingSite


async def test_a_vendor_that_answers_no_look_holds_up_no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    site = ReadingSite(WHOLE)
    asked = asyncio.Event()

    async def silent(*_: Any) -> bool:
        asked.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(runtime, "due_rechecks", lambda _tx: [("recheck:one", {"sync": site.sync.name})])
    monkeypatch.setattr(runtime, "recheck", silent)
    stand = site.stand
    made = runtime.Runtime(
        stand.store, stand.world, site.bus, stand.clock, {"mem": site.connector}, holder="h"
    )
    looking = asyncio.ensure_future(made._look_again())
    try:
        await asyncio.wait_for(asked.wait(), 10)
        await asyncio.wait_for(made._sweep(), 10)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await site.aclose()
