"""Opaque cursors: they say nothing, hold only for the listing that gave them, and may expire."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import orjson

from connectors.wecom.sandbox.answers import ErrcodeError
from hub.sdk.sandbox import Json

__all__ = ["give", "take"]

KEY = b"the sandbox's own; clients cannot make cursors"


def give(filters: Json, place: Json, at: int) -> str:
    """Return the cursor that goes on at ``place`` of the listing with these filters; ``at`` is µs."""
    body = orjson.dumps([_digest(filters), at, place])
    return base64.urlsafe_b64encode(_seal(body) + body).decode().rstrip("=")


def take(cursor: str, filters: Json, *, now: int, life: float) -> Json:
    """Return the place a cursor stands for.

    Raises:
        ErrcodeError: 50100, it is not ours, of another listing, or older than ``life`` seconds (0: no age).
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError) as error:
        raise ErrcodeError(50100) from error
    seal, body = raw[:8], raw[8:]
    if not hmac.compare_digest(seal, _seal(body)):
        raise ErrcodeError(50100)
    digest, at, place = orjson.loads(body)
    if digest != _digest(filters) or (life and now - at > life * 1_000_000):
        raise ErrcodeError(50100)
    return place


def _seal(body: bytes) -> bytes:
    return hmac.digest(KEY, body, "sha256")[:8]


def _digest(filters: Json) -> str:
    return hashlib.sha256(orjson.dumps(filters)).hexdigest()[:12]
