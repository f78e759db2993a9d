"""Ids of approvals by the time of their start: windows of at most 120 days, pages of at most 20 (fact sheet 2.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.outcomes import bad_answer
from hub.sdk import Cause, IntegrityError

__all__ = ["DAY", "list_ids"]

QUERY = "workflow/processes/instanceIds/query"
DAY = 86_400_000
LONGEST_WINDOW, OLDEST = 119 * DAY, 364 * DAY
"""ms: a day inside the vendor's limits, for the clocks differ."""
MOST = 10_000
"""Ids the vendor shows in one loop; a window with more is cut in two."""


async def list_ids(
    client: DingTalkClient,
    code: str,
    start: int,
    end: int,
    *,
    size: int,
    users: Sequence[str] = (),
    statuses: Sequence[str] = (),
    closed: bool = False,
) -> list[str]:
    """Return the ids of one template's instances that were started from ``start`` (ms) on, each once.

    ``end``: now (ms) by our clock; the last window has no end unless ``closed``, so that DingTalk's own clock counts.

    Raises:
        IntegrityError: the listing goes in a circle.
        RemoteError: as the client.
    """
    found: dict[str, None] = {}
    asked: dict[str, Any] = {"processCode": code, "maxResults": size}
    if users:
        asked["userIds"] = list(users)
    if statuses:
        asked["statuses"] = list(statuses)
    for first, last in _windows(max(start, end - OLDEST), end):
        upto = None if last == end and not closed else last
        async for page in _window(client, asked, first, upto, end):
            found.update(dict.fromkeys(page))
    return list(found)


def _windows(start: int, end: int) -> Iterator[tuple[int, int]]:
    while True:
        yield start, min(end, start + LONGEST_WINDOW)
        start += LONGEST_WINDOW
        if start >= end:
            return


async def _window(
    client: DingTalkClient, asked: dict[str, Any], start: int, end: int | None, now: int
) -> AsyncIterator[list[str]]:
    token, tokens, count = "0", {"0"}, 0
    before: tuple[str, ...] = ()
    while True:
        body = {**asked, "startTime": start, "nextToken": int(token)}
        if end is not None:
            body["endTime"] = end
        result = (await client.look(QUERY, body)).get("result")
        listed = result.get("list") if isinstance(result, dict) else None
        if not isinstance(result, dict) or (listed is not None and not isinstance(listed, list)):
            raise bad_answer(f"{QUERY} answered no list", read=True)
        page = tuple(str(one) for one in listed or () if isinstance(one, str) and one)
        yield list(page)
        token = str(result.get("nextToken") or "")
        count += len(page)
        if token in ("", "0"):
            return
        if token in tokens or not token.isascii() or not token.isdigit() or (page and page == before):
            raise IntegrityError(
                Cause.CURSOR, f"{QUERY}: DingTalk gave the same page or nextToken twice; it would never end"
            )
        middle = start + ((now if end is None else end) - start) // 2
        if count >= MOST and middle > start:
            for first, last in ((start, middle), (middle, end)):
                async for half in _window(client, asked, first, last, now):
                    yield half
            return
        tokens.add(token)
        before = page
