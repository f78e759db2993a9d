"""The statements, built once for both engines: bulk insert, upsert, update, delete, select, and hand-written ones.

A factory (``bulk_insert`` ...) is called once at import, builds the text for both engines and returns a function
that runs it on tuples. PostgreSQL gets one array per column through ``unnest``; SQLite gets ``executemany`` or a
``VALUES`` list. No rows, no statement. Every statement is kept in :func:`statements`, so that a test can ask both
engines how they would run it.

A raw predicate (``where``) is written literally as in the partial index it needs; boolean columns by their bare
name (SQLite reads them as ``name = 1``, which is how its partial indexes are written).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, overload

from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Table, Text

from hub.store import schema
from hub.store.arrays import ARRAYS
from hub.store.statement import (
    Lock,
    Statement,
    for_sqlite,
    keep,
    locking,
    quote,
    statements,
    where_for_sqlite,
)

if TYPE_CHECKING:
    from hub.store.tx import Tx

__all__ = [
    "Statement",
    "bulk_delete",
    "bulk_insert",
    "bulk_select",
    "bulk_update",
    "bulk_upsert",
    "command",
    "insert_act",
    "query",
    "statements",
]

Row = tuple[Any, ...]
Rows = Sequence[Row]

_VARIABLES = 30_000  # SQLite's default limit is 32,766 a statement
_LARGEST = 4096  # rows of one VALUES list


class _Columns:
    """The columns of one statement: names, PostgreSQL array types, and rows turned into arrays."""

    def __init__(self, table: Table, names: str) -> None:
        self.names = names.split()
        self.kinds = [_kind(table.columns[name]) for name in self.names]
        self.wraps = [ARRAYS[kind] for kind in self.kinds]

    def listed(self) -> str:
        return ", ".join(quote(name) for name in self.names)

    def marks(self) -> str:
        return "(" + ", ".join("?" * len(self.names)) + ")"

    def unnest(self) -> str:
        return "unnest(" + ", ".join(f"%s::{kind}[]" for kind in self.kinds) + ")"

    def arrays(self, rows: Rows) -> list[Any]:
        return [wrap(values) for wrap, values in zip(self.wraps, zip(*rows, strict=True), strict=True)]


def _kind(column: Any) -> str:
    kinds = (
        (BigInteger, "bigint"),
        (Integer, "integer"),
        (Boolean, "boolean"),
        (LargeBinary, "bytea"),
        (Text, "text"),
    )
    return next(kind for type_, kind in kinds if isinstance(column.type, type_))


def _run(tx: Tx, statement: Statement, columns: _Columns, rows: Rows) -> int:
    """Run a statement that returns nothing over all rows; return how many rows it changed."""
    if not rows:
        return 0
    if tx.dialect == "sqlite":
        tx.cursor.executemany(statement.sqlite, rows)
    else:
        tx.cursor.execute(statement.postgresql, columns.arrays(rows))
    return int(tx.cursor.rowcount)


@overload
def bulk_insert(
    table: Table, cols: str, *, on_conflict: Literal["nothing"] | None = None, key: str | None = None
) -> Callable[[Tx, Rows], None]: ...


@overload
def bulk_insert(
    table: Table,
    cols: str,
    *,
    on_conflict: Literal["nothing"] | None = None,
    key: str | None = None,
    returning: str,
) -> Callable[[Tx, Rows], list[Row]]: ...


def bulk_insert(
    table: Table,
    cols: str,
    *,
    on_conflict: Literal["nothing"] | None = None,
    key: str | None = None,
    returning: str | None = None,
) -> Callable[[Tx, Rows], Any]:
    """Build an insert of rows given as tuples in the order of ``cols``.

    Args:
        table: where to.
        cols: column names, separated by spaces.
        on_conflict: ``nothing`` leaves out rows whose ``key`` exists (no key: any unique constraint).
        key: columns of the unique constraint that may conflict.
        returning: columns to return, as tuples, of the rows really inserted (order not promised).
    """
    columns = _Columns(table, cols)
    into = f"INSERT INTO {quote(table.name)} ({columns.listed()}) "
    tail = ""
    if on_conflict:
        tail = (
            f" ON CONFLICT ({_Columns(table, key).listed()}) DO NOTHING" if key else " ON CONFLICT DO NOTHING"
        )
    if returning:
        tail += f" RETURNING {_Columns(table, returning).listed()}"
    statement = keep(
        "insert",
        table,
        f"{into}VALUES {columns.marks()}{tail}",
        f"{into}SELECT * FROM {columns.unnest()}{tail}",
    )

    def insert(tx: Tx, rows: Rows) -> None:
        _run(tx, statement, columns, rows)

    def insert_returning(tx: Tx, rows: Rows) -> list[Row]:
        if not rows:
            return []
        if tx.dialect == "sqlite":
            return _returned_sqlite(tx, columns, rows, into=into, tail=tail)
        tx.cursor.execute(statement.postgresql, columns.arrays(rows))
        return list(tx.cursor.fetchall())

    return insert_returning if returning else insert


def _returned_sqlite(tx: Tx, columns: _Columns, rows: Rows, *, into: str, tail: str) -> list[Row]:
    """Work around executemany, which throws RETURNING away: lists whose sizes are powers of two (few texts, cached)."""
    found: list[Row] = []
    largest = _size_limit(len(columns.names))
    at = 0
    while at < len(rows):
        size = min(largest, 1 << ((len(rows) - at).bit_length() - 1))
        text = f"{into}VALUES {', '.join([columns.marks()] * size)}{tail}"
        tx.cursor.execute(text, list(chain.from_iterable(rows[at : at + size])))
        found.extend(tx.cursor.fetchall())
        at += size
    return found


def _size_limit(width: int) -> int:
    return min(_LARGEST, 1 << ((_VARIABLES // width).bit_length() - 1))


def bulk_upsert(table: Table, cols: str, *, key: str) -> Callable[[Tx, Rows], None]:
    """Build an insert that, where ``key`` exists, overwrites all other given columns; keys distinct in one call."""
    columns = _Columns(table, cols)
    keys = key.split()
    into = f"INSERT INTO {quote(table.name)} ({columns.listed()}) "
    sets = ", ".join(f"{quote(c)} = excluded.{quote(c)}" for c in columns.names if c not in keys)
    tail = f" ON CONFLICT ({_Columns(table, key).listed()}) DO UPDATE SET {sets}"
    statement = keep(
        "upsert",
        table,
        f"{into}VALUES {columns.marks()}{tail}",
        f"{into}SELECT * FROM {columns.unnest()}{tail}",
    )

    def upsert(tx: Tx, rows: Rows) -> None:
        _run(tx, statement, columns, rows)

    return upsert


def bulk_update(table: Table, cols: str, *, key: str, where: str | None = None) -> Callable[[Tx, Rows], int]:
    """Build an update by key; rows are tuples (key..., cols...); returns how many rows were changed."""
    columns = _Columns(table, f"{key} {cols}")
    keys, width = key.split(), len(columns.names)
    sets = list(zip(cols.split(), range(len(keys), width), strict=True))
    name = quote(table.name)
    extra = f" AND {where}" if where else ""
    lite_sets = ", ".join(f"{quote(c)} = ?{i + 1}" for c, i in sets)
    lite_keys = " AND ".join(f"{quote(k)} = ?{i + 1}" for i, k in enumerate(keys))
    statement = keep(
        "update",
        table,
        f"UPDATE {name} SET {lite_sets} WHERE {lite_keys}{for_sqlite(extra)}",
        f"UPDATE {name} SET {', '.join(f'{quote(c)} = v.v{i}' for c, i in sets)} "
        f"FROM {columns.unnest()} AS v({_names('v', width)}) WHERE {_match(name, 'v', keys)}{extra}",
    )

    def update(tx: Tx, rows: Rows) -> int:
        return _run(tx, statement, columns, rows)

    return update


def bulk_delete(table: Table, *, key: str, where: str | None = None) -> Callable[[Tx, Rows], int]:
    """Build a delete by key; rows are tuples of the key; returns how many rows went."""
    columns = _Columns(table, key)
    name = quote(table.name)
    extra = f" AND {where}" if where else ""
    lite_keys = " AND ".join(f"{quote(k)} = ?" for k in columns.names)
    statement = keep(
        "delete",
        table,
        f"DELETE FROM {name} WHERE {lite_keys}{for_sqlite(extra)}",
        f"DELETE FROM {name} USING {columns.unnest()} AS v({_names('v', len(columns.names))}) "
        f"WHERE {_match(name, 'v', columns.names)}{extra}",
    )

    def delete(tx: Tx, rows: Rows) -> int:
        return _run(tx, statement, columns, rows)

    return delete


def bulk_select(
    table: Table,
    cols: str,
    *,
    key: str,
    lock: Lock | None = None,
    order: str | None = None,
    where: str | None = None,
) -> Callable[[Tx, Rows], list[Row]]:
    """Build a look-up by keys; called with key tuples (repeats are dropped), returns plain tuples.

    Args:
        table: where from.
        cols: columns to return; those of ``order`` must be among them.
        key: columns that the key tuples hold.
        lock: row locks on PostgreSQL, taken in the order of ``order`` (default with a lock: the key); none on
            SQLite, whose writer is alone.
        order: columns to sort by.
        where: an extra predicate, as in the partial index.
    """
    columns, keys = _Columns(table, cols), _Columns(table, key)
    ordered = (order or (key if lock else "")).split()
    name = quote(table.name)
    by = f" ORDER BY {', '.join(f'{name}.{quote(o)}' for o in ordered)}" if ordered else ""
    extra = f" AND {where}" if where else ""
    picked = ", ".join(f"{name}.{quote(c)}" for c in columns.names)
    width = len(keys.names)
    head = f"WITH k({_names('k', width)}) AS (VALUES "
    tail = f") SELECT {picked} FROM k CROSS JOIN {name} WHERE {_match(name, 'k', keys.names)}{for_sqlite(extra)}{by}"
    statement = keep(
        "select",
        table,
        f"{head}{keys.marks()}{tail}",
        f"SELECT {picked} FROM {keys.unnest()} AS k({_names('k', width)}) JOIN {name} "
        f"ON {_match(name, 'k', keys.names)}{extra}{by}{locking(lock, table.name)}",
    )
    merged = [columns.names.index(o) for o in ordered if o in columns.names]

    def select(tx: Tx, wanted: Rows) -> list[Row]:
        if not wanted:
            return []
        distinct = list(dict.fromkeys(wanted))
        if tx.dialect == "postgresql":
            tx.cursor.execute(statement.postgresql, keys.arrays(distinct))
            return list(tx.cursor.fetchall())
        parts = [
            _select_sqlite(tx, keys, part, head=head, tail=tail)
            for part in _chunks(distinct, _size_limit(width))
        ]
        found = list(chain.from_iterable(parts))
        if len(parts) > 1:
            found.sort(key=lambda row: [row[i] for i in merged])
        return found

    return select


def _select_sqlite(tx: Tx, keys: _Columns, part: Rows, *, head: str, tail: str) -> list[Row]:
    """Pad with NULL keys (they match nothing) to a power of two: few texts, so SQLite's statement cache hits."""
    width = len(keys.names)
    size = 1 << (len(part) - 1).bit_length()
    tx.cursor.execute(
        f"{head}{', '.join([keys.marks()] * size)}{tail}",
        [*chain.from_iterable(part), *[None] * (width * (size - len(part)))],
    )
    return list(tx.cursor.fetchall())


