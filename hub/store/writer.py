"""SQLite: one writing connection, one thread, group commit.

Calls that wait are run one after the other in one transaction, each in a savepoint; their answers go out after the
one COMMIT (one fsync for all). A function that fails rolls back itself alone; a failed COMMIT fails all of the
group. Other processes may write to the same file: BEGIN IMMEDIATE waits for them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from hub.store import dialects
from hub.store.durability import READERS
from hub.store.tx import Call, Outcome, Tx, deliver, unchecked

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from hub.clock import Clock
    from hub.files import SqliteFile

__all__ = ["SqliteRunner"]

GROUP_CALLS = 64
"""Most functions of one group commit."""
GROUP_SECONDS = 0.005
"""A group takes in no more functions after this long."""
BUSY_TRIES = 8
"""How often the busy time-out may pass before a writer gives up."""
FIRST_PAUSE, LAST_PAUSE = 0.0005, 0.004
"""Seconds between tries to begin while another process writes: SQLite's own waiting sleeps up to 0.1 s between two looks."""

_never = threading.Event()


class _LostError(Exception):
    """SQLite itself rolled the whole transaction back (disk full, I/O error)."""


class SqliteRunner:
    """Runs calls on SQLite; with ``inline`` in the caller's thread, without threads or waiting."""

    dialect = "sqlite"

    def __init__(
        self,
        writer: Engine,
        readers: Engine | None,
        clock: Clock,
        *,
        inline: bool,
        file: SqliteFile | None = None,
    ) -> None:
        """``readers`` is None if reads share the writer's connection (memory, inline); ``file``: None in memory."""
        self.check: Callable[[Tx], None] = unchecked
        self._engines = [engine for engine in (writer, readers) if engine is not None]
        self._conn = writer.connect()
        self._driver: Any = self._conn.connection.driver_connection
        self._readers = readers
        self._clock = clock
        self._file = file
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._tries = BUSY_TRIES if inline else self._waits_itself()
        if not inline:
            self._thread = threading.Thread(target=self._loop, name="store-writer", daemon=True)
            self._thread.start()
            self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    def _waits_itself(self) -> int:
        """Leave waiting to :meth:`_begin` instead of SQLite; return how many tries take as long."""
        (milliseconds,) = self._driver.execute("PRAGMA busy_timeout").fetchone()
        self._driver.execute("PRAGMA busy_timeout=0")
        return 1 + int(BUSY_TRIES * milliseconds / 1000 / LAST_PAUSE)

    def submit(self, call: Call) -> None:
        """Queue a call; its answer is delivered after the commit."""
        self._queue.put(call)

    def submit_read(self, call: Call) -> None:
        """Run a read in a reader thread."""
        assert self._pool is not None  # an inline store never submits
        self._pool.submit(lambda: deliver([(call, self.read(call))]))

    def perform(self, call: Call) -> Outcome:
        """Run one call now, in this thread (inline)."""
        return self._group(call, _nothing)[0][1]

    def read(self, call: Call) -> Outcome:
        """Run one call on a snapshot, in this thread."""
        conn = self._readers.connect() if self._readers else self._conn
        driver: Any = conn.connection.driver_connection
        try:
            if not self._readers:
                driver.execute("PRAGMA query_only=ON")
            driver.execute(dialects.BEGIN["sqlite", "read"])
            return Outcome(self._apply(call, conn, driver))
        except BaseException as error:  # noqa: BLE001 - raised to the caller
            return Outcome(error=error)
        finally:
            self._end(conn, driver, "ROLLBACK")
            if self._readers:
                conn.close()
            else:
                driver.execute("PRAGMA query_only=OFF")

    def confirm_file(self) -> None:
        """Raise IntegrityError (``Cause.REPLACED``) if the file was removed or replaced: nothing is kept any more."""
        if self._file is not None:
            self._file.confirm()

    def rollback(self) -> None:
        """Drop whatever is not committed (a simulated loss of power)."""
        self._end(self._conn, self._driver, "ROLLBACK")

    def close(self) -> None:
        """Finish what is queued, then close every connection."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._refuse_rest()
        if self._pool is not None:
            self._pool.shutdown()
        self._end(self._conn, self._driver, "ROLLBACK")
        self._conn.close()
        for engine in self._engines:
            engine.dispose()
        self._driver.close()

    def _loop(self) -> None:
        while not self._ended:
            call = self._queue.get()
            if call is None:
                return
            deliver(self._group(call, self._next))

    def _refuse_rest(self) -> None:
        """Whoever slipped in behind the end must not wait for ever."""
        while not self._queue.empty():
            call = self._queue.get()
            if call is not None:
                deliver([(call, Outcome(error=RuntimeError("the store is closed")))])

    def _next(self) -> Call | None:
        try:
            call = self._queue.get_nowait()
        except Empty:
            return None
        self._ended = self._ended or call is None
        return call

    def _group(self, first: Call, following: Callable[[], Call | None]) -> list[tuple[Call, Outcome]]:
        done: list[tuple[Call, Outcome]] = []
        call: Call | None = first
        until = self._clock.monotonic() + GROUP_SECONDS
        try:
            self._begin()
            while call is not None:
                done.append((call, Outcome(error=RuntimeError("not run"))))
                done[-1] = (call, self._one(call))
                room = len(done) < GROUP_CALLS and self._clock.monotonic() < until
                call = following() if room else None
            self.confirm_file()
            self._clock.crash_point("store.commit.before")
            self._end(self._conn, self._driver, "COMMIT")
            self._clock.crash_point("store.commit.after")
            self.confirm_file()  # it may have gone while the commit was made
        except BaseException as error:  # noqa: BLE001 - raised to every caller of the group
            self._end(self._conn, self._driver, "ROLLBACK")
            lost = error.__cause__ if isinstance(error, _LostError) and error.__cause__ else error
            done = [(one, Outcome(error=lost)) for one, _ in done] or [(first, Outcome(error=lost))]
        return done

    def _begin(self) -> None:
        pause = FIRST_PAUSE
        for tries_left in range(self._tries - 1, -1, -1):
            try:
                self._driver.execute(dialects.BEGIN["sqlite", "write"])
            except sqlite3.OperationalError as error:
                if not tries_left or not dialects.is_busy(error):
                    raise
            else:
                return
            _never.wait(pause)
            pause = min(2 * pause, LAST_PAUSE)

    def _one(self, call: Call) -> Outcome:
        if call.cancelled():
            return Outcome(error=RuntimeError("cancelled before it began"))
        self._driver.execute("SAVEPOINT one")
        try:
            after: list[Callable[[], None]] = []
            outcome = Outcome(self._apply(call, self._conn, self._driver, after), after=after)
        except BaseException as error:  # raised to the caller
            if not self._driver.in_transaction:
                raise _LostError from error
            self._driver.execute("ROLLBACK TO one")
            outcome = Outcome(error=error)
        self._driver.execute("RELEASE one")
        return outcome

    def _apply(
        self, call: Call, conn: Connection, driver: Any, after: list[Callable[[], None]] | None = None
    ) -> Any:
        with contextlib.closing(driver.cursor()) as cursor:
            # Closed here: one that lies about resets its last statement when it is collected, in whatever thread, while
            # a later cursor may be in the middle of the same one (the driver shares statements by their text).
            epoch, writes = cursor.execute(dialects.BEGIN["sqlite", "state"]).fetchone()
            state = (epoch, writes, self._clock.now())
            tx = Tx(conn, cursor, self._clock, dialect=self.dialect, state=state)
            self.check(tx)
            value = call.fn(tx, *call.args)
            if after is not None:
                after.extend(tx.after)
            return value

    def _end(self, conn: Connection, driver: Any, how: str) -> None:
        if driver.in_transaction:
            driver.execute(how)
        if conn.in_transaction():  # SQLAlchemy's own idea of it; the driver has nothing open any more
            conn.rollback()


def _nothing() -> None:
    """Answer an inline group's question for more calls."""
