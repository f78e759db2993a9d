"""What people do in the vendor's own app 审批: one model an act."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hub.sdk.sandbox import Json

__all__ = ["ActOnForm", "PutTemplate", "Submit"]


class _Act(BaseModel):
    model_config = ConfigDict(extra="forbid")

    silent: bool = Field(default=False, description="no event: as if it had always been so (by: seed)")


class Submit(_Act):
    """A member submits a form at his screen; ``values`` by title or id: a text, or the value as the API has it."""

    act: Literal["submit_form"] = "submit_form"
    template_id: str
    userid: str = Field(examples=["zhangsan"])
    values: dict[str, Json] = Field(default_factory=dict, examples=[{"客户名称": "示例", "合同金额": "5000"}])
    department: int | None = None


class ActOnForm(_Act):
    """Somebody does something with a form; without ``userid`` those whose turn it is, for ``agree`` all of them to the end.

    ``to``: who is handed the task, or added. A return goes back to the node before.
    """

    act: Literal[
        "agree", "reject", "transfer", "urge", "withdraw", "revoke", "comment", "return", "add_approver", "agree_and_add", "handle",
        "hand_over", "pay", "delete",
    ]  # fmt: skip
    sp_no: str
    userid: str = ""
    speech: str = ""
    to: str = ""


class PutTemplate(_Act):
    """An administrator makes a template or changes the named parts."""

    act: Literal["put_template"] = "put_template"
    template_id: str
    name: str | None = None
    controls: list[dict[str, Json]] | None = None
    nodes: list[dict[str, Json]] | None = Field(default=None, description="as process.node_list")
    notifyer: list[str] | None = None
    chosen: bool | None = Field(default=None, description="its flow has a node the applicant chooses")
    enabled: bool | None = None
