"""What left the country and what was held back, for whoever must report it: people by calendar year, waiting by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from hub.pipe.world import YEARS
from hub.store import sql

if TYPE_CHECKING:
    from hub.project.exports import Export
    from hub.project.values import Project
    from hub.store.engine import Tx

__all__ = ["ExportStatus", "export_status"]

find_sent = sql.query("SELECT sent FROM xrefs WHERE connection = ?")
count_held = sql.query(
    "SELECT waits_for, count(*) FROM owed WHERE state = 'waiting' AND waits_for LIKE 'export:%' GROUP BY waits_for"
)


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """One foreign connection. ``people``: calendar year (UTC) -> records that were sent there in it.

    ``held``: field (``contact.email``) -> records that wait because it may not leave; each waits for its first one.
    """

    connection: str
    exports: Sequence[Export]
    people: Mapping[int, int]
    held: Mapping[str, int]


def export_status(tx: Tx, project: Project) -> list[ExportStatus]:
    """Return every foreign connection with its counters. Reads all xrefs of such a connection: for reports alone."""
    held = {(where, name): count for key, count in count_held(tx) for where, name in [_held(key)]}
    return [
        ExportStatus(
            name,
            one.exports,
            dict(sorted(_people(tx, name).items())),
            {field: count for (where, field), count in sorted(held.items()) if where == name},
        )
        for name, one in sorted(project.connections.items())
        if one.foreign
    ]


def _held(key: str) -> tuple[str, str]:
    where, _, name = key.removeprefix("export:").partition("/")
    return where, name


def _people(tx: Tx, connection: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for (sent,) in find_sent(tx, connection):
        notes = orjson.loads(sent) if sent else None
        years = {
            year for note in (notes or {}).values() if isinstance(note, dict) for year in note.get(YEARS, ())
        }
        found.update(years)
    return found
