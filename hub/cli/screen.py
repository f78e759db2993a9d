"""What a command prints: tables for people, JSON for programs; nothing in data is obeyed by a terminal.

Values reach the screen only through :func:`plain` and :class:`rich.text.Text`: control characters, marks that turn
the direction of text, and Rich's own markup show as text.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.clock import SECOND

__all__ = ["Screen", "duration", "instant", "local", "plain", "shorten"]

_OBEYED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_LINES: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_WIDE: Final = 200
"""Columns when the output is no terminal: nothing that a script reads is wrapped away."""
_UNITS: Final = ((86_400 * SECOND, "d"), (3_600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s"))


def plain(value: object) -> str:
    """Return a value as text in which every character that a terminal obeys is written out."""
    return _OBEYED.sub(_written, str(value))


def _written(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def shorten(value: object, most: int = 120) -> str:
    """Return a value as text of at most ``most`` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def instant(at: int | None) -> str | None:
    """Return µs as an ISO 8601 time in UTC, for programs."""
    return None if at is None else datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds")


def local(at: int | None) -> str:
    """Return µs as a time of this machine's zone, for people."""
    return (
        ""
        if at is None
        else datetime.fromtimestamp(at / SECOND, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    )


def duration(micros: int | None) -> str:
    """Return a length of time in its two largest units: ``1h05m``, ``12.3s``, ``45ms``."""
    if micros is None:
        return ""
    if micros < 0:
        return f"-{duration(-micros)}"
    if micros < SECOND:
        return f"{micros / 1000:.0f}ms"
    if micros < 60 * SECOND:
        return f"{micros / SECOND:.1f}s"
    for (unit, name), (lower, smaller) in pairwise(_UNITS):
        if micros >= unit:
            return f"{micros // unit}{name}{micros % unit // lower:02d}{smaller}"
    return f"{micros // SECOND}s"


class Screen:
    """Prints to the process's own streams; ``as_json``: one JSON document and no prose."""

    def __init__(self, *, as_json: bool) -> None:
        """Take the streams as they are now."""
        self.as_json = as_json
        self._out = _console(sys.stdout)
        self._err = _console(sys.stderr)

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print a line for a person."""
        self._out.print(Text(_lines(text), style=style), soft_wrap=True)

    def warn(self, text: str, *, style: str = "bold red") -> None:
        """Print a line to the error stream."""
        self._err.print(Text(_lines(text), style=style), soft_wrap=True)

    def going(self, text: str) -> None:
        """Say on the error stream how far it is: on a terminal in one line that changes."""
        end = "\r" if self._err.is_terminal else "\n"
        self._err.print(
            Text(_lines(text).ljust(self._err.width - 1 if end == "\r" else 0)), soft_wrap=True, end=end
        )

    def json(self, value: object) -> None:
        """Print one JSON document; what a terminal obeys is escaped in it."""
        text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
        self._out.file.write(_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
        self._out.file.flush()

    def table(
        self, heads: Sequence[str], lines: Iterable[Sequence[object]], *, whole: Sequence[int] = (0,)
    ) -> None:
        """Print a table; the columns of ``whole`` are never cut or wrapped (ids that people copy)."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for number, head in enumerate(heads):
            table.add_column(
                Text(plain(head)), no_wrap=number in whole, overflow="ignore" if number in whole else "fold"
            )
        for line in lines:
            table.add_row(*(_cell(value) for value in line))
        self._out.print(table)

    def pairs(self, pairs: Mapping[str, object]) -> None:
        """Print names and values below each other; empty values are left out."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in pairs.items():
            if value not in (None, "", (), []):
                table.add_row(Text(plain(name)), _cell(value))
        self._out.print(table)


def _lines(text: str) -> str:
    return _LINES.sub(_written, text)


def _cell(value: object) -> Text:
    return value if isinstance(value, Text) else Text("" if value is None else plain(value))


def _console(stream: Any) -> Console:
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
