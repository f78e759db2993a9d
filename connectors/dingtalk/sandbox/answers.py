"""How the two API families say yes and no (sheet 0): one refuses by HTTP status and ``code``, one by ``errcode``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import orjson
from starlette.responses import Response

from hub.sdk.sandbox import Json

__all__ = ["OLD_TEXTS", "NewError", "OldError", "refused", "say"]

OLD_TEXTS: Mapping[int, str] = {
    -1: "系统繁忙",
    22: "不合法ApiName",
    40014: "不合法的access_token",
    40035: "不合法的参数",
    40089: "不合法的corpId或corpSecret",
    41001: "缺少access_token参数",
    42001: "access_token超时",
    33012: "无效的USERID",
    50002: "企业授权的范围不包含该员工",
    50004: "企业授权的范围不包含该部门",
    60003: "部门不存在",
    60011: "没有调用该接口的权限",
    60020: "访问ip不在白名单之中",
    60121: "找不到该用户",
    90002: "您的服务器调用钉钉开放平台的当前接口频率过高",
    90018: "触发了qps流控, 请求总次数超过 20 次",
    90020: "本月调用次数已用完",
    400002: "参数错误",
}
"""Words of the sheet where it has them, else our own: the vendor promises none of them."""

STATUS: Mapping[str, int] = {
    "systemError": 500,
    "system.busy": 429,
    "systemBusy": 429,
    "authFailed": 401,
    "unauthorized.client": 401,
    "server.error": 500,
}
"""HTTP status of a new code that is neither 400 nor a Forbidden one."""


class NewError(Exception):
    """The new API refuses: ``code`` decides the status; ``scopes``: what a permission refusal asks for."""

    def __init__(self, code: str, message: str = "", *, scopes: tuple[str, ...] = ()) -> None:
        """Take the code and the words beside it."""
        super().__init__(message or code)
        self.code, self.scopes = code, scopes

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return 403 if self.code.startswith("Forbidden.") else STATUS.get(self.code, 400)


class OldError(Exception):
    """The old API refuses; ``bare``: outside topapi, where no envelope 88 stands around gateway refusals."""

    def __init__(self, errcode: int, message: str = "") -> None:
        """Take the code and the words, the usual ones if there are none."""
        super().__init__(message or OLD_TEXTS.get(errcode, f"error {errcode}"))
        self.errcode = errcode


WRAPPED = frozenset([40014, 42001, 60011, 90018, 22])
"""Refusals of the gateway that ``topapi/*`` wraps as errcode 88 (sheet 1, 3, 7)."""


def say(body: Mapping[str, Json], *, old: bool = False, numbers_as_text: bool = False) -> Response:
    """Answer success; the old family puts errcode and a request id around it."""
    whole: Mapping[str, Json] = {"errcode": 0, "errmsg": "ok", **body, "request_id": _id()} if old else body
    if numbers_as_text:
        whole = {key: str(value) if isinstance(value, int) else value for key, value in whole.items()}
    return _json(200, whole)


def refused(error: NewError | OldError, api: str = "") -> Response:
    """Answer a refusal in the way of its family."""
    if isinstance(error, NewError):
        body: dict[str, Json] = {"code": error.code, "message": str(error), "requestid": _id()}
        if error.scopes:
            body["accessdenieddetail"] = {"requiredScopes": list(error.scopes)}
        return _json(error.status, body)
    code, text = error.errcode, str(error)
    if api.startswith("topapi/") and code in WRAPPED:
        return _json(
            200,
            {
                "errcode": 88,
                "sub_code": str(code),
                "sub_msg": text,
                "errmsg": f"ding talk error[subcode={code},submsg={text}]",
                "request_id": _id(),
            },
        )
    return _json(200, {"errcode": code, "errmsg": text, "request_id": _id()})


def _json(status: int, body: Mapping[str, Json]) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json;charset=UTF-8")


_NUMBERS = itertools.count(1)


def _id() -> str:
    """Return a request id in the vendor's form."""
    return f"{next(_NUMBERS):08X}-0000-4000-8000-0123456789AB"
