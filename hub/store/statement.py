"""What every statement has in common: its text for both engines, kept so that tests can ask how it would run."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Boolean, Table

from hub.store import schema

__all__ = ["Lock", "Statement", "for_sqlite", "keep", "locking", "quote", "statements", "where_for_sqlite"]

Lock = Literal["update", "share", "update skip locked"]

_LOCKS: dict[str, str] = {"update": "FOR UPDATE", "share": "FOR SHARE", "update skip locked": "FOR UPDATE"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as both engines get it (SQLite: for one row); ``table`` is None for a hand-written one.

    ``module`` names where it was built.
    """

    module: str
    verb: str
    table: str | None
    sqlite: str
    postgresql: str

    def text(self, dialect: str) -> str:
        """Return the text for ``sqlite`` or ``postgresql``."""
        return self.sqlite if dialect == "sqlite" else self.postgresql


_STATEMENTS: list[Statement] = []


def statements() -> Sequence[Statement]:
    """Return every statement built so far (import the modules first)."""
    return tuple(_STATEMENTS)


def keep(verb: str, table: Table | None, sqlite: str, postgresql: str) -> Statement:
    """Make a statement and keep it; call it straight from a factory (it looks who called that one)."""
    module = sys._getframe(2).f_globals["__name__"]  # noqa: SLF001 - whoever called the factory
    statement = Statement(module, verb, None if table is None else table.name, sqlite, postgresql)
    _STATEMENTS.append(statement)
    return statement


def quote(name: str) -> str:
    """Quote a name as both engines do: some columns are called like keywords."""
    return f'"{name}"'


_BOOLEANS = sorted(
    {c.name for t in schema.metadata.tables.values() for c in t.columns if isinstance(c.type, Boolean)}
)
_BARE_BOOLEAN = re.compile(rf"\b({'|'.join(_BOOLEANS)})\b(?!\s*=)")


def for_sqlite(predicate: str) -> str:
    """Write boolean columns as SQLite's partial indexes do, or it would not use them."""
    return _BARE_BOOLEAN.sub(r"\1 = 1", predicate)


def where_for_sqlite(text: str) -> str:
    """Do the same to a whole statement, behind WHERE only: a column list names the booleans too."""
    head, where, tail = text.partition("WHERE")
    return head + where + for_sqlite(tail)


def locking(lock: str | None, table: str) -> str:
    """Return PostgreSQL's words for a lock on the rows of a table."""
    if lock is None:
        return ""
    skip = " SKIP LOCKED" if lock.endswith("skip locked") else ""
    return f" {_LOCKS[lock]} OF {quote(table)}{skip}"
