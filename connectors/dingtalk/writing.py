"""Approvals started, withdrawn and commented on; a create whose answer was lost is found by our number (fact sheet 2.1, 2.5).

DingTalk has no idempotency key. A create carries our number in a text field of the form; a look-up lists what the
originator started and reads the forms. Before a create the form, the people and the flow are held against what is
live, so that what would be refused is refused here, naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.dingtalk.approvals import Approvals, Seen, key_of, pair_of
from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.listing import DAY, list_ids
from connectors.dingtalk.outcomes import bad_answer
from connectors.dingtalk.schema import Templates
from connectors.dingtalk.starting import (
    Starting,
    correlation_value,
    invalid,
    named_field,
    object_of,
    required,
)
from hub.sdk import (
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
    TryAgain,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)

__all__ = ["ApprovalWriter"]

CREATE = "workflow/processInstances"
TERMINATE = "workflow/processInstances/terminate"
COMMENT = "workflow/processInstances/comments"
LONGEST_TEXT = 1024
FORM_REFUSED = frozenset(["formConverterError", "illegalComponent", "processCodeError", "processGetFailed"])
"""Refusals that say the form is another one by now: it is read anew."""
TOO_EARLY = 15.0
"""Seconds after the start in which an approval cannot be withdrawn (2.5)."""
CHANGES = ("comment", "terminate")


class ApprovalWriter:
    """Writes and looks up approvals; safe for concurrent use in one event loop."""

    def __init__(
        self,
        client: DingTalkClient,
        templates: Templates,
        approvals: Approvals,
        starting: Starting,
        tools: Toolbox,
        settings: Mapping[str, Any],
    ) -> None:
        """``settings``: verify_create, find_days, page_size."""
        self._client, self._templates, self._approvals = client, templates, approvals
        self._starting, self._tools, self._settings = starting, tools, settings

    async def write(self, write: Write) -> WriteResult:
        """Make one request. Raises IntegrityError: an answer was about another instance."""
        try:
            if self._tools.clock.monotonic() >= write.deadline:
                raise NotSent
            return await (self._create(write) if write.ref is None else self._change(write, write.ref))
        except RemoteError as error:
            return Failed(error)

    async def find(self, write: Write) -> FindResult:
        """Say whether a write of unknown outcome took effect."""
        try:
            return await (
                self._find_created(write) if write.ref is None else self._find_changed(write, write.ref)
            )
        except RemoteError as error:
            return CannotTell(str(error), error)

    # ------------------------------------------------------------------------------------------ create

    async def _create(self, write: Write) -> WriteResult:
        template, body = await self._starting.body(write)
        try:
            reply = await self._client.write(CREATE, body, deadline=write.deadline)
        except Refused as error:
            if error.code in FORM_REFUSED:
                self._templates.forget(template.code)
            error.field = error.field or named_field(error, template)
            raise
        instance = reply.get("instanceId")
        if not isinstance(instance, str) or not instance or "/" in instance:
            raise bad_answer(f"{CREATE} answered no instanceId", read=False)
        return await self._created(write, template.code, instance)

    async def _created(self, write: Write, code: str, instance: str) -> Applied:
        """Return what was made; it is read once, so that a foreign id is not taken for ours (U8)."""
        ours = correlation_value(write)
        if self._approvals.numbers.get(instance, ours) != ours:
            raise IntegrityError(Cause.FOREIGN, f"{CREATE} answered the id of another approval of ours")
        ref = VendorRef(f"{code}/{instance}", instance, "RUNNING")
        self._approvals.began(code, instance)
        if not self._settings["verify_create"]:
            return Applied(ref)
        try:
            seen = await self._approvals.see(code, instance, org=write.org)
        except RemoteError as error:
            self._tools.log.info("dingtalk.create.not_seen", cause=error.cause.value)
            seen = None
        if seen is None:
            return Applied(ref)
        if seen.correlation != ours:
            raise IntegrityError(
                Cause.FOREIGN, f"{CREATE} answered an id whose form does not carry our number"
            )
        return Applied(seen.ref, seen.body)

    # ------------------------------------------------------------------------------------------ change

    async def _change(self, write: Write, ref: VendorRef) -> WriteResult:
        named = [name for name in CHANGES if write.payload.get(name) not in (None, "", False)]
        other = [name for name in write.payload if name not in CHANGES]
        pair = pair_of(ref.vendor_id)
        if pair is None:
            return Gone(VendorKey(write.org, ref.vendor_id))
        if other or len(named) != 1:
            text = (
                "已发起的审批单不能修改：撤销后以新的编号重新发起；每次写入只能评论或撤销之一 / an approval that was started cannot be "
                "changed: withdraw it and start another under a new number; one write comments or withdraws"
            )
            raise Refused(text, cause=Cause.STATE, vendor="dingtalk", field=other[0] if other else "comment")
        if named[0] == "comment":
            return await self._comment(write, ref, pair[1])
        return await self._terminate(write, ref, pair)

    async def _comment(self, write: Write, ref: VendorRef, instance: str) -> WriteResult:
        said = object_of(write.payload["comment"])
        text, userid = str(said.get("text") or ""), str(said.get("commentUserId") or "")
        if not text or len(text) > LONGEST_TEXT or not userid:
            raise invalid(f"text of 1 to {LONGEST_TEXT} characters and commentUserId are needed", "comment")
        await self._starting.person(userid, "comment.commentUserId")
        body = {"processInstanceId": instance, "text": text, "commentUserId": userid}
        return await self._acted(write, ref, COMMENT, body)

    async def _terminate(self, write: Write, ref: VendorRef, pair: tuple[str, str]) -> WriteResult:
        said = object_of(write.payload["terminate"])
        operator, remark = str(said.get("operatingUserId") or ""), str(said.get("remark") or "")
        if len(remark) > LONGEST_TEXT:
            raise invalid(f"at most {LONGEST_TEXT} characters are taken", "terminate.remark")
        body: dict[str, Any] = {"processInstanceId": pair[1], "isSystem": not operator, "remark": remark}
        if operator:
            body["operatingUserId"] = operator
        try:
            return await self._acted(write, ref, TERMINATE, body)
        except Refused as error:
            if error.code != "aflowProcessInstStatusException":
                raise
            return await self._not_terminated(ref, pair, error)

    async def _not_terminated(self, ref: VendorRef, pair: tuple[str, str], error: Refused) -> WriteResult:
        """Read what a refusal is about: withdrawn already, ended otherwise, or not old enough yet (15 s)."""
        seen = await self._approvals.see(*pair)
        if seen is None:
            return Gone(VendorKey("", ref.vendor_id))
        if seen.body["state"] == "withdrawn":
            return Applied(seen.ref, seen.body)
        if seen.body["state"] == "in_progress":
            text = f"{error}; within 15 s of its start, or 提交人撤销 is not allowed by the template"
            raise TryAgain(text, cause=Cause.LOCKED, after=TOO_EARLY, vendor="dingtalk", code=error.code)
        raise error

    async def _acted(self, write: Write, ref: VendorRef, api: str, body: Mapping[str, Any]) -> WriteResult:
        try:
            reply = await self._client.write(api, body, deadline=write.deadline)
        except Refused as error:
            if error.code == "aflowProcessInstNotExist":
                return Gone(VendorKey(write.org, ref.vendor_id))
            raise
        if str(reply.get("result")).lower() == "false":
            raise bad_answer(f"{api} answered result false without a code", read=False)
        return Applied(ref)

    # ------------------------------------------------------------------------------------------ look-up

    async def _find_created(self, write: Write) -> FindResult:
        """List what the originator started with this template and read the forms we do not know yet."""
        code, originator = (
            required(write.payload, "processCode"),
            required(write.payload, "originatorUserId"),
        )
        now = self._tools.clock.now() // 1000
        start = now - self._settings["find_days"] * DAY
        ids = await list_ids(
            self._client, code, start, now, size=self._settings["page_size"], users=[originator]
        )
        ours, numbers = correlation_value(write), self._approvals.numbers
        found: list[Seen] = []
        for id_ in dict.fromkeys([*ids, *(id_ for id_, number in numbers.items() if number == ours)]):
            if numbers.get(id_, ours) != ours:
                continue
            seen = await self._approvals.see(code, id_, org=write.org)
            if seen is not None and seen.action == "NONE" and seen.correlation == ours:
                found.append(seen)
        if len(found) > 1:
            return Several(tuple(one.ref for one in found))
        if found:
            return Found(found[0].ref, as_sent=True, state=found[0].body)
        for id_, number in numbers.items():
            if number == ours:  # it was seen, and deleted since: DingTalk shows it no more
                return Found(VendorRef(f"{code}/{id_}", id_, gone=True), as_sent=True)
        return Absent()

    async def _find_changed(self, write: Write, ref: VendorRef) -> FindResult:
        pair = pair_of(ref.vendor_id)
        seen = await self._approvals.see(*pair, org=write.org) if pair else None
        if seen is None:
            return Gone(key_of(*pair, write.org) if pair else VendorKey(write.org, ref.vendor_id))
        comment = write.payload.get("comment")
        if comment not in (None, ""):
            text = object_of(comment).get("text")
            records = seen.body["operationRecords"]
            as_sent = any(
                isinstance(one, dict) and one.get("type") == "ADD_REMARK" and one.get("remark") == text
                for one in (records if isinstance(records, list) else ())
            )
        else:
            as_sent = seen.body["state"] == "withdrawn"
        return Found(VendorRef(ref.vendor_id, ref.stable_key, ref.stage), as_sent, seen.body)
