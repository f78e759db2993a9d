"""What a vendor allows in a time is not passed, however many workers claim at once, and no claim waits for another's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hub.clock import SystemClock
from hub.crm.external import ExternalWrite
from hub.pipe import claim as claim_module
from hub.pipe.accept import accept
from hub.pipe.claim import Claim, claim
from hub.pipe.limits import quotas
from hub.pipe.world import World
from hub.project.values import LANE_LIVE
from hub.sdk.spec import Budget
from hub.store import Store
from hub.vault import Vault
from tests.pipe_stand import Stand
from tests.worlds import SPEC, world

SEVEN_A_MINUTE = replace(SPEC, budgets=(Budget("calls", "account", "rate", 7, 60.0),))


def limited(made: World) -> World:
    return replace(made, specs={"mem": SEVEN_A_MINUTE})


def test_no_more_calls_are_made_in_a_window_than_the_vendor_allows():
    stand = Stand("customer")
    stand.world = limited(stand.world)
    for number in range(10):
        stand.put(f"C-{number}", name=f"示例{number}号有限公司")
    assert len(stand.claim(room=5)) == 5
    assert stand.store.read_now(quotas, stand.world) == [("mem", "calls", 2, 7)]
    assert len(stand.claim(room=5)) == 2
    assert stand.claim(room=5) == []
    stand.advance(60)
    assert len(stand.claim(room=5)) == 3
    stand.close()


def test_what_makes_no_call_spends_nothing():
    stand = Stand("customer")
    stand.world = limited(stand.world)
    record = stand.put("C-1", name="示例一号有限公司")
    stand.run()
    before = stand.store.read_now(quotas, stand.world)
    stand.put("C-1", name="示例二号有限公司")
    stand.put("C-1", name="示例一号有限公司")
    assert stand.owes("customer.out", record)
    assert stand.claim() == []
    assert not stand.owes("customer.out", record)  # it holds that already
    assert stand.store.read_now(quotas, stand.world) == before
    stand.close()


@pytest.mark.parametrize("allowed", [7, 100])
def test_two_workers_that_claim_at_once_keep_the_limit_together_and_neither_waits(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch, allowed: int
):
    """Both have looked at the budget before either spends: who comes second looks again if it is not enough for both."""
    clock = SystemClock()
    stores = [Store.open(fresh_postgres_url, clock) for _ in range(2)]
    spec = replace(SPEC, budgets=(Budget("calls", "account", "rate", allowed, 3600.0),))
    made = replace(world(stores[0], Vault.in_memory(clock)), specs={"mem": spec})
    for number in range(12):
        body = {"name": f"示例{number}号有限公司", "phone": f"+8613800000{number:03d}"}
        stores[0].run_now(accept, ExternalWrite("crm", "customer", f"C-{number}", body, "cn/south/"), made)
    both, met, spend = threading.Barrier(2), list[bool](), claim_module.spend

    def spending(*args: object) -> None:
        if len(met) < 2:
            met.append(True)
            both.wait(20)  # nobody gets here while the other holds the budget
        spend(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(claim_module, "spend", spending)

    def claimed(store: Store) -> int:
        return len(store.run_now(claim, Claim("mem", LANE_LIVE, 6, store.url, 0.0), made))

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(claimed, stores))
    assert sum(counts) == min(allowed, 12)
    assert stores[0].read_now(quotas, made) == [("mem", "calls", allowed - sum(counts), allowed)]
    for store in stores:
        store.close()
