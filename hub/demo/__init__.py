"""The demo: a business day played against sandboxes and judged by a hand-written file."""

from __future__ import annotations

from hub.demo.play import EXPECTATION, PROJECT, Outcome, Played, play
from hub.demo.scene import Seen, Step
from hub.demo.servers import Engine, servers
from hub.demo.stage import Stage, StoryFailed, opened
from hub.demo.story import LEFT_OVER, STORY
from hub.demo.vendors import DINGTALK, KINGDEE, MAILCHIMP, VENDORS, WECOM, YONYOU

__all__ = [
    "DINGTALK",
    "EXPECTATION",
    "KINGDEE",
    "LEFT_OVER",
    "MAILCHIMP",
    "PROJECT",
    "STORY",
    "VENDORS",
    "WECOM",
    "YONYOU",
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
