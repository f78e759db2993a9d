"""Reading a stream: a page is published, then its cursor is saved. A crash repeats a page, it never skips one.

The job ``read:<sync>`` remembers ``{"cursor", "sweep"}``. A complete read (everything, not what changed) has a
``sweep``: its id, when it began, how much it has published. A read that was cut goes on at its page and keeps its
beginning; at the end its markers go out (:mod:`hub.pipe.marker`) and the position is set back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.bus.port import INBOUND, INBOUND_BULK, Bus, Message
from hub.clock import SECOND, Clock
from hub.errors import Cause, OutcomeUnknown, Refused, TryAgain
from hub.pipe.astray import require_own_bus
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.pipe.jobs import Lease, lease, note_progress, positions, release, renew, save_position
from hub.pipe.marker import SweepEnd, ends
from hub.pipe.refusal import NotPossible, Reason
from hub.pipe.room import Room, Waiting
from hub.pipe.times import SKEW
from hub.pipe.world import World
from hub.project.values import Sync
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store.engine import Store, Tx

if TYPE_CHECKING:
    from hub.sdk.connector import Connector, Page
    from hub.sdk.spec import StreamSpec

__all__ = ["ReadReport", "preview_stream", "read_stream", "reads_itself", "streams_of"]

log = logging.getLogger(__name__)

SAMPLE = 50
"""Pages from which an estimate speaks, where a vendor counts parts and not records."""
LEASE = 60.0
"""Seconds a reader keeps its stream without a page: longer than one request takes, short enough to outlive its death."""
CUT = 86_400 * SECOND
"""A read that was cut this long ago (µs) begins anew: what its cursor means there is forgotten."""
TRIES = 6
"""How often in a row a read that is under way asks again for a page."""
LONGEST_PAUSE = 60.0

Position = dict[str, Any]


@dataclass(slots=True)
class ReadReport:
    """How a read goes; filled while it goes on.

    ``records``: published by this run, those of other streams (`Page.beside`) included; ``published``: by the whole
    read, runs before a cut included; ``streams``: stream -> records of it that this run read. ``share``: how much of a complete read is done (0 to 1), None where the vendor
    does not say: from a cursor ``{"done", "of"}``, else from `Page.total`. ``total``: records
    of this stream in all, as far as the vendor says. ``refused``: what the bus did not take. ``complete``: everything is read, not what changed.
    ``resumed``: it goes on where an earlier one was cut. ``waiting``: it pauses, for so many messages wait to be
    taken; ``idle``: for so many seconds nobody has taken one. ``busy``: somebody else is reading this stream. ``done``: it came to its end.
    """

    sync: str
    records: int = 0
    pages: int = 0
    published: int = 0
    streams: dict[str, int] = field(default_factory=dict)
    share: float | None = None
    total: int | None = None
    refused: int = 0
    started: int | None = None
    complete: bool = False
    resumed: bool = False
    waiting: int = 0
    idle: float = 0.0
    busy: bool = False
    done: bool = False

    def count(self, stream: str, page: Page, shown: Collection[str]) -> None:
        """Count a page of ``stream``; ``shown``: the streams that are taken in."""
        found = Counter({stream: len(page.records)})
        found.update(beside for beside, _ in page.beside if beside in shown)
        for name, number in found.items():
            self.streams[name] = self.streams.get(name, 0) + number
        self.records += found.total()
        self.pages += 1
        self.total = page.total if page.total is not None else self.total


async def read_stream(
    store: Store,
    world: World,
    bus: Bus,
    clock: Clock,
    sync: Sync,
    connector: Connector,
    *,
    holder: str,
    full: bool = False,
    report: ReadReport | None = None,
    progress: Callable[[ReadReport], None] = lambda _report: None,
    patience: float | None = None,
) -> ReadReport:
    """Read what changed since the saved cursor and publish it; or everything: if asked (``full``), at the first read, or if the stream shows nothing less.

    Cancelling it is safe: it goes on at the page that was not saved. ``patience``: seconds for which it waits while
    nobody takes anything of what was published; None: for ever.

    Raises:
        NotPossible: the stream is read together with another one, or nobody takes what was published.
        RemoteError: the vendor could not be read; pages published so far stay published.
        IntegrityError: somebody else took the reader over, or what is published would not be taken (``Cause.POSITION``).
    """
    report = report or ReadReport(sync.name)
    reads_itself(world, sync)
    held = await store.run(lease, f"read:{sync.name}", "reader", holder, LEASE)
    if held is None:
        report.busy = True
        return report
    try:
        reading = _Reading(store, world, bus, clock, sync, connector, held, report, progress, patience)
        await reading.run(full=full)
    finally:
        await store.run(release, held)
    return report


async def preview_stream(
    store: Store,
    world: World,
    sync: Sync,
    connector: Connector,
    *,
    full: bool = False,
    pages: int | None = None,
    report: ReadReport | None = None,
    progress: Callable[[ReadReport], None] = lambda _report: None,
) -> ReadReport:
    """Make the calls of a read and count what it shows; nothing is published and no position moves.

    ``pages``: stop as soon as the vendor has said how much there is, or that it does not say; at the latest after so many.
    A vendor that only says how many of its parts are behind us is read for SAMPLE pages, for parts are of any size.

    Raises:
        NotPossible, RemoteError: as :func:`read_stream`.
    """
    report = report or ReadReport(sync.name)
    reads_itself(world, sync)
    streams = streams_of(world, sync)
    at = _position((await store.read(positions, [f"read:{sync.name}"])).get(f"read:{sync.name}"))
    report.complete = (
        full or _always(connector, streams[0]) or at["sweep"] is not None or at["cursor"] is None
    )
    async for page in connector.read(streams[0], None if report.complete else at["cursor"], org=sync.org):
        report.count(streams[0], page, streams)
        report.share = _share(page, report.streams[streams[0]]) if report.complete else None
        progress(report)
        not_yet = report.total is None and report.share == 0.0
        if _in_parts(page.cursor) and report.pages < SAMPLE:
            not_yet = True
        if pages is not None and (report.pages >= pages or not not_yet):
            return report
    report.done = True
    return report


def reads_itself(world: World, sync: Sync) -> None:
    """Do nothing for a sync whose stream has a read of its own.

    Raises:
        NotPossible: it is read with another; the detail names the sync that reads it.
    """
    stream = world.stream(sync)
    if stream is not None and stream.read_with is not None:
        other = world.inbound(sync.connection, stream.read_with)
        named = other.name if other is not None else f"{sync.connection}.{stream.read_with}"
        raise NotPossible(Reason.READ_WITH, f"{sync.name} → {named}")


def streams_of(world: World, sync: Sync) -> tuple[str, ...]:
    """Return the streams that a read of this sync shows and that some sync takes in, its own first."""
    spec = world.specs.get(sync.connection)
    own = sync.stream or sync.object
    beside = [] if spec is None else [name for name, one in spec.streams.items() if one.read_with == own]
    return (own, *(name for name in beside if world.inbound(sync.connection, name) is not None))


@dataclass(slots=True)
class _Reading:
    """One read under way, by whoever holds its lease."""

    store: Store
    world: World
    bus: Bus
    clock: Clock
    sync: Sync
    connector: Connector
    held: Lease
    report: ReadReport
    progress: Callable[[ReadReport], None]
    patience: float | None
    at: Position = field(default_factory=dict)
    kept: float = 0.0
    ended: int = 0
    streams: tuple[str, ...] = ()
    room: Room = field(init=False)

    @property
    def specs(self) -> Mapping[str, StreamSpec]:
        return self.connector.spec.streams

    async def run(self, *, full: bool) -> None:
        self.kept = self.clock.monotonic()
        self.streams = streams_of(self.world, self.sync)
        always = _always(self.connector, self.streams[0])
        self.at, self.report.resumed = await self.store.run(_begin, self.held, full, always)
        sweep = self.at["sweep"]
        self.report.complete = sweep is not None
        if sweep:
            self.report.started, self.report.published = sweep["started"], sweep["published"]
        topic = INBOUND_BULK if sweep else INBOUND
        await require_own_bus(self.store, self.bus, topic)
        self.room = Room(self.store, self.bus, self.clock, topic, self.world.timing.read_lag, self.patience)
        await self._read_all(topic)
        await self._finish(keeps_cursor=not always)
        self.report.done = True

    async def _read_all(self, topic: str) -> None:
        failures = 0
        while True:
            try:
                async for page in self.connector.read(self.streams[0], self.at["cursor"], org=self.sync.org):
                    await self._publish(page, topic)
                    failures = 0
                return
            except (TryAgain, OutcomeUnknown) as error:
                failures += 1
                if not (self.report.pages or _is_moment(error)) or failures > TRIES:
                    raise
                log.warning("read.pause sync=%s failures=%s %s", self.sync.name, failures, error)
                await self._pause(getattr(error, "after", None) or 2.0**failures)

    async def _publish(self, page: Page, topic: str) -> None:
        self.ended = self.clock.now()
        shown = [(stream, one) for stream, one in page.beside if stream in self.streams]
        shown += [(self.streams[0], record) for record in page.records]
        await self.room.reserve(len(shown), self._keep, self._waiting)
        if shown:
            await self._send(topic, shown)
        self.clock.crash_point("published")
        report, sweep = self.report, self.at["sweep"]
        report.count(self.streams[0], page, self.streams)
        report.published += len(shown)
        if sweep:
            own = sweep["own"] + len(page.records)
            sweep = {**sweep, "published": report.published, "own": own}
            report.share = _share(page, own)
        self.at = {"cursor": page.cursor, "sweep": sweep}
        await self._save(due=0 if sweep else self._next(self.clock.now()))
        self.progress(report)

    async def _send(self, topic: str, shown: Sequence[tuple[str, SourceRecord]]) -> None:
        messages = [self._message(stream, record) for stream, record in shown]
        try:
            await self.bus.publish(topic, messages)
        except Refused:  # one of them is too large: the others go on
            for (stream, record), message in zip(shown, messages, strict=True):
                await self._send_one(topic, stream, record, message)

    async def _send_one(self, topic: str, stream: str, record: SourceRecord, message: Message) -> None:
        """Publish one message; a record the bus cannot carry is asked for on its own later, by a hint."""
        try:
            await self.bus.publish(topic, [message])
        except Refused as error:
            self.report.refused += 1
            log.warning(
                "read.refused sync=%s subject=%s %s", self.sync.name, ascii(record.key.id)[:100], error
            )
            await self._hint(topic, stream, record.key)

    async def _hint(self, topic: str, stream: str, key: VendorKey) -> None:
        try:
            await self.bus.publish(topic, [self._message(stream, key)])
        except Refused:
            log.warning("read.lost sync=%s: its id itself cannot be carried", self.sync.name)

    def _message(self, stream: str, record: SourceRecord | VendorKey) -> Message:
        spec = self.specs.get(stream)
        event = to_event(self.sync.connection, stream, record, event_id=self.clock.new_id().hex(),
                         parent=spec.parent if spec else None, read_ended=self.ended)  # fmt: skip
        return to_message(event)

    async def _finish(self, *, keeps_cursor: bool) -> None:
        """Mark the end of a complete read on the bus, then set the position back."""
        sweep = self.at["sweep"]
        if sweep is None:
            if not self.report.pages:
                await self._save(due=self._next(self.clock.now()))
            return
        whole = tuple(
            name
            for name in self.streams
            if (spec := self.specs.get(name)) is not None and spec.complete_sweep
        )
        if whole:
            count = await self.bus.partitions(INBOUND_BULK)
            end = SweepEnd(self.sync.name, self.sync.connection, self.sync.org, whole, sweep["id"],
                           sweep["started"], sweep["act"], count)  # fmt: skip
            await self.bus.publish(INBOUND_BULK, [to_message(event) for event in ends(end)])
            self.clock.crash_point("sweep.marked")
        self.at = {"cursor": self.at["cursor"] if keeps_cursor else None, "sweep": None}
        await self._save(due=self._next(sweep["started"]))

    def _next(self, since: int) -> int:
        return since + int((self.sync.schedule or 0) * SECOND)

    async def _save(self, *, due: int) -> None:
        await self.store.run(_save_at, self.held, self.at, due)
        self.kept = self.clock.monotonic()

    async def _keep(self) -> None:
        """Keep the lease, asked more often than it lapses."""
        if self.clock.monotonic() - self.kept > LEASE / 3:
            await self.store.run(renew, self.held, LEASE)
            self.kept = self.clock.monotonic()

    async def _waiting(self, wait: Waiting) -> None:
        """Tell whoever watches the run, and at the beginning and the end of a pause whoever looks at the store."""
        changed = bool(self.report.waiting) != bool(wait.behind)
        self.report.waiting, self.report.idle = wait.behind, wait.idle
        if changed:
            told = {"waiting": wait.behind, "topic": wait.topic, "until": wait.until} if wait.behind else None
            await self.store.run(note_progress, self.held, told)
        self.progress(self.report)

    async def _pause(self, seconds: float) -> None:
        until = self.clock.monotonic() + min(seconds, LONGEST_PAUSE)
        while (left := until - self.clock.monotonic()) > 0:
            await self.clock.sleep(min(left, LEASE / 6))
            await self._keep()


def _always(connector: Connector, stream: str) -> bool:
    """Say whether every read of the stream shows everything."""
    spec = connector.spec.streams.get(stream)
    return spec is not None and not spec.incremental


def _is_moment(error: TryAgain | OutcomeUnknown) -> bool:
    """Say whether the vendor did answer, and asks for a moment only: then the first page is worth it too."""
    return error.cause is Cause.RATE and 0 < (getattr(error, "after", None) or 0) <= LONGEST_PAUSE


def _share(page: Page, own: int) -> float | None:
    if parts := _in_parts(page.cursor):
        done, of = parts
        return min(1.0, done / of) if of > 0 else None
    return min(1.0, own / page.total) if page.total else None


def _in_parts(cursor: Any) -> tuple[int, int] | None:
    """Return how many parts of how many are behind a cursor that counts them."""
    at = cursor if isinstance(cursor, dict) else {}
    done, of = at.get("done"), at.get("of")
    return (done, of) if isinstance(done, int) and isinstance(of, int) else None


def _position(known: Position | None) -> Position:
    """Return a position in the form of today: an earlier one lacks the sweep, or parts of it, and then begins anew."""
    at = known or {}
    sweep = at.get("sweep")
    if sweep is not None and not {"id", "started", "act", "published", "own"} <= sweep.keys():
        return {"cursor": None, "sweep": None}
    return {"cursor": at.get("cursor"), "sweep": sweep}


def _begin(tx: Tx, held: Lease, full: bool, always: bool) -> tuple[Position, bool]:  # noqa: FBT001 - run by the store
    """Return where a read goes on, and whether it was cut; a complete one that begins is noted with its time."""
    at = _position(held.at)
    sweep = at["sweep"]
    if sweep is not None and not full and -SKEW <= tx.now - sweep["started"] < CUT:
        return at, True
    if not (full or always or sweep is not None or at["cursor"] is None):
        return at, False
    started = min(
        tx.now, tx.clock.now()
    )  # by the clock of the pages' own times too: `seen` is compared with it
    began = {"id": tx.clock.new_id().hex(), "started": started, "act": tx.act, "published": 0, "own": 0}
    at = {"cursor": None, "sweep": began}
    save_position(tx, held, at, due=0, seconds=LEASE)
    return at, False


def _save_at(tx: Tx, held: Lease, at: Position, due: int) -> None:
    save_position(tx, held, at, due=due, seconds=LEASE)
