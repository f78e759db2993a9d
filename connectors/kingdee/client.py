"""Calls to one Kingdee site: signed, one request at a time in a session, every answer classified.

A session is a slot (1.4: the server works off one session's calls one after another). The signed flow needs no
login: the first answer of a slot brings a session id, which later calls echo (1.3).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from connectors.kingdee.outcomes import Refusal, SessionLost, decode, error_of, refusal_of, status_error
from connectors.kingdee.signing import Signer, client_key
from hub.sdk import (
    SECOND,
    Answer,
    Cause,
    Json,
    OutcomeUnknown,
    RemoteError,
    SettingsError,
    Slots,
    Toolbox,
    TryAgain,
    classify_status,
)

__all__ = ["KingdeeClient", "Session"]

FORM_SERVICE = "Kingdee.BOS.WebApi.ServicesStub.DynamicFormService."
AUTH_SERVICE = "Kingdee.BOS.WebApi.ServicesStub.AuthService."
CENTRES = "Kingdee.BOS.ServiceFacade.ServicesStub.Account.AccountService.GetDataCenterList"
WRITE_TIMEOUT = 120.0
READ_TIMEOUT = 60.0
PAGE_BYTES = 64 << 20  # 10,000 wide rows; a row is about 1 kB
SESSION = "kdservice-sessionid"


@dataclass(slots=True)
class Session:
    """What the server set for one slot: its session id and its cookies."""

    id: str = ""
    cookies: dict[str, str] | None = None

    def headers(self) -> dict[str, str]:
        """Return what echoes the session, nothing before the first answer."""
        if not self.cookies:
            return {SESSION: self.id} if self.id else {}
        return {
            SESSION: self.id,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }

    def follow(self, answer: Answer) -> None:
        """Take over what an answer sets."""
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].strip().partition("=")
            self.cookies = {**(self.cookies or {}), name: value}
            if name.lower() == SESSION and value:
                self.id = value

    def forget(self) -> None:
        """Start anew: the next call is signed into a new session."""
        self.id, self.cookies = "", None


class KingdeeClient:
    """The site of one connection. Raises RemoteError leaves only; a lost session of a read is renewed once."""

    def __init__(self, settings: Mapping[str, Any], tools: Toolbox) -> None:
        """Take checked settings. Raises SettingsError for an app id or address that cannot be used."""
        self._tools = tools
        self._url = settings["server_url"].rstrip("/") + "/"
        self._path = urlsplit(self._url).path
        if not self._path.lower().endswith("/k3cloud/"):
            raise SettingsError("must end in /k3cloud/", field="server_url")
        if not client_key(settings["app_id"])[1]:
            raise SettingsError("is not <client id>_<32 characters>", field="app_id")
        names = ("acct_id", "user_name", "app_id", "lcid", "org_num")
        self._signer = Signer(
            **{name: settings[name] for name in names}, app_secret=settings["app_secret"].reveal()
        )
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Charset": "utf-8",
            "User-Agent": "Kingdee/Python WebApi SDK (compatible; integration-hub)",
        }
        self._sessions = [Session() for _ in range(settings["sessions"])]
        self._idle = list(self._sessions)
        self.slots = Slots(len(self._sessions))

    async def write(self, op: str, body: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Make one changing call and return its ``Result``.

        Raises:
            SessionLost: it was not executed; the session is renewed already.
            RemoteError: as classified.
        """
        async with self._slot() as session:
            reply = await self._exchange(session, FORM_SERVICE + op, body, read=False, deadline=deadline)
        return _result(reply, read=False)

    async def view(self, op: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one reading call that answers a ``Result`` (View, QueryBusinessInfo) and return it; {} if empty."""
        reply = await self._read(FORM_SERVICE + op, body)
        return {} if reply == {} else _result(reply, read=True)

    async def query(
        self, form: str, columns: Sequence[str], filters: str, *, order: str = "", limit: int = 2000
    ) -> list[dict[str, Any]]:
        """Return the first ``limit`` rows of ExecuteBillQuery by column; decimals are exact."""
        asked = {
            "FormId": form, "FieldKeys": ",".join(columns), "FilterString": filters, "OrderString": order,
            "TopRowCount": 0, "StartRow": 0, "Limit": limit,
        }  # fmt: skip
        reply = await self._read(FORM_SERVICE + "ExecuteBillQuery", {"data": asked})
        if reply != [] and (not isinstance(reply, list) or _is_error(reply[0])):
            known = reply if isinstance(reply, Refusal) else refusal_of(reply)
            raise error_of(known or Refusal("", "a query answered no rows"), read=True)
        rows: list[Any] = reply
        if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
            raise TryAgain(
                "Kingdee answered rows of another shape than asked", cause=Cause.BAD_ANSWER, vendor="kingdee"
            )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def centres(self) -> list[Mapping[str, Any]]:
        """Return the data centres of the site (1.5); needs no credential."""
        found = await self._read(CENTRES, {})
        if not isinstance(found, list):
            raise TryAgain("the site did not list its data centres", cause=Cause.BAD_ANSWER, vendor="kingdee")
        return [centre for centre in found if isinstance(centre, dict)]

    def renew(self) -> None:
        """Let every session that is not in use be signed in anew by its next call."""
        for session in self._idle:
            session.forget()

    async def sign_in(self, at: int) -> None:
        """Make one reading call in a session of its own, signed as at ``at`` (unix seconds), and end the session.

        Raises:
            ConnectionDown: the signature was not accepted (cause ``credential``).
            RemoteError: as classified; a missing permission is none, for the signature was accepted.
        """
        session = Session()
        asked = {"FormId": "BD_Customer", "FieldKeys": "FCUSTID", "FilterString": "FCUSTID<0", "Limit": 1}
        try:
            reply = await self._exchange(
                session, FORM_SERVICE + "ExecuteBillQuery", {"data": asked}, read=True, deadline=None, at=at
            )
        finally:
            await self._logout(session)
        refusal = reply if isinstance(reply, Refusal) else refusal_of(reply)
        error = None if refusal is None else error_of(refusal, read=True)
        if error is not None and error.cause is not Cause.PERMISSION:
            raise error

    async def switch_org(self, number: str) -> None:
        """Enter an organisation in a session made for it, so that no other call finds itself there (8.3.12)."""
        session = Session()
        body = {"data": {"OrgNumber": number}}
        reply = await self._exchange(session, FORM_SERVICE + "SwitchOrg", body, read=True, deadline=None)
        try:
            _result(reply, read=True)
        finally:
            await self._logout(session)

    async def _logout(self, session: Session) -> None:
        with contextlib.suppress(RemoteError):
            if session.id:
                await self._send(session, AUTH_SERVICE + "Logout", {}, read=True, deadline=None, repeat=False)
        session.forget()

    async def close(self) -> None:
        """End every session that is not in use, as far as the site still answers; it may hold a licence."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await asyncio.gather(*map(self._logout, self._idle))

    async def _read(self, service: str, body: Mapping[str, Any]) -> Json | Refusal:
        async with self._slot() as session:
            try:
                return await self._exchange(session, service, body, read=True, deadline=None)
            except SessionLost:
                return await self._exchange(session, service, body, read=True, deadline=None)

    async def _exchange(
        self,
        session: Session,
        service: str,
        body: Mapping[str, Any],
        *,
        read: bool,
        deadline: float | None,
        at: int | None = None,
    ) -> Json | Refusal:
        """Send in one session and decode; a lost session is forgotten, so that the next call signs in anew.

        ``at``: unix seconds the signature names; None: now.

        Raises:
            SessionLost: the session that was echoed is gone.
            ConnectionDown: the signature alone was not accepted either.
        """
        echoed = bool(session.id)
        answer = await self._send(session, service, body, read=read, deadline=deadline, at=at)
        error = status_error(answer.status, answer.content, read=read)
        reply: Json | Refusal = None
        if error is None:
            classify_status(answer, read_only=read)
            reply = decode(answer.content)
            refusal = reply if isinstance(reply, Refusal) else refusal_of(reply)
            error = None if refusal is None else error_of(refusal, read=read)
        if isinstance(error, SessionLost):
            session.forget()
            raise error if echoed else error.confirmed()
        if error is not None and answer.status != 200:
            raise error
        session.follow(answer)
        if error is not None and error.cause is Cause.BAD_ANSWER:
            session.forget()  # an expiry may look as nobody has seen it yet (1.4)
        return reply

    async def _send(
        self,
        session: Session,
        service: str,
        body: Mapping[str, Any],
        *,
        read: bool,
        deadline: float | None,
        at: int | None = None,
        repeat: bool = True,
    ) -> Answer:
        name = service + ".common.kdsvc"
        signed = self._signer.headers(
            self._path + name, self._tools.clock.now() // SECOND if at is None else at
        )
        return await self._tools.http.request(
            "POST",
            self._url + name,
            content=orjson.dumps(body),
            headers={**self._headers, **signed, **session.headers()},
            deadline=deadline,
            timeout=READ_TIMEOUT if read else WRITE_TIMEOUT,
            read_only=read,
            max_bytes=PAGE_BYTES if read else None,
            repeat=repeat,
        )

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[Session]:
        async with self.slots:
            session = self._idle.pop()  # the one used last is the one surely alive
            try:
                yield session
            finally:
                self._idle.append(session)


def _is_error(row: object) -> bool:
    """Say whether the first row of a query is an error in disguise (8.3.2)."""
    return isinstance(row, dict) or (isinstance(row, list) and bool(row) and isinstance(row[0], dict))


def _result(reply: Json | Refusal, *, read: bool) -> dict[str, Any]:
    refusal = reply if isinstance(reply, Refusal) else refusal_of(reply)
    if refusal is not None:
        raise error_of(refusal, read=read)
    result = reply.get("Result", reply) if isinstance(reply, dict) else None
    if not isinstance(result, dict):
        kind = TryAgain if read else OutcomeUnknown
        raise kind("Kingdee answered a list where a result was due", cause=Cause.BAD_ANSWER, vendor="kingdee")
    return result
