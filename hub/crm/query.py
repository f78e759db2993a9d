"""Reading records: every function takes the reader's scope first, and what lies outside it is not found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from hub.crm.external import external_key
from hub.model.record import Json, Scope
from hub.model.region import is_within, subtree_range
from hub.store import sql
from hub.store.tx import Tx

__all__ = ["After", "Stored", "by_external", "find", "get"]

After = tuple[str, bytes]
"""Where a page ended: the region and the id of its last record."""

_MOST_HOPS = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as the store holds it. ``deleted``: µs, None while it lives."""

    id: bytes
    kind: str
    version: int
    region: str
    entity: str | None
    owner: str | None
    body: dict[str, Json]
    deleted: int | None = None

    @property
    def after(self) -> After:
        """The position of this record in a listing."""
        return self.region, self.id


_COLUMNS = "id, kind, version, region, entity, owner, body, deleted"

_page = sql.query(
    f"SELECT {_COLUMNS} FROM records WHERE kind = ? AND (region, id) > (?, ?) AND region < ? "
    "AND deleted IS NULL AND merged_into IS NULL ORDER BY region, id LIMIT ?"
)
"""No lower bound of the region: it is implied, and SQLite would start there and walk to the page."""
_first_page = sql.query(
    f"SELECT {_COLUMNS} FROM records WHERE kind = ? AND region >= ? AND region < ? "
    "AND deleted IS NULL AND merged_into IS NULL ORDER BY region, id LIMIT ?"
)
_by_id = sql.query(f"SELECT {_COLUMNS}, merged_into FROM records WHERE id = ?")
_record_of = sql.query(
    "SELECT record FROM xrefs WHERE connection = ? AND object = ? AND org = ? AND vendor_id = ? AND gone IS NULL"
)


def find(tx: Tx, scope: Scope, kind: str, *, after: After | None = None, limit: int = 50) -> list[Stored]:
    """Return the next living records of a kind in the scope, ordered by region and id.

    Args:
        tx: a read transaction.
        scope: what the reader may see.
        kind: ``customer``, ``payment`` ...
        after: where the previous page ended, None for the first page.
        limit: how many at most.
    """
    found: list[Stored] = []
    for root in _disjoint(scope.regions):
        low, high = subtree_range(root)
        if after is not None and after[0] >= high:
            continue
        at = after if after is not None and after[0] >= low else None
        while len(found) < limit:
            rows = _rows(tx, (kind, low, high), at, limit)
            found += [
                item for item in map(_stored, rows) if scope.admits(item.region, item.entity, item.owner)
            ]
            if len(rows) < limit:
                break
            at = (rows[-1][3], bytes(rows[-1][0]))
    return found[:limit]


def _rows(tx: Tx, within: tuple[str, str, str], at: After | None, limit: int) -> list[tuple[Any, ...]]:
    kind, _, high = within
    return _first_page(tx, *within, limit) if at is None else _page(tx, kind, *at, high, limit)


def get(tx: Tx, scope: Scope, record: bytes, *, kind: str | None = None) -> Stored | None:
    """Return one record (the survivor, if it was merged into another), None if absent or outside the scope."""
    for _ in range(_MOST_HOPS):
        rows = _by_id(tx, record)
        if not rows:
            return None
        if rows[0][-1] is None:
            found = _stored(rows[0])
            visible = scope.admits(found.region, found.entity, found.owner)
            return found if visible and kind in (None, found.kind) else None
        record = bytes(rows[0][-1])
    return None


def by_external(tx: Tx, scope: Scope, kind: str, *, system: str, external_id: str) -> Stored | None:
    """Return the record an external system knows by that id, None if absent or outside the scope."""
    rows = _record_of(tx, *external_key(system, kind, external_id))
    return get(tx, scope, bytes(rows[0][0]), kind=kind) if rows else None


def _disjoint(roots: tuple[str, ...]) -> list[str]:
    """Leave out roots inside other roots and sort, so that pages of several subtrees follow one another."""
    outer = {root for root in roots if not any(root != other and is_within(root, other) for other in roots)}
    return sorted(outer, key=lambda root: root.encode())


def _stored(row: tuple[Any, ...]) -> Stored:
    record, kind, version, region, entity, owner, body, deleted = row[:8]
    return Stored(bytes(record), kind, version, region, entity, owner, orjson.loads(body), deleted)
