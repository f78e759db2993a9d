"""One record through every hop: who it is everywhere, every act that touched it in order of time, what is owed.

An id may be a record's, an owed row's, an external system's, a vendor's, or a match key such as a credit code.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from hub.crm.query import Stored, get
from hub.model.kinds import KINDS
from hub.model.text import company_key, key_text
from hub.pipe.shown import RowShown, may_see, shown
from hub.pipe.world import World
from hub.project.values import API
from hub.store import schema, sql
from hub.store.rows import OWED_COLUMNS, XREF_COLUMNS
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Scope
    from hub.store.engine import Tx
    from hub.store.rows import Owed, Xref

__all__ = ["Hop", "Identity", "Open", "Trace", "trace"]

_by_vendor_id = sql.bulk_select(schema.xrefs, XREF_COLUMNS, key="connection object org vendor_id")
_by_number = sql.bulk_select(schema.xrefs, XREF_COLUMNS, key="stable_key", where="stable_key IS NOT NULL")
_of_record = sql.bulk_select(schema.xrefs, XREF_COLUMNS, key="record")
_holders = sql.bulk_select(schema.keys, "name value record", key="name value")
_row = sql.bulk_select(schema.owed, OWED_COLUMNS, key="id")
_rows = sql.bulk_select(schema.owed, OWED_COLUMNS, key="sync subject")
_touched = sql.query("SELECT act FROM touched WHERE record = ? ORDER BY act DESC LIMIT ?")
_acts = sql.bulk_select(schema.acts, "id at actor verb body seq", key="id")
_data_key = sql.bulk_select(schema.records, "id data_key", key="id")

_MOST_ACTS = 500
_DEPTH = 5

Open = Callable[[bytes, bytes, bytes], bytes]
"""Opens sealed values: (data key, ciphertext, place) -> JSON text; see :meth:`hub.vault.Vault.open_values`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What one system calls the record. ``number``: the vendor's own number; times in µs."""

    connection: str
    object: str
    org: str
    vendor_id: str
    number: str | None
    primary: bool
    stage: str | None
    complete: int | None
    gone: int | None
    seen: int


