"""Stores for tests: one fixture over both engines, and what an engine says about a statement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.clock import SystemClock
from hub.store import Store, Tx
from hub.store.schema import metadata

ENGINES = ("sqlite", "memory", "postgresql")
"""SQLite in a file with its threads, SQLite in memory inline, PostgreSQL."""


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the address of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'hub.db'}"


def new_store_url(engine: str, request: pytest.FixtureRequest) -> str:
    """Return the address of an empty store of that engine."""
    if engine == "memory":
        return "sqlite://"
    if engine == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path') / 'hub.db'}"
    return str(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture(params=ENGINES)
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give an empty store, once per engine."""
    url = new_store_url(request.param, request)
    store = Store.open(url, SystemClock(), inline=request.param == "memory")
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def served_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give an empty store with threads of its own, once per engine."""
    store = Store.open(new_store_url(request.param, request), SystemClock())
    yield store
    store.close()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """Give an empty SQLite store in a file."""
    store = Store.open(sqlite_url, SystemClock())
    yield store
    store.close()


@pytest.fixture
def postgres_store(fresh_postgres_url: str) -> Iterator[Store]:
    """Give an empty PostgreSQL store."""
    store = Store.open(fresh_postgres_url, SystemClock())
    yield store
    store.close()


def ask(tx: Tx, text: str, *params: Any) -> list[tuple[Any, ...]]:
    """Run a statement with ``?`` placeholders and return its rows."""
    tx.cursor.execute(text if tx.dialect == "sqlite" else text.replace("?", "%s"), params)
    return list(tx.cursor.fetchall()) if tx.cursor.description else []


def explain_uses_index(tx: Tx, sql: str, params: Sequence[Any] = ()) -> bool:
    """Tell whether the engine runs this statement without reading a whole table; see :func:`scans`."""
    return not scans(tx, sql, params)


def scans(tx: Tx, sql: str, params: Sequence[Any] = ()) -> list[str]:
    """Return the steps of a statement's plan that read a whole table (``hub`` has one row and may be read whole).

    ``sql`` is the engine's own text (``Statement.text(tx.dialect)``). A whole *partial* index may be read: it
    holds only what is due. So may the beginning of an index, as far as a LIMIT lets it. PostgreSQL is told to avoid scans where it can, for the tables of a test are small,
    and plans for unknown parameters; SQLite plans without looking at them: ``params`` may be left out.
    """
    return _sqlite_scans(tx, sql, params) if tx.dialect == "sqlite" else _postgres_scans(tx, sql)


def _sqlite_scans(tx: Tx, sql: str, params: Sequence[Any]) -> list[str]:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    count = max(numbered) if numbered else sql.count("?")
    plan = [row[3] for row in tx.cursor.execute(f"EXPLAIN QUERY PLAN {sql}", list(params) or [None] * count)]
    partial = {
        name for (name,) in tx.cursor.execute("SELECT name FROM sqlite_master WHERE sql LIKE '% WHERE %'")
    }
    sorted_apart = any(step.startswith("USE TEMP B-TREE") for step in plan)
    first_few = "LIMIT" in sql and "WHERE" not in sql and not sorted_apart
    found = []
    for step in plan:
        match = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
        if not match or match[1] not in metadata.tables or match[1] == "hub" or match[2] in partial:
            continue
        if not (match[2] and first_few):
            found.append(step)
    return found


def _postgres_scans(tx: Tx, sql: str) -> list[str]:
    numbers = iter(range(1, 1000))
    text = re.sub(r"%s|%%", lambda match: "%" if match[0] == "%%" else f"${next(numbers)}", sql)
    for setting in ("seqscan", "hashjoin", "mergejoin"):
        tx.cursor.execute(f"SET LOCAL enable_{setting} = off")
    driver = tx.conn.connection.driver_connection
    assert driver is not None
    cursor = driver.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {text}", prepare=False)  # $1 stays open
    plan = cursor.fetchone()[0]
    plan = plan if isinstance(plan, list) else orjson.loads(plan)
    tx.cursor.execute(
        "SELECT relname FROM pg_index JOIN pg_class ON indexrelid = oid WHERE indpred IS NOT NULL"
    )
    partial = {name for (name,) in tx.cursor.fetchall()}
    return [
        f"{node['Node Type']} on {node.get('Relation Name') or node.get('Index Name')}"
        for node, parent in _nodes(plan[0]["Plan"])
        if _reads_all(node, parent, partial)
    ]


def _nodes(node: dict[str, Any], parent: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    yield node, parent
    for child in node.get("Plans", ()):
        yield from _nodes(child, node["Node Type"])


def _reads_all(node: dict[str, Any], parent: str, partial: set[str]) -> bool:
    if node["Node Type"] == "Seq Scan":
        return bool(node["Relation Name"] != "hub")
    if "Index Name" not in node or "Index Cond" in node or node["Index Name"] in partial:
        return False
    return parent != "Limit" or "Filter" in node
