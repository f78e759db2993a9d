"""The DingTalk stand-in by itself: strict, stateful, both families, and what the vendor's own SDKs send (9)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import orjson
import pytest

from connectors.dingtalk.sandbox import DingTalkSandbox
from connectors.dingtalk.sandbox.sealing import aes_key, seal, sign, unseal
from connectors.dingtalk.sandbox.seed import CONTRACT
from hub.sdk.sandbox import running
from tests.contract.test_dingtalk_door import VECTOR

W = "/v1.0/workflow/"
FORM = [
    {"name": "客户名称", "value": "示例", "details": []},
    {"id": "MoneyField-AMT00001", "name": "合同金额", "value": "5000", "componentType": "MoneyField", "details": []},
]  # fmt: skip
"""As the vendor's SDKs send it: an empty ``details`` for plain fields."""


class Site:
    def __init__(self, box: DingTalkSandbox, url: str, http: httpx.AsyncClient) -> None:
        self.box, self.url, self.http, self.token = box, url, http, ""
        self.given = dict(box.credentials(url))
        box.dials.qps = 0

    async def login(self) -> str:
        body = {"appKey": self.given["app_key"], "appSecret": self.given["app_secret"]}
        self.token = (await self.http.post("/v1.0/oauth2/accessToken", json=body)).json()["accessToken"]
        return self.token

    async def new(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        headers = {"x-acs-dingtalk-access-token": self.token}
        return await self.http.request(method, path, json=body, params=query, headers=headers)

    async def old(self, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self.http.post(f"/{path}", params={"access_token": self.token}, json=body or {})
        assert answer.status_code == 200
        return dict(answer.json())

    async def create(self, **more: Any) -> httpx.Response:
        body = {
            "originatorUserId": "seller",
            "processCode": CONTRACT,
            "deptId": 210,
            "formComponentValues": FORM,
            **more,
        }
        return await self.new("POST", f"{W}processInstances", body)

    async def act(self, act: str, **more: Any) -> Any:
        answer = await self.http.post("/control/act", json={"act": act, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def open(self, **more: Any) -> dict[str, Any]:
        body = {
            "clientId": self.given["app_key"], "clientSecret": self.given["app_secret"], "ua": "dingtalk-sdk-java/1.3.4",
            "subscriptions": [{"type": "EVENT", "topic": "*"}], "localIp": "10.0.0.1", "extras": {}, **more,
        }  # fmt: skip
        return dict((await self.http.post("/v1.0/gateway/connections/open", json=body)).json())


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    box = DingTalkSandbox()
    async with running(box) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        one = Site(box, url, http)
        await one.login()
        yield one


# ----------------------------------------------------------------------------------------------- gateway


async def test_every_token_endpoint_gives_the_same_token_while_it_lives(site: Site) -> None:
    corp, key, secret = (site.given[name] for name in ("corp_id", "app_key", "app_secret"))
    unified = await site.http.post(
        f"/v1.0/oauth2/{corp}/token",
        json={"client_id": key, "client_secret": secret, "grant_type": "client_credentials"},
    )
    older = await site.http.get("/gettoken", params={"appkey": key, "appsecret": secret})
    assert {unified.json()["access_token"], older.json()["access_token"]} == {site.token}
    assert unified.json()["expires_in"] == older.json()["expires_in"] == 7200
    site.box.advance(7201)
    assert (await site.create()).json()["code"] == "InvalidAuthentication"
    assert await site.login() != unified.json()["access_token"]


@pytest.mark.parametrize("content", [b"", b"appKey=a&appSecret=b", b"[]"])
async def test_a_body_that_is_no_json_is_missing(site: Site, content: bytes) -> None:
    answer = await site.http.post("/v1.0/oauth2/accessToken", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "Missingbody")
    assert "requestid" in answer.json()


async def test_a_bad_token_is_told_in_three_ways(site: Site) -> None:
    site.token = "wrong"
    new = await site.new("GET", f"{W}processInstances", processInstanceId="x")
    assert (new.status_code, new.json()["code"]) == (400, "InvalidAuthentication")
    top = await site.old("topapi/v2/user/get", {"userid": "seller"})
    assert (top["errcode"], top["sub_code"]) == (88, "40014")
    bare = (await site.http.get("/auth/scopes", params={"access_token": "wrong"})).json()
    missing = (await site.http.get("/auth/scopes")).json()
    assert (bare["errcode"], missing["errcode"]) == (40014, 41001)


async def test_twenty_calls_a_second_and_the_months_calls_are_limits_with_their_own_words(site: Site) -> None:
    site.box.dials.qps = 20
    answers = [await site.old("topapi/v2/user/get", {"userid": "seller"}) for _ in range(21)]
    limited = [one for one in answers if one["errcode"]]
    assert limited
    assert (limited[0]["errcode"], limited[0]["sub_code"]) == (88, "90018")
    codes = {
        (await site.new("GET", f"{W}processInstances", processInstanceId="x")).json()["code"]
        for _ in range(21)
    }
    assert "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi" in codes
    site.box.dials.qps = 0
    site.box.dials.monthly_calls = site.box.gate.billed
    spent = await site.create()
    assert (spent.status_code, spent.json()["code"]) == (403, "Forbidden.AccessDenied.ApiCountLimitForOrg")
    assert (await site.old("topapi/v2/user/get", {"userid": "seller"}))["errcode"] == 0


async def test_an_unknown_api_and_a_missing_scope_are_refused(site: Site) -> None:
    assert (await site.old("topapi/v9/nothing"))["sub_code"] == "22"
    site.box.gate.app.scopes.discard("Workflow.Instance.Write")
    denied = await site.create()
    assert denied.status_code == 403
    assert denied.json()["accessdenieddetail"] == {"requiredScopes": ["Workflow.Instance.Write"]}


async def test_a_chunked_body_is_taken(site: Site) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        body = orjson.dumps(
            {
                "originatorUserId": "seller",
                "processCode": CONTRACT,
                "deptId": 210,
                "formComponentValues": FORM,
            }
        )
        yield body[:50]
        yield body[50:]

    answer = await site.http.post(
        f"{W}processInstances", content=chunks(), headers={"x-acs-dingtalk-access-token": site.token}
    )
    assert answer.status_code == 200, answer.text


# ------------------------------------------------------------------------------------------------ engine


async def test_a_create_has_no_idempotency_and_a_body_request_id_changes_nothing(site: Site) -> None:
    first, second = await site.create(RequestId="same"), await site.create(RequestId="same")
    assert first.json().keys() == {"instanceId"}
    assert first.json() != second.json()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"processCode": "PROC-NO"}, "processCodeError"),
        ({"originatorUserId": "nobody"}, "processInstanceInvalidParameter"),
        ({"deptId": None}, "processInstanceInvalidParameter"),
        ({"deptId": 1}, "processInstanceInvalidParameter"),
        ({"formComponentValues": []}, "invalidParameter"),
        ({"formComponentValues": [{"name": "没有", "value": "x"}]}, "formConverterError"),
        ({"formComponentValues": [{"name": "合同金额", "value": 5000}]}, "formConverterError"),
        ({"formComponentValues": [{"name": "客户名称", "value": "a"}]}, "formConverterError"),
        ({"formComponentValues": [{"name": "说明", "value": "a"}]}, "illegalComponent"),
        ({"formComponentValues": FORM * 80}, "invalidParameter"),
        ({"formComponentValues": [*FORM, {"name": "合同类型", "value": "转让"}]}, "formConverterError"),
        (
            {"formComponentValues": [*FORM, {"name": "产品明细", "value": '[{"name":"产品"}]'}]},
            "formConverterError",
        ),
        ({"formComponentValues": [*FORM, {"name": "备注", "value": "字" * 65_536}]}, "formConverterError"),
        ({"approvers": [{"actionType": "AND", "userIds": ["manager"]}]}, "processInstanceInvalidParameter"),
        (
            {"approvers": [{"actionType": "NONE", "userIds": ["manager"]}], "ccList": ["nobody"]},
            "processInstanceInvalidParameter",
        ),
    ],
)
async def test_a_create_is_held_to_the_strict_rules(site: Site, more: dict[str, Any], code: str) -> None:
    answer = await site.create(**more)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_nodes_are_worked_off_as_they_are_made(site: Site) -> None:
    approvers = [
        {"actionType": "OR", "userIds": ["manager", "deputy"]}, {"actionType": "AND", "userIds": ["head", "finance"]},
        {"actionType": "NONE", "userIds": ["east"]},
    ]  # fmt: skip
    id_ = (await site.create(approvers=approvers)).json()["instanceId"]
    await site.act("agree", id=id_, userid="deputy")
    one = site.box.company.instances[id_]
    assert [(task.userid, task.status) for task in one.tasks] == [
        ("manager", "CANCELED"), ("deputy", "COMPLETED"), ("head", "RUNNING"), ("finance", "RUNNING"),
    ]  # fmt: skip
    head = next(task for task in one.tasks if task.userid == "head")
    body = {"processInstanceId": id_, "taskId": head.task_id, "actionerUserId": "head", "result": "agree"}
    assert (await site.new("POST", f"{W}processInstances/execute", body)).json() == {
        "result": True,
        "success": True,
    }
    again = await site.new("POST", f"{W}processInstances/execute", body)
    assert again.json()["code"] == "aflowProcessInstCanNotBeExecuted"
    finance = next(task for task in one.tasks if task.userid == "finance")
    moved = {"taskId": finance.task_id, "toUserId": "east", "operateUserId": "finance"}
    assert (await site.new("POST", f"{W}tasks/redirect", moved)).json()["success"] is True
    await site.act("agree", id=id_)
    shown = (await site.new("GET", f"{W}processInstances", processInstanceId=id_)).json()
    assert shown["success"] == "true"
    assert (shown["result"]["status"], shown["result"]["result"]) == ("COMPLETED", "agree")
    assert len(shown["result"]["createTime"]) == len("2022-08-31T11:52Z")


