"""The approval engine: nodes, tasks, records, and the event each change of state causes (sheet 2, 6.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from connectors.dingtalk.sandbox.company import Company
from connectors.dingtalk.sandbox.rows import Instance, Task, Template
from hub.sdk.sandbox import Json

__all__ = ["Emit", "Engine", "nodes_for"]

Emit = Callable[[str, dict[str, Json]], None]
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": lambda a, b: a >= b, ">": lambda a, b: a > b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
}  # fmt: skip


def nodes_for(template: Template, values: list[dict[str, Json]], dept_id: int) -> list[dict[str, Any]]:
    """Return the nodes of a template's flow whose conditions hold: amounts, choices and the department."""
    given = {str(one["id"]): str(one["value"]) for one in values}
    return [node for node in template.nodes if _holds(node.get("when") or {}, given, dept_id)]


def _holds(when: Mapping[str, Any], given: Mapping[str, str], dept_id: int) -> bool:
    for name, test in when.items():
        if name == "dept_id":
            if dept_id not in test:
                return False
        elif isinstance(test, list):
            operator, limit = test
            try:
                if not _OPERATORS[operator](float(given.get(name) or 0), float(limit)):
                    return False
            except ValueError:
                return False
        elif given.get(name) != test:
            return False
    return True


class Engine:
    """Moves instances; whoever acts is named in ``by``: api, or user for a person in the app."""

    def __init__(self, company: Callable[[], Company], emit: Emit) -> None:
        """Take how to see the corp and where events go."""
        self._company, self._emit = company, emit

    def start(self, one: Instance, *, by: str) -> None:
        """Begin an instance: the first node's tasks, or the end where there is none."""
        verb = "create" if one.biz_action == "NONE" else one.biz_action.lower()
        self._record(one, one.originator, "START_PROCESS_INSTANCE")
        self._company().put(verb, one, by=by)
        self._tell(one, "start")
        self._next(one, by=by)

    def execute(self, one: Instance, task: Task, result: str, remark: str, *, by: str) -> None:
        """Agree or refuse a running task."""
        self._close(task, "COMPLETED", result.upper())
        self._record(one, task.userid, "EXECUTE_TASK_NORMAL", result.upper(), remark, task.activity_id)
        self._tell_task(one, task, "finish", result, remark)
        node = one.nodes[one.at_node]
        if result == "refuse":
            self._cancel(one, task)
            self._finish(one, "refuse", by=by)
            return
        if node["method"] == "OR":
            self._cancel(one, task)
        waiting = [
            other for other in one.tasks if other.activity_id == task.activity_id and other.status == "NEW"
        ]
        running = [
            other
            for other in one.tasks
            if other.activity_id == task.activity_id and other.status == "RUNNING"
        ]
        if node["method"] == "ONE_BY_ONE" and waiting:
            waiting[0].status = "RUNNING"
            self._save("agree", one, by)
            self._tell_task(one, waiting[0], "start")
        elif running:
            self._save("agree", one, by)
        else:
            self._save("agree", one, by)
            self._next(one, by=by)

    def redirect(self, one: Instance, task: Task, to: str, remark: str, *, by: str) -> None:
        """Hand a running task on to somebody else."""
        self._close(task, "COMPLETED", "REDIRECTED")
        self._record(one, task.userid, "REDIRECT_TASK", "NONE", remark, task.activity_id)
        new = self._task(one, to, task.activity_id)
        self._save("redirect", one, by)
        self._tell_task(one, task, "finish", "redirect", remark)
        self._tell_task(one, new, "start")

    def comment(self, one: Instance, userid: str, text: str, *, by: str) -> None:
        """Add a remark; it is told as a task's (sheet 2.5)."""
        self._record(one, userid, "ADD_REMARK", "NONE", text)
        self._save("comment", one, by)
        self._emit(
            "bpms_task_change", {**self._common(one), "type": "comment", "remark": text, "staffId": userid}
        )

    def terminate(self, one: Instance, userid: str, remark: str, *, by: str) -> None:
        """Withdraw an instance."""
        self._cancel(one, None)
        one.status, one.finished = "TERMINATED", self._company().now_ms()
        self._record(one, userid, "TERMINATE_PROCESS_INSTANCE", "NONE", remark)
        self._save("terminate", one, by)
        self._tell(one, "terminate")

    def delete(self, one: Instance, *, by: str) -> None:
        """Remove an instance as an administrator does."""
        one.gone = True
        self._company().drop("delete", one, by=by)
        self._tell(one, "delete")

    def attach(self, main: Instance, action: str, *, by: str) -> Instance:
        """Ask for a change or a revocation of an approved instance: a new one that names it (sheet 2.3)."""
        company = self._company()
        new = replace(
            main, id=f"{main.id[:-4]}{next(company.numbers):04d}", business_id=f"{main.business_id}R",
            title=f"{main.title}（{'撤销' if action == 'REVOKE' else '修改'}）", created=company.now_ms(), finished=0,
            status="RUNNING", result="", at_node=-1, tasks=[], records=[], biz_action=action, main=main.id, attached=[],
            values=[dict(one) for one in main.values],
        )  # fmt: skip
        main.attached.append(new.id)
        company.put("attach", main, by=by)
        self.start(new, by=by)
        return new

    # ------------------------------------------------------------------------------------------ inside

    def _next(self, one: Instance, *, by: str) -> None:
        while True:
            one.at_node += 1
            if one.at_node >= len(one.nodes):
                self._finish(one, "agree", by=by)
                return
            node = one.nodes[one.at_node]
            if node.get("kind") == "notifier":
                one.cc += node["users"]
                self._record(one, "", "PROCESS_CC", activity_id=node["activityId"])
                continue
            if node.get("auto") in ("AUTO_AGREE", "AUTO_REFUSE"):
                agreed = node["auto"] == "AUTO_AGREE"
                self._record(
                    one, "", "EXECUTE_TASK_AUTO", "AGREE" if agreed else "REFUSE", "", node["activityId"]
                )
                if not agreed:
                    self._finish(one, "refuse", by=by)
                    return
                continue
            made = [self._task(one, userid, node["activityId"]) for userid in node["users"]]
            if node["method"] == "ONE_BY_ONE":
                for task in made[1:]:
                    task.status = "NEW"
            self._save("arrive", one, by)
            for task in made:
                if task.status == "RUNNING":
                    self._tell_task(one, task, "start")
            return

    def _task(self, one: Instance, userid: str, activity_id: str) -> Task:
        number = 90_000_000_000 + next(self._company().numbers)
        task = Task(number, userid, activity_id, created=self._company().now_ms())
        one.tasks.append(task)
        return task

    def _close(self, task: Task, status: str, result: str) -> None:
        task.status, task.result, task.finished = status, result, self._company().now_ms()

    def _cancel(self, one: Instance, but: Task | None) -> None:
        for task in one.tasks:
            if task is not but and task.status in ("RUNNING", "NEW"):
                told = task.status == "RUNNING"
                self._close(task, "CANCELED", "")
                if told:
                    self._tell_task(one, task, "cancel")

    def _finish(self, one: Instance, result: str, *, by: str) -> None:
        one.status, one.result, one.finished = "COMPLETED", result, self._company().now_ms()
        self._record(one, "", "FINISH_PROCESS_INSTANCE", result.upper())
        self._save("approve" if result == "agree" else "refuse", one, by)
        self._tell(one, "finish", result)

    def _save(self, verb: str, one: Instance, by: str) -> None:
        self._company().put(verb, one, by=by)

    def _record(
        self,
        one: Instance,
        userid: str,
        kind: str,
        result: str = "NONE",
        remark: str = "",
        activity_id: str = "",
    ) -> None:
        at = self._company().now_ms()
        one.records.append(
            {
                "userId": userid,
                "date": at,
                "type": kind,
                "result": result,
                "remark": remark,
                "activityId": activity_id,
            }
        )

    def _common(self, one: Instance) -> dict[str, Json]:
        return {
            "processInstanceId": one.id, "processCode": one.process_code, "bizCategoryId": "", "businessId": one.business_id,
            "title": one.title, "createTime": one.created,
        }  # fmt: skip

    def _tell(self, one: Instance, kind: str, result: str = "") -> None:
        more: dict[str, Json] = {"result": result} if result else {}
        if one.finished:
            more["finishTime"] = one.finished
        url = f"https://aflow.dingtalk.com/dingtalk/mobile/homepage.htm?procInstId={one.id}"
        self._emit(
            "bpms_instance_change",
            {
                **self._common(one),
                "type": kind,
                "staffId": one.originator,
                "businessType": "",
                "url": url,
                **more,
            },
        )

    def _tell_task(self, one: Instance, task: Task, kind: str, result: str = "", remark: str = "") -> None:
        more: dict[str, Json] = {"result": result} if result else {}
        if kind != "start":
            more |= {"finishTime": task.finished}
        if remark:
            more["remark"] = remark
        self._emit(
            "bpms_task_change",
            {**self._common(one), "taskId": task.task_id, "type": kind, "staffId": task.userid, **more},
        )
