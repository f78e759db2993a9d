"""Values that real systems send and that go wrong elsewhere (reliability.md M2 to M14): a stated rule, or parked with the field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mapping import Context, Failed
from tests.effort import at_once
from tests.mapping_site import refusal
from tests.mapping_site import value as mapped

TEXT = {"name": "x"}


def value(expression: str, source: dict[str, Any], **known: Any) -> Any:
    """Return what an expression makes of a record."""
    return mapped(expression, source, **known)


def said(expression: str, given_value: Any) -> Any:
    """Return what an expression makes of a value that came in the field ``extra`` (any JSON)."""
    return value(expression, {"extra": given_value})


def why(expression: str, given_value: Any) -> str:
    found = said(expression, given_value)
    assert isinstance(found, Failed), found
    assert found.field == "custom.x"
    return found.message


# M2, M3: amounts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("¥1,234.50", "1234.50"),
        ("￥ 1,234.50", "1234.50"),
        ("１２３４", "1234.00"),
        ("１，２３４．５０元", "1234.50"),
        ("(100)", "-100.00"),
        ("（1,234.5）", "-1234.50"),
        ("RMB 20", "20.00"),
        ("1234.5", "1234.50"),
        ("-0", "0.00"),
    ],
)
def test_m2_what_people_write_as_an_amount_is_read_by_the_function_that_says_so(
    written: str, amount: str
) -> None:
    assert said('text(money(amount(extra), "CNY"))', written) == amount.rstrip("0").rstrip(".")


@pytest.mark.parametrize(
    "written",
    [
        "1.234,50",
        "1e3",
        "",
        "NaN",
        "sNaN",
        "Infinity",
        "1,23",
        "1 234.50",
        "(-5)",
        "12,34,567",
        "万",
        "1.2.3",
        "--5",
    ],
)
def test_m2_what_is_no_amount_or_could_be_two_parks_with_its_field(written: str) -> None:
    assert why("amount(extra)", written)
    assert why("decimal(extra)", written)


@pytest.mark.parametrize(
    "function", ["amount", "decimal", 'money({}, "CNY")', "divide({}, 3, 2)", "round({}, 2)"]
)
@pytest.mark.parametrize("huge", ["1e300000", "9" * 400, "9" * 19, "1" + "0" * 30, "0." + "1" * 13])
def test_m3_an_amount_of_too_many_digits_is_refused_at_once(function: str, huge: str) -> None:
    call = function.replace("{}", "extra") if "{}" in function else f"{function}(extra)"
    with at_once():
        assert why(call, huge)


# M4: rounding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ('round("2.675", 2)', "2.68"),
        ('round("1.005", 2)', "1.01"),
        ('round("-1.005", 2)', "-1.01"),
        ('round("2.665", 2, "half_even")', "2.66"),
        ('round("-0.001", 2)', "0"),
        ('round("1234.5", 0)', "1235"),
        ('money("1.2345", "KWD")', "1.235"),
        ('money("1.5", "JPY")', "2"),
        ("divide(100, 3, 2)", "33.33"),
        ("divide(2, 3, 4)", "0.6667"),
        ("divide(-2, 3, 4)", "-0.6667"),
        ('untaxed("113.00", "0.13", "CNY")', "100"),
        ('untaxed("100.00", "0.13", "CNY")', "88.5"),
        ('taxed("88.50", "0.13", "CNY")', "100.01"),
        ('from_wan("12.34567", "CNY")', "123456.7"),
        ("sum([1, 2.5, 3])", "6.5"),
    ],
)
def test_m4_numbers_are_rounded_where_and_how_it_is_said(expression: str, shown: str) -> None:
    assert value(f"text({expression})", TEXT) == shown


def test_m4_amount_and_tax_add_up_to_the_total() -> None:
    total, net = Decimal("99.99"), Decimal(value('text(untaxed("99.99", "0.06", "CNY"))', TEXT))
    tax = value('text(decimal("99.99") - untaxed("99.99", "0.06", "CNY"))', TEXT)
    assert net + Decimal(tax) == total


@given(
    total=st.decimals(min_value=-(10**9), max_value=10**9, places=2),
    weights=st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any),
)
def test_m4_parts_add_up_to_the_total_whatever_the_weights(total: Decimal, weights: list[int]) -> None:
    parts = value(
        'shares(extra.total, extra.weights, "CNY")', {"extra": {"total": str(total), "weights": weights}}
    )
    assert sum(map(Decimal, parts)) == total
    assert len(parts) == len(weights)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("divide(1, 0, 2)", "divide by zero"),
        ("divide(1, None, 2)", "divide by nothing"),
        ("divide(1, 3, 13)", "from 0 to 12"),
        ("round(1, 13)", "from 0 to 12"),
        ('untaxed(1, 13, "CNY")', "0.13"),
        ('shares(1, [], "CNY")', "list of weights"),
        ('shares(1, [0, 0], "CNY")', "above zero"),
        ('shares(1, [1], "XXX")', "not a currency"),
    ],
)
def test_m4_what_has_no_result_parks_and_says_why(expression: str, reason: str) -> None:
    found = value(expression, TEXT)
    assert isinstance(found, Failed)
    assert reason in found.message


def test_m4_a_rule_that_nobody_knows_is_refused_by_the_check() -> None:
    assert "half_up or half_even, not 'up'" in refusal('round(1, 2, "up")')


# M7: patterns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)+$", "(.*)*x", "(a|a|a)*b", "([a-z]+)*\\\\d"])
def test_m7_a_pattern_takes_linear_time_whatever_it_says(pattern: str) -> None:
    plain = pattern.replace("(", "(?:")
    for length in (26, 15_000):
        with at_once():
            assert said(f"matches(extra, '{plain}')", "a" * length + "!") is False


@pytest.mark.parametrize(
    "pattern", ["(a)\\\\1", "(?=a)", "(?<!a)b", "(", "[z-a]", "a{1,5000}", "(a)(b)", "*"]
)
def test_m7_a_pattern_that_needs_more_than_linear_time_or_is_none_is_refused_by_the_check(
    pattern: str,
) -> None:
    assert "pattern" in refusal(f"extract(name, '{pattern}')")


def test_m7_a_pattern_is_written_in_the_mapping_and_never_comes_from_a_record() -> None:
    assert "needs a text written here" in refusal("matches(name, name)")


# M9: lengths -------------------------------------------------------------------------------------------------

FAMILY, FLAG, MARKED = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e8\U0001f1f3", "e\u0301"


@pytest.mark.parametrize(
    ("expression", "text", "kept"),
    [
        ("cut(extra, 3)", "示例科技", "示例科"),
        ("cut_bytes(extra, 7)", "示例科技", "示例"),
        ("cut_bytes(extra, 9)", "示例科技", "示例科"),
        ("cut_bytes(extra, 5)", "a😀b", "a😀"),
        ("cut_bytes(extra, 4)", "a😀b", "a"),
        ("cut(extra, 2)", f"a{MARKED}", "a"),
        ("cut(extra, 3)", f"a{MARKED}b", f"a{MARKED}"),
        ("cut(extra, 4)", FAMILY + "x", ""),
        ("cut(extra, 5)", FAMILY + "x", FAMILY),
        ("cut(extra, 3)", FLAG + FLAG, FLAG),
        ("cut(extra, 2)", "👍🏽x", "👍🏽"),
        ("cut(extra, 1)", "👍🏽x", ""),
        ("cut(extra, 2)", "𠮷野家", "𠮷野"),
        ("cut_bytes(extra, 4)", "𠮷野家", "𠮷"),
        ("cut(extra, 0)", "abc", ""),
        ("cut(extra, 9)", "abc", "abc"),
    ],
)
def test_m9_a_text_is_cut_by_a_stated_rule_and_never_inside_a_character(
    expression: str, text: str, kept: str
) -> None:
    assert said(expression, text) == kept


@given(text=st.text(max_size=60), most=st.integers(0, 80))
def test_m9_what_is_kept_fits_and_is_the_beginning(text: str, most: int) -> None:
    found = said(f"cut_bytes(extra, {most})", text)
    if isinstance(found, Failed):  # what no store can hold: NUL, half a surrogate pair
        return
    assert text.startswith(found)
    assert len(found.encode()) <= most


# M10, M11: texts and phones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("ＡＢＣ公司", "ABC公司"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("示例\u200b科技", "示例科技"),
        ("abc\u202edef", "abcdef"),
        ("e\u0301", "é"),
        ("㐀𠮷·娜", "㐀𠮷·娜"),
        ("  a \t b ", "a b"),
    ],
)
def test_m10_the_plain_form_is_for_keys_and_the_text_itself_is_kept(text: str, form: str) -> None:
    assert said("plain(extra)", text) == form
    assert value("name", {"name": text}, field="remark") in (text, text.strip())


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("+86 138 0013 8000", "+8613800138000"),
        ("0086-138-0013-8000", "+8613800138000"),
        ("138-0013-8000", "+8613800138000"),
        ("１３８００１３８０００", "+8613800138000"),
        ("021-62123456-801", "+862162123456;ext=801"),
    ],
)
def test_m11_a_phone_has_one_form(text: str, form: str) -> None:
    assert said("phone(extra)", text) == form


@pytest.mark.parametrize("text", ["138001380001", "138-0000", "abc", "1380013800a"])
def test_m11_what_is_no_phone_parks(text: str) -> None:
    assert "phone" in why("phone(extra)", text)


def test_m11_several_mobiles_in_one_text_become_a_list() -> None:
    found = value(
        "[phone(one) for one in split(extra, '/、, ')]",
        {"extra": "13800138000/139-0013-9000、,"},
        field="custom.x",
    )
    assert found == ["+8613800138000", "+8613900139000"]


# M12: two sources for one key --------------------------------------------------------------------------------


def test_m12_a_value_map_read_back_is_refused_where_two_keys_share_a_value_and_both_are_named() -> None:
    assert "'same' stands behind 'a' and 'b'" in refusal('value_map_back("acme.twice", name)')


def test_m12_a_value_map_is_read_in_both_directions() -> None:
    assert value('value_map("acme.level", "gold")', TEXT) == "A"
    assert value('value_map_back("acme.level", "A")', TEXT) == "gold"
    assert value('value_map_back("acme.level", "Z", "none")', TEXT) == "none"
    assert "no entry for 'Z'" in value('value_map_back("acme.level", "Z")', TEXT).message


# M13: nothing, and what is not nothing -----------------------------------------------------------------------

FUNCTIONS_OF_ONE = (
    "address", "amount", "bank_card", "count", "excel_day", "first", "id_card", "plain", "sum", "unique",
)  # fmt: skip


@pytest.mark.parametrize("call", [*(f"{name}(extra)" for name in FUNCTIONS_OF_ONE), "cut(extra, 3)", "divide(extra, 2, 2)",
                                  'split(extra, ",")', 'join(extra, ",")', "masked(extra, 1, 1)", "round(extra, 2)",
                                  'from_wan(extra, "CNY")', 'day_in(extra, "+08:00")', 'moment_in(extra, "+08:00")',
                                  'matches(extra, "a")', 'extract(extra, "a")', 'shares(extra, [1], "CNY")'])  # fmt: skip
def test_m13_null_stays_null_and_absent_stays_absent(call: str) -> None:
    assert said(call, None) is None
    assert value(call, {}) == "ABSENT"


def test_m13_null_is_not_absent() -> None:
    assert value("extra is None", {"extra": None}) is True
    assert value("extra is None", {}) is False


def test_m13_an_empty_text_is_not_null() -> None:
    assert said("extra is None", "") is False
    assert said('extra == ""', "") is True


def test_m13_the_word_null_is_a_text() -> None:
    assert said("extra", "null") == "null"
    assert said("extra is None", "null") is False


def test_m13_zero_is_not_nothing() -> None:
    assert said("extra is None", 0) is False
    assert said("extra", 0) == 0
    assert said("0 if extra is None else extra + 1", 0) == 1


def test_m13_absent_is_left_out_of_the_record() -> None:
    assert value("extra", {}) == "ABSENT"
    assert value("missing", TEXT) == "ABSENT"


# M14: days and moments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    ["0000-00-00", "2024-02-30", "1899-12-31", "45292", "2024-W01-1", "20240101", "正月初一", "2024年1月1日", "2024/01/01", "24-1-1",
     "2201-01-01"],
)  # fmt: skip
def test_m14_what_is_no_day_parks(written: str) -> None:
    assert why("date(extra)", written)


def test_m14_excel_s_serial_number_is_a_day_where_the_mapping_says_so() -> None:
    assert said("excel_day(extra)", 45292) == "2024-01-01"
    assert said("excel_day(extra)", 45292.0) == "2024-01-01"
    assert said("excel_day(extra)", 61) == "1900-03-01"
    for wrong in (60, 0, -1, 10**6):
        assert "Excel's numbers" in why("excel_day(extra)", wrong)
    assert "time of day" in why("excel_day(extra)", 45292.5)
    assert why("excel_day(extra)", "45292")


def test_m14_a_time_without_zone_is_refused_unless_the_zone_is_stated() -> None:
    assert "no zone" in why("instant(extra)", "2026-01-10 08:00:00")
    assert said('instant(extra, "+08:00")', "2026-01-10 08:00:00") == "2026-01-10T00:00:00Z"
    assert said('moment_in(extra, "Asia/Shanghai")', "2026-01-10 08:00:00") == "2026-01-10T00:00:00Z"
    assert said('moment_in(extra, "America/New_York")', "2026-07-10 08:00:00") == "2026-07-10T12:00:00Z"
    assert said('moment_in(extra, "America/New_York")', "2026-01-10 08:00:00") == "2026-01-10T13:00:00Z"


@pytest.mark.parametrize("written", ["2026-03-08 02:30:00", "2026-11-01 01:30:00"])
def test_m14_a_time_that_never_was_or_was_twice_parks(written: str) -> None:
    assert "no such time" in why('moment_in(extra, "America/New_York")', written)


def test_m14_the_day_of_a_moment_depends_on_the_zone() -> None:
    assert said('day_in(extra, "Asia/Shanghai")', "2026-01-09T16:30:00Z") == "2026-01-10"
    assert said('day_in(extra, "+00:00")', "2026-01-09T16:30:00Z") == "2026-01-09"


@pytest.mark.parametrize("zone", ["Asia/Shanhai", "CST", "+8", "+25:00", "../etc/passwd", ""])
def test_m14_a_zone_that_nobody_knows_is_refused_by_the_check(zone: str) -> None:
    assert "there is no zone" in refusal(f"day_in(name, '{zone}')")


# people, companies, addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["11010519491231002X", "11010519491231002x", "110105 19491231 002X", "１１０１０５19491231002X"]
)
def test_an_identity_card_has_one_form(number: str) -> None:
    assert said("id_card(extra)", number) == "11010519491231002X"


@pytest.mark.parametrize(
    "number", ["110105194912310021", "11010519491331002X", "110105491231002", "11010519491231002", "abc"]
)
def test_what_is_no_identity_card_parks(number: str) -> None:
    assert "identity card" in why("id_card(extra)", number)


def test_a_bank_card_is_checked_and_a_number_is_masked() -> None:
    assert said("bank_card(extra)", "6222 0212 3456 7890 128") == "6222021234567890128"
    assert "check digit" in why("bank_card(extra)", "6222021234567890127")
    assert "12 to 19 digits" in why("bank_card(extra)", "622202")
    assert said("masked(extra, 6, 4)", "11010519491231002X") == "110105********002X"
    assert said("masked(extra, 3, 4)", "1234567") == "*******", "too short to show anything of it"


def test_a_digest_needs_a_key_that_nobody_guesses() -> None:
    assert "16 to 64 bytes" in refusal('hash(name, "salt")')
    one, other = (value('hash(name, "0123456789abcdef")', {"name": name}) for name in ("a", "b"))
    assert (len(one), one != other) == (32, True)
    assert one != value('hash(name, "0123456789abcdeF")', {"name": "a"})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("广东省深圳市南山区科技路12号", ("广东省", "深圳市", "南山区", "科技路12号")),
        ("广东深圳市南山区科技路12号", ("广东省", "深圳市", "南山区", "科技路12号")),
        ("北京市朝阳区建国路88号", ("北京市", "北京市", "朝阳区", "建国路88号")),
        ("北京市北京市朝阳区建国路88号", ("北京市", "北京市", "朝阳区", "建国路88号")),
        ("上海浦东新区世纪大道1号", ("上海市", "上海市", "浦东新区", "世纪大道1号")),
        (
            "新疆维吾尔自治区伊犁哈萨克自治州伊宁市解放路1号",
            ("新疆维吾尔自治区", "伊犁哈萨克自治州", "伊宁市", "解放路1号"),
        ),
        ("内蒙古呼和浩特市新城区中山路", ("内蒙古自治区", "呼和浩特市", "新城区", "中山路")),
        ("江苏省苏州市昆山市前进路5号", ("江苏省", "苏州市", "昆山市", "前进路5号")),
        ("深圳市南山区科技路12号", (None, "深圳市", "南山区", "科技路12号")),
        ("香港特别行政区中环皇后大道1号", ("香港特别行政区", None, None, "中环皇后大道1号")),
        ("Level 5, 1 Market St, Sydney", (None, None, None, "Level 5, 1 Market St, Sydney")),
        ("科技路12号", (None, None, None, "科技路12号")),
    ],
)
def test_an_address_is_split_as_far_as_it_says_what_is_what(text: str, parts: tuple[str | None, ...]) -> None:
    names = ("province", "city", "district", "rest")
    assert tuple(said(f"address(extra).{name}", text) for name in names) == parts


def test_lists_have_a_first_item_a_text_each_item_once_and_a_number() -> None:
    assert said("first(extra)", ["A", "B"]) == "A"
    assert said("first(extra)", []) == "ABSENT"
    assert said('join(extra, "、")', ["A", "B"]) == "A、B"
    assert said("unique(extra)", ["A", "B", "A", 1, True, 1.0]) == ["A", "B", 1, True, 1.0]
    assert said("count(extra)", ["A", "B"]) == 2
    assert "list of texts" in why('join(extra, ",")', [1])


def test_a_pattern_takes_its_group_or_the_whole_or_the_default() -> None:
    assert said('extract(extra, "HT-[0-9]+")', "合同 HT-1004 补充") == "HT-1004"
    assert said('extract(extra, "合同 (HT-[0-9]+)")', "合同 HT-1004 补充") == "HT-1004"
    assert said('extract(extra, "X[0-9]+")', "none") is None
    assert said('extract(extra, "X[0-9]+", "-")', "none") == "-"
    assert said('replace(extra, " ", "")', "010 6212 3456") == "01062123456"


def test_the_table_of_legal_entities_gives_its_columns() -> None:
    known = Context(legal_entity=lambda name, column: f"{name}/{column}")
    assert value('legal_entity(name, "settle")', {"name": "demo"}, context=known) == "demo/settle"
    assert "not 'setle'" in refusal('legal_entity(name, "setle")')
    found = value('legal_entity(name, "settle")', {"name": "demo"})
    assert isinstance(found, Failed)
    assert "no legal entity 'demo'" in found.message
