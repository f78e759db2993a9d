"""Old acts leave the store: exported to a file, verified there, then deleted here, and never in another order.

Each file holds whole seals and follows on the one before. Together with an export of the store they are the whole
trail, which the verifier reads as one: :func:`whole_trail`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.audit.export import export, export_whole
from hub.errors import Cause, HubError, IntegrityError
from hub.store import sql
from hub.store.tx import Tx

__all__ = [
    "Range",
    "digest",
    "drop_some",
    "exported_to",
    "files",
    "keep_file",
    "note_export",
    "old_range",
    "still_here",
    "whole_trail",
    "write_range",
]

LARGEST: Final = 100_000
"""Acts of one file, about 100 MB."""
_DROP: Final = 1_000  # acts deleted in one transaction: the store's writer is not held for long
_PAGE: Final = 1_000
_NAME: Final = re.compile(r"acts-(\d{12,})-(\d{12,})\.jsonl")

_exported = sql.query("SELECT exported FROM hub WHERE one = 1")
_seals = sql.query("SELECT last_seq, first_seq, at FROM seals WHERE last_seq > ? ORDER BY last_seq LIMIT ?")
_newest = sql.query("SELECT last_seq FROM seals ORDER BY last_seq DESC LIMIT 1")
_move = sql.command("UPDATE hub SET exported = ? WHERE one = 1 AND exported = ?")
_drop_acts = sql.command("DELETE FROM acts WHERE seq > 0 AND seq <= ?")
_drop_seals = sql.command("DELETE FROM seals WHERE last_seq > 0 AND last_seq <= ?")


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Acts by their numbers, both included."""

    first: int
    last: int

    @property
    def file(self) -> str:
        """Return the name of the file that holds them."""
        return f"acts-{self.first:012}-{self.last:012}.jsonl"


def exported_to(tx: Tx) -> int:
    """Return up to which number acts lie in verified files."""
    return int(_exported(tx)[0][0])


def old_range(tx: Tx, before: int, published: int) -> Range | None:
    """Return the next acts whose seals are older than ``before`` (µs), whole seals; None if there are none.

    What is not yet published to subscribers stays, and so does the newest seal, which the next one continues.
    """
    start = at = exported_to(tx)
    newest = (_newest(tx) or [(0,)])[0][0]
    while at - start < LARGEST and (page := _seals(tx, at, _PAGE)):
        for last, _, sealed_at in page:
            enough = last - start > LARGEST and at > start
            if sealed_at >= before or last > published or last >= newest or enough:
                return Range(start + 1, at) if at > start else None
            at = last
    return Range(start + 1, at) if at > start else None


def write_range(tx: Tx, wanted: Range, path: Path) -> None:
    """Write the export of a range and make it durable; the file is our own (0600)."""
    handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(export(tx, wanted.first, wanted.last))
        file.flush()
        os.fsync(file.fileno())


def keep_file(made: Path, wanted: Range) -> Path:
    """Give a verified file its name; the one that is there already must be the same to the byte.

    Raises:
        IntegrityError: ``Cause.SEAL``: the folder holds another history of these acts (of a store that was restored).
    """
    folder, path = made.parent, made.parent / wanted.file
    for known in files(folder):
        overlaps = known.first <= wanted.last and wanted.first <= known.last
        if overlaps and (known != wanted or digest(path) != digest(made)):
            raise IntegrityError(
                Cause.SEAL,
                f"{folder / known.file} holds other acts of these numbers: move it away, nothing was dropped",
            )
    made.replace(path)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_export(tx: Tx, wanted: Range, sha256: str) -> None:
    """Remember that a range lies in a verified file; from now on it may be dropped.

    Raises:
        IntegrityError: ``Cause.FENCED``: somebody else was quicker.
    """
    if _move(tx, wanted.last, wanted.first - 1) != 1:
        raise IntegrityError(Cause.FENCED, "the acts were exported by somebody else")
    item = {
        "outcome": "exported",
        "first": wanted.first,
        "last": wanted.last,
        "file": wanted.file,
        "sha256": sha256,
    }
    tx.journal("archive", "audit.exported", {"items": [item]})


def still_here(tx: Tx) -> Range | None:
    """Return which exported acts are still in the store."""
    last = exported_to(tx)
    first = _seals(tx, 0, 1)
    return Range(first[0][1], last) if first and first[0][1] <= last else None


def drop_some(tx: Tx, last: int) -> int:
    """Delete the oldest seals up to act ``last`` with their acts, about a thousand acts; return how many acts went."""
    page = [row for row in _seals(tx, 0, _PAGE) if row[0] <= last]
    if not page:
        return 0
    first = page[0][1]
    upto = max((row[0] for row in page if row[0] - first < _DROP), default=page[0][0])
    gone = _drop_acts(tx, upto)
    _drop_seals(tx, upto)
    return gone


def files(folder: Path) -> list[Range]:
    """Return which ranges lie in a folder, in order."""
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(Range(int(match[1]), int(match[2])) for match in found if match)


def whole_trail(tx: Tx, folder: Path) -> Iterator[str]:
    """Give the export of everything: the files of the folder, then what is in the store.

    Raises:
        HubError: a file is missing.
    """
    last = exported_to(tx)
    if last == 0:
        yield from export_whole(tx)
        return
    with closing(sqlite3.connect("")) as ids:  # a file of its own that goes with it: memory stays flat
        ids.execute("CREATE TABLE ids (id INTEGER PRIMARY KEY)")
        for line in export_whole(tx, _archived(folder, last, ids), last):
            if not line.startswith('{"type":"stray"') or not _holds(ids, json.loads(line)["act"]):
                yield line


def _archived(folder: Path, last: int, ids: sqlite3.Connection) -> Iterator[str]:
    """Give the lines of the files up to an act, without their headers; note the ids of their acts."""
    at = 0
    for one in files(folder):
        if one.first != at + 1 or at >= last:
            break
        at = one.last
        with (folder / one.file).open(encoding="utf-8", newline="\n") as file:
            next(file, None)
            for line in file:
                if line.startswith('{"type":"act"'):
                    ids.execute("INSERT OR IGNORE INTO ids VALUES (?)", (json.loads(line)["id"],))
                yield line
    if at != last:
        raise HubError(
            f"{folder}: the file that begins with act {at + 1} is missing; acts up to {last} were exported there"
        )


def _holds(ids: sqlite3.Connection, act: int) -> bool:
    return ids.execute("SELECT 1 FROM ids WHERE id = ?", (act,)).fetchone() is not None
