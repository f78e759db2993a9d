"""The envelope (2.0), the vendor's codes with their texts (4), and amounts written digit by digit."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import orjson
from starlette.responses import PlainTextResponse, Response

from hub.sdk.sandbox import Json

__all__ = ["BAD_TOKEN", "TEXTS", "CodeError", "failed", "json_answer", "plain_bad_token", "succeeded"]

BAD_TOKEN = "非法token"
TEXTS: Mapping[str, str] = {
    "202": "请求处理中",
    "999": "服务端逻辑异常",
    "1002": "数据不存在",
    "10004": "重复请求",
    "100004": "重复请求",
    "10018": "应用不存在或appKey已停用",
    "310001": "access_token不能为空。",
    "310036": BAD_TOKEN,
    "310037": "应用未授权此API",
    "310046": "API被限流",
    "310032": "系统被限流",
    "310504": "网关超时",
}
"""Documented are the texts of 999, 1002, 10018, 310001, 310036, 310046; the others are this sandbox's own words."""
STATUSES = {"310404": 404, "310046": 429}
"""Codes that come with an HTTP status of their own (1.3, 4); all others come with 200."""


class CodeError(Exception):
    """The call is refused with this code and text; ``number`` writes the code as a JSON number, ``data`` goes along."""

    def __init__(self, code: str, text: str = "", *, number: bool = False, data: Json = None) -> None:
        """Take the code and, where the usual words do not say enough, the text."""
        super().__init__(text or TEXTS.get(code, f"错误 {code}"))
        self.code, self.number, self.data = code, number, data


def json_answer(body: Mapping[str, Json], status: int = 200) -> Response:
    """Answer JSON; decimals keep their digits."""
    content = orjson.dumps(body, default=_digits)
    return Response(content, status, media_type="application/json;charset=UTF-8")


def succeeded(
    data: Json, *, message: str = "操作成功", number: bool = False, extras: bool = False
) -> Response:
    """Answer a success; the code is a text or a number, newer APIs add more (2.0)."""
    body: dict[str, Json] = {"code": 200 if number else "200", "message": message, "data": data}
    if extras:
        body |= {"displayCode": "000-000-000000", "level": 1}
    return json_answer(body)


def failed(error: CodeError) -> Response:
    """Answer a refusal."""
    code: Json = int(error.code) if error.number else error.code
    body = {"code": code, "message": str(error), "data": error.data}
    return json_answer(body, STATUSES.get(error.code, 200))


def plain_bad_token() -> Response:
    """Answer a bad token as some finance paths do: no JSON at all (1.3)."""
    return PlainTextResponse(BAD_TOKEN)


def _digits(value: object) -> orjson.Fragment:
    if not isinstance(value, Decimal):
        raise TypeError(type(value).__name__)
    return orjson.Fragment(format(value, "f").encode())
