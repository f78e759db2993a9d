"""One suite over SQLite in a file, SQLite in memory and PostgreSQL: what a transaction promises."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

import orjson
import pytest

from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError
from hub.store import Store, Tx, schema, sql
from tests.stores import any_store, ask, postgres_store, scans, served_store, sqlite_store, sqlite_url

__all__ = ["any_store", "postgres_store", "served_store", "sqlite_store", "sqlite_url"]  # fixtures

ID = bytes(range(16))
OTHER = bytes(reversed(range(16)))
PATIENCE = 20  # seconds until a test that hangs fails

insert_connection = sql.bulk_insert(schema.connections, "name state failures act")
put_connection = sql.bulk_upsert(schema.connections, "name state failures act", key="name")
add_connection = sql.bulk_insert(
    schema.connections, "name state failures act", on_conflict="nothing", key="name", returning="name"
)
count_up = sql.bulk_update(schema.connections, "failures act", key="name")
drop_connection = sql.bulk_delete(schema.connections, key="name")
lock_connection = sql.bulk_select(schema.connections, "name failures act", key="name", lock="update")
free_connection = sql.bulk_select(schema.connections, "name", key="name", lock="update skip locked")
find_connection = sql.bulk_select(schema.connections, "name state failures act", key="name", order="name")


def names(tx: Tx) -> list[str]:
    return [name for (name,) in ask(tx, "SELECT name FROM connections ORDER BY name")]


def add(tx: Tx, name: str) -> int:
    insert_connection(tx, [(name, "open", 0, tx.act)])
    tx.journal("test", "add", {"name": name})
    return tx.act


def add_and_fail(tx: Tx, name: str) -> None:
    add(tx, name)
    raise ValueError(name)


def test_a_committed_function_is_seen_by_the_next_read(any_store: Store) -> None:
    act = asyncio.run(any_store.run(add, "k3"))
    assert asyncio.run(any_store.read(lambda tx: find_connection(tx, [("k3",)]))) == [("k3", "open", 0, act)]
    assert any_store.read_now(names) == ["k3"]


def test_a_failed_function_leaves_nothing_and_its_error_reaches_the_caller(any_store: Store) -> None:
    with pytest.raises(ValueError, match="k3"):
        asyncio.run(any_store.run(add_and_fail, "k3"))
    with pytest.raises(ValueError, match="k3"):
        any_store.run_now(add_and_fail, "k3")
    assert any_store.read_now(names) == []
    assert any_store.read_now(lambda tx: ask(tx, "SELECT id FROM acts")) == []
    any_store.run_now(add, "k4")
    assert any_store.read_now(names) == ["k4"]


def test_arguments_by_name_reach_the_function(any_store: Store) -> None:
    any_store.run_now(add, name="k3")
    asyncio.run(any_store.run(add, name="k4"))
    assert any_store.read_now(names) == ["k3", "k4"]


def test_a_read_cannot_write(any_store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)read-?only"):
        any_store.read_now(add, "k3")
    with pytest.raises(Exception, match=r"(?i)read-?only"):
        asyncio.run(any_store.read(add, "k3"))
    any_store.run_now(add, "k4")
    assert any_store.read_now(names) == ["k4"]


def test_core_statements_and_bulk_statements_share_the_transaction(any_store: Store) -> None:
    def both(tx: Tx) -> None:
        tx.conn.execute(
            schema.connections.insert(), {"name": "core", "state": "open", "failures": 1, "act": 1}
        )
        insert_connection(tx, [("bulk", "open", 0, 1)])
        assert {row.name for row in tx.conn.execute(schema.connections.select())} == {"core", "bulk"}

    any_store.run_now(both)
    assert any_store.read_now(names) == ["bulk", "core"]
    with pytest.raises(Exception, match=r"(?i)unique"):
        any_store.run_now(both)
    assert any_store.read_now(lambda tx: tx.conn.execute(schema.connections.select()).all()) != []
    any_store.run_now(add, "later")
    assert any_store.read_now(names) == ["bulk", "core", "later"]


def test_a_function_may_not_start_another_transaction(any_store: Store) -> None:
    with pytest.raises(RuntimeError, match="may not start another"):
        any_store.run_now(lambda tx: any_store.run_now(add, "k3"))
    with pytest.raises(RuntimeError, match="may not start another"):
        any_store.run_now(lambda tx: any_store.read_now(names))
    any_store.run_now(add, "k4")


def test_a_closed_store_says_so(any_store: Store) -> None:
    any_store.close()
    any_store.close()
    with pytest.raises(RuntimeError, match="closed"):
        any_store.run_now(add, "k3")


def test_closing_first_finishes_what_was_asked_for(served_store: Store) -> None:
    async def ask_and_close() -> list[int]:
        asked = [asyncio.ensure_future(served_store.run(add, f"k{i:02}")) for i in range(20)]
        await asyncio.sleep(0)
        await served_store.aclose()
        return list(await asyncio.gather(*asked))

    assert len(set(asyncio.run(ask_and_close()))) == 20


# --- what a transaction knows -----------------------------------------------------------------------------------


def test_a_transaction_knows_time_epoch_and_whether_writes_are_open(any_store: Store) -> None:
    clock = SystemClock()

    def facts(tx: Tx) -> tuple[int, bytes, bool, str]:
        return tx.now, tx.epoch, tx.writes_open, tx.dialect

    before = clock.now()
    now, epoch, writes_open, dialect = any_store.run_now(facts)
    assert abs(now - before) < 5_000_000
    assert (epoch, writes_open, dialect) == (any_store.epoch, True, any_store.dialect)
    assert len(epoch) == 16
    any_store.run_now(lambda tx: ask(tx, "UPDATE hub SET writes = 'stopped'"))
    assert any_store.run_now(facts)[2] is False
    assert any_store.read_now(facts)[2] is False


def test_an_act_number_is_drawn_at_first_use_then_fixed(any_store: Store) -> None:
    def twice(tx: Tx) -> tuple[int, int]:
        return tx.act, tx.act

    first = any_store.run_now(twice)
    any_store.run_now(lambda tx: None)  # draws none
    second = any_store.run_now(twice)
    assert first[0] == first[1]
    assert second[0] == second[1] == first[0] + 1


def test_the_journal_keeps_one_act_in_canonical_form_with_what_it_touched(any_store: Store) -> None:
    def note(tx: Tx) -> tuple[int, int]:
        tx.journal("take", "take", {"b": "客户", "a": [1, None]}, [OTHER, ID, OTHER])
        return tx.act, tx.now

    act, now = any_store.run_now(note)
    assert any_store.read_now(
        lambda tx: ask(tx, "SELECT id, at, actor, verb, body, seq, hash FROM acts")
    ) == [(act, now, "take", "take", '{"a":[1,null],"b":"客户"}', None, None)]
    assert any_store.read_now(lambda tx: ask(tx, "SELECT record, act FROM touched ORDER BY record")) == [
        (ID, act),
        (OTHER, act),
    ]


def test_a_second_journal_entry_in_one_transaction_is_a_programming_error(any_store: Store) -> None:
    def twice(tx: Tx) -> None:
        tx.journal("take", "take", {})
        tx.journal("take", "take", {})

    with pytest.raises(RuntimeError, match="twice"):
        any_store.run_now(twice)
    assert any_store.read_now(lambda tx: ask(tx, "SELECT id FROM acts")) == []


def test_callbacks_run_after_the_commit_in_the_event_loop_and_never_after_a_failure(
    served_store: Store,
) -> None:
    seen: list[tuple[str, int, list[str]]] = []

    def nudge(name: str) -> None:
        seen.append((name, threading.get_ident(), served_store.read_now(names)))

    def noted(tx: Tx, name: str, *, fail: bool) -> None:
        tx.after_commit(lambda: nudge(name))
        (add_and_fail if fail else add)(tx, name)

    async def main() -> None:
        await served_store.run(noted, "good", fail=False)
        assert seen  # before the caller goes on
        with pytest.raises(ValueError, match="bad"):
            await served_store.run(noted, "bad", fail=True)

    asyncio.run(main())
    served_store.run_now(noted, "sync", fail=False)
    here = threading.get_ident()
    assert seen == [("good", here, ["good"]), ("sync", here, ["good", "sync"])]


def test_a_cancelled_caller_does_not_undo_a_function_that_has_begun(served_store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()
    nudged: list[str] = []

    def slow(tx: Tx) -> None:
        add(tx, "slow")
        tx.after_commit(lambda: nudged.append("slow"))
        begun.set()
        assert go_on.wait(PATIENCE)

    async def main() -> None:
        task = asyncio.ensure_future(served_store.run(slow))
        await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await served_store.run(add, "next")
        while not nudged:
            await served_store.read(names)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert served_store.read_now(names) == ["next", "slow"]


def test_an_exception_that_a_future_refuses_still_reaches_the_caller(served_store: Store) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(served_store.run(lambda tx: next(iter(()))))


# --- alone and together -----------------------------------------------------------------------------------------


def test_act_numbers_are_unique_and_rise_per_locked_row(any_store: Store) -> None:
    rows = [(f"c{i}", "open", 0, 0) for i in range(5)]
    any_store.run_now(insert_connection, rows)

    def step(tx: Tx, picked: list[tuple[str]]) -> int:
        locked = lock_connection(tx, picked)
        assert [row[0] for row in locked] == sorted(name for (name,) in picked)
        assert all(tx.act > before for _, _, before in locked)
        count_up(tx, [(name, failures + 1, tx.act) for name, failures, _ in locked])
        tx.journal("test", "step", {})
        return tx.act

    async def writer(number: int) -> list[int]:
        picked = [(f"c{(number + i) % 5}",) for i in range(3)]  # each row in every position: locked in order
        return [await any_store.run(step, picked) for _ in range(100)]

    async def main() -> list[int]:
        return [act for acts in await asyncio.gather(*map(writer, range(10))) for act in acts]

    acts = asyncio.run(main())
    assert len(acts) == len(set(acts)) == 1000
    assert any_store.read_now(lambda tx: ask(tx, "SELECT sum(failures) FROM connections")) == [(3000,)]
    assert any_store.read_now(lambda tx: ask(tx, "SELECT count(*) FROM acts")) == [(1000,)]


def test_a_read_sees_only_what_is_committed_and_does_not_wait_for_the_writer(served_store: Store) -> None:
    written, was_read = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        add(tx, "k3")
        written.set()
        assert was_read.wait(PATIENCE)

    async def main() -> None:
        writing = asyncio.ensure_future(served_store.run(slow))
        await asyncio.to_thread(written.wait, PATIENCE)
        assert await served_store.read(names) == []
        was_read.set()
        await writing
        assert await served_store.read(names) == ["k3"]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_read_is_one_snapshot(served_store: Store) -> None:
    def before_and_after(tx: Tx) -> tuple[list[str], list[str]]:
        before = names(tx)
        writer = threading.Thread(target=served_store.run_now, args=(add, "k3"))
        writer.start()
        writer.join(PATIENCE)
        return before, names(tx)

    assert served_store.read_now(before_and_after) == ([], [])
    assert served_store.read_now(names) == ["k3"]


# --- the epoch --------------------------------------------------------------------------------------------------


def test_a_store_that_was_restored_stops_the_process_that_opened_it_before(any_store: Store) -> None:
    any_store.run_now(add, "k3")
    any_store.run_now(lambda tx: ask(tx, "UPDATE hub SET epoch = ?", ID))
    for use in (lambda: any_store.run_now(add, "k4"), lambda: any_store.read_now(names)):
        with pytest.raises(IntegrityError) as caught:
            use()
        assert caught.value.cause is Cause.EPOCH
    with pytest.raises(IntegrityError):
        asyncio.run(any_store.run(add, "k4"))


def test_a_restore_by_another_process_is_noticed_by_the_next_transaction(sqlite_url: str) -> None:
    ours, theirs = Store.open(sqlite_url, SystemClock()), Store.open(sqlite_url, SystemClock())
    assert ours.epoch == theirs.epoch
    theirs.run_now(lambda tx: ask(tx, "UPDATE hub SET epoch = ?", ID))
    with pytest.raises(IntegrityError):
        ours.run_now(add, "k3")
    ours.close()
    theirs.close()
    again = Store.open(sqlite_url, SystemClock())
    assert again.epoch == ID
    assert again.read_now(names) == []
    again.close()


def test_after_a_loss_of_power_an_inline_store_goes_on_with_what_was_committed() -> None:
    class Dying(SystemClock):
        dead_at = ""

        def crash_point(self, name: str) -> None:
            if name == self.dead_at:
                raise KeyboardInterrupt

    clock = Dying()
    store = Store.open("sqlite://", clock, inline=True)
    store.run_now(add, "kept")
    clock.dead_at = "store.commit.before"
    with pytest.raises(KeyboardInterrupt):
        store.run_now(add, "lost")
    clock.dead_at = "store.commit.after"
    with pytest.raises(KeyboardInterrupt):
        store.run_now(add, "unheard")
    clock.dead_at = ""
    store.lose_power()
    assert store.read_now(names) == ["kept", "unheard"]
    store.run_now(lambda tx: ask(tx, "UPDATE hub SET epoch = ?", ID))
    store.lose_power()
    store.run_now(add, "restored")
    assert store.epoch == ID
    store.close()


# --- bulk statements --------------------------------------------------------------------------------------------


def test_bulk_statements_do_the_same_on_both_engines(any_store: Store) -> None:
    def work(tx: Tx) -> None:
        insert_connection(tx, [(f"c{i:03}", "open", i, 1) for i in range(300)])
        put_connection(tx, [("c000", "paused", 7, 2), ("new", "open", 8, 2)])
        assert sorted(
            add_connection(tx, [("c001", "x", 0, 0), ("c999", "open", 0, 3), ("d", "open", 0, 3)])
        ) == [
            ("c999",),
            ("d",),
        ]
        assert count_up(tx, [("c002", 50, 4), ("c003", 51, 4), ("nobody", 1, 1)]) == 2
        assert drop_connection(tx, [("c004",), ("c005",), ("nobody",)]) == 2
        wanted = [(name,) for name in ("d", "c000", "c001", "c002", "c004", "c999", "new", "c001")]
        assert find_connection(tx, wanted) == [
            ("c000", "paused", 7, 2),
            ("c001", "open", 1, 1),
            ("c002", "open", 50, 4),
            ("c999", "open", 0, 3),
            ("d", "open", 0, 3),
            ("new", "open", 8, 2),
        ]

    any_store.run_now(work)
    assert len(any_store.read_now(names)) == 301


def test_no_rows_are_no_statement(any_store: Store) -> None:
    class NoCursor:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"a statement was run: {name}")

    def nothing(tx: Tx) -> None:
        cursor, tx.cursor = tx.cursor, NoCursor()
        insert_connection(tx, [])
        put_connection(tx, [])
        assert add_connection(tx, []) == []
        assert count_up(tx, []) == 0
        assert drop_connection(tx, []) == 0
        assert find_connection(tx, []) == []
        tx.cursor = cursor

    any_store.run_now(nothing)


def test_every_column_type_survives_with_null_and_any_character(any_store: Store) -> None:
    insert = sql.bulk_insert(schema.owed, OWED)
    select = sql.bulk_select(schema.owed, OWED, key="sync subject")
    rows = [
        owed(ID, "a", "空 {}\\\"',%s?\n"),
        owed(OTHER, "b", "", payload=b"\x00\xff", generation=2**62, target="t"),
    ]

    def work(tx: Tx) -> None:
        insert(tx, rows)
        assert sorted(select(tx, [("s", "a"), ("s", "b"), ("s", "c")])) == sorted(rows)

    any_store.run_now(work)


def test_a_lookup_of_more_keys_than_a_statement_holds_is_still_in_order(any_store: Store) -> None:
    some = range(0, 9000, 7)
    any_store.run_now(insert_connection, [(f"c{i:05}", "open", i, 1) for i in some])
    found = any_store.read_now(find_connection, [(f"c{i:05}",) for i in reversed(range(9000))])
    assert [row[2] for row in found] == list(some)


def test_rows_of_the_wrong_width_are_refused(any_store: Store) -> None:
    with pytest.raises((ValueError, sqlite3.ProgrammingError)):
        any_store.run_now(insert_connection, [("c", "open")])
    assert any_store.read_now(names) == []


def test_boolean_predicates_use_the_partial_index(any_store: Store) -> None:
    primary = sql.bulk_select(
        schema.xrefs, "vendor_id", key="connection object org record", where="is_primary", lock="update"
    )
    demote = sql.bulk_update(
        schema.xrefs, "is_primary", key="connection object org vendor_id", where="is_primary"
    )
    plans = [one for one in sql.statements() if one.table == "xrefs" and one.module == __name__][-2:]
    insert = sql.bulk_insert(
        schema.xrefs, "connection object org vendor_id record is_primary snapshot seen rest_until sent act"
    )

    def work(tx: Tx) -> None:
        rest = ("{}", 0, 0, "{}", 1)
        insert(tx, [("k3", "c", "1", "A", ID, True, *rest), ("k3", "c", "1", "B", ID, False, *rest)])
        assert primary(tx, [("k3", "c", "1", ID)]) == [("A",)]
        assert demote(tx, [("k3", "c", "1", "A", False), ("k3", "c", "1", "B", False)]) == 1
        assert primary(tx, [("k3", "c", "1", ID)]) == []
        assert [scans(tx, plan.text(tx.dialect)) for plan in plans] == [[], []]

    any_store.run_now(work)


OWED = (
    "id sync subject connection target lane state due want attempts deaths step generation act since payload"
)


def owed(
    key: bytes,
    subject: str,
    state: str,
    *,
    payload: bytes | None = None,
    generation: int | None = None,
    target: str | None = None,
) -> tuple[Any, ...]:
    """A row of OWED."""
    return (key, "s", subject, "k3", target, 1, state, -5, 2**40, 0, 0, 0, generation, 1, 9, payload)


def test_hand_written_statements_run_on_both_engines(any_store: Store) -> None:
    due = sql.query(
        "SELECT subject, due FROM owed WHERE connection = ? AND lane = ? AND state IN ('ready', 'in_doubt') "
        "AND due <= ? ORDER BY due LIMIT ?",
        lock="update skip locked",
        of=schema.owed,
    )
    advance = sql.command("UPDATE jobs SET position = ? WHERE name = ? AND position = ? AND name LIKE '%b%'")
    insert_job = sql.bulk_insert(schema.jobs, "name kind spec position due fence progress state act")
    insert = sql.bulk_insert(schema.owed, OWED)

    def work(tx: Tx) -> None:
        insert(tx, [owed(ID, "a", "ready"), owed(OTHER, "b", "parked")])
        assert due(tx, "k3", 1, 0, 10) == [("a", -5)]
        insert_job(tx, [("bus", "bus", "{}", "1", 0, 1, "{}", "on", 1)])
        assert advance(tx, "2", "bus", "1") == 1
        assert advance(tx, "2", "bus", "1") == 0

    any_store.run_now(work)


def test_the_plan_check_refuses_a_scan_and_accepts_what_an_index_serves(any_store: Store) -> None:
    def work(tx: Tx) -> None:
        mark = "?" if tx.dialect == "sqlite" else "%s"
        assert scans(tx, f"SELECT id FROM owed WHERE holder = {mark}") != []
        assert scans(tx, "SELECT id FROM owed ORDER BY id") != []
        assert scans(tx, "SELECT id FROM owed WHERE holder = 'w' ORDER BY id LIMIT 1") != []
        assert scans(tx, "SELECT id FROM owed ORDER BY holder LIMIT 1") != []
        assert scans(tx, "SELECT last_seq FROM seals ORDER BY last_seq DESC LIMIT 1") == []
        assert scans(tx, f"SELECT id FROM owed WHERE state = 'claimed' AND lease < {mark}") == []
        assert scans(tx, "SELECT id FROM acts WHERE seq IS NULL ORDER BY id") == []
        for statement in sql.statements():
            if statement.module == __name__:
                assert scans(tx, statement.text(tx.dialect)) == [], statement

    any_store.run_now(work)


# --- the journal's triggers ---------------------------------------------------------------------------------------


def seal(tx: Tx) -> None:
    ask(tx, "UPDATE acts SET seq = 1, hash = ? WHERE seq IS NULL", ID * 2)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE acts SET body = '{}'",
        "UPDATE acts SET seq = 2",
        "UPDATE acts SET seq = NULL, hash = NULL",
        "UPDATE acts SET hash = NULL",
        "DELETE FROM acts",
        "UPDATE touched SET act = act + 1",
        "DELETE FROM touched",
        "UPDATE seals SET at = 0",
        "DELETE FROM seals",
    ],
)
def test_what_is_in_the_journal_never_changes(any_store: Store, text: str) -> None:
    def fill(tx: Tx) -> None:
        tx.journal("a", "v", {"x": 1}, [ID])
        seal(tx)
        ask(tx, "INSERT INTO seals VALUES (1, 1, ?, ?, 1, 'key', ?)", ID, ID, ID)

    any_store.run_now(fill)
    with pytest.raises(Exception, match="append-only"):
        any_store.run_now(ask, text)
    assert orjson.loads(any_store.read_now(ask, "SELECT body FROM acts")[0][0]) == {"x": 1}


@pytest.mark.parametrize(
    "text", ["UPDATE acts SET seq = 1", "UPDATE acts SET seq = 1, hash = 'x', verb = 'forged'"]
)
def test_an_unsealed_act_takes_number_and_hash_together_and_nothing_else(any_store: Store, text: str) -> None:
    any_store.run_now(lambda tx: tx.journal("a", "v", {}))
    with pytest.raises(Exception, match="append-only"):
        any_store.run_now(ask, text)
    any_store.run_now(seal)
    assert any_store.read_now(ask, "SELECT seq FROM acts") == [(1,)]


def test_touched_rows_go_with_their_act(any_store: Store) -> None:
    any_store.run_now(lambda tx: tx.journal("a", "v", {}, [ID]))

    def export(tx: Tx) -> None:
        ask(tx, "DROP TRIGGER acts_delete" + (" ON acts" if tx.dialect == "postgresql" else ""))
        ask(tx, "DELETE FROM acts")

    any_store.run_now(export)
    assert any_store.read_now(ask, "SELECT act FROM touched") == []


def test_an_act_cannot_be_replaced_or_truncated(any_store: Store) -> None:
    any_store.run_now(lambda tx: tx.journal("a", "v", {"x": 1}))
    text = (
        "INSERT OR REPLACE INTO acts (id, at, actor, verb, body) VALUES (1, 0, 'b', 'v', '{}')"
        if any_store.dialect == "sqlite"
        else "TRUNCATE acts CASCADE"
    )
    with pytest.raises(Exception, match="append-only"):
        any_store.run_now(ask, text)
    assert any_store.read_now(ask, "SELECT body FROM acts") == [('{"x":1}',)]
