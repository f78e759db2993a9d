"""What SQLite alone promises: group commit, safe settings, a private file, other processes, a killed process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hub.clock import SystemClock
from hub.errors import SettingsError, TryAgain
from hub.store import Store, Tx, schema, sql
from tests.stores import ask, sqlite_store, sqlite_url

__all__ = ["sqlite_store", "sqlite_url"]  # fixtures

PATIENCE = 20  # seconds until a test that hangs fails

insert_connection = sql.bulk_insert(schema.connections, "name state failures act")


class StillClock(SystemClock):
    """A clock on which no group ever becomes old."""

    def monotonic(self) -> float:
        return 0.0


def add(tx: Tx, name: str) -> None:
    insert_connection(tx, [(name, "open", 0, tx.act)])
    tx.journal("test", "add", {"name": name})


def names(tx: Tx) -> list[str]:
    return [name for (name,) in ask(tx, "SELECT name FROM connections ORDER BY name")]


def add_and_fail(tx: Tx, name: str) -> None:
    add(tx, name)
    raise ValueError(name)


def add_and_fail_at_commit(tx: Tx, name: str) -> None:
    ask(tx, "PRAGMA defer_foreign_keys = ON")
    add(tx, name)
    ask(tx, "INSERT INTO touched VALUES (x'00', 12345)")  # no such act


def as_a_group(store: Store, calls: list[tuple[Any, str]]) -> list[Any]:
    """Run the calls in one group: they queue up while the first function of the group waits."""
    begun, go_on = threading.Event(), threading.Event()

    def first(tx: Tx) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    async def main() -> list[Any]:
        head = asyncio.ensure_future(store.run(first))
        await asyncio.to_thread(begun.wait, PATIENCE)
        rest = [asyncio.ensure_future(store.run(fn, name)) for fn, name in calls]
        await asyncio.sleep(0)
        go_on.set()
        return list(await asyncio.gather(head, *rest, return_exceptions=True))[1:]

    return asyncio.run(asyncio.wait_for(main(), PATIENCE))


def traced(store: Store) -> list[str]:
    """Note every statement of the writing connection from now on."""
    said: list[str] = []

    def trace(tx: Tx) -> None:
        driver: Any = tx.conn.connection.driver_connection
        driver.set_trace_callback(said.append)

    store.run_now(trace)
    said.clear()
    return said


def test_waiting_functions_share_one_commit(sqlite_url: str) -> None:
    store = Store.open(sqlite_url, StillClock())
    said = traced(store)
    as_a_group(store, [(add, f"c{i:02}") for i in range(40)])
    assert said.count("COMMIT") == said.count("BEGIN IMMEDIATE") == 1
    assert len(store.read_now(names)) == 40
    said.clear()
    as_a_group(store, [(add, f"d{i:03}") for i in range(100)])
    assert said.count("COMMIT") == 2  # 1 + 100 functions, 64 in a group
    store.close()


def test_one_failing_function_of_a_group_leaves_the_others(sqlite_url: str) -> None:
    store = Store.open(sqlite_url, StillClock())
    said = traced(store)
    results = as_a_group(store, [(add, "a"), (add_and_fail, "b"), (add, "c")])
    assert said.count("COMMIT") == 1
    assert results[0] is results[2] is None
    assert isinstance(results[1], ValueError)
    assert store.read_now(names) == ["a", "c"]
    store.close()


def test_a_failed_commit_fails_all_of_its_group_and_nothing_else(sqlite_url: str) -> None:
    store = Store.open(sqlite_url, StillClock())
    results = as_a_group(store, [(add, "a"), (add_and_fail_at_commit, "b"), (add, "c")])
    assert [type(result) for result in results] == [sqlite3.IntegrityError] * 3
    assert store.read_now(names) == []
    store.run_now(add, "d")
    assert store.read_now(names) == ["d"]
    store.close()


def test_no_answer_is_given_before_the_commit(sqlite_url: str) -> None:
    store = Store.open(sqlite_url, SystemClock())
    committing, go_on = threading.Event(), threading.Event()
    nudged: list[str] = []

    def hold_commit(text: str) -> None:
        if text == "COMMIT":
            committing.set()
            assert go_on.wait(PATIENCE)

    def watched(tx: Tx) -> None:
        driver: Any = tx.conn.connection.driver_connection
        driver.set_trace_callback(hold_commit)  # called when COMMIT begins
        tx.after_commit(lambda: nudged.append("a"))
        add(tx, "a")

    async def main() -> None:
        task = asyncio.ensure_future(store.run(watched))
        assert await asyncio.to_thread(committing.wait, PATIENCE)
        await asyncio.sleep(0)
        assert not task.done()
        assert nudged == []
        assert await store.read(names) == []
        go_on.set()
        await task
        assert nudged == ["a"]
        assert await store.read(names) == ["a"]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    store.close()


def test_a_transaction_that_sqlite_itself_rolled_back_fails_all_of_its_group(sqlite_url: str) -> None:
    store = Store.open(sqlite_url, StillClock())

    def lost(tx: Tx, name: str) -> None:
        add(tx, name)
        tx.cursor.execute("ROLLBACK")  # as a full disk would
        raise OSError("disk full")

    results = as_a_group(store, [(add, "a"), (lost, "b"), (add, "c")])
    assert [type(result) for result in results[:2]] == [OSError, OSError]
    assert store.read_now(names) in ([], ["c"])  # c came with a group of its own or not at all
    store.run_now(add, "d")
    assert "d" in store.read_now(names)
    store.close()


def test_a_unique_conflict_is_not_repeated(sqlite_store: Store) -> None:
    calls: list[int] = []

    def clash(tx: Tx) -> None:
        calls.append(1)
        insert_connection(tx, [("a", "open", 0, 1), ("a", "open", 0, 1)])

    with pytest.raises(sqlite3.IntegrityError):
        sqlite_store.run_now(clash)
    assert len(calls) == 1


def test_lock_clauses_vanish(sqlite_store: Store) -> None:
    select = sql.bulk_select(schema.connections, "name", key="name", lock="update skip locked")
    assert "FOR UPDATE" in sql.statements()[-1].postgresql
    assert "FOR UPDATE" not in sql.statements()[-1].sqlite
    sqlite_store.run_now(add, "a")
    assert sqlite_store.run_now(lambda tx: select(tx, [("a",)])) == [("a",)]


# --- settings, file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous", "NORMAL"),
        ("synchronous", "off"),
        ("journal_mode", "DELETE"),
        ("journal_mode", "memory"),
    ],
)
def test_unsafe_settings_are_refused_and_named(sqlite_url: str, setting: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Store.open(f"{sqlite_url}?{setting}={value}", SystemClock())
    assert caught.value.field == setting
    assert setting in str(caught.value)


def test_safe_settings_are_what_a_transaction_really_has(sqlite_url: str) -> None:
    def settings(tx: Tx) -> tuple[Any, ...]:
        wanted = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "recursive_triggers")
        return tuple(ask(tx, f"PRAGMA {name}")[0][0] for name in wanted)

    store = Store.open(f"{sqlite_url}?synchronous=EXTRA", SystemClock())
    assert store.run_now(settings) == ("wal", 3, 1, 0, 1)  # the writer waits for others by itself
    store.close()
    store = Store.open(sqlite_url, SystemClock())
    assert store.run_now(settings) == ("wal", 2, 1, 0, 1)
    assert store.read_now(settings) == ("wal", 2, 1, 5000, 1)
    store.close()


@pytest.mark.parametrize("inline", [True, False])
def test_a_writer_gives_up_after_its_patience_when_another_process_never_lets_go(
    sqlite_url: str, inline: bool
) -> None:
    store = Store.open(f"{sqlite_url}?busy_timeout=3", SystemClock(), inline=inline)
    asked: list[str] = []
    driver = store._runner._driver  # type: ignore[attr-defined]
    driver.set_trace_callback(asked.append)
    with contextlib.closing(
        sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises((TryAgain, sqlite3.OperationalError)):
            store.run_now(lambda tx: None)
        other.execute("ROLLBACK")
    tries = sum(text.startswith("BEGIN IMMEDIATE") for text in asked)
    assert (
        tries == 8 if inline else 2 <= tries <= 8
    )  # eight times SQLite's waiting, or as long in waits of our own
    store.run_now(lambda tx: None)
    store.close()


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("sqlite://", "memory"),
        ("sqlite:////no/such/folder/hub.db", "No such file"),
        ("mysql://root:hunter2@db/hub", "mysql"),
        ("hunter2", "not a store address"),
        ("sqlite:////tmp/never.db?colour=red", "colour"),
        ("sqlite:////tmp/never.db?synchronous=a;b", "synchronous"),
    ],
)
def test_an_unusable_address_is_refused_in_one_sentence(address: str, word: str) -> None:
    with pytest.raises(SettingsError, match=word) as caught:
        Store.open(address, SystemClock())
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    file.write_text("not a database, but long enough to be looked at as one" * 100)
    with pytest.raises(SettingsError, match="not a database"):
        Store.open(f"sqlite:///{file}", SystemClock())


def test_the_files_are_for_their_owner_alone(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.run_now(add, "a")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {"hub.db": 0o600, "hub.db-wal": 0o600, "hub.db-shm": 0o600}


# --- other processes ----------------------------------------------------------------------------------------------

WRITER = """
import sys
from hub.clock import SystemClock
from hub.store import Store, schema, sql
insert = sql.bulk_insert(schema.connections, "name state failures act")
clock = SystemClock()
store = Store.open(sys.argv[1], clock)
def add(tx, name):
    insert(tx, [(name, "open", 0, tx.act)])
    clock.crash_point("inside")
    tx.journal("other", "add", {})
