"""Apps, tokens, scopes, addresses and limits: what stands in front of every call (sheet 1, 7)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.dingtalk.sandbox.answers import NewError, OldError
from connectors.dingtalk.sandbox.dials import DingTalkDials
from hub.sdk.sandbox import SECOND, SandboxClock

__all__ = ["App", "Gate", "Refusal"]

Refusal = NewError | OldError
MONTH = 30 * 86_400 * SECOND
SCOPES = frozenset((
    "Workflow.Instance.Read", "Workflow.Instance.Write", "Workflow.Form.Read", "qyapi_get_department_list",
    "qyapi_get_department_member", "qyapi_get_member", "qyapi_get_member_by_mobile", "qyapi_base",
))  # fmt: skip


@dataclass(slots=True)
class App:
    """One internal app of the corp; ``scopes``: what an administrator granted."""

    key: str
    secret: str
    agent_id: int
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))
    visible: list[int] = field(default_factory=lambda: [1])
    token: str = ""
    until: int = 0


class Gate:
    """Lets calls in. Both families take the same token; a repeated fetch renews it (sheet 1)."""

    def __init__(self, corp_id: str, clock: SandboxClock, dials: Callable[[], DingTalkDials]) -> None:
        """Take the corp, its clock and how to see the dials."""
        self.corp_id, self._clock, self._dials = corp_id, clock, dials
        self.app = App("", "", 0)
        self.dead: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.billed = 0
        self._month = 0
        self._recent: dict[str, deque[int]] = {}

    def reset(self, app: App) -> None:
        """Start with one app and no tokens."""
        self.app = app
        self.calls.clear()
        self._recent.clear()
        self.billed = 0

    def fetch(self, key: str, secret: str) -> tuple[str, int] | None:
        """Return the token and its life in seconds, None for a wrong key or secret."""
        app = self.app
        if (key, secret) != (app.key, app.secret):
            return None
        self.calls["token"] += 1
        life = self._dials().token_seconds
        if not app.token or app.until <= self._clock.now():
            app.token = self._clock.token(16).hex()
        app.until = self._clock.now() + life * SECOND
        return app.token, life

    def revoke(self) -> None:
        """Let the token die now."""
        self.app.token = ""

    def enter(self, api: str, token: str | None, ip: str, *, scope: str, billable: bool) -> None:
        """Let a call in. Raises the refusal of its family: address, token, scope, limits, in this order."""
        old, dials = not api.startswith("v1.0/"), self._dials()
        if dials.trusted_ips and ip not in dials.trusted_ips:
            if old:
                raise OldError(60020)
            raise NewError("Forbidden.AccessDenied.IpNotInWhiteList", f"ip {ip} is not in white list")
        if old and token is None:
            raise OldError(41001)
        if not token or token != self.app.token or self.app.until <= self._clock.now():
            raise OldError(40014) if old else NewError("InvalidAuthentication", "不合法的access_token")
        if scope and scope not in self.app.scopes:
            if old:
                raise OldError(60011)
            code = "Forbidden.AccessDenied.AccessTokenPermissionDenied"
            raise NewError(code, f"应用尚未开通所需的权限：[{scope}]", scopes=(scope,))
        self._limit(api, old=old, billable=billable)
        self.calls[api] += 1

    def _limit(self, api: str, *, old: bool, billable: bool) -> None:
        """Refuse what is too much; a call that is refused does not count (sheet 7)."""
        dials, now = self._dials(), self._clock.now()
        recent = self._recent.setdefault(api, deque())
        while recent and recent[0] <= now - SECOND:
            recent.popleft()
        if dials.qps and len(recent) >= dials.qps:
            if old:
                raise OldError(90018)
            raise NewError("Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", "触发了qps流控")
        if now // MONTH != self._month:
            self._month, self.billed = now // MONTH, 0
        if billable and dials.monthly_calls and self.billed >= dials.monthly_calls:
            raise (
                OldError(90020)
                if old
                else NewError("Forbidden.AccessDenied.ApiCountLimitForOrg", "本月额度已用完")
            )
        recent.append(now)
        self.billed += billable
