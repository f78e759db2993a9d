"""The faulty line: clean it passes everything on, and each of its faults shows at the caller."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos import proxy as module
from tests.chaos.proxy import KINDS, Proxy

TEXT = b"0123456789" * 5_000


@asynccontextmanager
async def line(kind: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Serve an echo behind a proxy whose every connection meets ``kind`` ("": none)."""

    serving: list[asyncio.Task[None] | None] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.transport.abort()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(asyncio.CancelledError):
            await proxy.connected(reader, writer)

    monkeypatch.setattr(module, "KINDS", (kind,))
    there = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = there.sockets[0].getsockname()[1]
    proxy = Proxy("127.0.0.1", port, random.Random(1), chance=1.0 if kind else 0.0, longest=0.02)
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with there, server:
        yield server.sockets[0].getsockname()[1]
        for task in serving:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, serving), return_exceptions=True)


async def echoed(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(TEXT)
        return await asyncio.wait_for(reader.readexactly(len(TEXT)), 10)
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("kind", ["", "latency", "slow", "sliced", "slow_close"])
async def test_what_only_delays_loses_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with line(kind, monkeypatch) as port:
        assert await echoed(port) == TEXT


async def test_a_limit_cuts_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    async with line("limit", monkeypatch) as port:
        found = await echoed(port)
    assert len(found) < len(TEXT)
    assert TEXT.startswith(found)


@pytest.mark.parametrize("kind", ["reset", "silence"])
async def test_a_reset_ends_a_connection_that_would_last(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with line(kind, monkeypatch) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.transport.abort()


def test_every_fault_has_a_test() -> None:
    assert set(KINDS) == {"latency", "slow", "sliced", "slow_close", "limit", "reset", "silence"}


async def test_a_connection_that_lasts_draws_anew_and_is_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KINDS", ("sliced",))

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.transport.abort()

    there = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy("127.0.0.1", there.sockets[0].getsockname()[1], random.Random(1), chance=1.0, again=0.01)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    async with there, server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        while proxy.done["sliced"] < 3:
            writer.write(b"?")
            assert await asyncio.wait_for(reader.readexactly(1), 10) == b"?"
        proxy.chance = 0.0
        while proxy.done["clean"] < 3:
            writer.write(b"?")
            assert await asyncio.wait_for(reader.readexactly(1), 10) == b"?"
        writer.transport.abort()
        assert proxy.done["connections"] == 1


async def test_a_socket_in_a_folder_is_reached_too(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    there = await asyncio.start_unix_server(greet, tmp_path / "s")
    proxy = Proxy(str(tmp_path / "s"), None, random.Random(1))
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    async with there, server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        assert await asyncio.wait_for(reader.read(), 10) == b"hello"
        writer.transport.abort()
