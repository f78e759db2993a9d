"""Leaving the stopped state, in the running hub: read the sources anew, let it take effect, then open writes.

One worker of the cluster does it (a leased job); after a crash the next one goes on with the sources not read yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.bus.port import INBOUND, INBOUND_BULK, Bus
from hub.clock import Clock
from hub.errors import RemoteError
from hub.pipe.heads import OutsideHead
from hub.pipe.jobs import Lease, lease, note_progress, positions, release, renew
from hub.pipe.read import read_stream, reads_itself
from hub.pipe.refusal import NotPossible
from hub.pipe.world import World
from hub.pipe.writes import leave, stopped
from hub.project.values import Sync
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.epoch import WRITES, head_of

if TYPE_CHECKING:
    from hub.sdk.connector import Connector

__all__ = ["Reopening"]

log = logging.getLogger(__name__)

LEASE = 30.0
IDLE = 2.0
SOON = 0.5
AGAIN = 5.0
"""Seconds until a source that could not be read is asked again."""

_arriving = sql.query(
    "SELECT 1 FROM owed WHERE connection = ? AND lane IN (0, 1, 2) AND state IN ('ready', 'in_doubt') AND due <= ? "
    "AND target IS NULL AND since <= ? LIMIT 1"
)
_reading = sql.query(
    "SELECT 1 FROM owed WHERE state = 'claimed' AND lease > 0 AND target IS NULL AND since <= ? LIMIT 1"
)


@dataclass
class Reopening:
    """The job: :meth:`turn` is called again and again and returns the seconds to wait."""

    store: Store
    world: World
    bus: Bus
    clock: Clock
    connectors: Mapping[str, Connector]
    holder: str
    heads: OutsideHead

    async def turn(self) -> float:
        """Do the next piece of work, if a person asked for it.

        Raises:
            IntegrityError: somebody else took the job over.
        """
        found = await self.store.read(stopped)
        if found is None or not found.asked:
            return IDLE
        held = await self.store.run(lease, WRITES, WRITES, self.holder, LEASE)
        if held is None:
            return IDLE
        async with self._kept(held):
            progress = {"read": [], "trouble": {}, "ends": None, **found.progress}
            if found.reads and not await self._read(held, progress):
                return AGAIN
            if found.reads and not await self._taken(held, progress):
                return SOON
            await self.heads.put(
                await self.store.read(head_of)
            )  # before it opens: a crash here leaves it stopped
            self.clock.crash_point("writes.head")
            await self.store.run(leave, self.world, held.fence)
        log.warning("writes.opened why=%s", found.why.value)
        return IDLE

    @contextlib.asynccontextmanager
    async def _kept(self, held: Lease) -> AsyncIterator[None]:
        keeper = asyncio.ensure_future(self._keep(held))
        try:
            yield
        finally:
            keeper.cancel()
            await self.store.run(release, held)

    async def _keep(self, held: Lease) -> None:
        while True:
            await self.clock.sleep(LEASE / 3)
            await self.store.run(renew, held, LEASE)

    async def _read(self, held: Lease, progress: dict[str, Any]) -> bool:
        """Read every source that was not read yet, whole; say whether all are."""
        for sync in self._sources():
            if sync.name in progress["read"]:
                continue
            trouble = await self._read_one(sync)
            progress["trouble"].pop(sync.name, None)
            if trouble is None:
                progress["read"].append(sync.name)
            else:
                progress["trouble"][sync.name] = trouble
            await self.store.run(note_progress, held, progress)
        return not progress["trouble"]

    async def _read_one(self, sync: Sync) -> str | None:
        """Read one source; return what went wrong."""
        connector = self.connectors.get(sync.connection)
        if connector is None:
            return f"the connection {sync.connection} did not start"
        try:
            report = await read_stream(
                self.store, self.world, self.bus, self.clock, sync, connector, holder=self.holder, full=True
            )
        except RemoteError as error:
            return str(error)
        return None if report.done else "somebody else is reading it"

    def _sources(self) -> list[Sync]:
        """Return the syncs that have a read of their own."""
        return [
            sync
            for sync in self.world.project.syncs.values()
            if sync.direction == "in" and self.world.stream(sync) is not None and self._reads_itself(sync)
        ]

    def _reads_itself(self, sync: Sync) -> bool:
        try:
            reads_itself(self.world, sync)
        except NotPossible:
            return False
        return True

    async def _taken(self, held: Lease, progress: dict[str, Any]) -> bool:
        """Say whether all that the reads published took effect: taken from the bus, and the arrivals of it settled."""
        if progress["ends"] is None:
            now = await self.store.read(lambda tx: tx.now)
            progress["ends"] = {"at": now, "bus": await self._ends()}
            await self.store.run(note_progress, held, progress)
        ends = progress["ends"]
        stored = await self.store.read(positions, list(ends["bus"]))
        if any((stored.get(name) or {"next": 0})["next"] < end for name, end in ends["bus"].items()):
            return False
        return not await self.store.read(_owed_reads, list(self.world.project.connections), ends["at"])

    async def _ends(self) -> dict[str, int]:
        """Return job -> the offset up to which its partition must have been taken; empty ones are left out."""
        found = {}
        for topic in (INBOUND, INBOUND_BULK):
            for number in range(await self.bus.partitions(topic)):
                bounds = await self.bus.bounds(topic, number)
                if bounds.next > bounds.first:
                    found[f"bus:{topic}:{number}"] = bounds.next
        return found


def _owed_reads(tx: Tx, connections: list[str], at: int) -> bool:
    """Say whether an arrival that was raised by then is still due or under way."""
    return bool(_reading(tx, at)) or any(_arriving(tx, name, tx.now, at) for name in connections)
