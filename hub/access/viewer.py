"""Who asks: one value that every query takes its scope from, and the table of what a role may do."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hub.model.record import Scope

__all__ = ["PERMISSIONS", "REACHES", "ROLES", "Permission", "Reach", "Role", "Viewer", "scope_of"]

Role = Literal["admin", "integrator", "operator", "auditor"]
ROLES: Final[tuple[Role, ...]] = ("admin", "integrator", "operator", "auditor")
Reach = Literal["self", "subtree", "all"]
REACHES: Final[tuple[Reach, ...]] = ("self", "subtree", "all")
"""How far a viewer sees: its own records in its regions · its regions and what lies below · the whole group."""


class Permission(enum.Enum):
    """What one may be allowed to do."""

    METADATA_READ = "metadata.read"
    RECORDS_READ = "records.read"
    RECORDS_WRITE = "records.write"


_EVERYONE: Final = frozenset(ROLES)

PERMISSIONS: Final[Mapping[Permission, frozenset[Role]]] = {
    Permission.METADATA_READ: _EVERYONE,
    Permission.RECORDS_READ: _EVERYONE,
    Permission.RECORDS_WRITE: frozenset({"admin", "integrator"}),
}
"""What -> who may. A role that is not named may not: the table is all there is. A route brings its permission with it."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. ``name``: as acts and logs name it (``token:shop``)."""

    name: str
    roles: frozenset[Role]
    scope: Scope

    def may(self, permission: Permission) -> bool:
        """Say whether one of its roles is allowed this."""
        return not self.roles.isdisjoint(PERMISSIONS[permission])


def scope_of(
    reach: str, regions: Collection[str], *, entities: Collection[str] | None = None, owner: str | None = None
) -> Scope:
    """Return what a viewer may see; the queries of :mod:`hub.crm.query` turn it into ranges and filters.

    Args:
        reach: one of :data:`REACHES`; ``all`` needs no regions, the others see nothing without one.
        regions: roots in stored form, closed by a slash, so that ``g/s/`` never holds ``g/sc/``.
        entities: legal entities, None for all.
        owner: whose records ``self`` sees.

    Raises:
        ValueError: an unknown reach, ``self`` without an owner, a region that is not in stored form.
    """
    if reach not in REACHES:
        raise ValueError(f"the reach is one of {', '.join(REACHES)}")
    if (reach == "self") != (owner is not None):
        raise ValueError("an owner goes with the reach self, and only with it")
    if any(region and not region.endswith("/") for region in regions):
        raise ValueError("a region path ends in a slash")
    if (reach == "all") != (not regions):
        raise ValueError("regions go with self and subtree; all has none")
    roots = ("",) if reach == "all" else tuple(sorted(set(regions)))
    return Scope(roots, None if entities is None else tuple(sorted(set(entities))), owner)
