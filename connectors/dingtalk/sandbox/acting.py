"""What a call may do to an instance that runs: withdraw, agree, refuse, hand on, comment (sheet 2.5)."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.dingtalk.sandbox.answers import NewError
from connectors.dingtalk.sandbox.rows import Instance, Task
from connectors.dingtalk.sandbox.workflow import Call
from hub.sdk.sandbox import Json

__all__ = ["comment", "execute", "redirect", "terminate", "todo_count"]

TOO_EARLY = 15_000
"""ms after the start in which an instance cannot be withdrawn."""
DONE: Mapping[str, Json] = {"result": True, "success": True}
LONGEST = 1024


def terminate(call: Call) -> Mapping[str, Json]:
    """Withdraw an instance, as its originator or as the system."""
    one = _instance(call, "aflowProcessInstNotExist")
    system = call.given.get("isSystem")
    if system is not None and not isinstance(system, bool) and system not in ("true", "false"):
        raise NewError("invalidInstanceTerminateIsSystem", "isSystem 不正确")
    if system in (True, "true"):
        operator = one.originator
    else:
        operator = call.text("operatingUserId", "invalidInstanceTerminateOperatingUserId")
        if operator not in call.company.users:
            raise NewError("userNotExist", "操作人不存在")
        if operator != one.originator:
            raise NewError("invalidInstanceTerminateOperatingUserId", "操作人不是发起人")
    early = call.company.now_ms() - one.created < TOO_EARLY
    template = call.company.templates.get(one.process_code)
    if one.status != "RUNNING" or early or (template is not None and not template.withdrawable):
        raise NewError("aflowProcessInstStatusException", "当前状态不允许撤销")
    call.engine.terminate(one, operator, _remark(call, "remark", LONGEST), by="api")
    return DONE


def execute(call: Call) -> Mapping[str, Json]:
    """Agree or refuse as the person whose turn it is."""
    one = _instance(call, "aflowProcessInstCanNotBeExecuted")
    if one.status != "RUNNING":
        raise NewError("aflowProcessInstStatusException", "审批已结束")
    task_id = call.number("taskId", "invalidInstanceExecuteTaskId")
    task = next((task for task in one.tasks if task.task_id == task_id), None)
    if task is None:
        raise NewError("invalidInstanceExecuteTaskId", "任务不存在")
    if task.status != "RUNNING":
        raise NewError("aflowProcessInstCanNotBeExecuted", "任务不在处理中")
    if call.given.get("actionerUserId") != task.userid:
        raise NewError("invalidInstanceExecuteActionerUserId", "操作人不是任务的处理人")
    result = call.given.get("result")
    if result not in ("agree", "refuse"):
        raise NewError("invalidInstanceExecuteResult", "result 不正确")
    call.engine.execute(one, task, result, _remark(call, "remark", LONGEST), by="api")
    return DONE


def redirect(call: Call) -> Mapping[str, Json]:
    """Hand a task on."""
    task_id = call.number("taskId", "param.blank")
    to, operator = call.text("toUserId", "param.blank"), call.text("operateUserId", "param.blank")
    one, task = _task(call, task_id)
    if one.status != "RUNNING":
        raise NewError("instance.status.error", "审批已结束")
    if task.status != "RUNNING":
        raise NewError("task.status.error", "任务不在处理中")
    if operator != task.userid:
        raise NewError("param.illegal.operator", "操作人不是任务的处理人")
    if not call.company.is_active(to):
        raise NewError("param.illegal", "转交人不存在")
    call.engine.redirect(one, task, to, _remark(call, "remark", 256), by="api")
    return DONE


def comment(call: Call) -> Mapping[str, Json]:
    """Add a remark."""
    one = _instance(call, "aflowProcessInstNotExist")
    user = call.text("commentUserId")
    if not call.company.is_active(user):
        raise NewError("userNotExist", "评论人不存在")
    call.engine.comment(one, user, _remark(call, "text", LONGEST, required=True), by="api")
    return DONE


def todo_count(call: Call) -> Mapping[str, Json]:
    """Count somebody's open tasks."""
    user = call.text("userId")
    found = [
        task
        for one in call.company.started()
        for task in one.tasks
        if task.userid == user and task.status == "RUNNING"
    ]
    return {"result": len(found), "success": True}


def _instance(call: Call, missing: str) -> Instance:
    one = call.company.instances.get(str(call.given.get("processInstanceId") or ""))
    if one is None:
        raise NewError(missing, "审批实例不存在")
    return one


def _task(call: Call, task_id: int) -> tuple[Instance, Task]:
    for one in call.company.instances.values():
        for task in one.tasks:
            if task.task_id == task_id:
                return one, task
    raise NewError("param.illegal", "任务不存在")


def _remark(call: Call, name: str, most: int, *, required: bool = False) -> str:
    value = call.given.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or len(value) > most or (required and not value):
        raise NewError("invalidParameter", f"{name} 为空或超过 {most} 个字符")
    return value
