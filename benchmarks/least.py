"""Claim and settle of first writes as the law's least: what no implementation may leave out, by hand on the driver.

The loop of `benchmarks.store_bare` writes constants: it reads no record, maps, seals and digests nothing, locks no
record, wakes nobody and reads a row once. This one does per row what `pipe.md` demands of a create whose answer is
"applied", in one straight pass without objects, choices or a second case. Claim: the epoch is compared, due rows leave
out busy targets, record and xrefs are read, four fields are mapped and digested, the payload is sealed, the two keys are
drawn, what is pinned is written, the act names every row and record. Settle: the record is locked, the row read again
by id and fence, the xref looked for by record and by vendor id, the pairs agreed, the debt deleted, who waits for the
target or the object looked for, the act written.

    python -m benchmarks.least
"""

from __future__ import annotations

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

from hub.store.arrays import ARRAYS, register

__all__ = ["least"]

BATCH = 200
WINDOW = 15_000_000
DUE = (
    "SELECT id, sync, subject, target, want, force, attempts, deaths, state, generation, refs FROM owed "
    "WHERE connection = ? AND lane = ? AND state IN ('ready', 'in_doubt') AND due <= ? AND NOT EXISTS "
    "(SELECT 1 FROM owed AS other WHERE other.target = owed.target AND other.generation IS NOT NULL "
    "AND other.id <> owed.id) ORDER BY due LIMIT ?"
)
PIN = (
    "id state attempts deaths generation operation key base version revision refs absent_after fence holder lease act payload",
    "bytea text integer integer bigint text text text bigint integer text bigint bigint text bigint bigint bytea",
)
XREF = (
    "connection object org vendor_id record is_primary stable_key snapshot seen rest_until complete stage sent act",
    "text text text text bytea boolean text text bigint bigint bigint text text bigint",
)
TOUCHED = ("record act", "bytea bigint")
_sealer, _keyed = AESGCM(os.urandom(32)), hashlib.blake2b(digest_size=8, key=os.urandom(32))
_PLACES = {"name": "FName", "phone": "FTel", "street": "FAddress", "remark": "FDescription"}

Row = tuple[Any, ...]


def _digest(value: str) -> str:
    keyed = _keyed.copy()
    keyed.update(orjson.dumps(value))
    return keyed.digest().hex()


def _named(*parts: bytes) -> str:
    return hashlib.blake2b(b"/".join(parts), digest_size=16).hexdigest()


