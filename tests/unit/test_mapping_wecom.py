"""The shipped WeCom mappings against the connector's own spec: cases as data, and the way out and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.wecom.declared import SPEC
from hub.mapping import (
    Context,
    Schemas,
    compile,  # noqa: A004 - the border's name
    crm_schemas,
    load_value_maps,
    run_tests,
)
from hub.model import KINDS, digest_form

FOLDER = Path(__file__).parents[2] / "mappings" / "wecom"
MAPPINGS = sorted(path for path in FOLDER.glob("*.yaml") if path.name.endswith((".in.yaml", ".out.yaml")))
PERSON = "0190a1b2c3d4e5f60718293a4b5c6d7e"
DOCUMENTED = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 24, 201, 202)


def named(specs: dict) -> dict:
    return {f"wecom.{name}": spec.fields for name, spec in specs.items()}


SCHEMAS = Schemas(
    {**crm_schemas(), **named(SPEC.streams)},
    {**crm_schemas(), **named(SPEC.objects)},
    load_value_maps(FOLDER),
)


def shipped(name: str):
    path = FOLDER / name
    return compile(path.read_text(encoding="utf-8"), SCHEMAS, file=str(path))


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: path.name)
def test_every_shipped_mapping_compiles_and_passes_its_cases(path):
    outcomes = run_tests(path, SCHEMAS)
    assert len(outcomes) >= 3
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def test_every_documented_way_of_adding_has_a_word():
    values = SCHEMAS.value_maps["wecom.add_way"].values
    assert sorted(map(int, values)) == list(DOCUMENTED)
    assert len(set(values.values())) == len(values)


def test_a_follow_depends_on_its_contact():
    assert shipped("follow.in.yaml").xrefs == ("wecom.contact",)


FOLLOW = {
    "remark": "李部长",
    "company_name": "示例科技有限公司",
    "mobiles": ["+8613800000001"],
    "tags": ["重要客户", "老客户"],
}


@pytest.mark.parametrize("taken_away", [None, "remark", "company_name"])
def test_m12_what_goes_out_and_comes_back_is_no_change(taken_away):
    body = {**FOLLOW, taken_away: None} if taken_away else FOLLOW
    sent = shipped("follow.out.yaml").run(body, Context()).fields
    stored = {
        "userid": "rocky",
        "external_userid": "wmAAAA",
        "remark": sent["remark"] or None,
        "remark_corp_name": sent["remark_company"] or None,
        "remark_mobiles": sent["remark_mobiles"],
        "tags": [{"tag_name": name, "tag_id": f"et{name}", "type": 1} for name in sent["tags"]],
        "contact": {"type": 1},
    }
    back = shipped("follow.in.yaml").run(stored, Context(xref=lambda _target, _value: PERSON)).fields
    kind = KINDS["follow"]
    assert {name: digest_form(kind, name, back.get(name)) for name in body if body[name] is not None} == {
        name: digest_form(kind, name, value) for name, value in body.items() if value is not None
    }
    assert taken_away is None or back.get(taken_away) is None
