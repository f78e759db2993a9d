"""``hub run``: what an operator sees of a read, when it is cut, held back, only looked at, or read with another."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub import registry, wiring
from hub.cli import reading
from hub.clock import SECOND
from hub.pipe import read, room
from hub.pipe.absence import FEW
from hub.pipe.jobs import lease, note_progress
from hub.pipe.world import Timing
from hub.sdk.connector import Page, SourceRecord, VendorKey
from hub.sdk.spec import Budget
from tests.flows.cli_site import Scripted, Site, make_site

SYNC = "k3.customer.in"


class Pager(Scripted):
    """A Kingdee whose customers come in pages of two."""

    def __init__(self, count: int = 6) -> None:
        super().__init__()
        self.count = count
        self.before: Callable[[int], Any] = lambda number: None
        self.total: int | None = count
        self.beside = ""
        self.parts: list[int] = []

    async def read(self, stream: str, after: Any, *, org: str = "") -> Any:
        for at in range(after or 0, self.count, 2):
            if (waiting := self.before(at)) is not None:
                await waiting
            records = [
                SourceRecord(VendorKey(org, str(100 + n)), {"FCUSTID": 100 + n, "FNumber": f"N{n}"}, SECOND)
                for n in range(at, min(at + 2, self.count))
            ]
            beside = [(self.beside, record) for record in records] if self.beside else []
            cursor = {"done": self.parts[at // 2], "of": 3, "at": at + 2} if self.parts else at + 2
            yield Page(records, cursor, beside, total=self.total)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def pager(monkeypatch: pytest.MonkeyPatch) -> Pager:
    made = Pager()
    monkeypatch.setattr(wiring, "connect", lambda hub, name: made)
    return made


def interrupted() -> Any:
    signal.raise_signal(signal.SIGINT)
    return asyncio.Event().wait()


def test_a_read_tells_how_much_how_fast_and_how_many_calls(site: Site, pager: Pager) -> None:
    told = site.json("run", SYNC)
    assert {key: told[key] for key in ("ok", "sync", "records", "pages", "published", "complete", "done")} == {
        "ok": True, "sync": SYNC, "records": 6, "pages": 3, "published": 6, "complete": True, "done": True,
    }  # fmt: skip
    assert told["rate"] > 0
    assert (told["rejected"], told["calls"], told["quota"]) == (0, 0, [])
    said = site.cli("run", SYNC)
    assert "0 records read" in said
    assert "0 calls" in said


def test_an_interrupted_read_says_how_to_go_on_and_does(site: Site, pager: Pager) -> None:
    pager.before = lambda at: interrupted() if at == 4 else None
    said = site.cli("run", SYNC, code=130)
    assert "the position is kept at 4 records" in said
    assert f"hub run {SYNC}" in said
    pager.before = lambda at: None
    said = site.cli("run", SYNC)
    assert "2 records read" in said
    assert "4 records had been published before, 6 in all" in said
    told = site.json("run", SYNC)
    assert (told["resumed"], told["records"]) == (False, 0)


def test_a_read_that_was_cut_before_its_first_page_speaks_of_no_earlier_records(
    site: Site, pager: Pager
) -> None:
    pager.before = lambda at: interrupted()
    assert "kept at 0 records" in site.cli("run", SYNC, code=130)
    pager.before = lambda at: None
    said = site.cli("run", SYNC)
    assert "6 records read" in said
    assert "before" not in said


def test_a_read_of_which_nobody_takes_anything_says_what_to_do_and_ends(
    site: Site, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(hub: wiring.Hub, _name: str) -> Pager:
        hub.world = replace(hub.world, timing=Timing(read_lag=1))
        return pager

    monkeypatch.setattr(wiring, "connect", narrow)
    monkeypatch.setattr(room, "STEP", 0.001)
    monkeypatch.setattr(reading, "IDLE", 0.0)
    said = site.cli("run", SYNC, "--wait", "0.05", code=75)
    assert "paused, 2 messages wait to be taken, and nobody has taken one" in said
    assert "Start hub up in another terminal" in said
    assert "gives up in" in said
    assert "nobody took one for 0.05 s: given up. The position is kept at 2 records" in said
    told = json.loads(site.cli("run", SYNC, "--wait", "0.05", "--output", "json", code=75))
    assert (told["ok"], told["exit"], told["published"]) == (False, 75, 2)
    shown = site.cli("status")
    assert "bus hub.inbound.bulk: 2 messages wait to be taken: k3/customer 2" in shown
    assert "paused" not in shown  # nobody reads any more
    topics = {one["topic"]: one for one in site.json("status")["bus"]["topics"]}
    assert topics["hub.inbound.bulk"]["messages"] == 2
    assert topics["hub.inbound"]["messages"] == 0


def test_status_says_that_a_read_is_paused_and_for_what(site: Site, pager: Pager) -> None:
    with site.hub() as hub:
        held = hub.store.run_now(lease, f"read:{SYNC}", "reader", "other", 60.0)
        assert held is not None
        assert "(reading)" in site.cli("status")
        told = {"waiting": 20_400, "topic": "hub.inbound.bulk", "until": 10_000}
        hub.store.run_now(note_progress, held, told)
    shown = site.cli("status")
    assert f"{SYNC}: reading is paused: 20400 messages of hub.inbound.bulk waited" in shown
    assert "goes on when 10000 are left" in shown
    (sync,) = [one for c in site.json("status")["connections"] for one in c["syncs"] if one["name"] == SYNC]
    assert sync["reading"] == {"paused": True, "waiting": 20_400, "topic": "hub.inbound.bulk"}


def test_an_interrupted_read_is_one_json_object_too(site: Site, pager: Pager) -> None:
    pager.before = lambda at: interrupted() if at == 2 else None
    told = json.loads(site.cli("run", SYNC, "--output", "json", code=130))
    assert (told["ok"], told["interrupted"], told["published"], told["done"]) == (False, True, 2, False)


def test_everything_is_read_anew_only_if_asked(site: Site, pager: Pager) -> None:
    site.json("run", SYNC)
    assert site.json("run", SYNC)["records"] == 0
    assert site.json("run", SYNC, "--full")["records"] == 6


def test_an_estimate_reads_one_page_and_a_dry_run_all_and_neither_leaves_a_trace(
    site: Site, pager: Pager
) -> None:
    estimate = site.json("run", SYNC, "--estimate")
    assert (estimate["total"], estimate["records"], estimate["pages"]) == (6, 2, 1)
    assert "about 6 records" in site.cli("run", SYNC, "--estimate")
    pager.total = None
    assert "does not say how many" in site.cli("run", SYNC, "--estimate")
    assert "nothing was published" in site.cli("run", SYNC, "--dry-run")
    assert site.ask("SELECT count(*) FROM jobs WHERE kind = 'reader'") == [(0,)]
    assert site.json("run", SYNC)["records"] == 6


def test_an_estimate_is_not_made_up_of_a_share_that_nobody_has_named(
    site: Site, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager.total, pager.parts, pager.count = None, [0, 0, 3], 6
    with monkeypatch.context() as few:
        few.setattr(reading, "FEW_PAGES", 2)
        said = site.cli("run", SYNC, "--estimate")
    assert "no estimate yet: pages read: 2 (4 records" in said
    assert "about" not in said
    pager.count = 30
    pager.parts = [0, 0, 1, *[2] * 20]
    with monkeypatch.context() as sample:
        sample.setattr(read, "SAMPLE", 3)
        said = site.cli("run", SYNC, "--estimate")  # the third page is behind a third of all
    assert "about 18 records; pages read: 3 (6 records" in said
    assert "read to its end: 30 records" in site.cli("run", SYNC, "--estimate"), "parts are of any size"
    pager.count = 0
    assert "read to its end: 0 records" in site.cli("run", SYNC, "--estimate")


def test_records_of_streams_that_are_read_together_are_counted_apart(
    site: Site, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.specs()
    spec = known["kingdee"]
    streams = {
        "customer": replace(spec.streams["customer"], title_en="customers"),
        "receipt": replace(
            spec.streams["customer"],
            name="receipt",
            title_zh="收款单",
            title_en="receipts",
            read_with="customer",
        ),
    }
    monkeypatch.setattr(registry, "specs", lambda: {**known, "kingdee": replace(spec, streams=streams)})
    text = (site.folder / "hub.yaml").read_text("utf-8")
    more = "  k3.receipt.in: {source: k3.receipt, mapping: kingdee/receipt.in, mode: observe}\n"
    (site.folder / "hub.yaml").write_text(text + more, "utf-8")
    folder = site.folder / "mappings" / "kingdee"
    mapping = (folder / "customer.in.yaml").read_text("utf-8")
    mapping = mapping.replace("kingdee/customer.in", "kingdee/receipt.in").replace(
        "kingdee.customer", "kingdee.receipt"
    )
    (folder / "receipt.in.yaml").write_text(mapping, "utf-8")
    pager.beside = "receipt"
    told = site.json("run", SYNC)
    assert (told["records"], told["streams"]) == (12, {"customer": 6, "receipt": 6})
    assert "6 customers, 6 receipts read" in site.cli("run", SYNC, "--full")
    assert "6 条收款单" in site.cli("--lang", "zh", "run", SYNC, "--full")
    said = site.cli("run", SYNC, "--full", "--estimate")
    assert "about 6 customers; pages read: 1 (2 customers, 2 receipts" in said


def test_somebody_else_s_read_is_not_disturbed(site: Site, pager: Pager) -> None:
    with site.hub() as hub:
        hub.store.run_now(lease, f"read:{SYNC}", "reader", "other", 60.0)
    assert "somebody else is reading" in site.cli("run", SYNC, code=1)


def test_the_share_of_a_rate_is_told(site: Site, pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.specs()
    spec = known["kingdee"]
    rated = replace(spec, budgets=(Budget("all", "account", "rate", 600, 60.0), *spec.budgets))
    monkeypatch.setattr(registry, "specs", lambda: {**known, "kingdee": rated})

    class Counted:
        calls = 30

        async def close(self) -> None:
            """Nothing is open."""

    def connect(hub: wiring.Hub, _name: str) -> Pager:
        hub.clients.append(Counted())  # type: ignore[arg-type]  # counts like one
        return pager

    monkeypatch.setattr(wiring, "connect", connect)
    told = site.json("run", SYNC)
    assert told["calls"] == 30
    assert told["quota"] == [{"budget": "account/all", "limit": 600, "per": 60.0, "share": 0.05}]
    assert "at most 5.0% of account/all (600 in 60 s)" in site.cli("run", SYNC)
    Counted.calls = 1
    rated = replace(spec, budgets=(Budget("all", "account", "rate", 60_000, 60.0),))
    assert "less than 0.1% of account/all (60000 in 60 s)" in site.cli("run", SYNC)


def test_what_the_running_hub_must_read_once_more_counts_in_the_share(
    site: Site, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.specs()
    rated = replace(known["kingdee"], budgets=(Budget("all", "account", "rate", 600, 60.0),))
    monkeypatch.setattr(registry, "specs", lambda: {**known, "kingdee": rated})

    def connect(hub: wiring.Hub, _name: str) -> Pager:
        pager.before = lambda at: hub.store.run_now(_stale, at // 2)
        return pager

    monkeypatch.setattr(wiring, "connect", connect)
    told = site.json("run", SYNC)
    assert (told["calls"], told["rereads"], told["quota"][0]["share"]) == (0, 6, 0.01)
    assert "6 objects came stale" in site.cli("run", SYNC, "--full")


def _stale(tx: Any, count: int) -> None:
    """Take some in, as a running hub does meanwhile."""
    items = [{"sync": SYNC, "subject": str(number), "outcome": "stale"} for number in range(2 * count)]
    tx.journal(
        "take",
        "take",
        {"items": [*items, {"sync": "k3.other.in", "outcome": "stale"}, {"sync": SYNC, "outcome": "same"}]},
    )


def test_a_stream_read_with_another_says_which_sync_to_run(
    site: Site, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.specs()
    spec = known["kingdee"]
    beside = replace(spec.streams["customer"], read_with="other")
    changed = replace(spec, streams={"customer": beside})
    monkeypatch.setattr(registry, "specs", lambda: {**known, "kingdee": changed})
    text = (site.folder / "hub.yaml").read_text("utf-8")
    refused = site.cli("validate", code=1)
    assert "customer has no read of its own: a sync with source: k3.other reads it" in refused
    lines = [line for line in text.splitlines() if "schedule:" not in line]
    (site.folder / "hub.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    assert "it has no read of its own" in site.cli("run", SYNC, code=1)
    assert "k3.other" in site.cli("run", SYNC, code=1)
    assert "它没有自己的读取" in site.cli("--lang", "zh", "run", SYNC, code=1)


def test_what_was_held_back_is_shown_and_let_go_by_a_person(site: Site, pager: Pager) -> None:
    assert "nothing waits to be confirmed" in site.cli("run", SYNC, "--confirm-absent", code=1)
    with site.hub() as hub:
        hub.store.run_now(_held, SYNC)
    shown = site.cli("status")
    assert f"did not show {FEW + 1} of {FEW + 5} objects" in shown
    assert f"hub run {SYNC} --confirm-absent" in shown
    (sync,) = [one for c in site.json("status")["connections"] for one in c["syncs"] if one["name"] == SYNC]
    assert sync["absent"] == [{"stream": "customer", "absent": FEW + 1, "live": FEW + 5}]
    assert site.json("run", SYNC, "--confirm-absent") == {"ok": True, "sync": SYNC, "confirmed": FEW + 1}
    assert "did not show" not in site.cli("status")
    assert site.ask("SELECT state FROM jobs WHERE name = ?", f"sweep:{SYNC}") == [("confirmed",)]
    assert site.ask("SELECT actor FROM acts WHERE verb = 'confirm'")[0][0].startswith("user:")


def _held(tx: Any, sync: str) -> None:
    progress = json.dumps({"streams": [{"stream": "customer", "absent": FEW + 1, "live": FEW + 5}]})
    tx.cursor.execute(
        "INSERT INTO jobs (name, kind, spec, position, due, fence, progress, state, act) "
        "VALUES (?, 'sweep', '{}', '{}', 0, 0, ?, 'held', 0)",
        (f"sweep:{sync}", progress),
    )
