"""Expressions and sources at random: mostly in the language, sometimes a step beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from hub.mapping.functions import FUNCTIONS
from tests.mapping_site import ACME

__all__ = ["expression", "source"]

FIELDS: Final = [name for name in ACME if "*" not in name]
NAMES: Final = [
    *FIELDS,
    "F_x",
    "made",
    "missing",
    "t",
    "nobody",
    "_x",
    "__class__",
    "g",
    "c",
    "s",
    "M",
    "trim",
]
TEXTS: Final = [
    "", "a", "CNY", "null", "0", "1,234.50", "示例科技（上海）有限公司", "2026-01-10", "2026-01-10T08:00:00Z", "13800138000", "+08:00",
    "Asia/Shanghai", "\u200b", "👨‍👩‍👧", "e\u0301", "𠮷", "(a+)+$", "acme.way", "acme.level", "half_even", "settle", "%s", "{0.__class__}", "x" * 200,
]  # fmt: skip
NUMBERS: Final = [0, 1, -1, 2, 3, 7, 100, 10**17, 10**18, 0.1, 2.675, 1e15, 45292]
JUNK: Final = [
    "lambda: 1", "f'{name}'", "(x := name)", "name ** 2", "1 / 3", "{'a': 1}", "{1}", "(t for t in tags)", "name.upper()", "().__class__",
    "[*tags]", "name[0:1]", "await name", "b'x'", "1j", "~1", "1 << 9", "name @ name", "print(name)", "...",
]  # fmt: skip

Make = Callable[[random.Random, int], str]


def expression(draw: random.Random, depth: int = 4) -> str:
    """Return an expression."""
    if depth <= 0 or draw.random() < 0.25:
        return _atom(draw)
    return draw.choice(_INNER)(draw, depth - 1)


def _atom(draw: random.Random) -> str:
    match draw.randrange(10):
        case 0 | 1 | 2 | 3:
            return draw.choice(NAMES)
        case 4 | 5 | 6:
            return repr(draw.choice(TEXTS))
        case 7 | 8:
            return repr(draw.choice(NUMBERS))
        case _:
            return draw.choice([*JUNK, "None", "True", "False"])


def _call(draw: random.Random, depth: int) -> str:
    function = FUNCTIONS[draw.choice(list(FUNCTIONS))]
    count = len(function.takes) - draw.randint(0, function.optional)
    if draw.random() < 0.05:
        count += draw.choice([-1, 1])
    given = [
        repr(draw.choice(TEXTS))
        if at in function.constant and draw.random() < 0.9
        else expression(draw, depth)
        for at in range(max(0, count))
    ]
    return f"{function.name}({', '.join(given)})"


def _joined(signs: list[str]) -> Make:
    def make(draw: random.Random, depth: int) -> str:
        return f"({expression(draw, depth)} {draw.choice(signs)} {expression(draw, depth)})"

    return make


def _choice(draw: random.Random, depth: int) -> str:
    return f"({expression(draw, depth)} if {expression(draw, depth)} else {expression(draw, depth)})"


def _before(draw: random.Random, depth: int) -> str:
    return f"({draw.choice(['not', '-', '+'])} {expression(draw, depth)})"


def _listed(draw: random.Random, depth: int) -> str:
    return f"[{', '.join(expression(draw, depth) for _ in range(draw.randint(0, 4)))}]"


def _each(draw: random.Random, depth: int) -> str:
    test = f" if {expression(draw, depth)}" if draw.random() < 0.4 else ""
    return f"[{expression(draw, depth)} for t in {expression(draw, depth)}{test}]"


def _below(draw: random.Random, depth: int) -> str:
    name = draw.choice(["city", "geo", "lat", "x", "province", "__class__", "_x"])
    return f"{expression(draw, depth)}{draw.choice([f'.{name}', f'[{name!r}]', '[0]', '[-1]', '[99]'])}"


_INNER: Final[list[Make]] = [
    _call, _call, _call, _call, _joined(["+", "-", "*"]), _joined(["==", "!=", "<", ">="]), _joined(["in", "not in"]),
    _joined(["and", "or"]), _joined(["is", "is not"]), _choice, _before, _listed, _each, _below,
]  # fmt: skip


def source(draw: random.Random) -> dict[str, Any]:
    """Return a source record: any JSON where a vendor's should be, some of it missing."""
    return {
        name: _json(draw, 3)
        for name in (*FIELDS, "F_x", "address")
        if draw.random() < 0.8 and "." not in name
    }


def _json(draw: random.Random, depth: int) -> Any:
    match draw.randrange(9 if depth else 6):
        case 0:
            return None
        case 1:
            return draw.random() < 0.5
        case 2 | 3:
            return draw.choice(NUMBERS)
        case 4 | 5:
            return draw.choice(TEXTS)
        case 6:
            return [_json(draw, depth - 1) for _ in range(draw.choice([0, 1, 3, 40]))]
        case _:
            names = ["city", "geo", "lat", "x", "__class__", "url", "name", "approver"]
            return {draw.choice(names): _json(draw, depth - 1) for _ in range(draw.randint(0, 4))}