@dataclass(frozen=True, slots=True)
class Hop:
    """One thing that happened. ``since``: µs after the hop before it, None for the first; ``sealed``: its number."""

    at: int
    since: int | None
    act: int
    sealed: int | None
    actor: str
    verb: str
    outcome: str
    sync: str | None
    subject: str | None
    known: Mapping[str, Any]
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known about one id. ``record`` None: it has not become one yet; ``also``: other things of that id.

    ``owed``: debts about it; ``blocked_by``: the chain of rows that a waiting one waits for; ``earlier``: whether
    older acts are left out.
    """

    record: Stored | None
    identities: tuple[Identity, ...]
    hops: tuple[Hop, ...]
    owed: tuple[RowShown, ...]
    blocked_by: tuple[RowShown, ...]
    earlier: bool = False
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    records: list[bytes] = field(default_factory=list)
    rows: list[Owed] = field(default_factory=list)


def trace(tx: Tx, world: World, scope: Scope, text: str, *, open_values: Open | None = None) -> Trace | None:
    """Return everything about one id; None if nothing has it or the reader may not see it.

    ``open_values``: give the old and new values of changes too, unless the record was erased.
    """
    view = View(tx, world.vault)
    found = _find(view, text.strip(), world)
    visible = [stored for id_ in dict.fromkeys(found.records) if (stored := get(tx, scope, id_)) is not None]
    if visible:
        also = tuple(one.id.hex() for one in visible[1:])
        return _of(view, visible[0], world, scope, open_values=open_values, also=also)
    strangers = [row for row in found.rows if row.is_read and may_see(scope, row, None, world)]
    if found.records or not strangers:
        return None
    return _arriving(view, strangers, world)


# finding ------------------------------------------------------------------------------------------------------


def _find(view: View, text: str, world: World) -> _Found:
    found = _Found()
    id_ = _id(text)
    if id_ is not None:
        view.load_records([id_], lock=False)
        if id_ in view.records:
            found.records.append(id_)
        found.rows += view.add_owed(_row(view.tx, [(id_,)]))
    connection, _, rest = text.partition("/")
    only, vendor_id = (connection, rest) if rest and connection in world.project.connections else ("", text)
    places = [place for place in _places(world) if only in ("", place[0])]
    ids = {place: _as_key(place, vendor_id, world) for place in places}
    for columns in _by_vendor_id(view.tx, [(*place, ids[place]) for place in places]):
        found.records.append(view.take_xref(columns).record)
    for columns in _by_number(view.tx, [(vendor_id,)]):
        found.records.append(view.take_xref(columns).record)
    pairs = [pair for place in places for pair in _arrivals(place, ids[place], world)]
    found.rows += view.add_owed(_rows(view.tx, pairs))
    if not found.records and not found.rows:
        found.records += [bytes(record) for _, _, record in _holders(view.tx, _keys(text))]
    found.records += [bytes.fromhex(row.subject) for row in found.rows if not row.is_read]
    for row in found.rows:
        if row.is_read and (known := _known_as(view, row, world)):
            found.records.append(known.record)
    return found


def _id(text: str) -> bytes | None:
    plain = text.replace("-", "").lower()
    return bytes.fromhex(plain) if len(plain) == 32 and not set(plain) - set("0123456789abcdef") else None


def _places(world: World) -> list[tuple[str, str, str]]:
    """Return every (connection, object, organisation) whose objects have ids."""
    project = world.project
    api = [(name, kind, "") for name, one in project.connections.items() if one.kind == API for kind in KINDS]
    return list(
        dict.fromkeys([*api, *((sync.connection, sync.object, sync.org) for sync in project.syncs.values())])
    )


def _as_key(place: tuple[str, str, str], vendor_id: str, world: World) -> str:
    """Fold an id as the keys of the place's stream are: people copy it as the vendor shows it."""
    spec, sync = world.specs.get(place[0]), world.inbound(place[0], place[1])
    stream = spec.streams.get((sync.stream if sync else None) or place[1]) if spec else None
    return vendor_id if stream is None else stream.folded(vendor_id)


def _arrivals(place: tuple[str, str, str], vendor_id: str, world: World) -> Iterator[tuple[str, str]]:
    sync = world.inbound(place[0], place[1])
    if sync is not None:
        yield sync.name, f"{place[2]}/{vendor_id}"


def _known_as(view: View, row: Owed, world: World) -> Xref | None:
    sync = world.sync(row.sync)
    if sync is None:
        return None
    org, _, vendor_id = row.subject.partition("/")
    at = (sync.connection, sync.object, org, vendor_id)
    view.load_xrefs([at], lock=False)
    return view.xrefs.get(at)


def _keys(text: str) -> list[tuple[str, str]]:
    forms = {text, key_text(text), company_key(text), text.upper()}
    names = [
        f"{kind.name}.{name}" for kind in KINDS.values() for name in (*kind.strong_keys, *kind.match_keys)
    ]
    return [(name, form) for name in names for form in sorted(forms) if form]


# telling ------------------------------------------------------------------------------------------------------


def _of(
    view: View, record: Stored, world: World, scope: Scope, *, open_values: Open | None, also: tuple[str, ...]
) -> Trace:
    xrefs = [view.take_xref(columns) for columns in _of_record(view.tx, [(record.id,)])]
    pairs = [
        pair
        for xref in xrefs
        for pair in _arrivals((xref.connection, xref.object, xref.org), xref.vendor_id, world)
    ]
    pairs += [(sync.name, record.id.hex()) for sync in world.project.syncs_out(record.kind)]
    rows = view.add_owed(_rows(view.tx, pairs))
    acts = [act for (act,) in _touched(view.tx, record.id, _MOST_ACTS + 1)]
    opener = _opener(view, record.id, world, open_values)
    hops = _hops(view.tx, sorted(acts[:_MOST_ACTS]), _About(record.id.hex(), frozenset(pairs), opener))
    return Trace(
        record,
        tuple(_identity(xref) for xref in sorted(xrefs, key=lambda one: (one.seen, one.key))),
        tuple(hops),
        tuple(shown(view, rows, world)),
        tuple(_blocked_by(view, rows, world, scope)),
        len(acts) > _MOST_ACTS,
        also,
    )


