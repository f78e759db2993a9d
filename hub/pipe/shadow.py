"""A draft beside the mapping in force, over the same records: what stays, what changes, what fails, what waits.

Pure: records come in with all they look up (:mod:`hub.pipe.shadow_records`), nothing is written or sent. Values in the
result are the records' own: whoever shows them masks them first (:mod:`hub.pipe.shadow_masks`).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import orjson

from hub.mapping import Compiled, Context, Failed, Left, Mapped, Outcome, Wait
from hub.model.record import MISSING, Json, Missing

__all__ = [
    "KEY",
    "ORDER",
    "Compared",
    "Difference",
    "Given",
    "Result",
    "Shadow",
    "Value",
    "Verdict",
    "compare",
    "outcome_of",
    "part_of",
]

KEY: Final = "key"
ORDER: Final = "(order)"
"""What is named where the values are the same and stand in another order: at some vendors the order counts."""


def _all_may(_names: Collection[str]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Given:
    """One record as a mapping is given it.

    ``record``: its id (32 hex digits), None: it is none yet. ``key``: inbound the vendor's key. ``held``: CRM fields ->
    the first that may not leave for the sync's target (:meth:`hub.pipe.world.World.held_back`).
    """

    sync: str
    record: str | None
    key: str
    source: Json
    context: Context
    held: Callable[[Collection[str]], str | None] = _all_may


@dataclass(frozen=True, slots=True)
class Value:
    """What a field comes to; ``MISSING``: it is left out."""

    value: Json | Missing


Result: TypeAlias = Value | Wait | Failed | Left
"""What one field of one record comes to."""


class Verdict(enum.StrEnum):
    """How a draft's outcome stands beside that of the mapping in force; each record has one.

    ``FAILING``: the draft fails, whatever the other did. ``MENDED``: the draft maps what the other did not.
    """

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    FAILING = "failing"
    WAITING = "waiting"
    LEFT = "left"
    MENDED = "mended"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one record, by the mapping in force and by the draft."""

    field: str
    old: Result
    new: Result


