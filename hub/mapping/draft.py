"""The mapping file as written: its parts in order, each with its place, checked for form but not yet for meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from hub.mapping.expression import Expression, parse_expression
from hub.mapping.problems import MappingInvalid, Problem, nearest
from hub.mapping.strict_yaml import Document, Path, Yaml
from hub.model.region import region_path

__all__ = [
    "KEYS",
    "LET_NAME",
    "MAPPING_NAME",
    "MOST_FIELDS",
    "MOST_LETS",
    "MOST_REGIONS",
    "MOST_ROWS",
    "OPTIONS",
    "OVERLAY_KEYS",
    "Draft",
    "Overlay",
    "Part",
    "Rule",
    "read_draft",
]

KEYS: Final = ("mapping", "title", "source", "target", "key", "when", "let", "fields", "regions")
OVERLAY_KEYS: Final = ("let", "fields")
OPTIONS: Final = ("value", "with")
MAPPING_NAME: Final = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*\.(in|out)", re.ASCII)
LET_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
MOST_FIELDS: Final = 500
MOST_LETS: Final = 100
MOST_REGIONS: Final = 50
MOST_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class Part:
    """One expression and where its value goes: ``row`` of a list of rows, or None, then the steps of ``name``."""

    name: str
    expression: Expression
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``fields``: a value, or a list of rows. ``with_field``: the field it accompanies."""

    name: str
    path: Path
    parts: tuple[Part, ...]
    with_field: str | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a region changes."""

    lets: Mapping[str, Expression]
    rules: Mapping[str, Rule]


@dataclass(slots=True)
class Draft:
    """A mapping file's parts."""

    document: Document
    name: str
    source: str
    target: str
    direction: Literal["in", "out"]
    problems: list[Problem]
    keys: list[Expression] = field(default_factory=list)
    when: Expression | None = None
    lets: dict[str, Expression] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    overlays: dict[str, Overlay] = field(default_factory=dict)


def read_draft(document: Document) -> Draft:
    """Read the parts of a mapping file.

    Raises:
        MappingInvalid: not a mapping file at all (no name, no source or target); other mistakes go to ``problems``.
    """
    top = document.value
    if not isinstance(top, dict):
        raise MappingInvalid([document.problem((), "a mapping file has mapping, source, target and fields")])
    problems = _unknown(document, (), top, KEYS)
    named = {key: _text(document, top, key, problems) for key in ("mapping", "source", "target")}
    found = MAPPING_NAME.fullmatch(named["mapping"])
    if not found:
        problems.append(document.problem(("mapping",), "a name such as kingdee/customer.out is needed"))
    if not found or not named["source"] or not named["target"]:
        raise MappingInvalid(problems)
    direction: Literal["in", "out"] = "in" if found.group(1) == "in" else "out"
    draft = Draft(document, named["mapping"], named["source"], named["target"], direction, problems)
    _check_sides(draft)
    _read_keys(draft, top.get("key"))
    if "when" in top:
        draft.when = _expression(draft, ("when",), top["when"])
    draft.lets = _read_lets(draft, ("let",), top.get("let", {}))
    draft.rules = _read_rules(draft, ("fields",), top.get("fields", {}))
    if not draft.rules and "fields" not in top:
        problems.append(document.problem((), "there are no fields"))
    _read_regions(draft, top.get("regions", {}))
    return draft


def _unknown(
    document: Document, path: Path, found: Mapping[str, Yaml], known: tuple[str, ...]
) -> list[Problem]:
    return [
        document.problem((*path, key), "is not known here", nearest=nearest(key, known), at_key=True)
        for key in found
        if key not in known
    ]


def _text(document: Document, top: Mapping[str, Yaml], key: str, problems: list[Problem]) -> str:
    value = top.get(key, "")
    if isinstance(value, str) and value:
        return value
    problems.append(document.problem((key,), f"{key} is needed, as a text"))
    return ""


def _check_sides(draft: Draft) -> None:
    ours = draft.target if draft.direction == "in" else draft.source
    if not ours.startswith("crm."):
        side = "target" if draft.direction == "in" else "source"
        draft.problems.append(
            draft.document.problem(
                (side,), f"the {side} of an .{draft.direction} mapping is a kind such as crm.customer"
            )
        )


