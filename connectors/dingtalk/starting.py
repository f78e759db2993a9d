"""What a create sends: the form, the people and the flow, each held against what is live (fact sheet 2.1, 2.6, 2.8).

What DingTalk would refuse is refused here, before anything is sent, and the refusal names the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.directory import Directory, Person
from connectors.dingtalk.forms import form_values, people_of
from connectors.dingtalk.outcomes import bad_answer
from connectors.dingtalk.schema import Template, Templates, correlation_hint, correlation_of, find
from hub.sdk import Cause, Json, Refused, Toolbox, Write

__all__ = ["Starting", "correlation_value", "invalid", "named_field", "object_of", "required"]

FORECAST = "workflow/processes/forecast"
MOST_APPROVERS, MOST_CC = 20, 50
WAYS: Mapping[str, str] = {"all": "AND", "any": "OR"}
"""``mode`` of a step as an approval of the hub has it; with one approver it says nothing."""


def correlation_value(write: Write) -> str:
    """Return the number in the form: what the payload says (contract number, attempt) and 8 digits of our own key.

    The digits keep two records apart that people gave the same number.
    """
    said = write.payload.get("correlation")
    return f"{said} [{write.business_key[-8:]}]" if isinstance(said, str) and said else write.business_key


class Starting:
    """Composes the body of a create."""

    def __init__(
        self,
        client: DingTalkClient,
        templates: Templates,
        directory: Directory,
        tools: Toolbox,
        settings: Mapping[str, Any],
    ) -> None:
        """``settings``: correlation_field, forecast, agent_id."""
        self._client, self._templates, self._directory = client, templates, directory
        self._tools, self._settings = tools, settings

    async def body(self, write: Write) -> tuple[Template, dict[str, Any]]:
        """Return the template and what is sent. Raises RemoteError; Refused names the field of the form."""
        payload = write.payload
        code, originator = required(payload, "processCode"), required(payload, "originatorUserId")
        template = await self._templates.usable(code)
        values = self._values(template, write)
        person = await self.person(originator, "originatorUserId")
        body: dict[str, Any] = {
            "processCode": code,
            "originatorUserId": originator,
            "deptId": _department(payload, person),
            "formComponentValues": values,
            **await self._people(template, payload),
        }
        if self._settings["agent_id"]:
            body["microappAgentId"] = self._settings["agent_id"]
        if self._settings["forecast"] and "approvers" not in body:
            await self._forecast(body)
        return template, body

    def _values(self, template: Template, write: Write) -> list[dict[str, Any]]:
        field = self._settings["correlation_field"]
        carrier = correlation_of(template, field)
        if carrier is None:
            zh, en = correlation_hint(template, field)
            raise Refused(f"{zh} / {en}", cause=Cause.SETTINGS, vendor="dingtalk", field=field)
        form = write.payload.get("form")
        given = dict(form) if isinstance(form, dict) else {}
        if any(find(template.components, name) is carrier for name in given):
            text = f"{carrier.label} carries our number: a mapping may not fill it"
            raise Refused(text, cause=Cause.INVALID, vendor="dingtalk", field=carrier.label)
        return form_values(template, {**given, carrier.id: correlation_value(write)})

    async def _people(self, template: Template, payload: Mapping[str, Json]) -> dict[str, Any]:
        """Return approvers, cc and chosen approvers; everybody named works there still."""
        for label, userid in people_of(template, object_of(payload.get("form"))):
            await self.person(userid, label)
        body: dict[str, Any] = {}
        if approvers := payload.get("approvers"):
            body["approvers"] = [
                await self._node(one, index) for index, one in enumerate(_listed(approvers, "approvers"))
            ]
            if len(body["approvers"]) > MOST_APPROVERS:
                raise invalid(
                    f"{len(body['approvers'])} approvers, at most {MOST_APPROVERS} are taken", "approvers"
                )
        if cc := payload.get("ccList"):
            body["ccList"] = [str(one) for one in _listed(cc, "ccList")]
            if len(body["ccList"]) > MOST_CC:
                raise invalid(f"{len(body['ccList'])} in cc, at most {MOST_CC} are taken", "ccList")
            for index, userid in enumerate(body["ccList"]):
                await self.person(userid, f"ccList[{index}]")
            position = payload.get("ccPosition") or "FINISH"
            if position not in ("START", "FINISH", "START_FINISH"):
                raise invalid(f"{position!r} is not START, FINISH or START_FINISH", "ccPosition")
            body["ccPosition"] = position
        if chosen := payload.get("targetSelectActioners"):
            body["targetSelectActioners"] = [
                await self._chosen(one, index)
                for index, one in enumerate(_listed(chosen, "targetSelectActioners"))
            ]
        return body

    async def _node(self, given: Json, index: int) -> dict[str, Any]:
        name = f"approvers[{index}]"
        one = object_of(given)
        kind = one.get("actionType")
        users = [str(user) for user in _listed(one.get("userIds", one.get("approvers")), name)]
        if kind is None:
            kind = "NONE" if len(users) == 1 else WAYS.get(str(one.get("mode")), "OR")
        if kind not in ("AND", "OR", "NONE") or (kind == "NONE") != (len(users) == 1) or not users:
            raise invalid("NONE takes exactly one approver, AND (会签) and OR (或签) at least two", name)
        for userid in users:
            await self.person(userid, name)
        return {"actionType": kind, "userIds": users}

    async def _chosen(self, given: Json, index: int) -> dict[str, Any]:
        name = f"targetSelectActioners[{index}]"
        one = object_of(given)
        users = [str(user) for user in _listed(one.get("actionerUserIds"), name)]
        if not one.get("actionerKey") or not users:
            raise invalid("actionerKey and actionerUserIds are needed", name)
        for userid in users:
            await self.person(userid, name)
        return {"actionerKey": str(one["actionerKey"]), "actionerUserIds": users}

    async def person(self, userid: str, field: str) -> Person:
        """Return somebody who works there. Raises Refused, naming the field."""
        person = await self._directory.person(userid)
        if not person.active:
            text = (
                f"{field}：{userid} 不存在、未激活或已离职 / {userid} is not there, not active, or has left"
            )
            raise Refused(text, cause=Cause.NOT_FOUND, vendor="dingtalk", field=field)
        return person

    async def _forecast(self, body: Mapping[str, Any]) -> None:
        """See which nodes the form would run through; what a person must choose has to be chosen (2.6)."""
        asked = {
            "processCode": body["processCode"], "deptId": body["deptId"], "userId": body["originatorUserId"],
            "formComponentValues": body["formComponentValues"],
        }  # fmt: skip
        result = (await self._client.look(FORECAST, asked)).get("result")
        if not isinstance(result, dict):
            raise bad_answer(f"{FORECAST} answered no result", read=True)
        rules = [rule for rule in result.get("workflowActivityRules") or () if isinstance(rule, dict)]
        self._tools.log.info(
            "dingtalk.forecast",
            process_code=body["processCode"],
            nodes=[str(rule.get("activityName")) for rule in rules],
        )
        if str(result.get("isForecastSuccess")).lower() == "false":
            text = "流程预测失败：流程中有节点没有可用的审批人 / the forecast fails: a node of the flow has no approver"
            raise Refused(text, cause=Cause.INVALID, vendor="dingtalk", field="processCode")
        chosen = {
            str(one["actionerKey"]): one["actionerUserIds"] for one in body.get("targetSelectActioners") or ()
        }
        for rule in rules:
            _check_rule(rule, chosen)


def required(payload: Mapping[str, Json], name: str) -> str:
    """Return a text the payload must have. Raises Refused."""
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} is missing", cause=Cause.MISSING_FIELD, vendor="dingtalk", field=name)
    return value


def _department(payload: Mapping[str, Json], person: Person) -> int:
    """Return the originator's department as the approval API has it: the root is -1, 1 elsewhere (pitfall 23)."""
    given = payload.get("deptId")
    if given in (None, ""):
        if not person.departments:
            raise invalid("the originator's departments cannot be seen: give deptId", "deptId")
        return person.departments[0]
    text = str(given)
    if not text.lstrip("-").isascii() or not text.lstrip("-").isdigit():
        raise invalid(f"{text[:40]!r} is no department id", "deptId")
    dept_id = -1 if int(text) == 1 else int(text)
    if person.departments and dept_id not in person.departments:
        raise invalid(f"发起人不在部门 {text} 中 / the originator is not in department {text}", "deptId")
    return dept_id


