"""What the kinds of record are, for forms and callers: fields with their types, labels, options, personal class, regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request, Response

from hub.access.viewer import Permission
from hub.api.admit import admitted
from hub.api.problem import ApiProblem, ProblemKind
from hub.api.request import query_values
from hub.api.services import Services
from hub.api.wire import encode
from hub.model.fields import Field
from hub.model.kind import Kind
from hub.model.names import nearest
from hub.model.record import Json
from hub.model.region import is_within, region_path
from hub.pipe.patch import DERIVED, FIXED

__all__ = ["described", "described_field", "metadata_routes"]

_TEXTS: Final = frozenset({"company", "credit_code", "currency", "email", "phone", "phones", "text", "texts"})
"""The types whose values have a greatest length."""
_ANY: Final = "any"


def metadata_routes(services: Services, paths: Mapping[str, Kind]) -> APIRouter:
    """Return the routes under ``/api/v1/metadata``; ``paths``: where the API shows records of each kind."""
    router = APIRouter(prefix="/api/v1/metadata", tags=["metadata"])
    path_of = {kind.name: path for path, kind in paths.items()}

    @router.get("", summary="The kinds of record (记录类型)")
    async def list_kinds(request: Request) -> Response:
        mine = await admitted(services, request, Permission.METADATA_READ)
        query_values(request)
        kinds = [mine.project().kind(name) for name in path_of]
        return _json(
            {"items": [{**_titles(kind), "path": f"/api/v1/{path_of[kind.name]}"} for kind in kinds]}
        )

    @router.get(
        "/{kind}",
        summary="The fields of a kind (字段), custom ones included; ?region= for those of one region",
    )
    async def show_kind(request: Request, kind: str) -> Response:
        mine = await admitted(services, request, Permission.METADATA_READ)
        region = query_values(request, "region").get("region")
        if kind not in path_of:
            near = nearest(kind[:80], path_of)
            hint = f"; did you mean {near}?" if near else ""
            zh = f"；是否要找 {near}？" if near else ""
            raise ApiProblem(
                ProblemKind.NOT_FOUND, f"there is no kind of this name{hint}", zh=f"没有这种记录{zh}"
            )
        place = None if region is None else _region(mine, region)
        return _json(described(mine.project().kind(kind), region=place, path=f"/api/v1/{path_of[kind]}"))

    return router


def described(kind: Kind, *, region: str | None = None, path: str | None = None) -> dict[str, Json]:
    """Return a kind as JSON: built-in fields first, then custom ones.

    Args:
        kind: with the custom fields that the project declares.
        region: only what records of this region have (stored form); None: everything, each field with its regions.
        path: where the API shows its records.
    """
    every = [*kind.fields.values(), *(kind.custom or {}).values()]
    fields: list[Json] = [described_field(kind, one) for one in every if region is None or one.is_in(region)]
    tags: Json = {root or "/": list(listed) for root, listed in kind.tags.items()}
    if region is not None:
        allowed = kind.tags_of(region)
        tags = list(allowed) if allowed is not None else None
    return {
        **_titles(kind),
        "path": path,
        "region": region,
        "custom": "declared" if kind.custom is not None else _ANY,
        "fields": fields,
        "tags": tags,
    }


def described_field(kind: Kind, field: Field) -> dict[str, Json]:
    """Return a field as JSON. ``write``: the verbs of the API that take it; ``regions`` null: everywhere."""
    derived, fixed = DERIVED.get(kind.name, {}), FIXED.get(kind.name)
    verbs: list[Json] = [] if field.name in derived or kind.name == "employee" else ["PUT"]
    if fixed is not None and field.name not in fixed:
        verbs.append("PATCH")
    labels = field.labels or tuple((value, value) for value in field.choices)
    options: list[Json] = [
        {"value": value, "label": {"zh": zh, "en": en}}
        for value, (zh, en) in zip(field.choices, labels, strict=True)
    ]
    columns: list[Json] = [_column(column) for column in field.columns]
    return {
        "name": field.name,
        "type": field.type,
        "label": {"zh": field.zh, "en": field.en},
        "custom": field.name not in kind.fields,
        "required": field.required,
        "personal": field.personal,
        "max_length": field.max_length if field.type in _TEXTS else None,
        "options": options or None,
        "reference": field.reference,
        "regions": list(field.regions) or None,
        "columns": columns or None,
        "write": verbs,
    }


def _column(column: Field) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "label": {"zh": column.zh, "en": column.en},
        "required": column.required,
        "options": list(column.choices) or None,
    }


def _titles(kind: Kind) -> dict[str, Json]:
    return {"kind": kind.name, "label": {"zh": kind.title_zh, "en": kind.title_en}}


def _region(services: Services, text: str) -> str:
    known = services.project().regions
    try:
        path = region_path(text)
    except ValueError as error:
        raise ApiProblem(ProblemKind.BAD_PARAMETER, f"region: {error}") from None
    if path not in known or not any(is_within(path, root) for root in services.scope.regions):
        near = nearest(path[:80], known)
        hint = f"; did you mean {near.removesuffix('/')}?" if near else ""
        raise ApiProblem(
            ProblemKind.BAD_PARAMETER,
            f"there is no region {text[:80]!a} in the tree{hint}",
            zh="大区树中没有该大区",
        )
    return path


def _json(body: Json) -> Response:
    return Response(encode(body), media_type="application/json")
