"""One approval as the hub sees it: what `get` shows, with what was attached to it later (fact sheet 2.3).

Its id is ``<processCode>/<processInstanceId>``: `get` does not say which template an instance is of, every other way does.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.forms import shown_form
from connectors.dingtalk.nodes import last_opinion, nodes_of
from connectors.dingtalk.outcomes import MISSING, bad_answer
from hub.sdk import (
    Cause,
    ConnectionDown,
    Failed,
    Gone,
    IntegrityError,
    Json,
    RemoteError,
    SettingsError,
    SourceRecord,
    Toolbox,
    VendorKey,
    VendorRef,
)

__all__ = ["APPROVAL_FIELDS", "GET", "Approvals", "Seen", "key_of", "pair_of", "parse_offset", "started_ms"]

GET = "workflow/processInstances"
APPROVAL_FIELDS: Mapping[str, str] = {
    "processCode": "text", "processInstanceId": "text", "businessId": "text", "title": "text", "correlation": "text",
    "number": "text", "ours": "flag",
    "state": "text", "status": "text", "result": "text", "createTime": "instant", "finishTime": "instant",
    "originatorUserId": "text", "originatorDeptId": "integer", "originatorDeptName": "text", "ccUserIds": "texts",
    "form": "json", "fields": "json", "operationRecords": "json", "tasks": "json", "bizAction": "text",
    "mainProcessInstanceId": "text", "main": "json", "attached": "json", "nodes": "json", "opinion": "text",
}  # fmt: skip
MAIN = ("processInstanceId", "businessId", "correlation", "state", "status", "result")
"""What an attached instance shows of the approval it is about."""
STATES: Mapping[tuple[str, str], str] = {
    ("COMPLETED", "agree"): "approved", ("COMPLETED", "refuse"): "rejected",
}  # fmt: skip
BY_STATUS: Mapping[str, str] = {
    "NEW": "in_progress", "RUNNING": "in_progress", "TERMINATED": "withdrawn", "CANCELED": "withdrawn",
}  # fmt: skip
KEPT = 20_000
"""Instances whose number of ours is remembered: a form does not change once it was sent."""
Value = TypeVar("Value")
_OURS = re.compile(r"(?:(.*) \[[0-9a-f]{8}\]|[0-9a-f]{32})", re.DOTALL | re.ASCII)
"""What a create of ours puts into the form: the number it was given and 8 digits of our key, or the key alone."""
_OFFSET = re.compile(r"([+-])([01][0-9]):([0-5][0-9])")
_MINUTE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2})(:[0-9]{2})?Z?", re.ASCII)


def parse_offset(text: str) -> datetime.timezone:
    """Return the zone of instance times. Raises SettingsError."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise SettingsError("is an offset such as +08:00", field="time_offset")
    minutes = int(match[2]) * 60 + int(match[3])
    return datetime.timezone(datetime.timedelta(minutes=minutes if match[1] == "+" else -minutes))


def key_of(code: str, instance: str, org: str = "") -> VendorKey:
    """Return the key of an instance."""
    return VendorKey(org, f"{code}/{instance}")


def pair_of(vendor_id: str) -> tuple[str, str] | None:
    """Return (processCode, processInstanceId) of an id, None if it is none."""
    code, slash, instance = vendor_id.rpartition("/")
    return (code, instance) if slash and code and instance else None


class Seen:
    """One instance as it was read; ``about``: the approval that one attached to it is about, as it was read then."""

    __slots__ = ("about", "action", "body", "correlation", "main", "record")

    def __init__(self, record: SourceRecord, body: dict[str, Json], correlation: str) -> None:
        self.record, self.body, self.correlation = record, body, correlation
        self.about: Seen | None = None
        self.action, self.main = str(body["bizAction"]), str(body["mainProcessInstanceId"] or "")

    @property
    def ref(self) -> VendorRef:
        """Return the reference it is known by."""
        return VendorRef(self.record.key.id, self.record.stable_key, self.record.stage)


