"""The Stream gateway: tickets, websockets, frames, acknowledgements, and another push where there is none (sheet 6.2)."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.types import Message, Receive, Scope, Send

from connectors.dingtalk.sandbox.dials import DingTalkDials
from connectors.dingtalk.sandbox.pushing import Event
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["Connection", "Gateway"]


@dataclass(slots=True, eq=False)
class Connection:
    """One open websocket. ``draining``: it was told to go, nothing is pushed on it any more."""

    id: str
    send: Send
    draining: bool = False
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _Pushed:
    """An event that was pushed and waits for its acknowledgement until ``due`` (µs)."""

    event: Event
    due: int


class Gateway:
    """Pushes each event to one random connection of the app until it is acknowledged."""

    def __init__(self, corp_id: str, clock: SandboxClock, dials: Callable[[], DingTalkDials]) -> None:
        """Take the corp, its clock and how to see the dials."""
        self._corp_id, self._clock, self._dials = corp_id, clock, dials
        self._tickets: dict[str, int] = {}
        self._ready: deque[Event] = deque()
        self._waiting: list[tuple[int, int, Event]] = []
        self._pushed: dict[str, _Pushed] = {}
        self._numbers = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self.connections: list[Connection] = []
        self.counts: Counter[str] = Counter()
        self.acks: deque[dict[str, Json]] = deque(maxlen=2000)

    def reset(self) -> None:
        """Forget tickets, events and counts; open sockets end."""
        self._tickets.clear()
        self._ready.clear()
        self._waiting.clear()
        self._pushed.clear()
        self.counts.clear()
        self.acks.clear()
        for one in self.connections:
            one.closing.set()

    def ticket(self) -> str:
        """Return a ticket for one connection."""
        made = self._clock.token(16).hex()
        self._tickets[made] = self._clock.now() + round(self._dials().ticket_seconds * SECOND)
        self.counts["tickets"] += 1
        return made

    @property
    def pending(self) -> int:
        """Return how many events wait or are not acknowledged."""
        return len(self._ready) + len(self._waiting) + len(self._pushed)

    # ------------------------------------------------------------------------------------------ pushing

    def enqueue(self, event: Event, *, late: float | None = None) -> None:
        """Put an event on its way, now or ``late`` seconds later."""
        if late is None:
            self._ready.append(event)
        else:
            heapq.heappush(
                self._waiting, (self._clock.now() + round(late * SECOND), next(self._numbers), event)
            )
        self.kick()

    def kick(self) -> None:
        """Push in the background what is due."""
        if not self._dials().push_auto:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        now = self._clock.now()
        self._promote(now)
        if self._ready and self._open() and (self._task is None or self._task.done()):
            self._task = loop.create_task(self._drain())
        times = [self._waiting[0][0]] if self._waiting else []
        times += [one.due for one in self._pushed.values()]
        if times:
            loop.call_later(max(0.005, (min(times) - now) / SECOND), self.kick)

    async def flush(self) -> None:
        """Push everything that waits, whatever its time."""
        self._promote(None)
        while self._ready and self._open():
            await self._drain()

    def _promote(self, now: int | None) -> None:
        """Make ready what has come; what nobody acknowledged in time waits for another push."""
        for message_id, one in list(self._pushed.items()):
            if now is None or one.due <= now:
                del self._pushed[message_id]
                self._again(one.event)
        while self._waiting and (now is None or self._waiting[0][0] <= now):
            self._ready.append(heapq.heappop(self._waiting)[2])

    def _again(self, event: Event) -> None:
        self.counts["redelivered"] += 1
        after = max(0.0, self._dials().stream_redeliver_seconds)
        heapq.heappush(self._waiting, (self._clock.now() + round(after * SECOND), next(self._numbers), event))

    def _open(self) -> list[Connection]:
        return [one for one in self.connections if not one.draining and not one.closing.is_set()]

    async def _drain(self) -> None:
        while self._ready and (found := self._open()):
            event = self._ready.popleft()
            chosen = found[self._clock.token(1)[0] % len(found)]
            event.tries += 1
            message_id = self._clock.token(8).hex()
            wait = round(self._dials().stream_ack_seconds * SECOND)
            self._pushed[message_id] = _Pushed(event, self._clock.now() + wait)
            self.counts["pushed"] += 1
            if self._dials().stream_malformed:
                await self._send(chosen, '{"specVersion":"1.0","type":"EVENT","head')
            await self._send(chosen, self._frame(event, message_id))
        asyncio.get_running_loop().call_soon(self.kick)

    def _frame(self, event: Event, message_id: str) -> str:
        headers = {
            "topic": "*", "contentType": "application/json", "messageId": message_id, "time": str(self._clock.now() // 1000),
            "eventId": event.id, "eventType": event.type, "eventCorpId": self._corp_id, "eventBornTime": str(event.born),
            "eventUnifiedAppId": "00000000-0000-4000-8000-000000000000",
        }  # fmt: skip
        frame: dict[str, Json] = {"specVersion": "1.0", "type": "EVENT", "headers": headers}
        if event.type == "quota":  # without content, errCode 20001 (6.2.7)
            del headers["eventType"]
            return orjson.dumps({**frame, "errCode": 20001, "data": ""}).decode()
        return orjson.dumps({**frame, "data": orjson.dumps(event.fields).decode()}).decode()

    async def _send(self, one: Connection, text: str) -> None:
        if self._dials().stream_frozen:
            self.counts["frozen"] += 1
            return
        async with one.lock:
            with contextlib.suppress(Exception):  # the client went away: nothing is acknowledged
                await one.send({"type": "websocket.send", "text": text})

    async def system(self, topic: str, data: dict[str, Json], one: Connection) -> None:
        """Send a SYSTEM frame."""
        headers = {
            "topic": topic, "contentType": "application/json", "messageId": self._clock.token(8).hex(),
            "time": str(self._clock.now() // 1000),
        }  # fmt: skip
        frame = {
            "specVersion": "1.0",
            "type": "SYSTEM",
            "headers": headers,
            "data": orjson.dumps(data).decode(),
        }
        await self._send(one, orjson.dumps(frame).decode())

    async def disconnect(self, reason: str = "connection is expired") -> int:
        """Tell every connection to go; TCP ends after a while. Return how many."""
        told = self._open()
        for one in told:
            await self.system("disconnect", {"reason": reason}, one)
            one.draining = True
            asyncio.get_running_loop().call_later(self._dials().stream_drain_seconds, one.closing.set)
        return len(told)

    def cut(self) -> int:
        """End every connection abruptly. Return how many."""
        for one in self.connections:
            one.cut = True
            one.closing.set()
        return len(self.connections)

    # ------------------------------------------------------------------------------------------ one socket

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket: its ticket is good once, and for a while."""
        await receive()  # websocket.connect
        given = parse_qs(scope["query_string"].decode()).get("ticket", [""])[0]
        until = self._tickets.pop(given, 0)
        if until <= self._clock.now():
            self.counts["bad_tickets"] += 1
            await send({"type": "websocket.close", "code": 4001})
            return
        await send({"type": "websocket.accept"})
        one = Connection(self._clock.token(4).hex(), send)
        self.connections.append(one)
        self.counts["connected"] += 1
        pings = asyncio.ensure_future(self._ping(one))
        try:
            self.kick()
            await self._listen(one, receive)
        finally:
            pings.cancel()
            self.connections.remove(one)
            if one.cut:
                transport = getattr(getattr(send, "__self__", None), "transport", None)
                if transport is not None:
                    transport.abort()
            else:
                with contextlib.suppress(Exception):  # it may have gone already
                    await send({"type": "websocket.close", "code": 1000})

    async def _listen(self, one: Connection, receive: Receive) -> None:
        closing = asyncio.ensure_future(one.closing.wait())
        try:
            while not one.closing.is_set():
                hearing: asyncio.Future[Any] = asyncio.ensure_future(receive())
                await asyncio.wait({hearing, closing}, return_when=asyncio.FIRST_COMPLETED)
                if not hearing.done():
                    hearing.cancel()
                    return
                message: Message = hearing.result()
                if message["type"] != "websocket.receive":
                    return
                self._acknowledged(
                    message.get("text") or (message.get("bytes") or b"").decode("utf-8", "replace")
                )
        finally:
            closing.cancel()

    def _acknowledged(self, text: str) -> None:
        """Take an acknowledgement in any form the vendor's SDKs send: it counts unless its code or status says no."""
        try:
            ack = orjson.loads(text)
            message_id, code = ack["headers"]["messageId"], int(ack["code"])
            data = orjson.loads(ack.get("data") or "{}")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            self.counts["bad_acks"] += 1
            return
        self.acks.append({"messageId": message_id, "code": code, "data": data})
        pushed = self._pushed.pop(message_id, None)
        if pushed is None:
            self.counts["other_acks"] += 1  # a ping's, or one that came too late
            return
        late = isinstance(data, dict) and data.get("status") == "LATER"
        if code == 200 and not late:
            self.counts["acknowledged"] += 1
            return
        self.counts["later"] += 1
        self._again(pushed.event)
        self.kick()

    async def _ping(self, one: Connection) -> None:
        while True:
            await self._clock.sleep(self._dials().stream_ping_seconds)
            self.counts["pings"] += 1
            await self.system("ping", {"opaque": self._clock.token(4).hex()}, one)
