"""The site of the state machine: one hub over a real store, a vendor, a clock that moves only when it is told to."""

from __future__ import annotations

import base64
import functools
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.bus.log import Log
from hub.bus.port import INBOUND, INBOUND_BULK, Message, Topic
from hub.clock import SECOND
from hub.crm.external import ExternalWrite, VersionMoved, WriteAnswer
from hub.errors import Cause, IntegrityError, NotSent, TryAgain
from hub.pipe import desk
from hub.pipe.accept import accept
from hub.pipe.claim import Attempt, Claim, claim
from hub.pipe.decide import Send
from hub.pipe.intake import Intake, to_message
from hub.pipe.items import source_of, to_event
from hub.pipe.jobs import due_rechecks, finish
from hub.pipe.read import read_stream
from hub.pipe.recheck import recheck
from hub.pipe.settle import settle_writes
from hub.pipe.settle_reads import settle_reads
from hub.pipe.work import _renew, sweep
from hub.project.values import Project
from hub.sdk.connector import Absent, CannotTell, Failed, VendorKey, VendorRef
from hub.store import Store
from hub.vault import Vault
from tests.simulation.invariants import Judge
from tests.simulation.loop import Killed, VirtualClock, VirtualLoop
from tests.simulation.model import Values
from tests.vendor import SETTLE_AFTER, SPEC, Effect, Fate, MemoryConnector, MemoryVendor, Thing
from tests.worlds import project, world

__all__ = ["Call", "Model", "Site", "SteppedClock"]

TOPICS = {name: Topic(name, 2, 86_400) for name in (INBOUND, INBOUND_BULK)}
SENT_FIELDS = {
    "customer": ("name", "phone", "street", "remark"),
    "payment": ("no", "customer", "amount", "remark"),
}
STAMPED = ("owed", "records", "xrefs", "connections")
ORPHANS = " UNION ALL ".join(
    f"SELECT '{table}', act FROM {table} WHERE NOT EXISTS (SELECT 1 FROM acts WHERE acts.id = {table}.act)"
    for table in STAMPED
)
FOREIGN_FENCES = (
    "SELECT sync, fence FROM owed WHERE state = 'claimed' AND NOT EXISTS "
    "(SELECT 1 FROM acts WHERE acts.id = owed.fence AND acts.verb = 'claim')"
)
ROUNDS = 150
"""Most turns of the whole hub until everything must be quiet."""


class SteppedClock(VirtualClock):
    """Time stands still but for `sleep` and `at += …`."""

    def __init__(self) -> None:
        self.at = 0.0
        super().__init__(lambda: self.at, "0")

    def start(self, seed: int) -> None:
        """Begin an example: time zero, its own draws."""
        self.at, self._draw, self.deadly = 0.0, random.Random(f"clock/{seed}"), lambda name: False

    async def sleep(self, seconds: float) -> None:
        self.at += max(seconds, 0.0)


