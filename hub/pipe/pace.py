"""How many messages of a complete read one transaction takes: what is live waits for no more than these."""

from __future__ import annotations

__all__ = ["LEAST", "MOST", "SECONDS", "Pace"]

LEAST, MOST = 10, 100
"""Messages: with fewer a transaction is mostly its own commit, more gain next to nothing."""
SECONDS = 0.03
"""What one transaction may take: SQLite has one writer, and on PostgreSQL all threads share the process."""


class Pace:
    """The size of the next batch, by how long the batches before it took."""

    def __init__(self) -> None:
        """Begin in the middle."""
        self.size = (LEAST + MOST) // 4

    def took(self, count: int, seconds: float) -> None:
        """Note a batch that was full: half of the way to the size that would have fitted, for one commit may be slow."""
        if count >= self.size:
            fits = MOST if seconds <= 0 else min(MOST, round(count * SECONDS / seconds))
            self.size = max(LEAST, (self.size + fits + 1) // 2)
