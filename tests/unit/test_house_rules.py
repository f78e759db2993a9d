"""Rules of the house that neither ruff nor import-linter can say, each with a planted break it must catch."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 400
VAGUE_CLASS = frozenset(
    {
        "util",
        "utils",
        "helper",
        "helpers",
        "manager",
        "managers",
        "common",
        "misc",
        "data",
        "info",
        "processor",
    }
)
VAGUE = VAGUE_CLASS | {"base", "process"}
CLOCK = "hub/clock.py"
UNSTEADY = frozenset({"time", "random", "secrets"})
"""Modules that only the clock may import: everything else must run on virtual time from a seed."""
UNSTEADY_CALLS = re.compile(
    r"(asyncio\.sleep|os\.urandom|uuid\.(uuid|getnode)\w*|(\w+\.)*(datetime|date)\.(now|utcnow|today))$"
)

Rule = Callable[[str, str, ast.Module], Iterator[str]]


def modules() -> list[str]:
    """Return the path of each module of the product, relative to the project."""
    found = [path for top in ("hub", "connectors") for path in (ROOT / top).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def too_long(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    lines = text.count("\n")
    if lines > LONGEST:
        yield f"has {lines} lines, {LONGEST} at most: split it by what changes together"


def vague_names(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    parts = path.removesuffix(".py").split("/")
    for part in parts:
        if VAGUE & set(part.split("_")) or part in {"handler", "handlers"}:
            yield f"the name {part!r} says nothing: name what is in it"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", node.name)
            if VAGUE_CLASS & {word.lower() for word in words} or node.name in {"Handler", "Base"}:
                yield f"{node.lineno}: the class name {node.name} says nothing: name what it is"


def _is_yield(node: ast.AST) -> bool:
    """asyncio.sleep(0) takes no time: it lets other tasks run."""
    return isinstance(node, ast.Call) and ast.unparse(node) == "asyncio.sleep(0)"


def own_time_or_chance(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    if path == CLOCK:
        return
    yields = {id(node.func) for node in ast.walk(tree) if _is_yield(node)}
    for node in ast.walk(tree):
        if id(node) in yields:
            continue
        if isinstance(node, ast.Import):
            taken = {alias.name.partition(".")[0] for alias in node.names} & UNSTEADY
        elif isinstance(node, ast.ImportFrom) and not node.level:
            taken = {node.module or ""} & UNSTEADY
            taken |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if UNSTEADY_CALLS.match(f"{node.module}.{alias.name}")
            }
        elif isinstance(node, ast.Attribute) and UNSTEADY_CALLS.match(ast.unparse(node)):
            taken = {ast.unparse(node)}
        else:
            continue
        for name in sorted(taken):
            yield f"{node.lineno}: {name} is for {CLOCK} alone: take a Clock"


def exports(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    if path.endswith("__main__.py") or "/migrations/versions/" in path or not tree.body:
        return
    listed = _exported(tree)
    if listed is None:
        yield "has no literal __all__"
        return
    if listed != sorted(listed, key=_export_order):
        yield f"__all__ is not sorted (constants, classes, functions): {sorted(listed, key=_export_order)}"
    bound = set(_bound(tree))
    if missing := sorted(set(listed) - bound):
        yield f"__all__ names what is not there: {missing}"
    public = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if hidden := sorted(name for name in public - set(listed) if not name.startswith("_")):
        yield f"public but not in __all__ (list it, or begin it with _): {hidden}"


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = node.value  # type: ignore[union-attr]
            return (
                [str(ast.literal_eval(item)) for item in value.elts] if isinstance(value, ast.List) else None
            )
    return None


def _export_order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Order as ruff does (RUF022): SCREAMING, Camel, then the rest; digits by their value."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, [
        (int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name) if part
    ]


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name for alias in node.names)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name


def sandbox_apart(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    """A sandbox and its connector are two readings of the vendor's facts; they share no code.

    import-linter cannot forbid importing the package that contains the sandbox, so that is said here.
    """
    match = re.match(r"(connectors/\w+)/(sandbox(/|\.py$))?", path)
    if not match:
        return
    own = match[1].replace("/", ".") + ".sandbox"
    for node in ast.walk(tree):
        for name in _imported(node):
            if not match[2]:
                if _within(name, own):
                    yield f"{getattr(node, 'lineno', 0)}: a connector may not import {name}"
                continue
            of_hub = name.split(".")[0] == "hub" and not _within(name, "hub.sdk.sandbox")
            if of_hub or (name.split(".")[0] == "connectors" and not _within(name, own)):
                yield f"{getattr(node, 'lineno', 0)}: a sandbox may not import {name}"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return ["connectors.<relative import>"]
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


RULES: list[Rule] = [too_long, vague_names, own_time_or_chance, exports, sandbox_apart]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks(rule: Rule) -> None:
    broken = []
    for path in modules():
        text = (ROOT / path).read_text(encoding="utf-8")
        broken += [f"{path}: {complaint}" for complaint in rule(path, text, ast.parse(text))]
    assert not broken, "\n" + "\n".join(broken)


SANDBOX = "connectors/acme/sandbox/server.py"


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (too_long, "hub/pipe/work.py", "\n" * (LONGEST + 1)),
        (vague_names, "hub/utils.py", ""),
        (vague_names, "hub/crm/text_helpers.py", ""),
        (vague_names, "hub/pipe/work.py", "class RetryManager: ..."),
        (own_time_or_chance, "hub/pipe/work.py", "import time"),
        (own_time_or_chance, "hub/pipe/work.py", "from random import choice"),
        (own_time_or_chance, "hub/pipe/work.py", "import uuid\nx = uuid.uuid4()"),
        (own_time_or_chance, "hub/pipe/work.py", "from uuid import uuid4"),
        (own_time_or_chance, "hub/pipe/work.py", "import datetime\nx = datetime.datetime.now(datetime.UTC)"),
        (own_time_or_chance, "hub/pipe/work.py", "from datetime import datetime\nx = datetime.now"),
        (own_time_or_chance, "hub/pipe/work.py", "import asyncio\nasync def f(): await asyncio.sleep(1)"),
        (own_time_or_chance, "hub/pipe/work.py", "import os\nx = os.urandom(8)"),
        (exports, "hub/crm/merge.py", "x = 1"),
        (exports, "hub/crm/merge.py", "def a(): ...\ndef b(): ...\n__all__ = ['b', 'a']"),
        (exports, "hub/crm/merge.py", "__all__ = ['gone']"),
        (exports, "hub/crm/merge.py", "def hidden(): ...\n__all__ = []"),
        (sandbox_apart, SANDBOX, "from connectors.acme import AcmeConnector"),
        (sandbox_apart, SANDBOX, "from connectors.acme.client import OUTCOMES"),
        (sandbox_apart, SANDBOX, "from ..client import OUTCOMES"),
        (sandbox_apart, SANDBOX, "from hub.sdk import Connector"),
        (sandbox_apart, SANDBOX, "import hub.sdk.signing"),
        (sandbox_apart, "connectors/acme/client.py", "from connectors.acme.sandbox import rows"),
        (sandbox_apart, "connectors/acme/__init__.py", "from connectors.acme import sandbox"),
    ],
)
def test_a_planted_break_is_caught(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, text, ast.parse(text)))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (too_long, "hub/pipe/work.py", "\n" * LONGEST),
        (vague_names, "hub/pipe/render.py", "class Render: ..."),
        (own_time_or_chance, CLOCK, "import time"),
        (own_time_or_chance, "hub/pipe/work.py", "import uuid\nx = uuid.UUID(bytes=y)\nz = clock.now()"),
        (exports, "hub/crm/merge.py", "LIMIT = 1\nclass B: ...\ndef a(): ...\n__all__ = ['LIMIT', 'B', 'a']"),
        (exports, "hub/crm/merge.py", "def _own(): ...\n__all__: list[str] = []"),
        (
            sandbox_apart,
            SANDBOX,
            "from connectors.acme.sandbox import rows\nfrom hub.sdk.sandbox import Sandbox",
        ),
        (sandbox_apart, "connectors/acme/client.py", "from hub.sdk import Connector"),
    ],
)
def test_what_is_allowed_passes(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(path, text, ast.parse(text)))


def test_there_are_modules_to_look_at() -> None:
    assert CLOCK in modules()
