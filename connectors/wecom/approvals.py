"""One approval as the hub sees it: what ``getapprovaldetail`` shows, in the words DingTalk's approval has too (4.2).

Times are texts with an offset, people are userids. ``state`` is read from ``sp_status``: 2 can still become 6 or 10.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.wecom.outcomes import bad_answer
from connectors.wecom.pacing import ApprovalCalls
from connectors.wecom.relations import number
from connectors.wecom.shown import instant_text, shown_form
from hub.sdk import (
    SECOND,
    Cause,
    ConnectionDown,
    Failed,
    Gone,
    IntegrityError,
    Json,
    Refused,
    RemoteError,
    SettingsError,
    SourceRecord,
    Toolbox,
    TryAgain,
    VendorKey,
    VendorRef,
)

__all__ = ["APPROVAL_FIELDS", "DELETED", "IN_PROGRESS", "Approvals", "Seen", "parse_offset"]

DETAIL, LIST = "oa/getapprovaldetail", "oa/getapprovalinfo"
APPROVAL_FIELDS: Mapping[str, str] = {
    "processCode": "text", "processInstanceId": "text", "title": "text", "correlation": "text", "number": "text",
    "ours": "flag", "state": "text", "status": "text",
    "result": "text", "paid": "flag", "createTime": "instant", "finishTime": "instant", "originatorUserId": "text",
    "originatorDeptId": "integer", "batchOriginatorUserId": "text", "ccUserIds": "texts", "form": "json", "fields": "json",
    "operationRecords": "json", "tasks": "json", "nodes": "json", "opinion": "text",
}  # fmt: skip
IN_PROGRESS, DELETED = "1", "7"
STATES: Mapping[str, tuple[str, str | None]] = {
    "1": ("in_progress", None), "2": ("approved", "agree"), "3": ("rejected", "refuse"), "4": ("withdrawn", None),
    "6": ("revoked", "agree"), "7": ("deleted", None), "10": ("approved", "agree"),
}  # fmt: skip
"""sp_status -> state and result; 10 is approved and paid."""
PAID = "10"
DONE: Mapping[int, tuple[str, str]] = {
    2: ("EXECUTE_TASK_NORMAL", "AGREE"), 3: ("EXECUTE_TASK_NORMAL", "REFUSE"), 4: ("REDIRECT_TASK", "REDIRECTED"),
    11: ("EXECUTE_TASK_NORMAL", "RETURNED"), 12: ("APPEND_TASK", "NONE"), 13: ("EXECUTE_TASK_NORMAL", "AGREE"),
    14: ("EXECUTE_TASK_NORMAL", "HANDLED"), 15: ("REDIRECT_TASK", "REDIRECTED"),
}  # fmt: skip
"""What somebody did at a node -> type and result of the operation; 1 is somebody whose turn has not come or is now."""
ACTIONS: Mapping[str, str] = {
    "AGREE": "agree", "HANDLED": "agree", "REFUSE": "reject", "RETURNED": "return", "REDIRECTED": "transfer",
}  # fmt: skip
"""Result of an operation -> action of a node as an approval of the hub has it."""
NODES: Mapping[int, str] = {1: "approve", 2: "cc", 3: "handle"}
NODE_MODES: Mapping[int, str] = {1: "all", 2: "any", 3: "in_turn"}
RECORD_MODES: Mapping[int, str] = {1: "any", 2: "all"}
"""``apv_rel`` and ``approverattr`` count the other way round (pitfall 14)."""
NOT_THERE = "301025"
"""What a number that is not there answers (assumed; the documents name no code of its own)."""
FORBIDDEN = "301055"
"""Of the app, or of one person it does not see: which of the two it does not say."""
KEPT = 20_000
"""Approvals whose number of ours is remembered: a form does not change once it was sent."""
_OURS = re.compile(r"(?:(.*) \[[0-9a-f]{8}\]|[0-9a-f]{32})", re.DOTALL | re.ASCII)
"""What a create of ours puts into the form: the number it was given and 8 digits of our key, or the key alone."""
_OFFSET = re.compile(r"([+-])([01][0-9]):([0-5][0-9])")


def parse_offset(text: str) -> datetime.timezone:
    """Return the zone of dates. Raises SettingsError."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise SettingsError("is an offset such as +08:00", field="time_offset")
    minutes = int(match[2]) * 60 + int(match[3])
    return datetime.timezone(datetime.timedelta(minutes=minutes if match[1] == "+" else -minutes))


