"""The Kingdee stand-in: queries, data permission, metadata (2.5, 2.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.kingdee_site import (
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


async def test_entry_fields_explode_rows_and_dotted_keys_follow_references(site: Site) -> None:
    await site.audited_customer()
    bill = receipt()
    bill["FRECEIVEBILLENTRY"] = [
        bill["FRECEIVEBILLENTRY"][0],
        bill["FRECEIVEBILLENTRY"][0] | {"FSETTLENO": "B2"},
    ]
    saved = await site.save("ar_receivebill", bill)
    head = "FID,FBillNo,FCONTACTUNIT.FNumber,FPayOrgId.FName,FRECAMOUNTFOR"
    assert await site.query("AR_receiveBill", head) == [
        [saved["Id"], "SKD00000001", "CRM-000123", "示例集团有限公司", 2000.2]
    ]
    keys = "FBillNo,FRECEIVEBILLENTRY_FSeq,FSETTLENO,FSETTLETYPEID.FNumber"
    assert await site.query("AR_RECEIVEBILL", keys, OrderString="FRECEIVEBILLENTRY_FEntryID") == [
        ["SKD00000001", 1, "BANKREF-1", "JSFS04_SYS"], ["SKD00000001", 2, "B2", "JSFS04_SYS"],
    ]  # fmt: skip
    assert await site.query("AR_RECEIVEBILL", "FID", "FSETTLENO='B2' and FDATE>='2026-01-10'") == [
        [saved["Id"]]
    ]


async def test_filters_speak_the_documented_subset(site: Site) -> None:
    for number in ("A-1", "A-2", "B'3"):
        await site.save("BD_Customer", customer(number, FName=f"名{number}"))
    for where, expected in {
        "": "A-1 A-2 B'3",
        "FNumber='B''3'": "B'3",
        "FNumber<>'A-1'": "A-2 B'3",
        "FNumber like 'A-%' and FName='名A-2'": "A-2",
        "(FNumber='A-1' or FNumber = 'A-2') and FUseOrgId.FNumber='100'": "A-1 A-2",
        "fnumber IN ('A-1','B''3')": "A-1 B'3",
        "FCUSTID>=100002 and FCUSTID<100003": "A-2",
        "FModifyDate>='2020-01-01 00:00:00' and FDocumentStatus='A'": "A-1 A-2 B'3",
        "FModifyDate>'2999-01-01'": "",
        "FUseOrgId.FNumber='200'": "",
    }.items():
        assert (
            " ".join(
                row[0] for row in await site.query("BD_Customer", "FNumber", where, OrderString="FNumber")
            )
            == expected
        )
    items = [
        {"Left": "(", "FieldName": "FNumber", "Compare": "67", "Value": "A-1", "Right": "", "Logic": "1"},
        {"Left": "", "FieldName": "FNumber", "Compare": "=", "Value": "B'3", "Right": ")", "Logic": "0"},
    ]
    assert await site.query("BD_Customer", "FNumber", items, OrderString="FNumber DESC") == [["B'3"], ["A-1"]]


async def test_paging_follows_start_limit_and_the_absolute_end_row(site: Site) -> None:
    for place in range(5):
        await site.save("BD_Customer", customer(f"N{place}"))

    async def page(**more: Any) -> str:
        return "".join(
            row[0][1] for row in await site.query("BD_Customer", "FNumber", OrderString="FNumber ASC", **more)
        )

    assert await page(StartRow=0, Limit=2) == "01"
    assert await page(StartRow=4, Limit=2) == "4"
    assert await page(StartRow=2, Limit=2, TopRowCount=2) == ""  # the trap of 8.3.8
    assert await page(StartRow=2, Limit=2, TopRowCount=4) == "23"
    site.box.dials.page_cap = 3
    assert await page(Limit=5) == "012"


@pytest.mark.parametrize(
    ("keys", "where", "form", "code", "text"),
    [
        ("FNope", "", "BD_Customer", 9, "元数据中标识为FNope的字段不存在"),
        ("FNumber", "FNope=1", "BD_Customer", 9, "元数据中标识为FNope的字段不存在"),
        ("FName.FNumber", "", "BD_Customer", 4, "ResolveFiled_InnerEx"),
        ("FNumber", "", "BD_Nothing", 4, "业务对象不存在"),
        ("", "", "BD_Customer", 8, "FieldKeys"),
        ("FNumber", "", "", 5, "不能为空"),
        ("FNumber", "FNumber='A", "BD_Customer", 4, "语法错误"),
        ("FNumber", "(" * 99 + "FNumber='A'" + ")" * 99, "BD_Customer", 4, "语法错误"),
        ("FNumber", "FCUSTID>'NaN'", "BD_Customer", 4, "格式不正确"),
        ("FNumber", "FModifyDate>'gestern'", "BD_Customer", 4, "格式不正确"),
        ("FNumber", "FNumber='A';drop", "BD_Customer", 4, "语法错误"),
    ],
)
async def test_a_bad_query_is_wrapped_in_two_lists(
    site: Site, keys: str, where: str, form: str, code: int, text: str
) -> None:
    [[cell]] = await site.query(form, keys, where)
    status = cell["Result"]["ResponseStatus"]
    assert status["MsgCode"] == code
    assert text in status["Errors"][0]["Message"]


async def test_rows_of_a_foreign_org_are_silently_absent(site: Site) -> None:
    for org in ("100", "200"):
        await site.save(
            "BD_Customer", customer(f"C{org}", FCreateOrgId={"FNumber": org}, FUseOrgId={"FNumber": org})
        )
    await site.http.put("/control/users/limited", json={"orgs": ["100"]})
    await site.login("ValidateUser", site.box.account.acct_id, "limited", "sandbox-only", "2052")
    assert await site.query("BD_Customer", "FNumber") == [["C100"]]
    assert error(await site.status("View", "BD_Customer", Number="C200"))[2] == 9
    foreign = customer("C3", FCreateOrgId={"FNumber": "200"}, FUseOrgId={"FNumber": "200"})
    assert error((await site.save("BD_Customer", foreign))["ResponseStatus"])[2] == 2


async def test_allocate_makes_a_copy_with_its_own_id_and_status(site: Site) -> None:
    first = await site.audited_customer()
    [[org]] = await site.query("ORG_Organizations", "FID", "FNumber='200'")
    assert (await site.status("Allocate", "BD_Customer", PkIds=str(first), TOrgIds=str(org)))["IsSuccess"]
    rows = await site.query(
        "BD_Customer", "FCUSTID,FNumber,FUseOrgId.FNumber,FDocumentStatus", OrderString="FCUSTID"
    )
    assert [row[1:] for row in rows] == [["CRM-000123", "100", "C"], ["CRM-000123", "200", "A"]]
    assert rows[0][0] == first != rows[1][0]
    assert error(await site.status("Allocate", "BD_Customer", PkIds=str(first), TOrgIds=str(org)))[2] == 12


async def test_business_info_names_required_fields_enums_and_the_custom_field(site: Site) -> None:
    about = (await site.call("QueryBusinessInfo", FormId="BD_Customer"))["Result"]["NeedReturnData"]
    head = {field["Key"]: field for field in about["Entrys"][0]["Fields"]}
    assert about["Entrys"][0]["Key"] == "FBillHead"
    assert (head["FName"]["MustInput"], head["FTEL"]["MustInput"]) == (1, 0)
    assert [item["Value"] for item in head["FInvoiceType"]["Extends"]] == ["1", "2"]
    assert head["FUseOrgId"]["LookUpObjectFormId"] == "ORG_Organizations"
    assert "F_HUB_EXTID" in head
    assert {entry["Key"] for entry in about["Entrys"]} >= {"FT_BD_CUSTBANK", "FT_BD_CUSTCONTACT"}


async def test_what_no_order_pins_down_changes_place_from_call_to_call(site: Site) -> None:
    for place in range(3):
        await site.save("BD_Customer", customer(f"N{place}"))
    calls = [await site.query("BD_Customer", "FNumber", OrderString="FDocumentStatus") for _ in range(3)]
    assert len({str(rows) for rows in calls}) > 1
    assert len({str(sorted(rows)) for rows in calls}) == 1
