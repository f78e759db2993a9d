"""Who is named in an approval: employees and departments looked up before they are sent, and kept for a while (3, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.relations import is_userid, number
from hub.sdk import Cause, Json, Refused, RemoteError, Toolbox

__all__ = ["People", "Person"]

FRESH = 300.0
ACTIVE = 1
GONE = frozenset(["60111", "60011", "40003", "60003", "60123"])
"""What a look at somebody, or a department, answers that left, never was, or is out of the app's sight."""
HIDDEN = frozenset(["48009"])
"""What it answers to a secret that may see nobody: then nothing can be said, and WeCom itself decides."""


@dataclass(frozen=True, slots=True)
class Person:
    """An employee. ``departments``: ids, empty where they are not shown."""

    userid: str
    name: str
    departments: tuple[int, ...] = ()


class People:
    """Looks employees and departments up; safe for concurrent use in one event loop."""

    def __init__(self, client: WeComClient, tools: Toolbox) -> None:
        """Share the client; nobody is known yet."""
        self._client, self._tools = client, tools
        self._known: dict[tuple[str, str], tuple[float, Person]] = {}

    def forget(self) -> None:
        """Look everybody up anew the next time."""
        self._known.clear()

    async def person(self, userid: str, field: str) -> Person:
        """Return an employee who works there. Raises Refused, naming ``field``, and RemoteError."""
        if not is_userid(userid):
            raise Refused(
                f"{field}: {userid[:64]!r} is no userid", cause=Cause.INVALID, vendor="wecom", field=field
            )
        found = self._fresh("user", userid.lower())
        if found is None:
            reply = await self._look(
                "user/get", {"userid": userid}, f"员工 {userid} / employee {userid}", field
            )
            status = number(reply.get("status"))
            if status not in (None, ACTIVE):
                text = (
                    f"{field}: 员工 {userid} 未激活、已禁用或已离职 / employee {userid} is not active, disabled or has left "
                    f"(status {status})"
                )
                raise Refused(text, cause=Cause.STATE, vendor="wecom", field=field)
            shown = reply.get("department")
            listed = [number(one) for one in (shown if isinstance(shown, list) else ())]
            found = Person(
                str(reply.get("userid") or userid),
                str(reply.get("name") or userid),
                tuple(one for one in listed if isinstance(one, int)),
            )
            self._keep("user", userid.lower(), found)
        return found

    async def department(self, dept_id: str, field: str) -> str:
        """Return the name of a department. Raises Refused, naming ``field``, and RemoteError."""
        if not dept_id.isascii() or not dept_id.isdigit():
            raise Refused(
                f"{field}: {dept_id[:40]!r} is no department id",
                cause=Cause.INVALID,
                vendor="wecom",
                field=field,
            )
        found = self._fresh("department", dept_id)
        if found is None:
            what = f"部门 {dept_id} / department {dept_id}"
            reply = await self._look("department/get", {"id": int(dept_id)}, what, field)
            shown = reply.get("department")
            name = shown.get("name") if isinstance(shown, dict) else None
            found = Person(dept_id, str(name or dept_id))
            self._keep("department", dept_id, found)
        return found.name

    async def _look(self, api: str, asked: dict[str, Any], what: str, field: str) -> dict[str, Json]:
        try:
            return await self._client.get(api, **asked)
        except RemoteError as error:
            if error.code in HIDDEN:
                return {}
            if error.code not in GONE:
                raise
            text = f"{field}: {what}：不存在、已离职或不在应用可见范围内 / is not there, has left or is not in the app's visible range ({error.code})"
            raise Refused(text, cause=Cause.NOT_FOUND, vendor="wecom", code=error.code, field=field) from None

    def _fresh(self, kind: str, id_: str) -> Person | None:
        until, found = self._known.get((kind, id_), (0.0, None))
        return found if found is not None and self._tools.clock.monotonic() < until else None

    def _keep(self, kind: str, id_: str, found: Person) -> None:
        if len(self._known) >= 10_000:
            self._known.clear()
        self._known[kind, id_] = (self._tools.clock.monotonic() + FRESH, found)
