"""A stand-in for one DingTalk corp with an internal app, written from the fact sheet alone."""

from __future__ import annotations

from connectors.dingtalk.sandbox.server import DingTalkSandbox

__all__ = ["DingTalkSandbox"]
