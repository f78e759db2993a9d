"""The routing table of approvals: who decides, rule by rule why, and what a table may not leave open."""

from __future__ import annotations

import random
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hub import registry
from hub.cli.app import build
from hub.project import ProjectInvalid, load_project
from hub.project.route_checks import gaps, overlaps
from hub.project.routes import SUBJECTS, Amounts, Facts, Route, Why, route_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE, MAPPINGS = ROOT / "examples" / "approvals", ROOT / "mappings"
REGIONS = ("", "cn/", "cn/north/", "cn/south/", "cn/south/shenzhen/")
ROUTES = load_project(EXAMPLE, registry.specs()).routes


def facts(region: str = "cn/south/", amount: str | None = "150000", **known: Any) -> Facts:
    subject = known.pop("subject", "contract")
    currency = known.pop("currency", "CNY")
    return Facts(
        subject, region, amount=None if amount is None else Decimal(amount), currency=currency, **known
    )


def route(name: str, region: str = "cn/", *, low: str = "", below: str = "", **known: Any) -> Route:
    amounts = Amounts("CNY", Decimal(low or 0), Decimal(below) if below else None) if low or below else None
    known.setdefault("subjects", ("contract",))
    return Route(name, region, connection="oa", template="T", amounts=amounts, **known)


@pytest.mark.parametrize(
    ("region", "amount", "name"),
    [
        ("cn/south/", "150000", "south-headquarters"),
        ("cn/south/", "100000", "south-headquarters"),
        ("cn/south/", "99999.99", "south-branch"),
        ("cn/south/shenzhen/", "150000", "south-headquarters"),
        ("cn/north/", "150000", "north-branch"),
        ("cn/north/", "200000", "north-headquarters"),
        ("cn/", "150000", "everywhere"),
        ("cn/south/", None, "everywhere"),
    ],
)
def test_the_same_contract_goes_to_headquarters_in_one_region_and_to_the_branch_in_another(
    region, amount, name
):
    found = route_of(ROUTES, facts(region, amount))
    assert found.route is not None
    assert found.route.name == name


def test_every_route_says_in_both_languages_why_it_decides_or_not():
    found = route_of(ROUTES, facts("cn/north/"))
    told = {one.route.name: one for one in found.tried}
    assert len(told) == len(ROUTES)
    assert told["north-branch"].why is Why.CHOSEN
    assert told["south-branch"].why is Why.REGION
    assert told["everywhere"].why is Why.FARTHER
    assert told["north-headquarters"].told("en") == "the amount 150000.00 CNY is outside >= 200000.00 CNY"
    assert told["north-headquarters"].told("zh") == "金额 150000.00 CNY 不在 >= 200000.00 CNY 之内"
    for why in Why:
        assert why.zh.format(fact="a", rule="b")
        assert why.en.format(fact="a", rule="b")


def test_an_amount_in_another_currency_is_not_compared():
    found = route_of(ROUTES, facts(currency="USD"))
    assert {one.why for one in found.tried if one.route.region == "cn/south/"} == {Why.CURRENCY}


def test_of_one_regions_routes_the_narrower_one_decides():
    table = [
        route("all"),
        route("big", low="100"),
        route("demo", entity="demo", low="100"),
        route("it", department="IT"),
    ]
    chosen = [
        route_of(table, facts("cn/", "150", entity=entity, department=department)).route
        for entity, department in (("demo", None), ("other", None), (None, "IT"))
    ]
    assert [one and one.name for one in chosen] == ["demo", "big", "big"]
    small = route_of(table, facts("cn/", "50", department="IT")).route
    assert small is not None
    assert small.name == "it"


def test_no_route_fits_and_each_says_why():
    found = route_of([route("demo", entity="demo", department="IT")], facts("cn/", entity="other"))
    assert (found.route, [one.why for one in found.tried]) == (None, [Why.ENTITY])


@pytest.mark.parametrize(
    ("table", "clash"),
    [
        ([route("a", low="0", below="100"), route("b", low="100")], False),
        ([route("a", low="0", below="101"), route("b", low="100")], True),
        ([route("a"), route("b", region="cn/south/")], False),
        ([route("a"), route("b", subjects=("refund",))], False),
        ([route("a"), route("b", subjects=("refund", "contract"))], True),
        ([route("a"), route("b", low="1")], False),
        ([route("a", entity="x"), route("b", entity="y")], False),
        ([route("a", entity="x"), route("b", department="IT")], True),
        ([route("a", entity="x"), route("b", low="1")], True),
    ],
)
def test_two_routes_that_both_decide_are_found(table, clash):
    assert bool(list(overlaps(table))) == clash