class Seen:
    """One approval as it was read. ``applied``: unix seconds of its submission, 0 where it does not say."""

    __slots__ = ("applied", "body", "correlation", "record")

    def __init__(self, record: SourceRecord, body: dict[str, Json], applied: int) -> None:
        self.record, self.body, self.applied = record, body, applied
        self.correlation = str(body["correlation"] or "")

    @property
    def ref(self) -> VendorRef:
        """Return the reference it is known by."""
        shown = self.record
        return VendorRef(shown.key.id, shown.stable_key, shown.stage, gone=shown.deleted)


class Approvals:
    """Reads approvals; what is not there any more is None or Gone."""

    def __init__(self, calls: ApprovalCalls, tools: Toolbox, *, field: str, offset: str) -> None:
        """``field``: which Text control carries our number. ``offset``: of dates. Raises SettingsError."""
        self._calls, self._tools, self._field = calls, tools, field
        self.zone = parse_offset(offset)
        self.numbers: OrderedDict[str, str] = OrderedDict()
        """sp_no -> our number in its form, "" for one that is not ours."""

    async def fetch(self, keys: Sequence[VendorKey]) -> list[SourceRecord | Gone | Failed]:
        """Read approvals again, one result per key. Raises RemoteError: the connection is down, or nothing was read."""
        results = await asyncio.gather(*(self._result(key) for key in keys))
        failed = [result.error for result in results if isinstance(result, Failed)]
        for error in failed:
            if isinstance(error, ConnectionDown) or len(failed) == len(results):
                raise error
        return results

    async def see(self, sp_no: str, *, org: str = "") -> Seen | None:
        """Return an approval, None if it is not there.

        Raises:
            IntegrityError: the answer is about another approval.
            RemoteError: as the client; Refused for one whose applicant the app does not see.
        """
        observed_at = self._tools.clock.now()
        try:
            info = (await self._calls.look(DETAIL, {"sp_no": sp_no})).get("info")
        except RemoteError as error:
            if error.code == NOT_THERE:
                return None
            raise await self.blamed(error, "processInstanceId") from None
        if not isinstance(info, dict) or number(info.get("sp_status")) is None:
            raise bad_answer(f"{DETAIL} answered no approval with a status", read=True)
        if str(info.get("sp_no")) != sp_no:
            raise IntegrityError(
                Cause.FOREIGN, f"{DETAIL} was asked for one approval and answered for another"
            )
        body = self._body(sp_no, info)
        record = SourceRecord(
            VendorKey(org, sp_no),
            body,
            observed_at,
            stage=str(body["status"]),
            stable_key=sp_no,
            deleted=body["status"] == DELETED,
        )
        applied = number(info.get("apply_time"))
        seen = Seen(record, body, applied if isinstance(applied, int) else 0)
        self._remember(sp_no, seen.correlation)
        return seen

    async def blamed(self, error: RemoteError, field: str) -> RemoteError:
        """Return what a failure is about: 301055 is of one record where the app may call the module otherwise."""
        if error.code != FORBIDDEN:
            return error
        now = self._tools.clock.now() // SECOND
        try:
            asked = {
                "starttime": str(now - 60),
                "endtime": str(now),
                "new_cursor": "",
                "size": 1,
                "filters": [],
            }
            await self._calls.look(LIST, asked)
        except TryAgain as unasked:  # which of the two it is stays open, and nothing took effect: no reason to stop the connection
            return unasked
        except RemoteError:
            return error
        text = (
            f"{field}: 申请人不在应用可见范围内 / the applicant is not in the app's visible range ({error})"
        )
        return Refused(text, cause=Cause.PERMISSION, vendor="wecom", code=error.code, field=field)

    async def _result(self, key: VendorKey) -> SourceRecord | Gone | Failed:
        try:
            seen = await self.see(key.id, org=key.org) if key.id else None
        except RemoteError as error:
            return Failed(error)
        return Gone(key) if seen is None else seen.record

    # --------------------------------------------------------------------------------------------- the body

    def _body(self, sp_no: str, info: Mapping[str, Any]) -> dict[str, Json]:
        fields, form = shown_form(_object(info, "apply_data").get("contents"), self.zone)
        status = str(number(info.get("sp_status")))
        state, result = STATES.get(status, ("unknown", None))
        correlation = self._number(fields)
        ours = _OURS.fullmatch(str(correlation or ""))
        applyer, batch = _object(info, "applyer"), _object(info, "batch_applyer")
        dept = number(applyer.get("partyid"))
        tasks = list(self._tasks(info))
        done = [one for one in tasks if one["date"]]
        started: dict[str, Json] = {
            "type": "START_PROCESS_INSTANCE", "userId": _text(applyer.get("userid")), "date": self._time(info.get("apply_time")),
            "result": "NONE", "remark": None,
        }  # fmt: skip
        records: list[dict[str, Json]] = [started, *done, *self._comments(info)]
        records.sort(key=lambda one: str(one["date"] or ""))
        nodes = list(_nodes(records))
        ended = max((str(one["date"]) for one in done), default=None)
        return {
            "processCode": _text(info.get("template_id")), "processInstanceId": sp_no, "title": _text(info.get("sp_name")),
            "correlation": correlation, "number": ours[1] if ours else correlation, "ours": ours is not None, "state": state, "status": status, "result": result, "paid": status == PAID,
            "createTime": self._time(info.get("apply_time")), "finishTime": ended if result else None,
            "originatorUserId": _text(applyer.get("userid")), "originatorDeptId": dept if isinstance(dept, int) else None,
            "batchOriginatorUserId": _text(batch.get("userid")),
            "ccUserIds": [str(one["userid"]) for one in _rows(info.get("notifyer")) if one.get("userid")],
            "form": form, "fields": fields, "operationRecords": list[Json](records), "tasks": list[Json](tasks),
            "nodes": list[Json](nodes),
            "opinion": next((one["opinion"] for one in reversed(nodes) if one["opinion"] and one["action"] != "comment"), None),
        }  # fmt: skip

    def _tasks(self, info: Mapping[str, Any]) -> Iterator[dict[str, Json]]:
        """Give everybody at a node, in the order of the nodes; the newer form where the answer has it."""
        nodes = _rows(_object(info, "process_list").get("node_list"))
        for place, node in enumerate(nodes, start=1):
            kind = NODES.get(_whole(node.get("node_type")), "approve")
            mode = NODE_MODES.get(_whole(node.get("apv_rel")))
            for one in _rows(node.get("sub_node_list")):
                if kind != "cc":
                    yield self._task(place, kind, mode, one.get("userid"), one, _whole(one.get("sp_yj")))
        for place, node in enumerate(() if nodes else _rows(info.get("sp_record")), start=1):
            mode = RECORD_MODES.get(_whole(node.get("approverattr")))
            for one in _rows(node.get("details")):
                userid = _object(one, "approver").get("userid")
                yield self._task(place, "approve", mode, userid, one, _whole(one.get("sp_status")))

    def _task(
        self, place: int, kind: str, mode: str | None, userid: object, one: Mapping[str, Any], done: int
    ) -> dict[str, Json]:
        type_, result = DONE.get(done, ("", "NONE"))
        return {
            "seq": place, "node": kind, "mode": mode, "userId": _text(userid), "status": "COMPLETED" if type_ else "RUNNING",
            "type": type_ or None, "result": result, "date": self._time(one.get("sptime")) if type_ else None,
            "remark": _text(one.get("speech")),
        }  # fmt: skip

    def _comments(self, info: Mapping[str, Any]) -> Iterator[dict[str, Json]]:
        for one in _rows(info.get("comments")):
            userid = _object(one, "commentUserInfo").get("userid")
            yield {
                "type": "ADD_REMARK", "userId": _text(userid), "date": self._time(one.get("commenttime")), "result": "NONE",
                "remark": _text(one.get("commentcontent")),
            }  # fmt: skip

    def _number(self, fields: Sequence[Json]) -> Json:
        """Return our number in the form, None if its control is not there or empty."""
        for name in ("id", "name"):
            for one in fields:
                if isinstance(one, dict) and one.get(name) == self._field and one["componentType"] == "Text":
                    return one.get("value") or None
        return None

    def _time(self, seconds: object) -> Json:
        return instant_text(seconds, self.zone)

    def _remember(self, sp_no: str, ours: str) -> None:
        self.numbers[sp_no] = ours
        self.numbers.move_to_end(sp_no)
        if len(self.numbers) > KEPT:
            self.numbers.popitem(last=False)


def _nodes(records: Sequence[Mapping[str, Json]]) -> Iterator[dict[str, Json]]:
    """Give what people did as the rows an approval of the hub has; the list only ever gets longer."""
    for one in records:
        action = "comment" if one["type"] == "ADD_REMARK" else ACTIONS.get(str(one["result"]))
        if action is not None:
            mode = one.get("mode")
            yield {
                "seq": one.get("seq"), "mode": mode if mode in ("any", "all") else None, "approver": one["userId"], "action": action,
                "opinion": one["remark"], "acted_at": one["date"],
            }  # fmt: skip


def _object(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _rows(given: object) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _whole(value: object) -> int:
    found = number(value)
    return found if isinstance(found, int) else 0


def _text(value: object) -> Json:
    return str(value) if value not in (None, "") else None
