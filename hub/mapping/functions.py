"""The catalogue of functions an expression may call.

A function gives null back for null and absent for absent, so that paths stay null-safe; whatever else it cannot take is a
:class:`Unmappable`, which parks the record with the name of the field. It does no I/O: what it needs to know
beside its arguments comes from the :class:`~hub.mapping.outcome.Context`.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from hub.mapping.outcome import Context, Wait
from hub.model import money as amounts
from hub.model import text as forms
from hub.model.fields import store_date, store_instant
from hub.model.record import MISSING

__all__ = ["FUNCTIONS", "Function", "Unmappable", "Waiting", "exact"]


class Unmappable(ValueError):
    """A value cannot be mapped; the message is fit for the person who repairs the record."""


class Waiting(Exception):
    """A look-up answered that something else must exist first."""

    def __init__(self, wait: Wait) -> None:
        """Carry the answer."""
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the catalogue.

    ``needs``: what the compiler passes before the arguments: "", "context" or "table" (a value map).
    ``takes`` / ``returns``: static types (:mod:`hub.mapping.schema`); ``optional``: how many of the last arguments may be left out.
    ``constant``: positions of arguments that must be written as texts. ``proves``: the field type whose stored form the result is.
    ``because``: the fact sheet that asks for a function no shipped mapping calls.
    """

    name: str
    run: Callable[..., Any]
    takes: tuple[frozenset[str], ...]
    returns: str
    zh: str
    en: str
    example: str
    optional: int = 0
    constant: tuple[int, ...] = ()
    needs: str = ""
    proves: str = ""
    because: str = ""


# Any: values inside expressions are JSON, MISSING or Decimal, and every function checks what it is given.


def _other(value: Any, wanted: str) -> Any:
    """Give null and absent back; refuse anything else."""
    if value is None or value is MISSING:
        return value
    raise Unmappable(f"{wanted} is expected, not {_shown(value)}")


def _shown(value: Any) -> str:
    return _KINDS.get(type(value), "this")


_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    Decimal: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def _form(make: Callable[[str], str], wanted: str) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if value.__class__ is not str:
            return _other(value, wanted)
        return make(value) if value else ""

    return run


def _phone(value: Any, region: str = "CN") -> Any:
    if value.__class__ is not str:
        return _other(value, "a phone number")
    return forms.phone(value, region) if value else ""


def _domestic(value: Any, region: str = "CN") -> Any:
    if value.__class__ is not str:
        return _other(value, "a phone number")
    return forms.domestic_phone(value, region)


def _text(value: Any) -> Any:
    if value.__class__ is str:
        return value
    if value.__class__ is int:
        return str(_bounded(value))
    if value.__class__ in (float, Decimal):
        return format(exact(value).normalize(), "f")
    return _other(value, "a text or a number")


def _bounded(value: int) -> int:
    if abs(value) >= 10**18:
        raise Unmappable("has more than 18 digits")
    return value


_MOST_FLOAT_DIGITS: Final = 15


def exact(value: Any, grouping: str | None = None) -> Decimal:
    """Return a number or a text of digits as an exact decimal; a binary number only while no digit is lost.

    A JSON number of up to 15 digits survives the way through a binary number; what has more is refused.
    """
    if value.__class__ is float:
        shown = repr(value)
        if (
            len(re.sub(r"[-.]|e.*", "", shown).strip("0")) > _MOST_FLOAT_DIGITS
            or "n" in shown
            or "e" in shown
        ):
            raise Unmappable("is a binary number that has lost its digits; send it as a text")
        value = shown
    if grouping not in (None, ","):
        raise Unmappable(f"groups are written with ',', not {grouping!r}")
    return amounts.parse_amount(value, grouping=grouping is not None)


def _decimal(value: Any, grouping: str | None = None) -> Any:
    if value is None or value is MISSING:
        return value
    return exact(value, grouping)


def _money(value: Any, currency: Any) -> Any:
    if value is None or value is MISSING:
        return value
    if currency.__class__ is not str:
        raise Unmappable("an amount needs its currency")
    return amounts.quantise(exact(value), currency)


# A day as vendors send it: alone, or with a time of day that carries no zone and is left out.
_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?)?", re.ASCII)


