"""A store as it is after a million customers were taken in and delivered, made in minutes.

The hub itself takes one block of 200 customers in and delivers them to two systems. Every further block is a copy of
the rows it wrote, statement for statement with other ids, names, digests, data keys and act numbers: records, match
keys, three xrefs each, acts of the true size, and which records they touched. Older acts are sealed, as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from sqlalchemy import make_url

from benchmarks.claim_settle import answer
from hub.clock import SECOND, SystemClock, uuid8
from hub.model.kinds import KINDS, digest_form, key_values
from hub.pipe.claim import Attempt, Claim, claim
from hub.pipe.items import Item
from hub.pipe.jobs import lease
from hub.pipe.settle import settle_writes
from hub.pipe.take import Batch, take
from hub.pipe.world import World, business_key
from hub.sdk.connector import Applied, SourceRecord, VendorKey
from hub.store import Store, Tx, sql
from hub.store.arrays import register
from hub.store.rows import RECORD_COLUMNS, XREF_COLUMNS
from hub.store.schema import acts, keys, records, touched, xrefs
from hub.vault import Vault
from tests.worlds import project, world

__all__ = ["BATCH", "CONNECTION", "KIND", "LANE", "SYNCS", "Site", "answered"]

BATCH = 200
SYNCS = ("keyed.out", "mail.out")
CONNECTION, KIND, LANE = "mem", "customer", 1
JOB = "bus:inbound:0"
AT_ONCE = 25
"""Blocks of one transaction."""
UNSEEN = 10
"""One customer in so many was not shown for a while."""
HOUR = 3600 * SECOND
VARIED = ("name", "phone")

ACT_COLUMNS = "id at actor verb body seq hash"
_copies = {
    "records": sql.bulk_insert(records, RECORD_COLUMNS),
    "keys": sql.bulk_insert(keys, "name value record strong"),
    "xrefs": sql.bulk_insert(xrefs, XREF_COLUMNS),
    "acts": sql.bulk_insert(acts, ACT_COLUMNS),
    "touched": sql.bulk_insert(touched, "record act"),
}
Rows = list[tuple[Any, ...]]


def source(number: int, remark: str = "first contact at the fair") -> dict[str, Any]:
    """Return a customer as the vendor shows it."""
    return {"id": f"V{number}", "number": f"C{number}", **_known(number, remark)}


def _known(number: int, remark: str = "first contact at the fair") -> dict[str, Any]:
    return {
        "name": f"{_stem(number)}有限公司",
        "phone": f"+8613{number:09}",
        "street": "深南大道 1 号",
        "remark": remark,
    }


def answered(attempt: Attempt) -> Applied:
    """Answer as a vendor that applied the write: a new object, or the one it is about."""
    assert attempt.write is not None
    return answer(attempt) if attempt.write.ref is None else Applied(attempt.write.ref)


@dataclass(frozen=True)
class _Block:
    """The rows that the hub wrote for its first customers, by the customer's number; acts as they are."""

    ids: list[bytes]
    records: Rows
    keys: list[Rows]
    xrefs: list[Rows]
    digests: list[list[tuple[str, str]]]
    """What a digest is made of, the digest: of the fields that differ from customer to customer."""
    acts: Rows
    touched: list[tuple[int, int]]
    """Number of the customer, number of the act."""


