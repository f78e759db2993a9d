"""The doors ``/hooks/{connection}``: where vendors call us.

A plain ASGI application without routes, models or sessions. Raw bytes first; the connector verifies, decrypts and
reads them (:meth:`hub.sdk.connector.Connector.receive`); all events of a request go to the bus in one publish, and only
when they are durable the vendor gets its exact acknowledgement. A door never dedupes: a repeat is counted,
published and answered alike, and taking makes it one effect. Whatever a stranger sends ends in one and the same
refusal, but for a body that is nothing the vendor writes, which its sender knows; 503 only says that the bus does not
take anything now. Why it was refused stands in our log alone, once in a while for each connection and cause.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import unquote_to_bytes

import orjson

from hub.api.door_counts import DoorCounts, Seen
from hub.api.wire import encode
from hub.bus.port import INBOUND, Message
from hub.clock import Clock
from hub.errors import Cause, InboundRefused, Refused
from hub.log import Quiet
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.sdk.connector import Connector
from hub.sdk.inbound import Health, InboundEvent, InboundRequest, Received
from hub.tracing import Tracer

__all__ = ["BODY_LIMIT", "Door", "DoorLimits", "Doors", "doors_of"]

BODY_LIMIT: Final = 1 << 20
"""Bytes of a callback; what a vendor's own envelope may hold is its connector's matter."""
LONGEST_ID: Final = 128
MOST_PARAMETERS: Final = 64
QUIET: Final = 10.0
"""Seconds for which one connection's log line of one cause is not repeated."""
LONGEST_WHY: Final = 300
SMALL: Final = 1 << 16
"""Bytes up to which a body does not count against `DoorLimits.large_bytes`."""

_PATH: Final = b"/hooks/"
_METHODS: Final = frozenset({"GET", "POST"})
_BROKEN_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LENGTH: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_ADDRESSES: Final = ("forwarded", "x-real-ip", "x-forwarded-")
"""Headers by which a caller names its own address. No connector sees them; :mod:`hub.api.serve` alone reads
X-Forwarded-For, and only from a proxy in the settings."""

Publish = Callable[[str, Sequence[Message]], Awaitable[object]]
Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A finished answer; ``cause``: under which it is counted, "" for an acknowledgement."""

    status: int
    body: bytes
    headers: tuple[Header, ...]
    cause: str = ""


def _problem(status: int, cause: str, zh: str, en: str, *extra: Header) -> _Answer:
    """Make a problem document (RFC 9457) once: equal refusals are equal bytes."""
    slug = cause.replace("_", "-")
    body = encode({"type": f"urn:hub:problem:{slug}", "title": en, "title_zh": zh, "status": status})
    return _Answer(status, body, (*_typed(b"application/problem+json", body), *extra), cause)


def _typed(media_type: bytes, body: bytes) -> tuple[Header, ...]:
    return (b"content-type", media_type), (b"content-length", b"%d" % len(body))


_CLOSE: Final = (b"connection", b"close")  # the body was not read: the connection cannot be used again
_LATER: Final = (b"retry-after", b"5")
_REFUSED: Final = _problem(
    401, "refused", "请求未通过校验", "The request was not accepted", (b"www-authenticate", b"Signature")
)
_UNREADABLE: Final = _problem(
    400, "unreadable", "请求正文不是该系统的回调", "The body is no callback of this vendor"
)
_UNKNOWN: Final = _problem(404, "not_found", "不存在", "There is nothing here", _CLOSE)
_BAD_METHOD: Final = _problem(
    405,
    "bad_method",
    "不支持该方法",
    "Only GET and POST are supported here",
    (b"allow", b"GET, POST"),
    _CLOSE,
)
_BAD_REQUEST: Final = _problem(400, "bad_request", "请求格式不正确", "The request is not well formed", _CLOSE)
_TOO_LARGE: Final = _problem(413, "too_large", "请求正文过大", "The body is too large", _CLOSE)
_ENCODED: Final = _problem(415, "encoded", "不接受压缩正文", "A compressed body is not accepted", _CLOSE)
_CROWDED: Final = _problem(
    503, "crowded", "暂不可用，请稍后重试", "Too busy; try again later", _LATER, _CLOSE
)
_BUS_DOWN: Final = _problem(503, "bus", "暂不可用，请稍后重试", "Not available now; try again later", _LATER)
_NOT_STARTED: Final = _problem(
    503, "not_started", "该连接未启动，请稍后重试", "This connection is not running", _LATER, _CLOSE
)


class _Turned(Exception):
    """The request ends here, with this answer. ``why``: what the connector said when it refused."""

    def __init__(self, answer: _Answer, why: InboundRefused | None = None) -> None:
        super().__init__(answer.cause)
        self.answer, self.why = answer, why


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """What the doors take at once.

    ``publishing``: requests that wait for the bus; more get 503. ``publish_seconds``: how long one waits before it is
    told 503 (WeCom hangs up after 5 s). ``large_bytes``: memory of all unfinished bodies beyond their first
    64 KiB. ``remembered``: event ids per generation of the memory of repeats.
    """

    publishing: int = 2_000
    publish_seconds: float = 4.5
    large_bytes: int = 64 << 20
    remembered: int = 100_000


@dataclass(frozen=True, slots=True)
class Door:
    """One connection's door. ``parents``: every stream its events may name -> the stream it hangs on, or None."""

    receive: Callable[[InboundRequest], Received]
    parents: Mapping[str, str | None]

    @classmethod
    def of(cls, connector: Connector) -> Self | None:
        """Return the door of a connector; None if it receives nothing or is set to poll."""
        receives = type(connector).receive is not Connector.receive
        if not receives or connector.settings.get("receive") == "poll":
            return None
        return cls(connector.receive, {name: one.parent for name, one in connector.spec.streams.items()})


