"""One transaction's view of the rows it works on: load and lock in bulk, change in memory, flush in bulk.

Lock order everywhere: owed (in), records, owed (out), xrefs, each by id. The view knows rows, not states: what a
change means is said in :mod:`hub.pipe.rows`; syncs, mappings and authorities come in as values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson

from hub.errors import Cause, IntegrityError
from hub.store import sql
from hub.store.rows import (
    KEEP,
    OWED_BORN,
    OWED_COLUMNS,
    OWED_STATE,
    RECORD_COLUMNS,
    XREF_COLUMNS,
    XREF_STATE,
    Owed,
    Record,
    Xref,
    owed_born,
    owed_of,
    owed_state,
    record_columns,
    record_of,
    xref_columns,
    xref_of,
    xref_state,
)
from hub.store.schema import jobs, keys, owed, records, xrefs
from hub.store.tx import Tx

__all__ = ["Sealer", "View"]

lock_records = sql.bulk_select(records, RECORD_COLUMNS, key="id", lock="update", order="id")
hold_records = sql.bulk_select(records, "id", key="id", lock="update", order="id")
share_records = sql.bulk_select(records, "id", key="id", lock="share", order="id")
read_records = sql.bulk_select(records, RECORD_COLUMNS, key="id")
insert_records = sql.bulk_insert(records, RECORD_COLUMNS)
_RECORD_STATE = "version entity owner body merged_into deleted data_key act"
update_records = sql.bulk_update(records, _RECORD_STATE, key="id")
move_records = sql.bulk_update(records, "region", key="id")

lock_owed = sql.bulk_select(owed, OWED_COLUMNS, key="sync subject", lock="update", order="id")
lock_owed_by_id = sql.bulk_select(owed, OWED_COLUMNS, key="id", lock="update", order="id")
read_sealed = sql.bulk_select(owed, "id source payload", key="id")
peek_states = sql.bulk_select(owed, "sync subject state", key="sync subject")
open_targets = sql.bulk_select(owed, OWED_COLUMNS, key="target", where="generation IS NOT NULL")
insert_owed = sql.bulk_insert(owed, OWED_BORN)
insert_open = sql.bulk_insert(owed, f"{OWED_COLUMNS} source payload")
raise_owed = sql.bulk_insert(owed, OWED_BORN, on_conflict="nothing", key="sync subject")
update_owed = {
    (False, False): sql.bulk_update(owed, OWED_STATE, key="id"),
    (True, False): sql.bulk_update(owed, f"{OWED_STATE} source", key="id"),
    (False, True): sql.bulk_update(owed, f"{OWED_STATE} payload", key="id"),
    (True, True): sql.bulk_update(owed, f"{OWED_STATE} source payload", key="id"),
}
delete_owed = sql.bulk_delete(owed, key="id")

_XREF_KEY = "connection object org vendor_id"
read_xrefs = sql.bulk_select(xrefs, XREF_COLUMNS, key=_XREF_KEY)
lock_xrefs = sql.bulk_select(xrefs, XREF_COLUMNS, key=_XREF_KEY, lock="update", order=_XREF_KEY)
read_primary = sql.bulk_select(xrefs, XREF_COLUMNS, key="connection object org record", where="is_primary")
lock_primary = sql.bulk_select(
    xrefs,
    XREF_COLUMNS,
    key="connection object org record",
    where="is_primary",
    lock="update",
    order=_XREF_KEY,
)
upsert_xrefs = sql.bulk_upsert(xrefs, XREF_COLUMNS, key=_XREF_KEY)
update_xrefs = sql.bulk_update(xrefs, XREF_STATE, key=_XREF_KEY)
"""An xref is never deleted, so a row that was read is there."""

read_keys = sql.bulk_select(keys, "name value record strong", key="name value")
insert_keys = sql.bulk_insert(keys, "name value record strong")
delete_keys = sql.bulk_delete(keys, key="name value record")

find_waiting = sql.bulk_select(
    owed, "id", key="waits_for", where="state = 'waiting'", lock="update", order="id"
)
wake_rows = sql.bulk_update(owed, "state waits_for cause due act", key="id", where="state = 'waiting'")
lock_values = sql.query("SELECT pg_advisory_xact_lock(v) FROM unnest(?::bigint[]) AS v")
"""PostgreSQL only: SQLite's writer is alone."""
advance_job = sql.command(
    "UPDATE jobs SET position = ?, act = ? WHERE name = ? AND fence = ? AND position = ?"
)
read_job = sql.bulk_select(
    jobs, "name kind spec position due holder lease fence progress state act", key="name"
)


