"""The vendor's own faults and the switches for what differs between tenants or is not confirmed."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from hub.sdk.sandbox import Dials, NextFault

__all__ = ["YonyouDials"]

CODED = re.compile(r"(apply_then_)?code_\d{1,6}$")
Chance = Field(default=0.0, ge=0.0, le=1.0)


class YonyouDials(Dials):
    """The common dials and the vendor's own; an ``op`` is the path behind ``/yonbip/``, such as ``EFI/collection/save``.

    More faults: ``code_N`` for any N (310046 with HTTP 429) · ``apply_then_code_N`` (310504: a time-out after the commit) ·
    ``expire_token`` (every token dies, 310036) · ``text_token`` (the same as plain text) · ``truncated_json`` (applied; half
    of the JSON). What the vendor's documents leave open has a dial that says UNCONFIRMED: its default is this sandbox's.
    """

    FAULTS: ClassVar[frozenset[str]] = Dials.FAULTS | {"expire_token", "text_token", "truncated_json"}
    CHANCES: ClassVar[tuple[str, ...]] = (*Dials.CHANCES, "truncated_json", "apply_then_310504")

    truncated_json: float = Chance
    apply_then_310504: float = Chance

    token_seconds: int = Field(default=7200, ge=1, description="life of an access_token")
    new_token_voids_old: bool = Field(
        default=False, description="a second token ends the first (UNCONFIRMED)"
    )
    skew_seconds: float = Field(default=600.0, gt=0, description="age of a timestamp; 0 < (UNCONFIRMED)")
    check_skew: bool = Field(default=True, description="refuse timestamps outside the skew")
    bad_signature_code: str = Field(
        default="50001", description="code beside 签名不正确 (UNCONFIRMED: a local one)"
    )
    skew_code: str = Field(
        default="50002", description="code of a stale timestamp (UNCONFIRMED: a local one)"
    )
    header_token: bool = Field(default=True, description="the token may ride in the header access_token")

    per_minute: int = Field(default=60, ge=0, description="calls per API in a minute; 0: unlimited")
    limit_code: Literal["310046", "310032", "310039", "310042"] = Field(
        default="310046", description="310046 comes with HTTP 429, the others with 200"
    )
    number_codes: bool = Field(default=False, description="success codes are JSON numbers")
    extras: bool = Field(default=False, description="answers carry displayCode and level")

    key_seconds: float = Field(default=3600.0, gt=0, description="how long a resubmitCheckKey answers alike")
    old_key_code: Literal["100004", "10004"] = "100004"
    ext_duplicate: Literal["refuse", "existing"] = Field(
        default="refuse", description="a second receipt under one external code (UNCONFIRMED)"
    )
    unaudit_to: Literal["0", "1"] = Field(
        default="1", description="verifyState after an un-audit (UNCONFIRMED)"
    )
    workflow: bool = Field(default=False, description="a workflow decides: an audit by API is one vote")
    strict_fields: bool = Field(default=True, description="unknown names in a save are refused, not ignored")
    child_status: Literal["refuse", "ignore"] = Field(
        default="refuse", description="a child row without _status or entityStatus: an error, or left out"
    )
    list_order: Literal["pubts_asc", "pubts_desc", "id"] = Field(
        default="pubts_asc", description="order of lists nobody asked an order of: the one that shifts most"
    )
    ignore_page: bool = Field(default=False, description="lists answer their first page to every pageIndex")
    foreign_row: bool = Field(default=False, description="single look-ups answer another object")
    unknown_enums: bool = Field(default=False, description="states nobody documented")

    push_auto: bool = Field(
        default=True, description="deliver at once; else only POST /control/pushes/flush delivers"
    )
    push_timeout: float = Field(default=5.0, gt=0, description="real seconds until an answer is too late")
    push_ladder: list[float] = Field(
        default=[60.0] * 5 + [300.0] * 11 + [3600.0] * 23,
        description="seconds before each repeat: minutes, five minutes, hours until a day (counts UNCONFIRMED)",
    )
    push_parallel: int = Field(default=1, ge=1, le=64)
    push_resign: bool = Field(default=True, description="a repeat is sealed and signed anew (UNCONFIRMED)")
    push_inline: bool = Field(default=False, description="content is an object, not a text (UNCONFIRMED)")
    push_lose: float = Chance
    push_duplicate: float = Chance
    push_reorder: float = Chance
    push_reorder_seconds: float = Field(default=1.0, ge=0)
    push_tamper: float = Chance
    push_wrong_app: float = Chance

    @field_validator("next")
    @classmethod
    def _known(cls, value: list[NextFault]) -> list[NextFault]:
        for item in value:
            if item.fault not in cls.FAULTS and not CODED.match(item.fault):
                known = ", ".join(sorted(cls.FAULTS))
                raise ValueError(f"unknown fault {item.fault!r}; known: code_N, apply_then_code_N, {known}")
        return value

    def draw(self, op: str, form: str) -> str:
        """Return the fault this call meets."""
        fault = super().draw(op, form)
        return "apply_then_code_310504" if fault == "apply_then_310504" else fault

    def happens(self, dial: str) -> bool:
        """Draw one of the probabilities by name."""
        return self._chance(getattr(self, dial))
