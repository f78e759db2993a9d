"""The key file, and envelopes under its keys: what rests on a disk is unreadable without the file beside it.

Each key-encryption key of the file has a version; the newest seals, all of them open. No value is sealed under such a key
itself: a sub-key is derived (HKDF-SHA256) per scope (``connection:k3``) and per process, so that a random nonce
is drawn far less than 2^32 times under one key (NIST SP 800-38D). An envelope is

    suite (1) | key version (2) | salt of the sub-key (8) | nonce (12) | ciphertext and tag

and a value under a data key is ``suite | nonce | ciphertext and tag``. Suite 1 is AES-256-GCM.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.errors import Cause, IntegrityError, SettingsError

if TYPE_CHECKING:
    from hub.clock import Clock

__all__ = ["Vault", "add_key", "create_private", "read_private"]

_FORMAT = "hub-keys/1"
_SUITE = 1
_KEY, _SALT, _NONCE, _TAG, _DIGEST = 32, 8, 12, 16, 8
_HEAD = struct.Struct(f">BH{_SALT}s")  # suite, key version, salt
_AT = _HEAD.size + _NONCE  # where the ciphertext begins
_CALLS = 1 << 30  # values sealed under one sub-key before another is derived
_OPENERS = 4096  # sub-keys kept ready; each start of a process makes one a scope
_RECORDS = "records"


@dataclass(frozen=True, slots=True)
class _Keys:
    """What the key file holds. ``digest`` never changes: stored digests are compared for years."""

    kek: Mapping[int, bytes] = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def newest(self) -> int:
        return max(self.kek)


class _Sealer:
    """The sub-key under which one scope seals now."""

    __slots__ = ("encrypt", "head", "left")

    def __init__(self, head: bytes, aead: AESGCM) -> None:
        self.encrypt = aead.encrypt
        self.head = head
        self.left = _CALLS


class Vault:
    """Seals and opens; opened once per process with :meth:`open`, used from any thread.

    ``key_id`` names the key that seals now (version and fingerprint, public), ``key_ids`` all that can open.
    """

    def __init__(self, keys: _Keys, clock: Clock) -> None:
        """Not for callers: use :meth:`open` or :meth:`in_memory`."""
        self._keys = keys
        self.key_id = _key_id(keys, keys.newest)
        self.key_ids = frozenset(_key_id(keys, version) for version in keys.kek)
        self._token = clock.token
        self._sealers: dict[str, _Sealer] = {}
        self._openers: dict[tuple[str, bytes], AESGCM] = {}
        self._keyed = hashlib.blake2b(digest_size=_DIGEST, key=_derive(keys.digest, b"", "digest"))

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Self:
        """Read the key file; make it (0600) at the first start.

        Raises:
            SettingsError: the file can be read by others, or is no key file; it is named in ``file``.
        """
        if not path.exists():
            create_private(path, _text(_new_keys(clock)))
        return cls(_read(path), clock)

    @classmethod
    def in_memory(cls, clock: Clock) -> Self:
        """Return a vault whose keys are drawn now and written nowhere (simulator)."""
        return cls(_new_keys(clock), clock)

    def seal(self, scope: str, plain: bytes, aad: bytes) -> bytes:
        """Seal under the scope's sub-key; ``aad`` names the place where the value will lie."""
        sealer = self._sealers.get(scope)
        if sealer is None or sealer.left <= 0:
            sealer = self._sealers[scope] = self._new_sealer(scope)
        sealer.left -= 1
        nonce = self._token(_NONCE)
        return sealer.head + nonce + sealer.encrypt(nonce, plain, aad)

    def open_(self, scope: str, blob: bytes, aad: bytes) -> bytes:
        """Open what :meth:`seal` made for the same scope and place.

        Raises:
            IntegrityError: ``Cause.KEY`` if the key version is not in the file, ``Cause.TAMPERED`` if the value was
                changed, cut, or moved from another scope or place.
        """
        head = blob[: _HEAD.size]
        aead = self._openers.get((scope, head)) or self._opener(scope, head)
        try:
            return aead.decrypt(blob[_HEAD.size : _AT], blob[_AT:], aad)
        except (InvalidTag, ValueError):
            raise IntegrityError(Cause.TAMPERED) from None

    def new_key(self) -> bytes:
        """Return 256 random bits."""
        return self._token(_KEY)

    def new_data_key(self, record_id: bytes) -> tuple[bytes, bytes]:
        """Return a new 256-bit data key and the same sealed for that record (destroy it = erase the values)."""
        key = self.new_key()
        return key, self.seal(_RECORDS, key, record_id)

    def open_data_key(self, record_id: bytes, sealed: bytes) -> bytes:
        """Open a record's data key.

        Raises:
            IntegrityError: as :meth:`open_`.
        """
        return self.open_(_RECORDS, sealed, record_id)

    def seal_values(self, data_key: bytes, plain: bytes, aad: bytes) -> bytes:
        """Seal under a data key."""
        nonce = self._token(_NONCE)
        return b"\x01" + nonce + AESGCM(data_key).encrypt(nonce, plain, aad)

    def open_values(self, data_key: bytes, blob: bytes, aad: bytes) -> bytes:
        """Open what :meth:`seal_values` made for the same place.

        Raises:
            IntegrityError: ``Cause.TAMPERED``.
        """
        if blob[:1] != b"\x01":
            raise IntegrityError(Cause.TAMPERED)
        try:
            return AESGCM(data_key).decrypt(blob[1 : 1 + _NONCE], blob[1 + _NONCE :], aad)
        except (InvalidTag, ValueError):
            raise IntegrityError(Cause.TAMPERED) from None

    def digest(self, data: bytes) -> bytes:
        """Return the keyed digest (BLAKE2b, 8 bytes): equal for equal data, not to be guessed without the file."""
        keyed = self._keyed.copy()
        keyed.update(data)
        return keyed.digest()

    def _new_sealer(self, scope: str) -> _Sealer:
        head = _HEAD.pack(_SUITE, self._keys.newest, self._token(_SALT))
        return _Sealer(head, self._opener(scope, head))

    def _opener(self, scope: str, head: bytes) -> AESGCM:
        if len(head) < _HEAD.size or head[0] != _SUITE:
            raise IntegrityError(Cause.TAMPERED)
        _, version, salt = _HEAD.unpack(head)
        kek = self._keys.kek.get(version)
        if kek is None:
            raise IntegrityError(Cause.KEY, f"key version {version} is not in the key file")
        if len(self._openers) >= _OPENERS:
            self._openers.clear()
        aead = self._openers[scope, head] = AESGCM(_derive(kek, salt, f"seal:{_SUITE}:{scope}"))
        return aead


