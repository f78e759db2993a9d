"""The pipe over a real keyed vendor: repeats under one key for an hour, then the look-up by external code.

The real transactions, the shipped mappings, the connector and its sandbox, all on one clock that a test moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from connectors.yonyou import YonyouConnector
from connectors.yonyou.sandbox import YonyouDials, YonyouSandbox
from hub.clock import SECOND
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.mapping import Schemas, crm_schemas, load_value_maps
from hub.mapping import compile as compile_mapping
from hub.pipe.accept import accept
from hub.pipe.claim import Claim, claim
from hub.pipe.decide import Send
from hub.pipe.settle import settle_writes
from hub.pipe.settle_reads import settle_reads
from hub.pipe.world import World
from hub.project.values import LANE_MONEY, Connection, Project, Retry, Sync
from hub.sdk import Secret, Toolbox
from hub.sdk.http import HttpClient, Outbound
from hub.store import Store
from hub.vault import Vault
from tests.contract.yonyou_stand import ORG
from tests.pipe_stand import HandClock

FOLDER = Path(__file__).parents[2] / "mappings" / "yonyou"
SPEC = YonyouConnector.spec
HOUR = 3600.0
SAVE, INSERT = "EFI/collection/save", "digitalModel/merchant/idempotent/newinsert"


def sync(name: str, object_: str, kind: str, **known: Any) -> Sync:
    crm = crm_schemas()
    targets = {**crm, **{f"yonyou.{one}": dict(spec.fields) for one, spec in SPEC.objects.items()}}
    path = FOLDER / f"{name}.yaml"
    mapping = compile_mapping(
        path.read_text("utf-8"), Schemas(crm, targets, load_value_maps(FOLDER)), file=str(path)
    )
    return Sync(
        name=name, direction="out", connection="yonyou", object=object_, stream=None, kind=kind, mapping=mapping,
        accept_window=True, org=ORG, mode="write",
        retry=Retry(max_attempts=12, initial_interval=2.0, max_interval=30.0), **known,
    )  # fmt: skip


class Hub:
    """One store, one tenant, and a worker made by hand."""

    def __init__(self, **settings: Any) -> None:
        self.clock = HandClock(1)
        self.box = YonyouSandbox(clock=self.clock, dials=YonyouDials())
        self.store = Store.open("sqlite://", self.clock, inline=True)
        vault = Vault.in_memory(self.clock)
        syncs = {
            "customer.out": sync("customer.out", "customer", "customer"),
            "payment.out": sync("payment.out", "receipt", "payment", lane=LANE_MONEY, stop_at="audited"),
        }
        project = Project(
            connections={
                "crm": Connection("crm", "api", kind="api", region="cn/"),
                "yonyou": Connection("yonyou", "yonyou"),
            },
            syncs=syncs, entities={}, regions=("", "cn/"), owners={}, kinds={},
        )  # fmt: skip
        self.world = World(project, {"yonyou": SPEC}, vault, self.store.epoch)
        http = HttpClient(Outbound(pauses=()), clock=self.clock, transport=self.box.transport())
        given = dict(self.box.credentials("https://yonyou.test"))
        given |= {"app_secret": Secret(given["app_secret"]), "org_code": ORG, **settings}
        self.connector = YonyouConnector(given, Toolbox(http, self.clock, structlog.get_logger()))
        self.sends: list[tuple[str, str]] = []

    def put(self, id_: str, kind: str, **fields: Any) -> str:
        answer = self.store.run_now(accept, ExternalWrite("crm", kind, id_, fields, "cn/"), self.world)
        assert isinstance(answer, WriteAnswer), answer
        return answer.record_id.hex()

    async def step(self) -> int:
        """Claim what is due in every lane, call, settle; return how many attempts there were."""
        count = 0
        for lane in (0, 1, 2):
            attempts = self.store.run_now(
                claim, Claim("yonyou", lane, 20, "w", self.clock.monotonic()), self.world
            )
            for attempt in attempts:
                count += 1
                if attempt.send is None:
                    (result,) = await self.connector.fetch(attempt.stream or "", [attempt.key])  # type: ignore[list-item]
                    self.store.run_now(settle_reads, [(attempt, result)], self.world, "w")
                    continue
                assert attempt.write is not None
                self.sends.append((attempt.send.value, attempt.write.step))
                ask = self.connector.find if attempt.send is Send.FIND else self.connector.write
                (result,) = await ask([attempt.write])
                self.store.run_now(settle_writes, [(attempt, result)], self.world, "w")
        return count

    async def run(self) -> None:
        for _ in range(40):
            if not await self.step():
                return
        raise AssertionError(f"still busy: {self.owed()}")

    async def drain(self, seconds: float) -> None:
        until = self.clock.at + round(seconds * SECOND)
        while self.clock.at < until and self.owed():
            await self.run()
            self.clock.at += SECOND
            self.box.apply_due()

    def owed(self) -> list[tuple[str, str, str | None]]:
        def look(tx: Any) -> list[Any]:
            tx.cursor.execute("SELECT sync, state, cause FROM owed ORDER BY id")
            return [
                (name, state, cause and orjson.loads(cause)) for name, state, cause in tx.cursor.fetchall()
            ]

        return self.store.read_now(look)

    def effects(self) -> list[str]:
        return [f"{effect.form}.{effect.verb}" for effect in self.box.ledger().effects(by="api")]


@pytest.fixture
def hub() -> Iterator[Hub]:
    opened = Hub()
    yield opened
    opened.store.close()


def paid(hub: Hub) -> str:
    customer = hub.put(
        "C-1", "customer", name="示例科技有限公司", uscc="91350100M000100Y43", phone="+862162123456"
    )
    return hub.put(
        "P-1",
        "payment",
        no="PAY-1",
        customer=customer,
        amount="1200.50",
        currency="CNY",
        received_on="2026-01-10",
    )


BOOKED = ["customer.create", "receipt.create", "receipt.submit", "receipt.audit"]


async def test_a_receipt_waits_for_its_customer_and_is_saved_submitted_and_audited(hub: Hub):
    paid(hub)
    await hub.drain(60)
    assert hub.owed() == []
    assert hub.effects() == BOOKED
    (kept,) = hub.box.books.rows("receipt")
    (customer,) = hub.box.books.rows("customer")
    assert kept.body["customerCode"] == customer.body["code"]
    assert (kept.body["oriTaxIncludedAmount"], kept.body["effectState"]) == ("1200.50", 1)


@pytest.mark.parametrize(
    "fault", ["apply_then_drop", "apply_then_code_310504", "truncated_json", "fail_before"]
)
async def test_within_the_hour_a_lost_save_is_repeated_under_its_key(hub: Hub, fault: str):
    hub.box.inject(fault, op=SAVE)
    paid(hub)
    await hub.drain(60)
    assert hub.owed() == []
    assert hub.effects() == BOOKED
    assert [send for send in hub.sends if send[1] == "save"][1:] == [("first", "save"), ("repeat", "save")]


async def test_after_the_hour_it_is_looked_up_by_its_external_code_and_not_sent_again(hub: Hub):
    hub.box.inject("apply_then_drop", op=SAVE)
    paid(hub)
    while not any(state == "in_doubt" for _, state, _ in hub.owed()):
        await hub.step()
    hub.clock.at += round((HOUR + 1) * SECOND)
    await hub.drain(60)
    assert hub.owed() == []
    assert hub.effects() == BOOKED
    assert [send for send, step in hub.sends if step == "save"] == ["first", "first", "find"]


async def test_after_the_hour_what_never_took_effect_is_sent_under_its_key_once_it_can_land_no_more(hub: Hub):
    hub.box.inject("fail_before", op=SAVE)
    paid(hub)
    while not any(state == "in_doubt" for _, state, _ in hub.owed()):
        await hub.step()
    hub.clock.at += round((HOUR + 1) * SECOND)
    await hub.drain(600)
    assert hub.owed() == []
    assert hub.effects() == BOOKED
    assert [send for send, step in hub.sends if step == "save"] == ["first", "first", "find", "first"]


async def test_a_save_that_lands_late_is_met_by_its_own_key(hub: Hub):
    hub.box.dials.late_by = 30
    hub.box.inject("apply_late", op=SAVE)
    paid(hub)
    await hub.drain(120)
    assert hub.owed() == []
    assert hub.effects() == BOOKED
    assert ("repeat", "save") in hub.sends


async def test_a_lost_insert_of_a_customer_is_found_by_its_code(hub: Hub):
    hub.box.inject("apply_then_drop", op=INSERT)
    paid(hub)
    await hub.drain(400)
    assert hub.owed() == []
    assert hub.effects() == BOOKED
    assert ("find", "save") in hub.sends


async def test_a_closed_month_parks_the_receipt_alone_and_names_the_cause(hub: Hub):
    hub.box.desk.period(ORG, "2026-01", closed=True)
    paid(hub)
    await hub.drain(60)
    assert hub.effects() == ["customer.create"]
    ((name, state, cause),) = hub.owed()
    assert (name, state) == ("payment.out", "parked")
    assert cause["code"] == "period_closed"  # type: ignore[index]


async def test_a_booked_receipt_whose_payment_changes_waits_for_a_person(hub: Hub):
    paid(hub)
    await hub.drain(60)
    hub.put("P-1", "payment", amount="1300.00")
    await hub.drain(30)
    ((name, state, cause),) = hub.owed()
    assert (name, state, cause["code"]) == ("payment.out", "parked", "audited")  # type: ignore[index]
    assert hub.effects() == BOOKED


async def test_every_answer_lost_now_and_then_books_each_receipt_once():
    """Thirty percent of all writes take effect and say nothing (seed 7)."""
    hub = Hub(per_minute=6000)
    hub.box.dials = YonyouDials(seed=7, apply_then_drop=0.3, per_minute=0)
    customer = hub.put("C-1", "customer", name="示例科技有限公司", uscc="91350100M000100Y43")
    for number in range(20):
        amount = f"{100 + number}.00"
        hub.put(f"P-{number}", "payment", no=f"PAY-{number}", customer=customer, amount=amount, currency="CNY",
                received_on="2026-01-10")  # fmt: skip
    await hub.drain(7200)
    assert hub.owed() == []
    amounts = sorted(float(row.body["oriTaxIncludedAmount"]) for row in hub.box.books.rows("receipt"))
    assert amounts == [100.0 + number for number in range(20)]
    assert {row.body["verifyState"] for row in hub.box.books.rows("receipt")} == {2}
    hub.store.close()
