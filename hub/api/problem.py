"""Problem documents (RFC 9457): one table of what can be wrong, in Chinese and English.

A document never holds a stack, a query or another caller's value; ``errors`` names the fields of the body.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from hub.api.wire import encode

__all__ = ["MEDIA_TYPE", "ApiProblem", "ProblemKind", "problem_response"]

MEDIA_TYPE = "application/problem+json"


class ProblemKind(enum.Enum):
    """What can be wrong with a request: name, status, titles."""

    BAD_BODY = ("bad-body", 400, "请求正文不是可接受的 JSON", "The body is not acceptable JSON")
    BAD_PARAMETER = ("bad-parameter", 400, "参数不正确", "A parameter or header is not acceptable")
    UNAUTHORIZED = ("unauthorized", 401, "未通过身份校验", "The token is missing or not accepted")
    FORBIDDEN = ("forbidden", 403, "没有权限", "This token may not do that")
    NOT_FOUND = ("not-found", 404, "不存在", "There is nothing here")
    BAD_METHOD = ("method-not-allowed", 405, "不支持该方法", "This method is not supported here")
    NOT_ACCEPTABLE = ("not-acceptable", 406, "只能以 JSON 应答", "The answer can only be JSON")
    MOVED = ("version-moved", 412, "版本已变化", "The record changed since that version")
    TOO_LARGE = ("too-large", 413, "请求正文过大", "The body is too large")
    BAD_MEDIA = ("unsupported-media-type", 415, "正文类型不支持", "The body must be plain JSON in UTF-8")
    INVALID = ("invalid-fields", 422, "字段不正确", "Some fields are not acceptable")
    TOO_MANY = ("too-many-requests", 429, "请求过于频繁，请稍后重试", "Too many requests; try again later")
    INTERNAL = ("internal", 500, "系统内部错误", "The hub failed on this request")
    UNAVAILABLE = (
        "unavailable",
        503,
        "暂不可用，请稍后重试",
        "The hub cannot take this now; try again later",
    )

    def __init__(self, slug: str, status: int, zh: str, en: str) -> None:
        self.slug = slug
        self.status = status
        self.zh = zh
        self.en = en


class ApiProblem(Exception):
    """A request ends with a problem document."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str | None = None,
        *,
        zh: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take what is wrong in English and Chinese and, for fields, pairs of (field, message)."""
        super().__init__(detail or kind.en)
        self.kind = kind
        self.detail = detail
        self.zh = zh
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def problem_response(problem: ApiProblem) -> Response:
    """Render a problem document."""
    kind = problem.kind
    body: dict[str, object] = {
        "type": f"urn:hub:problem:{kind.slug}",
        "title": kind.en,
        "title_zh": kind.zh,
        "status": kind.status,
    }
    if problem.detail:
        body["detail"] = problem.detail
    if problem.zh:
        body["detail_zh"] = problem.zh
    if problem.errors:
        body["errors"] = [{"field": field, "message": message} for field, message in problem.errors]
    return Response(encode(body), status_code=kind.status, headers=problem.headers, media_type=MEDIA_TYPE)
