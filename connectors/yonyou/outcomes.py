"""What an answer of YonBIP means: the HTTP status says little, ``code`` more, the text of a 999 the rest (2.0, 2.3, 4).

Order (4): HTTP 429, 5xx → text/plain ``非法token`` → the code → ``failCount`` under a code 200 → success.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from hub.sdk import (
    Answer,
    Cause,
    ConnectionDown,
    Json,
    OutcomeUnknown,
    Refused,
    RemoteError,
    TryAgain,
    classify_status,
    retry_after,
)

__all__ = [
    "BACK_OFF",
    "DUPLICATE_KEY",
    "OUTCOMES",
    "Outcome",
    "TokenRefused",
    "bad_answer",
    "code_of",
    "decode",
    "error_of",
    "judge",
]

VENDOR = "yonyou"
BACK_OFF = 60.0
"""Seconds after a rate limit: quotas are per minute (4); whether a Retry-After ever comes is UNCONFIRMED."""
DUPLICATE_KEY = frozenset(["10004", "100004"])
"""The key was used more than an hour ago; ``data`` names what it made (2.0)."""


class TokenRefused(ConnectionDown):
    """The token is not accepted, so nothing was executed: it is renewed, once."""

    def confirmed(self) -> ConnectionDown:
        """Return the error of a fresh token that is refused too."""
        return ConnectionDown(f"{self}; a fresh token too", cause=self.cause, vendor=VENDOR, code=self.code)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The error that answers a code or a text; OutcomeUnknown becomes TryAgain on a read. ``after``: seconds to wait."""

    kind: type[RemoteError]
    cause: Cause
    after: float | None = None

    @property
    def public(self) -> str:
        """Return the name of the error the hub sees for a write."""
        return (ConnectionDown if self.kind is TokenRefused else self.kind).__name__


def _each(
    codes: str, kind: type[RemoteError], cause: Cause, after: float | None = None
) -> dict[str, Outcome]:
    return dict.fromkeys(codes.split(), Outcome(kind, cause, after))


OUTCOMES: Mapping[str, Outcome] = {
    **_each("202", OutcomeUnknown, Cause.UNAVAILABLE),  # the key is in flight: the same again in 5 s
    **_each("310078 310504", OutcomeUnknown, Cause.UNAVAILABLE),  # a time-out behind or in the gateway
    **_each("10004 100004", Refused, Cause.ALREADY_DONE),  # with an id it is a success: see `DUPLICATE_KEY`
    **_each("310001 310003 310036", TokenRefused, Cause.CREDENTIAL),
    **_each("10018 310005 310006", ConnectionDown, Cause.CREDENTIAL),
    **_each("310037", ConnectionDown, Cause.PERMISSION),
    **_each("310031 310038 310041 310047", ConnectionDown, Cause.ADDRESS),
    **_each("310404", ConnectionDown, Cause.SETTINGS),
    **_each("310032 310039 310042 310046 310050", TryAgain, Cause.RATE, BACK_OFF),
    **_each("310007 310043", TryAgain, Cause.UNAVAILABLE),  # not reached the API yet; circuit open
    **_each("310071 310072 310076 310077 310101 315001 500 9999", OutcomeUnknown, Cause.UNAVAILABLE),
    **_each("310002 310405", Refused, Cause.BUG),
    **_each("310008", Refused, Cause.MISSING_FIELD),
    **_each("310009 310015 310023 310024 310025", Refused, Cause.INVALID),
    **_each("310061 310062 310063 310064 310065 310066", Refused, Cause.INVALID),
    **_each("999 0 1001 405", Refused, Cause.INVALID),  # the text decides, see `TEXTS`
    **_each("1002", Refused, Cause.NOT_FOUND),
}
"""Every code of sections 1.3, 2 and 4."""

SPEAKING = frozenset(["999", "0", "1001", "1002", "200"])
"""Codes behind which the text decides; 200 is a batch in which a row failed."""

TEXTS: tuple[tuple[re.Pattern[str], Outcome], ...] = tuple(
    (re.compile(pattern), outcome)
    for pattern, outcome in (
        (r"已经?结账|已关账", Outcome(Refused, Cause.PERIOD_CLOSED)),  # finance reopens it: never in a loop
        (r"不(允许|能)为空|是必填的", Outcome(Refused, Cause.MISSING_FIELD)),
        (
            r"^(提交|撤回提交|审核|弃审|删除)失败,当前单据|不允许(重复操作|撤回|提交|审核|弃审|删除)",
            Outcome(Refused, Cause.STATE),
        ),
        (r"被删除或没有权限|不存在|数据库查询异常", Outcome(Refused, Cause.NOT_FOUND)),
        (r"重复|已存在|唯一", Outcome(Refused, Cause.DUPLICATE)),
    )
)
"""The 999 texts as documented (2.1, 2.3, 2.4), then the words that every MDD form uses; the first that fits decides."""

UNKNOWN = Outcome(OutcomeUnknown, Cause.BAD_ANSWER)
LABELS: Mapping[str, str] = {
    "收款组织": "financeOrgCode", "客户名称": "name.simplifiedName", "客户编码": "code", "管理组织": "createOrgCode",
    "单据日期": "billDate", "交易类型": "bustypeCode", "业务组织": "orgCode", "原币币种": "oriCurrencyCode", "汇率": "exchangeRate",
}  # fmt: skip
_EMPTY = re.compile(r"([^,，:：\s]{1,20}?)不(?:允许|能)为空")
_PARAMETER = re.compile(r"参数\[([^\]]{1,60})\]")
_BAD_TOKEN = "非法token"  # noqa: S105 - the vendor's words


