"""The hub as a process that dies between a create and its answer, again and again: no approval gets two forms.

Two moments, drawn: *in flight*, kill -9 while the vendor has taken the form and has not answered; *answered*, the hub's own
crash point behind the call, before the answer is in its store. A death counts if the vendor's ledger has grown in that life.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from hub.sdk.sandbox import running
from hub.settings import load_settings
from tests.chaos.hubs import Cluster, Member
from tests.chaos.nursery import nursery
from tests.storm.approval_judge import Invariant, judged
from tests.storm.approval_people import People, body_of
from tests.storm.approval_play import held
from tests.storm.approval_site import TOKEN, VENDORS, Crm, keep_secrets, prepare
from tests.storm.approval_vendor import Vendor
from tests.storm.site import Hours, StormClock

__all__ = ["play_deaths"]

POLL = 0.02
DEATH = 30.0
"""Seconds within which a life sees its create, and dies."""
REST = 420.0
"""Seconds until everything is at rest: a create in doubt is looked for after two minutes."""
PATIENCE = 3
"""Lives for each wanted death: in some the hub dies at a look-up of an earlier create."""


@dataclass
class Stage:
    """A sandbox here, a hub beside it. ``unanswered``: what the CRM sent and was not told to have arrived."""

    vendor: Vendor
    cluster: Cluster
    crm: Crm
    people: People
    draw: random.Random
    store: Path
    unanswered: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def hub(self) -> Member:
        """The hub's one process."""
        return self.cluster.members[0]

    def created(self) -> int:
        """Return how many forms the hub has made at the vendor."""
        return len(self.vendor.created())

    async def submit(self, no: str) -> None:
        """Have the CRM send it; where no answer comes it is sent again in a later life."""
        self.unanswered.add(no)
        try:
            await self.crm.submit(no)
        except (httpx.TransportError, httpx.HTTPStatusError):
            self.counts["calls_of_the_crm_unanswered"] += 1
        else:
            self.unanswered.discard(no)

    async def until(self, seen: Callable[[], bool], seconds: float) -> bool:
        """Wait for something to be seen; say whether it was."""
        ends = time.monotonic() + seconds
        while not seen():
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(POLL)
        return True

    def owed(self) -> list[dict[str, Any]]:
        """Return every debt in the hub's store."""
        names = ("sync", "subject", "state", "waits_for", "cause")
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as store:
            rows = store.execute(f"SELECT {', '.join(names)} FROM owed ORDER BY sync, subject").fetchall()
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [{**one, "cause": orjson.loads(one["cause"]) if one["cause"] else None} for one in found]


async def play_deaths(
    folder: Path, *, kills: int, seed: int, vendor: str = "wecom", told: Callable[[int], Any] = lambda _: None
) -> tuple[list[Invariant], dict[str, Any]]:
    """Have the hub die so many times between create and answer, then let it rest; return what must hold and what there was."""
    async with _staged(folder, vendor, seed) as stage:
        deaths = Counter[str]()
        for number in range(PATIENCE * kills):
            if deaths.total() == kills:
                break
            no = f"HT-{seed}-{number:05}-1"
            stage.crm.bodies[no] = body_of(no, list(stage.vendor.applicants), stage.draw)
            moment = stage.draw.choice(("in_flight", "answered"))
            before = stage.created()
            died = await (_dies_in_flight if moment == "in_flight" else _dies_answered)(stage, no)
            stage.counts["lives"] += 1
            if died and stage.created() > before:
                deaths[moment] += 1
            else:
                stage.counts["other_deaths"] += 1
            stage.people.meet()
            stage.people.play(stage.draw.choice((0, 1, 3)))
            told(deaths.total())
        found = await _rested(stage)
        died_there = Invariant(
            "the hub died between a create and its answer as often as asked", looked_at=kills
        )
        if deaths.total() < kills:
            died_there.violations.append(str(deaths))
        counts = {
            "kills": dict(deaths), **stage.counts, "approvals": len(stage.crm.bodies), "forms": len(stage.vendor.forms()),
            "creates": stage.created(), "done": dict(stage.people.done),
        }  # fmt: skip
        return [died_there, *found], counts


async def _dies_in_flight(stage: Stage, no: str) -> bool:
    """The vendor takes the form and keeps silent; the hub is killed while it waits for the answer."""
    await stage.hub.start()
    stage.vendor.sandbox.inject("apply_then_hang", op=stage.vendor.create)
    before = stage.created()
    await _sent(stage, no)
    seen = await stage.until(lambda: stage.created() > before, DEATH)
    await stage.hub.kill()
    stage.vendor.sandbox.dials.next.clear()
    return seen


async def _dies_answered(stage: Stage, no: str) -> bool:
    """The answer has come to the hub, which dies before it is in its store."""
    if not await stage.hub.start("after_send"):  # at what an earlier life left
        stage.unanswered.add(no)
        return True
    await _sent(stage, no)
    return await stage.hub.dies_within(DEATH)


async def _sent(stage: Stage, no: str) -> None:
    for one in [*sorted(stage.unanswered), no]:
        await stage.submit(one)


async def _rested(stage: Stage) -> list[Invariant]:
    """Let the hub live on until everything is as it must be, or until it has had the time for it.

    What it died over three times it has laid aside as dead letters; an operator sends those on their way again.
    """
    await stage.hub.start()
    ends = time.monotonic() + REST
    told = await stage.cluster.command("dlq", "replay", "--all", "--cause", "crashed", "--yes")
    stage.counts["replayed_by_an_operator"] = len(told.get("replayed", [told])) if told else 0
    for one in sorted(
        set(stage.crm.bodies) - stage.unanswered
    ):  # and the CRM repeats itself: nothing comes of it
        if stage.draw.random() < 0.1:
            stage.unanswered.add(one)
    while True:
        for one in sorted(stage.unanswered):
            await stage.submit(one)
        stage.people.meet()
        stage.people.play(25)
        found = judged(stage.vendor, await held(stage.crm, stage.owed()))
        still = stage.people.plans or any(one.violations for one in found)
        if not still or time.monotonic() > ends:
            return found
        await asyncio.sleep(1.0)


@asynccontextmanager
async def _staged(folder: Path, name: str, seed: int) -> AsyncIterator[Stage]:
    """Start the sandbox, write the project, have the hub answer the handshake once."""
    vendor = VENDORS[name](StormClock(Hours(), seed), seed)
    data = folder / "data"
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(running(vendor.sandbox))
        prepare(folder, vendor, base_url, schedule="10s")
        settings = load_settings(data_dir=data, project_dir=folder, store_url=None, key_file=None)
        keep_secrets(settings, StormClock(Hours()), vendor)
        born = await stack.enter_async_context(nursery(folder / "processes"))
        cluster = Cluster(folder, {"HUB_DATA_DIR": str(data), "HUB_PROJECT_DIR": str(folder)}, born)
        stack.push_async_callback(cluster.end)
        await cluster.start()
        await vendor.sandbox.save_receiver(f"{cluster.hooks}/hooks/{name}")
        client = httpx.AsyncClient(
            base_url=cluster.api, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30, trust_env=False
        )
        crm = Crm(await stack.enter_async_context(client))
        await crm.introduce()
        await cluster.members[0].leave()
        vendor.deliver_at_once()
        people = People(vendor, lambda: None, random.Random(f"people of deaths {seed}"))
        yield Stage(vendor, cluster, crm, people, random.Random(f"deaths {seed}"), data / "hub.db")
