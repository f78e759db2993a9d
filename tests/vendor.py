"""A small vendor in memory: every delivery class, a saga, a dependent object, answers that get lost, late effects.

It is written from pipe.md, shares no code with the pipe and judges it: ``effects`` lists what really took effect.
Each call asks ``fate`` what happens to it; times are the clock's µs.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hub.clock import SECOND, Clock
from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, Refused, TryAgain
from hub.sdk.connector import (
    Absent,
    Applied,
    CannotTell,
    CheckReport,
    Connector,
    Failed,
    FindResult,
    Found,
    Gone,
    Next,
    Page,
    Several,
    SourceRecord,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)
from hub.sdk.spec import ConnectorSpec, Delivery, ObjectSpec, Step, StreamSpec

SETTLE_AFTER = 20.0
KEY_WINDOW = 300.0
CUSTOMER_FIELDS = {"number": "text", "name": "text", "phone": "text", "street": "text", "remark": "text"}
RECEIPT_FIELDS = {"ref": "text", "customer": "text", "amount": "text", "remark": "text"}


class Fate(enum.StrEnum):
    """What becomes of one call."""

    OK = "ok"
    LOST = "lost"
    """It took effect; the answer was cut off."""
    NEVER = "never"
    """It never took effect and nobody says so."""
    LATE = "late"
    """No answer; it takes effect later (within settle_after)."""
    TRY = "try"
    DOWN = "down"
    REFUSE = "refuse"


@dataclass(slots=True)
class Thing:
    """One object at the vendor."""

    object: str
    id: str
    fields: dict[str, Any]
    stage: str = "A"
    business_key: str = ""
    gone: bool = False
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that took effect: for the judge."""

    object: str
    id: str
    step: str
    business_key: str
    generation: int
    key: str
    at: int
    created: bool
    fields: tuple[tuple[str, Any], ...]


_FOUND = Delivery.FINDABLE
SAGA = {
    name: Step(name, _FOUND, reopens=name == "unaudit")
    for name in ("save", "submit", "audit", "cancel", "unaudit")
}


def _object(name: str, delivery: Delivery, **known: Any) -> ObjectSpec:
    fields = RECEIPT_FIELDS if name == "receipt" else CUSTOMER_FIELDS
    steps = known.pop("steps", {"save": Step("save", delivery, key_window=KEY_WINDOW, findable=False)})
    return ObjectSpec(name, name, name, fields, steps, SETTLE_AFTER, **known)


SPEC = ConnectorSpec(
    name="mem",
    title_zh="内存系统",
    title_en="Memory",
    settings=(),
    streams={
        "customer": StreamSpec(
            "customer", "客户", "Customer", ("id",), {"id": "text", **CUSTOMER_FIELDS}, object="customer"
        ),
        "card": StreamSpec("card", "卡片", "Card", ("id",), {"id": "text", **CUSTOMER_FIELDS}, object="card"),
    },
    objects={
        "customer": _object(
            "customer",
            _FOUND,
            steps=SAGA,
            finish={"saved": (), "submitted": ("submit",), "audited": ("submit", "audit")},
            reopen={"B": ("cancel",), "C": ("unaudit",)},
            reached={"B": 1, "C": 2},
            stop_at="audited",
            stream="customer",
        ),
        "receipt": _object("receipt", _FOUND),
        "keyed": _object("keyed", Delivery.KEYED),
        "card": _object("card", Delivery.PUT, stream="card"),
        "mail": _object("mail", Delivery.AT_LEAST_ONCE),
    },
)
_AFTER = {"submit": "B", "audit": "C", "cancel": "D", "unaudit": "D"}
_FROM = {"submit": "AD", "audit": "B", "cancel": "B", "unaudit": "C"}


