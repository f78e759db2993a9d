"""DingTalk 钉钉: OA approvals out and in, employees and departments, work notices; events by Stream or HTTP."""

from __future__ import annotations

from connectors.dingtalk.connector import DingTalkConnector

__all__ = ["DingTalkConnector"]
