"""Is what this process promises still kept? Asked every second, by readiness, and by the doors before each answer.

A door that acknowledges into a file that was removed, or onto a bus that nobody will take from, loses what it
promised to keep. So it says 503 instead; and a process whose files are gone ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hub.errors import Cause, IntegrityError, TryAgain
from hub.log import get_logger
from hub.pipe.astray import marked

if TYPE_CHECKING:
    from hub.bus.port import Message
    from hub.pipe.runtime import Runtime
    from hub.wiring import Hub

__all__ = ["Kept", "unkept"]

EVERY = 1.0
"""Seconds between two looks."""


class Kept:
    """The look of one process. :meth:`watch` runs beside the servers; :meth:`publish` is what the doors publish with."""

    def __init__(self, hub: Hub, runtime: Runtime | None) -> None:
        """Take the parts; nothing is looked at yet."""
        self._hub, self._runtime = hub, runtime
        self._marked: Sequence[str] = ()
        self._log = get_logger("kept")

    async def publish(self, topic: str, messages: Sequence[Message]) -> object:
        """Publish, unless a taker found that it is on another bus.

        Raises:
            IntegrityError, Refused, TryAgain: as :meth:`hub.bus.port.Bus.publish`; ``Cause.POSITION``: nobody would
                take it.
        """
        astray = self._runtime.astray if self._runtime is not None else ()
        if astray or self._marked:
            what = ", ".join(sorted({*astray, *self._marked}))
            raise IntegrityError(
                Cause.POSITION, f"{what}: what comes in would not be taken; see hub bus replaced"
            )
        return await self._hub.bus.publish(topic, messages)

    async def watch(self) -> None:
        """Look for ever.

        Raises:
            IntegrityError: ``Cause.REPLACED``: a file of the store or of the bus was removed or replaced.
        """
        while True:
            try:
                await _confirm(self._hub.store.confirm)
                await _confirm(self._hub.bus.confirm)
                self._marked = await self._hub.store.read(marked)
            except IntegrityError as error:
                if error.cause is Cause.REPLACED:
                    self._log.error("kept.replaced", error=str(error))
                    raise
            except Exception as error:  # noqa: BLE001 - a store that is away says so where it is needed
                self._log.debug("kept.not_seen", error=str(error))
            await self._hub.clock.sleep(EVERY)


async def unkept(hub: Hub) -> Mapping[str, str]:
    """Return which of store and bus keep nothing now -> why."""
    found = {}
    for name, part in (("store", hub.store), ("bus", hub.bus)):
        try:
            await part.confirm()
        except (IntegrityError, TryAgain) as error:
            found[name] = str(error)
    if lost := await hub.store.read(marked):
        found["bus"] = f"{', '.join(lost)}: its position is not of this bus; see hub bus replaced"
    return found


async def _confirm(confirm: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(TryAgain):  # readiness says so
        await confirm()
