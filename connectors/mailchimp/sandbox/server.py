"""The sandbox as a whole: one account behind ``/3.0``, its checks in front, webhooks behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.mailchimp.sandbox.answers import GLOSSARY, ProblemError, answer, problem
from connectors.mailchimp.sandbox.audiences import Audiences
from connectors.mailchimp.sandbox.batches import Batches
from connectors.mailchimp.sandbox.books import LISTS, Books
from connectors.mailchimp.sandbox.control import add_control
from connectors.mailchimp.sandbox.dials import MailchimpDials
from connectors.mailchimp.sandbox.gate import Account, Gate, project
from connectors.mailchimp.sandbox.members import Members
from connectors.mailchimp.sandbox.pushes import Pushes
from connectors.mailchimp.sandbox.reports import Reports
from connectors.mailchimp.sandbox.routes import Call, Parts, find_route
from hub.sdk.sandbox import Clock, Effect, Json, Sandbox, html_page

__all__ = ["MailchimpSandbox"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class MailchimpSandbox(Sandbox):
    """A stand-in for one Mailchimp account by the fact sheet and nothing else.

    ``members``, ``audiences`` and ``reports`` act as the vendor's people; ``gate`` holds credentials; ``pushes`` the outbox.
    """

    name = "mailchimp"
    dials: MailchimpDials

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
        dials: MailchimpDials | None = None,
        account: Account | None = None,
    ) -> None:
        """Open the account; ``state`` is the journal file it goes on from after a restart."""
        super().__init__(clock=clock, state=state, dials=dials or MailchimpDials())
        self.account = account or Account()
        self.gate = Gate(self.account)
        self.pushes = Pushes(self.clock, lambda: self.dials, self._disable)
        self.rebuild(list(self.ledger()))

    def rebuild(self, effects: Sequence[Effect]) -> None:
        """Replay the effects; batches and events on their way are gone."""
        self.gate.reset()
        self.pushes.reset()
        self.books = Books(self.ledger(), self.clock.now, self.clock.token)
        for effect in effects:
            self.books.replay(effect)
        self.members = Members(self.books, self.dials, self._emit)
        self.audiences = Audiences(self.books, self.dials, self.members)
        self.reports = Reports(self.books, self.members)
        self.batches = Batches(self.clock, self.books.time)

    def credentials(self, base_url: str) -> Mapping[str, str]:
        """Return what an administrator would hand to the integrator."""
        return {"base_url": f"{base_url}/3.0", "api_key": self.account.api_key, "list_id": LISTS[0]}

    def routes(self) -> Sequence[BaseRoute]:
        """Serve the API, OAuth's metadata and the results of batches."""
        return [
            Route("/oauth2/metadata", self._metadata, methods=["GET"]),
            Route("/batch-results/{name}", self._results, methods=["GET"]),
            Route("/3.0{path:path}", self._serve, methods=METHODS),
        ]

    def extend_control(self, app: FastAPI) -> None:
        """Add the vendor's people, webhooks and campaigns to the control door."""
        add_control(app, self)

    def apply_due(self) -> None:
        """Apply late operations, deliver what is due."""
        super().apply_due()
        self.pushes.kick()

    # ------------------------------------------------------------------------------------------ faults

    def refuse(self, fault: str, op: str) -> Response | None:
        """Answer the vendor's own failures; a 429 is a problem document, the burst shield's 403 is not (10)."""
        if fault == "http_429":
            return problem(ProblemError("TooManyRequests"), self._request_id())
        if fault.startswith("error_"):
            return problem(ProblemError(fault.removeprefix("error_")), self._request_id())
        if fault == "html_403":
            return html_page(403)
        return super().refuse(fault, op)

    # ------------------------------------------------------------------------------------------ the vendor's doors

    async def _metadata(self, request: Request) -> Response:
        """Answer 200 even for a bad token (1)."""
        _, _, token = request.headers.get("authorization", "").partition(" ")
        if token != self.account.token or self.gate.revoked:
            return JSONResponse(
                {"error": "invalid_token", "error_description": "The access token is invalid."}
            )
        base = str(request.base_url).rstrip("/")
        return JSONResponse(
            {"dc": "us19", "role": "owner", "accountname": "Example Asia", "user_id": 1, "login_url": base,
             "login": {"email": "it@example.sg", "avatar": None, "login_id": 1, "login_name": "it", "login_email": "it@example.sg"},
             "api_endpoint": base}
        )  # fmt: skip

    async def _results(self, request: Request) -> Response:
        content = self.batches.archive(request.path_params["name"], self.dials)
        return html_page(404) if content is None else Response(content, media_type="application/gzip")

    async def _serve(self, request: Request) -> Response:
        raw, request_id = await request.body(), self._request_id()
        self.gate.open_calls += 1
        self.gate.most_open = max(self.gate.most_open, self.gate.open_calls)
        try:
            if self.gate.open_calls > self.dials.connections:
                raise ProblemError("TooManyRequests")
            self.gate.enter(request.headers.get("authorization", ""))
            trigger = request.headers.get("x-trigger-error", "")
            if trigger in GLOSSARY:
                raise ProblemError(trigger)
            method = _method(request)
            body = _read(raw) if method in ("POST", "PUT", "PATCH") else {}
            return await self._called(request, method, body, request_id)
        except ProblemError as error:
            return problem(error, request_id)
        finally:
            self.gate.open_calls -= 1

    async def _called(self, request: Request, method: str, body: Json, request_id: str) -> Response:
        path, query = "/" + request.url.path.removeprefix("/3.0").strip("/"), dict(request.query_params)
        if path.partition("/batches")[0] == "" and path.startswith("/batches"):
            return await self._batch(request, method, path, body, request_id)
        found = find_route(method, path)
        if isinstance(found, list):
            error = ProblemError("MethodNotAllowed" if found else "ResourceNotFound")
            return problem(error, request_id, ", ".join(found))
        route, at = found
        if route.op == "webhooks.post":
            await self.pushes.validate(self.audiences.may_add_webhook(at[0], body))
        if route.op == "members.list" and 0 < self.dials.large_page_504 < int(query.get("count", "10")):
            return html_page(504)

        def apply() -> Response:
            try:
                found = self._applied(method, path, query, body)
            except ProblemError as error:
                return problem(error, request_id)
            return answer(200 if found is not None else 204, found, request_id)

        return await self.exchange(route.op, route.form, apply)

    def _applied(self, method: str, path: str, query: Mapping[str, str], body: Json) -> Json:
        """Do one call and return the body of its answer, None for a 204. Raises ProblemError."""
        found = find_route(method, path)
        if isinstance(found, list):
            raise ProblemError("MethodNotAllowed" if found else "ResourceNotFound")
        route, at = found
        self.members.dials = self.audiences.dials = (
            self.dials
        )  # the control door replaces the dials as a whole
        parts = Parts(self.audiences, self.members, self.reports, self.dials)
        done = route.apply(parts, Call(tuple(map(unquote, at)), query, body))
        return None if done is None else project(done, query)

    async def _batch(self, request: Request, method: str, path: str, body: Json, request_id: str) -> Response:
        name = path.removeprefix("/batches").strip("/")
        base = str(request.base_url).rstrip("/")
        if method == "POST" and not name:
            return await self.exchange("batches.post", "batch", lambda: self._submitted(body, request_id))
        if method == "GET" and name:
            found = await self.batches.look(name, base, self._operation, self.dials)
            return await self.exchange("batches.get", "batch", lambda: answer(200, found, request_id))
        if method == "DELETE" and name:
            self.batches.stop(name)
            return answer(204, None, request_id)
        raise ProblemError("MethodNotAllowed")

    def _submitted(self, body: Json, request_id: str) -> Response:
        try:
            return answer(200, self.batches.submit(body), request_id)
        except ProblemError as error:
            return problem(error, request_id)

    async def _operation(
        self, method: str, path: str, params: Mapping[str, str], body: Json
    ) -> tuple[int, Json]:
        try:
            found = self._applied(method, path, params, body or {})
        except ProblemError as error:
            return error.status, {"title": error.title, "status": error.status, "detail": str(error),
                                  "errors": [{"field": one, "message": text} for one, text in error.errors]}  # fmt: skip
        return (204, None) if found is None else (200, found)

    def _emit(self, list_id: str, kind: str, source: str, data: Mapping[str, Json]) -> None:
        hooks = [row for row in self.books.rows("webhook") if row["list_id"] == list_id]
        self.pushes.emit(hooks, kind, source, data)

    def _disable(self, webhook_id: str) -> None:
        row = self.books.get("webhook", webhook_id)
        if row is not None:
            self.books.put(
                "webhook", webhook_id, row | {"enabled": False}, "disable", "user", number=row["url"]
            )

    def _request_id(self) -> str:
        return self.clock.token(16).hex()


def _method(request: Request) -> str:
    """Return the method, overridden on a POST alone (0)."""
    override = request.headers.get("x-http-method-override", "").upper()
    if override and request.method != "POST":
        raise ProblemError("InvalidMethodOverride")
    return override or request.method


def _read(raw: bytes) -> dict[str, Any]:
    """Return a body; absent, empty and ``null`` are an empty object (0). Raises ProblemError for anything else."""
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ProblemError("JSONParseError") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise ProblemError("InvalidResource", "Schema describes object, another type found instead")
    return body