@dataclass
class MemoryVendor:
    """The vendor's side: state, effects, and calls that are still on their way."""

    clock: Clock
    fate: Callable[[Write | None], Fate] = lambda write: Fate.OK
    late_by: Callable[[], int] = lambda: 5 * SECOND
    on_send: Callable[[Write], None] = lambda write: None
    """Told of every request whose bytes go out."""
    on_effect: Callable[[Effect, dict[str, Any]], None] = lambda effect, before: None
    """Told of everything that takes effect, with the fields the object had before."""
    on_show: Callable[[Thing], None] = lambda thing: None
    things: dict[tuple[str, str], Thing] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    late: list[tuple[int, Write]] = field(default_factory=list)
    answers: dict[str, tuple[int, WriteResult]] = field(default_factory=dict)
    numbers: int = 0

    def apply_due(self) -> None:
        """Apply what was on its way and has arrived by now."""
        now = self.clock.now()
        due, self.late = [w for w in self.late if w[0] <= now], [w for w in self.late if w[0] > now]
        for _, write in sorted(due, key=lambda one: one[0]):
            self.apply(write)

    def apply(self, write: Write) -> WriteResult:
        """Do what a write asks; the one place where something takes effect."""
        spec = SPEC.objects[write.object].steps[write.step]
        if spec.delivery is Delivery.KEYED and write.key in self.answers:
            until, answer = self.answers[write.key]
            if until > self.clock.now():
                return answer
        result = self._do(write)
        if spec.delivery is Delivery.KEYED:
            self.answers[write.key] = (self.clock.now() + int(KEY_WINDOW * SECOND), result)
        return result

    def _do(self, write: Write) -> WriteResult:
        if write.object == "receipt" and "customer" in write.payload:
            named = [t for t in self._all("customer") if t.fields.get("number") == write.payload["customer"]]
            if not named or named[0].stage != "C":
                return Failed(Refused("no such audited customer", cause=Cause.NOT_FOUND, field="customer"))
        if write.ref is None:
            return self._create(write)
        thing = self.things.get((write.object, write.ref.vendor_id))
        if thing is None or thing.gone:
            return Gone()
        before = dict(thing.fields)
        if write.step == "save":
            if thing.stage in "BC" and SPEC.objects[write.object].reopen:
                return Failed(Refused("not editable in this status", cause=Cause.STATE))
            thing.fields.update(write.payload)
            thing.stage = "D" if thing.stage == "D" else "A"
        elif thing.stage not in _FROM[write.step]:
            already = thing.stage == _AFTER[write.step]
            return Failed(Refused("wrong status", cause=Cause.ALREADY_DONE if already else Cause.STATE))
        else:
            thing.stage = _AFTER[write.step]
        return self._effect(write, thing, before, created=False)

    def _create(self, write: Write) -> WriteResult:
        if SPEC.objects[write.object].steps["save"].delivery is Delivery.PUT:
            same = [t for t in self._all(write.object) if t.business_key == write.business_key]
            if same:
                before = dict(same[0].fields)
                same[0].fields.update(write.payload)
                return self._effect(write, same[0], before, created=False)
        number = write.payload.get("number")
        if write.object == "customer" and any(
            t.fields.get("number") == number for t in self._all("customer")
        ):
            return Failed(Refused("the number is taken", cause=Cause.ALREADY_DONE, field="number"))
        self.numbers += 1
        thing = Thing(
            write.object,
            f"{write.object[0].upper()}{self.numbers}",
            dict(write.payload),
            "A",
            write.business_key,
        )
        self.things[write.object, thing.id] = thing
        return self._effect(write, thing, {}, created=True)

    def _effect(self, write: Write, thing: Thing, before: dict[str, Any], *, created: bool) -> WriteResult:
        thing.changed = self.clock.now()
        effect = Effect(write.object, thing.id, write.step, write.business_key, write.generation, write.key,
                        self.clock.now(), created, tuple(sorted(write.payload.items())))  # fmt: skip
        self.effects.append(effect)
        self.on_effect(effect, before)
        ref = self.ref(thing)
        return Applied(ref) if write.step == write.plan[-1] else Next(ref)

    def ref(self, thing: Thing) -> VendorRef:
        """Return how others name it."""
        return VendorRef(
            thing.id, thing.fields.get("number") if thing.object == "customer" else None, thing.stage
        )

    def _all(self, object_: str) -> list[Thing]:
        return [thing for thing in self.things.values() if thing.object == object_ and not thing.gone]

    def edit(self, object_: str, id_: str, **fields: Any) -> None:
        """Let a user of the vendor change an object, whatever its stage."""
        thing = self.things[object_, id_]
        thing.fields.update(fields)
        thing.changed = self.clock.now()

    def add(self, object_: str, **fields: Any) -> Thing:
        """Let a user of the vendor make an object, finished as users do."""
        self.numbers += 1
        id_ = f"{object_[0].upper()}{self.numbers}"
        stage = "C" if SPEC.objects[object_].reopen else "A"
        thing = Thing(object_, id_, {"number": f"U{self.numbers}", **fields}, stage, changed=self.clock.now())
        self.things[object_, id_] = thing
        return thing

    def remove(self, object_: str, id_: str) -> None:
        """Let a user of the vendor delete an object."""
        self.things[object_, id_].gone = True

    def source(self, thing: Thing, observed_at: int) -> SourceRecord:
        """Show an object as a stream record."""
        self.on_show(thing)
        body = {"id": thing.id, **thing.fields}
        stage = thing.stage if thing.object == "customer" else None
        return SourceRecord(
            VendorKey("", thing.id), body, observed_at, stage=stage, stable_key=self.ref(thing).stable_key
        )