def _arriving(view: View, found: Sequence[Owed], world: World) -> Trace:
    """Tell what is known of an object that has not become a record yet: its row, and the act that touched it last."""
    pairs = frozenset((row.sync, row.subject) for row in found)
    hops = _hops(view.tx, sorted({row.act for row in found}), _About(None, pairs, None))
    return Trace(None, (), tuple(hops), tuple(shown(view, found, world)), ())


def _identity(xref: Xref) -> Identity:
    return Identity(
        xref.connection,
        xref.object,
        xref.org,
        xref.vendor_id,
        xref.stable_key,
        xref.is_primary,
        xref.stage,
        xref.complete,
        xref.gone,
        xref.seen,
    )


@dataclass(frozen=True, slots=True)
class _About:
    record: str | None
    pairs: frozenset[tuple[str, str]]
    opener: Callable[[int, str], dict[str, Any] | None] | None

    def concerns(self, item: Mapping[str, Any]) -> bool:
        """An act is of many records: only the items about this one are told."""
        if self.record is not None and self.record in (item.get("record"), item.get("subject")):
            return True
        return item.get("record") is None and (item.get("sync"), item.get("subject")) in self.pairs


_HEAD = frozenset({"record", "row", "sync", "subject", "outcome", "values"})


def _hops(tx: Tx, acts: Sequence[int], about: _About) -> Iterator[Hop]:
    before: int | None = None
    for id_, at, actor, verb, body, seq in sorted(_acts(tx, [(act,) for act in acts])):
        for item in orjson.loads(body).get("items", ()):
            if not about.concerns(item):
                continue
            sealed = item.get("values")
            yield Hop(
                at,
                None if before is None else at - before,
                id_,
                seq,
                actor,
                verb,
                str(item.get("outcome", "")),
                item.get("sync"),
                item.get("subject"),
                {name: value for name, value in item.items() if name not in _HEAD and value is not None},
                about.opener(id_, sealed) if about.opener and isinstance(sealed, str) else None,
            )
            before = at


def _opener(
    view: View, record: bytes, world: World, open_values: Open | None
) -> Callable[[int, str], dict[str, Any] | None] | None:
    found = _data_key(view.tx, [(record,)])
    if open_values is None or not found or found[0][1] is None:
        return None
    key = world.vault.open_data_key(record, bytes(found[0][1]))

    def opened(act: int, sealed: str) -> dict[str, Any] | None:
        value = orjson.loads(open_values(key, base64.b64decode(sealed), str(act).encode()))
        return value if isinstance(value, dict) else None

    return opened


def _blocked_by(view: View, found: Sequence[Owed], world: World, scope: Scope) -> Iterator[RowShown]:
    """Give the rows a waiting row waits for, one behind the other."""
    seen: set[tuple[str, str]] = set()
    waiting = [row.waits_for for row in found if row.waits_for]
    for _ in range(_DEPTH):
        pairs = [
            pair for key in waiting if (pair := _dependency(key, world)) is not None and pair not in seen
        ]
        seen.update(pairs)
        rows = view.add_owed(_rows(view.tx, pairs))
        if not rows:
            return
        view.load_records([bytes.fromhex(row.subject) for row in rows], lock=False)
        rows = [
            row for row in rows if may_see(scope, row, view.records.get(bytes.fromhex(row.subject)), world)
        ]
        yield from shown(view, rows, world)
        waiting = [row.waits_for for row in rows if row.waits_for]


def _dependency(key: str, world: World) -> tuple[str, str] | None:
    name, _, target = key.partition(":")
    if name not in ("xref", "target"):
        return None
    connection, object_, org, record = target.split("/")
    writer = world.writers.get((connection, object_, org))
    return (writer.name, record) if writer else None
