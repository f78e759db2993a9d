"""Business rules end to end over the real store and the in-memory vendor: modes, admission, identity, conflicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.errors import Cause
from hub.model.fields import InvalidField
from hub.model.kinds import KINDS, normalise
from hub.pipe import desk
from hub.pipe.accept import accept
from hub.pipe.claim import Claim, claim
from hub.pipe.settle import settle_writes
from hub.pipe.work import Worker, wake
from hub.pipe.world import World
from hub.project.values import Admission, Project
from hub.store import Store
from hub.vault import Vault
from tests.vendor import Fate, MemoryConnector, MemoryVendor
from tests.worlds import CUSTOMER_IN, project, sync, with_mode, world


@dataclass
class Site:
    """One hub and one vendor."""

    store: Store
    vault: Vault
    vendor: MemoryVendor
    connector: MemoryConnector
    world: World

    def use(self, made: Project) -> None:
        self.world = world(self.store, self.vault, made)

    async def put(self, kind: str, external_id: str, /, **body: Any) -> Any:
        return await self.store.run(
            accept, ExternalWrite("crm", kind, external_id, body, "cn/south/"), self.world
        )

    async def drain(self) -> None:
        worker = Worker(self.store, self.world, self.vendor.clock, "test", "mem", self.connector)
        for _ in range(40):
            if not sum([await worker.turn(lane, 50) for lane in (0, 1, 2)]):
                return

    def rows(self, columns: str = "sync, state, waits_for") -> list[Any]:
        return self.store.read_now(
            lambda tx: tx.conn.exec_driver_sql(f"SELECT {columns} FROM owed ORDER BY id").all()
        )


@pytest.fixture
def site() -> Iterator[Site]:
    clock = SystemClock()
    store = Store.open("sqlite://", clock, inline=True)
    vault, vendor = Vault.in_memory(clock), MemoryVendor(clock)
    yield Site(store, vault, vendor, MemoryConnector(vendor), world(store, vault))
    store.close()


async def test_a_sync_that_observes_sends_nothing_and_says_what_it_would_do(site: Site):
    site.use(with_mode(project(("customer",)), "customer.out", "observe"))
    await site.put("customer", "C-1", name="示例科技有限公司")
    await site.drain()
    assert site.vendor.effects == []
    ((state, waits_for, cause),) = site.rows("state, waits_for, cause")
    assert (state, waits_for) == ("waiting", "mode:customer.out")
    assert '"verdict":"create"' in cause

    site.use(project(("customer",)))
    await site.store.run(wake, ["mode:customer.out"], site.world)
    await site.drain()
    assert [effect.step for effect in site.vendor.effects] == ["save", "submit", "audit"]


async def test_a_customer_waits_for_admission_without_an_error_and_goes_on_when_complete(site: Site):
    made = project(("customer",))
    admitted = replace(made.syncs["customer.out"], admission=Admission(("name", "uscc")))
    site.use(replace(made, syncs={**made.syncs, "customer.out": admitted}))
    answer = await site.put("customer", "C-1", name="示例科技有限公司")
    await site.drain()
    assert site.rows() == [("customer.out", "waiting", f"admit:{answer.record_id.hex()}")]

    await site.put("customer", "C-1", name="示例科技有限公司", uscc="91350100M000100Y43")
    await site.drain()
    assert site.rows() == []
    assert len(site.vendor.things) == 1


async def test_the_same_credit_code_is_the_same_customer_whatever_it_is_called(site: Site):
    first = await site.put("customer", "C-1", name="示例科技有限公司", uscc="91350100M000100Y43")
    second = await site.put("customer", "C-2", name="示例科技公司", uscc="91350100M000100Y43")
    assert isinstance(second, WriteAnswer)
    assert second.record_id == first.record_id


async def test_a_like_name_in_the_region_is_a_candidate_for_a_person_never_a_silent_merge(site: Site):
    await site.put("customer", "C-1", name="示例科技有限公司")
    held = await site.put("customer", "C-2", name="示例科技有限公司")
    assert isinstance(held, WriteRefused)
    assert held.cause is Cause.CANDIDATE
    parked = [row for row in site.rows("sync, state, cause") if row[1] == "parked"]
    assert len(parked) == 1
    assert "candidate" in parked[0][2]


async def test_like_named_companies_with_different_credit_codes_are_two(site: Site):
    first = await site.put("customer", "C-1", name="示例科技有限公司", uscc="91350100M000100Y43")
    second = await site.put("customer", "C-2", name="示例科技有限公司", uscc="914403001922038216")
    if isinstance(second, WriteRefused):
        pytest.fail(f"{second.cause}: {second}")
    assert second.record_id != first.record_id


async def test_five_edits_while_nobody_can_write_become_one_write(site: Site):
    await site.put("customer", "C-1", name="示例科技有限公司")
    await site.drain()
    before = len(site.vendor.effects)
    for number in range(5):
        await site.put("customer", "C-1", name="示例科技有限公司", street=f"示例路{number}号")
    await site.drain()
    assert [effect.step for effect in site.vendor.effects[before:]] == ["unaudit", "save", "submit", "audit"]
    assert next(iter(site.vendor.things.values())).fields["street"] == "示例路4号"


async def test_what_was_sent_and_comes_back_changes_nothing(site: Site):
    answer = await site.put("customer", "C-1", name="示例科技有限公司", street="示例路1号")
    await site.drain()
    again = await site.put("customer", "C-1", name="示例科技有限公司", street="示例路1号")
    await site.drain()
    assert again.version == answer.version
    assert len(site.vendor.effects) == 3


async def test_a_connection_paused_by_a_person_stays_paused_whatever_a_call_under_way_answers(site: Site):
    site.use(project(("customer",)))
    await site.put("customer", "C-1", name="示例科技有限公司")
    worker = Worker(site.store, site.world, site.vendor.clock, "test", "mem", site.connector)
    wanted = Claim("mem", 1, 10, "test", site.vendor.clock.monotonic())
    attempts = site.store.run_now(claim, wanted, site.world)
    site.store.run_now(desk.pause, "mem", site.world, by="user:ops")
    results = await site.connector.write([attempt.write for attempt in attempts])
    site.store.run_now(settle_writes, list(zip(attempts, results, strict=True)), site.world, "test")
    assert await worker.turn(1, 10) == 0
    site.store.run_now(desk.resume, "mem", site.world, by="user:ops")
    assert await worker.turn(1, 10) == 1


async def test_a_credit_code_that_another_customer_holds_is_not_taken_when_a_write_is_settled(site: Site):
    text = CUSTOMER_IN.replace("  remark: remark\n", "  uscc: remark\n")
    made = project(("customer",))
    site.use(replace(made, syncs={**made.syncs, "customer.in": sync("customer.in", "in", "customer", text)}))
    first = await site.put("customer", "C-1", name="甲公司", uscc="91350100M000100Y43")
    second = await site.put("customer", "C-2", name="乙公司")
    await site.drain()
    thing = next(t for t in site.vendor.things.values() if t.fields["name"] == "乙公司")
    await site.put("customer", "C-2", name="乙公司", street="新址1号")
    site.vendor.edit("customer", thing.id, remark="91350100M000100Y43")
    site.vendor.fate = lambda write: Fate.LOST if write is not None and write.step == "audit" else Fate.OK
    worker = Worker(site.store, site.world, site.vendor.clock, "test", "mem", site.connector)
    for _ in range(6):
        await worker.turn(1, 50)
    held = {
        row[0]
        for row in site.store.read_now(
            lambda tx: tx.conn.exec_driver_sql("SELECT record FROM keys WHERE strong").all()
        )
    }
    assert held == {first.record_id}
    assert second.record_id not in held
    assert all(state != "claimed" for _, state, _ in site.rows())


def test_a_receipt_of_nothing_or_less_is_refused_by_field():
    for amount in ("0", "0.00", "-1"):
        with pytest.raises(InvalidField, match="more than 0"):
            normalise(KINDS["payment"], "amount", amount)
