"""What stands still and why, kept in the store for people to see: loops of a process that fail, connections that did not start.

Rows of `jobs`, as the news of the doors (:mod:`hub.pipe.doors`): hints for people, never read by a decision, so they
have no act. The alarms of a process count while it is a member of the cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from hub.pipe.share import ALARM, members
from hub.store import sql
from hub.store.engine import Tx
from hub.store.schema import jobs

__all__ = ["Alarm", "alarms", "not_started", "note_alarms", "note_started"]

DOWN = "down:"
"""What begins the names of the rows of connections that did not start."""

_new = sql.bulk_insert(
    jobs, "name kind spec position due fence progress state act", on_conflict="nothing", key="name"
)
_lock = sql.bulk_select(jobs, "name position", key="name", lock="update")
_read = sql.bulk_select(jobs, "name position", key="name")
_save = sql.command("UPDATE jobs SET position = ? WHERE name = ?")
_delete = sql.bulk_delete(jobs, key="name")


@dataclass(frozen=True, slots=True)
class Alarm:
    """``about``: a loop of the process ``holder``, or a connection (then ``holder`` is who tried to start it)."""

    holder: str
    about: str
    text: str
    since: int


def note_alarms(tx: Tx, holder: str, told: Mapping[str, str]) -> None:
    """Note what stands still in a process now: loop -> why; one that is not named goes on again."""
    name = ALARM + holder
    if not told:
        _delete(tx, [(name,)])
        return
    _new(tx, [_row(name, "alarm", {})])
    known = {about: since for about, (_, since) in orjson.loads(_lock(tx, [(name,)])[0][1]).items()}
    said = {about: [text, known.get(about, tx.now)] for about, text in told.items()}
    _save(tx, orjson.dumps(said).decode(), name)


def alarms(tx: Tx) -> list[Alarm]:
    """Return what stands still in the processes that work now."""
    found = _read(tx, [(ALARM + holder,) for holder in members(tx)])
    return [
        Alarm(name.removeprefix(ALARM), about, text, since)
        for name, position in sorted(found)
        for about, (text, since) in orjson.loads(position).items()
    ]


def note_started(tx: Tx, holder: str, started: Collection[str], down: Mapping[str, str]) -> None:
    """Note which connections a process started with, and which did not start: connection -> why."""
    if started:
        _delete(tx, [(DOWN + name,) for name in sorted(started)])
    for name, text in sorted(down.items()):
        _new(tx, [_row(DOWN + name, "down", None)])
        known = orjson.loads(_lock(tx, [(DOWN + name,)])[0][1])
        since = tx.now if known is None else known["since"]
        said = {"holder": holder, "text": text, "since": since}
        _save(tx, orjson.dumps(said).decode(), DOWN + name)


def not_started(tx: Tx, names: Collection[str]) -> dict[str, Alarm]:
    """Return those of these connections that did not start the last time a process tried."""
    found = {
        name.removeprefix(DOWN): orjson.loads(position)
        for name, position in _read(tx, [(DOWN + name,) for name in names])
    }
    return {
        name: Alarm(said["holder"], name, said["text"], said["since"])
        for name, said in found.items()
        if said is not None
    }


def _row(name: str, kind: str, position: Any) -> tuple[Any, ...]:
    return (name, kind, "null", orjson.dumps(position).decode(), 0, 0, "null", "due", 0)
