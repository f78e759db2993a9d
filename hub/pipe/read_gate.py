"""The transactions around a read by the clock: may it begin, and what its answer means for its connection."""

from __future__ import annotations

from hub.errors import ConnectionDown
from hub.pipe.limits import Gate, gate_of, note_results, pause
from hub.pipe.world import World
from hub.project.values import Sync
from hub.store import sql
from hub.store.engine import Tx
from hub.store.schema import jobs
from hub.store.view import View

__all__ = ["answered", "pause_connection", "reading"]

read_jobs = sql.bulk_select(jobs, "name state due", key="name")


def reading(tx: Tx, sync: Sync) -> tuple[Gate, int]:
    """Return how a sync may be read now, and when its next read is due (µs)."""
    found = {row[0]: row for row in read_jobs(tx, [(f"read:{sync.name}",), (f"sync:{sync.name}",)])}
    paused = found.get(f"sync:{sync.name}", ("", "due", 0))[1] == "paused"
    due = found.get(f"read:{sync.name}", ("", "due", 0))[2]
    return (Gate.SHUT if paused else gate_of(tx, sync.connection)), due


def answered(tx: Tx, world: World, connection: str) -> None:
    """Open a connection whose probe was answered."""
    view = View(tx, world.vault)
    note_results(view, connection, answered=True, unanswered=False)
    view.flush("reader", "resume")


def pause_connection(tx: Tx, world: World, connection: str, error: ConnectionDown) -> None:
    """Pause a connection that a read found down."""
    view = View(tx, world.vault)
    pause(view, connection, error.cause, str(error), after=error.until)
    view.flush("reader", "pause")
