"""One record through the API: record, debts and act in one transaction, and the answer is the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hub.crm.decide import Change, Park, Same
from hub.errors import Cause
from hub.mapping import Wait
from hub.pipe.arrive import arrive, load_arrivals
from hub.pipe.items import Item
from hub.pipe.world import World
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store.engine import Tx
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["Accepted", "Conflicted", "Incoming", "accept"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of it. ``record`` is None while a person must decide (``cause`` says why; ``row`` is the dead letter)."""

    record: bytes | None
    version: int
    created: bool
    body: dict[str, Json] = field(default_factory=dict)
    region: str = ""
    cause: Cause | None = None
    row: bytes | None = None
    candidates: tuple[str, ...] = ()


class Conflicted(Exception):  # noqa: N818 - it is an outcome the caller turns into a 412
    """The record's version is not the one the caller named."""

    def __init__(self, version: int) -> None:
        """Take the version it has."""
        super().__init__(f"the record has version {version}")
        self.version = version


@dataclass(frozen=True, slots=True)
class Incoming:
    """A checked body of the CRM's own fields. ``version``: the one the caller believes in, None: any."""

    system: str
    kind: str
    external_id: str
    body: dict[str, Json]
    actor: str
    owner: str | None = None
    version: int | None = None


def accept(tx: Tx, incoming: Incoming, world: World) -> Accepted:
    """Take one record in.

    Raises:
        Conflicted: ``version`` was given and is not the record's.
    """
    view = View(tx, world.vault)
    sync = world.inbound(incoming.system, incoming.kind)
    key = VendorKey("", incoming.external_id)
    source = SourceRecord(key, incoming.body, tx.now)
    item = Item(incoming.system, incoming.kind, key, source, sync, event=f"api:{incoming.actor}", owner=incoming.owner)
    load_arrivals(view, [item], world)
    known = view.xrefs.get(item.at)
    if incoming.version is not None and (known is None or view.records[known.record].version != incoming.version):
        raise Conflicted(view.records[known.record].version if known else 0)
    row = view.owed.get((item.sync_name, item.subject))
    if row is not None:  # a dead letter of the same object: the newer body takes its place
        row.want = row.generation = view.act
    verdict = arrive(view, item, world, row)
    view.flush(f"api:{incoming.actor}", "put")
    match verdict:
        case Change() | Same():
            xref = view.xrefs[item.at]
            record = view.records[xref.record]
            return Accepted(record.id, record.version, known is None and record.is_new, record.body, record.region)
        case Park(cause=cause, candidates=candidates):
            stopped = view.owed[item.sync_name, item.subject]
            return Accepted(None, 0, created=False, cause=cause, row=stopped.id, candidates=candidates)
        case Wait() | None:
            stopped = view.owed[item.sync_name, item.subject]
            return Accepted(None, 0, created=False, row=stopped.id)
