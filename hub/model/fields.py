"""Fields and their types: what a value must look like, how it is stored, and the form it is compared in."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import orjson

from hub.model import money, text
from hub.model.names import nearest
from hub.model.record import Json
from hub.model.region import is_within

__all__ = [
    "COMPARED",
    "STORED",
    "Field",
    "InvalidField",
    "InvalidFields",
    "Unfit",
    "store_date",
    "store_instant",
]


class InvalidField(ValueError):
    """A field does not take this value."""

    def __init__(self, field: str, message: str) -> None:
        """Take the field's name and what is wrong, fit for the person who sent it."""
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Unfit(ValueError):
    """The value does not fit the type of its field; the message completes the sentence "<field> …"."""


class InvalidFields(ValueError):
    """A body was not accepted; every problem is named."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        """Take (field, message) pairs; at least one."""
        super().__init__("; ".join(f"{field}: {message}" for field, message in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind.

    ``type`` is a key of :data:`STORED`. ``reference``: the kind whose record id a reference holds.
    ``choices``: the closed set of a choice. ``currency_field``: where the currency of an amount stands.
    ``personal``: a personal value (sealed in acts, erased on demand). ``max_length``: characters of a text.
    ``positive``: an amount must be more than nothing (a receipt is never taken back by a negative one).
    ``columns``: what each row of a ``json`` field holds, where it is a list of rows (lines of a contract).
    ``labels``: per choice its Chinese and English name, in the same order. ``regions``: paths of the subtrees in
    which the field exists; none: everywhere.
    """

    name: str
    type: str
    zh: str
    en: str
    required: bool = False
    personal: bool = False
    reference: str | None = None
    choices: tuple[str, ...] = ()
    max_length: int = 500
    currency_field: str | None = None
    positive: bool = False
    columns: tuple[Field, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    regions: tuple[str, ...] = ()

    def is_in(self, region: str) -> bool:
        """Tell whether records of this region have the field."""
        return not self.regions or any(is_within(region, root) for root in self.regions)


_MOST_ITEMS: Final = 200
_MOST_SHOWN: Final = 20
_MOST_JSON: Final = 64 * 1024
_SAFE_INTEGER: Final = 2**53 - 1
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII
)
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2200


def _text(field: Field, value: Json) -> str:
    if not isinstance(value, str):
        raise Unfit(f"a text is expected, not {_kind(value)}")
    if len(value) > field.max_length:
        raise Unfit(f"is longer than {field.max_length} characters")
    return text.storable(value)


def _phone(field: Field, value: Json) -> str:
    found = _text(field, value)
    return text.phone(found) if found else ""


def _phones(field: Field, value: Json) -> Json:
    numbers = [text.phone(item) for item in _listed(field, value)]
    return list(dict.fromkeys(numbers))


def _texts(field: Field, value: Json) -> Json:
    return [_choice(field, item) if field.choices else item for item in _listed(field, value)]


def _listed(field: Field, value: Json) -> list[str]:
    if not isinstance(value, list):
        raise Unfit(f"a list of texts is expected, not {_kind(value)}")
    if len(value) > _MOST_ITEMS:
        raise Unfit(f"holds more than {_MOST_ITEMS} items")
    return [_text(field, item) for item in value]


def _email(field: Field, value: Json) -> str:
    found = _text(field, value)
    return text.email(found) if found else ""


def _credit_code(field: Field, value: Json) -> str:
    found = _text(field, value)
    return text.credit_code(found) if found else ""


def _money(field: Field, value: Json) -> str:
    amount = money.parse_amount(value)
    if field.positive and amount <= 0:
        raise ValueError("must be more than 0: money that goes back is a refund, not a receipt")
    return money.amount_text(amount)


def _decimal(_field: Field, value: Json) -> str:
    found = money.parse_amount(value)
    if not found:
        return "0"
    whole = format(found, "f")
    return whole.rstrip("0").rstrip(".") if "." in whole else whole


def _currency(field: Field, value: Json) -> str:
    found = _text(field, value)
    money.exponent(found)
    return found


def store_date(value: Json) -> str:
    """Return a calendar day as ``2026-01-10``.

    Raises:
        Unfit: another form (week dates, serial numbers, a time), no such day, or a year outside 1900-2200.
    """
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise Unfit("a date such as 2026-01-10 is expected")
    try:
        day = dt.date.fromisoformat(value)
    except ValueError:
        raise Unfit("is not a day of the calendar") from None
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise Unfit(f"the year is not between {_FIRST_YEAR} and {_LAST_YEAR}")
    return value


