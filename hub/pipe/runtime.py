"""Everything one process does for the pipe, as tasks: take, work, read, sweep, seal. They end when asked to.

Each loop survives what goes wrong in one turn; an :class:`IntegrityError` of the store's epoch ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING

from hub.bus.port import INBOUND, INBOUND_BULK, Bus
from hub.clock import Clock
from hub.errors import Cause, ConnectionDown, IntegrityError, RemoteError
from hub.pipe.intake import Intake
from hub.pipe.jobs import due_rechecks, finish, states
from hub.pipe.limits import pause
from hub.pipe.read import read_stream
from hub.pipe.recheck import recheck
from hub.pipe.work import Worker, sweep, wake
from hub.pipe.world import World
from hub.project.values import LANE_BULK, LANE_LIVE, LANE_MONEY, Sync
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.view import View

if TYPE_CHECKING:
    from hub.sdk.connector import Connector

__all__ = ["Runtime"]

log = logging.getLogger(__name__)

IDLE = 0.1
"""Seconds between looks at the store while nothing nudges."""
SWEEP = 2.0
SEALED_AT_ONCE = 1000
LOOPS = 2
"""Turns of one connection that run side by side: one settles while the other calls."""
LANES = ((LANE_MONEY, LANE_LIVE, LANE_BULK), (LANE_BULK, LANE_MONEY, LANE_LIVE))
BULK_EVERY = 10
"""Every so many turns start with bulk, so that it keeps its tenth."""

any_due = sql.query(
    "SELECT 1 FROM owed WHERE connection = ? AND lane IN (0, 1, 2) AND state IN ('ready', 'in_doubt') "
    "AND due <= ? LIMIT 1"
)


class Runtime:
    """The pipe of one process. Start :meth:`run`; set ``stop`` to end it after the turns under way."""

    def __init__(
        self,
        store: Store,
        world: World,
        bus: Bus,
        clock: Clock,
        connectors: Mapping[str, Connector],
        *,
        holder: str,
        sealer: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """Take what the process was wired with; ``sealer`` seals some acts and says how many."""
        self.store, self.world, self.bus, self.clock = store, world, bus, clock
        self.connectors, self.holder, self.sealer = connectors, holder, sealer
        self.stop = asyncio.Event()
        self.alarms: dict[str, str] = {}
        """What stands still and why: loop name -> the IntegrityError it meets; shown by readiness."""
        self._nudge = asyncio.Event()

    def nudge(self) -> None:
        """Say that something may be due now."""
        self._nudge.set()

    async def run(self) -> None:
        """Run until ``stop`` is set. Raises IntegrityError when the store was replaced under us."""
        modes = [f"mode:{sync.name}" for sync in self.world.project.syncs.values() if sync.mode == "write"]
        await self.store.run(wake, modes, self.world)
        loops = [self._forever("sweep", self._sweep), self._forever("read", self._read_due)]
        if self.sealer is not None:
            loops.append(self._forever("seal", self._seal))
        for topic in (INBOUND, INBOUND_BULK):
            for partition in range(await self.bus.partitions(topic)):
                intake = Intake(
                    self.store, self.world, self.bus, self.holder, topic=topic, partition=partition
                )
                loops.append(
                    self._forever(f"take {topic}:{partition}", functools.partial(self._take, intake))
                )
                loops.append(
                    self._forever(f"lease {topic}:{partition}", functools.partial(self._renew, intake))
                )
        for name, connection in self.world.project.connections.items():
            if name not in self.connectors and connection.kind != "api":
                continue
            worker = Worker(self.store, self.world, self.clock, self.holder, name, self.connectors.get(name))
            loops += [self._work(worker, number) for number in range(LOOPS)]
        await self._all(loops)

    async def _all(self, loops: Sequence[Coroutine[None, None, None]]) -> None:
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forever(self, name: str, turn: Callable[[], Awaitable[float]]) -> None:
        """Run turns until stopped; a turn returns the seconds to wait, and its failure is logged, not fatal."""
        while not self.stop.is_set():
            try:
                seconds = await turn()
                self.alarms.pop(name, None)
            except IntegrityError as error:
                self.alarms[name] = str(error)
                log.exception("%s.integrity cause=%s", name, error.cause.value)
                if error.cause is Cause.EPOCH:
                    raise
                seconds = 5.0
            except Exception:
                log.exception("%s.failed", name)
                seconds = 1.0
            if seconds > 0:
                await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but end early when the process is asked to stop."""
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            return

    async def _take(self, intake: Intake) -> float:
        taken = await intake.turn()
        if taken:
            self.nudge()
            return 0.0
        await intake.wait(0.5)
        return 0.01

    async def _renew(self, intake: Intake) -> float:
        await intake.renew()
        return 4.0

    async def _sweep(self) -> float:
        if await self.store.run(sweep, self.world):
            self.nudge()
        for name, spec in await self.store.read(due_rechecks):
            await self._recheck(name, spec)
        return SWEEP

    async def _recheck(self, name: str, spec: Mapping[str, str]) -> None:
        sync = self.world.sync(spec["sync"])
        connector = self.connectors.get(sync.connection) if sync else None
        if (
            sync is not None
            and connector is not None
            and not await recheck(self.store, self.world, connector, sync, spec)
        ):
            return  # the vendor could not be asked: next time
        await self.store.run(finish, name)

    async def _seal(self) -> float:
        assert self.sealer is not None  # run() asked
        return 0.0 if await self.sealer() >= SEALED_AT_ONCE else 0.5

    async def _read_due(self) -> float:
        jobs = await self.store.read(states, "reader")
        paused = await self.store.read(states, "sync")
        now = self.clock.now()
        for sync in self.world.project.syncs.values():
            if sync.direction != "in" or sync.schedule is None or sync.connection not in self.connectors:
                continue
            if paused.get(f"sync:{sync.name}", ("due", 0, None))[0] == "paused":
                continue
            if jobs.get(f"read:{sync.name}", ("due", 0, None))[1] <= now:
                await self._poll(sync)
        return 0.25

    async def _poll(self, sync: Sync) -> None:
        connector = self.connectors[sync.connection]
        try:
            await read_stream(self.store, self.bus, self.clock, sync, connector, holder=self.holder)
        except ConnectionDown as error:
            await self.store.run(_pause_connection, self.world, sync.connection, error)
            await self._pause(2.0)
        except RemoteError as error:
            log.warning("read.failed sync=%s cause=%s %s", sync.name, error.cause.value, error)
            await self._pause(2.0)

    async def _work(self, worker: Worker, number: int) -> None:
        turns = number
        room = self._room(worker)

        async def turn() -> float:
            nonlocal turns
            turns += 1
            for lane in LANES[turns % BULK_EVERY == 0]:
                if await worker.turn(lane, room):
                    self.nudge()
                    return 0.0
            return await self._idle(worker)

        await self._forever(f"work.{worker.connection}", turn)

    async def _idle(self, worker: Worker) -> float:
        """Wait for a nudge, or look for rows that became due."""
        while not self.stop.is_set():
            self._nudge.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), IDLE)
            if await self.store.read(_is_due, worker.connection):
                return 0.0
        return 0.0

    def _room(self, worker: Worker) -> int:
        """Return how many rows one turn claims: a few per slot of the vendor, so that a turn stays short."""
        spec = self.world.specs.get(worker.connection)
        slots = [budget.limit for budget in spec.budgets if budget.kind == "slots"] if spec else []
        return min(self.world.timing.batch, 8 * min(slots)) if slots else self.world.timing.batch


def _is_due(tx: Tx, connection: str) -> bool:
    return bool(any_due(tx, connection, tx.now))


def _pause_connection(tx: Tx, world: World, connection: str, error: ConnectionDown) -> None:
    view = View(tx, world.vault)
    pause(view, connection, error.cause, str(error), after=error.until)
    view.flush("reader", "pause")
