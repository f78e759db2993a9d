"""Virtual time: an event loop that jumps to its next timer, and a clock that draws everything from one seed."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from hub.clock import SECOND, uuid7

__all__ = ["Deadlock", "Killed", "VirtualClock", "VirtualLoop", "run"]

START = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: the program would wait for ever."""


class Killed(BaseException):
    """The process died here; nothing of it may go on, not even an `except Exception`."""


class _Jump(selectors.SelectSelector):
    """A selector that never waits: it moves the loop's time to the next timer."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is ready and nothing is timed")
        self.loop.virtual += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time()`` is virtual; order depends on nothing but what is scheduled."""

    def __init__(self) -> None:
        jump = _Jump()
        jump.loop = self
        self.virtual = 0.0
        super().__init__(jump)

    def time(self) -> float:
        return self.virtual

    def _write_to_self(self) -> None:
        """No other thread ever wakes this loop."""


class VirtualClock:
    """A :class:`hub.clock.Clock` on a loop's virtual time; ``deadly`` says whether a crash point kills."""

    def __init__(self, time: Callable[[], float], seed: str) -> None:
        self._time = time
        self._draw = random.Random(f"clock/{seed}")
        self.reached: Counter[str] = Counter()
        self.deadly: Callable[[str], bool] = lambda name: False

    def now(self) -> int:
        return START + round(self._time() * SECOND)

    def monotonic(self) -> float:
        return self._time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    def random(self) -> float:
        return self._draw.random()

    def token(self, size: int) -> bytes:
        return self._draw.randbytes(size)

    def new_id(self) -> bytes:
        return uuid7(self.now(), self._draw.randbytes(10))

    def crash_point(self, name: str) -> None:
        self.reached[name] += 1
        if self.deadly(name):
            raise Killed(name)


def run(loop: VirtualLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a virtual loop and close it, tasks included."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
