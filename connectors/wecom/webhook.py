"""The callback door of one app: verify, decrypt, then read; every refusal looks the same (fact sheet 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.wecom.crypto import NotOursError, OtherReceiverError, decode_key, decrypt, signed_by
from connectors.wecom.envelope import LARGEST, MOST_INSIDE, BadXmlError, read_fields
from connectors.wecom.events import Event, effect_of
from hub.sdk import SECOND, InboundRefused, InboundRequest, Received, Secret, SettingsError

__all__ = ["Door"]

LONGEST_TOKEN = 32


class Door:
    """Receives the handshake and the events of one connection; pure, no I/O."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take checked settings.

        Raises:
            SettingsError: callbacks are wanted and token or key is missing, or one is not as WeCom makes them.
        """
        self._corp_id: str = settings["corp_id"]
        self._window: float = settings["callback_window"]
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
            InboundRefused: anything that is not a callback of this app, whatever is wrong with it.
        """
        try:
            return self._received(request)
        except (NotOursError, BadXmlError) as error:
            raise InboundRefused(message=f"a callback was refused: {error}") from None

    def _received(self, request: InboundRequest) -> Received:
        signed, timestamp, nonce = (request.one(name) for name in ("msg_signature", "timestamp", "nonce"))
        if not self.is_open or signed is None or timestamp is None or nonce is None:
            raise NotOursError("closed, or a parameter is missing or repeated")
        self._check_time(timestamp, request.now)
        if request.method == "GET":
            sealed = request.one("echostr") or ""
        elif request.method == "POST":
            sealed = read_fields(request.body).get("Encrypt", "")
        else:
            raise NotOursError("another method")
        if not sealed or len(sealed) > LARGEST:
            raise NotOursError("nothing encrypted inside")
        if not signed_by(signed, self._tokens, timestamp, nonce, sealed):
            raise NotOursError("the signature is not ours")
        message = self._open(sealed)
        if request.method == "GET":
            return Received(body=message)
        fields = read_fields(message, most=MOST_INSIDE)
        return effect_of(Event.of(fields, message, request.now))

    def _check_time(self, timestamp: str, now: int) -> None:
        """Refuse a time outside the window on either side; it is written in ASCII digits alone."""
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise NotOursError("the timestamp is no number")
        if abs(now / SECOND - int(timestamp)) > self._window:
            raise NotOursError("the timestamp is outside the window")

    def _open(self, sealed: str) -> bytes:
        why = NotOursError("not encrypted with a key we have")
        for key in self._keys:
            try:
                return decrypt(sealed, key, self._corp_id)
            except OtherReceiverError as error:
                why = error
            except NotOursError:
                continue
        raise why


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
