"""What a mapping that compiles nevertheless cannot mean. Every finding is certain: nothing here is a guess.

* a constant text under a condition, or a text of a value map, that the target field would refuse whenever it came
  (length, form, choice); one without a condition does not compile
* ``when`` that holds for no record, by its literals alone
* a comparison of a choice of the CRM with a text that is none of its choices
* a value map without default that says nothing for a choice which the field may have
* a field that the vendor's object requires and no rule writes

Whether a text fits is asked of the very function that will put it into the field.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from hub.mapping.draft import Draft, Part, Rule, read_draft
from hub.mapping.expression import Expression
from hub.mapping.problems import Problem, nearest
from hub.mapping.runtime import FAILURES, coercion
from hub.mapping.schema import Schemas, Shape
from hub.mapping.strict_yaml import load_yaml
from hub.mapping.value_map import ValueMap
from hub.model.record import Json

__all__ = ["lint", "unfit"]

Coerce = Callable[[Any], Json]
"""What puts a value into a target field, or raises. Any: see :func:`hub.mapping.runtime.coercion`."""

_MOST_NAMED: Final = 5


def lint(text: str, schemas: Schemas, *, file: str, required: Collection[str] = ()) -> list[Problem]:
    """Return the warnings about a mapping that has been compiled, in the order of the file.

    ``required``: the fields that the target object cannot be without, as its spec names them.
    """
    draft = read_draft(load_yaml(text, file=file))
    found = [
        *_unfit_values(draft, schemas),
        *_empty_when(draft),
        *_unknown_choices(draft, schemas),
        *_map_gaps(draft, schemas),
        *_unwritten(draft, required),
    ]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.column))


def unfit(expression: Expression, coerce: Coerce) -> Problem | None:
    """Return a problem when an expression is a constant text that the field refuses: no record could be mapped."""
    node = expression.tree
    return next(_unfit_constant(expression, _End(node, None), node, coerce), None)


def _why(value: str, coerce: Coerce) -> str:
    """Return why a field refuses a text, "" when it takes it."""
    try:
        coerce(value)
    except FAILURES as error:
        return str(error)
    return ""


def _rules(draft: Draft) -> Iterator[tuple[Rule, Part]]:
    for rules in (draft.rules, *(one.rules for one in draft.overlays.values())):
        for rule in rules.values():
            for part in rule.parts:
                yield rule, part


def _expressions(draft: Draft) -> Iterator[Expression]:
    if draft.when:
        yield draft.when
    for lets in (draft.lets, *(one.lets for one in draft.overlays.values())):
        yield from lets.values()
    for _, part in _rules(draft):
        yield part.expression


# -------------------------------------------------------------------- values that do not fit


class _End(NamedTuple):
    """A part whose value may be that of the whole; ``truth``: only when it is true, or false; None: in any case."""

    node: ast.expr
    truth: bool | None

    def passes(self, value: object) -> bool:
        return self.truth is None or bool(value) is self.truth


def _ends(node: ast.expr, *, truth: bool | None = None) -> Iterator[_End]:
    if isinstance(node, ast.IfExp):
        yield from _ends(node.body, truth=truth)
        yield from _ends(node.orelse, truth=truth)
    elif isinstance(node, ast.BoolOp):
        stops = isinstance(node.op, ast.Or)
        for value in node.values[:-1]:
            if truth in (None, stops):
                yield from _ends(value, truth=stops)
        yield from _ends(node.values[-1], truth=truth)
    else:
        yield _End(node, truth)


def _unfit_values(draft: Draft, schemas: Schemas) -> Iterator[Problem]:
    shape, kind = Shape(draft.target, schemas.targets[draft.target]), schemas.kind(draft.target)
    for rule, part in _rules(draft):
        name = part.name if part.row is None else f"{rule.name}[].{part.name}"
        coerce = coercion(kind.field(name) if kind else None, shape.type(name) or "json")
        for end in _ends(part.expression.tree):
            yield from _unfit(part.expression, end, coerce, schemas)


def _unfit(expression: Expression, end: _End, coerce: Coerce, schemas: Schemas) -> Iterator[Problem]:
    yield from _unfit_constant(expression, end, end.node, coerce)
    table = _table(end.node, schemas)
    if table is None or not isinstance(end.node, ast.Call):
        return
    for key, value in table.values.items():
        if end.passes(value) and (why := _why(value, coerce)):
            message = f"value map {table.name} gives {value[:40]!r} for {key[:40]!r}, which this field refuses: {why}"
            yield expression.problem(end.node.args[0], message)
    for default in end.node.args[2:]:
        yield from _unfit_constant(expression, end, default, coerce)


def _unfit_constant(expression: Expression, end: _End, node: ast.expr, coerce: Coerce) -> Iterator[Problem]:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or not end.passes(node.value):
        return
    if why := _why(node.value, coerce):
        yield expression.problem(node, f"this field refuses {node.value[:40]!r}: {why}")


def _table(node: ast.expr, schemas: Schemas) -> ValueMap | None:
    """Return the value map that a call reads from left to right, None: it is no such call."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "value_map":
        return None
    name = node.args[0]
    return schemas.value_maps.get(str(name.value)) if isinstance(name, ast.Constant) else None


