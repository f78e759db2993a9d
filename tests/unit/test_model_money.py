"""Money (reliability.md M2, M3, M4)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model.money import InvalidMoney, Money, amount_text, exponent, parse_amount, quantise
from tests.effort import at_once


@pytest.mark.parametrize(
    "written",
    [
        "¥1,234.50",
        "１２３４",
        "1.234,50",
        "(100)",
        "1e3",
        "",
        " ",
        "NaN",
        "sNaN",
        "Infinity",
        "1,234.50",
        "1_000",
        "0x10",
        "1.",
        ".5",
        "--1",
        "1 000",
        "٣",
    ],
)
def test_m2_a_text_that_only_looks_like_an_amount_is_refused(written):
    with pytest.raises(InvalidMoney):
        parse_amount(written)


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), True, None, [], {}, b"1", Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")],
)
def test_m2_a_value_that_is_no_exact_number_is_refused(value):
    with pytest.raises(InvalidMoney):
        parse_amount(value)


def test_m2_groups_are_read_only_by_the_stated_rule():
    assert parse_amount("1,234.50", grouping=True) == Decimal("1234.50")
    assert parse_amount("-1,234,567", grouping=True) == Decimal(-1234567)
    assert parse_amount("1234.50", grouping=True) == Decimal("1234.50")
    for wrong in ("1,23.50", "12,34", "1,2345", ",123", "1,234,"):
        with pytest.raises(InvalidMoney):
            parse_amount(wrong, grouping=True)


@pytest.mark.parametrize(
    "value",
    [
        "1e300000",
        "9" * 5_000,
        "1" * 19,
        Decimal("1e300000"),
        10**300_000,
        Decimal("1e-300000"),
        "0." + "1" * 13,
    ],
    ids=["exponent", "long text", "19 digits", "decimal", "integer", "tiny", "13 decimals"],
)
def test_m3_an_endless_amount_is_refused_at_once(value):
    with at_once(), pytest.raises(InvalidMoney):
        parse_amount(value)


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("2.675", "CNY", "2.68"),
        ("1.005", "CNY", "1.01"),
        ("-2.675", "CNY", "-2.68"),
        ("1.2345", "KWD", "1.235"),
        ("10.5", "JPY", "11"),
        ("-0.004", "CNY", "0"),
    ],
)
def test_m4_rounding_goes_half_away_from_zero_to_the_currencys_decimals(amount, currency, rounded):
    assert quantise(Decimal(amount), currency) == Decimal(rounded)


@pytest.mark.parametrize("zero", ["-0", "-0.00", "0", "-0.000"])
def test_m4_minus_zero_is_zero(zero):
    amount = parse_amount(zero)
    assert str(amount)[0] != "-"
    assert amount_text(amount) == "0.00"
    assert amount_text(Decimal(zero)) == "0.00"


def test_an_unknown_currency_is_refused():
    with pytest.raises(InvalidMoney):
        exponent("RMB")
    assert (exponent("CNY"), exponent("JPY"), exponent("KWD")) == (2, 0, 3)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1000", "1000.00"), ("1000.5", "1000.50"), ("0.12500", "0.125"), ("-7", "-7.00"), ("1E+3", "1000.00")],
)
def test_an_amount_has_one_text(amount, text):
    assert amount_text(Decimal(amount)) == text


@given(st.decimals(min_value=-(10**17), max_value=10**17, places=6))
def test_an_amount_survives_its_text(amount):
    assert parse_amount(amount_text(amount)) == amount


@given(
    st.decimals(min_value=-(10**12), max_value=10**12, places=2),
    st.lists(st.integers(0, 1000), min_size=1, max_size=9).filter(any),
    st.sampled_from(["CNY", "JPY", "KWD"]),
)
def test_m4_parts_of_an_amount_add_up_to_it(amount, weights, currency):
    whole = Money(amount, currency)
    parts = whole.split(weights)
    assert sum(part.amount for part in parts) == whole.quantised().amount
    assert all(part == part.quantised() for part in parts)


def test_m4_what_is_left_over_goes_to_the_earlier_part():
    assert [str(part) for part in Money(Decimal(100), "CNY").split([1, 1, 1])] == [
        "33.34 CNY",
        "33.33 CNY",
        "33.33 CNY",
    ]


@pytest.mark.parametrize("weights", [[], [0], [1, -1], [-1, 3]])
def test_an_amount_is_not_shared_by_nothing(weights):
    with pytest.raises(InvalidMoney):
        Money(Decimal(1), "CNY").split(weights)
