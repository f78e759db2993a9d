"""One sync for each organisation (``per: organisation``): the table of legal entities says which there are.

A customer that is needed in several organisations of one system has one sync each (design.md 5). Written once in hub.yaml,
it becomes one sync per row of ``entities`` that is booked through its connection, named after the number of the
organisation: ``k3.customer.out@100``. The name hangs on nothing else, so a row more changes no other sync.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hub.project.section import Section
from hub.project.values import LegalEntity, Sync

__all__ = ["MARK", "per_organisation", "written_name"]

MARK: Final = "@"
"""Between the name in hub.yaml, which never holds it, and the organisation."""
_NUMBER: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)


def written_name(sync: str) -> str:
    """Return the name under which hub.yaml states a sync."""
    return sync.partition(MARK)[0]


def per_organisation(section: Section, sync: Sync | None, entities: Mapping[str, LegalEntity]) -> list[Sync]:
    """Return the syncs that one entry of ``syncs:`` stands for: itself, or one for each organisation of its system."""
    if not section.has("per"):
        return [] if sync is None else [sync]
    section.choice("per", ("organisation",), "organisation")
    if sync is None:
        return []
    if sync.direction != "out":
        section.problem(
            "per", "one sync reads a stream, for all organisations: per belongs to a sync with a target"
        )
        return []
    for key in ("entity", "org"):
        if section.has(key):
            section.problem(key, "per: organisation takes entity and organisation from the table (entities)")
    found: dict[str, Sync] = {}
    for entity in entities.values():
        if entity.connection == sync.connection and (wrong := _add(found, sync, entity)) is not None:
            section.problem("per", wrong)
    if not found:
        section.problem("per", f"no legal entity is booked through {sync.connection} (entities: connection)")
    return list(found.values())


def _add(found: dict[str, Sync], sync: Sync, entity: LegalEntity) -> str | None:
    """Add the sync of a legal entity's organisation; returns what is wrong instead."""
    number = entity.org()
    if not number:
        return f"legal entity {entity.name} has no number there (orgs: {{use: ...}})"
    if not _NUMBER.fullmatch(number):
        return (
            f"legal entity {entity.name}: {number[:40]!r} cannot end a sync's name (letters, digits, _ . -)"
        )
    if (other := found.get(number)) is not None:
        return f"{other.entity} and {entity.name} share organisation {number}: two syncs on one target are refused"
    found[number] = replace(sync, name=f"{sync.name}{MARK}{number}", entity=entity.name, org=number)
    return None
