"""The administrator at the contacts screen: members and departments come, change and go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from connectors.wecom.sandbox import acts
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.events import Event
from connectors.wecom.sandbox.rows import Department, Member, fields_of
from hub.sdk.sandbox import Json

__all__ = ["delete_department", "delete_member", "put_department", "put_member"]

Emit: TypeAlias = Callable[[Event], None]
MEMBER_TAGS = {
    "name": "Name", "department": "Department", "main_department": "MainDepartment", "position": "Position",
    "mobile": "Mobile", "status": "Status",
}  # fmt: skip
DEPARTMENT_TAGS = {"name": "Name", "parentid": "ParentId", "order": "Order"}


def put_member(corp: Corp, act: acts.PutMember, emit: Emit) -> Mapping[str, Json]:
    """Make a member or change him; the event of a change carries only what changed."""
    old = corp.member(act.userid)
    given = act.model_dump(exclude={"act", "silent", "userid"}, exclude_none=True)
    for place in given.get("department", ()):
        if place not in corp.departments:
            raise ErrcodeError(60123, f"no department {place}")
    new = replace(old or Member(act.userid, act.userid), **given)
    corp.put(new, "put_member", "seed" if act.silent else "user")
    before = fields_of(old) if old is not None else {}
    changed = [name for name in MEMBER_TAGS if fields_of(new)[name] != before.get(name)]
    said = {MEMBER_TAGS[name]: _text(fields_of(new)[name]) for name in changed if fields_of(new)[name]}
    emit(_event(corp, "update_user" if old else "create_user", {"UserID": new.userid, **said}))
    return {"userid": new.userid}


def delete_member(corp: Corp, act: acts.DeleteMember, emit: Emit) -> Mapping[str, Json]:
    """Let a member leave; his relations stay, but nobody sees them."""
    old = corp.member(act.userid)
    if old is None:
        raise ErrcodeError(60111, f"no member {act.userid}")
    corp.drop(old, "delete_member", "seed" if act.silent else "user")
    emit(_event(corp, "delete_user", {"UserID": old.userid}))
    return {}


def put_department(corp: Corp, act: acts.PutDepartment, emit: Emit) -> Mapping[str, Json]:
    """Make a department or change it."""
    old = corp.departments.get(act.id)
    given = act.model_dump(exclude={"act", "silent", "id"}, exclude_none=True)
    parent = given.get("parentid")
    if parent is not None and act.id != 1 and parent not in corp.departments:
        raise ErrcodeError(60123, f"no department {parent}")
    new = replace(old or Department(act.id, f"部门{act.id}"), **given)
    corp.put(new, "put_department", "seed" if act.silent else "user")
    before = fields_of(old) if old is not None else {}
    changed = [name for name in DEPARTMENT_TAGS if fields_of(new)[name] != before.get(name)]
    said = {DEPARTMENT_TAGS[name]: _text(fields_of(new)[name]) for name in changed}
    emit(_event(corp, "update_party" if old else "create_party", {"Id": str(act.id), **said}))
    return {"id": act.id}


def delete_department(corp: Corp, act: acts.DeleteDepartment, emit: Emit) -> Mapping[str, Json]:
    """Delete a department nobody is in."""
    old = corp.departments.get(act.id)
    if old is None:
        raise ErrcodeError(60123, f"no department {act.id}")
    inside = [one.userid for one in corp.members.values() if act.id in one.department]
    below = [one.id for one in corp.departments.values() if one.parentid == act.id]
    if inside or below:
        raise ErrcodeError(60123, f"department {act.id} is not empty")
    corp.drop(old, "delete_department", "seed" if act.silent else "user")
    emit(_event(corp, "delete_party", {"Id": str(act.id)}))
    return {}


def _event(corp: Corp, change_type: str, said: dict[str, str]) -> Event:
    return Event("change_contact", change_type, corp.seconds(), said, grant="contacts")


def _text(value: Json) -> str:
    return ",".join(str(one) for one in value) if isinstance(value, list) else str(value)
