"""The pipe's spans: take, then fetch, write or find with its settle, each a child of what came before it.

All of it does nothing, and costs a comparison, where no tracer is there. The way from a change to its delivery leads
through the act: the row's want is the number of the act that owed it, and its items name the trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from hub.errors import RemoteError
from hub.store import sql
from hub.store.schema import acts

if TYPE_CHECKING:
    from hub.pipe.claim import Attempt
    from hub.pipe.items import Item
    from hub.pipe.world import World
    from hub.store.engine import Store, Tx
    from hub.tracing import Span

__all__ = ["Calls", "calls", "taking"]

read_acts = sql.bulk_select(acts, "id body", key="id")


@contextmanager
def taking(world: World, items: Sequence[Item]) -> Iterator[None]:
    """Put a span around the taking of each item, and have its act name that span."""
    tracer = world.tracer
    if tracer is None:
        yield
        return
    begun: list[tuple[Item, str, Span]] = []
    for item in items:
        span = tracer.start("take", item.traceparent, connection=item.connection, stream=item.stream)
        begun.append((item, item.traceparent, span))
        item.traceparent = span.traceparent
    error = ""
    try:
        yield
    except BaseException as failed:
        error = type(failed).__name__
        raise
    finally:
        for item, before, span in begun:
            span.end(error)
            if error:  # it is taken again
                item.traceparent = before


class Calls:
    """The spans of one turn's attempts: one around each call, one around its settle."""

    def __init__(self, world: World, attempts: Sequence[Attempt], parents: dict[bytes, str]) -> None:
        """Begin them. ``attempts``: then bear the trace they belong to; ``parents``: row -> traceparent."""
        self._world = world
        self._begun: dict[bytes, Span] = {}
        tracer = world.tracer
        for attempt in attempts if tracer is not None else ():
            assert tracer is not None  # asked above
            sync = world.sync(attempt.sync)
            name = "fetch" if attempt.send is None else "find" if attempt.send == "find" else "write"
            self._begun[attempt.row] = tracer.start(
                name,
                parents.get(attempt.row, ""),
                connection=sync.connection if sync is not None else "",
                sync=attempt.sync,
                attempt=str(attempt.attempts),
            )
        self.attempts = [self._traced(attempt) for attempt in attempts] if self._begun else list(attempts)

    def _traced(self, attempt: Attempt) -> Attempt:
        return replace(attempt, traceparent=self._begun[attempt.row].traceparent)

    def answered(self, attempts: Sequence[Attempt], results: Sequence[object]) -> None:
        """End the span around each call."""
        for attempt, result in zip(attempts, results, strict=True) if self._begun else ():
            error = getattr(result, "error", None)
            self._begun[attempt.row].end(type(error).__name__ if isinstance(error, RemoteError) else "")

    @contextmanager
    def settling(self, attempts: Sequence[Attempt]) -> Iterator[None]:
        """Put a span around the settle of each."""
        tracer = self._world.tracer
        if tracer is None:
            yield
            return
        spans = [tracer.start("settle", attempt.traceparent, sync=attempt.sync) for attempt in attempts]
        error = ""
        try:
            yield
        except BaseException as failed:
            error = type(failed).__name__
            raise
        finally:
            for span in spans:
                span.end(error)


async def calls(store: Store, world: World, attempts: Sequence[Attempt]) -> Calls:
    """Begin the spans of a turn; which trace each belongs to is read only where there is a tracer."""
    parents = await store.read(_parents, attempts) if world.tracer is not None else {}
    return Calls(world, attempts, parents)


def _parents(tx: Tx, attempts: Sequence[Attempt]) -> dict[bytes, str]:
    """Return the traceparent of each attempt's row: what the act that owed it says of its record or object."""
    wanted = sorted({attempt.generation for attempt in attempts})
    named: dict[int, dict[tuple[str, str], str]] = {}
    for id_, body in read_acts(tx, [(one,) for one in wanted]):
        for item in orjson.loads(body).get("items", ()) if '"traceparent"' in body else ():
            if trace := item.get("traceparent"):
                told = named.setdefault(id_, {})
                told[item.get("sync", ""), item.get("subject", "")] = trace
                told["", item.get("record", "")] = trace
    found = {}
    for attempt in attempts:
        told = named.get(attempt.generation, {})
        trace = told.get((attempt.sync, attempt.subject)) or told.get(("", attempt.subject))
        if trace:
            found[attempt.row] = trace
    return found
