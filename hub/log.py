"""Structured logs: one event name plus fields, one line each, nothing secret and nothing a terminal obeys.

``get_logger("hub.http").info("http.request.answered", status=200)``. The format is JSON lines, or ``text`` for a
person at a terminal with every value escaped the same way. Loggers of the standard library go through the same pipe.

Of an exception a line shows what it is and where it happened; its message only where we wrote it ourselves or it cannot
quote a record: a library's message, and a vendor's, may hold a person's name or number.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sqlite3
import sys
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hub.errors import HubError, Refused, RemoteError

__all__ = ["Quiet", "calm", "configure", "describe", "get_logger", "mask_with", "redacted"]

_SECRET_NAME: Final = re.compile(
    "passw|secret|authorization|cookie|credential|token$|(access|api|app|private|sign|signing)[_-]?key$",
    re.IGNORECASE,
)
# What JSON leaves as it is but a terminal or a line reader obeys: C1 controls (an 8-bit escape sequence), line and
# paragraph separators, marks that turn the direction of text.
_OBEYED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_DEPTH: Final = 6
_LONGEST: Final = 8_000
_FRAMES: Final = 20
_OWN_HANDLERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
_MOST_KINDS: Final = 1_000
_NOISY: Final = ("aiohttp", "asyncio", "httpx", "httpcore", "uvicorn.access")


class Quiet:
    """Lets one line of a kind through, then none for a while: a storm must not become a storm of lines."""

    def __init__(self, monotonic: Callable[[], float], seconds: float) -> None:
        """``monotonic``: seconds (``clock.monotonic``). ``seconds``: for how long a kind is not said again."""
        self._monotonic, self._seconds = monotonic, seconds
        self._until: dict[Hashable, float] = {}

    def allows(self, kind: Hashable) -> bool:
        """Say whether a line of this kind may be written now; if so none is for a while."""
        now = self._monotonic()
        if now < self._until.get(kind, float("-inf")):
            return False
        if len(self._until) >= _MOST_KINDS:  # kinds are few; memory stays bounded if they are not
            self._until.clear()
        self._until[kind] = now + self._seconds
        return True


class _Calm(logging.Filter):
    """Asks a :class:`Quiet` for each record of one level (NOTSET: of all); each text before its arguments is a kind."""

    def __init__(self, quiet: Quiet, level: int) -> None:
        super().__init__()
        self._quiet, self._level = quiet, level

    def filter(self, record: logging.LogRecord) -> bool:
        asked = self._level in (logging.NOTSET, record.levelno)
        return not asked or self._quiet.allows(str(record.msg))


def calm(names: Iterable[str], quiet: Quiet, *, level: int = logging.NOTSET) -> Callable[[], None]:
    """Let loggers of the standard library repeat no text for a while; calling it again changes nothing.

    ``names``: of the loggers. ``level``: of this level alone, default every one. Returns what ends it.
    """
    ours = _Calm(quiet, level)
    calmed = [
        log for log in map(logging.getLogger, names) if not any(isinstance(one, _Calm) for one in log.filters)
    ]
    for log in calmed:
        log.addFilter(ours)

    def end() -> None:
        for log in calmed:
            log.removeFilter(ours)

    return end


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
    handler.addFilter(_Told())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _named_arguments],
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


def describe(error: BaseException) -> str:
    """Return what a log may say of an exception: its class, and its message if that quotes no record.

    Ours are shown, but those that say what a vendor said, or why it refused a record. Of others the engines' and the
    system's are: they name files, tables and addresses, PostgreSQL's only its code and constraint.
    """
    name = type(error).__name__
    if isinstance(error, RemoteError) and (error.code is not None or isinstance(error, Refused)):
        known = {"cause": error.cause.value, "vendor": error.vendor, "code": error.code, "field": error.field}
        return " ".join([name, *(f"{key}={value}" for key, value in known.items() if value is not None)])
    if isinstance(error, (HubError, *_HARMLESS)):
        return f"{name}: {error}"
    diagnosis = getattr(error, "diag", None)
    code, constraint = getattr(error, "sqlstate", None), getattr(diagnosis, "constraint_name", None)
    return " ".join([name, *(str(part) for part in (code, constraint) if part is not None)])


_HARMLESS: Final = (
    OSError,
    sqlite3.Error,
    AttributeError,
    NameError,
    ImportError,
    RecursionError,
    MemoryError,
)


def _exception(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Put the way of an exception into the line: each cause, where it happened, what it was."""
    given = fields.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
    if given is True:
        error = sys.exc_info()[1]
    parts: list[str] = []
    while error is not None and len(parts) < _DEPTH:
        frames = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES))
        parts.append(f"{frames}{describe(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if parts:
        fields["exception"] = "\ncaused:\n".join(reversed(parts))
    return fields


class _Told(logging.Filter):
    """Has exceptions among the arguments of the standard library's loggers described, not quoted, and names fields."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(
                describe(one) if isinstance(one, BaseException) else one for one in record.args
            )
            names = _ARGUMENT.findall(str(record.msg))
            if len(names) == len(record.args):
                record.told = {
                    name: value for name, value in zip(names, record.args, strict=True) if name in _FIELDS
                }
        return True


_FIELDS: Final = frozenset({"act", "cause", "connection", "record", "stream", "subject", "sync"})
"""What a line of the standard library's loggers says as ``name=%s`` and then also bears as a field."""
_ARGUMENT: Final = re.compile(r"(?:(\w+)=)?%[-\d.]*[a-z]")


def _named_arguments(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    for name, value in getattr(fields.get("_record"), "told", {}).items():
        fields.setdefault(name, value)
    return fields


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
    return _cut(_MASKS(describe(value) if isinstance(value, BaseException) else str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _named(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    if "logger_name" in fields:  # structlog takes no initial value called `logger`
        fields["logger"] = fields.pop("logger_name")
    return fields


def _writer(stream: TextIO | None) -> Callable[..., structlog.WriteLogger]:
    """Return a factory of loggers that write to ``stream``, or to what stderr is at that moment."""
    return lambda *_args: structlog.WriteLogger(cast(TextIO, _Lossy(stream or sys.stderr)))


class _Lossy:
    """A stream on which a line that cannot be written (a full disk) is lost, and stops nobody who logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


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
    _exception,
    redacted,
)
"""What every line passes right before it is rendered."""
