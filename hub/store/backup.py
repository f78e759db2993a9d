"""A backup of a store: one zip archive for both engines, written from one snapshot, read in one transaction.

A member ``tables/<name>.jsonl`` per table holds one JSON list a row (bytes as base64), ``manifest.json`` says how many and
their digests; others may add members of their own. The key file is not in it: what is sealed stays sealed. Loading replaces everything, draws a
new epoch and stops writes (:mod:`hub.store.epoch`), so that a process that works on the store ends at its next
transaction and nothing is sent before a person looked.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson
from sqlalchemy import LargeBinary, Table

from hub.errors import SettingsError
from hub.store import schema
from hub.store.epoch import Stop, head_of, stop_writes
from hub.store.statement import quote
from hub.store.triggers import triggers
from hub.store.tx import Tx

__all__ = ["FORMAT", "Manifest", "dump", "is_empty", "load", "read_manifest"]

FORMAT = "hub-backup/1"
MANIFEST = "manifest.json"
CHUNK = 1000
"""Rows a statement."""
GAP = 1 << 32
"""Act numbers a restore leaves out: those of the lost time are never given again (subscribers know them)."""

TABLES: tuple[Table, ...] = tuple(schema.metadata.sorted_tables)
_GUARDED = ("acts", "seals", "touched")
"""Tables whose triggers refuse to be emptied."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself; ``at`` µs, ``rows`` and ``digests`` by table, ``last_act``: highest number given."""

    format: str
    schema: int
    engine: str
    epoch: str
    at: int
    last_act: int
    last_seq: int
    key_ids: list[str]
    rows: dict[str, int]
    digests: dict[str, str]


