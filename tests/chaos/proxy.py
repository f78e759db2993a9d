"""A proxy between two processes that does to connections what networks do; a process of its own.

Each connection draws from a seed whether something happens to it and what: ``latency`` (each piece waits, with
jitter), ``slow`` (a kilobyte at a time, with pauses), ``sliced`` (pieces of a few bytes), ``limit`` (cut after some
bytes), ``reset`` (RST after a while), ``silence`` (nothing passes any more, then RST), ``slow_close``. What was taken
in before a cut may have been passed on or not: that is the point. Connections that live long (to a database, to
brokers) draw anew every ``again`` seconds. A line of JSON on standard input sets the chance and is answered with what
was done so far.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import children

__all__ = ["Line", "Proxy", "proxied"]

KINDS = ("latency", "slow", "sliced", "limit", "reset", "silence", "slow_close")
PIECE = 1 << 14


@dataclass
class _Spell:
    """What a connection meets now."""

    kind: str


@dataclass
class Proxy:
    """Passes connections on to ``host:port`` (host: of this machine; or the path of a socket, and no port).

    ``chance``: how many of them meet something (0 to 1).
    """

    host: str
    port: int | None
    draw: random.Random
    chance: float = 0.0
    longest: float = 1.0
    """Seconds that anything is held back at most; below what the hub allows a vendor to be late."""
    again: float | None = None
    """Seconds after which a connection draws anew; None: what it met it keeps."""
    done: Counter[str] = field(default_factory=Counter)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.done["connections"] += 1
        spell = _Spell(self._drawn())
        try:
            there, thither = await self._open()
        except OSError:
            self.done["nobody there"] += 1
            _reset(writer)
            return
        ways = [
            asyncio.ensure_future(self._pass(reader, thither, spell)),
            asyncio.ensure_future(self._pass(there, writer, spell)),
        ]
        try:
            await self._last(ways, spell)
        finally:
            for way in ways:
                way.cancel()
            for side in (writer, thither):
                (_reset if spell.kind in ("limit", "reset", "silence") else _close)(side)
        await asyncio.gather(*ways, return_exceptions=True)

    def _drawn(self) -> str:
        kind = self.draw.choice(KINDS) if self.draw.random() < self.chance else ""
        self.done[kind or "clean"] += 1
        return kind

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.port is None:
            return await asyncio.open_unix_connection(self.host)
        return await asyncio.open_connection(self.host, self.port)

    async def _last(self, ways: list[asyncio.Future[None]], spell: _Spell) -> None:
        """Wait until a connection has ended, or until its fault ends it."""
        while True:
            cuts = spell.kind in ("reset", "silence")
            most = self.draw.random() * 3 * self.longest if cuts else self.again
            ended, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED, timeout=most)
            if ended or cuts:
                break
            spell.kind = self._drawn()
        if spell.kind == "silence":
            for way in ways:
                way.cancel()
            await asyncio.sleep(self.longest)
        if spell.kind == "slow_close":
            await asyncio.sleep(self.draw.random() * self.longest)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spell: _Spell) -> None:
        left: int | None = None
        while data := await reader.read(PIECE):
            if spell.kind != "limit":
                left = None
            else:
                left = self.draw.randrange(20, 20_000) if left is None else left
                data, left = data[:left], left - len(data)
            for piece, pause in self._pieces(data, spell.kind):
                await asyncio.sleep(pause)
                writer.write(piece)
                await writer.drain()
            if left is not None and left <= 0:
                return

    def _pieces(self, data: bytes, kind: str) -> list[tuple[bytes, float]]:
        """Return what goes out, and how long each piece waits."""
        if kind == "latency":
            return [(data, self.draw.random() * self.longest)]
        if kind == "slow":
            count = len(data) // 1024 + 1
            return [(data[at * 1024 : at * 1024 + 1024], self.longest / count) for at in range(count)]
        if kind == "sliced":
            return [(data[at : at + 7], 0.0) for at in range(0, len(data), 7)]
        return [(data, 0.0)]


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    writer.transport.abort()


def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()


@dataclass(frozen=True)
class Line:
    """A running proxy as others see it."""

    port: int
    process: asyncio.subprocess.Process

    async def set(self, chance: float) -> dict[str, int]:
        """Say how many of the connections to come meet something, 0 heals; return what it did so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"chance": chance}).encode() + b"\n")
        await self.process.stdin.drain()
        found: dict[str, int] = json.loads(await self.process.stdout.readline())
        return found


@contextlib.asynccontextmanager
async def proxied(to: int | Path, seed: str, *more: str) -> AsyncIterator[Line]:
    """Run a proxy before a port of this machine, or a socket's path; it is clean until told otherwise."""
    words = ("--to", str(to), "--seed", seed, *more)
    process = await children.start("-m", "tests.chaos.proxy", *words, talks=True)
    assert process.stdout is not None
    try:
        yield Line(int(await process.stdout.readline()), process)
    finally:
        await children.end(process)


async def _serve(wanted: argparse.Namespace) -> None:
    host, port = ("127.0.0.1", int(wanted.to)) if wanted.to.isdecimal() else (wanted.to, None)
    proxy = Proxy(host, port, random.Random(wanted.seed), longest=wanted.longest, again=wanted.again)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        proxy.chance = json.loads(line).get("chance", 0.0)
        print(json.dumps(proxy.done), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    children.come_first()
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True, help="port on this machine, or the path of a socket")
    parser.add_argument("--longest", type=float, default=1.0)
    parser.add_argument("--again", type=float, default=None)
    parser.add_argument("--seed", default="0")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
