"""Webhooks on their way: the test of a new address, form bodies, signatures, repeats, and what goes wrong (9)."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.books import Row
from connectors.mailchimp.sandbox.dials import MailchimpDials
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["Pushes", "form_body", "signature"]

KEEP_LOG = 2000
NO_LIMIT = 600
GONE_TRIES = 3
"""Answers of 410 after which a webhook is disabled: "a few tries"."""
AGENT = "MailChimp.com"


def signature(secret: str, stamp: int, body: bytes) -> str:
    """Return the header's value: HMAC-SHA256 over the time, a dot and the raw body (9)."""
    made = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={made}"


def form_body(kind: str, fired_at: str, data: Mapping[str, Json]) -> bytes:
    """Return an event as it is posted: names with brackets, such as ``data[merges][FNAME]``."""
    return urlencode([("type", kind), ("fired_at", fired_at), *_pairs("data", data)]).encode()


def _pairs(name: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(f"{name}[{key}]", inner)
    else:
        yield name, "" if value is None else str(value)


@dataclass(slots=True)
class _Parcel:
    """One event on its way to one webhook; ``due``: µs, None for at once."""

    webhook: Row
    body: bytes
    due: int | None = None
    attempts: int = 0
    order: int = 0


class Pushes:
    """Delivers events over HTTP; ``disable`` is told the id of a webhook that answers 410 again and again."""

    def __init__(
        self, clock: SandboxClock, dials: Callable[[], MailchimpDials], disable: Callable[[str], None]
    ) -> None:
        """Take the clock and how to see the dials; ``transport`` may replace the network."""
        self._clock, self._dials, self._disable = clock, dials, disable
        self._queue: list[_Parcel] = []
        self._task: asyncio.Task[None] | None = None
        self.transport: httpx.AsyncBaseTransport | None = None
        self.counts: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()
        self.log: deque[dict[str, Json]] = deque(maxlen=KEEP_LOG)

    def reset(self) -> None:
        """Forget events and counts."""
        self._queue = []
        self.counts.clear()
        self.gone.clear()
        self.log.clear()

    async def validate(self, url: str) -> None:
        """Ask a new address by GET. Raises ProblemError when it does not answer 200."""
        headers = {"user-agent": f"{AGENT} WebHook Validator"}
        async with self._client() as client:
            try:
                async with asyncio.timeout(self._dials().push_timeout):
                    status = (await client.get(url, headers=headers)).status_code
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
                status = 0
        if status != 200:
            raise ProblemError(
                "BadRequest", "The URL you entered could not be validated. We must receive a 200 response."
            )

    def emit(self, webhooks: list[Row], kind: str, source: str, data: Mapping[str, Json]) -> None:
        """Put an event on its way to every webhook that wants it from this source."""
        fired = datetime.fromtimestamp(self._clock.now() // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")
        body = form_body(kind, fired, data)
        for webhook in webhooks:
            if webhook["enabled"] and webhook["events"].get(kind) and webhook["sources"].get(source):
                self.enqueue(webhook, body)

    def enqueue(self, webhook: Row, body: bytes) -> None:
        """Put one body on its way; the dials may lose it, double it or let others overtake it."""
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
            order = self.counts["queued"] + (5 if late else 0)
            self.counts["queued"] += 1
            due = self._clock.now() + round(dials.push_reorder_seconds * SECOND) if late else None
            self._queue.append(_Parcel(webhook, body, due, order=order))
        self.kick()

    def kick(self) -> None:
        """Deliver in the background what is due, unless only a flush may."""
        if not self._dials().push_auto or not self._queue:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # acted on from plain code: the next request or flush delivers
            return
        now = self._clock.now()
        if any(one.due is None or one.due <= now for one in self._queue):
            self._start()
        else:
            wait = (min(one.due or now for one in self._queue) - now) / SECOND
            loop.call_later(max(0.001, wait), self.kick)

    async def flush(self) -> dict[str, int]:
        """Deliver everything pending, repeats at once, and return the counts when nothing is left."""
        while self._queue or (self._task is not None and not self._task.done()):
            for one in self._queue:
                one.due = None
            self._start()
            assert self._task is not None  # _start made it
            await asyncio.shield(self._task)
        return self.shown()

    def shown(self) -> dict[str, int]:
        """Return the counts and how many wait."""
        names = ("events", "lost", "duplicated", "reordered", "sent", "acknowledged", "retried", "dropped")
        return {name: self.counts[name] for name in names} | {"pending": len(self._queue)}

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        async with self._client() as client:
            while True:
                now = self._clock.now()
                ready = [one for one in self._queue if one.due is None or one.due <= now]
                if not ready:
                    break
                one = min(ready, key=lambda parcel: parcel.order)
                self._queue.remove(one)
                await self._deliver(client, one)
        if self._queue:
            asyncio.get_running_loop().call_soon(self.kick)  # after this task has ended

    async def _deliver(self, client: httpx.AsyncClient, parcel: _Parcel) -> None:
        dials, webhook = self._dials(), parcel.webhook
        parcel.attempts += 1
        self.counts["sent"] += 1
        status = await self._post(client, webhook, parcel.body)
        self.log.append({"webhook": webhook["id"], "attempt": parcel.attempts, "status": status, "at": self._clock.now(),
                         "body": parcel.body.decode()})  # fmt: skip
        if 200 <= status < 300:
            self.counts["acknowledged"] += 1
            return
        if status == 410:
            self.gone[webhook["id"]] += 1
            if self.gone[webhook["id"]] >= GONE_TRIES:
                self._disable(webhook["id"])
                self._queue = [one for one in self._queue if one.webhook["id"] != webhook["id"]]
                self.counts["dropped"] += 1
                return
        if parcel.attempts > len(dials.push_ladder):
            self.counts["dropped"] += 1
            return
        self.counts["retried"] += 1
        parcel.due = self._clock.now() + round(dials.push_ladder[parcel.attempts - 1] * SECOND)
        self._queue.append(parcel)

    async def _post(self, client: httpx.AsyncClient, webhook: Row, body: bytes) -> int:
        """Return the status, 0 for silence or a broken connection."""
        headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": AGENT}
        if webhook["signing_enabled"]:
            made = signature(webhook["signing_secret"], self._clock.now() // SECOND, body)
            if self._dials().happens("push_tamper"):
                made = made[:-1] + ("0" if made[-1] != "0" else "1")
            headers["X-Mailchimp-Signature"] = made
        try:
            async with asyncio.timeout(self._dials().push_timeout):
                return (await client.post(webhook["url"], content=body, headers=headers)).status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return 0

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
