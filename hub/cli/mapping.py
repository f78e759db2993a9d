"""``hub mapping``: check mapping files and run the cases beside them."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from hub import registry
from hub.cli import mapping_back, mapping_life, mapping_preview, mapping_shadow
from hub.cli.command import SARIF, add, group
from hub.cli.report import DISTRIBUTION
from hub.cli.screen import plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, Failure, Session
from hub.errors import SettingsError
from hub.mapping import (
    JSON_SCHEMAS,
    Coverage,
    MappingInvalid,
    Problem,
    Schemas,
    TestOutcome,
    ValueMap,
    YamlInvalid,
    coverage_of,
    lint,
    load_value_maps,
    run_tests,
    sarif_log,
)
from hub.mapping import compile as compile_mapping
from hub.project import kinds_of, schemas_of

__all__ = ["Written", "check", "register", "run_cases", "schema"]


class Written(enum.StrEnum):
    """A kind of file that people write for a mapping."""

    MAPPING = "mapping"
    MAP = "map"
    TESTS = "tests"


_TESTS, _MAP = ".tests.yaml", ".map.yaml"
_FOLDER: Final = "mappings"

At = Annotated[Path | None, typer.Argument(help="opt.path", metavar="PATH")]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "mapping")
    add(made, lang, check, "check", key="help.mapping.check", outputs=("table", "json", SARIF))
    add(made, lang, run_cases, "test", key="help.mapping.test")
    add(made, lang, schema, "schema", key="help.mapping.schema")
    mapping_preview.register(made, lang)
    mapping_shadow.register(made, lang)
    mapping_life.register(made, lang)
    mapping_back.register(made, lang)


def check(session: Session, path: At = None) -> int:
    """Check mapping files: every name and type, with file, line, column and the nearest known name; warnings fail nothing."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    passed: list[str] = []
    for file in _files(session, path):
        try:
            text, schemas = file.read_text("utf-8"), _schemas(session, file)
            made = compile_mapping(text, schemas, file=str(file))
            warnings += lint(text, schemas, file=str(file), required=_required(made.target))
            passed.append(str(file))
        except (YamlInvalid, MappingInvalid) as error:
            problems += error.problems
        except UnicodeDecodeError:
            problems.append(Problem(str(file), 1, 1, "", "the file is not UTF-8"))
    _tell_checked(session, passed, problems, warnings)
    return PROBLEM if problems else OK


def _required(target: str) -> tuple[str, ...]:
    """Return the fields that a vendor's object requires; what a kind of the CRM requires may come from elsewhere."""
    connector, _, name = target.partition(".")
    spec = registry.specs().get(connector)
    return spec.objects[name].required if spec and name in spec.objects else ()


def _tell_checked(
    session: Session, passed: list[str], problems: list[Problem], warnings: list[Problem]
) -> None:
    if session.output == SARIF:
        session.screen.json(sarif_log(problems, warnings, version=version(DISTRIBUTION)))
        return
    drafts = mapping_life.drafts(session)
    if session.as_json:
        told = {
            "ok": not problems,
            "passed": passed,
            "problems": [str(problem) for problem in problems],
            "found": [asdict(problem) for problem in problems],
            "warnings": [asdict(problem) for problem in warnings],
            "drafts": [list(key) for key in drafts],
        }
        session.screen.json(told)
        return
    for name in passed:
        session.screen.line(session.text("mapping_ok", name=plain(name)))
    for problem in problems:
        session.screen.warn(str(problem), style="red")
    for problem in warnings:
        session.screen.warn(session.text("mapping_doubt", said=problem), style="yellow")
    mapping_life.tell_drafts(session, drafts)


def run_cases(
    session: Session,
    path: At = None,
    require_coverage: Annotated[
        int | None, typer.Option("--require-coverage", help="opt.require_coverage", min=0, max=100)
    ] = None,
) -> int:
    """Run the cases beside the mappings; say which fields, regions and outcomes of ``when`` they leave out."""
    results: list[tuple[Path, list[TestOutcome]]] = []
    covered: dict[Path, Coverage] = {}
    broken: list[str] = []
    for file in _files(session, path):
        has_cases = _tests_of(file).exists()
        if not has_cases and require_coverage is None:
            continue
        try:
            found = run_tests(file, _schemas(session, file)) if has_cases else []
            covered[file] = coverage_of(file.read_text("utf-8"), found, file=str(file))
            results.append((file, found))
        except SettingsError as error:
            broken.append(str(error))
    failed = [(file, one) for file, found in results for one in found if not one.passed]
    low = [file for file, one in covered.items() if not one.reaches(require_coverage or 0)]
    count = sum(len(found) for _, found in results)
    if session.as_json:
        _print_json(session, results, broken, covered, low)
    else:
        for file, case in failed:
            session.screen.warn(f"{_tests_of(file)}:{case.line}: {case.name}: {case.message}", style="red")
        for text in broken:
            session.screen.warn(text, style="red")
        for file, one in covered.items():
            session.screen.line(_covered(session, file, one))
        for file in low:
            numbers = {"filled": covered[file].filled, "fields": covered[file].fields}
            said = session.text("coverage_low", name=plain(file), percent=require_coverage, **numbers)
            session.screen.warn(said, style="red")
        if count or not broken:
            key = "tests_done" if count else "tests_none"
            session.screen.line(session.text(key, passed=count - len(failed), failed=len(failed)))
    return PROBLEM if failed or broken or low else OK


def schema(
    session: Session, of: Annotated[Written, typer.Argument(help="opt.schema")] = Written.MAPPING
) -> None:
    """Print the JSON Schema of a kind of file."""
    session.screen.json(JSON_SCHEMAS[of])


def _covered(session: Session, file: Path, found: Coverage) -> str:
    whens = [session.text(f"coverage_when.{end}") for end in found.untouched_when]
    left = {"never": found.never_filled, "regions": found.unused_regions, "when": whens}
    head = session.text("coverage", name=plain(file), filled=found.filled, fields=found.fields)
    said = (
        session.text(f"coverage_{key}", names=", ".join(map(plain, names)))
        for key, names in left.items()
        if names
    )
    return head + "".join(said)


def _print_json(
    session: Session,
    results: list[tuple[Path, list[TestOutcome]]],
    broken: list[str],
    covered: dict[Path, Coverage],
    low: list[Path],
) -> None:
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
    coverage = [
        {
            "mapping": str(file),
            "fields": one.fields,
            "filled": one.filled,
            "never_filled": one.never_filled,
            "unused_regions": one.unused_regions,
            "untouched_when": one.untouched_when,
            "enough": file not in low,
        }
        for file, one in covered.items()
    ]
    ok = not broken and not low and all(case["passed"] for case in cases)
    session.screen.json({"ok": ok, "cases": cases, "problems": broken, "coverage": coverage})


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
