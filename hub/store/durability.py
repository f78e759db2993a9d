"""Opening connections, and refusing settings under which a commit could be lost.

A commit that the hub has seen is a promise to others (a sent receipt is not sent again). So SQLite must be in WAL
mode with ``synchronous=FULL`` and PostgreSQL must not have ``synchronous_commit``, ``fsync`` or
``full_page_writes`` off. What a connection really uses is read back after it is opened, for each connection.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool, StaticPool

from hub.errors import SettingsError
from hub.store import dialects
from hub.store.arrays import register

__all__ = ["READERS", "WRITERS", "open_postgres", "open_sqlite", "refuse_unsafe_postgres", "store_url"]

READERS = 4
"""Connections that read at the same time, beside the writers."""
WRITERS = 8
"""PostgreSQL: transactions that run at the same time in this process."""

_FULL = 2  # PRAGMA synchronous: 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA
_SETTINGS = {"synchronous": "FULL", "journal_mode": "WAL", "busy_timeout": "5000"}
_BUSY_TRIES, _BUSY_PAUSE = 500, 0.01  # seconds
_opening = threading.Lock()
_never = threading.Event()
_BYTE_ORDER = {"C", "POSIX", "C.UTF-8", "C.utf8"}


def store_url(url: str) -> URL:
    """Parse a store's address.

    Raises:
        SettingsError: it is neither SQLite nor PostgreSQL, or unreadable (the address is not repeated: it may
            hold a password).
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(
            "not a store address: sqlite:////path/hub.db or postgresql://...", field="store"
        ) from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite":
        raise SettingsError(f"{parsed.drivername} is no store: use sqlite or postgresql", field="store")
    unknown = sorted(set(parsed.query) - set(_SETTINGS))
    if unknown:
        raise SettingsError(f"unknown SQLite settings in the address: {', '.join(unknown)}", field="store")
    return parsed


def open_sqlite(url: URL, *, readers: bool) -> tuple[Engine, Engine | None]:
    """Return an engine around the one writing connection, and one for readers (not for memory or inline).

    A file is created with mode 0600; SQLite gives its -wal and -shm files the same mode.

    Raises:
        SettingsError: the folder does not exist or cannot be written; a durability setting is unsafe.
    """
    path = url.database if url.database and url.database != ":memory:" else None
    settings = _SETTINGS | {name: str(value) for name, value in url.query.items()}
    try:
        with _opening:
            if path is not None:
                _create(Path(path))
            writer = _connect(path, settings)
    except sqlite3.DatabaseError as error:
        raise SettingsError(f"cannot use {path or 'memory'} as a store: {error}", field="store") from error
    engine = create_engine("sqlite://", creator=lambda: writer, poolclass=StaticPool)
    if path is None or not readers:
        return engine, None
    return engine, create_engine(
        "sqlite://",
        creator=lambda: _connect(path, settings, reader=True),
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=READERS,
    )


def _create(path: Path) -> None:
    """Make the file if there is none. An existing one is left closed: closing it would drop SQLite's locks on it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise SettingsError(f"cannot open {path}: {error.strerror}", field="store") from error


def _connect(path: str | None, settings: dict[str, str], *, reader: bool = False) -> sqlite3.Connection:
    driver = sqlite3.connect(
        path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        for name in (
            "busy_timeout",
            "journal_mode",
            "synchronous",
        ):  # WAL may have to wait for another process
            _set(driver, name, settings[name])
        for pragma in ("foreign_keys=ON", "recursive_triggers=ON", "fullfsync=ON", "temp_store=MEMORY"):
            driver.execute(f"PRAGMA {pragma}")
        if reader:
            driver.execute("PRAGMA query_only=ON")
        _check_sqlite(driver, memory=path is None)
    except BaseException:
        driver.close()
        raise
    return driver


def _set(driver: sqlite3.Connection, name: str, value: str) -> None:
    if not value.isalnum():  # a pragma takes no parameter
        raise SettingsError(f"{name}={value!r} is not a value SQLite knows", field=name)
    for _ in range(_BUSY_TRIES):  # the change to WAL does not wait for another process that is making it too
        try:
            driver.execute(f"PRAGMA {name}={value}").fetchall()
        except sqlite3.OperationalError as error:
            if not dialects.is_busy(error):
                raise
            _never.wait(_BUSY_PAUSE)
        else:
            return
    raise SettingsError(f"{name} cannot be set: another process keeps the file locked", field=name)


def _check_sqlite(driver: sqlite3.Connection, *, memory: bool) -> None:
    mode = driver.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != ("memory" if memory else "wal"):
        raise SettingsError(f"journal_mode is {mode}; a store needs wal (a local disk)", field="journal_mode")
    level = driver.execute("PRAGMA synchronous").fetchone()[0]
    if level < _FULL:
        name = ("OFF", "NORMAL")[level]
        raise SettingsError(f"synchronous is {name}; a commit could be lost: use FULL", field="synchronous")


def open_postgres(url: URL, *, size: int = WRITERS + READERS) -> Engine:
    """Return an engine whose connections are checked when they are opened; the hub writes BEGIN and COMMIT itself.

    Raises (at the first connection):
        SettingsError: a durability setting is unsafe, or the database does not compare text by bytes in UTF-8.
    """
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=size,
        max_overflow=0,
        pool_pre_ping=False,
        use_native_hstore=False,
    )
    prepare: Callable[[Any, Any], None] = _prepare
    event.listen(engine, "connect", prepare)
    return engine


_FROZEN = "SET idle_in_transaction_session_timeout = '10s'"
"""A process that is frozen inside a transaction holds its locks no longer than its leases."""
_CHECK = """
SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
       datcollate, pg_encoding_to_char(encoding)
FROM pg_database WHERE datname = current_database()
"""


def _prepare(driver: Any, _record: Any) -> None:
    register(driver)
    driver.execute(_FROZEN)
    commit, fsync, pages, collation, encoding = driver.execute(_CHECK).fetchone()
    refuse_unsafe_postgres({"synchronous_commit": commit, "fsync": fsync, "full_page_writes": pages})
    if collation not in _BYTE_ORDER:
        raise SettingsError(
            f"lc_collate is {collation}; create the database with lc_collate 'C'", field="lc_collate"
        )
    if encoding != "UTF8":
        raise SettingsError(f"the database's encoding is {encoding}; a store needs UTF8", field="encoding")


def refuse_unsafe_postgres(found: Mapping[str, str]) -> None:
    """Look at PostgreSQL's own settings, by name.

    Raises:
        SettingsError: one of them would let a commit be lost; it is named in ``field``.
    """
    for name, value in found.items():
        if value == "off":
            raise SettingsError(f"{name} is off; a commit could be lost: switch it on", field=name)
