"""Sealing: acts get a number and a hash, and a signed seal closes the run, in one transaction.

Only a sealed act is proof: until then a row could be changed unseen, so the job that calls :func:`seal` runs every second
and the age of the oldest unsealed act is an alarm. The heads of seals are handed out of the store, for whoever can
rewrite the whole store cannot take back what has left it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.verify import FIRST_PREV, ORIGIN, Seal, act_hash, note_body, note_digest, signed_note
from hub.clock import Clock
from hub.errors import Cause, IntegrityError, SettingsError
from hub.store import schema, sql
from hub.store.engine import Store
from hub.store.secrets import get_secret, swap_secret
from hub.store.tx import Tx
from hub.vault import Vault, read_private

__all__ = ["KEY", "PUBLIC", "Heads", "Signer", "heads_after", "newest_seal", "oldest_unsealed", "seal"]

PUBLIC = "audit.pub"
"""Name of the file with the public keys, in the data folder."""
KEY = "hub.audit-key"
"""Name of the secret that signs seals: in the store, so that any host may seal."""

LIMIT = 1000
"""Acts under one seal: more would hold the store's writer for too long."""

_OLD_FILE, _OLD_SCOPE = "audit.key", "audit"
"""Where the key lay before it came into the store: in the data folder, sealed by the vault."""
_AFTER_DAMAGE = b"\xff" * 32  # continues from nothing: the break stays visible

_lock = sql.query("SELECT one FROM hub", lock="update", of=schema.hub)
_newest = sql.query(
    "SELECT last_seq, first_seq, head, prev, at, key_id, signature FROM seals ORDER BY last_seq DESC LIMIT 1"
)
_highest = sql.query("SELECT seq, hash FROM acts WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1")
_unsealed = sql.query("SELECT id, at, actor, verb, body FROM acts WHERE seq IS NULL ORDER BY id LIMIT ?")
_oldest = sql.query("SELECT at FROM acts WHERE seq IS NULL ORDER BY id LIMIT 1")
_after = sql.query(
    "SELECT last_seq, first_seq, head, prev, at, key_id, signature FROM seals WHERE last_seq > ? "
    "ORDER BY last_seq LIMIT ?"
)
_number = sql.bulk_update(schema.acts, "seq hash", key="id", where="seq IS NULL")
_insert = sql.bulk_insert(schema.seals, "last_seq first_seq head prev at key_id signature")


