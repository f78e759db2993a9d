from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, SettingsError
from hub.store import Store
from hub.store.secrets import bind_vault, get_secret, put_secret, swap_secret
from hub.vault import Vault, add_key, create_private
from tests.stores import any_store, sqlite_url

__all__ = ["any_store", "sqlite_url"]  # fixtures

SCOPE, AAD = "connection:k3", b"owed/source/1"


class Counting(SystemClock):
    """Hands out tokens that are all different and remembers how many."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[bytes] = []

    def token(self, size: int) -> bytes:
        self.drawn.append(super().token(size))
        return self.drawn[-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.key"


@pytest.fixture
def vault(path: Path) -> Vault:
    return Vault.open(path, SystemClock())


def cause_of(call) -> Cause:
    with pytest.raises(IntegrityError) as caught:
        call()
    return caught.value.cause


def test_the_first_start_makes_a_key_file_only_its_owner_can_read(path: Path, vault: Vault) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_next_start_opens_what_the_first_sealed(path: Path, vault: Vault) -> None:
    blob = vault.seal(SCOPE, b"13800000000", AAD)
    assert b"138" not in blob
    assert Vault.open(path, SystemClock()).open_(SCOPE, blob, AAD) == b"13800000000"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_key_file_that_others_can_touch_is_refused_by_name(path: Path, vault: Vault, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        Vault.open(path, SystemClock())
    assert caught.value.file == str(path)
    assert "chmod 600" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "hub-keys/1", "keys": {"1": "AAAA"}, "digest": "AAAA"}']
)
def test_a_damaged_key_file_is_refused_without_showing_it(path: Path, text: str) -> None:
    create_private(path, text)
    with pytest.raises(SettingsError) as caught:
        Vault.open(path, SystemClock())
    assert "AAAA" not in str(caught.value)


def test_a_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        Vault.open(tmp_path / "no" / "hub.key", SystemClock())
    assert caught.value.file == str(tmp_path / "no" / "hub.key")


def test_of_two_first_starts_at_once_both_use_the_one_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Vault.open(path, SystemClock())
    monkeypatch.setattr(Path, "exists", lambda self: False)  # the second looked before the first had written
    second = Vault.open(path, SystemClock())
    assert second.open_(SCOPE, first.seal(SCOPE, b"x", AAD), AAD) == b"x"


def test_a_value_opens_only_at_its_own_place(vault: Vault) -> None:
    blob = vault.seal(SCOPE, b"x", AAD)
    assert cause_of(lambda: vault.open_(SCOPE, blob, b"owed/source/2")) == Cause.TAMPERED
    assert cause_of(lambda: vault.open_("connection:other", blob, AAD)) == Cause.TAMPERED


def test_no_flipped_bit_and_no_cut_goes_unseen(vault: Vault) -> None:
    blob = vault.seal(SCOPE, b"0123456789", AAD)
    for bit in range(len(blob) * 8):
        bad = bytearray(blob)
        bad[bit // 8] ^= 1 << bit % 8
        assert cause_of(lambda b=bytes(bad): vault.open_(SCOPE, b, AAD)) in {Cause.TAMPERED, Cause.KEY}
    for size in range(len(blob)):
        assert cause_of(lambda s=size: vault.open_(SCOPE, blob[:s], AAD)) == Cause.TAMPERED


def test_no_nonce_is_used_twice(path: Path) -> None:
    clock = Counting()
    vault = Vault.open(path, clock)
    clock.drawn.clear()
    blobs = {vault.seal(SCOPE, b"same", AAD) for _ in range(100)}
    assert len(blobs) == 100
    assert [len(token) for token in clock.drawn] == [8, *[12] * 100]  # one salt, one nonce each


def test_a_sub_key_is_changed_long_before_its_nonces_run_out(vault: Vault) -> None:
    first = vault.seal(SCOPE, b"x", AAD)
    vault._sealers[SCOPE].left = 0
    second = vault.seal(SCOPE, b"x", AAD)
    assert first[3:11] != second[3:11]
    assert vault.open_(SCOPE, first, AAD) == vault.open_(SCOPE, second, AAD) == b"x"


def test_an_older_key_goes_on_opening_and_the_newest_seals(path: Path, vault: Vault) -> None:
    old, digest, noted = vault.seal(SCOPE, b"x", AAD), vault.digest(b"x"), list[int]()
    assert add_key(path, SystemClock(), noted.append) == 2
    assert noted == [2]
    both = Vault.open(path, SystemClock())
    new = both.seal(SCOPE, b"x", AAD)
    assert both.open_(SCOPE, old, AAD) == both.open_(SCOPE, new, AAD) == b"x"
    assert both.key_ids == {vault.key_id, both.key_id}
    assert both.digest(b"x") == digest
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cause_of(lambda: vault.open_(SCOPE, new, AAD)) == Cause.KEY


def test_a_data_key_opens_for_its_record_alone(vault: Vault) -> None:
    key, sealed = vault.new_data_key(b"record-1")
    assert vault.open_data_key(b"record-1", sealed) == key
    assert len(key) == 32
    assert cause_of(lambda: vault.open_data_key(b"record-2", sealed)) == Cause.TAMPERED
    blob = vault.seal_values(key, b"values", b"act/7")
    assert vault.open_values(key, blob, b"act/7") == b"values"
    assert cause_of(lambda: vault.open_values(key, blob, b"act/8")) == Cause.TAMPERED
    assert cause_of(lambda: vault.open_values(key, b"\2" + blob[1:], b"act/7")) == Cause.TAMPERED


def test_digests_are_equal_for_equal_data_and_under_one_key_file_only(vault: Vault) -> None:
    assert vault.digest(b"13800000000") == vault.digest(b"13800000000")
    assert vault.digest(b"13800000000") != vault.digest(b"13800000001")
    assert len(vault.digest(b"")) == 8
    assert Vault.in_memory(SystemClock()).digest(b"") != vault.digest(b"")


# ------------------------------------------------------------------------------------------ the table


def test_a_secret_comes_back_in_its_newest_version(any_store: Store, vault: Vault) -> None:
    assert any_store.run_now(put_secret, vault, "k3.password", b"one") == 1
    assert any_store.run_now(put_secret, vault, "k3.password", b"two", expires=5) == 2
    found = any_store.read_now(get_secret, vault, "k3.password")
    assert (found.value, found.version, found.expires) == (b"two", 2, 5)
    assert "two" not in repr(found)
    assert any_store.read_now(get_secret, vault, "k3.password", 1).value == b"one"
    assert any_store.read_now(get_secret, vault, "other") is None


def test_only_two_versions_are_kept(any_store: Store, vault: Vault) -> None:
    for value in (b"one", b"two", b"three"):
        any_store.run_now(put_secret, vault, "token", value)
    assert any_store.read_now(get_secret, vault, "token", 1) is None
    assert any_store.read_now(get_secret, vault, "token", 2).value == b"two"


def test_of_two_refreshes_of_one_version_one_wins(any_store: Store, vault: Vault) -> None:
    assert any_store.run_now(swap_secret, vault, "token", b"a", after=0) == 1
    assert any_store.run_now(swap_secret, vault, "token", b"b", after=1) == 2
    assert any_store.run_now(swap_secret, vault, "token", b"c", after=1) is None
    assert any_store.run_now(swap_secret, vault, "token", b"c", after=7) is None
    assert any_store.read_now(get_secret, vault, "token").value == b"b"


def test_a_secret_moved_to_another_name_or_version_does_not_open(any_store: Store, vault: Vault) -> None:
    any_store.run_now(put_secret, vault, "one", b"value")
    any_store.run_now(lambda tx: tx.cursor.execute("UPDATE secrets SET name = 'two'"))
    assert cause_of(lambda: any_store.read_now(get_secret, vault, "two")) == Cause.TAMPERED
    any_store.run_now(lambda tx: tx.cursor.execute("UPDATE secrets SET name = 'one', version = 2"))
    assert cause_of(lambda: any_store.read_now(get_secret, vault, "one")) == Cause.TAMPERED


def test_a_store_refuses_a_key_file_that_is_not_its_own(any_store: Store, vault: Vault, path: Path) -> None:
    any_store.run_now(bind_vault, vault)
    any_store.run_now(bind_vault, vault)
    stranger = Vault.in_memory(SystemClock())
    assert cause_of(lambda: any_store.run_now(bind_vault, stranger)) == Cause.KEY
    add_key(path, SystemClock(), lambda _version: None)
    newer = Vault.open(path, SystemClock())
    any_store.run_now(bind_vault, newer)
    any_store.run_now(put_secret, newer, "token", b"x")
    assert cause_of(lambda: any_store.read_now(get_secret, vault, "token")) == Cause.KEY
    assert cause_of(lambda: any_store.run_now(bind_vault, vault)) == Cause.KEY


def test_no_secret_lies_in_plain_text(any_store: Store, vault: Vault) -> None:
    any_store.run_now(put_secret, vault, "token", b"canary-canary")
    rows = any_store.read_now(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM secrets").fetchall())
    assert "canary-canary" not in repr(rows)
