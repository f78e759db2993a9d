"""The vendor's own faults and the switches for behaviour that differs between sites."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from connectors.kingdee.sandbox.answers import MSG_TEXTS
from hub.sdk.sandbox import Dials

__all__ = ["KingdeeDials"]


class KingdeeDials(Dials):
    """The common dials and the vendor's own.

    More faults: ``response_error`` (plain text, applies nothing) · ``apply_then_response_error`` ·
    ``lock_conflict`` · ``edited_by_other`` · ``lost_session`` (drops all sessions, MsgCode 1) ·
    ``empty_view`` (View answers an empty object) · ``msgcode_N`` for every documented MsgCode.
    """

    FAULTS: ClassVar[frozenset[str]] = Dials.FAULTS | {
        "response_error", "apply_then_response_error", "lock_conflict", "edited_by_other", "lost_session",
        "empty_view", *(f"msgcode_{code}" for code in MSG_TEXTS),
    }  # fmt: skip
    CHANCES: ClassVar[tuple[str, ...]] = (*Dials.CHANCES, "response_error")

    response_error: float = Field(default=0.0, ge=0.0, le=1.0)
    response_error_text: str = "response_error:System.NullReferenceException: Object reference not set"
    lock_conflict: int = Field(
        default=0, ge=0, description="edit lock for the next n calls (only, form apply)"
    )
    call_limit: int = Field(default=0, ge=0, description="MsgCode 14 for the next n calls (only, form apply)")
    session_idle: float = Field(default=1200.0, gt=0, description="seconds until an idle session is lost")
    lock_after: int = Field(default=5, ge=1, description="wrong logins until the user is locked")
    page_cap: int = Field(default=10000, ge=1, le=10000, description="rows per query; older versions 2000")
    audit_moves_modify_date: bool = Field(
        default=False, description="UNCONFIRMED at the vendor, hence a switch"
    )
    unique_third_bill_no: bool = Field(default=False, description="unique index on FTHIRDBILLNO")
    strict_fields: bool = Field(default=False, description="unknown field keys in a Model are errors")
    strict_references: bool = Field(default=False, description="inner reference keys in template case only")
    bill_query_error_in_list: bool = Field(default=False, description="BillQuery errors arrive in a list")
    turn_open_order: bool = Field(
        default=True, description="rows change places where OrderString leaves it open"
    )

    def draw(self, op: str, form: str) -> str:
        """Return the fault this call meets: counted ones first."""
        if self.lock_conflict and self.meant(op, form):
            self.lock_conflict -= 1
            return "lock_conflict"
        if self.call_limit and self.meant(op, form):
            self.call_limit -= 1
            return "msgcode_14"
        return super().draw(op, form)
