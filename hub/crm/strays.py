"""Stored custom values that the fields as they are declared now would refuse: kept and shown, but not written again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hub.crm.query import Stored, find
from hub.model.fields import InvalidField
from hub.model.kind import CUSTOM, Kind
from hub.model.kinds import normalise
from hub.model.record import Scope
from hub.store.tx import Tx

__all__ = ["Stray", "strays"]

_PAGE: Final = 500


@dataclass(slots=True)
class Stray:
    """Records whose value of one field does not fit it, for one reason. ``record``: the first of them (16 bytes)."""

    kind: str
    field: str
    why: str
    record: bytes
    count: int = 1


def strays(tx: Tx, scope: Scope, kinds: Mapping[str, Kind]) -> tuple[list[Stray], int]:
    """Return what does not fit, by kind, field and reason, and how many records of declared kinds were looked at.

    ``kinds``: with the custom fields that are declared; records of the others are not looked at.
    """
    found: dict[tuple[str, str, str], Stray] = {}
    seen = 0
    for kind in kinds.values():
        if kind.custom is None:
            continue
        for record in _every(tx, scope, kind.name):
            seen += 1
            for name, why in _unfit(kind, record):
                known = found.get((kind.name, name, why))
                if known is None:
                    found[kind.name, name, why] = Stray(kind.name, name, why, record.id)
                else:
                    known.count += 1
    return list(found.values()), seen


def _every(tx: Tx, scope: Scope, kind: str) -> Iterator[Stored]:
    page = find(tx, scope, kind, limit=_PAGE)
    while page:
        yield from page
        page = find(tx, scope, kind, after=page[-1].after, limit=_PAGE) if len(page) == _PAGE else []


def _unfit(kind: Kind, record: Stored) -> Iterator[tuple[str, str]]:
    for name, value in record.body.items():
        if not name.startswith(CUSTOM) or value is None:
            continue
        try:
            normalise(kind, name, value)
        except InvalidField as error:
            yield name, error.message
            continue
        field = kind.regional.get(name)
        if field is not None and not field.is_in(record.region):
            yield name, f"exists only in {', '.join(field.regions)}; hidden in {record.region or '/'}"
