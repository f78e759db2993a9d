"""Pushed events: the test when a subscription is saved, the outbox with the vendor's repeats, and what goes wrong (3)."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import json
import ssl
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from connectors.yonyou.sandbox.dials import YonyouDials
from connectors.yonyou.sandbox.gate import Account
from connectors.yonyou.sandbox.sealing import NEW, OLD, aes_key, seal, sign, unseal
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["CheckUrlError", "Pushes", "Subscription"]

KEEP_LOG = 2000
NO_LIMIT = 600
"""Seconds; each call has its own, shorter limit around it."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class CheckUrlError(Exception):
    """The subscription is not saved; the text says what the receiver did wrong."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where events go. ``scheme``: the field that carries the signature; ``types``: what is subscribed, empty: all."""

    url: str
    scheme: str = NEW
    types: tuple[str, ...] = ()


@dataclass(slots=True)
class _Parcel:
    """One event on its way; ``body`` is kept when a repeat is not sealed again."""

    plain: bytes
    attempts: int = 0
    body: bytes = b""


@dataclass(slots=True)
class _Queue:
    """Parcels that may go now, by their order, and those that wait for their time."""

    ready: list[tuple[int, int, _Parcel]] = field(default_factory=list)
    waiting: list[tuple[int, int, int, _Parcel]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self.ready) + len(self.waiting)


