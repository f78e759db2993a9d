"""What a form is: entities, fields, labels, kinds; read from a plain table, shown by QueryBusinessInfo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from connectors.kingdee.sandbox.answers import RefusalError
from connectors.kingdee.sandbox.site_time import parse_time
from hub.sdk.sandbox import Json

__all__ = ["Entity", "Field", "Form", "business_info", "parse_fields", "read_value"]

SQL_TYPES: Mapping[str, int] = {
    "text": 231, "name": 231, "enum": 175, "flag": 175, "int": 56, "ref": 56, "multi": 56, "amount": 106,
    "date": 61, "time": 61,
}  # fmt: skip
"""FieldType as SQL type numbers; the numbers the vendor gives are UNCONFIRMED."""

DAY = len("2026-01-10")
MAX_PLACES = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field: key in template spelling, Chinese label, kind, and what it refers to.

    Kinds: text, name (multi-language text), int, amount, date, time, flag, enum, ref (``target`` = form),
    multi (``target`` = key of the field that names the form).
    """

    key: str
    label: str
    kind: str
    target: str = ""
    must: bool = False
    system: bool = False
    inner: str = "FNumber"
    options: tuple[str, ...] = ()
    entity: str = ""

    @property
    def shown(self) -> str:
        """Return the object-model name: the leading F dropped, custom fields (``F_``) as they are."""
        return self.key if self.key.startswith("F_") else self.key.removeprefix("F")


@dataclass(frozen=True, slots=True)
class Entity:
    """A sub-entity: rows (``many``) with ids under ``row_id``, or one object stored with the head."""

    key: str
    label: str
    fields: tuple[Field, ...]
    many: bool = True
    row_id: str = "FEntryID"


@dataclass(frozen=True, slots=True)
class Form:
    """One form as data; adding a business object means adding one of these."""

    id: str
    title: str
    pk: str
    number: str
    head: tuple[Field, ...]
    entities: tuple[Entity, ...] = ()
    org: str = ""
    prefix: str = ""
    digits: int = 0
    indexed: tuple[str, ...] = ()
    base: bool = True
    period: str = ""
    unique_label: str = "编码"
    totals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Head amounts the system sums up: key → (entity, row field)."""
    _fields: dict[str, Field] = field(default_factory=dict, init=False, repr=False)
    _entities: dict[str, Entity] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the fields: keys are compared in any case of letters."""
        for item in self.head:
            self._fields[item.key.upper()] = item
        for entity in self.entities:
            self._entities[entity.key.upper()] = entity
            for item in entity.fields:
                self._fields[item.key.upper()] = item

    def find_field(self, key: str) -> Field | None:
        """Return the field with this key on whatever level, in any case."""
        return self._fields.get(key.upper())

    def find_entity(self, key: str) -> Entity | None:
        """Return the sub-entity with this key, in any case."""
        return self._entities.get(key.upper())

    def rows_of(self, field: Field) -> Entity | None:
        """Return the row entity a field belongs to, None for the head."""
        entity = self._entities.get(field.entity.upper())
        return entity if entity is not None and entity.many else None


def parse_fields(table: str, entity: str = "") -> tuple[Field, ...]:
    """Read fields from lines ``KEY LABEL KIND[=target] [must] [system] [FNUMBER]``."""
    found = []
    for line in filter(None, map(str.strip, table.splitlines())):
        key, label, kind, *flags = line.split()
        kind, _, target = kind.partition("=")
        found.append(
            Field(
                key,
                label,
                kind,
                target=target if kind != "enum" else "",
                must="must" in flags,
                system="system" in flags,
                inner="FNUMBER" if "FNUMBER" in flags else "FNumber",
                options=tuple(target.split("|")) if kind == "enum" else (),
                entity=entity,
            )
        )
    return tuple(found)


def read_value(field: Field, raw: Json) -> Json:
    """Turn a value of a request into the stored one (amounts as exact text, times as ISO text).

    Raises:
        RefusalError: the value does not fit the kind (MsgCode 8; wording and code UNCONFIRMED).
    """
    try:
        return _READERS[field.kind](raw)
    except (ValueError, InvalidOperation, TypeError, OverflowError):
        text = f"字段“{field.label}”的值“{str(raw)[:50]}”格式不正确"
        raise RefusalError(text, 8, field.key) from None


def _text(raw: Json) -> str:
    if isinstance(raw, list):  # multi-language form: [{"Key": 2052, "Value": "…"}]
        raw = next((item["Value"] for item in raw if isinstance(item, dict) and "Value" in item), None)
    if raw is None:
        return ""
    if isinstance(raw, bool | dict | list):
        raise TypeError("not a text")
    return str(raw).encode().decode()  # a lone surrogate is a ValueError


def _amount(raw: Json) -> str:
    if raw in (None, ""):
        return "0.00"
    value = Decimal(str(raw))
    if isinstance(raw, bool) or not value.is_finite() or abs(value) >= Decimal("1e18"):
        raise ValueError("not an amount")
    exact = value.normalize()
    places = max(2, -int(exact.as_tuple().exponent))
    if places > MAX_PLACES:
        raise ValueError("too many decimal places")
    return f"{value:.{places}f}"


def _number(raw: Json) -> int:
    return 0 if raw in (None, "") else int(str(raw))


def _flag(raw: Json) -> bool:
    if isinstance(raw, bool):
        return raw
    return (
        {"true": True, "1": True, "false": False, "0": False, "": False}[str(raw).lower()]
        if raw is not None
        else False
    )


def _flag_checked(raw: Json) -> bool:
    try:
        return _flag(raw)
    except KeyError:
        raise ValueError("not a flag") from None


def _time(raw: Json) -> str:
    return "" if raw in (None, "") else parse_time(str(raw)).isoformat()


def _date(raw: Json) -> str:
    return "" if raw in (None, "") else parse_time(str(raw)).isoformat()[:DAY] + "T00:00:00"


_READERS = {
    "text": _text, "name": _text, "enum": _text, "int": _number, "amount": _amount, "flag": _flag_checked,
    "date": _date, "time": _time,
}  # fmt: skip


def business_info(form: Form) -> dict[str, Json]:
    """Describe a form in the shape of QueryBusinessInfo (2.5)."""
    head = [_describe(item) for item in form.head]
    head += [_describe(item) for entity in form.entities if not entity.many for item in entity.fields]
    head.insert(0, _describe(Field(form.pk, "内码", "int", system=True)))
    entries = [{"Key": "FBillHead", "ParentKey": "", "Name": _named(form.title), "Fields": head}]
    for entity in form.entities:
        if entity.many:
            rows = [
                _describe(Field(entity.row_id, "分录内码", "int", system=True)),
                *map(_describe, entity.fields),
            ]
            entries.append(
                {"Key": entity.key, "ParentKey": "FBillHead", "Name": _named(entity.label), "Fields": rows}
            )
    return {"Id": form.id, "Name": _named(form.title), "PkFieldName": form.pk, "Entrys": entries}


def _describe(field: Field) -> dict[str, Json]:
    return {
        "Key": field.key,
        "Name": _named(field.label),
        "MustInput": int(field.must),
        "FieldType": SQL_TYPES[field.kind],
        "ElementType": SQL_TYPES[field.kind],
        "LookUpObjectFormId": field.target if field.kind == "ref" else "",
        "Extends": [{"Value": option, "Caption": _named(option)} for option in field.options],
    }


def _named(text: str) -> list[dict[str, Json]]:
    return [{"Key": 2052, "Value": text}]
