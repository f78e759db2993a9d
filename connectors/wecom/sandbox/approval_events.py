"""``sys_approval_change`` (7.3): repeated elements without a list around them, and no form data."""

from __future__ import annotations

from connectors.wecom.sandbox.approving import EVENTS
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.events import Event, element
from connectors.wecom.sandbox.rows import Form

__all__ = ["approval_event"]

AGENT = "3010040"
"""The vendor's own app 审批 in the samples."""


def approval_event(form: Form, verb: str, now: int, dials: WeComDials) -> Event:
    """Return the event of something that was done to a form; ``now``: unix seconds."""
    parts = []
    if dials.sp_no != "number":
        parts.append(element("SpNoStr", form.sp_no))
    if dials.sp_no != "text":
        parts.append(f"<SpNo>{form.sp_no}</SpNo>")
    parts += [
        element("SpName", form.sp_name), f"<SpStatus>{form.sp_status}</SpStatus>", element("TemplateId", form.template_id),
        f"<ApplyTime>{form.apply_time}</ApplyTime>",
        f"<Applyer>{element('UserId', form.userid)}{element('Party', form.partyid)}</Applyer>",
    ]  # fmt: skip
    for node in form.nodes:
        details = "".join(
            f"<Details><Approver>{element('UserId', sub['userid'])}</Approver>{element('Speech', sub['speech'])}"
            f"<SpStatus>{sub['sp_yj']}</SpStatus><SpTime>{sub['sptime']}</SpTime></Details>"
            for sub in node["subs"]
        )
        attr = {1: 2, 2: 1}.get(node["apv_rel"], 2)
        parts.append(
            f"<SpRecord><SpStatus>{node['sp_status']}</SpStatus><ApproverAttr>{attr}</ApproverAttr>{details}</SpRecord>"
        )
    parts += [f"<Notifyer>{element('UserId', one)}</Notifyer>" for one in form.notifyer]
    for one in form.comments:
        who = element("UserId", str(one["commentUserInfo"]["userid"]))
        parts.append(
            f"<Comments><CommentUserInfo>{who}</CommentUserInfo><CommentTime>{one['commenttime']}</CommentTime>"
            f"{element('CommentContent', str(one['commentcontent']))}{element('CommentId', str(one['commentid']))}</Comments>"
        )
    if dials.process_list:
        parts.append(f"<ProcessList>{_nodes(form)}</ProcessList>")
    if verb in EVENTS:
        parts.append(f"<StatuChangeEvent>{EVENTS[verb]}</StatuChangeEvent>")
    inner = f"<ApprovalInfo>{''.join(parts)}</ApprovalInfo>"
    return Event("sys_approval_change", "", now, {}, grant="approval", inner=inner, agentid=AGENT)


def _nodes(form: Form) -> str:
    found = []
    for node in form.nodes:
        subs = "".join(
            f"<SubNodeList><UserInfo>{element('UserId', sub['userid'])}</UserInfo>{element('Speech', sub['speech'])}"
            f"<SpYj>{sub['sp_yj']}</SpYj><Sptime>{sub['sptime']}</Sptime></SubNodeList>"
            for sub in node["subs"]
        )
        found.append(
            f"<NodeList><NodeType>{node['node_type']}</NodeType><SpStatus>{node['sp_status']}</SpStatus>"
            f"<ApvRel>{node['apv_rel']}</ApvRel>{subs}</NodeList>"
        )
    return "".join(found)
