"""What people do in the vendor's own app and console: one model an act, and what carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from connectors.dingtalk.sandbox.engine import nodes_for
from connectors.dingtalk.sandbox.rows import Department, Instance, Task, Template, User
from connectors.dingtalk.sandbox.values import component_of, settable
from hub.sdk.sandbox import Json

if TYPE_CHECKING:  # server.py builds on this module
    from connectors.dingtalk.sandbox.server import DingTalkSandbox

__all__ = [
    "Act",
    "Comment",
    "Decide",
    "Delete",
    "DropDepartment",
    "DropTemplate",
    "Leave",
    "PutDepartment",
    "PutTemplate",
    "PutUser",
    "Raw",
    "Revoke",
    "Start",
    "Transfer",
    "Withdraw",
    "perform",
]


class _Act(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Decide(_Act):
    """Agree or refuse as the person whose turn it is; without ``userid`` everybody whose turn it is, to the end."""

    act: Literal["agree", "refuse"]
    id: str
    userid: str = ""
    remark: str = ""


class Transfer(_Act):
    """Hand a running task on."""

    act: Literal["transfer"]
    id: str
    userid: str
    to: str
    remark: str = ""


class Comment(_Act):
    """Add a remark."""

    act: Literal["comment"]
    id: str
    userid: str
    text: str


class Withdraw(_Act):
    """Withdraw as the originator; the 15 seconds bind the API alone."""

    act: Literal["withdraw"]
    id: str
    remark: str = ""


class Revoke(_Act):
    """Ask for the revocation or change of an approved instance; ``agreed``: and agree to it at once."""

    act: Literal["revoke", "modify"]
    id: str
    agreed: bool = True


class Delete(_Act):
    """Delete an instance as an administrator."""

    act: Literal["delete"]
    id: str


class Start(_Act):
    """Start an approval in the app. ``values``: label or id -> value, as the API has it."""

    act: Literal["start"]
    process_code: str
    userid: str
    values: dict[str, str] = Field(default_factory=dict)
    dept_id: int | None = None


class PutUser(_Act):
    """Make or change an employee."""

    act: Literal["put_user"]
    userid: str
    name: str | None = None
    dept_id_list: list[int] | None = None
    title: str | None = None
    mobile: str | None = None
    active: bool | None = None
    silent: bool = False


class Leave(_Act):
    """An employee leaves."""

    act: Literal["leave"]
    userid: str
    silent: bool = False


class PutDepartment(_Act):
    """Make or change a department."""

    act: Literal["put_department"]
    dept_id: int
    name: str | None = None
    parent_id: int | None = None
    source_identifier: str | None = None
    code: str | None = None
    silent: bool = False


class DropDepartment(_Act):
    """Remove a department."""

    act: Literal["drop_department"]
    dept_id: int


class PutTemplate(_Act):
    """Make or change a template; ``items`` and ``nodes`` as in `rows.Template`."""

    act: Literal["put_template"]
    process_code: str
    name: str | None = None
    items: list[dict[str, Any]] | None = None
    nodes: list[dict[str, Any]] | None = None
    status: Literal["PUBLISHED", "INVALID", "SAVED"] | None = None
    withdrawable: bool | None = None
    suite: bool | None = None


class DropTemplate(_Act):
    """Delete a template."""

    act: Literal["drop_template"]
    process_code: str


class Raw(_Act):
    """Send an event nobody documented, or one of another corp."""

    act: Literal["raw_event"]
    type: str
    fields: dict[str, Any] = Field(default_factory=dict)


Act = Annotated[
    Decide | Transfer | Comment | Withdraw | Revoke | Delete | Start | PutUser | Leave | PutDepartment | DropDepartment
    | PutTemplate | DropTemplate | Raw,
    Field(discriminator="act"),
]  # fmt: skip


def perform(box: DingTalkSandbox, act: Any) -> Mapping[str, Json]:
    """Carry out one act. Raises ValueError: it cannot be done."""
    match act:
        case Start():
            return _start(box, act)
        case PutUser() | Leave() | PutDepartment() | DropDepartment():
            return _staff(box, act)
        case PutTemplate() | DropTemplate():
            return _template(box, act)
        case Raw():
            box.emit(act.type, act.fields)
            return {}
        case _:
            return _instance(box, act, _found(box, act.id))


def _instance(box: DingTalkSandbox, act: Any, one: Instance) -> Mapping[str, Json]:
    engine = box.engine
    match act:
        case Decide():
            _decide(box, act, one)
        case Transfer():
            _need(act.to in box.company.users, f"nobody is {act.to}")
            engine.redirect(one, _running(one, act.userid), act.to, act.remark, by="user")
        case Comment():
            engine.comment(one, act.userid, act.text, by="user")
        case Withdraw():
            _need(one.status == "RUNNING", "it has ended")
            engine.terminate(one, one.originator, act.remark, by="user")
        case Revoke():
            _need(one.status == "COMPLETED" and one.result == "agree", "only what is approved is revoked")
            new = engine.attach(one, "REVOKE" if act.act == "revoke" else "MODIFY", by="user")
            if act.agreed:
                _to_the_end(box, new, "agree", "")
            return {"id": new.id, "status": new.status, "result": new.result}
        case Delete():
            engine.delete(one, by="user")
    return {"id": one.id, "status": one.status, "result": one.result}


def _decide(box: DingTalkSandbox, act: Decide, one: Instance) -> None:
    _need(one.status == "RUNNING", "it has ended")
    if act.userid:
        box.engine.execute(one, _running(one, act.userid), act.act, act.remark, by="user")
    else:
        _to_the_end(box, one, act.act, act.remark)


def _to_the_end(box: DingTalkSandbox, one: Instance, result: str, remark: str) -> None:
    while one.status == "RUNNING":
        task = next(task for task in one.tasks if task.status == "RUNNING")
        box.engine.execute(one, task, result, remark, by="user")


def _start(box: DingTalkSandbox, act: Start) -> Mapping[str, Json]:
    company = box.company
    template = company.templates.get(act.process_code)
    if template is None or template.status != "PUBLISHED":
        raise ValueError("there is no such template in use")
    _need(company.is_active(act.userid), f"nobody is {act.userid}")
    items, values = settable(template), []
    for name, value in act.values.items():
        item = component_of(items, {"id": name}) or component_of(items, {"name": name})
        if item is None:
            raise ValueError(f"the form has no field {name}")
        props = item["props"]
        values.append({
            "id": props["id"], "name": props["label"], "value": value, "extValue": "", "componentType": item["componentName"],
            "bizAlias": props.get("bizAlias") or "",
        })  # fmt: skip
    dept_id = act.dept_id if act.dept_id is not None else company.department_ids(company.users[act.userid])[0]
    number, now = next(company.numbers), company.now_ms()
    nodes = [dict(node) for node in nodes_for(template, values, dept_id)]
    for node in nodes:
        node["users"] = node.get("users") or (node.get("range") or [act.userid])[:1]
    one = Instance(
        f"{now:x}-{number:08d}", template.process_code, f"{now}{number:06d}", f"{company.users[act.userid].name}提交的{template.name}",
        act.userid, dept_id, values, nodes, now,
    )  # fmt: skip
    box.engine.start(one, by="user")
    return {"id": one.id, "status": one.status}


def _staff(box: DingTalkSandbox, act: Any) -> Mapping[str, Json]:
    company, now = box.company, str(box.company.now_ms())
    fields: dict[str, Json]
    match act:
        case PutUser():
            known = company.users.get(act.userid)
            user = known or User(
                act.userid, act.name or act.userid, act.dept_id_list or [1], unionid=f"union-{act.userid}"
            )
            _change(user, act, ("name", "dept_id_list", "title", "mobile", "active"))
            user.left = False
            company.put("put_user", user, by="user")
            event, fields = (
                ("user_modify_org" if known else "user_add_org"),
                {"timeStamp": now, "userId": [act.userid]},
            )
        case Leave():
            user = company.users[act.userid]
            user.left = True
            company.put("leave", user, by="user")
            event, fields = "user_leave_org", {"timeStamp": now, "userId": [act.userid]}
        case PutDepartment():
            before = company.departments.get(act.dept_id)
            department = before or Department(act.dept_id, act.name or str(act.dept_id))
            _change(department, act, ("name", "parent_id", "source_identifier", "code"))
            company.put("put_department", department, by="user")
            event = "org_dept_modify" if before else "org_dept_create"
            fields = {"timeStamp": now, "deptId": [act.dept_id]}
        case _:
            company.drop("drop_department", company.departments[act.dept_id], by="user")
            event, fields = "org_dept_remove", {"timeStamp": now, "deptId": [act.dept_id]}
    if not getattr(act, "silent", False):
        box.emit(event, fields)
    return {}


def _template(box: DingTalkSandbox, act: Any) -> Mapping[str, Json]:
    company, known = box.company, box.company.templates.get(act.process_code)
    if isinstance(act, DropTemplate):
        _need(known is not None, "there is no such template")
        assert known is not None  # _need said so
        company.drop("drop_template", known, by="user")
        kind = "delete"
    else:
        template = known or Template(
            act.process_code, act.name or act.process_code, act.items or [], act.nodes or []
        )
        _change(template, act, ("name", "items", "nodes", "status", "withdrawable", "suite"))
        template.modified = company.now_ms()
        company.put("put_template", template, by="user")
        kind = {"INVALID": "invalid", "PUBLISHED": "published" if known else "create"}.get(
            template.status, "update"
        )
    box.emit(
        "workflow_form_change",
        {"formCode": act.process_code, "type": kind, "bizCategoryId": "", "name": act.process_code},
    )
    return {}


def _change(row: Any, act: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(act, name) is not None:
            setattr(row, name, getattr(act, name))


def _found(box: DingTalkSandbox, id_: str) -> Instance:
    one = box.company.instances.get(id_)
    if one is None:
        raise ValueError(f"there is no instance {id_}")
    return one


def _running(one: Instance, userid: str) -> Task:
    for task in one.tasks:
        if task.userid == userid and task.status == "RUNNING":
            return task
    raise ValueError(f"it is not {userid}'s turn")


def _need(true: bool, why: str) -> None:
    if not true:
        raise ValueError(why)
