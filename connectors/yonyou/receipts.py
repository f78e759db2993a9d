"""Receipts 收款单: saved, submitted, audited as steps of their own, and looked up by what we called them (2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.yonyou.client import YonyouClient
from connectors.yonyou.collection import Collection
from connectors.yonyou.lists import change_time, vendor_id
from connectors.yonyou.objects import LINES, RECEIPT, RECEIPT_READ, RECEIVEBILL
from connectors.yonyou.outcomes import DUPLICATE_KEY
from connectors.yonyou.reading import Listed, Listing
from connectors.yonyou.receivebill import ReceiveBill
from connectors.yonyou.shape import Shape, id_of, leaves, rows_of
from hub.sdk import (
    Absent,
    CannotTell,
    Cause,
    Failed,
    FindResult,
    Found,
    Gone,
    OutcomeUnknown,
    Refused,
    RemoteError,
    Several,
    SourceRecord,
    VendorKey,
    VendorRef,
    Write,
)

__all__ = ["LEADS_TO", "Receipts"]

LEADS_TO: Mapping[str, tuple[str, ...]] = {
    "submit": ("1", "2"),
    "audit": ("2",),
    "unsubmit": ("0", "4"),
    "unaudit": ("0", "1", "4"),  # which of them is UNCONFIRMED
}
"""Step -> the values of verifyState that show it took effect."""

Row = Mapping[str, Any]


class Receipts:
    """The receipts of one tenant, of the generation its settings name."""

    def __init__(self, client: YonyouClient, settings: Mapping[str, Any]) -> None:
        """Take checked settings."""
        older = settings["receipts"] == RECEIVEBILL
        self._api: Collection | ReceiveBill = (ReceiveBill if older else Collection)(client, settings)
        self._shape = Shape(RECEIPT, RECEIPT_READ, settings["time_zone"])

    # reading --------------------------------------------------------------------------------------------------

    async def listing(self, since: str, page: int, size: int, *, org: str, now: int) -> Listing:
        """Return a page of what changed at ``since`` or later; rows of another organisation are left out.

        Their places are counted all the same: the list knows no filter by the code of an organisation.
        """
        rows, total = await self._api.changed(since, page, size)
        return Listing([self._listed(row, org, now) for row in rows], total)

    def _listed(self, row: Row, org: str, now: int) -> Listed:
        place = f"{vendor_id(row, 'a receipt')}/{row.get('bodyItemId') or ''}"
        ours = not org or row.get("financeOrgCode") in (None, "", org)
        return Listed(self._record(row, org, now) if ours else None, change_time(row), place)

    async def fetch(self, keys: Sequence[VendorKey], now: int) -> list[SourceRecord | Gone | Failed]:
        """Read single receipts; ``now``: µs before the first call."""
        return [await self._one(key, now) for key in keys]

    async def _one(self, key: VendorKey, now: int) -> SourceRecord | Gone | Failed:
        try:
            return self._record(await self._api.detail(key.id), key.org, now)
        except Refused as error:
            # 被删除或没有权限: one text for both, and there is no other question by id. We come as the app, not as a
            # user, so what an app may not see it is refused whole (310037).
            return Gone(key) if error.cause is Cause.NOT_FOUND else Failed(error)
        except RemoteError as error:
            return Failed(error)

    def _record(self, row: Row, org: str, now: int) -> SourceRecord:
        key = VendorKey(org, vendor_id(row, "a receipt"))
        ref = _ref(row)
        return SourceRecord(key, self._shape.body(row), now, stage=ref.stage, stable_key=ref.stable_key)

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
        if write.ref is None:
            rows = await self._api.by_key(_our_key(write))
            refs = list({vendor_id(row, "a receipt"): _ref(row) for row in rows}.values())
            if not refs:
                return Absent()
            if len(refs) > 1:
                return Several(tuple(refs))
            one = refs[0].vendor_id
        else:
            one = write.ref.vendor_id
        stored = await self._stored(one, write.ref)
        if stored is None:
            return Gone(VendorKey(write.org, one))
        ref = _ref(stored)
        if write.step in self._api.skipped:
            as_sent = True
        elif write.step == "save":
            as_sent = write.ref is None and self._holds(write, stored)  # what is there is never saved again
        else:
            as_sent = ref.stage in LEADS_TO.get(write.step, ())
        return Found(ref, as_sent, self._shape.body(stored))

    async def _stored(self, one: str, known: VendorRef | None) -> Row | None:
        """Return a receipt, None if it is gone: its number, if we know it, shows it no more either."""
        try:
            return await self._api.detail(one)
        except Refused as error:
            if error.cause is not Cause.NOT_FOUND:
                raise
            if known is not None and known.stable_key:
                rows = await self._api.by_code(known.stable_key)
                if any(id_of(row.get("id")) == one for row in rows):
                    raise
            return None

    def _holds(self, write: Write, stored: Row) -> bool:
        """Say whether a receipt holds what was sent, as far as it shows it: names of references drift (2.0)."""
        kept = stored.get(LINES)
        lines = [row for row in kept if isinstance(row, dict)] if isinstance(kept, list) else []
        sent = rows_of(write.payload, LINES)
        return (
            all(
                self._shape.same(name, value, stored[name])
                for name, value in leaves(write.payload)
                if value is not None and name in stored and name not in ("code", "extVouchCode")
            )
            and len(sent) == len(lines)
            and all(any(self._same_line(row, line) for line in lines) for row in sent)
        )

    def _same_line(self, sent: Row, line: Row) -> bool:
        shown = {name: value for name, value in sent.items() if name in line}
        return "oriTaxIncludedAmount" in shown and self._shape.same_row(LINES, shown, line)

    # writing --------------------------------------------------------------------------------------------------

    async def save(self, write: Write) -> VendorRef:
        """Insert. Raises RemoteError: Refused if it is there already, for a receipt takes no edits."""
        if write.ref is not None:
            message = "a receipt takes no edits there: take it back and delete it, then it is made anew"
            raise Refused(message, cause=Cause.STATE, vendor="yonyou", field="_status")
        our_key = _our_key(write)
        model = self._shape.model(write.payload, nulls=False)
        try:
            row = await self._api.save(model, our_key, write.key, deadline=write.deadline)
        except Refused as error:
            if error.code in DUPLICATE_KEY and isinstance(error.detail, dict):
                return await self._read_back(id_of(error.detail.get("id")))
            if error.cause is Cause.DUPLICATE:
                known: dict[str, Any] = {"vendor": error.vendor, "code": error.code, "field": "extVouchCode"}
                raise Refused(str(error), cause=Cause.ALREADY_DONE, **known) from error
            raise
        if not id_of(row.get("id")):
            raise OutcomeUnknown("YonBIP saved without saying an id", cause=Cause.BAD_ANSWER, vendor="yonyou")
        return _ref(row)

    async def _read_back(self, one: str) -> VendorRef:
        """Return what the key made more than an hour ago (6.21)."""
        if not one:
            raise OutcomeUnknown(
                "the key was used, for what is not said", cause=Cause.BAD_ANSWER, vendor="yonyou"
            )
        try:
            return _ref(await self._api.detail(one))
        except RemoteError as error:
            message = f"the key made {one}, which cannot be read now: {error}"
            raise OutcomeUnknown(message, cause=Cause.BAD_ANSWER, vendor="yonyou", code=error.code) from error

    async def act(self, write: Write) -> VendorRef:
        """Make one step on a receipt that is there. Raises RemoteError."""
        assert write.ref is not None
        if write.step in self._api.skipped:
            if write.step == write.plan[-1]:
                message = f"{self._api.name} has no {write.step}: set stop_at to saved or audited"
                raise Refused(message, cause=Cause.SETTINGS, vendor="yonyou")
            return write.ref
        await self._api.act(write.step, write.ref.vendor_id, deadline=write.deadline)
        if write.step not in ("audit", "unaudit"):
            return replace(write.ref, stage=LEADS_TO.get(write.step, (write.ref.stage or "",))[0])
        return await self._effective(write, write.ref)

    async def _effective(self, write: Write, ref: VendorRef) -> VendorRef:
        """Read what an audit or its reverse really led to: under a workflow it may have been one vote (2.6, 6.8)."""
        try:
            stored = await self._api.detail(ref.vendor_id)
        except RemoteError as error:
            message = f"{write.step} was answered, the status cannot be read: {error}"
            raise OutcomeUnknown(message, cause=Cause.BAD_ANSWER, vendor="yonyou") from error
        seen = _ref(stored)
        if seen.stage in LEADS_TO[write.step]:
            return seen
        if str(stored.get("isWfControlled")).lower() in ("true", "1"):
            message = f"{write.step}: a workflow decides over this receipt (审批流); its approvers finish it"
            raise Refused(message, cause=Cause.STATE, vendor="yonyou", detail={"stage": seen.stage})
        raise OutcomeUnknown(f"{write.step} was answered, the status does not show it", vendor="yonyou")

    async def seen(self, write: Write) -> VendorRef | None:
        """Return the reference with the status a receipt has now, None if it is gone. Raises RemoteError."""
        assert write.ref is not None
        stored = await self._stored(write.ref.vendor_id, write.ref)
        return None if stored is None else _ref(stored)


def _our_key(write: Write) -> str:
    sent = write.payload.get("extVouchCode")
    return sent if isinstance(sent, str) and sent else write.business_key


def _ref(row: Row) -> VendorRef:
    state = row.get("verifyState")
    return VendorRef(
        vendor_id(row, "a receipt"), str(row.get("code") or "") or None, "0" if state is None else str(state)
    )
