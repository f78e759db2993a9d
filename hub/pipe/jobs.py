"""Work that runs once per cluster and remembers where it is: a lease with a fence in the table `jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.clock import SECOND
from hub.errors import Cause, IntegrityError
from hub.pipe.times import has_come
from hub.store import sql
from hub.store.engine import Tx
from hub.store.schema import jobs

__all__ = [
    "Lease",
    "due_rechecks",
    "finish",
    "lease",
    "move_quietly",
    "note_progress",
    "positions",
    "release",
    "renew",
    "save_position",
]

_COLUMNS = "name kind spec position due holder lease fence progress state act"
lock_job = sql.bulk_select(jobs, _COLUMNS, key="name", lock="update")
new_job = sql.bulk_insert(jobs, _COLUMNS, on_conflict="nothing", key="name")
take_job = sql.bulk_update(jobs, "holder lease fence act", key="name")
move_job = sql.command(
    "UPDATE jobs SET position = ?, due = ?, lease = ?, act = ? WHERE name = ? AND fence = ?"
)
quiet_job = sql.command(
    "UPDATE jobs SET position = ?, lease = ? WHERE name = ? AND fence = ? AND position = ?"
)
keep_job = sql.command("UPDATE jobs SET lease = ? WHERE name = ? AND fence = ?")
tell_job = sql.command("UPDATE jobs SET progress = ? WHERE name = ? AND fence = ?")
free_job = sql.command("UPDATE jobs SET lease = 0 WHERE name = ? AND fence = ?")
delete_job = sql.bulk_delete(jobs, key="name")
read_positions = sql.bulk_select(jobs, "name position", key="name")
find_rechecks = sql.query(
    "SELECT name, spec FROM jobs WHERE kind = 'recheck' AND due <= ? ORDER BY due LIMIT 100"
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that is ours until ``until`` (µs): fenced, so that a sleeper who wakes up late changes nothing.

    ``position``: JSON text, as the compare-and-set wants it.
    """

    name: str
    fence: int
    position: str
    due: int
    until: int

    @property
    def at(self) -> Any:
        """The position as a value."""
        return orjson.loads(self.position)


def lease(tx: Tx, name: str, kind: str, holder: str, seconds: float, start: Any = None) -> Lease | None:
    """Lease a job, made at its first use with the position ``start``; None while somebody else holds it.

    ``seconds``: of every lease of this job; one that ends further ahead was taken by a clock that ran ahead, and lapsed.
    """
    found = lock_job(tx, [(name,)])
    if not found:
        new_job(
            tx, [(name, kind, "null", orjson.dumps(start).decode(), 0, None, 0, 0, "null", "due", tx.act)]
        )
        tx.journal(holder, "job", {"items": [{"job": name, "outcome": "made"}]})
        found = lock_job(tx, [(name,)])
    row = found[0]
    now_holder, until, fence = row[5], row[6], row[7]
    if now_holder != holder and not has_come(until, tx.now, seconds):
        return None
    until = tx.now + int(seconds * SECOND)
    mine = fence if now_holder == holder else tx.act
    take_job(tx, [(name, holder, until, mine, row[10])])
    return Lease(name, mine, row[3], row[4], until)


def save_position(tx: Tx, held: Lease, position: Any, *, due: int, seconds: float) -> None:
    """Remember where the job is, and keep it for that long from now.

    Raises:
        IntegrityError: somebody else holds it by now; nothing was saved.
    """
    until = tx.now + int(seconds * SECOND)
    if move_job(tx, orjson.dumps(position).decode(), due, until, tx.act, held.name, held.fence) != 1:
        raise IntegrityError(
            Cause.FENCED, f"{held.name}: somebody else took over; the position was not saved"
        )
    tx.journal(held.name, "cursor", {"items": [{"job": held.name, "outcome": "moved"}]})


def move_quietly(tx: Tx, held: Lease, start: Any, position: Any, seconds: float) -> None:
    """Move a job from ``start`` to ``position`` without an act: for a job that reads the acts themselves.

    Raises:
        IntegrityError: somebody else holds it by now, or moved it; nothing was saved.
    """
    until = tx.now + int(seconds * SECOND)
    texts = [orjson.dumps(value).decode() for value in (position, start)]
    if quiet_job(tx, texts[0], until, held.name, held.fence, texts[1]) != 1:
        raise IntegrityError(
            Cause.FENCED, f"{held.name}: somebody else took over; the position was not saved"
        )


def renew(tx: Tx, held: Lease, seconds: float) -> None:
    """Keep a job for that long from now; its position stays.

    Raises:
        IntegrityError: somebody else holds it by now.
    """
    if keep_job(tx, tx.now + int(seconds * SECOND), held.name, held.fence) != 1:
        raise IntegrityError(Cause.FENCED, f"{held.name}: somebody else took over")


def note_progress(tx: Tx, held: Lease, progress: Any) -> None:
    """Say how a job goes, to whoever looks; nothing hangs on it, so a job that was taken over is left alone."""
    tell_job(tx, orjson.dumps(progress).decode(), held.name, held.fence)


def positions(tx: Tx, names: Sequence[str]) -> dict[str, Any]:
    """Return name -> position of the jobs that exist."""
    return {
        name: orjson.loads(position) for name, position in read_positions(tx, [(name,) for name in names])
    }


def release(tx: Tx, held: Lease) -> None:
    """Let the next one have it at once."""
    free_job(tx, held.name, held.fence)


def finish(tx: Tx, name: str) -> None:
    """Forget a job that is done."""
    delete_job(tx, [(name,)])


def due_rechecks(tx: Tx) -> list[tuple[str, dict[str, str]]]:
    """Return the objects that must be looked at once more after a doubt, and are due."""
    return [(name, orjson.loads(spec)) for name, spec in find_rechecks(tx, tx.now)]
