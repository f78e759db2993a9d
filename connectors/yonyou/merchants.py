"""Customers 客户档案: an idempotent insert, an update without a key, and lists with quirks of their own (2.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.yonyou.client import YonyouClient
from connectors.yonyou.lists import change_time, foreign, objects_in, paged, vendor_id
from connectors.yonyou.objects import CUSTOMER, CUSTOMER_READ, ROW_KEYS
from connectors.yonyou.outcomes import DUPLICATE_KEY
from connectors.yonyou.reading import Listed, Listing
from connectors.yonyou.shape import Shape, id_of, leaves, rows_of, same_name, value_at, wire_id
from hub.sdk import (
    Absent,
    CannotTell,
    Cause,
    Failed,
    FindResult,
    Found,
    Gone,
    IntegrityError,
    OutcomeUnknown,
    Refused,
    RemoteError,
    Several,
    SourceRecord,
    VendorKey,
    VendorRef,
    Write,
)

__all__ = ["Merchants"]

PREFIX = "/yonbip/digitalModel/merchant"
REQUIRED = ("name", "createOrgCode", "enterpriseNature")
"""What an update must name, changed or not."""
CHUNK = 50

Row = Mapping[str, Any]


class Merchants:
    """The customers of one tenant."""

    def __init__(self, client: YonyouClient, settings: Mapping[str, Any]) -> None:
        """Take checked settings."""
        self._client = client
        self._shape = Shape(CUSTOMER, CUSTOMER_READ, settings["time_zone"])

    # reading --------------------------------------------------------------------------------------------------

    async def listing(self, since: str, page: int, size: int, *, org: str, now: int) -> Listing:
        """Return a page of what changed at ``since`` or later; ``org``: the managing organisation, "" for all."""
        asked = {
            "pageIndex": page,
            "pageSize": size,
            "pubts": since,
            **({"createOrgCode": org} if org else {}),
        }
        rows, total = paged(await self._client.read(f"{PREFIX}/newlistrange", asked), "customers")
        listed = []
        for row in rows:
            if org and row.get("createOrgCode") not in (None, org):
                raise foreign(org, row.get("createOrgCode"), "customers of an organisation")
            record = self._record(row, org, now)
            place = (
                f"{record.key.id}/{row.get('belongOrgCode') or ''}"  # one row per using organisation, perhaps
            )
            listed.append(Listed(record, change_time(row), place))
        return Listing(listed, total)

    async def fetch(self, keys: Sequence[VendorKey], now: int) -> list[SourceRecord | Gone | Failed]:
        """Read single customers; ``now``: µs before the first call."""
        found = await self._details([key.id for key in keys])
        return [
            self._record(found[key.id], key.org, now) if key.id in found else await self._missing(key)
            for key in keys
        ]

    async def _details(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return the customers with their sub-tables by id; what is not there is left out."""
        found: dict[str, Row] = {}
        for start in range(0, len(ids), CHUNK):
            asked = ids[start : start + CHUNK]
            try:
                body = await self._client.read(
                    f"{PREFIX}/newBatchDetail", [{"id": wire_id(one)} for one in asked]
                )
            except Refused:
                if len(asked) == 1:
                    continue  # what an unknown id answers is UNCONFIRMED: the next question decides
                for one in asked:
                    found |= await self._details([one])
                continue
            for row in objects_in(body.get("data") or [], "customers"):
                one = vendor_id(row, "a customer")
                if one not in asked:
                    raise foreign(asked, one, "customers")
                found[one] = row
        return found

    async def _missing(self, key: VendorKey) -> Gone | Failed:
        try:
            if not await self._listed(id=wire_id(key.id)):
                return Gone(key)
        except RemoteError as error:
            return Failed(error)
        message = f"customer {key.id} is listed but shows no detail: data permission?"
        return Failed(Refused(message, cause=Cause.PERMISSION, vendor="yonyou"))

    async def _listed(self, **by: Any) -> list[Row]:
        """Return what the list of single customers shows, potential ones too (they are left out by default)."""
        asked = {"pageIndex": 1, "pageSize": 10, "filterPotential": False, **by}
        rows = objects_in(
            (await self._client.read(f"{PREFIX}/newlist", asked)).get("data") or [], "customers"
        )
        for row in rows:
            for name, value in by.items():
                if str(row.get(name)).casefold() != str(value).casefold():
                    raise foreign(str(value), row.get(name), f"customer by {name}")
        return rows

    def _record(self, row: Row, org: str, now: int) -> SourceRecord:
        one = vendor_id(row, "a customer")
        code = row.get("code")
        return SourceRecord(
            VendorKey(org, one), self._shape.body(row), now, stable_key=str(code) if code else None
        )

    # looking up -----------------------------------------------------------------------------------------------

    async def find(self, writes: Sequence[Write]) -> list[FindResult]:
        """Answer each write of unknown outcome; what could not be asked is CannotTell."""
        return [await self._guarded(write) for write in writes]

    async def _guarded(self, write: Write) -> FindResult:
        try:
            return await self._find(write)
        except RemoteError as error:
            return CannotTell(str(error), error)

    async def _find(self, write: Write) -> FindResult:
        ids = [write.ref.vendor_id] if write.ref else await self._by_code(_code(write))
        if len(ids) > 1:
            return Several(tuple(VendorRef(one, _code(write)) for one in ids))
        stored = (await self._details(ids)).get(ids[0]) if ids else None
        if write.ref is None and not ids:
            return Absent()
        if stored is None:
            missing = await self._missing(VendorKey(write.org, ids[0]))
            return missing if isinstance(missing, Gone) else CannotTell(str(missing.error), missing.error)
        if write.ref is None and _is_foreign(write, stored):
            message = f"code {_code(write)} is used there by another customer: {value_at(stored, NAME)}"
            return Failed(Refused(message, cause=Cause.DUPLICATE, vendor="yonyou", field="code"))
        return Found(self._ref(stored), self._holds(write, stored), self._shape.body(stored))

    async def _by_code(self, code: str) -> list[str]:
        rows = await self._listed(code=code)
        return list(dict.fromkeys(vendor_id(row, "a customer") for row in rows))

    def _holds(self, write: Write, stored: Row) -> bool:
        """Say whether a customer holds what a write says; what a create left out is the vendor's to fill."""
        create = write.ref is None
        head = all(
            self._shape.same(name, value, value_at(stored, name))
            for name, value in leaves(write.payload)
            if not (create and value is None)
        )
        return head and all(
            any(self._shape.same_row(table, row, kept) for kept in _kept(stored, table))
            for table in ROW_KEYS
            for row in rows_of(write.payload, table)
        )

    # writing --------------------------------------------------------------------------------------------------

    async def save(self, write: Write) -> VendorRef:
        """Insert or update. Raises RemoteError; IntegrityError if the answer is about another customer."""
        return await (self._insert(write) if write.ref is None else self._update(write, write.ref))

    async def _insert(self, write: Write) -> VendorRef:
        model = self._shape.model(write.payload, nulls=False)
        code = _code(write)
        data = {"resubmitCheckKey": write.key, **model, "code": code}
        try:
            body = await self._client.write(
                f"{PREFIX}/idempotent/newinsert", {"data": data}, deadline=write.deadline
            )
        except Refused as error:
            if error.code in DUPLICATE_KEY and isinstance(error.detail, dict):
                return _made(error.detail, code)
            if error.cause is Cause.DUPLICATE and "编码" in str(error):
                known: dict[str, Any] = {"vendor": error.vendor, "code": error.code, "field": "code"}
                raise Refused(str(error), cause=Cause.ALREADY_DONE, **known) from error
            raise
        data_back = body.get("data")
        first = data_back[0] if isinstance(data_back, list) and data_back else data_back
        return _made(first, code)

    async def _update(self, write: Write, ref: VendorRef) -> VendorRef:
        stored = (await self._details([ref.vendor_id])).get(ref.vendor_id)
        if stored is None:
            raise Refused(
                f"customer {ref.vendor_id} is not there", cause=Cause.NOT_FOUND, vendor="yonyou", field="id"
            )
        body: dict[str, Any] = {"id": wire_id(ref.vendor_id)}
        body |= {name: stored[name] for name in REQUIRED if stored.get(name) is not None}
        for name, value in self._shape.model(write.payload, nulls=True).items():
            if isinstance(value, list):
                body[name] = [_row(name, row, stored) for row in value]
            elif isinstance(value, dict) and isinstance(stored.get(name), dict):
                body[name] = {**stored[name], **value}  # the other languages of a name stay
            else:
                body[name] = value
        answer = await self._client.write(f"{PREFIX}/newupdate", body, deadline=write.deadline)
        back = answer.get("data")
        first = back[0] if isinstance(back, list) and back else back
        said = id_of(first.get("id")) if isinstance(first, dict) else ""
        if said and said != ref.vendor_id:
            raise foreign(ref.vendor_id, said, "update of a customer")
        return VendorRef(ref.vendor_id, str(body.get("code") or stored.get("code") or "") or ref.stable_key)

    async def is_gone(self, write: Write) -> bool:
        """Say whether the customer of a write is not there any more. Raises RemoteError."""
        assert write.ref is not None
        return not await self._listed(id=wire_id(write.ref.vendor_id))

    def _ref(self, stored: Row) -> VendorRef:
        return VendorRef(vendor_id(stored, "a customer"), str(stored.get("code") or "") or None)


