"""Everything one process does for the pipe, as tasks: take, work, read, sweep, seal, publish. They end when asked to.

Each loop survives what goes wrong in one turn; an :class:`IntegrityError` of the store's epoch ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hub.bus.port import INBOUND, INBOUND_BULK, Bus
from hub.clock import SECOND, Clock
from hub.errors import ConnectionDown, RemoteError
from hub.pipe.absence import look_for_absent
from hub.pipe.alarms import note_alarms
from hub.pipe.due import Due
from hub.pipe.intake import Intake
from hub.pipe.jobs import due_rechecks, finish
from hub.pipe.limits import Gate
from hub.pipe.listen import Listening
from hub.pipe.loops import Loops
from hub.pipe.notices import NOTICES, Messenger
from hub.pipe.outlet import Outlet, retain
from hub.pipe.pace import Pace
from hub.pipe.read import ReadReport, read_stream
from hub.pipe.read_gate import answered, pause_connection, reading
from hub.pipe.recheck import recheck
from hub.pipe.refusal import NotPossible
from hub.pipe.reopen import Reopening
from hub.pipe.share import EVERY, Gone, Pool, Share
from hub.pipe.slots import resize, slot_jobs
from hub.pipe.takeover import look
from hub.pipe.tally import refused
from hub.pipe.times import ClockWatch, has_come
from hub.pipe.work import Worker, sweep, wake, wake_exports, wake_removed
from hub.pipe.world import World
from hub.project.values import Sync
from hub.store.engine import Store

if TYPE_CHECKING:
    from hub.pipe.archiving import Archiving
    from hub.pipe.heads import OutsideHead
    from hub.sdk.connector import Connector

__all__ = ["Runtime"]

log = logging.getLogger(__name__)

SWEEP = 2.0
LOOK = 1.0
"""Seconds between looks whether somebody has a sync read earlier than by its schedule."""
RETENTION = 60.0
"""Seconds between questions whether it is time to look for what the bus may forget."""
SEALED_AT_ONCE = 1000
LOOPS = 2
"""Turns of one connection that run side by side: one settles while the other calls."""
CLOCK = "clock"
"""The alarm of a process whose clock is not the store's: it claims and reads nothing."""
PUBLISHED = "mappings"
"""The alarm of a process that cannot use what was published: it leaves those syncs to others."""
ONCE = "once:"
"""What begins the names of the jobs that one worker of the cluster does."""
BULK_AT_ONCE = 16
"""Partitions of complete reads taken at once where transactions do not wait for each other."""


