"""The door for pushed events: verify, decrypt, then read (fact sheet 3).

A caller learns that what it sent is no JSON object, which it can see itself; everything else is refused alike. The causes
below are for our own log. Nothing is fetched here: the vendor waits 5 s for ``success``, and gets it once the event lies on
the bus.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import orjson

from connectors.yonyou.crypto import SCHEMES, decode_key, signed
from connectors.yonyou.events import effect_of
from hub.sdk import SECOND, Cause, InboundRefused, InboundRequest, Received, Secret, SettingsError
from hub.sdk.signing import NotOursError, OtherReceiverError, decrypt, encrypt

__all__ = ["Door"]

SUCCESS = b"success"
AHEAD = 300.0
"""Seconds a timestamp may lie ahead of our clock."""
CONSOLE = "开放平台 → 我的应用 → 事件订阅"
CHECK: Mapping[Cause, str] = {
    Cause.SIGNATURE: "compare app_secret with the AppSecret of the app; while it is changed set previous_app_secret",
    Cause.CIPHER: "compare app_secret with the AppSecret of the app",
    Cause.RECEIVER: f"compare app_key with the app whose {CONSOLE} names this address",
    Cause.CLOCK: "compare this machine's clock with the real time; callback_window says how old an event may be",
    Cause.INVALID: "this is no event of YonBIP's: see who else calls this address",
}


def _refusal(cause: Cause, why: str) -> InboundRefused:
    return InboundRefused(cause, f"{why}; {CHECK[cause]}")


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The outer JSON: which scheme signed what."""

    scheme: str
    signature: str
    timestamp: str
    nonce: str
    sealed: str


class Door:
    """Receives the events of one app; pure, no I/O."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take checked settings. Raises SettingsError for a secret that can be no key."""
        self._app_key: str = settings["app_key"]
        self._org: str = settings["org_code"]
        self._window: float = settings["callback_window"]
        self._encrypted = settings["callback_ack"] == "encrypted"
        self.is_open = settings["receive"] == "callback"
        names = [name for name in ("app_secret", "previous_app_secret") if settings[name] and self.is_open]
        self._secrets = [(settings[name].reveal(), _key(settings[name], name)) for name in names]

    def receive(self, request: InboundRequest) -> Received:
        """Return what a request means and the exact answer.

        Raises:
            InboundRefused: anything that is not an event for this app; INVALID for a body that is no JSON object.
        """
        if not self.is_open or request.method != "POST":
            raise _refusal(Cause.SIGNATURE, "closed, or another method than POST")
        envelope = _envelope(request.body)
        self._check_time(envelope.timestamp, request.now)
        known = [pair for pair in self._secrets if _signed_by(envelope, pair[0])]
        if not known:
            raise _refusal(Cause.SIGNATURE, "no secret of this connection signed it")
        secret, key = known[0]
        plain = self._open(envelope.sealed, key)
        event = _object(plain)
        if event is None:
            raise _refusal(Cause.CIPHER, "what it holds is no event")
        return self._acknowledged(effect_of(event, plain, self._org), envelope, secret, key)

    def _check_time(self, timestamp: str, now: int) -> None:
        """Refuse a time outside the window: milliseconds in ASCII digits."""
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
            raise _refusal(Cause.CLOCK, "the timestamp is no number")
        age = now / SECOND - int(timestamp) / 1000
        if not -AHEAD <= age <= self._window:
            raise _refusal(Cause.CLOCK, "the timestamp is outside the window")

    def _open(self, sealed: str, key: bytes) -> bytes:
        try:
            return decrypt(sealed, key, self._app_key)
        except OtherReceiverError as error:
            raise _refusal(Cause.RECEIVER, str(error)) from None
        except NotOursError:
            raise _refusal(Cause.CIPHER, "not encrypted with the key of this app") from None

    def _acknowledged(self, received: Received, envelope: _Envelope, secret: str, key: bytes) -> Received:
        """Add the answer: the plain word, or sealed as the documents say (3.3, UNCONFIRMED)."""
        if not self._encrypted:
            return replace(received, body=SUCCESS, media_type="text/plain;charset=UTF-8")
        # No randomness here (receiving is pure): drawn from the secret and what was sent, which comes but once.
        text = f"{envelope.nonce}.{envelope.sealed}".encode("utf-8", "surrogatepass")
        drawn = hmac.digest(secret.encode(), text, "sha256")
        sealed = encrypt(SUCCESS, key, self._app_key, drawn[:16])
        nonce = drawn[16:24].hex()
        made = SCHEMES[envelope.scheme](secret, envelope.timestamp, nonce, sealed)
        body = {
            envelope.scheme: made,
            "timestamp": int(envelope.timestamp),
            "nonce": nonce,
            "encrypt": sealed,
        }
        return replace(received, body=orjson.dumps(body), media_type="application/json;charset=UTF-8")


def _signed_by(envelope: _Envelope, secret: str) -> bool:
    return signed(
        envelope.signature, envelope.scheme, secret, envelope.timestamp, envelope.nonce, envelope.sealed
    )


def _envelope(body: bytes) -> _Envelope:
    if not body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"{"):
        raise _refusal(Cause.INVALID, "the body is no JSON object")
    found = _object(body)
    if found is None:
        raise _refusal(Cause.SIGNATURE, "the envelope is broken")
    schemes = [name for name in SCHEMES if name in found]
    time, nonce, sealed = (found.get(name) for name in ("timestamp", "nonce", "encrypt"))
    if len(schemes) != 1 or isinstance(time, bool) or not isinstance(time, int | str):
        raise _refusal(Cause.SIGNATURE, "the envelope holds no signature and time, or two signatures")
    signature = found[schemes[0]]
    if (
        not isinstance(signature, str)
        or not isinstance(nonce, str)
        or not isinstance(sealed, str)
        or not sealed
    ):
        raise _refusal(Cause.SIGNATURE, "the envelope holds no signature, nonce or encrypt")
    return _Envelope(schemes[0], signature, str(time), nonce, sealed)


def _object(content: bytes) -> dict[str, Any] | None:
    """Return a JSON object read strictly: UTF-8, no name twice, no NaN; None if it is none."""
    try:
        found = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=str
        )
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _key(secret: Secret, name: str) -> bytes:
    try:
        return decode_key(secret.reveal())
    except ValueError as error:
        raise SettingsError(f"{error}; else set receive: poll", field=name) from None
