"""Frequency and concurrency limits per corp, API and IP (section 8)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.dials import WeComDials
from hub.sdk.sandbox import SECOND

__all__ = ["Limits"]

APPROVALS = "oa/"
"""Their APIs have a lower limit of their own."""
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


class Limits:
    """Counts calls; one above a limit blocks the API for the rule's window."""

    def __init__(self, now: Callable[[], int]) -> None:
        """Take the clock (µs)."""
        self._now = now
        self._windows: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._blocked: dict[tuple[str, str], int] = {}
        self._busy: Counter[str] = Counter()
        self._writing: set[tuple[str, str]] = set()
        self.calls: Counter[str] = Counter()
        """All calls that got in, by API."""
        self.most_in_flight: Counter[str] = Counter()

    def pass_through(self, api: str, ip: str, dials: WeComDials) -> None:
        """Count a call.

        Raises:
            ErrcodeError: 45009 while the API is blocked, or when this call is the one too many.
        """
        now = self._now()
        a_minute = dials.approval_per_minute if api.startswith(APPROVALS) else dials.per_minute
        for scope in ("corp", ip):
            if self._blocked.get((scope, api), 0) > now:
                raise ErrcodeError(45009)
        rules = (
            ("corp", MINUTE, a_minute), ("corp", HOUR, dials.per_hour),
            (ip, MINUTE, dials.per_ip_minute), (ip, HOUR, dials.per_ip_hour),
        )  # fmt: skip
        for scope, length, limit in rules:
            start, count = self._windows.get((scope, api, length), (now, 0))
            if now - start >= length:
                start, count = now, 0
            self._windows[scope, api, length] = start, count + 1
            if limit and count >= limit:
                self._blocked[scope, api] = now + length
                raise ErrcodeError(45009)
        self.calls[api] += 1

    def block(self, api: str, seconds: float) -> None:
        """Block an API for the corp from now on."""
        self._blocked["corp", api] = self._now() + round(seconds * SECOND)

    @contextlib.contextmanager
    def in_flight(self, api: str, limit: int) -> Iterator[None]:
        """Hold a place among the parallel calls of an API.

        Raises:
            ErrcodeError: 45033, all places are taken.
        """
        if limit and self._busy[api] >= limit:
            raise ErrcodeError(45033)
        self._busy[api] += 1
        self.most_in_flight[api] = max(self.most_in_flight[api], self._busy[api])
        try:
            yield
        finally:
            self._busy[api] -= 1

    @contextlib.contextmanager
    def writing(self, pair: tuple[str, str] | None) -> Iterator[None]:
        """Hold a pair while its tags are written; None holds nothing.

        Raises:
            ErrcodeError: 45035, somebody holds it.
        """
        if pair is None:
            yield
            return
        if pair in self._writing:
            raise ErrcodeError(45035)
        self._writing.add(pair)
        try:
            yield
        finally:
            self._writing.discard(pair)
