"""The control door's vendor part: acts of people, pushes, sockets, tokens, and what there is to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import Body, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.dingtalk.sandbox.acts import Act, perform
from connectors.dingtalk.sandbox.pushing import HandshakeError
from hub.sdk.sandbox import Json

if TYPE_CHECKING:  # server.py builds on this module
    from connectors.dingtalk.sandbox.server import DingTalkSandbox

__all__ = ["ReceiverChange", "add_control"]


class ReceiverChange(BaseModel):
    """A callback address; token, key and owner are those the sandbox prints unless given."""

    model_config = ConfigDict(extra="forbid")

    url: str
    token: str = ""
    aes_key: str = ""
    owner: str = Field(default="", description="app key (console) or corp id (register_call_back)")


async def refused(_: Request, error: Exception) -> Response:
    """Answer a refusal of the control door as 409."""
    return JSONResponse({"detail": str(error)}, status_code=409)


def add_control(app: FastAPI, box: DingTalkSandbox) -> None:
    """Add the routes to ``app``; ``box.company`` is looked up at each call, for a reset replaces it."""
    for error in (HandshakeError, ValueError):
        app.add_exception_handler(error, refused)

    @app.post(
        "/act",
        summary="Do one thing as the vendor's user: agree, refuse, transfer, withdraw, revoke, start …",
    )
    async def act(body: Annotated[Act, Body()]) -> Mapping[str, Json]:
        return perform(box, body)

    @app.post("/acts", summary="Do many things in one moment")
    async def acts(body: list[Act]) -> list[Mapping[str, Json]]:
        return [perform(box, one) for one in body]

    _add_events(app, box)
    _add_stream(app, box)
    _add_views(app, box)


def _add_events(app: FastAPI, box: DingTalkSandbox) -> None:
    @app.put("/mode/{mode}", summary="Choose how events go out: stream or off; http by PUT /receiver")
    async def mode(mode: str) -> dict[str, str]:
        if mode not in ("stream", "off"):
            raise HTTPException(422, "stream or off")
        box.mode = mode
        return {"mode": mode}

    @app.put("/receiver", summary="Save the HTTP callback address: the real check_url, 409 if it fails")
    async def save(body: ReceiverChange) -> dict[str, bool]:
        await box.save_receiver(body.url, token=body.token, key=body.aes_key, owner=body.owner)
        return {"verified": True}

    @app.post("/events/flush", summary="Deliver everything pending, retries at once")
    async def flush() -> dict[str, int]:
        await box.pushes.flush()
        await box.gateway.flush()
        return box.event_counts()

    @app.get("/events", summary="Counts of events, pushes and acknowledgements")
    async def counts() -> dict[str, int]:
        return box.event_counts()

    @app.get("/events/log", summary="The last pushes and acknowledgements, oldest first")
    async def log() -> dict[str, list[dict[str, Json]]]:
        return {"http": list(box.pushes.log), "acks": list(box.gateway.acks)}

    @app.post("/events/quota", summary="Let the Stream say that its pushes are used up (errCode 20001)")
    async def quota() -> dict[str, bool]:
        box.tell_quota()
        return {"ok": True}


def _add_stream(app: FastAPI, box: DingTalkSandbox) -> None:
    @app.post("/stream/disconnect", summary="Rotate: tell every socket to go, end TCP after a while")
    async def disconnect() -> dict[str, int]:
        return {"told": await box.gateway.disconnect()}

    @app.post("/stream/cut", summary="End every socket abruptly")
    async def cut() -> dict[str, int]:
        return {"cut": box.gateway.cut()}

    @app.post("/tokens/revoke", summary="The token dies now")
    async def revoke() -> dict[str, bool]:
        box.gate.revoke()
        return {"ok": True}

    @app.put("/scopes", summary="What the app may do")
    async def scopes(body: list[str]) -> dict[str, int]:
        box.gate.app.scopes = set(body)
        return {"scopes": len(body)}

    @app.put("/visible", summary="Departments in the app's range")
    async def visible(body: list[int]) -> dict[str, int]:
        box.gate.app.visible = body
        return {"departments": len(body)}


def _add_views(app: FastAPI, box: DingTalkSandbox) -> None:
    @app.get("/calls", summary="Calls that got in, by API, and how many were billed this month")
    async def calls() -> dict[str, Json]:
        return {"calls": dict(box.gate.calls), "billed": box.gate.billed}

    @app.get("/approvals", summary="Every instance as it stands")
    async def approvals() -> list[dict[str, Json]]:
        return [asdict(one) for one in box.company.started()]

    @app.get("/approvals/{id}", summary="One instance as it stands")
    async def approval(id: str) -> dict[str, Json]:
        found = box.company.instances.get(id)
        if found is None:
            raise HTTPException(404, "there is no such instance")
        return asdict(found)

    @app.get("/state", summary="People, departments, templates, notices")
    async def state() -> dict[str, Json]:
        company = box.company
        return {
            "users": [asdict(one) for one in company.users.values()],
            "departments": [asdict(one) for one in company.departments.values()],
            "templates": [asdict(one) for one in company.templates.values()],
            "notices": [asdict(one) for one in company.notices.values()],
        }
