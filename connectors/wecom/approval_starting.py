"""What ``applyevent`` sends: the form, the people and the flow, each held against what is live (fact sheet 4.4).

What WeCom would refuse with a code that names nothing is refused here, before anything is sent, naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.wecom.approvals import Approvals
from connectors.wecom.controls import Names, Writing, form_values, named_in
from connectors.wecom.people import People, Person
from connectors.wecom.templates import Template, Templates, correlation_hint, correlation_of, meant
from hub.sdk import Cause, Json, Refused, Write

__all__ = ["Starting", "correlation_value", "required"]

MODES: Mapping[str, int] = {"AND": 1, "OR": 2, "ONE_BY_ONE": 3}
"""``apv_rel`` of a node: all (会签), any one (或签), in turn."""
WAYS: Mapping[str, str] = {"all": "AND", "any": "OR"}
"""``mode`` of a step as an approval of the hub has it; with one approver it says nothing."""
APPROVE, COPY = 1, 2
MOST_SUMMARIES, LONGEST_SUMMARY = 3, 20


def correlation_value(write: Write) -> str:
    """Return the number in the form: what the payload says (contract number, attempt) and 8 digits of our own key.

    The digits keep two records apart that people gave the same number.
    """
    said = write.payload.get("correlation")
    return f"{said} [{write.business_key[-8:]}]" if isinstance(said, str) and said else write.business_key


class Starting:
    """Composes the body of a create."""

    def __init__(
        self, templates: Templates, approvals: Approvals, people: People, settings: Mapping[str, Any]
    ) -> None:
        """``settings``: correlation_field, send_bank_account."""
        self._templates, self._people, self._settings = templates, people, settings
        self._zone = approvals.zone

    async def body(self, write: Write) -> tuple[Template, dict[str, Any]]:
        """Return the template and what is sent. Raises RemoteError; Refused names the field of the form."""
        payload = write.payload
        code, originator = required(payload, "processCode"), required(payload, "originatorUserId")
        template = await self._templates.get(code)
        form = self._form(template, write)
        names = await self._names(template, form)
        contents = form_values(template, form, self._writing(names))
        person = await self._people.person(originator, "originatorUserId")
        body: dict[str, Any] = {
            "creator_userid": person.userid,
            "template_id": code,
            **await self._flow(payload),
            "apply_data": {"contents": contents},
            "summary_list": _summaries(payload),
        }
        if payload.get("deptId") not in (None, ""):
            body["choose_department"] = _department(str(payload["deptId"]), person)
        return template, body

    async def doubted(self, write: Write) -> Refused:
        """Say what a refusal of a form means that passed every test: form and people looked up anew, then the template."""
        code = required(write.payload, "processCode")
        self._templates.forget(code)
        self._people.forget()
        try:
            await self.body(write)
        except Refused as error:
            return error
        text = (
            "表单、人员和流程都与模板一致，企业微信仍拒绝：核对该模板是否已停用、流程中是否有申请人自选的节点 / form, people and flow "
            "fit the template and WeCom refuses: see whether the template is in use and no node of its flow is the applicant's choice"
        )
        return Refused(text, cause=Cause.INVALID, vendor="wecom", field="processCode")

    def _writing(self, names: Names) -> Writing:
        return Writing(self._zone, names, self._settings["send_bank_account"])

    def _form(self, template: Template, write: Write) -> dict[str, Json]:
        field = self._settings["correlation_field"]
        carrier = correlation_of(template, field)
        if carrier is None:
            zh, en = correlation_hint(template, field)
            raise Refused(f"{zh} / {en}", cause=Cause.SETTINGS, vendor="wecom", field=field)
        given = write.payload.get("form")
        form = dict(given) if isinstance(given, dict) else {}
        if any(carrier in meant(template.controls, name) for name in form):
            text = f"{carrier.label} 承载中台编号，映射不可填写 / {carrier.label} carries our number: a mapping may not fill it"
            raise Refused(text, cause=Cause.INVALID, vendor="wecom", field=carrier.label)
        return {**form, carrier.id: correlation_value(write)}

    async def _names(self, template: Template, form: Mapping[str, Json]) -> Names:
        """Return the names of everybody the form names; all of them work there, and are seen."""
        people: dict[str, str] = {}
        departments: dict[str, str] = {}
        for label, kind, id_ in named_in(template, form):
            if kind == "department":
                departments[id_] = await self._people.department(id_, label)
            else:
                people[id_] = (await self._people.person(id_, label)).name
        return Names(people, departments)

    async def _flow(self, payload: Mapping[str, Json]) -> dict[str, Any]:
        """Return the flow: the template's own, or the approvers and those in cc as nodes in that order."""
        approvers = payload.get("approvers") or []
        copied = payload.get("ccList") or []
        if not approvers:
            if copied:
                text = (
                    "抄送人只能与审批人一起指定；使用模板自己的流程时，抄送人也由模板决定 / cc is given together with approvers alone: "
                    "with the template's own flow the template says who is in cc"
                )
                raise _invalid(text, "ccList")
            return {"use_template_approver": 1}
        nodes = [await self._node(one, index) for index, one in enumerate(_listed(approvers, "approvers"))]
        if users := [str(one) for one in _listed(copied, "ccList")]:
            for index, userid in enumerate(users):
                await self._people.person(userid, f"ccList[{index}]")
            nodes.append({"type": COPY, "userid": users})
        return {"use_template_approver": 0, "process": {"node_list": nodes}}

    async def _node(self, given: Json, index: int) -> dict[str, Any]:
        name = f"approvers[{index}]"
        one = given if isinstance(given, dict) else {}
        users = [str(user) for user in _listed(one.get("userIds") or one.get("approvers") or [], name)]
        kind = one.get("actionType") or ("NONE" if len(users) == 1 else WAYS.get(str(one.get("mode")), "OR"))
        if not users or (kind == "NONE") != (len(users) == 1) or kind not in ("NONE", *MODES):
            text = "NONE 恰好一人，AND（会签）、OR（或签）、ONE_BY_ONE（依次）至少两人 / NONE takes exactly one approver, AND, OR and ONE_BY_ONE at least two"
            raise _invalid(text, name)
        for userid in users:
            await self._people.person(userid, name)
        return {"type": APPROVE, "apv_rel": MODES.get(str(kind), MODES["AND"]), "userid": users}


