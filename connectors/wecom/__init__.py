"""WeCom 企业微信: external contacts, who follows them, employees; remarks and tags written back."""

from __future__ import annotations

from connectors.wecom.connector import WeComConnector

__all__ = ["WeComConnector"]
