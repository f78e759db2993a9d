"""What only a second connection shows: races that PostgreSQL decides, with real barriers between two workers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.errors import Cause
from hub.pipe import claim as claim_module
from hub.pipe.accept import accept
from hub.pipe.load import load_arrivals
from hub.pipe.work import Worker
from hub.pipe.world import World
from hub.store import Store, Tx
from hub.store.view import View
from hub.vault import Vault
from tests.vendor import MemoryConnector, MemoryVendor
from tests.worlds import project, world

CODE = "91350100M000100Y43"


@dataclass
class Two:
    """Two stores over one database, as two processes would have them."""

    first: Store
    second: Store
    world: World

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result(30) for future in [pool.submit(call) for call in calls]]


@pytest.fixture
def two(fresh_postgres_url: str) -> Iterator[Two]:
    clock = SystemClock()
    first, second = Store.open(fresh_postgres_url, clock), Store.open(fresh_postgres_url, clock)
    yield Two(first, second, world(first, Vault.in_memory(clock)))
    first.close()
    second.close()


def customer(external_id: str, **body: Any) -> ExternalWrite:
    return ExternalWrite("crm", "customer", external_id, body, "cn/south/")


def meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both transactions get as far as they can before either goes on: the first half second of each waits."""
    barrier = threading.Barrier(2, timeout=0.5)
    real = load_arrivals

    def load(view: View, items: Any, known: World) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):  # a rerun, or the other waits behind our lock
            barrier.wait()
        real(view, items, known)

    monkeypatch.setattr("hub.pipe.accept.load_arrivals", load)


