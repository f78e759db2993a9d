"""How a store gets its schema: created, upgraded, refused, by several at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.clock import SystemClock
from hub.errors import SettingsError
from hub.store import Store, Tx, durability, migrations, schema
from tests.stores import ask, new_store_url

NOW, NEXT = schema.SCHEMA, schema.SCHEMA + 1
NEXT_REVISION = f"""
from alembic import op
import sqlalchemy as sa
revision = "{NEXT:04d}"
down_revision = "{NOW:04d}"
def upgrade():
    op.add_column("jobs", sa.Column("colour", sa.Text))
    op.create_table("shelves", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of a store that does not exist yet, once per engine."""
    return new_store_url(request.param, request)


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[[], Store]]:
    """Open that store as often as asked; all are closed at the end."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(Store.open(url, SystemClock()))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


def described(tx: Tx) -> list[Any]:
    """Everything a store's schema consists of, in the engine's own words."""
    if tx.dialect == "sqlite":
        return sorted(
            ask(tx, "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'alembic_version'")
        )
    texts = (
        """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
        WHERE table_schema = 'public'""",
        "SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', '' FROM pg_trigger WHERE NOT tgisinternal",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
        "SELECT 'function', proname, prosrc, '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "SELECT 'sequence', sequencename, data_type::text, '', '' FROM pg_sequences WHERE schemaname = 'public'",
    )
    found = [tuple(map(str, row)) for text in texts for row in ask(tx, text)]
    return sorted(row for row in found if "alembic" not in row[0])


def facts(tx: Tx) -> tuple[Any, ...]:
    return (
        *ask(tx, "SELECT schema, min_reader FROM hub")[0],
        *ask(tx, "SELECT version_num FROM alembic_version")[0],
    )


def test_a_store_made_by_alembic_equals_a_new_one(open_store: Callable[[], Store], tmp_path: Path) -> None:
    store = open_store()
    made = store.read_now(described)
    tables = {table.name for table in schema.metadata.sorted_tables}
    assert tables <= {row[1] if store.dialect == "sqlite" else row[0] for row in made}

    def wipe(tx: Tx) -> None:
        if tx.dialect == "postgresql":
            ask(tx, "DROP SCHEMA public CASCADE")
            ask(tx, "CREATE SCHEMA public")
            migrations.upgrade(tx.conn)
            assert described(tx) == made
            raise KeyboardInterrupt  # roll it back

    if store.dialect == "postgresql":
        with pytest.raises(KeyboardInterrupt):
            store.run_now(wipe)
        return
    engine, _ = durability.open_sqlite(
        durability.store_url(f"sqlite:///{tmp_path / 'other.db'}"), readers=False
    )
    with engine.connect() as conn:
        migrations.upgrade(conn)
        rows = conn.exec_driver_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'alembic_version'"
        ).all()
        driver: Any = conn.connection.driver_connection
    driver.close()
    engine.dispose()
    assert sorted(map(tuple, rows)) == made


def test_opening_twice_changes_nothing(open_store: Callable[[], Store]) -> None:
    first = open_store()
    made, epoch = first.read_now(described), first.epoch
    assert first.read_now(facts) == (schema.SCHEMA, schema.MIN_READER, f"{schema.SCHEMA:04d}")
    again = open_store()
    assert (again.read_now(described), again.epoch) == (made, epoch)


def test_several_that_open_a_new_store_at_once_make_one(open_store: Callable[[], Store]) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = [future.result() for future in [pool.submit(open_store) for _ in range(4)]]
    assert len({store.epoch for store in stores}) == 1


