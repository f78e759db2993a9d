"""People, departments and work notices by the old API (sheet 3, 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from connectors.dingtalk.sandbox.answers import OldError
from connectors.dingtalk.sandbox.company import ROOT
from connectors.dingtalk.sandbox.rows import Department, Notice, User
from connectors.dingtalk.sandbox.workflow import Call
from hub.sdk.sandbox import Json

__all__ = ["OLD"]

DAY = 86_400_000
DAILY_CAP = 500
MOST_RECEIVERS, MOST_DEPARTMENTS, MOST_BYTES = 100, 20, 2048
Answer = Mapping[str, Json]


def _number(call: Call, name: str, default: int | None = None) -> int:
    value = call.given.get(name, default)
    if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise OldError(400002, f"参数 {name} 不正确")
    return value


def _department(call: Call) -> Department:
    dept_id = _number(call, "dept_id", ROOT)
    found = call.company.departments.get(dept_id)
    if found is None or dept_id < 0:
        raise OldError(60003)
    if not call.company.sees(call.app.visible, dept_id):
        raise OldError(50004)
    return found


def _visible(call: Call, user: User) -> bool:
    return any(call.company.sees(call.app.visible, one) for one in user.dept_id_list)


def _list_sub(call: Call) -> Answer:
    """List one level below a department; an education tree's negative ids are among them."""
    under = _department(call)
    shown = [
        {
            "dept_id": one.dept_id,
            "name": one.name,
            "parent_id": one.parent_id,
            "create_dept_group": False,
            "auto_add_user": False,
        }
        for one in call.company.children(under.dept_id)
    ]
    return {"result": shown}


def _list_sub_ids(call: Call) -> Answer:
    """List the ids of one level."""
    return {
        "result": {"dept_id_list": [one.dept_id for one in call.company.children(_department(call).dept_id)]}
    }


def _get_department(call: Call) -> Answer:
    """Show a department."""
    one = _department(call)
    shown: dict[str, Json] = {
        "dept_id": one.dept_id, "name": one.name, "order": one.order, "dept_manager_userid_list": [], "hide_dept": False,
        "outer_dept": False, "member_count": len(call.company.members(one.dept_id)), "source_identifier": one.source_identifier,
        "code": one.code,
    }  # fmt: skip
    if one.dept_id != ROOT:
        shown["parent_id"] = one.parent_id
    return {"result": shown}


def _parents(call: Call) -> Answer:
    """Show a department and what it lies in, up to the root."""
    return {"result": {"parent_id_list": call.company.path_up(_department(call).dept_id)}}


def _get_user(call: Call) -> Answer:
    """Show one employee."""
    user = call.company.users.get(str(call.given.get("userid") or ""))
    if user is None or user.left:
        raise OldError(60121)
    if not _visible(call, user):
        raise OldError(50002)
    return {"result": _shown(call, user)}


def _list_users(call: Call) -> Answer:
    """List the direct members of a department."""
    under = _department(call)
    cursor, size = _number(call, "cursor"), _number(call, "size")
    if size < 1 or size > call.dials.user_page or cursor < 0:
        raise OldError(400002)
    members = call.company.members(under.dept_id)
    if call.dials.same_page:
        cursor = 0
    end = cursor + size
    more: dict[str, Json] = {"has_more": end < len(members)}
    if end < len(members):
        more["next_cursor"] = end
    return {"result": {**more, "list": [_shown(call, one) for one in members[cursor:end]]}}


def _list_ids(call: Call) -> Answer:
    """List the ids of the direct members."""
    return {
        "result": {"userid_list": [one.userid for one in call.company.members(_department(call).dept_id)]}
    }


def _by_mobile(call: Call) -> Answer:
    """Find an employee by mobile number."""
    mobile = str(call.given.get("mobile") or "")
    found = next(
        (one for one in call.company.users.values() if one.mobile == mobile and mobile and not one.left), None
    )
    if found is None:
        raise OldError(60121)
    return {"result": {"userid": found.userid}}


def _by_unionid(call: Call) -> Answer:
    """Find an employee by unionid."""
    wanted = str(call.given.get("unionid") or "")
    found = next(
        (one for one in call.company.users.values() if one.unionid == wanted and wanted and not one.left),
        None,
    )
    if found is None:
        raise OldError(60121)
    return {"result": {"contact_type": 0, "userid": found.userid}}


def _shown(call: Call, user: User) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "userid": user.userid, "unionid": user.unionid, "name": user.name, "avatar": "", "title": user.title,
        "job_number": user.job_number, "email": user.email, "dept_id_list": user.dept_id_list,
        "dept_order_list": [{"dept_id": one, "order": 1} for one in user.dept_id_list],
        "leader_in_dept": [{"dept_id": one, "leader": False} for one in user.dept_id_list], "active": user.active,
        "admin": False, "boss": False, "senior": False, "real_authed": True, "exclusive_account": False,
    }  # fmt: skip
    if "qyapi_get_member_by_mobile" in call.app.scopes:
        shown |= {"mobile": user.mobile, "state_code": "86"}
    return shown


