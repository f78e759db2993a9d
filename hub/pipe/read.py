"""Reading a stream: a page is published, then its cursor is saved. A crash repeats a page, it never skips one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.bus.port import INBOUND, INBOUND_BULK, Bus
from hub.clock import SECOND, Clock
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.pipe.jobs import lease, release, save_position
from hub.project.values import Sync
from hub.store.engine import Store

if TYPE_CHECKING:
    from hub.sdk.connector import Connector

__all__ = ["ReadReport", "read_stream"]

LEASE = 60.0
"""Seconds a reader keeps its stream without a page: longer than one request takes, short enough to outlive its death."""


@dataclass(slots=True)
class ReadReport:
    """How a read went; ``busy``: somebody else is reading this stream."""

    sync: str
    records: int = 0
    pages: int = 0
    busy: bool = False


async def read_stream(
    store: Store,
    bus: Bus,
    clock: Clock,
    sync: Sync,
    connector: Connector,
    *,
    holder: str,
    full: bool = False,
    progress: Callable[[ReadReport], None] = lambda _report: None,
) -> ReadReport:
    """Read what changed since the saved cursor (``full``: everything) and publish it.

    Raises:
        RemoteError: the vendor could not be read; pages published so far stay published.
        IntegrityError: somebody else took the reader over.
    """
    report = ReadReport(sync.name)
    held = await store.run(lease, f"read:{sync.name}", "reader", holder, LEASE)
    if held is None:
        report.busy = True
        return report
    stream = sync.stream or sync.object
    try:
        async for page in connector.read(stream, None if full else held.at, org=sync.org):
            messages = [
                to_message(to_event(sync.connection, stream, record, event_id=clock.new_id().hex()))
                for record in page.records
            ]
            if messages:
                await bus.publish(INBOUND_BULK if full else INBOUND, messages)
            clock.crash_point("published")
            due = clock.now() + int((sync.schedule or 0) * SECOND)
            await store.run(save_position, held, page.cursor, due=due, seconds=LEASE)
            report.records += len(messages)
            report.pages += 1
            progress(report)
    finally:
        await store.run(release, held)
    return report
