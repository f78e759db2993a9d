"""The vendor's own faults and the switches for what differs between tenants or is not confirmed."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from hub.sdk.sandbox import Dials, NextFault

__all__ = ["DingTalkDials"]

CODED = re.compile(r"(apply_then_)?(errcode_-?\d+|code_[\w.]+)$")
Chance = Field(default=0.0, ge=0.0, le=1.0)


class DingTalkDials(Dials):
    """The common dials and the vendor's own; an ``op`` is the API's path without ``/v1.0/`` or the leading slash.

    More faults: ``code_NAME`` (new API) · ``errcode_N`` (old API) · both behind ``apply_then_`` · ``revoke_token`` (every
    token dies) · ``blocked_ip`` (the HTML page of status 1111) · ``text_numbers`` (applied; numbers come as text).
    """

    FAULTS: ClassVar[frozenset[str]] = Dials.FAULTS | {
        "revoke_token", "blocked_ip", "blocked_ip_json", "forbidden_html", "text_numbers",
    }  # fmt: skip

    token_seconds: int = Field(default=7200, ge=1)
    trusted_ips: list[str] = Field(default=[], description="empty: no rule; else others are refused")
    qps: int = Field(default=20, ge=0, description="calls a second per app and API; 0: unlimited")
    monthly_calls: int = Field(default=5000, ge=0, description="billable calls a month; 0: unlimited")
    monthly_pushes: int = Field(default=3000, ge=0, description="bpms events a month; 0: unlimited")
    strict: bool = Field(default=True, description="the announced stricter checks of create are in force")
    corp_id_in_token: bool = Field(
        default=False, description="accessToken wants corpId in its body (UNCONFIRMED)"
    )
    user_page: int = Field(default=100, ge=1, description="most users a page of user/list (UNCONFIRMED)")
    z_is_local: bool = Field(default=True, description="`...Z` times are wall time +08:00 (UNCONFIRMED)")
    missing_instance: Literal[
        "processInstanceNotExist", "processInstanceIdError", "processFormDataIsNull"
    ] = Field(default="processInstanceNotExist", description="an id that never was (UNCONFIRMED)")
    same_page: bool = Field(default=False, description="a listing answers its first page for every token")
    foreign_instance: str = Field(default="", description="get answers this instance whatever was asked")
    same_instance_id: str = Field(default="", description="create answers this id instead of its own")
    unknown_status: str = Field(default="", description="get says this status")

    push_lose: float = Chance
    push_duplicate: float = Chance
    push_reorder: float = Chance
    push_reorder_seconds: float = Field(default=1.0, ge=0)
    push_auto: bool = Field(default=True, description="deliver at once; else only a flush delivers")
    push_timeout: float = Field(default=2.5, gt=0, description="real seconds until a reply is too late")
    push_retries: list[float] = Field(default=[10.0, 30.0], description="seconds before each retry")
    push_signature: Literal["both", "msg_signature", "signature"] = Field(
        default="both", description="names of the signature in the query (UNCONFIRMED)"
    )
    failed_after: float = Field(
        default=180.0, ge=0, description="seconds until the failed list shows an event"
    )

    stream_ack_seconds: float = Field(
        default=3.0, gt=0, description="until an event counts as not acknowledged"
    )
    stream_redeliver_seconds: float = Field(
        default=60.0, ge=0, description="until it is pushed again (UNCONFIRMED)"
    )
    stream_ping_seconds: float = Field(default=30.0, gt=0, description="real seconds between two pings")
    stream_drain_seconds: float = Field(default=10.0, ge=0, description="from disconnect to the end of TCP")
    stream_frozen: bool = Field(default=False, description="no frame leaves any more; the socket stays open")
    stream_malformed: bool = Field(default=False, description="a broken frame goes out before each event")
    ticket_seconds: float = Field(default=90.0, ge=0)

    @field_validator("next")
    @classmethod
    def _known(cls, value: list[NextFault]) -> list[NextFault]:
        for item in value:
            if item.fault not in cls.FAULTS and not CODED.match(item.fault):
                raise ValueError(
                    f"unknown fault {item.fault!r}; known: code_NAME, errcode_N, {sorted(cls.FAULTS)}"
                )
        return value

    def happens(self, dial: str) -> bool:
        """Draw one of the probabilities by name."""
        return self._chance(getattr(self, dial))
