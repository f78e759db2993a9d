"""The doors over a real log, with two vendors behind them: WeCom's connector, and one made of what a test says.

The WeCom side of a callback is written here from the fact sheet (section 7), not with the connector's code.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import structlog
import uvicorn
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from connectors.wecom import WeComConnector
from hub.api.guard import ConnectionLimits, Watch, guarded
from hub.api.hooks import Door, DoorLimits, Doors, doors_of
from hub.bus import INBOUND, Bounds, Log
from hub.clock import SECOND, SystemClock
from hub.sdk import InboundEvent, InboundRefused, InboundRequest, Received, Secret, Toolbox, VendorKey
from hub.sdk.http import HttpClient, Outbound

NOW = 1_768_010_400  # 2026-01-10 02:00:00 UTC
CORP = "ww0123456789abcdef"


class FixedClock(SystemClock):
    """The wall clock stands; monotonic time goes on, and jumps by ``ahead``."""

    seconds = float(NOW)
    ahead = 0.0

    def now(self) -> int:
        return int(self.seconds * SECOND)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@dataclass(frozen=True)
class App:
    """A WeCom app as its administrator set it up: it signs and encrypts callbacks."""

    token: str = "TokenOfTheApp123"
    key: bytes = bytes(range(32))
    corp: str = CORP

    @property
    def aes_key(self) -> str:
        return base64.b64encode(self.key).decode().rstrip("=")

    def sealed(self, message: bytes, *, corp: str | None = None, pad: int | None = None, **bent: Any) -> str:
        """Encrypt: 16 random bytes, length, message, receiver, PKCS#7 to 32. ``bent``: head, length, tail."""
        head = bent.get("head", os.urandom(16))
        length = bent.get("length", len(message))
        plain = head + struct.pack(">I", length) + message + (self.corp if corp is None else corp).encode()
        size = 32 - len(plain) % 32
        plain += bytes([size if pad is None else pad]) * size
        if pad in (0, 33, 255):
            plain = plain[:-1] + bytes([pad])
        sealer = Cipher(algorithms.AES(self.key), modes.CBC(self.key[:16])).encryptor()
        return base64.b64encode(sealer.update(plain) + bent.get("tail", b"")).decode()

    def signed(self, encrypted: str, *, at: str = str(NOW), nonce: str = "1372623149") -> dict[str, str]:
        """Return the query that goes with an encrypted text."""
        parts = sorted(part.encode() for part in (self.token, at, nonce, encrypted))
        return {
            "msg_signature": hashlib.sha1(b"".join(parts)).hexdigest(),
            "timestamp": at,
            "nonce": nonce,
        }

    def callback(self, message: bytes, **bent: Any) -> tuple[dict[str, str], bytes]:
        """Return query and body of an event."""
        encrypted = self.sealed(message, **bent)
        body = (
            f"<xml><ToUserName><![CDATA[{self.corp}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt>"
        )
        return self.signed(encrypted), f"{body}<AgentID><![CDATA[1000002]]></AgentID></xml>".encode()


def event(change: str = "edit_external_contact", contact: str = "wmAAAA", **more: str) -> bytes:
    """Return the XML of an external contact's event, as the fact sheet samples it."""
    fields = {
        "ToUserName": CORP, "FromUserName": "sys", "CreateTime": str(NOW), "MsgType": "event",
        "Event": "change_external_contact", "ChangeType": change, "UserID": "zhangsan",
        "ExternalUserID": contact,
    } | more  # fmt: skip
    texts = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<xml>{texts}</xml>".encode()


def wecom(app: App, clock: FixedClock, **settings: Any) -> WeComConnector:
    """Return WeCom's connector for an app."""
    values = {
        "corp_id": app.corp, "agent_id": 1000002, "secret": Secret("s" * 43), "token": Secret(app.token),
        "encoding_aes_key": Secret(app.aes_key),
    } | settings  # fmt: skip
    return WeComConnector(values, Toolbox(HttpClient(Outbound(), clock=clock), clock, structlog.get_logger()))


class Said:
    """A vendor that hands over whatever a test says: one event per line of the body, ``no`` is refused."""

    def __init__(self) -> None:
        self.requests: list[InboundRequest] = []
        self.instead: Callable[[InboundRequest], Received] | None = None

    def receive(self, request: InboundRequest) -> Received:
        self.requests.append(request)
        if self.instead is not None:
            return self.instead(request)
        lines = request.body.decode().split()
        if "no" in lines:
            raise InboundRefused
        events = tuple(InboundEvent("thing", VendorKey("", line), line, "changed") for line in lines)
        return Received(events, body=b"success", media_type="text/plain")


