"""One chaos run: start the vendors, kill the hub while everybody acts, let it drain, sweep, and hand the files to the judges."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson

from hub.bus import INBOUND, INBOUND_BULK, Log
from hub.clock import SystemClock
from hub.store import Store
from tests.chaos.judge import judge, read_lines
from tests.chaos.judge_people import Evidence, judge_people
from tests.chaos.payments import Payments
from tests.chaos.people import Editor, Users
from tests.chaos.project import TOKEN, prepare
from tests.chaos.sending import Sender

__all__ = ["play"]

ROOT = Path(__file__).parents[2]
AGENTID = "1000002"
KINDS = ("contacts", "follows", "customers")
SWEEP = "wecom.follow.in"
HEALED = {"apply_then_drop": 0.0, "apply_late": 0.0, "http_502": 0.0}


class Victim:
    """The hub's process, and what its files say."""

    def __init__(self, wanted: argparse.Namespace, folder: Path) -> None:
        self.wanted, self.folder = wanted, folder
        self.ops, self.hooks = _free_port(), _free_port()
        self.kills = 0
        self.process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HUB_DATA_DIR": str(self.folder / "data"),
            "HUB_PROJECT_DIR": str(self.folder),
            "HUB_LISTEN_OPS": f"127.0.0.1:{self.ops}",
            "HUB_LISTEN_HOOKS": f"127.0.0.1:{self.hooks}",
        }

    async def start(self) -> asyncio.subprocess.Process:
        """Start the hub and wait until it is ready."""
        log = (self.folder / "hub.log").open("a")
        self.process = victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.victim", stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
            env=self.environment,
        )  # fmt: skip
        assert victim.stdout is not None
        line = await victim.stdout.readline()
        if line.strip() != b"ready":
            raise SystemExit(f"the hub did not start:\n{(self.folder / 'hub.log').read_text()[-3000:]}")
        return victim

    async def end(self) -> None:
        """Leave no process behind, however the run ended."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def killed_until(
        self, ends: float, first: asyncio.subprocess.Process
    ) -> asyncio.subprocess.Process:
        """Kill the hub some time after each ready until the time is up; return the one that lives."""
        victim = first
        while time.monotonic() < ends:
            await asyncio.sleep(self.wanted.alive)
            victim.send_signal(signal.SIGKILL)
            await victim.wait()
            self.kills += 1
            victim = await self.start()
        return victim

    async def command(self, *words: str) -> dict[str, Any]:
        """Run the hub's command line beside the living process."""
        log = (self.folder / "hub.log").open("a")
        made = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hub", *words, "--output", "json", stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
            env=self.environment,
        )  # fmt: skip
        out, _ = await made.communicate()
        if made.returncode:
            raise SystemExit(
                f"hub {' '.join(words)}: {out.decode()[-500:]}\n{(self.folder / 'hub.log').read_text()[-2000:]}"
            )
        found: dict[str, Any] = json.loads(out)
        return found

    async def drained(self) -> float:
        """Wait until everything is taken and nothing is owed but what a person must see; return the seconds it took."""
        started = time.monotonic()
        store = Store.open(f"sqlite:///{self.folder / 'data' / 'hub.db'}", SystemClock())
        bus = Log.open(self.folder / "data" / "bus.db", SystemClock())
        try:
            while busy := await self._busy(store, bus):
                if time.monotonic() - started > self.wanted.drain:
                    raise SystemExit(f"not drained after {self.wanted.drain} s: {busy}; {self.folder}")
                await asyncio.sleep(0.3)
            return time.monotonic() - started
        finally:
            await bus.aclose()
            store.close()

    async def _busy(self, store: Store, bus: Log) -> dict[str, Any]:
        places = [(topic, n) for topic in (INBOUND, INBOUND_BULK) for n in range(await bus.partitions(topic))]
        ends = {f"bus:{topic}:{n}": (await bus.bounds(topic, n)).next for topic, n in places}
        jobs, rows = store.read_now(_look)
        busy: dict[str, Any] = {
            name: f"{jobs[name][1]['next']} of {end}" for name, end in ends.items() if name in jobs and jobs[name][1]["next"] < end
        }  # fmt: skip
        busy |= {
            name: state
            for name, (state, _) in jobs.items()
            if name.startswith("sweep:") and state not in ("done", "held")
        }
        counted = Counter((sync, state) for sync, _, state, _ in rows if state != "parked")
        return busy | {f"{sync} {state}": count for (sync, state), count in counted.items()}

    def parked(self) -> list[tuple[str, str, str]]:
        """Return the dead letters: sync, subject, cause."""
        store = Store.open(f"sqlite:///{self.folder / 'data' / 'hub.db'}", SystemClock())
        try:
            rows = store.read_now(_look)[1]
        finally:
            store.close()
        return [(sync, subject, cause) for sync, subject, state, cause in rows if state == "parked"]


