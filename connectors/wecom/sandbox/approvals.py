"""The four calls of 审批 (section 4): template, submission, numbers by time of submission, one form in full."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from connectors.wecom.sandbox import cursors
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.approval_events import approval_event
from connectors.wecom.sandbox.approving import nodes_of
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.forms import checked, shown
from connectors.wecom.sandbox.rows import Form, Template
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = ["applyevent", "begin", "getapprovaldetail", "getapprovalinfo", "gettemplatedetail"]

MOST = 100
LONGEST = 31 * 86_400
FILTERS = frozenset(["template_id", "creator", "department", "sp_status", "record_type"])
LANGUAGES = ("zh_CN", "en")


def gettemplatedetail(call: Call) -> Mapping[str, Json]:
    """Show the form of a template."""
    template = call.corp.templates.get(call.text("template_id"))
    if template is None or not (template.enabled or call.dials.disabled_template == "shown"):
        raise ErrcodeError(301025, "invalid template_id")
    return {"template_names": template.names, "template_content": {"controls": template.controls}}


def applyevent(call: Call) -> Mapping[str, Json]:
    """Submit a form on behalf of a member."""
    creator = call.corp.member(call.text("creator_userid"))
    if creator is None or creator.status != 1 or not call.app.sees(call.corp, creator.userid):
        raise ErrcodeError(301055, "creator_userid is not visible")
    template = call.corp.templates.get(call.text("template_id"))
    if template is None or not template.enabled:
        raise ErrcodeError(301025, "invalid template_id")
    _check_summaries(call)
    contents = checked(call.corp, template, _contents(call))
    flow = _flow(call, template)
    department = call.fields.get("choose_department")
    if department is not None and department not in creator.department:
        raise ErrcodeError(301025, "choose_department is not one of the creator's")
    party = str(department or creator.main_department or creator.department[0])
    form = begin(call.corp, template, (creator.userid, party), contents, flow=flow, agentid=call.app.agentid)
    call.corp.put(form, "applyevent", "api")
    call.emit(approval_event(form, "submit", call.corp.seconds(), call.dials))
    return {"sp_no": call.dials.foreign_sp_no or form.sp_no}


def begin(
    corp: Corp,
    template: Template,
    applicant: tuple[str, str],
    contents: list[dict[str, Json]],
    *,
    flow: tuple[list[dict[str, Json]], list[str]],
    agentid: str,
) -> Form:
    """Return a form that is submitted now; without anybody to ask it is approved at once.

    ``applicant``: userid and department. ``flow``: the nodes and who is in cc besides.
    """
    today = datetime.datetime.fromtimestamp(corp.seconds(), datetime.UTC)
    started, own = nodes_of(flow[0])
    return Form(
        f"{today:%Y%m%d}{corp.new_number():06d}", template.names[0]["text"], template.template_id, corp.seconds(),
        *applicant, contents, started, [*flow[1], *own], [], 1 if started else 2, template.record_type, agentid,
    )  # fmt: skip


def _contents(call: Call) -> list[dict[str, Json]]:
    contents = call.fields["apply_data"].get("contents")
    if not isinstance(contents, list) or not all(isinstance(one, dict) for one in contents):
        raise ErrcodeError(301025, "apply_data.contents must be a list of controls")
    for one in contents:
        for odd in sorted(set(one) - {"control", "id", "title", "value"}):
            call.forgive(f"unknown field apply_data.contents.{odd[:64]}", 301025)
    return contents


def _check_summaries(call: Call) -> None:
    lines = call.fields.get("summary_list") or []
    if len(lines) > 3:
        raise ErrcodeError(301025, "at most 3 summary_list")
    for line in lines:
        for one in line.get("summary_info") or ():
            if one.get("lang") not in LANGUAGES or len(str(one.get("text"))) > 20:
                raise ErrcodeError(301025, "summary_info: text of at most 20 characters, lang zh_CN or en")


def _flow(call: Call, template: Template) -> tuple[list[dict[str, Json]], list[str]]:
    """Return the nodes of the flow and who is in cc: the template's own, or what the call names, old fields included."""
    own = call.fields.get("use_template_approver") or 0
    if own == 1:
        if template.chosen:
            raise ErrcodeError(301025, "the template's flow has a node the applicant chooses")
        return template.nodes, template.notifyer
    listed = (call.fields.get("process") or {}).get("node_list")
    if listed is None:  # as clients sent it before process came
        modes = {1: 2, 2: 1}  # attr 1 is any one, 2 all: the reverse of apv_rel
        listed = [
            {"type": 1, "apv_rel": modes.get(one.get("attr"), 0), "userid": one.get("userid")}
            for one in call.fields.get("approver") or ()
        ]
    if not listed:
        raise ErrcodeError(301025, "process is needed when use_template_approver is 0")
    for node in listed:
        users, kind = node.get("userid"), node.get("type")
        if kind not in (1, 2, 3) or (kind != 2 and node.get("apv_rel") not in (1, 2, 3)):
            raise ErrcodeError(301025, "process.node_list: type 1, 2 or 3, apv_rel 1, 2 or 3")
        if not isinstance(users, list) or not users:
            raise ErrcodeError(301025, "process.node_list: userid is a list")
        for user in users:
            member = call.corp.member(str(user))
            if member is None or member.status != 1:
                raise ErrcodeError(301025, f"process.node_list: no member {str(user)[:64]}")
    return listed, call.texts("notifyer")


# ----------------------------------------------------------------------------------------------------- reading


