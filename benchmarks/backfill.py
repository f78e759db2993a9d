"""Everybody a WeCom corp has: `hub run wecom.follow.in` reads them from the sandbox, the running hub takes them in.

    python -m benchmarks.backfill [--people N]... [--follows-per-person 1.5]      sizes of one's own, rows printed
    python -m benchmarks.backfill --people 400000                                 1,000,000 records: by hand, 20 minutes

Four processes: sandbox, hub, `hub run`, and this one, which lets somebody new be added every half second meanwhile and
looks into the store until he is there. A record is a person or a relation, counted once; a person stands on each page
that shows a relation of his, so more messages than records are taken in. The limit reads the same pages over HTTP
and writes them with two statements a page in one transaction: no mapping, no identity, no acts. It runs behind the
hub's read, against the same sandbox, on at most LIMIT_PAGES pages.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
from httpx_aiohttp import AiohttpTransport

from benchmarks.measure import Row, row
from benchmarks.people import Corp, Look, Newcomers, at, corp, project
from benchmarks.running import Running, running_hub, seconds_of

SIZES = (4_000, 40_000)
"""People, with half as many relations again: 10,000 and 100,000 records."""
QUICK = (400,)
RATIO = 1.5
MEMORY, LATE, STEADY = 300.0, 1.0, 0.9
LONG = 100_000
"""Records from which a tenth of a read is long enough to be looked at."""
LIMIT_PAGES = 400
SAMPLE = 0.5
PARTITIONS = 4
"""Markers behind a complete read."""
CHUNK = 100


@dataclass
class Sample:
    """One look: messages taken so far, CPU of the hub and of the reader (s), resident memory of both (MiB)."""

    at: float
    taken: int
    cpu: float
    memory: float
    reader: float


@dataclass
class Course:
    """How one size went."""

    people: int
    follows: int
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    limit: float = 0.0

    @property
    def records(self) -> int:
        """People and relations."""
        return self.people + self.follows

    @property
    def messages(self) -> int:
        """What the read published, the markers of its end included."""
        return int(self.told["published"]) + PARTITIONS

    def cost(self, start: float = 0.0, end: float = 1.0) -> float:
        """Return µs of CPU a record, hub and reader, between two shares of the read."""
        first, last = self.when(start), self.when(end)
        return (last.cpu - first.cpu) / self._records(first, last) * 1e6

    @property
    def rate(self) -> float:
        """Records per second, from the first look at which something was taken: the command's start-up is over."""
        first, last = self.when(0.0), self.when(1.0)
        return self._records(first, last) / (last.at - first.at)

    def _records(self, first: Sample, last: Sample) -> float:
        return self.records * (last.taken - first.taken) / self.messages

    def when(self, share: float) -> Sample:
        """Return the first look at which something, and that share of the messages, was taken."""
        return next(one for one in self.samples if one.taken >= max(1, share * self.messages))


async def _watched(course: Course, hub: Running, look: Look, reader: subprocess.Popen[str]) -> None:
    """Look at both processes until everything is taken."""
    reading, read = psutil.Process(reader.pid), (0.0, 0.0)
    began, started = time.perf_counter(), hub.cpu
    while True:
        with contextlib.suppress(psutil.Error):
            if reading.status() != psutil.STATUS_ZOMBIE:
                read = (seconds_of(reading), reading.memory_info().rss / 2**20)
        taken = look.taken()
        memory = hub.process.memory_info().rss / 2**20
        course.samples.append(
            Sample(time.perf_counter() - began, taken, hub.cpu - started + read[0], memory, read[1])
        )
        if reader.poll() not in (None, 0):
            raise RuntimeError(f"hub run ended with {reader.returncode}")
        if reader.poll() == 0 and not course.told:
            assert reader.stdout is not None
            course.told = json.loads(reader.stdout.read())
        if course.told and taken >= course.messages:
            break
        await asyncio.sleep(SAMPLE)
    course.seconds = time.perf_counter() - began


