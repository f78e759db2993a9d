"""The signature under which a self-built app asks for its token (fact sheet 1.2). Pure."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

__all__ = ["signature"]


def signature(secret: str, parameters: Mapping[str, str]) -> str:
    """Return the raw Base64 over the parameters: names sorted, each followed by its value, nothing between.

    Whoever builds the query encodes it, once: a second encoding is what the vendor calls 签名不正确.
    """
    text = "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha256")).decode()
