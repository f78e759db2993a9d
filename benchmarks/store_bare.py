"""Claim + settle as bare loops on both stores: the hand-written limit, and the store's own share of it.

One round is what the pipe does for a batch: claim (lock due rows, write payload, key and fence, an act) and settle
(delete the rows, write the xrefs, an act). ``limit_*`` use the driver alone and know nothing of the hub but its
tables; ``through_store`` does the same work with ``Store.run`` and the bulk statements. ``bare`` leaves xrefs and
acts out.

    python -m benchmarks.store_bare [POSTGRES_URL]
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.array import ListBinaryDumper

from hub.clock import SystemClock
from hub.store import Store, Tx, schema, sql

BATCH = 200
ROWS = 20_000
PAYLOAD = b"p" * 600
OWED = "id sync subject connection target lane state due want attempts deaths step act since payload"
XREF = "connection object org vendor_id record is_primary snapshot seen rest_until complete stage sent act"
DUE = (
    "SELECT id FROM owed WHERE connection = ? AND lane = ? AND state IN ('ready', 'in_doubt') AND due <= ? "
    "ORDER BY due LIMIT ?"
)

fill = sql.bulk_insert(schema.owed, OWED)
due = sql.query(DUE, lock="update skip locked", of=schema.owed)
hold = sql.bulk_update(schema.owed, "state fence generation key absent_after lease act payload", key="id")
pay = sql.bulk_delete(schema.owed, key="id")
agree = sql.bulk_upsert(schema.xrefs, XREF, key="connection object org vendor_id")

Ids = list[tuple[bytes]]


def held(ids: Ids, act: int) -> list[tuple[Any, ...]]:
    """Rows of ``hold``: key first."""
    return [(id_, "claimed", act, act, f"{act:032x}", act, act, act, PAYLOAD) for (id_,) in ids]


def agreed(ids: Ids, act: int) -> list[tuple[Any, ...]]:
    """Rows of ``agree``."""
    return [
        ("k3", "c", "1", id_.hex(), id_, True, '{"name":["0011223344556677","0011223344556677"]}', 1, 0, 1, "audited",
         '{"k3":["0011223344556677",1,1]}', act)
        for (id_,) in ids
    ]  # fmt: skip


BODY = json.dumps({"items": [{"record": f"{i:032x}", "do": "claim"} for i in range(BATCH)]})


def refill(store: Store, rows: int) -> None:
    """Owe ``rows`` deliveries."""
    numbers = range(rows)
    for part in _parts(numbers, 1000):
        store.run_now(
            fill,
            [
                (
                    i.to_bytes(16, "big"),
                    "k3",
                    f"{i:032x}",
                    "k3",
                    f"t{i}",
                    1,
                    "ready",
                    i,
                    1,
                    0,
                    0,
                    0,
                    1,
                    1,
                    None,
                )
                for i in part
            ],
        )


def _parts(numbers: range, size: int) -> list[range]:
    return [numbers[at : at + size] for at in range(0, len(numbers), size)]


def through_store(store: Store, rows: int, *, bare: bool) -> float:
    """Return rows/s of claim + settle through the store; one worker."""

    def claim(tx: Tx) -> Ids:
        ids = due(tx, "k3", 1, 2**60, BATCH)
        if ids:
            hold(tx, held(ids, tx.act))
            if not bare:
                tx.journal("worker", "claim", {"text": BODY})
        return ids

    def settle(tx: Tx, ids: Ids) -> None:
        pay(tx, ids)
        if not bare:
            agree(tx, agreed(ids, tx.act))
            tx.journal("worker", "settle", {"text": BODY})

    async def work() -> None:
        while ids := await store.run(claim):
            await store.run(settle, ids)

    refill(store, rows)
    return _rate(rows, lambda: asyncio.run(work()))


def limit_sqlite(path: Path, rows: int, *, bare: bool) -> float:
    """Return rows/s of the same work in a hand-written loop on ``sqlite3``."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=FULL")
    acts = itertools.count(db.execute("SELECT coalesce(max(id), 0) + 1 FROM acts").fetchone()[0])

    def act(verb: str) -> int:
        number = next(acts)
        if not bare:
            db.execute(
                "INSERT INTO acts (id, at, actor, verb, body) VALUES (?, 1, 'w', ?, ?)", (number, verb, BODY)
            )
        return number

    def work() -> None:
        while True:
            db.execute("BEGIN IMMEDIATE")
            ids = db.execute(DUE, ("k3", 1, 2**60, BATCH)).fetchall()
            number = act("claim")
            db.executemany(
                "UPDATE owed SET state = ?2, fence = ?3, generation = ?4, key = ?5, absent_after = ?6, lease = ?7, "
                "act = ?8, payload = ?9 WHERE id = ?1",
                held(ids, number),
            )
            db.execute("COMMIT")
            if not ids:
                return
            db.execute("BEGIN IMMEDIATE")
            number = act("settle")
            db.executemany("DELETE FROM owed WHERE id = ?", ids)
            if not bare:
                db.executemany(
                    f"INSERT INTO xrefs ({XREF.replace(' ', ', ')}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) "
                    "ON CONFLICT (connection, object, org, vendor_id) DO UPDATE SET record = excluded.record, "
                    "is_primary = excluded.is_primary, snapshot = excluded.snapshot, seen = excluded.seen, "
                    "rest_until = excluded.rest_until, complete = excluded.complete, stage = excluded.stage, "
                    "sent = excluded.sent, act = excluded.act",
                    agreed(ids, number),
                )
            db.execute("COMMIT")

    rate = _rate(rows, work)
    db.close()
    return rate


