"""What stands before every call: data centres, tokens and their signature, grants, the limit per minute (1, 4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.dials import YonyouDials
from hub.sdk.sandbox import SECOND, SandboxClock

__all__ = ["CENTRES", "Account", "Gate"]

CENTRES = ("c1", "c2")
MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Account:
    """One tenant with its self-built app; all values are made up."""

    tenant_id: str = "sandbox1"
    app_key: str = "a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3"
    app_secret: str = "sandbox-only-5e8d20c7b9f143a6c0937df1582be46a"


@dataclass(slots=True)
class _Token:
    centre: str
    until: int


@dataclass(slots=True)
class Gate:
    """Tokens live in one data centre; ``ungranted`` holds path prefixes the app may not call."""

    account: Account
    clock: SandboxClock
    centre: str = CENTRES[0]
    enabled: bool = True
    ungranted: set[str] = field(default_factory=set)
    _tokens: dict[str, _Token] = field(default_factory=dict)
    _calls: dict[str, deque[int]] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget tokens, counts and grants; the tenant is at home."""
        self.centre, self.enabled = CENTRES[0], True
        self.ungranted.clear()
        self._tokens.clear()
        self._calls.clear()

    def addresses(self, tenant_id: str, base_url: str) -> dict[str, str]:
        """Return the URLs of a tenant's data centre. Raises CodeError 500 for an unknown tenant."""
        if tenant_id != self.account.tenant_id:
            raise CodeError("500", "根据租户id获取网关地址出现异常")
        home = f"{base_url}/{self.centre}"
        return {"gatewayUrl": f"{home}/iuap-api-gateway", "tokenUrl": f"{home}/iuap-api-auth"}

    def new_token(self, centre: str, query: Mapping[str, str], dials: YonyouDials) -> tuple[str, int]:
        """Check a request for a token, decoded once, and return a token with its life in seconds.

        Raises:
            CodeError: 10018, or the dials' codes for a signature or a timestamp.
        """
        if query.get("appKey") != self.account.app_key or not self.enabled or centre != self.centre:
            raise CodeError("10018")
        stamp = query.get("timestamp", "")
        text = "".join(name + query[name] for name in sorted(query) if name != "signature")
        digest = hmac.new(self.account.app_secret.encode(), text.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(query.get("signature", "").encode(), base64.b64encode(digest)):
            raise CodeError(dials.bad_signature_code, "签名不正确")
        if not stamp.isascii() or not stamp.isdigit():
            raise CodeError(dials.skew_code, "时间戳不正确")
        off = abs(self.clock.now() - int(stamp) * 1000)
        if dials.check_skew and off > dials.skew_seconds * SECOND:
            raise CodeError(dials.skew_code, "时间戳已过期")
        if dials.new_token_voids_old:
            self._tokens.clear()
        # + / and = on purpose: a token that is not encoded in a query does not arrive (1.2)
        value = f"{base64.b64encode(self.clock.token(45)).decode()}+/=="
        self._tokens[value] = _Token(centre, self.clock.now() + dials.token_seconds * SECOND)
        return value, dials.token_seconds

    def drop_tokens(self) -> int:
        """End every token; return how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count

    def enter(self, centre: str, api: str, token: str | None, dials: YonyouDials) -> None:
        """Let a call in.

        Raises:
            CodeError: 310001, 310036, 310037, or a limit's code, in this order.
        """
        if not token:
            raise CodeError("310001")
        known = self._tokens.get(token)
        at_home = known is not None and known.centre == centre == self.centre
        if known is None or not at_home or known.until <= self.clock.now():
            raise CodeError("310036")
        if any(api.startswith(prefix) for prefix in self.ungranted):
            raise CodeError("310037", f"应用未授权此API[{api}]")
        calls, now = self._calls.setdefault(api, deque()), self.clock.now()
        while calls and calls[0] <= now - MINUTE:
            calls.popleft()
        if dials.per_minute and len(calls) >= dials.per_minute:
            raise CodeError(dials.limit_code)
        calls.append(now)
