"""What operators ask: how it stands, which dead letters there are, what became of one record. Reading only.

Where records are shown the reader's scope comes first. Counts are taken over the partial indexes of what is owed,
never over a table that only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from hub.clock import SECOND
from hub.errors import Cause
from hub.pipe import rows
from hub.pipe.absence import Missing, held_back
from hub.pipe.alarms import Alarm, alarms, not_started
from hub.pipe.doors import DoorNews, door_news
from hub.pipe.notice_groups import unsent
from hub.pipe.read import LEASE as READ_LEASE
from hub.pipe.shown import RowShown, Shown, may_see, shown, title_of
from hub.pipe.times import has_come
from hub.pipe.trace import Hop, Identity, Trace, trace
from hub.pipe.world import World
from hub.store import schema, sql
from hub.store.engine import Tx
from hub.store.rows import OWED_COLUMNS
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Scope
    from hub.project.values import Project

__all__ = [
    "AuditStatus",
    "ConnectionStatus",
    "DeadLetter",
    "Filters",
    "Hop",
    "Identity",
    "Page",
    "Reading",
    "Status",
    "SyncStatus",
    "Trace",
    "count_parked",
    "count_rereads",
    "dead_by_cause",
    "dead_letter",
    "dead_letters",
    "last_act",
    "status",
    "trace",
]

_code = (
    "CASE "
    + " ".join(f"WHEN cause LIKE '{{\"code\":\"{cause.value}\"%' THEN '{cause.value}'" for cause in Cause)
    + " ELSE '' END"
)

# `|| ''`: grouped by a value, not by the unique index over (sync, subject), which holds every row that is owed.
_due = sql.query(
    "SELECT sync || '', state, CASE WHEN due > ? THEN 1 ELSE 0 END, CASE WHEN generation IS NULL THEN 0 ELSE 1 END, "
    "count(*), min(due), min(since) FROM owed WHERE state IN ('ready', 'in_doubt') GROUP BY 1, 2, 3, 4"
)
_claimed = sql.query("SELECT sync || '', count(*), min(since) FROM owed WHERE state = 'claimed' GROUP BY 1")
_waiting = sql.query(
    f"SELECT sync || '', {_code}, count(*), min(since) FROM owed WHERE state = 'waiting' GROUP BY 1, 2"
)
_parked = sql.query(
    f"SELECT sync || '', {_code}, count(*), min(since) FROM owed WHERE state = 'parked' GROUP BY 1, 2"
)
_connections = sql.bulk_select(schema.connections, "name state cause until failures", key="name")
_jobs = sql.bulk_select(schema.jobs, "name state due lease progress", key="name")
_last_act = sql.query("SELECT id, at FROM acts WHERE id > 0 ORDER BY id DESC LIMIT 1")
_last_seal = sql.query("SELECT last_seq, at FROM seals WHERE last_seq > 0 ORDER BY last_seq DESC LIMIT 1")
_unsealed = sql.query("SELECT at FROM acts WHERE seq IS NULL ORDER BY id LIMIT 1")
_count_unsealed = sql.query(
    "SELECT count(*) FROM (SELECT 1 FROM acts WHERE seq IS NULL LIMIT 100000) AS unsealed"
)

_page = sql.query(
    f"SELECT {', '.join(OWED_COLUMNS.split())} FROM owed WHERE state = 'parked' AND (? = '' OR sync = ?) "
    "AND (? = '' OR connection = ?) AND cause LIKE ? AND (since, id) > (?, ?) ORDER BY since, id LIMIT ?"
)
_row = sql.bulk_select(schema.owed, OWED_COLUMNS, key="id")
_behind = sql.query("SELECT id FROM owed WHERE waits_for = ? AND state = 'waiting' ORDER BY id LIMIT ?")
_count_behind = sql.query("SELECT count(*) FROM owed WHERE waits_for = ? AND state = 'waiting'")

_parked_since = sql.query("SELECT count(*) FROM owed WHERE state = 'parked' AND sync = ? AND since >= ?")

_stale_since = sql.query(
    'SELECT body FROM acts WHERE id > ? AND body LIKE \'%"outcome":"stale"%\' ORDER BY id'
)

_MOST_BLOCKED = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """A read under way. ``waiting``: it is paused, for so many messages of ``topic`` waited to be taken (else 0).

    ``until``: it goes on when no more than so many wait.
    """

    waiting: int = 0
    topic: str = ""
    until: int = 0


@dataclass(slots=True)
class SyncStatus:
    """One sync: how many rows in each state people see; times in µs, None without a row.

    ``mode``: as configured; ``removed``: it is not in hub.yaml any more.
    """

    name: str
    direction: str
    mode: str
    paused: bool = False
    counts: Counter[Shown] = field(default_factory=Counter)
    causes: Counter[Cause] = field(default_factory=Counter)
    oldest_due: int | None = None
    oldest: int | None = None
    last_read: int | None = None
    reading: Reading | None = None
    absent: Sequence[Missing] = ()
    """What its last complete read did not show, where a person must decide."""


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection: ``until``: when the next probe goes out, None: a person resumes it. ``door``: its webhook's news.

    ``state``: open, paused, or down; then ``down`` says why it did not start, and since when.
    """

    name: str
    connector: str
    state: str
    cause: str | None
    until: int | None
    failures: int
    syncs: tuple[SyncStatus, ...]
    door: DoorNews
    down: Alarm | None = None