def limit_postgres(url: str, rows: int, *, bare: bool) -> float:
    """Return rows/s of the same work in a hand-written loop on psycopg, one array per column."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as db:
        db.adapters.register_dumper(list, ListBinaryDumper)
        return _rate(rows, lambda: _postgres_loop(db, bare=bare))


def _postgres_loop(db: psycopg.Connection[Any], *, bare: bool) -> None:
    def act(verb: str) -> int:
        number = int(db.execute("SELECT nextval('acts_id')").fetchone()[0])  # type: ignore[index]
        if not bare:
            db.execute(
                "INSERT INTO acts (id, at, actor, verb, body) VALUES (%s, 1, 'w', %s, %s)",
                (number, verb, BODY),
            )
        return number

    while True:
        db.execute("BEGIN")
        ids = db.execute(
            DUE.replace("?", "%s") + " FOR UPDATE SKIP LOCKED", ("k3", 1, 2**60, BATCH)
        ).fetchall()
        if not ids:
            db.execute("COMMIT")
            return
        number = act("claim")
        plain = [id_ for (id_,) in ids]
        count = len(ids)
        db.execute(
            "UPDATE owed SET state = 'claimed', fence = %s, generation = %s, key = v.key, absent_after = %s, "
            "lease = %s, act = %s, payload = v.payload "
            "FROM unnest(%s::bytea[], %s::text[], %s::bytea[]) AS v(id, key, payload) WHERE owed.id = v.id",
            (*[number] * 5, plain, [f"{number:032x}"] * count, [PAYLOAD] * count),
        )
        db.execute("COMMIT")
        db.execute("BEGIN")
        number = act("settle")
        db.execute("DELETE FROM owed WHERE id = ANY(%s)", (plain,))
        if not bare:
            columns = list(map(list, zip(*agreed(ids, number), strict=True)))
            db.execute(
                f"INSERT INTO xrefs ({XREF.replace(' ', ', ')}) SELECT * FROM unnest(%s::text[], %s::text[], "
                "%s::text[], %s::text[], %s::bytea[], %s::bool[], %s::text[], %s::bigint[], %s::bigint[], "
                "%s::bigint[], %s::text[], %s::text[], %s::bigint[]) ON CONFLICT (connection, object, org, vendor_id) "
                "DO UPDATE SET record = excluded.record, is_primary = excluded.is_primary, snapshot = "
                "excluded.snapshot, seen = excluded.seen, rest_until = excluded.rest_until, complete = "
                "excluded.complete, stage = excluded.stage, sent = excluded.sent, act = excluded.act",
                columns,
            )
        db.execute("COMMIT")


def _rate(rows: int, work: Any) -> float:
    clock = SystemClock()
    began = clock.monotonic()
    work()
    return rows / (clock.monotonic() - began)


def results(postgres_url: str | None = None, rows: int = ROWS) -> list[dict[str, Any]]:
    """Measure every path; a dictionary per path: rate and limit in rows/s, and their ratio."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        urls = {"SQLite": f"sqlite:///{folder}/hub.db"} | (
            {"PostgreSQL": postgres_url} if postgres_url else {}
        )
        for engine, url in urls.items():
            store = Store.open(url, SystemClock())
            for bare in (True, False):
                rate = through_store(store, rows, bare=bare)
                refill(store, rows)
                limit = (
                    limit_sqlite(Path(folder) / "hub.db", rows, bare=bare)
                    if engine == "SQLite"
                    else limit_postgres(url, rows, bare=bare)
                )
                what = "bare" if bare else "with xref and act"
                found.append(
                    {
                        "path": f"store: claim + settle, {what}, {engine}",
                        "rate": round(rate),
                        "limit": round(limit),
                        "ratio": round(rate / limit, 2),
                        "budget": 0.7,
                        "unit": "rows/s",
                    }
                )
            store.close()
    return found


if __name__ == "__main__":
    for line in results(*sys.argv[1:2]):
        print(json.dumps(line))
