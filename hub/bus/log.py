"""The embedded bus: a durable log in its own SQLite file, with the edges of Kafka.

One thread writes. Whatever waits is appended in one transaction and answered after its one fsync; so accepting never
waits for the store, and a burst costs few commits. Other processes may append to the same file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

from hub.bus.logfile import Group, bounds_of, check_offset, connect, cut, pack, prepare, read_events
from hub.bus.port import TOPICS, Batch, Bounds, Message, Placed, Topic
from hub.clock import SECOND, Clock
from hub.errors import Cause, HubError, IntegrityError, TryAgain
from hub.files import SqliteFile

__all__ = ["Log"]

T = TypeVar("T")

GROUP_TASKS = 64
"""Most calls of one group commit."""
POLL_SECONDS = 0.2
"""How often a waiting reader looks for what another process appended; this process's own appends wake it."""
READERS = 2


class _Task:
    """Something to do in a group, and who waits for it."""

    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Callable[[Group], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


Answer = tuple[_Task, Any, Exception | None]
Which = tuple[str, int]


class Log:
    """A :class:`hub.bus.port.Bus` in one file; opened with :meth:`open`, used from any event loop."""

    def __init__(self, path: Path | None, clock: Clock, topics: Mapping[str, Topic], *, inline: bool) -> None:
        """Not for callers: use :meth:`open`."""
        self._clock = clock
        self._topics = topics
        self._conn = connect(path)
        self._cluster = prepare(self._conn, topics, clock)
        self._file = None if path is None else SqliteFile(path)
        self._unwritable = False
        counts = self._conn.execute("SELECT topic, count(*) FROM partitions GROUP BY topic")
        self._counts: dict[str, int] = dict(counts.fetchall())
        self._nudges: dict[Which, list[asyncio.Future[None]]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        if not inline:
            for _ in range(READERS):
                self._readers.put(connect(path, reader=True))
            self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="log-reader")
            self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
            self._thread.start()

    @classmethod
    def open(
        cls, path: Path | None, clock: Clock, *, topics: Mapping[str, Topic] = TOPICS, inline: bool = False
    ) -> Self:
        """Open the log's file, made if it is not there.

        Args:
            path: the file; None keeps it in memory (inline only).
            clock: stamps messages, paces waiting.
            topics: made if missing; a topic that exists keeps its partition count.
            inline: no threads; everything happens in the caller's (simulator, state machine).

        Raises:
            SettingsError: the file cannot be used, or not durably.
        """
        if path is None and not inline:
            raise ValueError("a log in memory is for inline use only: name a file")
        return cls(path, clock, topics, inline=inline)

    @property
    def cluster(self) -> str:
        """Id drawn when the file was made."""
        return self._cluster

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[Placed]:
        """Append all messages or none; return where they lie, once they are durable.

        Raises:
            Refused: a message is too large or its key is no Unicode text; nothing was appended.
            TryAgain: the file cannot be written now; nothing was appended.
            IntegrityError: ``Cause.POSITION``: there is no such topic; ``Cause.REPLACED``: the file was removed or
                replaced, nothing can be kept any more.
        """
        rows = pack(messages, await self.partitions(topic))
        return await self._do(lambda group: group.place(topic, rows)) if rows else []

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> Batch:
        """Return up to ``limit`` messages from ``offset`` on (fewer if they are very large)."""
        which = topic, partition
        events = await self._look(lambda conn: read_events(conn, which, offset, limit))
        return Batch(*which, self._cluster, offset, offset + len(events), events)

    async def wait(self, topic: str, partition: int, offset: int, seconds: float) -> bool:
        """Wait until a message lies at ``offset``; False if ``seconds`` passed without one."""
        until = self._clock.monotonic() + seconds
        while True:
            nudge = self._nudge((topic, partition))  # asked for before the look: no wake-up falls in between
            try:
                bounds = await self.bounds(topic, partition)
                check_offset(bounds, topic, partition, offset)
                left = until - self._clock.monotonic()
                if bounds.next > offset or left <= 0:
                    return bounds.next > offset
                await self._either(nudge, min(left, POLL_SECONDS))
            finally:
                self._forget((topic, partition), nudge)

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has in this file."""
        if topic not in self._counts:
            raise IntegrityError(Cause.POSITION, f"the log has no topic {topic!r}")
        return self._counts[topic]

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return which offsets a partition holds."""
        return await self._look(lambda conn: bounds_of(conn, topic, partition))

    async def trim(self, topic: str, partition: int, before: int) -> int:
        """Remove every message below the offset ``before``; return how many went. Accepting goes on meanwhile.

        Raises:
            IntegrityError: ``Cause.POSITION``: ``before`` lies behind the end.
        """
        total = 0
        while removed := await self._do(lambda group: group.trim(topic, partition, before)):
            total += removed
            self._clock.crash_point("bus.trim")
        return total

    async def purge(self, topic: str, needed: Mapping[int, int], *, before: int | None = None) -> int:
        """Remove what is older than ``before`` (µs; default: the topic's retention) and no longer needed.

        ``needed``: per partition the lowest position of any reader. A partition that is not in it is left alone:
        to forget a reader must not lose its messages.
        """
        since = self._clock.now() - self._topics[topic].retention * SECOND if before is None else before
        total = 0
        for partition, position in sorted(needed.items()):
            old = await self._look(partial(cut, topic=topic, partition=partition, before=since))
            total += await self.trim(topic, partition, min(old, position))
        return total

    async def confirm(self) -> None:
        """Look whether what is published is still kept; after a failure of the disk a trial write tells.

        Raises:
            IntegrityError: ``Cause.REPLACED``: the file was removed or replaced.
            TryAgain: the file cannot be written.
        """
        self._confirm_file()
        if self._unwritable:
            await self._do(Group.touch)
            self._unwritable = False

    async def aclose(self) -> None:
        """Finish what was asked for and close the file; closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        while not self._readers.empty():
            self._readers.get().close()
        self._conn.close()

    async def _do(self, work: Callable[[Group], T]) -> T:
        self._admit()
        task = _Task(work)
        if self._thread is None:
            self._answer(self._commit([task]))
        else:
            self._queue.put(task)
        result: T = await task.future
        return result

    async def _look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        self._admit()
        try:
            if self._pool is None:
                return look(self._conn)
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._with_reader, look)
        except sqlite3.Error as error:
            raise TryAgain(f"the log cannot be read: {error}") from error

    def _with_reader(self, look: Callable[[sqlite3.Connection], T]) -> T:
        conn = self._readers.get()  # as many as there are threads
        try:
            return look(conn)
        finally:
            self._readers.put(conn)

    def _admit(self) -> None:
        if self._closed:
            raise RuntimeError("the log is closed")

    # ------------------------------------------------------------------------------------ writing

    def _write(self) -> None:
        going = True
        while going:
            tasks: list[_Task | None] = [self._queue.get()]
            while tasks[-1] is not None and len(tasks) < GROUP_TASKS:
                try:
                    tasks.append(self._queue.get_nowait())
                except Empty:
                    break
            going = tasks[-1] is not None
            if todo := [task for task in tasks if task is not None]:
                self._answer(self._commit(todo))

    def _commit(self, tasks: Sequence[_Task]) -> list[Answer]:
        group: Group | None = None
        try:
            group = Group(self._conn, self._clock.now())
            answers = [_run(group, task) for task in tasks]
            self._confirm_file()
            self._clock.crash_point("bus.commit.before")
            group.commit()
            self._clock.crash_point("bus.commit.after")
            self._confirm_file()  # it may have gone while the commit was made
        except Exception as error:  # noqa: BLE001 - the writer must live; every caller of the group is told
            if group is not None:
                group.rollback()
            return [(task, None, self._told(error)) for task in tasks]
        self._wake(group.moved)
        return answers

    def _confirm_file(self) -> None:
        if self._file is not None:
            self._file.confirm()

    def _told(self, error: Exception) -> Exception:
        """Return what the callers of a group that failed are told."""
        if not isinstance(error, sqlite3.Error):
            return error
        self._unwritable = True
        return TryAgain(f"the log cannot be written: {error}", cause=Cause.DISK)

    def _answer(self, answers: Sequence[Answer]) -> None:
        """Hand answers back: one wake-up per event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
        for answer in answers:
            by_loop.setdefault(answer[0].loop, []).append(answer)
        for loop, theirs in by_loop.items():
            _call(loop, partial(_finish, theirs))

    # ------------------------------------------------------------------------------------ waiting

    def _nudge(self, which: Which) -> asyncio.Future[None]:
        nudge = asyncio.get_running_loop().create_future()
        with self._lock:
            self._nudges.setdefault(which, []).append(nudge)
        return nudge

    def _forget(self, which: Which, nudge: asyncio.Future[None]) -> None:
        with self._lock:
            waiting = self._nudges.get(which, [])
            if nudge in waiting:
                waiting.remove(nudge)
        nudge.cancel()

    def _wake(self, moved: set[Which]) -> None:
        with self._lock:
            woken = list(chain.from_iterable(self._nudges.pop(which, []) for which in sorted(moved)))
        for nudge in woken:
            _call(nudge.get_loop(), partial(_set, nudge))

    async def _either(self, nudge: asyncio.Future[None], seconds: float) -> None:
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((nudge, pause), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()


def _run(group: Group, task: _Task) -> Answer:
    try:
        return task, task.work(group), None
    except HubError as error:  # refused before it wrote anything: the others go on
        return task, None, error


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # closed: nobody is left to tell, and the commit stands
        if not loop.is_closed():
            raise


def _finish(answers: Sequence[Answer]) -> None:
    for task, result, error in answers:
        if task.future.done():  # its caller was cancelled
            continue
        if error is None:
            task.future.set_result(result)
        else:
            task.future.set_exception(error)


def _set(nudge: asyncio.Future[None]) -> None:
    if not nudge.done():
        nudge.set_result(None)
