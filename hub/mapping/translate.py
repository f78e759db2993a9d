"""The expression language: a closed subset of Python expressions, checked and translated to Python code.

What is not named in the table at the end does not exist. Paths are null-safe; null, absent (``missing``) and empty stay
distinct. An expression has 25 levels at most; repetition is one list at a time, at most 1,000 items.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Final

from hub.mapping.calls import call
from hub.mapping.expression import Expression, Scope, Term
from hub.mapping.functions import FUNCTIONS, exact
from hub.mapping.problems import nearest
from hub.mapping.schema import comparable, spoken, static_type

__all__ = ["translate"]

_DEEPEST: Final = 25
_MOST_DIGITS: Final = 18
_ANY: Final = frozenset({"json"})
_FLAG: Final = frozenset({"flag"})
_TEXT: Final = frozenset({"text"})
_LIST: Final = frozenset({"list"})
_NULL: Final = frozenset({"null"})


def translate(expression: Expression, scope: Scope) -> Term:
    """Check an expression and return its code; problems, reads and look-ups are added to the scope."""
    translator = _Translator(expression, scope)
    term = translator.visit(expression.tree)
    return Term(term.code, term.types, term.proves, frozenset(translator.reads), frozenset(translator.uses))


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(_name(name), list(arguments), [])


_NOTHING: Final = Term(ast.Constant(None), _ANY)


class _Translator:
    """One pass over one expression."""

    def __init__(self, expression: Expression, scope: Scope) -> None:
        self._expression = expression
        self._scope = scope
        self._depth = 0
        self._loop: str | None = None
        self.reads: set[str] = set()
        self.uses: set[str] = set()

    def visit(self, node: ast.AST) -> Term:
        if self._depth >= _DEEPEST:
            return self.refuse(node, f"nested deeper than {_DEEPEST}")
        translator = _NODES.get(type(node))
        if translator is None:
            return self.refuse(
                node, f"{_WORDS.get(type(node), type(node).__name__)} is not part of the language"
            )
        self._depth += 1
        try:
            return translator(self, node)
        finally:
            self._depth -= 1

    def refuse(self, node: ast.AST, message: str, near: str | None = None) -> Term:
        self._scope.problems.append(self._expression.problem(node, message, near=near))
        return _NOTHING

    # ---------------------------------------------------------------- names and paths

    def name(self, node: ast.Name) -> Term:
        name = node.id
        if name == self._loop:
            return Term(_name(f"v_{name}"), _ANY)
        if name == "missing":
            return Term(_name("M"), _NULL)
        if name in self._scope.lets:
            term = self._scope.lets[name]
            self.reads |= term.reads
            self.uses |= {name, *term.uses}
            return Term(_name(f"l_{name}"), term.types, term.proves)
        return self._source(node, name)

    def _source(self, node: ast.expr, name: str) -> Term:
        shape = self._scope.shape
        field_type = None if name.startswith("_") else shape.type(name)
        if field_type is None:
            known = [*shape.names(), *self._scope.lets, "missing"]
            if name in FUNCTIONS:
                return self.refuse(node, f"{name!r} is a function; call it")
            return self.refuse(node, f"{name!r} is not a field of {shape.name}", nearest(name, known))
        self.reads.add(name if name.startswith("custom.") else name.partition(".")[0])
        proves = field_type if shape.is_crm else ""
        code = _call("g", ast.Constant(name), _name("M"))
        return Term(code, frozenset({static_type(field_type, is_crm=shape.is_crm)}), proves)

    def attribute(self, node: ast.Attribute) -> Term:
        if node.attr.startswith("_"):
            return self.refuse(node, f"names that start with '_' do not exist: {node.attr!r}")
        path = self._dotted(node)
        shape = self._scope.shape
        if path and shape.is_crm and isinstance(node.value, ast.Name) and node.value.id == "custom":
            return self._source(node, path)
        base = self.visit(node.value)
        types = _ANY
        if path and base is not _NOTHING:
            parent = path.rpartition(".")[0]
            found = shape.type(path)
            if found is None and not self._is_open(parent):
                return self.refuse(
                    node, f"{path!r} is not a field of {shape.name}", nearest(path, shape.names())
                )
            types = frozenset({static_type(found, is_crm=shape.is_crm)}) if found else _ANY
        if not base.types & (_ANY | _NULL):
            return self.refuse(node, "a path goes through a value that is not an object")
        return Term(self._member(base.code, node.attr), types)

    def _is_open(self, path: str) -> bool:
        parts = path.split(".")
        return any(self._scope.shape.is_open(".".join(parts[:count])) for count in range(1, len(parts) + 1))

    def _dotted(self, node: ast.expr) -> str | None:
        """Return the path a chain of names spells, None when it does not begin at the source."""
        if isinstance(node, ast.Attribute):
            head = self._dotted(node.value)
            return head and f"{head}.{node.attr}"
        if isinstance(node, ast.Name) and node.id != self._loop and node.id not in self._scope.lets:
            return node.id
        return None

    def _member(self, base: ast.expr, name: str) -> ast.expr:
        """Look a name up below ``base``, written out; inside a list only a plain name can be, the rest is a call."""
        kept: ast.expr = base
        asked: ast.expr = base
        if not isinstance(base, ast.Name):
            if self._loop is not None:
                return _call("path", base, ast.Constant(name))
            kept, asked = _name("p"), ast.NamedExpr(ast.Name("p", ast.Store()), base)
        is_object = ast.Compare(ast.Attribute(asked, "__class__", ast.Load()), [ast.Is()], [_name("dict")])
        found = ast.Call(ast.Attribute(kept, "get", ast.Load()), [ast.Constant(name), _name("M")], [])
        return ast.IfExp(is_object, found, _call("absent", kept))

    def subscript(self, node: ast.Subscript) -> Term:
        base = self.visit(node.value)
        index = node.slice
        if (
            isinstance(index, ast.UnaryOp)
            and isinstance(index.op, ast.USub)
            and isinstance(index.operand, ast.Constant)
        ):
            index = ast.Constant(-index.operand.value) if type(index.operand.value) is int else index
        if not isinstance(index, ast.Constant) or type(index.value) not in (int, str):
            return self.refuse(node, "a position is a number such as [0], a name a text such as ['a']")
        if isinstance(index.value, str):
            if index.value.startswith("_"):
                return self.refuse(node, f"names that start with '_' do not exist: {index.value!r}")
            return Term(_call("path", base.code, ast.Constant(index.value)), _ANY)
        return Term(_call("item", base.code, ast.Constant(index.value)), _ANY)

    # ---------------------------------------------------------------- values

    def constant(self, node: ast.Constant) -> Term:
        value = node.value
        if value is None or isinstance(value, bool):
            return Term(ast.Constant(value), _NULL if value is None else _FLAG)
        if isinstance(value, str):
            return Term(ast.Constant(value), _TEXT)
        if isinstance(value, int) and abs(value) < 10**_MOST_DIGITS:
            return Term(ast.Constant(value), frozenset({"number"}))
        if isinstance(value, float):
            try:
                number = exact(value)
            except ValueError as error:
                return self.refuse(node, str(error))
            return Term(self.keep(number), frozenset({"exact"}))
        return self.refuse(node, "not a text, a number, True, False or None")

    def keep(self, value: object) -> ast.Name:
        """Give the code a name for an object that cannot be written out."""
        name = f"k_{len(self._scope.constants)}"
        self._scope.constants[name] = value
        return _name(name)

    def listed(self, node: ast.List | ast.Tuple) -> Term:
        items = [self.visit(item) for item in node.elts]
        return Term(_call("scalars", ast.List([item.code for item in items], ast.Load())), _LIST)

    def each(self, node: ast.ListComp) -> Term:
        if self._loop is not None:
            return self.refuse(node, "a list inside a list")
        loop = node.generators[0]
        if len(node.generators) > 1 or loop.is_async or not isinstance(loop.target, ast.Name):
            return self.refuse(node, "one 'for NAME in LIST' at a time")
        if loop.target.id in self._scope.lets or loop.target.id.startswith("_"):
            return self.refuse(node, f"{loop.target.id!r} cannot be the name of an item")
        source = self.visit(loop.iter)
        if not source.types & (_LIST | _ANY | _NULL):
            return self.refuse(loop.iter, "a list is expected")
        self._loop = loop.target.id
        item = self.visit(node.elt)
        tests = [self.visit(test).code for test in loop.ifs]
        self._loop = None
        # Inside the comprehension only a plain name is walked; what it stands for is worked out once, before.
        kept = f"t_{node.col_offset}"
        over = ast.comprehension(
            ast.Name(f"v_{loop.target.id}", ast.Store()), _call("each", _name(kept)), tests, 0
        )
        named = ast.NamedExpr(ast.Name(kept, ast.Store()), source.code)
        is_list = ast.Compare(ast.Attribute(named, "__class__", ast.Load()), [ast.Is()], [_name("list")])
        items = _call("scalars", ast.ListComp(item.code, [over]))
        proves = "phones" if item.proves == "phone" else ""
        return Term(ast.IfExp(is_list, items, _call("not_list", _name(kept))), _LIST, proves)

    # ---------------------------------------------------------------- operators

    def boolean(self, node: ast.BoolOp) -> Term:
        terms = [self.visit(value) for value in node.values]
        types = frozenset().union(*(term.types for term in terms))
        proofs = {term.proves for term in terms if term.types != _NULL}
        proves = proofs.pop() if len(proofs) == 1 else ""
        return Term(ast.BoolOp(node.op, [term.code for term in terms]), types, proves)

    def unary(self, node: ast.UnaryOp) -> Term:
        value = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return Term(ast.UnaryOp(ast.Not(), value.code), _FLAG)
        if isinstance(node.op, ast.USub):
            self._numeric(node, value)
            return Term(_call("negative", value.code), value.types)
        return self.refuse(node, "only 'not' and '-' stand before a value")

    def choice(self, node: ast.IfExp) -> Term:
        test, then, other = self.visit(node.test), self.visit(node.body), self.visit(node.orelse)
        proofs = {term.proves for term in (then, other) if term.types != _NULL}
        proves = proofs.pop() if len(proofs) == 1 else ""
        return Term(ast.IfExp(test.code, then.code, other.code), then.types | other.types, proves)

    def binary(self, node: ast.BinOp) -> Term:
        helper = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply"}.get(type(node.op))
        if helper is None:
            return self.refuse(node, f"{_WORDS.get(type(node.op), 'this sign')} is not part of the language")
        left, right = self.visit(node.left), self.visit(node.right)
        code = _call(helper, left.code, right.code)
        if helper == "add" and (left.types | right.types) <= _TEXT:
            return Term(code, _TEXT)
        if helper == "add" and left.types & _ANY and right.types & _ANY:
            return Term(code, _ANY)
        if helper == "add" and "text" in left.types | right.types:
            if not (left.types & (_TEXT | _ANY) and right.types & (_TEXT | _ANY)):
                return self.refuse(
                    node, "'+' joins two texts or adds two numbers; write text(…) or decimal(…)"
                )
            return Term(code, _TEXT)
        self._numeric(node, left, right)
        exactly = {"exact", "json"} & (left.types | right.types)
        return Term(code, frozenset({"exact" if exactly else "number"}))

    def _numeric(self, node: ast.AST, *terms: Term) -> None:
        for term in terms:
            if not term.types & {"number", "exact", "json"}:
                self.refuse(node, f"cannot calculate with {spoken(term.types)}; write decimal(…)")

    def comparison(self, node: ast.Compare) -> Term:
        terms = [self.visit(value) for value in (node.left, *node.comparators)]
        if any(isinstance(operator, (ast.In, ast.NotIn)) for operator in node.ops):
            if len(node.ops) > 1:
                return self.refuse(node, "'in' does not go into a chain of comparisons")
            code: ast.expr = self._membership(node, terms)
            return Term(ast.UnaryOp(ast.Not(), code) if isinstance(node.ops[0], ast.NotIn) else code, _FLAG)
        for operator, left, right in zip(node.ops, terms, terms[1:], strict=False):
            if isinstance(operator, (ast.Is, ast.IsNot)):
                if right.types != _NULL or isinstance(node.left, ast.Constant):
                    self.refuse(node, "'is' compares a field with None or missing only")
            elif not comparable(left.types, right.types):
                self.refuse(
                    node,
                    f"compares {spoken(left.types)} with {spoken(right.types)}; write text(…) or decimal(…)",
                )
        return Term(ast.Compare(terms[0].code, node.ops, [term.code for term in terms[1:]]), _FLAG)

    def _membership(self, node: ast.Compare, terms: list[Term]) -> ast.expr:
        right = node.comparators[0]
        if isinstance(right, (ast.List, ast.Tuple)) and all(
            isinstance(item, ast.Constant) for item in right.elts
        ):
            constants = ast.Tuple([self.visit(item).code for item in right.elts], ast.Load())
            return ast.Compare(terms[0].code, [ast.In()], [constants])
        return _call("contains", terms[0].code, terms[1].code)

    def call(self, node: ast.Call) -> Term:
        return call(self, self._scope, node)


_NODES: Final[Mapping[type[ast.AST], Callable[[_Translator, ast.AST], Term]]] = {
    ast.Attribute: _Translator.attribute,  # type: ignore[dict-item]  # each takes its own class of node
    ast.BinOp: _Translator.binary,  # type: ignore[dict-item]
    ast.BoolOp: _Translator.boolean,  # type: ignore[dict-item]
    ast.Call: _Translator.call,  # type: ignore[dict-item]
    ast.Compare: _Translator.comparison,  # type: ignore[dict-item]
    ast.Constant: _Translator.constant,  # type: ignore[dict-item]
    ast.IfExp: _Translator.choice,  # type: ignore[dict-item]
    ast.List: _Translator.listed,  # type: ignore[dict-item]
    ast.ListComp: _Translator.each,  # type: ignore[dict-item]
    ast.Name: _Translator.name,  # type: ignore[dict-item]
    ast.Subscript: _Translator.subscript,  # type: ignore[dict-item]
    ast.Tuple: _Translator.listed,  # type: ignore[dict-item]
    ast.UnaryOp: _Translator.unary,  # type: ignore[dict-item]
}
"""The language: every kind of node there is."""

_WORDS: Final[Mapping[type[ast.AST], str]] = {
    ast.Dict: "an object in braces",
    ast.DictComp: "an object in braces",
    ast.Div: "'/'",
    ast.FloorDiv: "'//'",
    ast.GeneratorExp: "a generator",
    ast.JoinedStr: "a text with f''",
    ast.Lambda: "lambda",
    ast.Mod: "'%'",
    ast.NamedExpr: "':='",
    ast.Pow: "'**'",
    ast.Set: "a set",
    ast.SetComp: "a set",
    ast.Starred: "'*'",
}