def getapprovalinfo(call: Call) -> Mapping[str, Json]:
    """List numbers by the time of submission; what the app may not see is taken out of each page."""
    start, end = (_seconds(call, name) for name in ("starttime", "endtime"))
    if end <= start:
        raise ErrcodeError(301025, "endtime must be after starttime")
    if end - start > LONGEST:
        raise ErrcodeError(call.dials.approval_window_errcode, "more than 31 days")
    size = call.integer("size", MOST)
    if not 1 <= size <= MOST:
        raise ErrcodeError(301025, "size is 1 to 100")
    filters = _filters(call)
    forms = [
        one for one in call.corp.forms.values() if start <= one.apply_time <= end and _matches(one, filters)
    ]
    if call.dials.approval_window_rows and len(forms) > call.dials.approval_window_rows:
        raise ErrcodeError(301112)
    scope = [start, end, filters]
    if "new_cursor" in call.fields:
        cursor = call.text("new_cursor")
        place = (
            cursors.take(cursor, scope, now=call.corp.now(), life=call.dials.cursor_seconds) if cursor else 0
        )
        page, following = _page(call, forms, int(place), size)
        if following is None:
            return {"sp_no_list": page}
        return {"sp_no_list": page, "new_next_cursor": cursors.give(scope, following, call.corp.now())}
    page, following = _page(call, forms, call.integer("cursor", 0), size)
    return {"sp_no_list": page} | ({} if following is None else {"next_cursor": following})


def _page(call: Call, forms: list[Form], place: int, size: int) -> tuple[list[str], int | None]:
    """Return the numbers of one page and where the next begins, None at the end."""
    if call.dials.happens("empty_pages"):
        return [], place
    count = max(1, size // 2) if call.dials.happens("short_pages") else size
    some = forms[place : place + count]
    page = [one.sp_no for one in some if call.app.sees(call.corp, one.userid)]
    return page, place + count if place + count < len(forms) else None


def _seconds(call: Call, name: str) -> int:
    value = str(call.fields[name])
    if not value.isascii() or not value.isdigit() or len(value) > 11:
        raise ErrcodeError(301025, f"{name} must be unix seconds")
    return int(value)


def _filters(call: Call) -> list[list[str]]:
    pairs = []
    for one in call.fields.get("filters") or ():
        key, value = str(one.get("key")), one.get("value")
        if key not in FILTERS or not isinstance(value, str):
            raise ErrcodeError(301025, f"filter {key[:40]}: unknown key, or its value is no text")
        pairs.append([key, value])
    keys = [key for key, _ in pairs if key != "department"]
    if len(keys) != len(set(keys)):
        raise ErrcodeError(301025, "only department may stand more than once")
    for key, value in pairs:
        if key == "creator":
            member = call.corp.member(value)
            if member is None or member.status == 5:
                raise ErrcodeError(301055, "creator has left")
    return pairs


def _matches(form: Form, filters: list[list[str]]) -> bool:
    said = {
        "template_id": form.template_id, "creator": form.userid.lower(), "department": form.partyid,
        "sp_status": str(form.sp_status), "record_type": str(form.record_type),
    }  # fmt: skip
    wanted: dict[str, set[str]] = {}
    for key, value in filters:
        wanted.setdefault(key, set()).add(value.lower() if key == "creator" else value)
    return all(said[key] in values for key, values in wanted.items())


def getapprovaldetail(call: Call) -> Mapping[str, Json]:
    """Show one form in full."""
    form = call.corp.forms.get(call.dials.foreign_detail or call.text("sp_no"))
    if form is None:
        raise ErrcodeError(301025, "invalid sp_no")
    if not call.app.sees(call.corp, form.userid):
        raise ErrcodeError(301055, "the applicant is not visible")
    info: dict[str, Json] = {
        "sp_no": form.sp_no, "sp_name": form.sp_name, "sp_status": form.sp_status, "template_id": form.template_id,
        "apply_time": form.apply_time, "applyer": {"userid": form.userid, "partyid": form.partyid},
        "sp_record": [_record(node) for node in form.nodes if node["node_type"] == 1],
        "notifyer": [{"userid": one} for one in form.notifyer],
        "apply_data": {"contents": shown(form.contents, date_shape=call.dials.date_shape)},
        "comments": form.comments,
    }  # fmt: skip
    if call.dials.process_list:
        info["process_list"] = {"node_list": [*map(_node, form.nodes), *_copied(form)]}
    if call.dials.unknown_fields:
        info["field_of_next_year"] = {"deep": [1]}
    return {"info": info}


def _record(node: Mapping[str, Json]) -> dict[str, Json]:
    """Return a node in the older form, whose approverattr counts the other way round (pitfall 14)."""
    details = [
        {"approver": {"userid": sub["userid"]}, "speech": sub["speech"], "sp_status": sub["sp_yj"], "sptime": sub["sptime"], "media_id": []}
        for sub in node["subs"]
    ]  # fmt: skip
    return {
        "sp_status": node["sp_status"], "approverattr": {1: 2, 2: 1}.get(node["apv_rel"], 2), "details": details,
    }  # fmt: skip


def _node(node: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "node_type": node["node_type"], "sp_status": node["sp_status"], "apv_rel": node["apv_rel"], "sub_node_list": list(node["subs"]),
    }  # fmt: skip


def _copied(form: Form) -> list[dict[str, Json]]:
    if not form.notifyer:
        return []
    subs = [{"userid": one, "speech": "", "sp_yj": 1, "sptime": 0, "media_ids": []} for one in form.notifyer]
    return [{"node_type": 2, "sp_status": 2, "apv_rel": 1, "sub_node_list": subs}]