def holes(table: list[Route], currencies: tuple[str, ...] = ("CNY",)) -> list[str]:
    return [str(gap).partition("(")[2].rstrip(")") for gap in gaps(table, REGIONS, currencies)]


def test_amounts_nobody_decides_about_are_found():
    assert holes([route("a")]) == []
    assert holes([route("a", low="10", below="20"), route("b", low="30")]) == [
        "contract, cn/, < 10.00 CNY",
        "contract, cn/, >= 20.00, < 30.00 CNY",
    ]
    nested = [route("a", low="0", below="100"), route("b", "cn/south/", low="10", below="20")]
    assert holes(nested) == ["contract, cn/, >= 100.00 CNY"]
    assert holes([route("a", below="10")]) == ["contract, cn/, >= 10.00 CNY"]


def test_a_forgotten_region_entity_and_currency_are_found_once():
    assert holes([route("a", "cn/south/")]) == ["contract, cn/, >= 0.00 CNY"]
    assert holes([route("a", entity="x"), route("b", entity="y", below="5")]) == [
        "contract, cn/, >= 0.00 CNY",
        "contract, cn/, entity y, >= 5.00 CNY",
    ]
    assert holes([route("a", below="5"), route("b", low="5")], ("CNY", "USD")) == [
        "contract, cn/, >= 0.00 USD"
    ]


def test_a_nearer_route_may_leave_the_rest_to_its_parent():
    assert holes([route("a", "cn/south/", low="100"), route("b")]) == []


@given(st.randoms(use_true_random=False))
def test_a_table_without_gap_or_overlap_has_exactly_one_route_for_every_approval(draw: random.Random):
    limits = [Decimal(limit) for limit in (0, 10, 20, 30)]

    def amounts() -> Amounts | None:
        low, below = sorted(draw.sample([*limits, None], 2), key=lambda one: 99 if one is None else one)
        return draw.choice([None, Amounts("CNY", low or Decimal(0), below)])

    table = [
        Route(
            f"r{n}",
            draw.choice(REGIONS[:4]),
            ("contract",),
            "oa",
            "T",
            draw.choice([None, "x"]),
            None,
            amounts(),
        )
        for n in range(draw.randrange(1, 6))
    ]
    open_ = gaps(table, REGIONS, ("CNY",))
    for _ in range(20):
        asked = facts(draw.choice(REGIONS[1:]), str(draw.randrange(40)), entity=draw.choice(["x", "z"]))
        found = route_of(table, asked)
        fits = [one for one in found.tried if one.why in (Why.CHOSEN, Why.WIDER, Why.FARTHER)]
        assert (found.route is not None) == bool(fits)
        in_gap = any(
            asked.region.startswith(gap.region)
            and gap.entity in (None, asked.entity)
            and gap.low <= (asked.amount or 0) < gap.below
            for gap in open_
        )
        assert found.route is not None or in_gap
        if not list(overlaps(table)):
            ranks = [(one.route.region.count("/"), one.route.names) for one in fits]
            assert ranks.count(max(ranks, default=(0, 0))) <= 1


