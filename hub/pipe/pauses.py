"""Pausing a connection or a sync by hand, and opening it again; rows stay owed meanwhile."""

from __future__ import annotations

from hub.errors import Cause
from hub.pipe.refusal import NotThere
from hub.pipe.world import World
from hub.store import sql
from hub.store.engine import Tx
from hub.store.schema import connections, jobs
from hub.store.view import View

__all__ = ["pause", "resume"]

_new_job = sql.bulk_insert(
    jobs, "name kind spec position due fence progress state act", on_conflict="nothing", key="name"
)
_set_job = sql.command("UPDATE jobs SET state = ?, act = ? WHERE name = ?")
_set_connection = sql.bulk_upsert(connections, "name state cause until failures act", key="name")


def pause(tx: Tx, name: str, world: World, *, by: str) -> str:
    """Pause a connection or a sync until a person resumes it; its rows stay owed. Returns which of both it is.

    Raises:
        NotThere: neither is configured.
    """
    return _set_paused(tx, name, world, by, paused=True)


def resume(tx: Tx, name: str, world: World, *, by: str) -> str:
    """Open a paused connection or sync again, whoever paused it. Returns which of both it is.

    Raises:
        NotThere: neither is configured.
    """
    return _set_paused(tx, name, world, by, paused=False)


def _set_paused(tx: Tx, name: str, world: World, by: str, *, paused: bool) -> str:
    view = View(tx, world.vault)
    outcome = "paused" if paused else "resumed"
    if name in world.project.connections:
        state = ("paused", Cause.OPERATOR.value) if paused else ("open", None)
        _set_connection(tx, [(name, *state, None, 0, view.act)])  # no `until`: no probe opens it again
        view.note(connection=name, outcome=outcome, cause=Cause.OPERATOR.value)
        kind = "connection"
    elif name.count(":") in (0, 2) and world.sync(name) is not None:  # api:<connection>:<kind> is one, too
        job = f"sync:{name}"
        _new_job(tx, [(job, "sync", "null", "null", 0, 0, "null", "due", view.act)])
        _set_job(tx, "paused" if paused else "due", view.act, job)
        view.note(sync=name, outcome=outcome, cause=Cause.OPERATOR.value)
        kind = "sync"
    else:
        raise NotThere(name)
    view.flush(by, "pause" if paused else "resume")
    return kind
