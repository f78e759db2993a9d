"""What a function of the catalogue is, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from hub.mapping.outcome import Wait
from hub.model.record import MISSING

__all__ = [
    "KEYS", "LIST", "NUMERIC", "ROWS", "TEXT", "Function", "Unmappable", "Waiting", "bounded", "form", "other", "types",
]  # fmt: skip


class Unmappable(ValueError):
    """A value cannot be mapped; the message is fit for the person who repairs the record."""


class Waiting(Exception):
    """A look-up answered that something else must exist first."""

    def __init__(self, wait: Wait) -> None:
        """Carry the answer."""
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the catalogue.

    ``needs``: what the compiler passes before the arguments: "", "context", "table" (a value map) or "table_back" (from
    right to left).
    ``takes`` / ``returns``: static types (:mod:`hub.mapping.schema`); ``optional``: how many of the last arguments may be left out.
    ``constant``: positions of arguments that must be written as texts; ``checks``: what is wrong with such a text, "" nothing.
    ``proves``: the field type whose stored form the result is.
    ``because``: the fact sheet that asks for a function no shipped mapping calls.
    """

    name: str
    run: Callable[..., Any]
    takes: tuple[frozenset[str], ...]
    returns: str
    zh: str
    en: str
    example: str
    optional: int = 0
    constant: tuple[int, ...] = ()
    checks: Mapping[int, Callable[[str], str]] = field(default_factory=dict)
    needs: str = ""
    proves: str = ""
    because: str = ""


# Any: values inside expressions are JSON, MISSING or Decimal, and every function checks what it is given.


def other(value: Any, wanted: str) -> Any:
    """Give null and absent back; refuse anything else, naming what is wanted."""
    if value is None or value is MISSING:
        return value
    raise Unmappable(f"{wanted} is expected, not {_shown(value)}")


def _shown(value: Any) -> str:
    return _KINDS.get(type(value), "this")


_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    Decimal: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def form(make: Callable[[str], str], wanted: str) -> Callable[[Any], Any]:
    """Return a function that brings a text into a form; an empty one stays empty."""

    def run(value: Any) -> Any:
        if value.__class__ is not str:
            return other(value, wanted)
        return make(value) if value else ""

    return run


def bounded(value: int) -> int:
    """Return a whole number of at most 18 digits; refuse any other."""
    if abs(value) >= 10**18:
        raise Unmappable("has more than 18 digits")
    return value


def types(*names: str) -> frozenset[str]:
    """Return static types (:mod:`hub.mapping.schema`) that a function takes."""
    return frozenset(names)


TEXT: Final = types("text")
LIST: Final = types("list")
ROWS: Final = types("json", "list")
NUMERIC: Final = types("amount", "exact", "number", "text")
KEYS: Final = types("text", "number")
