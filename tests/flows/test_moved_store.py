"""A copied, older or foreign store is noticed at start; the running hub reads its sources before it opens writes."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub import wiring
from hub.bus import Log
from hub.bus.port import ALERTS, Message
from hub.clock import SystemClock
from hub.errors import Cause, Refused, SettingsError, TryAgain
from hub.pipe import writes
from hub.pipe.heads import HeadFile, HeadTopic
from hub.pipe.reopen import Reopening
from hub.pipe.runtime import Runtime
from hub.sdk.connector import Failed, Page, SourceRecord, VendorKey
from hub.settings import load_settings
from hub.store.epoch import Head, Stop, head_of
from hub.wiring import Hub
from tests.flows.cli_site import Scripted, Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def opened(site: Site, data: Path | None = None) -> Hub:
    """Open the hub as `hub up` does."""
    settings = load_settings(project_dir=site.folder, data_dir=data or site.data)
    return wiring.open_hub(settings, start=True)


def worked(site: Site, data: Path | None = None) -> str | None:
    """Start, seal what there is, end; return why writes are stopped, if they are."""
    hub = opened(site, data)
    try:
        asyncio.run(wiring.sealer(hub)())
        found = hub.store.read_now(writes.stopped)
    finally:
        hub.close()
    return None if found is None else found.why.value


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_a_store_that_goes_on_where_it_ended_is_open(site: Site) -> None:
    assert worked(site) is None
    site.customer()
    assert worked(site) is None
    assert worked(site) is None
    assert (site.folder / "var.head").stat().st_mode & 0o777 == 0o600


def test_a_copy_beside_it_is_stopped_and_does_not_speak_for_the_original(site: Site) -> None:
    worked(site)
    copy = copy_of(site.data, site.folder / "copy")
    assert worked(site, copy) == Stop.UNKNOWN
    assert not (site.folder / "copy.head").exists()
    assert worked(site) is None


def test_a_data_folder_that_was_put_back_is_stopped(site: Site) -> None:
    worked(site)
    kept = copy_of(site.data, site.folder / "kept")
    site.customer()
    worked(site)
    shutil.rmtree(site.data)
    copy_of(kept, site.data)
    assert worked(site) == Stop.OLDER
    told = site.json("writes", "show")
    assert (told["writes"], told["why"], told["asked"]) == ("stopped", "older", False)
    assert "put back or copied" in site.cli("writes", "show")
    assert "hub writes show" in site.cli("status")
    assert "moved" in site.cli("writes", "moved", code=1)  # it is known to be older
    assert worked(site) == Stop.OLDER  # and stays so


def test_a_new_store_where_another_one_worked_is_stopped(site: Site) -> None:
    worked(site)
    shutil.rmtree(site.data)
    assert worked(site) == Stop.OTHER


def test_an_installation_that_was_moved_says_so_once(site: Site) -> None:
    worked(site)
    moved = site.folder / "elsewhere"
    site.data.rename(moved)
    assert worked(site, moved) == Stop.UNKNOWN
    there = ["--data", str(moved)]
    assert "only moved" in site.cli("writes", "show", *there)
    assert "writes are open" in site.cli("writes", "moved", *there)
    assert worked(site, moved) is None
    assert site.json("writes", "show", *there) == {"writes": "open"}


def test_a_damaged_head_is_named_and_an_unwritable_place_too(site: Site, tmp_path: Path) -> None:
    worked(site)
    (site.folder / "var.head").write_text("{}")
    with pytest.raises(SettingsError) as refused:
        opened(site)
    assert refused.value.file == str(site.folder / "var.head")
    with pytest.raises(SettingsError, match="HUB_SEAL_HEAD_FILE"):
        HeadFile(tmp_path / "nowhere" / "head").write(Head(b"e" * 16, 0, b"", 0))


async def test_the_topic_keeps_the_newest_head_among_other_alerts(tmp_path: Path) -> None:
    bus = Log.open(tmp_path / "bus.db", SystemClock())
    heads = HeadTopic(bus)
    try:
        assert await heads.last() is None
        for seq in (1, 2):
            await heads.put(Head(b"e" * 16, seq, b"h" * 32, 5))
        await bus.publish(ALERTS, [Message("seals", {}, b"{}"), *[Message("x", {"a": "b"}, b"{}")] * 450])
        assert await heads.last() == Head(b"e" * 16, 2, b"h" * 32, 5)
    finally:
        await bus.aclose()


class Readable(Scripted):
    """A Kingdee that can be read, and counts how often; ``broken``: what a read raises."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        super().__init__()
        self.bodies = bodies
        self.broken: Exception | None = None
        self.reads = 0

    async def read(self, stream: str, after: Any, *, org: str = "") -> AsyncIterator[Page]:
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        now = SystemClock().now()
        yield Page(
            [SourceRecord(VendorKey(org, b["FCUSTID"]), b, now) for b in self.bodies], {"at": after is None}
        )

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[Any]:
        return [Failed(Refused("none", cause=Cause.NOT_FOUND)) for _ in keys]


