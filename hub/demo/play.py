"""Plays the story step by step and judges the vendors' ledgers by the hand-written expectation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from hub.clock import Clock
from hub.demo.ledger import LEDGERS, differences, expected
from hub.demo.scene import Seen, Step
from hub.demo.stage import Stage, StoryFailed
from hub.demo.story import STORY
from hub.errors import HubError
from hub.pipe.desk import NotPossible, NotThere

__all__ = ["EXPECTATION", "PROJECT", "Outcome", "Played", "play"]

PROJECT: Final = Path("demo")
"""The demo's own project, within the folder that `--project` names."""
EXPECTATION: Final = PROJECT / "expectation.yaml"


@dataclass(frozen=True, slots=True)
class Played:
    """One step that went as it should; ``seconds`` it took."""

    step: Step
    seen: Seen
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the day ended: the steps that held, and every difference; ``seconds`` from the first step to the verdict."""

    checks: tuple[str, ...]
    differences: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Say whether the ledgers hold exactly what is expected and every step went as it should."""
        return not self.differences


async def play(
    stage: Stage,
    expectation: Path,
    *,
    story: Sequence[Step] = STORY,
    begin: Callable[[int, Step], None] | None = None,
    end: Callable[[Played], None] | None = None,
) -> Outcome:
    """Play the story; the first step that fails ends it, the ledgers are judged all the same.

    Raises:
        SettingsError: the expectation cannot be read.
    """
    clock, wanted = stage.hub.clock, expected(expectation)
    started = clock.monotonic()
    checks, problems = list[str](), list[str]()
    for number, step in enumerate(story, start=1):
        if begin is not None:
            begin(number, step)
        try:
            played = await _played(stage, step, clock)
        except (StoryFailed, HubError, NotPossible, NotThere, httpx.HTTPError) as error:
            problems.append(f"{step.name}: {str(error) or type(error).__name__}")
            break
        checks.append(step.name)
        if end is not None:
            end(played)
    for name, ledger in LEDGERS.items():
        found = differences(ledger, wanted[name], stage.effects(name))
        problems += (f"{name}: {text}" for text in found)
        if not found:
            checks.append(f"ledger {name}")
    return Outcome(tuple(checks), tuple(problems), clock.monotonic() - started)


async def _played(stage: Stage, step: Step, clock: Clock) -> Played:
    started = clock.monotonic()
    seen = await step.play(stage)
    return Played(step, seen, clock.monotonic() - started)
