"""Read-only looks at the points the fact sheet marks UNCONFIRMED; what only a write would show is listed as skipped.

A result holds codes, counts and yes or no, never an address, a name or a vendor's sentence: it may be shared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from connectors.mailchimp.client import MailchimpClient
from hub.sdk import Cause, Probe, RemoteError

__all__ = ["POINTS", "Point", "run_probes"]

LOST = (Cause.UNREACHABLE, Cause.CREDENTIAL, Cause.RATE)
Seen = tuple[str, str]
"""Outcome and what was seen."""


@dataclass(frozen=True, slots=True)
class Point:
    """One UNCONFIRMED point: its claim in both languages, and the look; None: nothing that only reads would show it."""

    name: str
    zh: str
    en: str
    look: Callable[[MailchimpClient], Awaitable[Seen]] | None = None


async def run_probes(client: MailchimpClient) -> tuple[Probe, ...]:
    """Look at every point in the order of the table; once the account is lost the rest is unclear, not asked again."""
    lost, found = "", []
    for point in POINTS:
        if point.look is None:
            outcome, seen = "skipped", ""
        elif lost:
            outcome, seen = "unclear", f"not asked: {lost}"
        else:
            try:
                outcome, seen = await point.look(client)
            except RemoteError as error:
                outcome, seen = "unclear", _said(error)
                lost = seen if error.cause in LOST else ""
        found.append(Probe(point.name, point.zh, point.en, outcome, seen))
    return tuple(found)


def _said(error: RemoteError) -> str:
    code = error.code if error.code and error.code.replace(" ", "").isalnum() else "none"
    return f"refused ({error.cause.value}, code {code[:40]})"


async def _count(client: MailchimpClient) -> Seen:
    try:
        body = await client.get("/lists", count=1001, fields="total_items")
    except RemoteError as error:
        if error.cause in LOST:
            raise
        return "contradicted", _said(error)
    return "confirmed", f"answered, total {body.get('total_items')}"


async def _fields(client: MailchimpClient) -> Seen:
    body = await client.get(
        f"{client.list_path}/merge-fields", count=1000, fields="merge_fields.tag,total_items"
    )
    rows = body.get("merge_fields") or []
    longest = max((len(str(row.get("tag"))) for row in rows), default=0)
    held = longest <= 10 and len(rows) <= 30
    return ("confirmed" if held else "contradicted"), f"fields {len(rows)}, longest tag {longest}"


async def _exclusive(client: MailchimpClient) -> Seen:
    """Ask for what changed after the newest change: an exclusive filter shows nothing, unless two share the second."""
    asked: dict[str, str | int] = {
        "count": 2,
        "sort_field": "last_changed",
        "sort_dir": "DESC",
        "fields": "members.last_changed",
    }
    rows = (await client.get(f"{client.list_path}/members", **asked)).get("members") or []
    if not rows:
        return "unclear", "no member is there"
    newest = str(rows[0].get("last_changed"))
    body = await client.get(
        f"{client.list_path}/members", count=1, since_last_changed=newest, fields="total_items"
    )
    total = int(body.get("total_items") or 0)
    return ("confirmed" if total == 0 else "contradicted"), f"rows since the newest change {total}"


async def _contact_ids(client: MailchimpClient) -> Seen:
    rows = (
        await client.get(f"{client.list_path}/members", count=1, fields="members.contact_id,members.id")
    ).get("members") or []
    if not rows:
        return "unclear", "no member is there"
    one = rows[0]
    found = await client.get(f"{client.list_path}/members/{one.get('contact_id')}", fields="id")
    held = found.get("id") == one.get("id")
    return (
        "confirmed" if held else "contradicted"
    ), f"the path takes a contact_id: {'yes' if held else 'no'}"


async def _signing(client: MailchimpClient) -> Seen:
    rows = (await client.get(f"{client.list_path}/webhooks", count=100)).get("webhooks") or []
    if not rows:
        return "unclear", "no webhook is there"
    signed = sum(bool(row.get("signing_enabled")) for row in rows)
    return ("confirmed" if signed == len(rows) else "contradicted"), f"webhooks {len(rows)}, signed {signed}"


POINTS: tuple[Point, ...] = (
    Point("0 count above 1000", "count 超过 1000 被截断而不是拒绝", "a count above 1000 is cut, not refused", _count),
    Point("3.1 contact_id in the path", "成员路径也接受 contact_id", "the path of a member takes its contact_id", _contact_ids),
    Point("3.5 merge fields", "合并字段的标签不超过 10 个字符，数量不超过 30", "tags of at most 10 characters, at most 30 fields", _fields),
    Point("5.1 batch subscribe", "批量接口的行标签、重复行和缺少状态；未测：需要写入", "tags, repeats and a missing status in a batch; skipped: a write"),
    Point("5.2 operations per batch", "异步批处理的操作数上限；未测：未使用", "operations of an asynchronous batch; skipped: not used"),
    Point("6 since_last_changed", "since_last_changed 不含边界", "since_last_changed is exclusive", _exclusive),
    Point("6 tags and last_changed", "标签变化是否更新 last_changed；未测：需要写入", "whether a change of tags moves last_changed; skipped: a write"),
    Point("9 signed webhooks", "本受众的 Webhook 已签名（旧的没有）", "the audience's webhooks are signed (older ones are not)", _signing),
    Point("9 fields of events", "各类事件的字段；未测：只有事件本身能显示", "the fields of events; skipped: only an event shows them"),
    Point("9 several v1", "更换密钥时会有多个 v1；未测：只有事件本身能显示，都接受", "several v1 during a rotation; skipped: only an event shows it, any is accepted"),
    Point("10 size of a request", "请求大小上限；未测：需要写入", "the cap of a request's size; skipped: a write"),
)  # fmt: skip
"""Every UNCONFIRMED point of the sections this connector uses, by its section."""
