"""View: one stored row in object-model names (2.5)."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.kingdee.sandbox.books import Books, Row
from connectors.kingdee.sandbox.metadata import Field, Form
from hub.sdk.sandbox import Json

__all__ = ["view_document"]

LANGUAGE = 2052


def view_document(books: Books, form: Form, row: Row) -> dict[str, Json]:
    """Return the document: ``F`` dropped from keys, names by language, references nested beside ``X_Id``."""

    def cells(fields: Sequence[Field], values: dict[str, Json]) -> dict[str, Json]:
        shown: dict[str, Json] = {}
        for item in fields:
            if item.kind in ("ref", "multi"):
                target = books.referred(form, item, values, row)
                shown[f"{item.shown}_Id"] = target.id if target is not None else 0
                shown[item.shown] = _nested(target) if target is not None else None
            else:
                shown[item.shown] = _plain(item, values.get(item.key))
        return shown

    shown: dict[str, Json] = {"Id": row.id} | cells(form.head, row.head)
    for entity in form.entities:
        name = entity.key.removeprefix("F")
        if not entity.many:
            shown[name] = cells(entity.fields, row.head)
            continue
        shown[name] = [
            {"Id": line[entity.row_id], "Seq": place} | cells(entity.fields, line)
            for place, line in enumerate(row.lines.get(entity.key, []), start=1)
        ]
    return shown


def _plain(item: Field, value: Json) -> Json:
    if item.kind == "name":
        return [{"Key": LANGUAGE, "Value": value or ""}]
    if item.kind == "amount":
        return float(value or 0)
    if item.kind in ("date", "time"):
        return value or None
    return value if value is not None else {"int": 0, "flag": False}.get(item.kind, "")


def _nested(row: Row) -> dict[str, Json]:
    name = [{"Key": LANGUAGE, "Value": row.head.get("FName", "")}]
    return {"Id": row.id, "Number": row.head.get("FNumber", ""), "Name": name}
