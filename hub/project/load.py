"""Reading a project: ``hub.yaml``, ``fields/*.yaml``, ``mappings/**/*.yaml`` and value maps, all problems at once.

A text that is in force wins over its file: the file is a draft, and stops nothing, whatever is wrong with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.mapping import MappingInvalid, Schemas, YamlInvalid, crm_schemas, load_value_map, load_yaml
from hub.mapping import compile as compile_mapping
from hub.mapping.problems import Problem, nearest
from hub.mapping.strict_yaml import Document
from hub.model.kinds import KINDS, Kind
from hub.project import sections
from hub.project.checks import Assembled, check_project
from hub.project.fields import FIELD, field_files, read_fields
from hub.project.folder import HUB_YAML, MAPPINGS, VALUE_MAP, Folder, Key, Text, mapping_name
from hub.project.notices import Staff, read_notices
from hub.project.routing import Tables, read_approvals
from hub.project.section import ProjectInvalid, Section
from hub.project.syncs import Known, read_syncs
from hub.project.values import Project, ProjectFile
from hub.sdk.spec import ConnectorSpec

if TYPE_CHECKING:
    from hub.mapping import Compiled, ValueMap

__all__ = [
    "HUB_YAML",
    "MAPPINGS",
    "declared_in",
    "kinds_of",
    "load_project",
    "mappings_named",
    "schemas_of",
    "texts_written",
]

VERSION: Final = "1"
_NAMED: Final = re.compile(r"^value_map:[ \t]*([a-z0-9_.]+)", re.ASCII | re.MULTILINE)
"""The name of a value map whose file cannot be read as YAML, being edited."""


def load_project(
    root: Path,
    specs: Mapping[str, ConnectorSpec],
    texts: Mapping[Key, str] | None = None,
    *,
    places: Mapping[Key, str] | None = None,
) -> Project:
    """Read and check the project in a folder.

    Args:
        root: the folder with hub.yaml and mappings/.
        specs: connector name -> spec of every installed connector (:func:`hub.registry.specs`).
        texts: (kind, name) -> the text in force, where there is one: it wins over the file. None: the files alone.
        places: given, no file is looked at: ``texts`` is everything, and problems of these texts name these places.

    Raises:
        ProjectInvalid: with every problem of every text that is used: file, line, column, field, nearest known name.
    """
    problems: list[Problem] = []
    folder = Folder(root, texts or {}, problems, places)
    found = folder.take("project", HUB_YAML, HUB_YAML)
    document = _document(found, problems) if found is not None else None
    if document is None:
        raise ProjectInvalid(problems)
    kinds = read_fields(folder, _regions(document))
    value_maps = _value_maps(folder)
    mappings = _mappings(folder, schemas_of(specs, value_maps, kinds), _named_mappings(document))
    project = _assemble(document, folder, specs, mappings, kinds)
    if problems:  # what is missing may stand in a file that nobody could read
        raise ProjectInvalid(
            sorted(
                {*problems, *folder.unused},
                key=lambda problem: (problem.file != HUB_YAML, problem.file, problem.line),
            )
        )
    return project


def kinds_of(root: Path) -> Mapping[str, Kind]:
    """Return the kinds with the custom fields that the files of a folder declare; one without hub.yaml declares none.

    Raises:
        ProjectInvalid: what is wrong with the field files, or that hub.yaml cannot be read.
    """
    return declared_in(root)[0]


def declared_in(root: Path) -> tuple[Mapping[str, Kind], tuple[str, ...]]:
    """Return the kinds as :func:`kinds_of` does, and the paths of the region tree.

    Raises:
        ProjectInvalid: as :func:`kinds_of`.
    """
    problems: list[Problem] = []
    folder = Folder(root, {}, problems)
    found = folder.take("project", HUB_YAML, HUB_YAML) if (root / HUB_YAML).exists() else None
    document = _document(found, problems) if found is not None else None
    regions = ("",) if document is None else _regions(document)
    kinds = KINDS if document is None else read_fields(folder, regions)
    if problems:
        raise ProjectInvalid(problems)
    return kinds, regions


def _regions(document: Document) -> tuple[str, ...]:
    """Return the region tree before the rest is read; what is wrong with it is said then."""
    return sections.read_regions(Section(document, (), []))


def schemas_of(
    specs: Mapping[str, ConnectorSpec],
    value_maps: Mapping[str, ValueMap],
    kinds: Mapping[str, Kind] = KINDS,
) -> Schemas:
    """Return the shapes mappings are checked against: every stream and object as ``<connector>.<name>``, and the CRM.

    ``kinds``: with the custom fields that a project declares.
    """
    sources = {
        f"{spec.name}.{stream.name}": stream.fields
        for spec in specs.values()
        for stream in spec.streams.values()
    }
    targets = {
        f"{spec.name}.{item.name}": item.fields for spec in specs.values() for item in spec.objects.values()
    }
    crm = crm_schemas(kinds)
    return Schemas(sources={**sources, **crm}, targets={**targets, **crm}, value_maps=value_maps, kinds=kinds)


def _document(found: Text, problems: list[Problem]) -> Document | None:
    try:
        return load_yaml(found.text, file=found.place)
    except YamlInvalid as error:
        problems += error.problems
        return None


def texts_written(root: Path, in_force: Mapping[Key, str]) -> dict[Key, str]:
    """Return every text that lies in a folder and could be published -> its file, relative to the folder."""
    folder = Folder(root, in_force, [])
    fields = {(FIELD, name): file for name, file in field_files(folder).items() if file is not None}
    maps = {("value_map", name): file for name, file in _value_map_files(folder).items()}
    return {**{("mapping", name): file for name, file in _mapping_files(folder).items()}, **maps, **fields}


def _value_map_files(folder: Folder) -> dict[str, str]:
    """Return the names of the value maps that lie in the folder -> their files."""
    written: dict[str, str] = {}
    for file in folder.files(MAPPINGS, f"**/*{VALUE_MAP}"):
        name = _value_map_name(folder, file)
        if name is None:
            continue
        if name in written:
            there = folder.unused if ("value_map", name) in folder.in_force else folder.problems
            there.append(Problem(file, 1, 1, "value_map", f"there is another value map named {name!r}"))
        written.setdefault(name, file)
    return written


def _value_maps(folder: Folder) -> dict[str, ValueMap]:
    """Return every value map by name: of the folder, and those in force whose file is gone."""
    written = _value_map_files(folder)
    stated = sorted(name for kind, name in folder.in_force if kind == "value_map" and name not in written)
    found: dict[str, ValueMap] = {}
    for name, file in (*written.items(), *dict.fromkeys(stated).items()):
        taken = folder.take("value_map", name, file)
        if taken is None:
            continue
        try:
            found[name] = load_value_map(taken.text, file=taken.place)
        except (YamlInvalid, MappingInvalid) as error:
            folder.problems += error.problems
    return found


def _value_map_name(folder: Folder, file: str) -> str | None:
    """Return the name that a value map's file states, None if nobody can tell it: that is said as of a draft's, or refused."""
    problems = folder.unused if folder.in_force else folder.problems
    text = folder.read(file, problems)
    if text is None:
        return None
    try:
        return load_value_map(text, file=file).name
    except (YamlInvalid, MappingInvalid) as error:
        problems += error.problems
        named = _NAMED.search(text)
        if named is not None and ("value_map", named[1]) in folder.in_force:
            return named[1]
        if folder.in_force:
            folder.drafts.append(("value_map", file))
        return None


def mappings_named(hub_yaml: str) -> frozenset[str]:
    """Return the mappings that the syncs of a hub.yaml name; one that cannot be read names none."""
    try:
        return _named_mappings(load_yaml(hub_yaml, file=HUB_YAML))
    except YamlInvalid:
        return frozenset()


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


def _mapping_files(folder: Folder) -> dict[str, str]:
    """Return the names of the mappings that lie in the folder -> their files."""
    files = folder.files(MAPPINGS, "**/*.yaml")
    return {name: file for file in files if (name := mapping_name(file)) is not None}


def _mappings(folder: Folder, schemas: Schemas, wanted: frozenset[str]) -> dict[str, Compiled | None]:
    """Return every mapping by name; compiled if a sync names it and it has no problem, else None."""
    written = _mapping_files(folder)
    stated = {name for kind, name in folder.in_force if kind == "mapping"}
    found: dict[str, Compiled | None] = dict.fromkeys(written)
    for name in sorted(wanted & {*written, *stated}):
        found[name] = None
        taken = folder.take("mapping", name, written.get(name))
        if taken is None:
            continue
        try:
            compiled = compile_mapping(taken.text, schemas, file=taken.place)
        except (YamlInvalid, MappingInvalid) as error:
            folder.problems += error.problems
            continue
        if compiled.name != name:
            message = f"calls itself {compiled.name!r}; the file's name says {name!r}"
            folder.problems.append(Problem(taken.place, 1, 1, "mapping", message))
            continue
        found[name] = compiled
    return found


def _assemble(
    document: Document,
    folder: Folder,
    specs: Mapping[str, ConnectorSpec],
    mappings: Mapping[str, Compiled | None],
    kinds: Mapping[str, Kind],
) -> Project:
    problems = folder.problems
    top = Section(document, (), problems)
    if top.text("version", required=True) not in (VERSION, None):
        top.problem("version", f"this program reads version {VERSION}")
    regions = sections.read_regions(top)
    owners, users, user_ids = sections.read_owners(top, regions)
    connections = sections.read_connections(top, specs, regions, folder.root, kinds)
    for connection, user in users:
        if connection not in connections:
            near = nearest(connection, connections)
            message = f"users: {user!r} is named for {connection!r}, and there is no such connection"
            problems.append(document.problem(("owners",), message, nearest=near, at_key=True))
    entities = sections.read_entities(top, connections)
    rules, admission, contacts = sections.read_kinds(top, regions, kinds)
    employees = {*owners, *(name for _, name in user_ids)}
    routes, effects = read_approvals(top, Tables(connections, entities, regions, specs, employees, kinds))
    notices = read_notices(top, Staff(connections, specs, entities, employees, regions))
    files = sections.read_files(top, folder.root)
    syncs = read_syncs(top, Known(connections, specs, entities, regions, mappings, admission, kinds))
    top.close()
    problems += check_project(Assembled(document, connections, specs, entities, syncs, regions, routes))
    return Project(
        connections=connections,
        syncs=syncs,
        entities=entities,
        regions=regions,
        owners=owners,
        kinds=rules,
        declared=kinds,
        users=users,
        user_ids=user_ids,
        contacts=contacts,
        routes=routes,
        effects=effects,
        notices=notices,
        shown_files=files,
        files=tuple(folder.used),
        digest=_digest(folder.used),
        drafts=tuple(folder.drafts),
        absent=_absent(folder, mappings),
    )


def _absent(folder: Folder, mappings: Mapping[str, Compiled | None]) -> tuple[Key, ...]:
    """Return what is in force and used without a file; a value map that no mapping uses any more is no loss."""
    used = {name for one in mappings.values() if one is not None for name in one.value_maps}
    return tuple((kind, name) for kind, name in folder.absent if kind != "value_map" or name in used)


def _digest(files: list[ProjectFile]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(files, key=lambda item: (item.kind, item.name)):
        for part in (file.kind, file.name, file.text):
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
