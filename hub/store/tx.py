"""What a transaction function gets, and how its answer finds the way back to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import orjson

from hub.store import dialects, sql

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hub.clock import Clock

__all__ = ["Call", "Outcome", "Overtaken", "Tx", "deliver", "unchecked"]


class Overtaken(Exception):
    """Raised by a function that finds another transaction was quicker: it is run again, on what is there then."""

    sqlstate = "40001"


class Tx:
    """One transaction: the connection, the store's time, the number of its act, its journal.

    Valid only while the function runs. The function may be rerun from the start with a new ``Tx`` (PostgreSQL:
    deadlock, serialization failure, unique conflict), so it must not change its arguments.
    """

    __slots__ = (
        "_act",
        "_journalled",
        "after",
        "clock",
        "conn",
        "cursor",
        "dialect",
        "epoch",
        "now",
        "writes_open",
    )

    def __init__(
        self, conn: Connection, cursor: Any, clock: Clock, *, dialect: str, state: Sequence[Any]
    ) -> None:
        """``cursor``: the driver's, for bulk statements; ``state``: epoch, writes, now (µs) as read at begin."""
        self.conn = conn
        self.cursor = cursor
        self.clock = clock
        self.dialect = dialect
        self.epoch: bytes = bytes(state[0])
        self.writes_open: bool = state[1] == "open"
        self.now: int = state[2]
        self.after: list[Callable[[], None]] = []
        self._act: int | None = None
        self._journalled = False

    @property
    def act(self) -> int:
        """Number of this transaction's act: drawn at first use (after the row locks), then fixed."""
        if self._act is None:
            self.cursor.execute(dialects.NEXT_ACT[self.dialect])
            self._act = int(self.cursor.fetchone()[0])
        return self._act

    @property
    def has_act(self) -> bool:
        """Say whether an act number was drawn: then rows carry it, and the journal must have it."""
        return self._act is not None and not self._journalled

    def journal(self, actor: str, verb: str, body: dict[str, Any], touched: Iterable[bytes] = ()) -> None:
        """Write the one act of this transaction and name the records it touched.

        Args:
            actor: who did it (``worker``, ``take``, a system user).
            verb: what was done.
            body: JSON values only; stored canonically (sorted keys, no spaces).
            touched: record ids, for the trace; repeats are dropped.

        Raises:
            RuntimeError: called twice in one transaction.
        """
        if self._journalled:
            raise RuntimeError("a transaction has one act: journal() was called twice")
        self._journalled = True
        text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
        sql.insert_act(self, (self.act, self.now, actor, verb, text), sorted(set(touched)))

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` once the commit is durable, in the event loop's thread (nudges)."""
        self.after.append(callback)


class Outcome:
    """What became of one transaction function: a value or an error, and what to run after the commit."""

    __slots__ = ("after", "error", "value")

    def __init__(
        self, value: Any = None, error: BaseException | None = None, after: Sequence[Callable[[], None]] = ()
    ) -> None:
        """``after`` is kept only beside a value: an error means nothing was committed."""
        self.value = value
        self.error = error
        self.after = after

    def unwrap(self) -> Any:
        """Return the value after running the callbacks here, or raise the error."""
        if self.error is not None:
            raise self.error
        for callback in self.after:
            callback()
        return self.value


class Call:
    """A function on its way into a transaction; ``future`` belongs to ``loop``, or to a waiting thread if None."""

    __slots__ = ("args", "fn", "future", "loop")

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Take the function, its arguments after ``tx``, and the event loop that waits for the answer."""
        self.fn = fn
        self.args = args
        self.loop = loop
        self.future: Any = Future() if loop is None else loop.create_future()

    def cancelled(self) -> bool:
        """Tell whether nobody waits any more; a call that has begun is finished all the same."""
        return bool(self.future.cancelled())


def deliver(done: Sequence[tuple[Call, Outcome]]) -> None:
    """Hand outcomes back from a store thread: one wake-up per event loop, however many calls it waits for."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Call, Outcome]]] = {}
    for call, outcome in done:
        if call.loop is None:
            call.future.set_result(outcome)
        else:
            by_loop.setdefault(call.loop, []).append((call, outcome))
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_finish, loop, items)
        except RuntimeError:  # the loop is closed: nobody is left to tell, and the commit stands
            if not loop.is_closed():
                raise


def _finish(loop: asyncio.AbstractEventLoop, items: Sequence[tuple[Call, Outcome]]) -> None:
    for call, outcome in items:
        if outcome.error is None:
            for callback in outcome.after:  # even if the caller was cancelled: the commit is a fact
                loop.call_soon(callback)
        if call.future.done():
            continue
        if outcome.error is None:
            call.future.set_result(outcome.value)
        elif isinstance(outcome.error, StopIteration):  # a future refuses it
            call.future.set_exception(RuntimeError("a transaction function raised StopIteration"))
        else:
            call.future.set_exception(outcome.error)


def unchecked(_tx: Tx) -> None:
    """Accept a transaction before the store knows which epoch to expect."""
