"""What compiled mappings call while they run: paths, arithmetic and list rules, each bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from hub.mapping.functions import Unmappable, exact
from hub.model.fields import STORED, Field, store_date, store_instant
from hub.model.money import amount_text
from hub.model.record import MISSING, Json

__all__ = ["FAILURES", "HELPERS", "coercion", "key_part"]

# Any: values are JSON, MISSING or Decimal; each function checks what it is given.

FAILURES: Final = (ValueError, TypeError, ArithmeticError, LookupError)
"""What a rule raises for a value it cannot take: the record is parked, the batch goes on."""

_MOST_ITEMS: Final = 1_000
_MOST_CHARACTERS: Final = 16 * 1024
_MOST_LISTED: Final = 256 * 1024
_MOST_TEXTS: Final = 100
_LIMIT: Final = 10**18
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def _absent(value: Any) -> Any:
    """Return what lies below something that is no object: absent below null and absent, an error below a text."""
    if value is None or value is MISSING:
        return MISSING
    raise Unmappable("a path goes through a value that is not an object")


def _path(value: Any, name: str) -> Any:
    return value.get(name, MISSING) if value.__class__ is dict else _absent(value)


def _item(value: Any, index: int) -> Any:
    if value.__class__ is list:
        return value[index] if -len(value) <= index < len(value) else MISSING
    if value is None or value is MISSING:
        return MISSING
    raise Unmappable("a position in something that is not a list")


def _contains(value: Any, container: Any) -> bool:
    """``in``: nothing is in null or absent."""
    if container is None or container is MISSING:
        return False
    if container.__class__ is str:
        return value.__class__ is str and value in container
    if container.__class__ in (list, tuple):
        return value in container
    raise Unmappable("'in' needs a list or a text on its right")


def _not_list(value: Any) -> Any:
    if value is None or value is MISSING:
        return value
    raise Unmappable("a list is expected")


def _each(value: list[Any]) -> list[Any]:
    if len(value) > _MOST_ITEMS:
        raise Unmappable(f"a list of more than {_MOST_ITEMS} items")
    return value


def _scalars(items: list[Any]) -> list[Any]:
    """Leave absent items out; refuse lists and objects inside, and more text than a field can mean."""
    size = 0
    for item in items:
        if item.__class__ is not str:
            return _mixed(items)
        size += len(item)
    if size > _MOST_LISTED:
        raise Unmappable(f"a list of more than {_MOST_LISTED} characters")
    return items


def _mixed(items: list[Any]) -> list[Any]:
    kept = [_plain_number(item) for item in items if item is not MISSING]
    if not _SCALARS.issuperset(map(type, kept)):
        raise Unmappable("a list or an object inside a list")
    _scalars([item for item in kept if item.__class__ is str])
    return kept


def _plain_number(item: Any) -> Any:
    return _json_number(item) if item.__class__ is Decimal else item


def _add(left: Any, right: Any) -> Any:
    if left.__class__ is str and right.__class__ is str:
        if len(left) + len(right) > _MOST_CHARACTERS:
            raise Unmappable(f"a text of more than {_MOST_CHARACTERS} characters")
        return left + right
    return _bounded(_number(left) + _number(right))


def _subtract(left: Any, right: Any) -> Any:
    return _bounded(_number(left) - _number(right))


def _multiply(left: Any, right: Any) -> Any:
    return _bounded(_number(left) * _number(right))


def _negative(value: Any) -> Any:
    return -_number(value)


def _number(value: Any) -> Any:
    if value.__class__ in (int, Decimal):
        return value
    if value.__class__ is float:
        return exact(value)
    if value is None or value is MISSING:
        raise Unmappable("cannot calculate with nothing")
    raise Unmappable("a number is expected")


def _bounded(value: Any) -> Any:
    if not -_LIMIT < value < _LIMIT:
        raise Unmappable("a number of more than 18 digits")
    return value


def _json_number(value: Decimal) -> int | float:
    """Return a JSON number that reads back as exactly this decimal."""
    if value == value.to_integral_value() and abs(value) < 2**53:
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise Unmappable("has more digits than a JSON number keeps")
    return number


def key_part(value: Any) -> str:
    """Return a vendor's key as text; null, absent and empty are no keys."""
    if value.__class__ is str and value:
        return str(value)
    if value.__class__ is int:
        return str(_bounded(value))
    raise Unmappable("the record has no key")


def _joined_key(*parts: Any) -> str:
    return "/".join([_key_text(part) for part in parts])


def _key_text(part: Any) -> str:
    if part.__class__ is str and part.isalnum() and part.isascii():
        return str(part)
    return quote(key_part(part), safe="")


HELPERS: Final[Mapping[str, object]] = {
    "M": MISSING,
    "absent": _absent,
    "add": _add,
    "contains": _contains,
    "dict": dict,
    "each": _each,
    "item": _item,
    "joined_key": _joined_key,
    "key_part": key_part,
    "len": len,
    "list": list,
    "multiply": _multiply,
    "negative": _negative,
    "not_list": _not_list,
    "path": _path,
    "scalars": _scalars,
    "str": str,
    "subtract": _subtract,
}
"""The names compiled code may use; nothing else of Python is in its reach."""


def coercion(field: Field | None, field_type: str) -> Callable[[Any], Json]:
    """Return the function that brings a value into a target field: null stays null, what does not fit raises.

    ``field``: the CRM's; None at a vendor, whose fields have a type alone.
    """
    return _VENDOR.get(field_type, _vendor_text) if field is None else _to_crm(field)


def _to_crm(field: Field) -> Callable[[Any], Json]:
    stored = STORED[field.type]

    def amount(value: Any) -> Json:
        return (
            None
            if value is None
            else stored(field, amount_text(value) if value.__class__ is Decimal else value)
        )

    def any_json(value: Any) -> Json:
        return None if value is None else stored(field, _plain_number(value))

    def texts(value: Any) -> Json:
        if value.__class__ is list and len(value) <= _MOST_TEXTS and not field.choices:
            for item in value:
                if item.__class__ is not str or len(item) > field.max_length or not item.isprintable():
                    return stored(field, value)
            return value
        return None if value is None else stored(field, value)

    def other(value: Any) -> Json:
        return None if value is None else stored(field, value)

    by_type = {"decimal": amount, "money": amount, "json": any_json, "texts": texts}
    return by_type.get(field.type, other)


def _vendor_text(value: Any) -> Json:
    if value is None or value.__class__ is str:
        return value
    raise Unmappable("a text is expected; write text(…)")


def _vendor_number(value: Any) -> Json:
    if value.__class__ is Decimal:
        return _json_number(value)
    if value is None or value.__class__ in (int, float):
        return value
    raise Unmappable("a number is expected; write decimal(…)")


def _vendor_integer(value: Any) -> Json:
    if value is None or value.__class__ is int:
        return value
    raise Unmappable("a whole number is expected")


def _vendor_flag(value: Any) -> Json:
    if value is None or value.__class__ is bool:
        return value
    raise Unmappable("true or false is expected")


def _vendor_texts(value: Any) -> Json:
    if value is None or (value.__class__ is list and all(item.__class__ is str for item in value)):
        return value
    raise Unmappable("a list of texts is expected")


_VENDOR: Final[Mapping[str, Callable[[Any], Json]]] = {
    "date": lambda value: None if value is None else store_date(value),
    "decimal": _vendor_number,
    "flag": _vendor_flag,
    "instant": lambda value: None if value is None else store_instant(value),
    "integer": _vendor_integer,
    "json": _plain_number,
    "texts": _vendor_texts,
}
