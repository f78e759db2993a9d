"""Normal forms of texts (reliability.md M10, M11)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model.text import (
    InvalidText,
    bare_text,
    company_key,
    company_name,
    credit_code,
    email,
    key_text,
    person_name,
    phone,
    storable,
)

BIDI = "\u202e"
ZERO_WIDTH = "\u200b"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("ＡＢＣ１２３", "abc123"),
        ("ﾃｽﾄ", "テスト"),
        (f"张{ZERO_WIDTH}三", "张三"),
        (f"{BIDI}张三", "张三"),
        ("\ufeffName\u00ad", "name"),
        (unicodedata.normalize("NFD", "Café"), "café"),
        ("a\t b\r\n c", "a b c"),
        ("Straße", "strasse"),
        ("㐀𠮷", "㐀𠮷"),
        ("", ""),
    ],
)
def test_m10_a_key_ignores_width_form_and_what_cannot_be_seen(written, key):
    assert key_text(written) == key


def test_m10_rare_characters_stay_apart_from_their_look_alikes():
    assert key_text("𠮷田") != key_text("吉田")


@pytest.mark.parametrize(
    "written",
    [
        "示例科技（上海）有限责任公司",
        "示例科技(上海)有限责任公司",
        " 示例科技 （ 上海 ）有限责任公司 ",
        f"示例{ZERO_WIDTH}科技（上海）有限责任公司{BIDI}",
        "示例科技﹙上海﹚有限责任公司",
    ],
)
def test_m10_one_company_has_one_name_however_it_is_typed(written):
    assert company_name(written) == "示例科技（上海）有限责任公司"


def test_a_company_of_another_legal_form_is_another_company():
    assert company_key("示例科技有限公司") != company_key("示例科技有限责任公司")


def test_a_foreign_name_keeps_its_blanks_and_half_width_brackets():
    assert company_name("ACME  （Shanghai）  Co., Ltd.") == "ACME (Shanghai) Co., Ltd."
    assert company_key("ACME Co.") == "acme co."


@pytest.mark.parametrize("dot", "\u00b7\u2022\u2027\u30fb\uff65\u2219\u22c5")
def test_m10_every_middle_dot_of_a_name_is_one(dot):
    assert person_name(f" 阿卜杜拉{dot}买买提 ") == "阿卜杜拉·买买提"


def test_free_text_is_compared_without_outer_blanks_and_by_line():
    assert bare_text(" a\r\nb\n") == "a\nb"
    assert bare_text("ＡＢ") == "ＡＢ"


@given(st.text(max_size=40))
def test_a_normal_form_is_its_own_normal_form(text):
    for form in (key_text, company_name, company_key, person_name, bare_text):
        assert form(form(text)) == form(text)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff x"])
def test_what_no_store_can_hold_is_refused(text):
    with pytest.raises(InvalidText):
        storable(text)


@pytest.mark.parametrize(
    "written",
    [
        "13800138000",
        "+86 138 0013 8000",
        "0086-138-0013-8000",
        "138-0013-8000",
        "１３８００１３８０００",
        "+8613800138000",
        "86 13800138000",
        f"{BIDI}138{ZERO_WIDTH}00138000",
        "(138) 0013-8000",
    ],
)
def test_m11_a_mobile_has_one_form(written):
    assert phone(written) == "+8613800138000"


@pytest.mark.parametrize(
    "written",
    [
        "021-62123456-801",
        "（021）62123456-801",
        "021 62123456 转 801",
        "021-62123456转801",
        "+86 21 6212 3456 ext. 801",
        "021-62123456 x801",
        "02162123456#801",
        "021-62123456分机：801",
        "+862162123456;ext=801",
    ],
)
def test_m11_a_landline_keeps_its_extension(written):
    assert phone(written) == "+862162123456;ext=801"


def test_m11_a_foreign_number_needs_its_country():
    assert phone("+1 650-253-0000") == "+16502530000"
    assert phone("650-253-0000", "US") == "+16502530000"
    with pytest.raises(InvalidText):
        phone("650-253-0000")


@pytest.mark.parametrize(
    "written",
    [
        "138001380001",
        "1380013800",
        "12345",
        "",
        " ",
        "张三",
        "13800138000/13900139000",
        "+",
        "1" * 60,
        "13800138000abc",
    ],
)
def test_m11_what_is_not_one_number_is_refused(written):
    with pytest.raises(InvalidText):
        phone(written)


@given(st.text(alphabet="0123456789+-() 转x", max_size=25))
def test_a_phone_is_refused_or_has_a_stable_form(text):
    try:
        found = phone(text)
    except InvalidText:
        return
    assert phone(found) == found


def test_an_address_is_lower_case_and_alone():
    assert email(" Zhang.San@Example.COM ") == "zhang.san@example.com"
    assert email("a+b@例子.中国") == "a+b@例子.中国"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "a",
        "a@b",
        "a@@b.cn",
        "a b@c.cn",
        "a@c.cn, d@e.cn",
        "Zhang <a@c.cn>",
        ".a@b.cn",
        "a@-b.cn",
        "a" * 250 + "@b.cn",
    ],
)
def test_what_is_not_an_address_is_refused(written):
    with pytest.raises(InvalidText):
        email(written)


def test_a_credit_code_is_read_however_it_is_typed():
    assert credit_code(" 91350100m000100y43 ") == "91350100M000100Y43"
    assert credit_code("９１３５０１００Ｍ０００１００Ｙ４３") == "91350100M000100Y43"
    assert credit_code("91350100-M000100Y-43") == "91350100M000100Y43"


@pytest.mark.parametrize("place", range(18))
def test_a_credit_code_with_one_wrong_character_is_refused(place):
    code = "91350100M000100Y43"
    wrong = code[:place] + ("3" if code[place] != "3" else "7") + code[place + 1 :]
    with pytest.raises(InvalidText):
        credit_code(wrong)


@pytest.mark.parametrize("written", ["", "9135010", "91350100I000100Y43", "91350100M000100Y433"])
def test_a_credit_code_of_another_form_is_refused(written):
    with pytest.raises(InvalidText):
        credit_code(written)
