"""What the metrics ask from the store: depths, ages and states, all in one read of one snapshot.

Counts run over the partial indexes of what is owed, never over a table that only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.audit.seal import newest_seal, oldest_unsealed
from hub.bus.port import INBOUND, INBOUND_BULK
from hub.clock import SECOND
from hub.pipe.jobs import positions
from hub.pipe.limits import Gate, gates, quotas
from hub.pipe.queries import dead_by_cause
from hub.pipe.share import members
from hub.project.values import LANE_BULK, LANE_LIVE, LANE_MONEY
from hub.store import sql
from hub.store.schema import jobs

if TYPE_CHECKING:
    from hub.pipe.world import World
    from hub.store.engine import Tx

__all__ = ["LANES", "Gauges", "gauges"]

LANES: Mapping[int, str] = {LANE_MONEY: "money", LANE_LIVE: "live", LANE_BULK: "bulk"}
_STATES = {Gate.OPEN: 0, Gate.PROBE: 1, Gate.SHUT: 2}

_due = sql.query(
    "SELECT connection, lane, count(*), min(due) FROM owed WHERE state IN ('ready', 'in_doubt') "
    "GROUP BY connection, lane"
)
_claimed = sql.query(
    "SELECT connection, lane, count(*), min(due) FROM owed WHERE state = 'claimed' GROUP BY connection, lane"
)
_oldest = sql.query("SELECT at FROM acts WHERE seq > 0 ORDER BY seq LIMIT 1")
_jobs = sql.bulk_select(jobs, "name due", key="name")

Sample = tuple[str, tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Gauges:
    """``samples``: (metric, labels, value). ``positions``: topic -> partition -> where its taker is, with its bus."""

    samples: Sequence[Sample]
    positions: Mapping[str, Mapping[int, Mapping[str, Any]]]


def gauges(tx: Tx, world: World, partitions: Mapping[str, int]) -> Gauges:
    """Ask everything at once. ``partitions``: inbound topic -> how many it has."""
    samples = [
        ("hub_writes_open", (), float(tx.writes_open)),
        ("hub_members", (), float(len(members(tx)))),
        *_queues(tx, world),
        *_dead(tx, world),
        *_gates(tx, world),
        *_sources(tx, world),
        *_seals(tx),
    ]
    names = {
        f"bus:{topic}:{number}": (topic, number)
        for topic in (INBOUND, INBOUND_BULK)
        for number in range(partitions.get(topic, 0))
    }
    places: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name, at in positions(tx, list(names)).items():
        topic, number = names[name]
        places.setdefault(topic, {})[number] = at
    return Gauges(samples, places)


def _queues(tx: Tx, world: World) -> Iterator[Sample]:
    depth = Counter({(name, lane): 0 for name in world.project.connections for lane in LANES})
    first: dict[tuple[str, int], int] = {}
    for connection, lane, count, due in (*_due(tx), *_claimed(tx)):
        depth[connection, lane] += count
        first[connection, lane] = min(due, first.get((connection, lane), due))
    for (connection, lane), count in depth.items():
        labels = (connection, LANES.get(lane, str(lane)))
        age = max(0, tx.now - first.get((connection, lane), tx.now)) / SECOND
        yield "hub_queue_depth", labels, count
        yield "hub_queue_oldest_age_seconds", labels, age


def _dead(tx: Tx, world: World) -> Iterator[Sample]:
    found = {(sync, cause.value): count for sync, cause, count, _ in dead_by_cause(tx)}
    without = {(name, "none"): 0 for name in world.project.syncs.keys() - {sync for sync, _ in found}}
    for labels, count in (without | found).items():
        yield "hub_dlq_depth", labels, count


def _gates(tx: Tx, world: World) -> Iterator[Sample]:
    for name, gate in gates(tx, list(world.project.connections)).items():
        yield "hub_breaker_state", (name,), _STATES[gate]
    for connection, budget, left, limit in quotas(tx, world):
        yield "hub_quota_remaining", (connection, budget), left
        yield "hub_quota_limit", (connection, budget), limit


def _sources(tx: Tx, world: World) -> Iterator[Sample]:
    read = {
        f"read:{one.name}": one
        for one in world.project.syncs.values()
        if one.direction == "in" and one.schedule is not None
    }
    due: dict[str, int] = dict(_jobs(tx, [(name,) for name in read]))
    for name, sync in read.items():
        labels, schedule = (sync.connection, sync.name), sync.schedule or 0.0
        yield "hub_source_interval_seconds", labels, schedule
        if due.get(name):
            yield "hub_source_lag_seconds", labels, max(0.0, (tx.now - due[name]) / SECOND + schedule)


def _seals(tx: Tx) -> Iterator[Sample]:
    seal, unsealed = newest_seal(tx), oldest_unsealed(tx)
    if seal is not None:
        yield "hub_last_seal_age_seconds", (), max(0, tx.now - seal) / SECOND
    for (at,) in _oldest(tx):
        yield "hub_oldest_act_age_seconds", (), max(0, tx.now - at) / SECOND
    yield "hub_unsealed_age_seconds", (), 0.0 if unsealed is None else max(0, tx.now - unsealed) / SECOND
