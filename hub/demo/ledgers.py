"""How the ledger of each vendor is read: what a person calls an object, what counts as business, which ids machines make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hub.demo.vendors import DINGTALK, KINGDEE, MAILCHIMP, WECOM, YONYOU
from hub.sdk.sandbox import Effect

__all__ = ["LEDGERS", "Ledger"]

Fields = Mapping[str, Any]


def _fields(effect: Effect) -> Fields:
    """Return the fields as the sandbox tells them."""
    return effect.fields


@dataclass(frozen=True, slots=True)
class Ledger:
    """How a vendor's ledger is read.

    ``technical``: fields that are no business values; ``made``: the form of ids that ``<X>`` may stand for; ``title``: what
    a person calls an object; ``shown``: its fields as a person reads them.
    """

    technical: frozenset[str]
    made: re.Pattern[str]
    title: Callable[[Effect], str]
    shown: Callable[[Effect], Fields] = _fields


def _kingdee_title(effect: Effect) -> str:
    """Return a document's comment, a name, else the number."""
    fields: Fields = effect.fields
    lines = fields.get("FRECEIVEBILLENTRY") or [{}]
    return str(lines[0].get("FCOMMENT") or fields.get("FName") or effect.number)


def _wecom_title(effect: Effect) -> str:
    """Return a name; a relation's is employee/contact, an approval's its number in the CRM."""
    fields: Fields = effect.fields
    if effect.form == "follow":
        return f"{fields['userid']}/{fields['external_userid']}"
    if effect.form == "approval":
        return _approval_title(_wecom_shown(effect))
    return str(fields.get("name") or fields.get("group_name") or effect.number)


def _wecom_shown(effect: Effect) -> Fields:
    """Return the fields; of an approval what stands in its form, and whose turn it was, with what they said."""
    if effect.form != "approval":
        return effect.fields
    fields: Fields = effect.fields
    form = {one["title"][0]["text"]: _wecom_text(one["value"]) for one in fields["contents"]}
    people = [sub for node in fields["nodes"] for sub in node["subs"]]
    acted = [f"{sub['userid']} {sub['sp_yj']} {sub['speech']}".strip() for sub in people if sub["sptime"]]
    heads = {name: fields[name] for name in ("template_id", "userid", "sp_status")}
    return {**heads, **form, "approvers": [sub["userid"] for sub in people], "acted": acted}


def _wecom_text(value: Fields) -> str:
    """Return what a person reads in a text, an amount or a choice."""
    chosen = (value.get("selector") or {}).get("options") or ()
    texts: Iterable[Any] = [one["value"][0]["text"] for one in chosen] or [
        value.get("text") or value.get("new_money")
    ]
    return ", ".join(map(str, texts))


def _dingtalk_title(effect: Effect) -> str:
    """Return an approval's number in the CRM; a revocation says so."""
    title, action = _approval_title(effect.fields), effect.fields.get("bizAction")
    return title if action == "NONE" else f"{title} {action}"


def _dingtalk_shown(effect: Effect) -> Fields:
    """Return the fields, and whose turn it is, with what they said."""
    stored: Any = effect.after
    acted = [
        f"{one['userId']} {one['result']} {one['remark']}".strip()
        for one in stored["records"]
        if one["type"] == "EXECUTE_TASK_NORMAL"
    ]
    approvers = [userid for node in stored["nodes"] for userid in node["users"]]
    return {**effect.fields, "approvers": approvers, "acted": acted}


def _approval_title(fields: Fields) -> str:
    ours = str(fields.get("CRM单号") or "").partition(" [")[0]
    return ours or str(fields.get("合同编号") or "?")


def _yonyou_title(effect: Effect) -> str:
    """Return a customer's name; a receipt's 备注, which is the CRM's number of the payment."""
    fields: Fields = effect.fields
    return str(fields.get("remarks") or (fields.get("name") or {}).get("simplifiedName") or effect.number)


def _mailchimp_title(effect: Effect) -> str:
    """Return the address."""
    return str(effect.fields.get("email_address") or effect.number)


_LINK: Final = r".{1,40}\.pdf: http://127\.0\.0\.1:[0-9]+/files/[A-Za-z0-9_-]{60,120}"
"""A contract's file in a form."""

LEDGERS: Final[Mapping[str, Ledger]] = {
    KINGDEE: Ledger(
        frozenset((
            "FCUSTID", "FID", "FEntryID",
            "FCreateDate", "FModifyDate", "FCreatorId", "FModifierId", "FApproverId", "FApproveDate",
        )),
        re.compile(r"[0-9a-f]{32}"),
        _kingdee_title,
    ),
    WECOM: Ledger(
        frozenset((
            "serial", "createtime", "create_time", "order", "unionid",
            "asked", "changed", "agentid", "tag_names",  # how the effect came about, not what it left there
        )),
        re.compile(rf"etSbx(?:Tag|Group)[0-9]+|HT-[0-9]{{4}}-1 \[[0-9a-f]{{8}}\]|{_LINK}"),
        _wecom_title,
        _wecom_shown,
    ),
    DINGTALK: Ledger(
        frozenset(), re.compile(rf"HT-[0-9]{{4}}-1 \[[0-9a-f]{{8}}\]|{_LINK}"), _dingtalk_title, _dingtalk_shown,
    ),
    YONYOU: Ledger(
        frozenset(("id", "headerId", "createTime", "modifyTime")), re.compile(r"[0-9a-f]{32}|RECar[0-9]{12}"), _yonyou_title,
    ),
    MAILCHIMP: Ledger(
        frozenset((
            "contact_id", "id", "list_id", "unique_email_id", "web_id", "last_changed", "timestamp_opt", "timestamp_signup",
        )),
        re.compile(r"[0-9a-f]{32}"),
        _mailchimp_title,
    ),
}  # fmt: skip
"""The ledgers of the demo by connection: stamps and ids that a vendor gives to itself are technical."""
