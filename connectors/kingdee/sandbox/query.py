"""ExecuteBillQuery and BillQuery: columns, filter, order and paging over the rows (2.6)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from connectors.kingdee.sandbox.answers import RefusalError
from connectors.kingdee.sandbox.books import Actor, Books, Row
from connectors.kingdee.sandbox.envelope import Options, whole
from connectors.kingdee.sandbox.filters import (
    Column,
    Picture,
    Test,
    equalities,
    parse_conditions,
    parse_filter,
)
from connectors.kingdee.sandbox.forms import find_form
from connectors.kingdee.sandbox.metadata import Entity, Field, Form
from hub.sdk.sandbox import Json

__all__ = ["known_form", "run_query"]


def run_query(
    books: Books, ask: Options, *, actor: Actor, cap: int, shuffle: int
) -> tuple[list[str], list[list[Json]]]:
    """Answer a query: the keys as asked for and the cells row by row.

    ``shuffle`` turns the order of rows that OrderString leaves open (8.3.9: never rely on it).

    Raises:
        RefusalError: unknown form (4) or field (9), empty parameter (5, 8), unreadable filter.
    """
    form = known_form(ask.text("FormId"))
    keys = [key.strip() for key in ask.text("FieldKeys").split(",") if key.strip()]
    if not keys:
        raise RefusalError("参数FieldKeys不能为空", 8)
    columns = [_column(books, form, key) for key in keys]
    test, used = _filter(books, form, ask)
    order = _order(books, form, ask.text("OrderString"))
    entities = {one.entity for one in (*columns, *used, *(column for column, _ in order)) if one.entity}
    rows = [row for row in _rows(books, form, ask) if books.visible(row, actor)]
    turned = rows[shuffle % len(rows) :] + rows[: shuffle % len(rows)] if rows else []
    pictures = [one for row in turned for one in _explode(row, sorted(entities)) if test(one)]
    for column, down in reversed(order):
        pictures.sort(key=lambda one, read=column.read: _sortable(read(one)), reverse=down)  # type: ignore[misc]
    return keys, [[_shown(column, one) for column in columns] for one in _page(pictures, ask, cap)]


def known_form(form_id: str) -> Form:
    """Return a form by id.

    Raises:
        RefusalError: the id is empty (5) or unknown (4).
    """
    if not form_id:
        raise RefusalError("业务对象标识不能为空", 5)
    form = find_form(form_id)
    if form is None:
        raise RefusalError(f"业务对象不存在：{form_id[:80]}", 4)
    return form


def _rows(books: Books, form: Form, ask: Options) -> list[Row]:
    """Return the rows a filter can match at all: by index where it pins an indexed field."""
    wanted = ask.get("FilterString")
    for key, value in equalities(wanted) if isinstance(wanted, str) else ():
        field = form.find_field(key)
        if field is not None and field.key in form.indexed:
            return books.having(form, field.key, value)
        if key.upper() == form.pk.upper():
            one = books.get(form.id, whole(value))
            return [one] if one is not None else []
    return list(books.rows(form.id))


def _filter(books: Books, form: Form, ask: Options) -> tuple[Test, list[Column]]:
    used: list[Column] = []

    def resolve(key: str) -> Column:
        used.append(_column(books, form, key))
        return used[-1]

    wanted = ask.get("FilterString")
    if isinstance(wanted, list):
        return parse_conditions(wanted, resolve), used
    return parse_filter(str(wanted or ""), resolve), used


def _order(books: Books, form: Form, text: str) -> list[tuple[Column, bool]]:
    order = []
    for part in filter(None, map(str.strip, text.split(","))):
        key, *direction = part.split()
        if len(direction) > 1 or (direction and direction[0].upper() not in ("ASC", "DESC")):
            raise RefusalError(f"排序条件“{part[:50]}”不正确", 4)
        order.append((_column(books, form, key), bool(direction) and direction[0].upper() == "DESC"))
    return order


def _page(pictures: list[Picture], ask: Options, cap: int) -> Sequence[Picture]:
    start, limit, top = (max(0, ask.number(key)) for key in ("StartRow", "Limit", "TopRowCount"))
    end = start + min(limit or cap, cap)
    return pictures[start : min(end, top) if top else end]  # TopRowCount is an absolute end row


def _explode(row: Row, entities: Sequence[str]) -> Iterator[Picture]:
    if not entities:
        yield Picture(row, {})
        return
    for lines in itertools.product(*(row.lines.get(entity) or [{}] for entity in entities)):
        yield Picture(row, dict(zip(entities, lines, strict=True)))


def _column(books: Books, form: Form, key: str) -> Column:
    name, _, rest = key.partition(".")
    if name.upper() == form.pk.upper() and not rest:
        return Column(key, "int", "", lambda one: one.row.id)
    special = _row_column(form, key)
    if special is not None:
        return special
    field = form.find_field(name)
    if field is None and form.find_entity(name) is None:
        raise RefusalError(f"元数据中标识为{name[:80]}的字段不存在", 9, name[:80])
    if field is None or (rest and (field.kind not in ("ref", "multi") or "." in rest)):
        raise RefusalError(f"ResolveFiled_InnerEx：字段{key[:80]}无法解析", 4, key[:80])
    entity = form.rows_of(field)
    if rest:
        return _reference_column(books, form, field, key)
    if entity is None:
        return Column(key, field.kind, "", lambda one: one.row.head.get(field.key))
    return Column(key, field.kind, entity.key, lambda one: one.lines[entity.key].get(field.key))


def _row_column(form: Form, key: str) -> Column | None:
    """Resolve ``FEntity_FEntryId`` and ``FEntity_FSeq``."""
    for entity in form.entities:
        head, _, tail = key.upper().rpartition("_")
        if not entity.many or head != entity.key.upper():
            continue
        if tail == entity.row_id.upper():
            return Column(key, "int", entity.key, lambda one, at=entity: one.lines[at.key].get(at.row_id))  # type: ignore[misc]
        if tail == "FSEQ":
            return Column(key, "int", entity.key, lambda one, at=entity: _sequence(one, at))  # type: ignore[misc]
    return None


def _sequence(one: Picture, entity: Entity) -> int:
    line = one.lines[entity.key]
    return next((place for place, each in enumerate(one.row.lines.get(entity.key, []), 1) if each is line), 0)


def _reference_column(books: Books, form: Form, field: Field, key: str) -> Column:
    entity = form.rows_of(field)
    inner = key.partition(".")[2]
    target = find_form(field.target) if field.kind == "ref" else None
    known = target.find_field(inner) if target is not None else None
    if known is None and inner.upper() not in ("FNUMBER", "FNAME"):
        raise RefusalError(f"元数据中标识为{inner[:80]}的字段不存在", 9, key[:80])
    name = known.key if known is not None else {"FNUMBER": "FNumber", "FNAME": "FName"}[inner.upper()]

    def read(one: Picture) -> Json:
        values = one.row.head if entity is None else one.lines[entity.key]
        found = books.referred(form, field, values, one.row)
        return found.head.get(name) if found is not None else None

    return Column(
        key, known.kind if known is not None else "text", entity.key if entity is not None else "", read
    )


def _sortable(value: Json) -> tuple[bool, str, Json]:
    return (value is not None, type(value).__name__, value if value is not None else 0)


def _shown(column: Column, one: Picture) -> Json:
    value = column.read(one)
    if column.kind == "amount":
        return float(value or 0)
    if column.kind in ("int", "ref", "multi"):
        return value or 0
    if column.kind in ("date", "time"):
        return value or None
    if column.kind == "flag":
        return bool(value)
    return value if value is not None else ""
