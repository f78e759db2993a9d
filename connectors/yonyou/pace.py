"""How often one API is called: at most so many times in any minute, and not while it said to wait (4).

Quotas are per API and minute. Which kind of window the vendor counts in is UNCONFIRMED; a sliding one keeps within all.
"""

from __future__ import annotations

from collections import deque

from hub.sdk import Cause, Clock, NotSent, TryAgain

__all__ = ["Pace"]

WINDOW = 60.0
TICK = 0.001  # a float's last digit must not wake us a moment too early
PATIENCE = 5.0
"""Seconds a call waits for its turn here; a longer wait is the hub's."""


class Pace:
    """Remembers when each API was called; safe for concurrent use in one event loop."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        """``per_minute``: calls of one API in any 60 s."""
        self._clock = clock
        self._limit = per_minute
        self._calls: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}

    def block(self, api: str, seconds: float) -> None:
        """Leave an API alone: it said that it is called too often, and every further call would learn the same."""
        self._blocked[api] = self._clock.monotonic() + seconds

    async def turn(self, api: str, *, read: bool) -> None:
        """Wait for the API's turn and take it.

        Raises:
            TryAgain, NotSent: it is too far away; on a read, on a write. Nothing was sent.
        """
        calls = self._calls.setdefault(api, deque())
        while True:
            now = self._clock.monotonic()
            while calls and calls[0] <= now - WINDOW:
                calls.popleft()
            wait = self._blocked.get(api, now) - now
            if wait <= 0 and len(calls) < self._limit:
                calls.append(now)
                return
            if wait <= 0:
                wait = calls[0] + WINDOW - now + TICK
            if wait > PATIENCE:
                message = (
                    f"{api}: called too often, {self._limit} calls a minute are allowed; nothing was sent"
                )
                if not read:
                    raise NotSent(message)
                raise TryAgain(message, cause=Cause.RATE, after=wait, vendor="yonyou")
            await self._clock.sleep(wait)
