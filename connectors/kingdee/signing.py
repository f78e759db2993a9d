"""Per-request signatures as the official SDK 8.x makes them: no login call, no signed body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["Signer", "client_key"]

FIXED_KEY = b"0054f397c6234378b09ca7d3e5debce7"
"""The key every SDK carries; it unlocks the client secret inside an app id."""


def client_key(app_id: str) -> tuple[str, str]:
    """Return client id and client secret hidden in an app id ``<clientId>_<32 characters>``.

    Both are empty unless there are exactly two parts; the secret is empty if the second is not 24 bytes of base64.
    """
    parts = app_id.split("_")
    if len(parts) != 2:
        return "", ""
    client_id, hidden = parts
    try:
        raw = base64.b64decode(hidden, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raw = b""
    if len(raw) != 24:
        return client_id, ""
    return client_id, base64.b64encode(bytes(a ^ b for a, b in zip(raw, FIXED_KEY, strict=False))).decode()


def _hex_signature(key: str, text: str) -> str:
    """Sign as the SDK does: base64 of the lower-case **hex text**, not of the raw digest."""
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha256").hex().encode()).decode()


class Signer:
    """Makes the signature headers of one integration user; everything that does not change is made once."""

    def __init__(
        self, *, acct_id: str, user_name: str, app_id: str, app_secret: str, lcid: int, org_num: str
    ) -> None:
        """Take the values of 第三方系统登录授权."""
        client_id, self._secret = client_key(app_id)
        who = f"{acct_id},{user_name},{lcid},{org_num}"
        self._fixed = {
            "X-Api-ClientID": client_id,
            "X-Api-Auth-Version": "2.0",
            "x-api-signheaders": "x-api-timestamp,x-api-nonce",
            "X-Kd-Appkey": app_id,
            "X-Kd-Appdata": base64.b64encode(who.encode()).decode(),
            "X-Kd-Signature": _hex_signature(app_secret, app_id + who),
        }
        self._lines: dict[str, str] = {}

    def headers(self, path: str, seconds: int) -> Mapping[str, str]:
        """Return the headers of a POST to ``path`` (as sent, with the site's prefix) at ``seconds`` (unix)."""
        line = self._lines.get(path)
        if line is None:
            line = self._lines[path] = f"POST\n{quote(path, safe='')}\n\n"
        stamp = str(seconds)  # the SDK uses one number for both
        text = f"{line}x-api-nonce:{stamp}\nx-api-timestamp:{stamp}\n"
        return {
            **self._fixed,
            "x-api-timestamp": stamp,
            "x-api-nonce": stamp,
            "X-Api-Signature": _hex_signature(self._secret, text),
        }
