"""What the OpenAPI document says about record routes: schemas are made from the kinds, never written twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hub.model.fields import Field
from hub.model.kinds import Kind
from hub.model.lattice import LATTICES
from hub.pipe.patch import DERIVED, FIXED

__all__ = ["complete", "get_record", "list_records", "name_custom_fields", "patch_record", "put_record"]

Schema = dict[str, Any]

_TYPES: Final[dict[str, Schema]] = {
    "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
    "date": {"type": "string", "format": "date"},
    "decimal": {"type": ["string", "number"], "examples": ["1.0"]},
    "flag": {"type": "boolean"},
    "instant": {"type": "string", "format": "date-time"},
    "integer": {"type": "integer"},
    "json": {},
    "money": {"type": ["string", "number"], "description": "An exact decimal.", "examples": ["1234.50"]},
    "phones": {"type": "array", "items": {"type": "string"}},
    "texts": {"type": "array", "items": {"type": "string"}},
}

_CUSTOM: Final[Schema] = {"^custom\\.[a-z][a-z0-9_]{0,59}$": {}}

_PROBLEMS: Final = {
    "400": "The body or a parameter is not acceptable",
    "401": "The token is missing or not accepted",
    "404": "There is nothing here",
    "406": "The answer can only be JSON",
}
_WRITE_PROBLEMS: Final = {
    "412": "The record changed since that version",
    "413": "The body is too large",
    "415": "The body must be plain JSON in UTF-8",
    "422": "Some fields are not acceptable",
    "503": "Try again later",
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "required": ["type", "title", "title_zh", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "title_zh": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "detail_zh": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


_HELD: Final[Schema] = {
    "description": "Taken in, but it waits or a person must decide first (死信 dead letter)",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["state", "cause", "detail", "reason", "reason_zh"],
                "properties": {
                    "state": {"enum": ["parked", "waiting"]},
                    "cause": {"type": "string"},
                    "field": {"type": ["string", "null"]},
                    "detail": {"type": "string"},
                    "reason": {"type": "string"},
                    "reason_zh": {"type": "string"},
                },
            }
        }
    },
}


def put_record(kind: Kind) -> Schema:
    """Return what is said about a write by external id."""
    answer = _answer(kind)
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body_schema(kind)}}},
        "parameters": [_header("If-Match", 'The version you have seen, in quotes: `"3"`.')],
        "responses": {"200": answer, "201": answer, "202": _HELD, **_refusals(_PROBLEMS | _WRITE_PROBLEMS)},
    }


def patch_record(kind: Kind) -> Schema:
    """Return what is said about a change of some fields."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _patch_schema(kind)}}},
        "parameters": [
            _query("system", {"type": "string"}, "Your connection: whose ids `external` references use."),
            _header("If-Match", 'The version you have seen, in quotes: `"3"`.'),
        ],
        "responses": {"200": _answer(kind), **_refusals(_PROBLEMS | _WRITE_PROBLEMS)},
    }


def get_record(kind: Kind) -> Schema:
    """Return what is said about reading one record."""
    return {"responses": {"200": _answer(kind), **_refusals(_PROBLEMS)}}


def list_records(kind: Kind) -> Schema:
    """Return what is said about a listing."""
    page = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": _record_schema(kind)},
            "next_cursor": {"type": ["string", "null"]},
        },
    }
    return {
        "parameters": [
            _query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            _query("cursor", {"type": "string"}, "`next_cursor` of the page before."),
        ],
        "responses": {
            "200": {"description": "One page", "content": {"application/json": {"schema": page}}},
            **_refusals(_PROBLEMS),
        },
    }


def _body_schema(kind: Kind) -> Schema:
    """Return the JSON schema of a kind's body as the API takes it."""
    derived = DERIVED.get(kind.name, {})
    properties = {field.name: _field_schema(field) for field in _fields(kind) if field.name not in derived}
    if (lattice := LATTICES.get(kind.name)) is not None:
        properties[lattice.field] = {**properties[lattice.field], "enum": list(lattice.asked)}
    properties["owner"] = {"type": "string", "description": "负责人: decides the region (hub.yaml, owners)"}
    return {
        "type": "object",
        "required": [field.name for field in _fields(kind) if field.required and not field.regions],
        "properties": properties,
        **_undeclared(kind),
        "additionalProperties": False,
    }


def _fields(kind: Kind) -> Iterator[Field]:
    yield from kind.fields.values()
    yield from (kind.custom or {}).values()


def _undeclared(kind: Kind) -> Schema:
    """Return what is said about custom names that nobody declared: any goes, or none."""
    return {"patternProperties": _CUSTOM} if kind.custom is None else {}


