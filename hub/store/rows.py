"""The rows of the heart as mutable values, one class per table. They know columns, not states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = [
    "KEEP",
    "OWED_BORN",
    "OWED_COLUMNS",
    "OWED_STATE",
    "RECORD_COLUMNS",
    "XREF_COLUMNS",
    "Owed",
    "Record",
    "Xref",
    "owed_born",
    "owed_of",
    "owed_state",
    "record_columns",
    "record_of",
    "xref_columns",
    "xref_of",
    "xref_state",
]

RECORD_COLUMNS = "id kind version region entity owner body merged_into deleted data_key act"
XREF_STATE = "snapshot stored_version seen rest_until complete stage gone sent act"
XREF_COLUMNS = f"connection object org vendor_id record is_primary stable_key {XREF_STATE}"
_OWED_FIXED = "id sync subject connection target"
OWED_STATE = (
    "lane state due want force waits_for attempts deaths cause generation operation step key key_until base version "
    "revision pinned_force ref refs absent_after fence holder lease act since"
)
OWED_COLUMNS = f"{_OWED_FIXED} {OWED_STATE}"
OWED_BORN = f"{_OWED_FIXED} lane state due want force waits_for attempts deaths cause step act since source"
"""What a row without an attempt has; the other columns are NULL."""


class _Keep:
    """A sealed column that was not loaded and stays as it is."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Any = _Keep()
"""Stands for a sealed column that was not loaded; a flush leaves it alone."""


@dataclass(slots=True, eq=False)
class Record:
    """One CRM entity. ``body`` is flat JSON by field name; ``data_key`` stays sealed until someone needs it."""

    id: bytes
    kind: str
    version: int
    region: str
    entity: str | None
    owner: str | None
    body: dict[str, Any]
    merged_into: bytes | None = None
    deleted: int | None = None
    data_key: bytes | None = None
    act: int = 0
    is_new: bool = False
    key: bytes | None = field(default=None, repr=False)
    """The opened data key of a record made in this transaction; never stored."""
    stored_region: str | None = field(default=None, repr=False)
    """The region its row has: an update that says no indexed column leaves the index alone."""


@dataclass(slots=True, eq=False)
class Xref:
    """Record ↔ vendor id. ``snapshot``: field -> [ours, theirs, flips, before], digests as hex, None = not agreed."""

    connection: str
    object: str
    org: str
    vendor_id: str
    record: bytes
    is_primary: bool = True
    stable_key: str | None = None
    snapshot: dict[str, list[Any]] = field(default_factory=dict)
    stored_version: str | None = None
    seen: int = 0
    rest_until: int = 0
    complete: int | None = None
    stage: str | None = None
    gone: int | None = None
    sent: dict[str, Any] = field(default_factory=dict)
    act: int = 0
    stored: tuple[bytes, bool, str | None] | None = field(default=None, repr=False)
    """What its row has of :attr:`indexed`, None: no row yet; an update that says none of it leaves the indexes alone."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The primary key."""
        return (self.connection, self.object, self.org, self.vendor_id)

    @property
    def indexed(self) -> tuple[bytes, bool, str | None]:
        """What indexes other than the primary key stand on."""
        return (self.record, self.is_primary, self.stable_key)

    @property
    def usable_key(self) -> str:
        """How the vendor's other objects name it."""
        return self.stable_key or self.vendor_id


