"""Texts of a project as numbered revisions: an unchanged text keeps its number, a changed one gets the next.

A file that returns to an earlier text becomes a new revision all the same: the numbers tell the order of what was
in force.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hub.project.values import ProjectFile
from hub.store import schema, sql
from hub.store.tx import Tx

__all__ = ["publish_revisions", "revision_digest"]

_newest = sql.query(
    "SELECT revision, digest FROM revisions WHERE kind = ? AND name = ? ORDER BY revision DESC LIMIT 1"
)
_insert = sql.bulk_insert(schema.revisions, "kind name revision text digest at act")


def revision_digest(text: str) -> str:
    """Return the digest of a text, 32 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def publish_revisions(
    tx: Tx, project_files: Sequence[ProjectFile], *, actor: str = "start"
) -> dict[tuple[str, str], int]:
    """Store texts that changed since their newest revision, stamped with this transaction's act (``project.published``).

    Nothing changed: nothing is written, no act. Two processes that start at the same moment write the same number:
    one of them is rerun and finds nothing to do.

    Returns:
        (kind, name) -> the revision now in force, for every file.
    """
    numbers: dict[tuple[str, str], int] = {}
    rows = []
    for file in project_files:
        found = _newest(tx, file.kind, file.name)
        last, digest = found[0] if found else (0, "")
        number = int(last)
        wanted = revision_digest(file.text)
        if digest != wanted:
            number += 1
            rows.append((file.kind, file.name, number, file.text, wanted, tx.now, tx.act))
        numbers[file.kind, file.name] = number
    if rows:
        _insert(tx, rows)
        tx.journal(
            actor,
            "project.published",
            {"revisions": [[kind, name, number] for kind, name, number, *_ in rows]},
        )
    return numbers
