"""What PostgreSQL alone promises: row locks, reruns, broken connections, refused settings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from hub.clock import SystemClock
from hub.errors import SettingsError
from hub.store import Store, Tx, schema, sql
from hub.store.durability import refuse_unsafe_postgres
from hub.store.pooled import RERUNS
from tests.stores import ask, postgres_store

__all__ = ["postgres_store"]  # fixture

PATIENCE = 20  # seconds until a test that hangs fails

insert_connection = sql.bulk_insert(schema.connections, "name state failures act")
lock_connection = sql.bulk_select(schema.connections, "name failures act", key="name", lock="update")
share_connection = sql.bulk_select(schema.connections, "name", key="name", lock="share")
free_connection = sql.bulk_select(schema.connections, "name", key="name", lock="update skip locked")
count_up = sql.bulk_update(schema.connections, "failures", key="name")

ROWS = [("a", "open", 0, 1), ("b", "open", 0, 1)]


def together(store: Store, *functions: Callable[[Tx], Any]) -> list[Any]:
    async def main() -> list[Any]:
        return list(await asyncio.gather(*map(store.run, functions), return_exceptions=True))

    return asyncio.run(asyncio.wait_for(main(), PATIENCE))


def first_time_only(barrier: threading.Barrier) -> Callable[[], None]:
    """Meet at the barrier in the first run of a function, not in its reruns."""
    met: list[int] = []

    def meet() -> None:
        if not met:
            met.append(1)
            barrier.wait(PATIENCE)

    return meet


def test_a_deadlock_is_run_again_until_both_have_done_their_work(postgres_store: Store) -> None:
    postgres_store.run_now(insert_connection, ROWS)
    barrier = threading.Barrier(2)
    runs: list[str] = []

    def crossing(first: str, second: str) -> Callable[[Tx], None]:
        meet = first_time_only(barrier)

        def cross(tx: Tx) -> None:
            runs.append(first)
            ask(tx, "SET LOCAL deadlock_timeout = '10ms'")
            for name in (first, second):
                ((_, failures, _),) = lock_connection(tx, [(name,)])
                count_up(tx, [(name, failures + 1)])
                if name == first:
                    meet()

        return cross

    assert together(postgres_store, crossing("a", "b"), crossing("b", "a")) == [None, None]
    assert len(runs) == 3  # one was the victim
    assert postgres_store.read_now(ask, "SELECT failures FROM connections") == [(2,), (2,)]


def test_a_unique_conflict_is_run_again_and_then_finds_the_row(postgres_store: Store) -> None:
    barrier = threading.Barrier(2)

    def ensure() -> Callable[[Tx], str]:
        meet = first_time_only(barrier)

        def run(tx: Tx) -> str:
            found = lock_connection(tx, [("a",)])
            meet()
            if not found:
                insert_connection(tx, [("a", "open", 0, tx.act)])
            return "found" if found else "made"

        return run

    assert sorted(together(postgres_store, ensure(), ensure())) == ["found", "made"]


def test_a_conflict_that_never_ends_raises_the_original_error(postgres_store: Store) -> None:
    runs: list[int] = []

    def clash(tx: Tx) -> None:
        runs.append(1)
        insert_connection(tx, [ROWS[0], ROWS[0]])

    with pytest.raises(psycopg.errors.UniqueViolation):
        postgres_store.run_now(clash)
    assert len(runs) == RERUNS + 1


def test_other_errors_are_not_run_again(postgres_store: Store) -> None:
    runs: list[int] = []

    def fail(tx: Tx) -> None:
        runs.append(1)
        ask(tx, "SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        postgres_store.run_now(fail)
    assert len(runs) == 1


def test_a_swallowed_database_error_is_never_taken_for_a_commit(postgres_store: Store) -> None:
    def swallow(tx: Tx) -> None:
        insert_connection(tx, ROWS)
        with pytest.raises(psycopg.errors.DivisionByZero):
            ask(tx, "SELECT 1 / 0")

    with pytest.raises(RuntimeError, match="nothing was committed"):
        postgres_store.run_now(swallow)
    assert postgres_store.read_now(ask, "SELECT name FROM connections") == []


def test_skip_locked_leaves_out_what_another_holds(postgres_store: Store) -> None:
    postgres_store.run_now(insert_connection, ROWS)
    held, done = threading.Event(), threading.Event()

    def hold(tx: Tx) -> list[Any]:
        locked = lock_connection(tx, [("a",)])
        held.set()
        assert done.wait(PATIENCE)
        return locked

    def take(tx: Tx) -> list[Any]:
        assert held.wait(PATIENCE)
        free = free_connection(tx, [("a",), ("b",)])
        done.set()
        return free

    assert together(postgres_store, hold, take) == [[("a", 0, 1)], [("b",)]]
    assert postgres_store.run_now(free_connection, [("a",), ("b",)]) == [("a",), ("b",)]


def test_shared_locks_go_together_and_keep_a_writer_waiting(postgres_store: Store) -> None:
    postgres_store.run_now(insert_connection, ROWS)
    barrier = threading.Barrier(2)
    order: list[str] = []

    def share(tx: Tx) -> None:
        share_connection(tx, [("a",)])
        barrier.wait(PATIENCE)  # both hold it
        with pytest.raises(psycopg.errors.LockNotAvailable), psycopg.connect(admin) as other:
            other.execute("SELECT 1 FROM connections WHERE name = 'a' FOR UPDATE NOWAIT")
        order.append("shared")

    admin = postgres_store.read_now(lambda tx: tx.conn.connection.driver_connection.info.dsn)  # type: ignore[union-attr]
    assert together(postgres_store, share, share) == [None, None]
    assert order == ["shared", "shared"]


def test_locks_are_taken_in_the_order_of_the_key(postgres_store: Store) -> None:
    """Two functions that name the same rows in opposite order never deadlock."""
    rows = [(f"c{i:03}", "open", 0, 1) for i in range(200)]
    postgres_store.run_now(insert_connection, rows)
    keys = [(row[0],) for row in rows]
    runs: list[int] = []

    def lock(tx: Tx, order: list[tuple[str]]) -> None:
        runs.append(1)
        assert [row[0] for row in lock_connection(tx, order)] == [key for (key,) in keys]

    async def main() -> None:
        orders = [keys, keys[::-1]] * 40
        await asyncio.gather(*[postgres_store.run(lock, order) for order in orders])

    asyncio.run(main())
    assert len(runs) == 80  # none was run again


def test_time_is_the_servers(postgres_store: Store) -> None:
    class Wrong(SystemClock):
        def now(self) -> int:
            return 1

    assert Wrong().now() == 1 < postgres_store.run_now(lambda tx: tx.now)


def test_inline_time_is_the_given_clocks(fresh_postgres_url: str) -> None:
    class Virtual(SystemClock):
        def now(self) -> int:
            return 42

    store = Store.open(fresh_postgres_url, Virtual(), inline=True)
    assert asyncio.run(store.run(lambda tx: tx.now)) == 42
    assert store.read_now(lambda tx: tx.now) == 42
    store.close()


def test_a_process_that_was_frozen_inside_a_transaction_loses_its_locks_and_runs_it_again(
    postgres_store: Store,
) -> None:
    postgres_store.run_now(insert_connection, ROWS)
    runs: list[int] = []
    dsn = postgres_store.read_now(lambda tx: tx.conn.connection.driver_connection.info.dsn)  # type: ignore[union-attr]

    def frozen(tx: Tx) -> None:
        ((_, failures, _),) = lock_connection(tx, [("a",)])
        runs.append(failures)
        if len(runs) == 1:
            ask(tx, "SET idle_in_transaction_session_timeout = '1ms'")
            with psycopg.connect(dsn, autocommit=True) as other:
                other.execute("SET lock_timeout = '20s'")
                other.execute("UPDATE connections SET failures = 5 WHERE name = 'a'")  # waits for the lock
        count_up(tx, [("a", failures + 1)])

    postgres_store.run_now(frozen)
    assert runs == [0, 5]
    assert postgres_store.read_now(ask, "SELECT failures FROM connections WHERE name = 'a'") == [(6,)]


def test_the_server_ends_a_transaction_of_which_it_hears_nothing(postgres_store: Store) -> None:
    assert postgres_store.read_now(ask, "SHOW idle_in_transaction_session_timeout") == [("10s",)]


def test_connections_that_broke_while_idle_are_replaced(postgres_store: Store) -> None:
    def own(tx: Tx) -> int:
        return int(ask(tx, "SELECT pg_backend_pid()")[0][0])

    barrier = threading.Barrier(4)

    def many(tx: Tx) -> int:
        barrier.wait(PATIENCE)
        return own(tx)

    before = set(together(postgres_store, many, many, many, many))
    assert len(before) == 4
    dsn = postgres_store.read_now(lambda tx: tx.conn.connection.driver_connection.info.dsn)  # type: ignore[union-attr]
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert not before & set(together(postgres_store, own, own, own, own))
    postgres_store.run_now(insert_connection, ROWS)


def test_a_connection_that_breaks_in_the_middle_fails_its_function_alone(postgres_store: Store) -> None:
    runs: list[int] = []

    def suicide(tx: Tx) -> None:
        runs.append(1)
        insert_connection(tx, ROWS)
        ask(tx, "SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(psycopg.OperationalError):
        postgres_store.run_now(suicide)
    assert len(runs) == 1
    assert postgres_store.read_now(ask, "SELECT name FROM connections") == []
    postgres_store.run_now(insert_connection, ROWS)


def test_a_commit_that_may_be_lost_is_refused_at_open(fresh_postgres_url: str) -> None:
    with pytest.raises(SettingsError, match="synchronous_commit is off") as caught:
        Store.open(f"{fresh_postgres_url}&options=-csynchronous_commit%3Doff", SystemClock())
    assert caught.value.field == "synchronous_commit"
    with psycopg.connect(fresh_postgres_url.replace("+psycopg", "")) as other:
        assert other.execute("SELECT to_regclass('hub')").fetchone() == (
            None,
        )  # refused before it was touched


def test_a_setting_made_unsafe_later_is_refused_by_the_next_connection(postgres_store: Store) -> None:
    postgres_store.run_now(insert_connection, ROWS)
    dsn = postgres_store.read_now(lambda tx: tx.conn.connection.driver_connection.info.dsn)  # type: ignore[union-attr]
    with psycopg.connect(dsn, autocommit=True) as other:
        name = other.info.dbname
        other.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(SettingsError, match="synchronous_commit"):
        postgres_store.run_now(ask, "SELECT 1")


@pytest.mark.parametrize("setting", ["synchronous_commit", "fsync", "full_page_writes"])
def test_each_unsafe_setting_is_named(setting: str) -> None:
    safe = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}
    refuse_unsafe_postgres(safe)
    with pytest.raises(SettingsError, match=f"{setting} is off") as caught:
        refuse_unsafe_postgres({**safe, setting: "off"})
    assert caught.value.field == setting


def test_an_unreachable_server_is_a_settings_error_without_the_password() -> None:
    with pytest.raises(SettingsError, match="cannot be reached") as caught:
        Store.open("postgresql://hub:hunter2@127.0.0.1:1/hub", SystemClock())
    assert "hunter2" not in str(caught.value)
