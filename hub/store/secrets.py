"""The table ``secrets``: each version of a secret under a data key of its own, wrapped by the vault's key.

A secret here is a credential someone set or a token a vendor gave; a refresh is a compare-and-set on the version.
The version before the newest is kept, so that what was signed with it can still be verified; older ones go.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from sqlalchemy import select

from hub.errors import Cause, IntegrityError
from hub.store import schema, sql
from hub.store.tx import Tx
from hub.vault import Vault

__all__ = ["StoredSecret", "bind_vault", "get_secret", "is_bound", "put_secret", "swap_secret"]

_SCOPE = "secrets"
_CANARY = "hub.vault"
_KEEP = 2  # versions
_LENGTH = struct.Struct(">H")

_insert = sql.bulk_insert(schema.secrets, "name version sealed key_id expires")
_swap = sql.bulk_insert(
    schema.secrets,
    "name version sealed key_id expires",
    on_conflict="nothing",
    key="name version",
    returning="version",
)
_newest = sql.query("SELECT version FROM secrets WHERE name = ? ORDER BY version DESC LIMIT 1")
_find = sql.query(
    "SELECT version, sealed, key_id, expires FROM secrets WHERE name = ? ORDER BY version DESC LIMIT 2"
)
_forget = sql.command("DELETE FROM secrets WHERE name = ? AND version <= ?")
_KEY_IDS = select(schema.secrets.c.key_id).distinct()  # reads a small table whole, once a start


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One version of a secret; ``expires``: µs since the epoch, None if nobody knows. Its repr hides the value."""

    name: str
    version: int
    value: bytes = field(repr=False)
    expires: int | None = None


def put_secret(tx: Tx, vault: Vault, name: str, value: bytes, *, expires: int | None = None) -> int:
    """Store a new version whatever the newest is, and return its number (from 1)."""
    version = _newest_version(tx, name) + 1
    sealed = _seal(vault, _place(name, version), value)
    _insert(tx, [(name, version, sealed, vault.key_id, expires)])
    _forget(tx, name, version - _KEEP)
    return version


def swap_secret(
    tx: Tx, vault: Vault, name: str, value: bytes, *, after: int, expires: int | None = None
) -> int | None:
    """Store a new version if ``after`` (0: none) is still the newest; None if somebody was quicker: read theirs."""
    version = after + 1
    sealed = _seal(vault, _place(name, version), value)
    if _newest_version(tx, name) != after or not _swap(tx, [(name, version, sealed, vault.key_id, expires)]):
        return None
    _forget(tx, name, version - _KEEP)
    return version


def get_secret(tx: Tx, vault: Vault, name: str, version: int | None = None) -> StoredSecret | None:
    """Return the newest version of a secret, or the given one; None if there is none.

    Raises:
        IntegrityError: ``Cause.KEY`` if its key is not in the key file, ``Cause.TAMPERED`` if it does not open.
    """
    for found, sealed, key_id, expires in _find(tx, name):
        if version is None or found == version:
            _require(vault, key_id)
            return StoredSecret(name, found, _open(vault, _place(name, found), bytes(sealed)), expires)
    return None


def bind_vault(tx: Tx, vault: Vault) -> None:
    """Refuse to work with a key file that does not belong to this store; on a new store, tie the two together.

    Raises:
        IntegrityError: ``Cause.KEY``: a key under which something is sealed here is not in the key file.
    """
    if _newest_version(tx, _CANARY) == 0:
        swap_secret(tx, vault, _CANARY, _CANARY.encode(), after=0)
    for key_id in tx.conn.execute(_KEY_IDS).scalars():
        _require(vault, key_id)
    get_secret(tx, vault, _CANARY)


def is_bound(tx: Tx) -> bool:
    """Say whether a key file was tied to this store: another one would open nothing of it."""
    return _newest_version(tx, _CANARY) > 0


def _newest_version(tx: Tx, name: str) -> int:
    found = _newest(tx, name)
    return int(found[0][0]) if found else 0


def _place(name: str, version: int) -> bytes:
    return f"{name}\0{version}".encode()


def _seal(vault: Vault, place: bytes, value: bytes) -> bytes:
    data_key = vault.new_key()
    wrapped = vault.seal(_SCOPE, data_key, place)
    return _LENGTH.pack(len(wrapped)) + wrapped + vault.seal_values(data_key, value, place)


def _open(vault: Vault, place: bytes, sealed: bytes) -> bytes:
    if len(sealed) < _LENGTH.size:
        raise IntegrityError(Cause.TAMPERED)
    body = _LENGTH.size + _LENGTH.unpack_from(sealed)[0]
    data_key = vault.open_(_SCOPE, sealed[_LENGTH.size : body], place)
    return vault.open_values(data_key, sealed[body:], place)


def _require(vault: Vault, key_id: str) -> None:
    if key_id not in vault.key_ids:
        raise IntegrityError(Cause.KEY, f"key {key_id} is not in the key file: put back the file that has it")
