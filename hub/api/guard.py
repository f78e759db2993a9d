"""Connections that keep us waiting: each has a deadline for its request's head and body, and few may wait at once.

uvicorn limits only how long a connection idles between two requests. This closes what it leaves open: one that sends
nothing or drips a byte a second, one that never reads its answer, and thousands of idle ones. Whoever has
waited longest is cut when there are too many, so that a new caller is served.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = [
    "LONGEST_HEAD",
    "ConnectionLimits",
    "Guarded",
    "GuardedH11",
    "GuardedHttptools",
    "Watch",
    "guarded",
]

MOST_AHEAD = 8
"""Requests of one connection that wait behind the one being answered."""
LONGEST_HEAD = 1 << 16
"""Bytes of a request's line and headers; of everything that is neither head nor body (chunk marks, trailers), too."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How long (seconds) a caller may take, and how many may keep us waiting at once.

    ``head``: from connecting (or from the first byte of a further request) until the head is complete. ``body``: from
    there until the body is; also until an answer that it does not read is read. ``waiting``: connections without
    a complete request.
    """

    head: float = 10.0
    body: float = 10.0
    waiting: int = 512


class Watch:
    """The connections of one listener that wait for their caller, longest first. ``cuts``: why -> how many were cut."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """Nothing waits yet."""
        self.limits = limits
        self.cuts: Counter[str] = Counter()
        self._waiting: dict[Guarded, None] = {}

    def enter(self, connection: Guarded) -> None:
        """Put a connection at the end; cut the first one if they are too many."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        if len(self._waiting) > self.limits.waiting:
            next(iter(self._waiting)).cut("crowded")

    def leave(self, connection: Guarded) -> None:
        """Its request is complete, or it is gone."""
        self._waiting.pop(connection, None)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)


class _Phase(enum.Enum):
    IDLE = "idle"  # between two requests: uvicorn's keep-alive limit holds
    HEAD = "head"
    BODY = "body"
    WORK = "work"  # the request is complete: we keep the caller waiting, not it us


class Guarded(asyncio.Protocol):
    """Lays the limits of a :class:`Watch` over one of uvicorn's protocols, which stands behind it in the base classes."""

    watch: ClassVar[Watch]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any = None
    _phase: _Phase | None = None
    _of: Any = None
    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Hand bytes on and see how far the request is."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request, as long as uvicorn keeps a connection."""
        super().on_response_complete()  # type: ignore[misc]  # of the protocol behind it
        self._look(idle=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._set_timer(None, "")
        self.resume_writing()
        self.watch.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Its caller does not read: that has a limit too."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.watch.limits.body, self.cut, "unread")

    def resume_writing(self) -> None:
        """It reads again."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        super().resume_writing()

    def begin(self) -> None:
        """Called when a request's head is complete."""

    def cut(self, why: str) -> None:
        """Drop the connection at once: nobody waits for an answer there."""
        self.watch.cuts[why] += 1
        self.watch.leave(self)
        self.transport.abort()

    def _look(self, *, idle: bool = False) -> None:
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if cycle is None or cycle.response_complete:
            phase = _Phase.IDLE if idle else _Phase.HEAD
        else:
            phase = _Phase.BODY if cycle.more_body else _Phase.WORK
        if phase is self._phase and cycle is self._of:
            return  # a further byte moves no deadline
        if cycle is not self._of:
            self.begin()
        self._phase, self._of = phase, cycle
        limits = self.watch.limits
        if phase is _Phase.WORK:
            self.watch.leave(self)
            self._set_timer(None, "")
        else:
            self.watch.enter(self)
            seconds = {_Phase.HEAD: limits.head, _Phase.BODY: limits.body}.get(phase)
            self._set_timer(seconds, phase.value)

    def _set_timer(self, seconds: float | None, why: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.cut, why)


class GuardedH11(Guarded, H11Protocol):
    """On h11, which bounds what it holds of a head at 64 KiB itself."""


class GuardedHttptools(Guarded, HttpToolsProtocol):
    """On httptools: a third less CPU a request, but it would hold a head of any length."""

    _surplus = _body = 0

    def begin(self) -> None:
        """A new request: its own bytes are counted from the next packet on."""
        self._surplus = self._body = 0

    def data_received(self, data: bytes) -> None:
        """Count what is no body: more of it than of body, beyond a head's length, is no honest request."""
        self._surplus += len(data)
        super().data_received(data)
        if self._surplus > LONGEST_HEAD + self._body and not self.transport.is_closing():
            self.cut("head")

    def on_headers_complete(self) -> None:
        """Begin a request; refuse callers that send many ahead: uvicorn would go on reading and queue them all."""
        if len(self.pipeline) >= MOST_AHEAD:
            raise ValueError("too many requests ahead")  # the parser fails: 400, and the connection is closed
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body on."""
        self._surplus -= len(body)
        self._body += len(body)
        super().on_body(body)


def guarded(watch: Watch, *, fast: bool = False) -> type[Guarded]:
    """Return the protocol class of one listener, for ``uvicorn.Config(http=...)``; ``fast``: on httptools."""
    base: type[Guarded] = GuardedHttptools if fast else GuardedH11
    return type(f"{base.__name__}OfOneListener", (base,), {"watch": watch})
