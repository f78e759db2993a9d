"""Webhook → map → one call a record: durable and audited on its way, beside a service that is neither.

A running hub with a connector of next to no cost (`benchmarks.hooked`) on both sides: a signed JSON body in at the
door, on the bus, taken, mapped, a customer made; mapped again and put to the sink by one call of its own; settled,
sealed. CPU a record is the hub process's alone, from the first call until nothing is owed and every act is sealed.
The load saturates: 32 calls in flight until all are made. Each record is a new customer.

The limit is an aiohttp service, hand-written: it verifies, maps the same fields and makes the same call before it
answers. It keeps nothing: what is under way when it dies is lost. Caller and sink are this process for both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import hmac
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import orjson
import psutil
import uvloop

from benchmarks.hooked import HEADER, signed
from benchmarks.lanes import rate
from benchmarks.measure import Row, row
from benchmarks.people import Look
from benchmarks.running import EMBEDDED, ROOT, Running, engines, running_hub, seconds_of

BUDGET = 341.0
"""µs of CPU a record (design: one and a half of Node-RED, which keeps nothing)."""
RECORDS, WARM, ROUNDS = 3_000, 300, 3
PATIENCE = 60.0
KEY = "key-of-the-benchmark"
HUB_YAML = """
version: 1
regions: [cn]
connections:
  leads: {{connector: hooked, settings: {{url: "http://127.0.0.1:{port}/", key: {key}}}, region: cn}}
  sink:
    connector: hooked
    settings: {{url: "http://127.0.0.1:{port}/", key: {key}}}
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
kinds:
  customer: {{match: [{{by: [phone], confidence: sure}}], admission: [name]}}
syncs:
  leads.lead.in: {{source: leads.lead, mapping: hooked/lead.in, mode: write}}
  sink.lead.out: {{target: sink.lead, mapping: hooked/lead.out, mode: write, accept_window: true}}
"""
FIELDS = """
  name: company_name(name)
  phone: phone(phone, 'CN')
  street: trim(street)
  remark: remark
