"""One token for two API families, what their answers mean, limits and quotas (0, 1, 7); the connection test; the probes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.client import next_month
from connectors.dingtalk.outcomes import decode, error_of
from connectors.dingtalk.probing import POINTS
from connectors.dingtalk.sandbox.acts import Decide, DropTemplate, PutTemplate, Start
from connectors.dingtalk.sandbox.seed import CUSTOM
from hub.clock import SECOND
from hub.errors import Cause, ConnectionDown, OutcomeUnknown, Refused, TryAgain
from hub.pipe.limits import quotas
from hub.sdk import Answer, VendorKey
from hub.sdk.kit import Bench
from hub.settings import load_settings
from hub.wiring import open_hub
from tests.contract.dingtalk_stand import CONTRACT, LABEL, SELLER, answer, bench, dingtalk, old

LIST = "v1.0/workflow/processes/instanceIds/query"
LIMIT = "Forbidden.AccessDenied."


async def people(dingtalk: DingTalkConnector) -> int:
    return len(await dingtalk.fetch("user", [VendorKey("", SELLER)]))


async def approvals(bench: Bench, dingtalk: DingTalkConnector) -> int:
    return len(await bench.pages(dingtalk, "approval"))


# ----------------------------------------------------------------------------------------------- token


async def test_one_token_serves_both_families_and_is_asked_for_once(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    await asyncio.gather(
        *(people(dingtalk) for _ in range(5)), *(approvals(bench, dingtalk) for _ in range(5))
    )
    box = bench.stand.sandbox
    assert box.gate.calls["topapi/v2/user/get"] == 5
    assert box.gate.calls[LIST] == 5
    assert box.gate.calls["token"] == 1


async def test_a_dead_token_is_renewed_once_behind_each_familys_own_signal(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    await people(dingtalk)
    bench.stand.sandbox.gate.revoke()  # topapi: 88 around 40014
    assert await people(dingtalk) == 1
    bench.stand.sandbox.gate.revoke()  # new: 400 InvalidAuthentication
    assert await approvals(bench, dingtalk) == 1
    bench.stand.sandbox.gate.revoke()  # old, outside topapi: bare 40014
    assert (await dingtalk._client.old("auth/scopes"))["errcode"] == 0


async def test_a_token_that_is_refused_again_after_it_was_renewed_stops_the_connection(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    for fault in ("code_invalidAccessToken", "code_InvalidAuthentication"):
        bench.stand.sandbox.inject(fault, op="list", times=2)
        with pytest.raises(ConnectionDown) as caught:
            await approvals(bench, bench.connect())
        assert caught.value.cause is Cause.CREDENTIAL


async def test_a_token_lives_as_long_as_the_vendor_says_and_is_renewed_before(bench: Bench) -> None:
    bench.stand.sandbox.dials.token_seconds = 1
    dingtalk = bench.connect()
    await people(dingtalk)
    first = bench.stand.sandbox.gate.app.token
    await asyncio.sleep(0.6)
    await people(dingtalk)
    assert bench.stand.sandbox.gate.app.token == first  # asked again inside its life: the same one, renewed
    assert bench.stand.sandbox.gate.calls["token"] == 2


async def test_a_tenant_that_wants_the_corp_id_with_the_token_gets_it_by_a_setting(bench: Bench) -> None:
    bench.stand.sandbox.dials.corp_id_in_token = True
    with pytest.raises(ConnectionDown) as caught:
        await people(bench.connect())
    assert caught.value.code == "invalidClientIdOrSecret"
    assert await people(bench.connect(bench.stand.settings() | {"corp_id_in_token": True})) == 1


# ------------------------------------------------------------------------------------------ what answers mean


def outcome(given: Answer, *, read: bool = False) -> Any:
    reply = decode(given, read=read)
    return error_of(reply, "x", read=read) if reply.code else None


def wrapped(sub: str, code: int = 88) -> Answer:
    return answer(
        {
            "errcode": code,
            "sub_code": sub,
            "sub_msg": "x",
            "errmsg": f"ding talk error[subcode={sub},submsg=x]",
        }
    )


@pytest.mark.parametrize(
    ("given", "kind", "cause"),
    [
        (wrapped("40014"), ConnectionDown, Cause.CREDENTIAL),
        (wrapped("60011"), ConnectionDown, Cause.PERMISSION),
        (wrapped("90018"), TryAgain, Cause.RATE),
        (wrapped("isp.busy", 15), OutcomeUnknown, Cause.UNAVAILABLE),
        (answer({"errcode": -1}), OutcomeUnknown, Cause.UNAVAILABLE),
        (answer({"code": "systemError.busy", "message": "x"}, 500), OutcomeUnknown, Cause.UNAVAILABLE),
        (wrapped("isv.bad", 15), Refused, Cause.INVALID),
        (answer({"errcode": "0", "errmsg": "ok"}), None, None),
        (answer({"errcode": "90002"}), TryAgain, Cause.RATE),
        (answer({"errcode": 90020}), ConnectionDown, Cause.QUOTA),
        (answer({"code": f"{LIMIT}ApiCountLimitForOrg", "message": "x"}, 403), ConnectionDown, Cause.QUOTA),
        (answer({"code": f"{LIMIT}QpsLimitForAppkeyAndApi", "message": "x"}, 403), TryAgain, Cause.RATE),
        (answer({"code": f"{LIMIT}QpmLimitForSomethingNew", "message": "x"}, 403), TryAgain, Cause.RATE),
        (answer({"code": f"{LIMIT}IpNotInWhiteList", "message": "x"}, 403), ConnectionDown, Cause.ADDRESS),
        (answer({"code": "systemError", "message": "x"}, 500), OutcomeUnknown, Cause.UNAVAILABLE),
        (answer({"code": "sysErrror", "message": "x"}, 400), OutcomeUnknown, Cause.UNAVAILABLE),
        (answer({"code": "system.busy", "message": "x"}, 429), TryAgain, Cause.UNAVAILABLE),
        (answer({"code": "somethingNew", "message": "x"}, 400), OutcomeUnknown, Cause.BAD_ANSWER),
        (answer({"status": 1111, "wait": 5}), TryAgain, Cause.RATE),
        (answer({"result": {}, "success": "true"}), None, None),
        (answer({"instanceId": "x"}), None, None),
    ],
)
def test_a_code_decides_and_not_its_status(given: Answer, kind: Any, cause: Any) -> None:
    error = outcome(given)
    assert type(error) is (kind or type(None))
    assert error is None or error.cause is cause


def test_a_missing_permission_names_what_to_grant() -> None:
    body = {
        "code": f"{LIMIT}AccessTokenPermissionDenied", "message": "x",
        "accessdenieddetail": {"requiredScopes": ["Workflow.Instance.Write"]},
    }  # fmt: skip
    error = outcome(answer(body, 403))
    assert error.cause is Cause.PERMISSION
    assert "Workflow.Instance.Write" in str(error)


def test_a_used_up_quota_lasts_until_the_month_in_beijing_is_over() -> None:
    at = 1_767_196_799 * SECOND  # 2025-12-31 23:59:59 in Beijing
    assert next_month(at) == 1.0
    assert next_month(at + SECOND) == 31 * 86_400.0


async def test_a_used_up_quota_pauses_the_connection_and_tells_until_when(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.dials.monthly_calls = 1
    await approvals(bench, dingtalk)
    with pytest.raises(ConnectionDown) as caught:
        await approvals(bench, dingtalk)
    assert caught.value.cause is Cause.QUOTA
    assert 0 < (caught.value.until or 0) <= 31 * 86_400
    assert await people(dingtalk) == 1  # contacts do not count


async def test_a_403_without_a_code_is_waited_out_and_then_a_matter_of_settings(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.inject("forbidden_html", op="list", times=4)
    for _ in range(3):
        with pytest.raises(TryAgain):
            await approvals(bench, dingtalk)
    with pytest.raises(ConnectionDown) as caught:
        await approvals(bench, dingtalk)
    assert caught.value.cause is Cause.SETTINGS
    assert await approvals(bench, dingtalk) == 1


async def test_an_api_that_was_refused_as_too_frequent_is_left_alone_and_others_go_on(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.inject(f"code_{LIMIT}QpsLimitForAppkeyAndApi", op="list")
    for _ in range(2):
        with pytest.raises(TryAgain) as caught:
            await approvals(bench, dingtalk)
        assert 0 < (caught.value.after or 0) <= 1.0
    assert bench.stand.sandbox.gate.calls[LIST] == 1  # the second was not sent
    assert await people(dingtalk) == 1


async def test_no_api_is_asked_more_often_a_second_than_the_vendor_allows(bench: Bench) -> None:
    bench.stand.sandbox.dials.qps = 5
    dingtalk = bench.connect(bench.stand.settings() | {"qps": 5, "slots": 50})
    await asyncio.gather(*(dingtalk.fetch("user", [VendorKey("", SELLER)]) for _ in range(12)))
    assert bench.stand.sandbox.gate.calls["topapi/v2/user/get"] == 12


async def test_an_answer_of_somebody_else_is_a_matter_of_settings() -> None:
    for status, content in ((404, b"<html>"), (405, b"no"), (404, b'{"a":1}')):
        with pytest.raises(ConnectionDown) as caught:
            decode(Answer(status, httpx.Headers(), content), read=True)
        assert caught.value.cause is Cause.SETTINGS


# ------------------------------------------------------------------------------------------------ budgets


def test_the_months_calls_are_a_budget_whose_size_the_customer_bought() -> None:
    spec = DingTalkConnector.spec
    standard = {one.name: one.limit for one in spec.bought({}).budgets}
    pro = {one.name: one.limit for one in spec.bought({"monthly_calls": 200_000, "qps": 60}).budgets}
    assert (standard["calls_month"], standard["calls"]) == (5_000, 20)
    assert (pro["calls_month"], pro["calls"]) == (200_000, 60)
    assert pro["calls_ip"] == 10_000


HUB_YAML = """\
version: 1
regions: [cn]
connections:
  pro: {connector: dingtalk, region: cn, settings: {corp_id: ding1, app_key: a, app_secret: "${env:X}", monthly_calls: 200000}}
  standard: {connector: dingtalk, region: cn, settings: {corp_id: ding1, app_key: b, app_secret: "${env:X}"}}
