"""The durable log as a SQLite file: its tables, and what is done to them inside one transaction.

``partitions`` holds the two ends of each partition, so that offsets stay dense and are never given twice, even
after everything was trimmed away. ``at`` never falls within a partition, whatever the clock does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orjson import dumps, loads

from hub.bus.port import MAX_MESSAGE, Bounds, Message, Placed, Topic, partition_of
from hub.errors import Cause, IntegrityError, Refused, SettingsError

if TYPE_CHECKING:
    from hub.clock import Clock

__all__ = [
    "Group",
    "Row",
    "bounds_of",
    "check_offset",
    "connect",
    "cut",
    "is_used",
    "pack",
    "prepare",
    "read_events",
]

Row = tuple[int, str, str, bytes]
"""Partition, key, headers as JSON, body."""

_FORMAT = 1
_FULL = 2  # PRAGMA synchronous
_MOST_BYTES = 8_000_000  # of one batch that is read, past its first message
_TRIMMED = 2_000  # messages removed in one transaction: accepting must not wait long for it

_TABLES = """
CREATE TABLE log (format INTEGER NOT NULL, cluster TEXT NOT NULL);
CREATE TABLE partitions (topic TEXT NOT NULL, "partition" INTEGER NOT NULL, first INTEGER NOT NULL,
    next INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (topic, "partition")) WITHOUT ROWID;
CREATE TABLE events (topic TEXT NOT NULL, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    at INTEGER NOT NULL, key TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (topic, "partition", "offset"));
"""
_ENDS = 'SELECT topic, "partition", first, next, at FROM partitions'
_MOVE = 'UPDATE partitions SET first = ?, next = ?, at = ? WHERE topic = ? AND "partition" = ?'
_APPEND = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"
_TRIM = 'DELETE FROM events WHERE topic = ? AND "partition" = ? AND "offset" < ?'
_BOUNDS = 'SELECT first, next FROM partitions WHERE topic = ? AND "partition" = ?'
_READ = (
    'SELECT "offset", key, headers, body FROM events '
    'WHERE topic = ? AND "partition" = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?'
)
_TOUCH = "UPDATE partitions SET at = at + 1"  # what does not change is not written
_AT = 'SELECT at FROM events WHERE topic = ? AND "partition" = ? AND "offset" = ?'


def connect(path: Path | None, *, reader: bool = False) -> sqlite3.Connection:
    """Open the log's file (made 0600; None: in memory) and check that a commit really reaches the disk.

    Raises:
        SettingsError: the file cannot be used, or not durably; it is named in ``file``.
    """
    try:
        if path is not None and not path.exists():
            _create(path)
        conn = sqlite3.connect(str(path or ":memory:"), isolation_level=None, check_same_thread=False)
        conn.execute("PRAGMA busy_timeout = 5000")
        mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        for pragma in ("synchronous = FULL", "fullfsync = ON", "journal_size_limit = 67108864"):
            conn.execute(f"PRAGMA {pragma}")
        if reader:
            conn.execute("PRAGMA query_only = ON")
        level = conn.execute("PRAGMA synchronous").fetchone()[0]
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"cannot be used as the log: {error}", file=str(path)) from error
    if level < _FULL or (path is not None and mode != "wal"):
        conn.close()
        raise SettingsError(f"journal_mode {mode}, synchronous {level}: needs a local disk", file=str(path))
    return conn


def _create(path: Path) -> None:
    """Make the file with its mode, if it is not there.

    A file that is there must never be opened beside SQLite: closing it again would drop every lock this process holds
    on it (POSIX), another process would believe it was alone and remove the write-ahead log under us.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def prepare(conn: sqlite3.Connection, topics: Mapping[str, Topic], clock: Clock) -> str:
    """Make what is missing (tables, topics) and return the log's cluster id.

    Raises:
        SettingsError: the file was written by a newer program.
    """
    conn.execute("BEGIN IMMEDIATE")  # of several processes that start together one does it
    try:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'log'").fetchone():
            for statement in _TABLES.split(";"):
                conn.execute(statement)
            conn.execute("INSERT INTO log VALUES (?, ?)", (_FORMAT, clock.token(16).hex()))
        number, cluster = conn.execute("SELECT format, cluster FROM log").fetchone()
        if number != _FORMAT:
            raise SettingsError(f"the log has format {number}, this program knows {_FORMAT}")
        known = {topic for (topic,) in conn.execute("SELECT DISTINCT topic FROM partitions")}
        new = [(t.name, p) for t in topics.values() if t.name not in known for p in range(t.partitions)]
        conn.executemany("INSERT INTO partitions VALUES (?, ?, 0, 0, 0)", new)
        conn.execute("COMMIT")
    except BaseException:
        conn.execute("ROLLBACK")
        raise
    return str(cluster)


