"""From the bus into the store: one partition's batch, its effects, debts, position and act in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.crm.decide import Park
from hub.errors import Cause
from hub.pipe.arrive import arrive, join_owed, owe_hint, owe_item
from hub.pipe.items import Item, latest_per_key
from hub.pipe.load import in_order, load_arrivals
from hub.pipe.marker import SweepEnd, note_end
from hub.pipe.tally import taken, tally
from hub.pipe.unknown import note_gone
from hub.pipe.world import World
from hub.store.engine import Tx
from hub.store.view import View

__all__ = ["Batch", "take"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One partition's items. ``start`` and ``following``: the position before and after, as the job's JSON text.

    ``ends``: complete reads whose end lies among the items; what is noted of them stands behind all of these.
    """

    items: Sequence[Item]
    job: str
    fence: int
    start: str
    following: str
    ends: Sequence[SweepEnd] = ()


def take(tx: Tx, batch: Batch, world: World) -> int:
    """Take a batch; return how many items took effect at once (the others are owed).

    Raises:
        IntegrityError: somebody else moved the position or holds the fence; nothing happened.
    """
    view = View(tx, world.vault)
    items = latest_per_key(batch.items)
    load_arrivals(view, items, world)
    view.advance(batch.job, batch.fence, batch.start, batch.following)
    done: list[Item] = []
    for item in in_order(view, items, world):
        if item.broken:
            owe_item(view, item, world, None, stop=Park(Cause.BUG, message=item.broken))
        elif item.source is None:
            owe_hint(view, item, world, None)
        elif (item.sync_name, item.subject) in view.owed or item.sync_name in world.unfit:
            join_owed(view, item, world)
        elif arrive(view, item, world) is not None:
            done.append(item)
    note_gone(view, items)
    for end in batch.ends:
        note_end(view, end, batch.job)
    view.flush("take", "take")
    tally(view, world)
    taken(view, world, batch.items, done)
    return len(done)
