"""The seal head outside the store: a file beside the data folder, or a message of the topic ``hub.alerts``.

Whoever seals hands the head out; whoever starts compares it with the store (:mod:`hub.store.epoch`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from hub.bus.port import ALERTS, Bus, Message
from hub.clock import SECOND
from hub.errors import SettingsError
from hub.model.event import Event, InvalidEvent
from hub.store.engine import Tx
from hub.store.epoch import Head, head_of

__all__ = ["HeadFile", "HeadTopic", "OutsideHead", "open_head"]

TYPE: Final = "hub.seal.head"
STEP: Final = 200
"""Messages a look back takes at once: alerts lie between heads."""


class OutsideHead(Protocol):
    """Where the newest head is kept outside the store."""

    async def last(self) -> Head | None:
        """Return the head that was handed out last, None if there is none."""
        ...

    async def put(self, head: Head) -> None:
        """Hand a head out; return when it is durable."""
        ...


def open_head(tx: Tx) -> Head | None:
    """Return the head to hand out; None while writes are stopped: a copy must not speak for the one that works."""
    return head_of(tx) if tx.writes_open else None


class HeadFile:
    """One file, replaced as a whole: the head of the embedded engine.

    It lies outside the data folder, for a copy of that must not bring its own head along.
    """

    def __init__(self, path: Path) -> None:
        """Take the file; nothing is opened yet."""
        self._path = path

    async def last(self) -> Head | None:
        """As :meth:`OutsideHead.last`."""
        return self.read()

    async def put(self, head: Head) -> None:
        """As :meth:`OutsideHead.put`. Raises SettingsError if the folder cannot be written."""
        self.write(head)

    def read(self) -> Head | None:
        """Return what the file holds.

        Raises:
            SettingsError: it holds something else, or cannot be read.
        """
        try:
            return Head.parse(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SettingsError(f"is no seal head: {error}", file=str(self._path)) from error

    def write(self, head: Head) -> None:
        """Replace the file, durably.

        Raises:
            SettingsError: the folder cannot be written.
        """
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            with os.fdopen(
                os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb"
            ) as out:
                out.write(head.dump() + b"\n")
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise SettingsError(
                f"the seal head is kept outside the data folder and cannot be written: {error.strerror}; "
                "HUB_SEAL_HEAD_FILE names another place",
                file=str(self._path),
            ) from error


class HeadTopic:
    """Messages of ``hub.alerts``, for the engine on Kafka; the newest one counts."""

    def __init__(self, bus: Bus) -> None:
        """Take the bus."""
        self._bus = bus

    async def last(self) -> Head | None:
        """As :meth:`OutsideHead.last`; looks back from the end of the topic. Raises TryAgain: the bus is down."""
        bounds = await self._bus.bounds(ALERTS, 0)
        end = bounds.next
        while end > bounds.first:
            start = max(bounds.first, end - STEP)
            found = await self._newest(start, end)
            if found is not None:
                return found
            end = start
        return None

    async def _newest(self, start: int, end: int) -> Head | None:
        newest, offset = None, start
        while offset < end:
            batch = await self._bus.read(ALERTS, 0, offset, end - offset)
            if batch.next <= offset:
                break
            for message in batch.events:
                newest = _head(message) or newest
            offset = batch.next
        return newest

    async def put(self, head: Head) -> None:
        """As :meth:`OutsideHead.put`. Raises TryAgain: the bus is down."""
        await self._bus.publish(ALERTS, [_message(head)])


def _message(head: Head) -> Message:
    event = Event(
        id=f"{head.epoch.hex()}.{head.seq}",
        source="hub/seals",
        type=TYPE,
        time=datetime.fromtimestamp(head.at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        data=head.dump(),
    )
    return Message("seals", {name: value.decode() for name, value in event.headers()}, event.data)


def _head(message: Message) -> Head | None:
    if message.key != "seals":
        return None
    try:
        event = Event.parse([(name, value.encode()) for name, value in message.headers.items()], message.body)
        return Head.parse(event.data) if event.type == TYPE else None
    except (InvalidEvent, ValueError):
        return None
