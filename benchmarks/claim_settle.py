"""Claim and settle of first writes, a vendor that answers Applied at once, beside hand-written loops on the driver.

What is measured is `hub.pipe.claim.claim` and `hub.pipe.settle.settle_writes` in batches of 200 through
`Store.run`: 200 records are rendered by a mapping, payloads sealed, rows pinned; then agreed, xrefs written, rows
deleted; two acts. The hand-written loops (`benchmarks.store_bare`) write constants into the same tables: they map,
seal, digest and lock nothing. A third one (`benchmarks.least`) does by hand what the law demands of these rows at the
least; it has no budget, it says how much of the distance is the law's and how much is ours.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks import store_bare
from benchmarks.least import least
from benchmarks.measure import Row, engines, in_turns, row
from hub.clock import SystemClock
from hub.pipe import rows
from hub.pipe.claim import Attempt, Claim, claim
from hub.pipe.settle import settle_writes
from hub.pipe.world import World
from hub.sdk.connector import Applied, VendorRef
from hub.store import Store, Tx
from hub.store.rows import Record
from hub.store.view import View
from hub.vault import Vault
from tests.worlds import project, world

BATCH = 200
ROWS = 3_000
ROUNDS = 5
LEAST = "with the law's least"
BUDGETS = {"with xref and act": 0.7, "bare": 0.4, LEAST: None}
PATH = "claim + settle, {engine}, beside the loop {limit}"


def fill(tx: Tx, made: World, count: int) -> None:
    """Make records that are owed to the vendor and unknown there."""
    view = View(tx, made.vault)
    sync = made.project.syncs["customer.out"]
    for number in range(count):
        id_ = tx.clock.new_id()
        body = {"name": f"示例科技{number}有限公司", "phone": f"+86138{number:08}", "street": "深南大道 1 号",
                "remark": "first contact at the fair"}  # fmt: skip
        _, sealed = made.vault.new_data_key(id_)
        view.save_record(
            Record(id_, "customer", 1, "cn/south/", None, None, body, data_key=sealed, is_new=True)
        )
        target = rows.target_key(sync.connection, sync.object, sync.org, id_)
        rows.owe(view, rows.new_row(view, sync=sync.name, subject=id_.hex(), connection=sync.connection,
                                    target=target, lane=sync.lane))  # fmt: skip
    view.flush("bench", "fill")


def answer(attempt: Attempt) -> Applied:
    """Answer as a vendor that applied the write."""
    assert attempt.write is not None
    name = attempt.write.business_key
    return Applied(VendorRef(f"K{name[:12]}", name, "A"))


async def work(store: Store, made: World) -> int:
    """Work off what is owed; return how many rows it was."""
    done = 0
    lane = made.project.syncs["customer.out"].lane
    while attempts := await store.run(claim, Claim("mem", lane, BATCH, "bench", time.monotonic()), made):
        done += await store.run(settle_writes, [(one, answer(one)) for one in attempts], made, "bench")
    return done


class Ours:
    """The hub's own claim and settle on one store."""

    def __init__(self, url: str) -> None:
        clock = SystemClock()
        self.store = Store.open(url, clock)
        vault = Vault.in_memory(clock)
        self.world = world(self.store, vault, project(("customer",), customer={"stop_at": "saved"}))

    def rate(self) -> float:
        """Return rows per second over ROWS fresh rows."""
        return self.rate_of(lambda: asyncio.run(work(self.store, self.world)))

    def rate_of(self, work_off: Callable[[], int]) -> float:
        """Return the same of whoever works them off."""
        for _ in range(0, ROWS, 1000):
            self.store.run_now(fill, self.world, 1000)
        started = time.perf_counter()
        done = work_off()
        seconds = time.perf_counter() - started
        if done != ROWS:
            raise RuntimeError(f"{done} of {ROWS} rows were settled")
        return done / seconds


def _limit(engine: str, url: str, *, bare: bool) -> tuple[Store, Callable[[], float]]:
    """Return the hand-written loop over a store of its own; every round writes new xrefs, as ours does."""
    store = Store.open(url, SystemClock())

    def rate() -> float:
        store.run_now(_forget)
        store_bare.refill(store, ROWS)
        if engine == "SQLite":
            return store_bare.limit_sqlite(Path(url.removeprefix("sqlite:///")), ROWS, bare=bare)
        return store_bare.limit_postgres(url, ROWS, bare=bare)

    return store, rate


def _least(engine: str, url: str) -> tuple[Store, Callable[[], float]]:
    """Return the loop that does the law's least, over records and debts as ours has them."""
    beside = Ours(url)
    work_off = least(engine, url, beside.world.project.syncs["customer.out"].lane)
    return beside.store, lambda: beside.rate_of(work_off)


def _forget(tx: Tx) -> None:
    tx.cursor.execute("DELETE FROM xrefs")


def run() -> list[Row]:
    """Measure beside every loop on both engines."""
    found = []
    with engines() as made:
        for engine, new in made.items():
            for what, budget in BUDGETS.items():
                ours = Ours(new())
                store, limit = (
                    _least(engine, new()) if what == LEAST else _limit(engine, new(), bare=what == "bare")
                )
                gc.collect()
                gc.freeze()  # as `hub up` does once it is ready; the loop beside gains by it too
                rate, bare = in_turns(ROUNDS, ours.rate, limit)
                ours.store.close()
                store.close()
                found.append(row(PATH.format(engine=engine, limit=what), rate, bare, budget, "rows/s"))
    return found


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
