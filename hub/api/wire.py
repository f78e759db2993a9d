"""JSON on the wire: written by orjson, read by a strict reader that refuses what parsers disagree about.

The reader takes raw bytes and refuses duplicate keys, NaN and Infinity, numbers beyond any use, lone surrogates,
deep nesting, too many or too long keys and anything but UTF-8; a number with a fraction stays an exact Decimal.
Sources: RFC 8259, RFC 7493 (I-JSON).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NoReturn

import orjson

__all__ = ["DEEPEST", "LONGEST_KEY", "MOST_KEYS", "BadJson", "Loose", "encode", "read_object"]

DEEPEST: Final = 32
"""Levels of nesting of a body."""
MOST_KEYS: Final = 2_000
"""Keys of all objects of a body together."""
LONGEST_KEY: Final = 200
_LONGEST_NUMBER: Final = 60
_MOST_EXPONENT: Final = 300

Loose = Any
"""A parsed value: JSON, but with Decimal for numbers that have a fraction or an exponent."""

# A string with its escapes (closed or not, so that a match is never tried twice), or a bracket. Linear: possessive.
_SHAPE: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class BadJson(ValueError):
    """The bytes are not JSON that every parser reads alike."""


def encode(value: object) -> bytes:
    """Write JSON in UTF-8."""
    return orjson.dumps(value)


def read_object(raw: bytes) -> dict[str, Loose]:
    """Read one JSON object from raw bytes.

    Raises:
        BadJson: with a sentence that says what is wrong; it never quotes more than 40 characters of the input.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson(f"byte {error.start} is not UTF-8") from None
    _check_depth(raw)
    value = _parse(text)
    if not isinstance(value, dict):
        raise BadJson("the top level must be an object")
    if _SURROGATE.search(raw):
        _check_surrogates(value)
    return value


def _check_depth(raw: bytes) -> None:
    depth = 0
    for match in _SHAPE.finditer(raw):
        first = raw[match.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise BadJson(f"nested deeper than {DEEPEST} levels")
        elif first in b"]}":
            depth -= 1


def _parse(text: str) -> Loose:
    if text.startswith("\ufeff"):
        raise BadJson("begins with a byte order mark")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object(),
            parse_float=_fraction,
            parse_int=_whole,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise BadJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from None


def _object() -> Callable[[list[tuple[str, Loose]]], dict[str, Loose]]:
    """Return a hook that refuses repeated and overlong keys, and too many of them in the whole document."""
    seen = 0

    def build(pairs: list[tuple[str, Loose]]) -> dict[str, Loose]:
        nonlocal seen
        seen += len(pairs)
        if seen > MOST_KEYS:
            raise BadJson(f"more than {MOST_KEYS} keys")
        found: dict[str, Loose] = {}
        for key, value in pairs:
            if len(key) > LONGEST_KEY:
                raise BadJson(f"a key is longer than {LONGEST_KEY} characters")
            if key in found:
                raise BadJson(f"the key {key[:40]!a} is there twice")
            found[key] = value
        return found

    return build


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise BadJson(f"a number has more than {_LONGEST_NUMBER} digits")
    return int(text)


def _fraction(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise BadJson(f"a number has more than {_LONGEST_NUMBER} digits")
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent) > 5 or abs(int(exponent or 0)) > _MOST_EXPONENT:
        raise BadJson(f"the number {text[:40]} is out of range")
    return Decimal(mantissa).scaleb(int(exponent or 0))


def _constant(text: str) -> NoReturn:
    raise BadJson(f"{text} is not a JSON number")


def _check_surrogates(value: Loose) -> None:
    """Refuse half characters: they parse, and cannot be written again. The depth is bounded by now."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadJson("a text holds half a character (a lone surrogate)") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)
