"""Places where a bus of each kind can be opened. A new kind joins by an entry in ``PLACES``; no test knows it.

A place gives topics of its own (their names are new in every test, for a broker is shared), opens as many clients of
the same log as asked, forgets everything as a recreated cluster would, and goes away for a while.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from hub.bus import CHANGES, INBOUND, INBOUND_BULK, Bus, Log, Topic
from hub.bus.kafka import Kafka
from hub.bus.kafka_client import KafkaAddress
from hub.clock import SystemClock
from tests.kafka import Unavailable, shared, suspend

__all__ = ["PLACES", "KafkaPlace", "LogPlace", "Place", "bus", "place"]

BROKER = "HUB_TEST_KAFKA_ADDRESS"
"""The variable that tells a place, also in another process, where the broker is."""


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


@dataclass
class KafkaPlace:
    """Topics of a test's own on the run's broker."""

    folder: Path
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    name: str = "kafka"
    address: str = field(default_factory=lambda: os.environ[BROKER])

    @property
    def topics(self) -> Mapping[str, Topic]:
        return topics_named(self.prefix)

    async def open(self) -> Bus:
        named = {topic.name: topic for topic in self.topics.values()}
        where = KafkaAddress(self.address, single_broker=True)
        return await asyncio.to_thread(Kafka.open, where, SystemClock(), topics=named, patience=5.0)

    async def recreate(self) -> None:
        """Go to a cluster that is another one: the same as if this one had been made anew."""
        try:
            other = await asyncio.to_thread(shared, "other")
        except Unavailable as error:
            pytest.skip(f"no second broker: {error}")
        self.address = other.address

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Stop the broker's process."""
        pid = shared().pid
        if not pid:
            pytest.skip("the broker is somebody's own: it is not stopped")
        suspend(pid)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


PLACES = {"kafka": KafkaPlace, "log": LogPlace}


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Give a place, once per kind."""
    if request.param == "kafka":
        monkeypatch.setenv(BROKER, request.getfixturevalue("kafka").address)
    made: Place = PLACES[request.param](tmp_path)
    return made


@pytest.fixture
async def bus(place: Place) -> AsyncIterator[Bus]:
    """Give an open bus with empty topics."""
    opened = await place.open()
    yield opened
    await opened.aclose()
