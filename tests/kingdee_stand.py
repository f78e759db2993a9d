"""The Kingdee sandbox as the contract kit drives it, and payloads its seed accepts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from connectors.kingdee import KingdeeConnector
from connectors.kingdee.sandbox import KingdeeSandbox
from hub.sdk import Answer, Applied, Failed, Json, Next, Secret, VendorRef, Write
from hub.sdk.kit import Bench, Fault, Stand

FORMS = {"customer": "BD_Customer", "receipt": "AR_RECEIVEBILL"}
KEYS = {"customer": ("FCUSTID", "FNumber"), "receipt": ("FID", "FBillNo")}
OPERATIONS = {
    "save": "Save", "submit": "Submit", "audit": "Audit", "unaudit": "UnAudit", "cancel": "CancelAssign",
    "read": "ExecuteBillQuery",
}  # fmt: skip
FAULTS = {
    Fault.BROKEN: "fail_before", Fault.DROPPED: "apply_then_drop", Fault.CUT: "cut_body", Fault.GARBLED: "apply_then_502",
    Fault.LATE: "apply_late", Fault.RATE: "msgcode_14", Fault.EXPIRED: "lost_session", Fault.HTML: "http_502",
}  # fmt: skip
VERBS = {"create": "save", "update": "save", "cancelassign": "cancel"}


def ref(number: str, key: str = "FNumber") -> dict[str, str]:
    return {key: number}


def customer(number: int) -> dict[str, Any]:
    return {
        "FCreateOrgId": ref("100"), "FUseOrgId": ref("100"), "FNumber": f"CRM-{number:06}",
        "FName": f"示例科技{number}号有限公司", "FTRADINGCURRID": ref("PRE001"), "FTEL": "021-00000000",
    }  # fmt: skip


def receipt(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "FSETTLETYPEID": ref("JSFS01_SYS"), "FPURPOSEID": ref("SFKYT01_SYS"), "FRECTOTALAMOUNTFOR": "1000.10",
        "FRECAMOUNTFOR_E": "1000.10", "FPOSTDATE": "2026-01-10", "FCOMMENT": "hub",
    }  # fmt: skip
    return {
        "FBillTypeID": ref("SKDLX01_SYS", "FNUMBER"), "FDATE": "2026-01-10", "FCONTACTUNITTYPE": "BD_Customer",
        "FCONTACTUNIT": ref("C1"), "FPAYUNITTYPE": "BD_Customer", "FPAYUNIT": ref("C1"), "FCURRENCYID": ref("PRE001"),
        "FPAYORGID": ref("100"), "FSETTLEORGID": ref("100"), "FSALEORGID": ref("100"), "FEXCHANGERATE": "1",
        "FSETTLERATE": "1", "FBUSINESSTYPE": "1", "FCancelStatus": "A", "FSETTLECUR": ref("PRE001", "FNUMBER"),
        "FSETTLEMAINBOOKID": ref("PRE001", "FNUMBER"), "FTHIRDBILLNO": f"PAY-{number:04}", "FREMARK": "hub",
        "FRECEIVEBILLENTRY": [row],
    } | changes  # fmt: skip


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """References as plain numbers, as the sandbox's control door takes them."""
    return {
        name: [flat(row) for row in value]
        if isinstance(value, list)
        else next(iter(value.values()))
        if isinstance(value, dict)
        else value
        for name, value in fields.items()
    }


