"""Reads by the clock: each stream by itself, none while its connection is paused, cut when the process must end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hub.bus import INBOUND, INBOUND_BULK
from hub.errors import Cause, ConnectionDown
from hub.pipe import desk
from hub.pipe.limits import Gate, gate_of
from hub.pipe.pace import Pace
from hub.pipe.runtime import Runtime
from tests.reading_site import WHOLE, ReadingSite
from tests.stores import ask


@pytest.fixture
async def site() -> AsyncIterator[ReadingSite]:
    made = ReadingSite(WHOLE)
    made.sync = replace(made.sync, schedule=60.0)
    project = made.stand.world.project
    made.stand.world = replace(
        made.stand.world, project=replace(project, syncs={**project.syncs, made.sync.name: made.sync})
    )
    yield made
    await made.aclose()


def runtime(site: ReadingSite) -> Runtime:
    stand = site.stand
    return Runtime(stand.store, stand.world, site.bus, stand.clock, {"mem": site.connector}, holder="h")


async def test_a_stream_is_read_when_it_is_due_and_not_before(site: ReadingSite) -> None:
    site.add(2)
    made = runtime(site)
    for _ in range(3):
        await made._read_due(site.sync)
    assert len(site.connector.asked) == 1
    site.stand.clock.at += 60_000_000
    await made._read_due(site.sync)
    assert len(site.connector.asked) == 2


async def test_only_streams_with_a_schedule_have_a_reader(site: ReadingSite) -> None:
    assert [sync.name for sync in runtime(site)._read_by()] == ["customer.in"]


async def test_nothing_is_read_while_a_person_paused_the_sync_or_its_connection(site: ReadingSite) -> None:
    made, stand = runtime(site), site.stand
    for name in ("customer.in", "mem"):
        stand.store.run_now(desk.pause, name, stand.world, by="user:a")
        await made._read_due(site.sync)
        assert site.connector.asked == []
        stand.store.run_now(desk.resume, name, stand.world, by="user:a")
    await made._read_due(site.sync)
    assert len(site.connector.asked) == 1


async def test_a_connection_that_is_down_is_asked_by_one_read_when_its_pause_ends(
    site: ReadingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, stand = runtime(site), site.stand
    monkeypatch.setattr(made, "_pause", lambda seconds: asyncio.sleep(0))
    site.add(2)
    site.connector.trouble = [(0, ConnectionDown("no permission", cause=Cause.PERMISSION, until=30.0))]
    for _ in range(3):
        await made._read_due(site.sync)
    assert len(site.connector.asked) == 1
    assert stand.store.read_now(gate_of, "mem") is Gate.SHUT
    stand.clock.at += 31_000_000
    await made._read_due(site.sync)
    assert len(site.connector.asked) == 2
    assert stand.store.read_now(gate_of, "mem") is Gate.OPEN


async def test_a_long_read_is_cut_when_the_process_must_end_and_gone_on_with_by_the_next(
    site: ReadingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(9)
    made, read = runtime(site), site.connector.read
    waiting = asyncio.Event()

    async def stuck(*args: Any, **known: Any) -> Any:
        async for page in read(*args, **known):
            yield page
            waiting.set()
            await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(site.connector, "read", stuck)
        polling = asyncio.ensure_future(made._read_due(site.sync))
        await asyncio.wait_for(waiting.wait(), 10)
        made.stop.set()
        await asyncio.wait_for(polling, 10)
    report = await site.read(holder="next")
    assert (report.busy, report.resumed, report.published) == (False, True, 9)


async def test_complete_reads_are_taken_a_batch_at_a_time_and_what_is_live_beside_them(
    site: ReadingSite,
) -> None:
    made, began, end = runtime(site), [], asyncio.Event()

    class Slow:
        def __init__(self, topic: str) -> None:
            self.topic = topic

        async def turn(self, limit: int = 200) -> int:
            began.append((self.topic, limit))
            await end.wait()
            return 1

    topics = (INBOUND_BULK, INBOUND_BULK, INBOUND)
    takers: list[Any] = [made._take(Slow(topic)) for topic in topics]  # type: ignore[arg-type]  # a reader's two words
    taking = [asyncio.ensure_future(one) for one in takers]
    for _ in range(5):
        await asyncio.sleep(0)
    assert began == [(INBOUND_BULK, Pace().size), (INBOUND, 200)]
    end.set()
    assert await asyncio.gather(*taking) == [0.0, 0.0, 0.0]
    assert began[2:] == [(INBOUND_BULK, Pace().size)]


async def test_what_a_process_cannot_map_in_is_owed_for_another_and_its_own_claims_leave_it(
    site: ReadingSite,
) -> None:
    """What was published for the sync is of a newer program: nothing is mapped by the old text, nothing is lost."""
    stand, fit = site.stand, site.stand.world
    stand.world = replace(fit, unfit=frozenset({"customer.in"}), why_unfit="newer")
    made = runtime(site)
    made.take_up(stand.world)
    assert made.alarms == {"mappings": "newer"}
    site.add(2)
    await site.read()
    assert await site.take()
    assert [row["state"] for row in stand.rows()] == ["ready", "ready"]
    assert stand.claim(connection="mem") == []
    assert stand.store.read_now(ask, "SELECT count(*) FROM records") == [(0,)]
    stand.world = fit
    made.take_up(fit)
    assert made.alarms == {}
    stand.clock.at += 6_000_000
    stand.run()
    assert stand.store.read_now(ask, "SELECT count(*) FROM records") == [(2,)]
