"""Records that cannot be taken: each ends with a person, none stops its neighbours, none is answered by a 5xx."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.bus.log import Log
from hub.bus.port import INBOUND, Topic
from hub.clock import SystemClock
from hub.errors import Cause
from hub.pipe import intake, take
from hub.pipe.intake import TRIES, Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.world import World
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store import Store
from hub.vault import Vault
from tests.api_site import CREDIT_CODE, CUSTOMER, Site, open_site
from tests.worlds import world

OTHER_CODE = "91350100M000100Y43"
C1, C2 = "customers/by-external/crm/C-1", "customers/by-external/crm/C-2"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened


async def test_a_credit_code_that_another_customer_holds_is_a_question_for_a_person_not_a_failure(
    site: Site,
) -> None:
    first = (await site.put(C1, CUSTOMER)).json()
    await site.put(C2, {"name": "福建另一家有限公司", "uscc": OTHER_CODE})
    answer = await site.put(C2, {"name": "福建另一家有限公司", "uscc": CREDIT_CODE})
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["state"], told["cause"], told["field"]) == ("parked", Cause.TAKEN.value, "uscc")
    assert first["id"] in told["detail"]
    assert (await site.get(C2)).json()["fields"]["uscc"] == OTHER_CODE


async def test_a_credit_code_that_was_given_up_may_be_taken(site: Site) -> None:
    await site.put(C1, CUSTOMER)
    await site.put(C2, {"name": "福建另一家有限公司", "uscc": OTHER_CODE})
    assert (await site.put(C1, {**CUSTOMER, "uscc": "914403001922038216"})).status_code == 200
    assert (await site.put(C2, {"name": "福建另一家有限公司", "uscc": CREDIT_CODE})).status_code == 200


@dataclass
class Door:
    """One partition of a real bus and a store in memory."""

    store: Store
    bus: Log
    world: World
    intake: Intake

    async def publish(self, *records: SourceRecord) -> None:
        for number, record in enumerate(records):
            event = to_event("mem", "customer", record, event_id=f"{record.key.id}-{number}")
            await self.bus.publish(INBOUND, [to_message(event)])

    def rows(self, what: str) -> list[Any]:
        return self.store.read_now(lambda tx: [tuple(row) for row in tx.conn.exec_driver_sql(what)])

    async def take_all(self) -> int:
        """Take until nothing is left; return how many turns failed."""
        failed = 0
        for _ in range(50):
            try:
                if not await self.intake.turn():
                    return failed
            except RuntimeError:
                failed += 1
        raise AssertionError("the partition is stuck")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    clock = SystemClock()
    store = Store.open("sqlite://", clock, inline=True)
    bus = Log.open(tmp_path / "bus.db", clock, topics={INBOUND: Topic(INBOUND, 1, 3600)})
    made = world(store, Vault.in_memory(clock))
    yield Door(store, bus, made, Intake(store, made, bus, "test", topic=INBOUND, partition=0))
    await bus.aclose()
    store.close()


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking the customer V-2 fails, whatever the program does."""
    real = take.arrive  # type: ignore[attr-defined]  # replaced where it is called

    def arrive(view: Any, item: Any, *rest: Any) -> Any:
        if item.key.id == "V-2":
            raise RuntimeError("a mistake of the program")
        return real(view, item, *rest)

    monkeypatch.setattr(take, "arrive", arrive)


def record(id_: str) -> SourceRecord:
    return SourceRecord(
        VendorKey("", id_), {"id": id_, "name": f"客户 {id_}"}, SystemClock().now(), None, "audited", id_
    )


@pytest.mark.usefixtures("poison")
async def test_a_message_that_always_fails_becomes_a_dead_letter_and_its_neighbours_go_on(door: Door) -> None:
    await door.publish(*(record(f"V-{number}") for number in range(5)))
    assert await door.take_all() == TRIES  # the batch, then alone
    assert len(door.rows("SELECT id FROM records")) == 4
    ((subject, state, cause, kept),) = door.rows(
        "SELECT subject, state, cause, source IS NOT NULL FROM owed WHERE sync = 'customer.in'"
    )
    assert (subject, state, kept) == ("/V-2", "parked", 1)
    assert Cause.BUG.value in cause
    assert "a mistake of the program" in cause

    await door.publish(record("V-9"))
    assert await door.take_all() == 0


async def test_a_store_that_is_down_gives_nothing_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> int:
        raise RuntimeError("the disk is full")

    await door.publish(record("V-1"), record("V-2"))
    with monkeypatch.context() as patched:
        patched.setattr(intake, "take", down)
        for _ in range(3 * TRIES):
            with pytest.raises(RuntimeError):
                await door.intake.turn()
    assert await door.take_all() == 0
    assert len(door.rows("SELECT id FROM records")) == 2
    assert door.rows("SELECT id FROM owed WHERE state = 'parked'") == []