@dataclass(slots=True, eq=False)
class Owed:
    """A debt: what one sync still owes one subject. ``source`` and ``payload`` are KEEP unless loaded or set."""

    id: bytes
    sync: str
    subject: str
    connection: str
    target: str | None
    lane: int
    state: str
    due: int
    want: int
    force: int | None = None
    waits_for: str | None = None
    attempts: int = 0
    deaths: int = 0
    cause: dict[str, Any] | None = None
    generation: int | None = None
    operation: str | None = None
    step: int = 0
    key: str | None = None
    key_until: int | None = None
    base: dict[str, Any] | None = None
    version: int | None = None
    revision: int | None = None
    pinned_force: int | None = None
    ref: dict[str, Any] | None = None
    refs: list[Any] | None = None
    absent_after: int | None = None
    fence: int | None = None
    holder: str | None = None
    lease: int | None = None
    act: int = 0
    since: int = 0
    source: Any = KEEP
    payload: Any = KEEP
    is_new: bool = False

    @property
    def open(self) -> bool:
        """Say whether the row has an attempt."""
        return self.generation is not None

    @property
    def is_read(self) -> bool:
        """Say whether the row is an arrival (a read) rather than a delivery."""
        return self.target is None

    @property
    def plan(self) -> tuple[str, ...]:
        """The pinned steps in order."""
        return tuple(self.operation.split(",")) if self.operation else ()


def _dump(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def record_of(row: Sequence[Any]) -> Record:
    """Make a record of the columns of ``RECORD_COLUMNS``."""
    id_, kind, version, region, entity, owner, body, merged, deleted, data_key, act = row
    return Record(
        bytes(id_), kind, version, region, entity, owner, orjson.loads(body),
        bytes(merged) if merged else None, deleted, bytes(data_key) if data_key else None, act, stored_region=region,
    )  # fmt: skip


def xref_of(row: Sequence[Any]) -> Xref:
    """Make an xref of the columns of ``XREF_COLUMNS``."""
    xref = Xref(*row)
    xref.record = bytes(row[4])
    xref.is_primary = bool(row[5])
    xref.snapshot = orjson.loads(row[7])
    xref.sent = orjson.loads(row[14])
    xref.stored = xref.indexed
    return xref


_JSON_COLUMNS = tuple(OWED_COLUMNS.split().index(name) for name in ("cause", "base", "ref", "refs"))


def owed_of(row: Sequence[Any]) -> Owed:
    """Make a row object of the columns of ``OWED_COLUMNS`` (sealed columns stay KEEP)."""
    made = list(row)
    made[0] = bytes(made[0])
    for at in _JSON_COLUMNS:
        if made[at] is not None:
            made[at] = orjson.loads(made[at])
    return Owed(*made)


def record_columns(r: Record) -> tuple[Any, ...]:
    """Return the columns of ``RECORD_COLUMNS``."""
    body = _dump(r.body)
    return (
        r.id,
        r.kind,
        r.version,
        r.region,
        r.entity,
        r.owner,
        body,
        r.merged_into,
        r.deleted,
        r.data_key,
        r.act,
    )


def xref_columns(x: Xref) -> tuple[Any, ...]:
    """Return the columns of ``XREF_COLUMNS``."""
    return (*x.key, *x.indexed, *xref_state(x))


def xref_state(x: Xref) -> tuple[Any, ...]:
    """Return the columns of ``XREF_STATE``."""
    return (
        _dump(x.snapshot), x.stored_version, x.seen, x.rest_until, x.complete, x.stage, x.gone, _dump(x.sent), x.act,
    )  # fmt: skip


def owed_born(r: Owed) -> tuple[Any, ...]:
    """Return the columns of ``OWED_BORN``, without the sealed source."""
    return (
        r.id, r.sync, r.subject, r.connection, r.target, r.lane, r.state, r.due, r.want, r.force, r.waits_for,
        r.attempts, r.deaths, _dump(r.cause), r.step, r.act, r.since,
    )  # fmt: skip


def owed_state(r: Owed) -> tuple[Any, ...]:
    """Return the columns of ``OWED_STATE``."""
    return (
        r.lane, r.state, r.due, r.want, r.force, r.waits_for, r.attempts, r.deaths, _dump(r.cause), r.generation,
        r.operation, r.step, r.key, r.key_until, _dump(r.base), r.version, r.revision, r.pinned_force, _dump(r.ref),
        _dump(r.refs), r.absent_after, r.fence, r.holder, r.lease, r.act, r.since,
    )  # fmt: skip
