"""The statements as text, arrays as bytes, and bulk statements against a plain model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int4, Int8

from hub.clock import SystemClock
from hub.store import Store, Tx, arrays, schema, sql


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Give one store in memory; every test takes back what it did."""
    opened = Store.open("sqlite://", SystemClock(), inline=True)
    yield opened
    opened.close()


class UndoError(Exception):
    """Ends a transaction whose work is to be forgotten."""


def test_a_select_locks_on_postgresql_alone_in_the_order_of_its_key() -> None:
    sql.bulk_select(schema.owed, "id want", key="sync subject", lock="update", where="state = 'ready'")
    statement = sql.statements()[-1]
    assert statement.postgresql == (
        'SELECT "owed"."id", "owed"."want" FROM unnest(%s::text[], %s::text[]) AS k(k0, k1) JOIN "owed" '
        'ON "owed"."sync" = k.k0 AND "owed"."subject" = k.k1 AND state = \'ready\' '
        'ORDER BY "owed"."sync", "owed"."subject" FOR UPDATE OF "owed"'
    )
    assert statement.sqlite == (
        'WITH k(k0, k1) AS (VALUES (?, ?)) SELECT "owed"."id", "owed"."want" FROM k CROSS JOIN "owed" '
        'WHERE "owed"."sync" = k.k0 AND "owed"."subject" = k.k1 AND state = \'ready\' '
        'ORDER BY "owed"."sync", "owed"."subject"'
    )


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ("update", ' FOR UPDATE OF "jobs"'),
        ("share", ' FOR SHARE OF "jobs"'),
        ("update skip locked", ' FOR UPDATE OF "jobs" SKIP LOCKED'),
        (None, '"jobs"."name" = k.k0'),
    ],
)
def test_each_lock_has_its_words(lock: Any, words: str) -> None:
    sql.bulk_select(schema.jobs, "name", key="name", lock=lock)
    assert sql.statements()[-1].postgresql.endswith(words)


def test_booleans_in_predicates_are_written_as_sqlite_writes_its_partial_indexes() -> None:
    sql.bulk_select(schema.keys, "record", key="name value", where="strong")
    assert sql.statements()[-1].sqlite.endswith("AND strong = 1")
    assert sql.statements()[-1].postgresql.endswith("AND strong")
    sql.command(
        "INSERT INTO keys (name, strong) SELECT name, ? FROM keys WHERE NOT strong AND name LIKE 'a%'"
    )
    assert sql.statements()[-1].sqlite.endswith(
        "(name, strong) SELECT name, ? FROM keys WHERE NOT strong = 1 AND name LIKE 'a%'"
    )
    assert sql.statements()[-1].postgresql.endswith(
        "SELECT name, %s FROM keys WHERE NOT strong AND name LIKE 'a%%'"
    )


def test_an_unknown_column_is_refused_where_the_statement_is_built() -> None:
    with pytest.raises(KeyError, match="colour"):
        sql.bulk_insert(schema.jobs, "name colour")


def test_a_lock_needs_its_table() -> None:
    with pytest.raises(ValueError, match="go together"):
        sql.query("SELECT 1", lock="update")


INT8 = st.integers(-(2**63), 2**63 - 1)
INT4 = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.one_of(
        st.tuples(st.just("bigint"), st.lists(INT8 | st.none(), min_size=1)),
        st.tuples(st.just("integer"), st.lists(INT4 | st.none(), min_size=1)),
        st.tuples(st.just("boolean"), st.lists(st.booleans() | st.none(), min_size=1)),
        st.tuples(st.just("bytea"), st.lists(st.binary(max_size=20) | st.none(), min_size=1)),
        st.tuples(st.just("text"), st.lists(TEXT | st.none(), min_size=1)),
    ).filter(lambda column: any(value is not None for value in column[1]))
)
def test_arrays_are_packed_as_psycopg_itself_packs_them(column: tuple[str, list[Any]]) -> None:
    kind, values = column
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(list, ListBinaryDumper)
    adapters.register_dumper(str, psycopg.types.string.StrBinaryDumper)
    theirs = Transformer(_Context(adapters))
    exact = {"bigint": Int8, "integer": Int4}.get(kind, lambda value: value)
    items = [None if value is None else exact(value) for value in values]
    dumper = theirs.get_dumper(items, psycopg.adapt.PyFormat.BINARY)
    arrays.register(_Context(adapters))
    array = arrays.ARRAYS[kind](values)
    ours = theirs.get_dumper(array, psycopg.adapt.PyFormat.AUTO)
    assert ours.dump(array) == bytes(dumper.dump(items) or b"")
    assert ours.oid == dumper.oid


class _Context:
    """As much of a connection as an adapter looks at."""

    connection = None

    def __init__(self, adapters: AdaptersMap) -> None:
        self.adapters = adapters


insert = sql.bulk_insert(schema.budgets, "scope window used")
put = sql.bulk_upsert(schema.budgets, "scope window used", key="scope")
add = sql.bulk_insert(
    schema.budgets, "scope window used", on_conflict="nothing", key="scope", returning="scope used"
)
update = sql.bulk_update(schema.budgets, "used", key="scope window")
delete = sql.bulk_delete(schema.budgets, key="scope")
select = sql.bulk_select(schema.budgets, "scope window used", key="scope", order="scope")

SCOPES = st.sampled_from([f"s{i}" for i in range(12)])
ROWS = st.lists(st.tuples(SCOPES, st.integers(0, 2), st.integers(0, 9)), unique_by=lambda row: row[0])


@given(st.lists(st.tuples(st.sampled_from(["put", "add", "update", "delete"]), ROWS), max_size=8))
def test_bulk_statements_do_what_a_dictionary_does(
    store: Store, steps: list[tuple[str, list[tuple[str, int, int]]]]
) -> None:
    def run(tx: Tx) -> None:
        model: dict[str, tuple[int, int]] = {}
        for verb, rows in steps:
            _step(tx, model, verb, rows)
            wanted = [(f"s{i}",) for i in range(12)]
            assert select(tx, wanted) == [(name, *model[name]) for name in sorted(model, key=str)]
        raise UndoError

    with pytest.raises(UndoError):
        store.run_now(run)


def _step(tx: Tx, model: dict[str, tuple[int, int]], verb: str, rows: list[tuple[str, int, int]]) -> None:
    if verb == "put":
        put(tx, rows)
        model.update({scope: (window, used) for scope, window, used in rows})
    elif verb == "add":
        new = [(scope, used) for scope, _, used in rows if scope not in model]
        assert sorted(add(tx, rows)) == sorted(new)
        model.update({scope: (window, used) for scope, window, used in rows if scope not in model})
    elif verb == "update":
        hit = [row for row in rows if model.get(row[0], (None,))[0] == row[1]]
        assert update(tx, rows) == len(hit)
        model.update({scope: (window, used) for scope, window, used in hit})
    else:
        gone = [scope for scope, _, _ in rows if model.pop(scope, None)]
        assert delete(tx, [(scope,) for scope, _, _ in rows]) == len(gone)


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 5000])
def test_insert_if_absent_returns_every_new_row_at_any_size(store: Store, count: int) -> None:
    def run(tx: Tx) -> None:
        insert(tx, [("s00001", 0, 0)])
        found = add(tx, [(f"s{i:05}", 0, i) for i in range(count)])
        assert sorted(found) == [(f"s{i:05}", i) for i in range(count) if i != 1]
        raise UndoError

    with pytest.raises(UndoError):
        store.run_now(run)
