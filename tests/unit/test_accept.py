"""One record through the API: what it may not cost."""

from __future__ import annotations

import pytest

from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.pipe.accept import accept
from hub.store import Store
from hub.store.view import View
from hub.vault import Vault
from tests.worlds import world


def test_a_payment_loads_none_of_its_customers_earlier_payments(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    store, vault = Store.open("sqlite://", clock, inline=True), Vault.in_memory(clock)
    made = world(store, vault)

    def put(kind: str, id_: str, body: dict[str, object]) -> WriteAnswer:
        answer = store.run_now(accept, ExternalWrite("crm", kind, id_, body, "cn/south/"), made)
        assert isinstance(answer, WriteAnswer)
        return answer

    customer = put("customer", "C-1", {"name": "示例科技有限公司"}).record_id.hex()
    payment = {"customer": customer, "amount": "10.00", "currency": "CNY", "received_on": "2026-01-10"}
    for number in range(5):
        put("payment", f"P-{number}", {"no": f"P-{number}", **payment})
    loaded: list[bytes] = []
    load = View.load_records

    def noted(view: View, ids: object, *, lock: bool) -> None:
        wanted = list(ids)  # type: ignore[call-overload]
        loaded.extend(wanted)
        load(view, wanted, lock=lock)

    monkeypatch.setattr(View, "load_records", noted)
    put("payment", "P-5", {"no": "P-5", **payment})
    assert loaded == []
    store.close()