def dump(tx: Tx, archive: zipfile.ZipFile) -> Manifest:
    """Write every table as this transaction's snapshot shows it, then the manifest."""
    rows, digests = {}, {}
    for table in TABLES:
        name = str(table.name)
        with archive.open(_member(table), "w", force_zip64=True) as out:
            rows[name], digests[name] = _write(out, _read(tx, table), table)
    tx.cursor.execute("SELECT DISTINCT key_id FROM secrets ORDER BY key_id")
    keys = [key_id for (key_id,) in tx.cursor.fetchall()]
    head = head_of(tx)
    manifest = Manifest(
        FORMAT,
        schema.SCHEMA,
        tx.dialect,
        tx.epoch.hex(),
        tx.now,
        _last_act(tx),
        head.seq,
        keys,
        rows,
        digests,
    )
    archive.writestr(MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
    return manifest


def read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    """Return what an archive holds, after looking whether it is whole and this program's.

    Raises:
        SettingsError: it is no backup, a part of it is missing or damaged, or another version wrote it.
    """
    try:
        told = orjson.loads(archive.read(MANIFEST))
        manifest = Manifest(**told)
        missing = [
            name for name in manifest.rows if _member(schema.metadata.tables[name]) not in archive.namelist()
        ]
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise SettingsError("is not a whole backup of this program", file=str(path)) from error
    if manifest.format != FORMAT or manifest.schema != schema.SCHEMA:
        raise SettingsError(
            f"was written as {manifest.format} with schema {manifest.schema}, this program knows {FORMAT} with "
            f"{schema.SCHEMA}: restore it with the version that wrote it, then run hub migrate with this one",
            file=str(path),
        )
    if missing:
        raise SettingsError(f"lacks {', '.join(missing)}", file=str(path))
    for name, digest in manifest.digests.items():
        if _digest(archive, name, path) != digest:
            raise SettingsError(f"the table {name} is not as it was written", file=str(path))
    return manifest


def is_empty(tx: Tx) -> bool:
    """Say whether nothing was ever done with this store (what ties it to its key file does not count)."""
    tx.cursor.execute("SELECT 1 FROM acts LIMIT 1")
    return tx.cursor.fetchone() is None


def load(tx: Tx, archive: zipfile.ZipFile, manifest: Manifest, *, by: str, new_bus: bool = False) -> None:
    """Put a backup in the place of everything the store holds.

    ``new_bus``: the bus is another one than at the backup, so its partitions are read from their beginning.
    """
    _empty(tx)
    for table in TABLES:
        with archive.open(_member(table)) as lines:
            _insert(tx, table, _rows(lines, table))
    _guard(tx)
    if new_bus:
        tx.cursor.execute("DELETE FROM jobs WHERE kind = 'bus'")
    tx.cursor.execute("UPDATE jobs SET holder = NULL, lease = 0")  # their holders are of another time
    _set_last_act(tx, manifest.last_act + GAP)
    known = {"backup_at": manifest.at, "backup_acts": manifest.last_seq}
    stop_writes(tx, Stop.RESTORED, by=by, known=known, again=True)


# reading ------------------------------------------------------------------------------------------------------


def _read(tx: Tx, table: Table) -> Iterable[Sequence[Any]]:
    columns = ", ".join(quote(column.name) for column in table.columns)
    if tx.dialect == "sqlite":
        return tx.conn.connection.cursor().execute(f"SELECT {columns} FROM {quote(table.name)}")  # type: ignore[no-any-return]  # the driver's cursor is its own iterator
    return _copied(tx, f"COPY {quote(table.name)} ({columns}) TO STDOUT (FORMAT BINARY)", table)


def _copied(tx: Tx, text: str, table: Table) -> Iterator[Sequence[Any]]:
    driver: Any = tx.conn.connection.driver_connection
    with driver.cursor().copy(text) as copy:
        copy.set_types(_types(table))
        yield from copy.rows()


def _types(table: Table) -> list[str]:
    kinds = {"BIGINT": "int8", "INTEGER": "int4", "BOOLEAN": "bool", "TEXT": "text"}
    return [
        "bytea" if isinstance(column.type, LargeBinary) else kinds[str(column.type)]
        for column in table.columns
    ]


def _write(out: IO[bytes], rows: Iterable[Sequence[Any]], table: Table) -> tuple[int, str]:
    sealed = _sealed(table)
    digest, count = hashlib.sha256(), 0
    for row in rows:
        line = orjson.dumps([
            base64.b64encode(value).decode() if at in sealed and value is not None else value
            for at, value in enumerate(row)
        ]) + b"\n"  # fmt: skip
        digest.update(line)
        out.write(line)
        count += 1
    return count, digest.hexdigest()


def _sealed(table: Table) -> frozenset[int]:
    return frozenset(at for at, column in enumerate(table.columns) if isinstance(column.type, LargeBinary))


def _last_act(tx: Tx) -> int:
    text = {"sqlite": "SELECT last_act FROM hub", "postgresql": "SELECT last_value FROM acts_id"}
    tx.cursor.execute(text[tx.dialect])
    return int(tx.cursor.fetchone()[0])


def _digest(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(_member(schema.metadata.tables[name])) as lines:
            while part := lines.read(1 << 20):
                digest.update(part)
    except zipfile.BadZipFile as error:
        raise SettingsError(f"the table {name} is damaged: {error}", file=str(path)) from error
    return digest.hexdigest()


def _member(table: Table) -> str:
    return f"tables/{table.name}.jsonl"


# writing ------------------------------------------------------------------------------------------------------


def _rows(lines: IO[bytes], table: Table) -> Iterator[tuple[Any, ...]]:
    sealed = _sealed(table)
    booleans = {at for at, column in enumerate(table.columns) if str(column.type) == "BOOLEAN"}
    for line in lines:
        yield tuple(
            base64.b64decode(value)
            if at in sealed and value is not None
            else bool(value)
            if at in booleans
            else value
            for at, value in enumerate(orjson.loads(line))
        )


def _insert(tx: Tx, table: Table, rows: Iterator[tuple[Any, ...]]) -> None:
    columns = ", ".join(quote(column.name) for column in table.columns)
    if tx.dialect == "sqlite":
        marks = ", ".join("?" * len(table.columns))
        text = f"INSERT INTO {quote(table.name)} ({columns}) VALUES ({marks})"
        while chunk := list(islice(rows, CHUNK)):
            tx.cursor.executemany(text, chunk)
        return
    driver: Any = tx.conn.connection.driver_connection
    with driver.cursor().copy(f"COPY {quote(table.name)} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(_types(table))
        for row in rows:
            copy.write_row(row)


def _empty(tx: Tx) -> None:
    """Take the triggers away that keep the journal from being emptied, and empty every table."""
    if tx.dialect == "sqlite":
        tx.cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in tx.cursor.fetchall():
            tx.cursor.execute(f"DROP TRIGGER {quote(name)}")
        for table in reversed(TABLES):
            tx.cursor.execute(f"DELETE FROM {quote(table.name)}")
        return
    for name in _GUARDED:
        tx.cursor.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
    tx.cursor.execute(f"TRUNCATE {', '.join(quote(table.name) for table in TABLES)}")


def _guard(tx: Tx) -> None:
    if tx.dialect == "sqlite":
        for text in triggers("sqlite"):
            tx.cursor.execute(text)
        return
    for name in _GUARDED:
        tx.cursor.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")


def _set_last_act(tx: Tx, number: int) -> None:
    tx.cursor.execute(f"UPDATE hub SET last_act = {number}")
    if tx.dialect == "postgresql":
        tx.cursor.execute(f"SELECT setval('acts_id', {number})")
