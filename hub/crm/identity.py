"""Who is this? Match rules in order over the keys a view has loaded; unsure is a candidate, never a silent merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hub.model.kinds import KINDS, key_values
from hub.project.values import KindRules, MatchRule
from hub.store.rows import Record

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.store.view import View

__all__ = ["Known", "New", "Unsure", "identify"]


@dataclass(frozen=True, slots=True)
class Known:
    """It is this record."""

    record: Record


@dataclass(frozen=True, slots=True)
class New:
    """Nobody we know."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """It may be one of these; a person decides. ``rule``: the fields that matched."""

    candidates: tuple[bytes, ...]
    rule: tuple[str, ...]


Identity: TypeAlias = Known | New | Unsure


def identify(view: View, kind: str, fields: Mapping[str, Json], region: str, rules: KindRules) -> Identity:
    """Return whose record these mapped fields are, by strong keys first, then by the kind's match rules.

    The view must hold the keys of ``key_values(kind, fields)`` and the records they name. A record whose strong key
    is known and differs is somebody else, whatever else is alike (like-named subsidiaries).
    """
    keys: dict[str, set[bytes]] = {}
    for name, value, strong in key_values(KINDS[kind], dict(fields)):
        found = {record for record, _ in view.keys.get((name, value), ())}
        if strong:
            for record in found:
                return Known(view.records[record])
        keys.setdefault(name, set()).update(found)
    for rule in rules.match:
        hits = _hits(view, kind, keys, rule, region, fields)
        if len(hits) == 1 and rule.confidence == "sure":
            return Known(view.records[hits[0]])
        if hits:
            return Unsure(tuple(hits), rule.fields)
    return New()


def _hits(
    view: View,
    kind: str,
    keys: Mapping[str, set[bytes]],
    rule: MatchRule,
    region: str,
    fields: Mapping[str, Json],
) -> list[bytes]:
    sets = [keys.get(f"{kind}.{name}", set()) for name in rule.fields]
    both = set.intersection(*sets) if sets else set()
    if not both:
        return []
    records = (view.records[id_] for id_ in sorted(both) if id_ in view.records)
    return [
        record.id
        for record in records
        if record.kind == kind
        and record.merged_into is None
        and record.deleted is None
        and (not rule.within_region or record.region == region)
        and not _is_other(kind, record.body, fields)
    ]


def _is_other(kind: str, mine: Mapping[str, Json], theirs: Mapping[str, Json]) -> bool:
    return any(
        mine.get(name) and theirs.get(name) and mine[name] != theirs[name] for name in KINDS[kind].strong_keys
    )
