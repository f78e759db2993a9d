"""What an answer of WeCom means: HTTP 200 says nothing, ``errcode`` decides, by table (fact sheet 0, 8).

The code's meaning is the vendor's; the class is our reading of section 8 of the fact sheet. ``errmsg`` is never
matched on, only shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.sdk import (
    Answer,
    Cause,
    ConnectionDown,
    OutcomeUnknown,
    Refused,
    RemoteError,
    TryAgain,
    classify_status,
)
from hub.sdk.http import json, unsure

__all__ = [
    "BAD_CURSOR",
    "EXPIRED",
    "NO_CUSTOMERS",
    "NO_RELATION",
    "OUTCOMES",
    "Outcome",
    "bad_answer",
    "decode",
    "errcode_of",
    "error_of",
]

VENDOR = "wecom"
EXPIRED = frozenset([40014, 42001, 40001])
"""Codes of a call (never of gettoken) after which the token is asked for anew, once: nothing took effect."""
BAD_CURSOR = frozenset(["50100", "60268"])
"""What a listing answers for a cursor it takes no longer: it starts again."""
NO_RELATION = frozenset(["84061", "40096"])
"""What a look-up of a relation we know answers when it is there no longer."""
MAKES = frozenset(["oa/applyevent"])
"""Calls that make another thing each time: one WeCom could not finish (busy, internal) may have made it, so search first."""
NO_CUSTOMERS = frozenset(["84061", "701008"])
"""What a listing answers for employees that show nobody: no customers, no licence."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The error that answers a code; OutcomeUnknown becomes TryAgain on a read. ``after``: seconds to wait."""

    kind: type[RemoteError]
    cause: Cause
    after: float | None = None


def _each(
    kind: type[RemoteError], cause: Cause, codes: str, after: float | None = None
) -> dict[int, Outcome]:
    """Return one outcome under every code of a list such as ``40097-40100 40126``."""
    found: dict[int, Outcome] = {}
    for part in codes.split():
        first, _, last = part.removeprefix("-").partition("-")
        sign = -1 if part.startswith("-") else 1
        for code in range(int(first), int(last or first) + 1):
            found[sign * code] = Outcome(kind, cause, after)
    return found


OUTCOMES: Mapping[int, Outcome] = {
    # retry with backoff
    **_each(TryAgain, Cause.UNAVAILABLE, "-1 301026 41063 41079 81026 90304 2000111 2000141"),
    **_each(TryAgain, Cause.LOCKED, "6000 45035"),
    **_each(TryAgain, Cause.RATE, "45033 45036"),
    **_each(OutcomeUnknown, Cause.UNAVAILABLE, "301057"),  # submit: search first
    # pause, then retry
    **_each(TryAgain, Cause.RATE, "45009", after=60.0),  # blocks one API, not the connection
    **_each(TryAgain, Cause.RATE, "301112 45029 81017"),  # a smaller window or scope
    **_each(TryAgain, Cause.CURSOR, "50100 60268"),  # the listing starts again
    # refresh the token once, and if that does not help:
    **_each(ConnectionDown, Cause.CREDENTIAL, "40014 42001"),
    # config errors: stop, tell an administrator
    **_each(ConnectionDown, Cause.CREDENTIAL, "40001 40013 40091"),
    **_each(ConnectionDown, Cause.SETTINGS, "41001 41002 41004 41011 40056 45031 48010 50006 60031 301002"),
    **_each(
        ConnectionDown, Cause.PERMISSION, "48001 48002 48005 48006 48009 48011 50003 60011 301007 301055"
    ),
    **_each(ConnectionDown, Cause.PERMISSION, "301056 610023 610024 660013 2000002"),
    **_each(ConnectionDown, Cause.ADDRESS, "60020"),
    # permanent for the record
    **_each(
        Refused, Cause.INVALID, "40003 40031 40033 40035 40058 40063 40072 40126 40144 41009 41035 41056"
    ),
    **_each(Refused, Cause.INVALID, "44004 45002 50002 60003 60021 60123 82001-82004 84084 301021 301025"),
    **_each(Refused, Cause.INVALID, "49008 610004 660001-660012"),
    **_each(Refused, Cause.NOT_FOUND, "40068 40096 46004 60111 81013 84061 84083 86001 86003"),
    **_each(Refused, Cause.DUPLICATE, "40071 301079"),
    **_each(Refused, Cause.STATE, "40097-40100 40128-40131 40205 40206"),
    **_each(Refused, Cause.LICENCE, "701008"),
}
"""Every code section 8 names."""

UNKNOWN = Outcome(OutcomeUnknown, Cause.BAD_ANSWER)
_FROM_IP = re.compile(r"from ip: ?([0-9A-Fa-f.:]{3,45})")


def decode(answer: Answer, *, read: bool) -> dict[str, Any]:
    """Return the body of an answer with ``errcode`` as a number, whatever that says.

    Raises:
        ConnectionDown: an HTTP status WeCom does not use: another host, or a proxy, answers.
        TryAgain, OutcomeUnknown: no answer of WeCom: HTML, cut JSON, no errcode; on a read, on a write.
    """
    classify_status(answer, read_only=read)
    if answer.status != 200:
        raise ConnectionDown(
            f"{answer.where}: HTTP {answer.status}; that is not WeCom's way to answer: see base_url and the proxy",
            cause=Cause.SETTINGS,
            vendor=VENDOR,
            code=f"HTTP {answer.status}",
        )
    body = json(answer, read_only=read)
    if not isinstance(body, dict):
        raise bad_answer(f"{answer.where}: the answer is no object", read=read)
    code = body.get("errcode")
    if isinstance(code, str) and code.removeprefix("-").isascii() and code.removeprefix("-").isdigit():
        code = int(code[:12])
    if isinstance(code, bool) or not isinstance(code, int):
        raise bad_answer(f"{answer.where}: the answer has no errcode", read=read)
    return {**body, "errcode": code}


def bad_answer(message: str, *, read: bool) -> RemoteError:
    """Return the error for an answer that has another shape than documented."""
    error = unsure(message, read_only=read, cause=Cause.BAD_ANSWER)
    error.vendor = VENDOR
    return error


def errcode_of(body: Mapping[str, Any]) -> int:
    """Return the errcode of a decoded body."""
    code: int = body["errcode"]
    return code


def error_of(body: Mapping[str, Any], api: str, *, read: bool, after: float | None = None) -> RemoteError:
    """Return the error a body means; an unknown code shows itself and keeps the body as ``detail``.

    ``api``: the call, for the message. ``after``: seconds until that call may be made again, if the caller knows.
    """
    code = errcode_of(body)
    outcome = OUTCOMES.get(code, UNKNOWN)
    kind = TryAgain if read and outcome.kind is OutcomeUnknown else outcome.kind
    if kind is TryAgain and outcome.cause is Cause.UNAVAILABLE and api in MAKES:
        kind = OutcomeUnknown
    said = str(body.get("errmsg") or "")
    message = f"WeCom answered {code} to {api}: {said[:300] or 'no message'}"
    if code == 60020 and (found := _FROM_IP.search(said)):
        message = f"WeCom does not trust our address {found[1]} (60020 to {api}): {said[:200]}"
    known: dict[str, Any] = {
        "cause": outcome.cause,
        "vendor": VENDOR,
        "code": str(code),
        "detail": dict(body),
    }
    if kind is TryAgain:
        return TryAgain(message, after=after or outcome.after, **known)
    return kind(message, **known)