def required(payload: Mapping[str, Json], name: str) -> str:
    """Return a text the payload must have. Raises Refused."""
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} is missing", cause=Cause.MISSING_FIELD, vendor="wecom", field=name)
    return value


def _department(text: str, person: Person) -> int:
    if not text.isascii() or not text.isdigit():
        raise _invalid(f"{text[:40]!r} is no department id", "deptId")
    dept_id = int(text)
    if person.departments and dept_id not in person.departments:
        raise _invalid(f"发起人不在部门 {text} 中 / the originator is not in department {text}", "deptId")
    return dept_id


def _summaries(payload: Mapping[str, Json]) -> list[dict[str, Any]]:
    """Return the lines a list of approvals shows: what is longer than 20 characters is cut, for the form has it whole."""
    given = _listed(payload.get("summary") or [], "summary")
    texts = [" ".join(str(one).split()) for one in given if one not in (None, "")]
    if len(texts) > MOST_SUMMARIES:
        raise _invalid(f"{len(texts)} lines, at most {MOST_SUMMARIES} are taken", "summary")
    cut = [one if len(one) <= LONGEST_SUMMARY else f"{one[: LONGEST_SUMMARY - 1]}…" for one in texts]
    return [{"summary_info": [{"text": one, "lang": "zh_CN"}]} for one in cut]


def _listed(value: Json, name: str) -> list[Json]:
    if not isinstance(value, list):
        raise _invalid("应为列表 / a list is expected", name)
    return value


def _invalid(message: str, field: str) -> Refused:
    return Refused(f"{field}: {message}", cause=Cause.INVALID, vendor="wecom", field=field)
