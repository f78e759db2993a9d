"""Kingdee 星空 (K/3 Cloud WebAPI): customers and receipts, saved, submitted, audited."""

from __future__ import annotations

from connectors.kingdee.connector import KingdeeConnector

__all__ = ["KingdeeConnector"]
