"""Read-only looks at the points the fact sheet marks UNCONFIRMED; what only a write would show is listed as skipped.

A result holds codes, counts and yes or no, never a value of a record, a token or a vendor's sentence: it may be shared.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.yonyou.client import YonyouClient
from connectors.yonyou.collection import PREFIX as COLLECTION_PREFIX
from connectors.yonyou.lists import change_time, objects_in, paged
from connectors.yonyou.merchants import PREFIX
from connectors.yonyou.objects import RECEIVEBILL
from connectors.yonyou.outcomes import TokenRefused
from hub.sdk import SECOND, Cause, Clock, Probe, RemoteError

__all__ = ["POINTS", "Point", "run_probes"]

AGES = (300, 900, 3600)
"""Seconds a signature is old, tried in this order until one is refused."""
LOST = (Cause.UNREACHABLE, Cause.CREDENTIAL, Cause.RATE, Cause.QUOTA)
ONE: Mapping[str, Any] = {"pageIndex": 1, "pageSize": 1}
NOBODY = "__hub_probe__"
_CODE = re.compile(r"(HTTP )?\d{1,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Tenant:
    """What the looks share."""

    client: YonyouClient
    clock: Clock
    settings: Mapping[str, Any]

    @property
    def older(self) -> bool:
        """Say whether receipts are of the older generation."""
        return bool(self.settings["receipts"] == RECEIVEBILL)

    async def takes(self, path: str, body: Any) -> str:
        """Say whether a call is answered with success: "yes" or the code. Raises RemoteError when the tenant is lost."""
        try:
            await self.client.read(path, body)
        except RemoteError as error:
            if error.cause in LOST:
                raise
            return _said(error)
        return "yes"


Seen = tuple[str, str]
"""Outcome and what was seen."""


@dataclass(frozen=True, slots=True)
class Point:
    """One UNCONFIRMED point: its claim in both languages, and the look; None: nothing that only reads would show it."""

    name: str
    zh: str
    en: str
    look: Callable[[_Tenant], Awaitable[Seen]] | None = None


async def run_probes(client: YonyouClient, clock: Clock, settings: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Look at every point in the order of the table; once the tenant is lost the rest is unclear, not asked again."""
    tenant, lost, found = _Tenant(client, clock, settings), "", []
    for point in POINTS:
        if point.look is None:
            outcome, seen = "skipped", ""
        elif lost:
            outcome, seen = "unclear", f"not asked: {lost}"
        else:
            try:
                outcome, seen = await point.look(tenant)
            except RemoteError as error:
                outcome, seen = "unclear", _said(error)
                lost = seen if error.cause in LOST else ""
        found.append(Probe(point.name, point.zh, point.en, outcome, seen))
    return tuple(found)


def _said(error: RemoteError) -> str:
    """Return cause and code of an error; its message may quote the tenant or a record."""
    code = error.code if error.code and _CODE.fullmatch(error.code) else "none"
    return f"refused ({error.cause.value}, code {code})"


def _judge(held: bool, seen: str) -> Seen:  # noqa: FBT001 - the one thing it is told
    return "confirmed" if held else "contradicted", seen


def _yes(held: object) -> str:
    return "yes" if held else "no"


async def _accepted(tenant: _Tenant, token: str, *, in_header: bool) -> str:
    try:
        await tenant.client.read_with(token, f"{PREFIX}/newlistrange", dict(ONE), in_header=in_header)
    except TokenRefused as error:
        return _said(error)
    return "yes"


async def _header(tenant: _Tenant) -> Seen:
    said = await _accepted(tenant, await tenant.client.ask_token(), in_header=True)
    return _judge(said == "yes", f"token in the header: {said}")


async def _first_token(tenant: _Tenant) -> Seen:
    first, second = await tenant.client.ask_token(), await tenant.client.ask_token()
    if first == second:
        return "confirmed", "two answers, one token"
    said = await _accepted(tenant, first, in_header=False)
    return _judge(said == "yes", f"two answers, two tokens; the first afterwards: {said}")


async def _page_size(tenant: _Tenant) -> Seen:
    """A page beyond the documented 500 is refused; if it is taken, how many rows came says what it means."""
    if tenant.older:
        return "unclear", "the connection uses the older generation"
    body = {"pageIndex": 1, "pageSize": 501, "isSum": True}
    said = await tenant.takes(f"{COLLECTION_PREFIX}/list", body)
    return _judge(said != "yes", f"pageSize 501: {said}")


async def _simple_vos(tenant: _Tenant) -> Seen:
    """A filter that fits nobody: rows that come all the same were not filtered."""
    condition = [{"field": "code", "op": "eq", "value1": NOBODY}]
    plain = await tenant.client.read(f"{PREFIX}/newlist", dict(ONE))
    some = len(objects_in(plain.get("data") or [], "customers"))
    if not some:
        return "unclear", "no customer is there"
    try:
        body = await tenant.client.read(f"{PREFIX}/newlist", {**ONE, "simpleVOs": condition})
    except RemoteError as error:
        if error.cause in LOST:
            raise
        return "contradicted", _said(error)
    rows = len(objects_in(body.get("data") or [], "customers"))
    return _judge(rows == 0, f"rows without {some}, with a filter that fits nobody {rows}")


