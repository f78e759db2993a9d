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
        "open System management → Roles and grant the integration user view, new, edit, submit, audit and un-audit",
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


async def run_check(client: KingdeeClient, settings: Mapping[str, Any]) -> CheckReport:
    """Try address, data centre, signature, organisation and both forms, in that order; stop at the first failure."""
    org = settings["org_num"]
    plan: list[tuple[str, str, str, Callable[[], Awaitable[None]]]] = [
        ("address", "站点可达", "the site answers", lambda: _centre(client, settings["acct_id"])),
        ("sign_in", "签名已被接受", "the signature is accepted", lambda: _sign_in(client)),
    ]
    if org not in ("", "0"):
        plan.append(
            ("organisation", f"可登录组织 {org}", f"organisation {org} is open", lambda: _org(client, org))
        )
    for form in FORMS.values():
        key = settings["receipt_key_field"] if form.object == "receipt" else form.number
        texts = (f"{form.form} 可查询，字段齐全", f"{form.form} can be read, every field is there")
        plan.append((form.object, *texts, lambda form=form, key=key: _form(client, form, key)))  # type: ignore[misc]
    return CheckReport(tuple(await _run(plan)))


async def _run(plan: Sequence[tuple[str, str, str, Callable[[], Awaitable[None]]]]) -> list[CheckStep]:
    steps: list[CheckStep] = []
    for name, zh, en, attempt in plan:
        try:
            await attempt()
        except _StepFailed as failed:
            return [*steps, CheckStep(name, ok=False, zh=failed.zh, en=failed.en, code=failed.code)]
        except RemoteError as error:
            click = CLICKS.get(error.cause, ELSEWHERE)
            steps.append(
                CheckStep(
                    name,
                    ok=False,
                    zh=f"{error}。{click[0]}",
                    en=f"{error}: {click[1]}",
                    code=error.cause.value,
                )
            )
            return steps
        steps.append(CheckStep(name, ok=True, zh=zh, en=en))
    return steps


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