@dataclass
class Model:
    """What callers were told and what took effect: a dict per key and a multiset of effects."""

    bodies: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """(kind, external id) -> the body accepted last."""
    records: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    amounts: dict[str, list[str]] = field(default_factory=dict)
    """Receipt number -> every amount a caller sent."""
    discarded: set[tuple[str, str]] = field(default_factory=set)
    """(sync, record): a person gave this debt up and nothing raised it since."""
    effects: Counter[tuple[str, str, int, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def took_effect(self, effect: Effect, *, once: bool, remade: bool) -> None:
        """Count an effect; ``once``: of a class that never doubles; ``remade``: a user deleted what the first one made."""
        at = (effect.object, effect.business_key, effect.generation, effect.step)
        self.effects[at] = 1 if remade else self.effects[at] + 1
        if once and self.effects[at] > 1:
            self.broken.append(f"[2] {effect.object}/{effect.step} took effect {self.effects[at]} times")
        shown = dict(effect.fields)
        ours = effect.object == "receipt" and "amount" in shown and "ref" in shown
        if ours and shown["amount"] not in self.amounts.get(shown["ref"], ()):
            self.broken.append(f"receipt {shown['ref']} carries {shown['amount']}, which nobody sent")

    def check(
        self, judge: Judge, syncs: dict[str, Any], digest: Callable[[str], Callable[[str, Any], str]]
    ) -> None:
        """Nothing accepted is lost: it is owed, or agreed with the vendor in every field, or given up by name."""
        owed = {(row["sync"], row["subject"]) for row in judge.owed.values()}
        self.discarded -= owed
        primary = {
            (x["object"], x["record"]): x
            for x in judge.xrefs.values()
            if x["is_primary"] and x["connection"] == "mem"
        }
        known = {(x["object"], x["record"]) for x in judge.xrefs.values() if x["connection"] == "mem"}
        for (kind, id_), record in self.records.items():
            for sync in syncs.values():
                pair = (sync.name, record)
                if sync.direction != "out" or sync.kind != kind or pair in owed or pair in self.discarded:
                    continue
                if (sync.object, record) not in known:
                    self.broken.append(
                        f"[accounting] {kind} {id_} is neither owed to {sync.name} nor there nor discarded"
                    )
                xref = primary.get((sync.object, record))
                for name in SENT_FIELDS[kind] if xref else ():
                    value, pair_of = judge.records[record].get(name), xref["snapshot"].get(name)
                    if value is not None and digest(kind)(name, value) not in (pair_of or ())[:2]:
                        self.broken.append(
                            f"[paid] {kind} {id_}: nothing is owed to {sync.name}, but its {name} is due"
                        )


@dataclass
class Call:
    """One claimed row on its way: a worker may forget it, or come back with it at any time."""

    attempt: Attempt
    result: Any = None

    def __repr__(self) -> str:
        send = self.attempt.send.value if self.attempt.send else "read"
        return f"<{send} {self.attempt.sync} fence {self.attempt.fence}>"


class Site:
    """A hub, its vendor and its callers; every transaction is followed by a look of the judge."""

    def __init__(self, store: Store, clock: SteppedClock, peek: Callable[[str], list[tuple[Any, ...]]],
                 objects: tuple[str, ...], on_doubt: str) -> None:  # fmt: skip
        self.store, self.clock, self.peek = store, clock, peek
        self.dialect, self.epoch = store.dialect, store.epoch
        self.loop = VirtualLoop()  # for coroutines that never wait: inline store and bus, a clock that steps
        self.vault = Vault.in_memory(clock)
        self.project = _project(objects, on_doubt)
        self.bus = Log.open(None, clock, topics=TOPICS, inline=True)
        self.vendor = MemoryVendor(clock, late_by=lambda: int(self.late_by * SECOND))
        self.fate, self.late_by = Fate.OK, 5.0
        self.vendor.fate = lambda write: self.fate
        self.connector = MemoryConnector(self.vendor)
        self.values, self.model = Values(), Model()
        self.commits = 0
        self.paused = ""
        self.restart()
        self.judge = Judge(peek, self.vendor, self.values, clock.now, self.world.digests["customer"], self._open,
                           lambda: self.commits)  # fmt: skip
        self.vendor.on_send, self.vendor.on_effect = self.judge.on_send, self._effect
        self.readers = [self._intakes("w0"), self._intakes("w1")]

    def restart(self) -> None:
        """Begin anew on what was committed: nothing but the tables, the bus and the key file is left."""
        self.store.lose_power()
        self.clock.deadly = lambda name: False
        self.world = world(self.store, self.vault, self.project)
        self.readers = [self._intakes("w0"), self._intakes("w1")]

    def _intakes(self, holder: str) -> list[Intake]:
        return [Intake(self, self.world, self.bus, holder, topic=topic, partition=number)  # type: ignore[arg-type]
                for topic in TOPICS for number in range(2)]  # fmt: skip

    def _open(self, record: str, act: int, values: str) -> dict[str, Any]:
        sealed = dict(self.peek("SELECT id, data_key FROM records"))[bytes.fromhex(record)]
        key = self.vault.open_data_key(bytes.fromhex(record), bytes(sealed))
        opened: dict[str, Any] = orjson.loads(
            self.vault.open_values(key, base64.b64decode(values), str(act).encode())
        )
        return opened

    def _effect(self, effect: Effect, before: dict[str, Any]) -> None:
        self.judge.on_effect(effect, before)
        once = SPEC.objects[effect.object].steps[effect.step].delivery.value in ("keyed", "findable")
        remade = effect.created and any(
            thing.gone and (thing.object, thing.business_key) == (effect.object, effect.business_key)
            for thing in self.vendor.things.values()
        )
        self.model.took_effect(effect, once=once, remade=remade)

    def drive(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end; one that would wait for something real raises Deadlock."""
        return self.loop.run_until_complete(work)

    # the store, as the pipe's coroutines want it ----------------------------------------------------------------

    def now(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a transaction; the judge looks at whatever it left."""
        try:
            return self.store.run_now(fn, *args, **kwargs)
        finally:
            self.commits += 1
            self.judge.look()

    async def run(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Do the same for a coroutine of the pipe."""
        return self.now(fn, *args, **kwargs)

    async def read(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Read what is committed."""
        return self.store.read_now(fn, *args, **kwargs)

    def dying(self, at: str | None, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a transaction whose process may die before or after its commit; None: it is dead."""
        self.clock.deadly = lambda name: name == at
        try:
            return self.now(fn, *args, **kwargs)
        except Killed:
            return None
        finally:
            self.clock.deadly = lambda name: False

    # callers ------------------------------------------------------------------------------------------------------

    def put(self, kind: str, id_: str, body: dict[str, str], *, at: str | None = None) -> None:
        """Write through the API; a caller whose answer was lost does not know what became of it."""
        if kind == "payment":
            self.model.amounts.setdefault(id_, []).append(f"{float(body['amount']):.2f}")
        write = ExternalWrite("crm", kind, id_, dict(body), "cn/south/")
        answer = self.dying(at, accept, write, self.world)
        if answer is None and at == "store.commit.before":
            return
        if answer is None:  # committed: the caller will see it when it asks again
            answer = self.now(accept, write, self.world)
        if isinstance(answer, WriteAnswer):
            self.model.records[kind, id_] = answer.record_id.hex()
            self.model.bodies[kind, id_], self.model.versions[kind, id_] = body, answer.version

    def put_stale(self, kind: str, id_: str, body: dict[str, str]) -> None:
        """Write on a version that is not the record's any more: refused, nothing happens."""
        before = self.peek("SELECT max(id) FROM acts")
        stale = self.model.versions[kind, id_] - 1
        try:
            self.now(
                accept, ExternalWrite("crm", kind, id_, dict(body), "cn/south/", if_version=stale), self.world
            )
        except VersionMoved:
            assert self.peek("SELECT max(id) FROM acts") == before, "a refused write left an act"
        else:
            raise AssertionError(f"a write on version {stale} was taken")

    # workers --------------------------------------------------------------------------------------------------------

    def due(self, lane: int | None = None) -> list[dict[str, Any]]:
        """Return rows that a claim could take now, as far as state and time say."""
        now = self.clock.now()
        return [row for row in self.judge.owed.values()
                if row["state"] in ("ready", "in_doubt") and row["due"] <= now and lane in (None, self._lane(row))]  # fmt: skip

    def _lane(self, row: dict[str, Any]) -> int:
        sync = self.world.sync(row["sync"])
        return sync.lane if sync else 0

    def claim(self, connection: str, lane: int, room: int, *, at: str | None = None) -> list[Call]:
        """Claim; a worker that dies over the commit claims for nobody."""
        wanted = Claim(connection, lane, room, "w0", self.clock.monotonic())
        return [Call(attempt) for attempt in self.dying(at, claim, wanted, self.world) or ()]

    def send(self, call: Call, fate: Fate) -> None:
        """Do what the attempt says; ``fate`` says what becomes of it."""
        attempt, self.fate = call.attempt, fate
        try:
            if attempt.write is None:
                call.result = self._read(attempt)
            elif attempt.send is Send.FIND:
                call.result = self.drive(self.connector.find([attempt.write]))[0]
            else:
                call.result = self.drive(self.connector.write([attempt.write]))[0]
        finally:
            self.fate = Fate.OK

    def _read(self, attempt: Attempt) -> Any:
        if attempt.source is not None:
            return source_of(attempt.source)
        if attempt.sync.startswith("api:"):
            return Failed(TryAgain("a system that only calls our API cannot be read", cause=Cause.SETTINGS))
        try:
            return self.drive(self.connector.fetch(attempt.stream, [attempt.key]))[0]
        except TryAgain as error:
            return Failed(error)

    def not_sent(self, call: Call) -> None:
        """The deadline check stops the bytes: the engine's own answer, known to be no effect."""
        call.result = Failed(NotSent())

    def settle(self, calls: list[Call], *, at: str | None = None) -> None:
        """Bring the answers home. Whoever does not hold the row any more changes nothing of it."""
        held = {call.attempt.row: self._state(call) for call in calls}
        for fn, group in ((settle_reads, [c for c in calls if c.attempt.write is None]),
                          (settle_writes, [c for c in calls if c.attempt.write is not None])):  # fmt: skip
            if group:
                self.dying(at, fn, [(call.attempt, call.result) for call in group], self.world, "w0")
        for call in calls:
            before, after = held[call.attempt.row], self._state(call)
            if before["fence"] != call.attempt.fence and after != before:
                self.model.broken.append(f"[fence] {call} changed a row that is claimed under another fence")
            absent = call.attempt.send is Send.FIND and isinstance(call.result, Absent | CannotTell)
            if absent and self.clock.now() < (before["absent_after"] or 0) and after["key"] != before["key"]:
                self.model.broken.append(
                    f"[ABS] {call}: nothing is there yet, but an earlier send may still land"
                )

    def _state(self, call: Call) -> dict[str, Any]:
        row = self.judge.owed.get(call.attempt.row) or {}
        return {
            name: row.get(name) for name in ("state", "generation", "step", "fence", "key", "absent_after")
        }

    def renew(self, call: Call) -> None:
        """Keep the lease of a call under way."""
        self.now(_renew, [(call.attempt.row, call.attempt.fence)], int(self.world.timing.lease * SECOND))

    def work(self, room: int = 20) -> int:
        """Work everything off that is due; return how many rows were claimed."""
        count = 0
        for connection in ("mem", "crm"):
            for lane in range(4):
                for _ in range(60):
                    calls = self.claim(connection, lane, room) if self.due() else []
                    for call in calls:
                        self.send(call, Fate.OK)
                    self.settle(calls)
                    count += len(calls)
                    if not calls:
                        break
        return count

    def sweep(self) -> None:
        """Take claims from the dead, and look once more at what was in doubt."""
        self.now(sweep, self.world)
        for name, spec in self.store.read_now(due_rechecks):
            sync = self.world.sync(spec["sync"])
            if sync is None or self.drive(recheck(self, self.world, self.connector, sync, spec)):  # type: ignore[arg-type]
                self.now(finish, name)

    def advance(self, seconds: float) -> None:
        """Let time pass; what was on its way arrives."""
        self.clock.at += seconds
        self.vendor.apply_due()

    # what comes in ----------------------------------------------------------------------------------------------------

    def page(self, stream: str) -> list[Message]:
        """Read the whole stream now; when it is published is another matter."""
        self.vendor.apply_due()
        observed = self.clock.now()
        return [to_message(to_event("mem", stream, self.vendor.source(thing, observed), event_id=self.clock.new_id().hex(),
                                    read_ended=observed))
                for thing in self.vendor._all(stream)]  # fmt: skip

    def publish(self, messages: list[Message]) -> None:
        """Put messages on the bus."""
        self.drive(self.bus.publish(INBOUND, messages))

    def hint(self, thing: Thing) -> None:
        """Say that an object changed, not how."""
        event = to_event("mem", thing.object, VendorKey("", thing.id), event_id=self.clock.new_id().hex())
        self.publish([to_message(event)])

    def poll(self, *, full: bool = False) -> None:
        """Read what changed, by the reader's own cursor."""
        for sync in self.project.syncs.values():
            if sync.direction == "in":
                self.drive(
                    read_stream(
                        self, self.world, self.bus, self.clock, sync, self.connector, holder="w0", full=full
                    )
                )  # type: ignore[arg-type]

    def take(self, reader: int, limit: int = 5, *, at: str | None = None) -> None:
        """Let a reader take what lies there; one that lost its partition finds out."""
        for intake in self.readers[reader]:
            there = self.drive(self.bus.bounds(intake.topic, intake.partition)).next
            if there <= self.judge.positions.get(intake.job, 0):
                continue
            self.clock.deadly = lambda name: name == at
            try:
                while self.drive(intake.turn(limit)):
                    pass
            except IntegrityError:
                self.judge.tell(f"reader {reader} lost {intake.job}")
            except Killed:
                self.readers[reader] = self._intakes(f"w{reader}")
                return
            finally:
                self.clock.deadly = lambda name: False

    # people -------------------------------------------------------------------------------------------------------------

    def things(self, *, gone: bool = False) -> list[Thing]:
        """Return the vendor's objects that a user sees and a stream shows."""
        return sorted((t for t in self.vendor.things.values() if t.object in SPEC.streams and (gone or not t.gone)),
                      key=lambda t: (t.object, t.id))  # fmt: skip

    def parked(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        return sorted(
            (row for row in self.judge.owed.values() if row["state"] == "parked"),
            key=lambda row: bytes(row["id"]),
        )

    def truth(self, row: dict[str, Any]) -> VendorRef | None:
        """Say what a person sees at the vendor: whether this very write took effect."""
        self.vendor.apply_due()
        done = [effect for effect in self.vendor.effects if effect.key == row["key"]]
        thing = self.vendor.things[done[0].object, done[0].id] if done else None
        return None if thing is None or thing.gone else self.vendor.ref(thing)

    def repair(self, row: dict[str, Any]) -> None:
        """Do what a sensible person would about a dead letter."""
        cause = row["cause"]["code"]
        try:
            if row["target"] and row["generation"] is not None and cause != Cause.SETTINGS:
                self.now(
                    desk.resolve, row["id"], self.world, ref=self.truth(row), evidence="looked", by="operator"
                )
            elif cause == Cause.CANDIDATE:
                chosen = bytes.fromhex(row["cause"]["candidates"][0])
                self.now(desk.choose, row["id"], chosen, self.world, by="operator")
            else:
                self.now(desk.replay, row["id"], self.world, by="operator")
        except (desk.NotPossible, desk.NotThere) as error:
            self.judge.tell(f"OPERATOR may not: {error}")

    def discard(self, row: dict[str, Any]) -> None:
        """Give a debt up, by name."""
        try:
            self.now(desk.discard, row["id"], "not wanted", self.world, by="operator")
        except (desk.NotPossible, desk.NotThere) as error:
            self.judge.tell(f"OPERATOR may not: {error}")
        else:
            self.model.discarded.add((row["sync"], row["subject"]))

    # judgement ----------------------------------------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """Return every invariant that does not hold now."""
        self.judge.look()
        self.model.check(self.judge, self.project.syncs, lambda kind: self.world.digests[kind])
        found = [str(violation) for violation in self.judge.violations] + self.model.broken
        found += [f"[9] {table}: act {act} is in no journal" for table, act in self.peek(ORPHANS)]
        found += [
            f"[6] {sync} is claimed under fence {fence}, which no claim drew"
            for sync, fence in self.peek(FOREIGN_FENCES)
        ]
        return found

    def story(self, lines: int = 60) -> str:
        """Return the end of the timeline."""
        return "\n".join(
            f"{at / SECOND % 100_000:12.3f}  {text[:300]}" for at, _, text in self.judge.timeline[-lines:]
        )

    def settle_down(self) -> Iterator[str]:
        """Heal everything, let everything late land, run until nothing is left; give what is wrong then (¶)."""
        self.restart()
        for name in ("mem", *self.project.syncs):
            self.now(desk.resume, name, self.world, by="operator")
        for thing in self.things(gone=True):
            if thing.gone:
                self.hint(thing)
        self.advance(SETTLE_AFTER + self.world.timing.lease + self.world.timing.send_window)
        quiet = 0
        for round_ in range(ROUNDS):
            self.sweep()
            self.poll(full=round_ == 0)
            self.take(0, 100)
            worked = self.work()
            for row in self.parked():
                self.repair(row)
            quiet = quiet + 1 if not worked and not self.judge.owed and self._all_taken() else 0
            if quiet == 2:
                break
            self.advance(min(max(self._next_due(), 1.0), 60.0))
        self.judge.end({intake.job: self._published(intake) for intake in self.readers[0]})
        yield from self.wrong()
        yield from self._unpaid()

    def _published(self, intake: Intake) -> int:
        return int(self.drive(self.bus.bounds(intake.topic, intake.partition)).next)

    def _all_taken(self) -> bool:
        return all(self.judge.positions.get(i.job, 0) == self._published(i) for i in self.readers[0])

    def _next_due(self) -> float:
        waits = [
            row["due"] - self.clock.now() for row in self.judge.owed.values() if row["state"] != "parked"
        ]
        return min(waits, default=0) / SECOND

    def _unpaid(self) -> Iterator[str]:
        """13, by the callers' own books: every receipt is there once, with the amount sent last."""
        for (kind, id_), body in self.model.bodies.items():
            if kind != "payment":
                continue
            there = [
                t
                for t in self.vendor.things.values()
                if t.object == "receipt" and t.fields.get("ref") == id_ and not t.gone
            ]
            amounts = [t.fields["amount"] for t in there]
            if amounts != [f"{float(body['amount']):.2f}"]:
                yield f"[13] receipt {id_} of {body['amount']} stands at the vendor as {amounts}"


@functools.cache
def _project(objects: tuple[str, ...], on_doubt: str) -> Project:
    """Compile the mappings once a process."""
    return project(objects, mail={"options": {"on_doubt": on_doubt}})
