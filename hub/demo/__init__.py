"""The demo: a business day on the embedded engine, played against the sandbox and judged by a hand-written file."""

from __future__ import annotations

from hub.demo.play import EXPECTATION, Outcome, Played, play
from hub.demo.stage import PORT, Stage, StoryFailed, opened
from hub.demo.story import LEFT_OVER, STORY, Seen, Step

__all__ = [
    "EXPECTATION",
    "LEFT_OVER",
    "PORT",
    "STORY",
    "Outcome",
    "Played",
    "Seen",
    "Stage",
    "Step",
    "StoryFailed",
    "opened",
    "play",
]
