"""PostgreSQL: pooled connections, one transaction per call, rerun on conflict.

A function is run again from the start after a deadlock, a serialization failure or a unique conflict. A connection
found broken before its transaction began is replaced. A connection that breaks during COMMIT leaves the outcome
unknown: the error is raised, nothing is repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import OperationalError

from hub.store import dialects
from hub.store.durability import READERS, WRITERS
from hub.store.tx import Call, Outcome, Tx, deliver, unchecked

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from hub.clock import Clock

__all__ = ["PostgresRunner"]

RERUNS = 8
"""How often a function is run again, and how often a connection is tried again."""
FIRST_PAUSE = 0.005
"""Seconds: longest pause before the first rerun; doubled each time, drawn evenly below that."""


class PostgresRunner:
    """Runs calls on PostgreSQL; with ``inline`` in the caller's thread, without pauses, and on the given clock."""

    dialect = "postgresql"

    def __init__(self, engine: Engine, clock: Clock, *, inline: bool) -> None:
        """``inline``: the simulator's clock rules, not the server's."""
        self.check: Callable[[Tx], None] = unchecked
        self._engine = engine
        self._clock = clock
        self._inline = inline
        self._closing = threading.Event()
        self._writers = None if inline else ThreadPoolExecutor(WRITERS, thread_name_prefix="store-writer")
        self._readers = None if inline else ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    def submit(self, call: Call) -> None:
        """Run a call in a writer thread; its answer is delivered after the commit."""
        assert self._writers is not None  # an inline store never submits
        self._writers.submit(self._deliver, call, self.perform)

    def submit_read(self, call: Call) -> None:
        """Run a read in a reader thread."""
        assert self._readers is not None  # as above
        self._readers.submit(self._deliver, call, self.read)

    def perform(self, call: Call) -> Outcome:
        """Run one call now, in this thread."""
        return self._repeat(call, "write")

    def read(self, call: Call) -> Outcome:
        """Run one call on a snapshot, in this thread."""
        return self._repeat(call, "read")

    def confirm_file(self) -> None:
        """Nothing to do: the server keeps its own files."""

    def rollback(self) -> None:
        """Nothing to do: between calls no transaction is open."""

    def close(self) -> None:
        """Finish what is queued, then close every connection."""
        self._closing.set()  # no more pauses
        for pool in (self._writers, self._readers):
            if pool is not None:
                pool.shutdown()
        self._engine.dispose()

    def _deliver(self, call: Call, perform: Callable[[Call], Outcome]) -> None:
        if not call.cancelled():
            deliver([(call, perform(call))])

    def _repeat(self, call: Call, mode: str) -> Outcome:
        for attempt in range(RERUNS + 1):
            try:
                return self._once(call, mode)
            except BaseException as error:  # noqa: BLE001 - raised to the caller
                if attempt == RERUNS or dialects.sqlstate(error) not in dialects.RERUN:
                    return Outcome(error=error)
            self._pause(attempt)
        raise AssertionError("unreachable")

    def _once(self, call: Call, mode: str) -> Outcome:
        conn, state = self._begin(mode)
        driver: Any = conn.connection.driver_connection
        try:
            if self._inline:
                state = (*state[:2], self._clock.now())
            tx = Tx(conn, driver.cursor(binary=True), self._clock, dialect=self.dialect, state=state)
            self.check(tx)
            outcome = Outcome(call.fn(tx, *call.args), after=tx.after)
            if mode == "write":
                self._commit(driver)
            return outcome
        finally:
            self._release(conn, driver)

    def _commit(self, driver: Any) -> None:
        # COMMIT of a failed transaction is answered by a silent ROLLBACK
        if driver.info.transaction_status == TransactionStatus.INERROR:
            raise RuntimeError("a transaction function swallowed a database error: nothing was committed")
        self._clock.crash_point("store.commit.before")
        driver.commit()
        self._clock.crash_point("store.commit.after")

    def _begin(self, mode: str) -> tuple[Connection, tuple[Any, ...]]:
        for _ in range(WRITERS + READERS + RERUNS):  # a restarted server leaves every idle connection dead
            conn = self._connect()
            driver: Any = conn.connection.driver_connection
            try:
                cursor = driver.execute(dialects.BEGIN["postgresql", mode])
                cursor.nextset()
                return conn, cursor.fetchone()
            except psycopg.OperationalError:
                conn.invalidate()
                conn.close()
            except BaseException:
                self._release(conn, driver)
                raise
        raise psycopg.OperationalError("every connection to the store breaks as soon as it is opened")

    def _connect(self) -> Connection:
        for attempt in range(RERUNS):
            try:
                return self._engine.connect()
            except OperationalError:
                self._pause(attempt)
        return self._engine.connect()

    def _release(self, conn: Connection, driver: Any) -> None:
        if dialects.is_broken(driver):
            conn.invalidate()
        elif driver.info.transaction_status != TransactionStatus.IDLE:
            driver.rollback()
        conn.close()

    def _pause(self, attempt: int) -> None:
        if not self._inline:
            self._closing.wait(FIRST_PAUSE * 2**attempt * self._clock.random())
