"""Read-only looks at what the documents leave open (the UNCONFIRMED points of the fact sheet).

Shapes, codes and counts only; no name, no id and no token is shown.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from connectors.dingtalk.approvals import GET, Approvals, started_ms
from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.listing import DAY, list_ids
from hub.sdk import Probe, RemoteError, Toolbox

__all__ = ["POINTS", "run_probes"]

CONFIRMED, CONTRADICTED, UNCLEAR, SKIPPED = "confirmed", "contradicted", "unclear", "skipped"
NOBODY = "00000000-0000-4000-8000-000000000000"
AROUND = 120_000
"""ms around a start, which `get` says to the minute."""
MONTH = 30 * DAY


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look has at hand."""

    client: DingTalkClient
    approvals: Approvals
    tools: Toolbox
    codes: tuple[str, ...]

    async def newest(self) -> tuple[str, str] | None:
        """Return (template, id) of an approval of the last month."""
        now = self.tools.clock.now() // 1000
        for code in self.codes:
            ids = await list_ids(self.client, code, now - MONTH, now, size=20)
            if ids:
                return code, ids[-1]
        return None


Ask = Callable[[_Look], Awaitable[tuple[str, str]]]


async def _z_is_local(look: _Look) -> tuple[str, str]:
    """List around the start, once as wall time in Beijing and once as UTC: which window holds the id?"""
    found = await look.newest()
    seen = await look.approvals.see(*found) if found else None
    at = started_ms(seen.body) if seen else None
    if found is None or seen is None or at is None:
        return UNCLEAR, "no approval with a readable time was seen"
    offset = datetime.datetime.fromisoformat(str(seen.body["createTime"])).utcoffset() or datetime.timedelta()
    local = (
        at + round(offset.total_seconds() * 1000) - 8 * 3_600_000
    )  # as if the time were wall time at +08:00
    utc = at + round(offset.total_seconds() * 1000)
    holds = {}
    now = look.tools.clock.now() // 1000
    for name, start in (("wall time +08:00", local), ("UTC", utc)):
        holds[name] = False  # nothing was started in the future
        if start < now:
            end = min(start + AROUND, now)
            ids = await list_ids(look.client, found[0], start - AROUND, end, size=20, closed=True)
            holds[name] = found[1] in ids
    said = ", ".join(f"{name}: {'in' if inside else 'not in'} the window" for name, inside in holds.items())
    if holds["wall time +08:00"] == holds["UTC"]:
        return UNCLEAR, said
    return (CONFIRMED if holds["wall time +08:00"] else CONTRADICTED), said


async def _missing_code(look: _Look) -> tuple[str, str]:
    try:
        await look.client.get(GET, processInstanceId=NOBODY)
    except RemoteError as error:
        return (CONFIRMED if error.code == "processInstanceNotExist" else CONTRADICTED), f"code {error.code}"
    return CONTRADICTED, "it was answered"


async def _user_page(look: _Look) -> tuple[str, str]:
    body = {"dept_id": 1, "cursor": 0, "size": 101}
    try:
        await look.client.old("topapi/v2/user/list", body)
    except RemoteError as error:
        return CONFIRMED, f"size 101: code {error.code}"
    return CONTRADICTED, "size 101 was answered"


async def _approver_ids(look: _Look) -> tuple[str, str]:
    found = await look.newest()
    if found is None:
        return UNCLEAR, "no approval was seen"
    result = (await look.client.get(GET, processInstanceId=found[1])).get("result")
    shown = result if isinstance(result, dict) else {}
    ids = shown.get("approverUserIds")
    return (
        UNCLEAR,
        f"{len(ids) if isinstance(ids, list) else 'no'} approverUserIds at status {shown.get('status')}",
    )


async def _failed_list(look: _Look) -> tuple[str, str]:
    del look
    return SKIPPED, "reading it empties it"


LOOKS: Sequence[tuple[str, str, str, Ask]] = (
    ("z_is_local", "审批时间的 Z 实为北京时间", "the Z of approval times is wall time in Beijing", _z_is_local),
    ("missing_code", "不存在的审批单返回 processInstanceNotExist", "an unknown approval gives processInstanceNotExist", _missing_code),
    ("user_page", "user/list 每页最多 100", "user/list takes at most 100 a page", _user_page),
    ("approver_ids", "approverUserIds 何时有值", "when approverUserIds is filled", _approver_ids),
    ("failed_list", "失败列表的应答结构", "the shape of the failed list", _failed_list),
)  # fmt: skip
UNSEEN: Sequence[tuple[str, str, str, str]] = (
    ("stream_redelivery", "Stream 重推的间隔与次数", "interval and count of Stream redelivery", "seen on the socket alone"),
    ("quota_body", "额度用完时的应答正文", "the body of an answer when the quota is used up", "would use it up"),
    ("signature_names", "推送是否同时带 msg_signature 与 signature", "whether a push has both signature names", "seen at the door alone"),
    ("both_modes", "Stream 与 HTTP 能否同时开启", "whether Stream and HTTP can be on together", "set in the console"),
    ("crm_page", "客户管理每页 100 还是 200", "100 or 200 a page in DingTalk's CRM", "the connector reads no CRM"),
    ("crm_1002", "行错误码 1002 的含义", "the meaning of row errorCode 1002", "the connector reads no CRM"),
    ("hour_dates", "小时级日期控件的格式", "the form of hour-level dates", "only a write shows it"),
    ("table_children", "明细子控件的限制", "limits of a table's children", "only a write shows it"),
    ("old_codes", "旧审批接口的错误码", "codes of the old workflow API", "the connector does not use it"),
    ("corp_id_token", "accessToken 是否需要 corpId", "whether accessToken wants corpId", "set corp_id_in_token if the token is refused"),
)  # fmt: skip
POINTS = tuple(point for point, *_ in (*LOOKS, *UNSEEN))
"""Every point a report names."""


async def run_probes(
    client: DingTalkClient, approvals: Approvals, tools: Toolbox, codes: tuple[str, ...]
) -> list[Probe]:
    """Look at each point in turn; one that fails says so and stops no other. A point that needs a write is skipped."""
    look, probes = _Look(client, approvals, tools, codes), []
    for point, zh, en, ask in LOOKS:
        try:
            outcome, seen = await ask(look)
        except RemoteError as error:
            outcome, seen = UNCLEAR, f"{type(error).__name__} {error.code or error.cause.value}"
        probes.append(Probe(point, zh, en, outcome, seen))
    return probes + [Probe(point, zh, en, SKIPPED, why) for point, zh, en, why in UNSEEN]
