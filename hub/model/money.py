"""Money: an exact decimal and its currency; never a float."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Final

__all__ = ["InvalidMoney", "Money", "amount_text", "exponent", "parse_amount", "quantise"]


class InvalidMoney(ValueError):
    """The value is not an amount of money, or the currency is unknown."""


# ISO 4217 minor units. Currencies with two digits are listed too: an unknown code is an error, not two digits.
_DECIMALS: Final = {
    2: "AED ARS AUD BDT BGN BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR KES KHR KZT LAK LKR MAD MMK MNT MOP"
    " MXN MYR NGN NOK NPR NZD PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TRY TWD UAH USD UZS ZAR",
    0: "CLP ISK JPY KRW PYG UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_EXPONENTS: Final = {code: places for places, codes in _DECIMALS.items() for code in codes.split()}
_PLAIN: Final = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,12})?", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,12})?", re.ASCII)
_MOST_WHOLE: Final = 18
_MOST_DECIMALS: Final = 12


def exponent(currency: str) -> int:
    """Return the number of decimals of a currency (ISO 4217 code).

    Raises:
        InvalidMoney: the code is not in the table.
    """
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise InvalidMoney(f"{currency[:12]!r} is not a currency the hub knows (ISO 4217)") from None


def parse_amount(value: object, *, grouping: bool = False) -> Decimal:
    """Return an exact amount from a text of ASCII digits, an int or a Decimal.

    At most 18 digits before and 12 after the point. No exponent, currency sign, brackets or fullwidth digits;
    commas between groups of three only with ``grouping``. Outer blanks are ignored. Minus zero is zero.

    Raises:
        InvalidMoney: anything else, a float too: its decimals are lost already.
    """
    if isinstance(value, str):
        text = value.strip(" \t\r\n")
        if len(text) > 64:
            raise InvalidMoney("has too many digits for an amount")
        if grouping and _GROUPED.fullmatch(text):
            text = text.replace(",", "")
        if not _PLAIN.fullmatch(text):
            raise InvalidMoney(_why(text))
        return _no_minus_zero(Decimal(text))
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise InvalidMoney(f"an amount is a decimal text such as 1234.50, not {_kind(value)}")
    return _bounded(value)


def _bounded(value: int | Decimal) -> Decimal:
    # Compared as numbers first: turning 1e300000 into digits takes seconds.
    if isinstance(value, Decimal) and not value.is_finite():
        raise InvalidMoney("is not a number")
    if not -(10**_MOST_WHOLE) < value < 10**_MOST_WHOLE:
        raise InvalidMoney(f"has more than {_MOST_WHOLE} digits before the point")
    amount = Decimal(value)
    places = amount.as_tuple().exponent
    if isinstance(places, int) and places < -_MOST_DECIMALS:
        raise InvalidMoney(f"has more than {_MOST_DECIMALS} decimals")
    return _no_minus_zero(amount)


def _no_minus_zero(amount: Decimal) -> Decimal:
    return amount or abs(amount)


def _why(text: str) -> str:
    if not text:
        return "is empty; an amount is expected"
    if re.fullmatch(r"[+-]?\d+(?:\.\d+)?", text, re.ASCII):
        return f"has too many digits: at most {_MOST_WHOLE} before the point and {_MOST_DECIMALS} after it"
    return "is not an amount: digits, at most one point, no sign of a currency, no groups, no exponent"


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        float: "a binary number",
        type(None): "null",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def amount_text(amount: Decimal) -> str:
    """Return the canonical text: no exponent, no minus zero, at least two decimals, no further closing zeros."""
    whole, _, decimals = format(_no_minus_zero(amount), "f").partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def quantise(amount: Decimal, currency: str) -> Decimal:
    """Round to the currency's minor unit, half away from zero (四舍五入, ROUND_HALF_UP).

    Raises:
        InvalidMoney: unknown currency.
    """
    return _no_minus_zero(amount.quantize(Decimal(1).scaleb(-exponent(currency)), ROUND_HALF_UP))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency (ISO 4217)."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        """Return ``1234.50 CNY``."""
        return f"{amount_text(self.amount)} {self.currency}"

    def quantised(self) -> Money:
        """Return the amount rounded to the currency's minor unit."""
        return Money(quantise(self.amount, self.currency), self.currency)

    def split(self, weights: Sequence[int | Decimal]) -> tuple[Money, ...]:
        """Share the rounded amount by weights; the parts add up to it exactly.

        What rounding leaves over goes, one minor unit each, to the parts that lost most, the earlier one first.

        Raises:
            InvalidMoney: no weights, a negative one, or all zero.
        """
        shares = [Fraction(weight) for weight in weights]
        total = sum(shares)
        if total <= 0 or min(shares) < 0:
            raise InvalidMoney("weights must not be negative, and one must be above zero")
        unit = Decimal(1).scaleb(-exponent(self.currency))
        units = int(quantise(self.amount, self.currency) / unit)
        sign, units = (-1, -units) if units < 0 else (1, units)
        exact = [units * share / total for share in shares]
        parts = [int(share) for share in exact]
        order = sorted(range(len(parts)), key=lambda index: (parts[index] - exact[index], index))
        for index in order[: units - sum(parts)]:
            parts[index] += 1
        return tuple(Money(_no_minus_zero(sign * part * unit), self.currency) for part in parts)