def _check_rule(rule: Mapping[str, Any], chosen: Mapping[str, Sequence[str]]) -> None:
    """Refuse a node whose approver a person chooses and nobody chose, or somebody outside its range."""
    if str(rule.get("isTargetSelect")).lower() != "true" and rule.get("activityType") != "target_select":
        return
    actor = object_of(rule.get("workflowActor"))
    key, name = str(actor.get("actorKey") or ""), str(rule.get("activityName") or "")
    users = chosen.get(key)
    if not users:
        text = f"节点“{name}”要自选审批人：给出 actionerKey {key} / node {name!r} wants its approver chosen: give actionerKey {key}"
        raise Refused(text, cause=Cause.MISSING_FIELD, vendor="dingtalk", field="targetSelectActioners")
    allowed = {
        str(one.get("workNo")) for one in object_of(actor.get("actorSelectionRange")).get("approvals") or () if isinstance(one, dict)
    }  # fmt: skip
    if allowed and (outside := [one for one in users if one not in allowed]):
        text = f"节点“{name}”不能选 {'、'.join(outside)} / node {name!r} does not allow {', '.join(outside)}"
        raise invalid(text, "targetSelectActioners")


def named_field(error: Refused, template: Template) -> str:
    """Return the label that a refusal of the form names (2.1), "form" if it names none."""
    labels = sorted((one.label for one in template.components if one.label), key=len, reverse=True)
    return next((label for label in labels if label in str(error)), "form")


def object_of(value: Json | object) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def _listed(value: Json | object, name: str) -> list[Json]:
    if not isinstance(value, list):
        raise invalid("a list is expected", name)
    return value


def invalid(message: str, field: str) -> Refused:
    """Return the refusal of a value."""
    return Refused(f"{field}: {message}", cause=Cause.INVALID, vendor="dingtalk", field=field)
