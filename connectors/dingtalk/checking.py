"""The connection test: each step tries one thing and names the click an administrator has missed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.schema import Templates, correlation_hint, correlation_of
from connectors.dingtalk.stream import SUBSCRIPTIONS
from hub.sdk import Cause, CheckReport, CheckStep, RemoteError

__all__ = ["run_check"]

APP = "开发者后台 → 应用开发 → 企业内部应用 → 本应用"
CAUSES: Mapping[Cause, tuple[str, str]] = {
    Cause.CREDENTIAL: (
        f"在“{APP} → 凭证与基础信息”重新复制 Client ID（AppKey）和 Client Secret（AppSecret），注意首尾空格",
        f"copy Client ID (AppKey) and Client Secret (AppSecret) anew from {APP} → 凭证与基础信息; mind blanks around them",
    ),
    Cause.ADDRESS: (
        f"在“{APP} → 安全设置 → 服务器出口IP”加入中台的出口地址",
        f"add the hub's outgoing address under {APP} → 安全设置 → 服务器出口IP",
    ),
    Cause.PERMISSION: (
        f"在“{APP} → 权限管理”开通上面列出的权限点，并在“版本管理与发布”扩大可见范围",
        f"grant the permissions named above under {APP} → 权限管理, and widen the range under 版本管理与发布",
    ),
    Cause.QUOTA: (
        "本月调用额度已用完：等到下月，或升级钉钉版本（并修改设置 monthly_calls）",
        "the calls of this month are used up: wait for the next one, or upgrade DingTalk (and change monthly_calls)",
    ),
    Cause.LICENCE: ("该能力需要更高的钉钉版本", "this needs another edition of DingTalk"),
    Cause.NOT_FOUND: (
        "核对设置 process_codes：在 OA审批 → 编辑表单 的地址栏中，processCode=PROC-…",
        "compare process_codes with processCode=PROC-… in the address of OA审批 → edit form",
    ),
    Cause.STATE: ("在 OA审批 中启用该模板", "enable the template under OA审批"),
    Cause.SETTINGS: (
        "核对 base_url、old_url、corp_id 和 app_key",
        "compare base_url, old_url, corp_id and app_key",
    ),
}
ELSEWHERE = ("检查网络、代理和防火墙", "see that network, proxy and firewall let us through")
Attempt = Callable[[], Awaitable[None]]


class _StepFailed(Exception):
    """A step found something wrong that no RemoteError says."""

    def __init__(self, zh: str, en: str, code: str) -> None:
        super().__init__(en)
        self.zh, self.en, self.code = zh, en, code


async def run_check(
    client: DingTalkClient, templates: Templates, settings: Mapping[str, Any], codes: Sequence[str]
) -> CheckReport:
    """Try hosts, token, contacts, each template and the way of the events, in that order; stop at the first failure."""

    async def contacts() -> None:
        listed = (await client.old("topapi/v2/department/listsubid", {"dept_id": 1})).get("result")
        if not isinstance(listed, dict):
            raise _StepFailed(
                "通讯录没有应答部门列表", "the contacts answered no list of departments", "bad_answer"
            )

    async def template(code: str) -> None:
        templates.forget(code)
        form = await templates.usable(code)
        if correlation_of(form, settings["correlation_field"]) is None:
            raise _StepFailed(*correlation_hint(form, settings["correlation_field"]), Cause.SETTINGS.value)

    async def stream() -> None:
        await client.open_stream(SUBSCRIPTIONS)

    def of(code: str) -> Attempt:
        return lambda: template(code)

    plan: list[tuple[str, str, str, Attempt]] = [
        ("reach", "接口地址可达", "the hosts answer", client.reach),
        ("token", "AppKey 和 AppSecret 有效", "app_key and app_secret are accepted", client.sign_in),
        ("contacts", "可读取通讯录", "the contacts can be read", contacts),
        *(
            (
                f"template {code}",
                f"模板 {code} 已启用，带有“{settings['correlation_field']}”",
                f"template {code} is in use and has the field {settings['correlation_field']}",
                of(code),
            )
            for code in codes
        ),
    ]
    if not codes:
        plan.append(
            (
                "templates",
                "未设置 process_codes：不读取审批",
                "process_codes is empty: no approvals are read",
                _nothing,
            )
        )
    plan.append(_events(settings, stream))
    return CheckReport(tuple(await _run(plan)))


def _events(settings: Mapping[str, Any], stream: Attempt) -> tuple[str, str, str, Attempt]:
    if settings["receive"] == "stream":
        return "events", "Stream 网关接受本应用", "the Stream gateway accepts the app", stream
    if settings["receive"] == "callback":
        zh = "HTTP 推送的 token 和 aes_key 形式正确（是否与后台一致，由“事件订阅”点保存时钉钉来验证；被拒的推送见 hub status）"
        en = "token and aes_key have the right form (DingTalk compares them when you press save under 事件订阅; refused pushes: hub status)"
        return "events", zh, en, _nothing
    return (
        "events",
        "不接收事件，只靠读取（receive: poll）",
        "no events are received (receive: poll)",
        _nothing,
    )


async def _nothing() -> None:
    """Pass."""


async def _run(plan: Sequence[tuple[str, str, str, Attempt]]) -> list[CheckStep]:
    steps: list[CheckStep] = []
    for name, zh, en, attempt in plan:
        try:
            await attempt()
        except _StepFailed as failed:
            return [*steps, CheckStep(name, ok=False, zh=failed.zh, en=failed.en, code=failed.code)]
        except RemoteError as error:
            click = CAUSES.get(error.cause) or ELSEWHERE
            failed_step = CheckStep(
                name, ok=False, zh=f"{error}。{click[0]}", en=f"{error}: {click[1]}", code=error.cause.value
            )
            return [*steps, failed_step]
        steps.append(CheckStep(name, ok=True, zh=zh, en=en))
    return steps
