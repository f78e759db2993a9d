"""Who calls: three logins, the signature per request, sessions that expire, users that are locked (1)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from connectors.kingdee.sandbox.answers import MSG_TEXTS, SESSION_LOST, RefusalError
from connectors.kingdee.sandbox.books import Actor
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["LOGINS", "Account", "Gate", "Session", "User", "WrongCentreError", "give_cookies"]

MASK = b"0054f397c6234378b09ca7d3e5debce7"
SECRET_BYTES = 24
LOCK_SECONDS = 1800
KEEP_SESSIONS = 1000
DEFAULT_ORG = "100"

LOGINS: Mapping[str, tuple[str, ...]] = {
    "validateuser": ("acctid", "username", "password", "lcid"),
    "loginbyappsecret": ("acctid", "username", "appid", "appsecret", "lcid"),
    "loginbysign": ("acctid", "username", "appid", "timestamp", "sign", "lcid"),
}
"""Login method in lower case → its arguments in order (1.2)."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the administrator of the site handed out; the defaults are the same in every run."""

    acct_id: str = "64a1f0c2b7d3e9"
    user_name: str = "hub"
    password: str = "sandbox-only"
    app_id: str = "300001_aHViLXNhbmRib3gtY2xpZW50LWtleS0x"
    app_secret: str = "5f0e3c1a9b7d24681357ace086429bdf"
    lcid: str = "2052"
    org_num: str = "100"

    @property
    def client_secret(self) -> str:
        """Return the HMAC key hidden in the app id: its second part, un-base64ed, XOR the mask (1.3)."""
        parts = self.app_id.split("_")
        if len(parts) != 2:
            return ""
        try:
            hidden = base64.b64decode(parts[1], validate=True)
        except binascii.Error:
            return ""
        if len(hidden) != SECRET_BYTES:
            return ""
        return base64.b64encode(bytes(one ^ two for one, two in zip(hidden, MASK, strict=False))).decode()


@dataclass(slots=True)
class User:
    """A user of the site: password, permitted orgs (None: all), administrator or not, login failures."""

    password: str
    orgs: frozenset[str] | None = None
    admin: bool = False
    failures: int = 0
    locked_until: int = 0


@dataclass(slots=True)
class Session:
    """One login. Its calls are handled one after another (1.4)."""

    id: str
    aspnet: str
    user: str
    org: str
    used: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class WrongCentreError(Exception):
    """The signed request names another data centre: HTTP other than 200 (1.3)."""