def store_instant(value: Json) -> str:
    """Return a moment in UTC as ``2026-01-10T02:03:04Z``, with microseconds where there are any.

    Raises:
        Unfit: another form, no zone, no such moment, or a year outside 1900-2200.
    """
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise Unfit("a moment with its zone, such as 2026-01-10T10:03:04+08:00, is expected")
    try:
        moment = dt.datetime.fromisoformat(value)
        moment = moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise Unfit("is not a moment of the calendar") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise Unfit(f"the year is not between {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment.isoformat().replace("+00:00", "Z")


def _date(_field: Field, value: Json) -> str:
    return store_date(value)


def _instant(_field: Field, value: Json) -> str:
    return store_instant(value)


def _integer(_field: Field, value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit(f"a whole number is expected, not {_kind(value)}")
    if abs(value) > _SAFE_INTEGER:
        raise Unfit("is beyond 2^53, where other systems lose digits")
    return value


def _flag(_field: Field, value: Json) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"true or false is expected, not {_kind(value)}")
    return value


def _choice(field: Field, value: Json) -> str:
    if isinstance(value, str) and value in field.choices:
        return value
    short = isinstance(value, str) and len(value) <= field.max_length
    near = nearest(str(value), field.choices) if short else None
    more = ", …" if len(field.choices) > _MOST_SHOWN else ""
    hint = f"; did you mean {near!r}?" if near else ""
    raise Unfit(f"must be one of {', '.join(field.choices[:_MOST_SHOWN])}{more}{hint}")


def _reference(_field: Field, value: Json) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Unfit("a record id of 32 hex digits is expected")
    return value


def _json(field: Field, value: Json) -> Json:
    if field.columns:
        value = _rows(field, value)
    try:
        written = orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        raise Unfit("cannot be stored as JSON") from None
    if len(written) > _MOST_JSON:
        raise Unfit(f"is larger than {_MOST_JSON} bytes")
    # An escaped backslash before "u0000" only spells the word; those go first.
    if b"\\u0000" in written.replace(b"\\\\", b""):
        raise Unfit("holds a NUL character")
    return value


def _rows(field: Field, value: Json) -> Json:
    """Return rows with every cell in stored form; cells that are null are left out."""
    if not isinstance(value, list):
        raise Unfit(f"a list of rows is expected, not {_kind(value)}")
    if len(value) > _MOST_ITEMS:
        raise Unfit(f"holds more than {_MOST_ITEMS} rows")
    columns = {column.name: column for column in field.columns}
    return [_row(columns, number, row) for number, row in enumerate(value, 1)]


def _row(columns: Mapping[str, Field], number: int, row: Json) -> Json:
    if not isinstance(row, dict):
        raise Unfit(f"row {number}: an object is expected, not {_kind(row)}")
    if unknown := sorted(row.keys() - columns.keys()):
        raise Unfit(f"row {number}: {unknown[0][:80]!r} is no column; known: {', '.join(columns)}")
    cells: dict[str, Json] = {}
    for name, column in columns.items():
        if (cell := row.get(name)) is None:
            if column.required:
                raise Unfit(f"row {number}: {name} is required")
            continue
        try:
            cells[name] = STORED[column.type](column, cell)
        except ValueError as error:
            raise Unfit(f"row {number}: {name} {error}") from None
    return cells


STORED: Final[Mapping[str, Callable[[Field, Json], Json]]] = {
    "choice": _choice,
    "company": _text,
    "credit_code": _credit_code,
    "currency": _currency,
    "date": _date,
    "decimal": _decimal,
    "email": _email,
    "flag": _flag,
    "instant": _instant,
    "integer": _integer,
    "json": _json,
    "money": _money,
    "phone": _phone,
    "phones": _phones,
    "reference": _reference,
    "text": _text,
    "texts": _texts,
}
"""Per type: field and value → the stored form; raises ValueError (often :class:`Unfit`) with what is wrong. Null is handled before."""


def _unordered(value: list[str]) -> Json:
    return [*sorted(text.bare_text(item) for item in value)]


COMPARED: Final[Mapping[str, Callable[..., Json]]] = {
    "company": text.company_name,
    "phones": _unordered,
    "text": text.bare_text,
    "texts": _unordered,
}
"""Per type: stored form → the form in which two values are compared, where it is not the stored form itself."""


def _kind(value: object) -> str:
    names: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        Decimal: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)
