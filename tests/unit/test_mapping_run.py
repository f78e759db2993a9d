"""What mappings do when they run (reliability.md M2, M3, M4, M10, M11, M13)."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mapping import Context, Failed, Left, Mapped, Wait
from hub.model import MISSING
from tests.effort import at_once
from tests.mapping_site import inbound, made, outbound, value

KEYED = Context(record="r1", org="100", business_key="B-1")


def message(outcome):
    assert isinstance(outcome, Failed), outcome
    return outcome.message


@pytest.mark.parametrize(
    ("expression", "source", "expected"),
    [
        ("name", {"name": "x"}, "x"),
        ("address.city", {"address": {"city": "上海"}}, "上海"),
        ("address.city", {"address": None}, "ABSENT"),
        ("address.city", {}, "ABSENT"),
        ("address.geo.lat", {"address": {"geo": {"lat": 1.5}}}, 1.5),
        ("address['city']", {"address": {"city": "x"}}, "x"),
        ("tags[0]", {"tags": ["a", "b"]}, "a"),
        ("tags[-1].n", {"tags": [{"n": 1}, {"n": 2}]}, 2),
        ("tags[5]", {"tags": ["a"]}, "ABSENT"),
        ("tags[-2]", {"tags": ["a"]}, "ABSENT"),
        ("tags[0]", {"tags": None}, "ABSENT"),
        ("extra.a.b.c", {"extra": {"a": {}}}, "ABSENT"),
        ("name or 'none'", {}, "none"),
        ("name or 'none'", {"name": ""}, "none"),
        ("name and 'some'", {"name": "x"}, "some"),
        ("'a' if active else 'b'", {"active": True}, "a"),
        ("'a' if active else 'b'", {}, "b"),
        ("not active", {}, True),
        ("name is None", {"name": None}, True),
        ("name is None", {}, False),
        ("name is missing", {}, True),
        ("name is not missing", {"name": None}, True),
        ("name == None", {"name": None}, True),
        ("count in (1, 2)", {"count": 2}, True),
        ("count not in [1, 2]", {"count": 2}, False),
        ("count in (1, 2)", {}, False),
        ("'a' in tags", {"tags": ["a"]}, True),
        ("'a' in tags", {"tags": None}, False),
        ("'a' not in tags", {}, True),
        ("'海' in name", {"name": "上海"}, True),
        ("count in name", {"name": "12", "count": 1}, False),
        ("name in tags", {"name": "a", "tags": ["a"]}, True),
        ("1 < count < 3", {"count": 2}, True),
        ("count != 2", {"count": 2}, False),
        ("count + 1", {"count": 2}, 3),
        ("count - 3", {"count": 2}, -1),
        ("count * 2.5", {"count": 2}, 5),
        ("-count", {"count": 2}, -2),
        ("0.1 + 0.2", {}, 0.3),
        ("total + 0.2", {"total": 0.1}, 0.3),
        ("name + '-' + text(count)", {"name": "a", "count": 1}, "a-1"),
        ("extra.a + extra.b", {"extra": {"a": "x", "b": "y"}}, "xy"),
        ("extra.a + extra.b", {"extra": {"a": 1, "b": 2}}, 3),
        ("[t.n for t in tags]", {"tags": [{"n": 1}, {}, {"n": None}]}, [1, None]),
        ("[t for t in tags if t != 'b']", {"tags": ["a", "b"]}, ["a"]),
        ("[t for t in tags]", {"tags": None}, None),
        ("[t for t in tags]", {}, "ABSENT"),
        ("[t for t in tags]", {"tags": []}, []),
        ("[t.a.b for t in tags]", {"tags": [{"a": {"b": 1}}]}, [1]),
        ("[name, phone]", {"name": "a"}, ["a"]),
        ("(name, 1.5)", {"name": "a"}, ["a", 1.5]),
        ("decimal(amount)", {"amount": "12.5"}, 12.5),
        ("decimal('12')", {}, 12),
        ("missing", {}, "ABSENT"),
        ("None", {}, None),
        ("F_x", {"F_x": "y"}, "y"),
    ],
)
def test_an_expression_means_what_it_says(expression, source, expected):
    found = value(expression, source)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "source", "said"),
    [
        ("address.city", {"address": "上海"}, "not an object"),
        ("extra.a.b", {"extra": {"a": [1]}}, "not an object"),
        ("[t.n for t in tags]", {"tags": ["x"]}, "not an object"),
        ("tags[0]", {"tags": "abc"}, "not a list"),
        ("[t for t in tags]", {"tags": "abc"}, "a list is expected"),
        ("[t for t in tags]", {"tags": {"a": 1}}, "a list is expected"),
        ("[t for t in tags]", {"tags": [[1]]}, "inside a list"),
        ("[t for t in tags]", {"tags": [{}]}, "inside a list"),
        ("[tags, tags]", {"tags": [1]}, "inside a list"),
        ("[t for t in tags]", {"tags": [1] * 1_001}, "more than 1000 items"),
        ("count in extra", {"extra": 5}, "a list or a text"),
        ("count > 1", {}, "cannot be compared"),
        ("count > 1", {"count": None}, "cannot be compared"),
        ("count > 1", {"count": "5"}, "cannot be compared"),
        ("extra.x < extra.y", {"extra": {"x": 1, "y": "a"}}, "cannot be compared"),
        ("count + 1", {}, "with nothing"),
        ("extra.a + 1", {"extra": {"a": "x"}}, "a number is expected"),
        ("extra.a + 1", {"extra": {"a": True}}, "a number is expected"),
        ("name + 'a'", {}, "with nothing"),
        ("-extra.a", {"extra": {"a": "x"}}, "a number is expected"),
        ("total + 1", {"total": 0.1 + 0.2}, "lost its digits"),
        ("name", {"name": "a\0"}, "NUL"),
    ],
)
def test_a_value_that_does_not_fit_fails_with_the_name_of_its_field(expression, source, said):
    found = value(expression, source)
    assert said in message(found)
    assert found.field == "custom.x"


@pytest.mark.parametrize("field", ["name", "remark", "custom.x", "custom.list"])
@pytest.mark.parametrize("bad", ["a\0", "\ud800"])
def test_what_no_store_can_hold_never_reaches_a_field(field, bad):
    found = value("[extra]" if field == "custom.list" else "extra", {"extra": bad}, field=field)
    assert found.field == field


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u202e", "x" * 200])
def test_what_a_text_may_hold_arrives_as_it_is(text):
    assert value("extra", {"extra": text}, field="name") == text


def test_the_items_of_a_list_are_checked_one_by_one():
    follow = made(FOLLOW)
    source = {"id": 1, "name": "0" * 32, "tags": ["a", "b\n"]}
    assert follow.run(source, Context()).fields["tags"] == ["a", "b\n"]
    assert follow.run({**source, "tags": ["重要", "b"]}, Context()).fields["tags"] == ["重要", "b"]
    for tags in (["a", "x" * 101], ["a", 5], ["a\0"], "a", ["a"] * 201):
        assert follow.run({**source, "tags": tags}, Context()).field == "tags"
    assert follow.run({**source, "tags": None}, Context()).fields["tags"] is None
    assert follow.run({**source, "tags": ["a"] * 200}, Context()).fields["tags"] == ["a"] * 200


FOLLOW = inbound("contact: name\ntags: tags").replace("crm.customer", "crm.follow")


def test_a_failure_shows_what_the_field_has_read_cut_short():
    found = value("phone(phone)", {"phone": "x" * 500, "name": "secret"}, field="phone")
    assert found.field == "phone"
    assert found.excerpt.startswith("phone='xxx")
    assert len(found.excerpt) <= 160
    assert "secret" not in found.excerpt


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations([MISSING, None, "", "null", 0, "0"], 2)), ids=repr
)
def test_m13_absent_null_empty_the_word_null_and_zero_stay_apart(one, other):
    def mapped(given_value):
        return repr(value("extra", {} if given_value is MISSING else {"extra": given_value}))

    assert mapped(one) != mapped(other)


@pytest.mark.parametrize(
    "call",
    [
        "trim({})",
        "phone({})",
        "credit_code({})",
        "company_name({})",
        "date({})",
        "instant({})",
        "decimal({})",
        "money({}, 'CNY')",
        "text({})",
        "value_map('acme.way', {})",
        "xref('acme.person', {})",
    ],
)
def test_m13_a_function_gives_null_for_null_and_absent_for_absent(call):
    assert value(call.format("extra"), {"extra": None}) is None
    assert value(call.format("extra"), {}) == "ABSENT"


@pytest.mark.parametrize("call", ["trim({})", "phone({})", "credit_code({})", "company_name({})"])
def test_m13_an_empty_text_stays_an_empty_text(call):
    assert value(call.format("extra"), {"extra": ""}) == ""


@pytest.mark.parametrize(
    "call",
    [
        "trim({})",
        "phone({})",
        "credit_code({})",
        "company_name({})",
        "date({})",
        "instant({})",
        "decimal({})",
        "money({}, 'CNY')",
        "text({})",
        "value_map('acme.way', {})",
        "xref('acme.person', {})",
    ],
)
@pytest.mark.parametrize("wrong", [True, [], {}, ["x"]], ids=repr)
def test_a_function_refuses_what_it_cannot_take(call, wrong):
    assert message(value(call.format("extra"), {"extra": wrong}))


@pytest.mark.parametrize(
    "written",
    [
        "¥1,234.50",
        "１２３４",
        "1.234,50",
        "(100)",
        "1e3",
        "",
        "NaN",
        "sNaN",
        "Infinity",
        "1,234.50",
        "12 元",
        "1" * 5_000,
        "1e300000",
    ],
)
def test_m2_m3_an_amount_that_is_none_parks_with_its_field(written):
    with at_once():
        found = value("decimal(amount)", {"amount": written}, field="credit_limit")
    assert (found.field, bool(found.message)) == ("credit_limit", True)


def test_m2_groups_are_read_where_the_mapping_says_so():
    assert value("decimal(amount, ',')", {"amount": "1,234.50"}, field="credit_limit") == "1234.50"
    assert "groups are written" in message(
        value("decimal(amount, '.')", {"amount": "1.234"}, field="credit_limit")
    )


@pytest.mark.parametrize(
    ("total", "expected"),
    [(0.1, "0.10"), (1234567.89, "1234567.89"), (5, "5.00"), (-0.0, "0.00"), (12, "12.00")],
)
def test_m2_a_json_number_is_taken_while_no_digit_is_lost(total, expected):
    assert value("decimal(total)", {"total": total}, field="credit_limit") == expected


@pytest.mark.parametrize("total", [0.1 + 0.2, 1e300, 123456789012345.678, float("nan"), float("inf"), 2**70])
def test_m2_a_json_number_that_has_lost_digits_is_refused(total):
    assert message(value("decimal(total)", {"total": total}, field="credit_limit"))


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("2.675", "CNY", "2.68"),
        ("1.005", "CNY", "1.01"),
        ("1.2345", "KWD", "1.235"),
        ("-0.001", "CNY", "0.00"),
        ("10.5", "JPY", "11.00"),
    ],
)
def test_m4_money_rounds_by_the_stated_rule(amount, currency, expected):
    assert value(f"money(amount, '{currency}')", {"amount": amount}, field="credit_limit") == expected


def test_m4_an_amount_without_a_known_currency_is_refused():
    assert (
        message(value("money(amount, name)", {"amount": "1"}, field="credit_limit"))
        == "an amount needs its currency"
    )
    assert "ISO 4217" in message(
        value("money(amount, name)", {"amount": "1", "name": "RMB"}, field="credit_limit")
    )


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("1000.50", 1000.5), ("1000.00", 1000), ("0.10", 0.1), ("9999999999999.99", 9999999999999.99)],
)
def test_m4_a_number_on_the_wire_reads_back_as_the_same_amount(amount, expected):
    out = made(outbound("Total: decimal(amount)", kind="payment")).run({"amount": amount}, KEYED)
    assert out.fields == {"Total": expected}
    assert Decimal(repr(out.fields["Total"])) == Decimal(amount)


def test_m4_an_amount_that_no_json_number_holds_is_refused():
    out = made(outbound("Total: decimal(amount)", kind="payment")).run(
        {"amount": "123456789012345678.91"}, KEYED
    )
    assert message(out) == "has more digits than a JSON number keeps"


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_an_amount_goes_out_and_comes_back_the_same(amount):
    out = OUT_AMOUNT.run({"amount": f"{amount:f}"}, KEYED)
    back = IN_AMOUNT.run({"id": 1, "total": out.fields["Total"]}, KEYED)
    assert Decimal(back.fields["credit_limit"]) == amount


OUT_AMOUNT = made(outbound("Total: decimal(amount)", kind="payment"))
IN_AMOUNT = made(inbound("credit_limit: decimal(total)"))


@pytest.mark.parametrize(
    "written", ["138-0013-8000", "+86 138 0013 8000", "１３８００１３８０００", "\u202e13800138000\u200b"]
)
def test_m11_a_phone_arrives_in_its_one_form(written):
    assert value("phone(phone)", {"phone": written}, field="phone") == "+8613800138000"
    assert value("phone", {"phone": written}, field="phone") == "+8613800138000"
    assert value("[phone(p, 'CN') for p in phones]", {"phones": [written]}) == ["+8613800138000"]


@pytest.mark.parametrize("written", ["138001380001", "12345", "张三"])
def test_m11_a_phone_that_is_none_parks(written):
    assert value("phone(phone)", {"phone": written}, field="phone").field == "phone"
    assert value("phone", {"phone": written}, field="phone").field == "phone"


@pytest.mark.parametrize("name", ["Ａ\u200b司", "\u202eabc", "𠮷田·买买提", "cafe\u0301", "㐀"])
def test_m10_a_name_is_kept_as_written(name):
    assert value("name", {"name": name}, field="name") == name


@pytest.mark.parametrize(
    ("expression", "given_value", "expected"),
    [
        ("date(extra)", "2026-01-10", "2026-01-10"),
        ("date(extra)", "2026-01-10T23:59:59.123", "2026-01-10"),
        ("date(extra)", "2026-01-10 08:00", "2026-01-10"),
        ("instant(extra)", 1768010584, "2026-01-10T02:03:04Z"),
        ("instant(extra)", "2026-01-10T10:03:04+08:00", "2026-01-10T02:03:04Z"),
        ("instant(extra, '+08:00')", "2026-01-10T10:03:04", "2026-01-10T02:03:04Z"),
        ("instant(extra, '+08:00')", "2026-01-10 10:03:04.1234567", "2026-01-10T02:03:04.123456Z"),
        ("instant(extra, '+08:00')", "2026-01-10T02:03:04Z", "2026-01-10T02:03:04Z"),
        ("text(extra)", 5, "5"),
        ("text(extra)", "x", "x"),
        ("text(extra)", 1.50, "1.5"),
        ("text(extra)", 100.0, "100"),
        ("company_name(extra)", "示例科技(上海)有限公司", "示例科技（上海）有限公司"),
        ("credit_code(extra)", "91350100m000100y43", "91350100M000100Y43"),
        ("trim(extra)", " a b\n", "a b"),
        ("value_map('acme.way', extra)", 1, "scan"),
        ("value_map('acme.way', extra)", "card", "card"),
        ("value_map('acme.way', extra, 'other')", "9", "other"),
        ("value_map('acme.way', extra, None)", "9", None),
    ],
)
def test_each_function_does_its_work(expression, given_value, expected):
    assert value(expression, {"extra": given_value}) == expected


@pytest.mark.parametrize(
    ("expression", "given_value"),
    [
        ("date(extra)", "2026-01-10T00:00:00Z"),
        ("date(extra)", "2024-02-30"),
        ("date(extra)", "2024-W01-1"),
        ("date(extra)", ""),
        ("date(extra)", 45292),
        ("instant(extra)", "2026-01-10T10:03:04"),
        ("instant(extra, 'CST')", "2026-01-10T10:03:04"),
        ("instant(extra)", 1768010584000),
        ("instant(extra)", -1),
        ("instant(extra)", ""),
        ("text(extra)", 10**18),
        ("value_map('acme.way', extra)", "9"),
        ("value_map('acme.way', extra)", ""),
        ("xref('acme.person', extra)", ""),
        ("credit_code(extra)", "91350100M000100Y44"),
    ],
)
def test_each_function_refuses_what_it_must(expression, given_value):
    assert message(value(expression, {"extra": given_value}))


def test_a_look_up_gives_an_identifier_or_what_to_wait_for():
    def xref(target, vendor):
        return "0" * 32 if vendor == "5" else Wait(f"xref:{target}/{vendor}")

    context = Context(xref=xref)
    assert value("xref('acme.person', count)", {"count": 5}, context=context) == "0" * 32
    assert value("xref('acme.person', name)", {"name": "9"}, context=context) == Wait("xref:acme.person/9")
    assert value("xref('acme.person', name)", {"name": "9"}) == Wait("xref:acme.person/9")
    assert made(inbound("remark: xref('acme.person', name)")).xrefs == ("acme.person",)


def test_a_look_up_that_is_not_reached_does_not_wait():
    assert value("name or xref('acme.person', phone)", {"name": "x", "phone": "9"}) == "x"


def test_the_context_gives_organisation_and_business_key_or_says_what_is_absent():
    text = made(outbound("Name: business_key()\nGroup.Number: org()"))
    assert text.run({}, KEYED) == Mapped("r1", {"Name": "B-1", "Group": {"Number": "100"}})
    assert text.run({}, Context(business_key="B")).field == "Group.Number"
    assert text.run({}, Context(org="1")).field == "Name"


def test_when_decides_before_anything_else_is_worked_out():
    text = made(inbound("phone: phone(phone)", more="let: {good: active and count > 0}\nwhen: good\n"))
    assert text.run({"id": 1, "phone": "bad"}, Context()) == Left()
    assert text.when({"id": 1}, Context()) is False
    assert text.when({"active": True, "count": 1}, Context()) is True
    assert text.when({"active": True}, Context()).field == "when"
    assert text.run({"id": 1, "active": True, "count": "x"}, Context()).field == "when"
    assert made(inbound("name: name")).when({}, Context()) is True


@pytest.mark.parametrize(("source", "key"), [({"id": 7}, "7"), ({"id": "a/b"}, "a/b")])
def test_a_single_key_is_the_value_itself(source, key):
    assert made(inbound("name: name")).run(source, Context()).key == key


def test_several_keys_are_joined_so_that_none_can_pass_for_another():
    text = made(inbound("remark: name", key="[id, address.city]"))
    assert text.run({"id": 7, "address": {"city": "a/b%"}}, Context()).key == "7/a%2Fb%25"
    assert text.run({"id": "A7", "address": {"city": "b9"}}, Context()).key == "A7/b9"
    assert text.run({"id": "７", "address": {"city": "b"}}, Context()).key == "%EF%BC%97/b"
    assert text.key_fields == ("id", "address")


@pytest.mark.parametrize(
    "absent", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": 1.5}, {"id": []}, {"id": 10**18}]
)
def test_a_record_without_a_key_fails(absent):
    assert made(inbound("name: name")).run(absent, Context()).field == "key"


@pytest.mark.parametrize("source", [None, [], "x", 5])
def test_a_source_that_is_no_object_fails(source):
    text = made(inbound("name: name"))
    assert (
        text.run(source, Context())
        == text.when(source, Context())
        == Failed("", "the source is not an object")
    )


def test_the_payload_is_nested_and_keeps_the_order_of_the_file():
    text = made(
        outbound(
            "Group.Kind.Number: no\nName: remark\nGroup.Number: no\nRows:\n  - {Amount: decimal(amount), Item.Number: no}\n  - {Item.Number: bank_ref}\nExtra: fee",
            kind="payment",
        )
    )
    out = text.run({"no": "P1", "amount": "1.00", "remark": None}, KEYED).fields
    assert out == {
        "Group": {"Kind": {"Number": "P1"}, "Number": "P1"},
        "Name": None,
        "Rows": [{"Amount": 1, "Item": {"Number": "P1"}}, {}],
    }
    assert list(out) == ["Group", "Name", "Rows"]
    assert list(out["Rows"][0]) == ["Amount", "Item"]
    assert list(text.fields) == ["Group.Kind.Number", "Name", "Group.Number", "Rows", "Extra"]
    assert text.fields["Rows"].reads == {"amount", "no", "bank_ref"}


def test_a_failure_in_a_row_names_row_and_field():
    text = made(outbound("Rows: [{Item.Number: no}, {Amount: decimal(amount)}]", kind="payment"))
    out = text.run({"amount": "x"}, KEYED)
    assert (out.field, out.excerpt) == ("Rows[1].Amount", "amount='x'")


def test_only_what_is_due_is_worked_out():
    text = made(
        outbound(
            "Name: no\nTotal: net\nGroup.Number: org()\nCount: 1\nExtra: remark",
            more="let: {net: 'decimal(amount)'}\n",
            kind="payment",
        )
    )
    due = text.due({"remark"})
    assert due == {"Extra"}
    assert text.run({"amount": "bad", "remark": "r"}, KEYED, only=due).fields == {"Extra": "r"}
    assert text.run({"amount": "bad"}, KEYED).field == "Total"
    assert text.run({"amount": "bad"}, KEYED, only=text.due({"amount"})).field == "Total"
    assert text.run({"amount": "5"}, KEYED, only=["Total", "Count"]).fields == {"Total": 5, "Count": 1}
    assert text.run({"amount": "5"}, KEYED, only=[]).fields == {}


def test_a_companion_goes_wherever_its_field_goes():
    text = made(
        outbound(
            "Name: {value: '\"Customer\"', with: Group.Number}\nGroup.Number: no\nExtra: remark",
            kind="payment",
        )
    )
    assert text.due({"no"}) == {"Name", "Group.Number"}
    assert list(text.run({"no": "1"}, KEYED, only=text.due({"no"})).fields) == ["Name", "Group"]
    assert text.due({"remark"}) == {"Extra"}


def test_a_let_is_worked_out_once_and_only_where_it_is_used():
    seen = []

    def xref(_target, found):
        seen.append(found)
        return "C1"

    more = "let:\n  who: xref('acme.person', customer)\n  never: xref('acme.person', bank_ref)\n  twice: who + who\n"
    text = made(outbound("Name: twice\nExtra: who", more=more, kind="payment"))
    assert text.run({"customer": "9", "bank_ref": "8"}, Context(xref=xref)).fields == {
        "Name": "C1C1",
        "Extra": "C1",
    }
    assert seen == ["9"]
    assert text.fields["Name"].reads == {"customer"}


REGIONS = """regions:
  cn: {fields: {remark: '"cn"', level: name}}
  cn/south: {let: {word: '"south"'}, fields: {remark: word}}
