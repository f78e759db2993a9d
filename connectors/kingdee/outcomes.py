"""What an answer of Kingdee means: three shapes of one error, its code, its text (fact sheet 2.4, 8.1, 8.2).

HTTP 200 says nothing and ``ErrorCode`` is 500 on nearly every refusal, so MsgCode and text decide, by table.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from hub.sdk import Cause, ConnectionDown, Json, OutcomeUnknown, Refused, RemoteError, TryAgain

__all__ = [
    "OUTCOMES",
    "Outcome",
    "Refusal",
    "SessionLost",
    "decode",
    "error_of",
    "refusal_of",
    "status_error",
]

VENDOR = "kingdee"


class SessionLost(ConnectionDown):
    """Kingdee no longer knows the session; the call was not executed."""

    def confirmed(self) -> ConnectionDown:
        """Return the error of a call that echoed no session: the signature itself was not accepted."""
        return ConnectionDown(
            f"{self}; the signature was not accepted", cause=Cause.CREDENTIAL, vendor=VENDOR, code=self.code
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The error that answers a code or a text.

    ``kind`` OutcomeUnknown becomes TryAgain on a read. ``firm``: the code decides, whatever the text says.
    ``after``: seconds to wait.
    """

    kind: type[RemoteError]
    cause: Cause
    after: float | None = None
    firm: bool = False

    @property
    def public(self) -> str:
        """Return the name of the error the hub sees for a write."""
        return (ConnectionDown if self.kind is SessionLost else self.kind).__name__


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Kingdee said when it said no: MsgCode ("" if it gave none), the texts, the field of the error that decides.

    ``spoken`` False: no refusal was found, the text is a piece of a page or of a body of another shape.
    """

    code: str
    text: str
    field: str | None = None
    spoken: bool = True


LOCKED = Outcome(TryAgain, Cause.LOCKED, after=8.0)
SETTINGS = Outcome(ConnectionDown, Cause.SETTINGS)
LOST = Outcome(SessionLost, Cause.CREDENTIAL, firm=True)
FAILED = Outcome(OutcomeUnknown, Cause.UNAVAILABLE)

OUTCOMES: Mapping[str, Outcome] = {
    "0": Outcome(Refused, Cause.INVALID),  # no code: the text decides; a refusal in words took no effect
    "1": LOST,
    "2": Outcome(ConnectionDown, Cause.PERMISSION, firm=True),
    "3": Outcome(ConnectionDown, Cause.SETTINGS, firm=True),
    "4": FAILED,
    "5": Outcome(ConnectionDown, Cause.SETTINGS, firm=True),
    "6": FAILED,
    "7": Outcome(ConnectionDown, Cause.LICENCE, firm=True),
    "8": Outcome(Refused, Cause.BUG),
    "9": Outcome(Refused, Cause.NOT_FOUND),
    "10": Outcome(Refused, Cause.NOT_FOUND),
    "11": Outcome(Refused, Cause.INVALID),
    "12": Outcome(Refused, Cause.STATE),
    "13": LOCKED,
    "14": Outcome(TryAgain, Cause.RATE, after=30.0, firm=True),
    "15": Outcome(ConnectionDown, Cause.CREDENTIAL, firm=True),
}
"""Every documented MsgCode (8.1)."""

# 8.2 in its order, with three additions: unknown fields before 不存在, which their texts contain; closed periods
# and the wrong status before the general codes 11 and 12 would swallow them.
TEXTS: tuple[tuple[re.Pattern[str], Outcome], ...] = tuple(
    (re.compile(pattern), outcome)
    for pattern, outcome in (
        (r"会话信息已丢失|ctx == null|未登录|ByRspRetStatusCode N001", LOST),
        (r"^response_error:", FAILED),
        (r"冲突，请稍候再使用|已被其他用户修改", LOCKED),
        (r"关账|结账|会计期间", Outcome(Refused, Cause.PERIOD_CLOSED)),
        (
            r"违反字段唯一性要求|已经被使用|已存在|单据编号重复|FBILLNO ?重复",
            Outcome(Refused, Cause.DUPLICATE),
        ),
        (r"是必填项|字段必录", Outcome(Refused, Cause.MISSING_FIELD)),
        (r"元数据中标识为.*的字段不存在|业务对象不存在|ResolveFiled_InnerEx", SETTINGS),
        (r"已审核|已经审核|审核中|状态.*才允许", Outcome(Refused, Cause.STATE)),
        (r"不存在", Outcome(Refused, Cause.NOT_FOUND)),
        (r"没有.*权限", Outcome(ConnectionDown, Cause.PERMISSION)),
    )
)

STATUSES: Mapping[int, Outcome] = {
    401: LOST,
    403: Outcome(ConnectionDown, Cause.PERMISSION),
    404: SETTINGS,
    519: SETTINGS,  # the retired gateway (6)
}
UNKNOWN = Outcome(OutcomeUnknown, Cause.BAD_ANSWER)
_LABEL = re.compile(r"字段[“\"]([^”\"]+)[”\"]")


def decode(content: bytes) -> Json | Refusal:
    """Return the JSON of an answer, decimals exact; plain text, HTML or broken JSON is a Refusal without code."""
    try:
        decoded: Json = json.loads(
            content.removeprefix(codecs.BOM_UTF8), parse_float=Decimal, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        text = content[:500].decode("utf-8", "replace").strip()
        shown = text if text.startswith("response_error:") else f"not JSON: {text[:120]}"
        return Refusal("", shown, spoken=False)
    return decoded


def refusal_of(reply: Json) -> Refusal | None:
    """Return what a reply refuses, None if it is a success or a row of a query.

    Looks into the three places an error hides: ``{Result}``, ``[{Result}]`` and ``[[{Result}]]`` (2.4, 2.6).
    """
    inner: Any = reply
    while isinstance(inner, list) and inner and isinstance(inner[0], list | dict):
        inner = inner[0]
    if not isinstance(inner, dict):
        return None
    result = inner.get("Result", inner)
    status = result.get("ResponseStatus", result) if isinstance(result, dict) else None
    if not isinstance(status, dict) or "IsSuccess" not in status:
        return Refusal("", f"no ResponseStatus in {str(reply)[:120]}", spoken=False)
    if status["IsSuccess"] is True or str(status["IsSuccess"]).lower() == "true":
        return None
    errors = [error for error in status.get("Errors") or () if isinstance(error, dict)]
    texts = dict.fromkeys(str(error.get("Message") or "") for error in errors)
    errors.sort(key=lambda error: _rank(str(error.get("Message") or "")))  # the one that decides comes first
    if errors and _rank(str(errors[0].get("Message") or "")) < len(TEXTS):
        del errors[1:]
    field = next((str(error["FieldName"]) for error in errors if error.get("FieldName")), None)
    code = status.get("MsgCode")
    return Refusal("" if code is None else str(code), "; ".join(filter(None, texts))[:600], field)


def _rank(text: str) -> int:
    return next((place for place, (pattern, _) in enumerate(TEXTS) if pattern.search(text)), len(TEXTS))


def error_of(refusal: Refusal, *, read: bool) -> RemoteError:
    """Return the error that a refusal means for a read or a write; an unknown code shows itself."""
    by_code = OUTCOMES.get(refusal.code)
    outcome = by_code if by_code is not None and by_code.firm else None
    if outcome is None:
        rank = _rank(refusal.text)
        outcome = TEXTS[rank][1] if rank < len(TEXTS) else by_code or UNKNOWN
    if not refusal.spoken and outcome not in (LOST, FAILED):
        outcome = UNKNOWN  # words on a page or in somebody's data are no refusal
    if not refusal.text and refusal.code == "0":
        outcome = UNKNOWN  # IsSuccess false, no code, no word: says nothing about the effect
    said = refusal.text or "no message"
    message = f"Kingdee answered: {said}" + (f" (MsgCode {refusal.code})" if refusal.code else "")
    label = _LABEL.search(refusal.text)
    return _make(outcome, message, read=read, code=refusal.code, field=refusal.field or (label and label[1]))


def status_error(status: int, content: bytes, *, read: bool) -> RemoteError | None:
    """Return the error of an HTTP status that is Kingdee's own, None for the others (``hub.sdk.classify_status``)."""
    outcome = STATUSES.get(status, SETTINGS if 300 <= status < 500 and status not in (408, 429) else None)
    if outcome is None:
        return None
    shown = content[:120].decode("utf-8", "replace")
    return _make(
        outcome, f"Kingdee answered HTTP {status}: {shown}", read=read, code=f"HTTP {status}", field=None
    )


def _make(outcome: Outcome, message: str, *, read: bool, code: str, field: str | None) -> RemoteError:
    kind = TryAgain if read and outcome.kind is OutcomeUnknown else outcome.kind
    known: dict[str, Any] = {"cause": outcome.cause, "vendor": VENDOR, "code": code or None, "field": field}
    if kind is TryAgain:
        return TryAgain(message, after=outcome.after, **known)
    return kind(message, **known)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
