"""Receipts into Yonyou: one document whatever happens, steps of their own, and what a person did meanwhile."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from connectors.yonyou import YonyouConnector
from hub.sdk import (
    Absent,
    Applied,
    CannotTell,
    Cause,
    Failed,
    Found,
    Gone,
    Next,
    OutcomeUnknown,
    Refused,
    TryAgain,
    VendorKey,
    VendorRef,
)
from hub.sdk.kit import Bench
from tests.contract.yonyou_stand import (
    ORG,
    OlderStand,
    Recorder,
    answer,
    bench,
    box,
    receipt,
    refused,
    run,
    yonyou,
)

SAVE = "EFI/collection/save"
HOUR = 3600


def count(bench: Bench, form: str = "receipt") -> int:
    return len(list(box(bench).books.rows(form)))


# ------------------------------------------------------------------------------------------- the key and its hour


async def test_a_time_out_after_the_commit_is_in_doubt_and_the_same_key_again_makes_nothing_new(
    bench: Bench, yonyou: YonyouConnector
):
    write = bench.create("receipt")
    box(bench).inject("apply_then_code_310504", op=SAVE)
    error = await refused(bench, yonyou, write)
    assert (type(error), error.code) == (OutcomeUnknown, "310504")
    again = await bench.one(bench.connect(), write)
    assert isinstance(again, Next)
    assert count(bench) == len(bench.stand.effects("receipt")) == 1


async def test_a_key_in_flight_is_in_doubt_until_it_is_through(bench: Bench, yonyou: YonyouConnector):
    write = bench.create("receipt")
    box(bench).dials.late_by = 60
    box(bench).inject("apply_late", op=SAVE)
    await refused(bench, yonyou, write)
    error = await refused(bench, yonyou, write)
    assert (type(error), error.code) == (OutcomeUnknown, "202")
    assert await yonyou.find([write]) == [Absent()]
    box(bench).advance(60)
    assert isinstance(await bench.one(yonyou, write), Next)
    assert count(bench) == 1


@pytest.mark.parametrize("code", ["100004", "10004"])
async def test_after_an_hour_the_key_answers_with_the_id_of_what_it_made(
    bench: Bench, yonyou: YonyouConnector, code: Any
):
    box(bench).dials.old_key_code = code
    write = bench.create("receipt")
    made = await bench.one(yonyou, write)
    assert isinstance(made, Next)
    box(bench).dials.check_skew = False
    box(bench).advance(HOUR + 1)
    again = await bench.one(bench.connect(), write)
    assert again == made
    assert count(bench) == 1


async def test_after_an_hour_the_look_up_by_external_code_finds_it(bench: Bench, yonyou: YonyouConnector):
    write = bench.create("receipt")
    box(bench).inject("apply_then_drop", op=SAVE)
    await refused(bench, yonyou, write)
    box(bench).dials.check_skew = False
    box(bench).advance(HOUR + 1)
    (found,) = await bench.connect().find([write])
    assert isinstance(found, Found)
    assert found.as_sent
    assert found.ref.stage == "0"


@pytest.mark.parametrize("mode", ["refuse", "existing"])
async def test_another_key_for_the_same_external_code_makes_no_second_receipt(
    bench: Bench, yonyou: YonyouConnector, mode: Any
):
    box(bench).dials.ext_duplicate = mode
    first = await bench.one(yonyou, bench.create("receipt"))
    second = await bench.one(yonyou, replace(bench.create("receipt"), key="b" * 32))
    assert count(bench) == 1
    if mode == "existing":
        assert second == first
    else:
        assert isinstance(second, Failed)
        assert second.error.cause is Cause.ALREADY_DONE


async def test_a_payload_without_an_external_code_gets_the_business_key(
    bench: Bench, yonyou: YonyouConnector
):
    write = replace(bench.create("receipt"), payload=receipt(1, extVouchCode=None))
    await bench.one(yonyou, write)
    (kept,) = box(bench).books.rows("receipt")
    assert (kept.body["extSystemCode"], kept.body["extVouchCode"]) == ("CRMHUB", "KIT-receipt-1")
    (found,) = await yonyou.find([write])
    assert isinstance(found, Found)


async def test_two_receipts_under_our_code_are_told_as_two(bench: Bench, yonyou: YonyouConnector):
    await bench.one(yonyou, bench.create("receipt"))
    (kept,) = box(bench).books.rows("receipt")
    twin = kept.clone()
    twin.id, twin.key, twin.body["code"] = box(bench).books.new_id(), "", "X"
    box(bench).books.put(twin, "copy", "user")
    (found,) = await yonyou.find([bench.create("receipt")])
    assert len(found.refs) == 2  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------- what is sent


async def test_a_save_says_insert_on_the_head_and_on_every_line_and_amounts_digit_by_digit(bench: Bench):
    row = {"id": "5", "code": "RECar1", "verifyState": 0, "extVouchCode": "PAY-0001"}
    recorder = Recorder(answer(code="200", message="操作成功", data=row))
    line = {
        "quickTypeCode": "1",
        "oriTaxIncludedAmount": "99999999999999.99",
        "localTaxIncludedAmount": "0.1",
    }
    write = replace(bench.create("receipt"), payload=receipt(1, bodyItem=[line, line], deptCode=None))
    client = bench.connect(http=recorder)
    sent: list[bytes] = []
    ask = recorder.request

    async def keep(method: str, url: str, *, content: bytes = b"", **more: Any) -> Any:
        sent.append(content)
        return await ask(method, url, content=content, **more)

    recorder.request = keep  # type: ignore[method-assign]
    assert await bench.one(client, write) == Next(VendorRef("5", "RECar1", "0"))
    data = orjson.loads(sent[-1])["data"]
    assert data["_status"] == "Insert"
    assert [(one["_status"], one["extRowNo"]) for one in data["bodyItem"]] == [
        ("Insert", "1"),
        ("Insert", "2"),
    ]
    assert b'"oriTaxIncludedAmount":99999999999999.99' in sent[-1]
    assert b'"localTaxIncludedAmount":0.10' in sent[-1]
    assert data["billDate"] == "2026-01-15 00:00:00"
    assert "deptCode" not in data
    assert (data["extSystemCode"], data["extVouchCode"], len(data["resubmitCheckKey"])) == (
        "CRMHUB",
        "PAY-0001",
        32,
    )


async def test_a_large_amount_comes_back_as_it_was_sent(bench: Bench, yonyou: YonyouConnector):
    line = {"oriTaxIncludedAmount": "99999999999999.99", "localTaxIncludedAmount": "99999999999999.99"}
    write = replace(bench.create("receipt"), payload=receipt(1, bodyItem=[line]))
    made = await run(bench, yonyou, write, ("save",))
    (record,) = await yonyou.fetch("receipt", [VendorKey(ORG, made.vendor_id)])
    assert record.body["oriTaxIncludedAmount"] == "99999999999999.99"  # type: ignore[union-attr,call-overload,index]
    (found,) = await yonyou.find([write])
    assert isinstance(found, Found)
    assert found.as_sent


@pytest.mark.parametrize("amount", ["1e3", "１２", "", "NaN", "1,200.50"])
async def test_an_amount_that_is_none_is_refused_before_anything_is_sent(
    bench: Bench, yonyou: YonyouConnector, amount: str
):
    line = {"oriTaxIncludedAmount": amount, "localTaxIncludedAmount": "1"}
    error = await refused(
        bench, yonyou, replace(bench.create("receipt"), payload=receipt(1, bodyItem=[line]))
    )
    assert (error.cause, error.field) == (Cause.INVALID, "bodyItem[].oriTaxIncludedAmount")
    assert not count(bench)


# ------------------------------------------------------------------------------------------- steps and people


async def test_save_submit_and_audit_are_steps_and_only_the_last_makes_it_effective(
    bench: Bench, yonyou: YonyouConnector
):
    ref: VendorRef | None = None
    for step, state, effect in (("save", 0, 0), ("submit", 1, 0), ("audit", 2, 1)):
        write = replace(bench.create("receipt"), step=step, plan=("save", "submit", "audit"), ref=ref)
        result = await bench.one(yonyou, write)
        assert isinstance(result, Next | Applied)
        ref = result.ref
        (kept,) = box(bench).books.rows("receipt")
        assert (kept.body["verifyState"], kept.body["effectState"], ref.stage) == (state, effect, str(state))


@pytest.mark.parametrize(
    ("step", "stage", "known"), [("submit", "1", "0"), ("audit", "2", "1"), ("unaudit", "1", "2")]
)
async def test_a_step_somebody_else_made_already_is_applied(
    bench: Bench, yonyou: YonyouConnector, step: str, stage: str, known: str
):
    way = {"submit": ("submit",), "audit": ("submit", "audit"), "unaudit": ("submit", "audit", "unaudit")}[
        step
    ]
    made = await run(bench, yonyou, bench.create("receipt"), ("save",))
    for verb in way:
        await bench.stand.call("POST", f"/objects/receipt/{made.vendor_id}/act", verb=verb)  # type: ignore[attr-defined]
    write = bench.write("receipt", step, {}, ref=replace(made, stage=known))
    result = await bench.one(yonyou, replace(write, plan=(step,)))
    assert result == Applied(replace(made, stage=stage))


async def test_a_receipt_that_was_taken_back_between_two_steps_has_moved(
    bench: Bench, yonyou: YonyouConnector
):
    made = await run(bench, yonyou, bench.create("receipt"), ("save", "submit"))
    box(bench).desk.act("receipt", made.vendor_id, "unsubmit")
    error = await refused(bench, yonyou, bench.write("receipt", "audit", {}, ref=made))
    assert (error.cause, error.detail) == (Cause.MOVED, {"stage": "0"})
    plan = YonyouConnector.spec.objects["receipt"].plan("0", "audited", due=False)
    assert plan == ("submit", "audit")


@pytest.mark.parametrize("step", ["submit", "audit", "delete"])
async def test_a_receipt_that_was_deleted_is_gone(bench: Bench, yonyou: YonyouConnector, step: str):
    made = await run(bench, yonyou, bench.create("receipt"), ("save",))
    box(bench).desk.act("receipt", made.vendor_id, "delete")
    write = bench.write("receipt", step, {}, ref=made)
    assert await bench.one(yonyou, write) == Gone(VendorKey(ORG, made.vendor_id))
    assert await yonyou.find([write]) == [Gone(VendorKey(ORG, made.vendor_id))]


@pytest.mark.parametrize("target", ["0", "1"])
async def test_whatever_state_an_unaudit_leads_to_the_receipt_can_be_taken_away_and_made_anew(
    bench: Bench, yonyou: YonyouConnector, target: Any
):
    box(bench).dials.unaudit_to = target
    made = await run(bench, yonyou, bench.create("receipt"), ("save", "submit", "audit"))
    plan = YonyouConnector.spec.objects["receipt"].plan("2", "saved", due=True)
    assert plan == ("unaudit", "unsubmit", "delete", "save", "submit", "audit")
    write = replace(bench.create("receipt"), key="c" * 32, payload=receipt(1, remarks="changed"))
    await run(bench, yonyou, replace(write, ref=made), plan[:3])
    assert not count(bench)
    again = await run(bench, yonyou, replace(write, generation=2), ("save",))
    assert again.vendor_id != made.vendor_id
    assert count(bench) == 1


async def test_a_closed_month_parks_and_is_not_tried_in_a_loop(bench: Bench, yonyou: YonyouConnector):
    box(bench).desk.period(ORG, "2026-01", closed=True)
    error = await refused(bench, yonyou, bench.create("receipt"))
    assert (type(error), error.cause) == (Refused, Cause.PERIOD_CLOSED)
    box(bench).desk.period(ORG, "2026-01", closed=False)
    assert isinstance(await bench.one(yonyou, bench.create("receipt")), Next)


async def test_under_a_workflow_an_audit_is_one_vote_and_never_told_as_done(
    bench: Bench, yonyou: YonyouConnector
):
    box(bench).dials.workflow = True
    made = await run(bench, yonyou, bench.create("receipt"), ("save", "submit"))
    error = await refused(bench, yonyou, bench.write("receipt", "audit", {}, ref=made))
    assert error.cause is Cause.STATE
    assert "审批流" in str(error)
    box(bench).desk.act("receipt", made.vendor_id, "audit")
    assert await bench.one(yonyou, bench.write("receipt", "audit", {}, ref=made)) == Applied(
        replace(made, stage="2")
    )


async def test_an_audit_whose_effect_cannot_be_read_is_in_doubt(bench: Bench, yonyou: YonyouConnector):
    made = await run(bench, yonyou, bench.create("receipt"), ("save", "submit"))
    box(bench).inject("http_502", op="EFI/collection/detail")
    write = bench.write("receipt", "audit", {}, ref=made)
    assert type(await refused(bench, yonyou, write)) is OutcomeUnknown
    (found,) = await yonyou.find([write])
    assert isinstance(found, Found)
    assert found.as_sent


async def test_a_customer_of_another_organisation_is_refused_with_its_reason(
    bench: Bench, yonyou: YonyouConnector
):
    write = replace(bench.create("receipt"), payload=receipt(1, financeOrgCode="ORG002"))
    error = await refused(bench, yonyou, write)
    assert "未分配" in str(error)


async def test_a_look_up_that_fails_cannot_tell(bench: Bench, yonyou: YonyouConnector):
    box(bench).inject("http_503", op="EFI/collection/list")
    (found,) = await yonyou.find([bench.create("receipt")])
    assert isinstance(found, CannotTell)
    assert isinstance(found.error, TryAgain)


# ------------------------------------------------------------------------------------------- the older generation


async def test_the_older_generation_gets_the_same_payload_under_its_own_names():
    async with Bench.open(YonyouConnector, OlderStand) as bench:
        await bench.stand.prepare("receipt")
        await run(bench, bench.connect(), bench.create("receipt"), ("save",))
        (kept,) = box(bench).books.rows("receivebill")
    said = {
        name: kept.body[name]
        for name in ("accentity_code", "vouchdate", "tradetype_code", "currency", "code")
    }
    assert said == {
        "accentity_code": ORG, "vouchdate": "2026-01-15", "tradetype_code": "ar_colsale", "currency": "CNY",
        "code": "PAY-0001",
    }  # fmt: skip
    assert (Decimal(kept.body["oriSum"]), Decimal(kept.body["ReceiveBill_b"][0]["natSum"])) == (
        Decimal("1200.5"), Decimal("1200.5"),
    )  # fmt: skip


async def test_the_older_generation_has_no_submit_to_stop_at_and_passes_over_it_on_the_way():
    async with Bench.open(YonyouConnector, OlderStand) as bench:
        await bench.stand.prepare("receipt")
        connector = bench.connect()
        made = await run(bench, connector, bench.create("receipt"), ("save", "submit", "audit"))
        assert made.stage == "2"
        assert [step for step, _ in bench.stand.effects("receipt")] == ["save", "audit"]
        last = replace(
            bench.write("receipt", "submit", {}, ref=replace(made, stage="0")), plan=("save", "submit")
        )
        assert (await refused(bench, connector, last)).cause is Cause.SETTINGS


async def test_the_older_audit_of_what_is_not_there_is_seen_behind_its_code_200():
    async with Bench.open(YonyouConnector, OlderStand) as bench:
        await bench.stand.prepare("receipt")
        connector = bench.connect()
        made = await run(bench, connector, bench.create("receipt"), ("save",))
        box(bench).desk.act("receivebill", made.vendor_id, "delete")
        write = bench.write("receipt", "audit", {}, ref=made)
        assert await bench.one(connector, write) == Gone(VendorKey(ORG, made.vendor_id))


async def test_the_older_audit_reads_pubts_anew_so_that_an_edit_before_it_is_no_conflict():
    async with Bench.open(YonyouConnector, OlderStand) as bench:
        await bench.stand.prepare("receipt")
        connector = bench.connect()
        made = await run(bench, connector, bench.create("receipt"), ("save",))
        await bench.stand.edit("receipt", made.vendor_id)
        write = bench.write("receipt", "audit", {}, ref=made)
        assert isinstance(await bench.one(connector, replace(write, plan=("audit",))), Applied)


async def test_a_receipt_of_an_employee_is_not_for_the_older_generation():
    async with Bench.open(YonyouConnector, OlderStand) as bench:
        await bench.stand.prepare("receipt")
        write = replace(bench.create("receipt"), payload=receipt(1, objectType="2"))
        assert (await refused(bench, bench.connect(), write)).field == "objectType"
