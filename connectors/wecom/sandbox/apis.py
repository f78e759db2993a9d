"""The table of the APIs this stand-in has: method, fields, the module that must list the app."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.wecom.sandbox import approvals, contacts, customers, marking, messages, tags, transfers
from connectors.wecom.sandbox.wire import Api, Call
from hub.sdk.sandbox import Json

__all__ = ["APIS"]

CUSTOMER, CONTACTS = "externalcontact", "contacts"


def _callback_ips(_: Call) -> Mapping[str, Json]:
    return {"ip_list": ["127.0.0.1", "101.226.103.*", "101.226.62.*"]}


def _read(run: Callable[[Call], Mapping[str, Json]], grant: str, **fields: str) -> Api:
    return Api("GET", run, grant, fields)


def _post(run: Callable[[Call], Mapping[str, Json]], grant: str, **fields: str) -> Api:
    inner = {"tag": frozenset(("name", "order"))} if "tag" in fields else None
    return Api("POST", run, grant, fields, inner)


def _approval(run: Callable[[Call], Mapping[str, Json]], **fields: str) -> Api:
    """Return a call of 审批, which an app may not make that 审批 does not list (301055)."""
    return Api("POST", run, "approval", fields, forbidden=301055)


APIS: Mapping[str, Api] = {
    "getcallbackip": _read(_callback_ips, ""),
    "externalcontact/get_follow_user_list": _read(customers.get_follow_user_list, CUSTOMER),
    "externalcontact/list": _read(customers.list_customers, CUSTOMER, userid="text!"),
    "externalcontact/get": _read(customers.get, CUSTOMER, external_userid="text!", cursor="text"),
    "externalcontact/batch/get_by_user": _post(
        customers.batch_get_by_user, CUSTOMER, userid_list="texts", userid="text", cursor="text", limit="integer",
    ),
    "externalcontact/remark": _post(
        marking.remark, CUSTOMER, userid="text!", external_userid="text!", remark="text", description="text",
        remark_company="text", remark_mobiles="texts", remark_pic_mediaid="text",
    ),
    "externalcontact/mark_tag": _post(
        marking.mark_tag, CUSTOMER, userid="text!", external_userid="text!", add_tag="texts", remove_tag="texts",
    ),
    "externalcontact/get_corp_tag_list": _post(
        tags.get_corp_tag_list, CUSTOMER, tag_id="texts", group_id="texts"
    ),
    "externalcontact/add_corp_tag": _post(
        tags.add_corp_tag, CUSTOMER, group_id="text", group_name="text", order="integer", tag="objects!",
        agentid="integer",
    ),
    "externalcontact/edit_corp_tag": _post(
        tags.edit_corp_tag, CUSTOMER, id="text!", name="text", order="integer", agentid="integer"
    ),
    "externalcontact/del_corp_tag": _post(
        tags.del_corp_tag, CUSTOMER, tag_id="texts", group_id="texts", agentid="integer"
    ),
    "externalcontact/transfer_customer": _post(
        transfers.transfer_customer, CUSTOMER, handover_userid="text!", takeover_userid="text!",
        external_userid="texts", transfer_success_msg="text",
    ),
    "externalcontact/transfer_result": _post(
        transfers.transfer_result, CUSTOMER, handover_userid="text!", takeover_userid="text!", cursor="text"
    ),
    "department/list": _read(contacts.department_list, CONTACTS, id="integer"),
    "department/simplelist": _read(contacts.department_simplelist, CONTACTS, id="integer"),
    "department/get": _read(contacts.department_get, CONTACTS, id="integer!"),
    "user/get": _read(contacts.user_get, CONTACTS, userid="text!"),
    "user/simplelist": _read(
        contacts.user_simplelist, CONTACTS, department_id="integer!", fetch_child="integer"
    ),
    "user/list": _read(contacts.user_list, CONTACTS, department_id="integer!", fetch_child="integer"),
    "user/list_id": _post(contacts.user_list_id, CONTACTS, cursor="text", limit="integer"),
    "oa/gettemplatedetail": _approval(approvals.gettemplatedetail, template_id="text!"),
    "oa/applyevent": _approval(
        approvals.applyevent, creator_userid="text!", template_id="text!", use_template_approver="integer",
        choose_department="integer", process="object", approver="objects", notifyer="texts", notify_type="integer",
        apply_data="object!", summary_list="objects",
    ),
    "oa/getapprovalinfo": _approval(
        approvals.getapprovalinfo, starttime="scalar!", endtime="scalar!", new_cursor="text", cursor="integer", size="integer",
        filters="objects",
    ),
    "message/send": _post(
        messages.send, "", touser="text", toparty="text", totag="text", msgtype="text!", agentid="integer!", text="object",
        markdown="object", textcard="object", safe="integer", enable_id_trans="integer", enable_duplicate_check="integer",
        duplicate_check_interval="integer",
    ),
    "oa/getapprovaldetail": _approval(approvals.getapprovaldetail, sp_no="text!"),
}  # fmt: skip
"""By the path behind ``/cgi-bin/``."""
