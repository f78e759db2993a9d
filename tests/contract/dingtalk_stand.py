"""The DingTalk sandbox as the contract kit drives it: one template, its people, and nothing a stream would count."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.sandbox import DingTalkSandbox
from connectors.dingtalk.sandbox.acts import Decide, DropDepartment, PutDepartment, PutUser, Start
from connectors.dingtalk.sandbox.seed import CONTRACT, CUSTOM
from hub.sdk import Answer, Json, Received, Secret, VendorRef, Write
from hub.sdk.kit import Bench, Fault, Stand

SELLER, LABEL = "seller", "CRM单号"
OPERATIONS = {
    ("read", "approval"): "list", ("read", "user"): "topapi/v2/user/list", ("read", "department"): "topapi/v2/department/listsub",
    ("save", "approval"): "create",
}  # fmt: skip
FAULTS = {
    Fault.BROKEN: "fail_before", Fault.DROPPED: "apply_then_drop", Fault.CUT: "cut_body", Fault.GARBLED: "apply_then_502",
    Fault.LATE: "apply_late", Fault.RATE: "code_Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", Fault.EXPIRED: "revoke_token",
    Fault.HTML: "html_200",
}  # fmt: skip
SECRETS = ("app_secret", "token", "aes_key")
VERBS = {"create": "save", "comment": "save", "terminate": "save"}
FORBIDDEN = "Forbidden."


def answer(body: Any, status: int = 200) -> Answer:
    return Answer(status, httpx.Headers(), orjson.dumps(body))


def old(**result: Any) -> Answer:
    return answer({"errcode": 0, "errmsg": "ok", **result})


TOKEN = answer({"accessToken": "token-of-the-test", "expireIn": 7200})
SCHEMA = answer({
    "result": {
        "name": "合同审批", "status": "PUBLISHED",
        "schemaContent": {
            "items": [
                {"componentName": "TextField", "props": {"id": "TextField-CRM00001", "label": LABEL}},
                {"componentName": "TextField", "props": {"id": "TextField-CUST0001", "label": "客户名称"}},
                {"componentName": "MoneyField", "props": {"id": "MoneyField-AMT00001", "label": "合同金额"}},
            ]
        },
    },
    "success": True,
})  # fmt: skip
PERSON = old(result={"userid": SELLER, "active": True, "dept_id_list": [210]})
FORECAST = answer({"result": {"isForecastSuccess": True, "workflowActivityRules": []}, "success": True})


class DingTalkStand(Stand):
    """Stream mode; `DingTalkHttpStand` below is the same app by HTTP pushes."""

    plans: ClassVar = {"approval": ("save",)}
    greeting: Any = (TOKEN,)
    mode: ClassVar[str] = "stream"

    def make(self) -> DingTalkSandbox:
        return DingTalkSandbox()

    def settings(self) -> dict[str, Any]:
        given = dict(self.sandbox.credentials(self.base_url))
        named = {name: Secret(value) if name in SECRETS else value for name, value in given.items()}
        return {
            **named,
            "agent_id": int(given["agent_id"]),
            "page_size": self.page_size,
            "receive": self.mode,
            "qps": 1000,
        }

    def wrong_key(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "app_secret": Secret("0" * 64)}

    async def prepare(self, name: str) -> None:
        self.sandbox.dials.qps = 0
        company = self.sandbox.company
        if name == "approval":
            self.greeting = (TOKEN, SCHEMA, PERSON, FORECAST)
            return
        for one in list(company.users):  # the kit seeds its own, and counts them
            del company.users[one]
        for dept in [one for one in company.departments if one != 1]:
            del company.departments[dept]

    async def seed(self, stream: str, count: int) -> list[str]:
        ids = []
        for _ in range(count):
            if stream == "user":
                userid = f"user{len(self.sandbox.company.users):03}"
                self.sandbox.act(
                    PutUser(act="put_user", userid=userid, name=f"员工{userid}", dept_id_list=[1])
                )
                ids.append(userid)
            elif stream == "department":
                dept = 1000 + len(self.sandbox.company.departments)
                self.sandbox.act(
                    PutDepartment(act="put_department", dept_id=dept, name=f"部门{dept}", parent_id=1)
                )
                ids.append(str(dept))
            else:
                values = {"客户名称": f"客户{len(ids)}", "合同金额": "5000"}
                (made,) = self.sandbox.act(
                    Start(act="start", process_code=CONTRACT, userid=SELLER, values=values)
                )
                ids.append(f"{CONTRACT}/{made['id']}")
            self.sandbox.advance(0.001)
        return ids

    async def edit(self, stream: str, vendor_id: str) -> None:
        if stream == "user":
            self.sandbox.act(PutUser(act="put_user", userid=vendor_id, title="总监"))
        elif stream == "department":
            self.sandbox.act(PutDepartment(act="put_department", dept_id=int(vendor_id), name="改名"))
        else:
            self.sandbox.act(Decide(act="agree", id=vendor_id.rpartition("/")[2], remark="同意"))

    def payload(self, object_name: str, number: int) -> dict[str, Json]:
        return {
            "processCode": CONTRACT, "originatorUserId": SELLER, "correlation": f"HT-2026-{number:04}-1",
            "form": {"客户名称": f"示例{number}有限公司", "MoneyField-AMT00001": "5000.00"},
        }  # fmt: skip

    def bad(self, object_name: str) -> dict[str, Json]:
        return {**self.payload(object_name, 9), "form": {"客户名称": "示例", "合同金额": "五千"}}

    def change(self, object_name: str) -> dict[str, Json]:
        return {"comment": {"text": "请尽快处理", "commentUserId": SELLER}}

    def inject(self, fault: Fault, operation: str, name: str) -> None:
        self.sandbox.dials.late_by = self.late
        op = OPERATIONS[operation, name]
        if operation == "save" and self.effects(name):
            op = "comment" if fault is not Fault.EXPIRED else op
        self.sandbox.inject(FAULTS[fault], op=op)

    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        found = [effect for effect in self.sandbox.ledger().effects(by="api") if effect.verb in VERBS]
        return [(VERBS[effect.verb], f"{CONTRACT}/{effect.id}") for effect in found]

    def coded(self, code: str) -> Answer:
        if code == "1111":
            return answer({"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": "0"})
        if code == "403":
            return Answer(403, httpx.Headers(), b"<html>403</html>")
        if code == "401":
            return answer({"message": "no token"}, 401)
        if code.lstrip("-").isdigit():
            return answer({"errcode": int(code), "errmsg": "？"})
        status = (
            403 if code.startswith(FORBIDDEN) else 500 if code in ("systemError", "server.error") else 400
        )
        return answer({"code": code, "message": "？", "requestid": "0"}, status)


class DingTalkHttpStand(DingTalkStand):
    mode: ClassVar[str] = "callback"


class Taken:
    """What the hub's bus would hold: ``failing`` is how often publishing fails first."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.failing = 0
        self.changed = asyncio.Event()

    async def emit(self, received: Received) -> None:
        if self.failing and received.events:
            self.failing -= 1
            raise ConnectionError("the bus is away")
        self.received.append(received)
        self.changed.set()

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(event.type, event.key.id) for one in self.received for event in one.events]

    @property
    def health(self) -> list[tuple[str, bool]]:
        return [(one.health.about, bool(one.health.en)) for one in self.received if one.health is not None]

    async def until(self, true: Any) -> None:
        """Wait until something holds of what was taken."""
        async with asyncio.timeout(20):
            while not true():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.05)


@contextlib.asynccontextmanager
async def listening(connector: DingTalkConnector, taken: Taken) -> AsyncIterator[Taken]:
    """Let a connector listen; end it afterwards, and raise what it met."""
    task = asyncio.ensure_future(connector.listen(taken.emit))
    try:
        yield taken
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def writing(
    bench: Bench, payload: dict[str, Json], *, number: int = 1, ref: VendorRef | None = None
) -> Write:
    return bench.write("approval", "save", payload, number=number, ref=ref)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a sandbox on a socket, in Stream mode."""
    async with Bench.open(DingTalkConnector, DingTalkStand) as opened:
        opened.stand.sandbox.dials.qps = 0
        yield opened


@pytest.fixture
def dingtalk(bench: Bench) -> DingTalkConnector:
    """Give a connector to it."""
    connector = bench.connect()
    assert isinstance(connector, DingTalkConnector)
    return connector


__all__ = [
    "CONTRACT", "CUSTOM", "FORECAST", "LABEL", "PERSON", "SCHEMA", "SELLER", "TOKEN", "DingTalkHttpStand", "DingTalkStand", "DropDepartment",
    "Taken", "answer", "bench", "dingtalk", "listening", "old", "writing",
]  # fmt: skip
