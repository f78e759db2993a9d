"""What differs between SQLite and PostgreSQL around a transaction: begin, act numbers, which errors are run again.

The statements themselves are in :mod:`hub.store.sql`, settings in :mod:`hub.store.durability`.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg

__all__ = ["BEGIN", "NEXT_ACT", "RERUN", "is_away", "is_broken", "is_busy", "is_unwritable", "sqlstate"]

RERUN = frozenset({"40P01", "40001", "23505", "25P03"})
"""SQLSTATEs after which a transaction function is run again: deadlock, serialization failure, unique violation, and a
transaction that the server ended because nothing was heard of it."""

_UNWRITABLE = frozenset({"53100", "58030"})
"""SQLSTATEs of PostgreSQL: disk full, I/O error."""

_AWAY = frozenset({"53300", "57P01", "57P02", "57P03"})
"""SQLSTATEs: no connection is left, the server stops, it crashed, it is starting or recovering."""
_TURNED_AWAY = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "no password supplied",
)
"""What a server says to whom it never lets in. A failure to connect has no SQLSTATE; text that is not known may pass."""

_STATE = "SELECT epoch, writes, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM hub"
BEGIN = {
    ("sqlite", "write"): "BEGIN IMMEDIATE",
    ("sqlite", "read"): "BEGIN",
    ("sqlite", "state"): "SELECT epoch, writes FROM hub",
    ("postgresql", "write"): f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_STATE}",
    ("postgresql", "read"): f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_STATE}",
}
"""How a transaction begins. PostgreSQL: one round trip that returns epoch, writes and the server's time in µs."""

NEXT_ACT = {
    "sqlite": "UPDATE hub SET last_act = last_act + 1 RETURNING last_act",
    "postgresql": "SELECT nextval('acts_id')",
}
"""Draw the next act number. Numbers drawn after a row lock rise per locked row; gaps are normal."""


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's five-letter code of a driver's or SQLAlchemy's error, None if it has none."""
    return getattr(getattr(error, "orig", None) or error, "sqlstate", None)


def is_away(error: BaseException) -> bool:
    """Tell whether PostgreSQL does not answer now but may later: it is down, starting, recovering or full."""
    found = getattr(error, "orig", None) or error
    if not isinstance(found, psycopg.OperationalError):
        return False
    if found.sqlstate is not None:
        return found.sqlstate in _AWAY or found.sqlstate.startswith("08")
    return not any(said in str(found) for said in _TURNED_AWAY)


def is_broken(driver: Any) -> bool:
    """Tell whether a PostgreSQL connection is lost (psycopg's own view of it)."""
    return bool(driver.closed or driver.broken)


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether SQLite gave up because another process holds the file (any kind of SQLITE_BUSY)."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def is_unwritable(error: BaseException) -> bool:
    """Tell whether a database could not write for the disk's sake: full, failing, read-only."""
    if not isinstance(error, sqlite3.OperationalError):
        return sqlstate(error) in _UNWRITABLE
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
    )