class Sealer(Protocol):
    """What the view needs of the vault: seal and open blobs of a scope."""

    def seal(self, scope: str, plain: bytes, aad: bytes) -> bytes:
        """Encrypt under the scope's key."""
        ...

    def open_(self, scope: str, blob: bytes, aad: bytes) -> bytes:
        """Decrypt; raise IntegrityError when the blob was altered or belongs elsewhere."""
        ...


def _hash(name: str, value: str) -> int:
    digest = hashlib.blake2b(f"{name}\0{value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class View:
    """The rows of one transaction. Load first, change, then :meth:`flush` once."""

    def __init__(self, tx: Tx, sealer: Sealer) -> None:
        """Start empty."""
        self.tx = tx
        self.sealer = sealer
        self.now = tx.now
        self.records: dict[bytes, Record] = {}
        self.owed: dict[tuple[str, str], Owed] = {}
        self.xrefs: dict[tuple[str, str, str, str], Xref] = {}
        self.primary: dict[tuple[str, str, str, bytes], Xref] = {}
        self.targets: dict[str, Owed] = {}
        self.keys: dict[tuple[str, str], list[tuple[bytes, bool]]] = {}
        self._asked_keys: set[tuple[str, str]] = set()
        self.peeked: dict[tuple[str, str], str] = {}
        self.asked_primary: set[tuple[str, str, str, bytes]] = set()
        self.asked: set[tuple[str, str, str, str]] = set()
        """Xrefs that were looked for: whatever is not in ``xrefs`` does not exist."""
        self.items: list[dict[str, Any]] = []
        self._changed_records: dict[bytes, Record] = {}
        self._changed_owed: dict[bytes, Owed] = {}
        self._changed_xrefs: dict[tuple[str, str, str, str], Xref] = {}
        self._deleted: list[Owed] = []
        self._raised: list[Owed] = []
        self._new_keys: dict[tuple[str, str, bytes], bool] = {}
        self._old_keys: list[tuple[str, str, bytes]] = []
        self._woken: dict[str, None] = {}

    @property
    def act(self) -> int:
        """Number of this transaction's act; draw it only after the row locks are held."""
        return self.tx.act

    # load ------------------------------------------------------------------------------------------------

    def lock_owed(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Lock and load rows by (sync, subject)."""
        self._take_owed(lock_owed(self.tx, [pair for pair in pairs if pair not in self.owed]))

    def lock_owed_by_id(self, ids: Iterable[bytes]) -> list[Owed]:
        """Lock and load rows by id; rows that are gone are left out."""
        return self._take_owed(lock_owed_by_id(self.tx, [(id_,) for id_ in ids]))

    def add_owed(self, rows: Iterable[Sequence[Any]]) -> list[Owed]:
        """Take rows that a statement of the caller has loaded (and locked)."""
        return self._take_owed(rows)

    def _take_owed(self, rows: Iterable[Sequence[Any]]) -> list[Owed]:
        taken = []
        for columns in rows:
            row = owed_of(columns)
            self.owed[row.sync, row.subject] = row
            if row.target and row.open:
                self.targets[row.target] = row
            taken.append(row)
        return taken

    def load_sealed(self, rows: Sequence[Owed]) -> None:
        """Decrypt source and payload of these rows."""
        by_id = {row.id: row for row in rows if not row.is_new}
        for id_, source, payload in read_sealed(self.tx, [(key,) for key in by_id]):
            row = by_id[bytes(id_)]
            row.source = self._open(row, source)
            row.payload = self._open(row, payload)

    def _open(self, row: Owed, blob: bytes | None) -> Any:
        if blob is None:
            return None
        return orjson.loads(self.sealer.open_(f"connection:{row.connection}", bytes(blob), row.id))

    def _seal(self, row: Owed, value: Any) -> bytes | None:
        if value is None:
            return None
        return self.sealer.seal(f"connection:{row.connection}", orjson.dumps(value), row.id)

    def load_records(self, ids: Iterable[bytes], *, lock: bool) -> None:
        """Load records, with a row lock if they may change."""
        wanted = [(id_,) for id_ in ids if id_ not in self.records]
        for row in (lock_records if lock else read_records)(self.tx, wanted):
            record = record_of(row)
            self.records[record.id] = record

    def hold_records(self, ids: Iterable[bytes]) -> None:
        """Lock records without reading them: nothing about them is decided, but nobody may change them meanwhile."""
        if self.tx.dialect == "postgresql":  # SQLite's writer is alone
            hold_records(self.tx, [(id_,) for id_ in ids])

    def peek_owed(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Look at the states of rows without locking them."""
        for sync, subject, state in peek_states(self.tx, list(pairs)):
            self.peeked[sync, subject] = state

    def share_records(self, ids: Iterable[bytes]) -> None:
        """Take a share lock on records that a waiting row names (the producer holds FOR UPDATE before it wakes)."""
        share_records(self.tx, [(id_,) for id_ in ids])

    def load_xrefs(self, keys_: Iterable[tuple[str, str, str, str]], *, lock: bool) -> None:
        """Load xrefs by vendor id; with ``lock`` they are read again under it."""
        for row in (lock_xrefs if lock else read_xrefs)(self.tx, list(keys_)):
            self.take_xref(row)

    def load_primary(self, keys_: Iterable[tuple[str, str, str, bytes]], *, lock: bool = False) -> None:
        """Load the primary xrefs of (connection, object, org, record)."""
        for row in (lock_primary if lock else read_primary)(self.tx, list(keys_)):
            self.take_xref(row)

    def take_xref(self, columns: Sequence[Any]) -> Xref:
        """Take an xref that a statement has loaded; one that was changed here stays as it is."""
        xref = xref_of(columns)
        if xref.key in self._changed_xrefs:
            return self._changed_xrefs[xref.key]
        self.xrefs[xref.key] = xref
        if xref.is_primary:
            self.primary[xref.connection, xref.object, xref.org, xref.record] = xref
        return xref

    def load_targets(self, targets: Iterable[str]) -> None:
        """Load the open attempts at these targets; what was seen before without a lock is forgotten."""
        wanted = list(targets)
        for target in wanted:
            seen = self.targets.get(target)
            if seen is not None and (seen.sync, seen.subject) not in self.owed:
                del self.targets[target]
        for columns in open_targets(self.tx, [(target,) for target in wanted]):
            row = owed_of(columns)
            assert row.target is not None  # the index names only rows with a target
            self.targets[row.target] = self.owed.get((row.sync, row.subject), row)

    def lock_keys(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Let nobody else decide about the same match keys at the same time: two partitions, one new person."""
        if self.tx.dialect == "postgresql":
            hashes = {_hash(name, value) for name, value in wanted}
            if hashes:
                lock_values(self.tx, sorted(hashes))

    def load_keys(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Load who holds these match keys."""
        asked = [key for key in dict.fromkeys(wanted) if key not in self._asked_keys]
        self._asked_keys.update(asked)
        left = set(self._old_keys)
        for name, value, record, strong in read_keys(self.tx, asked):
            holder = (bytes(record), bool(strong))
            known = self.keys.setdefault((name, value), [])
            if holder not in known and (name, value, holder[0]) not in left:
                known.append(holder)

    # change ----------------------------------------------------------------------------------------------

    def save_record(self, record: Record) -> None:
        """Write this record at the flush."""
        record.act = self.act
        self.records[record.id] = record
        self._changed_records[record.id] = record

    def save_xref(self, xref: Xref) -> None:
        """Write this xref at the flush; every touch stamps the act (a refusal is judged by it)."""
        xref.act = self.act
        at = (xref.connection, xref.object, xref.org, xref.record)
        if xref.is_primary:
            self.primary[at] = xref
        elif self.primary.get(at) is xref:
            del self.primary[at]
        self.xrefs[xref.key] = xref
        self._changed_xrefs[xref.key] = xref

    def save_owed(self, row: Owed, *, quiet: bool = False) -> None:
        """Write this row at the flush; ``quiet``: only its due time moved, which is no act."""
        if not quiet:
            row.act = self.act
        self.owed[row.sync, row.subject] = row
        if row.target:
            if row.open:
                self.targets[row.target] = row
            elif self.targets.get(row.target) is row:
                del self.targets[row.target]
        self._changed_owed[row.id] = row

    def delete_owed(self, row: Owed) -> None:
        """Delete this row at the flush: the debt is paid."""
        self._changed_owed.pop(row.id, None)
        self.owed.pop((row.sync, row.subject), None)
        if row.target and self.targets.get(row.target) is row:
            del self.targets[row.target]
        if not row.is_new:
            self._deleted.append(row)

    def raise_owed(self, row: Owed) -> None:
        """Insert this row at the flush unless (sync, subject) exists: never moves anybody's want."""
        self._raised.append(row)

    def add_key(self, name: str, value: str, record: bytes, *, strong: bool) -> None:
        """Give a record a match key."""
        self.keys.setdefault((name, value), []).append((record, strong))
        self._new_keys[name, value, record] = strong

    def drop_key(self, name: str, value: str, record: bytes) -> None:
        """Take a match key from a record."""
        holders = self.keys.get((name, value), [])
        self.keys[name, value] = [holder for holder in holders if holder[0] != record]
        self._new_keys.pop((name, value, record), None)  # it may have come in this transaction
        self._old_keys.append((name, value, record))

    def wake(self, key: str) -> None:
        """Wake the rows that wait for this key, at the flush; the caller holds the row the key names."""
        self._woken[key] = None

    def note(self, **item: Any) -> None:
        """Add an item to this transaction's act; what is None is not told."""
        self.items.append({name: value for name, value in item.items() if value is not None})

    # write -----------------------------------------------------------------------------------------------

    def advance(self, job: str, fence: int, start: str, following: str) -> None:
        """Move a position from ``start`` to ``following`` (JSON text) if nobody else did.

        Raises:
            IntegrityError: the position or the fence is not what this reader believed; nothing happens.
        """
        if advance_job(self.tx, following, self.act, job, fence, start) != 1:
            raise IntegrityError(
                Cause.FENCED, f"{job}: the position was moved by somebody else; nothing was taken"
            )

    def flush(self, actor: str, verb: str, *, extra: Callable[[View], None] | None = None) -> None:
        """Write everything in bulk, wake who waits, write the act. A flush that changed nothing writes no act."""
        tx = self.tx
        changed = [(record, record_columns(record)) for record in self._changed_records.values()]
        insert_records(tx, [row for record, row in changed if record.is_new])
        known = [(record, row) for record, row in changed if not record.is_new]
        update_records(tx, [(id_, version, *state) for _, (id_, _, version, _, *state) in known])
        move_records(
            tx, [(row[0], record.region) for record, row in known if record.region != record.stored_region]
        )
        delete_keys(tx, self._old_keys)
        insert_keys(tx, [(*key, strong) for key, strong in self._new_keys.items()])
        self._flush_owed()
        touched = self._changed_xrefs.values()
        upsert_xrefs(tx, [xref_columns(xref) for xref in touched if xref.stored != xref.indexed])
        update_xrefs(tx, [(*xref.key, *xref_state(xref)) for xref in touched if xref.stored == xref.indexed])
        woken = find_waiting(tx, [(key,) for key in self._woken])
        wake_rows(tx, [(id_, "ready", None, None, self.now, self.act) for (id_,) in woken])
        if extra:
            extra(self)
        if self.items or tx.has_act:
            tx.journal(actor, verb, {"items": self.items}, self._touched())

    def _flush_owed(self) -> None:
        tx = self.tx
        delete_owed(tx, [(row.id,) for row in self._deleted])
        rows = list(self._changed_owed.values())
        insert_owed(tx, [self._born(row) for row in rows if row.is_new and not row.open])
        insert_open(tx, [self._owed_row(row) for row in rows if row.is_new and row.open])
        for shape, statement in update_owed.items():
            same = [
                r for r in rows if not r.is_new and (r.source is not KEEP, r.payload is not KEEP) == shape
            ]
            statement(tx, [(row.id, *owed_state(row), *self._sealed(row, shape)) for row in same])
        raise_owed(tx, [self._born(row) for row in self._raised])

    def _sealed(self, row: Owed, shape: tuple[bool, bool]) -> list[bytes | None]:
        return [
            self._seal(row, value)
            for value, said in zip((row.source, row.payload), shape, strict=True)
            if said
        ]

    def _born(self, row: Owed) -> tuple[Any, ...]:
        source = None if row.source is KEEP else self._seal(row, row.source)
        return (*owed_born(row), source)

    def _owed_row(self, row: Owed) -> tuple[Any, ...]:
        source = None if row.source is KEEP else self._seal(row, row.source)
        payload = None if row.payload is KEEP else self._seal(row, row.payload)
        return (row.id, row.sync, row.subject, row.connection, row.target, *owed_state(row), source, payload)

    def _touched(self) -> set[bytes]:
        ids = {bytes.fromhex(item["record"]) for item in self.items if item.get("record")}
        return ids | set(self._changed_records)
