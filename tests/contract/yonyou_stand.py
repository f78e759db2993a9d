"""The Yonyou sandbox as the contract kit drives it: one tenant, one organisation, receipts of either generation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from connectors.yonyou import YonyouConnector
from connectors.yonyou.sandbox import YonyouDials, YonyouSandbox
from hub.sdk import Answer, Applied, Failed, Gone, Json, Next, Secret, VendorRef, Write
from hub.sdk.kit import Bench, Fault, Stand

ORG = "ORG001"
SECRETS = ("app_secret",)
CUSTOMERS, COLLECTION, OLDER = "digitalModel/merchant/", "EFI/collection/", "fi/receivebill/"
INSERT, UPDATE = f"{CUSTOMERS}idempotent/newinsert", f"{CUSTOMERS}newupdate"
CALLS = {
    "customer": {"read": f"{CUSTOMERS}newlistrange", "save": INSERT},
    "receipt": {
        "read": f"{COLLECTION}list",
        **{step: f"{COLLECTION}{step}" for step in ("save", "submit", "audit", "unsubmit", "unaudit", "delete")},
    },
    "receivebill": {
        "read": f"{OLDER}list/v2", "save": f"{OLDER}single/save", "audit": f"{OLDER}batchaudit",
        "unaudit": f"{OLDER}batchunaudit", "delete": f"{OLDER}delete",
    },
}  # fmt: skip
FAULTS = {
    Fault.BROKEN: "fail_before", Fault.DROPPED: "apply_then_drop", Fault.CUT: "cut_body", Fault.GARBLED: "apply_then_502",
    Fault.LATE: "apply_late", Fault.RATE: "code_310046", Fault.EXPIRED: "expire_token", Fault.HTML: "html_200",
}  # fmt: skip
VERBS = {"create": "save", "update": "save"}


def answer(**body: Any) -> Answer:
    return Answer(200, httpx.Headers({"content-type": "application/json"}), orjson.dumps(body))


PLACES = answer(
    code="00000",
    message="成功！",
    data={"gatewayUrl": "https://c1.test/iuap-api-gateway", "tokenUrl": "https://c1.test/iuap-api-auth"},
)
TOKEN = answer(code="00000", message="成功！", data={"access_token": "token/of+the=test", "expire": 7200})
GREETING = (PLACES, TOKEN)


def customer(number: int, **more: Any) -> dict[str, Any]:
    return {
        "code": f"CRM-{number:06}", "name": {"simplifiedName": f"示例科技{number}号有限公司"}, "createOrgCode": ORG,
        "transTypeCode": "SYCSR001", "customerClassCode": "01", "enterpriseNature": 0,
        "enterpriseName": f"示例科技{number}号有限公司", "licenseType": 0, "contactTel": "021-62123456",
        "merchantContactInfos": [
            {"fullName": {"simplifiedName": "张三"}, "mobile": "13800000000", "isDefault": True, "email": None},
        ],
        "merchantApplyRanges": [{"orgIdCode": ORG}], **more,
    }  # fmt: skip


def receipt(number: int, **more: Any) -> dict[str, Any]:
    line = {
        "quickTypeCode": "1",
        "oriTaxIncludedAmount": "1200.50",
        "localTaxIncludedAmount": "1200.50",
        "remarks": "hub",
    }
    return {
        "extVouchCode": f"PAY-{number:04}", "financeOrgCode": ORG, "orgCode": ORG, "billDate": "2026-01-15",
        "bustypeCode": "ar_colsale", "oriCurrencyCode": "CNY", "objectType": "1", "customerCode": "C1",
        "exchangeRateTypeCode": "01", "exchangeRate": "1", "exchangeRateDate": "2026-01-15",
        "settleModeCode": "system_0001", "remarks": f"PAY-{number:04}", "bodyItem": [line], **more,
    }  # fmt: skip


def seeded(form: str, number: int) -> dict[str, Any]:
    """What the vendor's user types for the ``number``-th object, with the names of the API."""
    if form == "customer":
        return customer(number)
    sums = {"oriTaxIncludedAmount": 7, "localTaxIncludedAmount": 7, "_status": "Insert"}
    if form == "receipt":
        days = {
            "billDate": "2026-01-15 00:00:00",
            "exchangeRateDate": "2026-01-15 00:00:00",
            "exchangeRate": 1,
        }
        return {**receipt(number), **days, "extVouchCode": None, "_status": "Insert", "bodyItem": [sums]}
    return {
        "accentity_code": ORG, "vouchdate": "2026-01-15", "customer_code": "C1", "tradetype_code": "ar_colsale",
        "currency": "CNY", "exchangeRateType_code": "01", "exchRate": 1, "oriSum": 7, "natSum": 7, "_status": "Insert",
        "ReceiveBill_b": [{"oriSum": 7, "natSum": 7, "_status": "Insert"}],
    }  # fmt: skip


