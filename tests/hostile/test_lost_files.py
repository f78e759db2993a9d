"""Files that are lost, emptied, put back as they were earlier, replaced under a running hub, or on a full disk.

A callback that was acknowledged may then be found again or be missed loudly; it is never skipped in silence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from hub.api.serve import serve
from hub.bus import INBOUND, Log, Message
from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, SettingsError, TryAgain
from hub.pipe.astray import marked
from hub.pipe.intake import Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.loops import Loops
from hub.pipe.share import members
from hub.sdk.connector import SourceRecord, VendorKey
from hub.settings import load_settings
from hub.store import Store
from hub.wiring import Hub, open_hub
from tests.flows.cli_site import Site, make_site
from tests.hook_site import App, asked, event

APP = App()
WECOM = {"WECOM_TOKEN": APP.token, "WECOM_KEY": APP.aes_key, "WECOM_SECRET": "s" * 43}
PEOPLE = ("甲公司", "乙公司", "丙公司")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Give the repository's project whose WeCom takes callbacks; no Kingdee is there."""
    made = make_site(tmp_path)
    text = (tmp_path / "hub.yaml").read_text("utf-8")
    for name, key in (("token", "TOKEN"), ("encoding_aes_key", "KEY"), ("secret", "SECRET")):
        monkeypatch.setenv(f"WECOM_{key}", WECOM[f"WECOM_{key}"])
        secret = f"wecom-{name.replace('_', '-')}"
        assert f"${{secret:{secret}}}" in text
        text = text.replace(f"${{secret:{secret}}}", f"${{env:WECOM_{key}}}")
    (tmp_path / "hub.yaml").write_text(text, "utf-8")
    return made


def opened(site: Site, **settings: Any) -> Hub:
    """Open the hub as `hub up` does."""
    listen = {"listen_ops": "127.0.0.1:0", "listen_hooks": "127.0.0.1:0"}
    return open_hub(
        load_settings(data_dir=site.data, project_dir=site.folder, **listen, **settings), start=True
    )


def customers(*names: str) -> list[Message]:
    """Return what Kingdee shows of customers, as it lies on the bus."""
    found = []
    for number, name in enumerate(names):
        body = {"FCUSTID": str(number), "FNumber": f"C{number}", "FName": name, "FDocumentStatus": "C"}
        record = SourceRecord(VendorKey("", str(number)), body, SystemClock().now())
        found.append(to_message(to_event("k3", "customer", record, event_id=f"e{number}")))
    return found


async def take_all(hub: Hub) -> int:
    """Take everything that came in live; return how many messages that was."""
    taken = 0
    for number in range(await hub.bus.partitions(INBOUND)):
        intake = Intake(hub.store, hub.world, hub.bus, "test", topic=INBOUND, partition=number)
        while now := await intake.turn():
            taken += now
    return taken


async def worked(site: Site, *names: str) -> None:
    """Take these customers in, then end."""
    hub = await asyncio.to_thread(opened, site)
    try:
        await hub.bus.publish(INBOUND, customers(*names))
        assert await take_all(hub) == len(names)
    finally:
        await hub.aclose()


def lose(folder: Path, name: str) -> None:
    for file in folder.glob(f"{name}*"):
        file.unlink()


async def refused(site: Site) -> str:
    """Start the hub as it is; return why it refuses before it listens."""
    hub = await asyncio.to_thread(opened, site)
    try:
        with pytest.raises(SettingsError) as caught:
            async with asyncio.timeout(30):
                await serve(hub, stop=asyncio.Event())
        assert hub.listening == {}
    finally:
        await hub.aclose()
    return str(caught.value)


@asynccontextmanager
async def up(hub: Hub) -> AsyncIterator[tuple[asyncio.Task[None], httpx.AsyncClient]]:
    """Serve the hub and end it; what ended it early is the caller's to look at."""
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert ready.is_set(), serving.exception()
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
            yield serving, client
    finally:
        stop.set()
        await asyncio.gather(serving, return_exceptions=True)
        await hub.aclose()


