"""A draft beside the mapping in force: each record has one verdict, the counts are exact, and nothing personal is readable."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from hub import registry
from hub.mapping import Compiled, Context, Schemas, Wait, compile, crm_schemas, load_value_map  # noqa: A004
from hub.model.kinds import KINDS
from hub.pipe.shadow import KEY, ORDER, Given, Value, Verdict, compare, part_of
from hub.pipe.shadow_masks import Masks, masked

LEVELS = load_value_map('value_map: t.level\ntitle: 级别\nvalues: {a: "01", b: "02"}\n', file="level")
SPECS = registry.specs()
SCHEMAS = Schemas(
    {
        **crm_schemas(),
        **{f"{s.name}.{n}": one.fields for s in SPECS.values() for n, one in s.streams.items()},
    },
    {
        **crm_schemas(),
        **{f"{s.name}.{n}": one.fields for s in SPECS.values() for n, one in s.objects.items()},
    },
    {"t.level": LEVELS},
)


def out(*rules: str, when: str = "", regions: str = "") -> Compiled:
    lines = ["mapping: t/a.out", "title: t", "source: crm.customer", "target: kingdee.customer"]
    lines += [f"when: {when}"] if when else []
    text = "\n".join(
        [*lines, "fields:", *(f"  {rule}" for rule in rules), *([f"regions: {regions}"] if regions else [])]
    )
    return compile(text, SCHEMAS, file="t.out.yaml")


def follow(*rules: str) -> Compiled:
    lines = [
        "mapping: t/a.in",
        "title: t",
        "source: wecom.follow",
        "target: crm.follow",
        "key: [userid, external_userid]",
    ]
    return compile(
        "\n".join([*lines, "fields:", *(f"  {rule}" for rule in rules)]), SCHEMAS, file="t.in.yaml"
    )


def given(number: int = 1, region: str = "cn/south/", **source: Any) -> Given:
    return Given(
        "s", f"{number:032x}", "", {"name": f"示例{number}", **source}, Context(region=region, org="100")
    )


OLD = out("FName: name", 'FTEL: phone or ""')


def test_every_record_has_one_verdict_and_the_counts_are_exact() -> None:
    new = out("FName: name", 'FTEL: phone or "-"', 'FZIP: value_map("t.level", level) if level else missing',
              'FADDRESS: xref("kingdee.customer", street) if street else missing',
              when='remark != "out"')  # fmt: skip
    records = [
        *(given(n, phone="+8613800138000") for n in range(5)),  # unchanged
        *(given(n) for n in range(10, 13)),  # FTEL
        *(given(n, phone="1", level="zz") for n in range(20, 22)),  # fails at FZIP
        given(30, phone="1", street="x"),  # waits
        *(given(n, phone="1", remark="out") for n in range(40, 44)),  # left
    ]
    found = compare(OLD, new, records)
    assert found.counts == {
        Verdict.UNCHANGED: 5, Verdict.CHANGED: 3, Verdict.FAILING: 2, Verdict.WAITING: 1, Verdict.LEFT: 4, Verdict.MENDED: 0,
    }  # fmt: skip
    assert (found.records, found.broke) == (len(records), 2)
    assert found.fields == {"FTEL": 3, "FZIP": 2, "FADDRESS": 1}
    assert compare(new, new, records).counts[Verdict.UNCHANGED] == len(records)
    changed = next(found.of(Verdict.CHANGED)).differences[0]
    assert (changed.field, changed.old, changed.new) == ("FTEL", Value(""), Value("-"))
    waits = next(found.of(Verdict.WAITING)).differences[0]
    assert (waits.field, waits.new) == ("FADDRESS", Wait("xref:kingdee.customer/x"))
    assert next(found.of(Verdict.FAILING)).differences[0].field == "FZIP"


def test_what_failed_before_and_fails_the_same_is_unchanged_and_what_fails_otherwise_broke_nothing() -> None:
    old = out('FZIP: value_map("t.level", level)')
    other = out('FZIP: value_map("t.level", remark)')
    assert (
        compare(old, out('FZIP: value_map("t.level", level)'), [given(level="zz")]).counts[Verdict.UNCHANGED]
        == 1
    )
    found = compare(old, other, [given(level="zz", remark="yy")])
    assert (found.counts[Verdict.FAILING], found.broke) == (1, 0)
    found = compare(old, out("FZIP: level"), [given(level="zz")])
    assert found.counts[Verdict.MENDED] == 1


def test_true_is_not_one_and_another_order_is_told() -> None:
    found = compare(out("FName: name", "FTEL: phone"), out("FTEL: phone", "FName: name"), [given(phone="1")])
    (one,) = next(found.of(Verdict.CHANGED)).differences
    assert (one.field, one.new) == (ORDER, Value("FTEL, FName"))


def test_records_of_a_region_use_their_overlay() -> None:
    new = out("FName: name", 'FTEL: phone or ""', regions="{cn/north: {fields: {FTEL: '\"010\"'}}}")
    found = compare(OLD, new, [given(1, region="cn/south/"), given(2, region="cn/north/bj/")])
    assert found.counts[Verdict.UNCHANGED] == 1
    assert [one.given.record for one in found.of(Verdict.CHANGED)] == [f"{2:032x}"]


def test_a_field_inside_another_and_a_key_are_compared_by_themselves() -> None:
    new = out('FCreateOrgId.FNumber: "org()"', "FName: name")
    found = part_of(out("FCreateOrgId.FNumber: org()", "FName: name"), given(), "FCreateOrgId.FNumber")
    assert found == Value("100")
    assert part_of(new, given(), "FTEL").__class__ is Value
    record = Given("s", None, "", {"userid": "u1", "external_userid": "wmAAAA1111"}, Context())
    old = follow("employee: userid")
    other = compile(
        "mapping: t/a.in\ntitle: t\nsource: wecom.follow\ntarget: crm.follow\nkey: [external_userid, userid]\n"
        "fields:\n  employee: userid", SCHEMAS, file="t")  # fmt: skip
    (one,) = next(compare(old, other, [record]).of(Verdict.CHANGED)).differences
    assert one.field == KEY


def test_what_may_not_leave_the_country_waits_as_it_does_when_it_is_sent() -> None:
    def held(names: Any) -> str | None:
        return "mc/customer.phone" if "phone" in names else None

    record = Given("s", "0" * 32, "", {"name": "n", "phone": "1"}, Context(), held)
    found = compare(out("FName: name"), out("FName: name", "FTEL: phone"), [record])
    (one,) = next(found.of(Verdict.WAITING)).differences
    assert (one.field, one.new) == ("FTEL", Wait("export:mc/customer.phone"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("+8613800138000", "+***00"), ("王小明", "王***"), ("male", "***"), ("1990-01-01", "***"), ("", ""), (None, None),
        (13800138000, "***"), (True, "***"), (["张三", "李四五六"], ["张***", "李***"]), ({"a": "x@y.cn"}, {"a": "***"}),
    ],
)  # fmt: skip
def test_a_masked_value_keeps_its_build_and_nothing_else(value: Any, shown: Any) -> None:
    assert masked(value) == shown


PHONE, PERSON, WECOM_ID = "13800138000", "欧阳娜娜", "wmqfasd1e19278asdasAAAA"


def test_a_personal_value_is_masked_wherever_a_draft_carries_it() -> None:
    new = follow('contact: xref("wecom.contact", external_userid)', "remark: remark", "mobiles: remark_mobiles",
                 "way: remark", "company_name: contact.name", "tags: '[t.tag_name for t in tags]'",
                 "employee: userid", "custom.channel: external_userid")  # fmt: skip
    source = {
        "userid": "zhangsan", "external_userid": WECOM_ID, "remark": PERSON, "remark_mobiles": [PHONE],
        "contact": {"name": PERSON, "type": 1}, "tags": [{"tag_name": f"{PERSON}的朋友"}, {"tag_name": PHONE}],
    }  # fmt: skip
    record = Given("s", None, f"zhangsan/{WECOM_ID}", source, Context())
    mask = Masks.of([new], KINDS, SPECS).of_record(record)
    shown = [mask.source(name, source[name]) for name in source]
    for name in new.fields:
        result = part_of(new, record, name)
        shown.append(mask.result(name, result.value) if isinstance(result, Value) else mask.waits(result.key))  # type: ignore[union-attr]
    shown += [mask.key(record.key), mask.why("way", f"no entry for '{PERSON}'"), mask.why("", f"{PHONE} is odd"),
              mask.waits(f"arrival:wecom/contact//{WECOM_ID}")]  # fmt: skip
    said = json.dumps(shown, ensure_ascii=False)
    for secret in (PHONE, PERSON, WECOM_ID, "zhangsan"):
        assert secret not in said
    assert mask.result("tags", ["重要客户"]) == ["重要客户"]


def test_what_is_made_of_a_personal_value_is_masked_in_whatever_form() -> None:
    new = follow("remark: trim(remark)", "way: trim(remark)", "company_name: remark_corp_name")
    mask = Masks.of([new], KINDS, SPECS).of_record(Given("s", None, "", {"remark": "zhang san"}, Context()))
    for name in ("remark", "way"):
        assert mask.result(name, "ZHANG, SAN") == "Z***AN"
        assert mask.why(name, "no entry for 'ZHANG, SAN' or 12345") == "no entry for *** or ***"
    assert mask.source("contact", {"nick": "某某", "at": [{"x": 7}]}) == {
        "nick": "某***",
        "at": [{"x": "***"}],
    }
    assert mask.result("company_name", "示例科技有限公司") == "示例科技有限公司"
    assert mask.why("company_name", "no entry for '示例'") == "no entry for '示例'"
    said = mask.result(
        "company_name", "联系 a.b@example.cn，139 1234 5678，身份证 11010519491231002X，电话 010-6552"
    )
    assert said == "联系 ***，***，身份证 ***，电话 010-6552"
    assert mask.result("company_name", 13912345678) == "***"


def test_a_field_is_personal_because_another_mapping_in_force_says_so() -> None:
    new, used = follow("company_name: description"), follow("remark: description")
    alone = Masks.of([new], KINDS, SPECS).of_record(given())
    assert alone.result("company_name", "某某的事") == "某某的事"
    assert (
        Masks.of([new], KINDS, SPECS, [used]).of_record(given()).result("company_name", "某某的事") == "某***"
    )


def test_a_custom_field_that_nobody_declared_is_personal() -> None:
    new = out("FName: custom.something")
    mask = Masks.of([new], KINDS, SPECS).of_record(given(**{"custom.something": "秘密的事"}))
    assert mask.source("custom.something", "秘密的事") == "秘***"
    assert mask.result("FName", "秘密的事") == "秘***"


def test_records_may_come_from_a_generator_and_only_those_that_differ_are_kept() -> None:
    records = (given(n, phone="1" if n % 5 else None) for n in range(500))
    began = time.process_time()
    found = compare(OLD, out("FName: name", 'FTEL: phone or "-"'), records)
    print(f"500 records: {(time.process_time() - began) * 1000:.1f} ms")
    assert (found.records, len(found.compared), found.counts[Verdict.CHANGED]) == (500, 100, 100)