def add_key(path: Path, clock: Clock, note: Callable[[int], object]) -> int:
    """Add a key of the next version to the key file; older ones go on opening. Returns the version.

    ``note`` is told the version before the key can be used: after a crash there may be a note without a key, never a
    key without a note. Running processes go on sealing with the key they know, until they start again.

    Raises:
        SettingsError: as :meth:`Vault.open`.
    """
    keys = _read(path)
    version = keys.newest + 1
    text = _text(_Keys({**keys.kek, version: clock.token(_KEY)}, keys.digest))
    beside = _write_beside(path, text)
    clock.crash_point("key.written")
    note(version)
    clock.crash_point("key.noted")
    beside.replace(path)
    _sync_folder(path.parent)
    return version


def create_private(path: Path, text: str) -> None:
    """Create a file only its owner can read, whole or not at all; one that is there by then is left alone.

    Raises:
        SettingsError: the folder cannot be written.
    """
    try:
        beside = _write_beside(path, text)
        try:
            os.link(beside, path)
        except FileExistsError:  # another process was quicker; a rename would have replaced its file
            pass
        finally:
            beside.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise SettingsError(f"cannot be created: {error.strerror}", file=str(path)) from error


def _write_beside(path: Path, text: str) -> Path:
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return beside


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_private(path: Path) -> str:
    """Read a file that must be readable by its owner alone.

    Raises:
        SettingsError: it is not there, or its group or others have any right to it.
    """
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read: {error}", file=str(path)) from error
    if mode & 0o077:
        raise SettingsError(f"mode {mode:04o} lets others at it: chmod 600", file=str(path))
    return text


def _new_keys(clock: Clock) -> _Keys:
    return _Keys({1: clock.token(_KEY)}, clock.token(_KEY))


def _text(keys: _Keys) -> str:
    shown: dict[str, Any] = {
        "format": _FORMAT,
        "keys": {str(version): base64.b64encode(key).decode() for version, key in sorted(keys.kek.items())},
        "digest": base64.b64encode(keys.digest).decode(),
    }
    return json.dumps(shown, indent=1) + "\n"


def _read(path: Path) -> _Keys:
    keys = _parse(read_private(path))
    if keys is None:  # nothing of the content may reach a log
        raise SettingsError("is not a key file of this program, or is damaged", file=str(path))
    return keys


def _parse(text: str) -> _Keys | None:
    try:
        found = json.loads(text)
        kek = {int(name): _key(value) for name, value in found["keys"].items()}
        keys = _Keys(kek, _key(found["digest"]))
        known = found["format"] == _FORMAT and 1 <= min(kek) <= max(kek) <= 0xFFFF
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return keys if known else None


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != _KEY:
        raise binascii.Error
    return key


def _derive(key: bytes, salt: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), _KEY, salt or None, f"hub {purpose}".encode()).derive(key)


def _key_id(keys: _Keys, version: int) -> str:
    return f"{version}-{_derive(keys.kek[version], b'', 'key id')[:4].hex()}"
