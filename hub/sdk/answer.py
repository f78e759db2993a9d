"""What came back, and what its status and its bytes mean before a vendor's own codes are looked at."""

from __future__ import annotations

import codecs
import math
import zlib
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
import orjson

from hub.clock import SECOND
from hub.errors import Cause, OutcomeUnknown, TryAgain
from hub.model.record import Json

__all__ = ["Answer", "BadAnswerError", "classify_status", "collect", "json", "retry_after", "unsure"]

LONGEST_WAIT = 86_400.0
"""A vendor's Retry-After counts up to a day (seconds)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``where``: method, host and path for messages. ``received``: µs, when it was complete."""

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)
    where: str = ""
    received: int = 0


class BadAnswerError(Exception):
    """The answer cannot be used: too large, or not what its headers say."""


def unsure(
    message: str, *, read_only: bool, cause: Cause = Cause.UNAVAILABLE, detail: object = None
) -> TryAgain | OutcomeUnknown:
    """Return the error for a request that went out and has no usable answer: a read repeats, a write is in doubt."""
    if read_only:
        return TryAgain(message, cause=cause, detail=detail)
    return OutcomeUnknown(message, cause=cause, detail=detail)


def retry_after(answer: Answer) -> float | None:
    """Return the seconds the vendor asks us to wait (0 to a day), None if it does not say or not readably."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - answer.received / SECOND
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else None


def classify_status(answer: Answer, *, read_only: bool) -> None:
    """Raise for a status that means the same with every vendor; 2xx, 401, 403 and other 4xx are the caller's.

    Raises:
        TryAgain: 429, or 503 with Retry-After; on a read also 408 and 5xx.
        OutcomeUnknown: 408 or 5xx on a write: a gateway may say so after the vendor has the request.
    """
    status = answer.status
    after = retry_after(answer)
    if status == 429:
        raise TryAgain(f"{answer.where}: too many calls (429)", cause=Cause.RATE, after=after, code="429")
    if status == 503 and after is not None:
        raise TryAgain(f"{answer.where}: not available (503)", after=after, code="503")
    if status == 408 or status >= 500:
        error = unsure(
            f"{answer.where}: failed with HTTP {status}", read_only=read_only, detail=_start(answer)
        )
        error.code = str(status)
        raise error


def json(answer: Answer, *, read_only: bool = True) -> Json:
    """Decode the body as JSON, strictly: UTF-8, no NaN, no lone surrogates, at most 1,024 levels.

    The bytes decide, not the content type: vendors send JSON as text/html and HTML as application/json.

    Raises:
        TryAgain, OutcomeUnknown: cause ``bad_answer`` on a read, on a write.
    """
    try:
        decoded: Json = orjson.loads(answer.content.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        kind = answer.headers.get("content-type", "no content type")[:80]
        message = f"{answer.where}: HTTP {answer.status} without JSON ({kind})"
        raise unsure(message, read_only=read_only, cause=Cause.BAD_ANSWER, detail=_start(answer)) from error
    return decoded


async def collect(response: httpx.Response, limit: int) -> bytes:
    """Read a body of at most ``limit`` bytes, counted after unpacking; memory stays within it.

    Raises:
        BadAnswerError: longer than the limit, or packed in a way we did not ask for.
    """
    declared = response.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
        raise BadAnswerError(f"{declared[:20]} bytes are announced, {limit} allowed")
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip"):
        raise BadAnswerError(f"content encoding {coding[:40]!r} was not asked for")
    unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    parts: list[bytes] = []
    room = limit
    async for chunk in response.stream:  # type: ignore[union-attr]  # an async client's stream is always async
        part = chunk if unpack is None else _unpacked(unpack, chunk, room)
        room -= len(part)
        if room < 0:
            raise BadAnswerError(f"more than {limit} bytes")
        parts.append(part)
    if unpack is not None and not unpack.eof and parts:
        raise BadAnswerError("the gzip data ends in the middle")
    return b"".join(parts)


def _unpacked(unpack: zlib._Decompress, chunk: bytes, room: int) -> bytes:
    try:
        return unpack.decompress(chunk, room + 1)
    except zlib.error as error:
        raise BadAnswerError(f"broken gzip data ({error})") from error


def _start(answer: Answer) -> str:
    """Return the first characters of a body, for ``error.detail`` only."""
    return answer.content[:500].decode("utf-8", "replace")
