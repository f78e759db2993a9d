"""The project of a process: what is in force when it opens, and what is published while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hub.project.folder import HUB_YAML, Key
from hub.project.load import load_project
from hub.project.revisions import Revision, publish_revisions, revisions_in_force
from hub.project.values import Project
from hub.sdk.spec import ConnectorSpec
from hub.store.engine import Store

__all__ = ["PROJECT", "newer", "not_used", "open_project", "renewed"]

PROJECT = "project"
"""The kind of hub.yaml: its file counts from the next start on, whatever was in force."""


def open_project(store: Store, root: Path, specs: Mapping[str, ConnectorSpec], *, start: bool) -> Project:
    """Read the project as it is in force; what nobody published yet is as its file says.

    ``start``: that is published, and so is a hub.yaml that changed.

    Raises:
        ProjectInvalid: as :func:`hub.project.load.load_project`.
    """
    while True:
        known = store.read_now(revisions_in_force)
        texts = {key: one.text for key, one in known.items() if key[0] != PROJECT}
        project = load_project(root, specs, texts)
        numbers = {key: one.number for key, one in known.items()}
        if not start:
            return project.with_revisions(numbers)
        published = store.run_now(publish_revisions, project.files)
        if len(published) == len(project.files):
            drafts = tuple(key for key in project.drafts if key not in published or key in known)
            return replace(project, drafts=drafts).with_revisions(numbers | published)
        # somebody published another text in between: that one is in force


def newer(project: Project, numbers: Mapping[Key, int]) -> bool:
    """Say whether something was published that a project does not use; hub.yaml waits for the next start."""
    return any(number != project.revisions.get(key) for key, number in numbers.items() if key[0] != PROJECT)


def renewed(
    project: Project, root: Path, specs: Mapping[str, ConnectorSpec], found: Mapping[Key, Revision]
) -> Project:
    """Return the project with the texts that are in force now, and the hub.yaml that this process started with.

    Raises:
        ProjectInvalid: this program cannot use them; :func:`not_used` says which syncs that concerns.
    """
    texts = {key: one.text for key, one in found.items() if key[0] != PROJECT}
    texts |= {(one.kind, one.name): one.text for one in project.files if one.kind == PROJECT}
    numbers = {key: one.number for key, one in found.items() if key[0] != PROJECT}
    own = project.revisions.get((PROJECT, HUB_YAML))
    if own is not None:
        numbers[PROJECT, HUB_YAML] = own
    return load_project(root, specs, texts, places={}).with_revisions(numbers)


def not_used(project: Project, found: Mapping[Key, Revision]) -> frozenset[str]:
    """Return the syncs whose mapping in force is not the project's, and the deliveries whose answers pass through one.

    A mapping has a new number also when a value map that it uses has. If none has one, what was published concerns all.
    """
    changed = {
        one.name
        for one in project.syncs.values()
        if (newest := found.get(("mapping", one.mapping.name))) is not None and newest.number != one.revision
    }
    if not changed:
        return frozenset(project.syncs)
    through = {
        one.name
        for one in project.syncs.values()
        if one.direction == "out"
        and (source := project.sync_in(one.connection, one.object)) is not None
        and source.name in changed
    }
    return frozenset(changed | through)
