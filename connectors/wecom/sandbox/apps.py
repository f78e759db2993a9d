"""Apps of the corp: secrets and tokens (section 1), grants, visible range, trusted IPs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.dials import WeComDials
from hub.sdk.sandbox import SECOND, SandboxClock

__all__ = ["App", "Gate", "Token"]

BAN_SECONDS = 3600
KEEP_TOKENS = 1000


@dataclass(slots=True)
class App:
    """A self-built app, or the 通讯录同步 assistant (``contact_sync``).

    ``grants``: the modules that list it under 可调用接口的应用. ``visible_*``: its range; both empty is nobody.
    ``trusted_ips`` empty: no rule. ``old``: made before 2022-06-20, sees the personal fields of members.
    """

    agentid: str
    secret: str
    name: str = "集成"
    grants: set[str] = field(default_factory=lambda: {"externalcontact", "contacts", "approval"})
    visible_departments: list[int] = field(default_factory=lambda: [1])
    visible_userids: list[str] = field(default_factory=list)
    trusted_ips: list[str] = field(default_factory=list)
    enabled: bool = True
    old: bool = False
    contact_sync: bool = False
    _range: tuple[int, tuple[object, ...], frozenset[int], frozenset[str]] | None = None

    def departments(self, corp: Corp) -> frozenset[int]:
        """Return the ids of the departments in the visible range."""
        return self._reach(corp)[0]

    def members(self, corp: Corp) -> frozenset[str]:
        """Return the userids, in lower case, in the visible range."""
        return self._reach(corp)[1]

    def sees(self, corp: Corp, userid: str) -> bool:
        """Tell whether a member is in the visible range."""
        return userid.lower() in self.members(corp)

    def _reach(self, corp: Corp) -> tuple[frozenset[int], frozenset[str]]:
        said = (tuple(self.visible_departments), tuple(self.visible_userids))
        if self._range is None or self._range[:2] != (corp.contacts_version, said):
            below = _subtree(corp, self.visible_departments)
            named = {userid.lower() for userid in self.visible_userids}
            members = frozenset(
                key
                for key, one in corp.members.items()
                if key in named or not below.isdisjoint(one.department)
            )
            self._range = corp.contacts_version, said, below, members
        return self._range[2], self._range[3]


@dataclass(slots=True)
class Token:
    """One access_token; times in µs."""

    value: str
    app: App
    until: int
    revoked: bool = False


class Gate:
    """Knows the apps and their tokens, and says why a call does not get in."""

    def __init__(self, corpid: str, clock: SandboxClock) -> None:
        """Take the corp's id and clock; ``apps`` is filled by the sandbox."""
        self.corpid = corpid
        self.apps: dict[str, App] = {}
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._wrong: dict[str, int] = {}
        self._banned: dict[str, int] = {}
        self._asked: dict[str, list[int]] = {}

    def reset(self, *apps: App) -> None:
        """Forget tokens, bans and apps; from now on there are these apps."""
        self.apps = {app.agentid: app for app in apps}
        for memory in (self._tokens, self._wrong, self._banned, self._asked):
            memory.clear()

    def gettoken(self, corpid: str, secret: str, ip: str, dials: WeComDials) -> Token:
        """Return the token of the app with this secret.

        Raises:
            ErrcodeError: 41002, 41004, 40013, 40001; 45009 for a banned IP or too many calls.
        """
        now = self._clock.now()
        if self._banned.get(ip, 0) > now:
            raise ErrcodeError(45009)
        if not corpid:
            raise ErrcodeError(41002)
        if not secret:
            raise ErrcodeError(41004)
        if corpid != self.corpid:
            raise ErrcodeError(40013)
        app = next((one for one in self.apps.values() if _same(one.secret, secret)), None)
        if app is None:
            self._wrong[ip] = self._wrong.get(ip, 0) + 1
            if self._wrong[ip] >= dials.bad_secrets_until_ban:
                self._wrong[ip], self._banned[ip] = 0, now + BAN_SECONDS * SECOND
            raise ErrcodeError(40001)
        self._wrong.pop(ip, None)
        self._count(app, now, dials.gettoken_per_minute)
        return self._issue(app, now, dials)

    def enter(self, token: str, ip: str, dials: WeComDials) -> App:
        """Return the app a token belongs to.

        Raises:
            ErrcodeError: 41001, 40014, 42001, 60020, 50003.
        """
        if not token:
            raise ErrcodeError(41001)
        known = self._tokens.get(token)
        if known is None or known.revoked:
            raise ErrcodeError(40014)
        if known.until <= self._clock.now():
            raise ErrcodeError(dials.expiry_errcode)
        if known.app.trusted_ips and ip not in known.app.trusted_ips:
            raise ErrcodeError(60020)
        if not known.app.enabled:
            raise ErrcodeError(50003)
        return known.app

    def end_tokens(self, agentid: str = "", *, expire: bool = False) -> int:
        """Revoke (40014) or expire (42001) the live tokens of an app, "" for all; return how many."""
        now = self._clock.now()
        live = [one for one in self._tokens.values() if one.until > now and not one.revoked]
        meant = [one for one in live if agentid in ("", one.app.agentid)]
        for one in meant:
            one.revoked, one.until = not expire, now if expire else one.until
        return len(meant)

    def _issue(self, app: App, now: int, dials: WeComDials) -> Token:
        live = [
            one for one in self._tokens.values() if one.app is app and one.until > now and not one.revoked
        ]
        if live and dials.token_rotation == "same":
            return live[-1]
        for one in live if dials.token_rotation == "revoke" else ():
            one.revoked = True
        value = self._clock.token(107).hex()  # 214 signs, as the real ones; a client must not cut them at 64
        made = Token(value, app, now + dials.token_seconds * SECOND)
        while len(self._tokens) >= KEEP_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[value] = made
        return made

    def _count(self, app: App, now: int, limit: int) -> None:
        recent = [at for at in self._asked.get(app.agentid, ()) if at > now - 60 * SECOND]
        self._asked[app.agentid] = recent
        if limit and len(recent) >= limit:
            raise ErrcodeError(45009)
        recent.append(now)


def _subtree(corp: Corp, roots: list[int]) -> frozenset[int]:
    children: dict[int, list[int]] = {}
    for department in corp.departments.values():
        children.setdefault(department.parentid, []).append(department.id)
    found: set[int] = set()
    waiting = [root for root in roots if root in corp.departments]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += children.get(one, ())
    return frozenset(found)


def _same(one: str, two: str) -> bool:
    return hmac.compare_digest(one.encode(), two.encode())