def test_several_processes_that_open_a_new_store_at_once_make_one(url: str) -> None:
    script = (
        "import sys; from hub.clock import SystemClock; from hub.store import Store; sys.stdin.readline(); "
        "store = Store.open(sys.argv[1], SystemClock()); print(store.epoch.hex()); store.close()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    others = [
        subprocess.Popen(
            [sys.executable, "-c", script, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for _ in range(3)
    ]
    said = {other.communicate("go\n", timeout=20)[0] for other in others}
    assert len(said) == 1
    assert [other.returncode for other in others] == [0, 0, 0]


def test_two_new_stores_have_different_epochs(tmp_path: Path) -> None:
    stores = [Store.open("sqlite://", SystemClock(), inline=True) for _ in range(2)]
    assert stores[0].epoch != stores[1].epoch
    for store in stores:
        store.close()


@pytest.fixture
def next_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make this program one that knows the next schema; return its revisions' folder."""
    versions = tmp_path / "next" / "versions"
    shutil.copytree(migrations.VERSIONS, versions, ignore=shutil.ignore_patterns("__pycache__"))
    (versions / f"v{NEXT:04d}.py").write_text(NEXT_REVISION)
    monkeypatch.setattr(schema, "SCHEMA", NEXT)
    monkeypatch.setattr(migrations.migrate, "__kwdefaults__", {"versions": versions})
    return versions


def test_an_older_store_is_upgraded_and_an_older_program_goes_on(
    open_store: Callable[[], Store], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_store()
    old.run_now(lambda tx: tx.journal("old", "was here", {}))
    request.getfixturevalue("next_program")
    new = open_store()
    assert new.read_now(facts) == (NEXT, 1, f"{NEXT:04d}")
    new.run_now(lambda tx: ask(tx, "INSERT INTO shelves VALUES (1)"))
    assert new.read_now(ask, "SELECT colour FROM jobs") == []
    assert new.epoch == old.epoch
    assert new.read_now(ask, "SELECT actor FROM acts") == [("old",)]
    monkeypatch.undo()  # the older program again
    old.run_now(lambda tx: tx.journal("old", "still here", {}))
    assert open_store().read_now(facts) == (NEXT, 1, f"{NEXT:04d}")


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    open_store: Callable[[], Store], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_store().read_now(described)
    versions: Path = request.getfixturevalue("next_program")
    (versions / f"v{NEXT:04d}.py").write_text(f"{NEXT_REVISION}    raise RuntimeError('no space')\n")
    with pytest.raises(RuntimeError, match="no space"):
        open_store()
    monkeypatch.undo()
    store = open_store()
    assert store.read_now(described) == made
    assert store.read_now(facts) == (NOW, 1, f"{NOW:04d}")


def test_a_store_that_needs_a_newer_program_is_refused(open_store: Callable[[], Store]) -> None:
    open_store().run_now(lambda tx: ask(tx, "UPDATE hub SET schema = 9, min_reader = 8"))
    with pytest.raises(SettingsError, match=r"schema 9.*needs.*8.*install a newer version"):
        open_store()


def test_a_newer_store_that_this_program_may_read_is_opened(open_store: Callable[[], Store]) -> None:
    open_store().run_now(lambda tx: ask(tx, "UPDATE hub SET schema = 9, min_reader = 1"))
    assert open_store().read_now(facts) == (9, 1, f"{NOW:04d}")


def test_a_store_of_the_first_schema_gets_the_tables_that_came_later_and_keeps_its_records(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    made = Store.open(url, SystemClock())
    made.run_now(lambda tx: tx.journal("old", "was here", {}))
    whole = made.read_now(described)
    for table in frozenset[str]().union(*migrations.ADDED.values()):
        made.run_now(lambda tx, name=table: ask(tx, f"DROP TABLE {name}"))
    made.run_now(lambda tx: ask(tx, "UPDATE hub SET schema = 1"))
    made.run_now(lambda tx: ask(tx, "UPDATE alembic_version SET version_num = '0001'"))
    made.close()
    again = Store.open(url, SystemClock())
    assert (again.read_now(facts), again.read_now(described)) == ((NOW, 1, f"{NOW:04d}"), whole)
    assert again.read_now(ask, "SELECT actor FROM acts") == [("old",)]
    again.close()
