"""A batch from the bus into the store, new customers: record, match key, xref, two debts each, one act and the position.

What is measured is `hub.pipe.take.take` in batches of 200 through `Store.run`: mapping in, identity, merge, digests,
a data key per record, values sealed for the act. The hand-written loop writes the same rows by the driver alone (one
statement per table; PostgreSQL: binary arrays through unnest), computes their contents in one pass, and asks the
store only what nobody could leave out: is the object known, does somebody hold the match key.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.measure import Row, engines, in_turns, row
from hub.clock import SystemClock
from hub.pipe.items import Item
from hub.pipe.jobs import lease
from hub.pipe.take import Batch, take
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store import Store, Tx
from hub.store.arrays import ARRAYS, register
from hub.vault import Vault
from tests.worlds import project, world

BATCH = 200
ROWS = 3_000
ROUNDS = 5
BUDGET = 0.6
JOB = "bus:inbound:0"
SYNCS = ("keyed.out", "mail.out")
Source = dict[str, Any]


def sources(first: int) -> list[Source]:
    """Return customers as the vendor shows them."""
    return [
        {
            "id": f"V{number}",
            "number": f"C{number}",
            "name": f"示例科技{number}有限公司",
            "phone": None,
            "street": "深南大道 1 号",
            "remark": "first contact at the fair",
        }
        for number in range(first, first + ROWS)
    ]


class Ours:
    """`take` on one store."""

    def __init__(self, url: str) -> None:
        clock = SystemClock()
        self.store = Store.open(url, clock)
        self.world = world(self.store, Vault.in_memory(clock), project(("customer", "keyed", "mail")))
        held = self.store.run_now(lease, JOB, "bus", "bench", 600.0, {"next": 0})
        if held is None:
            raise RuntimeError("a new store's job cannot be held by anybody else")
        self.held, self.position, self.taken = held, held.position, 0

    def rate(self) -> float:
        """Return records per second."""
        batches = [self._batch(part) for part in _parts(sources(self.taken))]
        self.taken += ROWS

        async def work() -> int:
            return sum([await self.store.run(take, batch, self.world) for batch in batches])

        started = time.perf_counter()
        done = asyncio.run(work())
        seconds = time.perf_counter() - started
        if done != ROWS:
            raise RuntimeError(f"{done} of {ROWS} records took effect")
        return done / seconds

    def _batch(self, part: Sequence[Source]) -> Batch:
        sync, now = self.world.inbound("mem", "customer"), time.time_ns() // 1000
        items = [
            Item("mem", "customer", VendorKey("", one["id"]), SourceRecord(VendorKey("", one["id"]), one, now), sync,
                 event=f"0199c0de-0000-7000-8000-{one['id']:0>12}")
            for one in part
        ]  # fmt: skip
        start, self.position = self.position, orjson.dumps({"next": self.taken + len(part)}).decode()
        return Batch(items, JOB, self.held.fence, start, self.position)


def _parts(rows: Sequence[Source]) -> list[Sequence[Source]]:
    return [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]


# the hand-written loop ----------------------------------------------------------------------------------------

COLUMNS = {
    "records": ("id kind version region body data_key act", "bytea text bigint text text bytea bigint"),
    "keys": ("name value record strong", "text text bytea boolean"),
    "owed": (
        "id sync subject connection target lane state due want attempts deaths step act since",
        "bytea text text text text integer text bigint bigint integer integer integer bigint bigint",
    ),
    "xrefs": (
        "connection object org vendor_id record is_primary stable_key snapshot seen rest_until complete sent act",
        "text text text text bytea boolean text text bigint bigint bigint text bigint",
    ),
    "touched": ("record act", "bytea bigint"),
}
KNOWN = "connection = 'mem' AND object = 'customer' AND org = '' AND vendor_id"
_record_key, _digest_key = AESGCM(os.urandom(32)), hashlib.blake2b(digest_size=8, key=os.urandom(32))
_counter = iter(range(1 << 40))


def _digest(value: str) -> str:
    keyed = _digest_key.copy()
    keyed.update(orjson.dumps(value))
    return keyed.digest().hex()


def _rows(part: Sequence[Source], act: int, now: int) -> tuple[dict[str, list[tuple[Any, ...]]], str]:
    """Compute a batch's rows and the body of its act."""
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    told = []
    for one in part:
        id_ = (now << 64 | next(_counter)).to_bytes(16, "big")
        record, key, nonces = id_.hex(), os.urandom(32), os.urandom(24)
        body = {name: one[name] for name in ("name", "street", "remark")}
        digests = {name: _digest(value) for name, value in body.items()}
        pairs = {name: [digest, digest, 0, "00" * 8] for name, digest in digests.items()}
        values = orjson.dumps({"before": dict.fromkeys(body), "after": body})
        sealed = b"\x01" + nonces[:12] + AESGCM(key).encrypt(nonces[:12], values, b"%d" % act)
        data_key = bytes(11) + nonces[12:] + _record_key.encrypt(nonces[12:], key, id_)
        rows["records"].append((id_, "customer", 1, "", orjson.dumps(body).decode(), data_key, act))
        rows["keys"].append(("customer.name", one["name"], id_, False))
        for sync in SYNCS:
            own = (now << 64 | next(_counter)).to_bytes(16, "big")
            target = f"mem/{sync[:-4]}//{record}"
            rows["owed"].append((own, sync, record, "mem", target, 1, "ready", now, act, 0, 0, 0, act, now))
        rows["xrefs"].append(
            ("mem", "customer", "", one["id"], id_, True, None, orjson.dumps(pairs).decode(), now, 0, now,
             '{"customer.in":{"version":1}}', act)
        )  # fmt: skip
        rows["touched"].append((id_, act))
        told.append({"record": record, "kind": "customer", "version": 1, "sync": "customer.in", "subject": f"/{one['id']}",
                     "outcome": "created", "fields": {name: [None, digest] for name, digest in digests.items()},
                     "values": base64.b64encode(sealed).decode()})  # fmt: skip
    return rows, orjson.dumps({"items": told}).decode()