def _look(tx: Any) -> tuple[dict[str, tuple[str, Any]], list[tuple[str, str, str, str]]]:
    tx.cursor.execute("SELECT name, state, position FROM jobs WHERE kind IN ('bus', 'sweep')")
    jobs = {name: (state, orjson.loads(position)) for name, state, position in tx.cursor.fetchall()}
    tx.cursor.execute("SELECT sync, subject, state, cause FROM owed")
    rows = [(sync, subject, state, _told(cause)) for sync, subject, state, cause in tx.cursor.fetchall()]
    return jobs, rows


def _told(cause: Any) -> str:
    known = orjson.loads(cause) if cause else {}
    return f"{known.get('code')} {known.get('field') or ''} {known.get('message') or ''}"[:200]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def _site(vendor: str, wanted: argparse.Namespace, folder: Path) -> AsyncIterator[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.site", "--vendor", vendor, "--state", str(folder / f"{vendor}.jsonl"),
        "--drop", str(wanted.drop), "--late", str(wanted.late), "--late-by", str(wanted.late_by),
        "--broken", str(wanted.broken), "--seed", str(wanted.seed), stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


async def play(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run it all and return the report."""
    async with contextlib.AsyncExitStack() as stack:
        k3 = await stack.enter_async_context(_site("kingdee", wanted, folder))
        wecom = await stack.enter_async_context(_site("wecom", wanted, folder))
        prepare(folder, k3, wecom, settle_after=wanted.settle_after)
        victim = Victim(wanted, folder)
        stack.push_async_callback(victim.end)
        api = await stack.enter_async_context(_client(f"http://127.0.0.1:{victim.ops}/api/v1/"))
        control = await stack.enter_async_context(_client(wecom["control_url"]))
        ledger = await stack.enter_async_context(_client(k3["control_url"]))
        first = await victim.start()
        saved = await control.put(
            f"callbacks/{AGENTID}", json={"url": f"http://127.0.0.1:{victim.hooks}/hooks/wecom"}
        )
        saved.raise_for_status()
        sender = Sender(api, folder / "intents.jsonl")
        players = Players(wanted, sender, control)
        acting = asyncio.ensure_future(players.run())
        alive = await victim.killed_until(time.monotonic() + wanted.seconds, first)
        players.stop.set()
        await acting
        for site in (control, ledger):  # once faults stop, everything drains
            (await site.patch("dials", json=HEALED)).raise_for_status()
        report, lines = await _judged(wanted, victim, sender, control, ledger, players)
        alive.send_signal(signal.SIGTERM)
        report["stopped_with"] = await asyncio.wait_for(alive.wait(), 30)
    report["audit"] = await _verify(folder / "data")
    return {**report, "violations": sum(len(line["violations"]) for line in lines), "invariants": lines}


class Players:
    """Everybody who acts while the hub dies."""

    def __init__(self, wanted: argparse.Namespace, sender: Sender, control: httpx.AsyncClient) -> None:
        self.stop = asyncio.Event()
        self.payments = Payments(sender, customers=wanted.customers, rate=wanted.rate, seed=wanted.seed)
        self.users = Users(control, rate=wanted.acts, seed=wanted.seed)
        self.editor = Editor(sender, rate=wanted.edits, seed=wanted.seed)

    async def run(self) -> None:
        await asyncio.gather(
            self.payments.run(self.stop), self.users.run(self.stop), self.editor.run(self.stop)
        )


async def _judged(
    wanted: argparse.Namespace, victim: Victim, sender: Sender, control: httpx.AsyncClient, kingdee: httpx.AsyncClient,
    players: Players,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    callbacks = (await control.post("callbacks/flush", timeout=120.0)).json()
    drained = await victim.drained()
    before = await _shown(sender)
    swept = await victim.command("run", SWEEP, "--full")
    await victim.drained()
    confirmed = await _confirmed(victim)
    after = await _shown(sender)
    people = [
        json.loads(line)
        for line in (await control.get("people", params={"changed": "true"})).text.splitlines()
    ]
    effects = (await kingdee.get("ledger")).json()
    parked = victim.parked()
    intents = read_lines(victim.folder / "intents.jsonl")
    evidence = Evidence(
        (await control.get("ledger")).json(), people, read_lines(victim.folder / "wecom.deliveries"), intents, before, after,
        effects, _stuck(parked, after),
    )  # fmt: skip
    lines = [*judge([one for one in intents if "no" in one], effects), *judge_people(evidence)]
    report = {
        "seed": wanted.seed, "kills": victim.kills, "payments": players.payments.number, "acts": players.users.done,
        "edits": players.editor.number, "callbacks": callbacks, "swept": swept.get("published") or swept.get("records"),
        "confirmed": confirmed, "parked": len(parked), "dead_letters": sorted({f"{sync}: {cause}" for sync, _, cause in parked})[:10],
        "drained_seconds": round(drained, 1),
    }  # fmt: skip
    return report, lines


async def _confirmed(victim: Victim) -> int:
    """Say yes to what the sweep did not show, where a person is asked; return how much that was."""
    store = Store.open(f"sqlite:///{victim.folder / 'data' / 'hub.db'}", SystemClock())
    try:
        held = any(state == "held" for state, _ in store.read_now(_look)[0].values())
    finally:
        store.close()
    if not held:
        return 0
    told = await victim.command("run", SWEEP, "--confirm-absent")
    await victim.drained()
    return int(told["confirmed"])


def _stuck(parked: list[tuple[str, str, str]], shown: dict[str, list[dict[str, Any]]]) -> set[str]:
    """Return the relations with a dead letter, as ``employee/external_userid``."""
    external = {one["id"]: one["fields"].get("wecom_external_userid") for one in shown["contacts"]}
    pairs = {
        one["id"]: f"{one['fields']['employee']}/{external.get(one['fields']['contact'])}"
        for one in shown["follows"]
    }
    found = {pairs[subject] for _, subject, _ in parked if subject in pairs}
    for sync, subject, _ in parked:
        if sync == SWEEP:
            userid, _, person = subject.strip("/").partition("/")
            found.add(f"e-{int(userid[-2:])}/{person}")
    return found


async def _shown(sender: Sender) -> dict[str, list[dict[str, Any]]]:
    found = {kind: await sender.everything(kind) for kind in KINDS}
    if any(records is None for records in found.values()):
        raise SystemExit("the living hub does not show its records")
    return {kind: records or [] for kind, records in found.items()}


def _client(base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10.0, trust_env=False
    )


async def _verify(data: Path) -> str:
    verifier = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "hub" / "audit" / "verify.py"), str(data / "hub.db"),
        "--public-key", str(data / "audit.pub"), "--heads", str(data / "seals.log"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await verifier.communicate()
    return "ok" if verifier.returncode == 0 else out.decode()[-300:]