@dataclass(frozen=True, slots=True)
class Compared:
    """One record that does not come out as before. ``broke``: the draft fails where the mapping in force does not."""

    given: Given
    verdict: Verdict
    differences: tuple[Difference, ...]
    broke: bool = False


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a draft would do to the records it was tried on.

    ``counts``: of each verdict, their sum is the number of records. ``fields``: target field -> in how many records it
    comes out otherwise. ``compared``: the records that do not come out as before, in the order they came.
    """

    counts: Mapping[Verdict, int]
    fields: Mapping[str, int]
    compared: tuple[Compared, ...]

    @property
    def records(self) -> int:
        """Return how many records it was tried on."""
        return sum(self.counts.values())

    @property
    def broke(self) -> int:
        """Return on how many records the draft fails where the mapping in force does not."""
        return sum(one.broke for one in self.compared)

    def of(self, verdict: Verdict) -> Iterator[Compared]:
        """Yield the records of one verdict."""
        return (one for one in self.compared if one.verdict is verdict)


@dataclass(slots=True)
class _Tally:
    counts: Counter[Verdict] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    compared: list[Compared] = field(default_factory=list)


def compare(old: Compiled, new: Compiled, records: Iterable[Given]) -> Shadow:
    """Map every record by both and tell what differs; ``records`` may be a generator that loads them in batches."""
    tally = _Tally()
    for given in records:
        found = _compare(old, new, given)
        if found is None:
            tally.counts[Verdict.UNCHANGED] += 1
            continue
        tally.counts[found.verdict] += 1
        tally.fields.update({one.field for one in found.differences if one.field})
        tally.compared.append(found)
    counts = {verdict: tally.counts[verdict] for verdict in Verdict}
    return Shadow(counts, dict(tally.fields.most_common()), tuple(tally.compared))


def outcome_of(compiled: Compiled, given: Given) -> Outcome:
    """Map a record; what may not leave for the target waits, and what is a bug of ours fails."""
    outcome = _guarded(compiled, given, None)
    if isinstance(outcome, Mapped):
        reads = {name for target in compiled.fields.values() for name in target.reads}
        if (kept := given.held(sorted(reads))) is not None:
            return Wait(f"export:{kept}")
    return outcome


def part_of(compiled: Compiled, given: Given, name: str) -> Result:
    """Map one target field of a record; one that the mapping does not have is left out."""
    if name not in compiled.fields:
        return Value(MISSING)
    outcome = _guarded(compiled, given, {name})
    if not isinstance(outcome, Mapped):
        return outcome
    if (kept := given.held(sorted(compiled.fields[name].reads))) is not None:
        return Wait(f"export:{kept}")
    return Value(_at(outcome.fields, name))


def _guarded(compiled: Compiled, given: Given, only: Collection[str] | None) -> Outcome:
    try:
        return compiled.run(given.source, given.context, only=only)
    except Exception as error:  # noqa: BLE001 - as the claim does: one record's bug stops no other
        return Failed("", type(error).__name__)


def _at(fields: dict[str, Json], name: str) -> Json | Missing:
    """Return the value of a field: inbound it stands under its name, outbound at the end of its path."""
    if name in fields:
        return fields[name]
    value: Json = dict(fields)
    for step in name.split("."):
        if not isinstance(value, dict) or step not in value:
            return MISSING
        value = value[step]
    return value


def _compare(old: Compiled, new: Compiled, given: Given) -> Compared | None:
    before, after = outcome_of(old, given), outcome_of(new, given)
    match after:
        case Failed():
            same = isinstance(before, Failed) and (before.field, before.message) == (
                after.field,
                after.message,
            )
            broke = not isinstance(before, Failed)
            return None if same else Compared(given, Verdict.FAILING, (_failure(old, given, after),), broke)
        case Wait():
            if before == after:
                return None
            return Compared(given, Verdict.WAITING, tuple(_waits(old, new, given, after)))
        case Left():
            return None if isinstance(before, Left) else Compared(given, Verdict.LEFT, ())
    if not isinstance(before, Mapped):
        return Compared(given, Verdict.MENDED, tuple(_mended(new, given, before)))
    if _bytes(before, in_order=new.direction == "out") == _bytes(after, in_order=new.direction == "out"):
        return None
    return Compared(given, Verdict.CHANGED, tuple(_changes(old, new, given, before, after)))


def _failure(old: Compiled, given: Given, failed: Failed) -> Difference:
    return Difference(failed.field, part_of(old, given, _root(failed.field)), failed)


def _waits(old: Compiled, new: Compiled, given: Given, whole: Wait) -> Iterator[Difference]:
    waiting = [(name, found) for name in new.fields if isinstance(found := part_of(new, given, name), Wait)]
    for name, found in waiting or [("", whole)]:
        yield Difference(name, part_of(old, given, name), found)


def _mended(new: Compiled, given: Given, before: Failed | Wait | Left) -> Iterator[Difference]:
    name = before.field if isinstance(before, Failed) else ""
    yield Difference(name, before, part_of(new, given, _root(name)))


def _changes(
    old: Compiled, new: Compiled, given: Given, before: Mapped, after: Mapped
) -> Iterator[Difference]:
    found = False
    if before.key != after.key:
        found = True
        yield Difference(KEY, Value(before.key), Value(after.key))
    for name in dict.fromkeys((*new.fields, *old.fields)):
        was, now = part_of(old, given, name), part_of(new, given, name)
        if _shape(was) != _shape(now):
            found = True
            yield Difference(name, was, now)
    if not found:
        yield Difference(ORDER, Value(", ".join(before.fields)), Value(", ".join(after.fields)))


def _shape(result: Result) -> object:
    """Return what two results are compared by: true is not 1, as it is in Python."""
    if not isinstance(result, Value):
        return result
    return MISSING if result.value is MISSING else _dumped(result.value)


def _bytes(mapped: Mapped, *, in_order: bool) -> tuple[str, bytes]:
    return mapped.key, _dumped(mapped.fields, in_order=in_order)


def _dumped(value: object, *, in_order: bool = True) -> bytes:
    option = 0 if in_order else orjson.OPT_SORT_KEYS
    try:
        return orjson.dumps(value, option=option, default=str)
    except orjson.JSONEncodeError:  # half a surrogate pair, a number of more than 64 bits
        return repr(value).encode("utf-8", "backslashreplace")


def _root(name: str) -> str:
    """Return the rule that a failing place belongs to: ``FEntity[0].FAmount`` is of ``FEntity``."""
    return name.partition("[")[0]
