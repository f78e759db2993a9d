"""A process that has imported the hub and forks the hub's processes: a start then costs what the hub does, no imports.

What is forked runs ``python -m hub`` from its first line on, with an environment, a group and files of its own, and is
killed as any process is. Without this a run spends its minutes importing: two seconds of CPU for each start. One line
of JSON on standard input forks ({words, environment, out, log}), one on standard output tells ({pid}), another when it
has ended ({pid, code}).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import children

__all__ = ["Born", "Nursery", "nursery"]

POLL = 0.02


@dataclass
class Born:
    """One process of the hub; its standard output is a file."""

    pid: int
    out: Path
    ended: asyncio.Future[int]

    @property
    def returncode(self) -> int | None:
        return self.ended.result() if self.ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def send_signal(self, number: int) -> None:
        """Send a signal. Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def said(self, until: str = "") -> str:
        """Return what it wrote so far, once it holds ``until`` or the process has ended."""
        while True:
            ended = self.ended.done()
            text = self.out.read_text("utf-8")
            if ended or (until and until in text):
                return text
            await asyncio.sleep(POLL)


@dataclass
class Nursery:
    """The forking process as the conductor sees it."""

    process: asyncio.subprocess.Process
    folder: Path
    _asked: list[tuple[asyncio.Future[Born], Path]] = field(default_factory=list)
    _living: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    _count: int = 0
    _over: bool = False

    async def start(self, *words: str, environment: Mapping[str, str], log: Path) -> Born:
        """Fork ``python -m hub words``. Raises RuntimeError: the nursery has ended, or ends meanwhile."""
        assert self.process.stdin is not None
        if self._over:
            raise self._ended()
        self._count += 1
        out = self.folder / f"{self._count}.out"
        out.touch()
        born: asyncio.Future[Born] = asyncio.get_running_loop().create_future()
        self._asked.append((born, out))
        line = {"words": words, "environment": dict(environment), "out": str(out), "log": str(log)}
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        await self.process.stdin.drain()
        return await born

    async def listen(self) -> None:
        """Hear who was born and who has ended, until the nursery ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told: dict[str, Any] = json.loads(line)
            if "code" in told:
                self._living.pop(told["pid"]).set_result(told["code"])
                continue
            born, out = self._asked.pop(0)
            ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._living[told["pid"]] = ended
            born.set_result(Born(told["pid"], out, ended))
        self._over = True
        for born, _ in self._asked:  # nobody may wait for who will never be born
            born.set_exception(self._ended())

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"the nursery ended: {(self.folder / 'log').read_text()[-1500:]}")


@contextlib.asynccontextmanager
async def nursery(folder: Path, planted: str = "") -> AsyncIterator[Nursery]:
    """Run a nursery whose files are in ``folder``; with it end all it has forked. ``planted``: a broken build's name."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        process = await children.start("-m", "tests.chaos.nursery", planted, log=log, talks=True)
    made = Nursery(process, folder)
    hearing = asyncio.ensure_future(made.listen())
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # who was forked is bound to it
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await children.end(process)


# ------------------------------------------------------------------------------------- in the nursery


def _serve() -> None:
    """Fork what is asked for, and tell who has ended."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    kept = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 1 << 10)
            _reap()
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, kept = (kept + data).split(b"\n")
            for line in lines:
                _fork(json.loads(line), (woken, wakes))


def _fork(asked: dict[str, Any], pipes: tuple[int, int]) -> None:
    me = os.getpid()
    pid = os.fork()
    if pid:
        _tell(pid=pid)
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pipe in pipes:
        os.close(pipe)
    code = 1
    try:
        os.setsid()
        children.bind_to(me)
        _become(asked)
        from hub.__main__ import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    else:
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(asked: dict[str, Any]) -> None:
    """Take over files, environment and words."""
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.update(asked["environment"])
    sys.argv = ["hub", *asked["words"]]


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _tell(pid=pid, code=os.waitstatus_to_exitcode(status))


def _tell(**line: int) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    import hub.api.serve
    import hub.bus.kafka
    import hub.cli.app
    import hub.registry
    from tests.chaos.planted import PLANTED

    hub.registry.specs()
    if sys.argv[1]:
        PLANTED[sys.argv[1]][0]()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of what it shares with all others
    _serve()
