"""Signature and cipher of WeCom's callbacks (fact sheet 7.1). Pure functions; nothing here says why it refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["NotOursError", "OtherReceiverError", "decode_key", "decrypt", "signature", "signed_by"]

BLOCK = 32
"""Padding is PKCS#7 to 32 bytes, not to the cipher's 16."""
KEY_LENGTH = 43


class NotOursError(Exception):
    """The bytes were not encrypted with this key for this receiver."""


class OtherReceiverError(NotOursError):
    """Our key opened it, and the receiver's id inside is not ours: the message says which came, for the log alone."""


def decode_key(text: str) -> bytes:
    """Return the AES key of an EncodingAESKey. The last symbol's spare bits may be set: decoding is lenient.

    Raises:
        ValueError: it has not 43 letters and digits.
    """
    if len(text) != KEY_LENGTH or not text.isascii():
        raise ValueError("must have 43 letters and digits")
    try:
        key = base64.b64decode(text + "=", validate=True)
    except binascii.Error as error:
        raise ValueError("must have 43 letters and digits") from error
    if len(key) != BLOCK:
        raise ValueError("must have 43 letters and digits")
    return key


def signature(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """Return the lower-case hex sha1 over the sorted values."""
    parts = sorted(_bytes(part) for part in (token, timestamp, nonce, encrypted))
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).hexdigest()


def signed_by(given: str, tokens: Iterable[str], timestamp: str, nonce: str, encrypted: str) -> bool:
    """Say whether one of the tokens signed it; every token is tried, each comparison takes the same time."""
    sent = _bytes(given)
    results = [
        hmac.compare_digest(sent, signature(token, timestamp, nonce, encrypted).encode()) for token in tokens
    ]
    return any(results)


def decrypt(encrypted: str, key: bytes, receiver: str) -> bytes:
    """Return the message inside: 16 random bytes, its length in 4 bytes, the message, the receiver's id.

    Raises:
        NotOursError: not base64 of whole blocks, wrong padding, a length beyond the end.
        OtherReceiverError: another receiver.
    """
    try:
        sealed = base64.b64decode(_bytes(encrypted), validate=True)
    except binascii.Error as error:
        raise NotOursError from error
    if not sealed or len(sealed) % BLOCK:
        raise NotOursError
    opener = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = opener.update(sealed) + opener.finalize()
    pad = plain[-1]
    if not 1 <= pad <= BLOCK or not hmac.compare_digest(plain[-pad:], bytes([pad]) * pad):
        raise NotOursError
    content = plain[:-pad]
    if len(content) < 20:
        raise NotOursError
    end = 20 + int.from_bytes(content[16:20], "big")
    if end > len(content):
        raise NotOursError
    if not hmac.compare_digest(content[end:], receiver.encode()):
        raise OtherReceiverError(f"encrypted for {content[end:][:64]!r}, not for our corp id")
    return content[20:end]


def _bytes(text: str) -> bytes:
    """Return the bytes of a text that may hold anything a query can say, half of a surrogate pair included."""
    return text.encode("utf-8", "surrogatepass")
