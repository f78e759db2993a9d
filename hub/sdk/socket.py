"""A websocket of a vendor: opened under the rules of the connection, text frames in and out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp

from hub.errors import Cause, TryAgain
from hub.sdk.net import CheckedUrl, Outbound
from hub.sdk.wire import Lookup, open_session, proxy_of

__all__ = ["Socket", "open_socket"]

_TEXT = aiohttp.WSMsgType.TEXT


class Socket:
    """One open websocket; ``receive`` is called by one task at a time, ``send`` by any."""

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, where: str) -> None:
        """Take what is open; ``where`` stands in messages."""
        self._opened = opened
        self._where = where

    async def receive(self, seconds: float) -> str:
        """Return the next text frame.

        Raises:
            TryAgain: none came within ``seconds`` (cause ``unavailable``), or the socket has ended (``unreachable``).
        """
        try:
            async with asyncio.timeout(seconds):
                message = await self._opened.receive()
        except TimeoutError:
            raise TryAgain(f"{self._where}: silent for {seconds:g} s", cause=Cause.UNAVAILABLE) from None
        if message.type is not _TEXT:
            code = self._opened.close_code
            raise TryAgain(
                f"{self._where}: the socket ended ({code or message.type.name})", cause=Cause.UNREACHABLE
            )
        text: str = message.data
        return text

    async def send(self, text: str) -> None:
        """Send one text frame. Raises TryAgain (``unreachable``): the socket has ended."""
        try:
            await self._opened.send_str(text)
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise TryAgain(f"{self._where}: the socket ended ({error})", cause=Cause.UNREACHABLE) from None


@contextlib.asynccontextmanager
async def open_socket(
    rules: Outbound, lookup: Lookup, url: CheckedUrl, heartbeat: float
) -> AsyncIterator[Socket]:
    """Open a websocket; its address is the http form of the one that was checked.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: it cannot be opened; SettingsError: the address is not allowed.
    """
    proxy = proxy_of(rules)
    async with open_session(rules, lookup) as session:
        async with asyncio.timeout(rules.timeout):
            opened = await session.ws_connect(
                url.url,
                heartbeat=heartbeat,
                max_msg_size=rules.max_bytes,
                proxy=None if proxy is None else str(proxy.url),
                proxy_headers=None if proxy is None else dict(proxy.headers),
            )
        try:
            yield Socket(opened, f"{url.host}{url.path}")
        finally:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await opened.close()
