"""The OA approval API (sheet 2): create, read, list, act, schema, forecast. Each function answers one call or refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from connectors.dingtalk.sandbox.answers import NewError
from connectors.dingtalk.sandbox.company import Company
from connectors.dingtalk.sandbox.dials import DingTalkDials
from connectors.dingtalk.sandbox.engine import Engine, nodes_for
from connectors.dingtalk.sandbox.gate import App
from connectors.dingtalk.sandbox.rows import Instance, Template
from connectors.dingtalk.sandbox.values import check_form, component_of
from hub.sdk.sandbox import Json

__all__ = ["Call", "create", "forecast", "get_instance", "list_ids", "list_templates", "schema", "steering"]

MOST_APPROVERS, MOST_CC = 20, 50
DAY = 86_400_000
STATUSES = frozenset(("RUNNING", "TERMINATED", "COMPLETED"))


@dataclass(frozen=True, slots=True)
class Call:
    """One call that got in: query or body as ``given``."""

    company: Company
    engine: Engine
    app: App
    dials: DingTalkDials
    given: Mapping[str, Any]

    def text(self, name: str, code: str = "invalidParameter") -> str:
        """Return a required text. Raises NewError."""
        value = self.given.get(name)
        if not isinstance(value, str) or not value:
            raise NewError(code, f"{name} 不能为空")
        return value

    def number(self, name: str, code: str, default: int | None = None) -> int:
        """Return a number, also one that was sent as text. Raises NewError."""
        value = self.given.get(name, default)
        if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise NewError(code, f"{name} 不正确")
        return value


def create(call: Call) -> Mapping[str, Json]:
    """Start an instance; nothing tells a repeat from a new one: there is no idempotency key."""
    company = call.company
    template = _template(call)
    originator = call.text("originatorUserId")
    dept_id = _department(call, originator)
    values = check_form(
        template, call.given.get("formComponentValues"), people=company.is_active,
        depts=lambda one: one in company.departments or one == -1, approvals=lambda one: one in company.instances,
        strict=call.dials.strict,
    )  # fmt: skip
    approvers = call.given.get("approvers") or []
    nodes = _given_nodes(call, approvers) if approvers else _template_nodes(call, template, values, dept_id)
    cc = _people(call, call.given.get("ccList") or [], MOST_CC, "ccList") if approvers else []
    number = next(company.numbers)
    now = company.now_ms()
    day = datetime.fromtimestamp(now / 1000, UTC) + timedelta(hours=8)
    name = company.users[originator].name
    one = Instance(
        f"{now:x}-{number:08d}", template.process_code, f"{day:%Y%m%d%H%M}{number:08d}", f"{name}提交的{template.name}",
        originator, dept_id, values, nodes, now, cc=cc,
    )  # fmt: skip
    call.engine.start(one, by="api")
    return {"instanceId": call.dials.same_instance_id or one.id}


def get_instance(call: Call) -> Mapping[str, Json]:
    """Show one instance; success comes as text (sheet 2.3)."""
    asked = call.text("processInstanceId", "processInstanceIdError")
    one = call.company.instances.get(call.dials.foreign_instance or asked)
    if one is None:
        raise NewError(call.dials.missing_instance, "审批实例不存在")
    dept = call.company.departments.get(1 if one.dept_id == -1 else one.dept_id)
    shown: dict[str, Json] = {
        "title": one.title, "createTime": _time(call, one.created), "originatorUserId": one.originator,
        "originatorDeptId": str(one.dept_id), "originatorDeptName": dept.name if dept else "",
        "status": call.dials.unknown_status or one.status, "businessId": one.business_id, "approverUserIds": [],
        "ccUserIds": one.cc, "bizAction": one.biz_action, "bizData": "", "attachedProcessInstanceIds": one.attached,
        "formComponentValues": one.values,
        "operationRecords": [{**record, "date": _time(call, record["date"])} for record in one.records],
        "tasks": [
            {
                "taskId": task.task_id, "userId": task.userid, "status": task.status,
                "result": task.result or "NONE", "createTime": _time(call, task.created),
                **({"finishTime": _time(call, task.finished)} if task.finished else {}),
                "activityId": task.activity_id, "processInstanceId": one.id, "mobileUrl": f"?procInsId={one.id}",
                "pcUrl": f"aflow.dingtalk.com?procInsId={one.id}",
            }
            for task in one.tasks
        ],
    }  # fmt: skip
    if one.finished:
        shown["finishTime"] = _time(call, one.finished)
    if one.result:
        shown["result"] = one.result
    if one.main:
        shown["mainProcessInstanceId"] = one.main
    return {"result": shown, "success": "true"}


def list_ids(call: Call) -> Mapping[str, Json]:
    """List ids by the time of their start, at most 20 a page (sheet 2.4)."""
    now = call.company.now_ms()
    code = call.text("processCode", "invalidProcessCode")
    if code not in call.company.templates:
        raise NewError("invalidProcessCode", "processCode 不存在")
    start = call.number("startTime", "invalidInstanceListIdsStartTime")
    end = call.number("endTime", "invalidEndTime", now) if call.given.get("endTime") is not None else None
    if start > now or start < now - (365 if end is not None else 120) * DAY:
        raise NewError("invalidInstanceListIdsStartTime", "startTime 超出范围")
    if end is not None and not start <= end <= start + 120 * DAY:
        raise NewError("invalidEndTime", "endTime 与 startTime 的间隔不能超过 120 天")
    size = call.number("maxResults", "invalidMaxResults")
    if not 1 <= size <= 20:
        raise NewError("invalidMaxResults", "maxResults 最大为 20")
    place = call.number("nextToken", "invalidNextToken")
    users, statuses = call.given.get("userIds") or [], call.given.get("statuses") or []
    if not isinstance(users, list) or len(users) > 10:
        raise NewError("invalidUserIds", "userIds 最多 10 个")
    if not set(statuses) <= STATUSES:
        raise NewError("invalidParameter", "statuses 不正确")
    found = [
        one.id
        for one in call.company.started()
        if one.process_code == code and start <= one.created <= (now if end is None else end)
        and (not users or one.originator in users) and (not statuses or one.status in statuses)
    ]  # fmt: skip
    if call.dials.same_page:
        place = 0
    if place < 0 or place > 10_000:
        raise NewError("invalidNextToken", "nextToken 不正确")
    result: dict[str, Json] = {"list": found[place : place + size]}
    if place + size < len(found):
        result["nextToken"] = str(place + size)
    return {"result": result, "success": True}


def schema(call: Call) -> Mapping[str, Json]:
    """Show a template's form."""
    template = call.company.templates.get(call.text("processCode", "processCodeError"))
    if template is None:
        raise NewError("processCodeError", "模板不存在")
    content = {"title": template.name, "icon": "common", "items": template.items}
    return {
        "result": {
            "formCode": template.process_code, "formUuid": f"FORM-{template.process_code[5:]}", "name": template.name,
            "status": template.status, "schemaContent": content, "gmtModified": template.modified, "memo": "",
        },
        "success": True,
    }  # fmt: skip