def _date(value: Any) -> Any:
    if value.__class__ is not str:
        return _other(value, "a date")
    found = _DAY.fullmatch(value)
    return store_date(found.group(1) if found else value)


_LOCAL: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,7})?", re.ASCII)
_LAST_SECOND: Final = 7_258_118_400  # the end of 2199: what is above is milliseconds, another unit


_EPOCH: Final = dt.date(1970, 1, 1)


@functools.lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return (_EPOCH + dt.timedelta(days)).isoformat()


def _instant(value: Any, offset: str | None = None) -> Any:
    if value.__class__ is int:
        if not 0 <= value < _LAST_SECOND:
            raise Unmappable("is not a moment in seconds since 1970")
        days, seconds = divmod(value, 86_400)
        minutes, seconds = divmod(seconds, 60)
        return f"{_day(days)}T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z"
    if value.__class__ is not str:
        return _other(value, "a moment")
    if _LOCAL.fullmatch(value):
        if offset is None:
            raise Unmappable("has no zone; name the site's, as in instant(x, '+08:00')")
        head, _, fraction = value.replace(" ", "T").partition(".")
        value = head + (f".{fraction[:6]}" if fraction else "") + offset
    return store_instant(value)


def _value_map(table: Mapping[str, str], value: Any, *default: Any) -> Any:
    if value.__class__ is int:
        value = str(_bounded(value))
    elif value.__class__ is not str:
        return _other(value, "a text")
    found = table.get(value)
    if found is not None:
        return found
    if default:
        return default[0]
    raise Unmappable(f"the value map has no entry for {value[:40]!r}")


def _xref(context: Context, target: str, value: Any) -> Any:
    if value.__class__ is int:
        value = str(_bounded(value))
    elif value.__class__ is not str:
        return _other(value, "an identifier")
    if not value:
        raise Unmappable("an empty text refers to nothing")
    found = context.xref(target, value)
    if isinstance(found, Wait):
        raise Waiting(found)
    return found


def _user_ref(context: Context, value: Any) -> Any:
    if value.__class__ is not str:
        return _other(value, "a user's id")
    if not value:
        raise Unmappable("an empty text names nobody")
    return context.user(value)


def _user_at(context: Context, value: Any) -> Any:
    if value.__class__ is not str:
        return _other(value, "an employee's code")
    if not value:
        raise Unmappable("an empty text names nobody")
    return context.user_at(value)


def _people(one: Callable[[Context, Any], Any]) -> Callable[[Context, Any], Any]:
    """Return a function that names people anew in a list of them, or in rows whose ``approver`` and ``approvers`` they are."""

    def named(context: Context, row: Any) -> Any:
        if row.__class__ is not dict:
            return one(context, row)
        changed = dict(row)
        if row.get("approver") is not None:
            changed["approver"] = one(context, row["approver"])
        if row.get("approvers") is not None:
            changed["approvers"] = listed(context, row["approvers"])
        return changed

    def listed(context: Context, value: Any) -> Any:
        if value.__class__ is not list:
            return _other(value, "a list of people, or of rows that name them")
        return [named(context, row) for row in value]

    return listed


def _with_links(context: Context, form: Any, name: Any, files: Any) -> Any:
    if form.__class__ is not dict:
        return _other(form, "a form: field to value")
    if files is None or files is MISSING:
        return form
    if files.__class__ is not list:
        return _other(files, "a list of files")
    lines = []
    for number, file in enumerate(files, start=1):
        url = file.get("url") if file.__class__ is dict else None
        link = context.file_link(url) if url.__class__ is str else None
        if link is not None:
            lines.append(f"{file.get('name') or number}: {link}")
    return {**form, name: "\n".join(lines)} if lines and name not in form else form


def _org(context: Context) -> str:
    if context.org is None:
        raise Unmappable("the sync has no organisation; set it at its legal entity")
    return context.org


def _business_key(context: Context) -> str:
    if context.business_key is None:
        raise Unmappable("there is no business key here")
    return context.business_key


def _types(*names: str) -> frozenset[str]:
    return frozenset(names)