async def test_a_withdrawal_within_fifteen_seconds_or_by_another_is_refused(site: Site) -> None:
    id_ = (await site.create()).json()["instanceId"]
    path = f"{W}processInstances/terminate"
    body = {"processInstanceId": id_, "isSystem": False, "operatingUserId": "seller"}
    assert (await site.new("POST", path, body)).json()["code"] == "aflowProcessInstStatusException"
    site.box.advance(15)
    other = await site.new("POST", path, body | {"operatingUserId": "head"})
    assert other.json()["code"] == "invalidInstanceTerminateOperatingUserId"
    assert (await site.new("POST", path, body)).json() == {"result": True, "success": True}
    assert (await site.new("POST", path, body)).json()["code"] == "aflowProcessInstStatusException"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"startTime": 0}, "invalidInstanceListIdsStartTime"),
        ({"processCode": "PROC-NO"}, "invalidProcessCode"),
        ({"maxResults": 21}, "invalidMaxResults"),
        ({"nextToken": "x"}, "invalidNextToken"),
        ({"userIds": ["a"] * 11}, "invalidUserIds"),
    ],
)
async def test_a_listing_outside_the_vendors_limits_is_refused(
    site: Site, more: dict[str, Any], code: str
) -> None:
    now = site.box.company.now_ms()
    body = {"processCode": CONTRACT, "startTime": now - 1000, "nextToken": 0, "maxResults": 20, **more}
    answer = await site.new("POST", f"{W}processes/instanceIds/query", body)
    assert answer.json().get("code") == code
    wide = {
        **body,
        "processCode": CONTRACT,
        "startTime": now - 130 * 86_400_000,
        "endTime": now,
        "maxResults": 20,
        "nextToken": 0,
        "userIds": [],
    }
    assert (await site.new("POST", f"{W}processes/instanceIds/query", wide)).json()[
        "code"
    ] == "invalidEndTime"


