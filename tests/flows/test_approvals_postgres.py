"""A payment and the contract it waits for, decided about at the same moment: PostgreSQL with a real barrier."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hub.crm.external import ExternalWrite
from hub.pipe.accept import accept
from hub.pipe.load import load_arrivals
from hub.pipe.world import World
from hub.store import Store
from hub.store.view import View
from tests.approval_desk import Desk


class Two:
    """A desk and a second connection to its store: two callers whose transactions meet when both have loaded."""

    def __init__(self, url: str) -> None:
        self.desk = Desk(url=url)
        self.second = Store.open(url, self.desk.clock)
        self.armed = threading.Event()

    def close(self) -> None:
        self.second.close()
        self.desk.close()

    def at_once(self, *acts: Callable[[Store], object]) -> None:
        """Have two things happen at the same moment, each over a store of its own."""
        self.armed.set()
        with ThreadPoolExecutor(2) as pool:
            for future in [
                pool.submit(act, store)
                for store, act in zip((self.desk.store, self.second), acts, strict=True)
            ]:
                future.result(30)
        self.armed.clear()

    def put(self, kind: str, id_: str, body: dict[str, Any]) -> Callable[[Store], object]:
        """Return a write of the CRM."""
        write = ExternalWrite("crm", kind, id_, body, "cn/south/")
        return lambda store: store.run_now(accept, write, self.desk.world)

    def money(self, **named: str) -> dict[str, Any]:
        """Return a payment that names a contract."""
        return {"no": "P-1", "customer": self.desk.customer, "amount": "1.00", "currency": "CNY",
                "received_on": "2026-01-10", **named}  # fmt: skip

    def is_released(self) -> bool:
        """Say whether the one payment may go."""
        ((body,),) = self.desk.ask("SELECT body FROM records WHERE kind = 'payment'")
        return b'"released":true' in (
            body if isinstance(body, bytes) else str(body).replace(" ", "").encode()
        )


@pytest.fixture
def two(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    made = Two(fresh_postgres_url)
    barrier = threading.Barrier(2, timeout=0.5)

    def load(view: View, items: Any, known: World) -> None:
        load_arrivals(view, items, known)
        if made.armed.is_set():
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait()

    for taken_in in ("accept", "take"):
        monkeypatch.setattr(f"hub.pipe.{taken_in}.load_arrivals", load)
    yield made
    made.close()


def contract_and_payment_at_once(two: Two) -> bool:
    two.desk.sign("HT-0")
    deal = {
        "no": "HT-9",
        "customer": two.desk.customer,
        "amount_total": "1.00",
        "currency": "CNY",
        "status": "active",
    }
    two.at_once(two.put("contract", "HT-9", deal), two.put("payment", "P-1", two.money(contract_no="HT-9")))
    return two.is_released()


def test_a_payment_that_names_a_contract_which_comes_at_the_same_moment_is_let_go(two: Two):
    assert contract_and_payment_at_once(two)


def test_without_the_lock_of_the_number_it_would_wait_for_ever(two: Two, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(View, "lock_keys", lambda self, wanted: None)
    assert not contract_and_payment_at_once(two)


def test_a_payment_that_comes_while_its_contract_is_approved_is_let_go(two: Two):
    contract = two.desk.sign()
    two.desk.ask_for("A-1", contract=contract)
    two.desk.decide("A-1", "in_progress")
    two.at_once(
        lambda _: two.desk.decide("A-1", "approved"),
        two.put("payment", "P-1", two.money(contract=contract)),
    )
    assert two.desk.body(contract)["status"] == "active"
    assert two.is_released()