class MemoryConnector(Connector):
    """The hub's side of it."""

    spec: ClassVar[ConnectorSpec] = SPEC

    def __init__(self, vendor: MemoryVendor, clock: Clock | None = None) -> None:
        self.vendor = vendor
        self.clock = clock or vendor.clock
        self.calls: list[tuple[str, Write]] = []

    async def check(self) -> CheckReport:
        return CheckReport(())

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return [await self._one(write) for write in writes]

    async def _one(self, write: Write) -> WriteResult:
        vendor = self.vendor
        await self.clock.sleep(0.01)
        vendor.apply_due()
        fate = vendor.fate(write)
        if self.clock.monotonic() >= write.deadline:
            return Failed(NotSent())
        self.calls.append((fate.value, write))
        vendor.on_send(write)
        match fate:
            case Fate.OK:
                result = vendor.apply(write)
                await self.clock.sleep(0.02)
                return result
            case Fate.LOST:
                vendor.apply(write)
            case Fate.LATE:
                vendor.late.append((vendor.clock.now() + vendor.late_by(), write))
            case Fate.TRY:
                return Failed(TryAgain("busy", cause=Cause.RATE, after=1.0))
            case Fate.DOWN:
                return Failed(ConnectionDown("no permission", cause=Cause.PERMISSION, until=2.0))
            case Fate.REFUSE:
                return Failed(Refused("not like this", field="remark"))
            case Fate.NEVER:
                pass
        await self.clock.sleep(0.05)
        return Failed(OutcomeUnknown("no answer"))

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        return [await self._find(write) for write in writes]

    async def _find(self, write: Write) -> FindResult:
        vendor = self.vendor
        await self.clock.sleep(0.01)
        vendor.apply_due()
        if vendor.fate(None) is not Fate.OK:
            return CannotTell("no answer")
        if write.ref is not None:
            thing = vendor.things.get((write.object, write.ref.vendor_id))
            found = [thing] if thing is not None and not thing.gone else []
            if not found:
                return Gone()
        else:
            found = [t for t in vendor._all(write.object) if t.business_key == write.business_key]
        if not found:
            return Absent()
        if len(found) > 1:
            return Several(tuple(vendor.ref(thing) for thing in found))
        thing = found[0]
        if write.step == "save":
            as_sent = all(thing.fields.get(name) == value for name, value in write.payload.items())
            as_sent = as_sent and (
                write.ref is None or thing.stage not in "BC" or not SPEC.objects[write.object].reopen
            )
        else:
            as_sent = thing.stage in {"submit": "BC", "audit": "C", "cancel": "D", "unaudit": "D"}[write.step]
        state = {"id": thing.id, **thing.fields} if write.object in SPEC.streams else None
        return Found(vendor.ref(thing), as_sent, state)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        vendor = self.vendor
        observed = vendor.clock.now()
        await self.clock.sleep(0.02)
        vendor.apply_due()
        if vendor.fate(None) is not Fate.OK:
            raise TryAgain("no answer", cause=Cause.UNAVAILABLE)
        things = [vendor.things.get((stream, key.id)) for key in keys]
        return [
            Gone(key) if t is None or t.gone else vendor.source(t, observed)
            for t, key in zip(things, keys, strict=True)
        ]

    async def read(self, stream: str, after: Any, *, org: str = "") -> AsyncIterator[Page]:
        del org
        vendor = self.vendor
        observed = vendor.clock.now()
        since = int(after or 0)
        vendor.apply_due()
        changed = [t for t in vendor._all(stream) if t.changed >= since]
        await self.clock.sleep(0.02)
        yield Page([vendor.source(thing, observed) for thing in changed], observed - SECOND)
