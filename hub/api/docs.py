"""The page at /docs: the OpenAPI document as plain HTML, without scripts and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

__all__ = ["docs_page"]

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h2 { margin-top: 2.5rem; font-size: 1.1rem } code { background: #f2f4f6; padding: .1rem .3rem; border-radius: 3px }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #e3e6ea }
.method { display: inline-block; min-width: 3rem; font-weight: 700 } details { margin: .5rem 0 }
"""
_HOW: Final = "Every <code>/api</code> call carries <code>Authorization: Bearer TOKEN</code>."


def docs_page(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI document."""
    title = escape(document["info"]["title"])
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title} API</title><style>{_STYLE}</style>",
        f"<h1>{title} API</h1><p>Machine-readable: <a href='/openapi.json'>/openapi.json</a>. {_HOW}</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(path, method, operation)
    return "".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h2><span class='method'>{escape(method.upper())}</span> <code>{escape(path)}</code></h2>"
    yield f"<p>{escape(operation.get('summary', ''))}</p>"
    parameters = operation.get("parameters", [])
    if parameters:
        yield _table(("parameter", "in", "type", ""), [_parameter(item) for item in parameters])
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        schema = content["schema"]
        rows = [
            _property(name, item, schema.get("required", [])) for name, item in schema["properties"].items()
        ]
        yield f"<details><summary>Body: {len(rows)} fields</summary>"
        yield _table(("field", "type", "required", ""), rows) + "</details>"
    answers = [(status, item["description"]) for status, item in sorted(operation["responses"].items())]
    yield f"<details><summary>Answers</summary>{_table(('status', ''), answers)}</details>"


def _parameter(item: dict[str, Any]) -> tuple[str, ...]:
    return item["name"], item["in"], _type(item["schema"]), item.get("description", "")


def _property(name: str, schema: dict[str, Any], required: list[str]) -> tuple[str, ...]:
    return name, _type(schema), "yes" if name in required else "", schema.get("description", "")


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join("null" if one is None else str(one) for one in schema["enum"])
    if "anyOf" in schema:
        own = "record id | {external}"
        return f"{own} | null" if {"type": "null"} in schema["anyOf"] else own
    kind = schema.get("type", "any")
    return schema.get("format") or (kind if isinstance(kind, str) else json.dumps(kind))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
