"""States that only go forward: an event that is late, repeated or out of order never undoes where a record has come to.

A rule per kind, not per vendor: whatever shows an approval (a callback, a read, the answer to a write, our own API) meets
it in :mod:`hub.crm.decide`, before the merge. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.model.kinds import KINDS, normal_form

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["LATTICES", "Forward", "Lattice", "forward"]


@dataclass(frozen=True, slots=True)
class Lattice:
    """How the states of a kind follow each other.

    ``field``: where the state stands. ``steps``: state -> those that may come next; a state without is final.
    ``gone``: what a record that is still open becomes when its object is deleted at the vendor; a decided one stays.
    ``told``: fields that belong to what shows the state: what comes late takes none of them back. ``growing``: the one
    of them that only gets longer: at the same state the shorter one is the older.
    ``fixed``: fields that stand once the first state is left, for somebody is deciding about them.
    ``asked``: states that whoever asks may say; every other one, and ``told``, is said by whoever decides.
    ``reach``: state -> every state that may come after it, however many steps were missed.
    """

    field: str
    steps: Mapping[str, tuple[str, ...]]
    gone: str
    told: tuple[str, ...]
    growing: str
    fixed: tuple[str, ...]
    asked: tuple[str, ...]
    reach: Mapping[str, frozenset[str]] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Work out what may follow what."""
        reach = {
            state: self._after(state)
            for state in {*self.steps, *(s for to in self.steps.values() for s in to)}
        }
        object.__setattr__(self, "reach", MappingProxyType(reach))

    def _after(self, state: str) -> frozenset[str]:
        following = self.steps.get(state, ())
        return frozenset(following).union(*(self._after(one) for one in following))

    def is_started(self, state: Json) -> bool:
        """Say whether a record in this state has left the first one."""
        return state in self.reach and state != next(iter(self.steps))

    def decides(self, fields: Mapping[str, object]) -> list[str]:
        """Return those of these fields that only whoever decides may say."""
        state = fields.get(self.field)
        decided = isinstance(state, str) and state in self.reach and state not in self.asked
        return [self.field] * decided + [name for name in self.told if name in fields]


_ENDS: Final = ("approved", "rejected", "withdrawn", "terminated")

LATTICES: Final[Mapping[str, Lattice]] = MappingProxyType(
    {
        "approval": Lattice(
            field="status",
            steps={
                "draft": ("submitted",),
                "submitted": ("in_progress",),
                "in_progress": _ENDS,
                "approved": ("revoked",),
            },
            gone="terminated",
            told=("nodes", "opinion", "finished_at"),
            growing="nodes",
            fixed=(
                "subject", "contract", "customer", "payment", "entity", "amount", "currency", "discount_rate",
                "to_owner", "to_region", "route", "connection", "template", "attachments",
            ),
            asked=("draft", "submitted"),
        )
    }
)  # fmt: skip
"""Per kind whose state only goes forward."""


@dataclass(frozen=True, slots=True)
class Forward:
    """What may be taken of what came. ``refused``: (field, why) of what contradicts where the record is; a person looks."""

    fields: dict[str, Json]
    refused: tuple[str, str] | None = None


def forward(kind: str, known: Mapping[str, Json], fields: dict[str, Json]) -> Forward:
    """Return what of these fields, in stored form, may be taken into a record with the body ``known``.

    What is late is left out and nobody is told. What contradicts (two ends of one approval, another amount than the
    one that is being decided) is left out and named.
    """
    lattice = LATTICES.get(kind)
    was = known.get(lattice.field) if lattice else None
    if lattice is None or not isinstance(was, str) or was not in lattice.reach:
        return Forward(fields)
    left, refused = _stated(lattice, was, known, fields)
    if lattice.is_started(was):
        changed = [name for name in lattice.fixed if _differs(kind, name, known, fields)]
        left |= set(changed)
        if changed and refused is None:
            refused = (changed[0], f"is not changed while an approval is {was}: end it and start a new one")
    return Forward({name: value for name, value in fields.items() if name not in left}, refused)


def _stated(
    lattice: Lattice, was: str, known: Mapping[str, Json], fields: Mapping[str, Json]
) -> tuple[set[str], tuple[str, str] | None]:
    """Return the fields to leave out because of the state that came, and what contradicts."""
    now = fields.get(lattice.field)
    if now is None or now == was:
        shorter = _length(fields.get(lattice.growing)) < _length(known.get(lattice.growing))
        late = lattice.growing in fields and shorter
        return {lattice.field, *(lattice.told if late else ())}, None
    if now in lattice.reach[was]:
        return set(), None
    left = {lattice.field, *lattice.told}
    if was in lattice.reach.get(str(now), frozenset()):
        return left, None
    return left, (lattice.field, f"is {was} here and {now} there: both are final")


def _differs(kind: str, name: str, known: Mapping[str, Json], fields: Mapping[str, Json]) -> bool:
    if name not in fields or known.get(name) is None:
        return False
    form = KINDS[kind]
    return normal_form(form, name, fields[name]) != normal_form(form, name, known[name])


def _length(value: Json) -> int:
    return len(value) if isinstance(value, list) else 0
