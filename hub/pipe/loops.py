"""Loops that outlive what goes wrong in one of their turns, and say so when it goes on going wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from hub.errors import Cause, IntegrityError
from hub.log import Quiet

__all__ = ["FAILURES", "Loops"]

log = logging.getLogger(__name__)

FAILURES = 3
"""A loop that fails this often in a row stands still: it raises an alarm, and takes it back when a turn succeeds."""

QUIET = 60.0
"""Seconds for which a loop's failure is not logged again with its traceback: a full disk must not be filled with it."""
_ENDING = frozenset({Cause.EPOCH, Cause.REPLACED})


class Loops:
    """The loops of one process. Set ``stop`` to end them after the turns under way."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Nothing runs yet. ``monotonic``: seconds (``clock.monotonic``)."""
        self.stop = asyncio.Event()
        self.alarms: dict[str, str] = {}
        """What stands still and why: loop name -> the error it meets; shown by readiness and `hub status`."""
        self.astray: set[str] = set()
        """Those among them that met an impossible bus position: what is published now may never be taken."""
        self._quiet = Quiet(monotonic, QUIET)

    async def forever(
        self, name: str, turn: Callable[[], Awaitable[float]], leave: asyncio.Event | None = None
    ) -> None:
        """Run turns until stopped or asked to leave; a turn returns the seconds to wait, its failure is logged, not fatal.

        Raises:
            IntegrityError: the store or a file was replaced under us (``Cause.EPOCH``, ``Cause.REPLACED``).
        """
        failures = 0
        while not self.stop.is_set() and not (leave and leave.is_set()):
            try:
                seconds = await turn()
                self._well(name)
                failures = 0
            except IntegrityError as error:
                self.alarms[name] = str(error)
                if error.cause is Cause.POSITION:
                    self.astray.add(name)
                self._log(error, "%s.integrity cause=%s", name, error.cause.value)
                if error.cause in _ENDING:
                    raise
                seconds = 5.0
            except Exception as error:  # noqa: BLE001 - logged, and an alarm if it goes on
                failures += 1
                if failures >= FAILURES:
                    self.alarms[name] = f"{type(error).__name__}: {error}"
                self._log(error, "%s.failed", name)
                seconds = 1.0
            if seconds > 0:
                await self.pause(seconds)
        self._well(name)

    def _well(self, name: str) -> None:
        self.alarms.pop(name, None)
        self.astray.discard(name)

    def _log(self, error: Exception, text: str, name: str, *more: str) -> None:
        """Log what a loop met; the same again only once in a while."""
        if self._quiet.allows((name, type(error), str(error))):
            log.error(text, name, *more, exc_info=error)

    async def pause(self, seconds: float) -> None:
        """Sleep, but end early when the process is asked to stop."""
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            return

    async def all(self, loops: Sequence[Coroutine[None, None, None]]) -> None:
        """Run loops side by side; when one raises, the others are cut."""
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
