"""A process that is killed at a named point in the middle of something long leaves nothing half done: the next one goes on.

Where the running hub dies between claim and settle is the judge's (`tests/chaos`). Here are the points of what is done
once in a while; each process is real and dies by SIGKILL.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.audit.seal import Signer, seal
from hub.clock import SystemClock
from hub.store.epoch import Stop, stop_writes
from hub.store.secrets import get_secret, put_secret
from hub.vault import Vault
from tests.chaos.faults import COMMAND_POINTS, POINTS
from tests.flows.cli_site import ROOT, Site, make_site, refuse
from tests.stores import new_store_url

IN_PROCESS = {"sweep.hinted": "tests/flows/test_sweep.py", "notice.sent": "tests/flows/test_notices.py"}
"""Points whose death is played by an exception alone, and where."""
HERE = {
    "store.migrating", "key.written", "key.noted", "secrets.resealing", "export.written", "dlq.replayed", "bus.trim",
    "archive.written", "archive.noted", "archive.dropping", "token.given", "changes.published", "writes.head",
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def dies(site: Site, point: str, *words: str, **environment: str) -> None:
    """Run a command that is killed at a point."""
    process = site.spawn(*words, HUB_CRASH_POINT=point, **environment)
    out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"{process.returncode}\n{out}\n{err}"


def program(folder: Path, text: str, *words: str, point: str = "") -> dict[str, Any] | None:
    """Run a program with the hub's parts; None: it died at the point."""
    file = folder / "program.py"
    file.write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, str(file), *words], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HUB_CRASH_POINT": point},
    )  # fmt: skip
    if point:
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        return None
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_point_in_the_hub_is_died_at_by_somebody() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "hub").rglob("*.py")]
    named = {point for text in texts for point in re.findall(r'crash_point\("([a-z_.]+)"\)', text)}
    assert named == {*POINTS, *COMMAND_POINTS, *HERE, *IN_PROCESS}
    for point, file in IN_PROCESS.items():
        assert point in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_migration_that_dies_leaves_no_half_of_a_schema(
    engine: str, site: Site, request: pytest.FixtureRequest
) -> None:
    other = {"HUB_STORE_URL": new_store_url(engine, request)} if engine == "postgresql" else {}
    dies(site, "store.migrating", "migrate", **other)
    process = site.spawn("--output", "json", "migrate", **other)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["was"] is None, "the first one left nothing"


@pytest.mark.parametrize("point", ["key.written", "key.noted"])
def test_a_rotation_that_dies_loses_no_key_and_is_repeated(point: str, site: Site) -> None:
    site.cli("secrets", "set", "k3-app-id", "--stdin", given="before")
    before = Vault.open(site.data / "key", SystemClock())
    dies(site, point, "secrets", "rotate")
    assert Vault.open(site.data / "key", SystemClock()).key_ids == before.key_ids
    assert site.json("secrets", "rotate")["key_version"] == 2
    noted = [
        json.loads(body)["items"] for (body,) in site.ask("SELECT body FROM acts WHERE verb = 'key.added'")
    ]
    assert noted[-1] == [{"version": 2, "outcome": "added"}]
    assert len(noted) == (1 if point == "key.written" else 2), "what was noted was begun"
    assert site.json("secrets", "rotate", "--reseal")["resealed"] >= 1
    assert values(site)["k3-app-id"] == b"before"


def values(site: Site) -> dict[str, bytes]:
    with site.hub() as hub:
        names = [
            name for (name,) in site.ask("SELECT DISTINCT name FROM secrets WHERE name NOT LIKE 'hub.%'")
        ]
        return {name: hub.store.read_now(get_secret, hub.vault, name).value for name in names}


def test_a_resealing_that_dies_is_done_as_a_whole_by_the_next(site: Site) -> None:
    with site.hub() as hub:
        for number in range(4):
            hub.store.run_now(put_secret, hub.vault, f"one-{number}", f"value {number}".encode())
    site.cli("secrets", "rotate")
    stored = "SELECT name, version, key_id FROM secrets WHERE name LIKE 'one-%' ORDER BY 1, 2"
    before, known = site.ask(stored), values(site)
    dies(site, "secrets.resealing:2", "secrets", "rotate", "--reseal")
    assert site.ask(stored) == before
    assert site.json("secrets", "rotate", "--reseal")["resealed"] == 4
    assert {key for _, version, key in site.ask(stored) if version == 2}.isdisjoint(
        {key for *_, key in before}
    )
    assert values(site) == known


def test_an_export_that_dies_leaves_no_file_that_looks_whole(site: Site) -> None:
    site.customer()
    with site.hub() as hub:
        hub.store.run_now(seal, Signer.open(hub.store, hub.vault, site.data))
    file = site.folder / "trail.jsonl"
    dies(site, "export.written", "audit", "export", "--to", str(file))
    assert not file.exists()
    site.cli("audit", "export", "--to", str(file))
    assert site.json("audit", "verify", str(file))["ok"] is True


