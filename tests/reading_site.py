"""A vendor that is read page by page, a bus in memory, and a store: reads, takes and sweeps by hand, on a clock by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from hub.bus import INBOUND, INBOUND_BULK, Log, Message, Topic
from hub.model.event import Event
from hub.pipe.absence import look_for_absent
from hub.pipe.intake import Intake
from hub.pipe.read import ReadReport, read_stream
from hub.pipe.world import Timing
from hub.sdk.connector import Page, SourceRecord
from hub.sdk.spec import ConnectorSpec
from tests.pipe_stand import Stand
from tests.vendor import SPEC, MemoryConnector, Thing
from tests.worlds import project

__all__ = ["CHANGED", "WHOLE", "Cut", "Paged", "ReadingSite"]

WHOLE: ConnectorSpec = replace(
    SPEC,
    streams={
        "customer": replace(SPEC.streams["customer"], complete_sweep=True, incremental=False),
        "card": replace(SPEC.streams["card"], complete_sweep=True, incremental=False, read_with="customer"),
    },
)
"""Every read of `customer` shows everything, its cards beside it."""
CHANGED: ConnectorSpec = replace(
    SPEC, streams={"customer": replace(SPEC.streams["customer"], complete_sweep=True)}
)
"""`customer` is read by what changed."""
TOPICS = {name: Topic(name, 2, 86_400) for name in (INBOUND, INBOUND_BULK)}


class Cut(BaseException):
    """The process died here."""


class Paged(MemoryConnector):
    """Shows customers in pages of ``size``, beside the first every card. ``asked``: cursors it was asked after.

    ``cards_everywhere``: every page shows every card, and takes ``seconds`` to come. ``trouble``: errors that the next calls raise before their page of that number. ``hidden``: ids left out of lists.
    """

    spec: ClassVar[ConnectorSpec] = WHOLE

    def __init__(self, stand: Stand, spec: ConnectorSpec) -> None:
        super().__init__(stand.vendor)
        self.spec = spec  # type: ignore[misc]  # one class for every spec of a test
        self.size = 3
        self.asked: list[Any] = []
        self.trouble: list[tuple[int, BaseException]] = []
        self.hidden: set[str] = set()
        self.cards_everywhere = False
        self.seconds = 0.0

    def shown(self, object_: str) -> list[Thing]:
        return [thing for thing in self.vendor._all(object_) if thing.id not in self.hidden]

    async def read(self, stream: str, after: Any, *, org: str = "") -> AsyncIterator[Page]:
        assert stream == "customer", "it has no read of its own"
        self.asked.append(after)
        things = self.shown("customer")
        done = after["done"] if after else 0
        for number, at in enumerate(range(done, len(things), self.size)):
            if self.trouble and self.trouble[0][0] == number:
                raise self.trouble.pop(0)[1]
            observed = self.vendor.clock.now()
            if self.seconds:
                await self.vendor.clock.sleep(self.seconds)
            page = [self.vendor.source(thing, observed) for thing in things[at : at + self.size]]
            beside = (
                [("card", self.vendor.source(card, observed)) for card in self.shown("card")]
                if not at or self.cards_everywhere
                else []
            )
            cursor = {"done": min(at + self.size, len(things)), "of": len(things)}
            yield Page(page, cursor, beside if "card" in self.spec.streams else [], total=len(things))


class ReadingSite:
    """Reads, takes, follows up and works off, each when a test says so."""

    def __init__(self, spec: ConnectorSpec = WHOLE, *, url: str = "sqlite://", lag: int = 20_000) -> None:
        objects = ("customer", "card") if "card" in spec.streams else ("customer",)
        made = project(objects)
        self.stand = Stand(
            url=url, made=replace(made, syncs={n: s for n, s in made.syncs.items() if s.direction == "in"})
        )
        self.stand.world = replace(self.stand.world, specs={"mem": spec}, timing=Timing(read_lag=lag))
        self.connector = Paged(self.stand, spec)
        self.bus = Log.open(None, self.stand.clock, topics=TOPICS, inline=True)
        self.sync = self.stand.world.project.syncs["customer.in"]
        self.reports: list[ReadReport] = []

    async def aclose(self) -> None:
        await self.bus.aclose()
        self.stand.close()

    def add(self, count: int, object_: str = "customer", start: int = 0) -> list[Thing]:
        """Let the vendor have so many more objects."""
        return [
            self.stand.vendor.add(object_, name=f"{object_} {n}", phone=f"+86138{n:08d}", street="1")
            for n in range(start, start + count)
        ]

    async def read(
        self, *, full: bool = False, holder: str = "r", schedule: float | None = None
    ) -> ReadReport:
        """Read the stream once."""
        stand = self.stand
        asked = replace(self.sync, schedule=schedule) if schedule else self.sync
        return await read_stream(
            stand.store, stand.world, self.bus, stand.clock, asked, self.connector, holder=holder, full=full,
            progress=lambda report: self.reports.append(replace(report)),
        )  # fmt: skip

    async def take(self, *topics: str, partitions: Sequence[int] = (0, 1)) -> int:
        """Take all there is."""
        taken = 0
        for topic in topics or (INBOUND, INBOUND_BULK):
            for number in partitions:
                intake = Intake(
                    self.stand.store, self.stand.world, self.bus, "t", topic=topic, partition=number
                )
                while count := await intake.turn():
                    taken += count
        return taken

    async def absence(self) -> int:
        return await look_for_absent(self.stand.store, self.stand.world, self.stand.clock, "t")

    async def sweep(self) -> int:
        """Read everything, take it, look for what was absent and work that off; return how many were hinted."""
        self.stand.clock.at += 1_000_000
        await self.read()
        await self.take()
        hinted = await self.absence()
        self.stand.run()
        return hinted

    async def messages(self, topic: str) -> list[Message]:
        """Return everything a topic holds, partition by partition."""
        found: list[Message] = []
        for number in range(await self.bus.partitions(topic)):
            first = (await self.bus.bounds(topic, number)).first
            found += (await self.bus.read(topic, number, first, 100_000)).events
        return found

    async def events(self, topic: str = INBOUND_BULK) -> list[Event]:
        return [
            Event.parse([(n, v.encode()) for n, v in m.headers.items()], m.body)
            for m in await self.messages(topic)
        ]

    def job(self, name: str) -> dict[str, Any]:
        """Return a job's row."""
        columns = "state position spec progress due"
        (row,) = self.stand.ask(f"SELECT {', '.join(columns.split())} FROM jobs WHERE name = ?", name)
        found = dict(zip(columns.split(), row, strict=True))
        return {
            key: orjson.loads(value) if key in ("position", "spec", "progress") else value
            for key, value in found.items()
        }

    def gone(self) -> set[str]:
        return {
            vendor_id for (vendor_id,) in self.stand.ask("SELECT vendor_id FROM xrefs WHERE gone IS NOT NULL")
        }

    def hinted(self) -> set[str]:
        return {row["subject"].partition("/")[2] for row in self.stand.rows()}

    def source(self, thing: Thing) -> SourceRecord:
        return self.stand.vendor.source(thing, self.stand.clock.now())
