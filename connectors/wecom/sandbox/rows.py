"""What the corp holds: people, follows, members, departments, tags, transfers, approvals, messages. Times are unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from hub.sdk.sandbox import Json

__all__ = [
    "Department",
    "Follow",
    "Form",
    "Member",
    "Message",
    "Person",
    "Row",
    "Tag",
    "TagGroup",
    "Template",
    "Transfer",
    "fields_of",
]


@dataclass(slots=True)
class Person:
    """An external contact (2.2); the fields of a WeCom user are shown only with type 2."""

    external_userid: str
    name: str
    type: int = 1
    gender: int = 0
    avatar: str = ""
    unionid: str = ""
    position: str = ""
    corp_name: str = ""
    corp_full_name: str = ""
    external_profile: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class Follow:
    """One employee's relation to one person (2.3); ``serial`` gives every listing its lasting order.

    ``stage``: normal, half (the member has not accepted yet), one_way (the customer removed the employee).
    """

    serial: int
    userid: str
    external_userid: str
    createtime: int
    remark: str = ""
    description: str = ""
    remark_corp_name: str = ""
    remark_mobiles: list[str] = field(default_factory=list)
    tag_ids: list[str] = field(default_factory=list)
    personal_tags: list[dict[str, str]] = field(default_factory=list)
    state: str = ""
    oper_userid: str = ""
    add_way: int = 1
    wechat_channels: dict[str, Json] = field(default_factory=dict)
    stage: str = "normal"

    @property
    def key(self) -> tuple[str, str]:
        """Return the pair it is stored under: the userid in lower case, the external_userid."""
        return self.userid.lower(), self.external_userid


@dataclass(slots=True)
class Member:
    """An employee (section 3); ``follows``: has 客户联系; ``verified``, ``active_days``: what a transfer asks."""

    userid: str
    name: str
    department: list[int] = field(default_factory=lambda: [1])
    main_department: int = 0
    position: str = ""
    mobile: str = ""
    gender: str = "0"
    email: str = ""
    alias: str = ""
    status: int = 1
    is_leader_in_dept: list[int] = field(default_factory=list)
    direct_leader: list[str] = field(default_factory=list)
    follows: bool = True
    licensed: bool = True
    verified: bool = True
    idle_days: int = 0
    room: int = 1_000_000


@dataclass(slots=True)
class Department:
    """A department; the root is 1 and its parent 0."""

    id: int
    name: str
    parentid: int = 1
    order: int = 100000000
    name_en: str = ""
    department_leader: list[str] = field(default_factory=list)


@dataclass(slots=True)
class TagGroup:
    """A group of corp tags; ``maker`` is the agentid that made it, "" for the console."""

    group_id: str
    group_name: str
    create_time: int
    order: int = 0
    deleted: bool = False
    maker: str = ""


@dataclass(slots=True)
class Tag:
    """A corp tag."""

    id: str
    group_id: str
    name: str
    create_time: int
    order: int = 0
    deleted: bool = False
    maker: str = ""


@dataclass(slots=True)
class Transfer:
    """A customer on the way from one employee to another; ``status`` as transfer_result shows it.

    ``will`` is what the console decided for the due time: 1 done, 3 refused, 4 the taker is full.
    """

    id: int
    handover_userid: str
    takeover_userid: str
    external_userid: str
    started: int
    takeover_time: int
    status: int = 2
    will: int = 1


@dataclass(slots=True)
class Template:
    """An approval template (4.5). ``nodes``: its own flow as ``process.node_list`` has it.

    ``chosen``: the flow has a node that the applicant chooses, which no call can.
    """

    template_id: str
    names: list[dict[str, str]]
    controls: list[dict[str, Json]]
    nodes: list[dict[str, Json]] = field(default_factory=list)
    notifyer: list[str] = field(default_factory=list)
    chosen: bool = False
    enabled: bool = True
    record_type: int = 0


@dataclass(slots=True)
class Form:
    """A submitted approval (4.2). ``nodes``: node_type, apv_rel, sp_status, subs (userid, speech, sp_yj, sptime).

    ``agentid``: the app that submitted it, "" for a person at the screen.
    """

    sp_no: str
    sp_name: str
    template_id: str
    apply_time: int
    userid: str
    partyid: str
    contents: list[dict[str, Json]]
    nodes: list[dict[str, Json]]
    notifyer: list[str] = field(default_factory=list)
    comments: list[dict[str, Json]] = field(default_factory=list)
    sp_status: int = 1
    record_type: int = 0
    agentid: str = ""


@dataclass(slots=True)
class Message:
    """A message of an app (6). ``touser``: as asked; ``delivered``: who really got it, in lower case."""

    msgid: str
    agentid: str
    msgtype: str
    body: dict[str, Json]
    touser: list[str]
    sent: int
    delivered: list[str] = field(default_factory=list)


Row: TypeAlias = Department | Follow | Form | Member | Message | Person | Tag | TagGroup | Template | Transfer


def fields_of(row: Row) -> dict[str, Json]:
    """Return a row's fields by name; lists are shared, for rows are replaced and never changed in place."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