async def test_the_forecast_is_what_create_really_does(site: Site) -> None:
    large = [FORM[0], {"name": "合同金额", "id": "MoneyField-AMT00001", "value": "150000"}]
    body = {"processCode": CONTRACT, "deptId": 210, "userId": "seller", "formComponentValues": large}
    rules = (await site.new("POST", f"{W}processes/forecast", body)).json()["result"]["workflowActivityRules"]
    id_ = (await site.create(formComponentValues=large)).json()["instanceId"]
    assert [rule["activityId"] for rule in rules] == [
        node["activityId"] for node in site.box.company.instances[id_].nodes
    ]
    steering = (await site.new("GET", f"{W}processes/conditions/components", processCode=CONTRACT)).json()[
        "result"
    ]
    assert [one["label"] for one in steering] == ["合同金额"]


async def test_a_restart_goes_on_with_everything_it_had(tmp_path: Path) -> None:
    first = DingTalkSandbox(state=tmp_path / "journal")
    async with running(first) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        site = Site(first, url, http)
        await site.login()
        id_ = (await site.create()).json()["instanceId"]
        await site.act("agree", id=id_)
        await site.act("put_user", userid="new", name="新人")
    before = [effect.shown() for effect in first.ledger()]
    first.ledger().close()
    again = DingTalkSandbox(state=tmp_path / "journal")
    assert [effect.shown() for effect in again.ledger()] == before
    assert again.company.instances[id_] == first.company.instances[id_]
    assert again.company.users["new"].name == "新人"
    again.ledger().close()


async def test_the_control_door_refuses_what_cannot_be_done_and_describes_itself(site: Site) -> None:
    wrong = await site.http.post("/control/act", json={"act": "agree", "id": "never"})
    unknown = await site.http.post("/control/act", json={"act": "dance"})
    assert (wrong.status_code, unknown.status_code) == (409, 422)
    assert "/act" in (await site.http.get("/control/openapi.json")).json()["paths"]
    dial = await site.http.patch("/control/dials", json={"next": [{"fault": "nonsense"}]})
    assert dial.status_code == 422


