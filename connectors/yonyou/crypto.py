"""Signatures of pushed events, both schemes, and the key of an AppSecret (fact sheet 3.1, 3.2). Pure functions."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping

from hub.sdk.signing import signature

__all__ = ["SCHEMES", "decode_key", "signed"]

KEY_BYTES, KEY_LENGTH = 32, 43


def _new(secret: str, timestamp: str, nonce: str, sealed: str) -> str:
    """Sign as for apps made after 2022-07-29: the values sorted, HMAC-SHA256 with the secret, Base64."""
    text = b"".join(sorted(_bytes(part) for part in (timestamp, nonce, sealed)))
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


SCHEMES: Mapping[str, Callable[[str, str, str, str], str]] = {"signature": _new, "msgSignature": signature}
"""The field that holds the signature says which scheme made it; the second is that of the demos of 2019."""


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
    if len(key) != KEY_BYTES:
        raise ValueError("must hold letters and digits")
    return key


def _bytes(text: str) -> bytes:
    """Return the bytes of a text that may hold anything JSON can say, half of a surrogate pair included."""
    return text.encode("utf-8", "surrogatepass")
