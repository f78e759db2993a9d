"""What an answer of Mailchimp means: status first, then title, then words of the detail (fact sheet 3.4, 10, 11).

``type`` is the same for every error and useless; a body may be HTML from the edge, whatever its status.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.sdk import (
    Answer,
    Cause,
    ConnectionDown,
    Json,
    OutcomeUnknown,
    Refused,
    RemoteError,
    TryAgain,
)

__all__ = [
    "BACK_OFF",
    "OUTCOMES",
    "KeyRefused",
    "Outcome",
    "bad_answer",
    "error_of",
    "judge",
    "row_error",
]

VENDOR = "mailchimp"
BACK_OFF = 10.0
"""Seconds after a 429: no answer ever carries a Retry-After (0); ten calls at a time are allowed, and none a day."""
SHIELD = 60.0
"""Seconds after the burst shield's 403 or 503 without JSON: slower than a 429 (10)."""
SIGNUPS = 4 * 3600.0
"""Seconds after "has signed up to a lot of lists very recently": hours, says 3.4."""


class KeyRefused(ConnectionDown):
    """The key is not accepted, so nothing was executed: asked once more, for an edge may be wrong once."""

    def confirmed(self) -> ConnectionDown:
        """Return the error of a key that is refused twice."""
        known: dict[str, Any] = {"cause": self.cause, "vendor": VENDOR, "code": self.code}
        return ConnectionDown(f"{self}; twice", **known)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The error that answers a code; OutcomeUnknown becomes TryAgain on a read. ``after``: seconds to wait."""

    kind: type[RemoteError]
    cause: Cause
    after: float | None = None

    @property
    def public(self) -> str:
        """Return the name of the error the hub sees for a write."""
        return (ConnectionDown if self.kind is KeyRefused else self.kind).__name__


OUTCOMES: Mapping[str, Outcome] = {
    "BadRequest": Outcome(Refused, Cause.INVALID),
    "InvalidAction": Outcome(Refused, Cause.INVALID),
    "InvalidResource": Outcome(Refused, Cause.INVALID),
    "JSONParseError": Outcome(Refused, Cause.BUG),
    "MemberExists": Outcome(Refused, Cause.DUPLICATE),
    "MemberInComplianceState": Outcome(Refused, Cause.STATE),
    "ForgottenEmailNotSubscribed": Outcome(Refused, Cause.MISSING_TARGET),
    "APIKeyMissing": Outcome(KeyRefused, Cause.CREDENTIAL),
    "APIKeyInvalid": Outcome(KeyRefused, Cause.CREDENTIAL),
    "Forbidden": Outcome(ConnectionDown, Cause.PERMISSION),
    "UserDisabled": Outcome(ConnectionDown, Cause.CREDENTIAL),
    "WrongDatacenter": Outcome(ConnectionDown, Cause.SETTINGS),
    "ResourceNotFound": Outcome(
        ConnectionDown, Cause.SETTINGS
    ),  # of the audience; a member is looked at again
    "MethodNotAllowed": Outcome(Refused, Cause.STATE),
    "ResourceNestingTooDeep": Outcome(Refused, Cause.BUG),
    "InvalidMethodOverride": Outcome(Refused, Cause.BUG),
    "RequestedFieldsInvalid": Outcome(Refused, Cause.BUG),
    "UpgradeRequired": Outcome(ConnectionDown, Cause.SETTINGS),
    "TooManyRequests": Outcome(TryAgain, Cause.RATE, BACK_OFF),
    "InternalServerError": Outcome(OutcomeUnknown, Cause.UNAVAILABLE),
    "ComplianceRelated": Outcome(ConnectionDown, Cause.PERMISSION),  # the account is locked, whatever is sent
}
"""Every name of the glossary (11) and of 3.4."""

_NAMES = {name.lower(): name for name in OUTCOMES} | {"426unknown": "UpgradeRequired"}
STATUSES: Mapping[int, Outcome] = {
    401: Outcome(KeyRefused, Cause.CREDENTIAL),
    403: Outcome(ConnectionDown, Cause.PERMISSION),
    404: Outcome(ConnectionDown, Cause.SETTINGS),
    426: Outcome(ConnectionDown, Cause.SETTINGS),
    429: Outcome(TryAgain, Cause.RATE, BACK_OFF),
    **dict.fromkeys((400, 405, 414, 422), Outcome(Refused, Cause.INVALID)),
}
"""Status -> its meaning under a title nobody documented."""

_WORDS: tuple[tuple[re.Pattern[str], Outcome], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), outcome)
    for pattern, outcome in (
        (r"is in a compliance state", OUTCOMES["MemberInComplianceState"]),
        (r"permanently deleted and cannot be re-imported", OUTCOMES["ForgottenEmailNotSubscribed"]),
        (r"signed up to a lot of lists very recently", Outcome(TryAgain, Cause.RATE, SIGNUPS)),
        (r"looks fake or invalid|provide a valid email address", Outcome(Refused, Cause.INVALID)),
        (r"already a list member", OUTCOMES["MemberExists"]),
    )
)
"""The words of 3.4, which decide where a title says too little, and inside batch results; the first that fits."""
ADDRESS = "email_address"
_ABOUT_ADDRESS = re.compile(r"e-?mail|list member|compliance|signed up", re.IGNORECASE)
_LAST_RESORT = Outcome(OutcomeUnknown, Cause.BAD_ANSWER)


def judge(answer: Answer, *, read: bool) -> dict[str, Any]:
    """Return the object a success holds, {} for a 204. Raises RemoteError for anything else."""
    body = _decoded(answer)
    if 200 <= answer.status < 300:
        if answer.status == 204:
            return {}
        if body is None:
            raise bad_answer(f"{answer.where}: HTTP {answer.status} without a JSON object", read=read)
        return body
    if body is None or not isinstance(body.get("title"), str):
        raise _of_the_edge(answer, read=read)
    raise error_of(body, answer.status, read=read)


def error_of(body: Mapping[str, Any], status: int, *, read: bool) -> RemoteError:
    """Return the error that a problem document means; an unknown title shows itself."""
    title, detail = str(body.get("title") or ""), str(body.get("detail") or "")[:600]
    name = _NAMES.get(re.sub(r"[^0-9a-z]", "", title.lower()))
    outcome = OUTCOMES[name] if name else STATUSES.get(status, _LAST_RESORT)
    if status == 400:
        outcome = next((one for words, one in _WORDS if words.search(detail)), outcome)
    errors = [one for one in _list(body.get("errors")) if isinstance(one, dict)]
    said = "; ".join(f"{one.get('field')}: {one.get('message')}" for one in errors)[:300]
    text = f"Mailchimp answered {status} {title}: {detail or 'no detail'}{f' ({said})' if said else ''}"
    return _made(outcome, text, read=read, code=name or title[:80], field=_field(errors, detail),
                 request_id=str(body.get("instance") or "") or None)  # fmt: skip


def row_error(row: Mapping[str, Any]) -> RemoteError:
    """Return what a row of a batch's ``errors`` means (5.1): by its words, as a single call's."""
    text = str(row.get("error") or "")[:600]
    outcome = next((one for words, one in _WORDS if words.search(text)), OUTCOMES["InvalidResource"])
    said = str(row.get("field_message") or "")[:200]
    message = f"Mailchimp refused a row: {text or 'no text'}{f' ({said})' if said else ''}"
    field = _merge_name(str(row.get("field") or "")) or _field([], text)
    return _made(
        outcome, message, read=False, code=str(row.get("error_code") or ""), field=field, request_id=None
    )


def bad_answer(message: str, *, read: bool) -> RemoteError:
    """Return the error for an answer of another shape than documented."""
    kind = TryAgain if read else OutcomeUnknown
    return kind(message, cause=Cause.BAD_ANSWER, vendor=VENDOR)


def _made(
    outcome: Outcome, message: str, *, read: bool, code: str, field: str | None, request_id: str | None
) -> RemoteError:
    known: dict[str, Any] = {
        "cause": outcome.cause,
        "vendor": VENDOR,
        "code": code,
        "field": field,
        "request_id": request_id,
    }
    kind = TryAgain if read and outcome.kind is OutcomeUnknown else outcome.kind
    if kind is TryAgain:
        return TryAgain(message, after=outcome.after, **known)
    return kind(message, **known)


def _of_the_edge(answer: Answer, *, read: bool) -> RemoteError:
    """Return the error of a status whose body is no problem document: the edge speaks, not the API (10, 11)."""
    code = f"HTTP {answer.status}"
    message = f"{answer.where}: {code} without a problem document"
    if answer.status in (403, 429):
        return TryAgain(
            message,
            cause=Cause.RATE,
            vendor=VENDOR,
            code=code,
            after=SHIELD if answer.status == 403 else BACK_OFF,
        )
    if answer.status == 401:
        return KeyRefused(message, cause=Cause.CREDENTIAL, vendor=VENDOR, code=code)
    if answer.status >= 500 or answer.status == 408:
        kind = TryAgain if read else OutcomeUnknown
        return kind(message, cause=Cause.UNAVAILABLE, vendor=VENDOR, code=code)
    return ConnectionDown(
        f"{message}; see base_url and the proxy", cause=Cause.SETTINGS, vendor=VENDOR, code=code
    )


def _decoded(answer: Answer) -> dict[str, Any] | None:
    try:
        body = json.loads(answer.content.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _field(errors: list[dict[str, Any]], detail: str) -> str | None:
    """Return the field a refusal names: the first of its list, else the address where the words speak of it."""
    named = next((str(one["field"]) for one in errors if one.get("field")), "")
    if named:
        return _merge_name(named)
    return ADDRESS if _ABOUT_ADDRESS.search(detail) else None


def _merge_name(named: str) -> str | None:
    """Return a field by our name: what is written in capitals is a merge tag (3.4)."""
    return f"merge_fields.{named}" if named.isupper() else named or None


def _list(value: Json) -> list[Any]:
    return value if isinstance(value, list) else []