def _sqlite(path: Path) -> Callable[[Sequence[Source]], None]:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=FULL")
    texts = {
        name: f"INSERT INTO {name} ({cols.replace(' ', ', ')}) VALUES ({', '.join('?' * len(cols.split()))})"
        for name, (cols, _) in COLUMNS.items()
    }

    def one(part: Sequence[Source]) -> None:
        now = time.time_ns() // 1000
        marks = ", ".join("?" * len(part))
        db.execute("BEGIN IMMEDIATE")
        known = db.execute(f"SELECT record FROM xrefs WHERE {KNOWN} IN ({marks})", [s["id"] for s in part])
        named = f"SELECT record FROM keys WHERE name = 'customer.name' AND value IN ({marks})"
        if known.fetchall() or db.execute(named, [s["name"] for s in part]).fetchall():
            raise RuntimeError("these are to be new")
        act = db.execute("UPDATE hub SET last_act = last_act + 1 RETURNING last_act").fetchone()[0]
        rows, told = _rows(part, act, now)
        db.execute(
            "INSERT INTO acts (id, at, actor, verb, body) VALUES (?, ?, 'take', 'take', ?)", (act, now, told)
        )
        for name, text in texts.items():
            db.executemany(text, rows[name])
        db.execute("UPDATE jobs SET position = ?, act = ? WHERE name = ?", ("{}", act, JOB))
        db.execute("COMMIT")

    return one


def _postgres(url: str) -> Callable[[Sequence[Source]], None]:
    db = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    register(db)
    texts = {
        name: f"INSERT INTO {name} ({cols.replace(' ', ', ')}) SELECT * FROM unnest("
        + ", ".join(f"%s::{kind}[]" for kind in kinds.split()) + ")"
        for name, (cols, kinds) in COLUMNS.items()
    }  # fmt: skip
    wraps = {name: [ARRAYS[kind] for kind in kinds.split()] for name, (_, kinds) in COLUMNS.items()}
    text = ARRAYS["text"]

    def one(part: Sequence[Source]) -> None:
        now = time.time_ns() // 1000
        db.execute("BEGIN")
        known = db.execute(
            f"SELECT record FROM xrefs WHERE {KNOWN} = ANY(%s::text[])", (text([s["id"] for s in part]),)
        )
        named = "SELECT record FROM keys WHERE name = 'customer.name' AND value = ANY(%s::text[])"
        if known.fetchall() or db.execute(named, (text([s["name"] for s in part]),)).fetchall():
            raise RuntimeError("these are to be new")
        act = db.execute("SELECT nextval('acts_id')").fetchone()[0]  # type: ignore[index]
        rows, told = _rows(part, act, now)
        db.execute(
            "INSERT INTO acts (id, at, actor, verb, body) VALUES (%s, %s, 'take', 'take', %s)",
            (act, now, told),
        )
        for name, insert in texts.items():
            columns = zip(*rows[name], strict=True)
            db.execute(insert, [wrap(values) for wrap, values in zip(wraps[name], columns, strict=True)])
        db.execute("UPDATE jobs SET position = %s, act = %s WHERE name = %s", ("{}", act, JOB))
        db.execute("COMMIT")

    return one


class Limit:
    """The hand-written loop on a store of its own."""

    def __init__(self, engine: str, url: str) -> None:
        self.store = Store.open(url, SystemClock())
        self.store.run_now(_job)
        self.one = _sqlite(Path(url.removeprefix("sqlite:///"))) if engine == "SQLite" else _postgres(url)
        self.taken = 0

    def rate(self) -> float:
        """Return records per second."""
        parts = _parts(sources(self.taken))
        self.taken += ROWS
        started = time.perf_counter()
        for part in parts:
            self.one(part)
        return ROWS / (time.perf_counter() - started)


def _job(tx: Tx) -> None:
    lease(tx, JOB, "bus", "bench", 600.0, {"next": 0})


def run() -> list[Row]:
    """Measure on both engines."""
    found = []
    with engines() as made:
        for engine, new in made.items():
            ours, limit = Ours(new()), Limit(engine, new())
            gc.collect()
            gc.freeze()  # as `hub up` does once it is ready; the loop beside gains by it too
            rate, bare = in_turns(ROUNDS, ours.rate, limit.rate)
            ours.store.close()
            limit.store.close()
            found.append(row(f"take, {engine}, batches of {BATCH}", rate, bare, BUDGET, "records/s"))
    return found


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
