"""Processes of a run. Each has a group of its own and ends with whoever started it, however that one ends.

Linux kills a child when its parent dies (``PR_SET_PDEATHSIG``); elsewhere, and for what a child has started itself,
the run's own ending kills the group: at the end of the program, at Ctrl-C and at SIGTERM, which is taken as Ctrl-C.
Servers that others start for a run (a database, a broker) leave a file with their process id; :func:`guard` starts a
process that outlives the run by a moment and ends them, should the run have been killed before it could.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

__all__ = ["bind_to", "come_first", "end", "end_as_interrupted", "guard", "start"]

ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
"""Loaded before any fork: the child may do no more than call it."""
_groups: set[int] = set()


async def start(
    *words: str, environment: Mapping[str, str] | None = None, log: IO[Any] | None = None, talks: bool = False
) -> asyncio.subprocess.Process:
    """Start ``python words``; its standard output is a pipe, and its input if it ``talks``.

    Call it from the main thread: a child is bound to that.
    """
    me = os.getpid()
    child = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT, start_new_session=True,
        env=None if environment is None else {**os.environ, **environment}, preexec_fn=lambda: bind_to(me),
    )  # fmt: skip
    _groups.add(child.pid)
    return child


def come_first() -> None:
    """Have this process come before the hub's, where that is allowed: vendors and users have machines of their own."""
    with contextlib.suppress(PermissionError):
        os.nice(-5)


async def guard(*pid_files: Path) -> asyncio.subprocess.Process:
    """Have the servers of these files killed when this process is gone; a file that is gone by then names none."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.children", *map(str, pid_files), cwd=ROOT, start_new_session=True,
        stdin=asyncio.subprocess.PIPE,
    )  # fmt: skip


def _watch(pid_files: list[str]) -> None:
    """Wait until nobody holds the other end of standard input."""
    sys.stdin.read()
    for file in pid_files:
        with contextlib.suppress(OSError, ValueError, IndexError):
            os.kill(int(Path(file).read_text().split()[0]), signal.SIGKILL)


async def end(child: asyncio.subprocess.Process, *, patience: float = 10.0) -> int:
    """Ask a process to end, kill its group if it does not, and return its code."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGCONT)  # one that is stopped would not hear
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), patience)
    except TimeoutError:
        _kill(child.pid)
    _groups.discard(child.pid)
    return await child.wait()


def end_as_interrupted() -> None:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does: every ``finally`` runs, and at the end no child is left."""
    atexit.register(_kill_all)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def bind_to(parent: int) -> None:
    """Have this process killed when ``parent``, which has just forked it, dies."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _kill_all() -> None:
    for group in _groups:
        _kill(group)
    for child in psutil.Process().children(recursive=True):  # and what others started in this process
        with contextlib.suppress(psutil.Error):
            child.kill()


if __name__ == "__main__":
    _watch(sys.argv[1:])
