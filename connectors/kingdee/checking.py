"""The connection test: each step tries one thing and says what an administrator must click if it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.kingdee.client import KingdeeClient
from connectors.kingdee.objects import FORMS, Form
from connectors.kingdee.reading import literal
from hub.sdk import Cause, CheckReport, CheckStep, ConnectionDown, Refused, RemoteError

__all__ = ["run_check"]

GRANT = ("系统管理 → 第三方系统登录授权", "System management → Third-party login grant (第三方系统登录授权)")
CLICKS: Mapping[Cause, tuple[str, str]] = {
    Cause.CREDENTIAL: (
        f"在“{GRANT[0]}”核对应用 ID、应用密钥、集成用户和数据中心，集成用户不能是管理员",
        f"open {GRANT[1]}, compare app id, app secret, integration user, data centre; no administrator as user",
    ),
    Cause.PERMISSION: (
        "在“系统管理 → 批量授权 / 角色”给集成用户授予该单据的查看、新增、修改、提交、审核、反审核权限",
        "open System management → Roles and grant the user view, new, edit, submit, audit, un-audit on this form",
    ),
    Cause.LICENCE: (
        "在“系统管理 → 许可管理”给集成用户分配许可",
        "open System management → Licences and assign one to the integration user",
    ),
    Cause.SETTINGS: (
        "核对站点地址（以 /k3cloud/ 结尾）、连接的内网放行规则，以及站点补丁不低于 PT136657",
        "compare the site address (ends in /k3cloud/), the private entry and the site's patch (PT136657 or later)",
    ),
}
ELSEWHERE = (
    "检查站点是否运行、网络和防火墙是否放行",
    "see that the site runs and that network and firewall let us through",
)


class _StepFailed(Exception):
    """A step found something wrong that no RemoteError says: its texts and a code."""

    def __init__(self, zh: str, en: str, code: str) -> None:
        super().__init__(en)
        self.zh, self.en, self.code = zh, en, code


TITLES: Mapping[str, tuple[str, str]] = {"customer": ("客户", "customers"), "receipt": ("收款单", "receipts")}
NO_CALLBACK = (
    "星空没有回调，以轮询读取变化：无需设置",
    "Kingdee calls nobody, changes are polled: nothing to set up",
)

Attempt = Callable[[], Awaitable[tuple[str, str] | None]]
"""One step: raises what is wrong; the texts (zh, en) of what it saw, None for the step's own."""


async def run_check(client: KingdeeClient, settings: Mapping[str, Any]) -> CheckReport:
    """Try address, sign-in, organisation, each form, visible range, callback; stop at the first failure."""
    org = settings["org_num"]
    plan: list[tuple[str, str, str, Attempt]] = [
        ("address", "站点可达", "the site answers", lambda: _centre(client, settings["acct_id"])),
        ("sign_in", "签名已被接受", "the signature is accepted", lambda: _sign_in(client)),
    ]
    if org not in ("", "0"):
        plan.append(
            ("organisation", f"可登录组织 {org}", f"organisation {org} is open", lambda: _org(client, org))
        )
    for form in FORMS.values():
        key = settings["receipt_key_field"] if form.object == "receipt" else form.number
        zh, en = TITLES[form.object]
        texts = (
            f"{zh}（{form.form}）可查询，字段齐全；写入权限要到第一次写入才看得到",
            f"{en} ({form.form}) can be read, every field is there; write permissions show at the first write",
        )
        plan.append((form.object, *texts, lambda form=form, key=key: _form(client, form, key)))  # type: ignore[misc]
    plan.append(("visible_range", "", "", lambda: _range(client, org)))
    steps = await _run(plan)
    if all(step.ok for step in steps):
        steps.append(CheckStep("callback", ok=True, zh=NO_CALLBACK[0], en=NO_CALLBACK[1]))
    return CheckReport(tuple(steps))


async def _run(plan: Sequence[tuple[str, str, str, Attempt]]) -> list[CheckStep]:
    steps: list[CheckStep] = []
    for name, zh, en, attempt in plan:
        try:
            said = await attempt() or (zh, en)
        except _StepFailed as failed:
            return [*steps, CheckStep(name, ok=False, zh=failed.zh, en=failed.en, code=failed.code)]
        except RemoteError as error:
            return [*steps, _failure(name, error)]
        steps.append(CheckStep(name, ok=True, zh=said[0], en=said[1]))
    return steps


