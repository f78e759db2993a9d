"""The pipe by hand: a store, a world, the memory vendor and a clock that a test moves; every step is one call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

import orjson

from hub.clock import SECOND, uuid7
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.pipe import desk
from hub.pipe.accept import accept
from hub.pipe.claim import Attempt, Claim, claim
from hub.pipe.decide import Send
from hub.pipe.items import Item, source_of
from hub.pipe.jobs import lease
from hub.pipe.settle import settle_writes
from hub.pipe.settle_reads import settle_reads
from hub.pipe.take import Batch, take
from hub.pipe.work import sweep
from hub.pipe.world import World
from hub.project.values import Project
from hub.sdk.connector import CannotTell, Failed, VendorKey
from hub.store import Store
from hub.vault import Vault
from tests.vendor import Fate, MemoryConnector, MemoryVendor, Thing
from tests.worlds import project, world

__all__ = ["HandClock", "NoLease", "Stand", "drive"]

START = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


class HandClock:
    """A clock that stands still until a test moves it; a sleep moves it too."""

    def __init__(self, seed: int = 0) -> None:
        self.at = START
        self._draw = random.Random(seed)

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START) / SECOND

    async def sleep(self, seconds: float) -> None:
        self.at += round(seconds * SECOND)

    def random(self) -> float:
        return self._draw.random()

    def token(self, size: int) -> bytes:
        return self._draw.randbytes(size)

    def new_id(self) -> bytes:
        return uuid7(self.at, self._draw.randbytes(10))

    def crash_point(self, name: str) -> None:
        """Nobody dies here."""


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits for anything real."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits for something")


COLUMNS = (
    "id sync subject target state want force waits_for attempts deaths cause generation operation step key base ref refs "
    "absent_after fence lease due pinned_force version"
)


class NoLease:
    """The stand's clock for a worker whose calls are over before a lease must be renewed."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class Stand:
    """One store with one vendor. Names of callers' records: ``put("C-1", name=...)`` returns the record id, hex."""

    def __init__(
        self, *objects: str, url: str = "sqlite://", made: Project | None = None, seed: int = 0
    ) -> None:
        self.clock = HandClock(seed)
        self.store = Store.open(url, self.clock, inline=True)
        self.vault = Vault.in_memory(self.clock)
        self.vendor = MemoryVendor(self.clock)
        self.connector = MemoryConnector(self.vendor)
        self.world: World = world(self.store, self.vault, made or project(objects or ("customer", "receipt")))
        self._position = 0

    def close(self) -> None:
        self.store.close()

    # from outside --------------------------------------------------------------------------------------------

    def put(self, id_: str, kind: str = "customer", **fields: Any) -> str:
        """Write a record through the API; return its id, hex."""
        if kind == "customer":
            fields = {"phone": f"+86138{abs(hash_of(id_)) % 10**8:08d}", **fields}
        answer = self.store.run_now(accept, ExternalWrite("crm", kind, id_, fields, "cn/south/"), self.world)
        assert isinstance(answer, WriteAnswer), answer
        return answer.record_id.hex()

    def pay(self, id_: str, customer: str, amount: str = "100.00", **fields: Any) -> str:
        """Write a payment of a customer."""
        deal = {"amount": amount, "currency": "CNY", "received_on": "2026-01-10"}
        return self.put(id_, "payment", no=id_, customer=customer, **deal, **fields)

    def take(self, *things: Thing | str, stream: str = "customer", observed_at: int | None = None) -> None:
        """Take records of the vendor's stream in, as a poll shows them; a text is the id of a hint."""
        items = []
        for thing in things:
            if isinstance(thing, str):
                source, key, name = None, VendorKey("", thing), stream
            else:
                source = self.vendor.source(thing, self.clock.now() if observed_at is None else observed_at)
                key, name = source.key, thing.object
            items.append(Item("mem", name, key, source, self.world.inbound("mem", name), event="e"))
        self.take_items(items)

    def take_items(self, items: Sequence[Item], *, start: int | None = None) -> None:
        """Take items as one batch of one partition."""
        held = self.store.run_now(lease, "bus:test:0", "bus", "t", 3600.0, {"next": 0})
        assert held is not None
        first = self._position if start is None else start
        texts = [orjson.dumps({"next": at}).decode() for at in (first, first + len(items))]
        self.store.run_now(take, Batch(items, held.name, held.fence, *texts), self.world)
        self._position = first + len(items)

    def advance(self, seconds: float) -> None:
        """Move the clock; what was on its way to the vendor arrives."""
        self.clock.at += round(seconds * SECOND)
        self.vendor.apply_due()

    # the worker, step by step --------------------------------------------------------------------------------

    def claim(self, *lanes: int, room: int = 20, connection: str = "mem") -> list[Attempt]:
        """Claim what is due."""
        attempts: list[Attempt] = []
        for lane in lanes or (0, 1, 2):
            wanted = Claim(connection, lane, room, "w", self.clock.monotonic())
            attempts += self.store.run_now(claim, wanted, self.world)
        return attempts

    def send(self, attempt: Attempt, fate: Fate = Fate.OK) -> Any:
        """Make one attempt's request; return what the worker is told."""
        self.vendor.fate = lambda write: fate
        if attempt.send is None:
            if attempt.source is not None:
                return source_of(attempt.source)
            try:
                return drive(self.connector.fetch(attempt.stream, [attempt.key]))[0]  # type: ignore[list-item]
            except Exception as error:
                return Failed(error)  # type: ignore[arg-type]
        if attempt.send is Send.FIND:
            found = drive(self.connector.find([attempt.write]))[0]  # type: ignore[list-item]
            return CannotTell("no answer") if fate is not Fate.OK else found
        return drive(self.connector.write([attempt.write]))[0]  # type: ignore[list-item]

    def settle(self, attempt: Attempt, result: Any) -> int:
        """Settle one attempt; return 0 if it was not ours any more."""
        fn: Any = settle_reads if attempt.send is None else settle_writes
        return int(self.store.run_now(fn, [(attempt, result)], self.world, "w"))

    def step(self, fate: Fate = Fate.OK) -> int:
        """Claim, send and settle once; return how many attempts there were."""
        attempts = self.claim()
        for attempt in attempts:
            self.settle(attempt, self.send(attempt, fate))
        return len(attempts)

    def run(self, limit: int = 60) -> None:
        """Work until nothing is due now."""
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError(f"still busy: {self.rows()}")

    def drain(self, seconds: float = 600.0) -> None:
        """Work and wait until nothing is owed, or so long."""
        until = self.clock.at + round(seconds * SECOND)
        while self.clock.at < until:
            self.run()
            if not self.rows():
                return
            self.sweep()
            self.advance(1.0)

    def sweep(self) -> int:
        return int(self.store.run_now(sweep, self.world))

    def replay(self, row: bytes) -> None:
        self.store.run_now(desk.replay, row, self.world, by="operator")

    # looking -------------------------------------------------------------------------------------------------

    def ask(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement with ``?`` placeholders."""

        def look(tx: Any) -> list[tuple[Any, ...]]:
            tx.cursor.execute(text if tx.dialect == "sqlite" else text.replace("?", "%s"), params)
            return list(tx.cursor.fetchall())

        return self.store.read_now(look)

    def rows(self) -> list[dict[str, Any]]:
        """Return every owed row."""
        found = []
        for values in self.ask(f"SELECT {', '.join(COLUMNS.split())} FROM owed ORDER BY id"):
            row = dict(zip(COLUMNS.split(), values, strict=True))
            row["id"] = bytes(row["id"])
            for name in ("cause", "base", "ref", "refs"):
                row[name] = orjson.loads(row[name]) if row[name] else None
            found.append(row)
        return found

    def row(self, sync: str, record: str | None = None) -> dict[str, Any]:
        """Return the one row of a sync (and record)."""
        found = [row for row in self.rows() if row["sync"] == sync and record in (None, row["subject"])]
        assert len(found) == 1, f"{len(found)} rows of {sync}: {self.rows()}"
        return found[0]

    def owes(self, sync: str, record: str | None = None) -> bool:
        """Say whether a sync owes anything."""
        return any(row["sync"] == sync and record in (None, row["subject"]) for row in self.rows())

    def body(self, record: str) -> dict[str, Any]:
        """Return a record's body."""
        loaded: dict[str, Any] = orjson.loads(
            self.ask("SELECT body FROM records WHERE id = ?", bytes.fromhex(record))[0][0]
        )
        return loaded

    def xref(self, object_: str, record: str) -> dict[str, Any]:
        """Return the primary xref of a record's object."""
        names = "vendor_id complete stage gone rest_until seen snapshot act"
        found = self.ask(
            f"SELECT {', '.join(names.split())} FROM xrefs WHERE connection = 'mem' AND object = ? AND record = ? AND is_primary",
            object_, bytes.fromhex(record),
        )  # fmt: skip
        made = dict(zip(names.split(), found[0], strict=True))
        made["snapshot"] = orjson.loads(made["snapshot"])
        return made

    def thing(self, object_: str, record: str) -> Thing:
        """Return the vendor's object of a record."""
        return self.vendor.things[object_, self.xref(object_, record)["vendor_id"]]

    def outcomes(self) -> list[str]:
        """Return what every act tells, in order."""
        bodies = [orjson.loads(body) for (body,) in self.ask("SELECT body FROM acts ORDER BY id")]
        return [str(item.get("outcome")) for body in bodies for item in body.get("items", ())]

    def effects(self, object_: str) -> list[str]:
        """Return the steps that took effect on an object type, in order."""
        return [effect.step for effect in self.vendor.effects if effect.object == object_]

    def sent(self) -> list[tuple[str, str]]:
        """Return (fate, step) of every request whose bytes went out."""
        return [(fate, write.step) for fate, write in self.connector.calls]


def hash_of(text: str) -> int:
    """Return a number that is the same in every process."""
    return int.from_bytes(text.encode(), "big")