def _expression(draft: Draft, path: Path, value: Yaml) -> Expression | None:
    if not isinstance(value, str) or not value.strip():
        draft.problems.append(draft.document.problem(path, "an expression is needed"))
        return None
    return parse_expression(draft.document, path, draft.problems)


def _read_keys(draft: Draft, value: Yaml | None) -> None:
    document, problems = draft.document, draft.problems
    if draft.direction == "out":
        if value is not None:
            problems.append(
                document.problem(
                    ("key",), "an .out mapping has no key: the record's id is its key", at_key=True
                )
            )
        return
    if not isinstance(value, list) or not value:
        problems.append(
            document.problem(("key",), "key names the source fields that identify a record: [FCUSTID]")
        )
        return
    found = (_expression(draft, ("key", index), item) for index, item in enumerate(value))
    draft.keys = [expression for expression in found if expression]


def _read_lets(draft: Draft, path: Path, value: Yaml) -> dict[str, Expression]:
    if not isinstance(value, dict) or len(value) > MOST_LETS:
        draft.problems.append(
            draft.document.problem(path, f"a mapping from names to at most {MOST_LETS} expressions")
        )
        return {}
    found = {}
    for name, text in value.items():
        if not LET_NAME.fullmatch(name):
            draft.problems.append(
                draft.document.problem(
                    (*path, name), "a name has lower-case letters, digits and '_'", at_key=True
                )
            )
        elif expression := _expression(draft, (*path, name), text):
            found[name] = expression
    return found


def _read_rules(draft: Draft, path: Path, value: Yaml) -> dict[str, Rule]:
    if not isinstance(value, dict) or len(value) > MOST_FIELDS:
        draft.problems.append(
            draft.document.problem(path, f"a mapping from fields to at most {MOST_FIELDS} expressions")
        )
        return {}
    found = {}
    for name, written in value.items():
        rule = _read_rule(draft, (*path, name), name, written)
        if rule:
            found[name] = rule
    return found


def _read_rule(draft: Draft, path: Path, name: str, written: Yaml) -> Rule | None:
    if isinstance(written, list):
        return Rule(name, path, tuple(_read_rows(draft, path, written)))
    if isinstance(written, str):
        expression = _expression(draft, path, written)
        return Rule(name, path, (Part(name, expression),)) if expression else None
    unknown = _unknown(draft.document, path, written, OPTIONS)
    if unknown or "value" not in written:
        advice = f"an object is written with dots ({name}.FIELD: …); here only value and with go"
        draft.problems.extend(unknown or [draft.document.problem(path, advice)])
        return None
    expression = _expression(draft, (*path, "value"), written["value"])
    with_field = written.get("with")
    if with_field is not None and not isinstance(with_field, str):
        draft.problems.append(draft.document.problem((*path, "with"), "the name of one field is needed"))
        return None
    return Rule(name, path, (Part(name, expression),), with_field) if expression else None


def _read_rows(draft: Draft, path: Path, rows: list[Yaml]) -> list[Part]:
    if not rows or len(rows) > MOST_ROWS:
        draft.problems.append(draft.document.problem(path, f"1 to {MOST_ROWS} rows"))
        return []
    parts = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or not row:
            draft.problems.append(
                draft.document.problem(
                    (*path, index), "a row is a mapping; an expression that begins with '[' stands in quotes"
                )
            )
            continue
        for name, text in row.items():
            if expression := _expression(draft, (*path, index, name), text):
                parts.append(Part(name, expression, index))
    return parts


def _read_regions(draft: Draft, value: Yaml) -> None:
    document = draft.document
    if not isinstance(value, dict) or len(value) > MOST_REGIONS:
        draft.problems.append(
            document.problem(("regions",), f"a mapping from at most {MOST_REGIONS} regions to let and fields")
        )
        return
    for name, changes in value.items():
        path: Path = ("regions", name)
        try:
            region = region_path(name)
        except ValueError as error:
            draft.problems.append(document.problem(path, str(error), at_key=True))
            continue
        if not isinstance(changes, dict) or region in draft.overlays:
            draft.problems.append(
                document.problem(path, "a region stands once, with let and fields", at_key=True)
            )
            continue
        draft.problems += _unknown(document, path, changes, OVERLAY_KEYS)
        draft.overlays[region] = Overlay(
            _read_lets(draft, (*path, "let"), changes.get("let", {})),
            _read_rules(draft, (*path, "fields"), changes.get("fields", {})),
        )
