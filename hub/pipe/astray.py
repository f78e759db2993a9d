"""Is the bus the one that this store has taken from? Asked before the doors open, and before anything is read.

A bus that was lost, emptied or put back as it was earlier goes on accepting. Where it holds less than was taken, its
end grows past the stored position again, and what came in between is never read though it was acknowledged. So a
position that this bus cannot have given stops whatever would publish, until a person put the right bus back or said
that this one is the hub's from now on (:mod:`hub.pipe.replaced`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from hub.bus.port import INBOUND, INBOUND_BULK, Bounds, Bus
from hub.clock import Clock
from hub.errors import Cause, IntegrityError, SettingsError, TryAgain
from hub.store import sql
from hub.store.engine import Store, Tx

__all__ = [
    "ASTRAY",
    "Astray",
    "astray",
    "mark_astray",
    "marked",
    "refuse_astray",
    "require_own_bus",
    "was_taken_from",
]

ASTRAY = "astray"
"""State of a partition's job whose taker met a position that cannot be; it stays though the bus grows past it."""
LOOKS, PAUSE = 3, 0.5
"""So often, with so many seconds between, a bus is asked before the hub refuses it: a new leader may know its end late."""
PATIENCE = 60.0
"""Seconds for which a start waits for a bus that does not answer."""

_jobs = sql.query("SELECT name, position, state FROM jobs WHERE kind = 'bus' ORDER BY name")
_marked = sql.query("SELECT name FROM jobs WHERE kind = 'bus' AND state = 'astray' ORDER BY name")
_mark = sql.command("UPDATE jobs SET state = 'astray' WHERE name = ? AND position = ? AND state <> 'astray'")


@dataclass(frozen=True, slots=True)
class Astray:
    """A partition that was taken up to ``position`` (not included), which is no position of this bus.

    ``bounds``: what the bus holds, None where it has no such partition or cannot be looked at; ``other``: it is another
    bus than the one that was taken from.
    """

    topic: str
    partition: int
    position: int
    bounds: Bounds | None
    other: bool

    @property
    def holds(self) -> str:
        """What the bus holds of it, from the first offset to the next one to be given."""
        return "-" if self.bounds is None else f"{self.bounds.first}..{self.bounds.next}"

    def __str__(self) -> str:
        """Say what is wrong and what a person can do."""
        which = "is another one" if self.other else "was put back as it was earlier, or lost messages"
        if not self.other and self.bounds and self.bounds.first <= self.position <= self.bounds.next:
            return (
                f"{self.topic} partition {self.partition} was taken up to {self.position} when the bus held less: what "
                "came in since may have been passed over. Have the bus read from its beginning and every source read "
                "anew: hub bus replaced"
            )
        return (
            f"the bus {which}: {self.topic} partition {self.partition} was taken up to {self.position}, it holds "
            f"{self.holds}; what it takes in might never be taken. Put the right bus back, or have this one read from "
            "its beginning and every source read anew: hub bus replaced"
        )


async def astray(store: Store, bus: Bus, topics: Sequence[str] = (INBOUND, INBOUND_BULK)) -> list[Astray]:
    """Return the partitions whose stored positions cannot be of this bus.

    Positions are read before the bus is asked: meanwhile its end only grows. One that is before what the bus keeps is
    read again: it may have been taken and purged in between.

    Raises:
        TryAgain: the bus is unavailable.
    """
    found = await _look(store, bus, topics)
    return await _look(store, bus, topics) if found else found


async def _look(store: Store, bus: Bus, topics: Sequence[str]) -> list[Astray]:
    stored = {name: (orjson.loads(position), state) for name, position, state in await store.read(_jobs)}
    places = {(topic, number) for topic in topics for number in range(await bus.partitions(topic))}
    named = {_place(name): at for name, at in stored.items()}
    found = []
    for topic, number in sorted(places | {place for place in named if place[0] in topics}):
        at, state = named.get((topic, number), ({"cluster": bus.cluster, "next": 0}, "due"))
        bounds = await bus.bounds(topic, number) if (topic, number) in places else None
        other = at["cluster"] != bus.cluster
        fits = bounds is not None and bounds.first <= at["next"] <= bounds.next
        if other or not fits or state == ASTRAY:
            found.append(Astray(topic, number, at["next"], bounds, other))
    return found


def _place(job: str) -> tuple[str, int]:
    topic, _, number = job.removeprefix("bus:").rpartition(":")
    return topic, int(number)


async def require_own_bus(store: Store, bus: Bus, *topics: str) -> None:
    """Do nothing if what is published to these topics will be taken.

    Raises:
        IntegrityError: ``Cause.POSITION``.
        TryAgain: the bus is unavailable.
    """
    for one in await astray(store, bus, topics):
        raise IntegrityError(Cause.POSITION, str(one))


async def refuse_astray(store: Store, bus: Bus, clock: Clock) -> None:
    """Refuse a start on a bus that is not the one this store has taken from.

    Raises:
        SettingsError: says what was found and what to do.
        TryAgain: the bus does not answer.
    """
    until = clock.monotonic() + PATIENCE
    looks = 0
    while True:
        try:
            found = await astray(store, bus)
        except TryAgain:
            if clock.monotonic() > until:
                raise
        else:
            looks += 1
            if not found:
                return
            if looks == LOOKS or found[0].other:
                raise SettingsError(str(found[0]))
        await clock.sleep(PAUSE)


def mark_astray(tx: Tx, job: str, position: str) -> None:
    """Note that a partition cannot be taken on from this position (JSON text), for every process and the next start."""
    if _mark(tx, job, position):
        tx.journal("take", "bus.astray", {"items": [{"job": job, "outcome": ASTRAY, "position": position}]})


def marked(tx: Tx) -> list[str]:
    """Return the jobs of the partitions that were noted so."""
    return [name for (name,) in _marked(tx)]


def was_taken_from(tx: Tx) -> bool:
    """Say whether a hub ever took from a bus into this store: then there was one."""
    return bool(_jobs(tx))
