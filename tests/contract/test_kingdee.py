"""The Kingdee connector over its sandbox: the kit's tests, then what is Kingdee's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.kingdee import KingdeeConnector
from hub.sdk import (
    Absent,
    Applied,
    CannotTell,
    Cause,
    Failed,
    Found,
    Gone,
    Json,
    OutcomeUnknown,
    Refused,
    TryAgain,
    VendorKey,
    VendorRef,
)
from hub.sdk.kit import Bench, connector_kit, latest
from tests.kingdee_stand import (
    KingdeeStand,
    Recorder,
    bench,
    control,
    customer,
    kingdee,
    receipt,
    ref,
    refused,
    run,
)

TestKingdee = connector_kit(KingdeeConnector, KingdeeStand)


# ------------------------------------------------------------------------------------------- plans and status


@pytest.mark.parametrize(("status", "steps"), [("A", ()), ("B", ("cancel",)), ("C", ("unaudit",)), ("D", ())])
async def test_the_plan_of_an_update_leads_from_every_status_to_audited(
    bench: Bench, kingdee: KingdeeConnector, status: str, steps: tuple[str, ...]
):
    (made,) = await bench.stand.seed("customer", 1)
    way = {"A": (), "B": ("submit",), "C": ("submit", "audit"), "D": ("submit", "audit", "unaudit")}[status]
    for verb in way:
        await control(bench)("POST", "/objects/BD_Customer/CRM-000002/act", verb=verb)
    plan = KingdeeConnector.spec.objects["customer"].plan(status, "audited", due=True)
    assert plan == (*steps, "save", "submit", "audit")
    write = bench.write("customer", "save", {"FTEL": "1"}, ref=VendorRef(made, "CRM-000002", status))
    assert (await run(bench, kingdee, write, plan)).stage == "C"


async def test_a_save_of_what_was_audited_meanwhile_says_that_it_moved(
    bench: Bench, kingdee: KingdeeConnector
):
    made = await run(bench, kingdee, bench.create("customer"), ("save", "submit", "audit"))
    error = await refused(
        bench, kingdee, bench.write("customer", "save", {"FTEL": "1"}, ref=replace(made, stage="A"))
    )
    assert (error.cause, error.detail) == (Cause.MOVED, {"stage": "C"})
    error = await refused(bench, kingdee, bench.write("customer", "save", {"FTEL": "1"}, ref=made))
    assert error.cause is Cause.STATE


async def test_a_step_somebody_else_made_already_is_applied(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("customer"), ("save", "submit", "audit"))
    for step, known in (("audit", "B"), ("submit", "A")):
        write = bench.write("customer", step, {}, ref=replace(made, stage=known))
        assert await bench.one(kingdee, replace(write, plan=(step,))) == Applied(made)


async def test_a_document_with_a_successor_is_not_unaudited(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("receipt"), ("save", "submit", "audit"))
    await control(bench)("POST", f"/objects/AR_RECEIVEBILL/{made.stable_key}/successor", successor="TK-1")
    error = await refused(bench, kingdee, bench.write("receipt", "unaudit", {}, ref=made))
    assert isinstance(error, Refused)


async def test_an_update_or_step_of_a_deleted_object_is_gone(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("customer"), ("save",))
    await control(bench)("POST", "/objects/BD_Customer/CRM-000001/act", verb="delete")
    for step, payload in (("save", {"FTEL": "1"}), ("submit", {})):
        write = bench.write("customer", step, payload, ref=made)
        assert await bench.one(kingdee, write) == Gone(VendorKey("100", made.vendor_id))
        assert await kingdee.find([write]) == [Gone(VendorKey("100", made.vendor_id))]


# ------------------------------------------------------------------------------------------- refusals


async def test_a_closed_period_is_a_cause_of_its_own(bench: Bench, kingdee: KingdeeConnector):
    await control(bench)("PUT", "/periods/100/2026-01", closed=True)
    error = await refused(bench, kingdee, bench.create("receipt"))
    assert (type(error), error.cause) == (Refused, Cause.PERIOD_CLOSED)


@pytest.mark.parametrize(
    ("change", "cause", "field"),
    [
        ({"FCONTACTUNIT": ref("NOBODY")}, Cause.NOT_FOUND, "FCONTACTUNIT"),
        ({"FCURRENCYID": None}, Cause.MISSING_FIELD, "FCURRENCYID"),
        ({"FEXCHANGERATE": "much"}, Cause.INVALID, "FEXCHANGERATE"),
    ],
)
async def test_a_refusal_names_cause_and_field(
    bench: Bench, kingdee: KingdeeConnector, change: dict[str, Any], cause: Cause, field: str
):
    write = replace(bench.create("receipt"), payload=receipt(1, **change))
    error = await refused(bench, kingdee, write)
    assert (type(error), error.cause, error.field) == (Refused, cause, field)


async def test_a_receipt_may_not_name_a_customer_that_is_not_audited(bench: Bench, kingdee: KingdeeConnector):
    await run(bench, kingdee, bench.create("customer", 7), ("save", "submit"))
    payload = receipt(1, FCONTACTUNIT=ref("CRM-000007"))
    assert isinstance(
        await refused(bench, kingdee, replace(bench.create("receipt"), payload=payload)), Refused
    )


async def test_an_edit_lock_asks_to_wait_eight_seconds(bench: Bench, kingdee: KingdeeConnector):
    bench.stand.sandbox.inject("lock_conflict", op="Save")
    error = await refused(bench, kingdee, bench.create("customer"))
    assert (type(error), error.cause, error.after) == (TryAgain, Cause.LOCKED, 8.0)


async def test_plain_text_after_a_write_leaves_it_in_doubt_and_on_a_read_is_tried_again(
    bench: Bench, kingdee: KingdeeConnector
):
    bench.stand.sandbox.inject("apply_then_response_error", op="Save")
    assert isinstance(await refused(bench, kingdee, bench.create("customer")), OutcomeUnknown)
    bench.stand.sandbox.inject("response_error", op="ExecuteBillQuery")
    (found,) = await kingdee.find([bench.create("customer")])
    assert isinstance(found, CannotTell)
    assert isinstance(found.error, TryAgain)
    (found,) = await kingdee.find([bench.create("customer")])
    assert isinstance(found, Found)


# ------------------------------------------------------------------------------------------- look-ups


async def test_our_number_used_by_somebody_else_is_refused_as_duplicate(
    bench: Bench, kingdee: KingdeeConnector
):
    theirs = {"FNumber": "CRM-000001", "FName": "别的公司", "FCreateOrgId": "100", "FUseOrgId": "100"}
    await control(bench)("POST", "/objects/BD_Customer", fields=theirs | {"FTRADINGCURRID": "PRE001"})
    error = await refused(bench, kingdee, bench.create("customer"))
    assert error.cause is Cause.ALREADY_DONE  # look up, says the pipe, and then:
    (found,) = await kingdee.find([bench.create("customer")])
    assert isinstance(found, Failed)
    assert found.error.cause is Cause.DUPLICATE


@pytest.mark.parametrize(
    "agreed",
    [{"FName": "示例科技１号 有限公司"}, {"FName": "新名字", "FSOCIALCRECODE": "91310000EXAMPLE00X"}],
)
async def test_an_object_under_our_number_with_the_same_name_or_code_is_ours(
    bench: Bench, kingdee: KingdeeConnector, agreed: dict[str, str]
):
    theirs = {
        "FNumber": "CRM-000001",
        "FCreateOrgId": "100",
        "FUseOrgId": "100",
        "FTRADINGCURRID": "PRE001",
    } | agreed
    await control(bench)("POST", "/objects/BD_Customer", fields=theirs)
    write = replace(bench.create("customer"), payload=customer(1) | {"FSOCIALCRECODE": "91310000EXAMPLE00X"})
    (found,) = await kingdee.find([write])
    assert isinstance(found, Found)
    assert not found.as_sent


async def test_a_batch_of_look_ups_is_one_query(bench: Bench):
    recorder = Recorder([])
    connector = bench.connect(http=recorder)
    assert (
        await connector.find([bench.create("customer", number) for number in range(1, 31)]) == [Absent()] * 30
    )
    assert len(recorder.sent) == 1


async def test_a_key_with_a_quote_stays_one_value_of_the_filter(bench: Bench, kingdee: KingdeeConnector):
    await run(bench, kingdee, bench.create("customer"), ("save",))
    payload = customer(1) | {"FNumber": "x') or (FNumber<>'"}
    assert await kingdee.find([replace(bench.create("customer"), payload=payload)]) == [Absent()]


async def test_the_same_number_in_another_organisation_is_another_customer(
    bench: Bench, kingdee: KingdeeConnector
):
    other = customer(1) | {"FCreateOrgId": ref("200"), "FUseOrgId": ref("200")}
    await run(bench, kingdee, replace(bench.create("customer"), payload=other, org="200"), ("save",))
    assert await kingdee.find([bench.create("customer")]) == [Absent()]
    assert "CRM-000001" not in {
        one.stable_key for one in latest(await bench.pages(kingdee, "customer")).values()
    }


async def test_what_a_permission_hides_is_not_gone(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("customer"), ("save",))
    status: Json = {"Result": {"ResponseStatus": {"IsSuccess": True}, "Result": {"Id": 1}}}
    connector = bench.connect(http=Recorder([], status, [], status))
    (record,) = await connector.fetch("customer", [VendorKey("100", made.vendor_id)])
    assert isinstance(record, Failed)
    assert record.error.cause is Cause.PERMISSION
    (found,) = await connector.find([bench.write("customer", "save", {"FTEL": "1"}, ref=made)])
    assert isinstance(found, CannotTell)


async def test_an_empty_view_is_asked_again_in_a_new_session(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("customer"), ("save",))
    await control(bench)("POST", "/objects/BD_Customer/CRM-000001/act", verb="delete")
    bench.stand.sandbox.inject("empty_view", op="View")
    (one,) = await kingdee.fetch("customer", [VendorKey("100", made.vendor_id)])
    assert one == Gone(VendorKey("100", made.vendor_id))
    bench.stand.sandbox.inject("empty_view", op="View", times=2)
    (one,) = await kingdee.fetch("customer", [VendorKey("100", made.vendor_id)])
    assert isinstance(one, Failed)
    assert isinstance(one.error, TryAgain)
