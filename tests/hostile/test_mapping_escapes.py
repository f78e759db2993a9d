"""The corpus of ways out of a restricted language: none compiles, wherever it stands, and each refusal names its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from hub import registry
from hub.mapping import Compiled, Failed, MappingInvalid, ValueMap, YamlInvalid, load_value_maps
from hub.mapping import compile as compile_mapping
from hub.mapping.functions import FUNCTIONS
from hub.mapping.runtime import HELPERS
from hub.project import schemas_of
from tests.mapping_site import made, value

ROOT = Path(__file__).parents[2]
LINES = (Path(__file__).with_name("escapes.txt")).read_text("utf-8").splitlines()
ESCAPES = sorted({line for line in LINES if line and not line.startswith("#")})
HEAD = "mapping: acme/person.in\nsource: acme.person\ntarget: crm.customer\n"
PLACES = {
    "fields": HEAD + "key: [id]\nfields:\n  custom.x: {0}\n",
    "when": HEAD + "key: [id]\nwhen: {0}\nfields:\n  name: name\n",
    "let": HEAD + "key: [id]\nlet:\n  made: {0}\nfields:\n  name: name\n  custom.x: made\n",
    "key": HEAD + "key: [id, {0}]\nfields:\n  name: name\n",
    "default": HEAD + "key: [id]\nfields:\n  custom.x: {{value: name, default: {0}}}\n",
    "region": HEAD
    + "key: [id]\nfields:\n  name: name\nregions:\n  cn/south: {{fields: {{custom.x: {0}}}}}\n",
    "region let": HEAD
    + "key: [id]\nlet: {{made: name}}\nfields:\n  name: made\nregions:\n  cn/south: {{let: {{made: {0}}}}}\n",
}


def written(line: str) -> str:
    """Return the expression that a line of the corpus stands for."""
    line = re.sub(r"\{\{(\d+)\}\}", lambda found: "n" * int(found[1]), line)
    return re.sub(
        r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8}))", lambda found: chr(int(found[1] or found[2], 16)), line
    )


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_the_corpus_is_large_and_no_line_stands_in_it_twice() -> None:
    lines = [line for line in LINES if line and not line.startswith("#")]
    assert len(lines) == len(set(lines))
    assert len(lines) >= 300


@pytest.mark.parametrize("place", PLACES)
def test_no_way_out_compiles_and_each_refusal_names_its_place(place: str) -> None:
    accepted, nowhere = [], []
    for line in ESCAPES:
        try:
            made(PLACES[place].format(quoted(written(line))))
        except (MappingInvalid, YamlInvalid) as error:
            nowhere += [line for problem in error.problems if problem.line < 1 or problem.column < 1]
        else:
            accepted.append(line)
    assert accepted == []
    assert nowhere == []


@pytest.mark.parametrize(
    ("expression", "becomes"),
    [
        ("tags * 999999999", "a number is expected"),
        ("tags + tags", "a number is expected"),
        ("[t for t in [u for u in tags]]", ["a"]),
        ("(trim)(name)", "x"),
        ("name,", ["x"]),
        ("1e-400", 0),
    ],
)
def test_what_looks_like_one_and_is_none_compiles_and_does_no_harm(expression: str, becomes: Any) -> None:
    found: Any = value(expression, {"name": "x", "tags": ["a"]})
    assert found == becomes or (isinstance(found, Failed) and becomes in found.message)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _shipped() -> Iterator[tuple[str, Compiled]]:
    maps: dict[str, ValueMap] = {}
    for folder in sorted((ROOT / "mappings").iterdir()):
        maps |= load_value_maps(folder)
    schemas = schemas_of(registry.specs(), maps)
    for file in sorted((ROOT / "mappings").rglob("*.yaml")):
        if not file.name.endswith((".tests.yaml", ".map.yaml")):
            yield file.name, compile_mapping(file.read_text("utf-8"), schemas, file=file.name)


OWN = {
    "FAILURES",
    "LEFT",
    "Mapped",
    "Waiting",
    "fails",
    "no_object",
    "get",
    "__class__",
    "disjoint",
    "isdisjoint",
    "setdefault",
    "isprintable",
    "wait",
    "record",
}


def test_compiled_code_names_nothing_but_its_helpers_and_the_functions_of_the_catalogue() -> None:
    known = OWN | set(HELPERS) | {f"f_{name}" for name in FUNCTIONS}
    for name, compiled in _shipped():
        for variant in compiled.variants.values():
            for run in (variant.when, variant.run, variant.part):
                code: Any = run
                assert code.__globals__["__builtins__"] == {}, name
                named = {one for part in _codes(code.__code__) for one in part.co_names}
                left = {one for one in named - known if not re.fullmatch(r"[kcu]_\w+", one)}
                assert left == set(), f"{name}: {left}"
