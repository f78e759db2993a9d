"""What an answer of DingTalk means: a table of codes over both API families (fact sheet 0, 1, 7).

HTTP status decides nothing where a code is given: a 403 is three different classes. errcode 88 is an envelope, its
``sub_code`` is the code. Messages are never matched on, only shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

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
    "EXPIRED",
    "MISSING",
    "NO_JSON_403",
    "OUTCOMES",
    "Outcome",
    "Reply",
    "bad_answer",
    "decode",
    "error_of",
]

VENDOR = "dingtalk"
EXPIRED = frozenset(
    ["InvalidAuthentication", "invalidAccessToken", "401", "40014", "42001", "40001", "33001"]
)
"""Codes of a call (never of the token's own) after which the token is asked for anew, once: nothing took effect."""
MISSING = frozenset(["processInstanceNotExist", "processInstanceIdError", "processFormDataIsNull"])
"""What `get` answers for an instance that is not there; which one is UNCONFIRMED, so all are (2.3)."""
NO_JSON_403 = "403"
"""Our word for a 403 without a JSON body (7)."""
_FORBIDDEN = "Forbidden.AccessDenied."


@dataclass(frozen=True, slots=True)
class Outcome:
    """The error that answers a code; OutcomeUnknown becomes TryAgain on a read. ``after``: seconds to wait."""

    kind: type[RemoteError]
    cause: Cause
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A decoded answer: ``code`` "" is success. ``scopes``: the permissions a refusal asks for."""

    body: dict[str, Any]
    code: str = ""
    said: str = ""
    scopes: tuple[str, ...] = ()


def _each(
    kind: type[RemoteError], cause: Cause, codes: str, after: float | None = None
) -> dict[str, Outcome]:
    """Return one outcome under every code of a list such as ``90001-90014 90017``."""
    found: dict[str, Outcome] = {}
    for part in codes.split():
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last) + 1) if dash and first else None
        for code in map(str, numbers) if numbers else (part,):
            found[code] = Outcome(kind, cause, after)
    return found


def _forbidden(names: str) -> str:
    return " ".join(_FORBIDDEN + name for name in names.split())


OUTCOMES: Mapping[str, Outcome] = {
    # retry with backoff (7)
    **_each(TryAgain, Cause.UNAVAILABLE, "system.busy systemBusy"),  # 429: not begun
    **_each(TryAgain, Cause.RATE, "90001-90014 90017 90018 45009", after=1.0),
    **_each(TryAgain, Cause.RATE, "request.too.frequent autoflowLikeTriggerRateLimited", after=1.0),
    **_each(TryAgain, Cause.RATE, _forbidden("QpsLimitForAppkeyAndApi QpsLimitForApi"), after=1.0),
    **_each(TryAgain, Cause.RATE, _forbidden("QpsLimitForSuitekeyAndOrgAndApi"), after=1.0),
    **_each(TryAgain, Cause.RATE, _forbidden("QpmLimitForAppkeyAndApi QpmLimitForSuitekeyAndOrgAndApi"), after=30.0),
    **_each(TryAgain, Cause.RATE, "1111", after=300.0),  # the address is blocked for five minutes
    **_each(TryAgain, Cause.UNAVAILABLE, NO_JSON_403, after=60.0),
    # ambiguous on a write: reconcile by read
    **_each(OutcomeUnknown, Cause.UNAVAILABLE, "-1 15 systemError.busy"),
    **_each(OutcomeUnknown, Cause.UNAVAILABLE, "systemError internalError sysErrror unknown.error server.error"),
    # refresh the token once, and if that does not help:
    **_each(ConnectionDown, Cause.CREDENTIAL, "InvalidAuthentication invalidAccessToken 401 40014 42001 40001 33001"),
    # the quota is used up: until the period rolls over
    **_each(ConnectionDown, Cause.QUOTA, f"90020 daily.call.limit {_forbidden('ApiCountLimitForOrg')}"),
    # config: stop, tell an administrator
    **_each(ConnectionDown, Cause.CREDENTIAL, "40089 invalidClientIdOrSecret authFailed invalid.client unauthorized.client"),
    **_each(ConnectionDown, Cause.PERMISSION, f"60011 50002 50004 43007 needAuth {_forbidden('AccessTokenPermissionDenied')}"),
    **_each(ConnectionDown, Cause.ADDRESS, f"60020 {_forbidden('IpNotInWhiteList')}"),
    **_each(ConnectionDown, Cause.LICENCE, "benefitStatusInvalid crm.not.installed"),
    **_each(ConnectionDown, Cause.SETTINGS, "41001 22 71006-71013 900001-900010 310000 400101 400102 invalidAgentId"),
    **_each(ConnectionDown, Cause.SETTINGS, "Missingbody unsupported.grant.type"),
    # permanent for the record
    **_each(Refused, Cause.INVALID, "invalidParameter processInstanceInvalidParameter formConverterError illegalComponent"),
    **_each(Refused, Cause.INVALID, "targetSelectApproverMissing targetSelectApproverScopeError processInstanceStartFailed"),
    **_each(Refused, Cause.INVALID, "processGroupGetFailed forecastError componentIsNull param.blank param.illegal"),
    **_each(Refused, Cause.INVALID, "invalidProcessCode invalidInstanceListIdsStartTime invalidEndTime invalidNextToken"),
    **_each(Refused, Cause.INVALID, "invalidMaxResults invalidUserIds invalidInstanceTerminateIsSystem formschema.error"),
    **_each(Refused, Cause.INVALID, "invalidInstanceTerminateOperatingUserId invalidInstanceExecuteActionerUserId"),
    **_each(Refused, Cause.INVALID, "invalidInstanceExecuteTaskId invalidInstanceExecuteResult param.illegal.operator"),
    **_each(Refused, Cause.INVALID, "400002 40035 40104 40036 430101-430104"),
    **_each(Refused, Cause.NOT_FOUND, "processCodeError formNotExist processInstanceIdError processInstanceNotExist"),
    **_each(Refused, Cause.NOT_FOUND, "processFormDataIsNull aflowProcessInstNotExist userNotExist 33012 60121 60003"),
    **_each(Refused, Cause.STATE, "processGetFailed processSetupNoPermission aflowProcessInstStatusException"),
    **_each(Refused, Cause.STATE, "aflowProcessInstCanNotBeExecuted task.status.error instance.status.error"),
    **_each(Refused, Cause.DUPLICATE, "same.data.exists"),
}  # fmt: skip
"""Every code the connector's calls may meet."""
UNKNOWN = Outcome(OutcomeUnknown, Cause.BAD_ANSWER)


def decode(answer: Answer, *, read: bool) -> Reply:
    """Return what an answer says, whichever family it is of.

    Raises:
        ConnectionDown: an HTTP status DingTalk does not use without a code: another host, or a proxy, answers.
        TryAgain, OutcomeUnknown: HTML, cut JSON, no object; on a read, on a write.
    """
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        return _unreadable(answer, read=read)
    if "errcode" in body:
        return _old(body)
    code = body.get("code")
    if answer.status >= 400 and isinstance(code, str) and code:
        denied = body.get("accessdenieddetail")
        scopes = denied.get("requiredScopes") if isinstance(denied, dict) else None
        return Reply(body, code, _text(body.get("message")), tuple(map(str, scopes or ())))
    if str(body.get("status")) == "1111":
        return Reply(body, "1111", "the source address is blocked")
    if answer.status == 401:
        return Reply(body, "401", _text(body.get("message")))
    classify_status(answer, read_only=read)
    if answer.status != 200:
        raise _stranger(answer)
    if str(body.get("success")).lower() == "false":
        raise bad_answer(f"{answer.where}: success is false without a code", read=read)
    return Reply(body)


def _unreadable(answer: Answer, *, read: bool) -> Reply:
    """Return what an answer without a JSON object means, a bare 403; raise for any other."""
    if answer.status == 403:
        return Reply({}, NO_JSON_403, "403 without a code")
    classify_status(answer, read_only=read)
    if answer.status not in (200, 400, 401):
        raise _stranger(answer)
    json(answer, read_only=read)  # says what is wrong with it
    raise bad_answer(f"{answer.where}: the answer is no object", read=read)


def _old(body: dict[str, Any]) -> Reply:
    code, sub = str(body["errcode"]), str(body.get("sub_code") or "")
    said = _text(body.get("sub_msg")) if sub else _text(body.get("errmsg"))
    if code == "0":
        return Reply(body)
    if sub and (code == "88" or (code == "15" and not sub.startswith("isp."))):
        code = sub
    return Reply(body, code, said)


def _stranger(answer: Answer) -> ConnectionDown:
    return ConnectionDown(
        f"{answer.where}: HTTP {answer.status}; that is not DingTalk's way to answer: see base_url, old_url and the proxy",
        cause=Cause.SETTINGS,
        vendor=VENDOR,
        code=f"HTTP {answer.status}",
    )


def bad_answer(message: str, *, read: bool) -> RemoteError:
    """Return the error for an answer that has another shape than documented."""
    error = unsure(message, read_only=read, cause=Cause.BAD_ANSWER)
    error.vendor = VENDOR
    return error


def error_of(reply: Reply, api: str, *, read: bool, until: float | None = None) -> RemoteError:
    """Return the error a refusal means; an unknown code shows itself and keeps the body as ``detail``.

    ``until``: seconds to the end of the month, for a quota that is used up.
    """
    outcome = OUTCOMES.get(reply.code) or _by_pattern(reply.code)
    kind = TryAgain if read and outcome.kind is OutcomeUnknown else outcome.kind
    message = f"DingTalk answered {reply.code} to {api}: {reply.said[:300] or 'no message'}"
    if reply.scopes:
        message += f"; grant {', '.join(reply.scopes)}"
    known: dict[str, Any] = {
        "cause": outcome.cause,
        "vendor": VENDOR,
        "code": reply.code,
        "detail": reply.body,
    }
    if kind is TryAgain:
        return TryAgain(message, after=outcome.after, **known)
    if kind is ConnectionDown:
        return ConnectionDown(message, until=until if outcome.cause is Cause.QUOTA else None, **known)
    return kind(message, **known)


def _by_pattern(code: str) -> Outcome:
    """Return the outcome of a limit that has another name (7: ``*QpsLimit*``, ``*QpmLimit*``)."""
    if "QpsLimit" in code or "QpmLimit" in code:
        return Outcome(TryAgain, Cause.RATE, 1.0)
    if code.startswith("isv."):  # beside errcode 15: what was sent is wrong
        return Outcome(Refused, Cause.INVALID)
    return UNKNOWN


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
