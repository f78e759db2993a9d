"""HTTP pushes: signed and encrypted, an exact reply within 2.5 s, two retries, then the failed list (sheet 6.1)."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson

from connectors.dingtalk.sandbox.dials import DingTalkDials
from connectors.dingtalk.sandbox.sealing import aes_key, seal, sign, unseal
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["Event", "HandshakeError", "Pushes", "Receiver"]


class HandshakeError(Exception):
    """The address is not saved; the text says what the receiver did wrong."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where events go: what the administrator saved. ``owner``: whose id stands inside the cipher."""

    url: str
    token: str
    aes_key: str
    owner: str


@dataclass(slots=True)
class Event:
    """One event: what it is about, and how often it was pushed."""

    id: str
    type: str
    fields: dict[str, Json]
    born: int
    tries: int = 0


@dataclass(slots=True)
class _Queue:
    ready: deque[Event] = field(default_factory=deque)
    waiting: list[tuple[int, int, Event]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)


class Pushes:
    """The outbox of HTTP mode and the list of what was given up."""

    def __init__(self, corp_id: str, clock: SandboxClock, dials: Callable[[], DingTalkDials]) -> None:
        """Take the corp, its clock and how to see the dials; ``transport`` may replace the network."""
        self._corp_id, self._clock, self._dials = corp_id, clock, dials
        self.transport: httpx.AsyncBaseTransport | None = None
        self.receiver: Receiver | None = None
        self.failed: list[tuple[int, Event]] = []
        self.counts: Counter[str] = Counter()
        self.log: deque[dict[str, Json]] = deque(maxlen=2000)
        self._queue = _Queue()
        self._task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Forget receiver, events and counts."""
        self.receiver, self.failed, self._queue = None, [], _Queue()
        self.counts.clear()
        self.log.clear()

    async def save(self, receiver: Receiver) -> None:
        """Save the receiver after the check event was answered as it must be.

        Raises:
            HandshakeError: no answer in time, or not the encrypted ``success``.
            ValueError: token or key cannot be.
        """
        if not 3 <= len(receiver.token) <= 32 or not receiver.token.isascii() or not receiver.token.isalnum():
            raise ValueError("token must be 3 to 32 letters or digits")
        aes_key(receiver.aes_key)
        status, why = await self._post(receiver, orjson.dumps({"EventType": "check_url"}))
        if why:
            raise HandshakeError(f"check_url: {why} (HTTP {status})")
        self.receiver = receiver

    def enqueue(self, event: Event, *, late: float | None = None) -> None:
        """Put an event on its way, now or ``late`` seconds later."""
        if late is None:
            self._queue.ready.append(event)
        else:
            due = self._clock.now() + round(late * SECOND)
            heapq.heappush(self._queue.waiting, (due, next(self._queue.numbers), event))
        self.kick()

    def kick(self) -> None:
        """Deliver in the background what is due."""
        if not self._dials().push_auto:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._promote(self._clock.now())
        if self._queue.ready:
            if self._task is None or self._task.done():
                self._task = loop.create_task(self._drain())
        elif self._queue.waiting:
            wait = (self._queue.waiting[0][0] - self._clock.now()) / SECOND
            loop.call_later(max(0.001, wait), self.kick)

    async def flush(self) -> None:
        """Deliver everything pending, retries at once."""
        while self._queue.ready or self._queue.waiting or (self._task is not None and not self._task.done()):
            self._promote(None)
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._drain())
            await asyncio.shield(self._task)

    def failed_list(self) -> dict[str, Json]:
        """Show up to 200 events that were given up, and forget them: the read is destructive (pitfall 22)."""
        due = self._clock.now() - round(self._dials().failed_after * SECOND)
        ready = [pair for pair in self.failed if pair[0] <= due]
        shown, rest = ready[:200], ready[200:]
        self.failed = [pair for pair in self.failed if pair not in shown]
        return {"has_more": bool(rest), "failed_list": [self._as_failed(event) for _, event in shown]}

    @property
    def pending(self) -> int:
        """Return how many events wait."""
        return len(self._queue.ready) + len(self._queue.waiting)

    # ------------------------------------------------------------------------------------------ inside

    def _as_failed(self, event: Event) -> dict[str, Json]:
        inner: dict[str, Json] = {"corpid": self._corp_id}
        if event.type.startswith("bpms_"):
            inner["bpmsCallBackData"] = {"eventId": event.id, **event.fields}
        elif event.type.startswith("user_"):
            inner["userid"] = event.fields.get("userId", [])
        else:
            inner["callbackData"] = event.fields
        return {"event_time": event.born, "call_back_tag": event.type, event.type: inner}

    def _promote(self, now: int | None) -> None:
        waiting = self._queue.waiting
        while waiting and (now is None or waiting[0][0] <= now):
            self._queue.ready.append(heapq.heappop(waiting)[2])

    async def _drain(self) -> None:
        while self._queue.ready:
            event = self._queue.ready.popleft()
            if self.receiver is not None:
                await self._deliver(self.receiver, event)
        asyncio.get_running_loop().call_soon(self.kick)

    async def _deliver(self, receiver: Receiver, event: Event) -> None:
        plain = {
            "EventType": event.type, "EventTime": event.born, "CorpId": self._corp_id, "BizId": event.id[:16],
            "eventId": event.id, **event.fields,
        }  # fmt: skip
        event.tries += 1
        self.counts["sent"] += 1
        status, why = await self._post(receiver, orjson.dumps(plain))
        self.log.append(
            {"id": event.id, "type": event.type, "try": event.tries, "status": status, "why": why}
        )
        if not why:
            self.counts["acknowledged"] += 1
            return
        retries = self._dials().push_retries
        if event.tries <= len(retries):
            self.counts["retried"] += 1
            self.enqueue(event, late=retries[event.tries - 1])
        else:
            self.counts["failed"] += 1
            self.failed.append((self._clock.now(), event))

    async def _post(self, receiver: Receiver, plain: bytes) -> tuple[int, str]:
        """Return the status (0: silence) and what is wrong with the reply, "" if nothing."""
        key = aes_key(receiver.aes_key)
        encrypt = seal(key, self._clock.token(16), plain, receiver.owner)
        timestamp, nonce = str(self._clock.now() // 1000), self._clock.token(4).hex()
        signed = sign(receiver.token, timestamp, nonce, encrypt)
        names = self._dials().push_signature
        query = {name: signed for name in ("msg_signature", "signature") if names in ("both", name)}
        query |= {"timestamp": timestamp, "nonce": nonce}
        url = f"{receiver.url}{'&' if '?' in receiver.url else '?'}{urlencode(query)}"
        body = orjson.dumps({"encrypt": encrypt})
        try:
            async with asyncio.timeout(self._dials().push_timeout), self._client() as client:
                answer = await client.post(url, content=body, headers={"content-type": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return 0, f"no answer ({type(error).__name__})"
        if answer.status_code != 200:
            return answer.status_code, "the status is not 200"
        return 200, _wrong(answer.content, receiver, key)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self.transport, trust_env=False, follow_redirects=False)


def _wrong(content: bytes, receiver: Receiver, key: bytes) -> str:
    """Say what is wrong with a reply: it is four keys, signed, around the encrypted ``success`` (pitfall 2)."""
    try:
        reply: Any = orjson.loads(content)
        given = [reply[name] for name in ("msg_signature", "timeStamp", "nonce", "encrypt")]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "返回字段值失败 (71009): not the four keys"
    signed, timestamp, nonce, encrypt = (str(one) for one in given)
    if signed != sign(receiver.token, timestamp, nonce, encrypt):
        return "the reply's signature is wrong (900005)"
    try:
        text = unseal(key, encrypt, receiver.owner)
    except ValueError as error:
        return f"the reply cannot be decrypted: {error}"
    return "" if text == b"success" else "the reply is not success (71009)"
