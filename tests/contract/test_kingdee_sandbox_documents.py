"""The Kingdee stand-in: saving and the status machine (2.3, 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.kingdee_site import (
    Body,
    Site,
    customer,
    error,
    open_site,
    receipt,
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_a_customer_is_saved_submitted_audited_and_read_back(site: Site) -> None:
    saved = await site.save("BD_Customer", customer(), NeedReturnFields=["FNumber", "FCUSTID"])
    assert saved["ResponseStatus"]["MsgCode"] == 0
    assert "ErrorCode" not in saved["ResponseStatus"]
    assert saved["NeedReturnData"] == [{"FNumber": "CRM-000123", "FCUSTID": saved["Id"]}]
    assert (await site.status("Submit", "BD_Customer", Numbers=["CRM-000123"]))["IsSuccess"]
    assert (await site.status("Audit", "BD_Customer", Ids=[saved["Id"]]))["IsSuccess"]
    shown = (await site.call("View", "BD_Customer", Number="CRM-000123"))["Result"]["Result"]
    assert (shown["Id"], shown["DocumentStatus"], shown["UseOrgId"]["Number"]) == (saved["Id"], "C", "100")
    assert shown["Name"] == [{"Key": 2052, "Value": "示例科技有限公司"}]
    assert shown["UseOrgId_Id"] == shown["UseOrgId"]["Id"]
    assert [one.verb for one in site.box.ledger()] == ["create", "submit", "audit"]


async def test_a_missing_required_field_is_named_in_template_language(site: Site) -> None:
    model = customer()
    del model["FTRADINGCURRID"]
    saved = await site.save("BD_Customer", model)
    assert error(saved["ResponseStatus"]) == ("FTRADINGCURRID", "字段“结算币别”是必填项", 11)
    assert (saved["Id"], saved["NeedReturnData"]) == ("", [{}])
    await site.audited_customer()
    bill = receipt()
    del bill["FRECEIVEBILLENTRY"][0]["FSETTLETYPEID"]
    status = (await site.save("AR_RECEIVEBILL", bill))["ResponseStatus"]
    assert error(status) == ("FSETTLETYPEID", "单据体“收款单明细”第1行字段“结算方式”是必填项", 11)
    assert len(site.box.ledger()) == 3  # the audited customer alone


async def test_a_taken_number_is_refused_and_an_empty_one_is_given(site: Site) -> None:
    await site.save("BD_Customer", customer())
    status = (await site.save("BD_Customer", customer()))["ResponseStatus"]
    assert error(status) == (
        "FNumber", "违反字段唯一性要求：编码唯一。[CRM-000123]在当前系统中已经被使用。", 11,
    )  # fmt: skip
    assert (await site.save("BD_Customer", customer("")))["Number"] == "CUST0001"
    other = customer() | {"FCreateOrgId": {"FNumber": "200"}, "FUseOrgId": {"FNumber": "200"}}
    assert (await site.save("BD_Customer", other))["Number"] == "CRM-000123"  # unique per use org only


async def test_a_receipt_needs_a_customer_that_is_audited_enabled_and_of_its_org(site: Site) -> None:
    async def refusal(**options: Any) -> tuple[str | None, str, int]:
        return error((await site.save("AR_RECEIVEBILL", receipt(), **options))["ResponseStatus"])

    absent = ("FCONTACTUNIT", '字段“往来单位”编码值["CRM-000123"]不存在', 9)
    dropped = ("FCONTACTUNIT", "字段“往来单位”是必填项", 11)
    assert await refusal(IsVerifyBaseDataField="True") == absent
    assert await refusal() == dropped
    await site.save("BD_Customer", customer())
    assert await refusal(IsVerifyBaseDataField=True) == absent  # saved, not audited
    for op in ("Submit", "Audit"):
        await site.status(op, "BD_Customer", Numbers=["CRM-000123"])
    body = {"formid": "BD_Customer", "opNumber": "Forbid", "data": {"Numbers": ["CRM-000123"]}}
    assert (await site.raw("ExcuteOperation", body)).json()["Result"]["ResponseStatus"]["IsSuccess"]
    assert await refusal(IsVerifyBaseDataField=True) == absent
    await site.raw(
        "ExecuteOperation", {"parameters": ["BD_Customer", "Enable", '{"Numbers":["CRM-000123"]}']}
    )
    elsewhere = receipt() | {"FPAYORGID": {"FNumber": "200"}}
    assert error((await site.save("AR_RECEIVEBILL", elsewhere))["ResponseStatus"]) == dropped
    saved = await site.save("AR_RECEIVEBILL", receipt(), IsVerifyBaseDataField=True)
    assert saved["Number"] == "SKD00000001"


async def test_a_reference_before_its_type_is_lost_unless_fields_are_reordered(site: Site) -> None:
    await site.audited_customer()
    unit = {"FCONTACTUNIT": {"FNumber": "CRM-000123"}}
    turned = {
        "FID": 0,
        **unit,
        **{key: value for key, value in receipt().items() if key not in ("FID", *unit)},
    }
    status = (await site.save("AR_RECEIVEBILL", turned, IsVerifyBaseDataField=True))["ResponseStatus"]
    assert error(status) == ("FCONTACTUNIT", "字段“往来单位”是必填项", 11)
    saved = await site.save("AR_RECEIVEBILL", turned, IsAutoAdjustField=True)
    assert saved["ResponseStatus"]["IsSuccess"]
    change = {"FID": saved["Id"], **unit, "FCONTACTUNITTYPE": "BD_Customer"}  # the type is known and stays
    assert (await site.save("AR_RECEIVEBILL", change, IsDeleteEntry=False))["ResponseStatus"]["IsSuccess"]


async def test_a_double_save_really_books_twice_unless_the_site_has_a_unique_index(site: Site) -> None:
    await site.audited_customer()
    for _ in range(2):
        assert (await site.save("AR_RECEIVEBILL", receipt()))["ResponseStatus"]["IsSuccess"]
    assert site.created() == 2
    site.box.dials.unique_third_bill_no = True
    status = (await site.save("AR_RECEIVEBILL", receipt()))["ResponseStatus"]
    assert error(status)[0] == "FTHIRDBILLNO"
    assert "违反字段唯一性要求" in error(status)[1]
    assert site.created() == 2


async def test_a_closed_month_refuses_saving_and_auditing(site: Site) -> None:
    await site.audited_customer()
    saved = await site.save("AR_RECEIVEBILL", receipt())
    await site.status("Submit", "AR_RECEIVEBILL", Ids=str(saved["Id"]))
    await site.http.put("/control/periods/100/2026-01", json={"closed": True})
    closed = ("FDATE", "业务日期所在的会计期间已经关账", 11)
    assert error((await site.save("AR_RECEIVEBILL", receipt("P-2")))["ResponseStatus"]) == closed
    assert error(await site.status("Audit", "AR_RECEIVEBILL", Ids=str(saved["Id"]))) == closed
    later = receipt("P-3", FDATE="2026-02-01")
    assert (await site.save("AR_RECEIVEBILL", later))["ResponseStatus"]["IsSuccess"]
    await site.http.put("/control/periods/100/2026-01", json={"closed": False})
    assert (await site.status("Audit", "AR_RECEIVEBILL", Ids=str(saved["Id"])))["IsSuccess"]


async def test_an_update_restricts_itself_to_needed_fields(site: Site) -> None:
    saved = await site.save("BD_Customer", customer())
    change = {"FCUSTID": saved["Id"], "FTEL": "021-1", "FADDRESS": "不改"}
    assert (await site.save("BD_Customer", change, NeedUpDateFields=["FTEL"]))["ResponseStatus"]["IsSuccess"]
    assert await site.query("BD_Customer", "FTEL,FADDRESS,FName") == [["021-1", "", "示例科技有限公司"]]
    lost = {"FCUSTID": 999999, "FTEL": "1"}
    assert error((await site.save("BD_Customer", lost))["ResponseStatus"])[2] == 10


async def test_rows_that_are_not_sent_are_deleted_unless_told_otherwise(site: Site) -> None:
    banks = [{"FBANKCODE": "1"}, {"FBANKCODE": "2"}]
    saved = await site.save(
        "BD_Customer", customer(FT_BD_CUSTBANK=banks), NeedReturnFields="FT_BD_CUSTBANK.FENTRYID"
    )
    first = saved["NeedReturnData"][0]["FT_BD_CUSTBANK"][0]["FENTRYID"]
    change = {"FCUSTID": saved["Id"], "FT_BD_CUSTBANK": [{"FENTRYID": first, "FACCOUNTNAME": "户名"}]}
    keys = "FBANKCODE,FACCOUNTNAME"
    await site.save("BD_Customer", change, IsDeleteEntry="false")
    assert await site.query("BD_Customer", keys, OrderString="FBANKCODE") == [["1", "户名"], ["2", ""]]
    await site.save("BD_Customer", change)
    assert await site.query("BD_Customer", keys) == [["1", "户名"]]
    await site.save("BD_Customer", {"FCUSTID": saved["Id"], "FTEL": "1"})  # a whole entity not sent
    assert await site.query("BD_Customer", keys) == [["", ""]]


async def test_a_batch_is_partly_successful_and_each_trouble_names_its_document(site: Site) -> None:
    models = [customer("A"), customer("A"), customer("B")]
    result = (await site.call("BatchSave", "BD_Customer", Model=models))["Result"]["ResponseStatus"]
    assert [one["DIndex"] for one in result["SuccessEntitys"]] == [0, 2]
    assert [one["DIndex"] for one in result["Errors"]] == [1]
    assert not result["IsSuccess"]
    await site.status("Submit", "BD_Customer", Numbers=["A"])
    result = await site.status("Submit", "BD_Customer", Numbers="A,B,unknown")
    assert [one["Number"] for one in result["SuccessEntitys"]] == ["B"]
    assert [one["DIndex"] for one in result["Errors"]] == [0]  # the unknown one is ignored


async def test_unchecked_data_gets_in_but_not_through_submit(site: Site) -> None:
    model = customer()
    del model["FTRADINGCURRID"]
    saved = await site.save("BD_Customer", model, ValidateFlag="false")
    assert saved["ResponseStatus"]["IsSuccess"]
    assert (
        error(await site.status("Submit", "BD_Customer", Ids=str(saved["Id"])))[1] == "字段“结算币别”是必填项"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"FDATE": "10.1.2026"}, {"FEXCHANGERATE": "NaN"}, {"FEXCHANGERATE": True}, {"FEXCHANGERATE": "1e-99999"},
        {"FREMARK": {"a": 1}}, {"FREMARK": "\ud800"}, {"FISINIT": "maybe"}, {"FID": "9" * 5000}, {"FID": "x"},
        {"FRECEIVEBILLENTRY": {}}, {"FRECEIVEBILLENTRY": [1]}, {"FCURRENCYID": "PRE001"},
    ],
)  # fmt: skip
async def test_a_value_that_does_not_fit_is_a_parameter_error(site: Site, change: Body) -> None:
    await site.audited_customer()
    status = (await site.save("AR_RECEIVEBILL", receipt(**change)))["ResponseStatus"]
    assert error(status)[2] == 8
    assert not site.created()


async def test_unknown_keys_and_the_status_in_a_model_are_ignored(site: Site) -> None:
    await site.audited_customer()
    saved = await site.save("BD_Customer", customer("X", FNope="1", FDocumentStatus="C"))
    assert saved["ResponseStatus"]["IsSuccess"]
    assert await site.query("BD_Customer", "FDocumentStatus", "FNumber='X'") == [["A"]]
    site.box.dials.strict_fields = True
    assert error((await site.save("BD_Customer", customer("Y", FNope="1")))["ResponseStatus"])[2] == 9


async def test_every_move_of_the_status_machine_and_its_refusals(site: Site) -> None:
    await site.audited_customer()
    draft = (await site.call("Draft", "AR_RECEIVEBILL", Model={"FPAYORGID": {"FNumber": "100"}}))["Result"]
    bill = str(draft["Id"])
    steps = [
        ("Submit", "单据当前状态不允许提交", "Z"), ("Save", "", "A"), ("Audit", "单据未提交，不允许审核", "A"),
        ("UnAudit", "单据未审核，不允许反审核", "A"), ("Submit", "", "B"), ("Save", "单据审核中，不允许修改", "B"),
        ("Delete", "只有处于暂存/创建/重新审核状态的单据才允许删除", "B"), ("CancelAssign", "", "D"),
        ("Save", "", "D"), ("Submit", "", "B"), ("Audit", "", "C"), ("Audit", "单据已经审核", "C"),
        ("Save", "单据已审核，不允许修改", "C"), ("UnAudit", "", "D"), ("Delete", "", None),
    ]  # fmt: skip
    for op, refusal, after in steps:
        model = receipt() | {"FID": bill}
        status = await site.status(
            op, "AR_RECEIVEBILL", **({"Model": model} if op == "Save" else {"Ids": bill})
        )
        assert [one["Message"] for one in status["Errors"]] == ([refusal] if refusal else []), op
        found = await site.query("AR_RECEIVEBILL", "FDocumentStatus", f"FID={bill}")
        assert found == ([[after]] if after else []), op


async def test_audit_stamps_and_a_switch_moves_the_modify_date(site: Site) -> None:
    await site.audited_customer()
    for moves in (False, True):
        site.box.dials.audit_moves_modify_date = moves
        bill = str((await site.save("AR_RECEIVEBILL", receipt()))["Id"])
        await site.status("Submit", "AR_RECEIVEBILL", Ids=bill)
        site.box.advance(60)
        await site.status("Audit", "AR_RECEIVEBILL", Ids=bill)
        keys = "FCreateDate,FModifyDate,FAPPROVEDATE,FApproverId.FNumber"
        [[created, modified, approved, approver]] = await site.query("AR_RECEIVEBILL", keys, f"FID={bill}")
        assert approver == "hub"
        assert (modified == approved) is moves
        assert (modified == created) is not moves


async def test_a_successor_blocks_unaudit_of_a_document_but_not_of_a_named_customer(site: Site) -> None:
    await site.audited_customer()
    saved = await site.save("AR_RECEIVEBILL", receipt(), IsAutoSubmitAndAudit="true")
    number = saved["Number"]
    await site.http.post(f"/control/objects/AR_RECEIVEBILL/{number}/successor", json={"successor": "SKTKD-1"})
    assert error(await site.status("UnAudit", "AR_RECEIVEBILL", Numbers=[number]))[2] == 12
    assert (await site.status("UnAudit", "BD_Customer", Numbers=["CRM-000123"]))["IsSuccess"]


async def test_all_unknown_names_are_an_error_and_so_is_an_unknown_view(site: Site) -> None:
    assert error(await site.status("Audit", "BD_Customer", Numbers=["no"]))[2] == 10
    assert error(await site.status("View", "BD_Customer", Number="no"))[1:] == ('编码值["no"]不存在', 9)
    assert error(await site.status("Save", "BD_Nothing", Model={}))[1:] == ("业务对象不存在：BD_Nothing", 4)
