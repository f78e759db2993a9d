"""One record through the API: record, debts and act in one transaction, and the answer is the record."""

from __future__ import annotations

from hub.crm.decide import Change, Park, Same
from hub.crm.external import ExternalWrite, VersionMoved, WriteAnswer, WriteRefused, external_key
from hub.errors import Cause
from hub.pipe.arrive import arrive
from hub.pipe.items import Item
from hub.pipe.load import load_arrivals
from hub.pipe.world import World
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store.engine import Tx
from hub.store.view import View

__all__ = ["accept"]


def accept(tx: Tx, write: ExternalWrite, world: World) -> WriteAnswer | WriteRefused:
    """Take one record in. What a person must decide first is held: its dead letter is kept with the transaction.

    Raises:
        VersionMoved: ``if_version`` was given and is not the record's; nothing happened.
    """
    view = View(tx, world.vault)
    _, _, org, vendor_id = external_key(write.system, write.kind, write.external_id)
    key = VendorKey(org, vendor_id)
    source = SourceRecord(key, write.body, tx.now)
    sync = world.inbound(write.system, write.kind)
    item = Item(write.system, write.kind, key, source, sync, owner=write.owner)
    load_arrivals(view, [item], world)
    known = view.xrefs.get(item.at)
    _check_version(view, write, known.record if known else None)
    row = view.owed.get((item.sync_name, item.subject))
    if row is not None:  # a dead letter of the same object: the newer body takes its place
        row.want = row.generation = view.act
    verdict = arrive(view, item, world, row)
    view.flush(f"api:{write.system}", "put")
    match verdict:
        case Change() | Same():
            return _answer(view, item, created=known is None)
        case Park(cause=cause, field=name, message=message):
            kept = view.owed[item.sync_name, item.subject].id.hex()
            return WriteRefused(cause, f"{message or cause.en}; kept as dead letter {kept}", field=name)
        case _:
            kept = view.owed[item.sync_name, item.subject].id.hex()
            return WriteRefused(Cause.BLOCKED, f"it waits for something else; kept as {kept}")


def _check_version(view: View, write: ExternalWrite, record: bytes | None) -> None:
    if write.if_version is None:
        return
    version = view.records[record].version if record else None
    if version != write.if_version:
        raise VersionMoved(version)


def _answer(view: View, item: Item, *, created: bool) -> WriteAnswer:
    record = view.records[view.xrefs[item.at].record]
    return WriteAnswer(
        record.id,
        record.version,
        created and record.is_new,
        record.body,
        record.region,
        record.entity,
        record.owner,
    )
