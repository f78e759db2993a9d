"""Encryption and signature of HTTP pushes (sheet 6.1), both ways; written from the fact sheet."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["aes_key", "seal", "sign", "unseal"]

BLOCK = 32
"""PKCS#7 fills up to 32 bytes, twice the cipher's own block."""


def aes_key(encoding_aes_key: str) -> bytes:
    """Return the 32 bytes of an EncodingAESKey. Raises ValueError: it is not 43 letters or digits."""
    if len(encoding_aes_key) != 43 or not encoding_aes_key.isascii() or not encoding_aes_key.isalnum():
        raise ValueError("aes_key must be 43 letters or digits")
    return base64.b64decode(encoding_aes_key + "=")


def seal(key: bytes, prefix: bytes, message: bytes, owner: str) -> str:
    """Encrypt a message behind 16 random bytes; its length counts bytes, not characters (pitfall 3)."""
    plain = prefix + len(message).to_bytes(4, "big") + message + owner.encode()
    pad = BLOCK - len(plain) % BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()


def unseal(key: bytes, sealed: str, owner: str) -> bytes:
    """Decrypt what a receiver answered. Raises ValueError: not sealed with this key for this owner."""
    raw = base64.b64decode(sealed, validate=True)
    if not raw or len(raw) % 16:
        raise ValueError("not whole blocks")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = decryptor.update(raw) + decryptor.finalize()
    pad = plain[-1]
    if not 1 <= pad <= BLOCK:
        raise ValueError("wrong padding (900010)")
    size = int.from_bytes(plain[16:20], "big")
    message, rest = plain[20 : 20 + size], plain[20 + size : -pad]
    if rest.decode("utf-8", "replace") != owner:
        raise ValueError("the owner key does not match (900010)")
    return message


def sign(token: str, timestamp: str, nonce: str, encrypt: str) -> str:
    """Return lower-case hex sha1 over the sorted values."""
    joined = "".join(sorted((token, timestamp, nonce, encrypt)))
    return hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
