"""What every API of the tenant works with, and what they check alike: parameters, base data, keys, pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.books import BASE_DATA, Books, Row
from connectors.yonyou.sandbox.dials import YonyouDials
from hub.sdk.sandbox import SECOND, Json

__all__ = ["Emit", "Site", "batch", "condition", "field_of", "one_page", "ordered", "required"]

Emit: TypeAlias = Callable[[str, Mapping[str, Json]], None]
Body: TypeAlias = Mapping[str, Any]
MESSAGE = "参数校验失败，参数[{}]是必填的。"
LONGEST_KEY = 32


@dataclass(slots=True)
class Site:
    """Rows, dials, and where events go: ``emit(type, content)``."""

    books: Books
    dials: YonyouDials
    emit: Emit

    def known(self, kind: str, code: Json, label: str) -> None:
        """See that base data exists. Raises CodeError."""
        if code not in BASE_DATA[kind]:
            raise CodeError("1002", f"{label}数据不存在")

    def repeated(self, data: Body) -> Row | None:
        """Return what a resubmitCheckKey made within its time; None for a key nobody used.

        Raises:
            CodeError: the key is too long (310024), or was used longer ago (100004 or 10004, with the id).
        """
        key = data.get("resubmitCheckKey")
        if key is None:
            return None
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
            raise CodeError("310024", f"resubmitCheckKey长度不能超过{LONGEST_KEY}")
        made = self.books.keys.get(key)
        if made is not None and self.books.now() - made.made > self.dials.key_seconds * SECOND:
            raise CodeError(self.dials.old_key_code, data={"id": made.id})
        return made

    def strict(self, values: Body, names: frozenset[str], where: str) -> None:
        """Refuse names the documents do not list, if the dial says so. Raises CodeError."""
        unknown = sorted(values.keys() - names)
        if unknown and self.dials.strict_fields:
            raise CodeError("999", f"服务端逻辑异常: {where}没有字段{unknown[0]}")


def required(body: Body, *names: str) -> None:
    """See that parameters are there. Raises CodeError 310008 with the first that is not."""
    for name in names:
        if body.get(name) in (None, ""):
            raise CodeError("310008", MESSAGE.format(name))


def field_of(value: Json, *path: str) -> Json:
    """Return what lies at a path of nested objects, None where nothing does."""
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def one_page(
    rows: Sequence[Json], body: Body, dials: YonyouDials, *, largest: int
) -> tuple[list[Json], int, int]:
    """Return a page of rows, its number and its size. Raises CodeError for numbers that cannot be."""
    required(body, "pageIndex", "pageSize")
    number, size = (str(body[name]) for name in ("pageIndex", "pageSize"))
    if not (number.isdecimal() and size.isdecimal()) or int(number) < 1 or not 1 <= int(size) <= largest:
        raise CodeError("1001", f"分页参数不正确，每页最多{largest}行")  # UNCONFIRMED: local words
    index, count = int(number), int(size)
    start = 0 if dials.ignore_page else (index - 1) * count
    return list(rows[start : start + count]), index, count


def ordered(rows: Sequence[Row], body: Body, dials: YonyouDials) -> list[Row]:
    """Return rows in the order asked for (queryOrders), else in the dial's."""
    asked = body.get("queryOrders") or []
    by_id = dials.list_order == "id" or [one.get("field") for one in asked] == ["id"]
    if by_id:
        return sorted(rows, key=lambda row: row.id)
    down = dials.list_order == "pubts_desc"
    return sorted(rows, key=lambda row: (str(row.body["pubts"]), row.id), reverse=down)


def condition(row: Row, asked: Body) -> bool:
    """Tell whether a row meets one condition of simpleVOs. Raises CodeError for an operator nobody knows."""
    if "conditions" in asked:
        met = [condition(row, one) for one in asked["conditions"]]
        return all(met) if asked.get("logicOp", "and") == "and" else any(met)
    value, first = row.body.get(asked.get("field", ""), ""), asked.get("value1")
    tests: Mapping[str, Callable[[], bool]] = {
        "eq": lambda: str(value) == str(first), "neq": lambda: str(value) != str(first),
        "egt": lambda: str(value) >= str(first), "gt": lambda: str(value) > str(first),
        "elt": lambda: str(value) <= str(first), "lt": lambda: str(value) < str(first),
        "between": lambda: str(first) <= str(value) <= str(asked.get("value2")),
        "in": lambda: value in (first or []), "like": lambda: str(first) in str(value),
    }  # fmt: skip
    test = tests.get(str(asked.get("op")))
    if test is None:
        raise CodeError("1001", f"不支持的操作符{asked.get('op')}")
    return test()


def batch(results: Sequence[tuple[int, str | None]]) -> Json:
    """Return a batch result of (id, error): the top code stays 200, and sucessCount is spelled as it is (2.0)."""
    failed = [(one, text) for one, text in results if text is not None]
    return {
        "count": len(results), "sucessCount": len(results) - len(failed), "failCount": len(failed),
        "messages": [text for _, text in failed] or [""],
        "infos": [{"id": one} for one, text in results if text is None],
        "failInfos": [{"id": one, "message": text} for one, text in failed],
    }  # fmt: skip
