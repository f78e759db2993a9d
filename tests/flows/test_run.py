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
from hub.clock import SECOND
from hub.pipe.absence import FEW
from hub.pipe.jobs import lease
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

    async def read(self, stream: str, after: Any, *, org: str = "") -> Any:
        for at in range(after or 0, self.count, 2):
            if (waiting := self.before(at)) is not None:
                await waiting
            records = [
                SourceRecord(VendorKey(org, str(100 + n)), {"FCUSTID": 100 + n, "FNumber": f"N{n}"}, SECOND)
                for n in range(at, min(at + 2, self.count))
            ]
            yield Page(records, at + 2, total=self.total)


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
    told = site.json("run", SYNC)
    assert (told["resumed"], told["records"], told["published"]) == (True, 2, 6)
    assert "resumed" not in site.cli("run", SYNC)


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
