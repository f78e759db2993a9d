"""``hub demo``: a business day against sandboxes, told step by step, then judged; it goes on serving unless ``--once``."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hub import log as hublog
from hub.cli.command import add
from hub.cli.session import OK, PROBLEM, Session
from hub.clock import SystemClock
from hub.demo import (
    EXPECTATION,
    LEFT_OVER,
    PROJECT,
    STORY,
    VENDORS,
    Engine,
    Outcome,
    Played,
    Seen,
    Stage,
    Step,
    opened,
    play,
    servers,
)
from hub.settings import DATA_DIR, PREFIX

__all__ = ["demo", "register"]

FOLDER = DATA_DIR / "demo"
"""Where a demo keeps its files; the next one begins anew."""
MOST = 20
"""Differences told to a person; a program gets all."""


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, demo, "demo")


def demo(
    session: Session,
    *,
    once: Annotated[bool, typer.Option("--once", help="opt.once")] = False,
    engine: Annotated[Engine, typer.Option("--engine", help="opt.engine")] = "embedded",
) -> int:
    """Play the day; 0 only if every step went as it should and the ledgers hold exactly what is expected."""
    with _folder(session.data, once) as folder:
        folder.parent.mkdir(parents=True, exist_ok=True)
        log = folder.parent / f"{folder.name}.log"
        with log.open("w", encoding="utf-8") as stream:
            hublog.configure(SystemClock().now, stream=stream)
            with servers(engine) as given:
                return asyncio.run(_Demo(session, folder, given, once=once).run())


@contextlib.contextmanager
def _folder(named: Path | None, once: bool) -> Iterator[Path]:
    if named is not None or not once:
        yield named or FOLDER
        return
    with tempfile.TemporaryDirectory(prefix="hub-demo-") as made:
        yield Path(made) / "demo"


class _Demo:
    """One run of the command: what is printed, and when it ends."""

    def __init__(self, session: Session, folder: Path, engine: Mapping[str, Any], *, once: bool) -> None:
        self.session, self.folder, self.engine, self.once = session, folder, engine, once
        self.kept = not once or session.data is not None  # else the folder is gone when the command ends
        self.screen = session.screen
        self.stop = asyncio.Event()
        self.serving = False
        self.places = ""

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop.set)
        playing = asyncio.ensure_future(self._run())
        stopping = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not playing.done() and not self.serving:
            playing.cancel()  # stopped in the middle of the day
        with contextlib.suppress(asyncio.CancelledError):
            return await playing
        return PROBLEM

    async def _run(self) -> int:
        home = self.session.project
        async with opened(
            self.folder.absolute(), home / PROJECT, fixed=not self.once, engine=self.engine
        ) as stage:
            self.places = self._places(stage)
            outcome = await play(stage, home / EXPECTATION, begin=self._begin, end=self._end)
            self._judge(outcome, stage)
            if outcome.ok and not self.once:
                self.serving = True
                for step in LEFT_OVER:
                    self._tell(await step.play(stage))
                await self.stop.wait()
            return OK if outcome.ok else PROBLEM

    def _places(self, stage: Stage) -> str:
        """Return the options that lead a command to this demo; the project's own copy if a sandbox moved to another port."""
        moved = any(site.port != VENDORS[name].port for name, site in stage.sites.items())
        project = self.folder / "project" if moved else self.session.project / PROJECT
        return f"--project {shlex.quote(str(project))} --data {shlex.quote(str(self.folder))}"

    def _begin(self, number: int, step: Step) -> None:
        if not self.session.as_json:
            self.screen.line(f"\n{number:>2}/{len(STORY)}  {self._said(step)}", style="bold")

    def _end(self, played: Played) -> None:
        self._tell(played.seen, f"  ({played.seconds:.1f} s)")

    def _tell(self, seen: Seen, end: str = "") -> None:
        if self.session.as_json:
            return
        self.screen.line(f"       {self._said(seen)}{end}")
        for line in seen.lines:
            self.screen.line(f"         {self._said(line)}")
        for command in seen.commands if self.kept else ():
            self.screen.line(f"       $ {self._command(command)}", style="cyan")

    def _judge(self, outcome: Outcome, stage: Stage) -> None:
        if self.session.as_json:
            self.screen.json(_told(outcome) | ({} if self.once else _addresses(stage)))
            return
        self.screen.line()
        for difference in outcome.differences[:MOST]:
            self.screen.warn(difference)
        if (more := len(outcome.differences) - MOST) > 0:
            self.screen.warn(self.session.text("demo_more", count=more))
        if not outcome.ok:
            self.screen.warn(self.session.text("demo_failed", count=len(outcome.differences)))
            return
        self.screen.line(self.session.text("demo_ok", seconds=f"{outcome.seconds:.1f}"), style="bold green")
        if not self.once:
            self.screen.pairs(
                {self.session.text(f"demo.{name}"): value for name, value in _addresses(stage).items()}
            )
            self.screen.line(self.session.text("demo_serving", data=self.folder) + "\n")

    def _said(self, told: object) -> str:
        return str(getattr(told, self.session.lang))

    def _command(self, words: str) -> str:
        """Return a command as it can be copied: this program, with this demo's folders."""
        verb, _, rest = words.partition(" ")
        if verb != "hub":
            near = rest.replace(str(self.folder.absolute()), str(self.folder))
            return f"{_shown(Path(sys.executable))} {near}"
        return f"{self._environment()}{_program()} {rest} {self.places}"

    def _environment(self) -> str:
        """Return what a command needs to reach the demo's servers."""
        return "".join(
            f"{PREFIX}{name.upper()}={shlex.quote(str(value))} " for name, value in self.engine.items()
        )


def _told(outcome: Outcome) -> dict[str, object]:
    told: dict[str, object] = {"ok": outcome.ok, "checks": list(outcome.checks)}
    if not outcome.ok:
        told["differences"] = list(outcome.differences)
    return told | {"seconds": round(outcome.seconds, 1)}


def _addresses(stage: Stage) -> dict[str, str]:
    sites = {name: f"{site.base_url}/control" for name, site in stage.sites.items()}
    return {
        "api": f"http://{stage.hub.settings.listen_ops}/docs",
        "token": stage.token,
        "hooks": f"http://{stage.hub.settings.listen_hooks}/hooks/",
        **{f"{name}_control": f"{control}/docs" for name, control in sites.items()},
        **{f"{name}_ledger": f"{control}/ledger" for name, control in sites.items()},
    }


def _program() -> str:
    """Return what this program is called with: ``hub`` if the shell finds it, else the way to it."""
    found = shutil.which("hub")
    own = Path(sys.argv[0])
    return "hub" if found and own.exists() and Path(found).samefile(own) else _shown(own)


def _shown(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)
