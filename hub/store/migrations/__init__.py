"""Bringing a store to this program's schema.

A new store is created from :mod:`hub.store.schema` in one go and stamped; an older one is upgraded by Alembic,
without an environment file. Either happens under a store lock, in one transaction, so that of several processes
that start together one does the work. Only expand steps are run here: an older program that knows ``min_reader``
goes on working.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from hub.errors import SettingsError
from hub.store import schema
from hub.store.triggers import triggers

if TYPE_CHECKING:
    from hub.clock import Clock

__all__ = ["ADDED", "VERSIONS", "bring_up", "create_statements", "migrate", "upgrade"]

VERSIONS = Path(__file__).parent / "versions"
"""Where Alembic finds the revisions; their names are the schema numbers with four digits."""

ADDED: Mapping[str, frozenset[str]] = {"0002": frozenset({"tokens"})}
"""Revision -> the tables that came with it; all others are of the first."""

_LOCK = 0x6875625F73746F72  # "hub_stor": any number that nobody else locks
_BEGIN = {"sqlite": "BEGIN EXCLUSIVE", "postgresql": f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK})"}
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_EXISTS = {
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'hub'",
    # not to_regclass: after the wait for the lock it may still answer from before
    "postgresql": "SELECT count(*) FROM pg_class WHERE relname = 'hub' AND relkind = 'r' "
    "AND relnamespace = current_schema()::regnamespace",
}
_STAMP = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"


def migrate(conn: Connection, dialect: str, clock: Clock, *, versions: Path = VERSIONS) -> None:
    """Create or upgrade the store behind ``conn`` (in autocommit mode); if nothing is to do, two short queries.

    Raises:
        SettingsError: the store was changed by a newer program in a way that this one must not read.
    """
    cursor = conn.connection.cursor()  # the driver's: SQLAlchemy must not take part in BEGIN and COMMIT
    try:
        if _is_current(cursor, dialect):
            return
        cursor.execute(_BEGIN[dialect])
        try:
            if not _is_current(cursor, dialect):
                _create(cursor, dialect, clock) if _found(cursor, dialect) is None else upgrade(
                    conn, versions
                )
                clock.crash_point("store.migrating")
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
    finally:
        cursor.close()
        conn.rollback()  # ends what Alembic made SQLAlchemy believe; the driver has nothing open any more


def bring_up(conn: Connection, dialect: str, clock: Clock) -> tuple[int | None, int]:
    """As :func:`migrate`; return the schema numbers before (None: there was no store) and now.

    Raises:
        SettingsError: the store is newer than this program.
    """
    cursor = conn.connection.cursor()
    try:
        before = _found(cursor, dialect)
    finally:
        cursor.close()
        conn.rollback()
    if before is not None and before[0] > schema.SCHEMA:
        raise SettingsError(
            f"the store has schema {before[0]}, this program knows {schema.SCHEMA}: nothing was changed, install "
            "the newer version",
            field="store",
        )
    migrate(conn, dialect, clock)
    return (None if before is None else before[0]), schema.SCHEMA


@cache
def create_statements(dialect: str, *, only: frozenset[str] | None = None) -> tuple[str, ...]:
    """Return the DDL of a new store: tables, indexes, sequence, triggers; ``only``: these tables and their indexes."""
    compiler = URL.create(_DRIVERS[dialect]).get_dialect()()
    tables = [table for table in schema.metadata.sorted_tables if only is None or table.name in only]
    indexes = [
        index for table in tables for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    made: list[ExecutableDDLElement] = [*map(CreateTable, tables), *map(CreateIndex, indexes)]
    texts = (str(item.compile(dialect=compiler)) for item in made)
    return (*texts, *(triggers(dialect) if only is None else ()))


def upgrade(conn: Connection, versions: Path = VERSIONS) -> None:
    """Run the missing Alembic revisions inside the transaction that is open, and note the new schema number."""
    from alembic.config import Config  # noqa: PLC0415 - 100 ms that an ordinary start does not need
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(versions.parent))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)
    head = f"{schema.SCHEMA:04d}"
    if not conn.in_transaction():
        conn.begin()  # in SQLAlchemy's eyes: so that Alembic neither commits nor rolls back, which is ours to do
    with EnvironmentContext(config, script, fn=lambda now, _: script._upgrade_revs(head, now)) as environment:  # noqa: SLF001 - as alembic.command.upgrade does
        environment.configure(connection=conn)
        environment.run_migrations()
    conn.exec_driver_sql(f"UPDATE hub SET schema = {schema.SCHEMA}")


def _found(cursor: Any, dialect: str) -> tuple[int, int] | None:
    """Return (schema, min_reader) of the store, None if there is none yet."""
    cursor.execute(_EXISTS[dialect])
    if not cursor.fetchone()[0]:
        return None
    cursor.execute("SELECT schema, min_reader FROM hub")
    number, min_reader = cursor.fetchone()
    return number, min_reader


def _is_current(cursor: Any, dialect: str) -> bool:
    found = _found(cursor, dialect)
    if found is None:
        return False
    number, min_reader = found
    if min_reader > schema.SCHEMA:
        raise SettingsError(
            f"the store has schema {number} and needs a program that knows schema {min_reader}; this one knows "
            f"{schema.SCHEMA}: install a newer version",
            field="store",
        )
    return number >= schema.SCHEMA


def _create(cursor: Any, dialect: str, clock: Clock) -> None:
    epoch = clock.token(16).hex()
    literal = f"x'{epoch}'" if dialect == "sqlite" else f"'\\x{epoch}'"
    row = f"1, {schema.SCHEMA}, {schema.MIN_READER}, {literal}"
    texts = [
        *create_statements(dialect),
        _STAMP,
        f"INSERT INTO alembic_version VALUES ('{schema.SCHEMA:04d}')",
        f"INSERT INTO hub (one, schema, min_reader, epoch) VALUES ({row})",
    ]
    for text in texts if dialect == "sqlite" else [";\n".join(texts)]:  # PostgreSQL: one round trip
        cursor.execute(text)
