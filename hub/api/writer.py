"""The write behind the API: what the pipe accepts, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.crm.query import by_external
from hub.model.record import Scope
from hub.pipe.accept import accept
from hub.pipe.patch import RecordPatch, patch
from hub.pipe.refusal import NotThere
from hub.pipe.world import World
from hub.store.engine import Store
from hub.store.tx import Tx

__all__ = ["record_writer"]


def record_writer(
    store: Store, world: Callable[[], World]
) -> Callable[[ExternalWrite | RecordPatch], Awaitable[WriteAnswer | WriteRefused]]:
    """Return the callable that takes one record, or the change of one, in: record, debts and act in one transaction.

    A refusal is returned: its dead letter was committed. VersionMoved, NotThere (the record is outside the caller's
    scope, or would be) and, for a change, InvalidFields are raised: nothing was.
    """

    async def write(asked: ExternalWrite | RecordPatch) -> WriteAnswer | WriteRefused:
        if isinstance(asked, RecordPatch):
            return await store.run(patch, asked, world())
        return await store.run(_accept_within, asked, world())

    return write


def _accept_within(tx: Tx, asked: ExternalWrite, world: World) -> WriteAnswer | WriteRefused:
    """Accept a write whose record is the caller's to see, before and after; else nothing of it stays."""
    if asked.scope == Scope.ALL:
        return accept(tx, asked, world)
    key = {"system": asked.system, "external_id": asked.external_id}
    known = by_external(tx, Scope.ALL, asked.kind, **key)
    if known is not None and not asked.scope.admits(known.region, known.entity, known.owner):
        raise NotThere(asked.external_id)
    answer = accept(tx, asked, world)
    if isinstance(answer, WriteAnswer) and not asked.scope.admits(answer.region, answer.entity, answer.owner):
        raise NotThere(asked.external_id)
    if isinstance(answer, WriteRefused):  # its sentence may name what lies elsewhere; the dead letter has it
        return WriteRefused(answer.cause, field=answer.field)
    return answer