# -------------------------------------------------------------------- conditions


def _empty_when(draft: Draft) -> Iterator[Problem]:
    if draft.when and _never(draft.when.tree):
        yield draft.when.problem(
            draft.when.tree, "holds for no record: what it asks for cannot be true at once"
        )


def _never(node: ast.expr) -> bool:
    """Tell whether a condition is false whatever the source says."""
    if isinstance(node, ast.Constant):
        return not node.value
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return all(_never(value) for value in node.values)
    parts = list(_joined(node))
    asked = [found for part in parts if (found := _asked(part))]
    paths = dict.fromkeys(one.path for one in asked)
    return any(part is not node and _never(part) for part in parts) or any(
        _excluded([one for one in asked if one.path == path]) for path in paths
    )


def _joined(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for value in node.values:
            yield from _joined(value)
    else:
        yield node


class _Asked(NamedTuple):
    """A path that must be one of some constants, or (``one_of`` false) none of them."""

    path: str
    one_of: bool
    values: list[object]


_ONE_OF: Final = (ast.Eq, ast.In, ast.Is)
_NONE_OF: Final = (ast.NotEq, ast.NotIn, ast.IsNot)


def _asked(node: ast.expr) -> _Asked | None:
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not _is_path(node.left):
        return None
    right, operator = node.comparators[0], node.ops[0]
    if isinstance(operator, (ast.In, ast.NotIn)):
        if not isinstance(right, (ast.List, ast.Tuple)):
            return None
        constants = right.elts
    else:
        constants = [right]
    values = [item.value for item in constants if isinstance(item, ast.Constant)]
    if len(values) < len(constants) or not isinstance(operator, (*_ONE_OF, *_NONE_OF)):
        return None
    return _Asked(ast.unparse(node.left), isinstance(operator, _ONE_OF), list(values))


def _is_path(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_path(node.value))


def _excluded(asked: Sequence[_Asked]) -> bool:
    """Tell whether no constant is left that a path may be."""
    positive = [one.values for one in asked if one.one_of]
    refused = [value for one in asked if not one.one_of for value in one.values]
    return bool(positive) and not any(
        all(value in values for values in positive) and value not in refused for value in positive[0]
    )


# -------------------------------------------------------------------- choices of the CRM


def _choices(draft: Draft, schemas: Schemas) -> dict[str, tuple[str, ...]]:
    """Return the closed choices of the source's own fields; those of custom fields may change under stored records."""
    kind = schemas.kind(draft.source)
    known = kind.fields.values() if kind else ()
    return {field.name: field.choices for field in known if field.type == "choice"}


def _unknown_choices(draft: Draft, schemas: Schemas) -> Iterator[Problem]:
    choices = _choices(draft, schemas)
    for expression in _expressions(draft):
        items = _items(expression.tree)
        for node in ast.walk(expression.tree):
            if not isinstance(node, ast.Compare) or not isinstance(node.left, ast.Name):
                continue
            known = choices.get(node.left.id)
            if known is None or node.left.id in items or not _asked(node):
                continue
            for constant in ast.walk(node.comparators[0]):
                value = getattr(constant, "value", None)
                if isinstance(value, str) and value and value not in known:
                    message = f"{node.left.id} is never {value[:40]!r}; it is one of {', '.join(known)}"
                    yield expression.problem(constant, message, near=nearest(value, known))


def _items(tree: ast.AST) -> set[str]:
    """Return the names of items of lists: inside they mean something else than a field."""
    return {node.target.id for node in ast.walk(tree)
            if isinstance(node, ast.comprehension) and isinstance(node.target, ast.Name)}  # fmt: skip


def _map_gaps(draft: Draft, schemas: Schemas) -> Iterator[Problem]:
    """A rule under a condition may never meet the choice: only calls that every record reaches are looked at."""
    choices = {} if draft.when else _choices(draft, schemas)
    for _, part in _rules(draft):
        node = part.expression.tree
        table = _table(node, schemas)
        if table is None or not isinstance(node, ast.Call) or len(node.args) != 2:
            continue
        asked = node.args[1]
        known = choices.get(asked.id, ()) if isinstance(asked, ast.Name) else ()
        if gaps := [value for value in known if value not in table.values]:
            shown = ", ".join(gaps[:_MOST_NAMED]) + (", …" if len(gaps) > _MOST_NAMED else "")
            message = f"value map {table.name} has no value for {shown}, and no default stands here"
            yield part.expression.problem(node.args[0], message)


# -------------------------------------------------------------------- what the vendor requires


def _unwritten(draft: Draft, required: Collection[str]) -> Iterator[Problem]:
    written = {_head(rule.name) for rule, _ in _rules(draft)}
    missing = [name for name in required if _head(name) not in written]
    if missing:
        message = f"{draft.target} requires {', '.join(missing)}, which no rule writes"
        yield draft.document.problem(("target",), message)


def _head(name: str) -> str:
    return name.partition(".")[0].partition("[")[0]
