"""With the extra one record is followed from the door to the vendor, across processes; without it nothing is imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from hub.api.hooks import Door, Doors
from hub.bus import CHANGES, INBOUND, Log
from hub.model.event import Event
from hub.pipe.intake import Intake
from hub.pipe.outlet import Outlet
from hub.pipe.work import Worker
from hub.sdk import InboundEvent, InboundRequest, Received, VendorKey
from hub.tracing import OpenTelemetry, Tracer, open_tracer
from tests.pipe_stand import HandClock, NoLease, Stand
from tests.vendor import Fate
from tests.worlds import project

LIVE = 1


class Site:
    """A gateway and a worker with a tracer each, as two processes would have them, over one bus and one store."""

    def __init__(self, **sampler) -> None:
        self.exported = InMemorySpanExporter()
        self.stand = Stand(made=project(("customer", "card")))
        self.bus = Log.open(None, self.stand.clock, inline=True)
        self.tracers = [self._tracer(**sampler) for _ in range(2)]
        door = Door(self._receive, {"card": None})
        log = structlog.get_logger()
        self.doors = Doors({"mem": door}, self.bus.publish, self.stand.clock, log, tracer=self.tracers[0])
        self.world = replace(self.stand.world, tracer=self.tracers[1])
        self.worker = Worker(
            self.stand.store, self.world, NoLease(self.stand.clock), "w", "mem", self.stand.connector
        )

    def _tracer(self, **sampler) -> Tracer:
        provider = TracerProvider(**sampler)
        provider.add_span_processor(SimpleSpanProcessor(self.exported))
        return OpenTelemetry(provider)

    def _receive(self, request: InboundRequest) -> Received:
        id_ = request.body.decode()
        return Received((InboundEvent("card", VendorKey("", id_), f"e-{id_}", "changed"),), body=b"ok")

    async def call(self, id_: str) -> None:
        transport = httpx.ASGITransport(app=self.doors)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            assert (await client.post("/hooks/mem", content=id_.encode())).status_code == 200

    async def take(self) -> None:
        for number in range(await self.bus.partitions(INBOUND)):
            intake = Intake(self.stand.store, self.world, self.bus, "w", topic=INBOUND, partition=number)
            while await intake.turn():
                pass

    async def work(self) -> None:
        while await self.worker.turn(LIVE, 100):
            pass

    def spans(self) -> list[ReadableSpan]:
        return list(self.exported.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    yield made
    await made.bus.aclose()
    made.stand.close()


async def test_one_trace_leads_from_the_door_to_the_vendor(site: Site) -> None:
    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    await site.take()
    await site.work()
    assert len({span.context.trace_id for span in site.spans()}) == 1
    spans = {span.context.span_id: span for span in site.spans()}

    def way(span: ReadableSpan) -> list[str]:
        above = way(spans[span.parent.span_id]) if span.parent is not None else []
        return [*above, span.name]

    ways = [way(span) for span in site.spans() if span.attributes.get("hub.sync") == "customer.out"]
    assert ["capture", "take", "fetch", "write", "settle"] in ways
    assert ["capture", "take", "fetch", "settle"] in [way(span) for span in site.named("settle")]
    assert all(span.status.is_ok or span.status.is_unset for span in site.spans())


async def test_no_value_of_a_record_is_in_a_span(site: Site) -> None:
    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    await site.take()
    await site.work()
    for span in site.spans():
        text = span.to_json()
        for value in ("甲公司", "\\u7532", "13900001234", card.id):
            assert value not in text


async def test_a_write_that_fails_says_so_and_its_next_try_is_in_the_same_trace(site: Site) -> None:
    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    await site.take()
    site.stand.vendor.fate = lambda write: Fate.TRY if write is not None else Fate.OK
    await site.work()
    site.stand.vendor.fate = lambda write: Fate.OK
    site.stand.advance(60)
    await site.work()
    tries = [span for span in site.named("write") if span.attributes["hub.sync"] == "customer.out"]
    assert [span.status.description for span in tries[:2]] == ["TryAgain", None]
    assert len({span.context.trace_id for span in site.spans()}) == 1
    assert [span.attributes["hub.attempt"] for span in tries[:2]] == ["1", "2"]


async def test_a_subscriber_gets_the_trace_of_the_change(site: Site) -> None:
    from hub.audit import Signer
    from hub.audit.seal import seal

    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    await site.take()
    await site.work()
    site.stand.store.run_now(seal, Signer.in_memory(site.stand.clock))
    await Outlet(site.stand.store, site.bus, site.stand.clock, "a").turn()
    messages = [
        message
        for number in range(await site.bus.partitions(CHANGES))
        for message in (await site.bus.read(CHANGES, number, 0, 99)).events
    ]
    event = Event.parse([(name, value.encode()) for name, value in messages[0].headers.items()], b"")
    trace = f"{site.spans()[0].context.trace_id:032x}"
    assert event.extensions["traceparent"].split("-")[1] == trace


async def test_two_records_have_two_traces_though_they_are_taken_together(site: Site) -> None:
    for number in range(2):
        card = site.stand.vendor.add("card", name=f"公司{number}", phone=f"+861390000123{number}")
        await site.call(card.id)
    await site.take()
    await site.work()
    assert len({span.context.trace_id for span in site.spans()}) == 2
    assert len(site.named("capture")) == len(site.named("take")) == 2


async def test_a_batch_that_is_taken_again_keeps_its_parents(site: Site, monkeypatch) -> None:
    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    run, failures = site.stand.store.run, [OSError("gone"), OSError("gone")]

    async def shaky(fn, *args):
        if fn.__name__ == "take" and failures:
            raise failures.pop()
        return await run(fn, *args)

    monkeypatch.setattr(site.stand.store, "run", shaky)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await site.take()
    await site.take()
    (capture,) = site.named("capture")
    takes = site.named("take")
    assert [span.parent.span_id for span in takes] == [capture.context.span_id] * 3
    assert [span.status.description for span in takes] == ["OSError", "OSError", None]


async def test_what_is_not_sampled_is_not_sent_and_nothing_else_changes() -> None:
    site = Site(sampler=ALWAYS_OFF)
    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    await site.take()
    await site.work()
    assert site.spans() == []
    assert next(effect.step for effect in site.stand.vendor.effects if effect.object == "customer") == "save"
    await site.bus.aclose()
    site.stand.close()


async def test_without_a_tracer_acts_and_events_name_no_trace() -> None:
    site = Site()
    site.worker = replace(site.worker, world=site.stand.world)
    site.world = site.stand.world
    site.doors = Doors(
        {"mem": Door(site._receive, {"card": None})},
        site.bus.publish,
        site.stand.clock,
        structlog.get_logger(),
    )
    card = site.stand.vendor.add("card", name="甲公司", phone="+8613900001234")
    await site.call(card.id)
    await site.take()
    await site.work()
    assert site.spans() == []
    assert site.stand.ask("SELECT count(*) FROM acts WHERE body LIKE '%traceparent%'") == [(0,)]
    await site.bus.aclose()
    site.stand.close()


def test_nothing_is_opened_where_no_place_is_named() -> None:
    assert open_tracer({}) is None
    assert open_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SERVICE_NAME": "x"}) is None


def test_nothing_of_opentelemetry_is_imported_where_no_place_is_named() -> None:
    script = (
        "import sys; import hub.api.serve, hub.wiring, hub.cli.app; "
        "ours = [one for one in sys.modules if one.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]; "
        "sys.exit(bool(ours))"  # the API alone is FastAPI's own dependency
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    "parent", ["", "nonsense", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"]
)
def test_a_parent_that_is_none_begins_a_trace(parent: str) -> None:
    tracer = OpenTelemetry(TracerProvider())
    span = tracer.start("take", parent, connection="mem")
    assert len(span.traceparent) == 55
    assert "0af7651916cd43dd8448eb211c80319c" not in span.traceparent
    span.end()
    tracer.close()
