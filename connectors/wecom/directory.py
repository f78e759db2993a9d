"""Departments and employees, as far as the app sees them (fact sheet 3).

Absence says nothing: a department outside the visible range is not in the list, and its people are not either. The
通讯录同步 secret is refused some calls (48009); then ids come by ``department/simplelist`` and ``user/list_id``, names do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.outcomes import bad_answer
from connectors.wecom.relations import is_userid, number
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

__all__ = ["USER_FIELDS", "Directory", "follow_users", "path_up"]

USER_FIELDS: Mapping[str, str] = {
    "userid": "text",
    "name": "text",
    "alias": "text",
    "position": "text",
    "status": "integer",
    "main_department": "integer",
    "department": "json",
    "department_path": "json",
    "direct_leader": "json",
}
WITHHELD = "48009"
NOT_SEEN = "60111"
MOST_PAGES = 10_000


async def follow_users(client: WeComClient) -> list[str]:
    """Return the employees with 客户联系 that the app may see, in a fixed order.

    Raises:
        ConnectionDown: there are none: an answer that would make every relation look deleted is a wrong set-up.
    """
    listed = (await client.get("externalcontact/get_follow_user_list")).get("follow_user")
    if not isinstance(listed, list):
        raise bad_answer("externalcontact/get_follow_user_list answered no follow_user", read=True)
    found = {one.lower(): one for one in listed if isinstance(one, str) and one}
    if not found:
        raise ConnectionDown(
            "no employee with 客户联系 is in the app's visible range (可见范围)",
            cause=Cause.PERMISSION,
            vendor="wecom",
        )
    return [found[name] for name in sorted(found)]


def path_up(parents: Mapping[int, int], start: int | None) -> list[int]:
    """Return the departments from one up to the root, as far as they are visible; a circle ends it."""
    path: list[int] = []
    while start is not None and start not in path and (start in parents or not path):
        path.append(start)
        start = parents.get(start)
    return path


class Directory:
    """Reads employees with the path of their main department. Cursor: ``{"done", "of", "department", "after"}``."""

    def __init__(self, client: WeComClient, tools: Toolbox, *, limit: int) -> None:
        """``limit``: employees a page."""
        self._client = client
        self._tools = tools
        self._limit = limit

    async def departments(self) -> dict[int, int]:
        """Return the visible departments: id -> id of the parent, which may itself not be visible."""
        try:
            listed = (await self._client.get("department/list")).get("department")
        except ConnectionDown as error:
            if error.code != WITHHELD:
                raise
            listed = (await self._client.get("department/simplelist")).get("department_id")
        if not isinstance(listed, list):
            raise bad_answer("the department list is no list", read=True)
        shown = [
            (number(one.get("id")), number(one.get("parentid"))) for one in listed if isinstance(one, dict)
        ]
        return {id_: up if isinstance(up, int) else 0 for id_, up in shown if isinstance(id_, int)}

    async def pages(self, after: Json) -> AsyncIterator[Page]:
        """Yield every employee once, department by department. Raises RemoteError, IntegrityError."""
        parents = await self.departments()
        order = sorted(parents)
        place = dict(after) if isinstance(after, dict) else {}
        if after is not None and place.get("done") == place.get("of"):
            yield Page([], after)
            return
        listed: Mapping[int, list[Mapping[str, Any]]] | None = None
        for done, department in enumerate(order):
            if department < int(place.get("department") or 0):  # type: ignore[arg-type]
                continue
            last = str(place.get("after") or "") if department == place.get("department") else ""
            if listed is None:
                try:
                    members = await self._members(department)
                except ConnectionDown as error:
                    if error.code != WITHHELD:
                        raise
                    listed = await self._listed()
                    members = listed.get(department, [])
            else:
                members = listed.get(department, [])
            own = _first_here(members, department, parents)
            left = [one for one in own if str(one["userid"]).lower() > last]
            for index in range(0, len(left), self._limit):
                observed_at = self._tools.clock.now()
                some = left[index : index + self._limit]
                records = await self._records(some, parents, observed_at, alone=listed is not None)
                reached = str(some[-1]["userid"]).lower()
                yield Page(
                    records, {"done": done, "of": len(order), "department": department, "after": reached}
                )
        yield Page([], {"done": len(order), "of": len(order)})

    async def fetch(self, keys: Sequence[VendorKey]) -> list[SourceRecord | Gone | Failed]:
        """Read employees again; one the vendor does not show (left, or out of sight) is Gone."""
        parents = await self.departments()
        return list(await asyncio.gather(*(self._fetch(key, parents) for key in keys)))

    async def _fetch(self, key: VendorKey, parents: Mapping[int, int]) -> SourceRecord | Gone | Failed:
        observed_at = self._tools.clock.now()
        if not is_userid(key.id):
            return Gone(key)
        try:
            return _record(await self._client.get("user/get", userid=key.id), parents, observed_at)
        except ConnectionDown:
            raise
        except RemoteError as error:
            return Gone(key) if error.code == NOT_SEEN else Failed(error)

    async def _members(self, department: int) -> list[Mapping[str, Any]]:
        listed = (await self._client.get("user/simplelist", department_id=department)).get("userlist")
        if not isinstance(listed, list):
            raise bad_answer("user/simplelist answered no userlist", read=True)
        return [one for one in listed if isinstance(one, dict) and is_userid(one.get("userid"))]

    async def _listed(self) -> dict[int, list[Mapping[str, Any]]]:
        """Return employees by department as ``user/list_id`` gives them: ids alone."""
        departments: dict[str, list[int]] = {}
        cursors = [""]
        while True:
            reply = await self._client.look("user/list_id", {"cursor": cursors[-1], "limit": 10_000})
            for row in reply.get("dept_user") or ():
                if (
                    isinstance(row, dict)
                    and is_userid(row.get("userid"))
                    and isinstance(department := number(row.get("department")), int)
                ):
                    departments.setdefault(row["userid"], []).append(department)
            following = str(reply.get("next_cursor") or "")
            if not following:
                break
            if following in cursors or len(cursors) >= MOST_PAGES:
                raise IntegrityError(Cause.CURSOR, "user/list_id: the listing does not end")
            cursors.append(following)
        found: dict[int, list[Mapping[str, Any]]] = {}
        for userid, ids in departments.items():
            for department in ids:
                found.setdefault(department, []).append({"userid": userid, "department": ids})
        return found

    async def _records(
        self,
        members: Sequence[Mapping[str, Any]],
        parents: Mapping[int, int],
        observed_at: int,
        *,
        alone: bool,
    ) -> list[SourceRecord]:
        shown = members if alone else await asyncio.gather(*(self._detail(one) for one in members))
        return [_record(one, parents, observed_at) for one in shown]

    async def _detail(self, member: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what ``user/get`` adds; the row of the list where this secret, or this employee, has no more."""
        try:
            return {**member, **await self._client.get("user/get", userid=member["userid"])}
        except (ConnectionDown, Refused) as error:
            if error.code not in (WITHHELD, NOT_SEEN):
                raise
            return member


def _departments(user: Mapping[str, Any]) -> list[int]:
    found = map(number, user.get("department") or ())
    return [one for one in found if isinstance(one, int)]


def _first_here(
    members: Iterable[Mapping[str, Any]], department: int, parents: Mapping[int, int]
) -> list[Mapping[str, Any]]:
    """Return the members whose first visible department this is, by userid: each employee is shown once."""
    own = []
    for one in members:
        visible = [one_of for one_of in _departments(one) if one_of in parents]
        if min(visible, default=department) == department:
            own.append(one)
    return sorted(own, key=lambda one: str(one["userid"]).lower())


def _record(user: Mapping[str, Any], parents: Mapping[int, int], observed_at: int) -> SourceRecord:
    userid = str(user["userid"])
    departments = _departments(user)
    main = number(user.get("main_department"))
    main = main if isinstance(main, int) and main else (departments[0] if departments else None)
    body: dict[str, Json] = {name: None if user.get(name) == "" else user.get(name) for name in USER_FIELDS}
    body |= {
        "userid": userid,
        "department": list[Json](departments),
        "main_department": main,
        "status": number(body["status"]),
        "department_path": list[Json](path_up(parents, main)),
    }
    return SourceRecord(VendorKey("", userid.lower()), body, observed_at)
