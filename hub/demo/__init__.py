"""The demo: a business day played against sandboxes and judged by a hand-written file."""

from __future__ import annotations

from hub.demo.play import EXPECTATION, Outcome, Played, play
from hub.demo.scene import Seen, Step
from hub.demo.servers import Engine, servers
from hub.demo.stage import KINGDEE, VENDORS, WECOM, Stage, StoryFailed, opened
from hub.demo.story import LEFT_OVER, STORY

__all__ = [
    "EXPECTATION",
    "KINGDEE",
    "LEFT_OVER",
    "STORY",
    "VENDORS",
    "WECOM",
    "Engine",
    "Outcome",
    "Played",
    "Seen",
    "Stage",
    "Step",
    "StoryFailed",
    "opened",
    "play",
    "servers",
]
