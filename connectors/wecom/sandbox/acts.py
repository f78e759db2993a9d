"""What the control door takes: one model for each thing a person does in the vendor's own screens."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from connectors.wecom.sandbox.approval_acts import ActOnForm, PutTemplate, Submit
from hub.sdk.sandbox import Json

__all__ = [
    "Accept",
    "Act",
    "ActOnForm",
    "AddContact",
    "DeleteByCustomer",
    "DeleteByEmployee",
    "DeleteDepartment",
    "DeleteMember",
    "DeleteTags",
    "EditFollow",
    "EditPerson",
    "EditTag",
    "MakeTags",
    "PutDepartment",
    "PutMember",
    "PutTemplate",
    "RawEvent",
    "ShuffleTags",
    "Submit",
    "TransferOutcome",
]


class _Act(BaseModel):
    model_config = ConfigDict(extra="forbid")

    silent: bool = Field(default=False, description="no event: as if it had always been so (by: seed)")


class _Pair(_Act):
    userid: str = Field(examples=["zhangsan"])
    external_userid: str = Field(examples=["wmSbx0000000000000001"])


class _Noted(_Act):
    remark: str | None = None
    description: str | None = None
    remark_corp_name: str | None = None
    remark_mobiles: list[str] | None = None
    tag_ids: list[str] | None = Field(default=None, description="all corp tags the relation has from now on")
    tags: list[str] | None = Field(default=None, description="the same by name, where names are unique")
    personal_tags: list[dict[str, str]] | None = Field(
        default=None, examples=[[{"group_name": "我的", "tag_name": "球友"}]]
    )


class AddContact(_Noted):
    """A customer is added, by a new person or one who is known; ``half``: the member has not accepted yet."""

    act: Literal["add_contact"] = "add_contact"
    userid: str = Field(examples=["zhangsan"])
    external_userid: str = Field(default="", description="empty: a new person")
    name: str = "微信用户"
    type: int = 1
    gender: int = 0
    unionid: str = ""
    position: str = ""
    corp_name: str = ""
    corp_full_name: str = ""
    external_profile: dict[str, Json] = {}
    state: str = ""
    add_way: int = 1
    wechat_channels: dict[str, Json] = {}
    oper_userid: str = Field(default="", description="empty: the member")
    createtime: int = Field(default=0, description="unix seconds; 0: now")
    half: bool = False


class Accept(_Pair):
    """The member accepts a half added customer."""

    act: Literal["accept"] = "accept"


class EditFollow(_Noted):
    """The employee edits remark, mobiles, tags… on his screen."""

    act: Literal["edit_follow"] = "edit_follow"
    userid: str
    external_userid: str


class EditPerson(_Act):
    """The person changes his own profile; the vendor tells nobody."""

    act: Literal["edit_person"] = "edit_person"
    external_userid: str
    name: str | None = None
    gender: int | None = None
    avatar: str | None = None
    unionid: str | None = None
    position: str | None = None
    corp_name: str | None = None
    corp_full_name: str | None = None


class DeleteByEmployee(_Pair):
    """The employee removes the customer: the relation is gone."""

    act: Literal["delete_by_employee"] = "delete_by_employee"


class DeleteByCustomer(_Pair):
    """The customer removes the employee: the relation stays readable, one way."""

    act: Literal["delete_by_customer"] = "delete_by_customer"


class TransferOutcome(_Act):
    """What will become of a waiting transfer when its 24 hours are over; ``now`` does not wait for that."""

    act: Literal["transfer_outcome"] = "transfer_outcome"
    external_userid: str
    outcome: Literal["done", "refused", "full"] = "done"
    now: bool = False


class MakeTags(_Act):
    """An administrator makes corp tags."""

    act: Literal["make_tags"] = "make_tags"
    group_name: str
    names: list[str] = Field(min_length=1)
    order: int = 0


class EditTag(_Act):
    """An administrator renames or reorders a tag or a group."""

    act: Literal["edit_tag"] = "edit_tag"
    id: str
    name: str = ""
    order: int | None = None


class DeleteTags(_Act):
    """An administrator deletes tags or groups; a group goes with its last tag."""

    act: Literal["delete_tags"] = "delete_tags"
    tag_ids: list[str] = []
    group_ids: list[str] = []


class ShuffleTags(_Act):
    """An administrator drags tags around; ``group_id`` empty: the groups themselves."""

    act: Literal["shuffle_tags"] = "shuffle_tags"
    group_id: str = ""


class PutMember(_Act):
    """An administrator makes a member or changes the named fields; ``follows``: has 客户联系."""

    act: Literal["put_member"] = "put_member"
    userid: str
    name: str | None = None
    department: list[int] | None = None
    main_department: int | None = None
    position: str | None = None
    mobile: str | None = None
    status: int | None = None
    follows: bool | None = None
    licensed: bool | None = None
    verified: bool | None = None
    idle_days: int | None = None
    room: int | None = None


class DeleteMember(_Act):
    """A member leaves."""

    act: Literal["delete_member"] = "delete_member"
    userid: str


class PutDepartment(_Act):
    """An administrator makes a department or changes the named fields."""

    act: Literal["put_department"] = "put_department"
    id: int
    name: str | None = None
    parentid: int | None = None
    order: int | None = None
    department_leader: list[str] | None = None


class DeleteDepartment(_Act):
    """An administrator deletes an empty department."""

    act: Literal["delete_department"] = "delete_department"
    id: int


class RawEvent(_Act):
    """An event with any content: unknown types, old forms."""

    act: Literal["raw_event"] = "raw_event"
    event: str
    change_type: str = ""
    fields: dict[str, str] = {}
    created: int = Field(default=0, description="CreateTime in unix seconds; 0: now")
    grant: Literal["externalcontact", "contacts", "approval", ""] = ""


Act: TypeAlias = Annotated[
    AddContact
    | Accept
    | EditFollow
    | EditPerson
    | DeleteByEmployee
    | DeleteByCustomer
    | TransferOutcome
    | MakeTags
    | EditTag
    | DeleteTags
    | ShuffleTags
    | PutMember
    | DeleteMember
    | PutDepartment
    | DeleteDepartment
    | RawEvent
    | Submit
    | ActOnForm
    | PutTemplate,
    Field(discriminator="act"),
]
