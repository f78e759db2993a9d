"""Pushed events made as the vendor makes them, with the cipher of the tests' own; and a hub behind the door."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from connectors.yonyou import YonyouConnector
from hub.clock import SECOND, SystemClock
from hub.sdk import InboundRequest, Secret, Toolbox

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "yonyou.json").read_text("utf-8"))
APP, SECRET = VECTORS["app_key"], VECTORS["app_secret"]
NOW = 1_700_000_000
ONE = 1_500_000_000_000_000_001
UPDATE = "YXYBASEDOC_AA_MERCHANT_UPDATE"


def connector(**changes: Any) -> YonyouConnector:
    """Return a connector whose HTTP client is nobody: receiving makes no call."""
    settings: dict[str, Any] = {
        "tenant_id": "sandbox1",
        "app_key": APP,
        "app_secret": Secret(SECRET),
        "org_code": "ORG001",
    }
    settings |= {name: Secret(value) if "secret" in name else value for name, value in changes.items()}
    return YonyouConnector(settings, Toolbox(None, SystemClock(), structlog.get_logger()))  # type: ignore[arg-type]


def key_of(secret: str) -> bytes:
    return base64.b64decode((secret.replace("-", "") + "0" * 43)[:43] + "=")


def seal_plain(plain: bytes, secret: str = SECRET) -> str:
    """Encrypt whole blocks as they stand: padding is the caller's."""
    key = key_of(secret)
    closer = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(closer.update(plain) + closer.finalize()).decode()


def seal(message: bytes, *, secret: str = SECRET, app: str = APP, **bent: Any) -> str:
    """Encrypt as the vendor does. ``bent``: head, length, more (padding), last (its last byte), tail (behind all)."""
    head, length = bent.get("head", b"0123456789abcdef"), bent.get("length", len(message))
    plain = head + length.to_bytes(4, "big") + message + app.encode()
    pad = 32 - len(plain) % 32 + bent.get("more", 0)
    plain += bytes([pad]) * pad
    if "last" in bent:
        plain = plain[:-1] + bytes([bent["last"]])
    sealed = base64.b64decode(seal_plain(plain, secret)) + bent.get("tail", b"")
    return base64.b64encode(sealed).decode()


def sign(scheme: str, secret: str, timestamp: object, nonce: str, sealed: str) -> str:
    values = [str(timestamp), nonce, sealed]
    if scheme == "msgSignature":
        return hashlib.sha1("".join(sorted([secret, *values])).encode("utf-8", "surrogatepass")).hexdigest()
    text = "".join(sorted(values)).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


def envelope(
    sealed: str,
    *,
    scheme: str = "signature",
    secret: str = SECRET,
    at: Any = NOW * 1000,
    nonce: str = "aB3dE5fG7hJ9kL1m",
) -> dict[str, Any]:
    return {
        scheme: sign(scheme, secret, at, nonce, sealed),
        "timestamp": at,
        "nonce": nonce,
        "encrypt": sealed,
    }


def event(word: str = UPDATE, **more: Any) -> bytes:
    said: dict[str, Any] = {"type": word, "eventId": "evt-1", "timestamp": NOW * 1000, "tenantId": "sandbox1"}
    said["content"] = json.dumps({"id": ONE, "code": "CRM-1"})
    said |= more
    return json.dumps(
        {name: value for name, value in said.items() if value is not None}, ensure_ascii=False
    ).encode()


def request(body: Any, *, method: str = "POST", now: float = NOW) -> InboundRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return InboundRequest(method, (), {"content-type": "application/json"}, content, round(now * SECOND))


def post(message: bytes, **known: Any) -> InboundRequest:
    return request(envelope(seal(message), **known))
