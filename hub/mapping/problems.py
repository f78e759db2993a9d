"""What is wrong with a file a person wrote, and where: line, column, field, nearest known name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.errors import SettingsError
from hub.model.names import nearest

__all__ = ["MappingInvalid", "Mark", "Problem", "YamlInvalid", "nearest"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1, in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the place, the field it concerns, what is wrong and the nearest known name, if any."""

    file: str
    line: int
    column: int
    field: str
    message: str
    nearest: str | None = None

    def __str__(self) -> str:
        """Return ``file:line:column: field: message; did you mean 'x'?``."""
        field = f"{self.field}: " if self.field else ""
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.file}:{self.line}:{self.column}: {field}{self.message}{hint}"


class _InvalidFile(SettingsError):
    """The file was not accepted."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Take every problem found, at least one, in the order of the file."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.file = problems[0].file
        self.line = problems[0].line
        self.field = problems[0].field


class YamlInvalid(_InvalidFile):
    """The file is not YAML as the hub reads it."""


class MappingInvalid(_InvalidFile):
    """The mapping, value map or test file was not accepted."""
