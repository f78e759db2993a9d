"""The write behind the API: what the pipe accepts, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.pipe.accept import accept
from hub.pipe.patch import RecordPatch, patch
from hub.pipe.world import World
from hub.store.engine import Store

__all__ = ["record_writer"]


def record_writer(
    store: Store, world: Callable[[], World]
) -> Callable[[ExternalWrite | RecordPatch], Awaitable[WriteAnswer | WriteRefused]]:
    """Return the callable that takes one record, or the change of one, in: record, debts and act in one transaction.

    A refusal is returned: its dead letter was committed. VersionMoved and, for a change, NotThere and InvalidFields
    are raised: nothing was.
    """

    async def write(asked: ExternalWrite | RecordPatch) -> WriteAnswer | WriteRefused:
        if isinstance(asked, RecordPatch):
            return await store.run(patch, asked, world())
        return await store.run(accept, asked, world())

    return write