def list_templates(call: Call) -> Mapping[str, Json]:
    """List the templates a person may use."""
    call.text("userId")
    shown = [
        {
            "name": one.name,
            "processCode": one.process_code,
            "url": "",
            "iconUrl": "",
            "dirId": "other",
            "dirName": "其他",
        }
        for one in call.company.templates.values()
        if one.status == "PUBLISHED"
    ]
    return {"result": {"processList": shown}, "success": True}


def steering(call: Call) -> Mapping[str, Json]:
    """List the components that steer branches."""
    template = call.company.templates.get(call.text("processCode", "processCodeError"))
    if template is None:
        raise NewError("processCodeError", "模板不存在")
    names = {name for node in template.nodes for name in node.get("when") or {}}
    found = [
        {"id": one["props"]["id"], "label": one["props"]["label"]}
        for one in template.items
        if one["props"]["id"] in names
    ]
    return {"result": found, "success": True}


def forecast(call: Call) -> Mapping[str, Json]:
    """Say which nodes a form would run through, consistent with what create does (sheet 2.6)."""
    template = call.company.templates.get(call.text("processCode", "formNotExist"))
    if template is None:
        raise NewError("formNotExist", "表单不存在")
    values = call.given.get("formComponentValues")
    if not isinstance(values, list) or not values:
        raise NewError("componentIsNull", "formComponentValues 不能为空")
    user = call.text("userId")
    if not call.company.is_active(user):
        raise NewError("forecastError", "发起人不存在")
    dept_id = call.number("deptId", "forecastError")
    named = [(component_of(template.items, one), one) for one in values if isinstance(one, dict)]
    given = [
        {"id": item["props"]["id"], "value": one.get("value")} for item, one in named if item is not None
    ]
    nodes = nodes_for(template, given, dept_id)
    return {
        "result": {
            "isForecastSuccess": all(call.company.is_active(one) for node in nodes for one in node.get("users") or ()),
            "processCode": template.process_code, "processId": 1, "userId": user, "isStaticWorkflow": len(nodes) == len(template.nodes),
            "workflowActivityRules": [_rule(call, node, index, nodes) for index, node in enumerate(nodes)],
            "workflowForecastNodes": [{"activityId": node["activityId"], "outId": f"{node['activityId']}_out"} for node in nodes],
        },
        "success": True,
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------- inside


def _rule(call: Call, node: Mapping[str, Any], index: int, nodes: list[dict[str, Any]]) -> dict[str, Json]:
    select = node.get("kind") == "target_select"
    allowed = [
        {"workNo": one, "userName": call.company.users[one].name}
        for one in node.get("range") or ()
        if one in call.company.users
    ]
    return {
        "activityId": node["activityId"], "prevActivityId": nodes[index - 1]["activityId"] if index else "sid-startevent",
        "activityName": node["name"], "activityType": "target_select" if select else "target_approval", "isTargetSelect": select,
        "workflowActor": {
            "actorKey": node.get("actorKey") or node["activityId"], "actorType": "notifier" if node.get("kind") == "notifier" else "approver",
            "actorSelectionType": "approvals" if allowed else "allStaff", "actorSelectionRange": {"approvals": allowed, "labels": []},
            "allowedMulti": True, "approvalType": node.get("auto") or "MANUAL", "approvalMethod": node.get("method") or "OR",
            "actorActivateType": "ONE_BY_ONE" if node.get("method") == "ONE_BY_ONE" else "ALL", "required": bool(node.get("required")),
        },
        "activityActioners": [{"userId": one} for one in node.get("users") or ()],
    }  # fmt: skip


def _template(call: Call) -> Template:
    template = call.company.templates.get(call.text("processCode"))
    if template is None:
        raise NewError("processCodeError", "流程模板不存在或已被删除")
    if template.status != "PUBLISHED":
        raise NewError("processGetFailed", "流程模板已停用")
    if template.suite:
        raise NewError("processSetupNoPermission", "套件模板不支持通过接口发起")
    return template


def _department(call: Call, originator: str) -> int:
    """Return the originator's department; it may stay away only beside explicit approvers."""
    bad = "processInstanceInvalidParameter"
    if not call.company.is_active(originator):
        raise NewError(bad, f"发起人不存在或已离职：{originator}")
    own = call.company.department_ids(call.company.users[originator])
    if call.given.get("deptId") is None:
        if not call.given.get("approvers"):
            raise NewError(bad, "deptId 不能为空")
        return own[0]
    dept_id = call.number("deptId", bad)
    if dept_id not in own:
        raise NewError(bad, f"发起人不在部门 {dept_id} 中")
    return dept_id


def _people(call: Call, given: Any, most: int, name: str) -> list[str]:
    if not isinstance(given, list) or len(given) > most:
        raise NewError("processInstanceInvalidParameter", f"{name} 最多 {most} 个")
    for one in given:
        if not isinstance(one, str) or not call.company.is_active(one):
            raise NewError("processInstanceInvalidParameter", f"{name} 中的人员不存在或已离职：{one}")
    return list(given)


def _given_nodes(call: Call, approvers: Any) -> list[dict[str, Any]]:
    """Return the nodes of explicit approvers, in their order."""
    bad = "processInstanceInvalidParameter"
    if not isinstance(approvers, list) or len(approvers) > MOST_APPROVERS:
        raise NewError(bad, f"approvers 最多 {MOST_APPROVERS} 个")
    nodes = []
    for index, one in enumerate(approvers):
        kind = one.get("actionType") if isinstance(one, dict) else None
        if kind not in ("AND", "OR", "NONE"):
            raise NewError(bad, "actionType 不正确")
        users = _people(call, one.get("userIds"), 100, "approvers")
        if (kind == "NONE") != (len(users) == 1) or not users:
            raise NewError(bad, "NONE 只能有 1 个审批人，AND、OR 至少 2 个")
        method = "ONE_BY_ONE" if kind == "NONE" else kind
        nodes.append(
            {
                "activityId": f"api_{index}",
                "name": "审批人",
                "kind": "approval",
                "method": method,
                "users": users,
            }
        )
    return nodes


def _template_nodes(
    call: Call, template: Template, values: list[dict[str, Json]], dept_id: int
) -> list[dict[str, Any]]:
    chosen = {}
    given = call.given.get("targetSelectActioners") or []
    if not isinstance(given, list) or len(given) > MOST_APPROVERS:
        raise NewError("invalidParameter", "targetSelectActioners 最多 20 个")
    for one in given:
        chosen[one.get("actionerKey")] = one.get("actionerUserIds") or []
    nodes = []
    for node in nodes_for(template, values, dept_id):
        taken = dict(node)
        if node.get("kind") == "target_select":
            users = chosen.get(node.get("actorKey") or node["activityId"]) or []
            if not users:
                raise NewError("targetSelectApproverMissing", f"节点 {node['name']} 缺少自选审批人")
            allowed = node.get("range")
            if any(not call.company.is_active(one) or (allowed and one not in allowed) for one in users):
                raise NewError(
                    "targetSelectApproverScopeError", f"节点 {node['name']} 的自选审批人不在范围内"
                )
            taken["users"] = users
        taken["users"] = [one for one in taken.get("users") or () if call.company.is_active(one)]
        if not taken["users"] and not taken.get("auto"):
            raise NewError("processInstanceStartFailed", f"节点 {node['name']} 没有审批人")
        nodes.append(taken)
    return orjson.loads(orjson.dumps(nodes))  # type: ignore[no-any-return]


def _time(call: Call, ms: int) -> str:
    """Return a time to the minute; its Z may be wall time in Beijing (UNCONFIRMED)."""
    at = datetime.fromtimestamp(ms / 1000, UTC) + timedelta(hours=8 if call.dials.z_is_local else 0)
    return f"{at:%Y-%m-%dT%H:%M}Z"
