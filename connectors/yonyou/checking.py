"""The connection test: each step tries one thing and names the click an administrator has missed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.yonyou.client import YonyouClient
from connectors.yonyou.collection import Collection
from connectors.yonyou.lists import paged
from connectors.yonyou.merchants import PREFIX
from connectors.yonyou.objects import RECEIVEBILL
from connectors.yonyou.receivebill import ReceiveBill
from hub.sdk import Cause, CheckReport, CheckStep, RemoteError

__all__ = ["run_check"]

APP = ("开放平台 → 我的应用", "open platform → my apps (开放平台 → 我的应用)")
GRANT = ("开放平台 → API授权", "open platform → API grants (开放平台 → API授权)")
CLICKS: Mapping[Cause, tuple[str, str]] = {
    Cause.CREDENTIAL: (
        f"在“{APP[0]}”核对 AppKey、AppSecret，确认应用已启用",
        f"open {APP[1]}, compare AppKey and AppSecret, see that the app is enabled",
    ),
    Cause.PERMISSION: (
        f"在“{GRANT[0]}”勾选上面接口所在的末级分类",
        f"open {GRANT[1]} and tick the leaf category of the API above",
    ),
    Cause.ADDRESS: (
        f"在“{APP[0]}”的 IP 白名单加入本机出口地址",
        f"open {APP[1]} and add our outgoing address to the list of allowed IPs",
    ),
    Cause.SETTINGS: (
        "核对 directory_url、tenant_id（友互通租户 ID）和 receipts（收款单版本）",
        "compare directory_url, tenant_id (友互通) and receipts (the generation of receipts)",
    ),
    Cause.RATE: ("本分钟的调用额度已用完；稍后再试", "this minute's quota is used up; try again later"),
}
ELSEWHERE = ("检查网络、代理和防火墙是否放行", "see that network, proxy and firewall let us through")
Attempt = Callable[[], Awaitable[object]]


async def run_check(client: YonyouClient, settings: Mapping[str, Any], *, door_open: bool) -> CheckReport:
    """Try data centre, token, both lists and the event set-up, in that order; stop at the first failure."""
    older = settings["receipts"] == RECEIVEBILL
    api = (ReceiveBill if older else Collection)(client, settings)

    async def customers() -> None:
        paged(await client.read(f"{PREFIX}/newlistrange", {"pageIndex": 1, "pageSize": 1}), "customers")

    plan: list[tuple[str, str, str, Attempt]] = [
        ("data_centre", "已找到租户的数据中心", "the tenant's data centre is found", client.places),
        ("token", "AppKey 和 AppSecret 有效", "AppKey and AppSecret are accepted", client.ask_token),
        ("customers", "客户档案可读取", "customers can be read", customers),
        (
            "receipts",
            f"收款单可读取（{api.name}）；写入权限要到第一次写入才看得到",
            f"receipts can be read ({api.name}); write permissions show at the first write",
            lambda: api.changed("2100-01-01 00:00:00", 1, 1),
        ),
        ("callback", *_callback_texts(settings, door_open=door_open), _nothing),
    ]
    return CheckReport(tuple(await _run(plan)))


async def _nothing() -> None:
    """Pass: the secret was looked at when the connection was made."""


def _callback_texts(settings: Mapping[str, Any], *, door_open: bool) -> tuple[str, str]:
    if not door_open:
        return "未使用事件订阅，只靠轮询（receive: poll）", "no events are used (receive: poll)"
    org = settings["org_code"]
    zh = f"事件密钥形式正确，事件归入组织 {org or '（空）'}；收款单没有事件，靠轮询"
    en = f"the event key has the right form, events count for organisation {org or '(none)'}; receipts have no events and are polled"
    return zh, en


async def _run(plan: Sequence[tuple[str, str, str, Attempt]]) -> list[CheckStep]:
    steps: list[CheckStep] = []
    for name, zh, en, attempt in plan:
        try:
            await attempt()
        except RemoteError as error:
            click = CLICKS.get(error.cause, ELSEWHERE)
            said = (f"{error.cause.zh}（{error}）。{click[0]}", f"{error.cause.en} ({error}): {click[1]}")
            return [*steps, CheckStep(name, ok=False, zh=said[0], en=said[1], code=error.cause.value)]
        steps.append(CheckStep(name, ok=True, zh=zh, en=en))
    return steps