"""


def test_two_connections_have_the_budgets_each_of_them_bought(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "mappings").mkdir(parents=True)
    (project / "hub.yaml").write_text(HUB_YAML, "utf-8")
    hub = open_hub(load_settings(data_dir=tmp_path / "var", project_dir=project), start=False)
    try:
        shown = hub.store.read_now(quotas, hub.world)
    finally:
        hub.store.close()
    months = {name: limit for name, budget, _, limit in shown if budget == "calls_month"}
    assert months == {"pro": 200_000, "standard": 5_000}


# ------------------------------------------------------------------------------------------- hub check


async def failed(bench: Bench, **changes: Any) -> Any:
    report = await bench.connect(bench.stand.settings() | changes).check()
    assert not report.ok
    return report.steps[-1]


async def test_the_check_names_every_step_in_its_order(bench: Bench, dingtalk: DingTalkConnector) -> None:
    report = await dingtalk.check()
    assert [step.name for step in report.steps] == [
        "reach",
        "token",
        "contacts",
        f"template {CONTRACT}",
        "events",
    ]


async def test_a_template_without_the_field_fails_the_check_and_prints_how_to_add_it(bench: Bench) -> None:
    items = [
        one for one in bench.stand.sandbox.company.templates[CONTRACT].items if one["props"]["label"] != LABEL
    ]
    bench.stand.sandbox.act(PutTemplate(act="put_template", process_code=CONTRACT, items=items))
    step = await failed(bench)
    assert (step.name, step.code) == (f"template {CONTRACT}", "settings")
    assert "“单行输入框”" in step.zh
    assert f"标题填“{LABEL}”" in step.zh
    assert f'title "{LABEL}"' in step.en


async def test_a_field_of_another_type_does_not_carry_the_number(bench: Bench) -> None:
    step = await failed(bench, correlation_field="备注")
    assert step.code == "settings"


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (PutTemplate(act="put_template", process_code=CONTRACT, status="INVALID"), "state"),
        (DropTemplate(act="drop_template", process_code=CONTRACT), "not_found"),
    ],
)
async def test_a_template_that_is_not_in_use_fails_the_check(bench: Bench, act: Any, code: str) -> None:
    bench.stand.sandbox.act(act)
    assert (await failed(bench)).code == code


@pytest.mark.parametrize(
    ("scope", "step"),
    [("qyapi_get_department_list", "contacts"), ("Workflow.Form.Read", f"template {CONTRACT}")],
)
async def test_a_missing_permission_point_is_named_where_it_is_missed(
    bench: Bench, scope: str, step: str
) -> None:
    bench.stand.sandbox.gate.app.scopes.discard(scope)
    found = await failed(bench)
    assert (found.name, found.code) == (step, "permission")
    assert "权限管理" in found.zh


async def test_an_address_that_is_not_trusted_is_told(bench: Bench) -> None:
    bench.stand.sandbox.dials.trusted_ips = ["203.0.113.9"]
    assert (await failed(bench)).code == "address"


async def test_a_connection_without_templates_or_events_says_so(bench: Bench) -> None:
    report = await bench.connect(bench.stand.settings() | {"process_codes": "", "receive": "poll"}).check()
    assert report.ok
    assert "process_codes" in report.steps[-2].en
    assert "poll" in report.steps[-1].en


async def test_the_probes_name_every_open_point_and_write_nothing(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    (made,) = box.act(
        Start(act="start", process_code=CONTRACT, userid=SELLER, values={"客户名称": "a", "合同金额": "1"})
    )
    box.act(Decide(act="agree", id=str(made["id"])))
    before = len(box.ledger())
    probes = {probe.point: probe for probe in await dingtalk.probe()}
    assert tuple(probes) == POINTS
    assert len(box.ledger()) == before
    assert {
        point: probes[point].outcome for point in ("z_is_local", "missing_code", "user_page")
    } == dict.fromkeys(("z_is_local", "missing_code", "user_page"), "confirmed")
    box.dials.z_is_local, box.dials.user_page = False, 200
    contradicted = {probe.point: probe.outcome for probe in await bench.connect().probe()}
    assert (contradicted["z_is_local"], contradicted["user_page"]) == ("contradicted", "contradicted")
    assert not [probe for probe in probes.values() if str(made["id"]) in probe.seen]


async def test_a_template_of_another_connection_is_checked_by_its_own_settings(bench: Bench) -> None:
    report = await bench.connect(bench.stand.settings() | {"process_codes": f"{CONTRACT},{CUSTOM}"}).check()
    assert report.ok
    assert len(report.steps) == 6
