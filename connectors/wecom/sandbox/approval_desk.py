"""People at the screens of 审批: they submit, decide, withdraw; the administrator changes templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.approval_acts import ActOnForm, PutTemplate, Submit
from connectors.wecom.sandbox.approval_events import approval_event
from connectors.wecom.sandbox.approvals import begin
from connectors.wecom.sandbox.approving import act_on, turns
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.events import Event
from connectors.wecom.sandbox.forms import checked, settable
from connectors.wecom.sandbox.rows import Form, Template
from hub.sdk.sandbox import Json

__all__ = ["act_on_form", "put_template", "submit"]

Emit: TypeAlias = Callable[[Event], None]
SILENT = frozenset(["delete"])
"""What the vendor tells nobody: 7.3 has no event for it."""
MOST_STEPS = 100


def submit(corp: Corp, act: Submit, emit: Emit, dials: WeComDials) -> Mapping[str, Json]:
    """Submit a form as a member does; the screen asks for what is required, too."""
    template = corp.templates.get(act.template_id)
    member = corp.member(act.userid)
    if template is None or not template.enabled:
        raise ErrcodeError(301025, "no such template")
    if member is None:
        raise ErrcodeError(60111, f"no member {act.userid}")
    contents = checked(corp, template, settable(template, act.values))
    party = str(act.department or member.main_department or member.department[0])
    flow = (template.nodes, template.notifyer)
    form = begin(corp, template, (member.userid, party), contents, flow=flow, agentid="")
    _put(corp, form, "submit", emit, dials, silent=act.silent)
    return {"sp_no": form.sp_no}


def act_on_form(corp: Corp, act: ActOnForm, emit: Emit, dials: WeComDials) -> Mapping[str, Json]:
    """Do one thing with a form, or let everybody agree in turn."""
    form = corp.forms.get(act.sp_no)
    if form is None:
        raise ErrcodeError(301025, f"no form {act.sp_no}")
    if act.to and corp.member(act.to) is None:
        raise ErrcodeError(60111, f"no member {act.to}")
    for _ in range(MOST_STEPS):
        waiting = turns(form)
        who = act.userid or (waiting[0] if waiting else form.userid)
        form = act_on(form, act.act, who, corp.seconds(), speech=act.speech, to=act.to)
        _put(corp, form, act.act, emit, dials, silent=act.silent)
        if act.act != "agree" or act.userid or not turns(form):
            break
    return {"sp_no": form.sp_no, "sp_status": form.sp_status, "turns": turns(form)}


def _put(corp: Corp, form: Form, verb: str, emit: Emit, dials: WeComDials, *, silent: bool) -> None:
    corp.put(form, verb, "seed" if silent else "user")
    if verb not in SILENT:
        emit(approval_event(form, verb, corp.seconds(), dials))


def put_template(corp: Corp, act: PutTemplate, _: Emit, __: WeComDials) -> Mapping[str, Json]:
    """Make a template or change it; the vendor tells nobody."""
    old = corp.templates.get(act.template_id)
    given = act.model_dump(exclude={"act", "silent", "template_id", "name"}, exclude_none=True)
    if act.name is not None:
        given["names"] = [{"text": act.name, "lang": "zh_CN"}]
    base = old or Template(act.template_id, [{"text": act.template_id, "lang": "zh_CN"}], [])
    corp.put(replace(base, **given), "put_template", "seed" if act.silent else "user")
    return {"template_id": act.template_id}
