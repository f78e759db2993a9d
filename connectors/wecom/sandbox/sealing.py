"""Encryption and signature of callbacks (7.1), written from the fact sheet."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["aes_key", "seal", "sign"]

BLOCK = 32
"""The padding fills up to 32 bytes, twice the cipher's own block."""


def aes_key(encoding_aes_key: str) -> bytes:
    """Return the 32 bytes of an EncodingAESKey; its last symbol may carry two spare bits.

    Raises:
        ValueError: it is not 43 letters or digits.
    """
    if len(encoding_aes_key) != 43 or not encoding_aes_key.isascii() or not encoding_aes_key.isalnum():
        raise ValueError("EncodingAESKey must be 43 letters or digits")
    return base64.b64decode(encoding_aes_key + "=")


def seal(key: bytes, prefix: bytes, message: bytes, receiveid: str) -> str:
    """Encrypt a message behind 16 random bytes (``prefix``); return base64."""
    plain = prefix + len(message).to_bytes(4, "big") + message + receiveid.encode()
    pad = BLOCK - len(plain) % BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    sealed = encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
    return base64.b64encode(sealed).decode()


def sign(token: str, timestamp: str, nonce: str, encrypt: str) -> str:
    """Return msg_signature: sha1 over the sorted values."""
    joined = "".join(sorted((token, timestamp, nonce, encrypt)))
    return hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
