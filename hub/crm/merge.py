"""The three-way merge, one rule per field (``pipe.md`` section 5).

A pair (ours, theirs) holds the digests of what was last agreed: ours, and theirs as the vendor stored it; they
differ where the vendor normalises. ``None`` in a pair means "not agreed". Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["FLIPS", "Conflict", "Digest", "Merged", "Pairs", "agree", "due_fields", "merge"]

FLIPS = 3
"""A field that flips back and forth this often parks as a conflict."""

Digest: TypeAlias = "Callable[[str, Json], str]"
Pairs: TypeAlias = "Mapping[str, list[str | int | None]]"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Both sides moved one field: who won (``crm`` or ``source``) and the value that lost.

    ``region``: what came is a field that the record's region does not have; the CRM keeps what it holds.
    """

    field: str
    winner: str
    loser: Json


@dataclass(slots=True)
class Merged:
    """The result: values to take into the CRM, the new pairs, the conflicts.

    ``owe_back``: fields where the CRM's value won and is owed to the vendor. ``manual``: a field that a person must
    decide (nothing may be applied then). ``left``: one that stays as it is until a person has decided, while the others
    take effect. ``flipping``: a field that went back and forth too often.
    """

    taken: dict[str, Json] = field(default_factory=dict)
    pairs: dict[str, list[str | int | None]] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    owe_back: list[str] = field(default_factory=list)
    manual: str | None = None
    left: str | None = None
    flipping: str | None = None


def _agreed(pair: list[str | int | None], ours: str, theirs: str) -> list[str | int | None]:
    """Return the pair after an agreement, counting a return to the value before the last one."""
    _, last, flips, before = pair
    if theirs == last:
        return [ours, theirs, flips, before]
    returned = before is not None and theirs == before
    return [ours, theirs, int(flips or 0) + 1 if returned else 0, last]


def merge(
    crm: Mapping[str, Json],
    vendor: Mapping[str, Json],
    snapshot: Pairs,
    *,
    digest: Digest,
    authority: Callable[[str], str],
    newer: bool | None = None,
    late: bool = False,
) -> Merged:
    """Merge what a vendor shows into what the CRM holds.

    Where both sides meet for the first time, a yes to a flag of the CRM (an opt-out, do not call) outweighs a vendor's no,
    whoever has the authority: the person said it, and the vendor's no is what it began with.

    Args:
        crm: the record's body.
        vendor: mapped-in fields of the vendor's object; fields it does not name stay as they are.
        snapshot: the pairs of the xref; a field without one was never agreed (both sides count as empty).
        digest: (field, value) -> digest of its normal form.
        authority: field -> crm, source, manual, newest or person (as manual, for this field alone): who wins when both moved.
        newer: for ``newest``: whether the vendor's change is the later one; None lets the CRM win.
        late: a write of ours could still land when the object was last seen. A field that shows again what was agreed before
            the last change was then overwritten by our own late copy: the CRM's value is the later one, and is owed back.
    """
    result = Merged()
    for name, value in vendor.items():
        empty = digest(name, None)
        pair = snapshot.get(name) or [empty, empty, 0, None]
        ours, theirs = pair[0], pair[1]
        ours_now, theirs_now = digest(name, crm.get(name)), digest(name, value)
        if theirs_now == theirs:
            continue
        if theirs_now == ours_now:
            result.pairs[name] = _agreed(pair, theirs_now, theirs_now)
        elif late and theirs_now == pair[3]:
            _keep(result, name, value, pair, theirs_now)
        elif ours_now == ours:
            _take(result, name, value, _agreed(pair, theirs_now, theirs_now))
        else:
            refuses = name not in snapshot and crm.get(name) is True and value is False
            winner = "crm" if refuses else authority(name)
            if winner == "newest":
                winner = "source" if newer else "crm"
            if winner == "manual":
                result.manual = result.manual or name
            elif winner == "person":
                result.left = result.left or name
            elif winner == "source":
                result.conflicts.append(Conflict(name, "source", crm.get(name)))
                _take(result, name, value, _agreed(pair, theirs_now, theirs_now))
            else:
                _keep(result, name, value, pair, theirs_now)
    return result


def _keep(result: Merged, name: str, value: Json, pair: list[str | int | None], theirs: str) -> None:
    result.conflicts.append(Conflict(name, "crm", value))
    result.pairs[name] = [None, *_agreed(pair, theirs, theirs)[1:]]
    result.owe_back.append(name)


def _take(result: Merged, name: str, value: Json, pair: list[str | int | None]) -> None:
    result.taken[name] = value
    result.pairs[name] = pair
    if int(pair[2] or 0) >= FLIPS:
        result.flipping = result.flipping or name


def agree(
    crm: Mapping[str, Json],
    stored: Mapping[str, Json] | None,
    snapshot: Pairs,
    *,
    sent: Mapping[str, str],
    normalises: bool,
    digest: Digest,
    authority: Callable[[str], str],
) -> Merged:
    """Settle a write that took effect: the same merge, based on what was sent for the sent fields.

    A user's edit that came in between is taken, not absorbed. ``stored`` is None when the vendor did not say what it
    holds: then theirs is what was sent. ``normalises``: the vendor rewrites values, so a stored value that differs
    from the sent one is its form of it, not an edit.
    """
    based: dict[str, list[str | int | None]] = {}
    for name, value in sent.items():
        empty = digest(name, None)
        based[name] = _agreed(snapshot.get(name) or [empty, empty, 0, None], value, value)
    if stored is None:
        return Merged(pairs=based)
    result = merge(crm, stored, {**snapshot, **based}, digest=digest, authority=authority)
    for name, pair in based.items():
        if name in stored and normalises and digest(name, crm.get(name)) == sent[name]:
            theirs = digest(name, stored[name])
            result.pairs[name] = [sent[name], theirs, pair[2], pair[3]]
            result.taken.pop(name, None)
        else:
            result.pairs.setdefault(name, pair)
    return result


def due_fields(crm: Mapping[str, Json], snapshot: Pairs, names: Collection[str], digest: Digest) -> set[str]:
    """Return the CRM fields that are due to the vendor: their value is neither ours nor theirs."""
    due = set()
    for name in names:
        empty = digest(name, None)
        pair = snapshot.get(name)
        now = digest(name, crm.get(name))
        if now not in ((pair[0], pair[1]) if pair else (empty, empty)):
            due.add(name)
    return due
