"""``hub check --deep``: what an operator sees, the report that may be shared, and what never stands in it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from connectors.kingdee.sandbox import Account, KingdeeSandbox
from hub import registry
from hub.cli.report import probe_report
from hub.errors import Cause, TryAgain
from hub.sdk.connector import CheckReport, CheckStep, Connector, Probe
from hub.sdk.sandbox import running
from hub.sdk.secret import Secret
from tests.flows.cli_site import Site, make_site
from tests.kingdee_stand import customer, flat

CANARIES = ("CANARY甲乙丙丁有限公司", "CANARY-5566778", "13800138000", "canary@example.com")
ACCOUNT = Account(
    acct_id="canarycentre99", user_name="canary-user", app_secret="ca4a12ca4a12ca4a12ca4a12ca4a12ff"
)


@dataclass
class Place:
    """A project whose connection k3 meets a sandbox of this process."""

    site: Site
    box: KingdeeSandbox
    url: str

    async def cli(self, *args: str, code: int = 0, lang: str = "en") -> str:
        """Run a command beside the sandbox's loop."""
        return await asyncio.to_thread(self.site.cli, *args, code=code, lang=lang)

    async def json(self, *args: str, code: int = 0) -> Any:
        return await asyncio.to_thread(self.site.json, *args, code=code)

    def reports(self) -> list[Path]:
        return sorted(self.site.data.glob("probes-*.json"))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    box = KingdeeSandbox(account=ACCOUNT)
    fields = customer(1) | {"FNumber": CANARIES[1], "FName": f"{CANARIES[0]}'", "FTEL": CANARIES[2], "FWEBSITE": CANARIES[3]}  # fmt: skip
    box.desk.seed("BD_Customer", flat(fields), "C")
    async with running(box) as url:
        one = Place(make_site(tmp_path, url=url), box, url)
        credentials = box.credentials(url)
        for name in ("acct_id", "user_name", "app_id", "app_secret"):
            words = ("secrets", "set", f"k3-{name.replace('_', '-')}", "--stdin")
            await asyncio.to_thread(one.site.cli, *words, given=credentials[name])
        yield one


