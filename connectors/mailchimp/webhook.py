"""The door for an audience's webhooks: prove, then read; every event is a hint about an address (fact sheet 9).

A webhook is signed (since 2026) or carries a secret in its address (older ones); which of them counts is a setting. A body
is a form with names in brackets. ``data[id]`` is not the subscriber hash: that is made from the address.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from connectors.mailchimp.shape import hash_of
from hub.sdk import (
    SECOND,
    Cause,
    InboundEvent,
    InboundRefused,
    InboundRequest,
    Received,
    Secret,
    SettingsError,
    VendorKey,
)

__all__ = ["EVENTS", "Door", "Row", "signature"]

WINDOW = 300
"""Seconds a signature may be away from our clock, in either direction."""
WEAKEST = 22
"""Letters and digits that hold 128 random bits."""
MOST_FIELDS = 1000
_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
CHECK: Mapping[Cause, str] = {
    Cause.SIGNATURE: "compare webhook_policy, webhook_signing_secret and webhook_url_secret with the audience's webhook",
    Cause.CLOCK: "compare this machine's clock with the real time",
    Cause.RECEIVER: "compare list_id with the audience whose webhook names this address",
    Cause.INVALID: "this is no webhook of Mailchimp's: see who else calls this address",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What an event of a type does; ``address``: where in ``data`` the address stands, "" for no effect."""

    zh: str
    en: str
    address: str = ""


_READ_AGAIN = ("重新读取成员及其邮件许可", "the member and its consent are read again")
EVENTS: Mapping[str, Row] = {
    "subscribe": Row(*_READ_AGAIN, "email"),
    "unsubscribe": Row(*_READ_AGAIN, "email"),
    "profile": Row(*_READ_AGAIN, "email"),
    "cleaned": Row(*_READ_AGAIN, "email"),
    "upemail": Row(*_READ_AGAIN, "new_email"),
    "campaign": Row("营销活动结果靠轮询", "campaign results are polled"),
    "sms_subscribe": Row("不读取短信", "text messages are not read"),
    "sms_unsubscribe": Row("不读取短信", "text messages are not read"),
    "upsms": Row("不读取短信", "text messages are not read"),
    "sms_campaign": Row("不读取短信", "text messages are not read"),
}
"""Type -> its effect, or why it has none."""
STREAMS = ("member", "consent")


class Door:
    """Receives the webhooks of one audience; pure, no I/O."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take checked settings. Raises SettingsError for a secret that the policy needs and is missing or weak."""
        policy = settings["webhook_policy"]
        self._list: str = settings["list_id"]
        self.is_open = settings["receive"] == "callback"
        self._signing = self._needed(
            settings, "webhook_signing_secret", wanted=policy in ("signed_only", "both")
        )
        self._key = self._needed(settings, "webhook_url_secret", wanted=policy in ("url_secret", "both"))
        if self._key is not None and not re.fullmatch(
            rf"[0-9A-Za-z_-]{{{WEAKEST},128}}", self._key, re.ASCII
        ):
            raise SettingsError(
                f"must be {WEAKEST} to 128 letters, digits, - and _, drawn at random",
                field="webhook_url_secret",
            )

    def _needed(self, settings: Mapping[str, Any], name: str, *, wanted: bool) -> str | None:
        """Return a secret if it counts."""
        given: Secret | str = settings[name]
        if not (wanted and self.is_open):
            return None
        if not isinstance(given, Secret):
            raise SettingsError(
                f"webhook_policy {settings['webhook_policy']} needs it; else set receive: poll", field=name
            )
        return given.reveal()

    def receive(self, request: InboundRequest) -> Received:
        """Return what a request means: nothing for the GET that tests a new address (9).

        Raises:
            InboundRefused: anything that is not this audience's webhook; INVALID for a body that is no form.
        """
        if not self.is_open:
            raise _refusal(Cause.SIGNATURE, "webhooks are closed (receive: poll)")
        self._check_address(request)
        if request.method == "GET":
            return Received(ignored="validation")
        self._check_signature(request)
        return self._effect(_form(request), request.body)

    def _check_address(self, request: InboundRequest) -> None:
        """See that the address carries the secret, if one counts."""
        if self._key is not None and not _equal(request.one("key") or "", self._key):
            raise _refusal(Cause.SIGNATURE, "the secret in the address is missing, repeated or another one")

    def _check_signature(self, request: InboundRequest) -> None:
        """See that one of the header's signatures is right and its time is near."""
        if self._signing is None:
            return
        stamp, given = _header(request.headers.get("x-mailchimp-signature", ""))
        if abs(request.now // SECOND - int(stamp)) > WINDOW:
            raise _refusal(Cause.CLOCK, "the signature's time is outside the window")
        wanted = signature(self._signing, stamp, request.body)
        if not any([hmac.compare_digest(one, wanted) for one in given]):  # noqa: C419 - every one, whichever fits
            raise _refusal(Cause.SIGNATURE, "the signing secret of this connection did not sign it")

    def _effect(self, form: Mapping[str, str], body: bytes) -> Received:
        """Return the hints of an event; one that is unknown or names nobody is acknowledged and counted."""
        word = form.get("type", "")
        if not word.isprintable() or not 0 < len(word) <= 40:
            return Received(ignored="unknown")
        row = EVENTS.get(word)
        if row is None:
            return Received(ignored=f"unknown: {word}")
        if form.get("data[list_id]", self._list) != self._list:
            raise _refusal(Cause.RECEIVER, "it speaks of another audience")
        if not row.address:
            return Received(ignored=word)
        email = form.get(f"data[{row.address}]", "").strip()
        if "@" not in email or len(email) > 320:
            return Received(ignored=f"incomplete: {word}")
        key, name = VendorKey("", hash_of(email)), hashlib.sha256(body).hexdigest()
        return Received(tuple(InboundEvent(stream, key, f"{name}.{stream}", word) for stream in STREAMS))


def signature(secret: str, stamp: str, body: bytes) -> str:
    """Return the hex HMAC-SHA256 over the time, a dot and the raw body."""
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _header(text: str) -> tuple[str, list[str]]:
    """Return time and signatures of ``t=…,v1=…``; several v1 may stand there during a rotation (UNCONFIRMED)."""
    parts = [part.strip().partition("=") for part in text.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not 0 < len(given) <= 5:
        raise _refusal(Cause.SIGNATURE, "no signature, or one of another form")
    if not all(_DIGEST.fullmatch(one) for one in given):
        raise _refusal(Cause.SIGNATURE, "a signature that is no SHA-256 in lower-case hex")
    return times[0], given


def _form(request: InboundRequest) -> dict[str, str]:
    """Return the fields of a form; a name that stands twice is refused."""
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        raise _refusal(Cause.INVALID, "the body is no form")
    try:
        pairs = parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict",
            max_num_fields=MOST_FIELDS,
        )  # fmt: skip
    except (ValueError, UnicodeError):
        raise _refusal(Cause.INVALID, "the body is no form") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _refusal(Cause.INVALID, "a field stands twice")
    if "type" not in form:
        raise _refusal(Cause.INVALID, "the form names no type")
    return form


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _refusal(cause: Cause, why: str) -> InboundRefused:
    return InboundRefused(cause, f"{why}; {CHECK[cause]}")
