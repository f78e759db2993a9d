"""The store: tables, migrations, transactions, bulk statements."""

from __future__ import annotations

from hub.store.engine import Store, Tx

__all__ = ["Store", "Tx"]
