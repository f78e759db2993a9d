"""The control door's vendor part: seed, act as the vendor's people, webhooks, campaigns, pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.mailchimp.sandbox.answers import ProblemError
from hub.sdk.sandbox import Json

if TYPE_CHECKING:  # server.py builds on this module
    from connectors.mailchimp.sandbox.server import MailchimpSandbox

__all__ = ["AccountChange", "Action", "Campaign", "Seed", "add_control"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Seed(_Strict):
    """A member to put there, with the names of the API."""

    email_address: str = Field(examples=["lin@acme-asia.sg"])
    status: str = "subscribed"
    fields: dict[str, Json] = {}
    tags: list[str] = []


class Action(_Strict):
    """What somebody does: leave, bounce, confirm, edit (with fields), tag (with tags), archive, forget."""

    verb: str
    fields: dict[str, Json] = {}
    tags: list[dict[str, Json]] = []
    source: str = "user"
    reason: str = "manual"


class Campaign(_Strict):
    """A campaign that is sent now, to these addresses or to everybody who is subscribed."""

    subject: str = "News"
    emails: list[str] = []


class AccountChange(_Strict):
    """What happens to the account: the key deleted, the user disabled."""

    revoked: bool | None = None
    disabled: bool | None = None


async def refused(_: Request, error: Exception) -> Response:
    """Answer a refusal of the control door as 409 with the vendor's text."""
    return JSONResponse({"detail": str(error), "title": getattr(error, "title", "")}, status_code=409)


def add_control(app: FastAPI, sandbox: MailchimpSandbox) -> None:
    """Add the routes to ``app``; the parts are looked up at each call, for a reset replaces them."""
    app.add_exception_handler(ProblemError, refused)
    _add_members(app, sandbox)
    _add_audience(app, sandbox)

    @app.post("/campaigns/{list_id}", summary="Send a campaign", status_code=201)
    async def send(list_id: str, body: Campaign) -> dict[str, Json]:
        return sandbox.reports.send(list_id, body.subject, body.emails)

    @app.post("/campaigns/{campaign_id}/{email}/{action}", summary="Open, click or bounce as a recipient")
    async def act(campaign_id: str, email: str, action: str) -> dict[str, Json]:
        return sandbox.reports.act(campaign_id, email, action)

    @app.patch("/account", summary="Delete the key, disable the user")
    async def change(body: AccountChange) -> dict[str, bool]:
        gate = sandbox.gate
        gate.revoked = gate.revoked if body.revoked is None else body.revoked
        gate.disabled = gate.disabled if body.disabled is None else body.disabled
        return {"revoked": gate.revoked, "disabled": gate.disabled}

    @app.get("/connections", summary="Calls under way now, and the most there ever were")
    async def connections() -> dict[str, int]:
        return {"open": sandbox.gate.open_calls, "most": sandbox.gate.most_open}

    @app.post("/pushes/flush", summary="Deliver everything pending, repeats at once; answers when done")
    async def flush() -> dict[str, int]:
        return await sandbox.pushes.flush()

    @app.get("/pushes", summary="Counts of events and deliveries")
    async def counts() -> dict[str, int]:
        return sandbox.pushes.shown()

    @app.get("/pushes/log", summary="The last deliveries, oldest first")
    async def log() -> list[dict[str, Json]]:
        return list(sandbox.pushes.log)


def _add_members(app: FastAPI, sandbox: MailchimpSandbox) -> None:
    @app.get("/members/{list_id}", summary="All members, archived ones too")
    async def members(list_id: str) -> list[dict[str, Json]]:
        return [sandbox.members.shown(row) for row in sandbox.members.of(list_id)]

    @app.post("/members/{list_id}", summary="Seed a member", status_code=201)
    async def seed(list_id: str, body: Seed) -> dict[str, Json]:
        people = sandbox.members
        row = people.add(
            list_id, body.email_address, body.status, body.fields, skip=True, by="seed", source="admin"
        )
        tags = [{"name": name, "status": "active"} for name in body.tags]
        return people.shown(people.tag(row, tags, by="seed") if tags else row)

    @app.post(
        "/members/{list_id}/{name}/act",
        summary="Act as the person, or as an administrator; by address, hash or id",
    )
    async def act(list_id: str, name: str, body: Action) -> dict[str, Json]:
        people = sandbox.members
        row = people.need(list_id, name)
        acts: dict[str, Any] = {
            "leave": lambda: people.leave(row, reason=body.reason, source=body.source),
            "bounce": lambda: people.bounce(row),
            "confirm": lambda: people.confirm(row),
            "edit": lambda: people.edit(row, body.fields),
            "tag": lambda: people.tag(row, body.tags, by="user"),
            "archive": lambda: people.archive(list_id, name, by="user"),
            "forget": lambda: people.forget(list_id, name, by="user"),
        }
        if body.verb not in acts:
            raise ProblemError("InvalidAction", f"{body.verb[:20]}: known are {', '.join(acts)}")
        done = acts[body.verb]()
        return {} if done is None else people.shown(done)


def _add_audience(app: FastAPI, sandbox: MailchimpSandbox) -> None:
    @app.patch("/lists/{list_id}", summary="Change settings of an audience, such as double_optin")
    async def change(list_id: str, body: dict[str, Json]) -> dict[str, Json]:
        return sandbox.audiences.change(list_id, body, by="user")

    @app.post("/lists/{list_id}/merge-fields", summary="Make a merge field", status_code=201)
    async def field(list_id: str, body: dict[str, Json]) -> dict[str, Json]:
        return sandbox.audiences.add_field(list_id, body, by="seed")

    @app.post(
        "/lists/{list_id}/webhooks",
        summary="Set a webhook up: a real GET first, 409 if it is not answered",
        status_code=201,
    )
    async def webhook(list_id: str, body: dict[str, Json]) -> dict[str, Json]:
        await sandbox.pushes.validate(sandbox.audiences.may_add_webhook(list_id, body))
        return sandbox.audiences.add_webhook(list_id, body, by="user")

    @app.get("/lists/{list_id}/webhooks", summary="Webhooks as stored, without secrets")
    async def webhooks(list_id: str) -> list[dict[str, Json]]:
        rows = [row for row in sandbox.books.rows("webhook") if row["list_id"] == list_id]
        return [{name: value for name, value in row.items() if name != "signing_secret"} for row in rows]
