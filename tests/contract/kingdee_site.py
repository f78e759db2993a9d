"""A running Kingdee stand-in and a small client of it, shared by its tests.

The signing below is a third reading of the fact sheet, independent of the sandbox and of the connector.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from connectors.kingdee.sandbox import Account, KingdeeSandbox
from hub.sdk.sandbox import running

FORMS = "Kingdee.BOS.WebApi.ServicesStub.DynamicFormService."
AUTH = "Kingdee.BOS.WebApi.ServicesStub.AuthService."
CENTRES = "Kingdee.BOS.ServiceFacade.ServicesStub.Account.AccountService.GetDataCenterList.common.kdsvc"
LOST = "会话信息已丢失，请重新登录"
WHO = "64a1f0c2b7d3e9,hub,2052,100"
Body = dict[str, Any]


def customer(number: str = "CRM-000123", **more: Any) -> Body:
    return {
        "FCUSTID": 0, "FCreateOrgId": {"FNumber": "100"}, "FUseOrgId": {"FNumber": "100"}, "FNumber": number,
        "FName": "示例科技有限公司", "FGroup": {"FNumber": "01"}, "FTRADINGCURRID": {"FNumber": "PRE001"}, **more,
    }  # fmt: skip


def receipt(third: str = "PAY-2026-0001", unit: str = "CRM-000123", **more: Any) -> Body:
    row = {
        "FEntryID": 0, "FSETTLETYPEID": {"FNumber": "JSFS04_SYS"}, "FPURPOSEID": {"FNumber": "SFKYT01_SYS"},
        "FRECTOTALAMOUNTFOR": 1000.00, "FRECAMOUNTFOR_E": 1000.10, "FACCOUNTID": {"FNumber": "ACC-001"},
        "FSETTLENO": "BANKREF-1", "FPOSTDATE": "2026-01-10",
    }  # fmt: skip
    return {
        "FID": 0, "FBillTypeID": {"FNUMBER": "SKDLX01_SYS"}, "FDATE": "2026-01-10",
        "FCONTACTUNITTYPE": "BD_Customer", "FCONTACTUNIT": {"FNumber": unit}, "FPAYUNITTYPE": "BD_Customer",
        "FPAYUNIT": {"FNumber": unit}, "FCURRENCYID": {"FNumber": "PRE001"}, "FPAYORGID": {"FNumber": "100"},
        "FEXCHANGERATE": 1, "FBUSINESSTYPE": "1", "FCancelStatus": "A", "FSETTLECUR": {"FNUMBER": "PRE001"},
        "FSETTLEMAINBOOKID": {"FNUMBER": "PRE001"}, "FTHIRDBILLNO": third, "FRECEIVEBILLENTRY": [row], **more,
    }  # fmt: skip


def hexed(key: str, text: str) -> str:
    digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(digest.encode()).decode()


def signed(path: str, account: Account, *, stamp: str = "1700000000", who: str = WHO) -> dict[str, str]:
    client, hidden = account.app_id.split("_")
    mask = b"0054f397c6234378b09ca7d3e5debce7"[:24]
    key = base64.b64encode(bytes(a ^ b for a, b in zip(base64.b64decode(hidden), mask, strict=True))).decode()
    text = f"POST\n{path.replace('/', '%2F')}\n\nx-api-nonce:{stamp}\nx-api-timestamp:{stamp}\n"
    return {
        "X-Api-ClientID": client, "X-Api-Auth-Version": "2.0", "x-api-timestamp": stamp, "x-api-nonce": stamp,
        "x-api-signheaders": "x-api-timestamp,x-api-nonce", "X-Api-Signature": hexed(key, text),
        "X-Kd-Appkey": account.app_id, "X-Kd-Appdata": base64.b64encode(who.encode()).decode(),
        "X-Kd-Signature": hexed(account.app_secret, account.app_id + who),
    }  # fmt: skip


class Site:
    """One running sandbox and a client of it, logged in as the integration user."""

    def __init__(self, box: KingdeeSandbox, http: httpx.AsyncClient) -> None:
        self.box, self.http = box, http

    async def login(self, method: str = "ValidateUser", *said: str) -> Body:
        said = said or (self.box.account.acct_id, "hub", self.box.account.password, "2052")
        answer = await self.http.post(
            f"/k3cloud/{AUTH}{method}.common.kdsvc", json={"parameters": list(said)}
        )
        assert answer.status_code == 200
        return dict(answer.json())

    async def raw(self, op: str, body: Any, **more: Any) -> httpx.Response:
        return await self.http.post(
            f"/k3cloud/{FORMS}{op}.common.kdsvc", content=json.dumps(body).encode(), **more
        )

    async def call(self, op: str, form: str = "", **data: Any) -> Any:
        return (await self.raw(op, {"formid": form, "data": data})).json()

    async def status(self, op: str, form: str, **data: Any) -> Body:
        return dict((await self.call(op, form, **data))["Result"]["ResponseStatus"])

    async def save(self, form: str, model: Body, **options: Any) -> Body:
        return dict((await self.call("Save", form, Model=model, **options))["Result"])

    async def query(self, form: str, keys: str, where: Any = "", **more: Any) -> Any:
        return await self.call("ExecuteBillQuery", FormId=form, FieldKeys=keys, FilterString=where, **more)

    async def audited_customer(self, number: str = "CRM-000123") -> int:
        saved = await self.save("BD_Customer", customer(number))
        for op in ("Submit", "Audit"):
            assert (await self.status(op, "BD_Customer", Ids=str(saved["Id"])))["IsSuccess"]
        return int(saved["Id"])

    def created(self, form: str = "AR_RECEIVEBILL") -> int:
        return len(self.box.ledger().effects(by="api", form=form, verb="create"))


def error(status: Body) -> tuple[str | None, str, int]:
    assert not status["IsSuccess"]
    assert status["ErrorCode"] == 500
    return status["Errors"][0]["FieldName"], status["Errors"][0]["Message"], status["MsgCode"]


@contextlib.asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    box = KingdeeSandbox()
    async with running(box) as url, httpx.AsyncClient(base_url=url) as http:
        one = Site(box, http)
        await one.login()
        yield one
