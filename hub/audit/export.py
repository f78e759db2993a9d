"""Acts and seals as JSON lines that the verifier reads without a store: for an auditor, and for PostgreSQL.

Run an export inside one read of the store: it is one snapshot then. Memory stays flat.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import exists, select

from hub.audit.verify import LINES, STAMPED
from hub.store import schema, sql
from hub.store.tx import Tx

__all__ = ["export", "export_whole"]

_PAGE = 1000
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_seals = sql.query(
    "SELECT last_seq, first_seq, head, prev, at, key_id, signature FROM seals WHERE last_seq > ? "
    "ORDER BY last_seq LIMIT ?"
)
_acts = sql.query(
    "SELECT seq, id, at, actor, verb, body, hash FROM acts WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
_above = sql.query("SELECT last_seq FROM seals WHERE last_seq >= ? ORDER BY last_seq LIMIT 1")
_newest = sql.query("SELECT last_seq FROM seals ORDER BY last_seq DESC LIMIT 1")
_unsealed = sql.query("SELECT count(*) FROM acts WHERE seq IS NULL")


def export(tx: Tx, from_seq: int, to_seq: int) -> Iterator[str]:
    """Give the lines (with their ends) of the acts ``from_seq`` to ``to_seq``, widened to whole seals."""
    end = _above(tx, to_seq) or _newest(tx) or [(0,)]
    return _sealed(tx, from_seq, end[0][0])


def export_whole(tx: Tx, before: Iterable[str] = (), after: int = 0) -> Iterator[str]:
    """Give everything a verifier looks at: all acts and seals, and rows stamped with acts that are not there.

    ``before``: lines of the acts up to number ``after``, which were exported earlier and may have left the store.
    """
    newest = (_newest(tx) or [(0,)])[0][0]
    yield _line("export", (1, 1, newest, 1, _unsealed(tx)[0][0]))
    yield from before
    yield from _runs(tx, after + 1, newest)
    yield from (_line("act", act) for act in _between(tx, newest, 2**63 - 1))  # numbered, but never sealed
    for name in STAMPED:
        table = schema.metadata.tables[name]
        known = exists().where(schema.acts.c.id == table.c.act)
        stray = ~known & (table.c.act != 0) if name == "jobs" else ~known  # 0: a hint, not an act's
        for row, act in tx.conn.execute(select(next(iter(table.primary_key)), table.c.act).where(stray)):
            yield _line("stray", (name, _shown(row), act))


def _sealed(tx: Tx, from_seq: int, last: int) -> Iterator[str]:
    first = next(iter(_seals(tx, from_seq - 1, 1)), (0, 1))[1]
    yield _line("export", (1, first, last, 0, 0))
    yield from _runs(tx, from_seq, last)


def _runs(tx: Tx, from_seq: int, last: int) -> Iterator[str]:
    """Give each seal with its acts as lines."""
    at = from_seq - 1
    while at < last and (page := _seals(tx, at, _PAGE)):
        for seal in page:
            if seal[0] > last:
                return
            yield _line("seal", seal)
            yield from (_line("act", act) for act in _between(tx, seal[1] - 1, seal[0]))
        at = page[-1][0]


def _between(tx: Tx, after: int, last: int) -> Iterator[Sequence[Any]]:
    while page := _acts(tx, after, last, _PAGE):
        yield from page
        after = page[-1][0]


def _line(kind: str, values: Sequence[Any]) -> str:
    return _encode(dict(zip(LINES[kind], (kind, *map(_shown, values)), strict=True))) + "\n"


def _shown(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
