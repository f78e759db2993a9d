"""Structured logs: one event name plus fields, one line each, nothing secret and nothing a terminal obeys.

``get_logger("hub.http").info("http.request.answered", status=200)``. The format is JSON lines, or ``text`` for a
person at a terminal with every value escaped the same way. Loggers of the standard library go through the same pipe.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure", "get_logger", "mask_with", "redacted"]

_SECRET_NAME: Final = re.compile(
    "passw|secret|authorization|cookie|credential|token$|(access|api|app|private|sign|signing)[_-]?key$",
    re.IGNORECASE,
)
# What JSON leaves as it is but a terminal or a line reader obeys: C1 controls (an 8-bit escape sequence), line and
# paragraph separators, marks that turn the direction of text.
_OBEYED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_DEPTH: Final = 6
_LONGEST: Final = 8_000
_OWN_HANDLERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
_NOISY: Final = ("aiohttp", "asyncio", "httpx", "httpcore", "uvicorn.access")


class _Masks:
    """The masks every text of a log line passes; a process adds them as it learns secrets."""

    def __init__(self) -> None:
        self._masks: tuple[Callable[[str], str], ...] = ()

    def add(self, mask: Callable[[str], str]) -> None:
        if mask not in self._masks:
            self._masks = (*self._masks, mask)

    def __call__(self, text: str) -> str:
        for mask in self._masks:
            text = mask(text)
        return text


_MASKS: Final = _Masks()


def mask_with(mask: Callable[[str], str]) -> None:
    """Pass every text of every later log line through ``mask`` (a :class:`hub.secret.Redactor` of known secrets)."""
    _MASKS.add(mask)


def get_logger(name: str) -> Any:
    """Return a logger of that name; bind fields with ``.bind(connection=...)``.

    Before :func:`configure` only warnings are written, to stderr: stdout belongs to what a command prints.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[_named, structlog.processors.add_log_level, *_LAST, _json_line],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=_writer(None),
        )
    return structlog.get_logger(logger_name=name)


def configure(
    now: Callable[[], int], *, level: str = "info", form: str = "json", stream: TextIO | None = None
) -> None:
    """Send every log of this process, structlog's and the standard library's, to ``stream`` (default stderr).

    ``now``: µs since the epoch (``clock.now``). ``level``: debug, info, warning, error. ``form``: json or text.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _stamped(now),
    ]
    last: list[Processor] = [*_LAST, _json_line if form == "json" else _text_line]
    structlog.configure(
        processors=[_named, *shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_writer(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=least, force=True)
    for name in _OWN_HANDLERS:  # a server that set its own logging up would keep its lines from ours
        taken = logging.getLogger(name)
        taken.handlers.clear()
        taken.propagate, taken.disabled = True, False
        taken.setLevel(logging.NOTSET)
    for name in _NOISY:  # they log every request with its URL, and a URL may hold a token
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


def redacted(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Mask known secrets in every text and the value of every field whose name says it is one."""
    return {_MASKS(str(key)): _plain(value, str(key), 0) for key, value in fields.items()}


def _plain(value: object, name: str, depth: int) -> object:
    """Return a value of plain JSON types, masked and cut to a bounded size."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if _SECRET_NAME.search(name):
        return "***"
    if isinstance(value, str):
        return _cut(_MASKS(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if depth >= _DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {_MASKS(str(key)): _plain(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, name, depth + 1) for item in value]
    return _cut(_MASKS(str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _named(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    if "logger_name" in fields:  # structlog takes no initial value called `logger`
        fields["logger"] = fields.pop("logger_name")
    return fields


def _writer(stream: TextIO | None) -> Callable[..., structlog.WriteLogger]:
    """Return a factory of loggers that write to ``stream``, or to what stderr is at that moment."""
    return lambda *_args: structlog.WriteLogger(stream or sys.stderr)


def _stamped(now: Callable[[], int]) -> Processor:
    def stamp(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
        fields["at"] = datetime.fromtimestamp(now() / 1_000_000, UTC).isoformat(timespec="milliseconds")
        return fields

    return stamp


def _json_line(_logger: WrappedLogger, _method: str, fields: EventDict) -> str:
    """Return one JSON object on one line; no input makes it raise."""
    return _escaped(_dumped({"at": fields.pop("at", None), "level": fields.pop("level", None), **fields}))


def _text_line(_logger: WrappedLogger, _method: str, fields: EventDict) -> str:
    """Return ``time level event key=value``, each value as JSON would write it."""
    head = " ".join(str(fields.pop(name, "")) for name in ("at", "level"))
    event = _dumped(fields.pop("event", ""))[1:-1]
    rest = " ".join(f"{_dumped(key)[1:-1]}={_dumped(value)}" for key, value in fields.items())
    return _escaped(f"{head} {event} {rest}".rstrip())


def _dumped(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, a number beyond 64 bits: text that is ASCII holds both
        return json.dumps(value)


def _escaped(line: str) -> str:
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


_LAST: Final[tuple[Processor, ...]] = (
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    redacted,
)
"""What every line passes right before it is rendered."""
