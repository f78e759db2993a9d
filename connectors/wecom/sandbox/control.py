"""The control door's vendor part: population, acts, callbacks, apps, tokens, and what there is to see."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated

import orjson
from fastapi import Body, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from connectors.wecom.sandbox.acts import Act
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.approving import turns
from connectors.wecom.sandbox.apps import App
from connectors.wecom.sandbox.callbacks import HandshakeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.population import Spec
from connectors.wecom.sandbox.rows import Person, fields_of
from hub.sdk.sandbox import Json

if TYPE_CHECKING:  # server.py builds on this module
    from connectors.wecom.sandbox.server import WeComSandbox

__all__ = ["AppChange", "PopulationSpec", "ReceiverChange", "add_control", "shown_person"]

CHUNK = 1000


class PopulationSpec(BaseModel):
    """How many people with how many follows over how many employees; the same spec, the same population."""

    model_config = ConfigDict(extra="forbid")

    people: int = Field(examples=[300_000])
    follows: int = Field(examples=[450_000])
    employees: int = Field(examples=[300])
    departments: int = 8
    seed: int = 0
    since: int = 1_672_531_200


class ReceiverChange(BaseModel):
    """A callback address; token and key are those the sandbox prints unless given."""

    model_config = ConfigDict(extra="forbid")

    url: str
    token: str = ""
    encoding_aes_key: str = ""


class AppChange(BaseModel):
    """The named properties of an app; a new agentid makes an app."""

    model_config = ConfigDict(extra="forbid")

    secret: str | None = None
    name: str | None = None
    grants: set[str] | None = Field(default=None, examples=[["externalcontact", "contacts"]])
    visible_departments: list[int] | None = None
    visible_userids: list[str] | None = None
    trusted_ips: list[str] | None = Field(default=None, description="empty: no rule; else others get 60020")
    enabled: bool | None = None
    old: bool | None = None
    contact_sync: bool | None = None


async def refused(_: Request, error: Exception) -> Response:
    """Answer a refusal of the control door as 409."""
    code = error.errcode if isinstance(error, ErrcodeError) else 0
    return JSONResponse({"detail": str(error), "errcode": code}, status_code=409)


def add_control(app: FastAPI, sandbox: WeComSandbox) -> None:
    """Add the routes to ``app``; ``sandbox.corp`` is looked up at each call, for a reset replaces it."""
    for error in (ErrcodeError, HandshakeError, ValueError):
        app.add_exception_handler(error, refused)

    @app.post("/population", summary="Seed a computed population", status_code=201)
    async def populate(spec: PopulationSpec) -> dict[str, int]:
        sandbox.corp.seed(Spec(**spec.model_dump()))
        return {"people": spec.people, "follows": spec.follows, "employees": spec.employees}

    @app.post("/act", summary="Do one thing as the vendor's user")
    async def act(body: Annotated[Act, Body()]) -> Mapping[str, Json]:
        return sandbox.act(body)[0]

    @app.post("/acts", summary="Do many things in one moment: their events share the second")
    async def acts(body: list[Act]) -> list[Mapping[str, Json]]:
        return sandbox.act(*body)

    _add_callbacks(app, sandbox)
    _add_apps(app, sandbox)
    _add_views(app, sandbox)


def _add_callbacks(app: FastAPI, sandbox: WeComSandbox) -> None:
    @app.put(
        "/callbacks/{agentid}", summary="Save an app's callback address: the real handshake, 409 if it fails"
    )
    async def save(agentid: str, body: ReceiverChange) -> dict[str, bool]:
        await sandbox.save_receiver(body.url, agentid=agentid, token=body.token, key=body.encoding_aes_key)
        return {"verified": True}

    @app.delete("/callbacks/{agentid}", summary="Forget an app's callback address")
    async def forget(agentid: str) -> dict[str, bool]:
        return {"removed": sandbox.callbacks.receivers.pop(agentid, None) is not None}

    @app.post("/callbacks/flush", summary="Deliver everything pending, retries at once; answers when done")
    async def flush() -> dict[str, int]:
        return await sandbox.callbacks.flush()

    @app.get("/callbacks", summary="Counts of events and deliveries")
    async def counts() -> dict[str, int]:
        return sandbox.callbacks.shown()

    @app.get("/callbacks/log", summary="The last deliveries with their plaintext, oldest first")
    async def log() -> list[dict[str, Json]]:
        return list(sandbox.callbacks.log)


def _add_apps(app: FastAPI, sandbox: WeComSandbox) -> None:
    @app.put("/apps/{agentid}", summary="Change or make an app: secret, grants, visible range, trusted IPs")
    async def change(agentid: str, body: AppChange) -> dict[str, Json]:
        given = body.model_dump(exclude_none=True)
        known = sandbox.gate.apps.get(agentid)
        if known is None:
            if not body.secret:
                raise HTTPException(422, "a new app needs a secret")
            known = sandbox.gate.apps[agentid] = App(agentid, body.secret)
        for name, value in given.items():
            setattr(known, name, value)
        return {"agentid": agentid, "changed": sorted(given)}

    @app.post("/tokens/end", summary="Revoke (40014) or expire (42001) live tokens, of one app or all")
    async def end(
        agentid: Annotated[str, Body()] = "", expire: Annotated[bool, Body()] = False
    ) -> dict[str, int]:
        return {"ended": sandbox.gate.end_tokens(agentid, expire=expire)}

    @app.post("/limits/block", summary="Block an API: 45009 until the seconds are over")
    async def block(
        api: Annotated[str, Body(examples=["externalcontact/get"])],
        seconds: Annotated[float, Body(gt=0)] = 60.0,
    ) -> dict[str, bool]:
        sandbox.limits.block(api, seconds)
        return {"ok": True}


def _add_views(app: FastAPI, sandbox: WeComSandbox) -> None:
    @app.get("/calls", summary="Calls that got in and the most in flight at once, by API")
    async def calls() -> dict[str, dict[str, int]]:
        return {"calls": dict(sandbox.limits.calls), "most_in_flight": dict(sandbox.limits.most_in_flight)}

    @app.get("/oddities", summary="What clients sent that the vendor forgives: unknown fields, escapes")
    async def oddities() -> list[dict[str, str]]:
        return list(sandbox.oddities.seen)

    @app.get("/state", summary="Members, departments, tags, transfers, counts")
    async def state() -> dict[str, Json]:
        corp = sandbox.corp
        return {
            "members": [fields_of(one) for one in corp.members.values()],
            "departments": [fields_of(one) for one in corp.departments.values()],
            "tag_groups": [fields_of(one) for one in corp.tag_groups.values()],
            "tags": [fields_of(one) for one in corp.tags.values()],
            "transfers": [fields_of(one) for one in corp.transfers.values()],
        }

    @app.get("/approvals", summary="All submitted forms, oldest first, with whose turn it is")
    async def approvals() -> list[dict[str, Json]]:
        return [{**fields_of(one), "turns": turns(one)} for one in sandbox.corp.forms.values()]

    @app.get("/messages", summary="All messages of apps, oldest first, with who really got them")
    async def messages() -> list[dict[str, Json]]:
        return [fields_of(one) for one in sandbox.corp.messages.values()]

    @app.get("/templates", summary="All approval templates")
    async def templates() -> list[dict[str, Json]]:
        return [fields_of(one) for one in sandbox.corp.templates.values()]

    @app.get(
        "/people",
        summary="Everybody with all relations, one JSON object a line; changed: without the untouched",
    )
    async def people(changed: bool = False) -> Response:
        return StreamingResponse(_lines(sandbox.corp, changed=changed), media_type="application/x-ndjson")

    @app.get("/people/{external_userid}", summary="One person with all relations")
    async def person(external_userid: str) -> dict[str, Json]:
        found = sandbox.corp.person(external_userid)
        if found is None:
            raise HTTPException(404, "nobody has this id")
        return shown_person(sandbox.corp, found)


def shown_person(corp: Corp, person: Person) -> dict[str, Json]:
    """Return a person with all relations, also half and one-way ones, tags by name: for judges."""
    follows = []
    for one in corp.followers(person.external_userid):
        names = [corp.tags[tag_id].name for tag_id in one.tag_ids if not corp.tags[tag_id].deleted]
        follows.append({**fields_of(one), "tag_names": names})
    return {**fields_of(person), "follows": follows}


async def _lines(corp: Corp, *, changed: bool) -> AsyncIterator[bytes]:
    """Give a thousand lines at a time and let others have their turn in between."""
    people = corp.changed_persons() if changed else corp.persons()
    while chunk := list(itertools.islice(people, CHUNK)):
        yield b"".join(orjson.dumps(shown_person(corp, person)) + b"\n" for person in chunk)
        await asyncio.sleep(0)
