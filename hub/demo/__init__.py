"""The demo: a business day on the embedded engine, played against the sandbox and judged by a hand-written file."""

from __future__ import annotations

from hub.demo.play import EXPECTATION, Outcome, Played, play
from hub.demo.stage import Stage, StoryFailed, opened

__all__ = ["EXPECTATION", "Outcome", "Played", "Stage", "StoryFailed", "opened", "play"]
