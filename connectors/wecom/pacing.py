"""Calls of 审批: 600 a minute each (fact sheet 8), fewer than of the other APIs; one too many blocks the API for a minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from connectors.wecom.client import WeComClient
from hub.sdk import Cause, Toolbox, TryAgain

__all__ = ["ApprovalCalls"]

WINDOW = 60.0


class ApprovalCalls:
    """The client, held to a number of calls per minute and API in this process; others of the cluster are seen by 45009."""

    def __init__(self, client: WeComClient, tools: Toolbox, *, limit: int) -> None:
        """``limit``: calls a minute of each API."""
        self._client, self._tools, self._limit = client, tools, limit
        self._made: dict[str, deque[float]] = {}

    async def look(self, api: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one POST call that changes nothing. Raises TryAgain before the call where it would be one too many."""
        self._count(api)
        return await self._client.look(api, body)

    async def write(self, api: str, body: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Make one changing call. Raises TryAgain before the call where it would be one too many."""
        self._count(api)
        return await self._client.write(api, body, deadline=deadline)

    def _count(self, api: str) -> None:
        now, made = self._tools.clock.monotonic(), self._made.setdefault(api, deque())
        while made and made[0] <= now - WINDOW:
            made.popleft()
        if len(made) >= self._limit:
            raise TryAgain(
                f"{api}: {self._limit} calls were made in this minute; nothing was sent",
                cause=Cause.RATE,
                after=made[0] + WINDOW - now,
                vendor="wecom",
            )
        made.append(now)
