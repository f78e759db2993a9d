"""The HTTP door of one app: verify, decrypt, read, and answer with an encrypted ``success`` (fact sheet 6.1).

A caller learns that what it sent is no JSON, which it can see itself; everything else is refused alike. The causes
below are for our own log.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from connectors.dingtalk.events import CHECKS, Event, effect_of
from hub.sdk import SECOND, Cause, InboundRefused, InboundRequest, Received, Secret, SettingsError
from hub.sdk.signing import (
    NotOursError,
    OtherReceiverError,
    decode_key,
    decrypt,
    encrypt,
    signature,
    signed_by,
)

__all__ = ["Door", "codes_of"]

LARGEST = 1 << 20
CONSOLE = "开发者后台 → 应用 → 事件订阅"
CHECK: Mapping[Cause, str] = {
    Cause.SIGNATURE: f"compare token with 签名 token under {CONSOLE}",
    Cause.CIPHER: f"compare aes_key with 加密 aes_key under {CONSOLE}",
    Cause.RECEIVER: "compare owner_key: the AppKey for an address saved in the console, the corp id for register_call_back",
    Cause.CLOCK: "compare this machine's clock with the real time; callback_window says how far off a push may be",
    Cause.INVALID: "this is no push of DingTalk's: see who else calls this address",
    Cause.BAD_ANSWER: "see what a proxy in front does to the body",
}
"""What an administrator looks at when pushes are refused for this."""


def _refusal(cause: Cause, why: str) -> InboundRefused:
    return InboundRefused(cause, f"{why}; {CHECK[cause]}")


def codes_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the templates a connection takes in, as its settings list them. Raises SettingsError."""
    found = tuple(
        dict.fromkeys(part for one in settings["process_codes"].split(",") if (part := one.strip()))
    )
    if any("/" in one or not one.isprintable() or len(one) > 64 for one in found):
        raise SettingsError(
            "are process codes such as PROC-…, with commas between them", field="process_codes"
        )
    return found


class Door:
    """Receives the check and the events of one connection; pure, no I/O."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take checked settings.

        Raises:
            SettingsError: callbacks are wanted and token or key is missing, or one is not as DingTalk makes them.
        """
        self.is_open = settings["receive"] == "callback"
        self._corp_id: str = settings["corp_id"]
        self._owner: str = settings["owner_key"] or settings["app_key"]
        self._window: float = settings["callback_window"]
        self._codes = codes_of(settings)
        if self.is_open:
            for name in ("token", "aes_key"):
                if not settings[name]:
                    raise SettingsError("is missing; it is needed with receive: callback", field=name)
        self._tokens = [
            _token(settings[name], name) for name in ("token", "previous_token") if settings[name]
        ]
        self._keys = [
            _key(settings[name], name) for name in ("aes_key", "previous_aes_key") if settings[name]
        ]

    def receive(self, request: InboundRequest) -> Received:
        """Return what a request means and the exact answer.

        Raises:
            InboundRefused: anything that is not a push for this app; INVALID for a body that is no JSON.
        """
        # The documents differ on the name; both carry the same value (6.1).
        signed = request.one("msg_signature") or request.one("signature")
        timestamp, nonce = request.one("timestamp") or request.one("timeStamp"), request.one("nonce")
        if (
            not self.is_open
            or request.method != "POST"
            or signed is None
            or timestamp is None
            or nonce is None
        ):
            raise _refusal(Cause.SIGNATURE, "closed, or a parameter is missing or repeated")
        self._check_time(timestamp, request.now)
        sealed = _sealed(request.body)
        token = signed_by(signed, self._tokens, timestamp, nonce, sealed)
        if token is None:
            raise _refusal(Cause.SIGNATURE, "no token of this connection signed it")
        message, key = self._open(sealed)
        answer = self._success(request, signed, token, key)
        return replace(self._read(message), body=answer, media_type="application/json", status=200)

    def _check_time(self, timestamp: str, now: int) -> None:
        """Refuse a time outside the window on either side; it is written in ASCII digits alone, in ms or seconds."""
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) in (10, 13)):
            raise _refusal(Cause.CLOCK, "the timestamp is no number of seconds or milliseconds")
        seconds = int(timestamp) / (1000 if len(timestamp) == 13 else 1)
        if abs(now / SECOND - seconds) > self._window:
            raise _refusal(Cause.CLOCK, "the timestamp is outside the window")

    def _open(self, sealed: str) -> tuple[bytes, bytes]:
        why = _refusal(Cause.CIPHER, "not encrypted with a key of this connection")
        for key in self._keys:
            try:
                return decrypt(sealed, key, self._owner), key
            except OtherReceiverError as error:
                why = _refusal(Cause.RECEIVER, str(error))
            except NotOursError:
                continue
        raise why

    def _read(self, message: bytes) -> Received:
        try:
            said = orjson.loads(message)
        except orjson.JSONDecodeError:
            raise _refusal(Cause.CIPHER, "what it holds is no JSON") from None
        if not isinstance(said, dict) or not isinstance(said.get("EventType"), str):
            raise _refusal(Cause.CIPHER, "what it holds is no event")
        word = said["EventType"]
        if word in CHECKS:
            return Received(ignored=word)
        corp = said.get("CorpId") or said.get("corpId")
        if corp is not None and corp != self._corp_id:
            raise _refusal(Cause.RECEIVER, f"an event of corp {str(corp)[:64]!a}, not of ours")
        event_id = said.get("eventId")
        fallback = (
            ""
            if not said.get("BizId")
            else f"{word}/{said['BizId']}/{said.get('EventTime')}/{said.get('type')}"
        )
        return effect_of(
            Event.of(word, event_id if isinstance(event_id, str) else fallback, said, self._codes)
        )

    def _success(self, request: InboundRequest, signed: str, token: str, key: bytes) -> bytes:
        """Return the four keys around ``success``; note the capital S of timeStamp (pitfall 2).

        The 16 random bytes are drawn from the key and this very request: receiving is pure.
        """
        prefix = hmac.new(key, f"{signed}/{request.now}".encode(), hashlib.sha256).digest()
        sealed = encrypt(b"success", key, self._owner, prefix)
        timestamp, nonce = str(request.now // 1000), prefix[16:20].hex()
        return orjson.dumps(
            {
                "msg_signature": signature(token, timestamp, nonce, sealed),
                "timeStamp": timestamp,
                "nonce": nonce,
                "encrypt": sealed,
            }
        )


def _sealed(body: bytes) -> str:
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        cause = Cause.BAD_ANSWER if body.lstrip(b" \t\r\n").startswith(b"{") else Cause.INVALID
        raise _refusal(cause, "the body is no JSON") from None
    sealed = envelope.get("encrypt") if isinstance(envelope, dict) else None
    if not isinstance(sealed, str) or not 0 < len(sealed) <= LARGEST:
        raise _refusal(Cause.BAD_ANSWER, "the envelope holds nothing encrypted")
    return sealed


def _token(secret: Secret, name: str) -> str:
    token = secret.reveal()
    if not (3 <= len(token) <= 32 and token.isascii() and token.isalnum()):
        raise SettingsError("must have 3 to 32 letters and digits", field=name)
    return token


def _key(secret: Secret, name: str) -> bytes:
    try:
        return decode_key(secret.reveal())
    except ValueError as error:
        raise SettingsError(f"{error}: copy the aes_key anew", field=name) from None
