"""``hub migrate``: bring the store to this program's schema, before the hub starts."""

from __future__ import annotations

import functools

import typer

from hub.cli.command import add
from hub.cli.patience import patiently
from hub.cli.session import Session
from hub.clock import SystemClock
from hub.store import Store
from hub.vault import Vault

__all__ = ["migrate", "register"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, migrate, "migrate")


def migrate(session: Session) -> None:
    """Make the store, or expand its schema under the store's lock; a newer store is refused and stays as it is."""
    settings = session.settings
    clock = SystemClock()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.store_url is None and not (settings.data_dir / "hub.db").exists():
        Vault.open(settings.key_path, clock)  # a store without its key file is taken for one that lost it
    was, now = patiently(session, clock, functools.partial(Store.migrate, settings.store_address, clock))
    if session.as_json:
        session.screen.json({"ok": True, "was": was, "schema": now})
    else:
        key = "migrate_new" if was is None else "migrate_none" if was == now else "migrate_done"
        session.screen.line(session.text(key, was=was, now=now))
