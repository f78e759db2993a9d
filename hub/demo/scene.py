"""One scene of the business day: its titles, what it does, and what it found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from hub.demo.stage import Stage

__all__ = ["ACTOR", "Seen", "Step", "Told"]

ACTOR: Final = "user:demo"
"""In whose name an operator acts in the story."""


@dataclass(frozen=True, slots=True)
class Told:
    """One line that a person reads."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step found, as a person reads it, and the commands that show it; ``lines``: what it shows below."""

    zh: str
    en: str
    commands: tuple[str, ...]
    lines: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One scene: its title and what it does; ``play`` raises StoryFailed when the day went otherwise."""

    name: str
    zh: str
    en: str
    play: Callable[[Stage], Awaitable[Seen]]
