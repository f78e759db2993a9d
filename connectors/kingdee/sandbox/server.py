"""The sandbox as a whole: routes under /k3cloud/, sessions in front, the form service behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.kingdee.sandbox.answers import (
    MSG_TEXTS,
    SESSION_LOST,
    RefusalError,
    Trouble,
    failed,
    json_answer,
)
from connectors.kingdee.sandbox.auth import LOGINS, Account, Gate, WrongCentreError, give_cookies
from connectors.kingdee.sandbox.books import Actor, Books
from connectors.kingdee.sandbox.control import add_control
from connectors.kingdee.sandbox.desk import Desk
from connectors.kingdee.sandbox.dials import KingdeeDials
from connectors.kingdee.sandbox.envelope import Ask, MalformedError, operation, read_body, read_login
from connectors.kingdee.sandbox.forms import BASE_DATA
from connectors.kingdee.sandbox.operations import OPERATIONS, Site, perform
from hub.sdk.sandbox import Clock, Effect, Sandbox, html_page

__all__ = ["KingdeeSandbox"]

CENTRE = {
    "Id": "",
    "Number": "001",
    "Name": "示例账套",
    "Version": "8.2.0.0",
    "GDCID": "",
    "AuthenticationMethods": [1],
}


class KingdeeSandbox(Sandbox):
    """A stand-in for one 金蝶云·星空 site with one data centre, by the fact sheet and nothing else.

    ``desk`` acts as the vendor's own user; ``gate`` holds users and sessions; ``books`` the rows.
    """

    name = "kingdee"
    dials: KingdeeDials

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
        dials: KingdeeDials | None = None,
        account: Account | None = None,
    ) -> None:
        """Open the site; ``state`` is the journal file it goes on from after a restart."""
        super().__init__(clock=clock, state=state, dials=dials or KingdeeDials())
        self.account = account or Account()
        self.gate = Gate(self.account, self.clock)
        self.rebuild(list(self.ledger()))

    def rebuild(self, effects: Sequence[Effect]) -> None:
        """Set up the base data, then replay the effects; sessions are gone."""
        self.gate.reset()
        self.books = Books(self.ledger(), self.clock.now)
        for form, names in BASE_DATA.items():
            for number, name in names.items():
                self.books.preload(form, number, name)
        self.books.add_user(self.account.user_name)
        for effect in effects:
            self.books.replay(effect)
        self.site = Site(self.books, self.dials)
        self.desk = Desk(self.books)

    def credentials(self, base_url: str) -> Mapping[str, str]:
        """Return what an administrator would hand to the integrator (1.1)."""
        account = self.account
        return {
            "server_url": f"{base_url}/k3cloud/", "acct_id": account.acct_id, "user_name": account.user_name,
            "app_id": account.app_id, "app_secret": account.app_secret, "lcid": account.lcid,
            "org_num": account.org_num, "password": account.password,
        }  # fmt: skip

    def routes(self) -> Sequence[BaseRoute]:
        """Serve both spellings of the site's path; the signature covers the one that was sent."""
        return [
            Route(f"/{site}/{{service}}", self._serve, methods=["POST"], name=site)
            for site in ("k3cloud", "K3Cloud")
        ]

    def extend_control(self, app: FastAPI) -> None:
        """Add seeding, the vendor's user, periods, users and sessions to the control door."""
        add_control(app, self)

    def refuse(self, fault: str, op: str) -> Response | None:
        """Answer the vendor's own failures."""
        if fault == "response_error":
            return PlainTextResponse(self.dials.response_error_text)
        if fault == "lost_session":
            self.gate.drop_sessions()
            return failed(op, SESSION_LOST)
        if fault == "edited_by_other":
            return failed(op, Trouble("当前单据已被其他用户修改，请刷新后重试", 0))
        if fault == "empty_view" and op == "view":
            return json_answer({})
        code = 0 if fault == "lock_conflict" else _code(fault)
        if code is not None:
            return failed(op, Trouble(MSG_TEXTS[code], code), in_list=self.dials.bill_query_error_in_list)
        return super().refuse(fault, op)

    def replace(self, fault: str, op: str, answer: Response) -> Response:
        """Answer an exception text although the operation was applied."""
        if fault == "apply_then_response_error":
            return PlainTextResponse(self.dials.response_error_text)
        return super().replace(fault, op, answer)

    async def _serve(self, request: Request) -> Response:
        found = operation(request.path_params["service"])
        if found is None:
            return html_page(404)
        service, op = found
        raw = await request.body()
        try:
            if service == "account":
                return self._account(op)
            if service == "auth":
                return await self._auth(op, raw, request)
            return await self._form(read_body(op, raw), request) if op in OPERATIONS else html_page(404)
        except (MalformedError, WrongCentreError):
            return html_page(500)

    def _account(self, op: str) -> Response:
        if op != "getdatacenterlist":
            return html_page(404)
        return json_answer([CENTRE | {"Id": self.account.acct_id, "GDCID": self.account.acct_id}])

    async def _auth(self, op: str, raw: bytes, request: Request) -> Response:
        if op == "logout":
            self.gate.close(request)
            return json_answer(True)
        if op not in LOGINS:
            return html_page(404)
        said = read_login(raw, LOGINS[op])

        def apply() -> Response:
            session, result = self.gate.login(op, said, self.dials.lock_after)
            return give_cookies(session, json_answer(result)) if session is not None else json_answer(result)

        return await self.exchange(op, "", apply)

    async def _form(self, ask: Ask, request: Request) -> Response:
        try:
            session, fresh = self.gate.enter(request, self.dials.session_idle)
            actor: Actor = self.gate.actor(session)
        except RefusalError as refusal:
            return failed(ask.op, refusal.trouble, in_list=self.dials.bill_query_error_in_list)
        async with session.lock:
            answer = await self.exchange(ask.op, ask.form, lambda: perform(self._current_site(), ask, actor))
        return give_cookies(session, answer) if fresh else answer

    def _current_site(self) -> Site:
        self.site.dials = self.dials  # the control door replaces the dials as a whole
        return self.site


def _code(fault: str) -> int | None:
    name, _, digits = fault.partition("_")
    return int(digits) if name == "msgcode" else None
