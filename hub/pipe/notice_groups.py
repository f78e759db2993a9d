"""What is to be told, kept in the store until it was: groups of dead letters per addressee and cause, approvals that ended.

The sealed acts are read in the order of their numbers, once: what they add to the groups is written together with the
position. A group is a row of `jobs`, due when its time is over. Like alarms these rows are for people, no decision of
the pipe reads them, so they have no act; a notice that was sent has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from hub.clock import SECOND
from hub.pipe.alarms import Alarm
from hub.pipe.jobs import Lease, move_quietly
from hub.pipe.rows import PARKED
from hub.pipe.share import LEASE
from hub.pipe.shown import RowShown, shown
from hub.project.notices import Addressee, Notices
from hub.store import schema, sql
from hub.store.rows import OWED_COLUMNS
from hub.store.view import View

if TYPE_CHECKING:
    from hub.pipe.world import World
    from hub.store.engine import Tx
    from hub.store.rows import Record

__all__ = [
    "ENDS",
    "Group",
    "Spec",
    "begin",
    "follow",
    "groups",
    "load",
    "named",
    "save",
    "sealed",
    "still_stuck",
    "unsent",
]

GROUP: Final = "notice"
"""Kind of the rows, and what begins their names."""
ENDS: Final = ("approved", "rejected", "revoked")
"""States of an approval that its applicant is told of; who withdrew it knows."""
KEPT: Final = 200
"""Dead letters a group names; more are counted."""
STALE: Final = 86_400 * SECOND
"""µs after which nobody is told any more how an approval ended: everybody knows."""
FIRST: Final = 500
"""Dead letters that a page of the first gathering has."""

_sealed = sql.query("SELECT last_seq FROM seals ORDER BY last_seq DESC LIMIT 1")
_acts = sql.query("SELECT seq, at, body FROM acts WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?")
_numbers = sql.bulk_select(schema.acts, "id seq", key="id")
_parked = sql.query(
    f"SELECT {', '.join(OWED_COLUMNS.split())} FROM owed WHERE state = 'parked' AND (since, id) > (?, ?) "
    "ORDER BY since, id LIMIT ?"
)
_rows = sql.bulk_select(schema.owed, OWED_COLUMNS, key="id")
_groups = sql.query(
    "SELECT name, spec, position, due FROM jobs WHERE kind = 'notice' ORDER BY due LIMIT 1000"
)
_lock = sql.bulk_select(schema.jobs, "name spec position due", key="name", lock="update", order="name")
_new = sql.bulk_insert(
    schema.jobs, "name kind spec position due fence progress state act", on_conflict="nothing", key="name"
)
_save = sql.command("UPDATE jobs SET position = ?, due = ? WHERE name = ?")


@dataclass(frozen=True, slots=True)
class Spec:
    """Whom a group is for, and what it is about: a cause (its code), or how an approval ended (``approval``: its record).

    ``who``: the owner's code or the legal entity, "" for IT.
    """

    to: str
    who: str
    about: str
    lang: str
    approval: str = ""

    @property
    def name(self) -> str:
        """The name of the row."""
        return f"{GROUP}:{self.to}:{self.who}:{self.about}:{self.lang}:{self.approval}"


@dataclass(slots=True)
class Group:
    """One group. ``rows``: dead letters, hex; ``more``: beyond them; ``pin``: what is being sent, None: nothing.

    ``failures``, ``why``, ``since``: of its sending, since when it fails (µs). ``to_it``: who it is for was not reached.
    """

    spec: Spec
    rows: list[str] = field(default_factory=list)
    more: int = 0
    failures: int = 0
    why: str = ""
    since: int = 0
    to_it: bool = False
    pin: dict[str, Any] | None = None
    due: int = 0

    def add(self, row: str) -> None:
        """Add a dead letter that is not among them."""
        if row in self.rows:
            return
        if len(self.rows) < KEPT:
            self.rows.append(row)
        else:
            self.more += 1


def sealed(tx: Tx) -> int:
    """Return the number of the last sealed act, 0 without one."""
    found = _sealed(tx)
    return int(found[0][0]) if found else 0


def begin(tx: Tx, held: Lease, world: World) -> int:
    """Gather every dead letter there is, and begin behind the last sealed act; return its number.

    A row that was stopped by an act that is not sealed yet is left to :func:`follow`, which will come to that act.
    """
    last, after = sealed(tx), (0, b"")
    while found := _parked(tx, *after, FIRST):
        view = View(tx, world.vault)
        taken = view.add_owed(found)
        numbers: dict[int, int | None] = dict(_numbers(tx, sorted({(row.act,) for row in taken})))
        old = [row for row in taken if row.act not in numbers or (numbers[row.act] or last + 1) <= last]
        _add(tx, world, shown(view, old, world), view)
        after = taken[-1].since, taken[-1].id
    move_quietly(tx, held, held.at, {"seq": last}, LEASE)
    return last


def follow(tx: Tx, held: Lease, world: World, seq: int, limit: int) -> int:
    """Add what the next sealed acts tell to the groups; return how far that went, in one transaction with the position."""
    acts = _acts(tx, seq, sealed(tx), limit)
    if not acts:
        return seq
    items = [
        (at, item) for _, at, body in acts if _speaks(body) for item in orjson.loads(body).get("items", ())
    ]
    stopped = dict.fromkeys(item["row"] for _, item in items if _is_stopped(item))
    view = View(tx, world.vault)
    rows = {row.id.hex(): row for row in view.add_owed(_rows(tx, [(bytes.fromhex(id_),) for id_ in stopped]))}
    parked = [row for id_ in stopped if (row := rows.get(id_)) and row.state == PARKED]
    _add(tx, world, shown(view, parked, world), view)
    told = world.project.notices
    if told is not None and told.approvals:
        decided = {item["record"] for at, item in items if _has_ended(item) and at > tx.now - STALE}
        _add_approvals(tx, view, sorted(decided), told)
    move_quietly(tx, held, {"seq": seq}, {"seq": acts[-1][0]}, LEASE)
    return int(acts[-1][0])


def _speaks(body: str) -> bool:
    """Say whether an act is worth to be parsed: most are not."""
    return '"parked"' in body or '"approval"' in body


def _is_stopped(item: Mapping[str, Any]) -> bool:
    parked = item.get("outcome") == "parked" or (
        item.get("outcome") == "lapsed" and item.get("state") == PARKED
    )
    return parked and "row" in item


def _has_ended(item: Mapping[str, Any]) -> bool:
    """Say whether an approval that was known changed its state: one that is first seen when it is over is old news."""
    known = item.get("kind") == "approval" and item.get("outcome") == "changed"
    return known and "status" in item.get("fields", ()) and bool(item.get("record"))


def _add(tx: Tx, world: World, found: Sequence[RowShown], view: View) -> None:
    told = world.project.notices
    if told is None:
        return
    wanted: dict[Spec, list[str]] = {}
    for row, spec in named(view, found, world, told):
        if spec is not None:
            wanted.setdefault(spec, []).append(row.id.hex())
    due = tx.now + int(told.every * SECOND)
    for spec, ids in sorted(wanted.items(), key=lambda one: one[0].name):
        group = load(tx, spec.name) or _made(tx, spec, due)
        for id_ in ids:
            group.add(id_)
        save(tx, group)


def _add_approvals(tx: Tx, view: View, records: Sequence[str], told: Notices) -> None:
    ids = [bytes.fromhex(record) for record in records]
    view.load_records(ids, lock=False)
    for id_ in ids:
        record = view.records.get(id_)
        state = str(record.body.get("status")) if record else ""
        who = record.body.get("applicant") if record else None
        if record is not None and state in ENDS and isinstance(who, str) and who:
            spec = Spec(Addressee.OWNER.value, who, state, told.lang(record.region), id_.hex())
            save(tx, load(tx, spec.name) or _made(tx, spec, tx.now))


def named(
    view: View, found: Iterable[RowShown], world: World, told: Notices
) -> Iterator[tuple[RowShown, Spec | None]]:
    """Give whom each dead letter is for; None: no rule names it."""
    taken = list(found)
    named = {
        id_ for one in taken if (record := view.records.get(one.record or b"")) for id_ in _behind(record)
    }
    view.load_records(named - view.records.keys(), lock=False)
    for one in taken:
        record = view.records.get(one.record or b"")
        to = told.addressee(one.cause.code, one.kind) if one.cause else None
        if one.cause is None or to is None:
            yield one, None
            continue
        who = _owner(view, record) if to is Addressee.OWNER else _entity(one, record, world)
        region = record.region if record else _region(one, world)
        who = who if to is not Addressee.IT else ""
        yield one, Spec(to.value, who, one.cause.code.value, told.lang(region))


def _behind(record: Record) -> list[bytes]:
    """Return the records whose owner answers for one without: the contract, the customer."""
    found = (record.body.get(name) for name in ("contract", "customer"))
    return [bytes.fromhex(id_) for id_ in found if isinstance(id_, str) and len(id_) == 32]


def _owner(view: View, record: Record | None) -> str:
    if record is None:
        return ""
    behind = (view.records.get(id_) for id_ in _behind(record))
    return next((one.owner for one in (record, *behind) if one is not None and one.owner), "")


def _entity(row: RowShown, record: Record | None, world: World) -> str:
    sync, connection = world.sync(row.sync), world.project.connections.get(row.connection)
    found = (
        record.entity if record else None,
        record.body.get("entity") if record else None,
        sync.entity if sync else None,
        connection.entity if connection else None,
    )
    return next((str(one) for one in found if one), "")


def _region(row: RowShown, world: World) -> str:
    return world.project.region_of(row.connection, None)


def still_stuck(tx: Tx, group: Group, world: World) -> tuple[View, list[RowShown]]:
    """Return those of a group that are dead letters of its cause still, with their records loaded."""
    view = View(tx, world.vault)
    taken = view.add_owed(_rows(tx, [(bytes.fromhex(row),) for row in group.rows]))
    found = shown(view, [row for row in taken if row.state == PARKED], world)
    here = [one for one in found if one.cause is not None and one.cause.code.value == group.spec.about]
    behind = {
        id_ for one in here if (record := view.records.get(one.record or b"")) for id_ in _behind(record)
    }
    view.load_records(behind - view.records.keys(), lock=False)
    return view, sorted(here, key=lambda one: group.rows.index(one.id.hex()))


# rows -----------------------------------------------------------------------------------------------------------


def _made(tx: Tx, spec: Spec, due: int) -> Group:
    group = Group(spec, due=due)
    row = (spec.name, GROUP, orjson.dumps(asdict(spec)).decode(), _position(group), due, 0, "null", "due", 0)
    _new(tx, [row])
    return load(tx, spec.name) or group


def load(tx: Tx, name: str) -> Group | None:
    """Return a group, locked; None: there is none."""
    found = _lock(tx, [(name,)])
    return _group(*found[0]) if found else None


def groups(tx: Tx) -> list[Group]:
    """Return what is to be told (of very many the first), what is due first before the rest."""
    return [_group(*row) for row in _groups(tx)]


def save(tx: Tx, group: Group) -> None:
    """Store a group that is there."""
    _save(tx, _position(group), group.due, group.spec.name)


def unsent(tx: Tx) -> list[Alarm]:
    """Return the notices that could not be sent, as alarms: they are tried again, and a person may have to mend it."""
    return [
        Alarm(
            group.spec.to + (f" {group.spec.who}" if group.spec.who else ""),
            "notices",
            group.why,
            group.since,
        )
        for group in groups(tx)
        if group.failures
    ]


def _group(name: str, spec: str, position: str, due: int) -> Group:
    del name
    return Group(Spec(**orjson.loads(spec)), **orjson.loads(position), due=due)


def _position(group: Group) -> str:
    known = {name: value for name, value in asdict(group).items() if name not in ("spec", "due")}
    return orjson.dumps(known).decode()
