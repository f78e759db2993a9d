"""The end of a complete read, as it travels on the bus: one marker per partition, behind everything the read showed.

Only when every partition has consumed its marker was everything taken that the vendor showed, and absence means
something. The job ``sweep:<sync>`` remembers which have; it is written in the transaction that consumes the marker.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import orjson

from hub.bus.port import partition_of
from hub.model.event import Event
from hub.pipe.items import bus_key
from hub.pipe.times import SKEW
from hub.store import sql
from hub.store.schema import jobs
from hub.store.view import View

__all__ = ["SWEEP_END", "SweepEnd", "end_of", "ends", "note_end", "sweep_job"]

SWEEP_END = "hub.sweep.end"
"""Type of the marker's event."""

_lock_job = sql.bulk_select(jobs, "name spec position", key="name", lock="update")
_new_job = sql.bulk_insert(
    jobs, "name kind spec position due fence progress state act", on_conflict="nothing", key="name"
)
_set_job = sql.command(
    "UPDATE jobs SET spec = ?, position = ?, progress = ?, state = ?, due = ?, act = ? WHERE name = ?"
)


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """A complete read that ended.

    ``sync``: the one that read; ``streams``: those it showed whole; ``sweep``: its id; ``started`` (µs, the store's
    clock) and ``act``: when it began and the act that noted it; ``of``: how many partitions get a marker.
    """

    sync: str
    connection: str
    org: str
    streams: tuple[str, ...]
    sweep: str
    started: int
    act: int
    of: int


def ends(end: SweepEnd) -> list[Event]:
    """Return the markers of a read: one event for each of the ``end.of`` partitions."""
    found: dict[int, Event] = {}
    for number in count():
        if len(found) == end.of:
            break
        event = Event(
            id=f"{end.sweep}.{number}",
            source=f"{end.connection}/{end.streams[0]}",
            type=SWEEP_END,
            subject=f"{end.org}/sweep/{number}",
            data=orjson.dumps(asdict(end)),
        )
        found.setdefault(partition_of(bus_key(event).encode(), end.of), event)
    return [found[partition] for partition in range(end.of)]


def end_of(event: Event) -> SweepEnd:
    """Read what :func:`ends` wrote. Raises ValueError, KeyError or TypeError: nobody wrote it."""
    value = orjson.loads(event.data)
    known: dict[str, Any] = {name: value[name] for name in SweepEnd.__slots__}
    known["streams"] = tuple(known["streams"])
    if not all(isinstance(known[name], int) for name in ("started", "act", "of")):
        raise TypeError("started, act and of are numbers")
    return SweepEnd(**known)


def sweep_job(sync: str) -> str:
    """Name the job that remembers the ends of a sync's complete reads."""
    return f"sweep:{sync}"


def note_end(view: View, end: SweepEnd, job: str) -> None:
    """Note that the partition of ``job`` (``bus:<topic>:<number>``) consumed its marker; the last one makes it due.

    A marker of an older read than the one known, or of one that is through, changes nothing; nor does that of a read
    which a clock that ran ahead began: to it everything seen since would be absent.
    """
    if end.started > view.now + SKEW:
        return
    name, partition = sweep_job(end.sync), int(job.rpartition(":")[2])
    spec = orjson.dumps(asdict(end)).decode()
    fresh = orjson.dumps({"taken": []}).decode()
    _new_job(view.tx, [(name, "sweep", spec, fresh, 0, 0, "null", "taking", view.act)])
    _, known, position = _lock_job(view.tx, [(name,)])[0]
    before = orjson.loads(known)
    known_is_newer = (before["started"], before["sweep"]) > (end.started, end.sweep)
    if known_is_newer and before["started"] <= view.now + SKEW:
        return
    at = orjson.loads(position) if before["sweep"] == end.sweep else {"taken": []}
    taken = {*at["taken"], partition}
    if taken == set(at["taken"]):
        return
    state = "due" if len(taken) >= end.of else "taking"
    _set_job(
        view.tx,
        spec,
        orjson.dumps({"taken": sorted(taken)}).decode(),
        "null",
        state,
        view.now,
        view.act,
        name,
    )
    view.note(job=name, outcome="sweep_end", sweep=end.sweep, partition=partition)
