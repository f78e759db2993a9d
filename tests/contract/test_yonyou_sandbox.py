"""The Yonyou stand-in by itself: strict, stateful, with the vendor's own order of checks, limits and texts (7).

Signing here is a third reading of the fact sheet, independent of the sandbox and of the connector.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from connectors.yonyou.sandbox import Account, YonyouDials, YonyouSandbox
from hub.sdk.sandbox import running
from tests.contract.yonyou_stand import customer, seeded

ORG = "ORG001"
MERCHANT, COLLECTION, OLDER = "digitalModel/merchant/", "EFI/collection/", "fi/receivebill/"


def signed(account: Account, millis: int, *, secret: str = "") -> str:
    text = f"appKey{account.app_key}timestamp{millis}"
    digest = hmac.new((secret or account.app_secret).encode(), text.encode(), hashlib.sha256).digest()
    return f"appKey={account.app_key}&timestamp={millis}&signature={quote(base64.b64encode(digest), safe='')}"


class Site:
    """One running sandbox and a client of it that has a token."""

    def __init__(self, box: YonyouSandbox, http: httpx.AsyncClient) -> None:
        self.box, self.http = box, http
        self.token = ""

    async def ask(self, *, centre: str = "c1", path: str = "base/v1/getAccessToken", query: str = "") -> Any:
        query = query or signed(self.box.account, self.box.clock.now() // 1000)
        answer = await self.http.get(f"/{centre}/iuap-api-auth/open-auth/selfAppAuth/{path}?{query}")
        assert answer.status_code == 200
        return answer.json()

    async def raw(
        self, api: str, body: Any = None, *, centre: str = "c1", token: str | None = None, **more: Any
    ) -> Any:
        token = self.token if token is None else token
        query = f"?access_token={quote(token, safe='')}" if token else ""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"/{centre}/iuap-api-gateway/yonbip/{api}{query}"
        if body is None:
            return await self.http.get(url + "".join(f"&{name}={value}" for name, value in more.items()))
        return await self.http.post(url, content=content, **more)

    async def call(self, api: str, body: Any = None, **more: Any) -> Any:
        return (await self.raw(api, body, **more)).json()

    async def control(self, method: str, path: str, *, status: int = 200, **body: Any) -> Any:
        answer = await self.http.request(method, f"/control{path}", json=body or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def customer(self, code: str = "C1", **more: Any) -> int:
        made = self.box.desk.seed("customer", customer(1, code=code, **more))
        return int(made["id"])

    async def save(self, **more: Any) -> Any:
        return await self.call(f"{COLLECTION}save", {"data": seeded("receipt", 1) | more})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    box = YonyouSandbox()
    async with running(box) as url, httpx.AsyncClient(base_url=url) as http:
        one = Site(box, http)
        one.token = (await one.ask())["data"]["access_token"]
        yield one


# ------------------------------------------------------------------------------------------- doors


async def test_the_look_up_gives_both_prefixes_and_knows_its_tenant(site: Site):
    answer = (await site.http.get("/open-auth/dataCenter/getGatewayAddress?tenantId=sandbox1")).json()
    assert answer["code"] == "00000"
    assert answer["data"]["gatewayUrl"].endswith("/c1/iuap-api-gateway")
    assert answer["data"]["tokenUrl"].endswith("/c1/iuap-api-auth")
    unknown = await site.http.get("/open-auth/dataCenter/getGatewayAddress?tenantId=x")
    assert (unknown.status_code, unknown.json()) == (
        200,
        {"code": "500", "message": "根据租户id获取网关地址出现异常"},
    )


async def test_both_token_paths_answer_and_a_token_holds_every_awkward_sign(site: Site):
    for path in ("base/v1/getAccessToken", "getAccessToken"):
        answer = await site.ask(path=path)
        assert (answer["code"], answer["data"]["expire"]) == ("00000", 7200)
        assert set("+/=") <= set(answer["data"]["access_token"])


async def test_a_signature_is_recomputed_and_an_encoding_too_many_is_found(site: Site):
    now = site.box.clock.now() // 1000
    good = signed(site.box.account, now)
    assert (await site.ask(query=good))["code"] == "00000"
    for bad in (signed(site.box.account, now, secret="x"), good.replace("%", "%25"), good.rpartition("&")[0]):
        answer = await site.ask(query=bad)
        assert (answer["code"], answer["message"]) == (site.box.dials.bad_signature_code, "签名不正确")
    assert (await site.ask(query=good.replace("appKey=a", "appKey=b")))["code"] == "10018"


async def test_seconds_for_milliseconds_and_a_wrong_clock_are_refused_unless_the_dial_says_otherwise(
    site: Site,
):
    now = site.box.clock.now() // 1000
    for millis in (now // 1000, now - 601_000, now + 601_000):
        assert (await site.ask(query=signed(site.box.account, millis)))["code"] == site.box.dials.skew_code
    site.box.dials.check_skew = False
    assert (await site.ask(query=signed(site.box.account, now - 601_000)))["code"] == "00000"


async def test_the_gateway_checks_path_token_grant_method_and_parameters_in_this_order(site: Site):
    answer = await site.raw("no/such/api", {}, token="")
    assert (answer.status_code, answer.json()["code"]) == (404, "310404")
    assert "[/yonbip/no/such/api]" in answer.json()["message"]
    assert (await site.raw(f"{MERCHANT}newinsert_copy", {})).status_code == 404
    list_ = f"{MERCHANT}newlist"
    for token, code in (("", "310001"), ("nonsense", "310036")):
        answer = await site.raw(list_, {}, token=token)
        assert (answer.status_code, answer.json()["code"]) == (200, code)
    await site.control("PATCH", "/app", ungranted=["digitalModel"])
    assert (await site.call(list_, {}))["code"] == "310037"
    await site.control("PATCH", "/app", ungranted=[])
    assert (
        await site.http.get(f"/c1/iuap-api-gateway/yonbip/{list_}?access_token={quote(site.token, safe='')}")
    ).json()["code"] == "310405"
    assert (await site.call(list_, {}))["message"] == "参数校验失败，参数[pageIndex]是必填的。"
    assert (await site.call(list_, b"{"))["code"] == "310002"


async def test_a_token_counts_in_its_own_centre_for_two_hours_in_query_or_header(site: Site):
    body = {"pageIndex": 1, "pageSize": 1}
    assert (await site.call(f"{MERCHANT}newlist", body))["code"] == "200"
    assert (await site.call(f"{MERCHANT}newlist", body, token="", headers={"access_token": site.token}))[
        "code"
    ] == "200"
    assert (await site.call(f"{MERCHANT}newlist", body, centre="c2"))["code"] == "310036"
    await site.control("POST", "/clock", advance_seconds=7200)
    assert (await site.call(f"{MERCHANT}newlist", body))["code"] == "310036"
    plain = await site.raw("fi/fipub/basedoc/querybd/accperiod", {})
    assert (plain.text, plain.headers["content-type"][:10]) == ("非法token", "text/plain")


async def test_a_minute_holds_sixty_calls_of_one_api(site: Site):
    codes = [
        (await site.raw(f"{MERCHANT}newlist", {"pageIndex": 1, "pageSize": 1})).status_code for _ in range(61)
    ]
    assert codes == [200] * 60 + [429]
    assert (await site.call(f"{MERCHANT}newlistrange", {"pageIndex": 1, "pageSize": 1}))["code"] == "200"
    await site.control("PATCH", "/dials", limit_code="310032")
    answer = await site.raw(f"{MERCHANT}newlist", {"pageIndex": 1, "pageSize": 1})
    assert (answer.status_code, answer.json()["code"]) == (200, "310032")
    site.box.advance(60)
    assert (await site.call(f"{MERCHANT}newlist", {"pageIndex": 1, "pageSize": 1}))["code"] == "200"


# ------------------------------------------------------------------------------------------- customers


async def test_an_insert_answers_an_array_and_refuses_with_a_number(site: Site):
    data = {**customer(1), "resubmitCheckKey": "k" * 32}
    answer = await site.call(f"{MERCHANT}idempotent/newinsert", {"data": data})
    (made,) = answer["data"]
    assert (answer["code"], made["code"], len(str(made["id"]))) == ("200", "CRM-000001", 19)
    bad = await site.call(
        f"{MERCHANT}idempotent/newinsert", {"data": customer(2, name={"simplifiedName": ""})}
    )
    assert bad == {"code": 0, "message": "客户名称不能为空!", "data": None}
    assert (await site.call(f"{MERCHANT}idempotent/newinsert", {"data": customer(1)}))["code"] == 0
    assert (await site.call(f"{MERCHANT}idempotent/newinsert", {"data": customer(3, nonsense=1)}))[
        "code"
    ] == "999"


async def test_a_key_answers_alike_for_an_hour_then_with_the_id_and_never_longer_than_32(site: Site):
    data = {**customer(1), "resubmitCheckKey": "k" * 32}
    first, second = [await site.call(f"{MERCHANT}idempotent/newinsert", {"data": data}) for _ in range(2)]
    assert first == second
    site.box.advance(3601)
    late = await site.call(f"{MERCHANT}idempotent/newinsert", {"data": data})
    assert (late["code"], late["data"]["id"]) == ("100004", first["data"][0]["id"])
    assert len(site.box.ledger().effects(by="api")) == 1
    long = {**customer(2), "resubmitCheckKey": "k" * 33}
    assert (await site.call(f"{MERCHANT}idempotent/newinsert", {"data": long}))["code"] == "310024"


async def test_an_update_has_no_wrapper_names_three_fields_and_lets_a_null_overwrite(site: Site):
    one = await site.customer()
    assert (await site.call(f"{MERCHANT}newupdate", {"data": {"id": one}}))["code"] == "310008"
    base = {"id": one, "name": {"simplifiedName": "新名"}, "createOrgCode": ORG, "enterpriseNature": 0}
    for missing in ("createOrgCode", "enterpriseNature"):
        answer = await site.call(f"{MERCHANT}newupdate", {k: v for k, v in base.items() if k != missing})
        assert f"[{missing}]" in answer["message"]
    assert (await site.call(f"{MERCHANT}newupdate", {**base, "contactTel": None}))["code"] == "200"
    (kept,) = await site.control("GET", "/objects/customer")
    assert (kept["contactTel"], kept["name"]["simplifiedName"]) == (None, "新名")
    row = {"fullName": {"simplifiedName": "李四"}, "isDefault": False}
    assert (await site.call(f"{MERCHANT}newupdate", {**base, "merchantContactInfos": [row]}))["code"] == "999"
    inserted = {**base, "merchantContactInfos": [{**row, "entityStatus": "Insert"}]}
    assert (await site.call(f"{MERCHANT}newupdate", inserted))["code"] == "200"
    (kept,) = await site.control("GET", "/objects/customer")
    assert len(kept["merchantContactInfos"]) == 2
    deleted = {"id": kept["merchantContactInfos"][0]["id"], "entityStatus": "Delete"}
    await site.call(f"{MERCHANT}newupdate", {**base, "merchantContactInfos": [deleted]})
    await site.call(f"{MERCHANT}newupdate", {**base, "blank": True})
    (kept,) = await site.control("GET", "/objects/customer")
    assert [one["fullName"]["simplifiedName"] for one in kept["merchantContactInfos"]] == ["李四"]
    assert "creditCode" not in kept


async def test_the_three_lists_differ_as_the_documents_say(site: Site):
    ids = [await site.customer(f"C{number}") for number in range(3)]
    page = {"pageIndex": 1, "pageSize": 2}
    plain = await site.call(f"{MERCHANT}newlist", page)
    assert isinstance(plain["data"], list)
    assert len(plain["data"]) == 2
    ranged = (await site.call(f"{MERCHANT}newlistrange", page))["data"]
    assert (ranged["recordCount"], ranged["pageCount"], ranged["pageIndex"]) == ("3", "2", "1")
    assert [one["orgIdCode"] for one in ranged["recordList"][0]["merchantApplyRanges"]] == [ORG]
    detail = (await site.call(f"{MERCHANT}newBatchDetail", [{"id": ids[0]}, {"code": "C1"}, {"id": 5}]))[
        "data"
    ]
    assert [one["code"] for one in detail] == ["C0", "C1"]
    assert detail[0]["merchantContactInfos"][0]["mobile"] == "13800000000"
    assert (await site.call(f"{MERCHANT}newBatchDetail", {"id": ids[0]}))["code"] == "310023"
    assert (await site.call(f"{MERCHANT}newlist", {"pageIndex": 1, "pageSize": 5001}))["code"] == "1001"
    none = await site.call(f"{MERCHANT}newlist", {**page, "pubts": "2100-01-01 00:00:00"})
    assert none["data"] == []


async def test_stopping_takes_the_code_first_and_a_batch_hides_its_failures_behind_200(site: Site):
    one, other = await site.customer("C1"), await site.customer("C2")
    rows = [{"merchantId": one, "merchantCode": "C2"}, {"merchantId": 5}]
    answer = await site.call(f"{MERCHANT}stop", {"data": rows})
    data = answer["data"]
    assert (answer["code"], data["count"], data["sucessCount"], data["failCount"]) == ("200", 2, 1, 1)
    assert data["messages"] == ["数据不存在"]
    stopped = {row["id"]: row["stopStatus"] for row in await site.control("GET", "/objects/customer")}
    assert stopped == {one: False, other: True}
    whole = await site.call(f"{MERCHANT}unstop", {"data": [{"merchantCode": "C2"}]})
    assert whole["data"]["messages"] == [""]
    allocated = await site.call(f"{MERCHANT}batchDo", {"data": [{"merchantId": one, "orgIds": ["ORG002"]}]})
    assert allocated["data"]["sucessCount"] == 1


# ------------------------------------------------------------------------------------------- receipts

TEXTS = {
    "submit": "提交失败,当前单据已提交,不允许重复操作!",
    "unsubmit": "撤回提交失败,当前单据未提交,不允许撤回操作!",
    "audit": "审核失败,当前单据已审核, 不允许重复操作!",
    "unaudit": "弃审失败,当前单据已弃审, 不允许重复操作!",
}


async def test_a_receipts_way_through_its_states_and_the_text_of_each_wrong_turn(site: Site):
    await site.customer()
    assert (await site.save(financeOrgCode=None))["message"] == "收款组织不允许为空!"
    made = (await site.save())["data"]
    assert (made["verifyState"], made["busiObj"], isinstance(made["id"], str)) == (0, "collection", True)

    async def turn(verb: str) -> str:
        answer = await site.call(f"{COLLECTION}{verb}", {"data": {"id": made["id"]}})
        return str(answer["message"] if answer["code"] != "200" else "ok")

    said = [
        (verb, await turn(verb))
        for verb in ("unsubmit", "submit", "submit", "audit", "audit", "unaudit", "unaudit")
    ]
    assert said == [
        ("unsubmit", TEXTS["unsubmit"]), ("submit", "ok"), ("submit", TEXTS["submit"]), ("audit", "ok"),
        ("audit", TEXTS["audit"]), ("unaudit", "ok"), ("unaudit", TEXTS["unaudit"]),
    ]  # fmt: skip
    assert await turn("delete") != "ok"
    assert (await turn("unsubmit"), await turn("delete")) == ("ok", "ok")
    assert await turn("delete") == "删除失败,数据库查询异常!"
    assert await turn("unaudit") == "数据不存在"
    gone = await site.call(f"{COLLECTION}detail", id=made["id"])
    assert (gone["code"], gone["message"]) == ("999", "当前单据被删除或没有权限")


async def test_a_receipt_is_inserted_only_with_a_status_on_every_line(site: Site):
    await site.customer()
    lines = [{"oriTaxIncludedAmount": 1, "localTaxIncludedAmount": 1}]
    assert (await site.save(bodyItem=lines))["code"] == "999"
    assert (await site.save(_status="Update"))["code"] == "999"
    await site.control("PATCH", "/dials", child_status="ignore")
    lines = [{**lines[0], "_status": "Insert"}, {"oriTaxIncludedAmount": 5, "localTaxIncludedAmount": 5}]
    assert (await site.save(bodyItem=lines))["data"]["oriTaxIncludedAmount"] == 1


async def test_a_list_repeats_the_header_for_each_line_unless_sums_are_asked_for(site: Site):
    await site.customer()
    line = {"oriTaxIncludedAmount": 1.5, "localTaxIncludedAmount": 1.5, "extRowNo": "1", "_status": "Insert"}
    await site.save(bodyItem=[line, line])
    page = {"pageIndex": 1, "pageSize": 10}
    flat = (await site.call(f"{COLLECTION}list", page))["data"]
    assert flat["recordCount"] == 2
    assert flat["recordList"][0]["id"] == flat["recordList"][1]["id"]
    names = {
        "bodyItemId",
        "bodyItemCustomer",
        "bodyItemOriTaxIncludedAmount",
        "bodyItemPubts",
        "bodyItem_extRowNo",
    }
    assert names <= flat["recordList"][0].keys()
    assert "customerCode" not in flat["recordList"][0]
    heads = (await site.call(f"{COLLECTION}list", {**page, "isSum": True}))["data"]
    assert (heads["recordCount"], heads["recordList"][0]["oriTaxIncludedAmount"]) == (1, 3)
    assert (await site.call(f"{COLLECTION}list", {**page, "pageSize": 501}))["code"] == "1001"
    later = {"simple": {"open_pubts_begin": "2100-01-01 00:00:00"}}
    assert (await site.call(f"{COLLECTION}list", page | later))["data"]["recordCount"] == 0


async def test_the_older_generation_wants_texts_for_pages_and_fresh_pubts_for_audits(site: Site):
    await site.customer()
    made = (await site.call(f"{OLDER}single/save", {"data": seeded("receivebill", 1)}))["data"]
    assert isinstance(made["id"], int)
    assert (await site.call(f"{OLDER}list/v2", {"pageIndex": 1, "pageSize": 1}))["code"] == "310023"
    asked = {"logicOp": "and", "conditions": [{"field": "code", "op": "eq", "value1": made["code"]}]}
    found = await site.call(f"{OLDER}list/v2", {"pageIndex": "1", "pageSize": "9", "simpleVOs": [asked]})
    assert [one["id"] for one in found["data"]["recordList"]] == [made["id"]]
    unknown = await site.call(f"{OLDER}batchaudit", {"data": [{"id": 5, "pubts": "x"}]})
    assert (unknown["code"], unknown["data"]["failCount"]) == ("200", 1)
    assert unknown["data"]["messages"] == ["单据不存在 id:5"]
    stale = await site.call(
        f"{OLDER}batchaudit", {"data": [{"id": made["id"], "pubts": "2020-01-01 00:00:00"}]}
    )
    assert stale["data"]["failCount"] == 1
    fresh = await site.call(f"{OLDER}batchaudit", {"data": [{"id": made["id"], "pubts": made["pubts"]}]})
    assert fresh["data"]["sucessCount"] == 1


async def test_a_closed_month_refuses_both_generations(site: Site):
    await site.customer()
    await site.control("PUT", f"/periods/{ORG}/2026-01", closed=True)
    for answer in (
        await site.save(),
        await site.call(f"{OLDER}single/save", {"data": seeded("receivebill", 1)}),
    ):
        assert (answer["code"], answer["message"]) == ("999", "当前会计期间已经结账,单据不能维护")
    await site.control("PUT", f"/periods/{ORG}/2026-01", closed=False)
    assert (await site.save())["code"] == "200"


async def test_amounts_keep_their_digits_from_the_wire_to_the_wire(site: Site):
    await site.customer()
    line = b'{"oriTaxIncludedAmount":99999999999999.99,"localTaxIncludedAmount":0.10,"_status":"Insert"}'
    body = (
        json.dumps({"data": seeded("receipt", 1) | {"bodyItem": ["LINE"]}}).encode().replace(b'"LINE"', line)
    )
    answer = await site.raw(f"{COLLECTION}save", body)
    assert b'"oriTaxIncludedAmount":99999999999999.99' in answer.content


# ------------------------------------------------------------------------------------------- dials, control, journal


async def test_a_time_out_after_the_commit_leaves_its_effect_and_a_late_one_answers_202(site: Site):
    await site.customer()
    await site.control(
        "PATCH", "/dials", next=[{"fault": "apply_then_code_310504", "op": f"{COLLECTION}save"}]
    )
    assert (await site.save(resubmitCheckKey="a" * 32))["code"] == "310504"
    assert len(site.box.ledger().effects(by="api", form="receipt")) == 1
    site.box.dials.late_by = 100
    site.box.inject("apply_late", op=f"{COLLECTION}save")
    with pytest.raises(httpx.HTTPError):
        await site.save(resubmitCheckKey="b" * 32)
    assert (await site.save(resubmitCheckKey="b" * 32))["code"] == "202"
    site.box.advance(100)
    assert (await site.save(resubmitCheckKey="b" * 32))["code"] == "200"
    assert len(site.box.ledger().effects(by="api", form="receipt")) == 2


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [("http_502", 502, b"<html>"), ("html_200", 200, b"<html>"), ("code_310043", 200, b'{"code":"310043"'),
     ("code_310046", 429, b'{"code":"310046"'), ("text_token", 200, "非法token".encode()), ("code_310404", 404, b'{"code"')],
)  # fmt: skip
async def test_a_dialled_failure_applies_nothing(site: Site, fault: str, status: int, start: bytes):
    await site.customer()
    site.box.inject(fault, op=f"{COLLECTION}save")
    answer = await site.raw(f"{COLLECTION}save", {"data": seeded("receipt", 1)})
    assert (answer.status_code, answer.content.startswith(start)) == (status, True)
    assert not site.box.ledger().effects(by="api")


async def test_unknown_faults_forms_and_verbs_are_refused_at_the_control_door(site: Site):
    await site.control("PATCH", "/dials", status=422, next=[{"fault": "nonsense"}])
    await site.control("GET", "/objects/nonsense", status=409)
    one = await site.customer()
    await site.control("POST", f"/objects/customer/{one}/act", status=409, verb="audit")
    await site.control("PATCH", "/app", status=422, centre="c9")
    assert (await site.http.get("/control/openapi.json")).status_code == 200


async def test_the_journal_brings_everything_back_after_a_kill_its_keys_too(tmp_path: Path):
    file = tmp_path / "yonyou.journal"
    box = YonyouSandbox(state=file, dials=YonyouDials(check_skew=False))
    async with running(box) as url, httpx.AsyncClient(base_url=url) as http:
        site = Site(box, http)
        site.token = (await site.ask())["data"]["access_token"]
        await site.customer()
        first = await site.save(resubmitCheckKey="a" * 32)
        await site.call(f"{COLLECTION}submit", {"data": {"id": first["data"]["id"]}})
    box.ledger().close()
    again = YonyouSandbox(state=file)
    async with running(again) as url, httpx.AsyncClient(base_url=url) as http:
        site = Site(again, http)
        site.token = (await site.ask())["data"]["access_token"]
        assert (await site.save(resubmitCheckKey="a" * 32)) == first
        (kept,) = await site.control("GET", "/objects/receipt")
        assert kept["verifyState"] == 1
        assert [effect["verb"] for effect in await site.control("GET", "/ledger?by=api")] == [
            "create",
            "submit",
        ]
        with contextlib.suppress(httpx.HTTPError):
            await site.control("POST", "/reset")
        assert await site.control("GET", "/objects/receipt") == []
    again.ledger().close()
