"""``/metrics``: what this process counted, what its doors counted, and what store and bus say, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from hub.bus.port import INBOUND, INBOUND_BULK
from hub.errors import HubError
from hub.log import get_logger
from hub.metrics import FAMILIES, Family
from hub.pipe.gauges import Gauges, gauges

if TYPE_CHECKING:
    from hub.api.door_counts import DoorCounts
    from hub.bus.port import Bounds
    from hub.pipe.runtime import Runtime
    from hub.wiring import Hub

__all__ = ["Scrape"]

FRESH = 5.0
"""Seconds for which what store and bus said is said again; longer where asking took long (see `SHARE`)."""
SHARE = 50
"""Asking takes at most one part in so many of the time."""
PATIENCE = 3.0
"""Seconds after which store or bus counts as down for a scrape."""

Labels = tuple[str, ...]
Sample = tuple[str, Labels, float]


class Scrape:
    """The metrics of one process, with a registry of its own."""

    def __init__(
        self,
        hub: Hub,
        role: str,
        *,
        runtime: Runtime | None = None,
        doors: Callable[[], Mapping[str, DoorCounts]] = dict,
    ) -> None:
        """Take the parts of the process. ``doors``: what happened at them, by connection."""
        self._hub, self._runtime, self._doors = hub, runtime, doors
        bus = "log" if hub.settings.kafka_bootstrap is None else "kafka"
        self._build = (version("integration-hub"), role, hub.store.dialect, bus)
        self._log = get_logger("metrics")
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)
        self._asking = asyncio.Lock()
        self._until = float("-inf")
        self._asked: list[Sample] = []

    async def text(self) -> bytes:
        """Return the page; a store that is down leaves out what it would have said and ``hub_store_up`` is 0."""
        async with self._asking:
            began = self._hub.clock.monotonic()
            if began >= self._until:
                self._asked = await self._ask()
                took = self._hub.clock.monotonic() - began
                self._until = began + max(FRESH, SHARE * took)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give every family (prometheus_client's protocol of a collector)."""
        counted, doors = self._hub.world.metrics, self._doors()
        told: dict[str, list[tuple[Labels, float]]] = {}
        for name, labels, value in (*self._asked, *self._told(), *_at_doors(doors)):
            told.setdefault(name, []).append((labels, value))
        steps: dict[str, list[tuple[Labels, Sequence[float]]]] = {
            "hub_ingest_latency_seconds": [
                ((name,), (*one.latency, one.seconds)) for name, one in doors.items()
            ]
        }
        for name, sums in counted.sums.items():
            told.setdefault(name, []).extend(sums.items())
        for name, found in counted.steps.items():
            steps.setdefault(name, []).extend(found.items())
        for name, family in FAMILIES.items():
            if family.kind == "histogram":
                yield _histogram(name, family, steps.get(name, ()))
            else:
                yield _plain(name, family, told.get(name, ()))

    def _told(self) -> Iterator[Sample]:
        yield "hub_build_info", self._build, 1
        for name in self._hub.project.connections:
            yield "hub_connection_up", (name,), float(name not in self._hub.down)
        yield "hub_audit_keep_seconds", (), (self._hub.settings.audit_keep_days or 0) * 86_400
        yield "hub_stopped_loops", (), float(len(self._runtime.alarms) if self._runtime is not None else 0)

    async def _ask(self) -> list[Sample]:
        hub, topics = self._hub, (INBOUND, INBOUND_BULK)
        ends: dict[str, list[Bounds]] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                for topic in topics:
                    count = await hub.bus.partitions(topic)
                    ends[topic] = [await hub.bus.bounds(topic, number) for number in range(count)]
        except (HubError, TimeoutError, OSError) as error:
            self._warn("bus", error)
            ends = {}
        up: list[Sample] = [("hub_bus_up", (), float(bool(ends)))]
        try:
            async with asyncio.timeout(PATIENCE):
                found = await hub.store.read(
                    gauges, hub.world, {name: len(one) for name, one in ends.items()}
                )
        except Exception as error:  # noqa: BLE001 - whatever keeps the store from answering, the page says so
            self._warn("store", error)
            return [*up, ("hub_store_up", (), 0)]
        return [*up, ("hub_store_up", (), 1), *found.samples, *_backlog(found, ends, hub.bus.cluster)]

    def _warn(self, part: str, error: Exception) -> None:
        self._log.warning("metrics.not_answered", part=part, error=type(error).__name__)


def _backlog(found: Gauges, ends: Mapping[str, Sequence[Bounds]], cluster: str) -> Iterator[Sample]:
    """Give how many messages lie behind where each topic's takers are."""
    for topic, bounds in ends.items():
        behind = 0
        for number, end in enumerate(bounds):
            at = found.positions.get(topic, {}).get(number, {})
            start = at["next"] if at.get("cluster") == cluster else end.first
            behind += max(0, end.next - start)
        yield "hub_bus_backlog_messages", (topic,), float(behind)


def _at_doors(doors: Mapping[str, DoorCounts]) -> Iterator[Sample]:
    for name, one in doors.items():
        yield "hub_ingest_total", (name,), one.accepted
        yield "hub_ingest_repeats_total", (name,), one.repeats
        for cause, count in one.errors.items():
            yield "hub_ingest_errors_total", (name, cause), count


def _plain(name: str, family: Family, samples: Iterable[tuple[Labels, float]]) -> Metric:
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: Metric = made(name, family.text, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)  # type: ignore[attr-defined]  # both families have it
    return metric


def _histogram(name: str, family: Family, found: Iterable[tuple[Labels, Sequence[float]]]) -> Metric:
    """Give a histogram; Prometheus wants each step to hold all that fell below its upper end."""
    metric = HistogramMetricFamily(name, family.text, labels=family.labels)
    ends = [*map(str, family.steps), "+Inf"]
    for labels, (*counts, seconds) in found:
        metric.add_metric(labels, list(zip(ends, accumulate(counts), strict=True)), seconds)
    return metric
