"""Waiting at a start for what the hub stands on: a database that is starting or recovering, brokers that are not up yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from hub import log as hublog
from hub.cli.session import Session
from hub.clock import Clock
from hub.errors import SettingsError, TryAgain, Unreachable
from hub.store.dialects import is_away

__all__ = ["AGAIN", "patiently"]

T = TypeVar("T")

AGAIN = 1.0
"""Seconds between two tries."""


def patiently(session: Session, clock: Clock, start: Callable[[], T]) -> T:
    """Return what ``start`` returns, tried again for ``HUB_START_PATIENCE`` seconds while store or bus do not answer.

    Raises:
        SettingsError: they did not answer in time. What else ``start`` raises is raised at once.
    """
    patience, began = session.settings.start_patience, None
    while True:
        try:
            return start()
        except Exception as error:
            if not (isinstance(error, (Unreachable, TryAgain)) or is_away(error)):
                raise
            began = clock.monotonic() if began is None else began  # a first try may take long by itself
            waited = clock.monotonic() - began
            if waited + AGAIN > patience:
                said = (
                    session.text("start_gave_up", error=error, seconds=f"{patience:g}")
                    if patience
                    else str(error)
                )
                raise SettingsError(said) from error
            hublog.get_logger("start").warning(
                "start.waits",
                reason=str(error),
                waited=round(waited, 1),
                limit=patience,
                setting="HUB_START_PATIENCE",
            )
        asyncio.run(clock.sleep(AGAIN))
