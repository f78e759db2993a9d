"""The only source of time, randomness, ids and crash points.

Everything that waits, draws or stamps takes a :class:`Clock`, so that the simulator can run the same code
on virtual time from a seed. Times are microseconds since the epoch (UTC) unless a name says seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from typing import Protocol

__all__ = ["SECOND", "Clock", "SystemClock", "name_of", "uuid7", "uuid8"]

SECOND = 1_000_000
"""One second in the hub's time unit."""


class Clock(Protocol):
    """Time, randomness, ids and crash points; one of the three ports."""

    def now(self) -> int:
        """Return the wall clock in µs since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; for deadlines only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def random(self) -> float:
        """Return a float in [0, 1): jitter, sampling."""
        ...

    def token(self, size: int) -> bytes:
        """Return ``size`` bytes fit for keys and nonces."""
        ...

    def new_id(self) -> bytes:
        """Return a new 16-byte time-ordered id (UUIDv7)."""
        ...

    def crash_point(self, name: str) -> None:
        """Die here if the environment says so; the chaos suites name every such point."""
        ...


_TAIL, _VARIANT = (1 << 62) - 1, 1 << 63


def uuid7(now: int, tail: bytes) -> bytes:
    """Compose a UUIDv7 from µs since the epoch and 10 random bytes (RFC 9562, 5.7).

    The 12 bits after the version hold the sub-millisecond part, so ids of one process stay time-ordered.
    """
    millis, micros = divmod(now, 1000)
    fraction = (micros << 12) // 1000
    drawn = int.from_bytes(tail[:8], "big") & _TAIL
    return (millis << 80 | (0x7000 | fraction) << 64 | _VARIANT | drawn).to_bytes(16, "big")


def uuid8(now: int, name: bytes) -> bytes:
    """Compose an id that is time-ordered as a UUIDv7 and whose last half is a name (8 bytes) instead of chance (RFC 9562, 5.8).

    Two ids of one name differ by their time alone: see :func:`name_of`.
    """
    millis, micros = divmod(now, 1000)
    fraction = (micros << 12) // 1000
    named = int.from_bytes(name[:8], "big") & _TAIL
    return (millis << 80 | (0x8000 | fraction) << 64 | _VARIANT | named).to_bytes(16, "big")


def name_of(id_: bytes) -> bytes | None:
    """Return what ids made from one name have in common, None for an id that was drawn."""
    return id_[8:] if id_[6] >> 4 == 8 else None


class SystemClock:
    """The machine's own time and randomness.

    ``HUB_CRASH_POINT=name[:n]`` kills the process with SIGKILL at the n-th passing (default first) of that point.
    """

    def __init__(self) -> None:
        """Read the armed crash point, if any, from the environment."""
        name, _, count = os.environ.get("HUB_CRASH_POINT", "").partition(":")
        self._armed = name
        self._left = int(count or 1)
        self._random = random.Random(secrets.randbits(128))  # noqa: S311 - jitter only; keys come from token()

    def now(self) -> int:
        """Return the wall clock in µs since the epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def random(self) -> float:
        """Return a float in [0, 1)."""
        return self._random.random()

    def token(self, size: int) -> bytes:
        """Return bytes from the operating system's generator: what `secrets` draws from, without its detour."""
        return os.urandom(size)

    def new_id(self) -> bytes:
        """Return a new UUIDv7."""
        return uuid7(self.now(), self._random.randbytes(10))

    def crash_point(self, name: str) -> None:
        """Kill the process if this point is armed."""
        if name == self._armed:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