def count(store: Store, table: str) -> int:
    return int(
        store.read_now(lambda tx: tx.conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
    )


def test_two_who_create_one_person_at_the_same_moment_end_as_a_candidate(two: Two, monkeypatch):
    meeting(monkeypatch)
    answers = two.at_once(
        lambda: two.first.run_now(accept, customer("C-1", name="示例科技有限公司"), two.world),
        lambda: two.second.run_now(accept, customer("C-2", name="示例科技有限公司"), two.world),
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["WriteAnswer", "WriteRefused"]
    refused = next(answer for answer in answers if isinstance(answer, WriteRefused))
    assert refused.cause is Cause.CANDIDATE
    assert count(two.first, "records") == 1


def test_the_loser_of_a_race_for_a_credit_code_runs_again_and_finds_the_winner(two: Two, monkeypatch):
    meeting(monkeypatch)
    monkeypatch.setattr(
        View, "lock_keys", lambda self, wanted: None
    )  # without the locks only the index decides
    answers = two.at_once(
        lambda: two.first.run_now(accept, customer("C-1", name="甲公司", uscc=CODE), two.world),
        lambda: two.second.run_now(accept, customer("C-2", name="乙公司", uscc=CODE), two.world),
    )
    assert all(isinstance(answer, WriteAnswer) for answer in answers)
    assert len({answer.record_id for answer in answers}) == 1
    assert count(two.first, "records") == 1


class Gate:
    """Holds one transaction at a point until another has come to its own."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self.go.wait(3)


async def _until_receipt_waits(two: Two) -> tuple[MemoryVendor, Worker, Worker]:
    """Bring a customer to its last step, and a receipt of it to be due."""
    vendor = MemoryVendor(SystemClock())
    one = Worker(two.first, two.world, vendor.clock, "one", "mem", MemoryConnector(vendor))
    other = Worker(two.second, two.world, vendor.clock, "other", "mem", MemoryConnector(vendor))
    made = await two.first.run(accept, customer("C-1", name="示例科技有限公司"), two.world)
    for _ in range(2):
        await one.turn(1, 10)  # save, submit: audit is left
    body = {
        "no": "P-1",
        "customer": made.record_id.hex(),
        "amount": "1.00",
        "currency": "CNY",
        "received_on": "2026-01-10",
    }
    await two.first.run(accept, ExternalWrite("crm", "payment", "P-1", body, "cn/south/"), two.world)
    return vendor, one, other


def _hold(monkeypatch: pytest.MonkeyPatch, point: str, gate: Gate) -> None:
    """Stop the waiter before its second look, or after it, just before it goes to sleep."""
    real_share, real_flush = View.share_records, View.flush

    def share(self: View, ids: Any) -> None:
        gate()
        real_share(self, ids)

    def flush(self: View, actor: str, verb: str, **rest: Any) -> None:
        if "other" in actor:
            gate()
        real_flush(self, actor, verb, **rest)

    if point == "before the second look":
        monkeypatch.setattr(View, "share_records", share)
    else:
        monkeypatch.setattr(View, "flush", flush)


async def _meet(monkeypatch: pytest.MonkeyPatch, two: Two, point: str) -> Worker:
    """A receipt has seen that its customer is not complete; while it stands at the point, the customer is completed."""
    _vendor, one, other = await _until_receipt_waits(two)
    gate = Gate()
    _hold(monkeypatch, point, gate)
    waiting = asyncio.ensure_future(other.turn(0, 10))
    await asyncio.to_thread(gate.reached.wait, 5)
    finishing = asyncio.ensure_future(one.turn(1, 10))  # audit: complete, and wakes who waits
    await asyncio.wait({finishing}, timeout=1.5)
    gate.go.set()
    await asyncio.gather(waiting, finishing)
    return other


@pytest.mark.parametrize("point", ["before the second look", "before it sleeps"])
async def test_no_wake_up_is_lost_when_a_wait_and_its_end_meet(two: Two, monkeypatch, point: str):
    other = await _meet(monkeypatch, two, point)
    assert ("receipt.out", "waiting") not in two.first.read_now(_states), (
        "it sleeps although its customer is complete"
    )
    await other.turn(0, 10)
    assert two.first.read_now(_states) == []


async def test_without_the_row_lock_that_wake_up_is_lost(two: Two, monkeypatch):
    """The planted bug: the waiter takes no lock, so the test above can fail."""
    monkeypatch.setattr(View, "share_records", lambda self, ids: None)
    await _meet(monkeypatch, two, "before it sleeps")
    assert ("receipt.out", "waiting") in two.first.read_now(_states)


def _states(tx: Tx) -> list[tuple[str, str]]:
    return [tuple(row) for row in tx.conn.exec_driver_sql("SELECT sync, state FROM owed")]


async def _receipt_waits_for_a_stage_that_a_person_finished(two: Two) -> tuple[Worker, Worker]:
    """The customer is audited there, but the hub has not noted it: its own debt finds that nothing is left to do."""
    _vendor, one, other = await _until_receipt_waits(two)
    await one.turn(1, 10)
    two.first.run_now(lambda tx: tx.conn.exec_driver_sql("UPDATE xrefs SET complete = NULL") and None)
    await other.turn(0, 10)  # waits, and raises the customer's debt
    wake_receipt = "UPDATE owed SET state = 'ready', waits_for = NULL WHERE sync = 'receipt.out'"
    two.first.run_now(lambda tx: tx.conn.exec_driver_sql(wake_receipt) and None)
    return one, other


@pytest.mark.parametrize("locked", [True, False], ids=["with the record's lock", "planted: without it"])
async def test_a_plan_that_needs_nothing_more_wakes_who_is_about_to_sleep(
    two: Two, monkeypatch, locked: bool
):
    one, other = await _receipt_waits_for_a_stage_that_a_person_finished(two)
    gate = Gate()
    _hold(monkeypatch, "before it sleeps", gate)
    if not locked:
        monkeypatch.setattr(View, "hold_records", lambda self, ids: None)
    waiting = asyncio.ensure_future(other.turn(0, 10))
    await asyncio.to_thread(gate.reached.wait, 5)
    finishing = asyncio.ensure_future(one.turn(1, 10))
    await asyncio.wait({finishing}, timeout=1.5)
    gate.go.set()
    await asyncio.gather(waiting, finishing)
    assert (("receipt.out", "waiting") in two.first.read_now(_states)) is not locked


def _two_syncs_on_one_target(two: Two) -> Two:
    made = project(("customer",))
    second = replace(made.syncs["customer.out"], name="customer.patch")
    both = replace(made, syncs={**made.syncs, "customer.patch": second})
    return Two(two.first, two.second, replace(two.world, project=both))


def _claim_at_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let two workers claim the two rows of one target at the same moment; return how many attempts are open."""
    two = _two_syncs_on_one_target(two)
    two.first.run_now(accept, customer("C-1", name="示例科技有限公司"), two.world)
    barrier = threading.Barrier(2, timeout=1.0)
    real = claim_module.select_due

    def one_each(tx: Tx, *wanted: Any) -> Any:
        found = real(tx, *wanted)  # the row the other one holds is skipped
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait()  # both have seen that nobody is at the target
        return found

    monkeypatch.setattr(claim_module, "select_due", one_each)
    two.at_once(
        lambda: two.first.run_now(claim_module.claim, claim_module.Claim("mem", 1, 1, "one", 0.0), two.world),
        lambda: two.second.run_now(
            claim_module.claim, claim_module.Claim("mem", 1, 1, "other", 0.0), two.world
        ),
    )
    return int(
        two.first.read_now(
            lambda tx: tx.conn.exec_driver_sql(
                "SELECT count(*) FROM owed WHERE generation IS NOT NULL"
            ).scalar_one()
        )
    )


def test_two_workers_never_open_two_attempts_at_one_target(two: Two, monkeypatch):
    assert _claim_at_once(two, monkeypatch) == 1


def test_without_the_unique_index_on_the_target_they_would(two: Two, monkeypatch):
    """The planted bug: the test above can fail."""
    two.first.run_now(lambda tx: tx.conn.exec_driver_sql("DROP INDEX owed_target") and None)
    assert _claim_at_once(two, monkeypatch) == 2
