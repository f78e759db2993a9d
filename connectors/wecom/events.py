"""Every event WeCom sends to an app and its effect here: one table (fact sheet 7.3).

An event is a hint to look again. What no read shows again, that a customer removed an employee, is a record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.wecom.relations import follow_key, is_external, is_userid
from hub.sdk import SECOND, Health, InboundEvent, Json, Received, SourceRecord, VendorKey

__all__ = ["EVENTS", "OTHER_APPS", "Event", "Row", "effect_of", "ids_of"]

FIRST_DAY = 1_451_606_400  # 2016-01-01: there was no WeCom before
DAY = 86_400
OTHER_APPS = frozenset(["sys_approval_change", "open_approval_change"])
"""Events that name WeCom's own app as theirs (AgentID 3010040 in the samples, 7.3), though ours receives them."""


@dataclass(frozen=True, slots=True)
class Event:
    """A decrypted event: the texts of its elements, when it came in (µs), the digest of its plaintext.

    ``codes``: the templates that are taken in.
    """

    fields: Mapping[str, str]
    now: int
    digest: str
    codes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, fields: Mapping[str, str], plaintext: bytes, now: int, *, codes: tuple[str, ...] = ()
    ) -> Event:
        """Return the event of a plaintext; line ends around it do not count (7.2)."""
        return cls(fields, now, hashlib.sha256(plaintext.strip(b"\r\n")).hexdigest(), codes)

    @property
    def word(self) -> str:
        """Return the vendor's own word for it: ``Event/ChangeType``, or the type of a message."""
        kind, change = self.fields.get("Event", ""), self.fields.get("ChangeType", "")
        if self.fields.get("MsgType", "event") != "event":
            return f"message/{self.fields['MsgType']}"[:100]
        return (f"{kind}/{change}" if change else kind)[:100]


@dataclass(frozen=True, slots=True)
class Row:
    """What one event does: ``make`` gives what it says of which objects, ``health`` what it says of the connection.

    ``make`` gives None for what is not taken in. Without either ``zh`` and ``en`` say why it has no effect.
    """

    zh: str
    en: str
    make: Callable[[Event], list[InboundEvent] | None] | None = None
    health: Health | None = None


def _hint(event: Event, stream: str, key: VendorKey, record: SourceRecord | None = None) -> InboundEvent:
    return InboundEvent(stream, key, f"{event.digest}.{stream}", event.word, record)


def _pair(event: Event) -> tuple[str, str] | None:
    userid, external = event.fields.get("UserID"), event.fields.get("ExternalUserID")
    return (str(userid), str(external)) if is_userid(userid) and is_external(external) else None


def _added(event: Event) -> list[InboundEvent]:
    pair = _pair(event)
    contact = [_hint(event, "contact", VendorKey("", pair[1]))] if pair else []
    return contact + _relation(event)


def _relation(event: Event) -> list[InboundEvent]:
    pair = _pair(event)
    return [_hint(event, "follow", follow_key(*pair))] if pair else []


def _left_by_contact(event: Event) -> list[InboundEvent]:
    """Return the fact as a partial record; a time that cannot be is passed on as text, for a person to see."""
    pair = _pair(event)
    if pair is None:
        return []
    said = event.fields.get("CreateTime", "")
    seconds = int(said) if said.isascii() and said.isdigit() and len(said) <= 12 else 0
    sure = FIRST_DAY <= seconds <= event.now // SECOND + DAY
    at: Json = seconds if sure else said[:40]
    body: dict[str, Json] = {"userid": pair[0], "external_userid": pair[1], "deleted_by_contact_at": at}
    observed_at = seconds * SECOND if sure else event.now
    record = SourceRecord(follow_key(*pair), body, observed_at, partial=True)
    return [_hint(event, "follow", record.key, record)]


def _user(event: Event) -> list[InboundEvent]:
    found = [event.fields.get("UserID"), event.fields.get("NewUserID")]
    ids = dict.fromkeys(str(one).lower() for one in found if is_userid(one))
    return [
        InboundEvent("user", VendorKey("", one), f"{event.digest}.user.{place}", event.word)
        for place, one in enumerate(ids)
    ]


