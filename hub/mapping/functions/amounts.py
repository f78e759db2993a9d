"""Numbers and money: exact, rounded where and how it is said, in parts that add up to their sum."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any, Final

from hub.mapping.functions.entry import LIST, NUMERIC, TEXT, Function, Unmappable, other, types
from hub.model import money as amounts
from hub.model.record import MISSING
from hub.model.text import plain_text

__all__ = ["AMOUNTS", "exact"]

_MOST_FLOAT_DIGITS: Final = 15


def exact(value: Any, grouping: str | None = None) -> Decimal:
    """Return a number or a text of digits as an exact decimal; a binary number only while no digit is lost.

    A JSON number of up to 15 digits survives the way through a binary number; what has more is refused.
    """
    if value.__class__ is float:
        shown = repr(value)
        if (
            len(re.sub(r"[-.]|e.*", "", shown).strip("0")) > _MOST_FLOAT_DIGITS
            or "n" in shown
            or "e" in shown
        ):
            raise Unmappable("is a binary number that has lost its digits; send it as a text")
        value = shown
    if grouping not in (None, ","):
        raise Unmappable(f"groups are written with ',', not {grouping!r}")
    return amounts.parse_amount(value, grouping=grouping is not None)


def _decimal(value: Any, grouping: str | None = None) -> Any:
    if value is None or value is MISSING:
        return value
    return exact(value, grouping)


def _money(value: Any, currency: Any) -> Any:
    if value is None or value is MISSING:
        return value
    if currency.__class__ is not str:
        raise Unmappable("an amount needs its currency")
    return amounts.quantise(exact(value), currency)


_MOST_PLACES: Final = 12
_RULES: Final = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN}


def _places(value: Any) -> Decimal:
    if value.__class__ is not int or not 0 <= value <= _MOST_PLACES:
        raise Unmappable(f"places are a whole number from 0 to {_MOST_PLACES}")
    return Decimal(1).scaleb(-value)


def _rounded(value: Decimal, unit: Decimal, rule: str = ROUND_HALF_UP) -> Decimal:
    return abs(found) if not (found := value.quantize(unit, rule)) else found  # no minus zero


def _round(value: Any, places: Any, rule: str = "half_up") -> Any:
    if value is None or value is MISSING:
        return value
    return _rounded(exact(value), _places(places), _RULES[rule])


def _divide(value: Any, by: Any, places: Any) -> Any:
    if value is None or value is MISSING:
        return value
    if by is None or by is MISSING:
        raise Unmappable("cannot divide by nothing")
    divisor = exact(by)
    if not divisor:
        raise Unmappable("cannot divide by zero")
    with localcontext(prec=60):  # 18 digits, 12 decimals, and what the rounding looks at
        return amounts.parse_amount(_rounded(exact(value) / divisor, _places(places)))


def _untaxed(value: Any, rate: Any, currency: Any) -> Any:
    if value is None or value is MISSING:
        return value
    if currency.__class__ is not str:
        raise Unmappable("an amount needs its currency")
    with localcontext(prec=60):
        return amounts.quantise(exact(value) / (1 + _rate(rate)), currency)


def _taxed(value: Any, rate: Any, currency: Any) -> Any:
    if value is None or value is MISSING:
        return value
    return _money(exact(value) * (1 + _rate(rate)), currency)


def _rate(rate: Any) -> Decimal:
    found = exact(rate)
    if not 0 <= found < 1:
        raise Unmappable("a tax rate is a number such as 0.13: from 0, below 1")
    return found


_WAN: Final = 10_000


def _from_wan(value: Any, currency: Any) -> Any:
    if value is None or value is MISSING:
        return value
    return _money(exact(value) * _WAN, currency)


# What people write around an amount; a comma is a group's, never a decimal point.
_SIGNS: Final = re.compile(r"^(?:CNY|RMB|USD|HKD|EUR|[¥$€])\s*|\s*(?:元整|元|CNY|RMB|USD|HKD|EUR)$")


def _amount(value: Any) -> Any:
    if value.__class__ is not str:
        return _decimal(value)
    if not value:
        raise Unmappable("is empty; an amount is expected")
    plain = plain_text(value)
    in_brackets = plain.startswith("(") and plain.endswith(")")
    found = exact(_SIGNS.sub("", _SIGNS.sub("", plain[1:-1] if in_brackets else plain)), ",")
    if in_brackets and found < 0:
        raise Unmappable("is negative twice: a sign inside brackets")
    return -found if in_brackets else found


def _sum(value: Any) -> Any:
    if value.__class__ is not list:
        return other(value, "a list of numbers")
    return amounts.parse_amount(sum((exact(item) for item in value), Decimal(0)))


def _shares(value: Any, weights: Any, currency: Any) -> Any:
    if value is None or value is MISSING:
        return value
    if weights.__class__ is not list or not weights:
        raise Unmappable("a list of weights is expected")
    if currency.__class__ is not str:
        raise Unmappable("an amount needs its currency")
    parts = amounts.Money(exact(value), currency).split([exact(weight) for weight in weights])
    return [amounts.amount_text(part.amount) for part in parts]


def _known_rule(rule: str) -> str:
    return "" if rule in _RULES else f"rounds {' or '.join(_RULES)}, not {rule[:20]!r}"


_WHOLE: Final = types("number")

AMOUNTS: Final = (
    Function(
        "amount", _amount, (NUMERIC,), "exact", "读金额", "Amount as people write it: ¥1,234.50, １２３４元, (100)",
        'amount("¥1,234.50")', because="reliability.md M2: what people type into a form",
    ),
    Function(
        "decimal", _decimal, (NUMERIC, TEXT), "exact", "小数", "Exact number", 'decimal("1,234.50", ",")',
        optional=1, constant=(1,),
    ),
    Function("money", _money, (NUMERIC, TEXT), "exact", "金额", "Amount rounded to its currency", 'money("2.675", "CNY")'),
    Function(
        "divide", _divide, (NUMERIC, NUMERIC, _WHOLE), "exact", "除", "Quotient with so many places, half away from zero",
        "divide(100, 3, 2)", because="kingdee.md 6: unit prices from totals",
    ),
    Function(
        "from_wan", _from_wan, (NUMERIC, TEXT), "exact", "万元折元", "Amount in units of ten thousand, in whole units",
        'from_wan("12.5", "CNY")', because="dingtalk.md, wecom.md: amounts of forms are often typed in 万元",
    ),
    Function(
        "round", _round, (NUMERIC, _WHOLE, TEXT), "exact", "舍入", "Rounded to places: half_up (the default) or half_even",
        'round("2.675", 2)', optional=1, constant=(2,), checks={2: _known_rule}, because="reliability.md M4: a stated rule",
    ),
    Function(
        "shares", _shares, (NUMERIC, LIST, TEXT), "list", "按比例拆分", "Parts by weights that add up to the amount",
        'shares("100.00", [1, 1, 1], "CNY")', because="reliability.md M4: the sum of the parts is the total",
    ),
    Function(
        "sum", _sum, (LIST,), "exact", "合计", "Sum of a list of numbers", "sum([1, 2])",
        because="kingdee.md 6: the total of a receipt's rows",
    ),
    Function(
        "taxed", _taxed, (NUMERIC, NUMERIC, TEXT), "exact", "价税合计", "Amount with tax", 'taxed("100.00", "0.13", "CNY")',
        because="kingdee.md, yonyou.md: prices with and without tax",
    ),
    Function(
        "untaxed", _untaxed, (NUMERIC, NUMERIC, TEXT), "exact", "不含税金额", "Amount without its tax",
        'untaxed("113.00", "0.13", "CNY")', because="kingdee.md, yonyou.md: prices with and without tax",
    ),
)  # fmt: skip
"""Numbers and money."""
