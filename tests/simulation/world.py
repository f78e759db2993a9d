"""One seeded run: who acts (callers of the API, users of the vendor, worker processes, an operator) and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import orjson

from hub.bus.log import Log
from hub.bus.port import INBOUND, INBOUND_BULK, Topic
from hub.clock import SECOND
from hub.crm.external import ExternalWrite, VersionMoved, WriteAnswer
from hub.errors import HubError, IntegrityError, RemoteError
from hub.pipe import read
from hub.pipe.accept import accept
from hub.pipe.claim import claim
from hub.pipe.desk import NotPossible, NotThere, choose, replay, resolve
from hub.pipe.intake import Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.jobs import due_rechecks, finish
from hub.pipe.read import read_stream
from hub.pipe.recheck import recheck
from hub.pipe.settle import settle_writes
from hub.pipe.settle_reads import settle_reads
from hub.pipe.work import Worker, sweep
from hub.pipe.world import World
from hub.project.values import Project
from hub.sdk.connector import VendorKey, VendorRef, Write
from hub.store import Store
from hub.vault import Vault
from tests.simulation.invariants import Judge, Violation
from tests.simulation.loop import Killed, VirtualClock, VirtualLoop, run
from tests.simulation.model import Values
from tests.vendor import SETTLE_AFTER, SPEC, Fate, MemoryConnector, MemoryVendor, Thing
from tests.worlds import project, world

__all__ = ["Options", "Outcome", "simulate"]

FAULTS = (Fate.LOST, Fate.NEVER, Fate.LATE, Fate.TRY, Fate.DOWN, Fate.REFUSE)
TOPICS = {name: Topic(name, 2, 86_400) for name in (INBOUND, INBOUND_BULK)}
OBJECTS = ("keyed", "card", "mail")
CALM = 50.0
"""Seconds of faults before everything heals."""
PATIENCE = 1500.0
"""Most virtual seconds until everything must be quiet."""
_MORTAL: ContextVar[bool] = ContextVar("mortal", default=False)
"""Set in the tasks of a hub process: a crash point kills those, never a caller."""
DUE = "SELECT 1 FROM owed WHERE connection = ? AND lane = ? AND state IN ('ready', 'in_doubt') AND due <= ? LIMIT 1"


@dataclass(frozen=True)
class Options:
    """What a run does; a seed draws the rest.

    ``objects``: beside customer and receipt; None: drawn. ``rates``: fault -> probability, drawn where not given.
    ``customers``: at most so many. ``enough``: a run ends after so many violations. ``deaths``: crash points at which
    processes die, the first time each is come to and in this order; none: drawn.
    """

    objects: tuple[str, ...] | None = None
    operations: int = 24
    faults: bool = True
    enough: int = 30
    customers: int = 1000
    deaths: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    prepare: Callable[[Simulation], None] | None = None


@dataclass
class Outcome:
    """What a run showed."""

    seed: int
    digest: str
    violations: list[Violation]
    faults: Counter[str]
    branches: Counter[str]
    seconds: float
    timeline: list[tuple[int, str | None, str]] = field(default_factory=list)


class GatedStore:
    """The store as one process reaches it: every call may be preceded and followed by a wait, or be the last one."""

    def __init__(
        self, real: Store, judge: Judge, gate: Callable[[], Awaitable[None]], zombie: Callable[[], None]
    ) -> None:
        self._real, self._judge, self._gate, self._zombie = real, judge, gate, zombie
        self.dialect, self.epoch = real.dialect, real.epoch

    async def run(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        if fn in (settle_writes, settle_reads):
            self._zombie()
        await self._gate()
        try:
            result = self._real.run_now(fn, *args, **kwargs)
        finally:
            self._judge.look()
        if fn is claim and result:
            self._zombie()
        await self._gate()
        return result

    async def read(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        await self._gate()
        return self._real.read_now(fn, *args, **kwargs)


class GatedClock:
    """A process's clock: it sleeps at least as long as the process is frozen."""

    def __init__(self, real: VirtualClock, gate: Callable[[], Awaitable[None]]) -> None:
        self._real, self._gate = real, gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def sleep(self, seconds: float) -> None:
        await self._real.sleep(seconds)
        await self._gate()


