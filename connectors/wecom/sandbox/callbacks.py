"""Callbacks: the handshake, the outbox with the vendor's retries, and what goes wrong with them on purpose."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import ssl
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.sealing import aes_key, seal, sign
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["Callbacks", "HandshakeError", "Receiver"]

KEEP_LOG = 2000
WIDEN = 0.05
"""Seconds between two looks whether more callers are needed."""
NO_LIMIT = 600
"""Seconds; each call has its own, shorter limit around it."""


class HandshakeError(Exception):
    """The address is not saved; the text says what the receiver did wrong."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where an app's events go: what the administrator saved."""

    url: str
    token: str
    encoding_aes_key: str


@dataclass(slots=True)
class _Parcel:
    """One event on its way to one app; ``sealed`` is kept when a retry is not encrypted again."""

    agentid: str
    plain: bytes
    attempts: int = 0
    sealed: tuple[dict[str, str], bytes] | None = None


@dataclass(slots=True)
class _Queue:
    """Parcels that may go now, by their order, and those that wait for their time."""

    ready: list[tuple[int, int, _Parcel]] = field(default_factory=list)
    waiting: list[tuple[int, int, int, _Parcel]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self.ready) + len(self.waiting)


class Callbacks:
    """Delivers signed and encrypted events over HTTP to the receivers of the apps."""

    def __init__(self, corpid: str, clock: SandboxClock, dials: Callable[[], WeComDials]) -> None:
        """Take the corp's id, its clock, and how to see the dials; ``transport`` may replace the network."""
        self._corpid = corpid
        self._clock = clock
        self._dials = dials
        self._queue = _Queue()
        self._task: asyncio.Task[None] | None = None
        self.transport: httpx.AsyncBaseTransport | None = None
        self.receivers: dict[str, Receiver] = {}
        self.counts: Counter[str] = Counter()
        """events · lost · duplicated · reordered · sent · acknowledged · retried · dropped."""
        self.log: deque[dict[str, Json]] = deque(maxlen=KEEP_LOG)

    def reset(self) -> None:
        """Forget receivers, events and counts."""
        self.receivers.clear()
        self._queue = _Queue()
        self.counts.clear()
        self.log.clear()

    @property
    def pending(self) -> int:
        """Return how many events wait, those being sent not counted."""
        return len(self._queue)

    async def save(self, agentid: str, receiver: Receiver) -> None:
        """Save an app's receiver after the handshake.

        Raises:
            HandshakeError: no answer in time, another status than 200, or not exactly the text.
            ValueError: the token or the key cannot be.
        """
        if not receiver.token.isascii() or not receiver.token.isalnum() or len(receiver.token) > 32:
            raise ValueError("Token must be 1 to 32 letters or digits")
        key = aes_key(receiver.encoding_aes_key)
        text = str(int.from_bytes(self._clock.token(8), "big")).encode()
        echostr = seal(key, self._clock.token(16), text, self._corpid)
        query = {**self._signed(receiver.token, echostr), "echostr": echostr}
        limit = self._dials().handshake_timeout
        async with self._client() as client:
            try:
                async with asyncio.timeout(limit):
                    answer = await client.get(_with_query(receiver.url, query))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise HandshakeError(f"the address does not answer: {error!r}") from error
            except TimeoutError as error:
                raise HandshakeError(f"no answer within {limit} s") from error
        if answer.status_code != 200:
            raise HandshakeError(f"echostr was answered with HTTP {answer.status_code}")
        if answer.content != text:
            raise HandshakeError(
                f"echostr: {len(text)} bytes expected, got other {len(answer.content)} bytes"
            )
        self.receivers[agentid] = receiver

    def enqueue(self, agentid: str, plain: bytes) -> None:
        """Put an event on its way; the dials may lose it, double it or let others overtake it."""
        dials = self._dials()
        self.counts["events"] += 1
        if dials.happens("callback_lose"):
            self.counts["lost"] += 1
            return
        copies = 1
        if dials.happens("callback_duplicate"):
            self.counts["duplicated"] += 1
            copies = 2
        for _ in range(copies):
            late = dials.happens("callback_reorder")
            self.counts["reordered"] += late
            self._push(_Parcel(agentid, plain), late=dials.callback_reorder_seconds if late else None)
        self.kick()

    def kick(self) -> None:
        """Deliver in the background what is due, unless only a flush may."""
        if not self._dials().callback_auto or not len(self._queue):
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
        """Deliver everything pending, retries at once, and return the counts when nothing is left."""
        while len(self._queue) or (self._task is not None and not self._task.done()):
            self._promote(None)
            self._start()
            assert self._task is not None  # _start made it
            await asyncio.shield(self._task)
        return self.shown()

    def shown(self) -> dict[str, int]:
        """Return the counts and how many wait."""
        names = ("events", "lost", "duplicated", "reordered", "sent", "acknowledged", "retried", "dropped")
        return {name: self.counts[name] for name in names} | {"pending": self.pending}

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
        """Deliver what may go, by more and more callers at once while more is ready than they have in hand."""
        async with self._network() as network:
            callers = set[asyncio.Task[None]]()
            while queue.ready or callers:
                for _ in range(min(len(queue.ready), self._dials().callback_parallel - len(callers))):
                    callers.add(asyncio.ensure_future(self._work(network, queue)))
                done, callers = await asyncio.wait(
                    callers, timeout=WIDEN, return_when=asyncio.FIRST_COMPLETED
                )
                for one in done:
                    one.result()
        if self._queue is queue and len(queue):
            asyncio.get_running_loop().call_soon(self.kick)  # after this task has ended

    async def _work(self, network: httpx.AsyncBaseTransport, queue: _Queue) -> None:
        while queue.ready:
            _, _, parcel = heapq.heappop(queue.ready)
            receiver = self.receivers.get(parcel.agentid)
            if receiver is not None:
                await self._deliver(network, receiver, parcel)

    # ------------------------------------------------------------------------------------------ one delivery

    async def _deliver(self, network: httpx.AsyncBaseTransport, receiver: Receiver, parcel: _Parcel) -> None:
        dials = self._dials()
        parcel.attempts += 1
        self.counts["sent"] += 1
        query, body = self._sealed(receiver, parcel, again=dials.callback_reencrypt)
        status = await self._post(network, _with_query(receiver.url, query), body)
        self.log.append(
            {"agentid": parcel.agentid, "attempt": parcel.attempts, "status": status, "plain": parcel.plain.decode()}
        )  # fmt: skip
        if status == 200:
            self.counts["acknowledged"] += 1
            return
        retry = status == 0 or dials.callback_retry_on_status
        if retry and parcel.attempts <= dials.callback_retries:
            self.counts["retried"] += 1
            self._push(parcel, late=dials.callback_retry_seconds)
        else:
            self.counts["dropped"] += 1

    async def _post(self, network: httpx.AsyncBaseTransport, url: str, body: bytes) -> int:
        """Return the status, 0 for silence or a broken connection.

        A client would cost twice as much as the call: there is nothing to remember between deliveries.
        """
        call = httpx.Request("POST", url, content=body, headers={"content-type": "text/xml"})
        try:
            async with asyncio.timeout(self._dials().callback_timeout):
                answer = await network.handle_async_request(call)
                await answer.aread()
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return 0
        return answer.status_code

    def _sealed(self, receiver: Receiver, parcel: _Parcel, *, again: bool) -> tuple[dict[str, str], bytes]:
        if parcel.sealed is None or again:
            key = aes_key(receiver.encoding_aes_key)
            encrypt = seal(key, self._clock.token(16), parcel.plain, self._corpid)
            body = (
                f"<xml><ToUserName><![CDATA[{self._corpid}]]></ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt>"
                f"<AgentID><![CDATA[{parcel.agentid}]]></AgentID></xml>"
            )
            parcel.sealed = self._signed(receiver.token, encrypt), body.encode()
        return parcel.sealed

    def _signed(self, token: str, encrypt: str) -> dict[str, str]:
        timestamp = str(self._clock.now() // SECOND)
        nonce = str(int.from_bytes(self._clock.token(4), "big"))
        return {
            "msg_signature": sign(token, timestamp, nonce, encrypt),
            "timestamp": timestamp,
            "nonce": nonce,
        }

    def _network(self) -> httpx.AsyncBaseTransport:
        return self.transport or AiohttpTransport(verify=_trust(), client=_session)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=self._network(), trust_env=False, timeout=NO_LIMIT, follow_redirects=False
        )


def _with_query(url: str, query: dict[str, str]) -> str:
    """Return the address with the query behind what it has already; base64's plus sign as %2B."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_trust(), limit=0))


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return the machine's own trust; making it takes longer than a delivery, hence once."""
    return ssl.create_default_context()
