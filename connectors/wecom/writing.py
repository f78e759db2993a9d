"""Remarks and tags written back to a relation: one request per step, no more than is due (fact sheet 2.1).

Both steps are PUTs: they state how the relation shall be, so a repeat changes nothing. Step ``remark`` sends the due
fields, the company to WeChat users alone; step ``tag`` compares with what the relation holds and adds and removes corp tags. A relation is never made
here: it exists when two people added each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.lookup import Lookup
from connectors.wecom.outcomes import NO_RELATION
from connectors.wecom.relations import pair_of
from connectors.wecom.tags import CORP, LONGEST_NAME, TagLibrary
from hub.sdk import (
    Absent,
    Applied,
    CannotTell,
    Cause,
    Failed,
    FindResult,
    Found,
    Gone,
    Json,
    Next,
    Refused,
    RemoteError,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)

__all__ = ["FollowWriter"]

LIMITS: Mapping[str, int] = {"remark": 20, "description": 150, "remark_company": 20}
"""Characters the vendor keeps."""
READ_AS: Mapping[str, str] = {"remark_company": "remark_corp_name"}
"""Field we write -> the name it is read by (2.3)."""
REMARK_FIELDS = (*LIMITS, "remark_mobiles")
WECHAT = 1
_ESCAPED = re.compile(r"[\x00-\x07\x0b\x0e-\x1f]")
"""What JSON carries only as ``\\uXXXX``, which WeCom refuses (40033)."""


class FollowWriter:
    """Writes and looks up relations; writes to one contact go one after another (45035)."""

    def __init__(
        self, client: WeComClient, library: TagLibrary, lookup: Lookup, *, clear_mobiles: bool
    ) -> None:
        """``clear_mobiles``: send ``[""]`` to take every number away (UNCONFIRMED)."""
        self._client = client
        self._library = library
        self._lookup = lookup
        self._clear_mobiles = clear_mobiles

    async def write(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Make the writes of one contact in their order, one result each."""
        return [await self._one(write) for write in writes]

    async def find(self, writes: Sequence[Write]) -> list[FindResult]:
        """Answer the writes of one contact from one look."""
        pairs = {id(write): pair_of(write.ref.vendor_id) for write in writes if write.ref is not None}
        known = [pair for pair in pairs.values() if pair]
        try:
            seen = await self._lookup.see(known[0][1], [userid for userid, _ in known]) if known else None
        except RemoteError as error:
            return [CannotTell(str(error), error)] * len(writes)
        results: list[FindResult] = []
        for write in writes:
            pair = pairs.get(id(write))
            record = self._lookup.record(seen, pair[0]) if seen and pair else None
            if write.ref is None:
                results.append(Absent())
            elif record is None:
                results.append(Gone(VendorKey(write.org, write.ref.vendor_id)))
            else:
                results.append(Found(write.ref, _holds(write, record.body), record.body))
        return results

    async def _one(self, write: Write) -> WriteResult:
        try:
            ref, (userid, external) = _target(write)
            _check(write.payload)
            step = self._remark if write.step == "remark" else self._tag
            return await step(write, ref, userid, external)
        except RemoteError as error:
            if error.code in NO_RELATION and write.ref is not None:
                return Gone(VendorKey(write.org, write.ref.vendor_id))
            return Failed(error)

    async def _remark(self, write: Write, ref: VendorRef, userid: str, external: str) -> WriteResult:
        due: dict[str, Any] = {name: write.payload[name] or "" for name in LIMITS if name in write.payload}
        if "remark_mobiles" in write.payload:
            due["remark_mobiles"] = self._mobiles(write.payload["remark_mobiles"])
        if "remark_company" in due:  # kept for WeChat users alone (2.1); their ids do not say who is one (0)
            seen = await self._lookup.see(external)
            if seen is None:
                return Gone(VendorKey(write.org, ref.vendor_id))
            if seen.contact.get("type") != WECHAT:
                del due["remark_company"]
        if due:
            body = {"userid": userid, "external_userid": external, **due}
            await self._client.write("externalcontact/remark", body, deadline=write.deadline)
        return Next(ref) if write.step != write.plan[-1] else Applied(ref)

    def _mobiles(self, value: Json) -> list[str]:
        numbers = _texts(value)
        if numbers or self._clear_mobiles:
            return numbers or [""]
        raise _refused(
            "remark_mobiles",
            "all numbers were taken away; the setting clear_mobiles does not allow to send that",
        )

    async def _tag(self, write: Write, ref: VendorRef, userid: str, external: str) -> WriteResult:
        if "tags" not in write.payload:
            return Applied(ref)
        seen = await self._lookup.see(external, [userid])
        record = self._lookup.record(seen, userid) if seen else None
        if record is None:
            return Gone(VendorKey(write.org, ref.vendor_id))
        wanted = _wanted(write.payload)
        held = _tags_of(record.body)
        added = [name for name in wanted if name not in {str(tag["tag_name"]) for tag in held}]
        removed = [tag["tag_id"] for tag in held if tag["type"] == CORP and tag["tag_name"] not in wanted]
        if not added and not removed:
            return Applied(ref, stored=record.body)
        ids = await self._library.ids_of(added, deadline=write.deadline) if added else []
        body = {"userid": userid, "external_userid": external, "add_tag": ids, "remove_tag": removed}
        await self._client.write("externalcontact/mark_tag", body, deadline=write.deadline)
        return Applied(ref)


