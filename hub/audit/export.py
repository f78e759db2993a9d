"""Acts and seals as JSON lines that the verifier reads without a store: for an auditor, and for PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hub.audit.verify import LINES, STAMPED
from hub.store import schema, sql
from hub.store.tx import Tx

__all__ = ["export", "export_whole"]

_PAGE = 1000
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_seals = sql.query(
    "SELECT last_seq, first_seq, head, prev, at, key_id, signature FROM seals "
    "WHERE last_seq > ? AND last_seq >= ? ORDER BY last_seq LIMIT ?"
)
_acts = sql.query(
    "SELECT seq, id, at, actor, verb, body, hash FROM acts WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"
)
_last = sql.query("SELECT seq FROM acts WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1")
_unsealed = sql.query("SELECT count(*) FROM acts WHERE seq IS NULL")


def export(tx: Tx, from_seq: int, to_seq: int) -> Iterator[str]:
    """Give the lines (with line ends) of the acts ``from_seq`` to ``to_seq``, widened to whole seals.

    Run it inside one read (a snapshot); memory stays flat.
    """
    seals = _paged_seals(tx, from_seq, to_seq)
    first, last = 0, 0
    head = next(seals, None)
    if head is not None:
        first = head[1]
    yield _line("export", [1, first, last, False, 0])
