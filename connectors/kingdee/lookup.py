"""Looking objects up: by the key we own after a lost answer, by id otherwise, many in one query (4).

Not found by id is not yet gone: rows outside the user's data permission are absent too (2.6), so a second, different
question (View) decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.kingdee.client import KingdeeClient
from connectors.kingdee.reading import literal, record_of
from connectors.kingdee.shape import Shape, leaves, rows_of
from hub.sdk import (
    Absent,
    CannotTell,
    Cause,
    Failed,
    FindResult,
    Found,
    Gone,
    IntegrityError,
    Json,
    Refused,
    RemoteError,
    Several,
    SourceRecord,
    TryAgain,
    VendorKey,
    VendorRef,
    Write,
    company_key,
)

__all__ = ["LEADS_TO", "Lookup", "Stored"]

LEADS_TO: Mapping[str, tuple[str, ...]] = {
    "submit": ("B", "C"),
    "audit": ("C",),
    "cancel": ("D", "A", "Z"),
    "unaudit": ("D", "A", "Z"),
}
"""Step -> the statuses (3.1) that show it took effect."""

CHUNK = 50  # objects a query; their rows stay far below one page
LIMIT = 2000


@dataclass(slots=True)
class Stored:
    """One object as a query shows it: the head's columns and the rows' columns, rows in their order."""

    head: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)


class Lookup:
    """Reads single objects of one form. ``key_field``: where the number we own is stored."""

    def __init__(self, client: KingdeeClient, shape: Shape, key_field: str, org_num: str) -> None:
        """``org_num``: the organisation of the connection, for a sync that names none."""
        self._client = client
        self._shape = shape
        self._form = shape.form
        self.key_field = key_field
        self._org_num = org_num

    def key_of(self, write: Write) -> str:
        """Return the number we own for a write: what the payload says, else its business key."""
        sent = write.payload.get(self.key_field)
        return sent if isinstance(sent, str) and sent else write.business_key

    async def find(self, writes: Sequence[Write]) -> list[FindResult]:
        """Answer each write; a failed query answers all its writes with CannotTell."""
        results: dict[int, FindResult] = {}
        for chunk in (
            chunk
            for org in dict.fromkeys(write.org for write in writes)
            for chunk in _chunks([write for write in writes if write.org == org])
        ):
            try:
                found = await self._find(chunk)
            except RemoteError as error:
                found = [CannotTell(str(error), error)] * len(chunk)
            results.update((id(write), result) for write, result in zip(chunk, found, strict=True))
        return [results[id(write)] for write in writes]

    async def _find(self, writes: Sequence[Write]) -> list[FindResult]:
        names = dict.fromkeys(name for write in writes for name in self._compared(write))
        created = [write for write in writes if write.ref is None]
        by_key = await self._by_key(created, names) if created else {}
        known = [write.ref.vendor_id for write in writes if write.ref is not None]
        by_id = await self.by_id(known, names) if known else {}
        return [
            self._of_create(write, by_key.get(self.key_of(write).casefold(), []))
            if write.ref is None
            else await self._of_known(write, by_id.get(write.ref.vendor_id))
            for write in writes
        ]

    def _of_create(self, write: Write, stored: Sequence[Stored]) -> FindResult:
        if not stored:
            return Absent()
        if len(stored) > 1:
            return Several(tuple(self._ref(one) for one in stored))
        if self._is_foreign(write, stored[0]):
            name = stored[0].head.get(self._form.same[0])
            message = f"{self.key_field} {self.key_of(write)} is used there by another object: {name}"
            return Failed(Refused(message, cause=Cause.DUPLICATE, vendor="kingdee", field=self.key_field))
        return self._found(write, stored[0])

    async def _of_known(self, write: Write, stored: Stored | None) -> FindResult:
        assert write.ref is not None
        if stored is not None:
            return self._found(write, stored)
        if await self.is_gone(write.ref.vendor_id):
            return Gone(VendorKey(write.org, write.ref.vendor_id))
        return CannotTell(
            f"{self._form.form} {write.ref.vendor_id} exists but no query shows it: data permission?"
        )

    def _found(self, write: Write, stored: Stored) -> Found:
        ref = self._ref(stored)
        statuses = LEADS_TO.get(write.step)
        as_sent = ref.stage in statuses if statuses else self._holds(write, stored)
        return Found(ref, as_sent, self._shape.body(stored.head))

    def _holds(self, write: Write, stored: Stored) -> bool:
        same, form = self._shape.same, self._form
        head = all(
            same(name, value, stored.head[name])
            for name, value in leaves(write.payload)
            # A create leaves empty fields out: what Kingdee puts there is its default, not somebody's change.
            if name in form.head and not (write.ref is None and value is None)
        )
        rows = rows_of(write.payload, form.entry) if form.entry else ()
        return head and len(rows) in (0, len(stored.rows)) and all(
            same(f"{form.entry}[].{name}", value, kept[name])
            for row, kept in zip(rows, stored.rows, strict=False)
            for name, value in leaves(row)
            if name in form.rows
        )  # fmt: skip

    def _is_foreign(self, write: Write, stored: Stored) -> bool:
        """Say whether none of the fields that identify a subject agrees."""
        pairs = [(write.payload.get(name), stored.head.get(name)) for name in self._form.same]
        return bool(pairs) and not any(ours and theirs and _same_name(ours, theirs) for ours, theirs in pairs)

    def _compared(self, write: Write) -> list[str]:
        form = self._form
        if write.step in LEADS_TO:
            return []
        rows = rows_of(write.payload, form.entry) if form.entry else ()
        head = [name for name, _ in leaves(write.payload) if name in form.head]
        return head + [name for row in rows for name, _ in leaves(row) if name in form.rows]

    async def _by_key(self, writes: Sequence[Write], names: Iterable[str]) -> dict[str, list[Stored]]:
        found: dict[str, list[Stored]] = {}
        org = writes[0].org or self._org_num
        keys = {self.key_of(write).casefold(): literal(self.key_of(write)) for write in writes}
        filters = f"{self.key_field} in ({','.join(keys.values())})"
        if org not in ("", "0"):
            filters = f"{self._form.org}={literal(org)} and {filters}"
        for stored in (await self._query(filters, [self.key_field, *names])).values():
            key = str(stored.head[self.key_field]).casefold()
            if key not in keys:
                raise IntegrityError(Cause.FOREIGN, f"asked for {sorted(keys)}, Kingdee showed {key}")
            found.setdefault(key, []).append(stored)
        return found

    async def by_id(self, ids: Sequence[str], names: Iterable[str] = ()) -> dict[str, Stored]:
        """Return what is stored under the ids, with further columns; ids that no query shows are left out."""
        asked = [int(one) for one in ids]
        found = await self._query(f"{self._form.pk} in ({','.join(map(str, asked))})", names)
        if not found.keys() <= {str(one) for one in asked}:
            raise IntegrityError(Cause.FOREIGN, f"asked for {asked}, Kingdee showed {sorted(found)}")
        return found

    async def _query(self, filters: str, names: Iterable[str]) -> dict[str, Stored]:
        form = self._form
        wanted = dict.fromkeys((*self._shape.columns, *names))
        row_columns = [name for name in wanted if name in form.rows and name not in form.read]
        if row_columns:
            wanted.update(dict.fromkeys((self._entry_id, self._entry_seq)))
        rows = await self._client.query(
            form.form, tuple(wanted), filters, order=f"{form.pk} ASC", limit=LIMIT
        )
        if len(rows) >= LIMIT:
            raise TryAgain(f"{form.form}: more than {LIMIT} rows for {CHUNK} objects", cause=Cause.BAD_ANSWER)
        found: dict[str, Stored] = {}
        for row in rows:
            stored = found.setdefault(str(row[form.pk]), Stored(row))
            if row_columns and row[self._entry_id]:
                stored.rows.append(row)
        for stored in found.values():
            stored.rows.sort(key=lambda row: int(row[self._entry_seq] or 0))
        return found

    async def entry_ids(self, vendor_id: str) -> list[int]:
        """Return the ids of an object's rows in their order; none if it is not there."""
        stored = (await self.by_id([vendor_id], [*self._form.rows][:1])).get(vendor_id)
        return [int(row[self._entry_id]) for row in stored.rows] if stored else []

    async def stage(self, vendor_id: str) -> VendorRef | None:
        """Return the reference with the status the object has now, None if no query shows it."""
        stored = (await self.by_id([vendor_id])).get(vendor_id)
        return self._ref(stored) if stored else None

    async def is_gone(self, vendor_id: str) -> bool:
        """Ask View whether an object is deleted, that is: not merely hidden from queries."""
        body = {"formid": self._form.form, "data": {"CreateOrgId": 0, "Number": "", "Id": vendor_id}}
        try:
            for _ in range(2):
                if (await self._client.view("View", body)).get("Result"):
                    return False
                self._client.renew()  # an empty View without error is the look of lost cookies (1.4)
        except Refused as error:
            if error.cause is Cause.NOT_FOUND:
                return True
            raise
        raise TryAgain(
            f"View shows nothing of {self._form.form} {vendor_id}", cause=Cause.BAD_ANSWER, vendor="kingdee"
        )

    async def fetch(self, keys: Sequence[VendorKey], now: int) -> list[SourceRecord | Gone | Failed]:
        """Read single records; ``now``: µs before the first request."""
        found: dict[str, Stored] = {}
        for chunk in _chunks(keys):
            found.update(await self.by_id([key.id for key in chunk]))
        results: list[SourceRecord | Gone | Failed] = []
        for key in keys:
            stored = found.get(key.id)
            if stored is not None:
                results.append(record_of(self._shape, stored.head, key.org, now))
            else:
                results.append(await self._missing(key))
        return results

    async def _missing(self, key: VendorKey) -> Gone | Failed:
        try:
            if await self.is_gone(key.id):
                return Gone(key)
        except RemoteError as error:
            return Failed(error)
        message = f"{self._form.form} {key.id} exists but no query shows it: data permission?"
        return Failed(Refused(message, cause=Cause.PERMISSION, vendor="kingdee"))

    def _ref(self, stored: Stored) -> VendorRef:
        head = stored.head
        return VendorRef(
            str(head[self._form.pk]), head[self._form.number] or None, head["FDocumentStatus"] or None
        )

    @property
    def _entry_id(self) -> str:
        return f"{self._form.entry}_FEntryId"

    @property
    def _entry_seq(self) -> str:
        return f"{self._form.entry}_FSeq"


def _same_name(ours: Json, theirs: Any) -> bool:
    try:
        return company_key(str(ours)) == company_key(str(theirs))
    except ValueError:  # no name at all, only signs
        return str(ours).strip() == str(theirs).strip()


def _chunks(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
