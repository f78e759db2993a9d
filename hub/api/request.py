"""What is read from a request before anything is done: headers, raw body, paging; each with its refusal."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import ClientDisconnect, Request

from hub.api.problem import ApiProblem, ProblemKind
from hub.api.wire import BadJson, Loose, read_object

__all__ = [
    "BODY_LIMIT",
    "check_accept",
    "external_id",
    "if_match",
    "page_limit",
    "query_values",
    "read_body",
]

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a request body."""
LONGEST_EXTERNAL_ID: Final = 200
_DEFAULT_LIMIT: Final = 50
_MOST_ITEMS: Final = 200

_JSON_TYPES: Final = frozenset({"application/json"})
_ANSWERS: Final = frozenset({"*/*", "application/*", "application/json", "application/problem+json"})
_UNREAD_CONDITIONS: Final = ("if-none-match", "if-unmodified-since")
"""A condition that is not read must not be passed over: the write would happen against the caller's word."""
_ETAG: Final = re.compile(r'"([0-9]{1,18})"', re.ASCII)
_LIMIT: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_PARAMETER: Final = re.compile(r"\s*;\s*")


def check_accept(request: Request) -> None:
    """Refuse a caller that takes no JSON answer."""
    accepted = ",".join(request.headers.getlist("accept"))
    if not accepted.strip():
        return
    for media_range in accepted.split(","):
        kind, *parameters = _PARAMETER.split(media_range.strip().lower())
        if kind in _ANSWERS and not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", item) for item in parameters):
            return
    raise ApiProblem(ProblemKind.NOT_ACCEPTABLE)


async def read_body(request: Request) -> dict[str, Loose]:
    """Read the body as one JSON object; nothing beyond the size limit is held in memory."""
    _check_media(request)
    raw = await _raw_body(request)
    try:
        return read_object(raw)
    except BadJson as error:
        raise ApiProblem(ProblemKind.BAD_BODY, str(error)) from None


def _check_media(request: Request) -> None:
    kind, *parameters = _PARAMETER.split(request.headers.get("content-type", "").strip().lower())
    charsets = [item.partition("=")[2].strip('"') for item in parameters if item.startswith("charset=")]
    if kind not in _JSON_TYPES or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise ApiProblem(ProblemKind.BAD_MEDIA, "send Content-Type: application/json in UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ApiProblem(ProblemKind.BAD_MEDIA, "a compressed body is not accepted")


async def _raw_body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise ApiProblem(ProblemKind.BAD_PARAMETER, "Content-Length is not a number")
    if len(announced) > 12 or int(announced) > BODY_LIMIT:
        raise _too_large()
    held = bytearray()
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) > BODY_LIMIT:
                raise _too_large()
    except ClientDisconnect:
        raise ApiProblem(ProblemKind.BAD_BODY, "the body ended early") from None
    return bytes(held)


def _too_large() -> ApiProblem:
    # the rest of the body is not read, so the connection cannot be used again
    return ApiProblem(
        ProblemKind.TOO_LARGE,
        f"at most {BODY_LIMIT} bytes",
        zh=f"最多 {BODY_LIMIT} 字节",
        headers={"Connection": "close"},
    )


def external_id(text: str) -> str:
    """Return the caller's own id from the path, refused if it is overlong or holds control characters."""
    if not text or len(text) > LONGEST_EXTERNAL_ID or _UNPRINTABLE.search(text):
        raise ApiProblem(
            ProblemKind.BAD_PARAMETER,
            f"an external id is 1 to {LONGEST_EXTERNAL_ID} characters without control characters",
            zh=f"外部编号须为 1 至 {LONGEST_EXTERNAL_ID} 个可见字符",
        )
    return text


def if_match(request: Request) -> int | None:
    """Return the version of an If-Match header, None without one. Only one strong tag as we hand it out is read."""
    for name in _UNREAD_CONDITIONS:
        if name in request.headers:
            raise ApiProblem(ProblemKind.BAD_PARAMETER, f"{name} is not understood here; send If-Match")
    values = request.headers.getlist("if-match")
    if not values:
        return None
    match = _ETAG.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None:
        raise ApiProblem(ProblemKind.BAD_PARAMETER, 'send If-Match as one version in quotes, such as "3"')
    return int(match[1])


def query_values(request: Request, *known: str) -> dict[str, str]:
    """Return the query parameters; an unknown or repeated one is refused, not ignored."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise ApiProblem(
                ProblemKind.BAD_PARAMETER,
                f"unknown query parameter {name[:40]!a}; known: {', '.join(known) or 'none'}",
            )
        if name in found:
            raise ApiProblem(ProblemKind.BAD_PARAMETER, f"the query parameter {name} is there twice")
        found[name] = value
    return found


def page_limit(text: str | None) -> int:
    """Return how many items a page may hold."""
    if text is None:
        return _DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= _MOST_ITEMS:
        raise ApiProblem(ProblemKind.BAD_PARAMETER, f"limit is a number from 1 to {_MOST_ITEMS}")
    return int(text)
