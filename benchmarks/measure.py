"""What the paths share: the shape of a row, turns of two loops on one machine, empty stores on both engines."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.postgres import Unavailable, open_postgres, remove_server, server_folder

Row = dict[str, Any]


def row(path: str, rate: float, limit: float | None, budget: float | None, unit: str) -> Row:
    """Make a row. With a limit the ratio is to reach the budget; without one the figure itself may not pass it."""
    ratio = None if limit is None else round(rate / limit, 3)
    return {"path": path, "rate": _round(rate), "limit": None if limit is None else _round(limit), "ratio": ratio,
            "budget": budget, "unit": unit}  # fmt: skip


def _round(figure: float) -> float:
    return round(figure) if figure >= 1000 else round(figure, 3)


def in_turns(rounds: int, ours: Callable[[], float], limit: Callable[[], float]) -> tuple[float, float]:
    """Return both rates of the round whose ratio is the median: a slow moment of the machine meets both loops."""
    pairs = [(ours(), limit()) for _ in range(rounds)]
    middle = statistics.median_low(rate / bare for rate, bare in pairs)
    return next(pair for pair in pairs if pair[0] / pair[1] == middle)


@contextlib.contextmanager
def engines() -> Iterator[Mapping[str, Callable[[], str]]]:
    """Give per engine a function that returns the address of an empty store; PostgreSQL only where one starts."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        made: dict[str, Callable[[], str]] = {"SQLite": lambda: f"sqlite:///{_next(folder)}"}
        server = server_folder(os.getpid())
        stack.callback(remove_server, server)
        try:
            made["PostgreSQL"] = stack.enter_context(open_postgres(server)).create
        except Unavailable as error:
            print(f"PostgreSQL is left out: {error}", flush=True)
        yield made


def _next(folder: Path) -> Path:
    return folder / f"hub-{len(list(folder.glob('*.db')))}.db"
