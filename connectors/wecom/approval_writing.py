"""Approvals started; one whose answer was lost is found by our number (fact sheet 4.4).

WeCom has no idempotency key. A create carries our number in a Text control of the form; a look-up lists what the
applicant submitted and reads the forms. There is no call to change, withdraw or comment on an approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.wecom.approval_listing import DAY, list_numbers
from connectors.wecom.approval_starting import Starting, correlation_value, required
from connectors.wecom.approvals import IN_PROGRESS, Approvals, Seen
from connectors.wecom.outcomes import bad_answer
from connectors.wecom.pacing import ApprovalCalls
from hub.sdk import (
    SECOND,
    Absent,
    Applied,
    CannotTell,
    Cause,
    Failed,
    FindResult,
    Found,
    Gone,
    IntegrityError,
    NotSent,
    Refused,
    RemoteError,
    Several,
    Toolbox,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)

__all__ = ["ApprovalWriter"]

CREATE = "oa/applyevent"
FORM_REFUSED = "301025"
HIDDEN = "301055"


class ApprovalWriter:
    """Starts and looks up approvals; safe for concurrent use in one event loop."""

    def __init__(
        self,
        calls: ApprovalCalls,
        approvals: Approvals,
        starting: Starting,
        tools: Toolbox,
        settings: Mapping[str, Any],
    ) -> None:
        """``settings``: verify_create, find_days, page_size."""
        self._calls, self._approvals, self._starting = calls, approvals, starting
        self._tools, self._settings = tools, settings

    async def write(self, write: Write) -> WriteResult:
        """Make one request. Raises IntegrityError: an answer was about another approval."""
        try:
            if self._tools.clock.monotonic() >= write.deadline:
                raise NotSent
            if write.ref is not None:
                text = (
                    "企业微信没有修改、撤销或评论审批单的接口：请在企业微信中处理 / WeCom has no call to change, withdraw or comment on an "
                    "approval: that is done in WeCom"
                )
                raise Refused(
                    text, cause=Cause.STATE, vendor="wecom", field=next(iter(write.payload), "form")
                )
            return await self._create(write)
        except RemoteError as error:
            return Failed(error)

    async def find(self, write: Write) -> FindResult:
        """Say whether a write of unknown outcome took effect."""
        try:
            if write.ref is None:
                return await self._find_created(write)
            seen = await self._approvals.see(write.ref.vendor_id, org=write.org)
        except RemoteError as error:
            return CannotTell(str(error), error)
        if seen is None:
            return Gone(VendorKey(write.org, write.ref.vendor_id))
        return Found(seen.ref, as_sent=False, state=seen.body)

    async def _create(self, write: Write) -> Applied:
        _, body = await self._starting.body(write)
        try:
            reply = await self._calls.write(CREATE, body, deadline=write.deadline)
        except RemoteError as error:
            raise await self._explained(write, error) from None
        sp_no = reply.get("sp_no")
        if isinstance(sp_no, bool) or not isinstance(sp_no, str | int) or not str(sp_no):
            raise bad_answer(f"{CREATE} answered no sp_no", read=False)
        return await self._created(write, str(sp_no))

    async def _explained(self, write: Write, error: RemoteError) -> RemoteError:
        """Return a refusal with the field it is about: WeCom's own names none."""
        if error.code == HIDDEN:
            return await self._approvals.blamed(error, "originatorUserId")
        if error.code == FORM_REFUSED:
            doubted = await self._starting.doubted(write)
            doubted.code = doubted.code or error.code
            return doubted
        if isinstance(error, Refused):
            error.field = error.field or "form"
        return error

    async def _created(self, write: Write, sp_no: str) -> Applied:
        """Return what was made; it is read once, so that a foreign number is not taken for ours (U8)."""
        ours = correlation_value(write)
        if self._approvals.numbers.get(sp_no, ours) != ours:
            raise IntegrityError(Cause.FOREIGN, f"{CREATE} answered the number of another approval")
        ref = VendorRef(sp_no, sp_no, IN_PROGRESS)
        if not self._settings["verify_create"]:
            return Applied(ref)
        try:
            seen = await self._approvals.see(sp_no, org=write.org)
        except RemoteError as error:
            self._tools.log.info("wecom.create.not_seen", cause=error.cause.value)
            seen = None
        if seen is None:
            return Applied(ref)
        if seen.correlation != ours:
            raise IntegrityError(
                Cause.FOREIGN, f"{CREATE} answered a number whose form does not carry our number"
            )
        return Applied(seen.ref, seen.body)

    async def _find_created(self, write: Write) -> FindResult:
        """List what the applicant submitted with this template and read the forms we do not know yet."""
        code = required(write.payload, "processCode")
        originator = required(write.payload, "originatorUserId")
        now = self._tools.clock.now() // SECOND
        listed = await self._submitted(code, originator, now)
        ours, numbers = correlation_value(write), self._approvals.numbers
        found: list[Seen] = []
        for sp_no in listed:
            if numbers.get(sp_no, ours) != ours:
                continue
            seen = await self._approvals.see(sp_no, org=write.org)
            if seen is not None and seen.correlation == ours:
                found.append(seen)
        if not found:
            return Absent()
        if len(found) > 1:
            return Several(tuple(one.ref for one in found))
        return Found(found[0].ref, as_sent=True, state=found[0].body)

    async def _submitted(self, code: str, originator: str, now: int) -> list[str]:
        """Return the numbers of one applicant's approvals; of everybody's where he has left (301055)."""
        start = now - self._settings["find_days"] * DAY
        size = self._settings["page_size"]
        for filters in ({"template_id": code, "creator": originator}, {"template_id": code}):
            try:
                return await list_numbers(self._calls, start, now, size=size, filters=filters)
            except RemoteError as error:
                if error.code != HIDDEN or "creator" not in filters:
                    raise
        raise AssertionError("the last filter raises or returns")  # pragma: no cover
