"""Compile and run what the grammar makes; count what must never be."""

from __future__ import annotations

import copy
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from hub.mapping import Context, Failed, Left, Mapped, MappingInvalid, Wait, YamlInvalid
from tests.fuzz.grammar import expression, source
from tests.mapping_site import made

__all__ = ["play"]

HANGS: Final = 20.0
"""Seconds after which an example hangs: thousands of times what the slowest one takes."""
TEXT: Final = "mapping: acme/person.in\nsource: acme.person\ntarget: crm.customer\nkey: [id]\n{0}fields:\n  custom.x: {1}\n"
LARGEST: Final = 2_000_000


class _Hang(BaseException):
    """An example takes too long."""


@contextmanager
def _watched() -> Iterator[None]:
    def ring(_number: int, _frame: Any) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def play(examples: int, seed: int) -> dict[str, Any]:
    """Run so many examples; return counts. ``wrong``: the first ones that broke a rule, with what they did."""
    draw = random.Random(seed)
    told: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = 0.0
    for _ in range(examples):
        text = _mapping(draw)
        began = time.perf_counter()
        try:
            with _watched():
                told[_one(draw, text)] += 1
        except _Hang:
            told["hangs"] += 1
            wrong.append(f"hangs: {text}")
        except Exception as error:
            told["crashes"] += 1
            wrong.append(f"{type(error).__name__}: {error}: {text}")
        slowest = max(slowest, time.perf_counter() - began)
    kinds = ("refused", "mapped", "failed", "waits", "left", "escapes", "hangs", "crashes")
    return {"seed": seed, "examples": examples, **{kind: told[kind] for kind in kinds},
            "slowest_ms": round(slowest * 1000, 1), "wrong": wrong[:5]}  # fmt: skip


def _mapping(draw: random.Random) -> str:
    def quoted() -> str:
        return "'" + expression(draw, draw.randint(1, 5)).replace("'", "''") + "'"

    more = f"let:\n  made: {quoted()}\n" if draw.random() < 0.5 else ""
    more += f"when: {quoted()}\n" if draw.random() < 0.2 else ""
    return TEXT.format(more, quoted())


def _one(draw: random.Random, text: str) -> str:
    try:
        compiled = made(text)
    except (MappingInvalid, YamlInvalid):
        return "refused"
    given = {"id": 1, **source(draw)}
    kept = copy.deepcopy(given)
    outcome = compiled.run(given, Context(region="cn/"))
    again = compiled.run(given, Context(region="cn/"))
    if given != kept:
        raise AssertionError("the source was changed")
    if repr(outcome) != repr(again):
        raise AssertionError("the same source gave another result")
    match outcome:
        case Mapped(fields=fields):
            if not _is_json(fields) or len(repr(fields)) > LARGEST:
                return "escapes"
            return "mapped"
        case Failed():
            return "failed"
        case Wait():
            return "waits"
        case Left():
            return "left"
    raise AssertionError(f"no outcome: {outcome!r}")


def _is_json(value: Any) -> bool:
    if value is None or type(value) in (bool, int, float, str):
        return True
    if type(value) is list:
        return all(map(_is_json, value))
    return type(value) is dict and all(type(key) is str and _is_json(one) for key, one in value.items())
