"""Tests as data: what a mapping must make of a source, written beside it and run by ``hub mapping test``.

``<name>.tests.yaml`` is a list of cases::

    - name: a customer with its own number
      source: {name: 示例科技有限公司, account_no: C001}
      context: {org: "100", business_key: CRM-1, xrefs: {kingdee.customer: {id: C001}}}
      expect: {FNumber: C001, …}

``source`` and ``expect`` are JSON: unquoted null, true, false and numbers mean themselves. ``expect`` is the whole output, its
order counts outbound; ``fails: FIELD``, ``waits: KEY`` and ``left: true`` take its place. ``only: [FIELD, …]`` renders part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from hub.errors import SettingsError
from hub.mapping.compiler import Compiled, compile  # noqa: A004 - the name of the border
from hub.mapping.outcome import Context, Failed, Left, Mapped, Outcome, Wait
from hub.mapping.problems import MappingInvalid, Problem, nearest
from hub.mapping.schema import Schemas
from hub.mapping.strict_yaml import Document, load_yaml, typed
from hub.mapping.value_map import ValueMap, load_value_map
from hub.model.record import Json

__all__ = [
    "CASE_KEYS",
    "CONTEXT_KEYS",
    "ENDS",
    "TestOutcome",
    "case_of",
    "load_value_maps",
    "run_cases",
    "run_tests",
]

CASE_KEYS: Final = ("name", "source", "context", "only", "expect", "fails", "waits", "left")
CONTEXT_KEYS: Final = ("region", "record", "org", "business_key", "xrefs", "users")
ENDS: Final = ("expect", "fails", "waits", "left")


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """The result of one case: ``message`` says what differed, ``line`` where the case stands.

    ``outcome``: what the mapping made of it, for a record of ``region`` (its path). ``inside``: what ``when`` said, None: it
    waited or failed.
    """

    __test__ = False  # pytest: not a test class

    name: str
    passed: bool
    message: str
    line: int
    outcome: Outcome
    region: str
    inside: bool | None


def load_value_maps(folder: Path) -> dict[str, ValueMap]:
    """Return the value maps of a folder (``*.map.yaml``) by name.

    Raises:
        MappingInvalid: a file is not a value map, or two have one name.
    """
    found: dict[str, ValueMap] = {}
    for path in sorted(folder.glob("*.map.yaml")):
        table = load_value_map(_read(path), file=str(path))
        if table.name in found:
            raise MappingInvalid([Problem(str(path), 1, 1, "value_map", f"{table.name!r} is there twice")])
        found[table.name] = table
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError("there is no such file", file=str(path)) from None
    except UnicodeDecodeError:
        raise SettingsError("the file is not UTF-8", file=str(path)) from None


def run_tests(mapping_path: Path, schemas: Schemas) -> list[TestOutcome]:
    """Run the cases beside a mapping (``customer.out.yaml`` → ``customer.out.tests.yaml``) with the value maps of its folder.

    Raises:
        SettingsError: a file is absent or not accepted (:class:`MappingInvalid` names the place).
    """
    maps = {**schemas.value_maps, **load_value_maps(mapping_path.parent)}
    compiled = compile(_read(mapping_path), replace(schemas, value_maps=maps), file=str(mapping_path))
    return run_cases(
        compiled, mapping_path.with_name(mapping_path.name.removesuffix(".yaml") + ".tests.yaml")
    )


def run_cases(compiled: Compiled, path: Path) -> list[TestOutcome]:
    """Run the cases of a file on a mapping, wherever its text comes from.

    Raises:
        SettingsError: as :func:`run_tests`.
    """
    document = load_yaml(_read(path), file=str(path))
    problems = _problems(document)
    if problems:
        raise MappingInvalid(problems)
    assert isinstance(document.value, list)
    return [_run(compiled, document, index) for index in range(len(document.value))]


def case_of(path: Path, name: str) -> tuple[Json, Context]:
    """Return the source and the context of one case of a file.

    Raises:
        SettingsError: as :func:`run_tests`; or no case has that name.
    """
    document = load_yaml(_read(path), file=str(path))
    if problems := _problems(document):
        raise MappingInvalid(problems)
    assert isinstance(document.value, list)
    names = [str(case["name"]) for case in document.value if isinstance(case, dict)]
    if name not in names:
        near = nearest(name, names)
        raise MappingInvalid([Problem(str(path), 1, 1, "name", f"there is no case {name!r}", near)])
    case = typed(document, (names.index(name),))
    assert isinstance(case, dict)
    return case["source"], _context(case.get("context"))


def _problems(document: Document) -> list[Problem]:
    if not isinstance(document.value, list) or not document.value:
        return [document.problem((), "a list of cases is needed")]
    problems = []
    for index, case in enumerate(document.value):
        if not isinstance(case, dict):
            problems.append(document.problem((index,), "a case is a mapping"))
            continue
        problems += _unknown(document, (index,), case, CASE_KEYS)
        context = case.get("context", {})
        if isinstance(context, dict):
            problems += _unknown(document, (index, "context"), context, CONTEXT_KEYS)
        else:
            problems.append(document.problem((index, "context"), "context is a mapping"))
        if sum(end in case for end in ENDS) != 1:
            problems.append(document.problem((index,), f"a case has one of {', '.join(ENDS)}"))
        problems += [
            document.problem((index,), f"{key} is needed") for key in ("name", "source") if key not in case
        ]
    return problems


def _unknown(
    document: Document, path: tuple[str | int, ...], found: Mapping[str, object], known: tuple[str, ...]
) -> list[Problem]:
    return [
        document.problem((*path, key), "is not known here", nearest=nearest(key, known), at_key=True)
        for key in found
        if key not in known
    ]


def _run(compiled: Compiled, document: Document, index: int) -> TestOutcome:
    case = typed(document, (index,))
    assert isinstance(case, dict)
    only = case.get("only")
    context = _context(case.get("context"))
    outcome = compiled.run(
        case["source"], context, only=list(map(str, only)) if isinstance(only, list) else None
    )
    message = _difference(case, outcome, in_order=compiled.direction == "out")
    when = compiled.when(case["source"], context)
    return TestOutcome(
        name=str(case["name"]),
        passed=not message,
        message=message,
        line=document.mark((index,)).line,
        outcome=outcome,
        region=context.region,
        inside=when if isinstance(when, bool) else None,
    )


def _context(written: Json) -> Context:
    found = written if isinstance(written, dict) else {}
    tables = found.get("xrefs")
    xrefs = tables if isinstance(tables, dict) else {}

    def xref(target: str, value: str) -> str | Wait:
        table = xrefs.get(target)
        known = table.get(value) if isinstance(table, dict) else None
        return Wait(f"xref:{target}/{value}") if known is None else str(known)

    known_users = found.get("users")
    users = known_users if isinstance(known_users, dict) else {}

    def user(value: str) -> str:
        return str(users.get(value.lower(), value.lower()))

    def user_at(code: str) -> str:
        return next((id_ for id_, employee in users.items() if employee == code), code)

    def text(name: str) -> str | None:
        value = found.get(name)
        return None if value is None else str(value)

    return Context(
        region=text("region") or "",
        record=text("record"),
        org=text("org"),
        business_key=text("business_key"),
        xref=xref,
        user=user,
        user_at=user_at,
    )


def _difference(case: Mapping[str, Json], outcome: Outcome, *, in_order: bool) -> str:
    """Return "" when the outcome is the expected one, else a sentence."""
    if isinstance(outcome, Mapped) and "expect" in case:
        return _fields_differ(case["expect"], outcome.fields, in_order=in_order)
    if isinstance(outcome, Failed) and "fails" in case:
        return "" if outcome.field == case["fails"] else f"failed at {outcome.field!r}: {outcome.message}"
    if isinstance(outcome, Wait) and "waits" in case:
        return "" if outcome.key == case["waits"] else f"waits for {outcome.key!r}"
    if isinstance(outcome, Left) and case.get("left") is True:
        return ""
    return f"came out as {_told(outcome)}"


def _told(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return f"failed at {outcome.field!r}: {outcome.message} ({outcome.excerpt})"
    if isinstance(outcome, Wait):
        return f"waits for {outcome.key!r}"
    return f"mapped to {_json(outcome.fields)}" if isinstance(outcome, Mapped) else "outside `when`"


def _fields_differ(expected: Json, found: dict[str, Json], *, in_order: bool) -> str:
    wanted = expected if isinstance(expected, dict) else {}
    for name in {**wanted, **found}:
        if name not in found:
            return f"{name}: expected {_json(wanted[name])}, is absent"
        if name not in wanted:
            return f"{name}: not expected, is {_json(found[name])}"
        if _json(wanted[name], in_order=in_order) != _json(found[name], in_order=in_order):
            return f"{name}: expected {_json(wanted[name])}, is {_json(found[name])}"
    if in_order and list(wanted) != list(found):
        return f"the order is {', '.join(found)}"
    return ""


def _json(value: Json, *, in_order: bool = True) -> str:
    return orjson.dumps(value, option=0 if in_order else orjson.OPT_SORT_KEYS).decode()