def _scopes(call: Call) -> Answer:
    """Show the app's visible range."""
    return {
        "auth_org_scopes": {"authed_dept": call.app.visible, "authed_user": []},
        "auth_user_field": ["name", "userid"],
    }


# ----------------------------------------------------------------------------------------- work notices


def _send_notice(call: Call) -> Answer:
    """Send a work notice; who gets the same again today, or has had 500, is dropped without a word (pitfall 24)."""
    if _number(call, "agent_id") != call.app.agent_id:
        raise OldError(40035, "不合法的agent_id")
    userids = _listed(call.given.get("userid_list"))
    departments = _listed(call.given.get("dept_id_list"))
    everybody = call.given.get("to_all_user") in (True, "true")
    if (
        len(userids) > MOST_RECEIVERS
        or len(departments) > MOST_DEPARTMENTS
        or not (userids or departments or everybody)
    ):
        raise OldError(400002, "接收人不正确")
    msg = call.given.get("msg")
    msg = orjson.loads(msg) if isinstance(msg, str) else msg
    if not isinstance(msg, dict) or msg.get("msgtype") not in msg or len(orjson.dumps(msg)) > MOST_BYTES:
        raise OldError(40035, "msg 不正确或超过 2048 字节")
    members = [one.userid for dept in departments for one in call.company.members(int(dept))]
    receivers = list(dict.fromkeys([*userids, *members]))
    if everybody:
        receivers = [one.userid for one in call.company.users.values() if not one.left]
    now = call.company.now_ms()
    task = 10_000_000 + next(call.company.numbers)
    known = [one for one in receivers if one in call.company.users]
    notice = Notice(task, known, msg, now, invalid=[one for one in receivers if one not in known])
    for userid in notice.userids:
        today = [
            one
            for one in call.company.notices.values()
            if userid in one.userids and one.sent // DAY == now // DAY
        ]
        if any(one.msg == msg and userid not in one.dropped for one in today):
            notice.dropped[userid] = 143106
        elif len(today) >= DAILY_CAP:
            notice.dropped[userid] = 143105
    call.company.put("notice", notice, by="api")
    return {"task_id": task}


def _notice_progress(call: Call) -> Answer:
    """Say how far a notice is: done at once here."""
    _notice(call, "task_id")
    return {"progress": {"progress_in_percent": 100, "status": 2}}


def _notice_result(call: Call) -> Answer:
    """Say who got a notice and who did not."""
    notice = _notice(call, "task_id")
    reached = [one for one in notice.userids if one not in notice.dropped]
    forbidden = [{"code": str(code), "count": 1, "userid": one} for one, code in notice.dropped.items()]
    return {
        "send_result": {
            "invalid_user_id_list": notice.invalid, "forbidden_user_id_list": list(notice.dropped), "failed_user_id_list": [],
            "read_user_id_list": [], "unread_user_id_list": reached, "invalid_dept_id_list": [], "forbidden_list": forbidden,
        }
    }  # fmt: skip


def _recall_notice(call: Call) -> Answer:
    """Take a notice back."""
    notice = _notice(call, "msg_task_id")
    notice.recalled = True
    call.company.put("recall", notice, by="api")
    return {}


def _notice(call: Call, name: str) -> Notice:
    found = call.company.notices.get(_number(call, name))
    if found is None or call.company.now_ms() - found.sent > DAY:
        raise OldError(400002, "task_id 不存在或已过期")
    return found


def _listed(value: Any) -> list[str]:
    return [one for one in str(value or "").split(",") if one]


OLD: Mapping[str, tuple[Any, str]] = {
    "topapi/v2/department/listsub": (_list_sub, "qyapi_get_department_list"),
    "topapi/v2/department/listsubid": (_list_sub_ids, "qyapi_get_department_list"),
    "topapi/v2/department/get": (_get_department, "qyapi_get_department_list"),
    "topapi/v2/department/listparentbydept": (_parents, "qyapi_get_department_list"),
    "topapi/v2/user/get": (_get_user, "qyapi_get_member"),
    "topapi/v2/user/list": (_list_users, "qyapi_get_department_member"),
    "topapi/user/listid": (_list_ids, "qyapi_get_department_member"),
    "topapi/v2/user/getbymobile": (_by_mobile, "qyapi_get_member_by_mobile"),
    "topapi/user/getbyunionid": (_by_unionid, "qyapi_get_member"),
    "topapi/message/corpconversation/asyncsend_v2": (_send_notice, "qyapi_base"),
    "topapi/message/corpconversation/getsendprogress": (_notice_progress, "qyapi_base"),
    "topapi/message/corpconversation/getsendresult": (_notice_result, "qyapi_base"),
    "topapi/message/corpconversation/recall": (_recall_notice, "qyapi_base"),
    "auth/scopes": (_scopes, ""),
}
"""Old API -> (what answers it, the permission it wants)."""
