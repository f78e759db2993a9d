"""What the paths from WeCom share: the corp and its people, somebody new every half second, what the store holds."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
from sqlalchemy import make_url

from benchmarks.running import ROOT, Running

EVERY = 0.5
"""Seconds between two people who are added while a path is measured."""
LOOK = 0.01
"""Seconds between two looks at the store."""
PATIENCE = 120.0
BULK = "bus:hub.inbound.bulk:%"


def project(admission: str) -> Callable[[Path], None]:
    """Return what writes the project; ``admission``: the fields that a customer needs before it leaves for Kingdee."""
    return partial(_written, admission)


def _written(admission: str, folder: Path) -> None:
    text = Path(__file__).with_name("people.yaml").read_text()
    (folder / "hub.yaml").write_text(text.replace("ADMISSION", admission))
    shutil.copytree(ROOT / "mappings", folder / "mappings")


class Corp:
    """The WeCom sandbox's control door."""

    def __init__(self, hub: Running, client: httpx.AsyncClient) -> None:
        """Say whose corp it is."""
        self._site, self._client = hub.sites["wecom"], client
        self.hooks = f"{hub.hooks}/wecom"

    async def seed(self, people: int, follows: int, employees: int) -> None:
        """Let so many people be there."""
        await self._asked(
            "POST", "population", {"people": people, "follows": follows, "employees": employees}
        )

    async def listen(self, url: str) -> None:
        """Save the address of the callbacks, with WeCom's handshake."""
        await self._asked("PUT", f"callbacks/{self._site['credentials']['agentid']}", {"url": url})

    async def add(self, userid: str, company: str) -> str:
        """Let an employee add somebody new: the sandbox signs a callback; returns the person's id there."""
        told = await self._asked("POST", "act", _addition(userid, company))
        return str(told["external_userid"])

    async def add_all(self, userid: str, companies: Sequence[str]) -> None:
        """Let an employee add somebody new of each company in one moment."""
        await self._asked("POST", "acts", [_addition(userid, company) for company in companies])

    async def turn(self, **dials: float) -> None:
        """Set dials of the sandbox."""
        await self._asked("PATCH", "dials", dials)

    async def calls(self) -> dict[str, Any]:
        """Return how often each API was called."""
        told: dict[str, Any] = await self._asked("GET", "calls", None)
        return told

    async def _asked(self, method: str, door: str, body: Any) -> Any:
        answer = await self._client.request(method, f"{self._site['control_url']}{door}", json=body)
        answer.raise_for_status()
        return answer.json()


def _addition(userid: str, company: str) -> dict[str, str]:
    return {"act": "add_contact", "userid": userid, "name": "新客户", "remark_corp_name": company}


@contextlib.asynccontextmanager
async def corp(hub: Running) -> AsyncIterator[Corp]:
    """Give the corp's control door."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        yield Corp(hub, client)


class Look:
    """Looks into the store beside the hub: a reader of SQLite's WAL, or of a snapshot, keeps nobody waiting."""

    def __init__(self, hub: Running) -> None:
        """Open it for reading."""
        address = make_url(hub.store)
        self._db: Any
        if address.drivername == "sqlite":
            self._db = sqlite3.connect(f"file:{address.database}?mode=ro", uri=True, isolation_level=None)
            self._mark = "?"
        else:
            plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
            self._db, self._mark = psycopg.connect(plain, autocommit=True), "%s"

    def all(self, text: str, *values: Any) -> list[Any]:
        """Return the first column of every row; ``?`` marks a value."""
        return [row[0] for row in self._db.execute(text.replace("?", self._mark), values).fetchall()]

    def one(self, text: str, *values: Any) -> Any:
        """Return the first column of the first row."""
        return next(iter(self.all(text, *values)), None)

    def taken(self) -> int:
        """Return how many messages of a complete read were taken, its markers included."""
        return sum(
            orjson.loads(at)["next"] for at in self.all("SELECT position FROM jobs WHERE name LIKE ?", BULK)
        )

    def knows(self, person: str, userid: str) -> bool:
        """Say whether the CRM holds a person and the employee's relation to him."""
        ids = (person, f"{userid.lower()}/{person}")
        return bool(self.one("SELECT count(*) FROM xrefs WHERE connection = 'wecom' AND org = '' AND "
                        "((object = 'contact' AND vendor_id = ?) OR (object = 'follow' AND vendor_id = ?))", *ids) == 2)  # fmt: skip

    def held(self, object_: str) -> int:
        """Return how many objects of WeCom stand in the CRM."""
        return int(self.one("SELECT count(*) FROM xrefs WHERE connection = 'wecom' AND object = ?", object_))

    def close(self) -> None:
        """Close it."""
        self._db.close()


class Newcomers:
    """Somebody new again and again: how long each took from the click at WeCom until the CRM shows him."""

    def __init__(self, door: Corp, look: Look, userid: str, label: str, *, every: float = EVERY) -> None:
        """Say by which employee, a word for the companies' names, and the seconds between two people."""
        self._door, self._look, self._userid, self._label, self._every = door, look, userid, label, every
        self.late: list[float] = []
        self.sent: dict[str, int] = {}
        """Company -> when its person was added (µs)."""
        self._waiting: set[asyncio.Task[None]] = set()

    async def come(self, until: Callable[[], bool]) -> None:
        """Let them come until told to stop, then wait for the last to be seen."""
        due = time.perf_counter()
        while not until():
            task = asyncio.ensure_future(self._one(len(self.sent)))
            self._waiting.add(task)
            due += self._every
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await asyncio.gather(*self._waiting)

    async def _one(self, number: int) -> None:
        company = f"示例{self._label}{number}号科技有限公司"
        self.sent[company] = time.time_ns() // 1000
        began = time.perf_counter()
        person = await self._door.add(self._userid, company)
        while not self._look.knows(person, self._userid):
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError(f"{person} was added {PATIENCE:.0f} s ago and is not in the CRM")
            await asyncio.sleep(LOOK)
        self.late.append(time.perf_counter() - began)


def at(values: list[float], share: float) -> float:
    """Return a percentile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
