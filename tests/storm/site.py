"""The stage of a storm: WeCom's sandbox on a socket, the hub's door on another, and the pipe moved by hand on one clock."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import PutMember
from connectors.wecom.sandbox.dials import WeComDials
from hub import wiring
from hub.api.serve import doors
from hub.bus import INBOUND, INBOUND_BULK
from hub.clock import SECOND, SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.pipe.absence import confirm_absent, held_back, look_for_absent
from hub.pipe.accept import accept
from hub.pipe.intake import Intake
from hub.pipe.read import read_stream
from hub.pipe.work import Worker, sweep
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.store.secrets import put_secret
from tests.hook_site import served

__all__ = ["EMPLOYEES", "REGIONS", "Lost", "Site", "code_of", "home_of", "opened", "userid_of"]

ROOT = Path(__file__).parents[2]
EMPLOYEES = 20
REGIONS = ("cn/south/", "cn/north/", "cn/west/")
LANES = (1, 2)
SECRETS = {"wecom-secret": "secret", "wecom-token": "token", "wecom-aes-key": "encoding_aes_key"}
PROJECT = """
version: 1
regions: [cn, cn/south, cn/north, cn/west]
owners:
{owners}
connections:
  crm: {{connector: api, region: cn/south}}
  wecom:
    connector: wecom
    region: cn
    settings:
      base_url: {base_url}
      corp_id: {corpid}
      agent_id: {agentid}
      secret: ${{secret:wecom-secret}}
      token: ${{secret:wecom-token}}
      encoding_aes_key: ${{secret:wecom-aes-key}}
      page_size: 40
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
syncs:
  wecom.contact.in: {{source: wecom.contact, mapping: wecom/contact.in, mode: write}}
  wecom.follow.in: {{source: wecom.follow, mapping: wecom/follow.in, mode: write}}
  wecom.user.in: {{source: wecom.user, mapping: wecom/user.in, mode: write}}
"""


class Lost(AssertionError):
    """The pipe did not come to rest."""


def userid_of(number: int) -> str:
    """Return the vendor's userid of an employee."""
    return f"Sales{number:02}"


def code_of(userid: str) -> str:
    """Return the CRM's code of an employee: every second one has another name there."""
    number = int(userid[-2:])
    return f"E-{number:02}" if number % 2 else userid.lower()


def home_of(number: int) -> str:
    """Return the region of an employee, or of the person with this number."""
    return REGIONS[number % len(REGIONS)]


@dataclass
class Hours:
    """How far the storm's time is ahead of the machine's (seconds)."""

    ahead: float = 0.0


class StormClock(SystemClock):
    """The machine's clock, moved on by hand; what it draws comes from a seed if there is one."""

    def __init__(self, hours: Hours, seed: int | None = None) -> None:
        super().__init__()
        self.hours = hours
        self._draw = None if seed is None else random.Random(seed)

    def now(self) -> int:
        return super().now() + round(self.hours.ahead * SECOND)

    def token(self, size: int) -> bytes:
        return super().token(size) if self._draw is None else self._draw.randbytes(size)