def _chunks(rows: Rows, size: int) -> Iterator[Rows]:
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def _names(prefix: str, width: int) -> str:
    return ", ".join(f"{prefix}{i}" for i in range(width))


def _match(name: str, prefix: str, keys: Sequence[str]) -> str:
    return " AND ".join(f"{name}.{quote(key)} = {prefix}.{prefix}{i}" for i, key in enumerate(keys))


def query(text: str, *, lock: Lock | None = None, of: Table | None = None) -> Callable[..., list[Row]]:
    """Build a hand-written SELECT with ``?`` placeholders; called as ``(tx, *params)``, returns plain tuples.

    ``lock`` is appended on PostgreSQL only, for the rows of table ``of``.
    """
    if (lock is None) != (of is None):
        raise ValueError("lock and of go together")
    tail = "" if of is None else locking(lock, of.name)
    statement = keep("query", None, where_for_sqlite(text), text.replace("%", "%%").replace("?", "%s") + tail)

    def select(tx: Tx, *params: Any) -> list[Row]:
        tx.cursor.execute(statement.text(tx.dialect), params)
        return list(tx.cursor.fetchall())

    return select


def command(text: str) -> Callable[..., int]:
    """Build a hand-written UPDATE, INSERT or DELETE with ``?`` placeholders; called as ``(tx, *params)``.

    Returns how many rows it changed: a compare-and-set looks at that.
    """
    statement = keep("command", None, where_for_sqlite(text), text.replace("%", "%%").replace("?", "%s"))

    def run(tx: Tx, *params: Any) -> int:
        tx.cursor.execute(statement.text(tx.dialect), params)
        return int(tx.cursor.rowcount)

    return run


_insert_act = bulk_insert(schema.acts, "id at actor verb body")
_insert_touched = bulk_insert(schema.touched, "record act")


def insert_act(tx: Tx, act: Row, touched: Sequence[bytes]) -> None:
    """Insert one act (id, at, actor, verb, body) and its touched rows; used by ``Tx.journal`` alone."""
    _insert_act(tx, [act])
    _insert_touched(tx, [(record, act[0]) for record in touched])
