"""The envelope that WeCom, DingTalk and Yonyou put around what they push: AES-256-CBC with the receiver's id inside.

Each of them signs in its own way; the sorted SHA-1 here is that of WeCom and DingTalk. Pure functions; what they raise
is for our own log, and no caller is told which it was. Sources: the vendors' demo libraries (wecom.md 7.1, dingtalk.md 6.1,
yonyou.md 3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["NotOursError", "OtherReceiverError", "decode_key", "decrypt", "encrypt", "signature", "signed_by"]

BLOCK = 32
"""Padding is PKCS#7 to 32 bytes, not to the cipher's 16."""
KEY_LENGTH = 43
RANDOM, LENGTH = 16, 4
"""Bytes before the message: random ones, then how long the message is, big-endian."""


class NotOursError(Exception):
    """The bytes were not encrypted with this key for this receiver."""


class OtherReceiverError(NotOursError):
    """Our key opened it, and the receiver's id inside is not ours: the message says which came, for the log alone."""


def decode_key(text: str) -> bytes:
    """Return the AES key of an EncodingAESKey. The last symbol's spare bits may be set: decoding is lenient.

    Raises:
        ValueError: it has not 43 letters and digits.
    """
    wrong = "must have 43 letters and digits"
    if len(text) != KEY_LENGTH or not text.isascii():
        raise ValueError(wrong)
    try:
        return base64.b64decode(text + "=", validate=True)
    except binascii.Error as error:
        raise ValueError(wrong) from error


def signature(token: str, timestamp: str, nonce: str, sealed: str) -> str:
    """Return the lower-case hex sha1 over the sorted values."""
    parts = sorted(_bytes(part) for part in (token, timestamp, nonce, sealed))
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).hexdigest()


def signed_by(given: str, tokens: Iterable[str], timestamp: str, nonce: str, sealed: str) -> str | None:
    """Return the token that signed it, None if none did; every token is tried, each comparison takes the same time."""
    sent, found = _bytes(given), None
    for token in tokens:
        if hmac.compare_digest(sent, signature(token, timestamp, nonce, sealed).encode()):
            found = token
    return found


def decrypt(sealed: str, key: bytes, receiver: str) -> bytes:
    """Return the message inside: 16 random bytes, its length in bytes (4, big-endian), the message, the receiver's id.

    Raises:
        NotOursError: not base64 of whole blocks, wrong padding, a length beyond the end.
        OtherReceiverError: another receiver.
    """
    try:
        raw = base64.b64decode(_bytes(sealed), validate=True)
    except binascii.Error as error:
        raise NotOursError from error
    if not raw or len(raw) % BLOCK:
        raise NotOursError
    opener = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = opener.update(raw) + opener.finalize()
    pad = plain[-1]
    if not 1 <= pad <= BLOCK or not hmac.compare_digest(plain[-pad:], bytes([pad]) * pad):
        raise NotOursError
    content = plain[:-pad]
    start = RANDOM + LENGTH
    if len(content) < start:
        raise NotOursError
    end = start + int.from_bytes(content[RANDOM:start], "big")
    if end > len(content):
        raise NotOursError
    if not hmac.compare_digest(content[end:], receiver.encode()):
        raise OtherReceiverError(f"encrypted for {content[end:][:64]!r}, not for us")
    return content[start:end]


def encrypt(message: bytes, key: bytes, receiver: str, prefix: bytes) -> str:
    """Return a reply sealed for a receiver behind 16 bytes nobody can guess (``prefix``); base64 without line breaks."""
    plain = prefix[:RANDOM] + len(message).to_bytes(LENGTH, "big") + message + receiver.encode()
    pad = BLOCK - len(plain) % BLOCK
    sealer = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(sealer.update(plain + bytes([pad]) * pad) + sealer.finalize()).decode()


def _bytes(text: str) -> bytes:
    """Return the bytes of a text that may hold anything a query can say, half of a surrogate pair included."""
    return text.encode("utf-8", "surrogatepass")