async def _course(people: int, follows: int, samples: Path | None) -> Course:
    """Read and take everybody of one size; ``samples``: a file for every look, kept even if it fails."""
    course = Course(people, follows)
    with contextlib.ExitStack() as stack:
        if samples is not None:
            stack.callback(lambda: samples.write_bytes(orjson.dumps(course)))
        hub = stack.enter_context(running_hub(project("name, uscc")))
        look = Look(hub)
        stack.callback(look.close)
        async with corp(hub) as door:
            await door.seed(people, follows, max(10, people // 1_000))
            await door.listen(door.hooks)
            newcomers = Newcomers(door, look, "Sales00000", "途中")
            course.late = newcomers.late
            reader = hub.command(stack, "run", "wecom.follow.in")
            watching = asyncio.ensure_future(_watched(course, hub, look, reader))
            await asyncio.gather(watching, newcomers.come(watching.done))
            new = len(newcomers.sent)
            held = look.held("contact"), look.held("follow")
            if held != (people + new, follows + new):
                raise RuntimeError(
                    f"{people + new} people and {follows + new} relations are there, the CRM holds {held}"
                )
            course.limit = await _hand_written(hub)
    return course


# the hand-written loop --------------------------------------------------------------------------------------------


async def _hand_written(hub: Running) -> float:
    """Return records per second of the loop that only copies."""
    site = hub.sites["wecom"]
    given = site["credentials"]
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        db = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE people (id TEXT PRIMARY KEY, body TEXT)")
        db.execute("CREATE TABLE follows (userid TEXT, id TEXT, body TEXT, PRIMARY KEY (userid, id))")
        known = records = 0
        began = time.perf_counter()
        async with httpx.AsyncClient(
            transport=AiohttpTransport(), trust_env=False, base_url=site["base_url"]
        ) as client:
            who = {"corpid": given["corpid"], "corpsecret": given["secret"]}
            token = (await client.get("/cgi-bin/gettoken", params=who)).json()["access_token"]
            async for rows in _pages(client, {"access_token": token}):
                people = {one["external_contact"]["external_userid"]: one["external_contact"] for one in rows}
                db.execute("BEGIN")
                db.executemany(
                    "INSERT OR REPLACE INTO people VALUES (?, ?)",
                    [(id_, orjson.dumps(one).decode()) for id_, one in people.items()],
                )
                db.executemany(
                    "INSERT OR REPLACE INTO follows VALUES (?, ?, ?)",
                    [(one["follow_info"]["userid"], one["external_contact"]["external_userid"],
                      orjson.dumps(one["follow_info"]).decode()) for one in rows],
                )  # fmt: skip
                db.execute("COMMIT")
                known, records = known + 1, records + len(people) + len(rows)
                if known >= LIMIT_PAGES:
                    break
        seconds = time.perf_counter() - began
        db.close()
    return records / seconds


async def _pages(client: httpx.AsyncClient, token: dict[str, str]) -> AsyncIterator[list[dict[str, Any]]]:
    users = (await client.get("/cgi-bin/externalcontact/get_follow_user_list", params=token)).json()[
        "follow_user"
    ]
    for index in range(0, len(users), CHUNK):
        cursor = ""
        while True:
            body = {"userid_list": users[index : index + CHUNK], "cursor": cursor, "limit": 100}
            answer = await client.post(
                "/cgi-bin/externalcontact/batch/get_by_user", params=token, content=orjson.dumps(body)
            )
            told = orjson.loads(answer.content)
            yield told["external_contact_list"]
            cursor = told["next_cursor"]
            if not cursor:
                break


# the rows ---------------------------------------------------------------------------------------------------------


def _rows(course: Course) -> list[Row]:
    name = f"backfill, {course.records:,} records"
    memory = [course.when(share).memory for share in (0.1, 0.5, 1.0)]
    peak = max(one.memory for one in course.samples)
    share = max((one["share"] for one in course.told["quota"]), default=0.0)
    late, messages = course.late, course.messages - PARTITIONS
    told = ", ".join(f"{figure:.0f}" for figure in memory)
    seen = f"p50 {at(late, 0.5):.2f}, max {max(late):.2f}, {len(late)} people"
    return [
        row(f"{name} ({course.people:,} people, {course.follows:,} follows; {messages:,} messages) beside copying the pages",
            course.rate, course.limit, None, "records/s"),
        row(f"{name}: CPU of hub and reader a record", course.cost(), None, None, "µs"),
        row(f"{name}: memory of the hub, its peak (at 10, 50, 100 %: {told})", peak, None, MEMORY, "MiB"),
        row(f"{name}: memory of the reader, its peak", max(one.reader for one in course.samples), None, MEMORY, "MiB"),
        row(f"{name}: share of the quota used", share, None, None, "of 1"),
        row(f"{name}: callback meanwhile to visible in the CRM, p95 ({seen})", at(late, 0.95), None, LATE, "s"),
        *_tenths(course, name),
    ]  # fmt: skip


def _tenths(course: Course, name: str) -> list[Row]:
    """Compare the second tenth of a large read with the ninth: the first warms up, in the last the reader has ended."""
    if course.records < LONG:
        return []
    early, late = course.cost(0.1, 0.2), course.cost(0.8, 0.9)
    return [
        row(f"{name}: CPU a record in the second tenth over that in the ninth", early, late, STEADY, "µs")
    ]


def run(sizes: tuple[int, ...] = SIZES, ratio: float = RATIO, samples: Path | None = None) -> list[Row]:
    """Measure every size, the smallest first."""
    courses = []
    for people in sizes:
        course = asyncio.run(_course(people, int(people * ratio), samples))
        courses.append(course)
        load = " ".join(f"{one:.1f}" for one in os.getloadavg())
        said = f"{course.seconds:.0f} s, {course.rate:,.0f}/s, {course.cost():,.0f} µs, load {load}"
        print(f"  {course.records:,} records: {said}", file=sys.stderr)
    found = [one for course in courses for one in _rows(course)]
    if len(courses) > 1:
        first, last = courses[0].cost(), courses[-1].cost()
        found.append(row(f"backfill, CPU a record at {courses[0].records:,} over that at {courses[-1].records:,}",
                         first, last, STEADY, "µs"))  # fmt: skip
    return found


def quick() -> list[Row]:
    """Measure the smallest size alone."""
    return run(QUICK)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, action="append")
    parser.add_argument("--follows-per-person", type=float, default=RATIO)
    parser.add_argument("--samples", type=Path, help="file for every look of the last size, as JSON")
    options = parser.parse_args()
    found = run(tuple(options.people or SIZES), options.follows_per_person, options.samples)
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