def _failure(name: str, error: RemoteError) -> CheckStep:
    """Name the module, the cause, what the site said (with the code one sees), and the click that is missing."""
    click = CLICKS.get(error.cause, ELSEWHERE)
    module = TITLES.get(name)
    zh = f"{error.cause.zh}（{error}）。{click[0]}"
    en = f"{error.cause.en} ({error}): {click[1]}"
    return CheckStep(
        name,
        ok=False,
        zh=f"{module[0]}：{zh}" if module else zh,
        en=f"{module[1]}: {en}" if module else en,
        code=error.cause.value,
    )


async def _range(client: KingdeeClient, org: str) -> tuple[str, str]:
    """Say of which forms a row is in view: a new site has none, and data permission hides rows silently (2.6)."""
    seen: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for form in FORMS.values():
        bound = f"{form.pk}>0" if org in ("", "0") else f"{form.org}={literal(org)}"
        rows = await client.query(form.form, (form.pk,), bound, limit=1)
        seen[bool(rows)].append(TITLES[form.object])
    zh = [f"看得到{'、'.join(one for one, _ in seen[True])}"] if seen[True] else []
    en = [f"{' and '.join(one for _, one in seen[True])} in view"] if seen[True] else []
    if seen[False]:
        zh.append(
            f"看不到任何{'、'.join(one for one, _ in seen[False])}：若站点上有，请在“系统管理 → 数据权限”放开集成用户的可见范围"
        )
        en.append(
            f"no {' and no '.join(one for _, one in seen[False])} in view: if the site has some, widen the integration "
            "user's range under System management → Data permissions (数据权限)"
        )
    return "可见范围：" + "；".join(zh), "visible range: " + "; ".join(en)


async def _centre(client: KingdeeClient, acct_id: str) -> None:
    listed = {str(centre.get("Id")) for centre in await client.centres()}
    if acct_id not in listed:
        raise _StepFailed(
            f"站点没有数据中心 {acct_id}；在“{GRANT[0]}”复制数据中心 ID",
            f"the site has no data centre {acct_id}; copy its id from {GRANT[1]}",
            Cause.SETTINGS.value,
        )


async def _sign_in(client: KingdeeClient) -> None:
    """Ask for one row; what it may see is the next steps' matter, so a missing permission is not a failure here."""
    try:
        await client.query("BD_Customer", ("FCUSTID",), "FCUSTID<0", limit=1)
    except ConnectionDown as error:
        if error.cause is not Cause.PERMISSION:
            raise


async def _org(client: KingdeeClient, org: str) -> None:
    try:
        await client.switch_org(org)
    except (Refused, ConnectionDown) as error:
        if error.code == "HTTP 404":
            return  # an older site without this service: it can neither allow nor refuse
        if error.cause is Cause.CREDENTIAL:
            raise
        raise _StepFailed(
            f"集成用户不能进入组织 {org}（{error}）；在“系统管理 → 用户”给该用户分配组织",
            f"the integration user may not enter organisation {org} ({error}); assign it under System management → Users",
            Cause.PERMISSION.value,
        ) from error


async def _form(client: KingdeeClient, form: Form, key_field: str) -> None:
    body = {"data": {"FormId": form.form}}
    shown = (await client.view("QueryBusinessInfo", body)).get("NeedReturnData") or {}
    known = {
        str(field.get("Key")).casefold()
        for entry in shown.get("Entrys") or ()
        for field in entry.get("Fields") or ()
    }
    if key_field.casefold() not in known:
        raise _StepFailed(
            f"{form.form} 上没有字段 {key_field}；在 BOS 设计器中添加该文本字段，或修改设置 receipt_key_field",
            f"{form.form} has no field {key_field}; add this text field in the BOS designer or change the setting "
            "receipt_key_field",
            Cause.SETTINGS.value,
        )
    names = dict.fromkeys((form.pk, form.org, *form.read))
    await client.query(form.form, tuple(names), f"{form.number}={literal('')}", limit=1)