def ids_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the templates that are taken in."""
    found = (one.strip() for one in re.split(r"[,，、\s]+", str(settings["template_ids"])))
    return tuple(dict.fromkeys(one for one in found if one))


def _approval(event: Event) -> list[InboundEvent] | None:
    """Return a hint on the approval; None for a template that is not taken in, and for an urge, which changes nothing.

    ``SpNoStr`` counts where it is there; older forms have ``SpNo`` alone, and its digits may be cut (7.3).
    """
    said = {name: event.fields.get(f"ApprovalInfo/{name}", "").strip() for name in _APPROVAL_PARTS}
    number = said["SpNoStr"] or said["SpNo"]
    if not 0 < len(number) <= LONGEST_NUMBER or not number.isascii() or not number.isalnum():
        return []
    if not said["TemplateId"]:
        return []
    if said["TemplateId"] not in event.codes or said["StatuChangeEvent"] == URGED:
        return None
    return [_hint(event, "approval", VendorKey("", number))]


_APPROVAL_PARTS = ("SpNoStr", "SpNo", "TemplateId", "StatuChangeEvent")
LONGEST_NUMBER = 64
URGED = "5"
_GROUPS = Row("不读取客户群", "group chats are not read")
_TAGS = Row(
    "下次读取前重新加载标签库；对关系的影响由每日全量读取发现",
    "the tag library is loaded anew before it is used again; what it means for relations shows in the daily sweep",
)
_PARTY = Row("下次读取员工时重新读取部门树", "the department tree is read anew with the employees")


def _health(about: str, zh: str = "", en: str = "") -> Row:
    """Return the row of an event about the app itself (fact sheet 1); calls that fail then pause the connection."""
    why = (
        "写入日志并在 hub status 中显示；应用停用后的调用以 50003、48006、48011 暂停连接",
        "logged and shown by hub status; calls of an app that is shut pause the connection by 50003, 48006 or 48011",
    )
    return Row(*why, health=Health(about, zh, en))


_ENGINE = Row(
    "不使用审批流程引擎（与“审批”应用是两个产品）",
    "the approval engine is not used: another product than the app 审批",
)

EVENTS: Mapping[str, Row] = {
    "change_external_contact/add_external_contact": Row(
        "重新读取客户和跟进关系", "contact and relation are read again", _added
    ),
    "change_external_contact/edit_external_contact": Row(
        "重新读取跟进关系", "the relation is read again", _relation
    ),
    "change_external_contact/add_half_external_contact": Row(
        "对方尚未接受，还不是客户（84061）；接受后另有 add 事件", "not yet a customer (84061); an add event follows"
    ),
    "change_external_contact/del_external_contact": Row(
        "重新读取跟进关系，读取结果为不存在，关系关闭", "the relation is read again, found gone and closed", _relation
    ),
    "change_external_contact/del_follow_user": Row(
        "跟进关系记录 deleted_by_contact_at，然后重新读取；关系不删除",
        "the relation gets deleted_by_contact_at and is read again; it is not deleted", _left_by_contact,
    ),
    "change_external_contact/transfer_fail": Row(
        "接替失败，关系没有变化", "a take-over failed: no relation changed"
    ),
    "change_external_chat/create": _GROUPS,
    "change_external_chat/update": _GROUPS,
    "change_external_chat/dismiss": _GROUPS,
    "change_external_tag/create": _TAGS,
    "change_external_tag/update": _TAGS,
    "change_external_tag/delete": _TAGS,
    "change_external_tag/shuffle": Row("不使用标签顺序", "the order of tags is not used"),
    "change_contact/create_user": Row("重新读取员工", "the employee is read again", _user),
    "change_contact/update_user": Row(
        "重新读取员工；改了账号的，新旧两个都读", "the employee is read again, under both ids if the id changed", _user
    ),
    "change_contact/delete_user": Row(
        "重新读取员工，读取结果为不存在", "the employee is read again and found gone", _user
    ),
    "change_contact/create_party": _PARTY,
    "change_contact/update_party": _PARTY,
    "change_contact/delete_party": _PARTY,
    "change_contact/update_tag": Row("不读取通讯录标签", "tags of employees are not read"),
    "sys_approval_change": Row(
        "重新读取审批单（限设置 template_ids 中的模板；催办除外）",
        "the approval is read again (of the templates in template_ids; an urge changes nothing)", _approval,
    ),
    "open_approval_change": _ENGINE,
    "inactive_alert": _health(
        "app", "企业微信将停用长期未使用的应用：请登录管理后台使用它", "WeCom is about to close the app for disuse: use it"
    ),
    "close_inactive_agent": _health(
        "app", "企业微信已停用应用：在管理后台“应用管理 → 自建 → 本应用”重新启用",
        "WeCom closed the app: reopen it under 应用管理 → 自建",
    ),
    "reopen_inactive_agent": _health("app"),
    "low_active_alert": _health(
        "activity", "成员活跃度过低，企业微信将停止提供客户数据", "too few members are active: WeCom is about to withhold customer data",
    ),
    "low_active": _health(
        "activity", "成员活跃度过低，企业微信已停止提供客户数据（48011）：让更多成员使用企业微信",
        "too few members are active: WeCom withholds customer data (48011) until more use it",
    ),
    "active_restored": _health("activity"),
    "template_card_event": Row("不处理卡片消息", "cards are not used"),
    "template_card_menu_event": Row("不处理卡片消息", "cards are not used"),
}  # fmt: skip
"""Event, or Event/ChangeType -> its effect, or the reason why it has none."""


def effect_of(event: Event) -> Received:
    """Return what an event means; one that is unknown or incomplete is acknowledged and counted."""
    word = event.word
    row = EVENTS.get(word)
    if word.startswith("message/") and word.isprintable():
        return Received(ignored=word)  # somebody writes to the app: not read
    if row is None:
        return Received(ignored=f"unknown: {word}" if word.isprintable() else "unknown")
    events = row.make(event) if row.make else []
    if events is None:
        return Received(ignored=f"not taken in: {word}")
    if events:
        return Received(tuple(events))
    return Received(ignored=f"incomplete: {word}" if row.make else word, health=row.health)
