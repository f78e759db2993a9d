"""Sources that hold a socket: one process of the cluster listens, and what it hears is durable before it is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from hub.bus.port import INBOUND, Bus
from hub.errors import IntegrityError
from hub.pipe.doors import DoorNews, add_door_news
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.pipe.jobs import Lease, lease, release, renew
from hub.pipe.loops import Loops
from hub.pipe.share import EVERY, LEASE
from hub.sdk.connector import Connector
from hub.sdk.inbound import Health, Received
from hub.store.engine import Store, Tx

__all__ = ["Listening", "listens"]

log = logging.getLogger(__name__)

RENEW = 3.0
"""Seconds between two renewals of a lease."""


def listens(connector: Connector) -> bool:
    """Say whether a connector has a source to listen to, and is not set to poll."""
    own = type(connector).listen is not Connector.listen
    return own and connector.settings.get("receive") != "poll"


class Listening:
    """The listeners of one process; each begins when its lease is free and ends when that is lost."""

    def __init__(self, store: Store, bus: Bus, holder: str, loops: Loops) -> None:
        """Take what the process was wired with; nothing is leased yet."""
        self._store, self._bus, self._holder, self._loops = store, bus, holder, loops

    def loops(self, connectors: Mapping[str, Connector]) -> list[Coroutine[None, None, None]]:
        """Return a loop for each connection that listens."""
        return [
            self._loops.forever(f"listen {name}", functools.partial(self._turn, name, connector))
            for name, connector in connectors.items()
            if listens(connector)
        ]

    async def _turn(self, name: str, connector: Connector) -> float:
        held = await self._store.run(lease, f"listen:{name}", "slot", self._holder, LEASE)
        if held is None:
            return EVERY
        listening = asyncio.ensure_future(connector.listen(functools.partial(self.emit, name, connector)))
        stopping = asyncio.ensure_future(self._loops.stop.wait())
        try:
            await self._hold(held, listening, stopping)
        finally:
            stopping.cancel()
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(listening, return_exceptions=True)
            await self._store.run(release, held)
        if not listening.cancelled():
            listening.result()  # what it met
        return EVERY

    async def _hold(
        self, held: Lease, listening: asyncio.Future[None], stopping: asyncio.Future[Any]
    ) -> None:
        """Keep the lease while the listener runs. Raises IntegrityError: it is somebody else's by now."""
        while True:
            both: list[asyncio.Future[Any]] = [listening, stopping]
            done, _ = await asyncio.wait(both, timeout=RENEW, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            try:
                await self._store.run(renew, held, LEASE)
            except IntegrityError:
                log.warning("listen.taken_over job=%s", held.name)
                return

    async def emit(self, name: str, connector: Connector, received: Received) -> None:
        """Publish what a source said; it is durable when this returns. Raises whatever the bus raises."""
        streams = connector.spec.streams
        messages = [
            to_message(
                to_event(
                    name,
                    event.stream,
                    event.key if event.record is None else event.record,
                    event_id=event.id,
                    parent=streams[event.stream].parent,
                )
            )
            for event in received.events
        ]
        if messages:
            await self._bus.publish(INBOUND, messages)
        if received.health is not None:
            await self._store.run(_note, name, received.health)


def _note(tx: Tx, name: str, said: Health) -> None:
    """Keep what a source says of the connection for people to see, beside what its door says."""
    add_door_news(tx, {name: DoorNews(health={said.about: (said.zh, said.en, tx.now)})})