def decode(answer: Answer, *, read: bool) -> dict[str, Any]:
    """Return the object of an answer, numbers exact.

    Raises:
        TryAgain, OutcomeUnknown: HTML, cut JSON, or no object with a ``code``; on a read, on a write.
    """
    try:
        body = json.loads(
            answer.content.removeprefix(codecs.BOM_UTF8), parse_float=Decimal, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or code_of(body) is None:
        shown = answer.content[:120].decode("utf-8", "replace").strip()
        error = bad_answer(f"{answer.where}: HTTP {answer.status} without a code", read=read)
        error.detail = shown
        raise error
    return body


def code_of(body: Mapping[str, Any]) -> str | None:
    """Return the code as text (it comes as a text or as a number, 2.0), None if there is none."""
    code = body.get("code")
    if isinstance(code, bool) or not isinstance(code, str | int):
        return None
    return str(code)[:40]


def judge(answer: Answer, *, read: bool, ok: str = "200") -> dict[str, Any]:
    """Return the body of a success. ``ok``: the code that says so.

    Raises:
        TokenRefused: the token is not accepted; the call was not executed.
        RemoteError: as the tables say.
    """
    if answer.status == 429:
        raise _limited(answer)
    classify_status(answer, read_only=read)
    if answer.content.strip() == _BAD_TOKEN.encode():  # some finance paths answer no JSON (1.3)
        raise TokenRefused(
            f"YonBIP answered {_BAD_TOKEN}", cause=Cause.CREDENTIAL, vendor=VENDOR, code="310036"
        )
    body = _other_status(answer) or decode(answer, read=read)
    code = code_of(body)
    if code != ok:
        raise error_of(body, read=read)
    data = body.get("data")
    if isinstance(data, dict) and _count(data.get("failCount")) > 0:
        raise error_of(body | {"message": _said(data)}, read=read)
    return body


def error_of(body: Mapping[str, Any], *, read: bool) -> RemoteError:
    """Return the error a body means; an unknown code shows itself and is in doubt on a write."""
    code = code_of(body) or ""
    text = str(body.get("message") or "")[:600]
    outcome = OUTCOMES.get(code, UNKNOWN)
    if code in SPEAKING:
        outcome = next(
            (found for pattern, found in TEXTS if pattern.search(text)),
            outcome if outcome is not UNKNOWN else Outcome(Refused, Cause.INVALID),
        )
    kind = TryAgain if read and outcome.kind is OutcomeUnknown else outcome.kind
    shown = str(body.get("displayCode") or "")[:40]
    message = f"YonBIP answered {code}{f' ({shown})' if shown else ''}: {text or 'no message'}"
    known: dict[str, Any] = {"cause": outcome.cause, "vendor": VENDOR, "code": code, "field": _field(text)}
    if code in DUPLICATE_KEY:
        known["detail"] = body.get("data")  # what the key made
    if kind is TryAgain:
        return TryAgain(message, after=outcome.after, **known)
    return kind(message, **known)


def bad_answer(message: str, *, read: bool) -> RemoteError:
    """Return the error for an answer of another shape than documented."""
    kind = TryAgain if read else OutcomeUnknown
    return kind(message, cause=Cause.BAD_ANSWER, vendor=VENDOR)


def _limited(answer: Answer) -> TryAgain:
    try:
        body = decode(answer, read=True)
    except TryAgain:
        body = {"code": "429", "message": ""}
    after = retry_after(answer)
    message = f"YonBIP answered HTTP 429 ({code_of(body)}): {str(body.get('message') or '')[:200]}"
    return TryAgain(
        message,
        cause=Cause.RATE,
        vendor=VENDOR,
        code=code_of(body),
        after=BACK_OFF if after is None else after,
    )


def _other_status(answer: Answer) -> dict[str, Any] | None:
    """Return the body of a status that is not 200 but speaks as the gateway does (310404 comes with HTTP 404).

    Raises:
        TokenRefused: 401 or 403 without a code.
        ConnectionDown: another host, or a proxy, answers.
    """
    if answer.status == 200:
        return None
    try:
        return decode(answer, read=True)
    except TryAgain:
        code = f"HTTP {answer.status}"
        if answer.status in (401, 403):
            message = f"YonBIP answered {code}"
            raise TokenRefused(message, cause=Cause.CREDENTIAL, vendor=VENDOR, code=code) from None
        raise ConnectionDown(
            f"{answer.where}: {code}; that is not YonBIP's way to answer: see directory_url and the proxy",
            cause=Cause.SETTINGS, vendor=VENDOR, code=code,
        ) from None  # fmt: skip


def _said(data: Mapping[str, Any]) -> str:
    """Return the words of a batch result; a success has words too, empty ones (2.0)."""
    found = [str(one) for name in ("messages", "failInfos") for one in _list(data.get(name)) if one]
    return "; ".join(found)[:600]


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _count(value: Json) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _field(text: str) -> str | None:
    named = _PARAMETER.search(text) or _EMPTY.search(text)
    return None if named is None else LABELS.get(named[1], named[1])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