BAD = [
    (
        "region: cn/south\n      subjects",
        "region: cn/sout\n      subjects",
        "there is no region 'cn/sout' in the tree",
    ),
    ("subjects: [contract, discount]", "subjects: [contrakt]", "'contrakt' is not one of contract, payment"),
    ("subjects: [contract, discount]", "subjects: []", "subjects: a list of"),
    ("{from: 100000, currency: CNY}", "{from: 100000}", "currency is missing"),
    ("{from: 100000, currency: CNY}", "{currency: CNY}", "from, below or both"),
    ("{from: 100000, currency: CNY}", "{from: 10万, currency: CNY}", "is not an amount"),
    ("{from: 100000, currency: CNY}", "{from: 100000, currency: RMB}", "RMB"),
    ("{from: 100000, currency: CNY}", "{from: 5, below: 5, currency: CNY}", "no amount lies between"),
    ("{from: 100000, currency: CNY}", "{over: 5, below: 5, currency: CNY}", "unknown key 'over'"),
    ("{from: 100000, currency: CNY}", "{from: 110000, currency: CNY}", ">= 100000.00, < 110000.00 CNY"),
    ("{from: 100000, currency: CNY}", "{from: 90000, currency: CNY}", "south-headquarters fits too"),
    ("{all: [li.lei, wang.fang]}", "{each: [li.lei]}", "one of all: [...] and any: [...]"),
    ("{all: [li.lei, wang.fang]}", "{all: [li.lei], any: [wang.fang]}", "one of all: [...] and any: [...]"),
    ("{all: [li.lei, wang.fang]}", "{all: []}", "nobody is named: a step has one approver at least"),
    ("{any: [han.mei]}", "{any: []}", "nobody is named: a step has one approver at least"),
    ("{all: [li.lei, wang.fang]}", "{all: [li.lei, wang.fan]}", "there is no employee 'wang.fan' in owners"),
    ("cc: [han.mei]", "cc: [han_mei]", "there is no employee 'han_mei' in owners"),
    ("{all: [li.lei, wang.fang]}", "{al: [li.lei]}", "unknown key 'al'"),
    (
        "app_key: dingabcdefghijklmnop",
        "app_key: dingabcdefghijklmnop\n      process_codes: 'PROC-HEADQUARTERS, PROC-SOUTH,PROC-GENERAL,PROC-NORT'",
        "process_codes of oa does not name 'PROC-NORTH': what is decided there would not come home",
    ),
    (
        "connection: oa\n      template: PROC-SOUTH",
        "connection: ao\n      template: P",
        "there is no connection to another",
    ),
    (
        "connection: oa\n      template: PROC-SOUTH",
        "connection: crm\n      template: P",
        "there is no connection to another",
    ),
    ("      template: PROC-SOUTH", "", "template is missing"),
    (
        "target: oa.approval\n    mapping: dingtalk/approval.out",
        "target: oa.aproval\n    mapping: x",
        "aproval",
    ),
]


@pytest.mark.parametrize(("text", "instead", "said"), BAD, ids=[said for _, _, said in BAD])
def test_a_mistake_in_the_table_is_named_with_its_line(tmp_path: Path, text: str, instead: str, said: str):
    (tmp_path / "mappings").symlink_to(EXAMPLE / "mappings")
    written = (EXAMPLE / "hub.yaml").read_text("utf-8")
    assert text in written
    if "110000" in instead:  # without what everybody inherits there is a hole
        written = written[: written.index("    everywhere:")] + written[written.index("\nsyncs:") :]
    (tmp_path / "hub.yaml").write_text(written.replace(text, instead, 1), "utf-8")
    with pytest.raises(ProjectInvalid) as caught:
        load_project(tmp_path, registry.specs())
    assert said in str(caught.value)
    assert all(problem.line for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "instead", "line", "nearest"),
    [
        (
            "{all: [li.lei, wang.fang]}",
            "{all: [li.lei, wang.fan]}",
            "- {all: [li.lei, wang.fan]}",
            "wang.fang",
        ),
        ("cc: [han.mei]", "cc: [han_mei]", "cc: [han_mei]", "han.mei"),
        (
            "app_key: dingabcdefghijklmnop",
            "app_key: dingabcdefghijklmnop\n      process_codes: PROC-HEADQUARTERS,PROC-SOUTH,PROC-GENERAL,PROC-NORT",
            "template: PROC-NORTH",
            "PROC-NORT",
        ),
    ],
    ids=["approver", "cc", "template"],
)
def test_a_name_that_is_mistyped_is_answered_with_its_line_and_the_nearest_one(
    tmp_path: Path, text: str, instead: str, line: str, nearest: str
):
    (tmp_path / "mappings").symlink_to(EXAMPLE / "mappings")
    written = (EXAMPLE / "hub.yaml").read_text("utf-8").replace(text, instead, 1)
    (tmp_path / "hub.yaml").write_text(written, "utf-8")
    with pytest.raises(ProjectInvalid) as caught:
        load_project(tmp_path, registry.specs())
    (problem,) = caught.value.problems
    assert written.splitlines()[problem.line - 1].strip() == line
    assert f"did you mean {nearest!r}" in str(problem)


