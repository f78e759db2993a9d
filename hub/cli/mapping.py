"""``hub mapping``: check mapping files and run the cases beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from hub import registry
from hub.cli import mapping_back, mapping_life, mapping_preview, mapping_shadow
from hub.cli.command import add, group
from hub.cli.screen import plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, Failure, Session
from hub.errors import SettingsError
from hub.mapping import (
    MappingInvalid,
    Schemas,
    TestOutcome,
    ValueMap,
    YamlInvalid,
    load_value_maps,
    run_tests,
)
from hub.mapping import compile as compile_mapping
from hub.project import kinds_of, schemas_of

__all__ = ["check", "register", "run_cases"]

_TESTS, _MAP = ".tests.yaml", ".map.yaml"
_FOLDER: Final = "mappings"

At = Annotated[Path | None, typer.Argument(help="opt.path", metavar="PATH")]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "mapping")
    add(made, lang, check, "check", key="help.mapping.check")
    add(made, lang, run_cases, "test", key="help.mapping.test")
    mapping_preview.register(made, lang)
    mapping_shadow.register(made, lang)
    mapping_life.register(made, lang)
    mapping_back.register(made, lang)


def check(session: Session, path: At = None) -> int:
    """Check mapping files: every name and type, with file, line, column and the nearest known name."""
    problems: list[str] = []
    passed: list[str] = []
    for file in _files(session, path):
        try:
            compile_mapping(file.read_text("utf-8"), _schemas(session, file), file=str(file))
            passed.append(str(file))
        except (YamlInvalid, MappingInvalid) as error:
            problems += [str(problem) for problem in error.problems]
        except UnicodeDecodeError:
            problems.append(f"{file}: UTF-8?")
    if session.as_json:
        drafts = [list(key) for key in mapping_life.drafts(session)]
        session.screen.json({"ok": not problems, "passed": passed, "problems": problems, "drafts": drafts})
    else:
        for name in passed:
            session.screen.line(session.text("mapping_ok", name=plain(name)))
        for problem in problems:
            session.screen.warn(problem, style="red")
        mapping_life.tell_drafts(session, mapping_life.drafts(session))
    return PROBLEM if problems else OK


def run_cases(session: Session, path: At = None) -> int:
    """Run the cases beside the mappings."""
    results: list[tuple[Path, list[TestOutcome]]] = []
    broken: list[str] = []
    for file in _files(session, path):
        if not _tests_of(file).exists():
            continue
        try:
            results.append((file, run_tests(file, _schemas(session, file))))
        except SettingsError as error:
            broken.append(str(error))
    failed = [(file, one) for file, found in results for one in found if not one.passed]
    count = sum(len(found) for _, found in results)
    if session.as_json:
        _print_json(session, results, broken)
    else:
        for file, one in failed:
            session.screen.warn(f"{_tests_of(file)}:{one.line}: {one.name}: {one.message}", style="red")
        for text in broken:
            session.screen.warn(text, style="red")
        if count or not broken:
            key = "tests_done" if count else "tests_none"
            session.screen.line(session.text(key, passed=count - len(failed), failed=len(failed)))
    return PROBLEM if failed or broken else OK


def _print_json(session: Session, results: list[tuple[Path, list[TestOutcome]]], broken: list[str]) -> None:
    cases = [
        {
            "mapping": str(file),
            "name": one.name,
            "passed": one.passed,
            "message": one.message,
            "line": one.line,
        }
        for file, found in results
        for one in found
    ]
    session.screen.json(
        {"ok": not broken and all(case["passed"] for case in cases), "cases": cases, "problems": broken}
    )


def _files(session: Session, path: Path | None) -> list[Path]:
    root = path or session.project / _FOLDER
    if root.is_file():
        found = [root.with_name(root.name.replace(_TESTS, ".yaml"))]
    else:
        found = sorted(file for file in root.rglob("*.yaml") if not file.name.endswith((_TESTS, _MAP)))
    if not found or not found[0].exists():
        raise Failure(session.text("mapping_none", what=plain(root)), NOT_FOUND)
    return found


def _tests_of(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".yaml") + _TESTS)


def _schemas(session: Session, file: Path) -> Schemas:
    """Return every connector's shapes, with the value maps of the mapping's folder and those beside it, and the project's fields."""
    maps: dict[str, ValueMap] = {}
    for folder in _folders(file):
        maps |= load_value_maps(folder)
    return schemas_of(registry.specs(), maps, kinds_of(session.project))


def _folders(file: Path) -> Iterator[Path]:
    yield from sorted(folder for folder in file.parent.parent.glob("*/") if any(folder.glob(f"*{_MAP}")))
