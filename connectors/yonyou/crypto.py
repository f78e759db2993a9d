"""Signature and cipher of pushed events, both schemes (fact sheet 3.1, 3.2). Pure functions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["SCHEMES", "NotOursError", "OtherReceiverError", "decode_key", "decrypt", "encrypt", "signed"]

BLOCK = 32
"""Padding is PKCS#7 to 32 bytes, not to the cipher's 16 (6.25)."""
KEY_LENGTH = 43


class NotOursError(Exception):
    """The bytes were not encrypted with this key for this receiver."""


class OtherReceiverError(NotOursError):
    """Our key opened it, and the key of the app inside is not ours."""


def _new(secret: str, timestamp: str, nonce: str, sealed: str) -> str:
    """Sign as for apps made after 2022-07-29: the values sorted, HMAC-SHA256 with the secret, Base64."""
    text = b"".join(sorted(_bytes(part) for part in (timestamp, nonce, sealed)))
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


def _legacy(secret: str, timestamp: str, nonce: str, sealed: str) -> str:
    """Sign as the demos of 2019 do: the values and the secret sorted, lower-case hex of SHA-1."""
    text = b"".join(sorted(_bytes(part) for part in (secret, timestamp, nonce, sealed)))
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


SCHEMES: Mapping[str, Callable[[str, str, str, str], str]] = {"signature": _new, "msgSignature": _legacy}
"""The field that holds the signature says which scheme made it."""


def signed(given: str, scheme: str, secret: str, timestamp: str, nonce: str, sealed: str) -> bool:
    """Say whether a secret made a signature; the comparison takes the same time for every one."""
    made = SCHEMES[scheme](secret, timestamp, nonce, sealed)
    return hmac.compare_digest(_bytes(given), made.encode())


def decode_key(secret: str) -> bytes:
    """Return the AES key of an AppSecret: dashes out, cut or filled with 0 to 43, decoded leniently.

    Raises:
        ValueError: it holds signs that Base64 has not.
    """
    text = secret.replace("-", "")[:KEY_LENGTH].ljust(KEY_LENGTH, "0") + "="
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must hold letters and digits") from error
    if len(key) != BLOCK:
        raise ValueError("must hold letters and digits")
    return key


def decrypt(sealed: str, key: bytes, app_key: str) -> bytes:
    """Return the JSON inside: 16 random bytes, its length in 4 bytes, the JSON, our app key.

    Raises:
        NotOursError: not Base64 of whole blocks, wrong padding, a length beyond the end.
        OtherReceiverError: another app's key behind it.
    """
    try:
        content = base64.b64decode(_bytes(sealed), validate=True)
    except binascii.Error as error:
        raise NotOursError from error
    if not content or len(content) % BLOCK:
        raise NotOursError
    opener = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = opener.update(content) + opener.finalize()
    pad = plain[-1]
    if not 1 <= pad <= BLOCK or not hmac.compare_digest(plain[-pad:], bytes([pad]) * pad):
        raise NotOursError
    inside = plain[:-pad]
    end = 20 + int.from_bytes(inside[16:20], "big")
    if len(inside) < 20 or end > len(inside):
        raise NotOursError
    if not hmac.compare_digest(inside[end:], app_key.encode()):
        raise OtherReceiverError(f"encrypted for {inside[end:][:64]!r}, not for our app_key")
    return inside[20:end]


def encrypt(message: bytes, key: bytes, app_key: str, prefix: bytes) -> str:
    """Seal an answer the same way; ``prefix``: 16 bytes nobody can foresee."""
    plain = prefix + len(message).to_bytes(4, "big") + message + app_key.encode()
    pad = BLOCK - len(plain) % BLOCK
    closer = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(closer.update(plain + bytes([pad]) * pad) + closer.finalize()).decode()


def _bytes(text: str) -> bytes:
    """Return the bytes of a text that may hold anything JSON can say, half of a surrogate pair included."""
    return text.encode("utf-8", "surrogatepass")