def test_a_replay_of_many_that_dies_replays_the_rest_the_next_time(site: Site) -> None:
    customer = site.customer()
    for number in range(3):
        site.pay(customer, f"P-{number}", no=f"PAY-{number}")
    site.work(refuse("receipt"))
    assert len(site.letters()) == 3
    dies(site, "dlq.replayed:2", "dlq", "replay", "--all", "--yes")
    assert len(site.letters()) == 1, "two were replayed, and stay so"
    site.cli("dlq", "replay", "--all", "--yes")
    assert site.letters() == []
    site.work()
    booked = [write.payload for write in site.kingdee.booked if write.object == "receipt"]
    assert len({write.business_key for write in site.kingdee.booked if write.object == "receipt"}) == 3
    assert booked
    assert site.ask("SELECT count(*) FROM owed") == [(0,)]


TRIM = """
import asyncio, json, pathlib, sys
from hub.bus.log import Log
from hub.bus.port import INBOUND, Message
from hub.clock import SystemClock

async def main(file, what):
    clock = SystemClock()
    log = Log.open(pathlib.Path(file), clock)
    if what == "fill":
        await log.publish(INBOUND, [Message(f"k{n}", {}, b"x" * 100) for n in range(2000)])
    count = await log.partitions(INBOUND)
    ends = {n: (await log.bounds(INBOUND, n)).next for n in range(count)}
    needed = {n: end // 2 for n, end in ends.items()}
    gone = await log.purge(INBOUND, needed, before=clock.now() + 10**6) if what == "purge" else 0
    kept = {n: [(await log.bounds(INBOUND, n)).first, needed[n], end] for n, end in ends.items()}
    left = 0
    for n, (first, _, end) in kept.items():
        left += len((await log.read(INBOUND, n, first, 10_000)).events) if end > first else 0
    await log.aclose()
    print(json.dumps({"gone": gone, "kept": kept, "left": left}))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_purge_of_the_bus_that_dies_forgets_nothing_that_is_needed(tmp_path: Path) -> None:
    file = str(tmp_path / "bus.db")
    program(tmp_path, TRIM, file, "fill")
    program(tmp_path, TRIM, file, "purge", point="bus.trim:2")
    half = program(tmp_path, TRIM, file, "look")
    assert half is not None
    assert all(first <= needed for first, needed, _ in half["kept"].values())
    assert any(first == 0 for first, needed, _ in half["kept"].values() if needed), "it died in the middle"
    whole = program(tmp_path, TRIM, file, "purge")
    assert whole is not None
    assert all(first == needed for first, needed, _ in whole["kept"].values())
    assert whole["left"] == sum(end - needed for _, needed, end in whole["kept"].values())


ARCHIVE = """
import asyncio, json, pathlib, sys
from hub.clock import SECOND, SystemClock
from hub.pipe.archiving import Archiving, verified
from hub.store import Store

class Later(SystemClock):
    def now(self):
        return super().now() + 10 * 86_400 * SECOND

async def main(data):
    data, clock = pathlib.Path(data), Later()
    store = Store.open(f"sqlite:///{data / 'hub.db'}", clock)
    archiving = Archiving(store, clock, "me", data / "audit-archive", 7, verified(data / "audit.pub"))
    while await archiving.turn() < 60:
        pass
    left = await store.read(lambda tx: tx.cursor.execute("SELECT min(seq) FROM acts").fetchone())
    await store.aclose()
    print(json.dumps({"first": left[0]}))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("point", ["archive.written", "archive.noted", "archive.dropping"])
def test_an_archiving_that_dies_is_taken_up_and_the_trail_is_whole(point: str, site: Site) -> None:
    site.customer()
    with site.hub() as hub:
        signer = Signer.open(hub.store, hub.vault, site.data)
        while hub.store.run_now(seal, signer, 1):
            pass
        hub.store.run_now(_published)
        hub.store.run_now(seal, signer)
    program(site.folder, ARCHIVE, str(site.data), point=point)
    assert site.json("audit", "verify")["ok"] is True
    told = program(site.folder, ARCHIVE, str(site.data))
    assert told is not None
    assert told["first"] > 1
    assert len(list((site.data / "audit-archive").glob("acts-*.jsonl"))) == 1
    verified = site.json("audit", "verify")
    assert (verified["ok"], verified["first"]) == (True, 1)


def _published(tx: Any) -> None:
    tx.cursor.execute(
        "INSERT INTO jobs (name, kind, spec, position, due, lease, fence, progress, state, act) "
        f"VALUES ('publish', 'publish', 'null', '{{\"seq\":1000000}}', 0, 0, 0, 'null', 'due', {tx.act})"
    )
    tx.journal("test", "job", {"items": []})


