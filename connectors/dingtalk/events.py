"""Every event DingTalk pushes and its effect here: one table for Stream, HTTP and the failed list (fact sheet 6.3).

An event is a hint to look again; its dates and its result are not used. The three ways name the same fields, so the
copies of one event have one id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from hub.sdk import Health, InboundEvent, Received, VendorKey

__all__ = ["CHECKS", "EVENTS", "FORM_CHANGED", "QUOTA", "Event", "Row", "effect_of"]

CHECKS = frozenset(["check_url", "check_create_suite_url", "check_update_suite_url"])
"""Events that only ask whether the address is ours (6.1)."""
FORM_CHANGED = "workflow_form_change"
QUOTA = Health(
    "pushes",
    "钉钉本月的事件推送额度已用完（20001）：直到下月只靠定时读取发现变化；可升级版本",
    "DingTalk's event pushes of this month are used up (20001): until next month changes are found by reading alone",
)
LONGEST = 64


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was pushed. ``codes``: the templates that are taken in, all if empty."""

    word: str
    id: str
    fields: Mapping[str, Any]
    codes: tuple[str, ...] = ()

    @classmethod
    def of(cls, word: str, id_: str, fields: Mapping[str, Any], codes: tuple[str, ...]) -> Event:
        """Return the event; without an id of its own it is named by what it says (6.1)."""
        said = id_ or orjson.dumps([word, *_named(fields)]).decode()
        return cls(word, hashlib.sha256(said.encode()).hexdigest()[:40], fields, codes)


def _named(fields: Mapping[str, Any]) -> list[str]:
    names = (
        "processInstanceId",
        "taskId",
        "type",
        "result",
        "userId",
        "deptId",
        "EventTime",
        "timeStamp",
        "createTime",
    )
    return [f"{name}={fields[name]}" for name in names if name in fields]


@dataclass(frozen=True, slots=True)
class Row:
    """What one event does; without ``make``, ``zh`` and ``en`` say why it has no effect."""

    zh: str
    en: str
    make: Callable[[Event], list[InboundEvent] | None] | None = None


def _instance(event: Event) -> list[InboundEvent] | None:
    """Return a hint on the approval; None for a template that is not taken in."""
    instance, code = (_text(event.fields.get(name)) for name in ("processInstanceId", "processCode"))
    if not code and len(event.codes) == 1:
        code = event.codes[0]
    if not instance or not code:
        return []
    if event.codes and code not in event.codes:
        return None
    return [InboundEvent("approval", VendorKey("", f"{code}/{instance}"), f"{event.id}.approval", event.word)]


def _users(event: Event) -> list[InboundEvent]:
    return _each(
        event, "user", event.fields.get("userId") or event.fields.get("UserId") or event.fields.get("userid")
    )


def _departments(event: Event) -> list[InboundEvent]:
    return _each(
        event,
        "department",
        event.fields.get("deptId") or event.fields.get("DeptId") or event.fields.get("deptid"),
    )


def _each(event: Event, stream: str, given: object) -> list[InboundEvent]:
    listed = given if isinstance(given, list) else [given]
    ids = dict.fromkeys(text for one in listed if (text := _text(one)))
    return [
        InboundEvent(stream, VendorKey("", one), f"{event.id}.{stream}.{place}", event.word)
        for place, one in enumerate(ids)
        if not one.startswith("-")  # an education tree's (pitfall 10)
    ]


def _text(value: object) -> str:
    """Return an id as text, "" for what is none; numbers may come as text and the reverse (0)."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value).strip()
    return text if 0 < len(text) <= LONGEST and text.isprintable() and "/" not in text else ""


_READ = ("重新读取审批单", "the approval is read again", _instance)
_USER = ("重新读取员工", "the employee is read again", _users)
_DEPARTMENT = ("重新读取部门", "the department is read again", _departments)
_ROLE = Row("不使用角色", "roles are not used")
_CRM = Row("不读取钉钉客户管理", "DingTalk's own CRM is not read")
_ISV = Row("只推送给第三方应用", "pushed to third-party apps alone")

EVENTS: Mapping[str, Row] = {
    "bpms_instance_change": Row(*_READ),
    "bpms_task_change": Row(*_READ),
    "workflow_instance_change": Row(*_READ),
    "workflow_task_change": Row(*_READ),
    FORM_CHANGED: Row("下次发起前重新读取表单", "the form is read anew before the next approval is started"),
    "user_add_org": Row(*_USER),
    "user_modify_org": Row(*_USER),
    "user_leave_org": Row(
        "重新读取员工，读取结果为不存在", "the employee is read again and found gone", _users
    ),
    "user_active_org": Row(*_USER),
    "org_dept_create": Row(*_DEPARTMENT),
    "org_dept_modify": Row(*_DEPARTMENT),
    "org_dept_remove": Row(
        "重新读取部门，读取结果为不存在", "the department is read again and found gone", _departments
    ),
    "label_user_change": _ROLE,
    "label_conf_add": _ROLE,
    "label_conf_del": _ROLE,
    "label_conf_modify": _ROLE,
    "ding_paas_object_data_create": _CRM,
    "ding_paas_object_data_update": _CRM,
    "ding_paas_object_data_delete": _CRM,
    "ding_crm_object_meta": _CRM,
    "contact_add_org": _ISV,
    "contact_modify_org": _ISV,
    "contact_leave_org": _ISV,
    "crm_customer_track": _ISV,
}
"""EventType -> its effect, or the reason why it has none. Names that go on after ``change`` are the ISV's own forms."""


def effect_of(event: Event) -> Received:
    """Return what an event means; one that is unknown, incomplete or of another template is acknowledged and counted."""
    word = event.word[:100]
    row = EVENTS.get(word) or next(
        (EVENTS[name] for name in ("workflow_instance_change", "workflow_task_change") if word.startswith(f"{name}_")), None
    )  # fmt: skip
    if row is None:
        return Received(ignored=f"unknown: {word}" if word.isprintable() else "unknown")
    if row.make is None:
        return Received(ignored=word)
    events = row.make(event)
    if events is None:
        return Received(ignored=f"another template: {word}")
    return Received(tuple(events)) if events else Received(ignored=f"incomplete: {word}")
