"""The conductor of a run: starts everybody, breaks the hub while they act, lets it rest, and gathers what the judges read."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos import children
from tests.chaos.engines import ENGINES, Engine, dump
from tests.chaos.faults import COMMAND_POINTS, POINTS, Breaker, Times, lost_sessions, until
from tests.chaos.generator import client
from tests.chaos.hubs import Cluster, CommandFailed
from tests.chaos.nursery import nursery
from tests.chaos.project import ALL, TOKEN, TWO, Vendor, prepare
from tests.chaos.proxy import Line, proxied
from tests.chaos.rest import Watcher

__all__ = ["play"]

ROOT = Path(__file__).parents[2]
AGENTID = "1000002"
KINDS = ("contacts", "follows", "customers", "contracts", "approvals")
SWEEP = "wecom.follow.in"
APPROVING = ("wecom", "dingtalk")
APPROVAL_READS = ("wecom.approval.in", "dingtalk.approval.in")
PROGRESS = "progress"
"""The file in which the generator tells how many events there were."""
WAITING = "waiting"
"""The file in which it is told how much waits in the hub."""
HEADS = "seals.log"
"""The file outside the store in which the hub hands out the heads of seals."""
TRIES, BETWEEN = 30, 5.0
"""How often a complete read is begun while somebody else reads, and the seconds between: a reader's lease is 60 s."""
TELL = 60.0
"""Seconds between two lines that tell how far a long run is."""
HEALED = {"apply_then_drop": 0.0, "apply_late": 0.0, "http_502": 0.0, "next": []}
KAFKA_POINTS = tuple(point for point in POINTS if not point.startswith("bus."))


@dataclass
class Site:
    """Everybody but the hub: the vendors, their doors of control, the lines between the processes."""

    engine: Engine
    vendors: Mapping[str, Vendor]
    doors: Mapping[str, httpx.AsyncClient]
    lines: dict[str, Line] = field(default_factory=dict)

    @property
    def control(self) -> httpx.AsyncClient:
        """WeCom's door of control."""
        return self.doors["wecom"]


