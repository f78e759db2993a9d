"""Page cursors: where a page ended, signed, so that a cursor cannot be made up or used for another listing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from hub.api.problem import ApiProblem, ProblemKind
from hub.crm.query import After
from hub.model.record import Scope

__all__ = ["read_cursor", "write_cursor"]

_MAC: Final = 16
_ID: Final = 16
_LONGEST: Final = 800


def write_cursor(key: bytes, scope: Scope, kind: str, after: After) -> str:
    """Return the cursor for the page behind ``after`` in the listing of a kind as this scope sees it."""
    region, record = after
    payload = record + region.encode()
    return base64.urlsafe_b64encode(_mac(key, scope, kind, payload) + payload).rstrip(b"=").decode()


def read_cursor(key: bytes, scope: Scope, kind: str, text: str) -> After:
    """Return where the page before ended; raises ApiProblem for a cursor that is not ours or of another listing."""
    try:
        if len(text) > _LONGEST:
            raise ValueError
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        payload = raw[_MAC:]
        if len(payload) < _ID or not hmac.compare_digest(raw[:_MAC], _mac(key, scope, kind, payload)):
            raise ValueError
        return payload[_ID:].decode(), payload[:_ID]
    except (ValueError, binascii.Error):
        raise ApiProblem(
            ProblemKind.BAD_PARAMETER, "the cursor is not one of this listing; begin again without it"
        ) from None


def _mac(key: bytes, scope: Scope, kind: str, payload: bytes) -> bytes:
    listing = repr((kind, scope)).encode()
    return hmac.digest(key, hashlib.sha256(listing).digest() + payload, "sha256")[:_MAC]