@dataclass
class Site:
    """Served doors: ``wecom`` and ``other`` (another app of the same corp), ``said``."""

    doors: Doors
    bus: Log
    clock: FixedClock
    app: App
    said: Said
    client: httpx.AsyncClient
    logged: list[Mapping[str, Any]]
    publishing: list[Any] = field(default_factory=list)
    down: Exception | None = None

    async def ends(self) -> list[Bounds]:
        """Return the bounds of what came in."""
        return [
            await self.bus.bounds(INBOUND, number) for number in range(await self.bus.partitions(INBOUND))
        ]

    async def stored(self) -> list[tuple[int, Any]]:
        """Return (partition, message) of everything that came in."""
        found: list[tuple[int, Any]] = []
        for number in range(await self.bus.partitions(INBOUND)):
            batch = await self.bus.read(INBOUND, number, 0, 10_000)
            found += [(number, message) for message in batch.events]
        return found

    async def publish(self, topic: str, messages: Any) -> Any:
        """Publish, unless the bus is ``down``."""
        if self.down is not None:
            raise self.down
        placed = await self.bus.publish(topic, messages)
        self.publishing.append(messages)
        return placed

    async def call(self, message: bytes, *, door: str = "wecom", **bent: Any) -> httpx.Response:
        """Send an event as WeCom does."""
        query, body = self.app.callback(message, **bent)
        return await self.post(door, body, query)

    async def post(
        self, door: str, body: bytes, query: Mapping[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        """POST raw bytes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"/hooks/{door}{asked(query or {})}", content=body, headers=sent)

    async def get(self, door: str, query: Mapping[str, str]) -> httpx.Response:
        """GET."""
        return await self.client.get(f"/hooks/{door}{asked(query)}")


def asked(query: Mapping[str, str]) -> str:
    """Return a query string, escaped as WeCom does it."""
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items()) if query else ""


@asynccontextmanager
async def open_site(folder: Path, *, limits: DoorLimits | None = None) -> AsyncIterator[Site]:
    """Open the log and the doors; requests go to the application itself, without a socket."""
    clock, app, said = FixedClock(), App(), Said()
    bus = Log.open(folder / "bus.db", clock)
    logged: list[Mapping[str, Any]] = []

    def keep(_logger: Any, _method: str, entry: Mapping[str, Any]) -> str:
        logged.append(dict(entry))
        raise structlog.DropEvent

    connectors = {
        "wecom": wecom(app, clock),
        "other": wecom(App(token="AnotherToken456", key=bytes(range(1, 33))), clock),
        "polled": wecom(app, clock, receive="poll"),
    }
    log = structlog.wrap_logger(None, processors=[keep])
    holder: list[Site] = []

    async def publish(topic: str, messages: Any) -> Any:
        return await holder[0].publish(topic, messages)

    doors = Doors(
        {**doors_of(connectors), "said": Door(said.receive, {"thing": None, "part": "thing"})},
        publish, clock, log, closed=frozenset({"broken"}), limits=limits or DoorLimits(),
    )  # fmt: skip
    transport = httpx.ASGITransport(app=doors)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        holder.append(Site(doors, bus, clock, app, said, client, logged))
        yield holder[0]
    for connector in connectors.values():
        await connector.close()
        await connector.tools.http.close()
    await bus.aclose()


class Serving(uvicorn.Server):
    """A server on 127.0.0.1 that stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up, self.stopping = asyncio.Event(), asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        """Drop every connection, and let both ends of each notice."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)


@asynccontextmanager
async def served(
    app: Any, limits: ConnectionLimits | None = None, **config: Any
) -> AsyncIterator[tuple[int, Watch]]:
    """Serve the doors as the hub does; give the port and the watch over the connections."""
    watch = Watch(limits or ConnectionLimits())
    server = Serving(
        uvicorn.Config(
            app, port=0, http=guarded(watch, fast=True), log_config=None, lifespan="off", ws="none", server_header=False,
            access_log=False, timeout_graceful_shutdown=1, **{"proxy_headers": False, **config},
        )
    )  # fmt: skip
    serving = asyncio.ensure_future(server.serve())
    await server.up.wait()
    try:
        yield server.servers[0].sockets[0].getsockname()[1], watch
    finally:
        server.stopping.set()
        await serving


__all__ = [
    "CORP",
    "NOW",
    "App",
    "FixedClock",
    "Said",
    "Site",
    "asked",
    "event",
    "open_site",
    "served",
    "wecom",
]
