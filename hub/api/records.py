"""Routes of records: write by external id, change fields, read one, list."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import replace
from typing import Final

from fastapi import APIRouter, Request, Response

from hub.access.viewer import Permission
from hub.api import openapi
from hub.api.admit import admitted
from hub.api.cursor import read_cursor, write_cursor
from hub.api.intake import checked_patch, checked_write
from hub.api.problem import ApiProblem, ProblemKind
from hub.api.request import (
    external_id,
    if_match,
    page_limit,
    query_values,
    read_body,
)
from hub.api.services import Services
from hub.api.wire import encode
from hub.crm.external import VersionMoved, WriteAnswer, WriteRefused
from hub.crm.query import Stored, by_external, find, get
from hub.errors import Cause
from hub.model.fields import InvalidFields
from hub.model.kinds import KINDS, Kind
from hub.pipe.patch import FIXED
from hub.pipe.refusal import NotThere
from hub.project.values import API, Connection

__all__ = ["KINDS_BY_PATH", "record_routes"]

KINDS_BY_PATH: Final = {
    "customers": KINDS["customer"],
    "contacts": KINDS["contact"],
    "follows": KINDS["follow"],
    "employees": KINDS["employee"],
    "contracts": KINDS["contract"],
    "payments": KINDS["payment"],
    "approvals": KINDS["approval"],
    "consents": KINDS["consent"],
}
"""What the API shows; employees are only shown. A payment is not changed by PATCH: it may be posted; nor is what was agreed."""

_SHOWN_ONLY: Final = frozenset({"employee"})
_BY_OWN_ID: Final = "/by-external/{system}/{external:path}"
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def record_routes(services: Services, path: str, kind: Kind) -> APIRouter:
    """Return the routes of one kind under ``/api/v1/<path>``."""
    router = APIRouter(prefix=f"/api/v1/{path}", tags=[path])
    if kind.name not in _SHOWN_ONLY:
        _add_by_own_id(router, services, path, kind)
    _add_reading(router, services, kind)
    if kind.name in FIXED:
        _add_change(router, services, kind)
    return router


def _add_by_own_id(router: APIRouter, services: Services, path: str, kind: Kind) -> None:
    @router.put(
        _BY_OWN_ID,
        summary=f"Create or change a {_titled(kind)} by your own id",
        openapi_extra=openapi.put_record(kind),
    )
    async def put_record(request: Request, system: str, external: str) -> Response:
        mine = await admitted(services, request, Permission.RECORDS_WRITE)
        connection = _api_connection(mine, system)
        own_id, version = external_id(external), if_match(request)
        query_values(request)
        body = await read_body(request)
        write = await checked_write(mine, connection, kind, own_id, body=body, if_version=version)
        answer = await _written(mine.write_record(replace(write, scope=mine.scope)))
        seen = {"system": system, "kind": kind.name, "external_id": own_id}
        if isinstance(answer, WriteRefused):
            mine.log.info("api.record.held", **seen, cause=answer.cause.value)
            return _held(answer)
        mine.log.info("api.record.written", **seen, created=answer.created, version=answer.version)
        return _answer(_shown_answer(mine, kind, answer), answer.version, created=answer.created, path=path)

    @router.get(
        _BY_OWN_ID, summary=f"Read a {_titled(kind)} by your own id", openapi_extra=openapi.get_record(kind)
    )
    async def get_by_external(request: Request, system: str, external: str) -> Response:
        mine = await admitted(services, request, Permission.RECORDS_READ)
        query_values(request)
        own_id = external_id(external)
        _api_connection(mine, system)
        found = await mine.read(by_external, mine.scope, kind.name, system=system, external_id=own_id)
        return _found(mine, found)


def _add_reading(router: APIRouter, services: Services, kind: Kind) -> None:
    @router.get("", summary=f"List: {_titled(kind)}", openapi_extra=openapi.list_records(kind))
    async def list_records(request: Request) -> Response:
        mine = await admitted(services, request, Permission.RECORDS_READ)
        asked = query_values(request, "cursor", "limit")
        limit = page_limit(asked.get("limit"))
        cursor = asked.get("cursor")
        after = None if cursor is None else read_cursor(mine.cursor_key, mine.scope, kind.name, cursor)
        items = await mine.read(find, mine.scope, kind.name, after=after, limit=limit + 1)
        page, more = items[:limit], len(items) > limit
        following = write_cursor(mine.cursor_key, mine.scope, kind.name, page[-1].after) if more else None
        return _json({"items": [_shown(mine, item) for item in page], "next_cursor": following})

    @router.get("/{record}", summary=f"Read a {_titled(kind)}", openapi_extra=openapi.get_record(kind))
    async def get_one(request: Request, record: str) -> Response:
        mine = await admitted(services, request, Permission.RECORDS_READ)
        query_values(request)
        found = await mine.read(get, mine.scope, _record_id(record), kind=kind.name)
        return _found(mine, found)


def _add_change(router: APIRouter, services: Services, kind: Kind) -> None:
    @router.patch(
        "/{record}",
        summary=f"Change fields of a {_titled(kind)}; null takes a field away",
        openapi_extra=openapi.patch_record(kind),
    )
    async def patch_record(request: Request, record: str) -> Response:
        mine = await admitted(services, request, Permission.RECORDS_WRITE)
        id_, version = _record_id(record), if_match(request)
        system = query_values(request, "system").get("system")
        if system is not None:
            _api_connection(mine, system)
        body = await read_body(request)
        asked = await checked_patch(mine, system, kind, id_, body=body, if_version=version)
        answer = await _written(mine.write_record(asked))
        if isinstance(answer, WriteRefused):
            return _held(answer)
        mine.log.info(
            "api.record.patched", by=asked.by, kind=kind.name, record=record, version=answer.version
        )
        return _answer(_shown_answer(mine, kind, answer), answer.version)


def _titled(kind: Kind) -> str:
    return f"{kind.title_en} ({kind.title_zh})"


def _record_id(text: str) -> bytes:
    if not _ID.fullmatch(text):
        raise ApiProblem(ProblemKind.NOT_FOUND)
    return bytes.fromhex(text)


def _api_connection(services: Services, system: str) -> Connection:
    """Return the connection a caller speaks for: one of connector ``api`` in hub.yaml."""
    found = services.project().connections.get(system)
    if found is None or found.connector != API:
        raise ApiProblem(
            ProblemKind.NOT_FOUND,
            f"no connection of connector {API} has this name in hub.yaml",
            zh=f"hub.yaml 中没有以 {API} 为连接器的同名连接",
        )
    return found


async def _written(writing: Awaitable[WriteAnswer | WriteRefused]) -> WriteAnswer | WriteRefused:
    try:
        return await writing
    except VersionMoved as error:
        headers = {} if error.version is None else {"ETag": _etag(error.version)}
        raise ApiProblem(ProblemKind.MOVED, str(error), headers=headers) from None
    except NotThere:
        raise ApiProblem(ProblemKind.NOT_FOUND) from None
    except InvalidFields as error:
        raise ApiProblem(ProblemKind.INVALID, errors=error.problems) from None


def _held(refused: WriteRefused) -> Response:
    """Answer 202: nothing is changed yet, the write is kept, and `hub dlq show` says what a person must do."""
    cause = refused.cause
    body = {
        "state": "waiting" if cause is Cause.BLOCKED else "parked",
        "cause": cause.value,
        "field": refused.field,
        "detail": str(refused),
        "reason": cause.en,
        "reason_zh": cause.zh,
    }
    response = _json(body)
    response.status_code = 202
    return response


def _found(services: Services, record: Stored | None) -> Response:
    if record is None or record.deleted is not None:
        raise ApiProblem(ProblemKind.NOT_FOUND)
    return _answer(_shown(services, record), record.version)


def _shown(services: Services, record: Stored) -> dict[str, object]:
    """Return a record as the API shows it; fields that its region does not have are kept, hidden and named."""
    hidden = services.project().kind(record.kind).hidden(record.region, record.body)
    said = {"hidden": sorted(hidden)} if hidden else {}
    return {
        "id": record.id.hex(),
        "kind": record.kind,
        "version": record.version,
        "region": record.region,
        "entity": record.entity,
        "owner": record.owner,
        "fields": {name: value for name, value in record.body.items() if name not in hidden},
        **said,
    }


def _shown_answer(services: Services, kind: Kind, answer: WriteAnswer) -> dict[str, object]:
    return _shown(
        services,
        Stored(
            id=answer.record_id,
            kind=kind.name,
            version=answer.version,
            region=answer.region,
            entity=answer.entity,
            owner=answer.owner,
            body=answer.body,
        ),
    )


def _answer(body: dict[str, object], version: int, *, created: bool = False, path: str = "") -> Response:
    response = _json(body)
    response.headers["ETag"] = _etag(version)
    if created:
        response.status_code = 201
        response.headers["Location"] = f"/api/v1/{path}/{body['id']}"
    return response


def _json(body: object) -> Response:
    return Response(encode(body), media_type="application/json")


def _etag(version: int) -> str:
    return f'"{version}"'
