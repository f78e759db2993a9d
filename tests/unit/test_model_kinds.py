"""Kinds, stored forms and forms for comparison (reliability.md M13, J6, J13)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model import (
    KINDS,
    MISSING,
    InvalidField,
    InvalidFields,
    check_body,
    digest_form,
    key_values,
    normal_form,
    normalise,
)
from hub.model.fields import STORED

CUSTOMER, PAYMENT, CONTACT, FOLLOW = (KINDS[name] for name in ("customer", "payment", "contact", "follow"))
ID = "0190a1b2c3d4e5f60718293a4b5c6d7e"
RECEIPT = {"no": "P-1", "customer": ID, "received_on": "2026-01-10", "amount": "10.50", "currency": "CNY"}


def refusals(kind, body, **options):
    with pytest.raises(InvalidFields) as caught:
        check_body(kind, body, **options)
    return dict(caught.value.problems)


def test_every_field_has_a_known_type_and_both_labels():
    for kind in KINDS.values():
        for name, field in kind.fields.items():
            assert field.name == name
            assert field.type in STORED
            assert field.zh
            assert field.en
            assert (field.type == "choice") == bool(field.choices)
            assert (field.type == "reference") == (field.reference in KINDS)
        assert {*kind.strong_keys, *kind.match_keys} <= kind.fields.keys()


def test_a_body_comes_out_in_stored_form():
    body = check_body(
        CUSTOMER,
        {
            "name": "示例科技",
            "phone": "138-0013-8000",
            "uscc": "91350100m000100y43",
            "credit_limit": "1000.5",
            "custom.color": ["red", 1, None],
        },
    )
    assert body == {
        "name": "示例科技",
        "phone": "+8613800138000",
        "uscc": "91350100M000100Y43",
        "credit_limit": "1000.50",
        "custom.color": ["red", 1, None],
    }


def test_every_problem_of_a_body_is_named_at_once():
    assert refusals(
        CUSTOMER, {"nmae": "x", "phone": "12", "type": "vip", "credit_limit": 1.5, "payment_term_days": "30"}
    ).keys() == {"nmae", "phone", "type", "credit_limit", "payment_term_days", "name"}


@pytest.mark.parametrize(
    "name",
    [
        "__proto__",
        "__class__",
        "id",
        "region",
        "role",
        "owner",
        "version",
        "custom",
        "custom.",
        "custom._x",
        "custom.A",
        "custom.a.b",
        "Name",
    ],
)
def test_j6_what_is_not_a_field_is_never_assigned(name):
    assert name in refusals(CUSTOMER, {"name": "x", name: "y"})


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_that_is_no_object_is_refused(body):
    assert "" in refusals(CUSTOMER, body)


@pytest.mark.parametrize("name", ["", " ", "\u200b", None, "\u3000"])
def test_a_required_field_is_not_blank(name):
    assert refusals(CUSTOMER, {"name": name}) == {"name": "is required"}
    assert refusals(CUSTOMER, {"name": name}, complete=False) == {"name": "is required"}


def test_a_part_of_a_body_needs_no_required_field():
    assert check_body(CUSTOMER, {"remark": "x"}, complete=False) == {"remark": "x"}


@pytest.mark.parametrize(
    "name",
    [
        "a\r\nb",
        "\x1b[31mred",
        "${jndi:ldap://x}",
        "{0.__class__}",
        "%s%s%n",
        "<script>",
        " x ",
        "\u202eabc",
        "Ａ",
        "cafe\u0301",
        "\U0002f800",
    ],
)
def test_j13_a_text_is_stored_as_it_came(name):
    assert check_body(CUSTOMER, {"name": name}) == {"name": name}


@pytest.mark.parametrize("value", ["a\0", "\ud800", "x" * 201, 5, True, ["x"], {}])
def test_a_text_that_cannot_be_held_is_refused(value):
    assert "name" in refusals(CUSTOMER, {"name": value})


@pytest.mark.parametrize(
    ("kind", "field", "value", "stored"),
    [
        (PAYMENT, "amount", 5, "5.00"),
        (PAYMENT, "fee", "-0", "0.00"),
        (PAYMENT, "fx_rate", "7.12340", "7.1234"),
        (PAYMENT, "fx_rate", "100", "100"),
        (PAYMENT, "fx_rate", "0.0", "0"),
        (PAYMENT, "received_on", "2024-02-29", "2024-02-29"),
        (FOLLOW, "since", "2026-01-10T10:03:04+08:00", "2026-01-10T02:03:04Z"),
        (FOLLOW, "since", "2026-01-10T10:03:04.5Z", "2026-01-10T10:03:04.500000Z"),
        (FOLLOW, "tags", ["b", "a", "b"], ["b", "a", "b"]),
        (CONTACT, "mobiles", ["13800138000", "138-0013-8000"], ["+8613800138000"]),
        (CONTACT, "do_not_call", False, False),
        (CONTACT, "email", "A@B.CN", "a@b.cn"),
        (CONTACT, "email", "", ""),
        (CONTACT, "mobile", "", ""),
        (CUSTOMER, "uscc", "", ""),
        (CUSTOMER, "phone", None, None),
        (CUSTOMER, "type", "partner", "partner"),
        (CUSTOMER, "payment_term_days", 30, 30),
    ],
)
def test_a_value_has_one_stored_form(kind, field, value, stored):
    assert normalise(kind, field, value) == stored
    assert normalise(kind, field, stored) == stored


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (PAYMENT, "amount", 0.1),
        (PAYMENT, "amount", "NaN"),
        (PAYMENT, "amount", ""),
        (PAYMENT, "currency", "RMB"),
        (PAYMENT, "currency", "cny"),
        (PAYMENT, "customer", "C001"),
        (PAYMENT, "customer", ID.upper()),
        (PAYMENT, "received_on", "2024-02-30"),
        (PAYMENT, "received_on", "0000-00-00"),
        (PAYMENT, "received_on", "2024-W01-1"),
        (PAYMENT, "received_on", "20240101"),
        (PAYMENT, "received_on", "1899-12-31"),
        (PAYMENT, "received_on", 45292),
        (PAYMENT, "received_on", "２０２４-01-01"),
        (FOLLOW, "since", "2026-01-10T10:03:04"),
        (FOLLOW, "since", "2026-01-10T24:00:01Z"),
        (FOLLOW, "since", "0001-01-01T00:00:00+14:00"),
        (FOLLOW, "since", "1800-01-01T00:00:00Z"),
        (FOLLOW, "since", 1),
        (FOLLOW, "tags", "a"),
        (FOLLOW, "tags", ["a"] * 201),
        (FOLLOW, "tags", [1]),
        (CONTACT, "do_not_call", "yes"),
        (CONTACT, "do_not_call", 1),
        (CONTACT, "gender", ["male"]),
        (CUSTOMER, "payment_term_days", True),
        (CUSTOMER, "payment_term_days", 1.0),
        (CUSTOMER, "payment_term_days", 2**53),
        (CUSTOMER, "custom.x", "a\0"),
        (CUSTOMER, "custom.x", {"a": ["x\0"]}),
        (CUSTOMER, "custom.x", "x" * 70_000),
        (CUSTOMER, "custom.x", "\ud800"),
        (CUSTOMER, "custom.x", 2**70),
        (CUSTOMER, "nothing", "x"),
    ],
)
def test_a_value_of_another_type_is_refused(kind, field, value):
    with pytest.raises(InvalidField) as caught:
        normalise(kind, field, value)
    assert caught.value.field == field


def test_a_custom_value_may_spell_a_nul_without_holding_one():
    assert normalise(CUSTOMER, "custom.x", "\\u0000") == "\\u0000"


def test_an_amount_has_no_more_decimals_than_its_currency():
    assert "amount" in refusals(PAYMENT, {**RECEIPT, "amount": "10.505"})
    assert "amount" in refusals(PAYMENT, {**RECEIPT, "amount": "10.5", "currency": "JPY"})
    assert "fee" in refusals(PAYMENT, {**RECEIPT, "fee": "0.001"})
    assert check_body(PAYMENT, {**RECEIPT, "currency": "JPY", "amount": "10"})["amount"] == "10.00"
    assert check_body(PAYMENT, {**RECEIPT, "currency": "KWD", "amount": "10.505"})["amount"] == "10.505"


def test_a_record_has_only_so_many_custom_fields():
    assert "custom" in refusals(CUSTOMER, {"name": "x", **{f"custom.f{index}": 1 for index in range(201)}})


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations([MISSING, None, "", "null", "0", "MISSING"], 2)), ids=repr
)
def test_m13_absent_null_empty_the_word_null_and_zero_are_distinct(one, other):
    assert digest_form(CUSTOMER, "remark", one) != digest_form(CUSTOMER, "remark", other)


def test_m13_the_number_zero_is_not_the_text():
    assert digest_form(CUSTOMER, "custom.x", 0) != digest_form(CUSTOMER, "custom.x", "0")
    assert digest_form(CUSTOMER, "custom.x", 0) != digest_form(CUSTOMER, "custom.x", False)


def test_what_means_the_same_has_one_digest_form():
    assert digest_form(CUSTOMER, "name", "示例(上海)") == digest_form(CUSTOMER, "name", " 示例（上海） ")
    assert digest_form(CUSTOMER, "remark", "a\r\nb ") == digest_form(CUSTOMER, "remark", "a\nb")
    assert digest_form(FOLLOW, "tags", ["a", "b"]) == digest_form(FOLLOW, "tags", ["b", "a"])
    assert digest_form(CUSTOMER, "custom.x", {"a": 1, "b": 2}) == digest_form(
        CUSTOMER, "custom.x", {"b": 2, "a": 1}
    )
    assert digest_form(CUSTOMER, "remark", "ＡＢ") != digest_form(CUSTOMER, "remark", "AB")


def test_an_unknown_field_has_no_form():
    with pytest.raises(InvalidField):
        normal_form(CUSTOMER, "nothing", "x")


@given(st.text(max_size=30))
def test_every_text_that_is_stored_has_a_digest_form(text):
    try:
        stored = normalise(CUSTOMER, "remark", text)
    except InvalidField:
        return
    assert digest_form(CUSTOMER, "remark", stored)


def test_the_keys_of_a_body_are_strong_then_matching_then_references():
    body = {"name": "示例(上海)", "uscc": "91350100M000100Y43", "phone": "+8613800138000", "email": ""}
    assert key_values(CUSTOMER, body) == [
        ("customer.uscc", "91350100M000100Y43", True),
        ("customer.phone", "+8613800138000", False),
        ("customer.name", "示例（上海）", False),
        ("customer.name~core", "示例", False),
    ]
    assert key_values(PAYMENT, RECEIPT) == [("payment.customer", ID, False)]