_TEXT: Final = _types("text")
_ROWS: Final = _types("json", "list")
_NUMERIC: Final = _types("amount", "exact", "number", "text")
_KEYS: Final = _types("text", "number")

_CATALOGUE: Final = (
    Function("business_key", _business_key, (), "text", "业务主键", "Number fixed for life", "business_key()", needs="context"),
    Function(
        "company_name", _form(forms.company_name, "a name"), (_TEXT,), "text", "公司全称", "Company's full name",
        'company_name("示例科技(上海)有限公司")', proves="company",
    ),
    Function(
        "credit_code", _form(forms.credit_code, "a credit code"), (_TEXT,), "text", "统一社会信用代码", "Credit code",
        'credit_code("91350100m000100y43")', proves="credit_code",
    ),
    Function("date", _date, (_TEXT,), "text", "日期", "Calendar day", 'date("2026-01-10T00:00:00")', proves="date"),
    Function(
        "decimal", _decimal, (_NUMERIC, _TEXT), "exact", "小数", "Exact number", 'decimal("1,234.50", ",")',
        optional=1, constant=(1,),
    ),
    Function(
        "domestic_phone", _domestic, (_TEXT, _TEXT), "text", "国内号码", "Phone number as people of the country write it",
        'domestic_phone("+8613800138000", "CN")', optional=1, constant=(1,),
    ),
    Function(
        "employees_in", _people(_user_ref), (_ROWS,), "json", "名单中的员工",
        "A list of the other side's users, or of rows that name them, as employees", 'employees_in(["LiLei"])', needs="context",
    ),
    Function(
        "instant", _instant, (_KEYS, _TEXT), "text", "时间点", "Moment in UTC",
        'instant("2026-01-10T08:00:00", "+08:00")', optional=1, constant=(1,), proves="instant",
        because="kingdee.md 8.3, pitfall 16: site-local time without zone",
    ),
    Function("money", _money, (_NUMERIC, _TEXT), "exact", "金额", "Amount rounded to its currency", 'money("2.675", "CNY")'),
    Function("org", _org, (), "text", "组织编码", "Organisation's number", "org()", needs="context"),
    Function(
        "phone", _phone, (_TEXT, _TEXT), "text", "电话", "Phone number", 'phone("138-0013-8000", "CN")',
        optional=1, constant=(1,), proves="phone",
    ),
    Function(
        "text", _text, (_types("text", "number", "exact", "amount"),), "text", "转为文本", "Number as text", "text(100029)",
        because="reliability.md M2: a number never becomes a text without a rule",
    ),
    Function("trim", _form(str.strip, "a text"), (_TEXT,), "text", "去空白", "Text without outer blanks", 'trim("  A ")'),
    Function(
        "user_at", _user_at, (_TEXT,), "text", "对方账号", "The other side's user who is an employee", 'user_at("li.lei")',
        needs="context",
    ),
    Function(
        "user_ref", _user_ref, (_TEXT,), "text", "员工", "The employee behind a user of the other side",
        'user_ref("LiLei")', needs="context", because="wecom.md 0: user ids are compared without case",
    ),
    Function(
        "users_in", _people(_user_at), (_ROWS,), "json", "名单中的对方账号",
        "A list of employees, or of rows that name them, as the other side's users", 'users_in(["li.lei"])', needs="context",
    ),
    Function(
        "value_map", _value_map, (_TEXT, _KEYS, _TEXT), "text", "值映射", "Look-up in a value map",
        'value_map("kingdee.settle_type", "bank")', optional=1, constant=(0,), needs="table",
    ),
    Function(
        "with_links", _with_links, (_types("json"), _TEXT, _ROWS), "json", "表单附文件链接",
        "A form with links to files that open on a phone, where the hub makes any", 'with_links(form, "合同文件", attachments)',
        constant=(1,), needs="context",
    ),
    Function(
        "xref", _xref, (_TEXT, _KEYS), "text", "主键对照", "The other side's identifier",
        'xref("kingdee.customer", "CRM-000123")', constant=(0,), needs="context", proves="reference",
    ),
)  # fmt: skip

FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {function.name: function for function in _CATALOGUE}
)
"""Every function by name."""