@dataclass(frozen=True, slots=True)
class AuditStatus:
    """Last act and last seal (µs), acts without a seal (counted to 100,000), and since when the first of them is."""

    last_act: int | None
    last_seal: int | None
    sealed: int
    unsealed: int
    unsealed_since: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands at ``now`` (µs). ``strays``: owed to syncs that are not configured any more; ``alarms``: what stands still."""

    now: int
    writes_open: bool
    connections: tuple[ConnectionStatus, ...]
    audit: AuditStatus
    strays: tuple[SyncStatus, ...] = ()
    alarms: tuple[Alarm, ...] = ()


def status(tx: Tx, project: Project) -> Status:
    """Return how every connection and sync stands, what is parked and why, and how old the audit's seal is."""
    syncs = {one.name: SyncStatus(one.name, one.direction, one.mode) for one in project.syncs.values()}
    _count(tx, syncs)
    jobs = {
        row[0]: row[1:]
        for row in _jobs(tx, [(f"{kind}:{name}",) for kind in ("sync", "read") for name in syncs])
    }
    held = held_back(tx)
    for name, one in syncs.items():
        one.paused = jobs.get(f"sync:{name}", ("due",))[0] == "paused"
        read = jobs.get(f"read:{name}")
        configured = project.syncs.get(name)
        one.absent = held.get(name, ())
        one.reading = _reading(tx, read)
        if read and configured and configured.schedule is not None and read[1]:
            one.last_read = read[1] - int(configured.schedule * SECOND)
    stored = {row[0]: row[1:] for row in _connections(tx, [(name,) for name in project.connections])}
    places = {name: _connection_of(name, project) for name in syncs}
    told, down = door_news(tx, list(project.connections)), not_started(tx, list(project.connections))
    strays = tuple(sync for sync in syncs.values() if places[sync.name] is None)
    for stray in strays:
        stray.mode = "removed"

    def connection(name: str, connector: str) -> ConnectionStatus:
        state, cause, until, failures = stored.get(name) or ("open", None, None, 0)
        owing = tuple(sync for sync in syncs.values() if places[sync.name] == name)
        door = told.get(name, DoorNews())
        shown = "down" if name in down else state
        return ConnectionStatus(name, connector, shown, cause, until, failures, owing, door, down.get(name))

    return Status(
        now=tx.now,
        writes_open=tx.writes_open,
        connections=tuple(connection(name, one.connector) for name, one in project.connections.items()),
        audit=_audit(tx),
        strays=strays,
        alarms=(*alarms(tx), *unsent(tx)),
    )


def _reading(tx: Tx, job: Sequence[Any] | None) -> Reading | None:
    """Return how a read goes; None if nobody is reading (whoever died at it keeps its lease a little longer)."""
    if job is None or has_come(job[2], tx.now, READ_LEASE):
        return None
    told = orjson.loads(job[3] or "null")
    return Reading(**told) if told else Reading()


def last_act(tx: Tx) -> int:
    """Return the number of the newest act, 0 without one."""
    found = _last_act(tx)
    return int(found[0][0]) if found else 0


def count_rereads(tx: Tx, syncs: Sequence[str], after: int) -> int:
    """Return how many objects of these syncs came stale since an act, so that each is read once more on its own."""
    items = (item for (body,) in _stale_since(tx, after) for item in orjson.loads(body)["items"])
    return sum(item.get("outcome") == "stale" and item.get("sync") in syncs for item in items)


def count_parked(tx: Tx, syncs: Sequence[str], since: int) -> int:
    """Return how many dead letters of these syncs began at or after a time (µs)."""
    return sum(_parked_since(tx, name, since)[0][0] for name in syncs)


def dead_by_cause(tx: Tx) -> list[tuple[str, Cause, int, int]]:
    """Return (sync, cause, how many dead letters, since when the oldest of them is, µs)."""
    return [
        (name, Cause(code) if code else Cause.BUG, count, since)  # type: ignore[call-arg]  # looked up by value
        for name, code, count, since in _parked(tx)
    ]


def _connection_of(sync: str, project: Project) -> str | None:
    known = project.syncs.get(sync)
    name = known.connection if known else sync.split(":")[1] if sync.count(":") == 2 else None
    return name if name in project.connections else None