def _patch_schema(kind: Kind) -> Schema:
    """Return the JSON schema of a change: null takes a field away, but for a required one."""
    fields = {field.name: field for field in _fields(kind) if field.name not in FIXED[kind.name]}
    return {
        "type": "object",
        "properties": {
            name: _field_schema(field) if field.required else _or_null(_field_schema(field))
            for name, field in fields.items()
        },
        **_undeclared(kind),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema:
        return schema | {"type": ["string", "null"], "enum": [*schema["enum"], None]}
    if "type" not in schema:
        return schema
    known = schema["type"]
    return schema | {"type": [*([known] if isinstance(known, str) else known), "null"]}


def _field_schema(field: Field) -> Schema:
    """Return the JSON schema of one field, with its Chinese and English labels."""
    schema = dict(_TYPES.get(field.type, {"type": "string", "maxLength": field.max_length}))
    if field.columns:
        schema = _rows_schema(field)
    if field.choices:
        one: Schema = {"type": "string", "enum": list(field.choices)}
        schema = {"type": "array", "items": one} if field.type == "texts" else one
    if field.reference:
        own = {"type": "object", "required": ["external"], "properties": {"external": {"type": "string"}}}
        schema = {
            "anyOf": [{"type": "string", "pattern": "^[0-9a-f]{32}$"}, own | {"additionalProperties": False}]
        }
    label = f"{field.zh} {field.en}"
    said = " ".join([schema.get("description", ""), *_asides(field)]).strip()
    return schema | {"description": f"{label}. {said}" if said else label}


def _asides(field: Field) -> Iterator[str]:
    """Yield what a field's type does not say: the names of its options, where it exists."""
    if field.labels:
        named = (f"{value} {zh} {en}" for value, (zh, en) in zip(field.choices, field.labels, strict=True))
        yield f"{'; '.join(named)}."
    if field.regions:
        yield f"Only in 仅限 {', '.join(field.regions)}."


def _rows_schema(field: Field) -> Schema:
    return {
        "type": "array",
        "items": {
            "type": "object",
            "required": [column.name for column in field.columns if column.required],
            "properties": {column.name: _field_schema(column) for column in field.columns},
            "additionalProperties": False,
        },
    }


def _record_schema(kind: Kind) -> Schema:
    text_or_null = {"type": ["string", "null"]}
    fields = {field.name: _stored_schema(field) for field in _fields(kind)}
    return {
        "type": "object",
        "required": ["id", "kind", "version", "region", "fields"],
        "properties": {
            "id": {"type": "string"},
            "kind": {"const": kind.name},
            "version": {"type": "integer"},
            "region": {"type": "string"},
            "entity": text_or_null,
            "owner": text_or_null,
            "fields": {"type": "object", "properties": fields},
            **_hidden(kind),
        },
    }


def _hidden(kind: Kind) -> Schema:
    if not kind.regional:
        return {}
    text = "Custom fields the record holds from another region; its own region does not have them."
    return {"hidden": {"type": "array", "items": {"enum": sorted(kind.regional)}, "description": text}}


def _stored_schema(field: Field) -> Schema:
    label = {"description": f"{field.zh} {field.en}"}
    return (
        label
        if field.type in ("json", "phones", "texts", "flag", "integer")
        else label | {"type": ["string", "null"]}
    )


def _answer(kind: Kind) -> Schema:
    return {
        "description": "The record with its version",
        "headers": {"ETag": {"schema": {"type": "string"}, "description": "The version, for If-Match."}},
        "content": {"application/json": {"schema": _record_schema(kind)}},
    }


def _refusals(problems: dict[str, str]) -> Schema:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in problems.items()}


def _header(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": description,
    }


def _query(name: str, schema: Schema, description: str = "") -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


_SAID: Final = {"put": put_record, "patch": patch_record}
_NAMED: Final = ("requestBody", "responses")


def name_custom_fields(document: Schema, kinds: Mapping[str, Kind]) -> None:
    """Say again what depends on the fields of a kind, with those that the project declares; ``kinds`` by path."""
    for path, kind in kinds.items():
        if kind.custom is None:
            continue
        for url, operations in document["paths"].items():
            if url.removeprefix("/api/v1/").partition("/")[0] != path:
                continue
            for verb, operation in operations.items():
                said = _SAID.get(verb) or (get_record if "{" in url else list_records)
                operation |= {name: part for name, part in said(kind).items() if name in _NAMED}


def complete(document: Schema) -> Schema:
    """Add the problem document and the token to what the routes say; the framework's own 422 goes out."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path.startswith("/api/"):
            for operation in operations.values():
                operation["security"] = [{"token": []}]
    return document