class _Part(Protocol):
    """What works on for long with a world: :meth:`Runtime.take_up` hands it the next one."""

    world: World


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
        gone: Gone | None = None,
        heads: OutsideHead | None = None,
        archiving: Archiving | None = None,
    ) -> None:
        """Take what the process was wired with.

        ``sealer`` seals some acts and says how many; ``gone``: whose leases need not be waited for; ``heads``: where the
        newest seal is kept outside, for stopped writes to open; ``archiving``: what has old acts leave the store.
        """
        self.store, self.world, self.bus, self.clock = store, world, bus, clock
        self.connectors, self.holder, self.sealer = connectors, holder, sealer
        self.heads, self.archiving, self._gone = heads, archiving, gone
        self._parts: list[_Part] = []
        self._loops = Loops(clock.monotonic)
        self.stop, self.alarms, self.astray = self._loops.stop, self._loops.alarms, self._loops.astray
        self._pause = self._loops.pause
        self._clocks = ClockWatch(store, clock)
        self._noted: dict[str, str] = {}
        named = world.project.connections.items()
        self._due = Due(store, [name for name, one in named if name in connectors or one.kind == "api"])
        self.nudge = self._due.nudge
        self._bulk = asyncio.Semaphore(1 if store.dialect == "sqlite" else BULK_AT_ONCE)
        """SQLite has one writer: batches of several partitions would stand in its queue before what is live."""
        self._pace = Pace()
        self._takes: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        """Partition's job -> what asks its reader to leave, and the reader."""

    def take_up(self, world: World) -> None:
        """Go on with what was published meanwhile: each part from its next turn on, a turn under way ends as it began."""
        self.world = world
        for part in self._parts:
            part.world = world
        if world.unfit:
            self.alarms[PUBLISHED] = world.why_unfit
        else:
            self.alarms.pop(PUBLISHED, None)
        self.nudge()

    async def run(self) -> None:
        """Run until ``stop`` is set. Raises IntegrityError when the store was replaced under us."""
        modes = [f"mode:{sync.name}" for sync in self.world.project.syncs.values() if sync.mode == "write"]
        await self.store.run(wake, modes, self.world)
        await self.store.run(wake_removed, self.world)
        await self.store.run(wake_exports, self.world)
        once: dict[str, Callable[[], Awaitable[float]]] = {
            "sweep": self._sweep, "recheck": self._look_again, "absence": self._absence, "retention": self._retain,
        }  # fmt: skip
        if self.sealer is not None:
            outlet = Outlet(self.store, self.bus, self.clock, self.holder)
            once |= {"seal": self._seal, "publish": functools.partial(self._publish, outlet)}
        if self.world.project.notices is not None:
            messenger = Messenger(self.store, self.world, self.clock, self.connectors, self.holder)
            once |= {NOTICES: messenger.turn}
            self._parts.append(messenger)
        if self.heads is not None:
            reopening = Reopening(
                self.store, self.world, self.bus, self.clock, self.connectors, self.holder, self.heads
            )
            once |= {"reopen": reopening.turn}
            self._parts.append(reopening)
        if self.archiving is not None:
            once |= {"archive": self.archiving.turn}
        intakes = {
            intake.job: intake
            for topic in (INBOUND, INBOUND_BULK)
            for partition in range(await self.bus.partitions(topic))
            for intake in [
                Intake(self.store, self.world, self.bus, self.holder, topic=topic, partition=partition)
            ]
        }
        self._parts += intakes.values()
        share = Share(self.store, self.clock, self.holder, self._pools(intakes, once), self._gone)
        await self._watch()
        await share.turn()
        loops = [
            self._member(share, intakes),
            self._loops.forever("watch", self._watch),
            self._loops.forever("due", self._due.look),
            self._loops.forever("take over", lambda: look(self.store, self.world, self.nudge)),
        ]
        loops += [
            self._loops.forever(name, functools.partial(_once, share, name, turn))
            for name, turn in once.items()
        ]
        loops += [
            self._loops.forever(f"read {sync.name}", functools.partial(self._read_due, sync))
            for sync in self._read_by()
        ]
        loops += Listening(self.store, self.bus, self.holder, self._loops).loops(self.connectors)
        for name in self._due.connections:
            worker = Worker(self.store, self.world, self.clock, self.holder, name, self.connectors.get(name))
            loops += [self._work(worker, number) for number in range(LOOPS)]
            self._parts.append(worker)
        try:
            await self._loops.all(loops)
        finally:
            await self._end_takes()
        await share.leave()

    def _pools(self, intakes: Mapping[str, Intake], once: Iterable[str]) -> list[Pool]:
        """Return what the workers of the cluster share out among them."""
        slots = {name: one.slots.limit for name, one in self.connectors.items() if one.slots is not None}
        start = {"cluster": self.bus.cluster, "next": 0}
        return [
            *(
                Pool("bus", tuple(name for name, one in intakes.items() if one.topic == topic), start)
                for topic in (INBOUND, INBOUND_BULK)
            ),
            Pool("once", tuple(ONCE + name for name in once)),
            *(Pool("slot", slot_jobs(name, limit)) for name, limit in slots.items()),
        ]

    async def _member(self, share: Share, intakes: Mapping[str, Intake]) -> None:
        """Hold our share until asked to stop; the others then have the partitions before our last calls have ended."""
        await self._loops.forever("share", functools.partial(self._share, share, intakes))
        await self._end_takes()
        try:
            await share.leave(self._takes)
        except Exception:
            log.exception("partitions could not be given up: others have them once their leases lapse")

    async def _end_takes(self) -> None:
        """Let the readers of partitions end their turns."""
        for leave, _ in self._takes.values():
            leave.set()
        await asyncio.gather(*(reader for _, reader in self._takes.values()), return_exceptions=True)

    async def _share(self, share: Share, intakes: Mapping[str, Intake]) -> float:
        """Begin with what is ours, end what is not, and give up what is too much once its use has ended."""
        await share.turn()
        for name, intake in intakes.items():
            leave, reader = self._takes.get(name, (None, None))
            if reader is not None and reader.done():
                reader.result()  # it may have found that the store was replaced
                del self._takes[name]
                reader = None
            if leave is not None and not share.holds(name):
                leave.set()
            elif share.holds(name) and reader is None:
                intake.forget()
                leave = asyncio.Event()
                turns = self._loops.forever(f"take {name}", functools.partial(self._take, intake), leave)
                self._takes[name] = leave, asyncio.ensure_future(turns)
        kept: set[str] = {name for name, (_, reader) in self._takes.items() if not reader.done()}
        for name, connector in self.connectors.items():
            if connector.slots is not None:
                kept |= await resize(share, name, connector.slots)
        await share.give(share.surplus - kept)
        return EVERY

    async def _watch(self) -> float:
        """Look at the clocks, and let the store know what stands still here; a wrong clock is such a thing."""
        why = await self._clocks.look()
        if why is None:
            self.alarms.pop(CLOCK, None)
        else:
            self.alarms[CLOCK] = why
        if self.alarms != self._noted:
            told = dict(self.alarms)
            await self.store.run(note_alarms, self.holder, told)
            self._noted = told
        return SWEEP

    async def _take(self, intake: Intake) -> float:
        bulk = intake.topic == INBOUND_BULK
        async with self._bulk if bulk else contextlib.nullcontext():
            taken = await (self._take_bulk(intake) if bulk else intake.turn())
        if taken:
            self.nudge()
            return 0.0
        await intake.wait(0.5)
        return 0.01

    async def _take_bulk(self, intake: Intake) -> int:
        began = self.clock.monotonic()
        taken = await intake.turn(self._pace.size)
        self._pace.took(taken, self.clock.monotonic() - began)
        return taken

    async def _sweep(self) -> float:
        if await self.store.run(sweep, self.world):
            self.nudge()
        return SWEEP

    async def _look_again(self) -> float:
        """Look at what a doubt left behind: calls of a vendor, which must not keep the sweep from a dead worker's claims."""
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
        gate, due = await self.store.read(reading, sync)
        slots = self.connectors[sync.connection].slots
        if (slots is not None and slots.size == 0) or CLOCK in self.alarms:
            return EVERY  # the others have them all, or must read: by a wrong clock nothing is older or newer
        every, now = sync.schedule or 0.0, self.clock.now()
        if not has_come(due, now, every):
            return min(LOOK, (due - now) / SECOND)
        if gate is not Gate.SHUT and await self._poll(sync) and gate is Gate.PROBE:
            await self.store.run(answered, self.world, sync.connection)
        return min(LOOK, every)

    async def _poll(self, sync: Sync) -> bool:
        connector = self.connectors[sync.connection]
        read = asyncio.ensure_future(
            read_stream(self.store, self.world, self.bus, self.clock, sync, connector, holder=self.holder)
        )
        try:
            await self._unless_stopped(read)
            return not (await read).busy
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
        except ConnectionDown as error:
            refused(self.world.metrics, sync.connection, error)
            await self.store.run(pause_connection, self.world, sync.connection, error)
            await self._pause(2.0)
        except NotPossible as error:
            log.warning("read.not_possible sync=%s %s", sync.name, error)
            await self._pause(3600.0)
        except RemoteError as error:
            refused(self.world.metrics, sync.connection, error)
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

        async def turn() -> float:
            nonlocal turns
            turns += 1
            room = self._room(worker)
            if room == 0 or CLOCK in self.alarms:
                return EVERY  # the other workers have all the slots, or the right time
            for lane in await self._due.lanes(worker.connection, turns):
                if await worker.turn(lane, room):
                    break
            else:
                return 0.0  # none was due, or others have them: the next look tells
            self.nudge()
            return 0.0

        await self._loops.forever(f"work.{worker.connection}.{number}", turn)

    def _room(self, worker: Worker) -> int:
        """Return how many rows one turn claims: a few per slot of the vendor, so that a turn stays short."""
        slots = worker.connector.slots if worker.connector is not None else None
        return self.world.timing.batch if slots is None else min(self.world.timing.batch, 8 * slots.size)


async def _once(share: Share, name: str, turn: Callable[[], Awaitable[float]]) -> float:
    return await turn() if share.holds(ONCE + name) else EVERY
