"""Expressions as written: their place in the file, their syntax tree, and what translating one finds."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hub.mapping.problems import Problem
from hub.mapping.schema import Schemas, Shape
from hub.mapping.strict_yaml import Document, Path

__all__ = ["Expression", "Scope", "Term", "mentioned", "parse_expression"]

_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression as written: its place in the file and its syntax tree."""

    document: Document
    path: Path
    tree: ast.expr

    def problem(self, node: ast.AST, message: str, *, near: str | None = None) -> Problem:
        """Return a problem at a part of the expression."""
        mark = self.document.mark(self.path)
        text = _written(self.document, self.path)
        offset = len(text.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))
        quoted = 0 if self.document.is_plain(self.path) else 1
        name = ".".join(str(part) for part in self.path)
        return Problem(self.document.file, mark.line, mark.column + quoted + offset, name, message, near)


@dataclass(slots=True)
class Scope:
    """What an expression may name, and what translating finds: problems, look-ups (``xrefs``), value maps.

    ``lets``: the terms of the named intermediate values. ``constants``: objects the code refers to by name.
    """

    shape: Shape
    schemas: Schemas
    lets: Mapping[str, Term]
    constants: dict[str, object]
    problems: list[Problem]
    xrefs: dict[str, None]
    maps: set[str]


@dataclass(frozen=True, slots=True)
class Term:
    """A translated expression: its code, the static types it may have, the field type whose stored form it is.

    ``reads``: the source fields it depends on, ``uses``: the lets.
    """

    code: ast.expr
    types: frozenset[str]
    proves: str = ""
    reads: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()


def _written(document: Document, path: Path) -> str:
    value: object = document.value
    for part in path:
        value = value[part]  # type: ignore[index]  # a path of the document
    return str(value).replace("\n", " ")


def parse_expression(document: Document, path: Path, problems: list[Problem]) -> Expression | None:
    """Parse the text at ``path``; a problem is added and None returned when it is no expression."""
    text = _written(document, path)
    if len(text) > _LONGEST:
        problems.append(document.problem(path, f"an expression of more than {_LONGEST} characters"))
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a doubtful escape such as "\\d" is a mistake here
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        found = document.problem(path, f"not an expression: {error.msg}")
        column = found.column + max((error.offset or 1) - 1, 0)
        problems.append(Problem(found.file, found.line, column, found.field, found.message))
        return None
    except (RecursionError, MemoryError, ValueError):
        problems.append(
            document.problem(path, "not an expression: nested too deep, or a character no text may hold")
        )
        return None
    return Expression(document, path, tree)


def mentioned(tree: ast.AST, known: Mapping[str, object]) -> list[str]:
    """Return the names of ``known`` that an expression mentions, in order, each once; a function's name is its own."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called)
    return list(dict.fromkeys(name for name in names if name in known))
