"""Claims of workers that died become everybody's again.

Every worker looks for them: were it the job of one, he might be the one who died, and his own lease would have to
lapse before. A claim's lease and the time between two looks make 11 s at worst, whoever dies; the store's own pace
comes on top, and 15 s are promised.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.clock import SECOND
from hub.pipe import rows
from hub.pipe.claim import note_row
from hub.pipe.tally import tally
from hub.pipe.times import SKEW
from hub.pipe.world import World
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.rows import OWED_COLUMNS
from hub.store.schema import owed
from hub.store.view import View

__all__ = ["EVERY", "PROMISED", "lapse_all", "look", "take_over"]

EVERY = 1.0
"""Seconds between two looks."""
PROMISED = 15.0
"""Seconds after a worker's death within which its claims are others' while the store works (reliability P8)."""
AT_ONCE = 500
"""Claims that one transaction takes."""

_LAPSED = "FROM owed WHERE state = 'claimed' AND (lease < ? OR lease > ?)"
any_lapsed = sql.query(f"SELECT 1 {_LAPSED} LIMIT 1")
select_lapsed = sql.query(
    f"SELECT {', '.join(OWED_COLUMNS.split())} {_LAPSED} ORDER BY lease LIMIT {AT_ONCE}",
    lock="update skip locked",
    of=owed,
)


async def look(store: Store, world: World, nudge: Callable[[], None]) -> float:
    """Take what has lapsed, if there is any; return the seconds until the next look."""
    if not await store.read(_is_lapsed, world):
        return EVERY  # a look writes nothing: on SQLite it waits for nobody
    taken = await store.run(take_over, world)
    if taken:
        nudge()
    return 0.0 if taken == AT_ONCE else EVERY  # others may be at the rest


def take_over(tx: Tx, world: World) -> int:
    """Take claims whose lease has lapsed, the oldest first; return how many. Several workers may do so side by side."""
    view = View(tx, world.vault)
    taken = lapse_all(view, world)
    view.flush("sweep", "sweep")
    tally(view, world)
    return taken


def lapse_all(view: View, world: World) -> int:
    """Do the same in a view that the caller flushes.

    A lease further ahead than any is set was set by a clock that ran ahead: it has passed.
    """
    lapsed = select_lapsed(view.tx, *_lapsed_by(view.tx, world))
    for row in view.add_owed(lapsed):
        note_row(view, row, "lapsed", state=rows.lapse(view, row))
    return len(lapsed)


def _is_lapsed(tx: Tx, world: World) -> bool:
    return bool(any_lapsed(tx, *_lapsed_by(tx, world)))


def _lapsed_by(tx: Tx, world: World) -> tuple[int, int]:
    return tx.now, tx.now + int(world.timing.lease * SECOND) + SKEW