def stopped_hub(site: Site, kingdee: Readable) -> Hub:
    """Return a hub whose store was put back, with a Kingdee that can be read and nothing else configured."""
    worked(site)
    kept = copy_of(site.data, site.folder / "kept")
    site.customer()
    worked(site)
    shutil.rmtree(site.data)
    copy_of(kept, site.data)
    hub = opened(site)
    hub.connectors.clear()
    hub.connectors["k3"] = kingdee
    return hub


def drop_wecom(site: Site) -> None:
    """Without WeCom's syncs: only Kingdee is read."""
    text = (site.folder / "hub.yaml").read_text("utf-8")
    head, _, syncs = text.partition("\nsyncs:\n")
    (site.folder / "hub.yaml").write_text(
        f"{head}\nsyncs:\n{syncs[syncs.index('  k3.customer.out:') :]}", "utf-8"
    )


async def run_until(hub: Hub, said: Any, *, kingdee: Readable, seconds: float = 20.0) -> None:
    runtime = Runtime(hub.store, hub.world, hub.bus, hub.clock, hub.connectors, holder="w", sealer=wiring.sealer(hub),
                      heads=wiring.seal_heads(hub.settings, None))  # fmt: skip
    running = asyncio.ensure_future(runtime.run())
    try:
        async with asyncio.timeout(seconds):
            while not said():
                assert not running.done(), running.exception()
                await asyncio.sleep(0)
                await asyncio.to_thread(SystemClock().monotonic)
    finally:
        runtime.stop.set()
        await running


async def test_the_sources_are_read_and_taken_before_writes_open(site: Site) -> None:
    drop_wecom(site)
    kingdee = Readable({"FCUSTID": "7", "FName": "示例回读有限公司", "FNumber": "C7", "FDocumentStatus": "C"})
    hub = await asyncio.to_thread(stopped_hub, site, kingdee)
    try:
        hub.store.run_now(writes.ask, by="user:test")
        known = []

        def said() -> bool:
            names = hub.store.read_now(lambda tx: tx.cursor.execute("SELECT body FROM records").fetchall())
            is_open = hub.store.read_now(lambda tx: tx.writes_open)
            known.append((is_open, any("示例回读" in body for (body,) in names)))
            return is_open

        await run_until(hub, said, kingdee=kingdee)
        assert known[-1] == (True, True)
        assert kingdee.reads >= 1
        head = await wiring.seal_heads(hub.settings, None).last()
        assert head is not None
        assert head.epoch == hub.store.epoch
        actors = hub.store.read_now(lambda tx: tx.cursor.execute("SELECT actor FROM acts WHERE verb = 'writes.opened'").fetchall())  # fmt: skip
        assert actors == [("user:test",)]
    finally:
        await hub.aclose()
    assert await asyncio.to_thread(worked, site) is None


@pytest.mark.parametrize("broken", [TryAgain("no answer", cause=Cause.UNREACHABLE), None])
async def test_a_source_that_cannot_be_read_keeps_writes_stopped_and_is_named(
    site: Site, broken: Exception | None
) -> None:
    drop_wecom(site)
    kingdee = Readable()
    kingdee.broken = broken
    hub = await asyncio.to_thread(stopped_hub, site, kingdee)
    if broken is None:
        hub.connectors.clear()  # the connection did not start
    try:
        hub.store.run_now(writes.ask, by="user:test")
        reopening = Reopening(hub.store, hub.world, hub.bus, hub.clock, hub.connectors, "w", wiring.seal_heads(hub.settings, None))  # fmt: skip
        assert await reopening.turn() > 1
        found = hub.store.read_now(writes.stopped)
        assert found is not None
        assert list(found.progress["trouble"]) == ["k3.customer.in"]
        assert "k3.customer.in" in json.dumps(found.progress)
    finally:
        await hub.aclose()
    assert "cannot be read" in await asyncio.to_thread(site.cli, "writes", "show")


async def test_without_reading_writes_open_when_a_person_says_so(site: Site) -> None:
    drop_wecom(site)
    kingdee = Readable()
    hub = await asyncio.to_thread(stopped_hub, site, kingdee)
    try:
        hub.store.run_now(writes.ask, by="user:test", unread=True)
        heads = wiring.seal_heads(hub.settings, None)
        reopening = Reopening(hub.store, hub.world, hub.bus, hub.clock, {}, "w", heads)
        await reopening.turn()
        assert hub.store.read_now(lambda tx: tx.writes_open)
        assert kingdee.reads == 0
        assert await heads.last() == hub.store.read_now(head_of)
    finally:
        await hub.aclose()
