"""The control door's vendor part: seed, act as the vendor's user, months, grants, tokens, subscriptions, pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi import Body, FastAPI, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.gate import CENTRES
from connectors.yonyou.sandbox.pushes import CheckUrlError, Subscription
from connectors.yonyou.sandbox.sealing import NEW
from hub.sdk.sandbox import Json

if TYPE_CHECKING:  # server.py builds on this module
    from connectors.yonyou.sandbox.server import YonyouSandbox

__all__ = ["Act", "AppChange", "RawEvent", "Seed", "Subscribe", "add_control"]

Month: TypeAlias = Annotated[str, Path(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Closed: TypeAlias = Annotated[bool, Body(embed=True)]


class Seed(BaseModel):
    """An object to put there, with the names of the API's save; ``silent``: no event tells of it."""

    model_config = ConfigDict(extra="forbid")

    fields: dict[str, Json] = Field(
        examples=[{"code": "CRM-1", "name": {"simplifiedName": "示例科技有限公司"}}]
    )
    silent: bool = True


class Act(BaseModel):
    """What a user does: submit, audit, unsubmit, unaudit, delete, stop, unstop."""

    model_config = ConfigDict(extra="forbid")

    verb: str


class Subscribe(BaseModel):
    """A subscription to events; ``scheme``: signature (apps since 2022-07-29) or msgSignature (older ones)."""

    model_config = ConfigDict(extra="forbid")

    url: str
    scheme: str = NEW
    types: list[str] = []


class AppChange(BaseModel):
    """What an administrator changes: the app enabled, paths it may not call, the data centre the tenant moves to."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool | None = None
    ungranted: list[str] | None = Field(default=None, examples=[["EFI/collection"]])
    centre: str | None = Field(default=None, examples=["c2"])


class RawEvent(BaseModel):
    """An event with whatever is in it, for what no user can bring about."""

    model_config = ConfigDict(extra="forbid")

    type: str
    fields: dict[str, Json] = {}


async def refused(_: Request, error: Exception) -> Response:
    """Answer a refusal of the control door as 409 with the vendor's text."""
    return JSONResponse({"detail": str(error), "code": getattr(error, "code", "")}, status_code=409)


def add_control(app: FastAPI, sandbox: YonyouSandbox) -> None:
    """Add the routes to ``app``; ``sandbox.desk`` is looked up at each call, for a reset replaces it."""
    for error in (CodeError, CheckUrlError):
        app.add_exception_handler(error, refused)
    _add_objects(app, sandbox)
    _add_pushes(app, sandbox)

    @app.put("/periods/{org}/{month}", summary="Close or open an accounting month")
    async def period(org: str, month: Month, closed: Closed) -> dict[str, bool]:
        sandbox.desk.period(org, month, closed=closed)
        return {"closed": closed}

    @app.post("/tokens/drop", summary="End every token, as the vendor may at any time")
    async def drop() -> dict[str, int]:
        return {"dropped": sandbox.gate.drop_tokens()}

    @app.patch("/app", summary="Disable the app, take grants away, move the tenant to another data centre")
    async def change(body: AppChange) -> dict[str, Json]:
        gate = sandbox.gate
        if body.centre is not None and body.centre not in CENTRES:
            raise HTTPException(422, f"centres: {', '.join(CENTRES)}")
        gate.enabled = gate.enabled if body.enabled is None else body.enabled
        gate.centre = gate.centre if body.centre is None else body.centre
        if body.ungranted is not None:
            gate.ungranted = set(body.ungranted)
        return {"enabled": gate.enabled, "centre": gate.centre, "ungranted": sorted(gate.ungranted)}


def _add_objects(app: FastAPI, sandbox: YonyouSandbox) -> None:
    @app.get("/objects/{form}", summary="All objects: customer, receipt, receivebill")
    async def objects(form: str) -> list[dict[str, Json]]:
        return sandbox.desk.objects(form)

    @app.post("/objects/{form}", summary="Seed an object", status_code=201)
    async def seed(form: str, body: Seed) -> dict[str, Json]:
        return sandbox.desk.seed(form, body.fields, silent=body.silent)

    @app.patch("/objects/{form}/{row_id}", summary="Edit as the vendor's user; by id or code")
    async def edit(
        form: str, row_id: str, fields: Annotated[dict[str, Json], Body(embed=True)]
    ) -> dict[str, Json]:
        return sandbox.desk.edit(form, row_id, fields)

    @app.post("/objects/{form}/{row_id}/act", summary="Submit, audit, unaudit, delete… as the vendor's user")
    async def act(form: str, row_id: str, body: Act) -> dict[str, Json]:
        return sandbox.desk.act(form, row_id, body.verb)


def _add_pushes(app: FastAPI, sandbox: YonyouSandbox) -> None:
    @app.put(
        "/subscription", summary="Save a subscription: a real CHECK_URL, 409 if it is not answered as it must"
    )
    async def save(body: Subscribe) -> dict[str, bool]:
        await sandbox.subscribe(Subscription(body.url, body.scheme, tuple(body.types)))
        return {"verified": True}

    @app.delete("/subscription", summary="Forget the subscription")
    async def forget() -> dict[str, bool]:
        there = sandbox.pushes.subscription is not None
        sandbox.pushes.subscription = None
        return {"removed": there}

    @app.post("/pushes/flush", summary="Deliver everything pending, repeats at once; answers when done")
    async def flush() -> dict[str, int]:
        return await sandbox.pushes.flush()

    @app.get("/pushes", summary="Counts of events and deliveries")
    async def counts() -> dict[str, int]:
        return sandbox.pushes.shown()

    @app.get("/pushes/log", summary="The last deliveries with their plaintext, oldest first")
    async def log() -> list[dict[str, Json]]:
        return list(sandbox.pushes.log)

    @app.post("/events", summary="Push one event of any type with any fields")
    async def push(body: RawEvent) -> dict[str, bool]:
        sandbox.pushes.enqueue(body.type, sandbox.pushes.event(body.type, body.fields))
        return {"ok": True}
