"""Departments and employees by the old API, as far as the app sees them (fact sheet 3).

Absence says nothing: what lies outside the visible range (授权范围) is in no list. A department carries the path up to the
root, so that a mapping can tell its region by ``source_identifier``, ``code`` or the ids it lies under.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.outcomes import bad_answer
from hub.sdk import (
    Cause,
    ConnectionDown,
    Failed,
    Gone,
    IntegrityError,
    Json,
    Page,
    Refused,
    RemoteError,
    SourceRecord,
    Toolbox,
    VendorKey,
)

__all__ = ["DEPARTMENT_FIELDS", "USER_FIELDS", "Directory", "Person"]

USER_FIELDS: Mapping[str, str] = {
    "userid": "text", "unionid": "text", "name": "text", "title": "text", "job_number": "text", "mobile": "text",
    "email": "text", "active": "flag", "dept_id_list": "json", "departments": "json",
}  # fmt: skip
DEPARTMENT_FIELDS: Mapping[str, str] = {
    "dept_id": "text", "name": "text", "parent_id": "text", "source_identifier": "text", "code": "text", "path": "json",
    "path_names": "json",
}  # fmt: skip
ROOT = 1
NO_USER = frozenset(["33012", "60121"])
NO_DEPARTMENT = frozenset(["60003"])
OUT_OF_RANGE = frozenset(["50002", "50004"])
FRESH = 600.0
"""Seconds a department, or whether somebody works there, is believed without asking again."""
DEEPEST, MOST_DEPARTMENTS, MOST_PAGES = 30, 50_000, 10_000


class Person:
    """What an approval needs to know of an employee: whether there is one, and the departments as the approval API has them."""

    __slots__ = ("active", "departments")

    def __init__(self, *, active: bool, departments: tuple[int, ...]) -> None:
        self.active, self.departments = active, departments


class Directory:
    """Reads departments and employees. Cursor: ``{"done", "of", "after"}``, departments in the order of their ids."""

    def __init__(self, client: DingTalkClient, tools: Toolbox, *, limit: int) -> None:
        """``limit``: rows a page."""
        self._client, self._tools, self._limit = client, tools, limit
        self._nodes: dict[int, tuple[float, Mapping[str, Any] | None]] = {}
        self._people: dict[str, tuple[float, Person]] = {}

    def forget(self) -> None:
        """Ask anew the next time."""
        self._nodes.clear()
        self._people.clear()

    async def person(self, userid: str) -> Person:
        """Say whether somebody works there; one who is out of the app's range is taken for active, the vendor decides."""
        until, known = self._people.get(userid, (0.0, None))
        now = self._tools.clock.monotonic()
        if known is not None and now < until:
            return known
        try:
            shown = await self._user(userid)
            listed = shown.get("dept_id_list") or ()
            departments = tuple(-1 if int(one) == ROOT else int(one) for one in listed)
            person = Person(active=shown.get("active") not in (False, "false"), departments=departments)
        except (Refused, ConnectionDown) as error:
            if error.code not in NO_USER | OUT_OF_RANGE:
                raise
            person = Person(active=error.code in OUT_OF_RANGE, departments=())
        self._people[userid] = (now + FRESH, person)
        return person

    async def departments(self) -> list[int]:
        """Return the ids of every visible department below the root, sorted; education trees are left out (pitfall 10)."""
        found: dict[int, None] = {}
        level = [ROOT]
        while level:
            children = await asyncio.gather(*(self._children(one) for one in level))
            level = [one for listed in children for one in listed if one not in found and one != ROOT]
            found.update(dict.fromkeys(level))
            if len(found) > MOST_DEPARTMENTS:
                raise IntegrityError(Cause.CURSOR, "the department tree does not end")
        return sorted(found)

    def pages(self, stream: str, after: Json) -> AsyncIterator[Page]:
        """Yield every department, or every employee once. Raises RemoteError, IntegrityError."""
        return self._user_pages(after) if stream == "user" else self._department_pages(after)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> list[SourceRecord | Gone | Failed]:
        """Read single records again, one result per key. Raises RemoteError: the connection is down, or nothing was read."""
        results = await asyncio.gather(*(self._result(stream, key) for key in keys))
        failed = [result.error for result in results if isinstance(result, Failed)]
        for error in failed:
            if isinstance(error, ConnectionDown) or len(failed) == len(results):
                raise error
        return results

    # ------------------------------------------------------------------------------------------ inside

    async def _result(self, stream: str, key: VendorKey) -> SourceRecord | Gone | Failed:
        began = self._tools.clock.now()
        try:
            if stream == "user":
                return await self._user_record(await self._user(key.id), began, key)
            if not key.id.isascii() or not key.id.isdigit():
                return Gone(key)
            self._nodes.pop(int(key.id), None)
            return await self._department_record(int(key.id), began, key)
        except RemoteError as error:
            if error.code in NO_USER | NO_DEPARTMENT:
                return Gone(key)
            if error.code in OUT_OF_RANGE:
                message = f"{stream} {key.id} lies outside the app's visible range: nothing can be said of it ({error})"
                return Failed(Refused(message, cause=Cause.PERMISSION, vendor="dingtalk", code=error.code))
            return Failed(error)

    async def _department_pages(self, after: Json) -> AsyncIterator[Page]:
        place = dict(after) if isinstance(after, dict) else {}
        if after is not None and place.get("done") == place.get("of"):
            yield Page([], after)
            return
        self.forget()
        ids = await self.departments()
        left = [one for one in ids if one > _number(place.get("after"))]
        done = len(ids) - len(left)
        for index in range(0, len(left), self._limit):
            chunk = left[index : index + self._limit]
            seen = await asyncio.gather(
                *(self._result("department", VendorKey("", str(one))) for one in chunk)
            )
            done += len(chunk)
            records = [_sure(one) for one in seen if not isinstance(one, Gone)]
            yield Page(records, {"done": done, "of": len(ids), "after": chunk[-1]}, total=len(ids))
        if not left:
            yield Page([], {"done": done, "of": done, "after": _number(place.get("after"))}, total=len(ids))

    async def _user_pages(self, after: Json) -> AsyncIterator[Page]:
        place = dict(after) if isinstance(after, dict) else {}
        if after is not None and place.get("done") == place.get("of"):
            yield Page([], after)
            return
        self.forget()
        ids = [ROOT, *await self.departments()]
        shown: set[str] = set()
        for done, department in enumerate(ids):
            if department < _number(place.get("after")):
                continue
            async for records, cursor in self._members(department, place, shown):
                last = cursor is None
                at: dict[str, Json] = {"done": done + last, "of": len(ids), "after": department + last}
                if cursor is not None:
                    at["cursor"] = cursor
                yield Page(records, at)
            place = {}

    async def _members(
        self, department: int, place: Mapping[str, Json], shown: set[str]
    ) -> AsyncIterator[tuple[list[SourceRecord], int | None]]:
        """Give the direct members page by page, each person once a read; the last page has no cursor."""
        cursor = _number(place.get("cursor")) if department == place.get("after") else 0
        for _ in range(MOST_PAGES):
            began = self._tools.clock.now()
            body = {
                "dept_id": department,
                "cursor": cursor,
                "size": self._limit,
                "contain_access_limit": False,
            }
            try:
                result = (await self._client.old("topapi/v2/user/list", body)).get("result")
            except RemoteError as error:
                if error.code in OUT_OF_RANGE | NO_DEPARTMENT:
                    yield [], None
                    return
                raise
            listed = result.get("list") if isinstance(result, dict) else None
            if not isinstance(result, dict) or not isinstance(listed, list):
                raise bad_answer("topapi/v2/user/list answered no list", read=True)
            new = [one for one in listed if isinstance(one, dict) and str(one.get("userid")) not in shown]
            shown |= {str(one.get("userid")) for one in new}
            records = [await self._user_record(one, began) for one in new]
            if str(result.get("has_more")).lower() != "true":  # it counts, next_cursor does not (pitfall 9)
                yield records, None
                return
            following = _number(result.get("next_cursor"))
            if following <= cursor or (listed and not new):
                raise IntegrityError(
                    Cause.CURSOR, "topapi/v2/user/list: the same page comes again; it would never end"
                )
            cursor = following
            yield records, cursor
        raise IntegrityError(
            Cause.CURSOR, f"topapi/v2/user/list: more than {MOST_PAGES} pages of one department"
        )

    async def _user(self, userid: str) -> Mapping[str, Any]:
        shown = (await self._client.old("topapi/v2/user/get", {"userid": userid})).get("result")
        if not isinstance(shown, dict) or not isinstance(shown.get("userid"), str):
            raise bad_answer("topapi/v2/user/get answered no user", read=True)
        if shown["userid"] != userid:
            raise IntegrityError(
                Cause.FOREIGN, "topapi/v2/user/get was asked for one employee and answered for another"
            )
        return shown

    async def _user_record(
        self, shown: Mapping[str, Any], began: int, key: VendorKey | None = None
    ) -> SourceRecord:
        ids = [int(one) for one in shown.get("dept_id_list") or () if str(one).lstrip("-").isdigit()]
        body: dict[str, Json] = {
            **{name: shown.get(name) or None for name in ("userid", "unionid", "name", "title", "job_number", "mobile", "email")},
            "active": shown.get("active") not in (False, "false"), "dept_id_list": [str(one) for one in ids],
            "departments": [await self._department_body(one) for one in ids if one > 0],
        }  # fmt: skip
        return SourceRecord(key or VendorKey("", str(shown["userid"])), body, began)

    async def _department_record(self, dept_id: int, began: int, key: VendorKey) -> SourceRecord:
        node = await self._node(dept_id)
        if node is None:
            raise Refused(f"department {dept_id} is out of range", cause=Cause.PERMISSION, code="50004")
        return SourceRecord(key, await self._department_body(dept_id), began)

    async def _department_body(self, dept_id: int) -> dict[str, Json]:
        """Return a department with its path from the root; what is out of range ends the path."""
        path: list[tuple[int, Mapping[str, Any]]] = []
        at: int | None = dept_id
        while at is not None and at > 0 and len(path) < DEEPEST and all(at != one for one, _ in path):
            node = await self._node(at)
            if node is None:
                break
            path.insert(0, (at, node))
            at = None if at == ROOT else _number(node.get("parent_id")) or None
        own = path[-1][1] if path else {}
        return {
            "dept_id": str(dept_id), "name": own.get("name") or None,
            "parent_id": str(own["parent_id"]) if own.get("parent_id") else None,
            "source_identifier": _nearest(path, "source_identifier"), "code": _nearest(path, "code"),
            "path": [str(one) for one, _ in path], "path_names": [str(node.get("name") or "") for _, node in path],
        }  # fmt: skip

    async def _node(self, dept_id: int) -> Mapping[str, Any] | None:
        """Return what department/get shows, None for one that is out of range."""
        until, known = self._nodes.get(dept_id, (0.0, None))
        now = self._tools.clock.monotonic()
        if now < until:
            return known
        shown: Mapping[str, Any] | None
        try:
            shown = (await self._client.old("topapi/v2/department/get", {"dept_id": dept_id})).get("result")
        except ConnectionDown as error:
            if error.code not in OUT_OF_RANGE:
                raise
            shown = None
        if shown is not None and (not isinstance(shown, dict) or str(shown.get("dept_id")) != str(dept_id)):
            raise IntegrityError(Cause.FOREIGN, "topapi/v2/department/get answered for another department")
        self._nodes[dept_id] = (now + FRESH, shown)
        return shown

    async def _children(self, dept_id: int) -> list[int]:
        try:
            listed = (await self._client.old("topapi/v2/department/listsub", {"dept_id": dept_id})).get(
                "result"
            )
        except RemoteError as error:
            if error.code in OUT_OF_RANGE | NO_DEPARTMENT and dept_id != ROOT:
                return []
            raise
        if not isinstance(listed, list):
            raise bad_answer("topapi/v2/department/listsub answered no list", read=True)
        ids = [_number(one.get("dept_id")) for one in listed if isinstance(one, dict)]
        return [one for one in ids if one > 0]


def _nearest(path: Sequence[tuple[int, Mapping[str, Any]]], name: str) -> Json:
    """Return the value of a department, or of the nearest one above it that has one."""
    for _, node in reversed(path):
        if node.get(name):
            return str(node[name])
    return None


def _number(value: object) -> int:
    """Return a number that may come as text, 0 for what is none."""
    text = str(value)
    return int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 19 else 0


def _sure(one: SourceRecord | Gone | Failed) -> SourceRecord:
    if isinstance(one, Failed):
        raise one.error
    assert isinstance(one, SourceRecord)
    return one
