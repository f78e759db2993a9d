"""The texts of a project: those in force before the files of its folder, which then are drafts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from hub.mapping.problems import Problem
from hub.project.values import ProjectFile

__all__ = [
    "HUB_YAML",
    "MAPPINGS",
    "TESTS",
    "VALUE_MAP",
    "Folder",
    "Key",
    "Text",
    "mapping_name",
]

HUB_YAML: Final = "hub.yaml"
MAPPINGS: Final = "mappings"
VALUE_MAP: Final = ".map.yaml"
"""What the names of value maps' files end with."""
TESTS: Final = ".tests.yaml"
"""What the names of mappings' cases end with."""
_LARGEST: Final = 512 * 1024

Key: TypeAlias = tuple[str, str]
"""Kind (project, mapping, value_map) and name of a text."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it is used. ``place``: what its problems name, the file or, where that holds a draft, the name in force."""

    text: str
    place: str


@dataclass(slots=True)
class Folder:
    """One reading of a project's folder.

    ``in_force``: texts that win over the files. ``problems``: of what is used; ``unused``: of drafts, which stop
    nothing. ``used``: the texts taken so far; ``drafts``: those whose file differs from what is in force, or that are not
    in force yet beside others that are; ``absent``: those in force that have no file. ``places``: given, no file is looked
    at, ``in_force`` is everything, and problems of these texts name these places.
    """

    root: Path
    in_force: Mapping[Key, str]
    problems: list[Problem]
    places: Mapping[Key, str] | None = None
    unused: list[Problem] = field(default_factory=list)
    used: list[ProjectFile] = field(default_factory=list)
    drafts: list[Key] = field(default_factory=list)
    absent: list[Key] = field(default_factory=list)

    def take(self, kind: str, name: str, file: str | None) -> Text | None:
        """Return a text that is needed: what is in force, else the file's; None: it cannot be read, and that was said.

        ``file``: where it lies, below the root; None: nowhere.
        """
        stated = self.in_force.get((kind, name))
        if self.places is not None:
            place = self.places.get((kind, name), f"{name} (in force)")
            return None if stated is None else self._used(kind, name, Text(stated, place))
        if stated is None:
            found = self.read(file, self.problems) if file is not None else None
            if self.in_force and file != HUB_YAML:
                self.drafts.append((kind, name))
            return None if found is None else self._used(kind, name, Text(found, file or name))
        found = self.read(file, self.unused) if file is not None else None
        if file is None:
            self.absent.append((kind, name))
        elif found != stated and file != HUB_YAML:  # which is published by the next start
            self.drafts.append((kind, name))
        place = file if file is not None and found == stated else f"{name} (in force)"
        return self._used(kind, name, Text(stated, place))

    def files(self, below: str, pattern: str) -> list[str]:
        """Return the files below a folder of the root that fit a pattern, relative to the root, in order."""
        if self.places is not None:
            return []
        return sorted(path.relative_to(self.root).as_posix() for path in (self.root / below).glob(pattern))

    def _used(self, kind: str, name: str, text: Text) -> Text:
        self.used.append(ProjectFile(kind, name, text.text))
        return text

    def read(self, file: str, problems: list[Problem]) -> str | None:
        """Return the text of a file below the root; None: it cannot be read, and ``problems`` has it."""

        def refuse(message: str) -> None:
            problems.append(Problem(file, 1, 1, "", message))

        try:
            raw = (self.root / file).read_bytes()
        except OSError as error:
            refuse(f"cannot be read: {error.strerror or error} (in {self.root})")
            return None
        if len(raw) > _LARGEST:
            refuse(f"is larger than {_LARGEST} bytes")
            return None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            refuse(f"is not UTF-8 (byte {error.start})")
            return None


def mapping_name(file: str) -> str | None:
    """Return the name of the mapping that a file below the root holds, None if it holds none."""
    if not file.startswith(f"{MAPPINGS}/") or file.endswith((VALUE_MAP, TESTS)):
        return None
    return file.removeprefix(f"{MAPPINGS}/").removesuffix(".yaml")