def is_used(path: Path) -> bool:
    """Say whether a log lies there and ever held a message; one that cannot be read counts as used."""
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        with contextlib.closing(sqlite3.connect(path)) as conn:
            return conn.execute("SELECT 1 FROM partitions WHERE next > 0 LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return True


def pack(messages: Sequence[Message], partitions: int) -> list[Row]:
    """Return messages as rows for :meth:`Group.place`.

    Raises:
        Refused: a message is too large, or its key is no Unicode text.
    """
    rows = []
    for message in messages:
        key, headers, body = message.key, dumps(message.headers, default=dict), message.body
        try:
            raw = key.encode()
        except UnicodeEncodeError as error:
            raise Refused("a key is not valid Unicode") from error
        size = len(raw) + len(headers) + len(body)
        if size > MAX_MESSAGE:
            raise Refused(f"a message of {size} bytes; at most {MAX_MESSAGE}")
        rows.append((partition_of(raw, partitions), key, headers.decode(), body))
    return rows


class Group:
    """What is written in one transaction. Nothing a task does may be answered before :meth:`commit` returned."""

    def __init__(self, conn: sqlite3.Connection, now: int) -> None:
        """Begin; ``now``: µs since the epoch."""
        self._conn = conn
        self._now = now
        self._rows: list[tuple[object, ...]] = []
        self.moved: set[tuple[str, int]] = set()
        conn.execute("BEGIN IMMEDIATE")
        self._ends = {
            (topic, partition): ends for topic, partition, *ends in conn.execute(_ENDS)
        }  # first, next, at

    def place(self, topic: str, rows: Sequence[Row]) -> list[Placed]:
        """Append rows."""
        placed = []
        for partition, key, headers, body in rows:
            which = topic, partition
            ends = self._ends[which]
            offset = ends[1]
            ends[1] = offset + 1
            ends[2] = max(ends[2], self._now)
            self.moved.add(which)
            self._rows.append((topic, partition, offset, ends[2], key, headers, body))
            placed.append(Placed(partition, offset))
        return placed

    def trim(self, topic: str, partition: int, before: int) -> int:
        """Remove messages below ``before``, a bounded number; return how many went.

        Raises:
            IntegrityError: ``Cause.POSITION``.
        """
        ends = self._ends.get((topic, partition))
        if ends is None or before > ends[1]:
            raise _impossible(topic, partition, before)
        first = min(before, ends[0] + _TRIMMED)
        if first <= ends[0]:
            return 0
        self._flush()
        self._conn.execute(_TRIM, (topic, partition, first))
        removed, ends[0] = first - ends[0], first
        self.moved.add((topic, partition))
        return int(removed)

    def touch(self) -> None:
        """Write something that means nothing: a trial whether the disk takes anything."""
        self._conn.execute(_TOUCH)

    def commit(self) -> None:
        """Make it durable."""
        self._flush()
        self._conn.executemany(_MOVE, [(*self._ends[which], *which) for which in sorted(self.moved)])
        self._conn.execute("COMMIT")

    def rollback(self) -> None:
        """Undo it, if SQLite has not done so itself (disk full)."""
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")

    def _flush(self) -> None:
        self._conn.executemany(_APPEND, self._rows)
        self._rows = []


def bounds_of(conn: sqlite3.Connection, topic: str, partition: int) -> Bounds:
    """Return the ends of a partition.

    Raises:
        IntegrityError: ``Cause.POSITION``: there is no such partition.
    """
    found = conn.execute(_BOUNDS, (topic, partition)).fetchone()
    if found is None:
        raise IntegrityError(Cause.POSITION, f"the log has no partition {partition} of {topic!r}")
    return Bounds(*found)


def check_offset(bounds: Bounds, topic: str, partition: int, offset: int) -> None:
    """Refuse an offset that no reader of this log can have.

    Raises:
        IntegrityError: ``Cause.POSITION``.
    """
    if not bounds.first <= offset <= bounds.next:
        raise _impossible(topic, partition, offset, bounds)


def read_events(
    conn: sqlite3.Connection, which: tuple[str, int], offset: int, limit: int
) -> tuple[Message, ...]:
    """Return messages from ``offset`` on, on one snapshot; fewer than ``limit`` if they are very large.

    Raises:
        IntegrityError: ``Cause.POSITION``: an impossible offset, or a message is missing from the file.
    """
    events: list[Message] = []
    size = 0
    conn.execute("BEGIN")
    try:
        bounds = bounds_of(conn, *which)
        check_offset(bounds, *which, offset)
        for at, key, headers, body in conn.execute(_READ, (*which, offset, limit)):
            if at != offset + len(events):
                raise _impossible(*which, offset + len(events), bounds)
            events.append(Message(key, loads(headers), body))
            size += len(body)
            if size > _MOST_BYTES:
                break
        if not events and limit > 0 and offset < bounds.next:
            raise _impossible(*which, offset, bounds)
    finally:
        conn.execute("ROLLBACK")
    return tuple(events)


def cut(conn: sqlite3.Connection, topic: str, partition: int, before: int) -> int:
    """Return the offset of the first message that came at or after ``before`` (µs), by halving."""
    bounds = bounds_of(conn, topic, partition)
    low, high = bounds.first, bounds.next
    while low < high:
        middle = (low + high) // 2
        found = conn.execute(_AT, (topic, partition, middle)).fetchone()
        if found is None or found[0] < before:  # None: trimmed meanwhile
            low = middle + 1
        else:
            high = middle
    return low


def _impossible(topic: str, partition: int, offset: int, bounds: Bounds | None = None) -> IntegrityError:
    has = "" if bounds is None else f", which holds {bounds.first} to {bounds.next}"
    return IntegrityError(
        Cause.POSITION, f"offset {offset} of {topic!r} partition {partition} cannot be{has}"
    )
