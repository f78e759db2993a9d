"""The hub's processes in a run: started, killed, stopped for a while, rolled; and its command line beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import children
from tests.chaos.nursery import Born, Nursery

__all__ = ["Cluster", "CommandFailed", "Member", "NotStarted", "free_ports"]

STARTS = 5
START = 90.0
"""Seconds after which a process that does not say it is ready has failed."""


class NotStarted(SystemExit):
    """A process of the hub ended before it was ready."""


class CommandFailed(SystemExit):
    """A command of the hub ended with another code than 0."""


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now; taken all at once, so that none comes twice."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@dataclass
class Member:
    """One process of the hub; it comes back on the same ports."""

    role: str
    number: int
    environment: Mapping[str, str]
    log: Path
    nursery: Nursery
    ops: int = 0
    hooks: int = 0
    deaths: dict[int, float] = field(default_factory=dict)
    """Process -> when it was killed (monotonic)."""
    process: Born | None = None

    def __post_init__(self) -> None:
        self.ops, self.hooks = free_ports(2)

    @property
    def name(self) -> str:
        return f"{self.role}{self.number}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, crash_point: str = "") -> bool:
        """Start and wait until it is ready; False: it died at the armed crash point before.

        A start that fails is made again after a moment, as any supervisor would: what it stands on may be away.

        Raises:
            NotStarted: it failed too often.
        """
        for left in reversed(range(STARTS)):
            await self.launch(crash_point)
            try:
                return await self.ready(armed=bool(crash_point))
            except NotStarted:
                if not left:
                    raise
                await asyncio.sleep(2.0)
        raise AssertionError

    async def launch(self, crash_point: str = "") -> None:
        """Start without waiting."""
        listening = {
            "HUB_LISTEN_OPS": f"127.0.0.1:{self.ops}",
            "HUB_LISTEN_HOOKS": f"127.0.0.1:{self.hooks}",
            "HUB_CRASH_POINT": crash_point,
            "HUB_LOG_LEVEL": "warning",
        }
        words = [
            "--output",
            "json",
            "up",
            *(["--role", self.role] if self.role != "all" else []),
        ]
        environment = {**self.environment, **listening}
        self.process = await self.nursery.start(*words, environment=environment, log=self.log)

    async def ready(self, *, armed: bool = False) -> bool:
        """Wait until the process said that it is ready."""
        assert self.process is not None
        try:
            said = await asyncio.wait_for(self.process.said("\n}\n"), START)
        except TimeoutError:
            said = ""
        if said.startswith("{") and json.loads(said).get("ready"):
            return True
        code = await children.end(self.process)
        if armed and code == -signal.SIGKILL:
            self._died()
            return False
        raise NotStarted(f"{self.name} did not start ({code})\n{self.log.read_text()[-3000:]}")

    async def kill(self) -> None:
        """Kill -9, and forget the process."""
        assert self.process is not None
        self._signal(signal.SIGKILL)
        await self.process.wait()
        await children.end(self.process)
        self._died()

    async def dies_within(self, seconds: float) -> bool:
        """Wait for a death at a crash point; kill it if it does not come. Return whether it came."""
        assert self.process is not None
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            await self.kill()
            return False
        await children.end(self.process)
        self._died()
        return True

    async def stopped_for(self, seconds: float) -> None:
        """Stand still and go on as if nothing had been: a zombie, if it is longer than its leases."""
        self._signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._signal(signal.SIGCONT)

    async def leave(self, *, patience: float = 60.0) -> int:
        """Ask it to end after what is under way; return its code."""
        assert self.process is not None
        return await children.end(self.process, patience=patience)

    async def end(self) -> None:
        """Leave no process behind, however the run ended."""
        if self.alive:
            await self.kill()

    def _died(self) -> None:
        self.deaths[self.pid] = time.monotonic()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Cluster:
    """All processes of one hub. ``environment``: where its project, store and bus are."""

    folder: Path
    environment: Mapping[str, str]
    nursery: Nursery
    roles: Sequence[str] = ("all",)
    members: list[Member] = field(default_factory=list)
    downs: dict[str, int] = field(default_factory=dict)
    """How many deaths, stops and rolls there were, by their kind."""
    spared: Member | None = None
    """Who is not killed any more: so that its memory can be watched."""

    def __post_init__(self) -> None:
        self.members = [
            Member(role, number, self.environment, self.folder / f"{role}{number}.log", self.nursery)
            for number, role in enumerate(self.roles)
        ]

    def count(self, what: str) -> None:
        self.downs[what] = self.downs.get(what, 0) + 1

    @property
    def kills(self) -> int:
        """How many SIGKILLs there were, those at crash points included."""
        return sum(count for what, count in self.downs.items() if what in ("kill -9", "crash point"))

    def of(self, *roles: str) -> list[Member]:
        """Return the members of these roles."""
        return [one for one in self.members if one.role in roles]

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.of('all', 'console')[0].ops}"

    @property
    def hooks(self) -> str:
        """The address of the doors."""
        return f"http://127.0.0.1:{self.of('all', 'gateway')[0].hooks}"

    async def start(self) -> None:
        """Start everybody: the first one alone, for it makes what the others find."""
        await self.members[0].start()
        for one in self.members[1:]:
            await one.launch()
        for one in self.members[1:]:
            await one.ready()

    async def end(self) -> None:
        """End everybody, at once."""
        for one in self.members:
            await one.end()

    async def command(self, *words: str, crash_point: str = "") -> dict[str, Any] | None:
        """Run the hub's command line beside the living processes; None: it died at the armed crash point.

        Raises:
            CommandFailed: it ended with another code than 0.
        """
        log = self.folder / "commands.log"
        environment = {**self.environment, "HUB_CRASH_POINT": crash_point}
        made = await self.nursery.start("--output", "json", *words, environment=environment, log=log)
        out = await made.said()
        if crash_point and made.returncode == -signal.SIGKILL:
            return None
        if made.returncode:
            said = log.read_text()[-2000:]
            raise CommandFailed(f"hub {' '.join(words)}: {made.returncode} {out[-500:]}\n{said}")
        found: dict[str, Any] = json.loads(out)
        return found
