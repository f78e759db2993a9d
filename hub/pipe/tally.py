"""What a transaction of the pipe did, counted once it is committed: a rerun counts nothing twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hub.clock import SECOND
from hub.errors import Cause, RemoteError
from hub.pipe.decide import Action
from hub.sdk.connector import SourceRecord

if TYPE_CHECKING:
    from hub.metrics import Metrics
    from hub.pipe.claim import Attempt
    from hub.pipe.items import Item
    from hub.pipe.world import World
    from hub.store.rows import Owed
    from hub.store.view import View

__all__ = ["answered", "refused", "taken", "tally"]

LIMITED = frozenset({Cause.RATE, Cause.QUOTA})
_COUNTED = frozenset({"parked", Action.AGREE.value})


def tally(view: View, world: World, settled: Iterable[Owed | None] = ()) -> None:
    """Count what the act of this transaction tells: dead letters, finished writes; ``settled``: rows an answer was for."""
    told = Counter(
        (item["outcome"], item.get("sync", ""), item.get("cause", ""))
        for item in view.items
        if item.get("outcome") in _COUNTED
    )
    ways: dict[str, list[float]] = defaultdict(list)
    for row in settled:
        if row is not None and (row.sync, row.subject) not in view.owed:  # paid
            ways[row.sync].append((view.now - row.since) / SECOND)
    if told or ways:
        connections = {name: sync.connection for _, name, _ in told if (sync := world.sync(name))}
        view.tx.after_commit(partial(_count, world.metrics, told, connections, ways))


def _count(
    metrics: Metrics,
    told: Counter[tuple[str, str, str]],
    connections: dict[str, str],
    ways: dict[str, list[float]],
) -> None:
    for (outcome, sync, cause), number in told.items():
        if outcome == "parked":
            metrics.add("hub_records_failed_total", sync, cause, by=number)
        else:
            metrics.add("hub_records_written_total", connections.get(sync, ""), sync, by=number)
    for sync, seconds in ways.items():
        metrics.observe("hub_end_to_end_latency_seconds", seconds, sync)


def taken(view: View, world: World, items: Sequence[Item], effective: Sequence[Item]) -> None:
    """Count a batch that was taken: ``items`` came, ``effective`` of them took effect at once."""
    read = Counter((item.connection, item.stream) for item in items if item.source is not None)
    ways: dict[str, list[float]] = defaultdict(list)
    now = view.now
    for item in effective:
        if item.source is not None:
            ways[item.sync_name].append((now - item.source.observed_at) / SECOND)
    metrics = world.metrics

    def count() -> None:
        for (connection, stream), number in read.items():
            metrics.add("hub_records_read_total", connection, stream, by=number)
        for sync, seconds in ways.items():
            metrics.observe("hub_end_to_end_latency_seconds", seconds, sync)

    view.tx.after_commit(count)


def answered(
    metrics: Metrics, connection: str, verb: str, attempts: Sequence[Attempt], results: Sequence[object]
) -> None:
    """Count what a vendor answered. ``verb``: fetch or write (a look-up counts as find)."""
    found: Counter[tuple[str, str]] = Counter()
    streams: Counter[str] = Counter()
    limited = 0
    for attempt, result in zip(attempts, results, strict=True):
        if attempt.source is not None:
            continue  # the row was its own answer: nobody was asked
        error = getattr(result, "error", None)
        told = error if isinstance(error, RemoteError) else result
        name = type(told).__name__
        limited += isinstance(told, RemoteError) and told.cause in LIMITED
        found["find" if attempt.send == "find" else verb, _snake(name)] += 1
        if isinstance(result, SourceRecord):
            streams[attempt.stream] += 1
    for (which, word), number in found.items():
        metrics.add("hub_attempts_total", connection, which, word, by=number)
    for stream, number in streams.items():
        metrics.add("hub_records_read_total", connection, stream, by=number)
    if limited:
        metrics.add("hub_rate_limited_total", connection, by=limited)


def refused(metrics: Metrics, connection: str, error: RemoteError) -> None:
    """Count a page of a read that a vendor did not give."""
    metrics.add("hub_attempts_total", connection, "read", _snake(type(error).__name__))
    if error.cause in LIMITED:
        metrics.add("hub_rate_limited_total", connection)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
