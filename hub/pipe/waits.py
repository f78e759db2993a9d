"""Rows that must wait: the lock order that loses no wake-up, and the debts that a wait raises."""

from __future__ import annotations

from collections.abc import Iterable

from hub.errors import Cause
from hub.pipe import rows
from hub.pipe.render import Ref, satisfied
from hub.pipe.world import World
from hub.project.values import Sync
from hub.store import sql
from hub.store.rows import Owed
from hub.store.schema import owed
from hub.store.view import View, find_waiting

__all__ = ["Waits", "awaited"]

select_awaited = sql.bulk_select(owed, "waits_for", key="waits_for", where="state = 'waiting'")


def awaited(view: View, out: Iterable[Owed], world: World) -> frozenset[bytes]:
    """Return those of these rows whose record is not of their sync's legal entity, while a document of it waits for it."""
    keys: dict[str, bytes] = {}
    for row in out:
        sync, record = world.sync(row.sync), view.records.get(bytes.fromhex(row.subject))
        if sync is not None and sync.entity and record is not None and not world.serves(sync, record):
            keys[rows.xref_key(row.target or "")] = row.id
    return frozenset(keys[key] for (key,) in select_awaited(view.tx, [(key,) for key in keys]))


class Waits:
    """The waits of one claim, settled together: share locks, a second look, then sleep."""

    def __init__(self, view: View, world: World) -> None:
        """Start empty."""
        self.view = view
        self.world = world
        self._waits: list[tuple[Owed, str]] = []
        self._quiet: set[bytes] = set()
        """Rows whose wait raises no debt."""
        self._vain: dict[str, bytes] = {}
        """Key of an object that nobody will make -> its record."""

    def add(self, row: Owed, key: str, *, raises: bool = True) -> None:
        """Remember that this row waits for this key; ``raises``: and that what it waits for is owed then.

        One that is only observed has nothing made for it.
        """
        self._waits.append((row, key))
        if not raises:
            self._quiet.add(row.id)

    def never(self, row: Owed) -> None:
        """Remember that this debt ends with nothing made: who waits for its object would wait for ever."""
        if row.target:
            self._vain[rows.xref_key(row.target)] = bytes.fromhex(row.subject)

    def settle(self) -> None:
        """Take the rows the keys name FOR SHARE, read again, and let sleep who still must."""
        self._refuse()
        refs = {
            key: rows.ref_of(key.removeprefix("xref:")) for _, key in self._waits if key.startswith("xref:")
        }
        wanted = sorted(set(refs.values()), key=lambda ref: ref[3])
        if wanted:
            self.view.share_records([ref[3] for ref in wanted])
            self.view.load_primary(wanted)
            self.view.load_targets([rows.target_key(*ref) for ref in wanted])
            self.view.load_records([ref[3] for ref in wanted], lock=False)
            self.view.peek_owed([(sync.name, ref[3].hex()) for ref in wanted if (sync := self._writer(ref))])
        for row, key in self._waits:
            if key in refs:
                self._wait_for(row, key, refs[key])
            else:
                rows.wait(self.view, row, key)
                self._note(row, key)

    def _refuse(self) -> None:
        """Park who waits in vain, under the lock that keeps others from beginning to wait meanwhile."""
        if not self._vain:
            return
        self.view.hold_records(sorted(self._vain.values()))
        waiting = find_waiting(self.view.tx, [(key,) for key in self._vain])
        for row in self.view.lock_owed_by_id(id_ for (id_,) in waiting):
            self._park(row, row.waits_for or "")

    def _park(self, row: Owed, key: str) -> None:
        rows.park(self.view, row, Cause.NO_SYNC, field=key)
        self._note(row, key, parked=Cause.NO_SYNC)

    def _writer(self, ref: Ref) -> Sync | None:
        return self.world.writers.get(ref[:3])

    def _wait_for(self, row: Owed, key: str, ref: Ref) -> None:
        if satisfied(self.view, ref, self.world):
            rows.ready(self.view, row)
            return
        sync = self._writer(ref)
        record = self.view.records.get(ref[3])
        can = sync is not None and record is not None and self.world.serves(sync, record, needed=True)
        if sync is None or not can or key in self._vain:
            self._park(row, key)
            return
        state = self.view.peeked.get((sync.name, ref[3].hex()))
        if state is None and row.id not in self._quiet:
            self._raise(sync.name, ref, sync.connection, sync.lane)
        blocked = (
            {"code": Cause.BLOCKED.value, "by": f"{sync.name}/{ref[3].hex()}"} if state == rows.PARKED else {}
        )
        rows.wait(self.view, row, key, **blocked)
        self._note(row, key)

    def _raise(self, sync: str, ref: Ref, connection: str, lane: int) -> None:
        """Raise the dependency's debt unless it exists; an existing want is never moved."""
        made = rows.new_row(self.view, sync=sync, subject=ref[3].hex(), connection=connection,
                            target=rows.target_key(*ref), lane=lane)  # fmt: skip
        self.view.raise_owed(made)
        self.view.peeked[sync, ref[3].hex()] = rows.READY
        self.view.note(record=ref[3].hex(), sync=sync, outcome="owed")

    def _note(self, row: Owed, key: str, *, parked: Cause | None = None) -> None:
        self.view.note(record=row.subject, row=row.id.hex(), sync=row.sync, subject=row.subject,
                       outcome="parked" if parked else "waiting", waits_for=key,
                       cause=parked.value if parked else None)  # fmt: skip