def doors_of(connectors: Mapping[str, Connector]) -> dict[str, Door]:
    """Return the doors of these connections by name."""
    found = {name: Door.of(connector) for name, connector in connectors.items()}
    return {name: door for name, door in found.items() if door is not None}


class Doors:
    """The ASGI application. ``counts``: connection -> what happened at its door, for the metrics."""

    def __init__(
        self,
        doors: Mapping[str, Door],
        publish: Publish,
        clock: Clock,
        log: Any,
        *,
        closed: frozenset[str] = frozenset(),
        limits: DoorLimits = DoorLimits(),
        tracer: Tracer | None = None,
    ) -> None:
        """``publish``: the bus's. ``log``: a structlog logger. ``closed``: connections that did not start.

        ``tracer``: where a span of each callback goes, if anywhere.
        """
        self._doors, self._publish, self._clock, self._log = doors, publish, clock, log
        self._closed, self._limits, self._tracer = closed, limits, tracer
        self._seen = Seen(limits.remembered)
        self._publishing = self._large = 0
        self._quiet = Quiet(clock.monotonic, QUIET)
        self.counts = {name: DoorCounts() for name in doors}
        self.unknown = 0
        """Requests for a door that is not there."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"a door speaks HTTP, not {scope['type']}")
        answer = await self._answer(scope, receive)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Any, receive: Any) -> _Answer:
        began = self._clock.monotonic()
        # Raw: what is escaped, doubled or dotted is no name, so there is nothing to normalise.
        path: bytes = scope["raw_path"]
        name = path.removeprefix(_PATH).decode("latin-1") if path.startswith(_PATH) else ""
        door = self._doors.get(name)
        if door is None:
            self.unknown += 1
            return _NOT_STARTED if name in self._closed else _UNKNOWN
        counts = self.counts[name]
        why: InboundRefused | None = None
        span = None if self._tracer is None else self._tracer.start("capture", connection=name)
        trace = "" if span is None else span.traceparent
        try:
            answer = await self._through(name, door, scope, receive, trace)
        except _Turned as turned:
            answer, why = turned.answer, turned.why
        counts.done(answer.status, answer.cause, self._clock.monotonic() - began)
        if span is not None:
            span.end(answer.cause)
        client = (scope.get("client") or ("",))[0]
        if why is not None:
            text = str(why)[:LONGEST_WHY]
            counts.refuse(why.cause.value, text, self._clock.now())
            self._tell(
                "hooks.refused",
                name,
                why.cause.value,
                why=text,
                client=client,
                so_far=counts.refusals[why.cause.value],
            )
        elif answer.cause:
            self._tell("hooks.turned", name, answer.cause, client=client, so_far=counts.errors[answer.cause])
        return answer

    async def _through(self, name: str, door: Door, scope: Any, receive: Any, trace: str) -> _Answer:
        if scope["method"] not in _METHODS:
            raise _Turned(_BAD_METHOD)
        headers = _headers(scope["headers"])
        _check_body_headers(headers)
        query = _query(scope["query_string"])
        body = await self._body(receive)
        request = InboundRequest(scope["method"], query, headers, body, self._clock.now())
        received, messages, answer = self._read(name, door, request, trace)
        if messages:
            await self._store(name, messages)
            self._remember(name, received.events)
        if received.ignored is not None:
            self.counts[name].ignore(received.ignored)
        if received.health is not None:
            self._hear(name, received.health)
        return answer

    def _hear(self, name: str, health: Health) -> None:
        """Keep what the vendor says of the connection for people to see, and log it."""
        self.counts[name].hear(health, self._clock.now())
        state = health.about if health.en else f"{health.about} is well again"
        self._tell("hooks.health", name, state, text=health.en)

    async def _body(self, receive: Any) -> bytes:
        """Read the body; of what is too long no more is held than the limit and one chunk."""
        message = await receive()
        held = bytearray(message.get("body", b""))
        counted = 0
        try:
            while message["type"] == "http.request" and message.get("more_body"):
                beyond = max(0, len(held) - SMALL)
                self._large += beyond - counted
                counted = beyond
                if len(held) > BODY_LIMIT:
                    break
                if self._large > self._limits.large_bytes:
                    raise _Turned(_CROWDED)
                message = await receive()
                held += message.get("body", b"")
        finally:
            self._large -= counted
        if message["type"] != "http.request":
            raise _Turned(_BAD_REQUEST)  # the caller hung up in the middle
        if len(held) > BODY_LIMIT:
            raise _Turned(_TOO_LARGE)
        return bytes(held)

    def _read(
        self, name: str, door: Door, request: InboundRequest, trace: str
    ) -> tuple[Received, list[Message], _Answer]:
        """Let the connector verify and read it. A connector that fails is a bug of ours; the caller learns nothing.

        Everything that can go wrong with what it said does so here, before anything is stored.
        """
        try:
            received = door.receive(request)
            messages = [_message(name, door, event, trace) for event in received.events]
            headers = _typed(received.media_type.encode("latin-1"), received.body)
            answer = _Answer(received.status, received.body, headers)
        except InboundRefused as error:
            raise _Turned(_UNREADABLE if error.cause is Cause.INVALID else _REFUSED, error) from None
        except Exception as error:  # noqa: BLE001 - whatever a stranger's bytes did to it, he gets the same refusal
            self.counts[name].refuse(
                "bug", f"{type(error).__name__}: a bug of ours, see the log", self._clock.now()
            )
            self._tell("hooks.bug", name, type(error).__name__, exc_info=error)
            raise _Turned(_REFUSED) from None
        return received, messages, answer

    async def _store(self, name: str, messages: Sequence[Message]) -> None:
        if self._publishing >= self._limits.publishing:
            raise _Turned(_CROWDED)
        self._publishing += 1
        try:
            async with asyncio.timeout(self._limits.publish_seconds):
                await self._publish(INBOUND, messages)
        except Refused:
            raise _Turned(
                _TOO_LARGE
            ) from None  # an event larger than the bus carries: repeating it helps nobody
        except Exception as error:  # noqa: BLE001 - nothing is acknowledged that is not known to be durable
            self._tell("hooks.bus_down", name, type(error).__name__, error=str(error))
            raise _Turned(_BUS_DOWN) from None
        finally:
            self._publishing -= 1

    def _remember(self, name: str, events: Sequence[InboundEvent]) -> None:
        now, counts = self._clock.monotonic(), self.counts[name]
        for event in events:
            counts.events += 1
            content = _content(event)
            before = self._seen.before((name, event.stream, event.id), content, now)
            if before is None:
                continue
            counts.repeats += 1
            if before != content:
                counts.altered += 1
                self._tell("hooks.altered", name, event.type, event_id=event.id)

    def _tell(self, what: str, name: str, cause: str, **fields: Any) -> None:
        """Log it, once in a while for one connection and cause: a flood must not become a flood of lines."""
        if self._quiet.allows((what, name, cause)):
            self._log.warning(what, connection=name, cause=cause, **fields)


def _headers(pairs: Sequence[Header]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in pairs:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        if not name.startswith(_ADDRESSES):
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _check_body_headers(headers: Mapping[str, str]) -> None:
    length = headers.get("content-length")
    if length is not None:
        if "transfer-encoding" in headers or not _LENGTH.fullmatch(length):
            raise _Turned(_BAD_REQUEST)
        if int(length) > BODY_LIMIT:
            raise _Turned(_TOO_LARGE)
    if "upgrade" in headers:
        raise _Turned(_BAD_REQUEST)  # the parser takes what follows for another protocol, not for a body
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _Turned(_ENCODED)


def _query(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Decode a query: percent only, once; a ``+`` is a ``+`` (base64 in an echostr holds some)."""
    if not raw:
        return ()
    parts = raw.split(b"&")
    if len(parts) > MOST_PARAMETERS or _BROKEN_PERCENT.search(raw):
        raise _Turned(_BAD_REQUEST)
    try:
        pairs = [part.partition(b"=") for part in parts if part]
        return tuple(
            (unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()) for name, _, value in pairs
        )
    except UnicodeDecodeError:
        raise _Turned(_BAD_REQUEST) from None


def _message(name: str, door: Door, event: InboundEvent, trace: str) -> Message:
    if not 1 <= len(event.id) <= LONGEST_ID:
        raise ValueError(f"an event id of {len(event.id)} characters; 1 to {LONGEST_ID}")
    parent = door.parents[event.stream]
    about = event.key if event.record is None else event.record
    return to_message(
        to_event(name, event.stream, about, event_id=event.id, parent=parent, traceparent=trace)
    )


def _content(event: InboundEvent) -> int:
    """Return a digest of what an event says, to tell a repeat from another event under the same id."""
    body = b"" if event.record is None else orjson.dumps(event.record.body, option=orjson.OPT_SORT_KEYS)
    return hash((event.type, event.key.org, event.key.id, body))