class Process:
    """One hub process: it works, takes, polls and sweeps; it can freeze, and die at any await."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation, self.name = simulation, name
        self.frozen_until = 0.0
        self.dead = False
        self.clock = GatedClock(simulation.clock, self._frozen)
        self.store: Any = GatedStore(simulation.store, simulation.judge, self._gate, self._zombie)
        self.connector = MemoryConnector(simulation.vendor, self.clock)  # type: ignore[arg-type]
        self.worlds = simulation.world

    async def _frozen(self) -> None:
        loop = self.simulation.loop
        while self.frozen_until > loop.time():
            await asyncio.sleep(self.frozen_until - loop.time())
        if self.dead:
            raise Killed(self.name)

    def _zombie(self) -> None:
        """Freeze now and then between a claim and its send, or between the answer and its settling."""
        sim = self.simulation
        if not sim.healed and sim.draw.random() < sim.rates["freeze"] / 4:
            self.freeze()

    def freeze(self) -> None:
        """Stop the whole process for longer, or shorter, than its leases last."""
        self.frozen_until = self.simulation.loop.time() + self.simulation.draw.uniform(8, 45)
        self.simulation.faults["frozen"] += 1
        self.simulation.judge.tell(f"FREEZE {self.name} until {self.frozen_until:.1f}")

    async def _gate(self) -> None:
        if self.simulation.draw.random() < 0.2 and not self.simulation.healed:
            await asyncio.sleep(self.simulation.draw.random() * 0.4)
        await self._frozen()

    async def run(self) -> None:
        made = self.worlds
        loops = [self._loop(self._sweep, 2.0), self._loop(self._poll, 7.0)]
        intakes = [Intake(self.store, made, self.simulation.bus, self.name, topic=topic, partition=number)
                   for topic in TOPICS for number in range(2)]  # fmt: skip
        loops.append(self._loop(lambda: self._take(intakes), 0.7))
        worker = Worker(self.store, made, self.clock, self.name, "mem", self.connector)  # type: ignore[arg-type]
        loops += [
            self._loop(lambda lanes=lanes: self._work(worker, lanes), 0.4) for lanes in ((0, 1, 2), (1, 2, 0))
        ]
        api = Worker(self.store, made, self.clock, self.name, "crm", None)  # type: ignore[arg-type]
        loops.append(self._loop(lambda: self._work(api, (1,)), 1.0))
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        finally:
            self.dead = True
            for task in tasks:
                task.cancel()

    async def _loop(self, turn: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await turn()
            except (RemoteError, IntegrityError) as error:
                self.simulation.faults[f"raised {type(error).__name__}"] += 1
            await self.clock.sleep(
                seconds * (0.9 + 0.2 * self.simulation.draw.random()) * (3 if self.simulation.healed else 1)
            )

    async def _work(self, worker: Worker, lanes: Sequence[int]) -> None:
        sim = self.simulation
        for lane in lanes:
            while sim.peek(DUE, worker.connection, lane, sim.clock.now()) and await worker.turn(
                lane, sim.room()
            ):
                pass

    async def _take(self, intakes: Sequence[Intake]) -> None:
        sim = self.simulation
        for intake in intakes:
            there = (await sim.bus.bounds(intake.topic, intake.partition)).next
            while there > sim.judge.positions.get(intake.job, 0) and await intake.turn(5):
                pass

    async def _sweep(self) -> None:
        await self.store.run(sweep, self.worlds)
        for name, spec in await self.store.read(due_rechecks):
            sync = self.worlds.sync(spec["sync"])
            if sync is not None and not await recheck(self.store, self.worlds, self.connector, sync, spec):
                continue
            await self.store.run(finish, name)

    async def _poll(self) -> None:
        for sync in self.worlds.project.syncs.values():
            if sync.direction == "in":
                full = self.simulation.draw.random() < 0.05  # a reconcile run: everything, by the bulk topic
                await read_stream(
                    self.store,
                    self.worlds,
                    self.simulation.bus,
                    self.clock,
                    sync,
                    self.connector,
                    holder=self.name,
                    full=full,
                )  # type: ignore[arg-type]


class Simulation:
    """The whole of one run."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed, self.options = seed, options
        self.draw = random.Random(f"run/{seed}")
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(lambda loop, context: None)  # killed tasks are nobody's to collect
        self.clock = VirtualClock(self.loop.time, str(seed))
        self.store = Store.open("sqlite://", self.clock, inline=True)
        self._driver: Any = self.store._runner._driver
        self.vault = Vault.in_memory(self.clock)
        drawn = tuple(name for name in OBJECTS if self.draw.random() < 0.4)
        self.objects = ("customer", "receipt", *(drawn if options.objects is None else options.objects))
        on_doubt = "repeat" if self.draw.random() < 0.7 else "park"
        self.world: World = world(self.store, self.vault, _project(self.objects, on_doubt))
        self.bus = Log.open(None, self.clock, topics=TOPICS, inline=True)
        self.vendor = MemoryVendor(self.clock)
        self.values = Values()
        self.faults: Counter[str] = Counter()
        self.judge = Judge(self.peek, self.vendor, self.values, self.clock.now, self.world.digests["customer"],
                           self._open, lambda: self._driver.total_changes)  # fmt: skip
        self.healed, self.healed_at = False, 0
        self.processes: list[tuple[Process, asyncio.Task[None]]] = []
        self.customers: dict[str, dict[str, str]] = {}
        self.payments: dict[str, dict[str, str]] = {}
        self.rates = self._rates()
        self.deaths = options.deaths
        self._wire()
        if options.prepare is not None:
            options.prepare(self)

    def _rates(self) -> dict[str, float]:
        """Each run has some faults and not others (swarm): rare mixes come up that an even mix never shows."""
        names = [*(fate.value for fate in FAULTS), "kill", "freeze", "crash", "find"]
        rates = {name: self.draw.choice((0.0, 0.03, 0.12)) for name in names}
        return {**(rates if self.options.faults else dict.fromkeys(names, 0.0)), **self.options.rates}

    def _wire(self) -> None:
        vendor, judge = self.vendor, self.judge
        vendor.fate = self._fate
        vendor.late_by = lambda: int(self.draw.random() * (SETTLE_AFTER - 1) * SECOND)
        vendor.on_send, vendor.on_effect = judge.on_send, judge.on_effect
        self.clock.deadly = self._deadly

    def _open(self, record: str, act: int, values: str) -> dict[str, Any]:
        (sealed,) = self.peek("SELECT data_key FROM records WHERE id = ?", bytes.fromhex(record))[0]
        key = self.vault.open_data_key(bytes.fromhex(record), bytes(sealed))
        opened: dict[str, Any] = orjson.loads(
            self.vault.open_values(key, base64.b64decode(values), str(act).encode())
        )
        return opened

    def peek(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        """Look at the tables past the store: for the judge and for idle loops."""
        return list(self._driver.execute(text, params).fetchall())

    def room(self) -> int:
        """Return how many rows one turn claims."""
        return self.draw.choice((1, 3, 20))

    def _fate(self, write: Write | None) -> Fate:
        if self.healed:
            return Fate.OK
        if write is None:
            found = Fate.NEVER if self.draw.random() < self.rates["find"] else Fate.OK
            self.faults["find never"] += found is not Fate.OK
            return found
        at = self.draw.random()
        for fate in FAULTS:
            at -= self.rates[fate.value]
            if at < 0:
                self.faults[
                    f"{fate.value} {SPEC.objects[write.object].steps[write.step].delivery.value}"
                ] += 1
                return fate
        return Fate.OK

    def _deadly(self, name: str) -> bool:
        if name.startswith("bus."):  # the log is one for all here: its own suite kills it
            return False
        if self.options.deaths:
            dead = _MORTAL.get() and name == next(iter(self.deaths), None)
            self.deaths = self.deaths[dead:]
        else:
            dead = not self.healed and _MORTAL.get() and self.draw.random() < self.rates["crash"] / 8
        self.faults[f"crash at {name}"] += dead
        return dead

    # who acts ------------------------------------------------------------------------------------------------

    async def main(self) -> None:
        """Play, but stop once enough is wrong."""
        broken: asyncio.Future[None] = self.loop.create_future()
        self.judge.enough = self.options.enough
        self.judge.stop = lambda: None if broken.done() else broken.set_result(None)
        story = asyncio.ensure_future(self._play())
        await asyncio.wait((story, broken), return_when=asyncio.FIRST_COMPLETED)
        if story.done():
            story.result()

    async def _play(self) -> None:
        """Let everybody act, heal, wait for quiet, judge."""
        for number in range(2):
            self._start(f"w{number}")
        actors = [self._callers(), self._users(), self._reaper(), self._operator()]
        tasks = [asyncio.ensure_future(actor) for actor in actors]
        await asyncio.wait_for(asyncio.gather(*tasks), None)
        await self._settle_down()
        self.judge.end(await self._published())

    def _start(self, name: str) -> None:
        process = Process(self, name)
        task = asyncio.ensure_future(self._live(process))
        self.processes.append((process, task))

    async def _live(self, process: Process) -> None:
        _MORTAL.set(True)
        try:
            await process.run()
        except Killed:
            process.dead = True
            self.faults["killed at a crash point"] += 1
        except asyncio.CancelledError:
            self.faults["killed at an await"] += not self.healed
        except Exception:
            self.judge.wrong("crash", f"{process.name} died of {traceback.format_exc(limit=-6)}")

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(self.draw.random() * seconds * 2)

    async def _callers(self) -> None:
        count = self.options.operations
        for _ in range(count):
            await self._pause(CALM / count)
            act = self.draw.random()
            if not self.customers or (act < 0.25 and len(self.customers) < self.options.customers):
                await self._put_customer(f"C-{len(self.customers)}", new=True)
            elif act < 0.65:
                known = list(self.customers)
                hot = known[-2:] if self.draw.random() < 0.5 else known  # edited while it is under way
                await self._put_customer(self.draw.choice(hot), new=False)
            elif act < 0.9 or not self.payments:
                await self._put_payment(f"P-{len(self.payments)}", new=True)
            else:
                await self._put_payment(self.draw.choice(sorted(self.payments)), new=False)

    async def _put_customer(self, id_: str, *, new: bool) -> None:
        body = self.customers.setdefault(id_, {"phone": f"+861380000{len(self.customers):04d}"})
        names = ("name", *(n for n in ("street", "remark") if self.draw.random() < 0.5)) if new else (
            self.draw.choice(("name", "street", "remark")),)  # fmt: skip
        body |= {name: self.values.new(f"{id_} {name}", body.get(name)) for name in names}
        await self._put("customer", id_, body)

    async def _put_payment(self, id_: str, *, new: bool) -> None:
        known = [body["id"] for body in self.customers.values() if "id" in body]
        if not known:
            return
        if new:
            self.payments[id_] = {
                "no": id_,
                "customer": self.draw.choice(known),
                "currency": "CNY",
                "received_on": "2026-01-10",
            }
        body = self.payments[id_]
        body["amount"] = f"{self.draw.randrange(1, 10_000)}.00"
        await self._put("payment", id_, body)

    async def _put(self, kind: str, id_: str, body: dict[str, str]) -> None:
        sent = {name: value for name, value in body.items() if name != "id"}
        write = ExternalWrite("crm", kind, id_, dict(sent), "cn/south/")
        try:
            answer = self.store.run_now(accept, write, self.world)
        except VersionMoved:
            return
        finally:
            self.judge.look()
        record = answer.record_id.hex() if isinstance(answer, WriteAnswer) else None
        if record is not None:
            body["id"] = record
        self.judge.tell(
            f"API put {kind} {id_} {sent} -> {type(answer).__name__} {getattr(answer, 'cause', '')}", record
        )

    async def _users(self) -> None:
        """The vendor's own people: they edit, now and then delete or make an object."""
        count = self.options.operations // 2
        for _ in range(count):
            await self._pause(CALM / count)
            self.vendor.apply_due()
            things = sorted(
                (t for t in self.vendor.things.values() if t.object in SPEC.streams and not t.gone),
                key=lambda t: (t.object, t.id),
            )
            act = self.draw.random()
            if act < 0.05:
                self._made("customer" if self.draw.random() < 0.6 or "card" not in self.objects else "card")
            elif things and act < 0.1:
                thing = self.draw.choice(things)
                self.vendor.remove(thing.object, thing.id)
                self.judge.touched_by_user.add((thing.object, thing.id))
                self.judge.tell(
                    f"USER deletes {thing.object} {thing.id}", self.judge.by_key.get(thing.business_key)
                )
            elif things:
                self._edit(self.draw.choice(things))
            if self.draw.random() < 0.2 and things:
                await self._hint(self.draw.choice(things))

    def _made(self, object_: str) -> None:
        number = self.vendor.numbers
        thing = self.vendor.add(
            object_, name=self.values.new(f"U{number} name", None), phone=f"+861390000{number:04d}"
        )
        self.judge.tell(f"USER makes {object_} {thing.id}")

    def _edit(self, thing: Thing) -> None:
        name = self.draw.choice(("name", "street", "remark"))
        value = self.values.new(f"{thing.id} {name}", thing.fields.get(name))
        self.vendor.edit(thing.object, thing.id, **{name: value})
        self.judge.tell(
            f"USER edits {thing.object} {thing.id}.{name} = {value}",
            self.judge.by_key.get(thing.business_key),
        )

    async def _hint(self, thing: Thing) -> None:
        event = to_event("mem", thing.object, VendorKey("", thing.id), event_id=self.clock.new_id().hex())
        await self.bus.publish(INBOUND, [to_message(event)])

    async def _reaper(self) -> None:
        """Kill and freeze processes."""
        for number in range(12):
            await self._pause(CALM / 12)
            index = self.draw.randrange(len(self.processes))
            process, task = self.processes[index]
            if task.done() or self.draw.random() < self.rates["kill"] * 4:
                process.dead = True
                task.cancel()
                self.processes.pop(index)
                self.judge.tell(f"KILL {process.name}")
                self._start(f"{process.name.partition('.')[0]}.{number}")
            elif self.draw.random() < self.rates["freeze"] * 4:
                process.freeze()

    async def _operator(self) -> None:
        """Replay dead letters, pause and resume a sync."""
        for _ in range(6):
            await self._pause(CALM / 6)
            if self.draw.random() < 0.3:
                name = self.draw.choice(sorted(self.world.project.syncs))
                self._set_paused(name, paused=True)
                await self._pause(3)
                self._set_paused(name, paused=False)
            elif self.draw.random() < 0.5:
                self._repair()

    def _set_paused(self, name: str, *, paused: bool) -> None:
        state = "paused" if paused else "due"
        self.store.run_now(lambda tx: tx.cursor.execute(
            "INSERT INTO jobs (name, kind, spec, position, due, fence, progress, state, act) "
            "VALUES (?, 'sync', 'null', 'null', 0, 0, 'null', ?, 0) ON CONFLICT (name) DO UPDATE SET state = excluded.state",
            (f"sync:{name}", state)))  # fmt: skip
        self.faults["sync paused"] += paused
        self.judge.tell(f"OPERATOR {state} {name}")

    def _repair(self) -> None:
        """Look at every dead letter as a person would: choose, resolve what is in doubt, replay the rest."""
        for row in list(self.judge.owed.values()):
            if row["state"] != "parked":
                continue
            try:
                self._repair_one(row)
            except (NotPossible, NotThere):
                continue
            finally:
                self.judge.look()

    def _repair_one(self, row: dict[str, Any]) -> None:
        cause = row["cause"]["code"]
        if (
            row["target"]
            and row["generation"] is not None
            and cause in ("doubt", "crashed", "invalid", "doubled", "not_found")
        ):
            if (row["absent_after"] or 0) > self.clock.now():
                return
            self.store.run_now(
                resolve, row["id"], self.world, ref=self._truth(row), evidence="looked", by="operator"
            )
        elif cause == "candidate":
            chosen = bytes.fromhex(row["cause"]["candidates"][0])
            self.store.run_now(choose, row["id"], chosen, self.world, by="operator")
        else:
            self.store.run_now(replay, row["id"], self.world, by="operator")
        self.faults[f"repaired {cause}"] += 1
        self.judge.tell(
            f"OPERATOR repairs {row['sync']} ({cause})", row["subject"] if row["target"] else None
        )

    def _truth(self, row: dict[str, Any]) -> VendorRef | None:
        """Say what a person sees at the vendor: whether this very write took effect."""
        self.vendor.apply_due()
        done = [effect for effect in self.vendor.effects if effect.key == row["key"]]
        if not done:
            return None
        thing = self.vendor.things[done[0].object, done[0].id]
        return None if thing.gone else self.vendor.ref(thing)

    # the end -------------------------------------------------------------------------------------------------

    async def _settle_down(self) -> None:
        """Heal everything and wait until nothing is left to do."""
        self.healed, self.healed_at = True, self.clock.now()
        self.judge.tell("HEALED")
        for process, task in list(self.processes):
            process.frozen_until = 0.0
            if task.done():
                self.processes.remove((process, task))
                self._start(f"{process.name}.h")
        for name in self.world.project.syncs:
            self._set_paused(name, paused=False)
        for thing in list(self.vendor.things.values()):
            if (
                thing.gone and thing.object == "customer"
            ):  # receipts may name it; a card is found gone by a write
                await self._hint(thing)
        started, quiet = self.loop.time(), 0
        while quiet < 3 and self.loop.time() - started < PATIENCE:
            await asyncio.sleep(15)
            self._repair()
            quiet = quiet + 1 if await self._is_quiet() else 0
        self.judge.look()
        for _, task in self.processes:
            task.cancel()

    async def _is_quiet(self) -> bool:
        self.vendor.apply_due()
        published = await self._published()
        taken = all(self.judge.positions.get(name, 0) == count for name, count in published.items())
        return taken and not self.judge.owed and self._all_read()

    def _all_read(self) -> bool:
        """Say whether every stream was read to a point after the healing."""
        found = dict(self.peek("SELECT name, position FROM jobs WHERE kind = 'reader'"))
        names = [f"read:{sync.name}" for sync in self.world.project.syncs.values() if sync.direction == "in"]
        at = [orjson.loads(found[name]) if name in found else None for name in names]
        return all(one and not one["sweep"] and (one["cursor"] or 0) > self.healed_at for one in at)

    async def _published(self) -> dict[str, int]:
        found = {}
        for topic in TOPICS:
            for partition in range(2):
                found[f"bus:{topic}:{partition}"] = (await self.bus.bounds(topic, partition)).next
        return found

    def digest(self) -> str:
        """Return a digest over the whole history: everything that took effect and every act."""
        hashed = hashlib.blake2b(digest_size=16)
        for effect in self.vendor.effects:
            hashed.update(repr(effect).encode())
        for act in self.peek("SELECT id, at, actor, verb, body FROM acts ORDER BY id"):
            hashed.update(repr(act).encode())
        return hashed.hexdigest()


@functools.cache
def _project(objects: tuple[str, ...], on_doubt: str) -> Project:
    """Compile the mappings once a process."""
    return project(objects, mail={"options": {"on_doubt": on_doubt}})


def simulate(seed: int, options: Options | None = None) -> Outcome:
    """Run one seed."""
    simulation = Simulation(seed, options or Options())
    try:
        run(simulation.loop, simulation.main())
        digest = simulation.digest()
    finally:
        simulation.store.close()
    judge = simulation.judge
    return Outcome(seed, digest, judge.violations, +simulation.faults, judge.outcomes + simulation.clock.reached,
                   simulation.loop.virtual, judge.timeline)  # fmt: skip