class _Sqlite:
    """The driver's words on SQLite."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA synchronous=FULL")
        self.begin, self.skip = "BEGIN IMMEDIATE", ""
        self.next = "UPDATE hub SET last_act = last_act + 1 RETURNING last_act"

    def ask(self, text: str, *values: Any) -> list[Row]:
        return self.db.execute(text, values).fetchall()

    def by(self, head: str, keys: Sequence[Any], kind: str, tail: str = "") -> list[Row]:
        del kind
        return self.db.execute(f"{head} IN ({', '.join('?' * len(keys))}){tail}", keys).fetchall()

    def write(self, table: str, columns: tuple[str, str], rows: Sequence[Row], tail: str = "") -> None:
        names = columns[0].split()
        marks = ", ".join("?" * len(names))
        self.db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}){tail}", rows)

    def update(self, columns: tuple[str, str], rows: Sequence[Row]) -> None:
        _, *names = columns[0].split()
        sets = ", ".join(f'"{name}" = ?{at}' for at, name in enumerate(names, 2))
        self.db.executemany(f"UPDATE owed SET {sets} WHERE id = ?1", rows)

    def hold(self, records: Sequence[bytes]) -> None:
        """The writer is alone."""


class _Postgres:
    """The driver's words on PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.db = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        register(self.db)
        self.cursor = self.db.cursor(binary=True)
        self.begin, self.skip = "BEGIN", " FOR UPDATE OF owed SKIP LOCKED"
        self.next = "SELECT nextval('acts_id')"

    def ask(self, text: str, *values: Any) -> list[Row]:
        self.cursor.execute(text.replace("?", "%s"), values)
        return self.cursor.fetchall() if self.cursor.description else []

    def by(self, head: str, keys: Sequence[Any], kind: str, tail: str = "") -> list[Row]:
        lock = " FOR UPDATE" if head.startswith("SELECT") and "records" not in head else ""
        self.cursor.execute(f"{head} = ANY(%s::{kind}[]){tail}{lock}", (ARRAYS[kind](keys),))
        return self.cursor.fetchall() if self.cursor.description else []

    def _unnest(self, columns: tuple[str, str], rows: Sequence[Row]) -> tuple[str, list[Any]]:
        kinds = columns[1].split()
        text = "unnest(" + ", ".join(f"%s::{kind}[]" for kind in kinds) + ")"
        return text, [
            ARRAYS[kind](column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
        ]

    def write(self, table: str, columns: tuple[str, str], rows: Sequence[Row], tail: str = "") -> None:
        text, arrays = self._unnest(columns, rows)
        names = columns[0].replace(" ", ", ")
        self.cursor.execute(f"INSERT INTO {table} ({names}) SELECT * FROM {text}{tail}", arrays)

    def update(self, columns: tuple[str, str], rows: Sequence[Row]) -> None:
        text, arrays = self._unnest(columns, rows)
        key, *names = columns[0].split()
        sets = ", ".join(f'"{name}" = v."{name}"' for name in names)
        listed = ", ".join(f'"{name}"' for name in (key, *names))
        self.cursor.execute(f"UPDATE owed SET {sets} FROM {text} AS v({listed}) WHERE owed.id = v.id", arrays)

    def hold(self, records: Sequence[bytes]) -> None:
        text = "SELECT id FROM records WHERE id = ANY(%s::bytea[]) ORDER BY id FOR UPDATE"
        self.cursor.execute(text, (ARRAYS["bytea"](records),))


def least(engine: str, url: str, lane: int) -> Callable[[], int]:
    """Return a function that works off what is owed to `mem` in this store; it returns how many rows it was."""
    db = _Sqlite(Path(url.removeprefix("sqlite:///"))) if engine == "SQLite" else _Postgres(url)

    def work() -> int:
        done = 0
        while held := _claim(db, lane):
            done += _settle(db, held)
        return done

    return work


def _begin(db: _Sqlite | _Postgres) -> tuple[bytes, int]:
    db.ask(db.begin)
    epoch, writes = db.ask("SELECT epoch, writes FROM hub")[0]
    if writes != "open":
        raise RuntimeError("writes are stopped")
    return bytes(epoch), time.time_ns() // 1000


def _told(db: _Sqlite | _Postgres, act: int, now: int, verb: str, items: list[dict[str, Any]]) -> None:
    body = orjson.dumps({"items": items}, option=orjson.OPT_SORT_KEYS).decode()
    db.ask("INSERT INTO acts (id, at, actor, verb, body) VALUES (?, ?, 'worker', ?, ?)", act, now, verb, body)
    db.write("touched", TOUCHED, [(bytes.fromhex(item["record"]), act) for item in items])
    db.ask("COMMIT")


def _claim(db: _Sqlite | _Postgres, lane: int) -> list[tuple[bytes, str, int, str]]:
    epoch, now = _begin(db)
    due = db.ask(f"{DUE}{db.skip}", "mem", lane, now, BATCH)
    if not due:
        db.ask("COMMIT")
        return []
    ids = [bytes.fromhex(row[2]) for row in due]
    records = {
        bytes(row[0]): row
        for row in db.by("SELECT id, version, region, body FROM records WHERE id", ids, "bytea")
    }
    at_vendor = "SELECT record, vendor_id, rest_until, snapshot FROM xrefs WHERE record"
    if db.by(at_vendor, ids, "bytea"):
        raise RuntimeError("these are to be new there")
    act = int(db.ask(db.next)[0][0])
    pinned, items, held = [], [], []
    for (id_, sync, subject, target, want, _force, attempts, deaths, *_), record in zip(
        due, ids, strict=True
    ):
        body = orjson.loads(records[record][3])
        payload = {place: body[name].strip() for name, place in _PLACES.items() if name in body}
        base = {name: _digest(value) for name, value in sorted(body.items()) if name in _PLACES}
        nonce = os.urandom(12)
        sealed = b"\x01" + nonce + _sealer.encrypt(nonce, orjson.dumps(payload), bytes(id_))
        key = _named(epoch, sync.encode(), subject.encode(), b"%d" % want, b"save")
        business = _named(target.encode(), record)
        pinned.append((id_, "claimed", attempts + 1, deaths + 1, want, "save", key, orjson.dumps(base).decode(),
                       records[record][1], 1, "[]", now + WINDOW, act, "bench", now + WINDOW, act, sealed))  # fmt: skip
        items.append({"record": subject, "row": bytes(id_).hex(), "sync": sync, "subject": subject, "outcome": "claimed",
                      "version": records[record][1], "revision": 1, "step": "save", "attempt": attempts + 1})  # fmt: skip
        held.append((bytes(id_), subject, act, business))
    db.update(PIN, pinned)
    _told(db, act, now, "claim", items)
    return held


def _settle(db: _Sqlite | _Postgres, held: Sequence[tuple[bytes, str, int, str]]) -> int:
    _, now = _begin(db)
    db.hold(sorted(bytes.fromhex(subject) for _, subject, _, _ in held))
    columns = "id, sync, subject, target, want, force, generation, base, version, revision, pinned_force, refs, fence, state"
    ids = [id_ for id_, *_ in held]
    rows = {bytes(row[0]): row for row in db.by(f"SELECT {columns} FROM owed WHERE id", ids, "bytea")}
    known = "SELECT vendor_id, record, snapshot, sent FROM xrefs WHERE connection = 'mem' AND object = 'customer' AND org = '' AND "
    if db.by(f"{known}is_primary AND record", [bytes.fromhex(subject) for _, subject, *_ in held], "bytea"):
        raise RuntimeError("these are to be new there")
    if db.by(f"{known}vendor_id", [f"K{business[:12]}" for *_, business in held], "text"):
        raise RuntimeError("these are to be new there")
    act = int(db.ask(db.next)[0][0])
    xrefs, items, wakes = [], [], []
    for id_, subject, fence, business in held:
        row = rows[id_]
        if row[12] != fence or row[13] != "claimed" or row[4] != row[6]:
            raise RuntimeError("these are ours, and paid")
        base = orjson.loads(row[7])
        pairs = {name: [digest, digest, 0, "00" * 8] for name, digest in base.items()}
        sent = orjson.dumps({row[1]: {"version": row[8], "revision": row[9]}}).decode()
        xrefs.append(("mem", "customer", "", f"K{business[:12]}", bytes.fromhex(subject), True, business,
                      orjson.dumps(pairs).decode(), now, 0, now, "A", sent, act))  # fmt: skip
        items.append({"record": subject, "row": id_.hex(), "sync": row[1], "subject": subject, "outcome": "agree",
                      "version": row[8], "revision": row[9], "step": "save", "answer": "applied",
                      "vendor_id": f"K{business[:12]}", "number": business, "stage": "A"})  # fmt: skip
        wakes += [f"target:{row[3]}", f"xref:{row[3]}"]
    db.by("DELETE FROM owed WHERE id", ids, "bytea")
    names = [name for name in XREF[0].split() if name not in ("connection", "object", "org", "vendor_id")]
    tail = ", ".join(f"{name} = excluded.{name}" for name in names)
    db.write("xrefs", XREF, xrefs, f" ON CONFLICT (connection, object, org, vendor_id) DO UPDATE SET {tail}")
    if db.by("SELECT id FROM owed WHERE state = 'waiting' AND waits_for", wakes, "text"):
        raise RuntimeError("nobody is to wait")
    _told(db, act, now, "settle", items)
    return len(held)
