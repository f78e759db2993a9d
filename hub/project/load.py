"""Reading a project folder: ``hub.yaml``, ``mappings/**/*.yaml`` and value maps, all problems at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.mapping import MappingInvalid, Schemas, YamlInvalid, crm_schemas, load_value_map, load_yaml
from hub.mapping import compile as compile_mapping
from hub.mapping.problems import Problem, nearest
from hub.mapping.strict_yaml import Document
from hub.project import sections
from hub.project.checks import Assembled, check_project
from hub.project.notices import Staff, read_notices
from hub.project.routing import Tables, read_approvals
from hub.project.section import ProjectInvalid, Section
from hub.project.syncs import Known, read_syncs
from hub.project.values import Project, ProjectFile
from hub.sdk.spec import ConnectorSpec

if TYPE_CHECKING:
    from hub.mapping import Compiled, ValueMap

__all__ = ["HUB_YAML", "MAPPINGS", "load_project", "schemas_of"]

HUB_YAML: Final = "hub.yaml"
MAPPINGS: Final = "mappings"
VERSION: Final = "1"
_VALUE_MAP: Final = ".map.yaml"
_TESTS: Final = ".tests.yaml"
_LARGEST: Final = 512 * 1024


def load_project(root: Path, specs: Mapping[str, ConnectorSpec]) -> Project:
    """Read and check the project in a folder.

    Args:
        root: the folder with hub.yaml and mappings/.
        specs: connector name -> spec of every installed connector (:func:`hub.registry.specs`).

    Raises:
        ProjectInvalid: with every problem of every file: file, line, column, field, nearest known name.
    """
    problems: list[Problem] = []
    text = _read(root, HUB_YAML, problems)
    document = _document(text, problems) if text is not None else None
    if text is None or document is None:
        raise ProjectInvalid(problems)
    files = [ProjectFile("project", HUB_YAML, text)]
    value_maps = _value_maps(root, files, problems)
    mappings = _mappings(
        root, schemas_of(specs, value_maps), _named_mappings(document), files=files, problems=problems
    )
    project = _assemble(document, root, specs, mappings=mappings, files=files, problems=problems)
    if problems:
        raise ProjectInvalid(
            sorted(problems, key=lambda problem: (problem.file != HUB_YAML, problem.file, problem.line))
        )
    return project


def schemas_of(specs: Mapping[str, ConnectorSpec], value_maps: Mapping[str, ValueMap]) -> Schemas:
    """Return the shapes mappings are checked against: every stream and object as ``<connector>.<name>``, and the CRM."""
    sources = {
        f"{spec.name}.{stream.name}": stream.fields
        for spec in specs.values()
        for stream in spec.streams.values()
    }
    targets = {
        f"{spec.name}.{item.name}": item.fields for spec in specs.values() for item in spec.objects.values()
    }
    crm = crm_schemas()
    return Schemas(sources={**sources, **crm}, targets={**targets, **crm}, value_maps=value_maps)


def _read(root: Path, name: str, problems: list[Problem]) -> str | None:
    def refuse(message: str) -> None:
        problems.append(Problem(name, 1, 1, "", message))

    try:
        raw = (root / name).read_bytes()
    except OSError as error:
        refuse(f"cannot be read: {error.strerror or error} (in {root})")
        return None
    if len(raw) > _LARGEST:
        refuse(f"is larger than {_LARGEST} bytes")
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(f"is not UTF-8 (byte {error.start})")
        return None


def _document(text: str, problems: list[Problem]) -> Document | None:
    try:
        return load_yaml(text, file=HUB_YAML)
    except YamlInvalid as error:
        problems += error.problems
        return None


def _names(root: Path) -> list[str]:
    folder = root / MAPPINGS
    return sorted(path.relative_to(root).as_posix() for path in folder.rglob("*.yaml"))


def _value_maps(root: Path, files: list[ProjectFile], problems: list[Problem]) -> dict[str, ValueMap]:
    found: dict[str, ValueMap] = {}
    for name in _names(root):
        text = _read(root, name, problems) if name.endswith(_VALUE_MAP) else None
        if text is None:
            continue
        try:
            value_map = load_value_map(text, file=name)
        except (YamlInvalid, MappingInvalid) as error:
            problems += error.problems
            continue
        if value_map.name in found:
            problems.append(
                Problem(name, 1, 1, "value_map", f"there is another value map named {value_map.name!r}")
            )
        found[value_map.name] = value_map
        files.append(ProjectFile("value_map", value_map.name, text))
    return found


def _named_mappings(document: Document) -> frozenset[str]:
    """Return the mappings that syncs name; others lie there unused and are checked by their own command."""
    top = document.value
    syncs = top.get("syncs") if isinstance(top, dict) else None
    texts = (
        [sync.get("mapping") for sync in syncs.values() if isinstance(sync, dict)]
        if isinstance(syncs, dict)
        else []
    )
    return frozenset(text for text in texts if isinstance(text, str))


def _mappings(
    root: Path, schemas: Schemas, wanted: frozenset[str], *, files: list[ProjectFile], problems: list[Problem]
) -> dict[str, Compiled | None]:
    """Return every mapping file by name; compiled if a sync names it and it has no problem, else None."""
    found: dict[str, Compiled | None] = {}
    for file in _names(root):
        if file.endswith((_VALUE_MAP, _TESTS)):
            continue
        name = file.removeprefix(f"{MAPPINGS}/").removesuffix(".yaml")
        found[name] = None
        text = _read(root, file, problems) if name in wanted else None
        if text is None:
            continue
        try:
            compiled = compile_mapping(text, schemas, file=file)
        except (YamlInvalid, MappingInvalid) as error:
            problems += error.problems
            continue
        if compiled.name != name:
            problems.append(
                Problem(
                    file, 1, 1, "mapping", f"calls itself {compiled.name!r}; the file's name says {name!r}"
                )
            )
            continue
        found[name] = compiled
        files.append(ProjectFile("mapping", name, text))
    return found


def _assemble(
    document: Document,
    root: Path,
    specs: Mapping[str, ConnectorSpec],
    *,
    mappings: Mapping[str, Compiled | None],
    files: list[ProjectFile],
    problems: list[Problem],
) -> Project:
    top = Section(document, (), problems)
    if top.text("version", required=True) not in (VERSION, None):
        top.problem("version", f"this program reads version {VERSION}")
    regions = sections.read_regions(top)
    owners, users, user_ids = sections.read_owners(top, regions)
    connections = sections.read_connections(top, specs, regions, root)
    for connection, user in users:
        if connection not in connections:
            near = nearest(connection, connections)
            message = f"users: {user!r} is named for {connection!r}, and there is no such connection"
            problems.append(document.problem(("owners",), message, nearest=near, at_key=True))
    entities = sections.read_entities(top, connections)
    rules, admission, contacts = sections.read_kinds(top, regions)
    employees = {*owners, *(name for _, name in user_ids)}
    routes, effects = read_approvals(top, Tables(connections, entities, regions, specs, employees))
    notices = read_notices(top, Staff(connections, specs, entities, employees, regions))
    syncs = read_syncs(top, Known(connections, specs, entities, regions, mappings, admission))
    top.close()
    problems += check_project(Assembled(document, connections, specs, entities, syncs, regions, routes))
    return Project(
        connections=connections,
        syncs=syncs,
        entities=entities,
        regions=regions,
        owners=owners,
        kinds=rules,
        users=users,
        user_ids=user_ids,
        contacts=contacts,
        routes=routes,
        effects=effects,
        notices=notices,
        files=tuple(files),
        digest=_digest(files),
    )


def _digest(files: list[ProjectFile]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(files, key=lambda item: (item.kind, item.name)):
        for part in (file.kind, file.name, file.text):
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