for number in range(int(sys.argv[2])):
    store.run_now(add, f"other{number:03}")
    print(number, flush=True)
store.close()
"""


def other_process(url: str, count: int, crash: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "HUB_CRASH_POINT": crash, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(count)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_another_process_writes_to_the_same_file_at_the_same_time(
    sqlite_store: Store, sqlite_url: str
) -> None:
    other = other_process(sqlite_url, 50)
    assert other.stdout is not None
    other.stdout.readline()  # it is writing now

    async def ours() -> None:
        await asyncio.gather(*[sqlite_store.run(add, f"ours{i:03}") for i in range(200)])

    asyncio.run(ours())
    assert other.wait(PATIENCE) == 0
    other.stdout.close()
    assert len(sqlite_store.read_now(names)) == 250
    assert sqlite_store.read_now(ask, "SELECT count(*), max(id) FROM acts") == [(250, 250)]


@pytest.mark.parametrize(
    ("crash", "kept"), [("inside:20", 19), ("store.commit.before:20", 19), ("store.commit.after:20", 20)]
)
def test_a_killed_process_leaves_exactly_what_it_had_committed(
    sqlite_url: str, crash: str, kept: int
) -> None:
    other = other_process(sqlite_url, 50, crash)
    said, _ = other.communicate(timeout=PATIENCE)
    assert other.returncode == -signal.SIGKILL
    assert len(said.split()) == 19
    store = Store.open(sqlite_url, SystemClock())
    assert len(store.read_now(names)) == kept
    assert store.read_now(ask, "SELECT count(*) FROM acts") == [(kept,)]
    assert store.read_now(ask, "PRAGMA integrity_check") == [("ok",)]
    store.run_now(add, "next")
    store.close()


class Collecting(int):
    """A value that has everything collected the moment SQLite takes it: a collection may come at any point."""

    def __conform__(self, _protocol: object) -> int:
        gc.collect()
        return int(self)


def test_what_an_ended_transaction_left_for_the_collector_does_not_touch_the_next_one(
    sqlite_store: Store,
) -> None:
    left: list[Any] = []

    def first(tx: Tx) -> None:
        tx.journal("test", "add", {})
        insert_connection(tx, [("a", "open", 0, tx.act), ("b", "open", 0, tx.act)])
        left.append([tx.cursor])
        left[0].append(left[0])  # a cycle: only the collector frees it

    def second(tx: Tx) -> None:
        left.clear()
        insert_connection(tx, [("c", "open", Collecting(0), tx.act), ("d", "open", Collecting(0), tx.act)])
        tx.journal("test", "add", {})

    gc.disable()
    try:
        sqlite_store.run_now(first)
        sqlite_store.run_now(second)
    finally:
        gc.enable()
    assert sqlite_store.read_now(names) == ["a", "b", "c", "d"]
