"""The store: transactions as plain synchronous functions, one class over SQLite and PostgreSQL.

``await store.run(fn, *args)`` calls ``fn(tx, *args)`` inside a transaction and returns when the commit is durable.
A network call inside a transaction is impossible to write: the function is not async and runs in a store thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from hub.clock import Clock
from hub.errors import Cause, IntegrityError, SettingsError, TryAgain, Unreachable
from hub.files import SqliteFile
from hub.store import durability
from hub.store.dialects import is_away, is_unwritable
from hub.store.migrations import bring_up, migrate
from hub.store.pooled import PostgresRunner
from hub.store.tx import Call, Outcome, Overtaken, Tx, unchecked
from hub.store.writer import SqliteRunner

__all__ = ["Overtaken", "Store", "Tx"]

T = TypeVar("T")
P = ParamSpec("P")
Fn = Callable[Concatenate[Tx, P], T]


class Store:
    """Opened with :meth:`open`; safe to use from any thread and event loop."""

    def __init__(self, runner: SqliteRunner | PostgresRunner, url: str, *, inline: bool) -> None:
        """Not for callers: use :meth:`open`."""
        self._runner = runner
        self._url = url
        self._inline = inline
        self._inside = threading.local()
        self._closed = False
        self._stopped: IntegrityError | None = None
        self._unwritable = False
        self._epoch: bytes = runner.read(Call(_epoch, ())).unwrap()
        runner.check = self._check

    @classmethod
    def open(cls, url: str, clock: Clock, *, inline: bool = False) -> Self:
        """Open a store, bring its schema up to date, check its durability settings.

        Args:
            url: ``sqlite:////abs/path/hub.db``, ``sqlite://`` (memory, inline only) or ``postgresql://...``.
            clock: time, ids, jitter. On PostgreSQL the server's clock stamps transactions unless inline.
            inline: run functions in the calling thread, without threads or pauses, and on ``clock`` alone:
                for the simulator and the state machine. The same SQL, savepoints and reruns.

        Raises:
            Unreachable: the server does not answer, or is starting still.
            SettingsError: unreadable address, a server that lets us not in, unsafe durability setting (named in
                ``field``), or a store that needs a newer program.
        """
        parsed = durability.store_url(url)
        shown = parsed.render_as_string(hide_password=True)
        if parsed.drivername == "sqlite":
            return cls(_open_sqlite(parsed, clock, inline=inline), shown, inline=inline)
        return cls(_open_postgres(parsed, clock, inline=inline), shown, inline=inline)

    @staticmethod
    def migrate(url: str, clock: Clock) -> tuple[int | None, int]:
        """Bring a store to this program's schema and let go of it; return the numbers before (None: no store) and now.

        Several at once wait for each other on the store's lock, and one does the work.

        Raises:
            SettingsError: as :meth:`open`, and where the store is newer than this program.
        """
        parsed = durability.store_url(url)
        if parsed.drivername == "sqlite":
            engine, _ = durability.open_sqlite(parsed, readers=False)
        else:
            engine = durability.open_postgres(parsed)
        try:
            with engine.connect() as conn:
                return bring_up(conn, "sqlite" if parsed.drivername == "sqlite" else "postgresql", clock)
        except OperationalError as error:
            raise _unreached(error) from error
        finally:
            engine.dispose()

    @property
    def epoch(self) -> bytes:
        """The store's epoch as read at open; a restore draws a new one."""
        return self._epoch

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._runner.dialect

    @property
    def url(self) -> str:
        """The address without its password."""
        return self._url

    async def run(self, fn: Fn[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn(tx, *args)`` in a transaction; return its value once the commit is durable.

        An exception rolls back this function alone and is raised here. If the caller is cancelled, a function
        that has begun is finished all the same.

        Raises:
            IntegrityError: the store was restored or replaced since it was opened (``Cause.EPOCH``), or its file was
                removed or replaced (``Cause.REPLACED``).
            TryAgain: the disk is full or fails; nothing was written.
        """
        self._admit()
        with self._writing():
            if self._inline:
                result: T = self._call(self._runner.perform, fn, args, kwargs)
                return result
            call = Call(self._guarded(fn, kwargs), args, asyncio.get_running_loop())
            self._runner.submit(call)
            value: T = await call.future
        return value

    def run_now(self, fn: Fn[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same as :meth:`run` for a synchronous caller (command line, tests); callbacks run in its thread."""
        self._admit()
        with self._writing():
            if self._inline or self.dialect == "postgresql":
                result: T = self._call(self._runner.perform, fn, args, kwargs)
                return result
            call = Call(self._guarded(fn, kwargs), args)
            self._runner.submit(call)
            outcome: Outcome = call.future.result()
            value: T = outcome.unwrap()
        return value

    async def confirm(self) -> None:
        """Look whether what is committed is still kept; after a failure of the disk a trial write tells.

        Raises:
            IntegrityError: ``Cause.REPLACED``: the file was removed or replaced.
            TryAgain: it cannot be written.
        """
        self._runner.confirm_file()
        if self._unwritable:
            await self.run(_touch)
            self._unwritable = False

    async def read(self, fn: Fn[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn(tx, *args)`` on a read-only snapshot of what is committed; never waits for a writer."""
        self._admit()
        if self._inline:
            result: T = self._call(self._runner.read, fn, args, kwargs)
            return result
        call = Call(self._guarded(fn, kwargs), args, asyncio.get_running_loop())
        self._runner.submit_read(call)
        value: T = await call.future
        return value

    def read_now(self, fn: Fn[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same as :meth:`read` for a synchronous caller."""
        self._admit()
        result: T = self._call(self._runner.read, fn, args, kwargs)
        return result

    def lose_power(self) -> None:
        """Inline only: go on as a process would that starts on what was committed (simulated loss of power)."""
        if not self._inline:
            raise RuntimeError("only an inline store can lose its power")
        self._runner.rollback()
        self._stopped = None
        self._inside.busy = False
        self._runner.check = unchecked
        self._epoch = self._runner.read(Call(_epoch, ())).unwrap()
        self._runner.check = self._check

    def close(self) -> None:
        """Finish what was asked for and close every connection; closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._runner.close()

    async def aclose(self) -> None:
        """Close without blocking the event loop (answers still have to reach it)."""
        await asyncio.to_thread(self.close)

    def _check(self, tx: Tx) -> None:
        if tx.epoch != self._epoch:
            self._stopped = IntegrityError(
                Cause.EPOCH, "the store was restored or replaced: this process stops"
            )
            raise self._stopped

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell a disk that is full or fails as what it is, and remember it for :meth:`confirm`."""
        try:
            yield
        except Exception as error:
            if not is_unwritable(error):
                raise
            self._unwritable = True
            raise TryAgain(f"the store cannot be written now: {error}", cause=Cause.DISK) from error

    def _admit(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")
        if self._stopped is not None:
            raise IntegrityError(self._stopped.cause, str(self._stopped))
        if getattr(self._inside, "busy", False):
            raise RuntimeError("a transaction function may not start another transaction")

    def _guarded(self, fn: Callable[..., T], kwargs: dict[str, Any]) -> Callable[..., T]:
        def guarded(*args: Any) -> T:
            self._inside.busy = True
            try:
                return fn(*args, **kwargs)
            finally:
                self._inside.busy = False

        return guarded

    def _call(
        self, perform: Callable[[Call], Outcome], fn: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        return perform(Call(self._guarded(fn, kwargs), args)).unwrap()


def _epoch(tx: Tx) -> bytes:
    return tx.epoch


def _touch(tx: Tx) -> None:
    """Write something that means nothing (act numbers may have gaps); what does not change is not written."""
    tx.cursor.execute("UPDATE hub SET last_act = last_act + 1 WHERE one = 1")


def _unreached(error: OperationalError) -> SettingsError:
    kind = Unreachable if is_away(error) else SettingsError
    return kind(f"the store cannot be reached: {error.orig}", field="store")


def _open_sqlite(url: URL, clock: Clock, *, inline: bool) -> SqliteRunner:
    memory = not url.database or url.database == ":memory:"
    if memory and not inline:
        raise SettingsError("a store in memory is for inline use only: name a file", field="store")
    writer, readers = durability.open_sqlite(url, readers=not inline)
    with writer.connect() as conn:
        migrate(conn, "sqlite", clock)
    file = None if memory else SqliteFile(Path(str(url.database)))
    return SqliteRunner(writer, readers, clock, inline=inline, file=file)


def _open_postgres(url: URL, clock: Clock, *, inline: bool) -> PostgresRunner:
    engine = durability.open_postgres(url)
    try:
        with engine.connect() as conn:
            migrate(conn, "postgresql", clock)
    except OperationalError as error:
        engine.dispose()
        raise _unreached(error) from error
    except BaseException:
        engine.dispose()
        raise
    return PostgresRunner(engine, clock, inline=inline)
