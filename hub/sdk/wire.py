"""The socket side of the HTTP client: checked and pinned addresses, and the deadline right before the bytes.

httpx gives the request and the answer, aiohttp the connections. Nothing here decides what a failure means.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from hub.clock import Clock
from hub.errors import NotSent, SettingsError
from hub.sdk.net import Outbound, check_addresses

__all__ = ["FLIGHT", "Flight", "Lookup", "open_session", "open_transport", "proxy_of", "system_lookup"]

Lookup: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolve a name for a port: all its addresses as text. Raises OSError if there are none."""


class Flight:
    """One try of one request: until when it may leave, and whether it has left."""

    __slots__ = ("_clock", "_deadline", "_over", "sent")

    def __init__(self, clock: Clock, deadline: float | None) -> None:
        """``deadline``: clock.monotonic() seconds, None for no limit."""
        self._clock = clock
        self._deadline = deadline
        self._over = False
        self.sent = False

    def depart(self) -> None:
        """Say that the bytes go out now; the last statement before they do. Raises NotSent after the deadline."""
        if self._over:
            raise NotSent("the call was given up before its bytes went out")
        if self._deadline is not None and self._clock.monotonic() >= self._deadline:
            raise NotSent
        self.sent = True

    def end(self) -> None:
        """Say that the call is over: a writer that has not begun by now must not."""
        self._over = True


FLIGHT: ContextVar[Flight] = ContextVar("hub_http_flight")
"""The flight of the request under way in this task; aiohttp leaves no other way through to its writer."""


class _Request(aiohttp.ClientRequest):
    """A request that asks its flight right before it writes: connecting, TLS and queueing lie behind it by then.

    aiohttp writes a request without body in ``send`` and one with a body (head and body in one piece) in
    ``write_bytes``, a task of its own; neither yields between these lines and the socket.
    """

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Send, unless the deadline has passed."""
        if not self.body:
            FLIGHT.get().depart()
        return await super().send(conn)

    async def write_bytes(self, writer: Any, conn: Any, content_length: int | None = None) -> None:
        """Write head and body, unless the deadline has passed."""
        try:
            FLIGHT.get().depart()
        except NotSent as late:
            if conn.protocol is not None:
                conn.protocol.set_exception(late)  # whoever waits for the answer gets this instead
            return
        await super().write_bytes(writer, conn, content_length)


class _PinnedResolver(AbstractResolver):
    """Looks a name up once per connection, checks every address and hands out only those."""

    def __init__(self, rules: Outbound, lookup: Lookup) -> None:
        self._rules = rules
        self._lookup = lookup

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's signature; we take every family
    ) -> list[ResolveResult]:
        """Return the checked addresses; the socket connects to these and TLS still names ``host``."""
        async with asyncio.timeout(self._rules.connect_timeout):
            addresses = await self._lookup(host, port)
        check_addresses(addresses, self._rules, host=host, port=port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Hold nothing."""


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for every address, IPv4 and IPv6."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def open_transport(rules: Outbound, lookup: Lookup) -> httpx.AsyncBaseTransport:
    """Return the transport for one connection's rules; it opens sockets only when a request needs one.

    Raises:
        SettingsError: the CA file cannot be read, or the proxy is not an http address.
    """
    rules.proxy_place()
    context = _trust(rules)
    session = functools.partial(open_session, rules, lookup, context)
    return AiohttpTransport(client=session, verify=context, trust_env=False, proxy=proxy_of(rules))


def open_session(
    rules: Outbound, lookup: Lookup, context: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """Return what opens checked connections for one connection's rules. Raises SettingsError as `open_transport`."""
    opened = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=_trust(rules) if context is None else context,
            resolver=_PinnedResolver(rules, lookup),
            use_dns_cache=False,  # a cached answer would be one that this connection has not checked
            keepalive_timeout=rules.idle_limit,
            limit=rules.connections,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=_Request,
        trust_env=False,
    )
    # aiohttp repeats PUT and DELETE by itself when a pooled connection turns out closed; who repeats a write is
    # decided by the pipe alone, and there is no public switch for it.
    opened._retry_connection = False  # noqa: SLF001
    return opened


def proxy_of(rules: Outbound) -> httpx.Proxy | None:
    """Return the explicit proxy, its user and password as a header; None without one."""
    if rules.proxy is None:
        return None
    proxy = httpx.Proxy(rules.proxy.reveal())
    if proxy.raw_auth is None:
        return proxy
    # As a header: the transport would hand user and password on by a way that aiohttp has deprecated. aiohttp takes
    # `Authorization` from the headers for the proxy and sends it as `Proxy-Authorization`, to the proxy alone.
    credentials = base64.b64encode(b":".join(proxy.raw_auth)).decode()
    return httpx.Proxy(proxy.url, headers={"Authorization": f"Basic {credentials}"})


def _trust(rules: Outbound) -> ssl.SSLContext:
    if rules.ca_file is None:
        return _public_trust()
    try:
        return ssl.create_default_context(cafile=str(rules.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"no certificate authority can be read from it ({error})", file=str(rules.ca_file)
        ) from error


@functools.lru_cache(maxsize=1)
def _public_trust() -> ssl.SSLContext:
    """Load the public authorities once per process (TLS 1.2 at least): it costs 20 ms and a megabyte."""
    return httpx.create_ssl_context(trust_env=False)
