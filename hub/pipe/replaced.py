"""A bus that is another or an older one becomes the hub's own: what it holds is taken, every source is read anew.

What was acknowledged and is lost with the old bus is found again where it came from, so each sync that can be read is
owed a complete read. What the bus still holds is taken from its beginning: a message that was taken before is stale or
the same and has no second effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from hub.bus.port import INBOUND, INBOUND_BULK, Bounds, Bus
from hub.pipe.jobs import delete_job
from hub.pipe.read import reads_itself
from hub.pipe.refusal import NotPossible
from hub.pipe.world import World
from hub.project.values import Sync
from hub.store import schema, sql
from hub.store.engine import Store, Tx

__all__ = ["Replaced", "replaced"]

_NEW = orjson.dumps({"cursor": None, "sweep": None}).decode()

_known = sql.query("SELECT name FROM jobs WHERE kind = 'bus' ORDER BY name")
_lock = sql.bulk_select(schema.jobs, "name position holder lease", key="name", lock="update")
_write = sql.bulk_upsert(
    schema.jobs, "name kind spec position due holder lease fence progress state act", key="name"
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """``messages`` lie on the bus to be taken; ``reads``: syncs that the running hub reads; ``by_hand``: those a person runs."""

    messages: int
    reads: tuple[str, ...]
    by_hand: tuple[str, ...]


async def replaced(store: Store, bus: Bus, world: World, *, by: str) -> Replaced:
    """Take the present bus as the hub's own; the hub may run meanwhile: its takers and readers begin anew.

    Raises:
        TryAgain: the bus is unavailable; nothing changed.
    """
    bounds = {
        f"bus:{topic}:{number}": await bus.bounds(topic, number)
        for topic in (INBOUND, INBOUND_BULK)
        for number in range(await bus.partitions(topic))
    }
    return await store.run(_replace, world, bus.cluster, bounds, by)


def _replace(tx: Tx, world: World, cluster: str, bounds: Mapping[str, Bounds], by: str) -> Replaced:
    syncs = [sync for sync in world.project.syncs.values() if _is_read(world, sync)]
    kinds = dict.fromkeys(bounds, "bus") | {f"read:{sync.name}": "reader" for sync in syncs}
    fresh = {
        name: orjson.dumps({"cluster": cluster, "next": one.first}).decode() for name, one in bounds.items()
    }
    before = {name: row for name, *row in _lock(tx, [(name,) for name in sorted(kinds)])}
    rows = []
    for name, kind in sorted(kinds.items()):
        _, holder, lease = before.get(name, (None, None, 0))
        if kind == "reader":  # whoever is reading is fenced out: its cursor belongs to what was lost
            holder, lease = None, 0
        rows.append(
            (name, kind, "null", fresh.get(name, _NEW), 0, holder, lease, tx.act, "null", "due", tx.act)
        )
    _write(tx, rows)
    delete_job(tx, [(name,) for (name,) in _known(tx) if name not in bounds])
    items = [
        {"job": name, "outcome": "replaced", "was": before[name][0] if name in before else None}
        for name in sorted(kinds)
    ]
    tx.journal(by, "bus.replaced", {"cluster": cluster, "items": items})
    return Replaced(
        sum(one.next - one.first for one in bounds.values()),
        tuple(sync.name for sync in syncs if sync.schedule is not None),
        tuple(sync.name for sync in syncs if sync.schedule is None),
    )


def _is_read(world: World, sync: Sync) -> bool:
    """Say whether a sync has a read of its own."""
    if sync.direction != "in" or world.stream(sync) is None:
        return False
    try:
        reads_itself(world, sync)
    except NotPossible:
        return False
    return True
