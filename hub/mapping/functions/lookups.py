"""Look-ups: value maps, other records and objects, people, legal entities, and what the sync itself knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hub.mapping.functions.entry import KEYS, ROWS, TEXT, Function, Unmappable, Waiting, bounded, other, types
from hub.mapping.outcome import Context, Wait
from hub.model.record import MISSING

__all__ = ["LOOKUPS"]


def _value_map(table: Mapping[str, str], value: Any, *default: Any) -> Any:
    if value.__class__ is int:
        value = str(bounded(value))
    elif value.__class__ is not str:
        return other(value, "a text")
    found = table.get(value)
    if found is not None:
        return found
    if default:
        return default[0]
    raise Unmappable(f"the value map has no entry for {value[:40]!r}")


def _xref(context: Context, target: str, value: Any) -> Any:
    if value.__class__ is int:
        value = str(bounded(value))
    elif value.__class__ is not str:
        return other(value, "an identifier")
    if not value:
        raise Unmappable("an empty text refers to nothing")
    found = context.xref(target, value)
    if isinstance(found, Wait):
        raise Waiting(found)
    return found


def _user_ref(context: Context, value: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "a user's id")
    if not value:
        raise Unmappable("an empty text names nobody")
    return context.user(value)


def _user_at(context: Context, value: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "an employee's code")
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
            return other(value, "a list of people, or of rows that name them")
        return [named(context, row) for row in value]

    return listed


def _with_links(context: Context, form: Any, name: Any, files: Any) -> Any:
    if form.__class__ is not dict:
        return other(form, "a form: field to value")
    if files is None or files is MISSING:
        return form
    if files.__class__ is not list:
        return other(files, "a list of files")
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


ENTITY_COLUMNS: Final = ("use", "create", "settle", "pay", "title", "currency", "account_set", "connection")
"""Of the table of legal entities: its organisations by role, and what else it says."""


def _known_column(name: str) -> str:
    return (
        ""
        if name in ENTITY_COLUMNS
        else f"the table of legal entities has {', '.join(ENTITY_COLUMNS)}, not {name[:20]!r}"
    )


def _legal_entity(context: Context, name: Any, column: str) -> Any:
    if name.__class__ is not str:
        return other(name, "a legal entity's name")
    if not name:
        raise Unmappable("an empty text names no legal entity")
    try:
        return context.legal_entity(name, column)
    except LookupError as error:
        raise Unmappable(str(error)) from None


LOOKUPS: Final = (
    Function("business_key", _business_key, (), "text", "业务主键", "Number fixed for life", "business_key()", needs="context"),
    Function(
        "employees_in", _people(_user_ref), (ROWS,), "json", "名单中的员工",
        "A list of the other side's users, or of rows that name them, as employees", 'employees_in(["LiLei"])', needs="context",
    ),
    Function(
        "legal_entity", _legal_entity, (TEXT, TEXT), "text", "签约主体的资料", "A column of the table of legal entities",
        'legal_entity("demo", "settle")', constant=(1,), checks={1: _known_column}, needs="context",
        because="kingdee.md 6: each company has its own organisations (create, use, settle, pay) and currency",
    ),
    Function("org", _org, (), "text", "组织编码", "Organisation's number", "org()", needs="context"),
    Function(
        "user_at", _user_at, (TEXT,), "text", "对方账号", "The other side's user who is an employee", 'user_at("li.lei")',
        needs="context",
    ),
    Function(
        "user_ref", _user_ref, (TEXT,), "text", "员工", "The employee behind a user of the other side",
        'user_ref("LiLei")', needs="context", because="wecom.md 0: user ids are compared without case",
    ),
    Function(
        "users_in", _people(_user_at), (ROWS,), "json", "名单中的对方账号",
        "A list of employees, or of rows that name them, as the other side's users", 'users_in(["li.lei"])', needs="context",
    ),
    Function(
        "value_map", _value_map, (TEXT, KEYS, TEXT), "text", "值映射", "Look-up in a value map",
        'value_map("kingdee.settle_type", "bank")', optional=1, constant=(0,), needs="table",
    ),
    Function(
        "value_map_back", _value_map, (TEXT, KEYS, TEXT), "text", "值映射（反向）", "Look-up in a value map from right to left",
        'value_map_back("kingdee.settle_type", "JSFS04_SYS")', optional=1, constant=(0,), needs="table_back",
        because="design.md 8: one table serves both directions",
    ),
    Function(
        "with_links", _with_links, (types("json"), TEXT, ROWS), "json", "表单附文件链接",
        "A form with links to files that open on a phone, where the hub makes any", 'with_links(form, "合同文件", attachments)',
        constant=(1,), needs="context",
    ),
    Function(
        "xref", _xref, (TEXT, KEYS), "text", "主键对照", "The other side's identifier",
        'xref("kingdee.customer", "CRM-000123")', constant=(0,), needs="context", proves="reference",
    ),
)  # fmt: skip
"""What asks the context or a table."""