def _target(write: Write) -> tuple[VendorRef, tuple[str, str]]:
    """Return the relation a write is about. Raises Refused where there is none."""
    pair = pair_of(write.ref.vendor_id) if write.ref is not None else None
    if write.ref is None or pair is None:
        raise _refused(
            "external_userid",
            "a relation is made by two people adding each other; the hub makes none",
            Cause.NOT_FOUND,
        )
    return write.ref, pair


def _check(payload: Mapping[str, Json]) -> None:
    """Refuse what the vendor would refuse or cut, before any request."""
    for name, limit in LIMITS.items():
        value = payload.get(name)
        if value is not None and not isinstance(value, str):
            raise _refused(name, "must be a text")
        if value and _ESCAPED.search(value):
            raise _refused(name, "holds a control character, which WeCom does not take")
        if value and len(value) > limit:
            raise _refused(name, f"has {len(value)} characters, WeCom keeps {limit}")
    for name in ("remark_mobiles", "tags"):
        value = payload.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise _refused(name, "must be a list of texts")
        if any(_ESCAPED.search(one) for one in _texts(value)):
            raise _refused(name, "holds a control character, which WeCom does not take")
    for tag in _wanted(payload):
        if len(tag) > LONGEST_NAME:
            raise _refused("tags", f"a tag has {len(tag)} characters, WeCom keeps {LONGEST_NAME}")


def _holds(write: Write, body: Json) -> bool:
    """Say whether a relation is as the step would leave it."""
    assert isinstance(body, dict)
    if write.step == "tag":
        held = _tags_of(body)
        names = {tag["tag_name"] for tag in held}
        corp = {tag["tag_name"] for tag in held if tag["type"] == CORP}
        wanted = set(_wanted(write.payload))
        return "tags" not in write.payload or (wanted <= names and corp <= wanted)
    contact = body["contact"]
    assert isinstance(contact, dict)
    names_due = [name for name in REMARK_FIELDS if name in write.payload]
    if contact.get("type") != WECHAT and "remark_company" in names_due:
        names_due.remove("remark_company")  # kept for WeChat customers only (2.1)
    return all(_same(write.payload[name], body.get(READ_AS.get(name, name))) for name in names_due)


def _same(ours: Json, theirs: Json) -> bool:
    if isinstance(ours, list) or isinstance(theirs, list):
        return sorted(_texts(ours)) == sorted(_texts(theirs))
    return (ours or "") == (theirs or "")


def _wanted(payload: Mapping[str, Json]) -> list[str]:
    names = (name.strip() for name in _texts(payload.get("tags")))
    return list(dict.fromkeys(name for name in names if name))


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value if one] if isinstance(value, list) else []


def _tags_of(body: Json) -> list[dict[str, Any]]:
    assert isinstance(body, dict)
    tags = body["tags"]
    return [tag for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []


def _refused(field: str, message: str, cause: Cause = Cause.INVALID) -> Refused:
    return Refused(f"{field}: {message}", cause=cause, vendor="wecom", field=field)
