"""The connection test: each step tries one thing and names the click an administrator has missed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from connectors.mailchimp.audience import Audience
from connectors.mailchimp.client import MailchimpClient
from hub.sdk import Cause, CheckReport, CheckStep, RemoteError

__all__ = ["run_check"]

CLICKS: Mapping[Cause, tuple[str, str]] = {
    Cause.CREDENTIAL: (
        "在“Account & billing → Extras → API keys”核对密钥是否仍在，并确认建立它的用户没有被移除或停用",
        "open Account & billing → Extras → API keys, see that the key is still there and that its user was not removed or disabled",
    ),
    Cause.PERMISSION: (
        "密钥的权限等同于建立它的用户：请用 Manager 以上角色的用户建立；若账户被锁定，请在 Mailchimp 处理合规提示",
        "a key may do what its user may: let a user of role Manager or above make it; if the account is locked, answer the compliance notice there",
    ),
    Cause.SETTINGS: (
        "核对 base_url（数据中心）和 list_id（Audience → Settings → Audience name and defaults → Audience ID）",
        "compare base_url (data centre) and list_id (Audience → Settings → Audience name and defaults → Audience ID)",
    ),
    Cause.RATE: ("调用过多；稍后再试，并减小 slots", "too many calls; try again later, with fewer slots"),
}
ELSEWHERE = ("检查网络、代理和防火墙是否放行", "see that network, proxy and firewall let us through")
Texts = tuple[str, str]
Attempt = Callable[[], Awaitable[Texts]]


async def run_check(client: MailchimpClient, audience: Audience, *, door_open: bool) -> CheckReport:
    """Try key, audience, merge fields, members and webhooks, in that order; stop at the first failure."""

    async def key() -> Texts:
        await client.get("/ping")
        return "密钥有效", "the key is accepted"

    async def lists() -> Texts:
        row = await audience.look()
        double = bool(row.get("double_optin"))
        zh = f"受众可读取；双重确认{'已开启：新成员先收到确认邮件' if double else '未开启'}"
        en = f"the audience can be read; double opt-in is {'on: new members get a confirmation mail first' if double else 'off'}"
        return zh, en

    async def fields() -> Texts:
        found = ", ".join(sorted(await audience.merge_fields()))
        return f"合并字段：{found}", f"merge fields: {found}"

    async def members() -> Texts:
        body = await client.get(f"{client.list_path}/members", count=1, fields="total_items")
        return f"成员可读取：{body.get('total_items')}", f"members can be read: {body.get('total_items')}"

    async def webhooks() -> Texts:
        if not door_open:
            return "未使用 Webhook，只靠轮询（receive: poll）", "no webhooks are used (receive: poll)"
        body = await client.get(f"{client.list_path}/webhooks", count=100)
        rows = body.get("webhooks")
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        back = sum(bool((row.get("sources") or {}).get("api")) for row in rows)
        zh = f"受众上有 {len(rows)} 个 Webhook；其中 {back} 个也报告 API 的修改（建议关闭 sources.api）"
        en = f"the audience has {len(rows)} webhooks; {back} of them tell of changes by the API too (better switch sources.api off)"
        return zh, en

    plan = [
        ("key", key),
        ("audience", lists),
        ("merge_fields", fields),
        ("members", members),
        ("webhooks", webhooks),
    ]
    return CheckReport(tuple(await _run(plan)))


async def _run(plan: Sequence[tuple[str, Attempt]]) -> list[CheckStep]:
    steps: list[CheckStep] = []
    for name, attempt in plan:
        try:
            zh, en = await attempt()
        except RemoteError as error:
            click = CLICKS.get(error.cause, ELSEWHERE)
            said = (f"{error.cause.zh}（{error}）。{click[0]}", f"{error.cause.en} ({error}): {click[1]}")
            return [*steps, CheckStep(name, ok=False, zh=said[0], en=said[1], code=error.cause.value)]
        steps.append(CheckStep(name, ok=True, zh=zh, en=en))
    return steps