def _count(tx: Tx, syncs: dict[str, SyncStatus]) -> None:
    def at(name: str) -> SyncStatus:
        return syncs.setdefault(name, SyncStatus(name, "in" if name.startswith("api:") else "?", "write"))

    def oldest(one: SyncStatus, since: int) -> None:
        one.oldest = since if one.oldest is None else min(one.oldest, since)

    for name, state, later, is_open, count, due, since in _due(tx, tx.now):
        one = at(name)
        between = Shown.PROCESSING if is_open else Shown.RETRYING if later else Shown.SCHEDULED
        one.counts[Shown.IN_DOUBT if state == rows.IN_DOUBT else between] += count
        one.oldest_due = due if one.oldest_due is None else min(one.oldest_due, due)
        oldest(one, since)
    for name, count, since in _claimed(tx):
        at(name).counts[Shown.PROCESSING] += count
        oldest(at(name), since)
    for name, code, count, since in _waiting(tx):
        at(name).counts[Shown.BLOCKED if code == Cause.BLOCKED else Shown.WAITING] += count
        oldest(at(name), since)
    for name, cause, count, since in dead_by_cause(tx):
        at(name).counts[Shown.FAILED] += count
        at(name).causes[cause] += count
        oldest(at(name), since)


def _audit(tx: Tx) -> AuditStatus:
    act, seal, unsealed = _last_act(tx), _last_seal(tx), _unsealed(tx)
    return AuditStatus(
        last_act=act[0][1] if act else None,
        last_seal=seal[0][1] if seal else None,
        sealed=seal[0][0] if seal else 0,
        unsealed=_count_unsealed(tx)[0][0],
        unsealed_since=unsealed[0][0] if unsealed else None,
    )


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters: of a sync, a connection, a cause; ``after``: where the previous page ended."""

    sync: str = ""
    connection: str = ""
    cause: Cause | None = None
    after: tuple[int, bytes] = (0, b"")
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    """Dead letters, oldest first. ``after``: where the next page begins, None at the end."""

    rows: tuple[RowShown, ...]
    after: tuple[int, bytes] | None


def dead_letters(tx: Tx, world: World, scope: Scope, filters: Filters) -> Page:
    """Return the next dead letters that the reader may see."""
    code = f'{{"code":"{filters.cause.value}"%' if filters.cause else "%"
    after, kept = filters.after, list[RowShown]()
    while len(kept) < filters.limit:
        wanted = filters.limit - len(kept)
        found = _page(
            tx, filters.sync, filters.sync, filters.connection, filters.connection, code, *after, wanted
        )
        kept += _visible(tx, world, scope, found)
        if len(found) < wanted:
            return Page(tuple(kept), None)
        view = View(tx, world.vault)
        last = view.add_owed(found[-1:])[0]
        after = (last.since, last.id)
    return Page(tuple(kept), after)


def _visible(tx: Tx, world: World, scope: Scope, found: list[tuple[object, ...]]) -> list[RowShown]:
    view = View(tx, world.vault)
    taken = view.add_owed(found)
    made = {one.id: one for one in shown(view, taken, world)}
    return [
        made[row.id]
        for row in taken
        if may_see(scope, row, view.records.get(made[row.id].record or b""), world)
    ]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One row in full.

    ``source``: an arrival's kept body; ``body``: of the record a delivery renders from; ``candidates``: record -> its
    title; ``blocked``: who waits for it, the first of ``blocked_count``.
    """

    row: RowShown
    source: Mapping[str, object] | None
    body: Mapping[str, object] | None
    blocked: tuple[RowShown, ...]
    blocked_count: int
    candidates: Mapping[str, str | None] = field(default_factory=dict)


def dead_letter(tx: Tx, world: World, scope: Scope, row_id: bytes) -> DeadLetter | None:
    """Return one owed row, whatever its state; None if there is none or the reader may not see it."""
    view = View(tx, world.vault)
    taken = view.add_owed(_row(tx, [(row_id,)]))
    if not taken:
        return None
    row = taken[0]
    made = shown(view, [row], world)[0]
    record = view.records.get(made.record or b"")
    if not may_see(scope, row, record, world):
        return None
    view.load_sealed([row])
    key = rows.xref_key(row.target) if row.target else ""
    behind = _behind(tx, key, _MOST_BLOCKED) if key else []
    blocked = shown(view, view.add_owed(_row(tx, [(bytes(id_),) for (id_,) in behind])), world)
    names = [bytes.fromhex(text) for text in (made.cause.candidates if made.cause else ())]
    view.load_records(names, lock=False)
    kept = row.source if isinstance(row.source, dict) else None
    return DeadLetter(
        made,
        kept,
        record.body if record else None,
        tuple(blocked),
        _count_behind(tx, key)[0][0] if key else 0,
        {id_.hex(): _title(view, id_, scope) for id_ in names},
    )


def _title(view: View, id_: bytes, scope: Scope) -> str | None:
    record = view.records.get(id_)
    if record is None or not scope.admits(record.region, record.entity, record.owner):
        return None
    return title_of(record.body)
