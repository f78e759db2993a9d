"""What this process counts: plain numbers in memory, added once a batch and read when somebody asks for the metrics.

One :class:`Metrics` belongs to one process and is handed to whoever counts; nothing is global. All of it runs in the
event loop's thread. What the store knows (depths, ages, states) is not counted here but asked at the time
(:mod:`hub.pipe.gauges`). No record, no id and no personal value is ever a label; label sets are bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FAMILIES", "OTHER", "Family", "Metrics", "endpoint_of"]

OTHER: Final = "other"
"""The label under which whatever is beyond the bound is counted together."""

_MOST_SETS: Final = 2_000
_MOST_ENDPOINTS: Final = 100
_LONGEST_PATH: Final = 120
_NAMES_ONE: Final = re.compile(r"\d{4,}|[0-9a-fA-F]{12,}|[^A-Za-z0-9._~-]")
"""A part of a path that names one object of many (an id), or is no plain word."""

_REQUESTS: Final = "hub_http_request_duration_seconds"
_CALLS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DOORS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WAYS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: what it is, its labels in order, and for a histogram the upper ends of its steps (seconds)."""

    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    steps: tuple[float, ...] = ()


FAMILIES: Final[Mapping[str, Family]] = {
    # counted in this process
    "hub_records_read_total": Family(
        "counter",
        "Records that a vendor showed: taken from the bus, or fetched one by one",
        ("connection", "stream"),
    ),
    "hub_records_written_total": Family(
        "counter", "Writes that reached the end of their plan at the vendor", ("connection", "sync")
    ),
    "hub_records_failed_total": Family("counter", "Records that became dead letters", ("sync", "cause")),
    "hub_attempts_total": Family(
        "counter",
        "Answers to fetches, writes and look-ups by what they were",
        ("connection", "verb", "result"),
    ),
    "hub_rate_limited_total": Family(
        "counter", "Answers by which a vendor said: too many calls, or the quota is used up", ("connection",)
    ),
    "hub_token_refresh_total": Family(
        "counter", "Access tokens asked for: ok or failed", ("connection", "result")
    ),
    "hub_http_request_duration_seconds": Family(
        "histogram",
        "Requests to vendors; code: the HTTP status, or why there was none",
        ("system", "endpoint", "code"),
        _CALLS,
    ),
    "hub_end_to_end_latency_seconds": Family(
        "histogram",
        "Way in: from when the vendor's record was observed until it took effect. Way out: from the change until the vendor held it",
        ("sync",),
        _WAYS,
    ),
    "hub_ingest_total": Family("counter", "Callbacks that were acknowledged", ("connection",)),
    "hub_ingest_errors_total": Family("counter", "Callbacks that were turned away", ("connection", "cause")),
    "hub_ingest_repeats_total": Family("counter", "Events that came before", ("connection",)),
    "hub_ingest_latency_seconds": Family(
        "histogram", "Callbacks, from the first byte of the head to the answer", ("connection",), _DOORS
    ),
    "hub_files_total": Family(
        "counter", "Requests for a file that an approver is shown: shown, or why not", ("result",)
    ),
    # told by this process
    "hub_build_info": Family("gauge", "Always 1", ("version", "role", "store", "bus")),
    "hub_connection_up": Family("gauge", "0: the connection did not start in this process", ("connection",)),
    "hub_audit_keep_seconds": Family("gauge", "How long acts stay in the store; 0: for ever"),
    "hub_stopped_loops": Family("gauge", "Parts of this process that stand still for what must never happen"),
    # asked from store and bus
    "hub_store_up": Family("gauge", "0: the store did not answer; what is asked from it is missing"),
    "hub_bus_up": Family("gauge", "0: the bus did not answer"),
    "hub_writes_open": Family("gauge", "0: writes are stopped (a restored, copied or moved store)"),
    "hub_members": Family("gauge", "Worker processes that are there"),
    "hub_queue_depth": Family(
        "gauge", "Rows to be worked off: ready, in doubt, claimed", ("connection", "lane")
    ),
    "hub_queue_oldest_age_seconds": Family(
        "gauge", "For how long the row that is due longest has been due", ("connection", "lane")
    ),
    "hub_dlq_depth": Family("gauge", "Dead letters: a person must decide", ("sync", "cause")),
    "hub_breaker_state": Family("gauge", "0 works, 1 one row may try, 2 paused", ("connection",)),
    "hub_quota_remaining": Family(
        "gauge",
        "Calls that workers may still reserve in the vendor's window that runs now",
        ("connection", "budget"),
    ),
    "hub_quota_limit": Family(
        "gauge", "Calls that the vendor states for such a window", ("connection", "budget")
    ),
    "hub_source_lag_seconds": Family(
        "gauge", "Since the source was last read to its end", ("connection", "sync")
    ),
    "hub_source_interval_seconds": Family("gauge", "How often it is to be read", ("connection", "sync")),
    "hub_bus_backlog_messages": Family("gauge", "Messages not taken yet", ("topic",)),
    "hub_last_seal_age_seconds": Family("gauge", "Since the newest seal over the audit trail"),
    "hub_unsealed_age_seconds": Family("gauge", "Since the oldest act without a seal; 0: all are sealed"),
    "hub_oldest_act_age_seconds": Family("gauge", "Age of the oldest sealed act in the store"),
}
"""Every metric the hub exports, by name; beside them Python's own (``process_``, ``python_``)."""

