"""First contact with Yonyou: the check, the deep look, the pages an administrator reads, the mapping pack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.yonyou import YonyouConnector
from connectors.yonyou.events import EVENTS
from connectors.yonyou.probing import POINTS
from hub.mapping import Context, Mapped, Schemas, crm_schemas, load_value_maps, run_tests
from hub.mapping import compile as compile_mapping
from hub.registry import connector, sandbox
from hub.sdk import Cause, TryAgain, VendorKey
from hub.sdk.kit import Bench, scripted
from tests.contract.yonyou_stand import (
    GREETING,
    OlderStand,
    YonyouStand,
    answer,
    bench,
    box,
    customer,
    run,
    yonyou,
)

HERE = Path(__file__).parents[2] / "connectors" / "yonyou"
FOLDER = Path(__file__).parents[2] / "mappings" / "yonyou"
PAGES = [("README.md", "en"), ("README.zh-CN.md", "zh")]
SPEC = YonyouConnector.spec


def test_the_entry_points_lead_to_the_connector_and_its_sandbox():
    assert connector("yonyou") is YonyouConnector
    assert sandbox("yonyou").name == "yonyou"


# ------------------------------------------------------------------------------------------- check


async def test_the_steps_of_a_good_check_are_in_working_order(bench: Bench, yonyou: YonyouConnector):
    report = await yonyou.check()
    assert [step.name for step in report.steps] == [
        "data_centre",
        "token",
        "customers",
        "receipts",
        "callback",
    ]
    assert report.ok
    assert "ORG001" in report.steps[-1].en
    assert not bench.stand.effects("customer")


async def test_polling_alone_is_said(bench: Bench):
    report = await bench.connect(bench.stand.settings() | {"receive": "poll"}).check()
    assert "poll" in report.steps[-1].zh


@pytest.mark.parametrize(("prefix", "step"), [("digitalModel", "customers"), ("EFI", "receipts")])
async def test_an_api_without_a_grant_names_the_place_to_grant_it(
    bench: Bench, yonyou: YonyouConnector, prefix: str, step: str
):
    box(bench).gate.ungranted = {prefix}
    report = await yonyou.check()
    last = report.steps[-1]
    assert (last.name, last.code) == (step, Cause.PERMISSION)
    assert "API授权" in last.zh
    assert prefix in last.en


async def test_a_generation_the_tenant_does_not_have_shows_at_the_check(bench: Bench):
    box(bench).gate.ungranted = {"fi/receivebill"}
    report = await bench.connect(bench.stand.settings() | {"receipts": "receivebill"}).check()
    assert report.steps[-1].name == "receipts"


# ------------------------------------------------------------------------------------------- the deep look


async def test_every_open_point_is_looked_at_or_says_why_not_and_nothing_is_written(
    bench: Bench, yonyou: YonyouConnector
):
    await bench.stand.seed("receipt", 2)
    before = len(box(bench).ledger())
    probes = await yonyou.probe()
    assert [one.point for one in probes] == [point.name for point in POINTS]
    found = {one.point: one.outcome for one in probes}
    assert {one.point for one in probes if one.outcome == "skipped"} == {
        p.name for p in POINTS if p.look is None
    }
    assert found["1.2 tokens side by side"] == "confirmed"
    assert found["1.3 token in the header"] == "confirmed"
    assert found["2.0 page out of range"] == "confirmed"
    assert found["2.0 time zone of pubts"] == "confirmed"
    assert found["2.0 headers alone"] == "confirmed"
    assert found["2.1 simpleVOs on newlist"] == "contradicted"  # the stand-in ignores it
    assert found["1.2 accepted age of a timestamp"] == "confirmed"
    assert len(box(bench).ledger()) == before


async def test_a_tenant_that_differs_is_told_as_it_is(bench: Bench, yonyou: YonyouConnector):
    dials = box(bench).dials
    dials.new_token_voids_old, dials.header_token, dials.check_skew = True, False, False
    found = {one.point: (one.outcome, one.seen) for one in await yonyou.probe()}
    assert found["1.2 tokens side by side"][0] == "contradicted"
    assert found["1.3 token in the header"][0] == "contradicted"
    assert found["1.2 accepted age of a timestamp"] == ("contradicted", "accepted at 300 s, 900 s, 3600 s")


async def test_a_report_holds_no_name_no_number_and_no_token(bench: Bench, yonyou: YonyouConnector):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    text = " ".join(f"{one.outcome} {one.seen}" for one in await yonyou.probe())
    secret = bench.stand.settings()["app_secret"].reveal()
    for word in ("示例科技", made.vendor_id, "CRM-", "ORG001", secret, "sandbox1", *box(bench).gate._tokens):
        assert word not in text


async def test_once_the_tenant_is_lost_nothing_more_is_asked(bench: Bench):
    connector = bench.connect(http=scripted(*GREETING, answer(code="310046", message="API被限流")))
    probes = await connector.probe()
    asked = [one for one in probes if one.outcome == "unclear" and not one.seen.startswith("not asked")]
    assert len(asked) == 1


async def test_the_older_generation_is_probed_without_the_newer_ones_lists():
    async with Bench.open(YonyouConnector, OlderStand) as bench:
        box(bench).gate.ungranted = {"EFI"}
        found = {one.point: one.outcome for one in await bench.connect().probe()}
    assert (found["2.0 page out of range"], found["2.0 headers alone"]) == ("unclear", "unclear")


# ------------------------------------------------------------------------------------------- the pages


def lines(page: str) -> list[str]:
    return (HERE / page).read_text("utf-8").splitlines()


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_settings_table_is_the_spec(page: str, language: str):
    types = ("url", "text", "secret", "integer", "number", "flag")
    table = [line for line in lines(page) if line.startswith("| `") and line.split("|")[2].strip() in types]
    assert table == [
        f"| `{one.name}` | {one.type} | {'–' if one.default in (None, '') else one.default} | {getattr(one, language)} |"
        for one in SPEC.settings
    ]


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_table_of_events_is_the_one_that_runs(page: str, language: str):
    shown = [
        line
        for line in lines(page)
        if line.startswith("| `") and line.split("|")[2].strip()[:1] in ("→", "–")
    ]
    shown = [line for line in shown if line.count("|") == 3]
    assert shown == [
        f"| `{word}` | {'→' if row.stream else '–'} {getattr(row, language)} |"
        for word, row in EVENTS.items()
    ]


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_every_code_of_the_page_has_the_meaning_the_table_gives_it(page: str, language: str):
    text = (HERE / page).read_text("utf-8")
    codes = [code for code in SPEC.codes if len(code) == 6 and code in text]
    assert len(codes) > 15
    assert (
        not {word for word in _numbers(text) if len(word) == 6 and word.startswith("31")} - SPEC.codes.keys()
    )


def _numbers(text: str) -> set[str]:
    return {"".join(group) for group in _runs(text)}


def _runs(text: str) -> list[str]:
    found, current = [], ""
    for sign in text + " ":
        if sign.isascii() and sign.isdigit():
            current += sign
        elif current:
            found.append(current)
            current = ""
    return found


# ------------------------------------------------------------------------------------------- the mapping pack


def schemas() -> Schemas:
    crm = crm_schemas()
    sources = {**crm, **{f"yonyou.{name}": dict(spec.fields) for name, spec in SPEC.streams.items()}}
    targets = {**crm, **{f"yonyou.{name}": dict(spec.fields) for name, spec in SPEC.objects.items()}}
    return Schemas(sources, targets, load_value_maps(FOLDER))


@pytest.mark.parametrize("name", ["customer.in", "customer.out", "payment.out"])
def test_every_shipped_mapping_passes_its_cases(name: str):
    outcomes = run_tests(FOLDER / f"{name}.yaml", schemas())
    assert len(outcomes) >= 3
    assert [one for one in outcomes if not one.passed] == []


async def test_what_the_mapping_writes_the_sandbox_takes_and_what_it_shows_the_mapping_reads(
    bench: Bench, yonyou: YonyouConnector
):
    def made(name: str) -> Any:
        path = FOLDER / f"{name}.yaml"
        return compile_mapping(path.read_text("utf-8"), schemas(), file=str(path))

    crm = {"name": "示例科技有限公司", "uscc": "91350100M000100Y43", "phone": "+862162123456", "street": "示例路1号",
           "email": "ap@example.test", "name_short": "示例"}  # fmt: skip
    out = made("customer.out").run(crm, Context(org="ORG001", business_key="5f0c"))
    assert isinstance(out, Mapped)
    ref = await run(bench, yonyou, replace(bench.create("customer"), payload=out.fields), ("save",))
    (record,) = await yonyou.fetch("customer", [VendorKey("ORG001", ref.vendor_id)])
    back = made("customer.in").run(record.body, Context(org="ORG001"))  # type: ignore[union-attr]
    assert isinstance(back, Mapped)
    assert {name: back.fields[name] for name in crm} == crm
    assert orjson.dumps(out.fields)


async def test_a_stand_that_is_down_is_unreachable_and_not_a_wrong_setting(
    bench: Bench, yonyou: YonyouConnector
):
    box(bench).dials.down = True
    with pytest.raises(TryAgain):
        await bench.pages(yonyou, "customer")
    box(bench).dials.down = False
    assert isinstance(bench.stand, YonyouStand)
    assert customer(1)["code"] == "CRM-000001"
    assert await bench.pages(yonyou, "customer")
