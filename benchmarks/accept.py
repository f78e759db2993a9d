"""WeCom callbacks at the door: verified, decrypted, read, durable in the log, acknowledged; caller and server are two processes.

The limit is a bare FastAPI route that reads the body and answers, in one process of the same kind (uvicorn as it
comes, uvloop), asked by the same caller. Latency is that of a steady 1,000 calls a second, counted from the moment a
call was due, not from when a connection was free for it; once alone and once while `take` works off a backfill in
the same process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import structlog
import uvicorn
import uvloop
from fastapi import FastAPI, Request, Response

from benchmarks.lanes import Lane, lanes, rate
from benchmarks.measure import Row, in_turns, row
from benchmarks.running import EMBEDDED, engines, settings_of
from hub.api.guard import ConnectionLimits, Watch, guarded
from hub.api.hooks import Doors, doors_of
from hub.bus import INBOUND_BULK, Bus
from hub.clock import SystemClock
from hub.pipe.intake import Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.pace import Pace
from hub.sdk.connector import SourceRecord, VendorKey
from hub.settings import load_settings
from hub.store import Store
from hub.vault import Vault
from hub.wiring import open_bus
from tests.hook_site import App, asked, event, wecom
from tests.worlds import project, world

BUDGET = 0.3
LATENCY = 0.025
ROUNDS, CALLS = 5, 6_000
STEADY, SECONDS, LANES = 1_000, 8, 128
EVENTS = 4_000
BACKFILL = 40_000


# the servers ------------------------------------------------------------------------------------------------------


def bare() -> FastAPI:
    """Return the hand-written limit: nothing is verified, nothing kept."""
    app = FastAPI()

    @app.post("/hooks/{connection}")
    async def hook(connection: str, request: Request) -> Response:
        await request.body()
        return Response(b"")

    return app


async def _backfill(folder: Path, bus: Bus, clock: SystemClock) -> list[Intake]:
    """Put a backfill on the bus; return its readers, one a partition."""
    store = Store.open(load_settings(data_dir=folder).store_address, clock)
    known = world(store, Vault.in_memory(clock), project(("customer", "keyed", "mail")))
    records = (
        SourceRecord(
            VendorKey("", f"V{number}"),
            {"id": f"V{number}", "number": f"C{number}", "name": f"示例科技{number}有限公司", "phone": None,
             "street": "深南大道 1 号", "remark": "first contact at the fair"},
            clock.now(),
        )
        for number in range(BACKFILL)
    )  # fmt: skip
    messages = [
        to_message(to_event("mem", "customer", one, event_id=clock.new_id().hex())) for one in records
    ]
    for at in range(0, BACKFILL, 1_000):
        await bus.publish(INBOUND_BULK, messages[at : at + 1_000])
    return [
        Intake(store, known, bus, "bench", topic=INBOUND_BULK, partition=number)
        for number in range(await bus.partitions(INBOUND_BULK))
    ]


async def _taken(reader: Intake, alone: asyncio.Lock) -> None:
    """Take as a running hub does: one partition's batch of a complete read at a time."""
    taken, pace = 1, Pace()
    while taken:
        async with alone:
            began = time.monotonic()
            taken = await reader.turn(pace.size)
            pace.took(taken, time.monotonic() - began)


async def _serve(kind: str, folder: Path) -> None:
    clock = SystemClock()
    bus = open_bus(load_settings(data_dir=folder), clock)
    connector = wecom(App(), clock)  # type: ignore[arg-type]  # any clock does
    doors = Doors(doors_of({"wecom": connector}), bus.publish, clock, structlog.get_logger())
    known: dict[str, Any] = {"port": 0, "log_config": None, "access_log": False, "lifespan": "off"}
    config = (
        uvicorn.Config(bare(), **known)
        if kind == "bare"
        else uvicorn.Config(
            doors, http=guarded(Watch(ConnectionLimits()), fast=True), ws="none", proxy_headers=False, server_header=False,
            **known,
        )
    )  # fmt: skip
    readers = await _backfill(folder, bus, clock) if kind == "backfill" else []
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await clock.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    gc.collect()
    gc.freeze()  # as `hub up` does once it is ready
    if readers:
        alone = asyncio.Lock()
        await asyncio.gather(*(_taken(reader, alone) for reader in readers))
        print("taken", flush=True)
    await serving
    await connector.close()
    await bus.aclose()