"""


@pytest.mark.parametrize(
    ("region", "fields"),
    [
        ("", {"remark": "base", "industry": "n"}),
        ("de/", {"remark": "base", "industry": "n"}),
        ("cn/", {"remark": "cn", "industry": "n", "level": "n"}),
        ("cn/east/", {"remark": "cn", "industry": "n", "level": "n"}),
        ("cn/south/", {"remark": "south", "industry": "n", "level": "n"}),
        ("cn/south/shenzhen/", {"remark": "south", "industry": "n", "level": "n"}),
        ("cn/southwest/", {"remark": "cn", "industry": "n", "level": "n"}),
    ],
)
def test_a_region_inherits_the_overlays_above_it(region, fields):
    text = made(inbound("remark: word\nindustry: name", more="let: {word: '\"base\"'}\n" + REGIONS))
    assert text.run({"id": 1, "name": "n"}, Context(region=region)).fields == fields
    assert text.due({"name"}) == {"industry", "level"}
    assert text.fields["level"].line > 0


@pytest.mark.parametrize(
    ("line", "source", "expected"),
    [
        ("Name: remark", {"remark": 5}, None),
        ("Active: custom.a", {"custom.a": True}, {"Active": True}),
        ("Active: custom.a", {"custom.a": None}, {"Active": None}),
        ("Active: custom.a", {"custom.a": "x"}, None),
        ("Count: custom.a", {"custom.a": 5}, {"Count": 5}),
        ("Count: custom.a", {"custom.a": 5.5}, None),
        ("Total: custom.a", {"custom.a": 5.5}, {"Total": 5.5}),
        ("Total: custom.a", {"custom.a": "5"}, None),
        ("Tags: custom.a", {"custom.a": ["x"]}, {"Tags": ["x"]}),
        ("Tags: custom.a", {"custom.a": [1]}, None),
        ("Tags: custom.a", {"custom.a": "x"}, None),
        ("Day: custom.a", {"custom.a": "2026-01-10"}, {"Day": "2026-01-10"}),
        ("Day: custom.a", {"custom.a": "10.1.2026"}, None),
        ("Day: custom.a", {"custom.a": None}, {"Day": None}),
        ("At: custom.a", {"custom.a": "2026-01-10T02:03:04Z"}, {"At": "2026-01-10T02:03:04Z"}),
        ("At: custom.a", {"custom.a": 5}, None),
        ("At: custom.a", {"custom.a": None}, {"At": None}),
        ("Extra: custom.a", {"custom.a": {"b": [1]}}, {"Extra": {"b": [1]}}),
    ],
)
def test_a_value_of_unknown_type_is_checked_when_it_runs(line, source, expected):
    out = made(outbound(line)).run(source, KEYED)
    if expected is None:
        assert out.field == line.partition(":")[0]
    else:
        assert out.fields == expected


@pytest.mark.parametrize(
    ("line", "extra", "expected"),
    [
        ("credit_limit: extra", "12.5", "12.50"),
        ("credit_limit: extra", 0.5, None),
        ("payment_term_days: extra", 30, 30),
        ("payment_term_days: extra", "30", None),
        ("type: extra", "partner", "partner"),
        ("type: extra", "vip", None),
        ("status: name", "nonsense", None),
        ("name: extra", "x" * 201, None),
        ("remark: extra", ["x"], None),
        ("phone: extra", None, None),
    ],
)
def test_a_crm_field_takes_only_its_own_stored_form(line, extra, expected):
    name = line.partition(":")[0]
    out = made(inbound(line)).run({"id": 1, "extra": extra, "name": extra}, Context())
    if expected is None and extra is not None:
        assert out.field == name
    else:
        assert out.fields == {name: expected}


@given(
    st.dictionaries(
        st.sampled_from(["name", "phone", "amount", "tags", "extra", "address"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["n", "city", "a"]), inner, max_size=2)
            ),
            max_leaves=8,
        ),
    )
)
def test_whatever_arrives_comes_out_as_one_of_the_four_outcomes(source):
    assert isinstance(ANYTHING.run({"id": 1, **source}, Context()), (Mapped, Wait, Failed, Left))


ANYTHING = made(
    inbound(
        "name: trim(name)\nphone: phone(phone) or None\ncredit_limit: decimal(amount)\nremark: address.city\ncustom.a: '[t.n for t in tags]'\ncustom.b: extra.a + extra.n\ncustom.c: extra",
        more="when: name != 'left' or 'x' in tags\n",
    )
)


@pytest.mark.parametrize(
    ("condition", "source", "holds"),
    [
        ("extra.x", {"extra": {"x": 1}}, True),
        ("address.city", {"address": {"city": ""}}, False),
        ("active if name else count == 1", {"name": "", "count": 1}, True),
    ],
)
def test_a_condition_may_be_any_expression(condition, source, holds):
    outcome = made(inbound("name: name", more=f"when: '{condition}'\n")).run({"id": 1, **source}, Context())
    assert isinstance(outcome, Mapped) is holds
