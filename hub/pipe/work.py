"""One turn of a worker: claim, call the vendor outside any transaction, settle. And the net under it: the sweep."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.clock import SECOND, Clock
from hub.errors import Cause, HubError, OutcomeUnknown, RemoteError, TryAgain
from hub.pipe.claim import Attempt, Claim, claim
from hub.pipe.decide import Send
from hub.pipe.items import source_of
from hub.pipe.settle import settle_writes
from hub.pipe.settle_reads import settle_reads
from hub.pipe.spans import calls
from hub.pipe.takeover import lapse_all
from hub.pipe.tally import answered, tally
from hub.pipe.times import LONGEST, SKEW
from hub.pipe.unknown import forget_old
from hub.pipe.world import World
from hub.sdk.connector import CannotTell, Failed
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.schema import owed
from hub.store.view import View

if TYPE_CHECKING:
    from hub.sdk.connector import Connector

__all__ = ["Worker", "sweep", "wake", "wake_exports", "wake_removed"]

log = logging.getLogger(__name__)

renew_leases = sql.bulk_update(owed, "lease", key="id fence", where="state = 'claimed'")
wake_old = sql.command(
    "UPDATE owed SET state = 'ready', waits_for = NULL, due = ? WHERE state = 'waiting' AND waits_for IS NOT NULL "
    "AND (due < ? OR due > ?) "
    "AND (waits_for LIKE 'xref:%' OR waits_for LIKE 'target:%' OR waits_for LIKE 'arrival:%')"
)
bring_near = sql.command(
    "UPDATE owed SET due = ? WHERE connection = ? AND lane IN (0, 1, 2) AND state IN ('ready', 'in_doubt') AND due > ?"
)
find_modes = sql.query(
    "SELECT DISTINCT waits_for FROM owed WHERE state = 'waiting' AND waits_for LIKE 'mode:%'"
)
find_exports = sql.query(
    "SELECT DISTINCT waits_for FROM owed WHERE state = 'waiting' AND waits_for LIKE 'export:%'"
)
NET = 60
"""Seconds after which a row that waits for an object is looked at again, woken or not."""


@dataclass
class Worker:
    """Works off what is owed to one connection. ``connector`` is None for a system that only calls our API.

    A turn ends with the ``world`` it began with; the next one takes that which stands here by then.
    """

    store: Store
    world: World
    clock: Clock
    holder: str
    connection: str
    connector: Connector | None

    async def turn(self, lane: int, room: int) -> int:
        """Claim up to ``room`` rows of a lane, call, settle; return how many were claimed."""
        world = self.world
        started = self.clock.monotonic()  # before T1: a slow commit must not lengthen the deadline
        wanted = Claim(self.connection, lane, room, self.holder, started)
        attempts = await self.store.run(claim, wanted, world)
        if not attempts:
            return 0
        self.clock.crash_point("claimed")
        traced = await calls(self.store, world, attempts)
        reads = [attempt for attempt in traced.attempts if attempt.send is None]
        writes = [attempt for attempt in traced.attempts if attempt.send is not None]
        keeper = asyncio.ensure_future(self._keep_leases(attempts))
        try:
            read, written = await asyncio.gather(self._read(reads), self._write(writes))
        finally:
            keeper.cancel()
        self.clock.crash_point("answered")
        traced.answered([*reads, *writes], [*read, *written])
        answered(world.metrics, self.connection, "fetch", reads, read)
        answered(world.metrics, self.connection, "write", writes, written)
        if reads:
            with traced.settling(reads):
                await self.store.run(settle_reads, list(zip(reads, read, strict=True)), world, self.holder)
        if writes:
            with traced.settling(writes):
                await self.store.run(
                    settle_writes, list(zip(writes, written, strict=True)), world, self.holder
                )
        self.clock.crash_point("settled")
        return len(attempts)

    async def _keep_leases(self, attempts: Sequence[Attempt]) -> None:
        lease = self.world.timing.lease
        while True:
            await self.clock.sleep(lease / 3)
            with contextlib.suppress(Exception):  # the store was away: the next one may still be in time
                await self.store.run(_renew, [(a.row, a.fence) for a in attempts], int(lease * SECOND))

    async def _read(self, attempts: Sequence[Attempt]) -> list[Any]:
        """Fetch what is only a hint; a row with a source is its own answer."""
        results: dict[bytes, Any] = {a.row: source_of(a.source) for a in attempts if a.source is not None}
        streams: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            if attempt.source is None:
                streams.setdefault(attempt.stream, []).append(attempt)
        for stream, group in streams.items():
            found = await self._fetch(stream, group)
            results.update(zip((attempt.row for attempt in group), found, strict=True))
        return [results[attempt.row] for attempt in attempts]

    async def _fetch(self, stream: str, group: Sequence[Attempt]) -> Sequence[Any]:
        connector = self.connector
        if connector is None:
            error = TryAgain("a system that only calls our API cannot be read", cause=Cause.SETTINGS)
            return [Failed(error)] * len(group)
        keys = [attempt.key for attempt in group if attempt.key is not None]
        try:
            found = await connector.fetch(stream, keys)
            return found if len(found) == len(group) else _all(group, _odd(len(group), len(found)))
        except RemoteError as error:
            return _all(group, error)
        except Exception as error:
            log.exception("fetch.bug connection=%s stream=%s", self.connection, stream)
            return _all(group, TryAgain(f"{type(error).__name__}: {error}", cause=Cause.BUG))

    async def _write(self, attempts: Sequence[Attempt]) -> list[Any]:
        sends = [attempt for attempt in attempts if attempt.send is not Send.FIND]
        finds = [attempt for attempt in attempts if attempt.send is Send.FIND]
        connector = self.connector
        if connector is None:
            return _all(attempts, TryAgain("nothing can be written there", cause=Cause.SETTINGS))
        self.clock.crash_point("before_send")
        sent, found = await asyncio.gather(
            self._call(connector.write, sends, Failed),
            self._call(connector.find, finds, lambda error: CannotTell(str(error), error)),
        )
        self.clock.crash_point("after_send")
        results = dict(zip((attempt.row for attempt in (*sends, *finds)), (*sent, *found), strict=True))
        return [results[attempt.row] for attempt in attempts]

    async def _call(
        self,
        verb: Callable[[Any], Awaitable[Sequence[Any]]],
        group: Sequence[Attempt],
        failed: Callable[[Any], Any],
    ) -> Sequence[Any]:
        """Call a connector's verb; whatever it raises, nobody can say what took effect."""
        if not group:
            return []
        try:
            results = await verb([attempt.write for attempt in group])
            if len(results) == len(group):
                return results
            unknown: RemoteError = OutcomeUnknown(str(_odd(len(group), len(results))), cause=Cause.BUG)
        except HubError as error:
            known = isinstance(error, RemoteError)
            unknown = OutcomeUnknown(str(error), cause=error.cause if known else Cause.BAD_ANSWER)  # type: ignore[attr-defined]  # narrowed by known
        except Exception as error:
            log.exception("write.bug connection=%s", self.connection)
            unknown = OutcomeUnknown(f"{type(error).__name__}: {error}", cause=Cause.BUG)
        return [failed(unknown)] * len(group)


