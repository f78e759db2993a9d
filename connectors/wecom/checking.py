"""The connection test: each step tries one thing and names the click an administrator has missed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.directory import Directory, follow_users
from connectors.wecom.events import ids_of
from connectors.wecom.templates import Templates, correlation_hint, correlation_of
from hub.sdk import Cause, CheckReport, CheckStep, RemoteError

__all__ = ["run_check"]

APP = "应用管理 → 自建 → 本应用"
CODES: Mapping[str, tuple[str, str]] = {
    "40001": (f"在“{APP} → Secret”重新查看并复制 Secret", f"copy the Secret anew from {APP} → Secret"),
    "40013": ("在“我的企业 → 企业信息”复制企业 ID", "copy the corp id from 我的企业 → 企业信息"),
    "40091": (f"在“{APP} → Secret”重新查看并复制 Secret", f"copy the Secret anew from {APP} → Secret"),
    "45009": ("凭证错误次数过多或调用过频；等待后再试", "wait: too many calls, or too many with a wrong secret (one hour)"),
    "48002": (
        "在“客户与上下游 → 客户联系 → API → 可调用接口的应用”勾选本应用",
        "tick the app under 客户与上下游 → 客户联系 → API → 可调用接口的应用",
    ),
    "48006": ("应用长期未使用，权限已收回；在管理后台重新授权", "the permission was withdrawn after long disuse; grant it again"),
    "48009": (
        "请使用自建应用的 Secret，不要使用通讯录同步的 Secret",
        "use the Secret of the self-built app, not the one of 通讯录同步",
    ),
    "48011": ("企业成员活跃度过低，企业微信不提供客户数据", "too few members are active; WeCom gives no customer data"),
    "50003": (f"在“{APP}”启用应用", f"enable the app under {APP}"),
    "60011": (f"在“{APP} → 可见范围”加入部门", f"add departments under {APP} → 可见范围"),
    "60020": (
        f"在“{APP} → 企业可信IP”添加上面的地址，约 1 分钟后生效",
        f"add the address above under {APP} → 企业可信IP; it takes effect after about a minute",
    ),
    "301055": (
        "在“应用管理 → 审批 → API → 可调用接口的应用”勾选本应用",
        "tick the app under 应用管理 → 审批 → API → 可调用接口的应用",
    ),
    "301056": ("在“应用管理 → 审批”启用审批应用", "enable the app 审批 under 应用管理"),
    "301025": (
        "核对设置 template_ids：模板 ID 在“应用管理 → 审批 → 模板 → 编辑”的地址栏中；模板须为本企业创建并已启用",
        "compare template_ids with the id in the address of 应用管理 → 审批 → template → edit; it is the corp's own and in use",
    ),
    "301002": ("agent_id 与 Secret 不是同一个应用", "agent_id and Secret are not of the same app"),
}  # fmt: skip
CAUSES: Mapping[Cause, tuple[str, str]] = {
    Cause.CREDENTIAL: CODES["40001"],
    Cause.ADDRESS: CODES["60020"],
    Cause.PERMISSION: (
        f"在“{APP} → 可见范围”加入员工，并在“客户联系 → 权限配置”的使用范围中加入他们",
        f"add employees under {APP} → 可见范围 and to the range of use under 客户联系 → 权限配置",
    ),
    Cause.SETTINGS: ("核对 base_url、corp_id 和 agent_id", "compare base_url, corp_id and agent_id"),
}
ELSEWHERE = ("检查网络、代理和防火墙", "see that network, proxy and firewall let us through")

Attempt = Callable[[], Awaitable[None]]


class _StepFailed(Exception):
    """A step found something wrong that no RemoteError says."""

    def __init__(self, zh: str, en: str, code: str) -> None:
        super().__init__(en)
        self.zh, self.en, self.code = zh, en, code


async def run_check(
    client: WeComClient,
    directory: Directory,
    templates: Templates,
    settings: Mapping[str, Any],
    *,
    door_open: bool,
) -> CheckReport:
    """Try host, token, app, 客户联系, departments, each template and the callback set-up; stop at the first failure."""

    async def token() -> None:
        await client.token_digest(renew=True)

    async def customers() -> None:
        await follow_users(client)

    async def departments() -> None:
        if not await directory.departments():
            click = CODES["60011"]
            raise _StepFailed(
                f"可见范围内没有部门。{click[0]}", f"no department is visible: {click[1]}", "60011"
            )

    async def template(code: str) -> None:
        templates.forget(code)
        form = await templates.get(code)
        if correlation_of(form, settings["correlation_field"]) is None:
            raise _StepFailed(*correlation_hint(form, settings["correlation_field"]), Cause.SETTINGS.value)

    def of(code: str) -> Attempt:
        return lambda: template(code)

    plan: list[tuple[str, str, str, Attempt]] = [
        ("reach", "接口地址可达", "the host answers", client.reach),
        ("token", "Secret 有效", "the Secret is accepted", token),
        (
            "customers",
            "可调用客户联系，可见范围内有员工",
            "客户联系 may be called, employees are visible",
            customers,
        ),
        ("departments", "可读取部门", "departments can be read", departments),
        *(
            (
                f"template {code}",
                f"模板 {code} 已启用，带有“{settings['correlation_field']}”",
                f"template {code} is in use and has the control {settings['correlation_field']}",
                of(code),
            )
            for code in ids_of(settings)
        ),
        ("callback", *_callback_texts(settings, door_open=door_open), _nothing),
    ]
    return CheckReport(tuple(await _run(plan)))


async def _nothing() -> None:
    """Pass: token and key were looked at when the connection was made."""


def _callback_texts(settings: Mapping[str, Any], *, door_open: bool) -> tuple[str, str]:
    if not door_open:
        return "未使用回调，只靠读取（receive: poll）", "no callbacks are used (receive: poll)"
    rotating = bool(settings["previous_token"] or settings["previous_encoding_aes_key"])
    zh = "回调 Token 和 EncodingAESKey 形式正确（是否与后台一致，由「接收消息服务器配置」点保存时企业微信来验证；被拒的回调见 hub status）"
    en = (
        "Token and EncodingAESKey have the right form (WeCom itself compares them when you press Save under "
        "接收消息服务器配置; hub status shows callbacks that were refused)"
    )
    if rotating:
        return f"{zh}，旧值仍被接受", f"{en}; the ones before are still accepted"
    return zh, en


async def _run(plan: Sequence[tuple[str, str, str, Attempt]]) -> list[CheckStep]:
    steps: list[CheckStep] = []
    for name, zh, en, attempt in plan:
        try:
            await attempt()
        except _StepFailed as failed:
            return [*steps, CheckStep(name, ok=False, zh=failed.zh, en=failed.en, code=failed.code)]
        except RemoteError as error:
            click = CODES.get(error.code or "") or CAUSES.get(error.cause) or ELSEWHERE
            code = error.cause.value
            return [
                *steps,
                CheckStep(name, ok=False, zh=f"{error}。{click[0]}", en=f"{error}: {click[1]}", code=code),
            ]
        steps.append(CheckStep(name, ok=True, zh=zh, en=en))
    return steps
