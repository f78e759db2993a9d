"""A WeCom connector that only receives, and callbacks made as the vendor makes them, with the cipher of the tests' own."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from connectors.wecom import WeComConnector
from hub.clock import SECOND, SystemClock
from hub.sdk import InboundRequest, Secret, Toolbox

VECTORS = json.loads((Path(__file__).parent / "vectors" / "wecom_callback.json").read_text("utf-8"))
TOKEN, KEY, CORP = "HubToken2026", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "ww0123456789abcdef"
NOW = 1_700_000_000
WM = "wmAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
NAMES = ("corp_id", "agent_id", "secret", "token", "encoding_aes_key")


def connector(**changes: Any) -> WeComConnector:
    """Return a connector whose HTTP client is nobody: receiving makes no call."""
    settings: dict[str, Any] = {
        "corp_id": CORP, "agent_id": 1000002, "secret": Secret("app-secret"), "token": Secret(TOKEN),
        "encoding_aes_key": Secret(KEY),
    }  # fmt: skip
    settings |= {
        name: Secret(value) if value and ("token" in name or "key" in name) else value
        for name, value in changes.items()
    }
    return WeComConnector(
        {k: v for k, v in settings.items() if v is not None},
        Toolbox(None, SystemClock(), structlog.get_logger()),
    )


def sign(token: str, timestamp: str, nonce: str, sealed: str) -> str:
    return hashlib.sha1("".join(sorted([token, timestamp, nonce, sealed])).encode()).hexdigest()


def seal_plain(plain: bytes, key: str = KEY) -> str:
    """Encrypt whole blocks as they stand: padding is the caller's."""
    secret = base64.b64decode(key + "=")
    closer = Cipher(algorithms.AES(secret), modes.CBC(secret[:16])).encryptor()
    return base64.b64encode(closer.update(plain) + closer.finalize()).decode()


def seal(message: bytes, *, corp: str = CORP, key: str = KEY, prefix: bytes = b"0123456789abcdef") -> str:
    plain = prefix + len(message).to_bytes(4, "big") + message + corp.encode()
    pad = 32 - len(plain) % 32
    return seal_plain(plain + bytes([pad]) * pad, key)


def envelope(sealed: str) -> bytes:
    return f"<xml><ToUserName><![CDATA[{CORP}]]></ToUserName><AgentID><![CDATA[1000002]]></AgentID><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>".encode()


def post(
    sealed: str, *, token: str = TOKEN, timestamp: str = str(NOW), nonce: str = "n", body: bytes | None = None
) -> InboundRequest:
    query = (
        ("msg_signature", sign(token, timestamp, nonce, sealed)),
        ("timestamp", timestamp),
        ("nonce", nonce),
    )
    return InboundRequest("POST", query, {}, envelope(sealed) if body is None else body, NOW * SECOND)


def get(sealed: str, *, token: str = TOKEN, timestamp: str = str(NOW)) -> InboundRequest:
    request = post(sealed, token=token, timestamp=timestamp, body=b"")
    return replace(request, method="GET", query=(*request.query, ("echostr", sealed)))


def event_xml(word: str, *, created: object = NOW, **fields: str) -> bytes:
    event, _, change = word.partition("/")
    given = {
        "ToUserName": CORP,
        "FromUserName": "sys",
        "CreateTime": str(created),
        "MsgType": "event",
        "Event": event,
    }
    if change:
        given["ChangeType"] = change
    given |= fields
    return (
        "<xml>" + "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in given.items()) + "</xml>"
    ).encode()


def event(word: str, **fields: Any) -> InboundRequest:
    return post(seal(event_xml(word, **fields)))