# ------------------------------------------------------------------------------ what the vendor's SDKs send


async def ws(site: Site) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    opened = await site.open()
    session = aiohttp.ClientSession()
    return session, await session.ws_connect(f"{opened['endpoint']}?ticket={opened['ticket']}")


ACKS: dict[str, Any] = {
    "python": lambda frame: {"code": 200, "message": "OK", "data": frame["data"]},
    "node": lambda frame: {"code": 200, "message": "OK", "data": '{"status":"SUCCESS","message":""}'},
    "go": lambda frame: {"code": 200, "message": "ok", "data": '{"status":"SUCCESS","message":"success"}'},
    "java": lambda frame: {"code": 200, "message": "OK", "data": '{"status":"SUCCESS"}'},
    "go later": lambda frame: {"code": 500, "message": "x", "data": '{"status":"LATER"}'},
    "java later": lambda frame: {"code": 200, "message": "OK", "data": '{"status":"LATER","message":"x"}'},
    "python failed": lambda frame: {"code": 500, "message": "x", "data": frame["data"]},
    "go without a handler": lambda frame: {"code": 404, "message": "x", "data": "{}"},
}


@pytest.mark.parametrize("sdk", ACKS)
async def test_an_acknowledgement_counts_as_each_sdk_sends_it(site: Site, sdk: str) -> None:
    session, socket = await ws(site)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(session.close)
        await site.act("put_user", userid="new", name="新人")
        frame = orjson.loads((await socket.receive(10)).data)
        assert (frame["type"], frame["headers"]["eventType"]) == ("EVENT", "user_add_org")
        ack = ACKS[sdk](frame) | {
            "headers": {"messageId": frame["headers"]["messageId"], "contentType": "application/json"}
        }
        await socket.send_str(orjson.dumps(ack).decode())
        wanted = "acknowledged" if ack["code"] == 200 and "LATER" not in ack["data"] else "later"
        async with asyncio.timeout(10):
            while not site.box.gateway.counts[wanted]:
                await asyncio.sleep(0.01)
        assert site.box.gateway.counts["acknowledged" if wanted == "later" else "later"] == 0


async def test_an_event_nobody_acknowledged_is_pushed_again_by_the_virtual_clock(site: Site) -> None:
    session, socket = await ws(site)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(session.close)
        await site.act("put_user", userid="new", name="新人")
        first = orjson.loads((await socket.receive(10)).data)
        site.box.advance(3.1)
        site.box.advance(60.1)
        second = orjson.loads((await socket.receive(10)).data)
    assert first["headers"]["eventId"] == second["headers"]["eventId"]
    assert first["headers"]["messageId"] != second["headers"]["messageId"]


async def test_each_event_goes_to_one_of_several_connections(site: Site) -> None:
    one, first = await ws(site)
    two, second = await ws(site)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(one.close)
        stack.push_async_callback(two.close)
        for number in range(40):
            await site.act("put_user", userid=f"n{number}", name="人")
        heard = {0: 0, 1: 0}
        for place, socket in enumerate((first, second)):
            with contextlib.suppress(TimeoutError):
                while True:
                    await socket.receive(0.3)
                    heard[place] += 1
    assert sum(heard.values()) == 40
    assert min(heard.values()) > 0


async def test_wrong_credentials_at_the_gateway_are_401(site: Site) -> None:
    body = {
        "clientId": site.given["app_key"],
        "clientSecret": "x",
        "subscriptions": [{"type": "EVENT", "topic": "*"}],
    }
    answer = await site.http.post("/v1.0/gateway/connections/open", json=body)
    assert (answer.status_code, answer.json()["code"]) == (401, "authFailed")


# ---------------------------------------------------------------------------------------------- sealing


def test_sealing_agrees_with_the_published_sample() -> None:
    key = aes_key(VECTOR["aes_key"])
    assert (
        sign(VECTOR["token"], VECTOR["timestamp"], VECTOR["nonce"], VECTOR["encrypt"]) == VECTOR["signature"]
    )
    assert unseal(key, VECTOR["encrypt"], VECTOR["owner"]).decode() == VECTOR["message"]
    raw = seal(key, b"0123456789abcdef", VECTOR["message"].encode(), VECTOR["owner"])
    assert unseal(key, raw, VECTOR["owner"]).decode() == VECTOR["message"]
    with pytest.raises(ValueError, match="owner"):
        unseal(key, raw, "other")