"""
MAPPINGS = {
    "hooked/lead.in": f"mapping: hooked/lead.in\nsource: hooked.lead\ntarget: crm.customer\nkey: [id]\nfields:{FIELDS}",
    "hooked/lead.out": f"mapping: hooked/lead.out\nsource: crm.customer\ntarget: hooked.lead\nfields:{FIELDS}",
}


# what is called ---------------------------------------------------------------------------------------------------


@dataclass
class Sink:
    """Counts records: an HTTP server of a few lines, so that it takes little of the second core."""

    names: set[str] = field(default_factory=set)
    calls: int = 0

    def protocol(self) -> asyncio.Protocol:
        """Make a connection."""
        return _Put(self)


class _Put(asyncio.Protocol):
    LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    def __init__(self, sink: Sink) -> None:
        self.sink, self.held = sink, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n") + 4) > 3:
            found = self.LENGTH.search(self.held, 0, end)
            whole = end + (int(found[1]) if found else 0)
            if len(self.held) < whole:
                return
            self.sink.names.add(orjson.loads(self.held[end:whole])["name"])
            self.sink.calls += 1
            self.held = self.held[whole:]
            self.transport.write(self.ANSWER)


@contextlib.asynccontextmanager
async def _sink(port: int) -> Any:
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(sink.protocol, "127.0.0.1", port)
    yield sink, server.sockets[0].getsockname()[1]
    server.close()


# the hand-written service -----------------------------------------------------------------------------------------


async def _serve(sink: int) -> None:
    async with aiohttp.ClientSession() as onward:

        async def hook(request: aiohttp.web.Request) -> aiohttp.web.Response:
            body = await request.read()
            if not hmac.compare_digest(request.headers.get(HEADER, ""), signed(KEY, body)):
                return aiohttp.web.Response(status=401)
            lead = orjson.loads(body)
            known = {"name": lead["name"].strip(), "phone": "+86" + lead["phone"], "street": lead["street"].strip(),
                     "remark": lead["remark"]}  # fmt: skip
            url = f"http://127.0.0.1:{sink}/{lead['id']}"
            async with onward.put(url, data=orjson.dumps(known)) as answer:
                await answer.read()
                return aiohttp.web.Response(status=answer.status)

        app = aiohttp.web.Application()
        app.router.add_post("/hooks/leads", hook)
        runner = aiohttp.web.AppRunner(app, access_log=None)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


@contextlib.contextmanager
def _service(sink: int) -> Iterator[tuple[int, psutil.Process]]:
    command = [sys.executable, "-m", "benchmarks.hook_to_call", "--serve", str(sink)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


# the measuring ----------------------------------------------------------------------------------------------------


def _calls(first: int, count: int) -> list[bytes]:
    """Return webhooks, each about somebody new."""
    found = []
    for number in range(first, first + count):
        lead = {"id": f"L{number:07}", "name": f"示例科技{number}号有限公司", "phone": f"138{number:08}",
                "street": " 深南大道 1 号", "remark": "first contact at the fair"}  # fmt: skip
        body = orjson.dumps(lead)
        head = (
            f"POST /hooks/leads HTTP/1.1\r\nHost: hub.example\r\nContent-Type: application/json\r\n"
            f"X-Signature: {signed(KEY, body)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


@dataclass(frozen=True)
class Round:
    """Records per second until the last call, acknowledgements per second, µs of CPU a record."""

    rate: float
    accepted: float
    cpu: float


async def _round(
    port: int, process: psutil.Process, sink: Sink, first: int, count: int, settled: Any
) -> Round:
    """Send ``count`` webhooks, wait for their calls and until ``settled`` says that nothing is left to do."""
    calls, before = _calls(first, count), sink.calls
    used, began = seconds_of(process), time.perf_counter()
    accepted = await rate(port, calls, count)
    await _until(lambda: sink.calls - before >= count)
    seconds = time.perf_counter() - began
    await _until(settled)
    cpu = (seconds_of(process) - used) / count * 1e6
    if sink.calls - before != count or len(sink.names) != sink.calls:
        raise RuntimeError(
            f"{count} records were sent, {sink.calls - before} calls came, {len(sink.names)} names"
        )
    return Round(count / seconds, accepted, cpu)


async def _until(true: Any) -> None:
    until = time.perf_counter() + PATIENCE
    while not true():
        if time.perf_counter() > until:
            raise RuntimeError(f"not done after {PATIENCE:.0f} s")
        await asyncio.sleep(0.01)


def _project(port: int, folder: Path) -> None:
    (folder / "hub.yaml").write_text(HUB_YAML.format(port=port, key=KEY))
    (folder / "mappings" / "hooked").mkdir(parents=True)
    for name, text in MAPPINGS.items():
        (folder / "mappings" / f"{name}.yaml").write_text(text)


def _plugin(folder: Path) -> tuple[Path, ...]:
    """Offer the connector as an installed package would."""
    known = folder / "hooked-1.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: hooked\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[hub.connectors]\nhooked = benchmarks.hooked:HookedConnector\n")
    return folder, ROOT


def _quiet(look: Look) -> bool:
    owed = look.one("SELECT EXISTS (SELECT 1 FROM owed)")
    return not owed and not look.one("SELECT EXISTS (SELECT 1 FROM acts WHERE seq IS NULL)")


async def _rounds(
    hub: Running, sinks: tuple[Sink, int], rounds: int, records: int
) -> tuple[list[Round], list[Round]]:
    look, (sink, port) = Look(hub), sinks
    ours, limit = [], []
    door = int(hub.hooks.rpartition(":")[2].partition("/")[0])
    with contextlib.closing(look), _service(port) as (bare, service):
        at = 0
        for number in range(rounds + 1):  # the first one warms up
            count = records if number else WARM
            ours.append(await _round(door, hub.process, sink, at, count, functools.partial(_quiet, look)))
            limit.append(await _round(bare, service, sink, at + count, count, lambda: True))
            at += 2 * count
    return ours[1:], limit[1:]


async def _measure(engine: str, rounds: int, records: int) -> tuple[list[Round], list[Round]]:
    async with _sink(0) as sinks:
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
            path = _plugin(Path(folder))
            project = functools.partial(_project, sinks[1])
            started = running_hub(project, vendors=(), path=path, engine=engine)
            hub = await asyncio.to_thread(started.__enter__)
            try:
                return await _rounds(hub, sinks, rounds, records)
            finally:
                await asyncio.to_thread(started.__exit__, None, None, None)


def run(rounds: int = ROUNDS, records: int = RECORDS) -> list[Row]:
    """Measure in turns, on each pair of engines; the best round of each counts."""
    found = []
    for engine in engines():
        ours, limit = uvloop.run(_measure(engine, rounds, records))
        name = f"webhook → map → one call a record, {engine}"
        budget = BUDGET if engine == EMBEDDED else None
        found += [
            row(f"{name}, beside an aiohttp service that keeps nothing", max(one.rate for one in ours),
                max(one.rate for one in limit), None, "records/s"),
            row(f"{name}: accepted, the pipe working them off meanwhile", max(one.accepted for one in ours), None, None,
                "calls/s"),
            row(f"{name}: CPU of the hub a record", min(one.cpu for one in ours), None, budget, "µs"),
            row(f"{name}: CPU of the aiohttp service a record", min(one.cpu for one in limit), None, None, "µs"),
        ]  # fmt: skip
    return found


def quick() -> list[Row]:
    """Measure a little."""
    return run(1, 300)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--serve", type=int, metavar="PORT", help="be the hand-written service; PORT: of the sink"
    )
    parser.add_argument("--records", type=int, default=RECORDS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(_serve(options.serve))
    else:
        print(orjson.dumps(run(records=options.records), option=orjson.OPT_INDENT_2).decode())
