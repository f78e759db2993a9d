"""Everything one process does for the pipe, as tasks: take, work, read, sweep, seal, publish. They end when asked to.

Each loop survives what goes wrong in one turn; an :class:`IntegrityError` of the store's epoch ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hub.bus.port import INBOUND, INBOUND_BULK, Bus
from hub.clock import Clock
from hub.errors import Cause, ConnectionDown, IntegrityError, RemoteError
from hub.pipe.absence import look_for_absent
from hub.pipe.intake import Intake
from hub.pipe.jobs import due_rechecks, finish
from hub.pipe.limits import Gate, gate_of, note_results, pause
from hub.pipe.outlet import Outlet, retain
from hub.pipe.read import ReadReport, read_stream
from hub.pipe.recheck import recheck
from hub.pipe.refusal import NotPossible
from hub.pipe.work import Worker, sweep, wake
from hub.pipe.world import World
from hub.project.values import LANE_BULK, LANE_LIVE, LANE_MONEY, Sync
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.schema import jobs
from hub.store.view import View

if TYPE_CHECKING:
    from hub.sdk.connector import Connector

__all__ = ["Runtime"]

log = logging.getLogger(__name__)

IDLE = 0.1
"""Seconds between looks at the store while nothing nudges."""
SWEEP = 2.0
RETENTION = 60.0
"""Seconds between questions whether it is time to look for what the bus may forget."""
SEALED_AT_ONCE = 1000
LOOPS = 2
"""Turns of one connection that run side by side: one settles while the other calls."""
LANES = ((LANE_MONEY, LANE_LIVE, LANE_BULK), (LANE_BULK, LANE_MONEY, LANE_LIVE))
BULK_EVERY = 10
"""Every so many turns start with bulk, so that it keeps its tenth."""

read_jobs = sql.bulk_select(jobs, "name state due", key="name")
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
        loops = [
            self._forever("sweep", self._sweep),
            self._forever("absence", self._absence),
            self._forever("retention", self._retain),
        ]
        loops += [
            self._forever(f"read {sync.name}", functools.partial(self._read_due, sync))
            for sync in self._read_by()
        ]
        if self.sealer is not None:
            outlet = Outlet(self.store, self.bus, self.clock, self.holder)
            loops.append(self._forever("seal", self._seal))
            loops.append(self._forever("publish", functools.partial(self._publish, outlet)))
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

    async def _publish(self, outlet: Outlet) -> float:
        return 0.0 if await outlet.turn() else 0.5

    async def _retain(self) -> float:
        await retain(self.store, self.bus, self.holder)
        return RETENTION

    async def _absence(self) -> float:
        if await look_for_absent(self.store, self.world, self.clock, self.holder):
            self.nudge()
        return SWEEP

    def _read_by(self) -> list[Sync]:
        """Return the syncs that are read by the clock; each has a loop: a long read keeps nobody waiting."""
        found = (sync for sync in self.world.project.syncs.values() if sync.direction == "in")
        return [sync for sync in found if sync.schedule is not None and sync.connection in self.connectors]

    async def _read_due(self, sync: Sync) -> float:
        """Read if it is time; nothing while the sync or its connection is paused, but a probe when that may end."""
        gate, due = await self.store.read(_reading, sync)
        if (
            gate is not Gate.SHUT
            and due <= self.clock.now()
            and await self._poll(sync)
            and gate is Gate.PROBE
        ):
            await self.store.run(_answered, self.world, sync.connection)
        return 0.25

    async def _poll(self, sync: Sync) -> bool:
        connector = self.connectors[sync.connection]
        reading = asyncio.ensure_future(
            read_stream(self.store, self.world, self.bus, self.clock, sync, connector, holder=self.holder)
        )
        try:
            await self._unless_stopped(reading)
            return not (await reading).busy
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
        except ConnectionDown as error:
            await self.store.run(_pause_connection, self.world, sync.connection, error)
            await self._pause(2.0)
        except NotPossible as error:
            log.warning("read.not_possible sync=%s %s", sync.name, error)
            await self._pause(3600.0)
        except RemoteError as error:
            log.warning("read.failed sync=%s cause=%s %s", sync.name, error.cause.value, error)
            await self._pause(2.0)
        return False

    async def _unless_stopped(self, reading: asyncio.Future[ReadReport]) -> None:
        """Wait for a read; when the process is asked to stop it is cut, and goes on at its page another time."""
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            both: list[asyncio.Future[Any]] = [reading, stopping]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not reading.done():
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

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


def _reading(tx: Tx, sync: Sync) -> tuple[Gate, int]:
    """Return how a sync may be read now, and when its next read is due (µs)."""
    found = {row[0]: row for row in read_jobs(tx, [(f"read:{sync.name}",), (f"sync:{sync.name}",)])}
    paused = found.get(f"sync:{sync.name}", ("", "due", 0))[1] == "paused"
    due = found.get(f"read:{sync.name}", ("", "due", 0))[2]
    return (Gate.SHUT if paused else gate_of(tx, sync.connection)), due


def _answered(tx: Tx, world: World, connection: str) -> None:
    view = View(tx, world.vault)
    note_results(view, connection, answered=True, unanswered=False)
    view.flush("reader", "resume")


def _pause_connection(tx: Tx, world: World, connection: str, error: ConnectionDown) -> None:
    view = View(tx, world.vault)
    pause(view, connection, error.cause, str(error), after=error.until)
    view.flush("reader", "pause")