class Gate:
    """Sessions and users of the site."""

    def __init__(self, account: Account, clock: SandboxClock) -> None:
        """Open the site for the integration user of ``account`` and an administrator."""
        self.account = account
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self.users: dict[str, User] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all sessions, locks and added users."""
        self._sessions.clear()
        self.users = {
            self.account.user_name: User(self.account.password),
            "Administrator": User("admin", admin=True),
        }

    def drop_sessions(self) -> int:
        """End all sessions, as a server recycle does; return how many there were."""
        count = len(self._sessions)
        self._sessions.clear()
        return count

    def actor(self, session: Session) -> Actor:
        """Return who acts in a session."""
        return Actor(session.user, session.org, self.users[session.user].orgs)

    def enter(self, request: Request, idle: float) -> tuple[Session, bool]:
        """Return the session of a request and whether it was made just now from its signature.

        Raises:
            RefusalError: neither a live session nor a right signature (MsgCode 1), an administrator (15),
                an org the user has nothing to do with (2).
            WrongCentreError: signed for another data centre.
        """
        live = self._live(request, idle)
        if live is not None:
            return live, False
        user, org = self._verify(request.headers, bytes(request.scope["raw_path"]))
        return self.open(user, org), True

    def open(self, user: str, org: str) -> Session:
        """Open a session for a user in an org (0 = the default one)."""
        known = self.users[user]
        if known.admin:
            raise RefusalError(MSG_TEXTS[15], 15)
        org = DEFAULT_ORG if org in ("", "0") else org
        if known.orgs is not None and org not in known.orgs:
            raise RefusalError(f"没有组织“{org[:50]}”的权限", 2)
        raw = self._clock.token(28).hex()
        guid = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:32]))
        session = Session(guid, raw[32:], user, org, self._clock.now())
        if len(self._sessions) >= KEEP_SESSIONS:  # a client that never sends its session back
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[guid] = session
        return session

    def close(self, request: Request) -> None:
        """End the session of a request, if it has one."""
        self._sessions.pop(_session_id(request), None)

    def login(
        self, method: str, said: Mapping[str, str], lock_after: int
    ) -> tuple[Session | None, dict[str, Json]]:
        """Check a login; a refused one is an ordinary answer too (1.2)."""
        if said.get("acctid") != self.account.acct_id:
            return None, _login_result(-1, "数据中心不存在")
        user = self.users.get(said.get("username", ""))
        if user is None:
            return None, _login_result(0, "用户名或密码错误")
        if user.locked_until > self._clock.now():
            return None, _login_result(-1, "密码错误次数超限，用户已被锁定，请稍后再试")
        refused = self._mistake(method, said, user)
        if refused is not None:
            user.failures += 1
            if user.failures >= lock_after:
                user.failures, user.locked_until = 0, self._clock.now() + LOCK_SECONDS * SECOND
            return None, refused
        user.failures = 0
        try:
            session = self.open(said["username"], "")
        except RefusalError as refusal:
            return None, _login_result(-1, str(refusal))
        return session, _login_result(1, "", session=session, account=self.account)

    def _mistake(self, method: str, said: Mapping[str, str], user: User) -> dict[str, Json] | None:
        if method == "validateuser":
            return (
                None
                if _same(said.get("password", ""), user.password)
                else _login_result(0, "用户名或密码错误")
            )
        account = self.account
        if said.get("appid") != account.app_id:
            return _login_result(-1, "应用ID未授权")
        if method == "loginbyappsecret":
            right = _same(said.get("appsecret", ""), account.app_secret)
            return None if right else _login_result(-1, "应用密钥不正确")
        parts = (
            account.acct_id,
            said["username"],
            account.app_id,
            account.app_secret,
            said.get("timestamp", ""),
        )
        expected = hashlib.sha256("".join(sorted(parts, key=str.encode)).encode()).hexdigest()
        right = _same(said.get("sign", ""), expected)
        return None if right else _login_result(-1, "登录签名不匹配", code="002005000003016")

    def _live(self, request: Request, idle: float) -> Session | None:
        session = self._sessions.get(_session_id(request))
        if session is None:
            return None
        by_cookie = not (request.headers.get("kdservice-sessionid") or request.headers.get("sid"))
        if by_cookie and request.cookies.get("ASP.NET_SessionId") != session.aspnet:
            return None  # without the header, both cookies are needed (1.2)
        now = self._clock.now()
        if now - session.used > idle * SECOND:
            del self._sessions[session.id]
            return None
        session.used = now
        return session

    def _verify(self, headers: Headers, raw_path: bytes) -> tuple[str, str]:
        account = self.account
        said = _app_data(headers.get("x-kd-appdata", ""))
        if said is None:
            raise RefusalError(SESSION_LOST.message, SESSION_LOST.code)
        acct_id, user, _, org = said
        if acct_id != account.acct_id:
            raise WrongCentreError(acct_id)
        stamp, nonce = headers.get("x-api-timestamp", ""), headers.get("x-api-nonce", "")
        path = quote(raw_path.decode("latin-1"), safe="", encoding="latin-1")
        text = f"POST\n{path}\n\nx-api-nonce:{nonce}\nx-api-timestamp:{stamp}\n"
        named = {name.strip().lower() for name in headers.get("x-api-signheaders", "").split(",")}
        right = (
            user in self.users
            and headers.get("x-api-clientid") == account.app_id.split("_")[0]
            and headers.get("x-api-auth-version") == "2.0"
            and headers.get("x-kd-appkey") == account.app_id
            and named == {"x-api-timestamp", "x-api-nonce"}
            and stamp.isdecimal()
            and len(stamp) in (10, 13)  # Python SDK: seconds, Java SDK: milliseconds
            and bool(nonce)
            and _same(headers.get("x-api-signature", ""), _sign(account.client_secret, text))
            and _same(
                headers.get("x-kd-signature", ""), _sign(account.app_secret, account.app_id + ",".join(said))
            )
        )
        if not right:
            raise RefusalError(SESSION_LOST.message, SESSION_LOST.code)
        return user, org


def give_cookies(session: Session, answer: Response) -> Response:
    """Put the two session cookies on an answer."""
    for name, value in (("kdservice-sessionid", session.id), ("ASP.NET_SessionId", session.aspnet)):
        answer.headers.append("set-cookie", f"{name}={value}; path=/; HttpOnly")
    return answer


def _session_id(request: Request) -> str:
    """Return the session a request names: header ``kdservice-sessionid`` or ``SID``, or the cookies."""
    named = request.headers.get("kdservice-sessionid") or request.headers.get("sid")
    return named or request.cookies.get("kdservice-sessionid", "")


def _app_data(encoded: str) -> tuple[str, str, str, str] | None:
    try:
        parts = base64.b64decode(encoded, validate=True).decode().split(",")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else None


def _sign(key: str, text: str) -> str:
    """Return base64 of the lower-case hex text of HMAC-SHA256 (not of the raw digest)."""
    return base64.b64encode(
        hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest().encode()
    ).decode()


def _same(one: str, two: str) -> bool:
    return hmac.compare_digest(one.encode(), two.encode())


def _login_result(
    kind: int, message: str, *, code: str = "", session: Session | None = None, account: Account | None = None
) -> dict[str, Json]:
    context = None
    if session is not None and account is not None:
        organization = {
            "ID": 1,
            "AcctOrgType": "1",
            "Name": "示例集团有限公司",
            "FunctionIds": [101, 102, 103],
        }
        context = {
            "UserLocale": "zh-CN", "LogLocale": "zh-CN", "DBid": account.acct_id, "DatabaseType": 3,
            "SessionId": session.aspnet, "UserId": 100000, "UserName": session.user, "CustomName": "示例集团",
            "DisplayVersion": "8.2.0.0", "DataCenterName": "示例账套", "UserToken": session.id,
            "CurrentOrganizationInfo": organization, "ClientType": 32, "UTimeZone": "8", "STimeZone": "8",
            "GDCID": account.acct_id, "TRLevel": 0, "ProductEdition": 0, "DataCenterNumber": "001",
            "IsDeployAsPublicCloud": False,
        }  # fmt: skip
    return {
        "Message": message, "MessageCode": code, "LoginResultType": kind, "Context": context,
        "KDSVCSessionId": session.id if session is not None else None, "FormId": None,
        "RedirectFormParam": None, "FormInputObject": None, "ErrorStackTrace": None, "Lcid": 2052,
        "AccessToken": None, "CustomParam": {}, "KdAccessResult": None, "IsSuccessByAPI": kind == 1,
    }  # fmt: skip
