"""What the story looks at: debts, hops and reads of the running hub, through the queries that operators use."""

from __future__ import annotations

from collections.abc import Sequence

from hub.demo.stage import CRM, KINGDEE, Stage, StoryFailed
from hub.model.record import Scope
from hub.pipe.queries import Filters, dead_letters, status
from hub.pipe.read import read_stream
from hub.pipe.shown import RowShown, Shown
from hub.pipe.trace import Hop, Trace, trace
from hub.wiring import holder_name

__all__ = ["alive", "hops", "left", "owed", "read_customers", "settled", "waits_for"]

CUSTOMERS = f"{KINGDEE}.customer.in"
_EVERY = Filters()


async def _trace(stage: Stage, id_: str) -> Trace:
    found = await stage.hub.store.read(trace, stage.hub.world, Scope.ALL, f"{CRM}/{id_}")
    if found is None:
        raise StoryFailed(f"nothing is known of {id_}")
    return found


async def hops(stage: Stage, id_: str) -> Sequence[Hop]:
    """Return everything that happened to the record with this CRM id."""
    return (await _trace(stage, id_)).hops


async def owed(stage: Stage, id_: str) -> Sequence[RowShown]:
    """Return what is still owed about the record with this CRM id."""
    return (await _trace(stage, id_)).owed


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


async def read_customers(stage: Stage) -> None:
    """Poll the vendor's customers once, as `hub run k3.customer.in` does."""
    hub = stage.hub

    async def read() -> bool:
        report = await read_stream(
            hub.store,
            hub.bus,
            hub.clock,
            hub.project.syncs[CUSTOMERS],
            hub.connectors[KINGDEE],
            holder=holder_name(),
        )
        return not report.busy

    await stage.until(f"a read of {CUSTOMERS}", read)


async def left(stage: Stage) -> None:
    """Wait until nothing at all is owed; a dead letter that is left fails the story."""
    store, hub = stage.hub.store, stage.hub

    async def drained() -> bool:
        page = await store.read(dead_letters, hub.world, Scope.ALL, _EVERY)
        if page.rows:
            raise StoryFailed(f"a dead letter is left: {page.rows[0].subject} {page.rows[0].cause}")
        now = await store.read(status, hub.project)
        return not any(sum(sync.counts.values()) for one in now.connections for sync in one.syncs)

    await stage.until("the end of everything owed", drained)
