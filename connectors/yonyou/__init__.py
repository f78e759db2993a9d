"""Yonyou 用友 YonBIP (YonSuite): customers and receipts, saved, submitted, audited; events of the open platform."""

from __future__ import annotations

from connectors.yonyou.connector import YonyouConnector

__all__ = ["YonyouConnector"]
