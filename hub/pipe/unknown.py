"""Objects found gone before anybody knew them: no xref remembers that, so a job does, for as long as a page may wait.

A page of a complete read waits on the bus behind what is live. An object it shows may have come to an end meanwhile, and
the read that found that have nothing to close: the page must not bring it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hub.clock import SECOND
from hub.pipe.items import Item
from hub.pipe.times import LONGEST
from hub.pipe.world import World
from hub.store import sql
from hub.store.engine import Tx
from hub.store.schema import jobs
from hub.store.view import View

__all__ = ["forget_old", "load_gone", "note_gone"]

KEPT = int(LONGEST * SECOND)
"""Microseconds for which it is remembered; ``due`` is when it is forgotten."""

_remember = sql.bulk_upsert(jobs, "name kind spec position due fence progress state act", key="name")
_find = sql.bulk_select(jobs, "name due", key="name")
_forget = sql.command("DELETE FROM jobs WHERE kind = 'gone' AND due <= ?")


def note_gone(view: View, items: Iterable[Item]) -> None:
    """Remember those that were found gone just now."""
    due = view.now + KEPT
    found = [_name(item) for item in items if item.gone == view.now]
    _remember(view.tx, [(name, "gone", "null", "null", due, 0, "null", "due", view.act) for name in found])


def load_gone(view: View, items: Sequence[Item], world: World) -> None:
    """Tell items whose object nobody knows when it was found gone; what cannot be read again is believed as it comes."""
    asked = {
        _name(item): item
        for item in items
        if item.source is not None
        and item.sync is not None
        and item.at not in view.xrefs
        and world.is_fetchable(item.sync)
    }
    for name, due in _find(view.tx, [(name,) for name in asked]) if asked else ():
        asked[name].gone = due - KEPT


def forget_old(tx: Tx) -> None:
    """Forget what no page can show any more."""
    _forget(tx, tx.now)


def _name(item: Item) -> str:
    return f"gone:{'/'.join(item.at)}"