class Site:
    """A hub's functions on one store. ``size``: customers in it; new ones are numbered from there."""

    def __init__(self, url: str, size: int) -> None:
        """Make the store."""
        self.clock = SystemClock()
        self.store = Store.open(url, self.clock)
        self.vault = Vault.in_memory(self.clock)
        self.world = world(self.store, self.vault, project(("customer", "keyed", "mail")))
        held = self.store.run_now(lease, JOB, "bus", "bench", 36_000.0, {"next": 0})
        if held is None:
            raise RuntimeError("a new store's job cannot be held by anybody else")
        self.held, self.position, self.taken = held, held.position, 0
        self.began = self.clock.now()
        self.size = self.next = BATCH
        asyncio.run(self.first())
        block = self.store.read_now(_block, self.world)
        self.ids = list(block.ids)
        with _quickly(url) as tx:
            for first in range(BATCH, size, BATCH * AT_ONCE):
                tx.cursor.execute("BEGIN")
                self._copy(tx, block, range(first, min(first + BATCH * AT_ONCE, size), BATCH))
                tx.cursor.execute("COMMIT")
        self.size = self.next = max(size, BATCH)

    async def first(self) -> None:
        """Take the first block in and deliver it."""
        await self.store.run(take, self.batch([source(number) for number in range(BATCH)]), self.world)
        while attempts := await self.claimed():
            await self.settled(attempts)

    async def claimed(self) -> list[Attempt]:
        """Claim up to BATCH rows."""
        return await self.store.run(
            claim, Claim(CONNECTION, LANE, BATCH, "bench", time.monotonic()), self.world
        )

    async def settled(self, attempts: Sequence[Attempt]) -> None:
        """Settle them as applied."""
        await self.store.run(settle_writes, [(one, answered(one)) for one in attempts], self.world, "bench")

    def batch(self, bodies: Sequence[dict[str, Any]]) -> Batch:
        """Return what a reader hands to `take`."""
        sync, now = self.world.inbound(CONNECTION, KIND), self.clock.now()
        items = [
            Item(CONNECTION, KIND, VendorKey("", one["id"]), SourceRecord(VendorKey("", one["id"]), one, now), sync,
                 event=self.clock.new_id().hex())
            for one in bodies
        ]  # fmt: skip
        self.taken += len(items)
        start, self.position = self.position, orjson.dumps({"next": self.taken}).decode()
        return Batch(items, JOB, self.held.fence, start, self.position)

    # the copies ---------------------------------------------------------------------------------------------------

    def _copy(self, tx: Any, block: _Block, firsts: Sequence[int]) -> None:
        made: dict[str, Rows] = {name: [] for name in _copies}
        number = _last_act(tx)
        for first in firsts:
            new = [self._new_id(first + place) for place in range(BATCH)]
            self.ids += new
            stamps = {act[0]: number + 1 + place for place, act in enumerate(block.acts)}
            number += len(block.acts)
            made["acts"] += [
                (stamps[act[0]], *act[1:5], stamps[act[0]], os.urandom(32)) for act in block.acts
            ]
            made["touched"] += [(new[place], stamps[act]) for place, act in block.touched]
            for place, id_ in enumerate(new):
                self._copy_one(made, block, place, first + place, id_, stamps)
        for name, insert in _copies.items():
            insert(tx, made[name])
        _set_last_act(tx, number)

    def _new_id(self, number: int) -> bytes:
        at = self.began - 24 * HOUR + number * 1000
        return uuid8(at, self.vault.digest(f"{CONNECTION}/{KIND}//V{number}".encode()))

    def _copy_one(
        self,
        made: dict[str, Rows],
        block: _Block,
        place: int,
        number: int,
        id_: bytes,
        stamps: dict[int, int],
    ) -> None:
        old, new = _known(place), _known(number)
        record = block.records[place]
        made["records"].append(
            (id_, *record[1:6], orjson.dumps(new).decode(), *record[7:9], self.vault.new_data_key(id_)[1],
             stamps[record[10]])
        )  # fmt: skip
        stem, phone = (_stem(place), _stem(number)), (old["phone"], new["phone"])
        made["keys"] += [
            (name, value.replace(*stem).replace(*phone), id_, strong)
            for name, value, strong in block.keys[place]
        ]
        changes = [
            (before, self.vault.digest(form.replace(*stem).replace(*phone).encode()).hex())
            for form, before in block.digests[place]
        ]
        seen = self.began - (2 * HOUR if number % UNSEEN == 0 else 0)
        for xref in block.xrefs[place]:
            (
                connection,
                object_,
                org,
                _,
                _,
                primary,
                stable,
                snapshot,
                stored,
                _,
                rest,
                _,
                stage,
                gone,
                sent,
                act,
            ) = xref
            for before, after in changes:
                snapshot = snapshot.replace(before, after)
            key = None if object_ == KIND else business_key(connection, object_, id_)
            vendor_id = f"V{number}" if key is None else f"K{key[:12]}"
            made["xrefs"].append(
                (connection, object_, org, vendor_id, id_, bool(primary), key if stable else None, snapshot, stored, seen,
                 rest, seen, stage, gone, sent, stamps[act])
            )  # fmt: skip


def _stem(number: int) -> str:
    return f"示例科技{number}"


@dataclass(frozen=True)
class _Bare:
    """As much of a transaction as a statement asks for."""

    cursor: Any
    dialect: str


@contextlib.contextmanager
def _quickly(url: str) -> Iterator[_Bare]:
    """Give a connection that does not wait for the disk: what is copied can be copied again."""
    address = make_url(url)
    if address.drivername == "sqlite":
        lite = sqlite3.connect(str(address.database), isolation_level=None)
        lite.execute("PRAGMA synchronous = OFF")
        with contextlib.closing(lite):
            yield _Bare(lite.cursor(), "sqlite")
        return
    plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        register(connection)
        connection.execute("SET synchronous_commit = off")
        yield _Bare(connection.cursor(), "postgresql")


def _block(tx: Tx, world: World) -> _Block:
    """Read what the hub wrote for the first customers."""

    def rows(text: str) -> Rows:
        tx.cursor.execute(text)
        return [tuple(row) for row in tx.cursor.fetchall()]

    def listed(columns: str) -> str:
        return ", ".join(columns.split())

    numbers = {
        bytes(id_): int(name[1:])
        for id_, name in rows(f"SELECT record, vendor_id FROM xrefs WHERE object = '{KIND}'")
    }
    ids = sorted(numbers, key=numbers.__getitem__)
    known = {bytes(row[0]): row for row in rows(f"SELECT {listed(RECORD_COLUMNS)} FROM records")}
    named: dict[bytes, Rows] = {id_: [] for id_ in ids}
    for row in rows(f"SELECT {listed(XREF_COLUMNS)} FROM xrefs ORDER BY object"):
        named[bytes(row[4])].append(row)
    told = rows(f"SELECT {listed(ACT_COLUMNS)} FROM acts WHERE verb <> 'job' ORDER BY id")
    went = [(numbers[bytes(record)], act) for record, act in rows("SELECT record, act FROM touched")]
    places, digest, kind = range(len(ids)), world.digests[KIND], KINDS[KIND]
    return _Block(
        ids, [known[id_] for id_ in ids], [list(key_values(kind, _known(place))) for place in places],
        [named[id_] for id_ in ids],
        [
            [(digest_form(kind, name, _known(place)[name]).decode(), digest(name, _known(place)[name])) for name in VARIED]
            for place in places
        ], told, went,
    )  # fmt: skip


def _last_act(tx: Any) -> int:
    tx.cursor.execute("SELECT max(id) FROM acts")
    return int(tx.cursor.fetchone()[0])


def _set_last_act(tx: Any, number: int) -> None:
    if tx.dialect == "sqlite":
        tx.cursor.execute("UPDATE hub SET last_act = ?", (number,))
    else:
        tx.cursor.execute("SELECT setval('acts_id', %s)", (number,))