@dataclass
class Site:
    """A running storm. ``told``: every callback as it was sent: status, attempt, plaintext."""

    sandbox: WeComSandbox
    hub: wiring.Hub
    hours: Hours
    intakes: list[Intake]
    worker: Worker
    told: list[Mapping[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    async def flush(self) -> None:
        """Let the vendor deliver what is pending, retries at once."""
        await self.sandbox.callbacks.flush()
        self.told += list(self.sandbox.callbacks.log)
        self.sandbox.callbacks.log.clear()

    async def turn(self) -> int:
        """Take one batch of every partition and work one turn of every lane; return how much that was."""
        moved = 0
        for intake in self.intakes:
            taken = await intake.turn()
            self.count("taken", taken)
            moved += taken
        for lane in LANES:
            worked = await self.worker.turn(lane, 40)
            self.count("worked", worked)
            moved += worked
        return moved

    async def until_nothing_is_owed(self) -> None:
        """Turn until no debt is left but those that wait for a person or for something else; time moves to the next one."""
        for _ in range(10_000):
            if await self.turn():
                continue
            due = (await self.query("SELECT min(due) FROM owed WHERE state IN ('ready', 'in_doubt')"))[0][0]
            if due is None:
                return
            self.hours.ahead += max(0.0, (due - self.hub.clock.now()) / SECOND) + 0.001
        raise Lost(f"still busy: {await self.owed()}")

    async def whole_sweep(self, progress: Callable[[Any], None] = lambda _report: None) -> None:
        """Read everything, take it, and look at what was not shown; an operator confirms where that is much."""
        hub, sync = self.hub, "wecom.follow.in"
        report = await read_stream(
            hub.store, hub.world, hub.bus, hub.clock, hub.world.project.syncs[sync], hub.connectors["wecom"],
            holder="storm", full=True, progress=progress,
        )  # fmt: skip
        assert report.done, report
        self.count("sweeps")
        await self.until_nothing_is_owed()
        await look_for_absent(hub.store, hub.world, hub.clock, "storm")
        if sync in await hub.store.read(held_back):
            self.count("confirmed")
            await hub.store.run(confirm_absent, sync, hub.world, by="user:storm")  # type: ignore[arg-type]  # keyword for fn
            await look_for_absent(hub.store, hub.world, hub.clock, "storm")
        await self.until_nothing_is_owed()

    async def rest(self) -> None:
        """Let the net wake whoever waited long, until that changes nothing."""
        for _ in range(3):
            self.hours.ahead += 61.0
            await self.hub.store.run(sweep, self.hub.world)
            await self.until_nothing_is_owed()

    # looking -------------------------------------------------------------------------------------------------

    async def query(self, text: str) -> list[tuple[Any, ...]]:
        """Ask the store."""

        def look(tx: Any) -> list[tuple[Any, ...]]:
            tx.cursor.execute(text)
            return list(tx.cursor.fetchall())

        found: list[tuple[Any, ...]] = await self.hub.store.read(look)
        return found

    async def owed(self) -> list[dict[str, Any]]:
        """Return every debt: sync, subject, state, waits_for, cause."""
        names = ("sync", "subject", "state", "waits_for", "cause")
        rows = await self.query(f"SELECT {', '.join(names)} FROM owed ORDER BY sync, subject")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [{**one, "cause": orjson.loads(one["cause"]) if one["cause"] else None} for one in found]

    async def records(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind: body with ``_id``, ``_owner`` and ``_region``."""
        rows = await self.query(f"SELECT id, owner, region, body FROM records WHERE kind = '{kind}'")
        return [{**orjson.loads(b), "_id": bytes(i).hex(), "_owner": o, "_region": r} for i, o, r, b in rows]

    async def customer(self, id_: str, region: str, **fields: Any) -> str:
        """Have the CRM send a customer whose owner is of a region; return its record's id."""
        owner = code_of(userid_of(REGIONS.index(region)))
        write = ExternalWrite("crm", "customer", id_, fields, region, owner=owner)
        answer = await self.hub.store.run(accept, write, self.hub.world)
        assert isinstance(answer, WriteAnswer), answer
        return answer.record_id.hex()


def _project(folder: Path, base_url: str, credentials: Mapping[str, str]) -> None:
    people = []
    for number in range(EMPLOYEES):
        userid = userid_of(number)
        people.append(f"  {code_of(userid)}: {{region: {home_of(number)[:-1]}, users: {{wecom: {userid}}}}}")
    text = PROJECT.format(
        owners="\n".join(people), base_url=base_url, port=base_url.rsplit(":", 1)[1],
        corpid=credentials["corpid"], agentid=credentials["agentid"],
    )  # fmt: skip
    (folder / "hub.yaml").write_text(text, "utf-8")
    shutil.copytree(ROOT / "mappings" / "wecom", folder / "mappings" / "wecom")


@asynccontextmanager
async def opened(folder: Path, seed: int, *, store_url: str | None = None) -> AsyncIterator[Site]:
    """Start the sandbox, the hub and its door, save the callback address, and let go of all at the end."""
    hours = Hours()
    sandbox = WeComSandbox(
        clock=StormClock(hours, seed),
        dials=WeComDials(seed=seed, callback_auto=False, per_minute=0, per_hour=0),
    )
    for number in range(EMPLOYEES):
        sandbox.act(PutMember(userid=userid_of(number), name=f"销售{number}", department=[4], silent=True))
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(running(sandbox))
        credentials = sandbox.credentials(base_url)
        _project(folder, base_url, credentials)
        settings = load_settings(
            data_dir=folder / "data", project_dir=folder, store_url=store_url, key_file=None
        )
        clock = StormClock(hours)
        _keep_secrets(settings, clock, credentials)
        hub = wiring.open_hub(settings, clock=clock, start=True)
        stack.push_async_callback(hub.aclose)
        assert not hub.down, hub.down
        port, _ = await stack.enter_async_context(served(doors(hub)))
        await sandbox.save_receiver(f"http://127.0.0.1:{port}/hooks/wecom")
        intakes = [
            Intake(hub.store, hub.world, hub.bus, "storm", topic=topic, partition=number)
            for topic in (INBOUND, INBOUND_BULK)
            for number in range(await hub.bus.partitions(topic))
        ]
        worker = Worker(hub.store, hub.world, hub.clock, "storm", "wecom", hub.connectors["wecom"])
        yield Site(sandbox, hub, hours, intakes, worker)
        await asyncio.sleep(0)


def _keep_secrets(settings: Any, clock: SystemClock, credentials: Mapping[str, str]) -> None:
    hub = wiring.open_hub(settings, clock=clock)

    def put(tx: Any) -> None:
        for name, key in SECRETS.items():
            put_secret(tx, hub.vault, name, credentials[key].encode())

    try:
        hub.store.run_now(put)
    finally:
        hub.store.close()