Labels = tuple[str, ...]


class Metrics:
    """The counters and histograms of one process."""

    __slots__ = ("_endpoints", "_requests", "steps", "sums")

    def __init__(self) -> None:
        """Begin at nothing."""
        self.sums: dict[str, dict[Labels, float]] = {}
        """Counter -> labels -> value."""
        self.steps: dict[str, dict[Labels, list[float]]] = {}
        """Histogram -> labels -> how many fell into each step, one more for the rest, and their sum."""
        self._endpoints: dict[str, set[str]] = {}
        self._requests: dict[Labels, list[float]] = {}
        """What :meth:`request` found before: a call to a vendor must not wait for its own figure."""

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Count ``by`` more. Raises KeyError for a counter that is not in :data:`FAMILIES`."""
        known = self.sums.get(name)
        if known is None:
            assert FAMILIES[name].kind == "counter"
            known = self.sums[name] = {}
        key = labels if labels in known or len(known) < _MOST_SETS else (OTHER,) * len(labels)
        known[key] = known.get(key, 0) + by

    def observe(self, name: str, values: Iterable[float], *labels: str) -> None:
        """Put values (seconds) into a histogram; one below zero (clocks differ) counts as zero."""
        counts, steps = self._counts(name, labels), FAMILIES[name].steps
        for value in values:
            _put(counts, steps, value)

    def _counts(self, name: str, labels: Labels) -> list[float]:
        """Return the steps of one histogram, made at the first use."""
        known = self.steps.setdefault(name, {})
        key = labels if labels in known or len(known) < _MOST_SETS else (OTHER,) * len(labels)
        counts = known.get(key)
        if counts is None:
            counts = known[key] = [0] * (len(FAMILIES[name].steps) + 2)
        return counts

    def request(self, system: str, path: str, code: str, seconds: float) -> None:
        """Count one request to a vendor; what in its path names one object becomes ``:id``."""
        counts = self._requests.get((system, path, code))
        if counts is None:
            counts = self._counts(_REQUESTS, (system, self._endpoint(system, path), code))
            if len(self._requests) < _MOST_SETS:
                self._requests[system, path, code] = counts
        _put(counts, _CALLS, seconds)

    def _endpoint(self, system: str, path: str) -> str:
        known = self._endpoints.setdefault(system, set())
        endpoint = endpoint_of(path)
        if endpoint not in known and len(known) >= _MOST_ENDPOINTS:
            return OTHER
        known.add(endpoint)
        return endpoint


def _put(counts: list[float], steps: tuple[float, ...], value: float) -> None:
    seconds = max(value, 0.0)
    counts[bisect_left(steps, seconds)] += 1
    counts[-1] += seconds


def endpoint_of(path: str) -> str:
    """Return a URL's path with every part that may name one object replaced; never longer than 120 characters."""
    parts = [":id" if _NAMES_ONE.search(part) else part for part in path.split("/")]
    return "/".join(parts)[:_LONGEST_PATH] or "/"
