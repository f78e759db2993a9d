"""What is done to the hub while everybody acts: deaths on a timer and at named points, standstills, rolls, lost sessions.

A plan is drawn from the seed and gone through once, with kill -9 between its steps; from then on members are only
killed, until the time is up. Who was killed is started armed: it dies by itself at the next crash point.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from tests.chaos.hubs import Cluster, CommandFailed, Member

__all__ = ["COMMAND_POINTS", "POINTS", "Breaker", "Times", "lost_sessions", "until"]

POINTS = (
    "claimed", "before_send", "after_send", "answered", "settled", "store.commit.before", "store.commit.after",
    "bus.commit.before", "bus.commit.after", "changes.published", "token.given",
)  # fmt: skip
"""Where a running hub may die. Of those on the bus only the embedded log has some."""
LEASED = ("changes.published", "token.given")
"""Those that one worker of a cluster passes now and then: to die there it must be the only one for a while, at once."""
COMMAND_POINTS: Mapping[str, Sequence[str]] = {
    "published": ("run", "wecom.user.in", "--full"),
    "sweep.marked": ("run", "wecom.follow.in", "--full"),
    "dlq.replayed": ("dlq", "replay", "--all", "--sync", "k3.payment.out", "--yes"),
    "key.noted": ("secrets", "rotate"),
}
"""Where a command beside it may: point -> the command."""


TRIES = 4
"""How often a process is started to die at one point, before that counts as never reached."""
COMMAND_TRIES = 20
"""How often a command is: there may be nothing to replay yet."""


@dataclass(frozen=True)
class Times:
    """``alive``: seconds from ready to the next death; ``stops``: how long members stand still; ``point``: wait for one."""

    alive: float = 2.0
    stops: Sequence[float] = (1.0, 6.0, 16.0)
    rolls: int = 2
    point: float = 8.0


@dataclass
class Breaker:
    """Breaks the members of a cluster one after the other, as the plan says."""

    cluster: Cluster
    times: Times
    draw: random.Random
    outages: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """Outages of what the hub stands on (database, brokers): name -> do it, and mend it."""
    reached: set[str] = field(default_factory=set)
    points: Sequence[str] = POINTS
    missed: dict[str, int] = field(default_factory=dict)

    async def run(self, goes_on: Callable[[], bool], *, plan: bool = True) -> None:
        """Go on until the plan (if it is wanted) is done and ``goes_on`` says no."""
        steps = self._steps() if plan else []
        arms = [(point, 1 if point in LEASED else self.draw.randint(2, 5)) for point in self.points]
        for what in (steps, arms):
            self.draw.shuffle(what)
        commands: asyncio.Future[None] | None = None
        try:
            while steps or arms or goes_on() or (commands is not None and not commands.done()):
                await self._death(arms)
                if steps and (
                    not arms or self.draw.random() < 0.4
                ):  # points first: they need somebody to act
                    await self._all_up()
                    await asyncio.sleep(self.times.alive / 2)
                    await steps.pop()()
                if (
                    plan and commands is None and not steps
                ):  # last: then there is something to read and to replay
                    commands = asyncio.ensure_future(self._commands())
        finally:
            if commands is not None:
                commands.cancel()
                await asyncio.gather(commands, return_exceptions=True)
        if commands is not None and not commands.cancelled():
            commands.result()
        await self._all_up()

    def _steps(self) -> list[Callable[[], Awaitable[None]]]:
        steps: list[Callable[[], Awaitable[None]]] = [
            self._stop_step(seconds) for seconds in self.times.stops
        ]
        steps += [self._roll] * self.times.rolls
        return steps + [self._outage_step(name, outage) for name, outage in self.outages.items()]

    def _someone(self) -> Member:
        return self.draw.choice([one for one in self.cluster.members if one is not self.cluster.spared])

    async def _all_up(self) -> None:
        for member in self.cluster.members:
            if not member.alive:
                await member.start()

    async def _death(self, arms: list[tuple[str, int]]) -> None:
        """Kill someone and start it anew, to die by itself at the next point; it is killed if that does not come."""
        dead = [one for one in self.cluster.members if not one.alive]
        member = dead[0] if dead else self._someone()
        if not dead:
            await asyncio.sleep(self.times.alive)
            await member.kill()
            self.cluster.count("kill -9")
        if not arms or member.role not in ("all", "worker"):
            await member.start()
            return
        point, passing = arms.pop()
        alone = point in LEASED and len(self.cluster.of("all", "worker")) > 1
        for other in self.cluster.of("all", "worker") if alone else ():
            if other.alive:
                await other.kill()
                self.cluster.count("kill -9")
        wait = self.times.point * (4 if alone else 1)
        if not await member.start(f"{point}:{passing}") or await member.dies_within(wait):
            self.reached.add(point)
            self.cluster.count("crash point")
            return
        self.cluster.count("kill -9")
        self.missed[point] = self.missed.get(point, 0) + 1
        if self.missed[point] < TRIES:
            arms.insert(0, (point, 1))

    def _stop_step(self, seconds: float) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            self.cluster.count("stop")
            await self._someone().stopped_for(seconds)

        return step

    async def _roll(self) -> None:
        """Roll every member, one after the other."""
        self.cluster.count("roll")
        for member in self.cluster.members:
            await member.leave()
            await member.start()

    async def _commands(self) -> None:
        """Have every command die at its point, beside what happens to the others: a complete read takes its time."""
        for point, words in COMMAND_POINTS.items():
            for _ in range(COMMAND_TRIES):
                with contextlib.suppress(CommandFailed):  # the hub may be reading that stream itself just now
                    if await self.cluster.command(*words, crash_point=point) is None:
                        self.reached.add(f"{point} of {words[0]}")
                        self.cluster.count("crash point of a command")
                        break
                await asyncio.sleep(self.times.alive)

    def _outage_step(self, name: str, outage: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            await outage()
            self.cluster.count(name)

        return step


async def lost_sessions(control: httpx.AsyncClient, kingdee: httpx.AsyncClient, *, every: float) -> None:
    """Revoke or expire WeCom's tokens and drop Kingdee's sessions now and then, until cancelled; once a hanging answer."""
    number = 0
    while True:
        await asyncio.sleep(every)
        number += 1
        await control.post("tokens/end", json={"expire": bool(number % 2)})
        await kingdee.post("sessions/drop")
        if number == 2:
            hanging = [{"fault": "apply_then_hang", "op": "Save", "form": "AR_RECEIVEBILL"}]
            await kingdee.patch("dials", json={"next": hanging, "hang_seconds": 20.0})


def until(seconds: float, done: Callable[[], bool]) -> Callable[[], bool]:
    """Return what says whether to go on: until the time is up, or ``done`` says so."""
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() < ends and not done()
