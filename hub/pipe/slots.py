"""The share of a vendor's slots that this process holds, handed to the connector that uses them."""

from __future__ import annotations

from hub.pipe.share import Share
from hub.sdk.slots import Slots

__all__ = ["resize", "slot_jobs"]


def slot_jobs(connection: str, limit: int) -> tuple[str, ...]:
    """Return the jobs that stand for the slots of a connection, one each."""
    return tuple(f"slot:{connection}:{number}" for number in range(limit))


async def resize(share: Share, connection: str, slots: Slots) -> set[str]:
    """Give a connector the slots that are ours; return those that are too much but still in use."""
    names = slot_jobs(connection, slots.limit)
    ours = [name for name in names if share.holds(name)]
    if len(ours) != slots.size:
        await slots.resize(len(ours))
    return set(sorted(share.surplus & set(names))[: max(0, slots.used - slots.size)])
