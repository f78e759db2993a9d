"""A backup and its restore, over both engines and from one to the other: whole, or refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, SettingsError
from hub.store import Store, Tx, backup
from hub.store.epoch import WRITES, Head, Stop, head_of, judge, stop_of
from hub.store.schema import metadata
from hub.store.secrets import bind_vault, put_secret
from hub.vault import Vault
from tests.stores import ask, new_store_url

VAULT = Vault.in_memory(SystemClock())
PAIRS = (
    ("sqlite", "sqlite"),
    ("postgresql", "postgresql"),
    ("sqlite", "postgresql"),
    ("postgresql", "sqlite"),
)


@pytest.fixture
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    opened: list[Store] = []

    def make(engine: str) -> Store:
        if engine == "sqlite":
            url = f"sqlite:///{tmp_path / f'{len(opened)}.db'}"
        elif any(one.dialect == engine for one in opened):
            server = request.getfixturevalue("postgres_server")
            url = server.create()
            request.addfinalizer(lambda: server.drop(url))
        else:
            url = new_store_url(engine, request)
        opened.append(Store.open(url, SystemClock()))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def fill(tx: Tx) -> None:
    """One row of everything that is hard to carry: bytes, booleans, NULL, Chinese, numbers of 64 bits."""
    bind_vault(tx, VAULT)
    put_secret(tx, VAULT, "k3-app-secret", "密".encode())
    record = tx.clock.new_id()
    for text, params in (
        ("INSERT INTO records (id, kind, version, region, body, data_key, act) VALUES (?, 'customer', 1, 'cn/', ?, ?, 7)",
         (record, '{"name": "示例科技"}', b"\x00\xff\n")),
        ("INSERT INTO keys (name, value, record, strong) VALUES ('customer.uscc', '9144', ?, ?)", (record, True)),
        (("INSERT INTO xrefs (connection, object, org, vendor_id, record, is_primary, snapshot, seen, rest_until, sent, act)"
         " VALUES ('k3', 'customer', '100', '1', ?, ?, '{}', 9223372036854775807, 0, '{}', 7)"), (record, True)),
        (("INSERT INTO owed (id, sync, subject, connection, lane, state, due, want, attempts, deaths, step, act, since, payload)"
         " VALUES (?, 's', 'x', 'k3', 1, 'ready', 0, 7, 3, 0, 0, 7, 0, ?)"), (tx.clock.new_id(), b"\x01")),
        (("INSERT INTO jobs (name, kind, spec, position, due, holder, lease, fence, progress, state, act)"
         " VALUES ('bus:hub.inbound:0', 'bus', 'null', '{\"next\": 3}', 0, 'w1', 99, 1, 'null', 'due', 7)"), ()),
        ("INSERT INTO seals (last_seq, first_seq, head, prev, at, key_id, signature) VALUES (1, 1, ?, ?, 5, 'k', ?)",
         (b"h" * 32, b"p" * 32, b"s")),
    ):  # fmt: skip
        ask(tx, text, *params)
    tx.journal("test", "fill", {"items": []}, [record])


def sealed(tx: Tx) -> None:
    ask(tx, "UPDATE acts SET seq = 1, hash = ? WHERE seq IS NULL", b"h" * 32)


def everything(tx: Tx) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in metadata.sorted_tables:
        if table.name not in ("hub", "jobs", "acts"):
            rows = ask(tx, f"SELECT * FROM {table.name}")
            found[table.name] = sorted(
                [tuple(bytes(v) if isinstance(v, memoryview | bytes) else int(v) if isinstance(v, bool) else v for v in row)
                 for row in rows], key=repr)  # fmt: skip
    return found


def save(store: Store, file: Path) -> backup.Manifest:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        return store.read_now(backup.dump, archive)


def put_back(store: Store, file: Path, **given: Any) -> None:
    with zipfile.ZipFile(file) as archive:
        manifest = backup.read_manifest(archive, file)
        store.run_now(backup.load, archive, manifest, by="test", **given)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_backup_brings_every_row_back_on_either_engine(
    open_store: Callable[[str], Store], tmp_path: Path, first: str, second: str
) -> None:
    old, new, file = open_store(first), open_store(second), tmp_path / "b.zip"
    old.run_now(fill)
    old.run_now(sealed)
    save(old, file)
    put_back(new, file)
    again = Store.open(_address(new), SystemClock())
    try:
        assert again.read_now(everything) == old.read_now(everything)
        assert [row[:3] for row in again.read_now(ask, "SELECT verb, seq, actor FROM acts ORDER BY id")] == [
            ("fill", 1, "test"), ("writes.stopped", None, "test"),
        ]  # fmt: skip
        with pytest.raises(Exception, match="append-only"):
            again.run_now(ask, "DELETE FROM acts")
        again.run_now(bind_vault, VAULT)
    finally:
        again.close()


def _address(store: Store) -> str:
    return store._runner._engine.url.render_as_string(hide_password=False) if store.dialect == "postgresql" else store.url  # type: ignore[union-attr]  # fmt: skip


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_restore_draws_an_epoch_stops_writes_and_the_process_that_worked_before(
    open_store: Callable[[str], Store], tmp_path: Path, engine: str
) -> None:
    store, file = open_store(engine), tmp_path / "b.zip"
    store.run_now(fill)
    before = store.epoch
    manifest = save(store, file)
    put_back(store, file)
    with pytest.raises(IntegrityError) as refused:
        store.run_now(lambda tx: tx.act)
    assert refused.value.cause is Cause.EPOCH
    again = Store.open(_address(store), SystemClock())
    try:
        assert again.epoch != before
        assert not again.read_now(lambda tx: tx.writes_open)
        assert again.run_now(lambda tx: tx.act) > manifest.last_act + backup.GAP  # no number is given twice
        ((spec, state),) = again.read_now(ask, "SELECT spec, state FROM jobs WHERE name = ?", WRITES)
        assert (stop_of(spec), state) == (Stop.RESTORED, "stopped")
        assert again.read_now(ask, "SELECT holder, lease FROM jobs WHERE kind = 'bus'") == [(None, 0)]
    finally:
        again.close()


def test_a_bus_that_is_another_one_is_read_from_its_beginning(
    open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store, file = open_store("sqlite"), tmp_path / "b.zip"
    store.run_now(fill)
    save(store, file)
    put_back(store, file, new_bus=True)
    again = Store.open(store.url, SystemClock())
    assert again.read_now(ask, "SELECT name FROM jobs WHERE kind = 'bus'") == []
    again.close()


@pytest.mark.parametrize("damage", ["cut", "changed", "newer", "other"])
def test_what_is_no_whole_backup_is_refused_and_changes_nothing(
    open_store: Callable[[str], Store], tmp_path: Path, damage: str
) -> None:
    store, file, odd = open_store("sqlite"), tmp_path / "b.zip", tmp_path / "odd.zip"
    store.run_now(fill)
    save(store, file)
    with zipfile.ZipFile(file) as good, zipfile.ZipFile(odd, "w") as bad:
        for name in good.namelist():
            text = good.read(name)
            if name == "manifest.json":
                told = json.loads(text)
                told |= {"newer": {"schema": 99}, "other": {"format": "x"}}.get(damage, {})
                text = json.dumps(told).encode()
                if damage == "cut":
                    continue
            if name == "tables/records.jsonl" and damage == "changed":
                text = text.replace("示例".encode(), "演示".encode())
            bad.writestr(name, text)
    with pytest.raises(SettingsError) as refused:
        put_back(store, odd)
    assert refused.value.file == str(odd)
    assert store.read_now(lambda tx: tx.writes_open)


def _known(tx: Tx, **changed: Any) -> Head:
    own = head_of(tx)
    return Head(**{name: changed.get(name, getattr(own, name)) for name in ("epoch", "seq", "digest", "at")})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"seq": 0, "digest": b""}, None),  # the head of a first start
        ({"seq": 5}, Stop.OLDER),
        ({"digest": b"x" * 32}, Stop.OTHER),
        ({"epoch": b"x" * 16}, Stop.OTHER),
        ({"epoch": b"x" * 16, "seq": 0}, Stop.OTHER),
        (None, Stop.UNKNOWN),
    ],
)
def test_the_head_outside_says_whether_a_store_is_the_one_that_worked_last(
    open_store: Callable[[str], Store], changed: dict[str, Any] | None, said: Stop | None
) -> None:
    store = open_store("sqlite")
    store.run_now(fill)
    outside = None if changed is None else store.read_now(_known, **changed)
    assert store.read_now(judge, outside) is said


def test_a_store_without_a_seal_and_a_head_is_a_first_start(open_store: Callable[[str], Store]) -> None:
    store = open_store("sqlite")
    assert store.read_now(judge, None) is None
    assert store.read_now(judge, Head(b"x" * 16, 0, b"", 1)) is Stop.OTHER  # somebody else worked here


def test_a_head_reads_back_what_it_wrote_and_refuses_the_rest() -> None:
    head = Head(b"e" * 16, 7, b"h" * 32, 123)
    assert Head.parse(head.dump()) == head
    for odd in (b"", b"{}", b"[]", b'{"epoch": "zz", "seq": 1, "head": "", "at": 1}'):
        with pytest.raises(ValueError, match=r"."):
            Head.parse(odd)
