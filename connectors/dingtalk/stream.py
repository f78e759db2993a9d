"""Stream mode: a websocket of DingTalk's gateway on which events come and are acknowledged (fact sheet 6.2).

An event is acknowledged once it is durable on our bus; else DingTalk is told LATER, or nothing, and pushes it again. The
gateway rotates its sockets: the new one is opened first, the old one drained. A socket without any frame for a while is
dead whatever TCP says (pitfalls 11 to 14).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.events import QUOTA, Event, effect_of
from hub.sdk import Cause, ConnectionDown, Emit, Health, Received, RemoteError, Socket, Toolbox, TryAgain

__all__ = ["Stream"]

SUBSCRIPTIONS = [{"type": "EVENT", "topic": "*"}]
"""The only topic of events: which of them come is ticked in the console (6.2)."""
ACK_WITHIN = 2.5
"""Seconds for making an event durable; DingTalk waits 3 (6.2)."""
AT_ONCE = 64
"""Events of one socket that are on their way to the bus at the same time."""
FIRST_PAUSE, LAST_PAUSE = 3.0, 60.0
"""Seconds between two tries to connect, doubled each time; a refused credential waits the longest at once."""
DRAIN = 15.0
"""Seconds an old socket is listened to after it was told to go; TCP ends after about 10 (6.2)."""
TELL_AFTER = 3
"""Failures in a row until people are told."""
QUOTA_CODE = "20001"
WELL = Health("stream")
Heard = Callable[[Event], None]


class _Line:
    """One socket while it lives: ``open`` once it is, ``rotating`` once the gateway told it to go."""

    def __init__(self) -> None:
        self.open, self.rotating = asyncio.Event(), asyncio.Event()
        self.heard = False


class Stream:
    """Listens for one connection."""

    def __init__(
        self,
        client: DingTalkClient,
        tools: Toolbox,
        settings: Mapping[str, Any],
        codes: tuple[str, ...],
        heard: Heard,
    ) -> None:
        """``codes``: the templates that are taken in. ``heard``: told of every event before it is published."""
        self._client, self._tools, self._codes, self._heard = client, tools, codes, heard
        self._corp_id: str = settings["corp_id"]
        self._idle: float = settings["stream_idle"]
        self._failures = 0
        self._told: str | None = None
        self._out_of_quota = False

    async def run(self, emit: Emit) -> None:
        """Listen until cancelled."""
        lines: dict[asyncio.Task[None], _Line] = {}
        hasty = 0
        try:
            while True:
                line, began = _Line(), self._tools.clock.monotonic()
                task = asyncio.ensure_future(self._line(line, emit))
                lines[task] = line
                rotating = asyncio.ensure_future(line.rotating.wait())
                try:
                    await asyncio.wait({task, rotating}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    rotating.cancel()
                hasty = hasty + 1 if self._tools.clock.monotonic() - began < FIRST_PAUSE else 0
                if task.done():
                    await self._ended(task, line, emit)
                elif hasty > TELL_AFTER:  # told to go again and again, as soon as it is there
                    await self._tools.clock.sleep(FIRST_PAUSE)
                for old in [one for one in lines if one.done()]:
                    del lines[old]
                    old.exception()  # an old socket ends as it likes
        finally:
            for task in lines:
                task.cancel()
            await asyncio.gather(*lines, return_exceptions=True)

    async def _ended(self, task: asyncio.Task[None], line: _Line, emit: Emit) -> None:
        """Wait before the next try, longer from time to time, and tell people when it goes on."""
        error = task.exception()
        if error is not None and not isinstance(error, RemoteError):
            raise error
        if line.open.is_set() and isinstance(error, TryAgain) and error.cause is Cause.UNAVAILABLE:
            self._tools.log.info("dingtalk.stream.silent", error=str(error))
            return  # the watchdog: another socket at once; where that cannot be opened, it is a failure
        self._failures += 1
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
        if isinstance(error, ConnectionDown):
            pause = LAST_PAUSE
        self._tools.log.info("dingtalk.stream.ended", failures=self._failures, error=str(error))
        if self._failures >= TELL_AFTER or isinstance(error, ConnectionDown):
            await self._tell(
                emit,
                f"钉钉 Stream 连接不上：{error}。事件暂由定时读取补上；核对 AppKey、AppSecret 和“事件订阅 → Stream 模式推送”",
                f"DingTalk's Stream cannot be reached: {error}; changes are found by reading meanwhile. Compare app_key and "
                "app_secret, and 事件订阅 → Stream 模式推送",
            )
        first = self._failures == 1 and not isinstance(error, ConnectionDown)
        await self._tools.clock.sleep(0.2 if first else pause * (0.75 + self._tools.clock.random() / 4))

    async def _tell(self, emit: Emit, zh: str = "", en: str = "") -> None:
        """Say how the Stream is, when that is news."""
        if self._told == en:
            return
        with contextlib.suppress(Exception):  # the store or the bus is away: said another time
            async with asyncio.timeout(ACK_WITHIN):
                await emit(Received(health=Health(WELL.about, zh, en)))
            self._told = en

    # ------------------------------------------------------------------------------------------ one socket

    async def _line(self, line: _Line, emit: Emit) -> None:
        """Open one socket and read it until it ends. Raises RemoteError."""
        url, _ = await self._client.open_stream(SUBSCRIPTIONS)
        room = asyncio.Semaphore(AT_ONCE)
        async with self._tools.http.socket(url, heartbeat=self._idle / 2) as socket:
            line.open.set()
            working: set[asyncio.Task[None]] = set()
            try:
                while True:
                    wait = DRAIN if line.rotating.is_set() else self._idle
                    text = await socket.receive(wait)
                    self._failures = 0
                    if not line.heard:
                        line.heard = True
                        working.add(
                            asyncio.ensure_future(self._tell(emit))
                        )  # beside: it must not keep a frame back
                    frame = _frame(text)
                    if frame is None:
                        self._tools.log.warning("dingtalk.stream.unreadable", characters=len(text))
                        continue
                    await room.acquire()
                    task = asyncio.ensure_future(self._take(frame, socket, line, emit))
                    working.add(task)
                    task.add_done_callback(working.discard)
                    task.add_done_callback(lambda _: room.release())
            finally:
                if working:
                    await asyncio.wait(working, timeout=ACK_WITHIN)
                for task in working:
                    task.cancel()

    async def _take(self, frame: Mapping[str, Any], socket: Socket, line: _Line, emit: Emit) -> None:
        """Answer one frame; what goes wrong with one frame ends nothing."""
        headers = frame["headers"]
        kind, topic, data = str(frame.get("type")), str(headers.get("topic")), frame.get("data")
        try:
            if kind == "SYSTEM" and topic == "disconnect":
                line.rotating.set()  # the normal rotation: no answer is due
                return
            if kind == "SYSTEM":
                await _answer(socket, headers, 200, data if isinstance(data, str) else "{}")
            elif kind == "EVENT":
                done = await self._event(frame, headers, emit)
                status = orjson.dumps({"status": "SUCCESS" if done else "LATER", "message": ""}).decode()
                await _answer(socket, headers, 200, status)
            else:
                await _answer(socket, headers, 404, orjson.dumps({"response": None}).decode())
        except RemoteError as error:
            self._tools.log.info("dingtalk.stream.not_answered", topic=topic, error=str(error))

    async def _event(self, frame: Mapping[str, Any], headers: Mapping[str, Any], emit: Emit) -> bool:
        """Make an event durable. Return False if that failed or took too long: it must come again."""
        try:
            async with asyncio.timeout(ACK_WITHIN):
                for received in self._read(frame, headers):
                    await emit(received)
        except Exception as error:  # noqa: BLE001 - whatever the bus raises: nothing is acknowledged that is not durable
            self._tools.log.warning("dingtalk.stream.later", error=f"{type(error).__name__}: {error}")
            return False
        return True

    def _read(self, frame: Mapping[str, Any], headers: Mapping[str, Any]) -> list[Received]:
        fields = _object(frame.get("data"))
        if QUOTA_CODE in (str(part.get("errCode")) for part in (frame, headers, fields)):
            self._out_of_quota = True
            return [Received(health=QUOTA)]
        corp = headers.get("eventCorpId")
        if corp is not None and corp != self._corp_id:
            self._tools.log.warning("dingtalk.stream.foreign", corp=str(corp)[:64])
            return [Received(ignored="another corp")]
        word = str(headers.get("eventType") or "")
        event = Event.of(word, str(headers.get("eventId") or ""), fields, self._codes)
        self._heard(event)
        found = [effect_of(event)]
        if self._out_of_quota and word.startswith("bpms_"):
            self._out_of_quota = False
            found.append(Received(health=Health(QUOTA.about)))
        return found


async def _answer(socket: Socket, headers: Mapping[str, Any], code: int, data: str) -> None:
    ack = {
        "code": code, "headers": {"messageId": headers.get("messageId"), "contentType": "application/json"},
        "message": "OK" if code == 200 else "not handled", "data": data,
    }  # fmt: skip
    await socket.send(orjson.dumps(ack).decode())


def _frame(text: str) -> Mapping[str, Any] | None:
    """Return a frame with headers, None for what is none."""
    frame = _object(text)
    return frame if isinstance(frame.get("headers"), dict) else None


def _object(text: object) -> dict[str, Any]:
    try:
        found = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
