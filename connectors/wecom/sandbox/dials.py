"""The vendor's own faults and the switches for what differs between tenants or is not confirmed."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hub.sdk.sandbox import Dials, NextFault

__all__ = ["CodeChance", "WeComDials"]

CODED = re.compile(r"(apply_then_)?errcode_-?\d+$")
Chance = Field(default=0.0, ge=0.0, le=1.0)


class CodeChance(BaseModel):
    """An error code that calls of ``api`` (empty: all) meet with a probability; nothing is applied."""

    model_config = ConfigDict(extra="forbid")

    errcode: int
    api: str = ""
    probability: float = Field(ge=0.0, le=1.0)


class WeComDials(Dials):
    """The common dials and the vendor's own; an ``op`` is the API's path after ``/cgi-bin/``.

    More faults: ``errcode_N`` for any N (45009 also blocks the API for ``block_seconds``) ·
    ``apply_then_errcode_N`` · ``revoke_token`` (every token dies, 40014) · ``expire_token`` (42001) ·
    ``truncated_json`` (applied; HTTP 200 with half of the JSON).
    """

    FAULTS: ClassVar[frozenset[str]] = Dials.FAULTS | {"revoke_token", "expire_token", "truncated_json"}
    CHANCES: ClassVar[tuple[str, ...]] = (*Dials.CHANCES, "truncated_json")

    truncated_json: float = Chance
    chances: list[CodeChance] = Field(default=[], description="error codes by API and probability")
    strict: bool = Field(
        default=False, description="unknown fields and \\uXXXX escapes are refused, not only noted"
    )
    bad_json_errcode: int = Field(default=40058, description="the code beside the wrong-JSON warning")

    token_seconds: int = Field(default=7200, ge=1, description="life of an access_token")
    token_rotation: Literal["same", "new", "revoke"] = Field(
        default="same",
        description="a repeated gettoken: same token, a new one, or a new one that ends the old",
    )
    expiry_errcode: Literal[42001, 40014] = Field(default=42001, description="how an expired token is named")
    gettoken_per_minute: int = Field(default=60, ge=0, description="per app; 0: unlimited")
    bad_secrets_until_ban: int = Field(
        default=10, ge=1, description="wrong secrets until the IP is banned for 1 h"
    )

    per_minute: int = Field(default=10_000, ge=0, description="calls per corp and API; 0: unlimited")
    per_hour: int = Field(default=150_000, ge=0)
    per_ip_minute: int = Field(default=20_000, ge=0, description="calls per IP and API")
    per_ip_hour: int = Field(default=600_000, ge=0)
    block_seconds: float = Field(default=60.0, gt=0, description="how long an injected 45009 blocks the API")
    in_flight: int = Field(
        default=10, ge=0, description="parallel calls per API until 45033 (UNCONFIRMED); 0: no limit"
    )

    cursor_seconds: float = Field(default=0.0, ge=0, description="life of a cursor; 0: for ever")
    short_pages: float = Chance
    empty_pages: float = Chance
    followers_page: int = Field(default=500, ge=1, description="followers per page of externalcontact/get")
    old_userid_field: bool = Field(
        default=True,
        description="batch/get_by_user takes the old `userid`, as clients still send it (UNCONFIRMED)",
    )
    unknown_member: Literal["refuse", "skip"] = Field(
        default="refuse", description="batch/get_by_user with a member that is not visible: 60111, or no rows"
    )
    empty_list_errcode: int = Field(
        default=0, description="externalcontact/list of a member without customers: [] or 84061 (UNCONFIRMED)"
    )
    empty_array_clears_mobiles: bool = Field(
        default=False, description="remark_mobiles [] clears too (UNCONFIRMED)"
    )
    duplicate_tag_errcode: int = Field(
        default=40071, description="a tag name the group already has (UNCONFIRMED)"
    )
    foreign_tag_errcode: int = Field(
        default=40068, description="editing a tag another app made (UNCONFIRMED)"
    )
    list_id_errcode: int = Field(default=48002, description="user/list_id with an app's secret (UNCONFIRMED)")
    max_tags: int = Field(default=10_000, ge=0, description="corp tags until 40126")
    bound_to_developer: bool = Field(
        default=True, description="bound to a WeChat developer id: unionid is shown"
    )
    unknown_fields: bool = Field(
        default=False, description="answers and events carry fields nobody documented"
    )
    unknown_enums: bool = Field(
        default=False, description="every third person has an add_way, type and gender nobody documented"
    )

    approval_per_minute: int = Field(default=600, ge=0, description="calls of each 审批 API; 0: unlimited")
    approval_window_errcode: int = Field(
        default=301025, description="getapprovalinfo over more than 31 days (UNCONFIRMED)"
    )
    approval_window_rows: int = Field(
        default=0, ge=0, description="forms in one window until 301112 asks for a narrower one; 0: never"
    )
    disabled_template: Literal["hidden", "shown"] = Field(
        default="hidden",
        description="gettemplatedetail of one that is not in use: 301025, or its form (UNCONFIRMED)",
    )
    date_shape: Literal["nested", "flat"] = Field(
        default="nested", description="a Date is read under `date`, or without it (UNCONFIRMED)"
    )
    process_list: bool = Field(
        default=True, description="details and events carry the newer process_list too"
    )
    sp_no: Literal["both", "text", "number"] = Field(
        default="both", description="approval events carry SpNoStr and SpNo, or one of them"
    )
    foreign_sp_no: str = Field(
        default="", description="applyevent answers this number instead of the new one"
    )
    foreign_detail: str = Field(
        default="", description="getapprovaldetail shows this form whatever was asked"
    )

    callback_auto: bool = Field(
        default=True, description="deliver at once; else only POST /control/callbacks/flush delivers"
    )
    callback_parallel: int = Field(default=1, ge=1, le=256, description="deliveries at the same time")
    callback_timeout: float = Field(default=5.0, gt=0, description="real seconds until an answer is too late")
    handshake_timeout: float = Field(default=1.0, gt=0, description="real seconds for the echostr")
    callback_retries: int = Field(default=3, ge=0)
    callback_retry_seconds: float = Field(default=5.0, ge=0, description="pause before a retry (UNCONFIRMED)")
    callback_retry_on_status: bool = Field(
        default=True,
        description="a status other than 200 is retried (path/90238), or only silence is (path/90930)",
    )
    callback_reencrypt: bool = Field(default=True, description="a retry has a new nonce (UNCONFIRMED)")
    callback_lose: float = Chance
    callback_duplicate: float = Chance
    callback_reorder: float = Chance
    callback_reorder_seconds: float = Field(
        default=1.0, ge=0, description="how late a reordered one is when delivering at once"
    )

    @field_validator("next")
    @classmethod
    def _known(cls, value: list[NextFault]) -> list[NextFault]:
        for item in value:
            if item.fault not in cls.FAULTS and not CODED.match(item.fault):
                known = ", ".join(sorted(cls.FAULTS))
                raise ValueError(
                    f"unknown fault {item.fault!r}; known: errcode_N, apply_then_errcode_N, {known}"
                )
        return value

    def draw(self, op: str, form: str) -> str:
        """Return the fault this call meets: the common ones first, then the codes by chance."""
        fault = super().draw(op, form)
        if fault:
            return fault
        for chance in self.chances:
            if chance.api.lower() in ("", op.lower()) and self._chance(chance.probability):
                return f"errcode_{chance.errcode}"
        return ""

    def happens(self, dial: str) -> bool:
        """Draw one of the probabilities by name."""
        return self._chance(getattr(self, dial))
