"""Which connections have due rows, looked up once for all loops of a process instead of by each of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from hub.pipe.limits import Gate, gates
from hub.project.values import LANE_BULK, LANE_LIVE, LANE_MONEY
from hub.store import sql
from hub.store.engine import Store, Tx

__all__ = ["IDLE", "Due"]

IDLE = 0.25
"""Seconds between looks at the store while nothing nudges: what another process left, or what falls due by itself."""
ORDER = (LANE_MONEY, LANE_LIVE, LANE_BULK), (LANE_BULK, LANE_MONEY, LANE_LIVE)
BULK_EVERY = 10
"""Every so many turns start with bulk, so that it keeps its tenth."""

due_lanes = sql.query(
    "SELECT lane FROM (SELECT 0 AS lane UNION ALL SELECT 1 UNION ALL SELECT 2) AS lanes WHERE EXISTS (SELECT 1 FROM owed "
    "WHERE connection = ? AND owed.lane = lanes.lane AND state IN ('ready', 'in_doubt') AND due <= ?)"
)


class Due:
    """Tells the loops of each connection which lanes have due rows; a lane is offered to one loop at a look."""

    def __init__(self, store: Store, connections: Iterable[str]) -> None:
        """``connections``: whose rows this process can work off."""
        self._store = store
        self._nudged = asyncio.Event()
        self._lanes: dict[str, frozenset[int]] = {}
        self.connections = tuple(connections)
        self._offered = {name: asyncio.Event() for name in self.connections}

    def nudge(self) -> None:
        """Say that something may be due now."""
        self._nudged.set()

    async def look(self) -> float:
        """Wait for a nudge, at most IDLE, and offer what is due then; a loop's turn (seconds to wait)."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), IDLE)
        self._nudged.clear()
        self._lanes = dict(await self._store.read(_due, self.connections))
        for name in self._lanes:
            self._offered[name].set()
        return 0.0

    async def lanes(self, connection: str, turn: int) -> list[int]:
        """Wait until lanes are offered, and return them in the order of this turn; none after a while without."""
        offered = self._offered[connection]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(offered.wait(), 2 * IDLE)
        offered.clear()
        due = self._lanes.pop(connection, frozenset())
        return [lane for lane in ORDER[turn % BULK_EVERY == 0] if lane in due]


def _due(tx: Tx, names: tuple[str, ...]) -> Mapping[str, frozenset[int]]:
    """Return the lanes with due rows by connection; of a connection that is shut nothing is due."""
    stands = gates(tx, names)
    found = {
        name: frozenset(lane for (lane,) in due_lanes(tx, name, tx.now))
        for name in names
        if stands[name] is not Gate.SHUT
    }
    return {name: lanes for name, lanes in found.items() if lanes}
