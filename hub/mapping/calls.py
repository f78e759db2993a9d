"""Calls in expressions: a function of the catalogue, its arguments in order, their types, and what it needs beside them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from typing import Final, Protocol

from hub.mapping.expression import Scope, Term
from hub.mapping.functions import FUNCTIONS, Function
from hub.mapping.problems import nearest
from hub.mapping.schema import spoken
from hub.mapping.value_map import ValueMap

__all__ = ["Translating", "call"]

_ANY: Final = frozenset({"json", "null"})


class Translating(Protocol):
    """What a call needs of whoever translates the expression around it."""

    def visit(self, node: ast.AST) -> Term:
        """Translate a part."""
        ...

    def refuse(self, node: ast.AST, message: str, near: str | None = None) -> Term:
        """Add a problem at a part; return a term that stands for it."""
        ...

    def keep(self, value: object) -> ast.Name:
        """Give the code a name for an object that cannot be written out."""
        ...


def call(around: Translating, scope: Scope, node: ast.Call) -> Term:
    """Check a call and return its code."""
    if not isinstance(node.func, ast.Name):
        return around.refuse(node, "only functions of the catalogue can be called, by their name")
    function = FUNCTIONS.get(node.func.id)
    if function is None:
        return around.refuse(node, f"{node.func.id!r} is not a function", nearest(node.func.id, FUNCTIONS))
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        return around.refuse(
            node, f"{function.name} takes its arguments in order, without names; see {function.example}"
        )
    most = len(function.takes)
    if not most - function.optional <= len(node.args) <= most:
        return around.refuse(node, f"{function.name} takes {_count(function)}; see {function.example}")
    arguments = _arguments(around, node, function)
    needed = _needed(around, scope, node, function)
    run = ast.Name(f"f_{function.name}", ast.Load())
    code = ast.Call(run, [*needed, *(term.code for term in arguments)], [])
    return Term(code, frozenset({function.returns}), function.proves)


def _arguments(around: Translating, node: ast.Call, function: Function) -> list[Term]:
    terms = []
    for position, (argument, takes) in enumerate(zip(node.args, function.takes, strict=False)):
        if position in function.constant:
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                said = f"{function.name} needs a text written here; see {function.example}"
                terms.append(around.refuse(argument, said))
                continue
            if position in function.checks and (wrong := function.checks[position](argument.value)):
                terms.append(around.refuse(argument, wrong))
                continue
        term = around.visit(argument)
        if not term.types & (takes | _ANY):
            around.refuse(
                argument, f"{function.name} does not take {spoken(term.types)}; see {function.example}"
            )
        if not (function.needs.startswith("table") and position == 0):
            terms.append(term)
    return terms


def _needed(around: Translating, scope: Scope, node: ast.Call, function: Function) -> list[ast.expr]:
    if function.name == "xref":
        _target(around, scope, node.args[0])
    if function.needs == "context":
        return [ast.Name("c", ast.Load())]
    if not function.needs.startswith("table"):
        return []
    if not isinstance(node.args[0], ast.Constant):
        return [ast.Constant(None)]
    maps, name = scope.schemas.value_maps, str(node.args[0].value)
    table = maps.get(name)
    if table is None:
        around.refuse(node.args[0], f"there is no value map {name!r}", nearest(name, maps))
        return [ast.Constant(None)]
    scope.maps.add(table.name)
    if function.needs == "table":
        return [around.keep(dict(table.values))]
    if twice := _given_twice(table):
        around.refuse(node.args[0], f"{name} cannot be read from right to left: {twice}")
    return [around.keep({value: key for key, value in table.values.items()})]


def _given_twice(table: ValueMap) -> str:
    """Return which value stands behind two keys, "" none."""
    counts = Counter(table.values.values())
    keys: Mapping[str, list[str]] = {
        value: [key for key, one in table.values.items() if one == value]
        for value, count in counts.items()
        if count > 1
    }
    return "; ".join(
        f"{value!r} stands behind {' and '.join(map(repr, found))}" for value, found in keys.items()
    )


def _target(around: Translating, scope: Scope, node: ast.expr) -> None:
    if not isinstance(node, ast.Constant):
        return
    known = {*scope.schemas.sources, *scope.schemas.targets}
    if node.value not in known:
        around.refuse(node, f"there is no object {node.value!r}", nearest(str(node.value), known))
    scope.xrefs[str(node.value)] = None


def _count(function: Function) -> str:
    most = len(function.takes)
    least = most - function.optional
    return f"{most} argument{'' if most == 1 else 's'}" if least == most else f"{least} to {most} arguments"
