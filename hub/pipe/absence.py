"""What a complete read did not show: read once more, one by one; if it is much, a person decides first.

Absence alone changes nothing: a department that left the view is no deletion. Every object that was not shown is
hinted, and only the vendor's own answer about that object says that it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from hub.clock import Clock
from hub.errors import Cause, IntegrityError
from hub.pipe import rows
from hub.pipe.jobs import Lease, lease, release, renew
from hub.pipe.marker import SweepEnd, sweep_job
from hub.pipe.refusal import NotPossible, NotThere, Reason
from hub.pipe.world import World
from hub.project.values import LANE_BULK, Sync
from hub.store import sql
from hub.store.engine import Store, Tx
from hub.store.schema import jobs, owed
from hub.store.view import View

__all__ = ["FEW", "Missing", "confirm_absent", "held_back", "look_for_absent"]

log = logging.getLogger(__name__)

FEW = 20
"""So many may always be missing; beyond it one in a hundred of what is known."""
CHUNK = 500
LEASE = 60.0
_WAITING = ("due", "confirmed")

_jobs = sql.query("SELECT name, spec, position, progress, state FROM jobs WHERE kind = 'sweep'")
_job = sql.bulk_select(jobs, "name spec position progress state", key="name", lock="update")
_save = sql.command(
    "UPDATE jobs SET position = ?, progress = ?, state = ?, act = ? WHERE name = ? AND fence = ? AND spec = ?"
)
_set_state = sql.command("UPDATE jobs SET state = ?, act = ? WHERE name = ?")
_live = sql.query(
    "SELECT count(*) FROM xrefs WHERE connection = ? AND object = ? AND org = ? AND gone IS NULL"
)
_unseen = sql.query(
    "SELECT vendor_id FROM xrefs WHERE connection = ? AND object = ? AND org = ? AND vendor_id > ? "
    "AND gone IS NULL AND seen < ? ORDER BY vendor_id LIMIT ?"
)
_wanted = sql.bulk_select(owed, "subject want", key="sync subject")


@dataclass(frozen=True, slots=True)
class Missing:
    """Of ``live`` objects known of a stream, ``absent`` were not shown by a complete read."""

    stream: str
    absent: int
    live: int

    @property
    def many(self) -> bool:
        """Say whether a person must decide."""
        return self.absent > FEW and self.absent * 100 > self.live


async def look_for_absent(store: Store, world: World, clock: Clock, holder: str) -> int:
    """Follow up the complete reads that every partition has consumed; return how many objects were hinted."""
    hinted = 0
    for name, spec, _, _, state in await store.read(_jobs):
        if state not in _WAITING:
            continue
        held = await store.run(lease, name, "sweep", holder, LEASE)
        if held is None:
            continue
        try:
            hinted += await _follow_up(store, world, clock, held, spec)
        except IntegrityError as error:
            if error.cause is not Cause.FENCED:
                raise
            log.info("%s: a newer read ended meanwhile", name)
        finally:
            await store.run(release, held)
    return hinted


async def _follow_up(store: Store, world: World, clock: Clock, held: Lease, spec: str) -> int:
    at = held.at
    end = _end(spec)
    streams = [(name, sync) for name in end.streams if (sync := _looked_after(world, end, name)) is not None]
    if "stream" not in at:
        counts = [await store.read(_count, end, name, sync) for name, sync in streams]
        if not await store.run(_judge, held, spec, counts):
            log.warning("%s: %s; nothing was done", held.name, [asdict(one) for one in counts])
            return 0
        at = {"stream": 0, "after": ""}
    hinted = 0
    for number in range(at["stream"], len(streams)):
        sync = streams[number][1]
        after = at["after"] if number == at["stream"] else ""
        while page := await store.read(_page, end, sync, after):
            ids, after = page
            following = {"taken": held.at["taken"], "stream": number, "after": after}
            hinted += await store.run(_hint, world, held, spec, (end, sync, ids), following)
            clock.crash_point("sweep.hinted")
            await store.run(renew, held, LEASE)
    await store.run(_done, held, spec)
    return hinted


def _end(spec: str) -> SweepEnd:
    known = orjson.loads(spec)
    return SweepEnd(**{**known, "streams": tuple(known["streams"])})


def _looked_after(world: World, end: SweepEnd, stream: str) -> Sync | None:
    """Return the sync that takes a stream in, if single objects of it can be read again."""
    sync = world.inbound(end.connection, stream)
    return sync if sync is not None and world.is_fetchable(sync) else None


def _count(tx: Tx, end: SweepEnd, stream: str, sync: Sync) -> Missing:
    live = _live(tx, end.connection, sync.object, end.org)[0][0]
    absent, after = 0, ""
    while page := _page(tx, end, sync, after):
        ids, after = page
        absent += len(ids)
    return Missing(stream, absent, live)


def _page(tx: Tx, end: SweepEnd, sync: Sync, after: str) -> tuple[list[str], str] | None:
    """Return ids that the read did not show, and where to go on; None at the end.

    Whoever was shown but could not be decided has a debt that was moved since the read began: it was shown.
    """
    found = _unseen(tx, end.connection, sync.object, end.org, after, end.started, CHUNK)
    if not found:
        return None
    subjects = {f"{end.org}/{id_}": id_ for (id_,) in found}
    for subject, want in _wanted(tx, [(sync.name, subject) for subject in subjects]):
        if want >= end.act:
            del subjects[subject]
    return list(subjects.values()), found[-1][0]


def _judge(tx: Tx, held: Lease, spec: str, counts: Sequence[Missing]) -> bool:
    """Say whether the objects may be hinted; too many wait for a person."""
    position, _, state = _row(tx, held, spec)
    ask = state != "confirmed" and any(one.many for one in counts)
    told = [asdict(one) for one in counts]
    progress = orjson.dumps({"streams": told}).decode()
    _store(tx, held, spec, (position, progress, "held" if ask else state))
    outcome = "held" if ask else "counted"
    tx.journal(held.name, "sweep", {"items": [{"job": held.name, "outcome": outcome, "streams": told}]})
    return not ask


def _hint(
    tx: Tx, world: World, held: Lease, spec: str, what: tuple[SweepEnd, Sync, Sequence[str]], following: Any
) -> int:
    end, sync, ids = what
    view = View(tx, world.vault)
    pairs = [(sync.name, f"{end.org}/{id_}") for id_ in ids]
    view.lock_owed(pairs)
    view.load_sealed([view.owed[pair] for pair in pairs if pair in view.owed])
    at = [(end.connection, sync.object, end.org, id_) for id_ in ids]
    view.load_xrefs(at, lock=False)
    hinted = 0
    for key, (name, subject) in zip(at, pairs, strict=True):
        xref = view.xrefs.get(key)
        if xref is None or xref.gone is not None or xref.seen >= end.started:
            continue
        made = rows.new_row(view, sync=name, subject=subject, connection=end.connection, target=None,
                            lane=LANE_BULK)  # fmt: skip
        rows.owe(view, made, fetchable=True)
        view.note(record=xref.record.hex(), sync=name, subject=subject, outcome="absent", event=end.sweep)
        hinted += 1
    _, progress, state = _row(tx, held, spec)
    _store(tx, held, spec, (orjson.dumps(following).decode(), progress, state), view.act)
    view.flush(held.name, "sweep")
    return hinted


def _done(tx: Tx, held: Lease, spec: str) -> None:
    _, progress, _ = _row(tx, held, spec)
    _store(tx, held, spec, (orjson.dumps({"taken": held.at["taken"]}).decode(), progress, "done"))
    tx.journal(held.name, "sweep", {"items": [{"job": held.name, "outcome": "swept"}]})


def _row(tx: Tx, held: Lease, spec: str) -> tuple[str, str, str]:
    found = _job(tx, [(held.name,)])
    if not found or found[0][1] != spec:
        raise IntegrityError(Cause.FENCED, f"{held.name}: another read ended meanwhile")
    _, _, position, progress, state = found[0]
    return position, progress, state


def _store(tx: Tx, held: Lease, spec: str, values: tuple[str, str, str], act: int | None = None) -> None:
    if _save(tx, *values, tx.act if act is None else act, held.name, held.fence, spec) != 1:
        raise IntegrityError(Cause.FENCED, f"{held.name}: somebody else took over")


def held_back(tx: Tx) -> dict[str, list[Missing]]:
    """Return sync -> what its last complete read did not show, where a person must decide."""
    return {
        name.partition(":")[2]: [Missing(**one) for one in orjson.loads(progress)["streams"]]
        for name, _, _, progress, state in _jobs(tx)
        if state == "held"
    }


def confirm_absent(tx: Tx, sync: str, world: World, *, by: str) -> list[Missing]:
    """Let the objects that the last complete read did not show be looked at, however many; return the counts.

    Raises:
        NotThere: there is no such sync.
        NotPossible: no complete read waits for a person.
    """
    if world.project.sync(sync) is None:
        raise NotThere(sync)
    name = sweep_job(sync)
    found = _job(tx, [(name,)])
    if not found or found[0][4] != "held":
        raise NotPossible(Reason.NOT_HELD, sync)
    counts = [Missing(**one) for one in orjson.loads(found[0][3])["streams"]]
    _set_state(tx, "confirmed", tx.act, name)
    told = [asdict(one) for one in counts]
    tx.journal(
        by, "confirm", {"items": [{"job": name, "sync": sync, "outcome": "confirmed", "streams": told}]}
    )
    return counts
