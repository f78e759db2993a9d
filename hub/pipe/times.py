"""Times set by a clock that ran ahead: how they are told from honest ones, and who may not work by his own clock.

Leases, pauses and due times are set some seconds ahead of the store's clock. A machine's clock that jumps forward and
back leaves times that nothing would reach for as long as the jump was. Each of them has a longest way ahead; one that
is further ahead counts as passed. Who holds what it guarded is fenced where it writes. Not so `absent_after` and
`rest_until`, which say until when bytes may still land at a vendor: they never fall, whatever the clock did.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from hub.clock import SECOND, Clock
from hub.store import sql
from hub.store.engine import Store, Tx

__all__ = ["LONGEST", "SKEW", "ClockWatch", "has_come"]

log = logging.getLogger(__name__)

SKEW = 2 * SECOND
"""µs by which the clocks of a cluster may differ."""
LONGEST = 86_400.0
"""Seconds that a pause, a retry or a look is put off at most."""
SAY_AGAIN = 600.0
"""Seconds between two warnings of the same."""

_newest = sql.query("SELECT at FROM acts WHERE id > 0 ORDER BY id DESC LIMIT 100")


def has_come(at: int | None, now: int, ahead: float) -> bool:
    """Say whether a time (µs) has come that was set ``ahead`` seconds ahead at most; None: it never was set."""
    return at is None or at <= now or at > now + int(ahead * SECOND) + SKEW


@dataclass(slots=True)
class ClockWatch:
    """Compares the process's clock with the store's, and the store's with the newest acts."""

    store: Store
    clock: Clock
    _said: float = field(default=float("-inf"), init=False)

    async def look(self) -> str | None:
        """Return why this process may not claim, None if its clock is right; warn if the store's has gone back."""
        before = self.clock.now()
        now, newest = await self.store.read(_times)
        after = self.clock.now()
        if newest - now > SKEW:
            self._warn(newest - now)
        if before - SKEW <= now <= after + SKEW:
            return None
        off = (after if now > after else before) - now
        return f"this machine's clock is {off / SECOND:+.1f} s off the store's: nothing is claimed until it is set"

    def _warn(self, back: int) -> None:
        if self.clock.monotonic() - self._said < SAY_AGAIN:
            return
        self._said = self.clock.monotonic()
        log.warning("clock.behind seconds=%.1f: the newest acts are later than now; a clock ran ahead before, or "
                    "is slow now: set it (NTP)", back / SECOND)  # fmt: skip


def _times(tx: Tx) -> tuple[int, int]:
    """Return now and the latest of the newest acts' times."""
    return tx.now, max((at for (at,) in _newest(tx)), default=0)