TOKEN = """
import asyncio, json, pathlib, sys
from hub.clock import SECOND, SystemClock
from hub.pipe.tokens import LEASE, StoredToken
from hub.sdk.secret import Secret
from hub.store import Store
from hub.vault import Vault

class Later(SystemClock):
    ahead = 0
    def now(self):
        return super().now() + self.ahead

async def main(data, number):
    data, clock = pathlib.Path(data), Later()
    clock.ahead = int(number) * int((LEASE + 1) * SECOND)
    store, vault = Store.open(f"sqlite:///{data / 'hub.db'}", clock), Vault.open(data / "key", clock)
    asked = []
    async def ask():
        asked.append(1)
        return Secret(f"token-{number}"), 7200.0
    shared = StoredToken(store, vault, clock, f"host:{number}", "hub.token.one")
    given = await shared.renewed(0, ask)
    await store.aclose()
    print(json.dumps({"token": given.value.reveal(), "version": given.version, "asked": len(asked)}))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_token_refresh_that_dies_is_made_by_another_once_its_lease_has_lapsed(site: Site) -> None:
    site.customer()  # makes store and key
    program(site.folder, TOKEN, str(site.data), "1", point="token.given")
    second = program(site.folder, TOKEN, str(site.data), "2")
    assert second == {"token": "token-2", "version": 1, "asked": 1}
    third = program(site.folder, TOKEN, str(site.data), "2")
    assert third == {"token": "token-2", "version": 1, "asked": 0}, "saved for all"


FEED = """
import asyncio, json, pathlib, sys
from hub.bus.log import Log
from hub.bus.port import CHANGES
from hub.clock import SECOND, SystemClock
from hub.pipe.outlet import Outlet
from hub.store import Store

class Later(SystemClock):
    ahead = 0
    def now(self):
        return super().now() + self.ahead

async def main(data, number):
    data, clock = pathlib.Path(data), Later()
    clock.ahead = int(number) * 20 * SECOND
    store, log = Store.open(f"sqlite:///{data / 'hub.db'}", clock), Log.open(data / "bus.db", clock)
    outlet = Outlet(store, log, clock, f"host:{number}")
    while await outlet.turn():
        pass
    seen = []
    for n in range(await log.partitions(CHANGES)):
        batch = await log.read(CHANGES, n, 0, 1000)
        seen += [[message.key, message.headers["ce_id"]] for message in batch.events]
    await log.aclose()
    await store.aclose()
    print(json.dumps({"seen": seen}))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_feed_whose_publisher_dies_repeats_and_skips_nothing(site: Site) -> None:
    records = {site.customer(), site.pay(site.customer())}
    with site.hub() as hub:
        hub.store.run_now(seal, Signer.open(hub.store, hub.vault, site.data))
    program(site.folder, FEED, str(site.data), "1", point="changes.published")
    told = program(site.folder, FEED, str(site.data), "2")
    assert told is not None
    events = [tuple(one) for one in told["seen"]]
    assert {key for key, _ in events} == records
    assert len(events) == 2 * len(set(events)), "each came twice, under the same id"


REOPEN = """
import asyncio, json, pathlib, sys
from hub import wiring
from hub.clock import SECOND, SystemClock
from hub.pipe.reopen import LEASE, Reopening
from hub.settings import Settings

class Later(SystemClock):
    ahead = 0
    def now(self):
        return super().now() + self.ahead

async def main(hub, number):
    heads = wiring.seal_heads(hub.settings, None)
    await Reopening(hub.store, hub.world, hub.bus, hub.clock, {}, f"host:{number}", heads).turn()
    told = {"open": hub.store.read_now(lambda tx: tx.writes_open), "head": (await heads.last()).epoch == hub.store.epoch}
    await hub.aclose()
    print(json.dumps(told))

folder, number = sys.argv[1:]
clock = Later()
clock.ahead = int(number) * int((LEASE + 1) * SECOND)
settings = Settings(data_dir=pathlib.Path(folder) / "var", project_dir=pathlib.Path(folder))
asyncio.run(main(wiring.open_hub(settings, clock=clock), number))
"""


def test_an_opening_of_writes_that_dies_leaves_them_stopped_and_is_finished_by_another(site: Site) -> None:
    site.customer()
    with site.hub() as hub:
        hub.store.run_now(stop_writes, Stop.RESTORED, by="test")
    site.cli("writes", "resume", "--unread")
    program(site.folder, REOPEN, str(site.folder), "1", point="writes.head")
    assert site.json("writes", "show")["writes"] == "stopped"
    told = program(site.folder, REOPEN, str(site.folder), "2")
    assert told == {"open": True, "head": True}
    assert site.json("writes", "show")["writes"] == "open"
