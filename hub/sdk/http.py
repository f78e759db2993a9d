"""The one HTTP client connectors use: bounded, classified, and sure about what was sent.

A connection has one client, built by the hub with the connection's rules. Every failure leaves as a leaf of the
error tree: nothing sent → ``TryAgain`` or ``ConnectionDown``; sent without a usable answer → ``TryAgain`` for a read,
``OutcomeUnknown`` for a write; the deadline passed before the bytes → ``NotSent``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from hub.clock import Clock
from hub.errors import Cause, ConnectionDown, RemoteError, SettingsError, TryAgain
from hub.log import get_logger
from hub.sdk.answer import Answer, BadAnswerError, classify_status, collect, json, retry_after, unsure
from hub.sdk.net import CheckedUrl, Outbound, PrivateEntry, check_url, parse_url
from hub.sdk.secret import Redactor, Secret
from hub.sdk.socket import Socket, open_socket
from hub.sdk.token import Token, TokenSource
from hub.sdk.wire import FLIGHT, Flight, Lookup, open_transport, system_lookup

__all__ = [
    "Answer",
    "HttpClient",
    "Outbound",
    "PrivateEntry",
    "Token",
    "TokenSource",
    "classify_status",
    "json",
    "retry_after",
    "unsure",
]

HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "integration-hub"}

_BROKEN = (httpx.TransportError, aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_MALFORMED = (aiohttp.ClientResponseError, HttpProcessingError, httpx.RemoteProtocolError)
_HANDSHAKE_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_RETRY_WINDOW = 2.0


class HttpClient:
    """Sends requests of one connection; safe for concurrent use in one event loop, closed by who built it."""

    def __init__(
        self,
        rules: Outbound,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        secrets: Iterable[Secret] = (),
        lookup: Lookup = system_lookup,
        log: Any = None,
        observe: Callable[[str, str, float], None] | None = None,
    ) -> None:
        """Take the connection's rules and the secrets no message may show; no socket is opened yet.

        ``transport``: answers instead of sockets (a sandbox in this process, a mock); the address rules are then
        moot, the URL grammar is not. ``lookup``: resolves names. ``observe``: told of each request its path, its
        status or the cause why there is none, and the seconds it took. Raises SettingsError (CA file, proxy).
        """
        self._rules, self._lookup = rules, lookup
        self._clock = clock
        self._given = transport is not None
        self._transport = transport or open_transport(rules, lookup)
        self._redact = Redactor([*secrets, *([rules.proxy] if rules.proxy else [])])
        self._log = get_logger("hub.http") if log is None else log
        self._observe = observe
        self.calls = 0
        """Requests made so far, repeats included: what counts against a vendor's limits."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        read_only: bool = False,
        max_bytes: int | None = None,
        repeat: bool = True,
    ) -> Answer:
        """Send one request and return its answer, whatever its status (see ``classify_status``) but a redirect.

        ``deadline``: clock.monotonic() seconds after which no byte may go out. ``timeout``: seconds for the whole
        exchange (default: the rules'; writes up to 120 s). ``read_only``: the request changes nothing, so it may be
        made again: at once if the connection broke (≤ 3 tries, ≤ 2 s), later by the pipe. A write is tried again
        only while it has not left. ``repeat``: False for what is not worth a second try. ``max_bytes``: largest body to
        accept (default: the rules').

        Raises:
            NotSent: the deadline passed first.
            TryAgain: unreachable; or a read that broke, timed out (``unavailable``) or got an unusable answer.
            OutcomeUnknown: the same on a write, once it was sent.
            ConnectionDown: URL or address not allowed, TLS or proxy refused, redirect (cause ``settings``).
        """
        checked = self._check(url)
        total = timeout or self._rules.timeout
        request = httpx.Request(
            method, checked.url, headers={**HEADERS, **(headers or {})}, content=content or None
        )
        request.extensions["timeout"] = {"connect": self._rules.connect_timeout, "read": total, "pool": total}
        call = _Call(checked, request, deadline, total, read_only, max_bytes or self._rules.max_bytes)
        started = self._clock.monotonic()
        try:
            return await self._once(call)
        except TryAgain as error:
            if not repeat or not self._rules.pauses or not self._may_repeat(error, started):
                raise
            return await self._again(call, error, started)

    @contextlib.asynccontextmanager
    async def socket(self, url: str, *, heartbeat: float) -> AsyncIterator[Socket]:
        """Open a websocket (``wss://``; ``ws://`` as plain http) under the same rules as a request, and close it at the end.

        ``heartbeat``: seconds between pings; one that is not answered in half of that ends the socket.

        Raises:
            TryAgain: it cannot be opened.
            ConnectionDown: the address is not allowed (cause ``settings``).
        """
        if self._given:
            raise ConnectionDown("a transport in this process has no sockets", cause=Cause.SETTINGS)
        checked = self._check(url.replace("ws", "http", 1) if url.startswith(("ws://", "wss://")) else "")
        async with contextlib.AsyncExitStack() as stack:
            mark = FLIGHT.set(Flight(self._clock, None))
            try:
                opening = open_socket(self._rules, self._lookup, checked, heartbeat)
                opened = await stack.enter_async_context(opening)
            except SettingsError as error:
                raise ConnectionDown(f"{checked.host}: {error}", cause=Cause.SETTINGS) from None
            except _BROKEN as broken:
                where = self._redact(f"{checked.host}{checked.path}")
                reason = f"{type(broken).__name__}: {broken}".replace(checked.query or "\0", "***")
                # Without the chain, as in `_once`: the address holds what opens the socket.
                message = f"{where}: no socket ({self._redact(reason[:300])})"
                raise TryAgain(message, cause=Cause.UNREACHABLE) from None
            finally:
                FLIGHT.reset(mark)
            yield opened

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    def _check(self, url: str) -> CheckedUrl:
        try:
            return parse_url(url) if self._given else check_url(url, self._rules)
        except SettingsError as error:
            raise ConnectionDown(f"the address is not allowed: {error}", cause=Cause.SETTINGS) from error

    async def _again(self, call: _Call, error: TryAgain, started: float) -> Answer:
        """Try on after a first failure; the way without one does not pay for the retry engine (30 µs)."""
        first: list[TryAgain] = [error]

        async def attempt() -> Answer:
            if first:
                raise first.pop()
            return await self._once(call)

        def pause(state: RetryCallState) -> float:
            # asked for after the last try too, whose wait is never waited
            at = min(state.attempt_number, len(self._rules.pauses)) - 1
            return self._rules.pauses[at] * (0.5 + self._clock.random() / 2)

        answer: Answer = await AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(len(self._rules.pauses) + 1),
            wait=pause,
            retry=retry_if_exception(lambda failed: self._may_repeat(failed, started)),
            reraise=True,
        )(attempt)
        return answer

    def _may_repeat(self, error: BaseException, started: float) -> bool:
        """Say whether the connection broke (never an answer) and the call is still young."""
        broke = isinstance(error, TryAgain) and error.cause is Cause.UNREACHABLE
        return broke and self._clock.monotonic() - started < _RETRY_WINDOW

    async def _once(self, call: _Call) -> Answer:
        self.calls += 1
        flight = Flight(self._clock, call.deadline)
        started = self._clock.monotonic()
        mark = FLIGHT.set(flight)
        try:
            async with asyncio.timeout(call.timeout):
                answer = await self._exchange(call, flight)
        except (RemoteError, SettingsError, BadAnswerError, *_BROKEN) as broken:
            error = self._classified(broken, call, sent=flight.sent)
            self._note(call, started, failed=type(error).__name__, cause=error.cause.value)
            # Without the chain: aiohttp's exceptions hold the whole URL, and a traceback would print it.
            raise error from None
        finally:
            flight.end()
            FLIGHT.reset(mark)
        self._note(call, started, status=answer.status)
        return answer

    async def _exchange(self, call: _Call, flight: Flight) -> Answer:
        if self._given:
            flight.depart()
        response = await self._transport.handle_async_request(call.request)
        try:
            if 300 <= response.status_code < 400:
                raise ConnectionDown(
                    f"{self._where(call)}: answers with a redirect ({response.status_code}), which is not followed; "
                    "set the address it leads to, if it is the vendor's",
                    cause=Cause.SETTINGS,
                    code=str(response.status_code),
                )
            content = await collect(response, call.max_bytes)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, content, self._where(call), self._clock.now())

    def _classified(self, broken: BaseException, call: _Call, *, sent: bool) -> RemoteError:
        """Say what a failure means; ``sent`` decides, not the exception's class (the transport mixes those up)."""
        where = self._where(call)
        reason = self._reason(broken, call)
        chain = tuple(_chain(broken))
        if isinstance(broken, RemoteError):
            return broken
        if isinstance(broken, SettingsError):
            return ConnectionDown(f"{where}: {broken}", cause=Cause.SETTINGS)
        cut = any(isinstance(link, aiohttp.ClientPayloadError) for link in chain)
        malformed = sent and not cut and any(isinstance(link, _MALFORMED) for link in chain)
        if malformed or isinstance(broken, BadAnswerError):
            return unsure(
                f"{where}: unusable answer ({reason})", read_only=call.read_only, cause=Cause.BAD_ANSWER
            )
        if sent and not (self._given and isinstance(broken, _NOT_SENT)):
            timed_out = any(isinstance(link, TimeoutError) for link in chain)
            timed_out |= self._given and isinstance(broken, httpx.TimeoutException)
            cause = Cause.UNAVAILABLE if timed_out else Cause.UNREACHABLE
            return unsure(
                f"{where}: sent, but no complete answer ({reason})", read_only=call.read_only, cause=cause
            )
        if any(isinstance(link, ssl.SSLError) and not isinstance(link, _HANDSHAKE_CUT) for link in chain):
            return ConnectionDown(f"{where}: TLS is not accepted ({reason})", cause=Cause.SETTINGS)
        if any(isinstance(link, aiohttp.ClientHttpProxyError) for link in chain):
            return ConnectionDown(f"{where}: the proxy refuses ({reason})", cause=Cause.SETTINGS)
        return TryAgain(f"{where}: cannot be reached, nothing was sent ({reason})", cause=Cause.UNREACHABLE)

    def _reason(self, broken: BaseException, call: _Call) -> str:
        """Name what broke without the query, which some exceptions quote and which may hold a key."""
        text = f"{type(broken).__name__}: {broken}"
        return self._redact(text.replace(call.url.query or "\0", "***")[:300])

    def _where(self, call: _Call) -> str:
        return self._redact(f"{call.request.method} {call.url.host}{call.url.path}")

    def _note(self, call: _Call, started: float, **outcome: object) -> None:
        seconds = self._clock.monotonic() - started
        if self._observe is not None:
            self._observe(call.url.path, str(outcome.get("status") or outcome["cause"]), seconds)
        level = self._log.warning if "failed" in outcome else self._log.debug
        level(
            "http.request.failed" if "failed" in outcome else "http.request.answered",
            method=call.request.method,
            host=call.url.host,
            path=self._redact(call.url.shown),
            ms=round(seconds * 1000, 1),
            **outcome,
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """One request as it is tried, perhaps more than once."""

    url: CheckedUrl
    request: httpx.Request
    deadline: float | None
    timeout: float
    read_only: bool
    max_bytes: int


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to what caused it."""
    while error is not None:
        yield error
        error = error.__cause__