async def play(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run it all; the folder then holds what the judges read. Return the report of what was done."""
    async with contextlib.AsyncExitStack() as stack:
        site = await _site(stack, wanted, folder)
        secrets = prepare(folder, site.engine.environment, site.vendors, settle_after=wanted.settle_after)
        environment = {**site.engine.environment, "HUB_PROJECT_DIR": str(folder)}
        born = await stack.enter_async_context(nursery(folder / "processes", wanted.planted))
        cluster = Cluster(folder, environment, born, site.engine.roles)
        stack.push_async_callback(cluster.end)
        await cluster.start()
        watcher = Watcher({**environment, **site.engine.direct})
        taking = asyncio.ensure_future(watcher.takeovers(cluster))
        stack.push_async_callback(_cancelled, taking)
        if wanted.events:
            telling = asyncio.ensure_future(_half_way(wanted, folder, cluster, watcher))
            stack.push_async_callback(_cancelled, telling)
        breaker = _breaker(wanted, cluster, site)
        report = {"seed": wanted.seed, "engine": wanted.engine, "roles": list(cluster.roles)}
        report |= await _broken(stack, wanted, folder, breaker, site)
        report |= await _facts(wanted, folder, cluster, watcher, site)
        await _cancelled(taking)
        ended = {member.name: await member.leave() for member in cluster.members}
        run = _run(wanted, breaker, site, watcher) | {
            "ended_with": ended, "secrets": secrets, "audit": _audit(folder, environment, wanted.seed),
        }  # fmt: skip
        run["seconds"]["drained"] = (report["drained"], wanted.drain)
        (folder / "run.json").write_text(json.dumps(run), "utf-8")
        return {**report, "downs": cluster.downs, "took_over_within": round(watcher.takeover, 1)}


async def _half_way(wanted: argparse.Namespace, folder: Path, cluster: Cluster, watcher: Watcher) -> None:
    """Tell how far it is; from the middle on one worker is spared, and its memory watched."""
    spared = cluster.of("all", "worker")[-1]

    def done() -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((folder / PROGRESS).read_text())
        return 0

    async def tell() -> None:
        began, before = time.monotonic(), 0
        while True:
            await asyncio.sleep(TELL)
            count = done()
            print(f"{time.monotonic() - began:.0f} s: {count:,} events, {(count - before) / TELL:.0f} a second, "
                  f"{cluster.kills} kills", file=sys.stderr, flush=True)  # fmt: skip
            before = count

    def begun() -> bool:
        if len(cluster.members) > 1 and 2 * done() >= wanted.events:
            cluster.spared = spared
        return cluster.spared is not None

    await asyncio.gather(tell(), watcher.memory(spared, begun), watcher.backlog(folder / WAITING))


def _breaker(wanted: argparse.Namespace, cluster: Cluster, site: Site) -> Breaker:
    points = POINTS if wanted.engine == "embedded" else KAFKA_POINTS
    times = Times(wanted.alive, tuple(wanted.stops), wanted.rolls)
    draw = random.Random(f"faults of {wanted.seed}")
    return Breaker(cluster, times, draw, site.engine.outages, points=points if wanted.plan else ())


async def _broken(
    stack: contextlib.AsyncExitStack, wanted: argparse.Namespace, folder: Path, breaker: Breaker, site: Site
) -> dict[str, Any]:
    """Let everybody act while the hub is broken; then end all faults. Return what they did."""
    cluster = breaker.cluster
    acting = await _generator(wanted, folder, await _reachable(stack, site, cluster, wanted), site)
    stack.push_async_callback(_killed, acting)
    began = time.monotonic()
    for line in site.lines.values():
        await line.set(wanted.network)
    losing = asyncio.ensure_future(lost_sessions(site.control, site.doors["kingdee"], every=wanted.sessions))
    stack.push_async_callback(_cancelled, losing)
    goes_on = until(wanted.seconds, lambda: acting.returncode is not None)
    await breaker.run(lambda: goes_on() or cluster.kills < wanted.kills, plan=wanted.plan)
    if wanted.events:
        await acting.wait()
    counts = await _ended(acting)
    lasted = time.monotonic() - began
    await _cancelled(losing)
    return {
        **counts,
        "per_second": round((counts["accepted"] + counts["acts"] + counts["edits_accepted"]) / lasted, 1),
        "lines": await _heal(site),
    }


def _run(wanted: argparse.Namespace, breaker: Breaker, site: Site, watcher: Watcher) -> dict[str, Any]:
    """Return what the judges are told about the run itself."""
    cluster = breaker.cluster
    several = len(cluster.of("worker")) > 1
    return {
        "seed": wanted.seed,
        "all": wanted.all,
        "crash_points": {"wanted": _wanted_points(breaker, plan=wanted.plan), "reached": sorted(breaker.reached)},
        "downs": {**cluster.downs, "SIGKILL": cluster.kills},
        "wanted_downs": {"SIGKILL": wanted.kills, **dict.fromkeys(site.engine.outages if wanted.plan else (), 1)},
        "seconds": {"takeover of claims": (watcher.takeover, wanted.takeover)} if several else {},
        "unrest": watcher.unrest,
        "resident": watcher.resident,
    }  # fmt: skip


def _wanted_points(breaker: Breaker, *, plan: bool) -> list[str]:
    commands = [f"{point} of {words[0]}" for point, words in COMMAND_POINTS.items()] if plan else []
    return [*breaker.points, *commands]


async def _site(stack: contextlib.AsyncExitStack, wanted: argparse.Namespace, folder: Path) -> Site:
    engine = await stack.enter_async_context(
        ENGINES[wanted.engine](folder, wanted.workers, lines=wanted.lines)
    )
    names = ALL if wanted.all else TWO
    abouts = {name: await stack.enter_async_context(_vendor(name, wanted, folder)) for name in names}
    lines = {
        name: await stack.enter_async_context(
            proxied(int(about["base_url"].rpartition(":")[2]), f"{name} {wanted.seed}")
        )
        for name, about in abouts.items()
    }
    vendors = {name: Vendor(about, lines[name].port) for name, about in abouts.items()}
    doors = {
        name: await stack.enter_async_context(client(about["control_url"])) for name, about in abouts.items()
    }
    return Site(engine, vendors, doors, {**lines, **engine.lines})


@contextlib.asynccontextmanager
async def _vendor(vendor: str, wanted: argparse.Namespace, folder: Path) -> AsyncIterator[dict[str, Any]]:
    with (folder / f"{vendor}.log").open("a") as log:
        process = await children.start(
            "-m", "tests.chaos.site", "--vendor", vendor, "--state", str(folder / f"{vendor}.jsonl"),
            "--drop", str(wanted.drop), "--late", str(wanted.late), "--late-by", str(wanted.late_by),
            "--broken", str(wanted.broken), "--latency", str(wanted.latency), "--parallel", str(max(8, wanted.batch)),
            "--seed", str(wanted.seed), log=log,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        await children.end(process)


async def _reachable(
    stack: contextlib.AsyncExitStack, site: Site, cluster: Cluster, wanted: argparse.Namespace
) -> str:
    """Put a line before the hub's listeners and save the address of its door; return that of the API."""
    for name, address in (("api", cluster.api), ("hooks", cluster.hooks)):
        port = int(address.rpartition(":")[2])
        site.lines[name] = await stack.enter_async_context(proxied(port, f"{name} {wanted.seed}"))
    hooks = f"http://127.0.0.1:{site.lines['hooks'].port}/hooks/wecom"
    (await site.control.put(f"callbacks/{AGENTID}", json={"url": hooks})).raise_for_status()
    return f"http://127.0.0.1:{site.lines['api'].port}/api/v1/"


async def _generator(
    wanted: argparse.Namespace, folder: Path, api: str, site: Site
) -> asyncio.subprocess.Process:
    knobs = (
        "seed",
        "rate",
        "acts",
        "edits",
        "customers",
        "people",
        "batch",
        "backlog",
        "lanes",
        "events",
        "zipf",
        "poison",
        "approvals",
    )
    further = ("--dingtalk", site.vendors["dingtalk"].about["control_url"]) if wanted.all else ()
    with (folder / "generator.log").open("a") as log:
        return await children.start(
            "-m", "tests.chaos.generator", "--api", api, "--control", site.vendors["wecom"].about["control_url"], "--token", TOKEN, *further,
            "--intents", str(folder / "intents.jsonl"), "--progress", str(folder / PROGRESS),
            "--waiting", str(folder / WAITING), *(f"--{knob}={getattr(wanted, knob)}" for knob in knobs), log=log,
        )  # fmt: skip


async def _ended(acting: asyncio.subprocess.Process) -> dict[str, Any]:
    assert acting.stdout is not None
    await children.end(acting, patience=60.0)
    line = await acting.stdout.readline()
    if not line:
        raise SystemExit(f"the generator failed ({acting.returncode}): see generator.log")
    found: dict[str, Any] = json.loads(line)
    return found


async def _killed(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await children.end(process)


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _heal(site: Site) -> dict[str, Any]:
    """End all faults: from now on everything must come to rest."""
    for door in site.doors.values():
        (await door.patch("dials", json=HEALED)).raise_for_status()
    return {name: await line.set(0.0) for name, line in site.lines.items()}


async def _facts(
    wanted: argparse.Namespace, folder: Path, cluster: Cluster, watcher: Watcher, site: Site
) -> dict[str, Any]:
    """Wait for rest, look before and after a complete read, and put everything where the judges look."""
    callbacks = (await site.control.post("callbacks/flush", timeout=300.0)).json()
    drained = await watcher.drained(wanted.patience)
    async with client(f"{cluster.api}/api/v1/", TOKEN) as api:
        await _keep(folder / "before.json", api)
        swept = await _swept(cluster, SWEEP, "--full")
        await watcher.drained(wanted.patience)
        confirmed = None
        if await watcher.held():
            confirmed = await cluster.command("run", SWEEP, "--confirm-absent")
            await watcher.drained(wanted.patience)
        for sync in APPROVAL_READS if wanted.all else ():
            await _swept(cluster, sync)
        await watcher.drained(wanted.patience)
        await _keep(folder / "after.json", api)
    listed = await cluster.command("dlq", "list", "--limit", "10000")
    assert listed is not None
    (folder / "letters.json").write_text(json.dumps(listed["dead_letters"]), "utf-8")
    people = await site.control.get("people", params={"changed": "true"}, timeout=120.0)
    (folder / "people.jsonl").write_text(people.text, "utf-8")
    forms = {
        name: (await site.doors[name].get("approvals", timeout=120.0)).json()
        for name in APPROVING
        if name in site.doors
    }
    (folder / "forms.json").write_text(json.dumps(forms), "utf-8")
    if "HUB_STORE_URL" in cluster.environment:
        # what is sealed behind the export is not in it, so it is held against what was handed out before
        shutil.copyfile(Path(cluster.environment["HUB_DATA_DIR"]) / HEADS, folder / HEADS)
        await cluster.command("audit", "export", "--to", str(folder / "audit.jsonl"))
        await asyncio.to_thread(dump, cluster.environment["HUB_STORE_URL"], folder / "store.dump")
    return {
        "callbacks": callbacks,
        "drained": drained,
        "swept": swept["published"],
        "confirmed": confirmed and confirmed["confirmed"],
        "dead_letters": len(listed["dead_letters"]),
    }


async def _swept(cluster: Cluster, sync: str, *words: str) -> dict[str, Any]:
    """Read a sync; a read whose process was killed is another's to go on with once its lease has lapsed."""
    for left in reversed(range(TRIES)):
        try:
            if (swept := await cluster.command("run", sync, *words)) is not None:
                return swept
        except CommandFailed as error:
            if not left or "somebody else is reading" not in str(error):
                raise
        await asyncio.sleep(BETWEEN)
    raise AssertionError("unreachable: no crash point was armed")


async def _keep(file: Path, api: httpx.AsyncClient) -> None:
    shown = {}
    for kind in KINDS:
        shown[kind] = records = list[dict[str, Any]]()
        asked: dict[str, str] = {"limit": "100"}
        while True:
            page = (await api.get(kind, params=asked, timeout=60.0)).raise_for_status().json()
            records += page["items"]
            if page["next_cursor"] is None:
                break
            asked["cursor"] = page["next_cursor"]
    file.write_text(json.dumps(shown), "utf-8")


def _audit(folder: Path, environment: Mapping[str, str], seed: int) -> dict[str, str]:
    data = Path(environment["HUB_DATA_DIR"])
    exported = "HUB_STORE_URL" in environment
    trail, heads = (folder / "audit.jsonl", folder / HEADS) if exported else (data / "hub.db", data / HEADS)
    return {
        "verifier": str(ROOT / "hub" / "audit" / "verify.py"), "trail": str(trail), "public_key": str(data / "audit.pub"),
        "heads": str(heads), "seed": str(seed),
    }  # fmt: skip