async def call(hub: Hub, client: httpx.AsyncClient) -> int:
    """Call back as WeCom does; return the answer's status."""
    encrypted = APP.sealed(event(), corp=hub.project.connections["wecom"].settings["corp_id"])
    query = APP.signed(encrypted, at=str(hub.clock.now() // 1_000_000))
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    return (
        await client.post(f"{hub.listening['hooks']}/hooks/wecom{asked(query)}", content=body)
    ).status_code


async def readiness(hub: Hub, client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"{hub.listening['ops']}/readyz")).json()
    return told


# ---------------------------------------------------------------------------------------- an older or another bus


async def test_an_older_bus_put_back_is_refused_before_the_doors_open(site: Site) -> None:
    await worked(site, *PEOPLE[:1])
    kept = shutil.copy(site.data / "bus.db", site.folder / "kept")
    await worked(site, *PEOPLE)
    shutil.copy(kept, site.data / "bus.db")
    said = await refused(site)
    assert "put back as it was earlier" in said
    assert "hub bus replaced" in said
    shown = await asyncio.to_thread(site.cli, "status")
    assert "hub bus replaced" in " ".join(shown.split())
    assert "hub bus replaced" in (await asyncio.to_thread(site.json, "status"))["bus"]["astray"]
    assert "hub bus replaced" in await asyncio.to_thread(site.cli, "run", "k3.customer.in", code=1)


@pytest.mark.parametrize("how", ["lost", "emptied"])
async def test_a_bus_that_was_lost_or_emptied_is_refused_until_a_person_says_it_was_replaced(
    site: Site, how: str
) -> None:
    await worked(site, *PEOPLE)
    lose(site.data, "bus.db")
    if how == "emptied":
        (site.data / "bus.db").touch(0o600)
    else:
        assert "bus.db is gone" in " ".join((await asyncio.to_thread(site.cli, "status")).split())
        assert not (site.data / "bus.db").exists(), "looking makes no new one"
        assert "bus.db is gone" in await asyncio.to_thread(site.cli, "run", "k3.customer.in", code=1)
    said = await refused(site)
    assert "another one" in said
    assert "hub bus replaced" in said
    assert "--yes" in await asyncio.to_thread(site.cli, "bus", "replaced", code=2)
    told = await asyncio.to_thread(site.json, "bus", "replaced", "--yes")
    assert told == {"ok": True, "messages": 0, "by_hand": [],
                    "reads": ["wecom.follow.in", "wecom.user.in", "k3.customer.in"]}  # fmt: skip
    hub = await asyncio.to_thread(opened, site)
    async with up(hub) as (_, client):
        assert await call(hub, client) == 200
    (act,) = await asyncio.to_thread(site.ask, "SELECT actor FROM acts WHERE verb = 'bus.replaced'")
    assert act[0].startswith("user:")


async def test_every_source_is_owed_a_full_read_and_a_read_under_way_is_fenced_out(site: Site) -> None:
    await worked(site, *PEOPLE)
    cursor = orjson.dumps({"cursor": {"at": 7}, "sweep": None}).decode()
    hub = await asyncio.to_thread(opened, site)
    hub.store.run_now(
        lambda tx: (
            tx.cursor.execute(
                "INSERT INTO jobs (name, kind, spec, position, due, holder, lease, fence, progress, state, act) "
                f"VALUES ('read:k3.customer.in', 'reader', 'null', '{cursor}', {2 << 60}, 'w', {2 << 60}, 5, 'null', 'due', 1)"
            )
            and None
        )
    )
    await hub.aclose()
    await asyncio.to_thread(site.cli, "bus", "replaced", "--yes")
    found = await asyncio.to_thread(
        site.ask, "SELECT position, due, lease, fence FROM jobs WHERE name = 'read:k3.customer.in'"
    )
    position, due, lease, fence = found[0]
    assert orjson.loads(position) == {"cursor": None, "sweep": None}
    assert (due, lease) == (0, 0)
    assert fence > 5


async def test_what_was_taken_before_is_taken_again_and_has_no_second_effect(site: Site) -> None:
    await worked(site, *PEOPLE)

    def effects() -> Any:
        return [site.ask(f"SELECT {what}") for what in ("id, version, body FROM records ORDER BY id", "record, object, vendor_id FROM xrefs ORDER BY record", "sync, subject FROM owed WHERE target IS NOT NULL ORDER BY sync, subject")]  # fmt: skip

    before = await asyncio.to_thread(effects)
    assert before[0]
    told = await asyncio.to_thread(site.json, "bus", "replaced", "--yes")
    assert told["messages"] == len(PEOPLE)
    hub = await asyncio.to_thread(opened, site)
    assert await take_all(hub) == len(PEOPLE)
    await hub.aclose()
    assert await asyncio.to_thread(effects) == before


async def test_a_bus_that_grows_past_the_position_it_refused_is_not_taken_on(site: Site) -> None:
    await worked(site)
    older = shutil.copy(site.data / "bus.db", site.folder / "older.db")
    await worked(site, *PEOPLE * 4)
    hub = await asyncio.to_thread(opened, site)
    other = Log.open(Path(older), SystemClock())
    ends = [await hub.bus.bounds(INBOUND, number) for number in range(4)]
    place = next(number for number, one in enumerate(ends) if one.next > 0)
    intake = Intake(hub.store, hub.world, other, "test", topic=INBOUND, partition=place)
    try:
        with pytest.raises(IntegrityError, match="hub bus replaced"):
            await intake.turn()
        assert hub.store.read_now(marked) == [intake.job]
        while (await other.bounds(INBOUND, place)).next <= (await hub.bus.bounds(INBOUND, place)).next:
            await other.publish(INBOUND, [Message(f"key {n}", {}, b"{}") for n in range(40)])
        with pytest.raises(IntegrityError, match="hub bus replaced"):
            await intake.turn()
    finally:
        await other.aclose()
        await hub.aclose()
    assert "hub bus replaced" in await refused(site)


async def test_while_a_taker_stands_on_an_impossible_position_the_doors_say_503_and_why(site: Site) -> None:
    hub = await asyncio.to_thread(opened, site)
    async with up(hub) as (serving, client):
        assert await call(hub, client) == 200
        far = orjson.dumps({"cluster": hub.bus.cluster, "next": 999}).decode()
        await hub.store.run(lambda tx: tx.cursor.execute(
            f"UPDATE jobs SET position = '{far}', act = act + 1 WHERE kind = 'bus'") and None)  # fmt: skip
        async with asyncio.timeout(60):
            while await call(hub, client) == 200:
                await asyncio.sleep(0)
        async with asyncio.timeout(60):
            while (told := await readiness(hub, client))["status"] == "ready":
                await asyncio.sleep(0)
        assert any("hub bus replaced" in note for note in told["notes"])
        assert await call(hub, client) == 503
        await asyncio.to_thread(site.cli, "bus", "replaced", "--yes")
        async with asyncio.timeout(60):
            while await call(hub, client) != 200:
                await asyncio.sleep(0)
        assert not serving.done()


# ---------------------------------------------------------------------------------------- replaced while running


@contextmanager
def gone(path: Path, how: str) -> Iterator[None]:
    if how == "replaced":
        shutil.copy(path, path.with_name("other"))
        path.with_name("other").replace(path)
    else:
        path.with_name(path.name + ("-wal" if how == "without its log" else "")).unlink()
    yield


@pytest.mark.parametrize("how", ["removed", "replaced", "without its log"])
async def test_nothing_is_said_to_be_on_a_log_whose_file_is_gone(tmp_path: Path, how: str) -> None:
    bus = Log.open(tmp_path / "bus.db", SystemClock())
    try:
        await bus.publish(INBOUND, [Message("a", {}, b"{}")])
        with gone(tmp_path / "bus.db", how):
            for ask in (bus.publish(INBOUND, [Message("a", {}, b"{}")]), bus.confirm()):
                with pytest.raises(IntegrityError) as caught:
                    await ask
                assert caught.value.cause is Cause.REPLACED
                assert str(tmp_path) in str(caught.value)
    finally:
        await bus.aclose()


@pytest.mark.parametrize("how", ["removed", "replaced", "without its log"])
async def test_nothing_is_said_to_be_committed_in_a_store_whose_file_is_gone(
    tmp_path: Path, how: str
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}", SystemClock())
    try:
        store.run_now(lambda tx: tx.journal("a", "b", {}))
        with gone(tmp_path / "hub.db", how):
            for ask in (store.run(lambda tx: tx.journal("a", "b", {})), store.confirm()):
                with pytest.raises(IntegrityError) as caught:
                    await ask
                assert caught.value.cause is Cause.REPLACED
    finally:
        store.close()


@pytest.mark.parametrize("name", ["bus.db", "hub.db"])
async def test_a_hub_whose_file_is_removed_answers_503_and_ends(site: Site, name: str) -> None:
    hub = await asyncio.to_thread(opened, site)
    async with up(hub) as (serving, client):
        assert await call(hub, client) == 200
        (site.data / name).unlink()
        if name == "bus.db":
            assert await call(hub, client) == 503
        async with asyncio.timeout(30):
            with pytest.raises(IntegrityError) as caught:
                await serving
        assert caught.value.cause is Cause.REPLACED
        assert name in str(caught.value)


# ---------------------------------------------------------------------------------------- a store that was lost


async def test_a_lost_store_gets_no_new_one_beside_what_is_left_of_it(site: Site) -> None:
    await worked(site, *PEOPLE)
    lose(site.data, "hub.db")
    with pytest.raises(SettingsError, match="hub restore"):
        await asyncio.to_thread(opened, site)
    assert "hub restore" in await asyncio.to_thread(site.cli, "run", "k3.customer.in", code=2)
    assert not (site.data / "hub.db").exists()
    lose(site.data, "bus.db")
    (site.data / "seals.log").write_text("x\n")
    with pytest.raises(SettingsError, match=r"seals\.log"):
        await asyncio.to_thread(opened, site)


def test_a_key_file_or_an_unused_log_alone_is_no_store_that_was_lost(site: Site) -> None:
    opened(site).close()
    for name in ("hub.db", "seals.log"):
        lose(site.data, name)
    lose(site.folder, "var.head")
    asyncio.run(_unused(site.data))
    opened(site).close()


async def _unused(data: Path) -> None:
    await Log.open(data / "bus.db", SystemClock()).aclose()


# ---------------------------------------------------------------------------------------- a disk that takes nothing


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow, and what lies beyond its first 16 KiB cannot be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_told_as_what_it_is_and_forgotten_once_a_write_succeeds(site: Site) -> None:
    await worked(site, *PEOPLE)
    hub = await asyncio.to_thread(opened, site)
    await hub.bus.publish(INBOUND, [Message("a", {}, b"x" * 20_000)])
    hub.store.run_now(lambda tx: tx.journal("a", "b", {"text": "x" * 20_000}))
    try:
        with full_disk():
            with pytest.raises(TryAgain) as caught:
                hub.store.run_now(lambda tx: tx.journal("a", "b", {}))
            assert caught.value.cause is Cause.DISK
            with pytest.raises(TryAgain):
                await hub.bus.publish(INBOUND, [Message("a", {}, b"{}")])
            for part in (hub.store, hub.bus):
                with pytest.raises(TryAgain):
                    await part.confirm()
        for part in (hub.store, hub.bus):
            await part.confirm()
        await hub.bus.publish(INBOUND, [Message("a", {}, b"{}")])
    finally:
        await hub.aclose()


def test_a_command_on_a_full_disk_ends_with_a_sentence(site: Site) -> None:
    opened(site).close()
    keeper = opened(site)  # keeps the write-ahead log where it is
    keeper.store.run_now(lambda tx: tx.journal("a", "b", {"text": "x" * 20_000}))
    try:
        with full_disk():
            said = site.cli("pause", "k3", code=1)
        assert "the disk is full or fails" in said
        assert "Traceback" not in said
    finally:
        keeper.close()


async def test_readiness_says_that_nothing_can_be_written_until_it_can(site: Site) -> None:
    hub = await asyncio.to_thread(opened, site)
    hub.store.run_now(lambda tx: tx.journal("a", "b", {"text": "x" * 20_000}))
    async with up(hub) as (serving, client):
        while not hub.store.read_now(members):
            await asyncio.sleep(0)
        with full_disk():
            async with asyncio.timeout(60):
                while (told := await readiness(hub, client))["checks"]["store"]:
                    await asyncio.sleep(0)
        assert told["status"] == "not ready"
        assert any("cannot be written" in note for note in told["notes"])
        async with asyncio.timeout(60):
            while not (await readiness(hub, client))["checks"]["store"]:
                await asyncio.sleep(0)
        assert not serving.done()


async def test_a_loop_that_fails_alike_again_and_again_is_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    loops = Loops(lambda: now)
    turns = 0

    async def turn() -> float:
        nonlocal turns, now
        turns, now = turns + 1, now + 1
        if turns == 100:
            loops.stop.set()
        raise TryAgain("the disk is full" if turns != 50 else "something else")

    loops.pause = lambda _seconds: asyncio.sleep(0)  # type: ignore[method-assign]  # no waiting
    with caplog.at_level(logging.ERROR):
        await loops.forever("take", turn)
    said = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert said == ["the disk is full", "something else", "the disk is full"]
    assert json.dumps(loops.alarms) == "{}"
