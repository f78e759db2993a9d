"""The callback door of one app: verify, decrypt, then read (fact sheet 7.1).

A caller learns that what it sent does not even begin like an envelope, which it can see itself; everything else, a
broken envelope included, is refused alike. The causes below are for our own log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.wecom.envelope import LARGEST, MOST_INSIDE, BadXmlError, read_fields
from connectors.wecom.events import OTHER_APPS, Event, effect_of, ids_of
from hub.sdk import SECOND, Cause, InboundRefused, InboundRequest, Received, Secret, SettingsError
from hub.sdk.signing import NotOursError, OtherReceiverError, decode_key, decrypt, signed_by

__all__ = ["Door"]

LONGEST_TOKEN = 32
SERVER = "应用管理 → 自建 → 本应用 → 接收消息"
CHECK: Mapping[Cause, str] = {
    Cause.SIGNATURE: f"compare token with the Token under {SERVER}",
    Cause.CIPHER: f"compare encoding_aes_key with the EncodingAESKey under {SERVER}",
    Cause.RECEIVER: "compare corp_id with 我的企业 → 企业信息 and agent_id with the AgentId of the app",
    Cause.CLOCK: "compare this machine's clock with the real time; callback_window says how far off a callback may be",
    Cause.INVALID: "this is no callback of WeCom's: see who else calls this address",
    Cause.BAD_ANSWER: "see what a proxy in front does to the body",
}
"""What an administrator looks at when callbacks are refused for this."""


def _refusal(cause: Cause, why: str) -> InboundRefused:
    return InboundRefused(cause, f"{why}; {CHECK[cause]}")


class Door:
    """Receives the handshake and the events of one connection; pure, no I/O."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take checked settings.

        Raises:
            SettingsError: callbacks are wanted and token or key is missing, or one is not as WeCom makes them.
        """
        self._corp_id: str = settings["corp_id"]
        self._agent_id = str(settings["agent_id"] or "")
        self._window: float = settings["callback_window"]
        self._codes = ids_of(settings)
        names = ("token", "previous_token"), ("encoding_aes_key", "previous_encoding_aes_key")
        if settings["receive"] == "callback":
            for name in ("token", "encoding_aes_key"):
                if not settings[name]:
                    raise SettingsError("is missing; it is needed with receive: callback", field=name)
        self._tokens = [_token(settings[name], name) for name in names[0] if settings[name]]
        self._keys = [_key(settings[name], name) for name in names[1] if settings[name]]
        self.is_open = settings["receive"] == "callback"

    def receive(self, request: InboundRequest) -> Received:
        """Return what a request means and the exact answer.

        Raises:
            InboundRefused: anything that is not a callback of this app; INVALID for a body that is no XML.
        """
        signed, timestamp, nonce = (request.one(name) for name in ("msg_signature", "timestamp", "nonce"))
        if not self.is_open or signed is None or timestamp is None or nonce is None:
            raise _refusal(Cause.SIGNATURE, "closed, or a parameter is missing or repeated")
        self._check_time(timestamp, request.now)
        sealed, agent_id = _sealed(request)
        if (
            not sealed
            or len(sealed) > LARGEST
            or not signed_by(signed, self._tokens, timestamp, nonce, sealed)
        ):
            raise _refusal(Cause.SIGNATURE, "no token of this connection signed it")
        message = self._open(sealed)
        if request.method == "GET":
            return Received(body=message)
        try:
            fields = read_fields(message, most=MOST_INSIDE)
            event = Event.of(fields, message, request.now, codes=self._codes)
        except BadXmlError as error:  # told as any other: what is inside is nobody's to ask about
            raise _refusal(Cause.CIPHER, f"what it holds is no event: {error}") from None
        self._check_app(agent_id, event)
        return effect_of(event)

    def _check_app(self, agent_id: str, event: Event) -> None:
        """Refuse what was made for another app of the corp; approvals come under the id of WeCom's own app (7.3)."""
        if self._agent_id and agent_id not in ("", self._agent_id) and event.word not in OTHER_APPS:
            raise _refusal(Cause.RECEIVER, f"made for app {agent_id[:20]!a}, not for ours")

    def _check_time(self, timestamp: str, now: int) -> None:
        """Refuse a time outside the window on either side; it is written in ASCII digits alone."""
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise _refusal(Cause.CLOCK, "the timestamp is no number")
        if abs(now / SECOND - int(timestamp)) > self._window:
            raise _refusal(Cause.CLOCK, "the timestamp is outside the window")

    def _open(self, sealed: str) -> bytes:
        why = _refusal(Cause.CIPHER, "not encrypted with a key of this connection")
        for key in self._keys:
            try:
                return decrypt(sealed, key, self._corp_id)
            except OtherReceiverError as error:
                why = _refusal(Cause.RECEIVER, str(error))
            except NotOursError:
                continue
        raise why


def _sealed(request: InboundRequest) -> tuple[str, str]:
    """Return what is encrypted and the app's id beside it, which only events of an app carry."""
    if request.method == "GET":
        return request.one("echostr") or "", ""
    if request.method != "POST":
        raise _refusal(Cause.SIGNATURE, "another method")
    if not request.body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"<"):
        raise _refusal(Cause.INVALID, "the body is no XML")
    try:
        fields = read_fields(request.body)
    except BadXmlError as error:
        raise _refusal(Cause.BAD_ANSWER, f"the envelope is broken: {error}") from None
    return fields.get("Encrypt", ""), fields.get("AgentID", "").strip()


def _token(secret: Secret, name: str) -> str:
    token = secret.reveal()
    if not (0 < len(token) <= LONGEST_TOKEN and token.isascii() and token.isalnum()):
        raise SettingsError(f"must have 1 to {LONGEST_TOKEN} letters and digits", field=name)
    return token


def _key(secret: Secret, name: str) -> bytes:
    try:
        return decode_key(secret.reveal())
    except ValueError as error:
        raise SettingsError(f"{error}: copy the EncodingAESKey anew", field=name) from None