@contextlib.contextmanager
def _running(kind: str, engine: str = EMBEDDED) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start one server as a process of its own; give its port."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder, settings_of(engine) as environment:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.accept", "--serve", kind, "--folder", folder],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()


# the caller -------------------------------------------------------------------------------------------------------


def _calls() -> list[bytes]:
    """Return callbacks as WeCom sends them, each about another contact."""
    app, now = App(), str(int(time.time()))
    found = []
    for number in range(EVENTS):
        encrypted = app.sealed(event(contact=f"wm{number:030}", CreateTime=now))
        query = app.signed(encrypted, at=now, nonce=str(number))
        body = f"<xml><ToUserName><![CDATA[{app.corp}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt><AgentID><![CDATA[1000002]]></AgentID></xml>"
        head = (
            f"POST /hooks/wecom{asked(query)} HTTP/1.1\r\nHost: hub.example\r\nUser-Agent: Mozilla/4.0\r\n"
            f"Accept: */*\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        found.append((head + body).encode())
    return found


async def _latencies(port: int, calls: list[bytes], seconds: int) -> list[float]:
    """Make STEADY calls a second; return the seconds from when each was due to its answer, sorted."""
    found: list[float] = []
    waiting: deque[tuple[int, float]] = deque()

    def answered(lane: Lane) -> None:
        found.append(time.perf_counter() - lane.due)
        if waiting:
            number, due = waiting.popleft()
            lane.call(calls[number % EVENTS], due)
        else:
            idle.append(lane)

    idle = deque(
        await lanes(port, LANES, answered)
    )  # the one that rested longest is next: none is closed as idle
    everyone, total = list(idle), STEADY * seconds
    began = time.perf_counter()
    for number in range(total):
        due = began + number / STEADY
        while (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        if idle:
            idle.popleft().call(calls[number % EVENTS], due)
        else:
            waiting.append((number, due))
    while len(found) < total:
        await asyncio.sleep(0.01)
    for lane in everyone:
        lane.transport.close()
    return sorted(found)


def _p99(kind: str, engine: str, calls: list[bytes]) -> tuple[float, str]:
    """Return the p99 in seconds, and for a backfill whether it outlasted the calls."""
    with _running(kind, engine) as (port, process):
        late = uvloop.run(_latencies(port, calls, SECONDS))
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        ended = kind == "backfill" and "taken" in (process.stdout.readline() or "")
    return late[int(len(late) * 0.99)], " (it ended before the calls did)" if ended else ""


def _rows(engine: str, calls: list[bytes]) -> list[Row]:
    with _running("doors", engine) as (ours, _), _running("bare") as (limit, _):
        best = in_turns(
            ROUNDS,
            lambda: uvloop.run(rate(ours, calls, CALLS)),
            lambda: uvloop.run(rate(limit, calls, CALLS)),
        )
    alone, _ = _p99("doors", engine, calls)
    beside, note = _p99("backfill", engine, calls)
    steady = f"webhook accept at {STEADY:,}/s, {engine}, p99"
    return [
        row(f"webhook accept (verify, decrypt, durable), {engine}", *best, BUDGET, "calls/s"),
        row(steady, alone, None, LATENCY, "s"),
        row(f"{steady} while a backfill is taken{note}", beside, None, LATENCY, "s"),
    ]


def run() -> list[Row]:
    """Measure on each pair of engines; the best round of each counts for the rate."""
    calls = _calls()
    return [one for engine in engines() for one in _rows(engine, calls)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", choices=("doors", "bare", "backfill"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(_serve(options.serve, options.folder))
    else:
        print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