class YonyouStand(Stand):
    org = ORG
    plans: ClassVar = {"customer": ("save",), "receipt": ("save", "submit", "audit")}
    greeting: ClassVar = GREETING
    generation: ClassVar = "collection"
    sandbox: YonyouSandbox

    def make(self) -> YonyouSandbox:
        return YonyouSandbox(dials=YonyouDials(per_minute=600))

    def settings(self) -> dict[str, Any]:
        given = dict(self.sandbox.credentials(self.base_url))
        return given | {
            "app_secret": Secret(given["app_secret"]), "page_size": self.page_size, "per_minute": 600, "org_code": ORG,
            "receipts": self.generation, "settle_after": 150,
        }  # fmt: skip

    def wrong_key(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "app_secret": Secret("00000000000000000000000000000000")}

    async def call(self, method: str, path: str, **body: Any) -> Any:
        async with httpx.AsyncClient() as client:
            said = await client.request(method, f"{self.base_url}/control{path}", json=body)
        assert said.is_success, said.text
        return said.json()

    def form(self, name: str) -> str:
        return "receivebill" if (name, self.generation) == ("receipt", "receivebill") else name

    async def seed(self, stream: str, count: int) -> list[str]:
        await self.prepare(stream)
        ids, form = [], self.form(stream)
        for _ in range(count):
            number = len(list(self.sandbox.books.rows(form))) + 1
            made = self.sandbox.desk.seed(form, seeded(form, number))
            ids.append(str(made["id"]))
            self.sandbox.advance(1)
        return ids

    async def edit(self, stream: str, vendor_id: str) -> None:
        self.sandbox.advance(1)
        field = {
            "customer": {"contactTel": "changed"},
            "receipt": {"postStatus": 3, "createTime": "2026-01-01 00:00:00"},
        }
        self.sandbox.desk.edit(self.form(stream), vendor_id, field[stream])

    async def prepare(self, name: str) -> None:
        if name == "receipt" and not list(self.sandbox.books.rows("customer")):
            self.sandbox.desk.seed("customer", customer(1, code="C1"))

    def payload(self, object_name: str, number: int) -> dict[str, Json]:
        return customer(number) if object_name == "customer" else receipt(number)

    def bad(self, object_name: str) -> dict[str, Json]:
        if object_name == "customer":
            return customer(2, name={"simplifiedName": " "})
        return receipt(2, financeOrgCode=None)

    def change(self, object_name: str) -> dict[str, Json]:
        return {"contactTel": "021-11111111"} if object_name == "customer" else receipt(1, remarks="changed")

    def inject(self, fault: Fault, operation: str, name: str) -> None:
        self.sandbox.dials.late_by = self.late
        op = CALLS[self.form(name)][operation]
        for one in (
            (op, UPDATE) if op == INSERT else (op,)
        ):  # the kit names the step, not which of its two calls
            self.sandbox.inject(FAULTS[fault], op=one)

    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        found = self.sandbox.ledger().effects(by="api", form=self.form(object_name))
        return [(VERBS.get(effect.verb, effect.verb), str(effect.id)) for effect in found]

    def coded(self, code: str) -> Answer:
        return answer(code=code, message="？", data=None)


class OlderStand(YonyouStand):
    """The same over the older receivables: no submit there."""

    plans: ClassVar = {"customer": ("save",), "receipt": ("save", "audit")}
    generation: ClassVar = "receivebill"


class Recorder:
    """Stands in for the HTTP client: the greeting, then answers from a list; keeps what was sent."""

    def __init__(self, *answers: Answer) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.greeted: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self._answers = list(answers)

    async def request(
        self, method: str, url: str, *, content: bytes = b"", headers: Any = None, **_: Any
    ) -> Answer:
        at = httpx.URL(url)
        if "/open-auth/" in at.path:
            self.greeted.append(url)
            return PLACES if at.path.endswith("getGatewayAddress") else TOKEN
        body = orjson.loads(content) if content else dict(at.params)
        self.sent.append((method, url, body))
        self.headers.append(dict(headers or {}))
        return self._answers.pop(0)


async def run(bench: Bench, connector: Any, write: Write, plan: tuple[str, ...]) -> VendorRef:
    """Make every step of a plan and return the last reference."""
    current = write.ref
    for step in plan:
        result = await bench.one(connector, replace(write, step=step, plan=plan, ref=current))
        if isinstance(result, Gone):
            assert current is not None
            return current
        assert isinstance(result, Applied | Next), result
        current = result.ref
    assert current is not None
    return current


async def refused(bench: Bench, connector: Any, write: Write) -> Any:
    result = await bench.one(connector, write)
    assert isinstance(result, Failed), result
    return result.error


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a sandbox on a socket with the customer that receipts name."""
    async with Bench.open(YonyouConnector, YonyouStand) as opened:
        await opened.stand.prepare("receipt")
        yield opened


@pytest.fixture
def yonyou(bench: Bench) -> YonyouConnector:
    """Give a connector to it."""
    connector = bench.connect()
    assert isinstance(connector, YonyouConnector)
    return connector


def box(bench: Bench) -> YonyouSandbox:
    """Return the sandbox of a bench."""
    assert isinstance(bench.stand.sandbox, YonyouSandbox)
    return bench.stand.sandbox