async def _pubts(tenant: _Tenant) -> Seen:
    """Change times later than now, read as UTC+8, contradict it; some in the last hour confirm it."""
    body = {"pageIndex": 1, "pageSize": 100}
    rows, _ = paged(await tenant.client.read(f"{PREFIX}/newlistrange", body), "customers")
    times = [change_time(row) for row in rows]
    zone = timedelta(hours=tenant.settings["time_zone"])
    now = (datetime.fromtimestamp(tenant.clock.now() // SECOND, UTC) + zone).replace(tzinfo=None)
    known = [now - datetime.fromisoformat(time) for time in times if time]
    ahead = sum(age < timedelta(minutes=-5) for age in known)
    fresh = sum(timedelta(minutes=-5) <= age <= timedelta(hours=1) for age in known)
    seen = (
        f"rows {len(rows)}, with a change time {len(known)}: later than now {ahead}, in the last hour {fresh}"
    )
    return ("contradicted" if ahead else "confirmed" if fresh else "unclear"), seen


async def _sums(tenant: _Tenant) -> Seen:
    """With isSum a header comes once; its state must be there, for plans are chosen by it."""
    if tenant.older:
        return "unclear", "the connection uses the older generation"
    rows, _ = paged(await tenant.client.read(f"{COLLECTION_PREFIX}/list", {**ONE, "isSum": True}), "receipts")
    if not rows:
        return "unclear", "no receipt is there"
    there = {name: name in rows[0] for name in ("verifyState", "extVouchCode", "pubts", "financeOrgCode")}
    lines = sum(name.startswith("bodyItem") for name in rows[0])
    seen = "; ".join(f"{name}: {_yes(one)}" for name, one in there.items())
    return _judge(there["verifyState"] and not lines, f"{seen}; names of lines {lines}")


async def _age(tenant: _Tenant) -> Seen:
    """Find the first age that is refused; no more is tried then."""
    now = tenant.clock.now() // SECOND
    accepted: list[str] = []
    for age in AGES:
        try:
            await tenant.client.ask_token(at=(now - age) * 1000)
        except RemoteError as error:
            if error.cause is Cause.UNREACHABLE:
                raise
            return _judge(age > 600, f"{_said(error)} at {age} s; accepted at {' '.join(accepted) or 'none'}")
        accepted.append(f"{age} s")
    return "contradicted", f"accepted at {', '.join(accepted)}"


POINTS: tuple[Point, ...] = (
    Point("1.1 how long the data centre may be cached", "数据中心地址可缓存多久；未测：只有搬迁时才看得到",
          "how long a data centre's address may be kept; skipped: only a move shows it"),
    Point("1.2 a wrong signature", "签名错误的代码；未测：不知道多少次会被封锁",
          "the code of a wrong signature; skipped: nobody knows after how many one is locked out"),
    Point("1.2 tokens side by side", "再取一个令牌后，先前的仍有效", "a second token leaves the first one valid", _first_token),
    Point("1.3 token in the header", "令牌也可放在请求头 access_token（官方 SDK 的做法）",
          "the token may ride in the header access_token, as the official SDK sends it", _header),
    Point("1.3 ordinary users", "普通用户身份如何传递；未测：本连接器以应用身份调用",
          "how the identity of an ordinary user is passed; skipped: the connector comes as the app"),
    Point("1.3 order of checks", "网关先查授权再校验参数；未测：需要一个未授权的接口",
          "grants are checked before parameters; skipped: it takes an API without a grant"),
    Point("2.0 page out of range", "收款单每页超过 500 行会被拒绝", "more than 500 receipts a page are refused", _page_size),
    Point("2.0 time zone of pubts", "pubts 是所设时区（默认东八区）的时间", "pubts is in the time zone that is set (UTC+8)", _pubts),
    Point("2.0 headers alone", "isSum 时每张单据一行，带审批状态", "with isSum a receipt is one row and shows its state", _sums),
    Point("2.1 simpleVOs on newlist", "newlist 接受 simpleVOs 过滤（文档没有，本连接器不用）",
          "newlist takes simpleVOs (not documented, not used here)", _simple_vos),
    Point("2.3 state after unaudit", "弃审后的状态；未测：需要写入", "the state after an un-audit; skipped: a write"),
    Point("2.3 external code twice", "重复的外部单据编码是拒绝还是返回原单；未测：需要写入",
          "whether a second receipt under one external code is refused or answered; skipped: a write"),
    Point("2.3 stale pubts", "pubts 过时的提示；未测：需要写入", "the words for a stale pubts; skipped: a write"),
    Point("3.1 signatures", "事件签名的形式；未测：只有事件本身能显示，两种都接受",
          "the form of signatures; skipped: only an event shows it, both are accepted"),
    Point("3.3 answer and repeats", "加密应答是否被接受、重推次数；未测：只有事件本身能显示",
          "whether a sealed answer is taken and how often a push is repeated; skipped: only an event shows it"),
    Point("3.4 content", "content 是文本还是对象；未测：只有事件本身能显示，两种都接受",
          "whether content is a text or an object; skipped: only an event shows it, both are accepted"),
    Point("3.4 receipt events", "收款单是否有事件；未测：没有接口能显示，靠轮询", "whether receipts have events; skipped: no call shows it, they are polled"),
    Point("4 limits", "限流的窗口与 Retry-After；未测：需要故意超限", "the window of limits and Retry-After; skipped: it takes breaking one"),
    Point("4 code 310050", "310050 是否表示限流；未测：无法触发，按限流处理", "whether 310050 is a rate limit; skipped: nothing provokes it, taken for one"),
    Point("1.2 accepted age of a timestamp", "获取令牌的时间戳超过 10 分钟会被拒绝",
          "a request for a token more than ten minutes old is refused", _age),
)  # fmt: skip
"""Every UNCONFIRMED point of sections 1 to 4 by its section; the one that may be refused on purpose comes last."""
