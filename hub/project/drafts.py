"""One mapping as its file says it now: the draft, with the tables and custom fields that lie in the folder beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from hub.errors import SettingsError
from hub.mapping import Compiled, MappingInvalid, ValueMap, YamlInvalid, load_value_map
from hub.mapping import compile as compile_mapping
from hub.mapping.problems import Problem
from hub.project.folder import MAPPINGS, TESTS, VALUE_MAP, Folder, Key
from hub.project.load import kinds_of, schemas_of
from hub.project.section import ProjectInvalid
from hub.sdk.spec import ConnectorSpec

__all__ = ["cases_file", "compile_draft", "draft_files"]


def compile_draft(
    root: Path, specs: Mapping[str, ConnectorSpec], name: str, in_force: Mapping[Key, str]
) -> Compiled:
    """Compile the file of a mapping as publishing it with its tables would; nothing else of the folder has a part in it.

    ``in_force``: what stands in for a table that has no file.

    Raises:
        ProjectInvalid: every problem of the draft and of the tables it cannot do without: file, line, column, nearest name.
    """
    folder = Folder(root, {}, [])
    tables, broken = _tables(folder, in_force)
    file = f"{MAPPINGS}/{name}.yaml"
    text = folder.read(file, folder.problems)
    if text is None:
        raise ProjectInvalid(folder.problems)
    try:
        compiled = compile_mapping(text, schemas_of(specs, tables, kinds_of(root)), file=file)
    except (MappingInvalid, YamlInvalid) as error:
        raise ProjectInvalid([*error.problems, *broken]) from None
    if compiled.name != name:
        message = f"calls itself {compiled.name!r}; the file's name says {name!r}"
        raise ProjectInvalid([Problem(file, 1, 1, "mapping", message)])
    return compiled


def cases_file(root: Path, name: str) -> Path:
    """Return where the cases of a mapping lie."""
    return root / MAPPINGS / f"{name}{TESTS}"


def draft_files(root: Path, name: str) -> list[Path]:
    """Return the files that decide what a draft does: itself, its cases, the tables and field files of the folder."""
    tables = (root / MAPPINGS).glob(f"**/*{VALUE_MAP}")
    fields = (root / "fields").glob("*.yaml")
    return [root / MAPPINGS / f"{name}.yaml", cases_file(root, name), *sorted(tables), *sorted(fields)]


def _tables(folder: Folder, in_force: Mapping[Key, str]) -> tuple[dict[str, ValueMap], list[Problem]]:
    """Return the value maps, those of the folder first, and what is wrong with files that are none."""
    found: dict[str, ValueMap] = {}
    broken: list[Problem] = []
    for file in folder.files(MAPPINGS, f"**/*{VALUE_MAP}"):
        text = folder.read(file, broken)
        try:
            table = load_value_map(text, file=file) if text is not None else None
        except (MappingInvalid, YamlInvalid) as error:
            broken += error.problems
            continue
        if table is not None:
            found[table.name] = table
    if broken:  # nobody can tell which of them the text in force would stand in for
        return found, broken
    for (kind, name), text in in_force.items():
        if kind == "value_map" and name not in found:
            with contextlib.suppress(
                SettingsError
            ):  # of another program: whoever uses it is told that it is not there
                found[name] = load_value_map(text, file=f"{name} (in force)")
    return found, broken