def _odd(wanted: int, got: int) -> RemoteError:
    return TryAgain(f"the connector answered {got} of {wanted}", cause=Cause.BUG)


def _all(group: Sequence[Attempt], error: RemoteError) -> list[Any]:
    return [Failed(error)] * len(group)


def _renew(tx: Tx, held: Sequence[tuple[bytes, int]], lease: int) -> None:
    renew_leases(tx, [(row, fence, tx.now + lease) for row, fence in held])


def sweep(tx: Tx, world: World) -> int:
    """Take over, and look again at rows that have waited long; return how many were touched.

    A due time further ahead than any is set was set by a clock that ran ahead, as a lease may be.
    """
    view = View(tx, world.vault)
    forget_old(tx)
    taken = lapse_all(view, world)
    woken = wake_old(tx, tx.now, tx.now - NET * SECOND, tx.now + SKEW)
    far = tx.now + int(LONGEST * SECOND) + SKEW
    woken += sum(bring_near(tx, tx.now, name, far) for name in world.project.connections)
    view.flush("sweep", "sweep")
    tally(view, world)
    return taken + woken


def wake_removed(tx: Tx, world: World) -> None:
    """Wake what waits for the mode of a sync that is not in the project any more: its next claim parks it, for people to see."""
    modes = [key for (key,) in find_modes(tx)]
    gone = [key for key in modes if world.sync(key.removeprefix("mode:")) is None]
    if gone:
        wake(tx, gone, world)


def wake_exports(tx: Tx, world: World) -> None:
    """Wake what waits for leave to export: hub.yaml may give it by now, and if not it waits again."""
    wake(tx, [key for (key,) in find_exports(tx)], world)


def wake(tx: Tx, keys: Sequence[str], world: World) -> None:
    """Wake who waits for these keys; the caller knows that what they name has changed."""
    view = View(tx, world.vault)
    for key in keys:
        view.wake(key)
    view.flush("sweep", "wake")
