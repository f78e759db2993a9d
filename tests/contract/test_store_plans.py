"""No statement of the hub reads a whole table, on either engine."""

from __future__ import annotations

import importlib
import pkgutil

import hub
from hub.store import Store, Tx, sql
from tests.stores import any_store, scans

__all__ = ["any_store"]  # fixture


def test_every_named_statement_uses_an_index(any_store: Store) -> None:
    for module in pkgutil.walk_packages(hub.__path__, "hub."):
        if not module.name.endswith("__main__") and ".migrations.versions" not in module.name:
            importlib.import_module(module.name)
    ours = [statement for statement in sql.statements() if statement.module.startswith("hub.")]
    assert len(ours) > 1

    def ask_the_engine(tx: Tx) -> dict[str, list[str]]:
        texts = [one.text(tx.dialect) for one in ours]
        if tx.dialect == "sqlite":  # a cast with colons is PostgreSQL's: such a statement is for it alone
            texts = [text for text in texts if "::" not in text]
        found = {text: scans(tx, text) for text in texts}
        return {text: steps for text, steps in found.items() if steps}

    assert any_store.run_now(ask_the_engine) == {}
