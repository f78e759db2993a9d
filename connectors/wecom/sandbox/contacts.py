"""Contacts (section 3): departments and members, only what is in the app's range."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.wecom.sandbox import cursors
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.customers import visible_member
from connectors.wecom.sandbox.rows import Department, Member
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = [
    "department_get",
    "department_list",
    "department_simplelist",
    "user_get",
    "user_list",
    "user_list_id",
    "user_simplelist",
]

MAX_IDS = 10_000


def department_list(call: Call) -> Mapping[str, Json]:
    """List the visible departments, all or those from one downwards."""
    return {"department": [_department(one) for one in _departments(call)]}


def department_simplelist(call: Call) -> Mapping[str, Json]:
    """List ids only; the array has another key."""
    return {
        "department_id": [
            {"id": one.id, "parentid": one.parentid, "order": one.order} for one in _departments(call)
        ]
    }


def department_get(call: Call) -> Mapping[str, Json]:
    """Show one department."""
    _not_for_sync(call)
    return {"department": _department(_visible(call, call.integer("id", 0)))}


def user_get(call: Call) -> Mapping[str, Json]:
    """Show one member, flat."""
    _not_for_sync(call)
    return _member(call, visible_member(call, call.text("userid")))


def user_simplelist(call: Call) -> Mapping[str, Json]:
    """List the members of one department, without those below it."""
    _not_for_sync(call)
    return {
        "userlist": [
            {"userid": one.userid, "name": one.name, "department": list(one.department)}
            for one in _of_department(call)
        ]
    }


def user_list(call: Call) -> Mapping[str, Json]:
    """List the members of one department with all their fields."""
    _not_for_sync(call)
    return {"userlist": [_member(call, one) for one in _of_department(call)]}


def user_list_id(call: Call) -> Mapping[str, Json]:
    """List (member, department) pairs; only with the 通讯录同步 secret."""
    if not call.app.contact_sync:
        raise ErrcodeError(call.dials.list_id_errcode)
    limit = call.integer("limit", MAX_IDS)
    if not 1 <= limit <= MAX_IDS:
        raise ErrcodeError(40058, "limit must be 1 to 10000")
    filters = [call.api, call.app.agentid]
    cursor = call.text("cursor")
    after = (
        cursors.take(cursor, filters, now=call.corp.now(), life=call.dials.cursor_seconds)
        if cursor
        else ["", 0]
    )
    start = str(after[0]), int(str(after[1]))
    pairs = sorted(
        (key, place) for key, one in call.corp.members.items() if one.status != 5 for place in one.department
    )
    rest = [pair for pair in pairs if pair > start]
    page = rest[:limit]
    more = len(rest) > len(page)
    return {
        "dept_user": [{"userid": call.corp.members[key].userid, "department": place} for key, place in page],
        "next_cursor": cursors.give(filters, page[-1], call.corp.now()) if more else "",
    }


def _not_for_sync(call: Call) -> None:
    """Refuse the 通讯录同步 secret: from an address added since 2022-08-15 it reads ids only."""
    if call.app.contact_sync:
        raise ErrcodeError(48009)


def _departments(call: Call) -> list[Department]:
    if call.api == "department/list":
        _not_for_sync(call)
    seen = call.app.departments(call.corp)
    found = [one for one in call.corp.departments.values() if one.id in seen]
    if call.fields.get("id") is None:
        return found
    root = _visible(call, call.integer("id", 0)).id
    children: dict[int, list[int]] = {}
    for one in found:
        children.setdefault(one.parentid, []).append(one.id)
    below, waiting = set[int](), [root]
    while waiting:
        place = waiting.pop()
        if place not in below:
            below.add(place)
            waiting += children.get(place, ())
    return [one for one in found if one.id in below]


def _visible(call: Call, department_id: int) -> Department:
    found = call.corp.departments.get(department_id)
    if found is None or department_id not in call.app.departments(call.corp):
        raise ErrcodeError(60123)
    return found


def _of_department(call: Call) -> list[Member]:
    place = _visible(call, call.integer("department_id", 0)).id
    seen = call.app.members(call.corp)
    return [
        one
        for key, one in call.corp.members.items()
        if key in seen and place in one.department and one.status != 5
    ]


def _department(one: Department) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "id": one.id, "name": one.name, "parentid": one.parentid, "order": one.order,
        "department_leader": list(one.department_leader),
    }  # fmt: skip
    return shown | ({"name_en": one.name_en} if one.name_en else {})


def _member(call: Call, one: Member) -> dict[str, Json]:
    seen = call.app.departments(call.corp)
    places = [place for place in one.department if place in seen] or list(one.department)
    shown: dict[str, Json] = {
        "userid": one.userid, "name": one.name, "department": places, "order": [0] * len(places),
        "position": one.position, "status": one.status,
        "is_leader_in_dept": one.is_leader_in_dept or [0] * len(places), "direct_leader": list(one.direct_leader),
        "main_department": one.main_department or places[0], "alias": one.alias, "telephone": "",
        "extattr": {"attrs": []}, "external_position": "",
    }  # fmt: skip
    if call.app.old:
        shown |= {
            "mobile": one.mobile, "gender": one.gender, "email": one.email, "biz_mail": "", "avatar": "",
            "thumb_avatar": "", "qr_code": "", "address": "",
        }  # fmt: skip
    return shown
