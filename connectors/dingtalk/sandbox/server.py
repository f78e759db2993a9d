"""The sandbox as a whole: one corp behind both API families, and its events by Stream or by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from connectors.dingtalk.sandbox import acting, workflow
from connectors.dingtalk.sandbox.acts import perform
from connectors.dingtalk.sandbox.answers import NewError, OldError, refused, say
from connectors.dingtalk.sandbox.company import Company
from connectors.dingtalk.sandbox.contacts import OLD
from connectors.dingtalk.sandbox.control import add_control
from connectors.dingtalk.sandbox.dials import DingTalkDials
from connectors.dingtalk.sandbox.engine import Engine
from connectors.dingtalk.sandbox.gate import App, Gate
from connectors.dingtalk.sandbox.pushing import Event, Pushes, Receiver
from connectors.dingtalk.sandbox.seed import CONTRACT, CORRELATION, fresh_rows
from connectors.dingtalk.sandbox.streaming import Gateway
from connectors.dingtalk.sandbox.workflow import Call
from hub.sdk.sandbox import Clock, Effect, Json, Sandbox, html_page

__all__ = ["DingTalkSandbox"]

CORP = "ding0123456789abcdef"
APP = "dingsandboxonly00000"
SECRET = "sandbox-only-dingtalk-secret-9c41e7d25fb83a60d81c47e2b95f03ad6e"
AGENT = 1_000_000_001
TOKEN, AES_KEY = "SandboxToken123", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
WRITE, READ, FORM = "Workflow.Instance.Write", "Workflow.Instance.Read", "Workflow.Form.Read"
W = "v1.0/workflow/"
Run = Callable[[Call], Mapping[str, Json]]

NEW: Mapping[tuple[str, str], tuple[str, Run, str]] = {
    ("POST", f"{W}processInstances"): ("create", workflow.create, WRITE),
    ("GET", f"{W}processInstances"): ("get", workflow.get_instance, READ),
    ("POST", f"{W}processes/instanceIds/query"): ("list", workflow.list_ids, READ),
    ("POST", f"{W}processInstances/terminate"): ("terminate", acting.terminate, WRITE),
    ("POST", f"{W}processInstances/execute"): ("execute", acting.execute, WRITE),
    ("POST", f"{W}tasks/redirect"): ("redirect", acting.redirect, WRITE),
    ("POST", f"{W}processInstances/comments"): ("comment", acting.comment, WRITE),
    ("GET", f"{W}processes/todoTasks/numbers"): ("todo", acting.todo_count, READ),
    ("GET", f"{W}forms/schemas/processCodes"): ("schema", workflow.schema, FORM),
    ("GET", f"{W}processes/userVisibilities/templates"): ("templates", workflow.list_templates, FORM),
    ("GET", f"{W}processes/conditions/components"): ("steering", workflow.steering, FORM),
    ("POST", f"{W}processes/forecast"): ("forecast", workflow.forecast, READ),
}
"""Method and path -> (its name for the dials, what answers it, the permission it wants)."""


class DingTalkSandbox(Sandbox):
    """A stand-in for one corp of 钉钉 with an internal app, by the fact sheet and nothing else.

    ``company`` holds the rows, ``engine`` moves approvals, ``gate`` stands in front, ``pushes`` and ``gateway`` carry events;
    ``mode``: stream, http or off, one at a time.
    """

    name = "dingtalk"
    dials: DingTalkDials

    def __init__(
        self, *, clock: Clock | None = None, state: Path | None = None, dials: DingTalkDials | None = None
    ) -> None:
        """Open the corp; ``state`` is the journal file it goes on from after a restart."""
        super().__init__(clock=clock, state=state, dials=dials or DingTalkDials())
        self.gate = Gate(CORP, self.clock, lambda: self.dials)
        self.pushes = Pushes(CORP, self.clock, lambda: self.dials)
        self.gateway = Gateway(CORP, self.clock, lambda: self.dials)
        self.engine = Engine(lambda: self.company, self.emit)
        self.rebuild(list(self.ledger()))

    def rebuild(self, effects: Sequence[Effect]) -> None:
        """Set up the small corp everybody knows, then replay the effects; tokens and sockets are gone."""
        self.gate.reset(App(APP, SECRET, AGENT))
        self.pushes.reset()
        self.gateway.reset()
        self.mode = "stream"
        self._events = self._pushed = 0
        self.company = Company(self.ledger(), self.clock.now)
        self.company.preload(*fresh_rows())
        for effect in effects:
            if effect.form == "receiver":
                self.pushes.receiver, self.mode = Receiver(**effect.after), "http"
            else:
                self.company.replay(effect)

    def credentials(self, base_url: str) -> Mapping[str, str]:
        """Return what an administrator would hand to the integrator."""
        return {
            "base_url": base_url, "old_url": base_url, "corp_id": CORP, "app_key": APP, "app_secret": SECRET,
            "agent_id": str(AGENT), "process_codes": CONTRACT, "correlation_field": CORRELATION, "token": TOKEN,
            "aes_key": AES_KEY,
        }  # fmt: skip

    def routes(self) -> Sequence[BaseRoute]:
        """Serve both families on one address."""
        places = (
            "/v1.0/{rest:path}",
            "/topapi/{rest:path}",
            "/auth/{rest:path}",
            "/call_back/{rest:path}",
            "/gettoken",
        )
        return [Route(place, self._serve, methods=["GET", "POST", "PUT", "DELETE"]) for place in places]

    def extend_control(self, app: FastAPI) -> None:
        """Add the vendor's users, events, sockets and what there is to see."""
        add_control(app, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve requests as every sandbox does, and the websockets of the Stream gateway."""
        if scope["type"] == "websocket":
            await self.gateway.serve(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    # ------------------------------------------------------------------------------------------ the vendor's side

    def act(self, *acts: Any) -> list[Mapping[str, Json]]:
        """Let the vendor's users do things. Raises ValueError: one cannot be done; those before it are."""
        return [perform(self, one) for one in acts]

    def emit(self, kind: str, fields: dict[str, Json]) -> None:
        """Put an event on its way by the mode in force; the dials may lose it, double it or let others overtake it."""
        self._events += 1
        if self.mode == "off" or self.dials.happens("push_lose"):
            return
        counted = kind.startswith("bpms_")
        self._pushed += counted
        if counted and self.dials.monthly_pushes and self._pushed > self.dials.monthly_pushes:
            if self.mode == "stream":
                self.tell_quota()
            return
        event = Event(self.clock.token(16).hex(), kind, fields, self.company.now_ms())
        out = self.gateway if self.mode == "stream" else self.pushes
        for copy in range(1 + self.dials.happens("push_duplicate")):
            late = self.dials.push_reorder_seconds if self.dials.happens("push_reorder") else None
            out.enqueue(event if copy == 0 else replace(event, tries=0), late=late)

    def tell_quota(self) -> None:
        """Push a message without content: the month's pushes are used up."""
        self.gateway.enqueue(Event(self.clock.token(16).hex(), "quota", {}, self.company.now_ms()))

    def event_counts(self) -> dict[str, int]:
        """Return what became of the events."""
        return {
            "events": self._events, "pending": self.pushes.pending + self.gateway.pending, "failed_list": len(self.pushes.failed),
            "sockets": len(self.gateway.connections), **{f"http_{name}": count for name, count in self.pushes.counts.items()},
            **{f"stream_{name}": count for name, count in self.gateway.counts.items()},
        }  # fmt: skip

    async def save_receiver(self, url: str, *, token: str = "", key: str = "", owner: str = "") -> None:
        """Save the callback address after a real check; events then go by HTTP alone."""
        receiver = Receiver(url, token or TOKEN, key or AES_KEY, owner or APP)
        await self.pushes.save(receiver)
        self.mode = "http"
        self.ledger().record(
            "save_receiver", "receiver", at=self.clock.now(), key="app", number=url, by="user", fields={"url": url},
            after=asdict(receiver),
        )  # fmt: skip

    def apply_due(self) -> None:
        """Apply late operations, deliver what is due."""
        super().apply_due()
        self.pushes.kick()
        self.gateway.kick()

    # ------------------------------------------------------------------------------------------ faults

    def refuse(self, fault: str, op: str) -> Response | None:
        """Answer the vendor's own failures."""
        old = op in OLD
        if fault == "revoke_token":
            self.gate.revoke()
            return refused(
                OldError(40014) if old else NewError("InvalidAuthentication", "不合法的access_token"), op
            )
        if fault == "blocked_ip":
            return HTMLResponse("<html><body>punish: deny, 1111</body></html>", 200)
        if fault == "blocked_ip_json":
            body = {"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": "0"}
            return JSONResponse(body, 200)
        if fault == "forbidden_html":
            return HTMLResponse("<html><body>403</body></html>", 403)
        if fault.startswith("errcode_"):
            return refused(OldError(int(fault.removeprefix("errcode_"))), op)
        if fault.startswith("code_"):
            return refused(NewError(fault.removeprefix("code_")))
        return super().refuse(fault, op)

    def replace(self, fault: str, op: str, answer: Response) -> Response:
        """Answer something else although the operation was applied."""
        if fault == "text_numbers":
            whole = orjson.loads(bytes(answer.body))
            return Response(orjson.dumps(_texts(whole)), media_type="application/json")
        if fault.startswith("apply_then_code_"):
            return refused(NewError(fault.removeprefix("apply_then_code_")))
        if fault.startswith("apply_then_errcode_"):
            return refused(OldError(int(fault.removeprefix("apply_then_errcode_"))), op)
        return super().replace(fault, op, answer)

    # ------------------------------------------------------------------------------------------ the API

    async def _serve(self, request: Request) -> Response:
        api, raw = request.url.path.removeprefix("/"), await request.body()
        try:
            if api in (
                "v1.0/oauth2/accessToken",
                f"v1.0/oauth2/{CORP}/token",
                "v1.0/gateway/connections/open",
            ):
                return await self.exchange(
                    api.removeprefix("v1.0/"), "", lambda: self._open(api, raw, request)
                )
            if api == "gettoken":
                return await self.exchange(api, "", lambda: self._gettoken(request))
            if api.startswith("v1.0/"):
                return await self._new(api, raw, request)
            return await self._old(api, raw, request)
        except (NewError, OldError) as error:
            return refused(error, api)

    def _open(self, api: str, raw: bytes, request: Request) -> Response:
        try:
            return self._opened(api, _body(raw), request)
        except NewError as error:
            return refused(error)

    def _opened(self, api: str, body: Mapping[str, Any], request: Request) -> Response:
        if api.endswith("accessToken"):
            found = self.gate.fetch(str(body.get("appKey") or ""), str(body.get("appSecret") or ""))
            if found is None or (self.dials.corp_id_in_token and body.get("corpId") != CORP):
                raise NewError("invalidClientIdOrSecret", "无效的clientId或者clientSecret")
            return say({"accessToken": found[0], "expireIn": found[1]})
        if api.endswith("/token"):
            if body.get("grant_type") != "client_credentials":
                raise NewError("unsupported.grant.type", "grant_type 不支持")
            found = self.gate.fetch(str(body.get("client_id") or ""), str(body.get("client_secret") or ""))
            if found is None:
                raise NewError("invalid.client", "无效的应用凭证")
            return say({"access_token": found[0], "expires_in": found[1]})
        if (body.get("clientId"), body.get("clientSecret")) != (self.gate.app.key, self.gate.app.secret):
            raise NewError("authFailed", "鉴权失败")
        subscriptions = body.get("subscriptions")
        wanted = [one for one in subscriptions or () if isinstance(one, dict)]
        if not wanted or any(one.get("type") == "EVENT" and one.get("topic") != "*" for one in wanted):
            raise NewError("invalidParameter", "subscriptions 不正确")
        host = request.headers.get("host", "")
        return say({"endpoint": f"ws://{host}/connect", "ticket": self.gateway.ticket()})

    def _gettoken(self, request: Request) -> Response:
        query = request.query_params
        found = self.gate.fetch(query.get("appkey", ""), query.get("appsecret", ""))
        if found is None:
            return refused(OldError(40089))
        return say({"access_token": found[0], "expires_in": found[1]}, old=True)

    async def _new(self, api: str, raw: bytes, request: Request) -> Response:
        known = NEW.get((request.method, api))
        if known is None:
            return html_page(404)
        op, run, scope = known
        token = request.headers.get("x-acs-dingtalk-access-token")
        self.gate.enter(api, token, _ip(request), scope=scope, billable=True)
        given = dict(request.query_params) if request.method == "GET" else _body(raw)
        return await self.exchange(op, "", lambda: self._run(run, given, api, old=False))

    async def _old(self, api: str, raw: bytes, request: Request) -> Response:
        token = request.query_params.get("access_token")
        if api == "call_back/get_call_back_failed_result":
            self.gate.enter(api, token, _ip(request), scope="", billable=True)
            return await self.exchange(api, "", lambda: say(self.pushes.failed_list(), old=True))
        known = OLD.get(api)
        if known is None:
            return refused(OldError(22), api) if api.startswith("topapi/") else html_page(404)
        run, scope = known
        self.gate.enter(api, token, _ip(request), scope=scope, billable=api.startswith("topapi/message"))
        given = _body(raw) if request.method == "POST" else dict(request.query_params)
        return await self.exchange(api, "", lambda: self._run(run, given, api, old=True))

    def _run(self, run: Run, given: Mapping[str, Any], api: str, *, old: bool) -> Response:
        try:
            return say(run(Call(self.company, self.engine, self.gate.app, self.dials, given)), old=old)
        except (NewError, OldError) as error:
            return refused(error, api)


def _body(raw: bytes) -> Mapping[str, Any]:
    """Return a JSON object. Raises NewError: Missingbody for a form or nothing (pitfall 5)."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NewError("Missingbody", "body is mandatory for this action") from error
    if not isinstance(body, dict):
        raise NewError("Missingbody", "body is mandatory for this action")
    return body


def _ip(request: Request) -> str:
    return request.client.host if request.client is not None else "127.0.0.1"


def _texts(value: Any) -> Any:
    """Return the same with every number as text (sheet 0)."""
    if isinstance(value, dict):
        return {key: _texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
