"""Numbers of approvals by the time they were submitted: windows of at most 31 days, one cursor each (fact sheet 4.1).

There is no filter on the time of a change: what became of an approval afterwards is told by its event, or by its status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from connectors.wecom.outcomes import bad_answer
from connectors.wecom.pacing import ApprovalCalls
from hub.sdk import Cause, IntegrityError, TryAgain

__all__ = ["DAY", "list_numbers"]

LIST = "oa/getapprovalinfo"
DAY = 86_400
LONGEST = 30 * DAY
"""Seconds a window spans, a day inside the limit: the code for a longer one is not documented."""
AHEAD = 600
"""Seconds by which WeCom's clock may be ahead of ours: what was just submitted must not lie behind the window."""
TOO_WIDE = "301112"
NARROWEST = 3_600
MOST_EMPTY = 1_000


async def list_numbers(
    calls: ApprovalCalls, start: int, now: int, *, size: int, filters: Mapping[str, str]
) -> list[str]:
    """Return the numbers of what was submitted from ``start`` on (unix seconds), each once. ``now``: by our clock.

    Raises:
        IntegrityError: the listing goes in a circle.
        RemoteError: as the client.
    """
    asked = [{"key": name, "value": value} for name, value in filters.items() if value]
    found: dict[str, None] = {}
    for first, last in _windows(start, now + AHEAD):
        async for page in _window(calls, asked, first, last, size):
            found.update(dict.fromkeys(page))
    return list(found)


def _windows(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        yield start, min(end, start + LONGEST)
        start += LONGEST


async def _window(
    calls: ApprovalCalls, asked: list[dict[str, str]], start: int, end: int, size: int
) -> AsyncIterator[list[str]]:
    """Yield the pages of one window; where WeCom asks for a narrower one (301112) it is cut in two."""
    cursor, cursors, empty = "", {""}, 0
    while True:
        body: dict[str, Any] = {
            "starttime": str(start),
            "endtime": str(end),
            "new_cursor": cursor,
            "size": size,
            "filters": asked,
        }
        try:
            reply = await calls.look(LIST, body)
        except TryAgain as error:
            if error.code != TOO_WIDE or end - start <= NARROWEST:
                raise
            middle = (start + end) // 2
            for first, last in ((start, middle), (middle, end)):
                async for half in _window(calls, asked, first, last, size):
                    yield half
            return
        listed = reply.get("sp_no_list")
        if listed is not None and not isinstance(listed, list):
            raise bad_answer(f"{LIST} answered no sp_no_list", read=True)
        page = [str(one) for one in listed or () if isinstance(one, str | int) and str(one)]
        yield page
        cursor = str(reply.get("new_next_cursor") or "")
        if not cursor:  # a short or an empty page is not the end, its absence is
            return
        empty = 0 if page else empty + 1
        if cursor in cursors or empty > MOST_EMPTY:
            raise IntegrityError(
                Cause.CURSOR, f"{LIST}: WeCom gave the same cursor twice; it would never end"
            )
        cursors.add(cursor)
