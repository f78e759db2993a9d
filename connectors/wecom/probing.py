"""Read-only looks at what the documents leave open (the UNCONFIRMED points of the fact sheet).

Shapes, codes and counts only; no name, no id and no token is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.directory import follow_users
from connectors.wecom.outcomes import NO_CUSTOMERS
from connectors.wecom.reading import BATCH
from hub.sdk import Probe, RemoteError

__all__ = ["POINTS", "run_probes"]

CONFIRMED, CONTRADICTED, UNCLEAR, SKIPPED = "confirmed", "contradicted", "unclear", "skipped"
PUBLIC = "qyapi.weixin.qq.com"
TAG_LIST = "externalcontact/get_corp_tag_list"
THERE = NO_CUSTOMERS | {"60003", "60011", "60123", "48002", "48009"}
"""What a call that is there may answer to a well-formed question: nobody to show, no such department, or not to this app."""
BILLS = "the connector reads no bills"
LOOKED_AT = 5
"""Employees whose customers are looked at."""

Look = Callable[[WeComClient], Awaitable[tuple[str, str]]]


async def _same_token(client: WeComClient) -> tuple[str, str]:
    first = await client.token_digest(renew=True)
    second = await client.token_digest(renew=True)
    return (
        (CONFIRMED, "two answers, one token")
        if first == second
        else (CONTRADICTED, "two answers, two tokens")
    )


async def _prefixes(client: WeComClient) -> tuple[str, str]:
    counted: Counter[str] = Counter()
    for userid in (await follow_users(client))[:LOOKED_AT]:
        for row in await _rows(client, {"userid_list": [userid], "limit": 100}):
            contact = row.get("external_contact") or {}
            counted[f"{str(contact.get('external_userid'))[:2]}/{contact.get('type')}"] += 1
    if not counted:
        return UNCLEAR, "no customer was seen"
    seen = ", ".join(f"{name}: {count}" for name, count in sorted(counted.items()))
    return (CONFIRMED if counted.keys() <= {"wm/1", "wo/2"} else CONTRADICTED), seen


async def _empty_list(client: WeComClient) -> tuple[str, str]:
    for userid in (await follow_users(client))[:50]:
        try:
            listed = (await client.get("externalcontact/list", userid=userid)).get("external_userid")
        except RemoteError as error:
            if error.code == "84061":
                return CONTRADICTED, "errcode 84061"
            raise
        if listed is None or listed == []:
            return CONFIRMED, "errcode 0, " + ("the field is absent" if listed is None else "an empty list")
    return UNCLEAR, "every employee looked at has customers"


async def _single_userid(client: WeComClient) -> tuple[str, str]:
    userid = (await follow_users(client))[0]
    try:
        await client.look(BATCH, {"userid": userid, "limit": 1})
    except RemoteError as error:
        return (CONTRADICTED if error.code not in ("84061", "701008") else UNCLEAR), f"errcode {error.code}"
    return CONFIRMED, "errcode 0"


async def _limit_clamped(client: WeComClient) -> tuple[str, str]:
    users = (await follow_users(client))[:100]
    rows = await _rows(client, {"userid_list": users, "limit": 101})
    if len(rows) > 100:
        return CONTRADICTED, f"{len(rows)} rows for limit 101"
    return (CONFIRMED if len(rows) == 100 else UNCLEAR), f"errcode 0, {len(rows)} rows for limit 101"


async def _root_parent(client: WeComClient) -> tuple[str, str]:
    departments = (await client.get("department/list")).get("department") or []
    parents = [one.get("parentid") for one in departments if isinstance(one, dict) and one.get("id") == 1]
    if not parents:
        return UNCLEAR, f"the root is not visible; {len(departments)} departments are"
    return (CONFIRMED if parents == [0] else CONTRADICTED), f"parentid {parents[0]}"


async def _list_id(client: WeComClient) -> tuple[str, str]:
    try:
        reply = await client.look("user/list_id", {"limit": 1})
    except RemoteError as error:
        return (CONFIRMED if error.code == "48002" else CONTRADICTED), f"errcode {error.code}"
    return UNCLEAR, f"errcode 0, {len(reply.get('dept_user') or [])} rows: this is the secret of 通讯录同步"


async def _at_in_userid(client: WeComClient) -> tuple[str, str]:
    users = await follow_users(client)
    found = sum("@" in one for one in users)
    return (CONFIRMED if found else UNCLEAR), f"{found} of {len(users)} userids hold @"


async def _private_build(client: WeComClient) -> tuple[str, str]:
    """Ask each call the connector lists by, well formed, so that only a call that is not there answers otherwise."""
    if client.host == PUBLIC:
        return SKIPPED, "this is the public service"
    users = (await follow_users(client))[:1]
    asked: Mapping[str, Callable[[], Awaitable[object]]] = {
        BATCH: lambda: client.look(BATCH, {"userid_list": users, "limit": 1}),
        TAG_LIST: lambda: client.look(TAG_LIST, {}),
        "department/list": lambda: client.get("department/list"),
        "user/simplelist": lambda: client.get("user/simplelist", department_id=1),
        "user/get": lambda: client.get("user/get", userid=users[0]),
    }
    codes: dict[str, str] = {}
    for api, ask in asked.items():
        try:
            await ask()
            codes[api] = "0"
        except RemoteError as error:
            codes[api] = error.code or error.cause.value
    seen = ", ".join(f"{api} {code}" for api, code in codes.items())
    missing = [code for code in codes.values() if code in ("HTTP 404", "HTTP 405", "HTTP 501")]
    served = all(code == "0" or code in THERE for code in codes.values())
    return (CONTRADICTED if missing else CONFIRMED if served else UNCLEAR), seen


async def _rows(client: WeComClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        rows = (await client.look(BATCH, body)).get("external_contact_list") or []
    except RemoteError as error:
        if error.code in ("84061", "701008"):
            return []
        raise
    return [row for row in rows if isinstance(row, dict)]


async def _approval_window(client: WeComClient) -> tuple[str, str]:
    end = client.now()
    asked = {
        "starttime": str(end - 32 * 86_400),
        "endtime": str(end),
        "new_cursor": "",
        "size": 1,
        "filters": [],
    }
    try:
        reply = await client.look("oa/getapprovalinfo", asked)
    except RemoteError as error:
        if error.code in ("301055", "301056"):
            return SKIPPED, f"errcode {error.code}: the app may not call 审批"
        return (CONFIRMED if error.code == "301025" else CONTRADICTED), f"errcode {error.code}"
    return CONTRADICTED, f"errcode 0, {len(reply.get('sp_no_list') or [])} numbers for 32 days"


LOOKS: Sequence[tuple[str, str, str, Look]] = (
    ("same_token", "有效期内重复 gettoken 返回同一 token", "gettoken inside its validity gives the same token", _same_token),
    ("prefixes", "wm 为微信用户，wo 为企业微信用户", "wm is a WeChat user, wo a WeCom user", _prefixes),
    ("empty_list", "无客户的员工 list 返回空", "list of an employee without customers is empty", _empty_list),
    ("single_userid", "batch/get_by_user 接受旧参数 userid", "batch/get_by_user takes the old userid", _single_userid),
    ("limit_clamped", "limit 超过 100 按 100 处理", "a limit above 100 is taken as 100", _limit_clamped),
    ("root_parent", "根部门 parentid 为 0", "the root department's parentid is 0", _root_parent),
    ("list_id", "应用 Secret 调用 list_id 返回 48002", "list_id with an app secret gives 48002", _list_id),
    ("approval_window", "审批查询超过 31 天返回 301025", "an approval window above 31 days gives 301025", _approval_window),
    ("at_in_userid", "userid 可含 @", "a userid may hold @", _at_in_userid),
    ("private_build", "私有化部署提供读取所用的接口", "a private deployment has the calls we list by", _private_build),
)  # fmt: skip
UNSEEN: Sequence[tuple[str, str, str, str]] = (
    ("clear_mobiles", '[""] 清空备注手机', '[""] clears the remark mobiles', "only a write shows it"),
    ("duplicate_tag", "重名标签返回 40071", "a tag name that is taken gives 40071", "only a write shows it"),
    ("concurrency", "45033 的并发上限", "the number of calls behind 45033", "would disturb others"),
    ("money_unit", "审批金额 new_money 的单位", "the unit of new_money", "only a person sees what a form shows"),
    ("date_shape", "审批 Date 控件的读取结构", "how a Date control is read", "both shapes are taken"),
    ("bank_account", "审批 BankAccount 控件的提交结构", "how a BankAccount control is submitted", "only a write shows it"),
    ("template_events", "审批事件须勾选的模板", "which templates must be ticked for approval events", "seen at the door alone"),
    ("bill_list", "get_bill_list 的默认 limit 与时间字段", "default limit and time field of get_bill_list", BILLS),
    ("payer_info", "收款记录中是 contact_info 还是 payer_info", "contact_info or payer_info in a bill", BILLS),
    ("duplicate_message", "被重复抑制的消息的应答", "the answer to a suppressed duplicate message", "the connector sends no messages"),
    ("callback_retry", "回调重试间隔及是否重新加密", "interval and re-encryption of repeated callbacks", "seen at the door alone"),
)  # fmt: skip
POINTS = tuple(look[0] for look in (*LOOKS, *UNSEEN))
"""Every point a report names."""


async def run_probes(client: WeComClient) -> list[Probe]:
    """Look at each point in turn; one that fails says so and stops no other. A point that needs a write is skipped."""
    probes = []
    for point, zh, en, look in LOOKS:
        try:
            outcome, seen = await look(client)
        except RemoteError as error:
            outcome, seen = UNCLEAR, f"{type(error).__name__} {error.code or error.cause.value}"
        probes.append(Probe(point, zh, en, outcome, seen))
    return probes + [Probe(point, zh, en, SKIPPED, why) for point, zh, en, why in UNSEEN]
