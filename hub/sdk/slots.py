"""How many calls of one connection run at the same time, over all workers of the cluster."""

from __future__ import annotations

import asyncio
from types import TracebackType

from hub.errors import NotSent

__all__ = ["Slots"]


class Slots:
    """Lets ``size`` calls in at a time; a connector enters it around each call.

    ``limit`` is what the vendor or the settings allow in all; a worker among several is given its part of it by
    :meth:`resize`, maybe none. Whoever runs alone has them all.
    """

    def __init__(self, limit: int) -> None:
        """Take the number for the whole cluster."""
        self.limit = self.size = limit
        self.used = 0
        self._free = asyncio.Condition()

    async def resize(self, size: int) -> None:
        """Let this many in from now on; calls under way are not interrupted: ``used`` says when they have ended."""
        async with self._free:
            self.size = size
            self._free.notify_all()

    async def __aenter__(self) -> None:
        """Wait for a slot.

        Raises:
            NotSent: all of them are other workers' by now, so that none may ever come.
        """
        async with self._free:
            await self._free.wait_for(lambda: self.used < self.size or self.size == 0)
            if self.size == 0:
                raise NotSent("every slot of the vendor is another worker's by now")
            self.used += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        async with self._free:
            self.used -= 1
            self._free.notify()
