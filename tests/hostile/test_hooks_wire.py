"""Bad callers on the wire (reliability.md 5: W7, W8, W15): cut at a limit, others served, memory flat."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hub.api.guard import ConnectionLimits
from hub.api.hooks import BODY_LIMIT, DoorLimits
from hub.sdk import Received
from tests.hook_site import Site, asked, event, open_site, served

QUICK = ConnectionLimits(head=0.15, body=0.15, waiting=512)
MiB = 1 << 20


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as opened:
        yield opened


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fail if more bytes than that were ever held at once beyond what was there before."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / MiB:.1f} MiB"


class Caller:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes, times: int = 1) -> bool:
        """Send; False if the server hung up meanwhile."""
        try:
            for _ in range(times):
                self.writer.write(data)
                await self.writer.drain()
        except ConnectionError:
            return False
        return True

    async def answer(self) -> bytes:
        """Return everything the server says until it hangs up or a whole answer came; b"" if it only hung up."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
            return head.split(b"\r\n")[0]
        return b""

    async def hung_up(self) -> bool:
        """Wait until the server hangs up without a word."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.transport.abort()


async def status(port: int, head: str, body: bytes = b"", times: int = 1) -> str:
    """Send a request by hand and return the status, "" if the server only hung up."""
    caller = await Caller.to(port)
    try:
        await caller.send(head.encode("latin-1") + b"\r\n\r\n")
        if body:
            await caller.send(body, times)
        line = await caller.answer()
        return line.split(b" ")[1].decode() if line else ""
    finally:
        caller.close()


async def is_served(site: Site, port: int) -> bool:
    """Say whether a good callback is taken."""
    query, body = site.app.callback(event())
    head = f"POST /hooks/wecom{asked(query)} HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}"
    return await status(port, head, body) == "200"


def post(*headers: str, path: str = "/hooks/said") -> str:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: hub", *headers))


# W7 ---------------------------------------------------------------------------------------------------------------


async def test_w7_a_body_out_of_bounds_is_refused_before_it_is_read(site: Site) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with served(site.doors) as (port, _):
        with memory_below(8 * MiB):
            assert await status(port, post(f"Content-Length: {BODY_LIMIT + 1}")) == "413"
            assert await status(port, post("Content-Length: 10000000000"), b" " * 65_536, 40) in {"413", ""}
            assert await status(port, post("Transfer-Encoding: chunked"), chunk, 40) in {"413", ""}
        assert site.said.requests == []
        assert await is_served(site, port)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (("Content-Length: 5", "Transfer-Encoding: chunked"), b"5\r\nT-1  \r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked", "Content-Length: 5"), b"5\r\nT-1  \r\n0\r\n\r\n"),
        (("Content-Length: 3", "Content-Length: 4"), b"T-1 "),
        (("Content-Length: +3",), b"T-1"),
        (("Content-Length: 3, 3",), b"T-1"),
        (("Content-Length: 0x3",), b"T-1"),
        (("Transfer-Encoding: gzip",), b"T-1"),
        (("Transfer-Encoding: chunked, identity",), b"3\r\nT-1\r\n0\r\n\r\n"),
        (("Transfer-Encoding: xchunked",), b"3\r\nT-1\r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"-3\r\nT-1\r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"ffffffffffffffffff\r\nT-1"),
        (("Transfer-Encoding : chunked",), b"3\r\nT-1\r\n0\r\n\r\n"),
        (("Content-Length: 3", "Bad\x00Name: 1"), b"T-1"),
        (("Content-Length: 3", "X: a\x00b"), b"T-1"),
    ],
)
async def test_w7_a_request_that_two_servers_would_read_differently_is_refused(
    site: Site, headers: tuple[str, ...], body: bytes
) -> None:
    async with served(site.doors, QUICK) as (port, _):
        assert await status(port, post(*headers), body) in {"400", "501", ""}
        assert site.said.requests == []
        assert await is_served(site, port)


async def test_w7_a_body_that_ends_before_its_length_is_not_stored(site: Site) -> None:
    async with served(site.doors, QUICK) as (port, watch):
        caller = await Caller.to(port)
        await caller.send(post("Content-Length: 100").encode() + b"\r\n\r\nT-1")
        caller.writer.write_eof()
        assert await caller.answer() in {b"", b"HTTP/1.1 400 Bad Request"}
        caller.close()
        hanging = await Caller.to(port)
        await hanging.send(post("Content-Length: 100").encode() + b"\r\n\r\nT-1")
        assert await hanging.hung_up()
        hanging.close()
        assert watch.cuts == {"body": 1}
        assert await is_served(site, port)
    assert site.said.requests == []


async def test_w7_what_follows_a_refused_body_is_not_read_as_a_request(site: Site) -> None:
    query, body = site.app.callback(event())
    inner = f"POST /hooks/wecom{asked(query)} HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with served(site.doors) as (port, _):
        for headers in (
            (f"Content-Length: {BODY_LIMIT + 1}",),
            ("Content-Length: 0", "Transfer-Encoding: chunked"),
        ):
            assert await status(port, post(*headers), inner + body) in {"400", "413", ""}
    assert await site.stored() == []


async def test_w7_many_unfinished_bodies_hold_bounded_memory(tmp_path: Path) -> None:
    limits = DoorLimits(large_bytes=2 * MiB)
    async with open_site(tmp_path, limits=limits) as site, served(site.doors) as (port, watch):
        callers = [await Caller.to(port) for _ in range(40)]
        head = post(f"Content-Length: {BODY_LIMIT}").encode() + b"\r\n\r\n"
        piece = b" " * 65_536
        with memory_below(20 * MiB):
            for caller in callers:
                await caller.send(head)
            for _ in range(14):
                for caller in callers:
                    await caller.send(piece)
            assert await is_served(site, port)
        crowded = site.doors.counts["said"].errors["crowded"]
        assert crowded >= 30
        for caller in callers:
            caller.close()
        while len(watch):
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert site.doors._large == 0
        assert site.said.requests == []


@pytest.mark.parametrize(
    "line",
    [b"X: %s\r\n" % (b"y" * 1_000), b"y" * 10_000, b"\r\n" * 5_000],
    ids=["headers", "one header", "empty lines"],
)
async def test_a_head_without_end_is_cut(site: Site, line: bytes) -> None:
    async with served(site.doors, QUICK) as (port, _):
        caller = await Caller.to(port)
        with memory_below(6 * MiB):
            if not line.startswith(b"\r\n"):
                await caller.send(b"POST /hooks/said HTTP/1.1\r\nHost: hub\r\nX: ")
            sent = await caller.send(line, 2_000)
            answer = await caller.answer()
        caller.close()
        assert not sent or answer in {b"", b"HTTP/1.1 400 Bad Request"}
        assert await is_served(site, port)


@pytest.mark.parametrize(
    "piece", [b"1;%s\r\n \r\n" % (b"x" * 2_000), b"0\r\n" + b"X: y\r\n" * 500, b"0\r\nX: " + b"y" * 9_000]
)
async def test_marks_and_trailers_without_end_are_cut(site: Site, piece: bytes) -> None:
    async with served(site.doors, QUICK) as (port, _):
        caller = await Caller.to(port)
        with memory_below(6 * MiB):
            await caller.send(post("Transfer-Encoding: chunked").encode() + b"\r\n\r\n")
            await caller.send(piece)
            going_on = piece if piece.startswith(b"1") else piece[3:]
            await caller.send(going_on, 2_000)
            await caller.answer()
        caller.close()
        assert await is_served(site, port)


# W8 ---------------------------------------------------------------------------------------------------------------


async def test_w8_a_connection_that_sends_nothing_is_cut(site: Site) -> None:
    async with served(site.doors, QUICK) as (port, watch):
        caller = await Caller.to(port)
        assert await is_served(site, port)
        assert await caller.hung_up()
        caller.close()
        assert (watch.cuts["head"], len(watch)) == (1, 0)


@pytest.mark.parametrize(
    "start", [b"", post("Content-Length: 100").encode() + b"\r\n\r\n"], ids=["head", "body"]
)
async def test_w8_a_byte_at_a_time_moves_no_deadline(site: Site, start: bytes) -> None:
    async with served(site.doors, QUICK) as (port, watch):
        caller = await Caller.to(port)
        if start:
            await caller.send(start)
        rest = iter(b"POST /hooks/said HTTP/1.1\r\nX: " + b"y" * 100_000)
        ended = asyncio.ensure_future(caller.hung_up())
        loop = asyncio.get_running_loop()

        def drip() -> None:
            if not ended.done() and not caller.writer.is_closing():
                caller.writer.write(bytes([next(rest)]))
                loop.call_later(0.01, drip)

        drip()
        assert await is_served(site, port)
        assert await ended
        caller.close()
        assert watch.cuts.total() == 1
    assert site.said.requests == []


async def test_w8_two_thousand_idle_connections_keep_nobody_out(site: Site) -> None:
    limits = ConnectionLimits(waiting=100)
    async with served(site.doors, limits) as (port, watch):
        idle: list[Caller] = []
        for _ in range(20):
            idle += await asyncio.gather(*(Caller.to(port) for _ in range(100)))
            assert await is_served(site, port)
            assert len(watch) <= 100
        assert watch.cuts["crowded"] >= 1_900
        for caller in idle:
            caller.close()


async def test_w8_a_caller_that_sends_ever_more_requests_ahead_is_cut(site: Site) -> None:
    request = post("Content-Length: 2").encode() + b"\r\n\r\nno"
    async with served(site.doors, QUICK) as (port, _):
        caller = await Caller.to(port)
        with memory_below(6 * MiB):
            assert not await caller.send(request * 200, 500)
        caller.close()
        assert await is_served(site, port)


async def test_w8_a_caller_that_never_reads_its_answers_is_cut(site: Site) -> None:
    site.said.instead = lambda _: Received(body=b"x" * (8 * MiB))
    async with served(site.doors, QUICK) as (port, watch):
        caller = await Caller.to(port)
        caller.writer.transport.pause_reading()
        await caller.send(post("Content-Length: 2").encode() + b"\r\n\r\nno")
        assert await is_served(site, port)
        while not watch.cuts:
            await asyncio.sleep(0)
        assert watch.cuts == {"unread": 1}
        caller.close()


async def test_w8_a_kept_connection_is_cut_when_its_next_request_drips(site: Site) -> None:
    async with served(site.doors, QUICK) as (port, watch):
        caller = await Caller.to(port)
        query, body = site.app.callback(event())
        head = f"POST /hooks/wecom{asked(query)} HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(3):
            await caller.send(head.encode() + body)
            assert await caller.answer() == b"HTTP/1.1 200 OK"
        await caller.send(b"P")
        assert await caller.hung_up()
        caller.close()
        assert watch.cuts == {"head": 1}


# W15 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/hooks/../hooks/said", "/hooks/%2e%2e/hooks/said", "/hooks/./said", "//hooks/said", "/hooks//said", "/hooks/said/",
     "/hooks/said%00", "/hooks/s%61id", "/hooks/Said", "/HOOKS/said", "/hooks/said%2f", "/hooks/said;a=b", "/hooks/",
     "/hooks", "/", "*", "/api/v1/customers", "/healthz", "/docs", "/openapi.json", "/hooks/said'--", "/hooks/％",
     "/hooks/%EF%BC%85", "/hooks/" + "a" * 8_000, "/hooks/said\\..", "/hooks/said%", "/hooks/said%0d%0aX:1", "hooks/said",
     "/hooks/a" + "/.." * 2_000],
    ids=str,
)  # fmt: skip
async def test_w15_only_the_plain_name_of_a_connection_is_a_door(site: Site, path: str) -> None:
    async with served(site.doors, QUICK) as (port, _):
        found = await status(port, post("Content-Length: 3", path=path.encode().decode("latin-1")), b"T-1")
        assert found in {"400", "404"}
        assert site.said.requests == []
        assert await is_served(site, port)


async def test_a_protocol_switch_is_not_made(site: Site) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: eA==",
    )
    async with served(site.doors, QUICK) as (port, _):
        assert await status(port, post(*upgrade, "Content-Length: 2"), b"no") == "400"
        assert await status(port, "PRI * HTTP/2.0") in {"400", "404", "405", ""}
        assert await status(port, "CONNECT hub:443 HTTP/1.1\r\nHost: hub") in {"400", "404", "405", ""}
        assert await is_served(site, port)
