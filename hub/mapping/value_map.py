"""Value maps: look-up tables between the words of two systems, one file each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hub.mapping.problems import MappingInvalid, Problem, nearest
from hub.mapping.strict_yaml import Document, load_yaml

__all__ = ["ValueMap", "load_value_map"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", re.ASCII)
_KNOWN: Final = ("value_map", "title", "values")
_MOST_VALUES: Final = 5_000


@dataclass(frozen=True, slots=True)
class ValueMap:
    """A table from text to text; ``digest`` is over its content."""

    name: str
    values: Mapping[str, str]
    digest: str
    title: str = ""


def load_value_map(text: str, *, file: str) -> ValueMap:
    """Read a value map (``<name>.map.yaml``: ``value_map``, ``title``, ``values``).

    Raises:
        YamlInvalid: not strict YAML.
        MappingInvalid: unknown keys, no name, or values that are not texts.
    """
    document = load_yaml(text, file=file)
    problems = _problems(document)
    if problems:
        raise MappingInvalid(problems)
    top = document.value
    assert isinstance(top, dict)
    values: dict[str, str] = {key: str(value) for key, value in _mapping(top["values"]).items()}
    digest = hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=16).hexdigest()
    return ValueMap(str(top["value_map"]), MappingProxyType(values), digest, str(top.get("title", "")))


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _problems(document: Document) -> list[Problem]:
    top = document.value
    if not isinstance(top, dict):
        return [document.problem((), "a value map is a mapping with value_map and values")]
    problems = [
        document.problem((key,), "is not known here", nearest=nearest(key, _KNOWN), at_key=True)
        for key in top
        if key not in _KNOWN
    ]
    name = top.get("value_map")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append(document.problem(("value_map",), "a name such as kingdee.settle_type is needed"))
    values = top.get("values")
    if not isinstance(values, dict):
        problems.append(document.problem(("values",), "a mapping of texts is needed"))
    elif len(values) > _MOST_VALUES:
        problems.append(document.problem(("values",), f"more than {_MOST_VALUES} values"))
    else:
        problems += [
            document.problem(("values", key), "a text is needed")
            for key, value in values.items()
            if not isinstance(value, str)
        ]
    return problems
