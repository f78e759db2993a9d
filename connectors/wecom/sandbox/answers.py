"""The vendor's envelope: HTTP 200, errcode, and an errmsg nobody should match on (section 0)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import orjson
from starlette.responses import Response

from hub.sdk.sandbox import Json

__all__ = ["ERRCODE_TEXTS", "ErrcodeError", "Failures", "json_answer"]

ERRCODE_TEXTS: Mapping[int, str] = {
    -1: "system busy",
    40001: "invalid credential",
    40003: "invalid userid",
    40013: "invalid corpid",
    40014: "invalid access_token",
    40033: "illegal characters, \\uxxxx not allowed",
    40058: "invalid request parameter",
    40068: "invalid tagid",
    40071: "invalid tag name",
    40072: "invalid tag name length",
    40091: "secret is invalid",
    40096: "invalid external userid",
    40097: "handover user has not left",
    40098: "takeover user is not real-name verified",
    40099: "takeover user has no room for more customers",
    40126: "corp tag count exceeds the limit",
    40128: "customer transferred too often",
    40129: "customer is being transferred",
    40130: "handover and takeover user are the same",
    40131: "handover user is not a follow user of the customer",
    40205: "user did not log in within a year",
    41001: "access_token missing",
    41002: "corpid missing",
    41004: "corpsecret missing",
    41009: "userid missing",
    41035: "external userid missing",
    42001: "access_token expired",
    45009: "api freq out of limit",
    45029: "answer too large",
    45033: "api concurrent out of limit",
    45035: "concurrent write on the same object",
    48002: "api forbidden",
    48009: "api forbidden for this secret and ip",
    48011: "member activity too low",
    50003: "application is disabled",
    50100: "invalid cursor",
    60003: "department not found",
    60011: "no privilege to access the specified member or department",
    60020: "not allow to access from your ip",
    60111: "userid not found",
    60123: "invalid department id",
    301002: "no permission for this agentid",
    301025: "invalid parameter",
    301055: "no approval permission",
    301056: "approval app is disabled",
    301112: "too many records, narrow the time range",
    701008: "no license",
    81013: "user, party and tag all invalid",
    82001: "no receiver is named",
    84061: "not external contact",
}
"""Our own words but for those of 40014, 40058, 45009, 48002, 60020; the vendor promises none of them."""


class ErrcodeError(Exception):
    """The call is refused with this errcode; ``text`` replaces the usual words, ``warning`` goes in front."""

    def __init__(self, errcode: int, text: str = "", *, warning: str = "") -> None:
        """Take the vendor's code and, where the usual words do not say enough, the text."""
        super().__init__(text or ERRCODE_TEXTS.get(errcode, f"error {errcode}"))
        self.errcode = errcode
        self.warning = warning


class Failures:
    """Composes failures in the vendor's real form: text, hint with time and number, IP, link."""

    def __init__(self) -> None:
        """Start numbering."""
        self._count = itertools.count(1)

    def answer(self, error: ErrcodeError, *, at: int, ip: str) -> Response:
        """Answer a refusal; ``at`` is µs."""
        seconds, number = at // 1_000_000, next(self._count)
        hint = f"hint: [{seconds}_{number % 100}_{(at * 31 + number) % 2**128:032x}]"
        more = f"more info at https://open.work.weixin.qq.com/devtool/query?e={error.errcode}"
        text = f"{error.warning}{error}, {hint}, from ip: {ip}, {more}"
        return json_answer({"errcode": error.errcode, "errmsg": text})


def json_answer(body: Mapping[str, Json]) -> Response:
    """Answer HTTP 200 with JSON; the two fields of success come first unless ``body`` holds a refusal."""
    whole = body if "errcode" in body else {"errcode": 0, "errmsg": "ok", **body}
    return Response(orjson.dumps(whole), media_type="application/json; charset=UTF-8")
