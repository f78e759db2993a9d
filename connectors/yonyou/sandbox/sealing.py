"""Encryption and the two signatures of pushed events (3.1, 3.2), written from the fact sheet."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["NEW", "OLD", "aes_key", "seal", "sign", "unseal"]

NEW, OLD = "signature", "msgSignature"
"""The field of the envelope that carries the signature, by scheme."""
BLOCK = 32


def aes_key(app_secret: str) -> bytes:
    """Return the key of a self-built app's secret: no dashes, 43 characters, filled up with zeros."""
    plain = app_secret.replace("-", "")
    text = plain[:43] if len(plain) > 43 else plain + "0" * (43 - len(plain))
    return base64.b64decode(text + "=")


def seal(key: bytes, prefix: bytes, message: bytes, app_key: str) -> str:
    """Encrypt a message behind 16 random bytes (``prefix``); return Base64."""
    plain = prefix + len(message).to_bytes(4, "big") + message + app_key.encode()
    pad = BLOCK - len(plain) % BLOCK
    sealer = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(sealer.update(plain + bytes([pad]) * pad) + sealer.finalize()).decode()


def unseal(key: bytes, sealed: str, app_key: str) -> bytes | None:
    """Return what an answer holds, None if it was not made with this key for this app."""
    try:
        content = base64.b64decode(sealed)
        opener = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        plain = opener.update(content) + opener.finalize()
    except ValueError:
        return None
    plain = plain[: -plain[-1]]
    end = 20 + int.from_bytes(plain[16:20], "big")
    return plain[20:end] if plain[end:] == app_key.encode() else None


def sign(scheme: str, app_secret: str, timestamp: int, nonce: str, encrypt: str) -> str:
    """Return the signature of a scheme over the values, sorted by value."""
    values = [str(timestamp), nonce, encrypt]
    if scheme == OLD:
        joined = "".join(sorted([app_secret, *values]))
        return hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
    digest = hmac.new(app_secret.encode(), "".join(sorted(values)).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()
