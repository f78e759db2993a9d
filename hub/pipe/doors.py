"""What happened at the webhook doors, kept in the store for people to see.

How many callbacks were refused, the last reason, and what the vendor said of the connection: a row of `jobs` each,
saved once in a while. A hint for people, never read by a decision, so it has no act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.clock import SECOND
from hub.store import sql
from hub.store.engine import Tx
from hub.store.schema import jobs

__all__ = ["FORGOTTEN", "DoorNews", "add_door_news", "door_news"]

FORGOTTEN = 86_400 * SECOND
"""µs after which a refusal is not shown any more, and counting begins anew."""

_new = sql.bulk_insert(
    jobs, "name kind spec position due fence progress state act", on_conflict="nothing", key="name"
)
_lock = sql.bulk_select(jobs, "name position", key="name", lock="update")
_read = sql.bulk_select(jobs, "name position", key="name")
_save = sql.command("UPDATE jobs SET position = ? WHERE name = ?")


@dataclass(frozen=True, slots=True)
class DoorNews:
    """What one door has to tell; times in µs.

    ``refused``: callbacks since ``since``, the newest ``at`` for ``cause`` and ``why`` (what to check). ``health``:
    what is not well -> (Chinese, English, since when).
    """

    refused: int = 0
    since: int = 0
    at: int = 0
    cause: str = ""
    why: str = ""
    health: Mapping[str, tuple[str, str, int]] = field(default_factory=dict)


def add_door_news(tx: Tx, news: Mapping[str, DoorNews]) -> None:
    """Add by connection: ``refused`` is how many more, an empty Chinese text in ``health`` says it is well again."""
    _new(tx, [(f"door:{name}", "door", "null", "{}", 0, 0, "null", "due", 0) for name in sorted(news)])
    held = {name.removeprefix("door:"): _parse(text) for name, text in _lock(tx, _keys(sorted(news)))}
    for name, more in news.items():
        old = held[name]
        health = {**old.health, **more.health}
        gone = more.at - old.at > FORGOTTEN if more.refused else False
        last = more if more.refused else old
        told: dict[str, Any] = {
            "refused": more.refused + (0 if gone else old.refused),
            "since": more.since if gone or not old.refused else old.since,
            "at": last.at,
            "cause": last.cause,
            "why": last.why,
            "health": {about: said for about, said in health.items() if said[0]},
        }
        _save(tx, orjson.dumps(told).decode(), f"door:{name}")


def door_news(tx: Tx, names: Sequence[str]) -> dict[str, DoorNews]:
    """Return what the doors of these connections have to tell by now; one with nothing to tell is left out."""
    found = {name.removeprefix("door:"): _parse(text) for name, text in _read(tx, _keys(names))}
    recent = {
        name: one if tx.now - one.at <= FORGOTTEN else DoorNews(health=one.health)
        for name, one in found.items()
    }
    return {name: one for name, one in recent.items() if one.refused or one.health}


def _keys(names: Sequence[str]) -> list[tuple[str]]:
    return [(f"door:{name}",) for name in names]


def _parse(text: str) -> DoorNews:
    told = orjson.loads(text)
    health = {about: tuple(said) for about, said in told.pop("health", {}).items()}
    return DoorNews(**told, health=health)
