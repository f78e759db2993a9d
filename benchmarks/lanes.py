"""A caller that costs little beside what it measures: kept connections, ready-made requests, no HTTP library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

AT_ONCE = 32
"""Calls in flight."""


class Lane(asyncio.Protocol):
    """One kept connection: one call at a time, acknowledged by an empty 200; ``due``: when the call was to be made."""

    def __init__(self, caller: Callable[[Lane], None]) -> None:
        """``caller`` is told of each acknowledgement."""
        self.caller, self.due = caller, 0.0

    def connection_made(self, transport: Any) -> None:
        """Keep the connection."""
        self.transport = transport

    def call(self, request: bytes, due: float) -> None:
        """Send one request."""
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take an answer; anything but an acknowledgement ends the measuring."""
        if not data.startswith(b"HTTP/1.1 200") or not data.endswith(b"\r\n\r\n"):
            raise RuntimeError(f"not an acknowledgement: {data[:200]!r}")
        self.caller(self)


async def lanes(port: int, count: int, answered: Callable[[Lane], None]) -> list[Lane]:
    """Connect so many times."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Lane(answered), "127.0.0.1", port) for _ in range(count)]
    return [lane for _, lane in made]


async def rate(port: int, requests: Sequence[bytes], count: int) -> float:
    """Make ``count`` calls, AT_ONCE in flight, the requests over and over; return acknowledgements per second."""
    left, answered, done = count, 0, asyncio.Event()

    def following(lane: Lane) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            lane.call(requests[(count - 1 - left) % len(requests)], 0.0)

    def one_more(lane: Lane) -> None:
        nonlocal answered
        answered += 1
        following(lane)
        if answered == count:
            done.set()

    made = await lanes(port, AT_ONCE, one_more)
    started = time.perf_counter()
    for lane in made:
        following(lane)
    await done.wait()
    seconds = time.perf_counter() - started
    for lane in made:
        lane.transport.close()
    return count / seconds
