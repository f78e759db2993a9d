"""Places where a bus of each kind can be opened. A new kind joins by an entry in ``PLACES``; no test knows it.

A place gives topics of its own (their names are new in every test, for a broker is shared), opens as many clients of
the same log as asked, forgets everything as a recreated cluster would, and goes away for a while.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from hub.bus import CHANGES, INBOUND, INBOUND_BULK, Bus, Log, Topic
from hub.clock import SystemClock

__all__ = ["PLACES", "LogPlace", "Place", "bus", "place"]


class Place(Protocol):
    """Where one test's bus is."""

    name: str
    address: str
    topics: Mapping[str, Topic]
    """Under the names the hub has for them: what they are called here."""

    async def open(self) -> Bus:
        """Open one more client of the same log; the topics are there."""
        ...

    async def recreate(self) -> None:
        """Lose the log and make an empty one at the same address."""
        ...

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Be away: nothing can be published meanwhile."""
        ...


def topics_named(prefix: str) -> dict[str, Topic]:
    """Return the topics of a test: four partitions, two, and one that is read by nobody of the hub."""
    sizes = {INBOUND: 4, INBOUND_BULK: 2, CHANGES: 4}
    return {name: Topic(f"{prefix}.{name}", count, 7 * 86_400) for name, count in sizes.items()}


@dataclass
class LogPlace:
    """The embedded log in a file."""

    folder: Path
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    name: str = "log"

    @property
    def address(self) -> str:
        return str(self.folder / "bus.db")

    @property
    def topics(self) -> Mapping[str, Topic]:
        return topics_named(self.prefix)

    async def open(self) -> Bus:
        named = {topic.name: topic for topic in self.topics.values()}
        return Log.open(Path(self.address), SystemClock(), topics=named)

    async def recreate(self) -> None:
        for file in self.folder.glob("bus.db*"):
            file.unlink()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let somebody else hold the file for longer than a publisher waits."""
        other = sqlite3.connect(self.address, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


PLACES = {"log": LogPlace}


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give a place, once per kind."""
    made: Place = PLACES[request.param](tmp_path)
    return made


@pytest.fixture
async def bus(place: Place) -> AsyncIterator[Bus]:
    """Give an open bus with empty topics."""
    opened = await place.open()
    yield opened
    await opened.aclose()
