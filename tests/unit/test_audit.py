"""Acts are sealed in order, whoever seals; and whatever is changed afterwards is found and located."""

from __future__ import annotations

import base64
import json
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit import Damage, Heads, Report, Signer, Unreadable
from hub.audit.export import export, export_whole
from hub.audit.seal import KEY, heads_after, oldest_unsealed, seal
from hub.audit.verify import _check_signature, act_hash, main, verify
from hub.clock import SystemClock
from hub.errors import IntegrityError, SettingsError
from hub.pipe.alarms import note_alarms, note_started
from hub.store import Store, Tx, schema, sql
from hub.vault import Vault
from tests.stores import any_store, ask, served_store, sqlite_store, sqlite_url

__all__ = ["any_store", "served_store", "sqlite_store", "sqlite_url"]  # fixtures

PROGRAM = Path(__file__).parents[2] / "hub" / "audit" / "verify.py"
ACTS, RUN = 30, 6  # acts in a trail, acts under one of its seals

insert_connection = sql.bulk_insert(schema.connections, "name state failures act")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    made = Signer.in_memory(SystemClock())
    made.publish_key(tmp_path / "audit.pub")
    return made


@pytest.fixture
def public_key(tmp_path: Path, signer: Signer) -> Path:
    return tmp_path / "audit.pub"


def act(tx: Tx, number: int) -> int:
    insert_connection(tx, [(f"c{number}-{tx.act}", "open", 0, tx.act)])
    tx.journal(
        "单元测试",
        "connection.open",
        {"name": f"连接 {number}", "n": number},
        [bytes(15) + bytes([number % 256])],
    )
    return tx.act


def fill(store: Store, signer: Signer, acts: int = ACTS) -> None:
    for number in range(acts):
        store.run_now(act, number)
    while store.run_now(seal, signer, RUN):
        pass


def exported(store: Store, path: Path) -> Path:
    def write(tx: Tx) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(export_whole(tx))

    store.read_now(write)
    return path


def checked(store: Store, tmp_path: Path, public_key: Path, heads: Path | None = None) -> Report:
    return verify(exported(store, tmp_path / "export.jsonl"), public_key, heads)


def hand_out(store: Store, path: Path) -> Heads:
    heads = Heads(path)
    while found := store.read_now(heads_after, heads.last(), 2):
        heads.append(found)
    return heads


def unlocked(path: Path) -> sqlite3.Connection:
    """Open a store as somebody who has its file would: without the triggers."""
    conn = sqlite3.connect(path, isolation_level=None)
    for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        conn.execute(f"DROP TRIGGER {name}")
    return conn


@pytest.fixture
def trail(sqlite_store: Store, signer: Signer, tmp_path: Path) -> Path:
    """A sealed store in a file of its own, with its heads in ``seals.log``."""
    fill(sqlite_store, signer)
    hand_out(sqlite_store, tmp_path / "seals.log")
    copy = tmp_path / "trail.db"
    with sqlite3.connect(tmp_path / "hub.db") as conn:
        conn.execute("VACUUM INTO ?", (str(copy),))
    conn.close()
    return copy


# ----------------------------------------------------------------------------------------- sealing


def test_sealed_acts_verify(any_store: Store, signer: Signer, public_key: Path, tmp_path: Path) -> None:
    fill(any_store, signer)
    any_store.run_now(act, 99)
    report = checked(any_store, tmp_path, public_key)
    assert (report.damage, report.first, report.last, report.seals, report.unsealed) == (None, 1, ACTS, 5, 1)


def test_an_empty_store_verifies(any_store: Store, signer: Signer, public_key: Path, tmp_path: Path) -> None:
    assert any_store.run_now(seal, signer) == 0
    assert checked(any_store, tmp_path, public_key) == Report(1, 0, 0, 0)


def test_sealing_again_changes_nothing(any_store: Store, signer: Signer, tmp_path: Path) -> None:
    fill(any_store, signer)
    before = exported(any_store, tmp_path / "one").read_bytes()
    assert any_store.run_now(seal, signer) == 0
    assert exported(any_store, tmp_path / "two").read_bytes() == before


