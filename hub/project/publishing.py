"""Texts on their way into force: checked together with everything else that is, tried on the cases beside, stored as one.

What was checked is what is stored: the texts are read once, and nothing else of the folder has a part in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hub.errors import SettingsError
from hub.mapping import run_cases
from hub.project.fields import FIELD
from hub.project.folder import HUB_YAML, MAPPINGS, TESTS, Folder, Key
from hub.project.load import load_project, mappings_named, texts_written
from hub.project.opening import PROJECT
from hub.project.revisions import Overtaken, Revision, publish
from hub.project.section import ProjectInvalid
from hub.project.values import Project, ProjectFile
from hub.sdk.spec import ConnectorSpec
from hub.store.tx import Tx

__all__ = ["Publication", "cases_failed", "drafts_of", "prepare", "put_in_force", "read_texts"]


@dataclass(frozen=True, slots=True)
class Publication:
    """Texts that fit together with everything in force.

    ``changed``: the texts whose words change. ``files``: those, and the mappings that come out different because of one:
    each gets the next number. ``checked``: the numbers of everything it was checked with. ``project``: as it will be, its
    syncs with the numbers they will have.
    """

    changed: tuple[Key, ...]
    files: tuple[ProjectFile, ...]
    checked: Mapping[Key, int]
    project: Project

    @property
    def numbers(self) -> dict[Key, int]:
        """Return the number that each text will have."""
        return {(one.kind, one.name): self.checked.get((one.kind, one.name), 0) + 1 for one in self.files}


def drafts_of(root: Path, found: Mapping[Key, Revision]) -> tuple[dict[Key, str], list[Key]]:
    """Return the texts that lie in a folder -> their files, and which of them are to be published.

    Those are what differs from what is in force, and tables and field files that never were; of the mappings, those
    that the hub.yaml in force names.
    """
    files = texts_written(root, {key: one.text for key, one in found.items()})
    hub_yaml = found.get((PROJECT, HUB_YAML))
    named = mappings_named(hub_yaml.text) if hub_yaml is not None else frozenset()
    folder = Folder(root, {}, [])
    drafts = []
    for key, file in files.items():
        stated = found[key].text if key in found else None
        if (key[0] != "mapping" or key[1] in named) and folder.read(file, folder.unused) != stated:
            drafts.append(key)
    return files, drafts


def read_texts(root: Path, files: Mapping[Key, str]) -> dict[Key, str]:
    """Read texts of a folder.

    Raises:
        ProjectInvalid: one cannot be read.
    """
    folder = Folder(root, {}, [])
    found = {key: folder.read(file, folder.problems) for key, file in files.items()}
    if folder.problems:
        raise ProjectInvalid(folder.problems)
    return {key: text for key, text in found.items() if text is not None}


def prepare(
    root: Path,
    specs: Mapping[str, ConnectorSpec],
    found: Mapping[Key, Revision],
    changed: Mapping[Key, str],
    places: Mapping[Key, str],
) -> Publication:
    """Check texts together, and with everything else that is in force, hub.yaml too.

    Args:
        root: the project's folder.
        specs: of every installed connector.
        found: what is in force.
        changed: the texts to publish.
        places: what problems of these name: their files.

    Raises:
        ProjectInvalid: every problem of every text.
    """
    texts = {key: one.text for key, one in found.items()}
    project = load_project(root, specs, texts | dict(changed), places=places)
    made: dict[str, str] = {}
    with contextlib.suppress(
        ProjectInvalid
    ):  # of a program that cannot use it any more: this may be the mend
        before = load_project(root, specs, texts, places={})
        made = {one.mapping.name: one.mapping.digest for one in before.syncs.values()}
    fields = {name for kind, name in changed if kind == FIELD}
    follow = {
        one.mapping.name
        for one in project.syncs.values()
        if one.mapping.digest != made.get(one.mapping.name)
        or {f"crm.{name}" for name in fields} & {one.mapping.source, one.mapping.target}
    }
    keys = [*changed, *(("mapping", name) for name in sorted(follow) if ("mapping", name) not in changed)]
    known = texts | dict(changed)
    files = tuple(ProjectFile(kind, name, known[kind, name]) for kind, name in keys)
    checked = {key: one.number for key, one in found.items()}
    publication = Publication(tuple(changed), files, checked, project)
    return replace(publication, project=project.with_revisions(checked | publication.numbers))


def cases_failed(root: Path, publication: Publication) -> list[str]:
    """Run the cases beside the mappings of a publication; return what failed, a sentence each.

    The cases of a mapping that only follows are those of its file: while that is a draft they are not of this text.
    """
    said: list[str] = []
    compiled = {one.mapping.name: one.mapping for one in publication.project.syncs.values()}
    for file in publication.files:
        place = f"{MAPPINGS}/{file.name}{TESTS}"
        if file.kind != "mapping" or file.name not in compiled or not (root / place).exists():
            continue
        if ("mapping", file.name) not in publication.changed and _is_draft(root, file):
            continue
        try:
            results = run_cases(compiled[file.name], root / place)
        except SettingsError as error:
            said.append(str(error))
            continue
        said += [f"{place}:{one.line}: {one.name}: {one.message}" for one in results if not one.passed]
    return said


def _is_draft(root: Path, file: ProjectFile) -> bool:
    unread: list[Any] = []
    return Folder(root, {}, unread).read(f"{MAPPINGS}/{file.name}.yaml", unread) != file.text


def put_in_force(
    tx: Tx, publication: Publication, actor: str, note: str, back_to: int | None = None
) -> dict[Key, int] | Overtaken:
    """Store a publication with its act; ``back_to``: the revision whose text it repeats, for a rollback.

    Returns what :func:`hub.project.revisions.publish` does.
    """
    body: dict[str, Any] = {"note": note, "texts": [list(key) for key in publication.changed]}
    if back_to is not None:
        body["back_to"] = back_to
    return publish(tx, publication.files, publication.checked, actor=actor, body=body)
