"""FilterString: SQL-like text or a list of conditions, compiled to a test over result rows (2.6)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from connectors.kingdee.sandbox.answers import RefusalError
from connectors.kingdee.sandbox.books import Row
from connectors.kingdee.sandbox.site_time import parse_time
from hub.sdk.sandbox import Json

__all__ = ["Column", "Picture", "Test", "equalities", "parse_conditions", "parse_filter"]

Lines = Mapping[str, dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Picture:
    """One row of the exploded result: a stored row with one line per entity that is asked for."""

    row: Row
    lines: Lines


@dataclass(frozen=True, slots=True)
class Column:
    """One resolved field key: how to read it, its kind, and the entity it explodes by ("" = head)."""

    key: str
    kind: str
    entity: str
    read: Callable[[Picture], Json]


Test: TypeAlias = Callable[[Picture], bool]
Resolve: TypeAlias = Callable[[str], Column]

TOKEN = re.compile(
    r"\s*(?:(?P<text>[Nn]?'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<sign><>|>=|<=|=|>|<)"
    r"|(?P<mark>[(),])|(?P<word>[A-Za-z_][\w.]*))"
)
SIGNS: Mapping[str, Callable[[Json, Json], bool]] = {
    "=": operator.eq, "<>": operator.ne, ">": operator.gt, ">=": operator.ge,
    "<": operator.lt, "<=": operator.le,
}  # fmt: skip
MAX_DEPTH = 50


def parse_filter(text: str, resolve: Resolve) -> Test:
    """Compile a filter text; "" matches everything.

    Raises:
        RefusalError: the text is not of the subset, or a field is unknown.
    """
    if not text.strip():
        return lambda _: True
    parser = _Parser(_tokens(text), resolve)
    test = parser.either()
    parser.end()
    return test


def parse_conditions(items: Sequence[Json], resolve: Resolve) -> Test:
    """Compile the list form: Left, FieldName, Compare ("67" is equals), Value, Right, Logic ("1" is or).

    Raises:
        RefusalError: an item is no condition, or a field is unknown.
    """
    text = ""
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise _refused(str(item))
        part = {str(key).lower(): str(value) for key, value in item.items()}
        compare = {"67": "="}.get(part.get("compare", ""), part.get("compare", ""))
        value = part.get("value", "").replace("'", "''")
        if compare not in SIGNS and compare.lower() != "like":
            raise _refused(compare)
        last = place == len(items) - 1
        joint = "" if last else (" or " if part.get("logic") == "1" else " and ")
        left, right = part.get("left", ""), part.get("right", "")
        text += f"{left} {part.get('fieldname', '')} {compare} '{value}' {right}{joint}"
    return parse_filter(text, resolve)


def equalities(text: str) -> Iterator[tuple[str, str]]:
    """Yield ``field = 'value'`` pairs that every match must fulfil; none when the text has an ``or``."""
    tokens = _tokens(text)
    if any(kind == "word" and value.lower() == "or" for kind, value in tokens):
        return
    for field, sign, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if field[0] == "word" and sign == ("sign", "=") and value[0] in ("text", "number"):
            yield field[1], value[1]


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place, text = [], 0, text.rstrip()
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise _refused(text[place:])
        kind = str(match.lastgroup)
        value = match.group(kind)
        if kind == "text":
            value = value[value.index("'") + 1 : -1].replace("''", "'")
        found.append((kind, value))
        place = match.end()
    return found


def _refused(where: str) -> RefusalError:
    return RefusalError(f"过滤条件“{where[:50]}”附近有语法错误", 4)


class _Parser:
    """Recursive descent over the subset: or, and, parentheses, comparisons."""

    def __init__(self, tokens: list[tuple[str, str]], resolve: Resolve) -> None:
        self._tokens = tokens
        self._resolve = resolve
        self._place = 0
        self._depth = 0

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        self._place += 1
        return self._tokens[self._place - 1] if self._place <= len(self._tokens) else ("end", "")

    def _took(self, word: str) -> bool:
        kind, value = self._peek()
        if kind in ("word", "mark") and value.lower() == word:
            self._place += 1
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._took(word):
            raise _refused(self._peek()[1])

    def end(self) -> None:
        if self._peek()[0] != "end":
            raise _refused(self._peek()[1])

    def either(self) -> Test:
        tests = [self._both()]
        while self._took("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda one: any(test(one) for test in tests)

    def _both(self) -> Test:
        tests = [self._factor()]
        while self._took("and"):
            tests.append(self._factor())
        return tests[0] if len(tests) == 1 else lambda one: all(test(one) for test in tests)

    def _factor(self) -> Test:
        if not self._took("("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refused("(")
        test = self.either()
        self._need(")")
        self._depth -= 1
        return test

    def _comparison(self) -> Test:
        kind, name = self._take()
        if kind != "word":
            raise _refused(name)
        column = self._resolve(name)
        if self._took("in"):
            return self._among(column)
        if self._took("like"):
            return _like(column, self._literal())
        kind, sign = self._take()
        if kind != "sign":
            raise _refused(sign)
        literal, compare = _literal(column, self._literal()), SIGNS[sign]

        def test(one: Picture) -> bool:
            value = _comparable(column, column.read(one))
            return value is not None and compare(value, literal)

        return test

    def _among(self, column: Column) -> Test:
        self._need("(")
        values = {_literal(column, self._literal())}
        while self._took(","):
            values.add(_literal(column, self._literal()))
        self._need(")")
        return lambda one: _comparable(column, column.read(one)) in values

    def _literal(self) -> str:
        kind, value = self._take()
        if kind not in ("text", "number"):
            raise _refused(value)
        return value


def _like(column: Column, pattern: str) -> Test:
    parts = (".*" if sign == "%" else "." if sign == "_" else re.escape(sign) for sign in pattern)
    compiled = re.compile("".join(parts), re.DOTALL)
    return lambda one: compiled.fullmatch(str(column.read(one) or "")) is not None


def _literal(column: Column, text: str) -> Json:
    plain = {"true": "1", "false": "0"}.get(text, text) if column.kind == "flag" else text
    try:
        found = _comparable(column, plain)
    except (ValueError, InvalidOperation):
        found = Decimal("NaN")
    if isinstance(found, Decimal) and not found.is_finite():
        where = column.key[:80]
        raise RefusalError(f"过滤条件中“{where}”的值“{text[:50]}”格式不正确", 4, where)
    return found


def _comparable(column: Column, value: Json) -> Decimal | datetime | str | None:
    """Bring a cell or a literal into the form in which its kind is compared; an empty date is no value."""
    if column.kind in ("int", "amount", "ref", "multi"):
        return Decimal(str(value or 0))
    if column.kind in ("date", "time"):
        return parse_time(str(value)) if value else None
    if column.kind == "flag":
        return str(int(value in (True, "1")))
    return str(value or "")