def test_at_most_the_limit_is_sealed_at_once(any_store: Store, signer: Signer) -> None:
    for number in range(5):
        any_store.run_now(act, number)
    assert [any_store.run_now(seal, signer, 2) for _ in range(4)] == [2, 2, 1, 0]


def test_an_act_that_commits_late_gets_the_next_number(
    any_store: Store, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    def insert(tx: Tx, number: int) -> None:
        sql.insert_act(tx, (number, tx.now, "test", "late", "{}"), [])

    for number in (2, 3, 1):
        any_store.run_now(insert, number)
        assert any_store.run_now(seal, signer) == 1
    assert any_store.read_now(ask, "SELECT id FROM acts ORDER BY seq") == [(2,), (3,), (1,)]
    assert checked(any_store, tmp_path, public_key).damage is None


def test_the_age_of_the_oldest_unsealed_act_is_known(any_store: Store, signer: Signer) -> None:
    assert any_store.read_now(oldest_unsealed) is None
    any_store.run_now(act, 1)
    any_store.run_now(act, 2)
    (first, _) = any_store.read_now(ask, "SELECT at FROM acts ORDER BY id")
    assert any_store.read_now(oldest_unsealed) == first[0]
    any_store.run_now(seal, signer)
    assert any_store.read_now(oldest_unsealed) is None


def test_sealers_at_once_make_one_trail(
    served_store: Store, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    sealed: list[int] = []
    errors: list[BaseException] = []

    def run(work: Callable[[int], object]) -> None:
        try:
            for number in range(25):
                work(number)
        except BaseException as error:
            errors.append(error)

    write = lambda number: served_store.run_now(act, number)  # noqa: E731
    close = lambda number: sealed.append(served_store.run_now(seal, signer, 3))  # noqa: E731
    threads = [threading.Thread(target=run, args=(work,)) for work in (write, close, write, close)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while count := served_store.run_now(seal, signer):
        sealed.append(count)
    report = checked(served_store, tmp_path, public_key)
    assert (errors, report.damage, report.last, sum(sealed)) == ([], None, 50, 50)


def test_a_seal_that_fails_numbers_nothing(any_store: Store, signer: Signer) -> None:
    def seal_and_fail(tx: Tx) -> None:
        seal(tx, signer)
        raise ValueError

    any_store.run_now(act, 1)
    with pytest.raises(ValueError):
        any_store.run_now(seal_and_fail)
    assert any_store.read_now(ask, "SELECT count(*) FROM acts WHERE seq IS NOT NULL") == [(0,)]
    assert any_store.read_now(ask, "SELECT count(*) FROM seals") == [(0,)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE acts SET hash = x'00' WHERE seq = 6",
        "UPDATE seals SET head = x'00' WHERE last_seq = 6",
        "UPDATE seals SET signature = zeroblob(64) WHERE last_seq = 6",
        "DELETE FROM seals WHERE last_seq = 6",
        "DELETE FROM seals",
        "DELETE FROM acts WHERE seq = 6",
    ],
)
def test_the_sealer_names_a_damaged_end_builds_nothing_on_it_and_goes_on(
    sqlite_store: Store, signer: Signer, public_key: Path, tmp_path: Path, damage: str
) -> None:
    fill(sqlite_store, signer, 6)
    sqlite_store.run_now(act, 7)
    conn = unlocked(tmp_path / "hub.db")
    conn.execute(damage)
    conn.close()
    assert sqlite_store.run_now(seal, signer) == 1
    assert sqlite_store.run_now(seal, signer) == 1  # the act that names the damage
    assert sqlite_store.run_now(seal, signer) == 0
    assert sqlite_store.read_now(ask, "SELECT count(*) FROM acts WHERE verb = 'audit.damaged'") == [(1,)]
    found = verify(tmp_path / "hub.db", public_key).damage
    assert found is not None
    assert found.seq is not None
    assert found.seq <= 7


# ------------------------------------------------------------------------------------- the signer's key


def test_one_key_signs_whatever_host_seals(served_store: Store, tmp_path: Path) -> None:
    """Hosts share the store and the vault's key file, nothing else; many open it at once for the first time."""
    vault = Vault.in_memory(SystemClock())
    hosts = [tmp_path / f"host{number}" for number in range(8)]
    for host in hosts:
        host.mkdir()
    with ThreadPoolExecutor(len(hosts)) as pool:
        signers = list(pool.map(lambda host: Signer.open(served_store, vault, host), hosts))
    assert len({one.key_id for one in signers}) == 1
    assert {(host / "audit.pub").read_text() for host in hosts} == {signers[0].public_key}
    assert [path.name for host in hosts for path in host.iterdir()] == ["audit.pub"] * len(hosts)
    acts = served_store.read_now(ask, "SELECT body FROM acts WHERE verb = 'audit.key'")
    assert [json.loads(body)["items"] for (body,) in acts] == [
        [{"outcome": "made", "key": signers[0].key_id}]
    ]


def test_the_signing_key_lies_sealed_in_the_store_and_another_vault_does_not_open_it(
    served_store: Store, tmp_path: Path
) -> None:
    vault = Vault.in_memory(SystemClock())
    signer = Signer.open(served_store, vault, tmp_path)
    assert served_store.read_now(Signer.known, vault).key_id == signer.key_id
    ((sealed,),) = served_store.read_now(ask, "SELECT sealed FROM secrets WHERE name = ?", KEY)
    assert signer._key.private_bytes_raw() not in bytes(sealed)
    with pytest.raises(IntegrityError):
        Signer.open(served_store, Vault.in_memory(SystemClock()), tmp_path)


def old_file(folder: Path, vault: Vault) -> bytes:
    """Write the file in which earlier versions kept the key; return the key."""
    key = SystemClock().token(32)
    sealed = vault.seal("audit", key, b"audit.key")
    (folder / "audit.key").write_text(base64.b64encode(sealed).decode() + "\n")
    (folder / "audit.key").chmod(0o600)
    return key


def test_the_key_of_an_older_installation_is_taken_in_once(served_store: Store, tmp_path: Path) -> None:
    vault = Vault.in_memory(SystemClock())
    key = old_file(tmp_path, vault)
    signer = Signer.open(served_store, vault, tmp_path)
    assert signer._key.private_bytes_raw() == key
    old_file(tmp_path, vault)  # another one that comes later: the store's stays
    assert Signer.open(served_store, vault, tmp_path).key_id == signer.key_id
    (tmp_path / "audit.key").unlink()
    assert Signer.open(served_store, vault, tmp_path).key_id == signer.key_id


def test_an_old_key_that_others_can_touch_or_that_is_damaged_is_refused(
    served_store: Store, tmp_path: Path
) -> None:
    vault = Vault.in_memory(SystemClock())
    old_file(tmp_path, vault)
    (tmp_path / "audit.key").chmod(0o644)
    with pytest.raises(SettingsError) as caught:
        Signer.open(served_store, vault, tmp_path)
    assert caught.value.file == str(tmp_path / "audit.key")
    (tmp_path / "audit.key").chmod(0o600)
    with pytest.raises(IntegrityError):
        Signer.open(served_store, Vault.in_memory(SystemClock()), tmp_path)
    (tmp_path / "audit.key").write_text("x")
    with pytest.raises(SettingsError):
        Signer.open(served_store, vault, tmp_path)
    assert served_store.read_now(Signer.known, vault) is None


# RFC 8032, 7.1: TEST 1 to 3
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_verifier_knows_ed25519(key: str, message: str, signature: str) -> None:
    parts = [bytearray.fromhex(text) for text in (key, message, signature)]
    assert _check_signature(*map(bytes, parts))
    for part in parts:
        for bit in range(0, len(part) * 8, 7):
            part[bit // 8] ^= 1 << bit % 8
            assert not _check_signature(*map(bytes, parts))
            part[bit // 8] ^= 1 << bit % 8


def test_the_verifier_agrees_with_the_library_that_signs() -> None:
    for number in range(10):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public = key.public_key().public_bytes_raw()
        signature = key.sign(b"message %d" % number)
        assert _check_signature(public, b"message %d" % number, signature)
        assert not _check_signature(public, b"message x", signature)
        high = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
        assert not _check_signature(
            public, b"message %d" % number, signature[:32] + high.to_bytes(32, "little")
        )
        assert not _check_signature(public[:31], b"", signature)
        assert not _check_signature(public, b"message %d" % number, signature + b"\0")


# ----------------------------------------------------------------------------------------- mutations


def flipped(value: object, chance: random.Random) -> object:
    """Return the value with one bit changed."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(40)
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return bytes(raw)


def flip(conn: sqlite3.Connection, table: str, column: str, chance: random.Random) -> int:
    """Change one bit of one value; return the lowest number that may be named for it."""
    key, low = ("seq", 0) if table == "acts" else ("last_seq", RUN - 1)
    row, value = chance.choice(conn.execute(f"SELECT {key}, {column} FROM {table}").fetchall())
    text = isinstance(value, str)
    new = "CAST(? AS TEXT)" if text else "?"
    try:
        conn.execute(f"UPDATE {table} SET {column} = {new} WHERE {key} = ?", (flipped(value, chance), row))
    except sqlite3.IntegrityError:  # the changed key is another row's
        return flip(conn, table, column, chance)
    return row - low


COLUMNS = {
    "acts": ("id", "at", "actor", "verb", "body", "seq", "hash"),
    "seals": ("last_seq", "first_seq", "head", "prev", "at", "key_id", "signature"),
}


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table in COLUMNS for column in COLUMNS[table]]
)
def test_every_flipped_bit_of_a_store_is_found_and_located(
    trail: Path, public_key: Path, table: str, column: str
) -> None:
    chance = random.Random(f"{table}.{column}")
    for turn in range(8):
        work = trail.with_name("mutated.db")
        shutil.copy(trail, work)
        conn = unlocked(work)
        conn.execute("PRAGMA foreign_keys = OFF")
        row = flip(conn, table, column, chance)
        conn.close()
        found = verify(work, public_key).damage
        assert found is not None, f"turn {turn}"
        assert found.seq is not None, f"turn {turn}: {found}"
        if column not in {"last_seq", "first_seq"} and table == "seals":
            assert found.seq == row, f"turn {turn}: {found}"
        assert row - RUN <= found.seq <= row + RUN, f"turn {turn}: {found}, {found.seq} for {row}"
        if (table, column) in {
            ("acts", "actor"),
            ("acts", "verb"),
            ("acts", "body"),
            ("acts", "at"),
            ("acts", "hash"),
        }:
            assert (found.kind, found.seq, found.act) == ("changed", row, row), f"turn {turn}"


def test_a_value_of_another_type_is_found(trail: Path, public_key: Path) -> None:
    conn = unlocked(trail)
    conn.execute("UPDATE acts SET body = CAST(body AS BLOB) WHERE seq = 9")
    conn.close()
    found = verify(trail, public_key).damage
    assert found is not None
    assert (found.kind, found.seq) == ("changed", 9)


def test_an_act_changed_together_with_its_hash_does_not_match_its_seal(trail: Path, public_key: Path) -> None:
    conn = unlocked(trail)
    rows = conn.execute(
        "SELECT seq, id, at, actor, verb, body, hash FROM acts WHERE seq IN (11, 12) ORDER BY seq"
    )
    before, last = rows.fetchall()
    forged = act_hash(before[6], [*last[:5], "{}"])
    conn.execute("UPDATE acts SET body = '{}', hash = ? WHERE seq = 12", (forged,))
    conn.close()
    found = verify(trail, public_key).damage
    assert found is not None
    assert (found.kind, found.seq) == ("seal", 7)


STORE_CHANGES = [
    ("DELETE FROM acts WHERE seq = 9", "missing", 9),
    ("DELETE FROM acts WHERE seq = 1", "missing", 1),
    ("DELETE FROM acts WHERE seq = 30", "missing", 30),
    ("DELETE FROM acts WHERE seq BETWEEN 7 AND 12", "missing", 7),
    ("UPDATE acts SET seq = NULL, hash = NULL WHERE seq = 9", "missing", 9),
    ("UPDATE acts SET seq = CASE seq WHEN -10 THEN 9 ELSE 10 END WHERE seq IN (-10, 9)", "changed", 9),
    ("UPDATE acts SET seq = seq + 100 WHERE seq > 20", "missing", 21),
    (
        "INSERT INTO acts SELECT 1000, at, actor, verb, body, 31, hash FROM acts WHERE seq = 30",
        "unsealed",
        31,
    ),
    ("INSERT INTO acts SELECT 1000, at, actor, verb, body, 0, hash FROM acts WHERE seq = 30", "inserted", 0),
    ("DELETE FROM seals WHERE last_seq = 12", "seal", 7),
    ("DELETE FROM seals WHERE last_seq = 6", "seal", 1),
    ("DELETE FROM seals WHERE last_seq = 30", "unsealed", 25),
    ("DELETE FROM seals", "unsealed", 1),
    (
        "UPDATE seals SET signature = (SELECT signature FROM seals WHERE last_seq = 6) WHERE last_seq = 30",
        "signature",
        25,
    ),
    (
        "INSERT INTO seals SELECT 36, 31, head, prev, at, key_id, signature FROM seals WHERE last_seq = 30",
        "seal",
        31,
    ),
]


@pytest.mark.parametrize(("change", "kind", "seq"), STORE_CHANGES)
def test_what_is_missing_reordered_or_inserted_in_a_store_is_named(
    trail: Path, public_key: Path, change: str, kind: str, seq: int
) -> None:
    conn = unlocked(trail)
    if "-10" in change:
        conn.execute("UPDATE acts SET seq = -10 WHERE seq = 10")
    conn.execute(change)
    conn.close()
    found = verify(trail, public_key).damage
    assert found is not None
    assert (found.kind, found.seq) == (kind, seq)


def test_no_changed_byte_of_the_file_changes_what_verifies(trail: Path, public_key: Path) -> None:
    """Not every byte of a file holds something; but what verifies is what was sealed."""

    def content(path: Path) -> list[object]:
        conn = sqlite3.connect(path)
        try:
            return [
                conn.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY 1").fetchall() for table in COLUMNS
            ]
        finally:
            conn.close()

    before, raw, chance = content(trail), trail.read_bytes(), random.Random(1)
    places = [raw.index("连接 ".encode() + str(number).encode()) + 7 for number in (3, 17, 29)]
    places += [chance.randrange(len(raw)) for _ in range(150)]
    seen = 0
    for place in places:
        changed = bytearray(raw)
        changed[place] ^= 1 << chance.randrange(8)
        work = trail.with_name("mutated.db")
        work.write_bytes(changed)
        try:
            damage = verify(work, public_key).damage
        except Unreadable:
            continue
        seen += damage is not None
        assert damage is not None or content(work) == before, f"byte {place}"
        work.unlink()
    assert seen >= 3


def test_every_changed_line_of_an_export_is_found(
    any_store: Store, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    fill(any_store, signer, 14)
    path = exported(any_store, tmp_path / "export.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    chance = random.Random(2)

    def damage_of(mutated: list[bytes]) -> Damage | None:
        path.write_bytes(b"".join(mutated))
        try:
            return verify(path, public_key).damage
        except Unreadable as error:
            return Damage("file", None, None, str(error))

    assert damage_of(lines) is None
    for turn in range(150):
        at = chance.randrange(len(lines))
        how = turn % 5
        if how == 0:
            mutated = [*lines[:at], bytes(flipped(lines[at], chance)), *lines[at + 1 :]]
        elif how == 1:
            mutated = lines[:at] + lines[at + 1 :]
        elif how == 2:
            mutated = [*lines[:at], lines[at], lines[at], *lines[at + 1 :]]
        elif how == 3:
            mutated = lines[:at]
        else:
            other = chance.randrange(len(lines))
            mutated = list(lines)
            mutated[at], mutated[other] = lines[other], lines[at]
        assert mutated == lines or damage_of(mutated) is not None, f"turn {turn}, line {at}"


def test_a_changed_export_names_number_and_id(
    any_store: Store, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    fill(any_store, signer, 14)
    path = exported(any_store, tmp_path / "export.jsonl")
    path.write_text(path.read_text("utf-8").replace("连接 8", "连接 9"), "utf-8")
    found = verify(path, public_key).damage
    assert found is not None
    assert (found.kind, found.seq, found.act) == ("changed", 9, 9)


def test_a_trail_without_its_key_cannot_be_rewritten(
    trail: Path, signer: Signer, public_key: Path, tmp_path: Path, sqlite_store: Store
) -> None:
    """Somebody rewrites an act and computes every hash anew, but has not the key: the first seal he made is named."""
    forger = Signer.in_memory(SystemClock())
    forger.key_id = signer.key_id
    conn = unlocked(tmp_path / "hub.db")
    conn.execute("UPDATE acts SET body = '{}' WHERE seq = 14")
    conn.execute("UPDATE acts SET seq = NULL, hash = NULL WHERE seq > 12")
    conn.execute("DELETE FROM seals WHERE last_seq > 12")
    conn.close()
    forger.made = lambda seal_: True  # type: ignore[method-assign]
    while sqlite_store.run_now(seal, forger, RUN):
        pass
    found = verify(tmp_path / "hub.db", public_key).damage
    assert found is not None
    assert (found.kind, found.seq) == ("signature", 13)


# ----------------------------------------------------------------------------- heads, stamps, ranges


def test_heads_are_handed_out_once_and_after_a_torn_line(
    sqlite_store: Store, signer: Signer, tmp_path: Path
) -> None:
    fill(sqlite_store, signer)
    path = tmp_path / "seals.log"
    heads = hand_out(sqlite_store, path)
    whole = path.read_bytes()
    assert [json.loads(line)["last_seq"] for line in whole.splitlines()] == [6, 12, 18, 24, 30]
    assert heads.append(sqlite_store.read_now(heads_after, 0)) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(whole[:-40])
    assert heads.last() == 24
    hand_out(sqlite_store, path)
    assert path.read_bytes() == whole
    path.write_bytes(whole[:50])
    assert heads.last() == 0
    hand_out(sqlite_store, path)
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"nonsense\n")
    with pytest.raises(IntegrityError):
        heads.last()


@pytest.mark.parametrize("keep", [0, 6, 24])
def test_a_store_whose_end_was_cut_off_is_known_by_the_heads(
    trail: Path, public_key: Path, keep: int
) -> None:
    heads = trail.with_name("seals.log")
    assert verify(trail, public_key, heads).damage is None
    conn = unlocked(trail)
    for table in ("touched", "connections"):
        conn.execute(f"DELETE FROM {table} WHERE act > ?", (keep,))
    conn.execute("DELETE FROM acts WHERE id > ?", (keep,))
    conn.execute("DELETE FROM seals WHERE last_seq > ?", (keep,))
    conn.close()
    assert verify(trail, public_key).damage is None
    found = verify(trail, public_key, heads).damage
    assert found is not None
    assert (found.kind, found.seq) == ("cut", keep + 1)


def test_a_trail_rewritten_by_somebody_with_the_key_is_known_by_the_heads(
    sqlite_store: Store, trail: Path, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    conn = unlocked(tmp_path / "hub.db")
    conn.execute("UPDATE acts SET body = '{}' WHERE seq = 14")
    conn.execute("UPDATE acts SET seq = NULL, hash = NULL")
    conn.execute("DELETE FROM seals")
    conn.close()
    while sqlite_store.run_now(seal, signer, RUN):
        pass
    hand_out(sqlite_store, tmp_path / "seals.log")
    assert verify(tmp_path / "hub.db", public_key).damage is None
    found = verify(tmp_path / "hub.db", public_key, tmp_path / "seals.log").damage
    assert found is not None
    assert (found.kind, found.seq) == ("cut", 1)


def test_changed_heads_are_found(trail: Path, public_key: Path) -> None:
    path = trail.with_name("seals.log")
    raw = path.read_bytes()
    chance = random.Random(3)
    for turn in range(40):
        place = chance.randrange(len(raw) - 1)
        changed = bytearray(raw)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        found = verify(trail, public_key, path).damage
        same = changed.replace(b"A", b"a") == raw.replace(b"A", b"a")
        assert found is not None or same, f"turn {turn}, byte {place}"


def test_a_row_stamped_with_an_act_that_is_not_there_is_found(
    any_store: Store, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    fill(any_store, signer, 6)
    any_store.run_now(lambda tx: insert_connection(tx, [("k3", "open", 0, 4711)]))
    found = checked(any_store, tmp_path, public_key).damage
    assert found is not None
    assert (found.kind, found.act) == ("stray", 4711)


def test_hints_for_people_have_no_act_and_are_no_damage(
    any_store: Store, signer: Signer, public_key: Path, tmp_path: Path
) -> None:
    fill(any_store, signer, 6)
    any_store.run_now(note_alarms, "host:1", {"take": "the bus is away"})
    any_store.run_now(note_started, "host:1", [], {"k3": "k3-app-secret is not set"})
    assert checked(any_store, tmp_path, public_key).damage is None
    any_store.run_now(lambda tx: insert_connection(tx, [("k3", "open", 0, 0)]))
    assert checked(any_store, tmp_path, public_key).damage is not None


@pytest.mark.parametrize("table", ["connections", "touched"])
def test_a_missing_act_that_was_not_sealed_yet_is_known_by_its_rows(
    sqlite_store: Store, signer: Signer, public_key: Path, tmp_path: Path, table: str
) -> None:
    fill(sqlite_store, signer, 6)
    sqlite_store.run_now(act, 1)
    other = "touched" if table == "connections" else "connections"
    conn = unlocked(tmp_path / "hub.db")
    conn.execute(f"DELETE FROM {other} WHERE act = 7")
    conn.execute("DELETE FROM acts WHERE id = 7")
    conn.close()
    found = verify(tmp_path / "hub.db", public_key).damage
    assert found is not None
    assert (found.kind, found.act) == ("stray", 7)
    assert table in str(found)


@pytest.mark.parametrize(
    ("wanted", "got"), [((1, 30), (1, 30)), ((8, 8), (7, 12)), ((12, 13), (7, 18)), ((25, 99), (25, 30))]
)
def test_a_range_is_exported_in_whole_seals(
    any_store: Store,
    signer: Signer,
    public_key: Path,
    tmp_path: Path,
    wanted: tuple[int, int],
    got: tuple[int, int],
) -> None:
    fill(any_store, signer)
    path = tmp_path / "range.jsonl"
    path.write_text("".join(any_store.read_now(lambda tx: list(export(tx, *wanted)))), "utf-8")
    hand_out(any_store, tmp_path / "seals.log")
    report = verify(path, public_key, tmp_path / "seals.log")
    assert (report.damage, report.first, report.last) == (None, *got)
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:-1]), "utf-8")
    assert verify(path, public_key).damage is not None


# --------------------------------------------------------------------------------- the program alone


def test_the_verifier_runs_alone_on_the_standard_library(trail: Path, public_key: Path) -> None:
    command = [sys.executable, "-I", "-S", str(PROGRAM), str(trail), "--public-key", str(public_key)]
    done = subprocess.run(
        [*command, "--heads", str(trail.with_name("seals.log"))], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "OK: acts 1 to 30, 5 seals; unsealed: 0\n")
    conn = unlocked(trail)
    conn.execute("UPDATE acts SET actor = 'somebody else' WHERE seq = 17")
    conn.close()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "act number 17, id 17" in done.stdout


def test_what_cannot_be_read_is_said(
    trail: Path, public_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing, empty = tmp_path / "nothing", tmp_path / "empty"
    empty.write_bytes(b"")
    no_store = tmp_path / "other.db"
    conn = sqlite3.connect(no_store)
    conn.execute("CREATE TABLE other (x)")
    conn.close()
    for file, key in (
        (nothing, public_key),
        (trail, nothing),
        (trail, trail),
        (empty, public_key),
        (no_store, public_key),
    ):
        assert main([str(file), "--public-key", str(key)]) == 2
    assert main([str(trail), "--public-key", str(public_key), "--heads", str(nothing)]) == 2
    assert main([str(trail), "--public-key", str(public_key)]) == 0
    assert capsys.readouterr().err.count("\n") == 6


def test_another_public_key_does_not_vouch(trail: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pub"
    other.write_text(Signer.in_memory(SystemClock()).public_key)
    found = verify(trail, other).damage
    assert found is not None
    assert (found.kind, found.seq) == ("signature", 1)
