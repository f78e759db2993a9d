"""From checked rules to Python functions: one for a whole record, one for the fields that are due.

The code is plain statements, as one would write them by hand: look a field up, work out the value, put it into the output. It
runs without builtins: its names are the helpers of :mod:`hub.mapping.runtime`, the functions of the
catalogue and its own constants.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hub.mapping.expression import Term
from hub.mapping.functions import FUNCTIONS, Waiting
from hub.mapping.outcome import Failed, Left, Mapped, Outcome
from hub.mapping.runtime import FAILURES, HELPERS
from hub.model.record import Json

__all__ = ["Fails", "Step", "Translated", "Variant", "generate", "reads_of"]

Fails = Callable[[str, Exception, Json], Failed]
"""(field, what was raised, source) → the failure to report."""


@dataclass(frozen=True, slots=True)
class Step:
    """One value to put into the output: ``place`` is the way to it, names and row numbers.

    ``coerce`` brings it into the target's form; None when it is in that form already. ``plain``: the condition
    under which ``v`` is in that form already, as code; "" where there is no cheap one.
    """

    name: str
    place: tuple[str | int, ...]
    term: Term
    coerce: Callable[[Any], Json] | None
    plain: str


@dataclass(slots=True)
class Translated:
    """A mapping after checking, for one region: lets in the order they depend on each other, rules as steps."""

    lets: dict[str, Term]
    when: Term | None
    keys: list[Term]
    rules: dict[str, list[Step]]
    constants: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variant:
    """The functions of a mapping for one region. ``part`` takes the names of the target fields to render."""

    when: Callable[[Json, Any], bool | Failed]
    run: Callable[[Json, Any], Outcome]
    part: Callable[[Json, Any, frozenset[str]], Outcome]


def generate(translated: Translated, fails: Fails, *, file: str) -> Variant:
    """Return the functions of one translated mapping; ``file`` is what a traceback shows."""
    names: dict[str, object] = {
        "__builtins__": {},
        "FAILURES": FAILURES,
        "LEFT": Left(),
        "Mapped": Mapped,
        "Waiting": Waiting,
        "fails": fails,
        "no_object": Failed("", "the source is not an object"),
        **HELPERS,
        **{f"f_{function.name}": function.run for function in FUNCTIONS.values()},
        **translated.constants,
    }
    lines = [*_function("when", "s, c", _when_body(translated))]
    lines += _function("run", "s, c", _body(translated, names, partial=False))
    lines += _function("part", "s, c, only", _body(translated, names, partial=True))
    code = compile("\n".join(lines), f"<{file}>", "exec", dont_inherit=True)
    exec(code, names)  # noqa: S102 - the text was built from checked syntax trees, without builtins
    return Variant(names["when"], names["run"], names["part"])  # type: ignore[arg-type]  # defined by the code


_INDENT: Final = "        "


def _function(name: str, parameters: str, body: Iterable[str]) -> list[str]:
    return [
        f"def {name}({parameters}):",
        "    if s.__class__ is not dict:",
        "        return no_object",
        "    at = 'when'",
        "    try:",
        *(_INDENT + line for line in body),
        "    except Waiting as signal:",
        "        return signal.wait",
        "    except FAILURES as error:",
        "        return fails(at, error, s)",
    ]


def _when_body(translated: Translated) -> list[str]:
    if translated.when is None:
        return ["return True"]
    lines = ["g = s.get", *_lets(translated, translated.when.uses)]
    return [*lines, f"return True if ({_text(translated.when)}) else False"]


def _lets(translated: Translated, wanted: frozenset[str]) -> list[str]:
    return [f"l_{name} = {_text(term)}" for name, term in translated.lets.items() if name in wanted]


def _text(term: Term) -> str:
    return ast.unparse(term.code)


def _body(translated: Translated, names: dict[str, object], *, partial: bool) -> list[str]:
    lines = ["g = s.get"]
    known: frozenset[str] = frozenset()
    if translated.when is not None:
        known = translated.when.uses
        lines += [*_lets(translated, known), f"if not ({_text(translated.when)}):", "    return LEFT"]
    lines += [*_key(translated.keys), "o = {}"]
    for name, steps in translated.rules.items():
        uses = frozenset().union(*(step.term.uses for step in steps)) - known
        known |= uses
        lines.append(f"at = {name!r}")
        lines += _guarded_lets(translated, names, uses, partial=partial)
        statements = _rule(steps, names)
        lines += [f"if {name!r} in only:", *(f"    {line}" for line in statements)] if partial else statements
    return [*lines, "return Mapped(key, o)"]


def _guarded_lets(
    translated: Translated, names: dict[str, object], wanted: frozenset[str], *, partial: bool
) -> list[str]:
    """A let is worked out before the first field that uses it; in part only if one of its fields is due."""
    lines = _lets(translated, wanted)
    if not partial:
        return lines
    guarded = []
    for name, line in zip([name for name in translated.lets if name in wanted], lines, strict=True):
        users = frozenset(
            rule for rule, steps in translated.rules.items() if any(name in step.term.uses for step in steps)
        )
        names[f"u_{name}"] = users
        guarded += [f"if not only.isdisjoint(u_{name}):", f"    {line}"]
    return guarded


def _key(keys: Sequence[Term]) -> list[str]:
    if not keys:
        return ["key = c.record or ''"]
    if len(keys) == 1:
        return ["at = 'key'", f"key = key_part({_text(keys[0])})"]
    return ["at = 'key'", f"key = joined_key({', '.join(map(_text, keys))})"]


def _rule(steps: Sequence[Step], names: dict[str, object]) -> list[str]:
    lines: list[str] = []
    rows = {
        part: step.place[:index]
        for step in steps
        for index, part in enumerate(step.place)
        if isinstance(part, int)
    }
    if rows:
        lines.append(f"{_place(next(iter(rows.values())))} = [{', '.join(['{}'] * (max(rows) + 1))}]")
    for step in steps:
        if rows:
            lines.append(f"at = {step.name!r}")
        lines += _step(step, names)
    return lines


def _step(step: Step, names: dict[str, object]) -> list[str]:
    into = _place(step.place)
    lines = [f"v = {_text(step.term)}"]
    if step.coerce is None:
        return [*lines, "if v is not M:", f"    {into} = v"]
    name = f"c_{len(names)}"
    names[name] = step.coerce
    if step.plain:
        lines += [f"if {step.plain}:", f"    {into} = v", "elif v is not M:"]
        return [*lines, f"    {into} = {name}(v)"]
    return [*lines, "if v is not M:", f"    {into} = {name}(v)"]


def _place(place: Sequence[str | int]) -> str:
    *way, last = place
    code = "o"
    for index, part in enumerate(way):
        row_follows = isinstance(part, int) or isinstance(place[index + 1], int)
        code += f"[{part!r}]" if row_follows else f".setdefault({part!r}, {{}})"
    return f"{code}[{last!r}]"


def reads_of(steps: Iterable[Step]) -> frozenset[str]:
    """Return the source fields that a rule's value depends on."""
    return frozenset().union(*(step.term.reads for step in steps))
