"""A dead worker's claims are others' within the promised time, whoever else dies; a slow one keeps what it has."""

from __future__ import annotations

import asyncio

import pytest

from hub.errors import TryAgain
from hub.pipe import runtime, share, takeover, tokens
from hub.pipe.work import Worker
from hub.pipe.world import Timing
from tests.pipe_stand import Stand, drive

STORE = 2.0
"""Seconds left for the store's own pace."""


def owing(count: int) -> Stand:
    stand = Stand("card")
    for number in range(count):
        stand.put(f"C-{number}", name=f"第{number}公司")
    return stand


def test_the_promise_is_kept_by_the_figures_alone() -> None:
    timing = Timing()
    assert timing.lease > timing.send_window, "no bytes go out behind a lease that lapsed"
    assert timing.lease + takeover.EVERY <= takeover.PROMISED - STORE
    assert tokens.LEASE + tokens.LOOK <= takeover.PROMISED - STORE
    once = (
        share.LEASE + 2 * share.EVERY
    )  # a turn finds that it is free, then the job's own loop that it is ours
    assert once + runtime.SWEEP <= takeover.PROMISED - STORE


def test_a_look_takes_page_after_page_and_then_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "AT_ONCE", 2)
    monkeypatch.setattr(
        takeover, "select_lapsed", lambda tx, *by, select=takeover.select_lapsed: select(tx, *by)[:2]
    )
    stand, nudges = owing(5), []

    def look() -> float:
        waits: float = drive(takeover.look(stand.store, stand.world, lambda: nudges.append(1)))
        return waits

    assert len(stand.claim(room=5)) == 5
    assert look() == takeover.EVERY, "nothing has lapsed"
    assert nudges == []
    stand.advance(Timing().lease + 1)
    assert [look() for _ in range(4)] == [0.0, 0.0, takeover.EVERY, takeover.EVERY]
    assert {row["state"] for row in stand.rows()} == {"in_doubt"}
    assert len(nudges) == 3


async def test_a_worker_keeps_its_claims_though_the_store_is_away_for_a_moment() -> None:
    stand = owing(1)
    (attempt,) = stand.claim()
    first = stand.row("card.out")["lease"]
    kept = asyncio.Event()
    turns = 0

    class Clock:
        def __getattr__(self, name: str) -> object:
            return getattr(stand.clock, name)

        async def sleep(self, seconds: float) -> None:
            nonlocal turns
            turns += 1
            stand.advance(seconds)
            if turns > 2:
                kept.set()
                await asyncio.Event().wait()

    class Away:
        """A store that cannot be reached the first time it is asked."""

        def __getattr__(self, name: str) -> object:
            return getattr(stand.store, name)

        async def run(self, *args: object) -> object:
            if turns == 1:
                raise TryAgain("the store is away")
            return await stand.store.run(*args)  # type: ignore[arg-type]  # whatever it is asked

    worker = Worker(Away(), stand.world, Clock(), "w", "mem", stand.connector)  # type: ignore[arg-type]  # as above
    keeping = asyncio.ensure_future(worker._keep_leases([attempt]))
    await asyncio.wait_for(kept.wait(), 10)
    keeping.cancel()
    assert stand.row("card.out")["lease"] > first
