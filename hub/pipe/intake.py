"""The reader of one partition: where it is stands in the store and moves with the effects, never on its own."""

from __future__ import annotations

import base64
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson

from hub.bus.port import INBOUND_BULK, Bus, Message
from hub.errors import Cause, IntegrityError, TryAgain
from hub.model.event import Event, InvalidEvent
from hub.model.record import Json
from hub.pipe.astray import mark_astray, marked
from hub.pipe.items import Item, bus_key, from_event
from hub.pipe.jobs import Lease, lease
from hub.pipe.marker import SWEEP_END, SweepEnd, end_of
from hub.pipe.share import LEASE
from hub.pipe.spans import taking
from hub.pipe.take import Batch, take
from hub.pipe.world import World
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store.engine import Store

__all__ = ["Intake", "to_message"]

log = logging.getLogger(__name__)
TRIES = 5
"""How often one message alone may fail before it becomes a dead letter; the rest of its partition waits so long."""


def to_message(event: Event) -> Message:
    """Put an event on the bus's own form: attributes as headers, keyed by its object or by what that hangs on."""
    headers = {name: value.decode() for name, value in event.headers()}
    return Message(bus_key(event), headers, event.data)


def _read(message: Message, world: World, *, bulk: bool, place: str) -> Item | SweepEnd:
    """Read a message; one that nobody can read becomes a dead letter, it is never dropped and stops nothing."""
    try:
        event = Event.parse([(name, value.encode()) for name, value in message.headers.items()], message.body)
        if event.type == SWEEP_END:
            return end_of(event)
        return from_event(event, world, bulk=bulk)
    except (InvalidEvent, ValueError, KeyError, TypeError) as error:
        body: Json = {
            "error": str(error),
            "headers": dict(message.headers),
            "body": base64.b64encode(message.body).decode(),
        }
        key = VendorKey("", place)
        return Item("bus", "unreadable", key, SourceRecord(key, body, 0), None, event=place)


class Intake:
    """Takes one partition's batches, one at a time. Nothing is read before the position was read from the store."""

    def __init__(
        self, store: Store, world: World, bus: Bus, holder: str, *, topic: str, partition: int
    ) -> None:
        """Say whose partition it is; no lease is taken yet."""
        self.store, self.world, self.bus, self.holder = store, world, bus, holder
        self.topic, self.partition = topic, partition
        self.job = f"bus:{topic}:{partition}"
        self._held: Lease | None = None
        self._position = ""
        self._alone = self._failed = 0

    async def turn(self, limit: int = 200) -> int:
        """Take one batch; return how many messages it had (0: none there, or somebody else's partition).

        A batch that cannot be taken is taken one by one: what fails again and again alone becomes a dead letter.

        Raises:
            IntegrityError: the stored position cannot be one of this bus: it was recreated or restored.
        """
        if self._held is None and not await self._open():
            return 0
        held = self._held
        assert held is not None  # _open says so
        offset = orjson.loads(self._position)["next"]
        async with self._possible():
            batch = await self.bus.read(self.topic, self.partition, offset, 1 if self._alone else limit)
        if batch.next == offset:
            return 0
        bulk = self.topic == INBOUND_BULK
        world = self.world  # the whole batch is taken with it, whatever is published meanwhile
        read = [
            _read(message, world, bulk=bulk, place=f"{self.topic}:{self.partition}:{batch.start}+{number}")
            for number, message in enumerate(batch.events)
        ]
        items = [one for one in read if isinstance(one, Item)]
        ends = [one for one in read if isinstance(one, SweepEnd)]
        following = orjson.dumps({"cluster": batch.cluster, "next": batch.next}).decode()
        await self._take(
            items, Batch(items, held.name, held.fence, self._position, following, ends), len(read), world
        )
        return len(read)

    async def _take(self, items: list[Item], batch: Batch, count: int, world: World) -> None:
        try:
            with taking(world, items):
                await self.store.run(take, batch, world)
        except IntegrityError:
            self.forget()
            raise
        except Exception as error:
            self._failed += count == 1
            self._alone = max(self._alone, count)
            if self._failed < TRIES or count > 1:
                raise
            # A store that is down refuses this too: then nothing is given up.
            for item in items:
                item.broken = f"{type(error).__name__}: {error}"
            await self.store.run(take, replace(batch, ends=()), world)
            if batch.ends:
                log.exception(
                    "%s: the end of a complete read was passed over: absence is not counted", self.job
                )
        self._position, self._failed = batch.following, 0
        self._alone = max(0, self._alone - count)

    def forget(self) -> None:
        """Ask the store for the position before the next batch: others may have read on since this was ours."""
        self._held = None

    async def wait(self, seconds: float) -> None:
        """Wait until there is something to take."""
        if self._held is not None:
            async with self._possible():
                await self.bus.wait(self.topic, self.partition, orjson.loads(self._position)["next"], seconds)

    @contextlib.asynccontextmanager
    async def _possible(self) -> AsyncIterator[None]:
        """Read the position again after the bus refused it: a person may have set it anew meanwhile."""
        try:
            yield
        except IntegrityError as error:
            self.forget()
            if error.cause is not Cause.POSITION:
                raise
            if await self._cannot_be():  # noted at once: where the bus grows past it, it would look right
                await self.store.run(mark_astray, self.job, self._position)
            raise IntegrityError(
                error.cause, f"{error}; put the right bus back, or see hub bus replaced"
            ) from error

    async def _cannot_be(self) -> bool:
        try:
            bounds = await self.bus.bounds(self.topic, self.partition)
        except (IntegrityError, TryAgain):
            return False
        return not bounds.first <= orjson.loads(self._position)["next"] <= bounds.next

    async def _open(self) -> bool:
        start = {"cluster": self.bus.cluster, "next": 0}
        held = await self.store.run(lease, self.job, "bus", self.holder, LEASE, start)
        if held is None:
            return False
        if held.at["cluster"] != self.bus.cluster:
            message = f"{self.job}: the position belongs to another bus ({held.at['cluster']}); see hub bus replaced"
            raise IntegrityError(Cause.POSITION, message)
        if self.job in await self.store.read(marked):
            message = f"{self.job}: the bus lost what it held at {held.at['next']}; see hub bus replaced"
            raise IntegrityError(Cause.POSITION, message)
        self._held, self._position = held, held.position
        return True
