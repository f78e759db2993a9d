"""What a refusal may cost: less than a plain piece of work on the same machine, so that no test knows its speed."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator

__all__ = ["at_once"]

WORK = 10_000_000
"""Additions a refusal may cost at most: input that multiplies itself costs thousands of times as much."""


@functools.cache
def _plain_work() -> float:
    began = time.thread_time()
    sum(range(WORK))
    return time.thread_time() - began


@contextlib.contextmanager
def at_once(times: int = 1) -> Iterator[None]:
    """Fail if what happens inside costs this thread more than so many plain pieces of work, waiting not counted."""
    most = _plain_work() * times
    began = time.thread_time()
    yield
    spent = time.thread_time() - began
    assert spent < most, f"{spent:.3f} s of CPU, and {WORK * times:,} additions cost {most:.3f} s"
