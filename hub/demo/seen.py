"""What the story looks at: debts, hops and reads of the running hub, through the queries that operators use."""

from __future__ import annotations

from collections.abc import Sequence

from hub.demo.stage import Stage, StoryFailed
from hub.model.record import Scope
from hub.pipe.backlog import backlogs
from hub.pipe.exports import export_status
from hub.pipe.queries import Filters, dead_letters, status
from hub.pipe.read import read_stream
from hub.pipe.shown import RowShown, Shown
from hub.pipe.trace import Hop, Trace, trace
from hub.wiring import holder_name

__all__ = [
    "alive",
    "heard",
    "hops",
    "left",
    "owed",
    "parked",
    "read_stream_of",
    "settled",
    "shown_since",
    "waits_for",
]

_EVERY = Filters()


async def _trace(stage: Stage, id_: str) -> Trace:
    found = await stage.hub.store.read(trace, stage.hub.world, Scope.ALL, id_)
    if found is None:
        raise StoryFailed(f"nothing is known of {id_}")
    return found


async def hops(stage: Stage, id_: str) -> Sequence[Hop]:
    """Return everything that happened to a record; the id is any that `hub trace` takes."""
    return (await _trace(stage, id_)).hops


async def owed(stage: Stage, id_: str) -> Sequence[RowShown]:
    """Return what is still owed about a record."""
    return (await _trace(stage, id_)).owed


async def shown_since(stage: Stage, id_: str, at: int) -> bool:
    """Say whether the hub has taken in what a vendor showed of a record at or after a time (µs)."""
    return any(one.seen >= at for one in (await _trace(stage, id_)).identities)


async def waits_for(stage: Stage, id_: str) -> str | None:
    """Return the key the record's delivery waits for, None while it does not wait."""
    return next((row.waits_for for row in await owed(stage, id_) if row.waits_for), None)


async def alive(stage: Stage, id_: str) -> Sequence[RowShown]:
    """Return what is owed about a record.

    Raises:
        StoryFailed: some of it is a dead letter, which no waiting mends.
    """
    found = await owed(stage, id_)
    for row in found:
        if row.state is Shown.FAILED:
            raise StoryFailed(f"{id_} became a dead letter: {row.sync}: {row.cause}")
    return found


async def settled(stage: Stage, id_: str) -> None:
    """Wait until nothing is owed about a record; raises StoryFailed as :func:`alive`."""

    async def paid() -> bool:
        return not await alive(stage, id_)

    await stage.until(f"the end of what is owed about {id_}", paid)


async def parked(stage: Stage, id_: str) -> RowShown:
    """Wait for a dead letter about a record and return it."""

    async def found() -> RowShown | None:
        return next((row for row in await owed(stage, id_) if row.state is Shown.FAILED), None)

    return await stage.until(f"the refusal of {id_}", found)


async def read_stream_of(stage: Stage, sync: str) -> None:
    """Read a stream once, as `hub run <sync>` does."""
    hub = stage.hub
    configured = hub.project.syncs[sync]
    connector = hub.connectors[configured.connection]

    async def read() -> bool:
        report = await read_stream(
            hub.store, hub.world, hub.bus, hub.clock, configured, connector, holder=holder_name()
        )
        return not report.busy

    await stage.until(f"a read of {sync}", read)


async def heard(stage: Stage, id_: str) -> None:
    """Wait until everything that vendors have told so far was taken, and nothing is owed about a record."""

    async def taken() -> bool:
        return not any(one.messages for one in await backlogs(stage.hub.store, stage.hub.bus))

    await stage.until("the end of what vendors have told", taken)
    await settled(stage, id_)


async def left(stage: Stage) -> None:
    """Wait until nothing is owed but what may not leave the country; a dead letter that is left fails the story."""
    store, hub = stage.hub.store, stage.hub

    async def drained() -> bool:
        page = await store.read(dead_letters, hub.world, Scope.ALL, _EVERY)
        if page.rows:
            raise StoryFailed(f"a dead letter is left: {page.rows[0].subject} {page.rows[0].cause}")
        now = await store.read(status, hub.project)
        owing = sum(sum(sync.counts.values()) for one in now.connections for sync in one.syncs)
        abroad = await store.read(export_status, hub.project)
        return owing == sum(sum(one.held.values()) for one in abroad)

    await stage.until("the end of everything owed", drained)
