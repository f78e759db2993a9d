"""Reading one mapping of a strict YAML file key by key; what was not asked for is an unknown key.

Every mistake becomes a :class:`~hub.mapping.problems.Problem` with its line; reading goes on, so that a person sees
all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from hub.errors import SettingsError
from hub.mapping.problems import Problem, nearest
from hub.mapping.strict_yaml import Document, Path, Yaml, typed
from hub.model.record import Json
from hub.model.region import region_path

__all__ = ["ProjectInvalid", "Section"]

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(ms|s|m|h|d|)", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)
_FLAGS: Final = {"true": True, "false": False}


class ProjectInvalid(SettingsError):
    """The project was not accepted; the message holds every problem, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Take every problem found, at least one."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.file = problems[0].file
        self.line = problems[0].line
        self.field = problems[0].field


class Section:
    """One mapping of a file. Take every known key, then :meth:`close` reports the rest.

    ``problems`` is shared by all sections of a project. A wrong value is reported and read as absent.
    """

    def __init__(self, document: Document, path: Path, problems: list[Problem]) -> None:
        """Open the mapping at ``path``; nothing there, or an empty value, is an empty mapping."""
        self.document = document
        self.path = path
        self.problems = problems
        self._taken: set[str] = set()
        value = _at(document.value, path)
        self._values: Mapping[str, Yaml] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict) and value != "":
            self.problem(None, f"a mapping is expected, not {_shape(value)}")

    def problem(self, key: str | None, message: str, *, known: Collection[str] = (), named: str = "") -> None:
        """Report a mistake at a key's value (None: of the section itself); ``named``: find the nearest of ``known``."""
        path = self.path if key is None else (*self.path, key)
        at_key = key is None or not isinstance(self._values.get(key), str)
        near = nearest(named, known) if named else None
        self.problems.append(self.document.problem(path, message, nearest=near, at_key=at_key))

    def has(self, key: str) -> bool:
        """Tell whether the key is there."""
        return key in self._values

    def is_section(self, key: str) -> bool:
        """Tell whether a mapping stands under the key."""
        return isinstance(self._values.get(key), dict)

    def names(self) -> list[str]:
        """Return every key; all count as known from now on."""
        self._taken |= set(self._values)
        return list(self._values)

    def text(self, key: str, *, required: bool = False) -> str | None:
        """Return a text; None if absent or wrong."""
        self._taken.add(key)
        value = self._values.get(key)
        if value is None or value == "":
            if required or value == "":
                self.problem(
                    key if value == "" else None, f"{key} is missing" if value is None else "is empty"
                )
            return None
        if not isinstance(value, str):
            self.problem(key, f"a text is expected, not {_shape(value)}")
            return None
        return value

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """Return one of the choices, the default if absent or wrong."""
        value = self.text(key)
        if value is None or value in choices:
            return value or default
        self.problem(key, f"{value!r} is not one of {', '.join(choices)}", known=choices, named=value)
        return default

    def named(self, key: str, known: Collection[str], what: str, *, required: bool = False) -> str | None:
        """Return a name that must be one of ``known`` (``what``: what it should name)."""
        value = self.text(key, required=required)
        if value is None or value in known:
            return value
        self.problem(key, f"there is no {what} {value!r}", known=known, named=value)
        return None

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return true or false."""
        return _FLAGS[self.choice(key, tuple(_FLAGS), "true" if default else "false")]

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number between ``low`` and ``high``."""
        value = self.text(key)
        if value is None:
            return default
        if _INTEGER.fullmatch(value) and low <= int(value) <= high:
            return int(value)
        self.problem(key, f"a whole number from {low} to {high} is expected, not {value[:40]!r}")
        return default

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        """Return a number between ``low`` and ``high``."""
        value = self.text(key)
        if value is None:
            return default
        if _NUMBER.fullmatch(value) and low <= float(value) <= high:
            return float(value)
        self.problem(key, f"a number from {low:g} to {high:g} is expected, not {value[:40]!r}")
        return default

    def duration(self, key: str, default: float | None = None) -> float | None:
        """Return seconds; written as 90, 90s, 500ms, 5m, 2h or 1d, more than nothing."""
        value = self.text(key)
        if value is None:
            return default
        match = _DURATION.fullmatch(value)
        if match and float(match[1]) > 0:
            return float(match[1]) * _SECONDS[match[2]]
        self.problem(key, f"a duration such as 30s, 5m or 2h is expected, not {value[:40]!r}")
        return default

    def region(self, key: str, known: Collection[str], default: str = "") -> str:
        """Return a region path of the tree (``known``) in stored form."""
        value = self.text(key)
        path = None if value is None else self._region(key, value, known)
        return default if path is None else path

    def regions(self, key: str, known: Collection[str]) -> tuple[str, ...]:
        """Return a list of region paths of the tree in stored form."""
        paths = [self._region(key, value, known) for value in self.texts(key) or ()]
        return tuple(path for path in paths if path is not None)

    def _region(self, key: str, value: str, known: Collection[str]) -> str | None:
        try:
            path = region_path(value)
        except ValueError as error:
            self.problem(key, str(error))
            return None
        if path in known:
            return path
        self.problem(key, f"there is no region {value!r} in the tree", known=known, named=path)
        return None

    def texts(self, key: str) -> list[str] | None:
        """Return a list of texts; None if absent or wrong."""
        self._taken.add(key)
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self.problem(key, "a list of texts is expected")
            return None
        return [str(item) for item in value]

    def json(self, key: str) -> dict[str, Json]:
        """Return a mapping with JSON's own scalars; empty if absent."""
        self._taken.add(key)
        if key not in self._values:
            return {}
        value = typed(self.document, (*self.path, key))
        if isinstance(value, dict):
            return value
        self.problem(key, f"a mapping is expected, not {_shape(self._values[key])}")
        return {}

    def section(self, key: str) -> Section:
        """Return the mapping under a key; an empty one if absent."""
        self._taken.add(key)
        return Section(self.document, (*self.path, key), self.problems)

    def each(self, key: str) -> Iterator[tuple[str, Section]]:
        """Yield (name, section) of a mapping of mappings."""
        yield from self.section(key).each_of()

    def each_of(self) -> Iterator[tuple[str, Section]]:
        """Yield (name, section) of every key of this mapping."""
        for name in self.names():
            yield name, Section(self.document, (*self.path, name), self.problems)

    def items(self, key: str) -> list[Section] | None:
        """Return the sections of a list of mappings; None if absent or not a list."""
        self._taken.add(key)
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.problem(key, f"a list is expected, not {_shape(value)}")
            return None
        return [
            Section(self.document, (*self.path, key, index), self.problems) for index in range(len(value))
        ]

    def close(self) -> None:
        """Report every key nobody asked for, with the nearest known one."""
        for key in self._values:
            if key not in self._taken:
                near = nearest(key, self._taken)
                message = f"unknown key {key!r}; known here: {', '.join(sorted(self._taken))}"
                self.problems.append(
                    self.document.problem((*self.path, key), message, nearest=near, at_key=True)
                )


def _at(value: Yaml, path: Path) -> Yaml:
    """Return the value at a path; what is not there reads as empty."""
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part, "")
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return ""
    return value


def _shape(value: Yaml) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"the text {value[:40]!r}"
