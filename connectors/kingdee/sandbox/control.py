"""The control door's vendor part: seed, act as the vendor's user, periods, users, sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi import Body, FastAPI, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.kingdee.sandbox.answers import RefusalError
from connectors.kingdee.sandbox.auth import User
from hub.sdk.sandbox import Json

if TYPE_CHECKING:  # server.py builds on this module
    from connectors.kingdee.sandbox.server import KingdeeSandbox

__all__ = ["Act", "Edit", "Seed", "UserChange", "add_control"]

Month: TypeAlias = Annotated[str, Path(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Closed: TypeAlias = Annotated[bool, Body(embed=True)]


class Seed(BaseModel):
    """An object to put there: references as plain numbers, status as in 3.1."""

    model_config = ConfigDict(extra="forbid")

    fields: dict[str, Json] = Field(examples=[{"FNumber": "CRM-000123", "FName": "示例科技有限公司"}])
    status: str = "C"


class Edit(BaseModel):
    """Fields a user changes on the screen, whatever the object's status."""

    model_config = ConfigDict(extra="forbid")

    fields: dict[str, Json] = Field(examples=[{"FTEL": "021-12345678"}])
    user: str = "zhangsan"
    org: str = Field(default="", description="use org, where copies with the same number exist")


class Act(BaseModel):
    """An operation a user does: submit, audit, unaudit, cancelassign, delete, forbid, enable, cancel."""

    model_config = ConfigDict(extra="forbid")

    verb: str
    user: str = "zhangsan"
    org: str = ""


class UserChange(BaseModel):
    """A user of the site; ``orgs`` empty: all."""

    model_config = ConfigDict(extra="forbid")

    password: str = "sandbox-only"
    orgs: list[str] = []
    admin: bool = False


async def refused(_: Request, error: Exception) -> Response:
    """Answer a refusal of the control door as 409 with the vendor's text."""
    trouble = error.trouble if isinstance(error, RefusalError) else None
    code = trouble.code if trouble is not None else 0
    return JSONResponse(
        {"detail": str(error), "msg_code": code, "field": trouble and trouble.field}, status_code=409
    )


def add_control(app: FastAPI, sandbox: KingdeeSandbox) -> None:
    """Add the routes to ``app``; ``sandbox.desk`` is looked up at each call, for a reset replaces it."""
    app.add_exception_handler(RefusalError, refused)
    _add_objects(app, sandbox)

    @app.put("/periods/{org}/{month}", summary="Close or open an accounting period")
    async def period(org: str, month: Month, closed: Closed) -> dict[str, bool]:
        (sandbox.desk.close_period if closed else sandbox.desk.open_period)(org, month)
        return {"closed": closed}

    @app.post("/sessions/drop", summary="Drop all sessions, as a server recycle does")
    async def drop() -> dict[str, int]:
        return {"dropped": sandbox.gate.drop_sessions()}

    @app.put("/users/{name}", summary="Add or change a user: password, permitted orgs, administrator")
    async def user(name: str, change: UserChange) -> dict[str, bool]:
        orgs = frozenset(change.orgs) if change.orgs else None
        sandbox.books.add_user(name)
        sandbox.gate.users[name] = User(change.password, orgs, change.admin)
        return {"ok": True}


def _add_objects(app: FastAPI, sandbox: KingdeeSandbox) -> None:
    @app.get("/objects/{form}", summary="All objects of a form as a person reads them")
    async def objects(form: str) -> list[dict[str, Json]]:
        return sandbox.desk.objects(form)

    @app.post("/objects/{form}", summary="Seed an object", status_code=201)
    async def seed(form: str, body: Seed) -> dict[str, Json]:
        return sandbox.desk.seed(form, body.fields, body.status)

    @app.patch("/objects/{form}/{number}", summary="Edit as the vendor's user")
    async def edit(form: str, number: str, body: Edit) -> dict[str, Json]:
        return sandbox.desk.edit(form, number, body.fields, user=body.user, org=body.org)

    @app.post("/objects/{form}/{number}/act", summary="Submit, audit, delete… as the vendor's user")
    async def act(form: str, number: str, body: Act) -> dict[str, Json]:
        return sandbox.desk.act(form, number, body.verb, user=body.user, org=body.org)

    @app.post("/objects/{form}/{number}/successor", summary="Plant a downstream document")
    async def successor(
        form: str, number: str, successor: Annotated[str, Body(embed=True)]
    ) -> dict[str, bool]:
        sandbox.desk.plant_successor(form, number, successor)
        return {"ok": True}
