"""Values every part shares: JSON and the scope of a reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Union

from hub.model.region import is_within

__all__ = ["MISSING", "Json", "Missing", "Scope"]

Json = Union[None, bool, int, float, str, "list[Json]", "dict[str, Json]"]
"""Any JSON value; a record's body is a ``dict[str, Json]``."""


class Missing:
    """The type of :data:`MISSING`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        """Return False: what is absent counts as nothing."""
        return False

    def __repr__(self) -> str:
        """Return ``MISSING``."""
        return "MISSING"


MISSING = Missing()
"""The value of a field that is not there: neither null nor the empty text."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a reader may see; every query takes one.

    ``regions``: roots of the visible subtrees, "" is the whole tree, an empty tuple shows nothing.
    ``entities``: legal entities, None for all. ``owner``: only this owner's records, None for all.
    """

    ALL: ClassVar[Scope]

    regions: tuple[str, ...]
    entities: tuple[str, ...] | None = None
    owner: str | None = None

    def admits(self, region: str, entity: str | None, owner: str | None) -> bool:
        """Tell whether a record with this region, legal entity and owner is visible."""
        return (
            any(is_within(region, root) for root in self.regions)
            and (self.entities is None or entity in self.entities)
            and (self.owner is None or owner == self.owner)
        )


Scope.ALL = Scope(regions=("",))