NAME = "name.simplifiedName"


def _code(write: Write) -> str:
    """Return the code we own for a create: what the payload says, else its business key."""
    sent = write.payload.get("code")
    return sent if isinstance(sent, str) and sent else write.business_key


def _made(row: object, code: str) -> VendorRef:
    """Return the reference an insert's answer gives.

    Raises:
        OutcomeUnknown: it names no id.
        IntegrityError: it names another code than was sent.
    """
    one = id_of(row.get("id")) if isinstance(row, dict) else ""
    if not one or not isinstance(row, dict):
        raise OutcomeUnknown("YonBIP inserted without saying an id", cause=Cause.BAD_ANSWER, vendor="yonyou")
    said = row.get("code")
    if said and str(said).casefold() != code.casefold():
        raise IntegrityError(Cause.FOREIGN, f"customer {code} was sent, YonBIP answered {said}")
    return VendorRef(one, str(said or code))


def _is_foreign(write: Write, stored: Row) -> bool:
    """Say whether neither name nor credit code agree."""
    pairs = [(value_at(write.payload, name), value_at(stored, name)) for name in (NAME, "creditCode")]
    return not any(ours and theirs and same_name(ours, theirs) for ours, theirs in pairs)


def _kept(stored: Row, table: str) -> list[Row]:
    rows = stored.get(table)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _row(table: str, row: dict[str, Any], stored: Row) -> dict[str, Any]:
    """Return a row of an update: with the id of the stored row it means, else as a new one; others stay (2.1)."""
    names = ROW_KEYS.get(table, ())
    for kept in _kept(stored, table):
        pairs = [(_word(row.get(name)), _word(kept.get(name))) for name in names]
        if id_of(kept.get("id")) and pairs and all(ours == theirs for ours, theirs in pairs):
            return {"id": kept["id"], **row, "entityStatus": "Update"}
    return {**row, "entityStatus": "Insert"}


def _word(value: Any) -> str:
    inner = value.get("simplifiedName") if isinstance(value, dict) else value
    return "" if inner is None else str(inner).strip()
