"""One more look at an object after a doubt, when a late copy of an earlier send could have landed: is it doubled?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hub.errors import Cause, RemoteError
from hub.pipe import rows
from hub.pipe.claim import note_row
from hub.pipe.render import Lookups, Rendered, render
from hub.pipe.world import World, business_key
from hub.project.values import Sync
from hub.sdk.connector import Several, Write
from hub.store.engine import Store, Tx
from hub.store.view import View

if TYPE_CHECKING:
    from hub.sdk.connector import Connector

__all__ = ["recheck"]

log = logging.getLogger(__name__)


async def recheck(
    store: Store, world: World, connector: Connector, sync: Sync, spec: Mapping[str, str]
) -> bool:
    """Look the record's object up by its business key; more than one raises the incident `doubled`.

    Returns False if the vendor could not be asked.
    """
    record = bytes.fromhex(spec["record"])
    write = await store.read(_as_create, world, sync, record)
    if write is None:
        return True
    try:
        found = (await connector.find([write]))[0]
    except RemoteError as error:
        log.warning("recheck.failed sync=%s record=%s %s", sync.name, spec["record"], error)
        return False
    if isinstance(found, Several):
        await store.run(_doubled, world, sync, record, [ref.vendor_id for ref in found.refs])
    return True


def _as_create(tx: Tx, world: World, sync: Sync, record: bytes) -> Write | None:
    """Render the record as if it were new: a look-up needs the fields that carry the business key."""
    view = View(tx, world.vault)
    view.load_records([record], lock=False)
    made = rows.new_row(view, sync=sync.name, subject=record.hex(), connection=sync.connection,
                        target=rows.target_key(sync.connection, sync.object, sync.org, record), lane=sync.lane, want=0)  # fmt: skip
    for _ in range(4):
        asked = Lookups(awaited=True)  # it was sent: whether its books need it was asked then
        rendering = render(view, made, sync, world, asked)
        if isinstance(rendering, Rendered):
            obj = world.object(sync)
            step = obj.write_step if obj else "save"
            return Write(sync.object, sync.org, step, rendering.plan, None, rendering.payload, "",
                         business_key(sync.connection, sync.object, record), 0, 0.0, create=True,
                         options=dict(sync.options))  # fmt: skip
        if not asked.missing:
            return None
        view.load_primary(asked.missing)
        view.load_targets([rows.target_key(*ref) for ref in asked.missing])
    return None


def _doubled(tx: Tx, world: World, sync: Sync, record: bytes, refs: list[str]) -> None:
    view = View(tx, world.vault)
    view.load_records([record], lock=True)
    view.lock_owed([(sync.name, record.hex())])
    row = view.owed.get((sync.name, record.hex()))
    if row is None:
        target = rows.target_key(sync.connection, sync.object, sync.org, record)
        row = rows.owe(view, rows.new_row(view, sync=sync.name, subject=record.hex(), connection=sync.connection,
                                          target=target, lane=sync.lane))  # fmt: skip
    if not row.open:
        rows.park(view, row, Cause.DOUBLED, refs=refs)
    note_row(view, row, "parked", cause=Cause.DOUBLED.value, refs=refs)
    view.flush("recheck", "recheck")