class Approvals:
    """Reads instances; what is not there any more is None or Gone."""

    def __init__(self, client: DingTalkClient, tools: Toolbox, *, field: str, offset: str) -> None:
        """``field``: which component carries our number. ``offset``: of the ``…Z`` times (UNCONFIRMED). Raises SettingsError."""
        self._client, self._tools, self._field = client, tools, field
        self._zone = parse_offset(offset)
        self.numbers: OrderedDict[str, str] = OrderedDict()
        """Instance id -> our number in its form ("" for one that is not ours, or only attached to another)."""
        self.opened: OrderedDict[str, tuple[str, int]] = OrderedDict()
        """Instance id -> its template and start (ms), of those that ran when they were seen last and no read has listed yet."""

    async def fetch(self, keys: Sequence[VendorKey]) -> list[SourceRecord | Gone | Failed]:
        """Read instances again, one result per key; for one that was attached, the approval it is about.

        Of a change or a revocation the attached instance alone has events: asked for by one, that approval is what changed.

        Raises:
            RemoteError: the connection is down, or nothing was read.
        """
        results = await asyncio.gather(*(self._result(key) for key in keys))
        failed = [result.error for result in results if isinstance(result, Failed)]
        for error in failed:
            if isinstance(error, ConnectionDown) or len(failed) == len(results):
                raise error
        return results

    async def see(self, code: str, instance: str, *, org: str = "") -> Seen | None:
        """Return an instance with what was attached to it, None if it is not there.

        One that was attached (a change, a revocation) shows under ``main`` how the approval it is about stands now: its
        own event is the only one there is.

        Raises:
            IntegrityError: the answer is about another instance.
            RemoteError: as the client.
        """
        observed_at = self._tools.clock.now()
        shown = await self._get(instance)
        if shown is None:
            return None
        attached: list[Json] = []
        for one in shown.get("attachedProcessInstanceIds") or ():
            other = await self._get(str(one)) if isinstance(one, str) and one else None
            if other is not None:
                said = {name: other.get(name) for name in ("bizAction", "status", "result")}
                attached.append({"processInstanceId": one, **said})
        body = self._body(code, instance, shown, attached)
        stage = str(body["status"] or "") or None
        record = SourceRecord(
            key_of(code, instance, org), body, observed_at, stage=stage, stable_key=instance
        )
        seen = Seen(record, body, str(body["correlation"] or ""))
        if seen.action != "NONE" and seen.main not in ("", instance):
            main = await self.see(code, seen.main, org=org)
            seen.about = main
            if main is not None:
                body["main"] = {name: main.body[name] for name in MAIN}
        self._remember(instance, seen.correlation if seen.action == "NONE" else "")
        if body["state"] == "in_progress":
            self.began(code, instance, started_ms(body))
        else:
            self.opened.pop(instance, None)
        return seen

    def began(self, code: str, instance: str, at: int | None = None) -> None:
        """Remember that an instance runs, since ``at`` (ms), for the next read: a listing does not show what was deleted."""
        _keep(self.opened, instance, (code, at or self._tools.clock.now() // 1000))

    async def _result(self, key: VendorKey) -> SourceRecord | Gone | Failed:
        pair = pair_of(key.id)
        if pair is None:
            return Gone(key)
        try:
            seen = await self.see(*pair, org=key.org)
        except RemoteError as error:
            return Failed(error)
        if seen is None:
            self.opened.pop(pair[1], None)
            return Gone(key)
        return (seen.about or seen).record

    async def _get(self, instance: str) -> Mapping[str, Any] | None:
        try:
            shown = (await self._client.get(GET, processInstanceId=instance)).get("result")
        except RemoteError as error:
            if error.code in MISSING:
                return None
            raise
        if not isinstance(shown, dict) or not isinstance(shown.get("status"), str):
            raise bad_answer(f"{GET} answered no instance with a status", read=True)
        named = {
            str(task.get("processInstanceId")) for task in shown.get("tasks") or () if isinstance(task, dict)
        }
        if others := named - {instance, "None", ""}:
            text = (
                f"{GET} was asked for one instance and answered for another ({len(others)} tasks of others)"
            )
            raise IntegrityError(Cause.FOREIGN, text)
        return shown

    def _body(
        self, code: str, instance: str, shown: Mapping[str, Any], attached: list[Json]
    ) -> dict[str, Json]:
        fields, form = shown_form(shown.get("formComponentValues"))
        status, result = _upper(shown.get("status")), str(shown.get("result") or "")
        state = STATES.get((status, result)) or BY_STATUS.get(status, "unknown")
        if state == "approved" and any(_revoked(one) for one in attached):
            state = "revoked"
        correlation = self._number(fields)
        ours = _OURS.fullmatch(str(correlation or ""))
        dept = str(shown.get("originatorDeptId") or "")
        records = [
            self._dated(one, "date") for one in shown.get("operationRecords") or () if isinstance(one, dict)
        ]
        nodes = nodes_of(records)
        return {
            "processCode": code, "processInstanceId": instance, "businessId": _text(shown, "businessId"),
            "title": _text(shown, "title"), "correlation": correlation,
            "number": ours[1] if ours else correlation, "ours": ours is not None, "state": state, "status": status,
            "result": result or None, "createTime": self._time(shown.get("createTime")),
            "finishTime": self._time(shown.get("finishTime")), "originatorUserId": _text(shown, "originatorUserId"),
            "originatorDeptId": int(dept) if dept.lstrip("-").isascii() and dept.lstrip("-").isdigit() else None,
            "originatorDeptName": _text(shown, "originatorDeptName"),
            "ccUserIds": [str(one) for one in shown.get("ccUserIds") or ()], "form": form, "fields": fields,
            "operationRecords": records, "nodes": nodes, "opinion": last_opinion(nodes),
            "tasks": [self._dated(one, "createTime", "finishTime") for one in shown.get("tasks") or () if isinstance(one, dict)],
            "bizAction": str(shown.get("bizAction") or "NONE"), "mainProcessInstanceId": _text(shown, "mainProcessInstanceId"),
            "main": None, "attached": attached,
        }  # fmt: skip

    def _number(self, fields: Sequence[Json]) -> Json:
        """Return our number in the form, None if its field is not there or empty."""
        for name in ("id", "bizAlias", "name"):
            for one in fields:
                if isinstance(one, dict) and one.get(name) == self._field:
                    return one.get("value") or None
        return None

    def _dated(self, one: Mapping[str, Any], *names: str) -> Json:
        return {**one, **{name: self._time(one[name]) for name in names if name in one}}

    def _time(self, value: object) -> Json:
        """Return a time with its offset; what cannot be read stays as it is, for a person to see."""
        match = _MINUTE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value if isinstance(value, str) and value else None
        try:
            at = datetime.datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ':00'}").replace(
                tzinfo=self._zone
            )
        except ValueError:
            return match[0]
        return at.isoformat()

    def _remember(self, instance: str, number: str) -> None:
        _keep(self.numbers, instance, number)


def _keep(kept: OrderedDict[str, Value], instance: str, value: Value) -> None:
    kept[instance] = value
    kept.move_to_end(instance)
    if len(kept) > KEPT:
        kept.popitem(last=False)


def started_ms(body: Mapping[str, Json]) -> int | None:
    """Return when an instance was started (ms), to the minute; None if it does not say readably."""
    try:
        return int(datetime.datetime.fromisoformat(str(body["createTime"])).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _revoked(one: Json) -> bool:
    return isinstance(one, dict) and (one.get("bizAction"), _upper(one.get("status")), one.get("result")) == (
        "REVOKE", "COMPLETED", "agree",
    )  # fmt: skip


def _upper(value: object) -> str:
    return str(value or "").upper()


def _text(shown: Mapping[str, Any], name: str) -> Json:
    value = shown.get(name)
    return str(value) if value not in (None, "") else None