class Pushes:
    """Delivers signed and encrypted events over HTTP to the one subscription of the app."""

    def __init__(self, account: Account, clock: SandboxClock, dials: Callable[[], YonyouDials]) -> None:
        """Take the app, its clock, and how to see the dials; ``transport`` may replace the network."""
        self._account, self._clock, self._dials = account, clock, dials
        self._key = aes_key(account.app_secret)
        self._queue = _Queue()
        self._task: asyncio.Task[None] | None = None
        self.transport: httpx.AsyncBaseTransport | None = None
        self.subscription: Subscription | None = None
        self.counts: Counter[str] = Counter()
        self.log: deque[dict[str, Json]] = deque(maxlen=KEEP_LOG)

    def reset(self) -> None:
        """Forget subscription, events and counts."""
        self.subscription = None
        self._queue = _Queue()
        self.counts.clear()
        self.log.clear()

    async def save(self, subscription: Subscription) -> None:
        """Save a subscription after a `CHECK_URL` that was answered as it must.

        Raises:
            CheckUrlError: no answer in time, another status than 200, or not the word.
        """
        if subscription.scheme not in (NEW, OLD):
            raise CheckUrlError(f"scheme is {NEW} or {OLD}")
        plain = self.event("CHECK_URL", {})
        async with self._client() as client:
            status, said = await self._post(
                client, subscription.url, self._sealed(plain, subscription.scheme)
            )
        if status == 0:
            raise CheckUrlError("the address does not answer in time")
        if status != 200 or not self._is_success(said):
            raise CheckUrlError(f"CHECK_URL was answered with HTTP {status} and not with success")
        self.subscription = subscription

    def event(self, word: str, more: Mapping[str, Json]) -> bytes:
        """Return an event as it is before it is sealed (3.4): absent fields are left out."""
        number = int.from_bytes(self._clock.token(8), "big")
        said = {"type": word, "eventId": f"evt-{number:016x}", "timestamp": self._clock.now() // 1000}
        said |= {"tenantId": self._account.tenant_id, **more}
        return json.dumps(said, ensure_ascii=False).encode()

    def emit(self, word: str, content: Mapping[str, Json]) -> None:
        """Put a business event on its way; its content is JSON as a text, or inline by the dial."""
        inner: Json = (
            dict(content) if self._dials().push_inline else json.dumps(dict(content), ensure_ascii=False)
        )
        self.enqueue(word, self.event(word, {"content": inner}))

    def enqueue(self, word: str, plain: bytes) -> None:
        """Put an event on its way; the dials may lose it, double it or let others overtake it."""
        wanted = self.subscription
        if wanted is None or (wanted.types and word not in wanted.types):
            return
        dials = self._dials()
        self.counts["events"] += 1
        if dials.happens("push_lose"):
            self.counts["lost"] += 1
            return
        copies = 1 + dials.happens("push_duplicate")
        self.counts["duplicated"] += copies - 1
        for _ in range(copies):
            late = dials.happens("push_reorder")
            self.counts["reordered"] += late
            self._push(_Parcel(plain), late=dials.push_reorder_seconds if late else None)
        self.kick()

    def kick(self) -> None:
        """Deliver in the background what is due, unless only a flush may."""
        if not self._dials().push_auto or not len(self._queue):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # acted on from plain code: the next request or flush delivers
            return
        self._promote(self._clock.now())
        if self._queue.ready:
            self._start()
        elif self._queue.waiting:
            wait = (self._queue.waiting[0][0] - self._clock.now()) / SECOND
            loop.call_later(max(0.001, wait), self.kick)

    async def flush(self) -> dict[str, int]:
        """Deliver everything pending, repeats at once, and return the counts when nothing is left."""
        while len(self._queue) or (self._task is not None and not self._task.done()):
            self._promote(None)
            self._start()
            assert self._task is not None  # _start made it
            await asyncio.shield(self._task)
        return self.shown()

    def shown(self) -> dict[str, int]:
        """Return the counts and how many wait."""
        names = ("events", "lost", "duplicated", "reordered", "sent", "acknowledged", "retried", "dropped")
        return {name: self.counts[name] for name in names} | {"pending": len(self._queue)}

    # ------------------------------------------------------------------------------------------ the queue

    def _push(self, parcel: _Parcel, *, late: float | None) -> None:
        order = next(self._queue.numbers)
        if late is None:
            heapq.heappush(self._queue.ready, (order, order, parcel))
            return
        shift = 1 + self._clock.token(1)[0] % 20  # a flush lets 1 to 20 others overtake it
        due = self._clock.now() + round(late * SECOND)
        heapq.heappush(self._queue.waiting, (due, order + shift, order, parcel))

    def _promote(self, now: int | None) -> None:
        waiting = self._queue.waiting
        while waiting and (now is None or waiting[0][0] <= now):
            _, order, number, parcel = heapq.heappop(waiting)
            heapq.heappush(self._queue.ready, (order, number, parcel))

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain(self._queue))

    async def _drain(self, queue: _Queue) -> None:
        async with self._client() as client:
            width = min(self._dials().push_parallel, max(1, len(queue.ready)))
            async with asyncio.TaskGroup() as group:
                for _ in range(width):
                    group.create_task(self._work(client, queue))
        if self._queue is queue and len(queue):
            asyncio.get_running_loop().call_soon(self.kick)  # after this task has ended

    async def _work(self, client: httpx.AsyncClient, queue: _Queue) -> None:
        while queue.ready:
            _, _, parcel = heapq.heappop(queue.ready)
            if self.subscription is not None:
                await self._deliver(client, self.subscription, parcel)

    # ------------------------------------------------------------------------------------------ one delivery

    async def _deliver(self, client: httpx.AsyncClient, to: Subscription, parcel: _Parcel) -> None:
        dials = self._dials()
        parcel.attempts += 1
        self.counts["sent"] += 1
        if not parcel.body or dials.push_resign:
            parcel.body = self._sealed(parcel.plain, to.scheme)
        status, said = await self._post(client, to.url, parcel.body)
        done = status == 200 and self._is_success(said)
        self.log.append({"attempt": parcel.attempts, "status": status, "done": done, "plain": parcel.plain.decode(),
                         "at": self._clock.now()})  # fmt: skip
        if done:
            self.counts["acknowledged"] += 1
        elif parcel.attempts <= len(dials.push_ladder):
            self.counts["retried"] += 1
            self._push(parcel, late=dials.push_ladder[parcel.attempts - 1])
        else:
            self.counts["dropped"] += 1

    async def _post(self, client: httpx.AsyncClient, url: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body, status 0 for silence or a broken connection."""
        headers = {"content-type": "application/json;charset=UTF-8"}
        try:
            async with asyncio.timeout(self._dials().push_timeout):
                answer = await client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return 0, b""
        return answer.status_code, answer.content

    def _sealed(self, plain: bytes, scheme: str) -> bytes:
        dials = self._dials()
        app_key = "another-app" if dials.happens("push_wrong_app") else self._account.app_key
        encrypt = seal(self._key, self._clock.token(16), plain, app_key)
        nonce = "".join(ALPHABET[one % len(ALPHABET)] for one in self._clock.token(16))
        stamp = self._clock.now() // 1000
        made = sign(scheme, self._account.app_secret, stamp, nonce, encrypt)
        if dials.happens("push_tamper"):
            made = made[:-2] + ("0=" if made[-2:] != "0=" else "1=")
        said = {scheme: made, "timestamp": stamp, "nonce": nonce, "encrypt": encrypt}
        return json.dumps(said).encode()

    def _is_success(self, said: bytes) -> bool:
        """Tell whether an answer is the word, plain as the demos send it or sealed as the documents say (3.3)."""
        if said.strip() == b"success":
            return True
        try:
            body = json.loads(said)
            values = body["timestamp"], body["nonce"], body["encrypt"]
            scheme = next(name for name in (NEW, OLD) if name in body)
        except (ValueError, TypeError, KeyError, StopIteration):
            return False
        if body[scheme] != sign(scheme, self._account.app_secret, *values):
            return False
        return unseal(self._key, str(values[2]), self._account.app_key) == b"success"

    def _client(self) -> httpx.AsyncClient:
        transport = self.transport or AiohttpTransport(client=_session)
        return httpx.AsyncClient(
            transport=transport, trust_env=False, timeout=NO_LIMIT, follow_redirects=False
        )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_trust(), limit=0))


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return the machine's own trust; making it takes longer than a delivery, hence once."""
    return ssl.create_default_context()