class Told(Connector):
    """Says what a test gives it."""

    spec: ClassVar = registry.specs()["kingdee"]
    steps: ClassVar[tuple[CheckStep, ...]] = (CheckStep("address", ok=True, zh="可达", en="it answers"),)
    probes: ClassVar[Sequence[Probe]] = ()
    error: ClassVar[Exception | None] = None

    async def check(self) -> CheckReport:
        return CheckReport(self.steps)

    async def probe(self) -> Sequence[Probe]:
        if self.error is not None:
            raise self.error
        return self.probes


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A project whose connector is Told."""
    one = make_site(tmp_path)
    for name, value in (("acct-id", ACCOUNT.acct_id), ("user-name", ACCOUNT.user_name), ("app-id", ACCOUNT.app_id),
                        ("app-secret", ACCOUNT.app_secret)):  # fmt: skip
        one.cli("secrets", "set", f"k3-{name}", "--stdin", given=value)
    known = registry.connector
    monkeypatch.setattr(registry, "connector", lambda name: Told if name == "kingdee" else known(name))
    for name, value in (("probes", ()), ("error", None), ("steps", Told.steps)):
        monkeypatch.setattr(Told, name, value)  # what a test sets is undone
    return one


def shapes(value: str) -> set[str]:
    """Return the forms in which a value may stand in a text."""
    raw = value.encode()
    return {
        value,
        raw.hex(),
        raw.hex().upper(),
        quote(value, safe=""),
        base64.b64encode(raw).decode().rstrip("="),
    }


def leaks(text: str, values: Iterable[str]) -> list[str]:
    return [value for value in values if any(one.lower() in text.lower() for one in shapes(value))]


# the way to it --------------------------------------------------------------------------------------------------


async def test_a_good_check_is_followed_by_the_probes_and_a_report_of_ones_own(place: Place) -> None:
    told = await place.cli("check", "k3", "--deep")
    assert "the connection k3 works" in told
    assert "may be shared" in told
    assert "2.6 quotes in FilterString" in told
    assert "confirmed" in told
    (file,) = place.reports()
    assert str(file) in told
    assert file.stat().st_mode & 0o777 == 0o600
    report = json.loads(file.read_text("utf-8"))
    assert list(report) == ["connector", "hub", "date", "probes"]
    assert (report["connector"], report["hub"]) == ("kingdee", "0.1.0")
    assert {one["outcome"] for one in report["probes"]} <= {"confirmed", "contradicted", "unclear", "skipped"}
    assert all(one["point"] and one["zh"] and one["en"] for one in report["probes"])
    assert not list(place.site.data.glob(".probes-*"))


async def test_a_program_gets_the_same_and_where_it_is(place: Place) -> None:
    target = place.site.folder / "seen.json"
    target.write_text("older", "utf-8")
    target.chmod(0o644)
    told = await place.json("check", "k3", "--deep", "--report", str(target))
    saved = json.loads(target.read_text("utf-8"))
    assert {name: told[name] for name in saved} == saved
    assert (told["ok"], told["report"]) == (True, str(target))
    assert [step["name"] for step in told["steps"]][-1] == "callback"
    assert target.stat().st_mode & 0o777 == 0o600
    assert place.reports() == []


async def test_the_table_speaks_chinese_too(place: Place) -> None:
    told = await place.cli("check", "k3", "--deep", lang="zh")
    for said in ("连接 k3 可用", "证实", "未测", "需要写入", "可以分享", "可见范围"):
        assert said in told


async def test_without_deep_nothing_is_probed_or_written(place: Place) -> None:
    assert "2.6" not in await place.cli("check", "k3")
    assert set(await place.json("check", "k3")) == {"ok", "steps"}
    assert place.reports() == []


async def test_a_failed_check_is_not_probed(place: Place) -> None:
    await asyncio.to_thread(place.site.cli, "secrets", "set", "k3-app-secret", "--stdin", given="0" * 32)
    told = await place.cli("check", "k3", "--deep", code=1)
    assert "第三方系统登录授权" in told
    assert "nothing was probed" in told
    assert set(await place.json("check", "k3", "--deep", code=1)) == {"ok", "steps"}
    assert place.reports() == []


async def test_nothing_is_written_at_the_vendor(place: Place) -> None:
    before = list(place.box.ledger())
    await place.cli("check", "k3", "--deep")
    assert list(place.box.ledger()) == before


# what is not shown ----------------------------------------------------------------------------------------------


async def test_no_secret_address_id_or_value_is_in_the_report_or_on_the_screen(place: Place) -> None:
    own = [ACCOUNT.acct_id, ACCOUNT.user_name, ACCOUNT.app_id, ACCOUNT.app_secret, place.url, "127.0.0.1"]
    screen = await place.cli("check", "k3", "--deep")
    program = await place.cli("check", "k3", "--deep", "--output", "json")
    for text in (screen, program, *(file.read_text("utf-8") for file in place.reports())):
        assert "FilterString" in text
        assert not leaks(text, [*CANARIES, *own])


def test_a_connector_that_says_too_much_is_masked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (ACCOUNT.app_secret, ACCOUNT.acct_id, ACCOUNT.user_name, ACCOUNT.app_id)
    said = [shape for value in secrets for shape in shapes(value)]
    said += [
        base64.b64encode(f"{before}{ACCOUNT.app_secret}!".encode()).decode() for before in ("", "a", "ab")
    ]
    foreign = ["https://erp.example.com/k3cloud/?a=1", "erp.example.com", "10.1.2.3", "li@corp.cn", "13800138000",
               "%E7%94%B2%E4%B9%99", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"]  # fmt: skip
    probes = [Probe(f"p{number}", f"说{one}", f"s {one}", "unclear", f"seen={one};3") for number, one in enumerate(said + foreign)]  # fmt: skip
    monkeypatch.setattr(Told, "probes", probes)
    told = site.cli("check", "k3", "--deep", "--output", "json")
    assert not leaks(told, [*secrets, *foreign])
    assert base64.b64encode(f"ab{ACCOUNT.app_secret}".encode()).decode()[4:30] not in told
    (file,) = site.data.glob("probes-*.json")
    assert not leaks(file.read_text("utf-8"), [*secrets, *foreign])


def test_counts_codes_and_names_of_fields_stay_readable() -> None:
    seen = "codes 3: 1 2 3; errcode 6010100; FRECEIVEBILLENTRY.FSETTLETYPEID.FNumber: yes; rows 300000 of 1000000"
    connector = Told({"app_secret": Secret("ca4a12ca"), "receipt_key_field": "FTHIRDBILLNO"}, None)  # type: ignore[arg-type]
    report = probe_report(connector, [Probe("FTHIRDBILLNO", "", "", "confirmed", seen)], 0)
    assert (report["probes"][0]["point"], report["probes"][0]["seen"]) == ("FTHIRDBILLNO", seen)


def test_what_a_terminal_obeys_is_written_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "probes", [Probe("p", "z", "e", "unclear", "\x1b[31m[bold]\u202e")])
    for output in ("table", "json"):
        told = site.cli("check", "k3", "--deep", "--output", output)
        assert "\x1b" not in told
        assert "\u202e" not in told


# bad ends -------------------------------------------------------------------------------------------------------


def test_a_connector_without_probes_says_so(site: Site) -> None:
    assert "has no probes" in site.cli("check", "k3", "--deep")
    told = site.json("check", "k3", "--deep")
    assert (told["ok"], told["probes"], told["report"]) == (True, [], None)
    assert not list(site.data.glob("probes-*"))


def test_a_system_that_goes_away_meanwhile_leaves_no_report(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Told, "error", TryAgain("gone", cause=Cause.UNREACHABLE))
    told = site.cli("check", "k3", "--deep", code=1)
    assert "✓ it answers" in told
    assert "cannot be reached" in told
    assert site.json("check", "k3", "--deep", code=1)["exit"] == 1
    assert not list(site.data.glob("probes-*"))


def test_an_outcome_nobody_knows_is_a_mistake_of_the_connector(site: Site) -> None:
    connector = Told({}, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="maybe"):
        probe_report(connector, [Probe("p", "", "", "maybe")], 0)


@pytest.mark.parametrize("target", ["nowhere/r.json", "."], ids=["no folder", "a folder"])
def test_a_report_that_cannot_be_written_ends_with_1_and_a_sentence(
    site: Site, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(Told, "probes", [Probe("p", "z", "e", "confirmed")])
    told = site.cli("check", "k3", "--deep", "--report", str(site.folder / target), code=1)
    assert "Traceback" not in told
    assert not list(site.folder.parent.glob(f".{site.folder.name}.*"))


def test_a_report_without_deep_is_a_wrong_use(site: Site) -> None:
    assert "--deep" in site.cli("check", "k3", "--report", "x.json", code=2)