class KingdeeStand(Stand):
    org = "100"
    plans: ClassVar = {"customer": ("save", "submit", "audit"), "receipt": ("save", "submit", "audit")}

    def make(self) -> KingdeeSandbox:
        return KingdeeSandbox()

    def settings(self) -> dict[str, Any]:
        given = dict(self.sandbox.credentials(self.base_url))
        del given["password"]  # of the classic login, which the connector does not use
        return given | {"app_secret": Secret(given["app_secret"]), "page_size": self.page_size}

    def wrong_key(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "app_secret": Secret("00000000000000000000000000000000")}

    async def call(self, method: str, path: str, **body: Any) -> Any:
        async with httpx.AsyncClient() as client:
            answer = await client.request(method, f"{self.base_url}/control{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def seed(self, stream: str, count: int) -> list[str]:
        await self.prepare(stream)
        ids = []
        for _ in range(count):
            number = len(await self.call("GET", f"/objects/{FORMS[stream]}")) + 1
            fields = flat(customer(number) if stream == "customer" else receipt(number))
            made = await self.call("POST", f"/objects/{FORMS[stream]}", fields=fields, status="A")
            ids.append(str(made[KEYS[stream][0]]))
            self.sandbox.advance(1)
        return ids

    async def edit(self, stream: str, vendor_id: str) -> None:
        listed = await self.call("GET", f"/objects/{FORMS[stream]}")
        pk, number_key = KEYS[stream]
        number = next(one[number_key] for one in listed if str(one[pk]) == vendor_id)
        self.sandbox.advance(1)
        field = {"customer": "FTEL", "receipt": "FREMARK"}[stream]
        await self.call("PATCH", f"/objects/{FORMS[stream]}/{number}", fields={field: "changed"})

    async def prepare(self, object_name: str) -> None:
        if object_name == "receipt" and not await self.call("GET", "/objects/BD_Customer"):
            await self.call(
                "POST", "/objects/BD_Customer", fields=flat(customer(1) | {"FNumber": "C1"}), status="C"
            )

    def payload(self, object_name: str, number: int) -> dict[str, Any]:
        return customer(number) if object_name == "customer" else receipt(number)

    def bad(self, object_name: str) -> dict[str, Any]:
        if object_name == "customer":
            return customer(2) | {"FTRADINGCURRID": ref("NONE")}
        return receipt(2, FCONTACTUNIT=ref("NOBODY"))

    def change(self, object_name: str) -> dict[str, Any]:
        if object_name == "customer":
            return {"FTEL": "021-11111111"}
        return {"FRECEIVEBILLENTRY": [{"FRECAMOUNTFOR_E": "2000.00", "FRECTOTALAMOUNTFOR": "2000.00"}]}

    def inject(self, fault: Fault, operation: str, name: str) -> None:
        self.sandbox.dials.late_by = self.late
        self.sandbox.inject(FAULTS[fault], op=OPERATIONS[operation], form=FORMS[name])

    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        found = self.sandbox.ledger().effects(by="api", form=FORMS[object_name])
        return [(VERBS.get(effect.verb, effect.verb), str(effect.id)) for effect in found]

    def coded(self, code: str) -> Answer:
        status = {
            "ErrorCode": 500, "IsSuccess": False, "SuccessEntitys": [], "SuccessMessages": [], "MsgCode": int(code),
            "Errors": [{"FieldName": None, "Message": "？", "DIndex": 0}],
        }  # fmt: skip
        return Answer(200, httpx.Headers(), orjson.dumps({"Result": {"ResponseStatus": status}}))


async def run(bench: Bench, connector: Any, write: Write, plan: tuple[str, ...]) -> VendorRef:
    """Make every step of a plan and return the last reference."""
    current = write.ref
    for step in plan:
        result = await bench.one(connector, replace(write, step=step, plan=plan, ref=current))
        assert isinstance(result, Applied | Next), result
        current = result.ref
    assert current is not None
    return current


async def refused(bench: Bench, connector: Any, write: Write) -> Any:
    result = await bench.one(connector, write)
    assert isinstance(result, Failed), result
    return result.error


def control(bench: Bench) -> Any:
    return bench.stand.call  # type: ignore[attr-defined]


class Recorder:
    """Stands in for the HTTP client: answers from a list, keeps what was sent."""

    def __init__(self, *replies: Json) -> None:
        self.sent: list[tuple[str, Any, dict[str, str]]] = []
        self._replies = [Answer(200, httpx.Headers(), orjson.dumps(reply)) for reply in replies]

    async def request(self, method: str, url: str, *, content: bytes, headers: Any, **_: Any) -> Answer:
        self.sent.append((url, content, dict(headers)))
        return self._replies.pop(0)


def saved(vendor_id: int, number: str, **returned: str) -> Json:
    status: Json = {
        "IsSuccess": True,
        "Errors": [],
        "MsgCode": 0,
        "SuccessEntitys": [{"Id": vendor_id, "Number": number}],
    }
    return {
        "Result": {"ResponseStatus": status, "Id": vendor_id, "Number": number, "NeedReturnData": [returned]}
    }


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a sandbox on a socket with what a receipt needs."""
    async with Bench.open(KingdeeConnector, KingdeeStand) as opened:
        await opened.stand.prepare("receipt")
        yield opened


@pytest.fixture
def kingdee(bench: Bench) -> KingdeeConnector:
    """Give a connector to it."""
    connector = bench.connect()
    assert isinstance(connector, KingdeeConnector)
    return connector
