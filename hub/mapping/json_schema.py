"""JSON Schema of the files of a mapping, for editors: names complete, mistakes show while one types.

Draft 7, which editors of YAML know best. An editor reads scalars by YAML's own rules (``5`` is a number to it), the hub reads
texts: where the hub takes a text the schema takes every scalar. What needs the shapes of a source and a target is the
business of `hub mapping check`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from hub.mapping.cases import CASE_KEYS, CONTEXT_KEYS, ENDS
from hub.mapping.draft import (
    KEYS,
    LET_NAME,
    MAPPING_NAME,
    MOST_FIELDS,
    MOST_LETS,
    MOST_REGIONS,
    MOST_ROWS,
    OPTIONS,
    OVERLAY_KEYS,
)

__all__ = ["JSON_SCHEMAS"]

Schema = dict[str, Any]
"""A JSON Schema; Any: a tree of JSON."""

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
_WRITTEN: Final[Schema] = {"type": ["string", "number", "boolean", "null"]}
_EXPRESSION: Final[Schema] = {"$ref": "#/definitions/expression"}
_MOST_VALUES: Final = 5_000


def _whole(pattern: re.Pattern[str]) -> Schema:
    return {"type": "string", "pattern": f"^(?:{pattern.pattern})$"}


def _object(parts: Mapping[str, Schema], keys: tuple[str, ...], needed: tuple[str, ...] = ()) -> Schema:
    """Return an object of exactly these keys; a key of the reader without a schema here is a mistake of ours."""
    made: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: parts[key] for key in keys},
    }
    return {**made, "required": list(needed)} if needed else made


def _table(of: Schema, most: int) -> Schema:
    return {"type": "object", "maxProperties": most, "additionalProperties": of}


def _said(en: str, zh: str, schema: Schema) -> Schema:
    return {"description": f"{en} / {zh}", **schema}


_LETS: Final = _said(
    "Intermediate values by name; each may use the others.",
    "中间值，按名称，可互相引用。",
    {**_table(_EXPRESSION, MOST_LETS), "propertyNames": _whole(LET_NAME)},
)
_FIELDS: Final = _said(
    "Target field: expression, or value and with, or a list of rows.",
    "目标字段：表达式，或 value 与 with，或若干行。",
    _table({"$ref": "#/definitions/rule"}, MOST_FIELDS),
)
_OVERLAY: Final = _object({"let": _LETS, "fields": _FIELDS}, OVERLAY_KEYS)
_PARTS: Final[Mapping[str, Schema]] = {
    "mapping": _said(
        "Its name: connector/what.in (vendor to CRM) or .out (CRM to vendor).",
        "名称：连接器/对象.in（进 CRM）或 .out（出 CRM）。",
        _whole(MAPPING_NAME),
    ),
    "title": _said("What it is, for people.", "给人看的说明。", _WRITTEN),
    "source": _said(
        "The stream or kind it reads.",
        "来源：对方的数据流或 CRM 的种类。",
        {"type": "string", "minLength": 1},
    ),
    "target": _said(
        "The kind or object it makes.", "目标：CRM 的种类或对方的对象。", {"type": "string", "minLength": 1}
    ),
    "key": _said(
        "The source fields that identify a record; inbound only.",
        "标识一条记录的来源字段，仅用于 .in。",
        {"type": "array", "minItems": 1, "items": _EXPRESSION},
    ),
    "when": _said("Only records for which it holds are mapped.", "只映射满足它的记录。", _EXPRESSION),
    "let": _LETS,
    "fields": _FIELDS,
    "regions": _said(
        "What a region and those below it change.",
        "地区（含下级）的不同之处。",
        _table(_OVERLAY, MOST_REGIONS),
    ),
}
_OPTION: Final[Mapping[str, Schema]] = {
    "value": _EXPRESSION,
    "with": _said("The field that it goes with.", "与哪个字段一同发送。", {"type": "string"}),
}
_INBOUND: Final[Schema] = {
    "if": {"properties": {"mapping": {"pattern": "\\.in$"}}},
    "then": {"required": ["key"], "properties": {"target": {"pattern": "^crm\\."}}},
    "else": {"not": {"required": ["key"]}, "properties": {"source": {"pattern": "^crm\\."}}},
}


def _mapping() -> Schema:
    row = {"type": "object", "minProperties": 1, "additionalProperties": _EXPRESSION}
    rows = {"type": "array", "minItems": 1, "maxItems": MOST_ROWS, "items": row}
    return {
        **_object(_PARTS, KEYS, ("mapping", "source", "target", "fields")),
        **_INBOUND,
        "definitions": {
            "expression": {"type": ["string", "number", "boolean"], "pattern": "\\S", "maxLength": 2_000},
            "rule": {"anyOf": [_EXPRESSION, _object(_OPTION, OPTIONS, ("value",)), rows]},
        },
    }


def _map() -> Schema:
    parts = {
        "value_map": _said(
            "Its name: connector.what.",
            "名称：连接器.对象。",
            {"type": "string", "pattern": "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$"},
        ),
        "title": _said("What it is, for people.", "给人看的说明。", _WRITTEN),
        "values": _said(
            "What the source says: what the target takes.",
            "来源的值：目标的值。",
            _table(_WRITTEN, _MOST_VALUES),
        ),
    }
    return _object(parts, tuple(parts), ("value_map", "values"))


_CONTEXT: Final[Mapping[str, Schema]] = {
    "region": _said("The record's region.", "记录的地区。", _WRITTEN),
    "record": _said("The record's id, outbound.", "记录的标识（出站）。", _WRITTEN),
    "org": _said("The organisation's number at the vendor.", "对方的组织编码。", _WRITTEN),
    "business_key": _said("The number fixed for the object there.", "对方单据的业务编号。", _WRITTEN),
    "xrefs": _said(
        "Object: value here: identifier there.",
        "对象：此处的值：对方的标识。",
        {"type": "object", "additionalProperties": {"type": "object"}},
    ),
    "users": _said(
        "User of the connection: code of the employee.", "连接上的用户：员工编码。", {"type": "object"}
    ),
}
_CASE: Final[Mapping[str, Schema]] = {
    "name": _said("What the case shows.", "用例说明。", _WRITTEN),
    "source": _said("What the mapping is given, as JSON.", "输入（JSON）。", {}),
    "context": _object(_CONTEXT, CONTEXT_KEYS),
    "only": _said(
        "Render these target fields alone.",
        "只生成这些目标字段。",
        {"type": "array", "items": {"type": "string"}},
    ),
    "expect": _said("The whole output.", "完整的输出。", {"type": "object"}),
    "fails": _said("The field at which it fails.", "失败的字段。", {"type": "string"}),
    "waits": _said("What it waits for: xref:OBJECT/VALUE.", "等待什么：xref:对象/值。", {"type": "string"}),
    "left": _said("The record is outside when.", "记录不满足 when。", {"const": True}),
}


def _tests() -> Schema:
    case = _object(_CASE, CASE_KEYS, ("name", "source"))
    one_end = {"oneOf": [{"required": [end]} for end in ENDS]}
    return {"type": "array", "minItems": 1, "items": {**case, **one_end}}


_MADE: Final[Mapping[str, tuple[str, Callable[[], Schema]]]] = {
    "mapping": ("Mapping (<name>.in.yaml, <name>.out.yaml) / 字段映射", _mapping),
    "map": ("Value map (<name>.map.yaml) / 值映射表", _map),
    "tests": ("Cases of a mapping (<name>.tests.yaml) / 映射用例", _tests),
}
JSON_SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType(
    {name: {"$schema": _DIALECT, "title": title, **made()} for name, (title, made) in _MADE.items()}
)
"""By the kind of file: mapping, map (value map), tests."""