class Signer:
    """The key that signs seals; opened with :meth:`open`, found with :meth:`known`. ``key_id`` is in each of its seals."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Not for callers: use :meth:`open` or :meth:`in_memory`."""
        self._key = key
        raw = b"\x01" + key.public_key().public_bytes_raw()
        self.key_id = hashlib.sha256(f"{ORIGIN}\n".encode() + raw).hexdigest()[:8]
        self.public_key = f"{ORIGIN}+{self.key_id}+{base64.b64encode(raw).decode()}\n"

    @classmethod
    def open(cls, store: Store, vault: Vault, folder: Path) -> Self:
        """Return the signer of a store, whose key is drawn by whoever seals first.

        ``folder``: the data folder. The key of an installation whose key lay there is taken in, and ``audit.pub`` is
        written there: it is what a verifier needs, and a copy of it belongs outside this machine.

        Raises:
            SettingsError: the file can be read by others, or is no such file; it is named in ``file``.
            IntegrityError: the key was sealed by another vault.
        """
        signer = store.read_now(cls.known, vault)
        if signer is None:
            signer = store.run_now(cls._made, vault, _old_key(folder, vault))
        signer.publish_key(folder / PUBLIC)
        return signer

    @classmethod
    def known(cls, tx: Tx, vault: Vault) -> Self | None:
        """Return the signer of this store, None if nobody has sealed here yet.

        Raises:
            IntegrityError: the key was sealed by another vault.
        """
        found = get_secret(tx, vault, KEY)
        return None if found is None else cls(Ed25519PrivateKey.from_private_bytes(found.value))

    @classmethod
    def _made(cls, tx: Tx, vault: Vault, old: bytes | None) -> Self:
        key = tx.clock.token(32) if old is None else old
        if swap_secret(tx, vault, KEY, key, after=0) is not None:
            made = cls(Ed25519PrivateKey.from_private_bytes(key))
            item = {"outcome": "made" if old is None else "taken in", "key": made.key_id}
            tx.journal("sealer", "audit.key", {"items": [item]})
        signer = cls.known(tx, vault)  # somebody may have been quicker: there is one key
        assert signer is not None
        return signer

    @classmethod
    def in_memory(cls, clock: Clock) -> Self:
        """Return a signer whose key is drawn now and written nowhere (simulator)."""
        return cls(Ed25519PrivateKey.from_private_bytes(clock.token(32)))

    def publish_key(self, path: Path) -> None:
        """Write the public key beside those of earlier keys, if it is not there."""
        known = path.read_text("ascii") if path.exists() else ""
        if self.public_key not in known:
            path.write_text(known + self.public_key, "ascii")

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature."""
        return self._key.sign(message)

    def made(self, seal_: Seal) -> bool:
        """Tell whether a seal carries a valid signature of this key."""
        try:
            self._key.public_key().verify(seal_[6], note_body(seal_))
        except (InvalidSignature, TypeError, ValueError):
            return False
        return bool(seal_[5] == self.key_id)


def _old_key(folder: Path, vault: Vault) -> bytes | None:
    path = folder / _OLD_FILE
    if not path.exists():
        return None
    try:
        sealed = base64.b64decode(read_private(path), validate=False)
    except ValueError as error:
        raise SettingsError("is not a key file of this program, or is damaged", file=str(path)) from error
    return vault.open_(_OLD_SCOPE, sealed, _OLD_FILE.encode())


def seal(tx: Tx, signer: Signer, limit: int = LIMIT) -> int:
    """Number and seal up to ``limit`` acts in the order of their ids; return how many (0: nothing to do).

    An act that commits after one of a higher id was sealed gets the next number. Sealers at once wait for each other
    on the ``hub`` row. If the end of the trail is not as it was sealed, that is not built upon: the break
    stays visible to the verifier, an act ``audit.damaged`` names it, and new acts go on being sealed.

    Raises:
        IntegrityError: ``Cause.FENCED``: somebody else numbered the same acts.
    """
    _lock(tx)
    acts = _unsealed(tx, limit)
    if not acts:
        return 0
    last, prev = _end(tx, signer)
    found, numbered = prev, []
    for seq, act in enumerate(acts, last + 1):
        found = act_hash(found, (seq, *act))
        numbered.append((act[0], seq, found))
    newest: list[Any] = [last + len(acts), last + 1, found, prev, tx.now, signer.key_id]
    newest.append(signer.sign(note_body(newest)))
    if _number(tx, numbered) != len(acts):
        raise IntegrityError(Cause.FENCED, "acts were numbered by somebody else")
    _insert(tx, [tuple(newest)])
    return len(acts)


def oldest_unsealed(tx: Tx) -> int | None:
    """Return when the oldest unsealed act was written (µs), None if all are sealed."""
    found = _oldest(tx)
    return int(found[0][0]) if found else None


def newest_seal(tx: Tx) -> int | None:
    """Return when the newest seal was made (µs), None if there is none."""
    found = _newest(tx)
    return int(found[0][4]) if found else None


def heads_after(tx: Tx, last_seq: int, limit: int = LIMIT) -> list[tuple[int, str]]:
    """Return (number of the last act, signed note) of the seals behind an act number, oldest first."""
    return [(row[0], signed_note(row)) for row in _after(tx, last_seq, limit)]


class Heads:
    """The file outside the store in which seals are handed out, one JSON line each; only ever appended to."""

    def __init__(self, path: Path) -> None:
        """Take the file; it is made (0600) with the first line."""
        self._path = path

    def last(self) -> int:
        """Return the act number up to which seals were handed out, 0 at the beginning.

        Raises:
            IntegrityError: ``Cause.SEAL``: the end of the file is not what was written.
        """
        if not self._path.exists():
            return 0
        with self._path.open("rb") as file:
            return _last_of(file)[0]

    def append(self, heads: list[tuple[int, str]]) -> int:
        """Write what is not there yet and make it durable; return how many lines.

        Raises:
            IntegrityError: as :meth:`last`.
        """
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # one sealer is leased, but two may overlap for a moment
            last, end = _last_of(file)
            lines = [json.dumps({"last_seq": seq, "note": note}) + "\n" for seq, note in heads if seq > last]
            file.truncate(end)  # a line that a crash left unfinished
            file.seek(end)
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())
        return len(lines)


def _end(tx: Tx, signer: Signer) -> tuple[int, bytes]:
    """Return the last number given and what the next act continues from."""
    newest = next(iter(_newest(tx)), None)
    highest, stored = next(iter(_highest(tx)), (0, None))
    if newest is None and highest == 0:
        return 0, FIRST_PREV
    if newest is not None and newest[0] == highest and newest[2] == stored and signer.made(newest):
        return newest[0], note_digest(newest)
    sealed = newest[0] if newest else 0
    tx.journal("sealer", "audit.damaged", {"sealed": sealed, "numbered": highest})
    return max(sealed, highest), _AFTER_DAMAGE


def _last_of(file: BinaryIO) -> tuple[int, int]:
    """Return the number in the last whole line and where that line ends."""
    size = file.seek(0, os.SEEK_END)
    start, tail = size, b""
    while start > 0 and tail.count(b"\n") < 2:
        start = max(0, start - 4096)
        file.seek(start)
        tail = file.read(size - start)
    whole, _, torn = tail.rpartition(b"\n")
    if not whole:
        return 0, size - len(torn)
    try:
        return int(json.loads(whole.rpartition(b"\n")[2])["last_seq"]), size - len(torn)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(Cause.SEAL, f"the heads file ends with a line nobody wrote: {error}") from error