def test_a_copy_for_somebody_is_refused_where_wecoms_own_template_says_who_gets_one(tmp_path: Path):
    shutil.copytree(MAPPINGS / "wecom", tmp_path / "mappings" / "wecom")
    wecom = dict.fromkeys(("corp_id", "secret", "token", "encoding_aes_key"), "${secret:a}")
    table = {
        "subjects": list(SUBJECTS),
        "connection": "wecom",
        "template": "T-2",
        "cc": ["han.mei"],
    }
    written = {
        "version": "1",
        "regions": ["cn"],
        "owners": {"han.mei": "cn"},
        "connections": {
            "wecom": {"connector": "wecom", "settings": {**wecom, "corp_id": "ww0", "agent_id": "1", "template_ids": "T-1, T-2"}}
        },
        "approvals": {"routes": {"all": table}},
        "syncs": {
            "in": {"source": "wecom.approval", "mapping": "wecom/approval.in"},
            "out": {"target": "wecom.approval", "mapping": "wecom/approval.out", "accept_window": "true"},
        },
    }  # fmt: skip
    path = tmp_path / "hub.yaml"
    path.write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2))  # JSON is YAML
    with pytest.raises(ProjectInvalid) as caught:
        load_project(tmp_path, registry.specs())
    assert [problem.field for problem in caught.value.problems] == ["approvals.routes.all.cc"]
    assert "takes cc together with approvers alone" in str(caught.value)
    path.write_bytes(
        orjson.dumps(
            {**written, "approvals": {"routes": {"all": {**table, "approvers": [{"any": ["han.mei"]}]}}}}
        )
    )
    assert load_project(tmp_path, registry.specs()).routes[0].cc == ("han.mei",)


def test_a_route_to_a_system_that_no_sync_carries_approvals_to_is_refused(tmp_path: Path):
    written = (EXAMPLE / "hub.yaml").read_text("utf-8")
    (tmp_path / "hub.yaml").write_text(written[: written.index("\nsyncs:")], "utf-8")
    with pytest.raises(ProjectInvalid, match="no sync carries approvals to oa"):
        load_project(tmp_path, registry.specs())


def test_a_route_to_a_system_whose_decisions_no_sync_brings_home_is_refused(tmp_path: Path):
    (tmp_path / "mappings").symlink_to(EXAMPLE / "mappings")
    written = (EXAMPLE / "hub.yaml").read_text("utf-8")
    begin, end = written.index("  oa.approval.in:"), written.index("  oa.approval.out:")
    (tmp_path / "hub.yaml").write_text(written[:begin] + written[end:], "utf-8")
    with pytest.raises(ProjectInvalid, match="no sync brings home what oa decides"):
        load_project(tmp_path, registry.specs())


def hub(*words: str, lang: str = "en") -> tuple[int, str]:
    told = CliRunner().invoke(
        build(lang), ["approvals", "route", "--project", str(EXAMPLE), "--lang", lang, *words]
    )
    assert isinstance(told.exception, SystemExit | None), told.exception
    return told.exit_code, told.output


def test_the_command_says_who_decides_and_explains_it_in_the_readers_language():
    asked = ("--region", "cn/south", "--subject", "contract", "--amount", "150000")
    code, said = hub(*asked)
    assert (code, said.splitlines()[0].split(",")[0]) == (0, "south-headquarters → oa")
    assert len(said.splitlines()) == 1
    _, explained = hub(*asked, "--explain", lang="zh")
    assert len(explained.splitlines()) == 1 + len(ROUTES)
    assert "由它决定" in explained
    _, told = hub(*asked, "--output", "json")
    found = orjson.loads(told)
    assert found["approvers"] == [{"mode": "all", "approvers": ["li.lei", "wang.fang"]}]
    assert {one["why"] for one in found["tried"]} <= {why.value for why in Why}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--region", "cn/sout", "--subject", "contract"), "cn/south/"),
        (("--region", "cn", "--subject", "contrakt"), "refund"),
        (("--region", "cn", "--subject", "contract", "--amount", "1e9"), "not an amount"),
        (("--region", "cn", "--subject", "contract", "--currency", "RMB"), "RMB"),
        (("--region", "cn", "--subject", "contract", "--entity", "x"), "demo"),
    ],
)
def test_what_the_command_cannot_mean_is_named(words: tuple[str, ...], said: str):
    code, told = hub(*words)
    assert code == 2
    assert said in told


def test_the_example_routes_every_subject():
    assert {subject for one in ROUTES for subject in one.subjects} == set(SUBJECTS)
