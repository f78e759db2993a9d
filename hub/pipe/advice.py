"""Where the fix of a dead letter belongs, from its cause and the mapping that made what was refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hub.errors import Bilingual, Cause

if TYPE_CHECKING:
    from hub.mapping import Compiled
    from hub.project.values import Project, Sync

__all__ = ["Origin", "Place", "origin_of", "place_of"]


class Place(Bilingual):
    """Where a person goes to repair it: a closed set with a Chinese and an English sentence each."""

    RECORD = "record", "记录：改正数据", "the record: correct its data"
    MAPPING = (
        "mapping",
        "字段映射：改规则、测试、发布（hub mapping publish）",
        "the mapping: change the rule, test it, hub mapping publish",
    )
    VALUE_MAP = "value_map", "值映射：补上缺少的对应值", "the value map: add the value it lacks"
    VENDOR = "vendor", "对方系统：在那里改设置或资料", "the other system: a setting or base data there"
    CONNECTION = (
        "connection",
        "连接：凭证、权限、白名单或地址",
        "the connection: credential, permission, address",
    )
    PERIOD = "period", "会计期间：开期，或改单据日期", "the accounting period: open it, or change the date"
    IDENTITY = "identity", "身份：决定它是哪一条记录", "identity: decide which record it is"
    OUTCOME = "outcome", "写入结果：到对方系统核实", "the outcome: look in the other system"
    DEPENDENCY = "dependency", "所依赖的死信：先处理它", "the dead letter it depends on: repair that first"
    ROUTE = "route", "审批路由：在 hub.yaml 补一条规则", "the routing table: add a route in hub.yaml"
    PROGRAM = "program", "程序：附上此信息报告问题", "the program: report it with what is shown here"


_PLACES: Final[Mapping[Cause, Place]] = {
    **dict.fromkeys((Cause.INVALID, Cause.MISSING_FIELD, Cause.CONFLICT, Cause.FLIP_FLOP, Cause.ENTITY), Place.RECORD),
    Cause.MAPPING: Place.MAPPING,
    **dict.fromkeys(
        (Cause.NOT_FOUND, Cause.STATE, Cause.AUDITED, Cause.MOVED, Cause.LOCKED, Cause.UNAVAILABLE, Cause.RATE,
         Cause.BAD_ANSWER, Cause.GAVE_UP, Cause.MISSING_TARGET, Cause.LICENCE, Cause.QUOTA),
        Place.VENDOR,
    ),
    **dict.fromkeys(
        (Cause.CREDENTIAL, Cause.PERMISSION, Cause.ADDRESS, Cause.UNREACHABLE, Cause.SETTINGS, Cause.NO_SYNC),
        Place.CONNECTION,
    ),
    Cause.PERIOD_CLOSED: Place.PERIOD,
    **dict.fromkeys((Cause.CANDIDATE, Cause.TAKEN, Cause.DUPLICATE, Cause.FOREIGN), Place.IDENTITY),
    **dict.fromkeys((Cause.DOUBT, Cause.DOUBLED, Cause.ALREADY_DONE), Place.OUTCOME),
    Cause.BLOCKED: Place.DEPENDENCY,
    Cause.NO_ROUTE: Place.ROUTE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """What made the field a cause names: the mapping file and line, and the fields the value comes from."""

    file: str
    line: int
    reads: tuple[str, ...]
    value_map: str | None = None


def place_of(cause: Cause, origin: Origin | None = None) -> Place:
    """Return where the fix of a cause belongs; what came out of a value map is repaired there."""
    place = _PLACES.get(cause, Place.PROGRAM)
    looked_up = origin is not None and origin.value_map is not None
    return Place.VALUE_MAP if looked_up and cause in (Cause.MAPPING, Cause.NOT_FOUND) else place


def origin_of(sync: Sync | None, field: str | None, project: Project) -> Origin | None:
    """Return where the field that a vendor or a mapping named comes from, None if no mapping made it.

    Vendors name parts (``FACCOUNTID`` for ``FACCOUNTID.FNumber`` of a row): the file's own text is looked through.
    """
    mapping: Compiled | None = sync.mapping if sync else None  # None too: the API takes the CRM's own fields
    if mapping is None or not field:
        return None
    file = f"mappings/{mapping.name}.yaml"
    text = next((one.text for one in project.files if (one.kind, one.name) == ("mapping", mapping.name)), "")
    found = _rule(text, field)
    if found is not None:
        line, rule = found
        reads, value_map = _followed(text, rule)
        return Origin(file, line, tuple(sorted(reads & mapping.reads)), value_map)
    made = mapping.fields.get(field)
    return Origin(file, made.line, tuple(sorted(made.reads))) if made else None


_RULE: Final = re.compile(r"^\s+(?:- )?(?:\{\s*)?([A-Za-z_][\w.]*)\s*:\s*(\S.*)$")
_LOOK_UP: Final = re.compile(r"value_map\(\s*[\"']([^\"']+)[\"']")
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_WORD: Final = re.compile(r"[A-Za-z_][\w.]*")


def _rules(text: str) -> Iterator[tuple[int, str, str]]:
    """Give line, name and expression of every rule of a mapping, names of its ``let:`` among them."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _RULE.match(line.partition("  #")[0]):
            yield number, match[1], match[2].strip()


def _rule(text: str, field: str) -> tuple[int, str] | None:
    """Return line and expression of the field: by its whole name (inside its row), else by a part of it."""
    rules = list(_rules(text))
    inner = field.rpartition("[].")[2]
    head = inner.partition(".")[0]
    whole = ((line, rule) for line, name, rule in rules if name in (field, inner))
    part = (
        (line, rule)
        for line, name, rule in rules
        if name.partition(".")[0] == head or name.rpartition(".")[2] == inner
    )
    return next(whole, None) or next(part, None)


def _followed(text: str, rule: str) -> tuple[set[str], str | None]:
    """Return the words a rule depends on, through the names of ``let:``, and the value map among them."""
    named = {name: expression for _, name, expression in _rules(text) if name.islower()}
    seen: set[str] = set()
    value_map: str | None = None
    todo = [rule]
    while todo:
        expression = todo.pop()
        if (found := _LOOK_UP.search(expression)) and value_map is None:
            value_map = found[1]
        words = (
            set(_WORD.findall(_QUOTED.sub("", expression) if "value_map" in expression else expression))
            - seen
        )
        seen |= words
        todo += [named[word] for word in words if word in named]
    return seen, value_map
