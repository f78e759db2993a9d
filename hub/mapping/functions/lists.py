"""Lists: one item, all of them in one text, each once, how many."""

from __future__ import annotations

from typing import Any, Final

from hub.mapping.functions.entry import LIST, TEXT, Function, Unmappable, other
from hub.model.record import MISSING

__all__ = ["LISTS"]

_LONGEST: Final = 16 * 1024


def _first(value: Any) -> Any:
    if value.__class__ is not list:
        return other(value, "a list")
    return value[0] if value else MISSING


def _join(value: Any, separator: str) -> Any:
    if value.__class__ is not list:
        return other(value, "a list of texts")
    if not all(item.__class__ is str for item in value):
        raise Unmappable("a list of texts is expected; write [text(x) for x in …]")
    found = separator.join(value)
    if len(found) > _LONGEST:
        raise Unmappable(f"a text of more than {_LONGEST} characters")
    return found


def _unique(value: Any) -> Any:
    if value.__class__ is not list:
        return other(value, "a list")
    kept: dict[tuple[type, str], Any] = {}
    for item in value:
        kept.setdefault((item.__class__, repr(item)), item)
    return list(kept.values())


def _count(value: Any) -> Any:
    return len(value) if value.__class__ is list else other(value, "a list")


LISTS: Final = (
    Function(
        "count", _count, (LIST,), "number", "个数", "How many items a list has", "count([1, 2])",
        because="kingdee.md 6: the number of rows",
    ),
    Function(
        "first", _first, (LIST,), "json", "第一个", "The first item of a list; absent if it has none", 'first(["A", "B"])',
        because="wecom.md: mobiles are a list, an ERP has one field",
    ),
    Function(
        "join", _join, (LIST, TEXT), "text", "合并", "Texts in one, with something between", 'join(["A", "B"], "、")',
        constant=(1,), because="mailchimp.md, dingtalk.md: tags in one field",
    ),
    Function(
        "unique", _unique, (LIST,), "list", "去重", "Each item once, the first one stays", 'unique(["A", "B", "A"])',
        because="wecom.md: the same number in several remarks",
    ),
)  # fmt: skip
"""Lists."""
