"""Values of form components, out and in: on the wire each is a string, structures are JSON inside it (fact sheet 2.2).

Out, a value is held against the live form before anything is sent: what DingTalk would refuse is refused here, and the
refusal names the field by the label people see.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from connectors.dingtalk.schema import Component, Template, find
from hub.sdk import Cause, InvalidMoney, Json, Refused, parse_amount

__all__ = ["KINDS", "form_values", "people_of", "shown_form"]

MOST_CHARS, MOST_FIELDS, MOST_ROWS, MOST_PHOTOS, MOST_RELATED = 65_535, 150, 100, 9, 9
FILE = ("spaceId", "fileName", "fileSize", "fileType", "fileId")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}", re.ASCII)


class _Wrong(Exception):
    """A value cannot be put into a component; the text says why. ``cause``: for the dead letter."""

    def __init__(self, why: str, cause: Cause = Cause.INVALID) -> None:
        super().__init__(why)
        self.cause = cause


def form_values(template: Template, form: Mapping[str, Json]) -> list[dict[str, Any]]:
    """Return formComponentValues for a form given by id, bizAlias or label; an absent value is not sent.

    Raises:
        Refused: a field the form does not have, an option it does not know, a required one that is missing, a value that
            does not fit; ``field`` is the label, in a table ``label[row].label``.
    """
    values = _filled(template.components, form, "")
    if len(values) > MOST_FIELDS:
        raise _refused(f"{len(values)} fields, at most {MOST_FIELDS} are taken", "form", Cause.INVALID)
    return values


def people_of(template: Template, form: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Give (label, userid) of everybody a form's contact fields name."""
    for name, value in form.items():
        component = find(template.components, name)
        if component is not None and component.kind == "InnerContactField":
            for one in value if isinstance(value, list) else [value]:
                if one not in (None, ""):
                    yield component.label, str(one)


def shown_form(values: object) -> tuple[list[Json], dict[str, Json]]:
    """Return the components of an instance as it holds them, and their values by id and by bizAlias.

    A value that is not as documented stays the text it is.
    """
    fields: list[Json] = []
    form: dict[str, Json] = {}
    for one in values if isinstance(values, list) else ():
        if not isinstance(one, dict):
            continue
        kind, text = str(one.get("componentType") or ""), one.get("value")
        value = _read(kind, text)
        shown = {name: one.get(name) for name in ("id", "name", "bizAlias", "componentType", "extValue")}
        fields.append({**shown, "value": value})
        for name in (one.get("bizAlias"), one.get("id")):
            if isinstance(name, str) and name:
                form[name] = value
    return fields, form


# ------------------------------------------------------------------------------------------------------ out


def _filled(components: Sequence[Component], form: Mapping[str, Json], under: str) -> list[dict[str, Any]]:
    given: dict[str, tuple[Component, Json]] = {}
    for name, value in form.items():
        component = find(components, name)
        if component is None:
            known = "、".join(one.label for one in components)
            raise _refused(
                f"表单没有控件“{name}” / the form has no field {name!r}; it has: {known}",
                under + name,
                Cause.INVALID,
            )
        given[component.id] = component, value
    values = []
    for component in components:
        label = under + component.label
        value = given.get(component.id, (component, None))[1]
        if value is None or value in ("", []):
            if component.required and component.kind != "TextNote":
                raise _refused(
                    f"必填项“{label}”没有值 / the required field {label} has no value",
                    label,
                    Cause.MISSING_FIELD,
                )
            continue
        values.append(_sent(component, value, label))
    return values


def _sent(component: Component, value: Json, label: str) -> dict[str, Any]:
    write = _WRITES.get(component.kind)
    try:
        if write is None:
            raise _Wrong(
                f"控件类型 {component.kind} 不能填写 / a {component.kind} cannot be filled by the API"
            )
        text = _table(component, value, label) if component.kind == "TableField" else write(component, value)
        if len(text) > MOST_CHARS:
            raise _Wrong(f"{len(text)} characters, at most {MOST_CHARS} are taken")
    except _Wrong as wrong:
        raise _refused(f"{label}: {wrong}", label, wrong.cause) from None
    alias = {"bizAlias": component.alias} if component.alias else {}
    return {
        "id": component.id,
        **alias,
        "name": component.label,
        "value": text,
        "componentType": component.kind,
        "details": [],
    }


def _table(component: Component, value: Json, label: str) -> str:
    """Return rows of cells as a 2-D array (pitfall 18)."""
    rows = value if isinstance(value, list) else [value]
    if len(rows) > MOST_ROWS:
        raise _Wrong(f"{len(rows)} rows, at most {MOST_ROWS} are taken")
    cells: list[list[dict[str, str]]] = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise _Wrong(f"row {number} is no row of fields")
        filled = _filled(component.children, row, f"{label}[{number}].")
        cells.append([{"name": cell["name"], "value": cell["value"]} for cell in filled])
    return _packed(cells)


def _plain(_component: Component, value: Json) -> str:
    if isinstance(value, bool | list | dict) or value is None:
        raise _Wrong("a text is expected")
    text = str(value)
    return "\r\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def _number(component: Component, value: Json) -> str:
    try:
        return f"{parse_amount(_plain(component, value)):f}"
    except InvalidMoney as error:
        raise _Wrong(f"a number is expected ({error})") from None


def _choice(component: Component, value: Json) -> str:
    text = _plain(component, value)
    if component.options and text not in component.options:
        raise _Wrong(f"没有选项“{text}” / it has no option {text!r}; it has: {'、'.join(component.options)}")
    return text


def _choices(component: Component, value: Json) -> str:
    return _packed([_choice(component, one) for one in _many(value)])


def _date(component: Component, value: Json) -> str:
    text = _plain(component, value).strip()
    try:
        if _DATE.fullmatch(text):
            datetime.date.fromisoformat(text)
            return f"{text} 00:00" if component.timed else text
        if _TIME.match(text):
            at = datetime.datetime.fromisoformat(text)
            return f"{at:%Y-%m-%d %H:%M}" if component.timed else f"{at:%Y-%m-%d}"
    except ValueError:
        pass
    raise _Wrong(f"{text[:40]!r} is no date such as 2026-08-17" + (" 10:00" if component.timed else ""))


def _dates(component: Component, value: Json) -> str:
    found = _many(value)
    if len(found) != 2:
        raise _Wrong("two dates are expected")
    return _packed([_date(component, one) for one in found])


def _photos(component: Component, value: Json) -> str:
    found = [_plain(component, one) for one in _many(value)]
    if len(found) > MOST_PHOTOS:
        raise _Wrong(f"{len(found)} pictures, at most {MOST_PHOTOS} are taken")
    return _packed(found)


def _files(_component: Component, value: Json) -> str:
    files = []
    for one in _many(value):
        if not isinstance(one, dict) or any(one.get(name) in (None, "") for name in FILE):
            raise _Wrong(f"a file needs {', '.join(FILE)}; it must lie in the approval drive already")
        files.append({name: str(one[name]) for name in FILE})
    return _packed(files)


def _people(component: Component, value: Json) -> str:
    return _packed([_plain(component, one) for one in _many(value)])


def _departments(component: Component, value: Json) -> str:
    return ",".join(_plain(component, one) for one in _many(value))


def _related(component: Component, value: Json) -> str:
    found = [_plain(component, one).rpartition("/")[2] for one in _many(value)]
    if len(found) > MOST_RELATED:
        raise _Wrong(f"{len(found)} approvals, at most {MOST_RELATED} are taken")
    return _packed(found)


def _address(component: Component, value: Json) -> str:
    parts = value if isinstance(value, list) else _plain(component, value).replace("，", ",").split(",")
    return ",".join(_plain(component, one).strip() for one in parts)


def _stars(component: Component, value: Json) -> str:
    text = _plain(component, value)
    if text not in tuple("012345"):
        raise _Wrong("0 to 5 stars are expected")
    return text


def _place(_component: Component, value: Json) -> str:
    if not isinstance(value, list) or len(value) < 4:
        raise _Wrong("time, longitude, latitude and address are expected")
    return _packed(value)


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _packed(value: object) -> str:
    return orjson.dumps(value).decode()


_WRITES: Mapping[str, Callable[[Component, Json], str]] = {
    "TextField": _plain, "TextareaField": _plain, "NumberField": _number, "MoneyField": _number, "DDSelectField": _choice,
    "DDMultiSelectField": _choices, "DDDateField": _date, "DDDateRangeField": _dates, "PhoneField": _plain,
    "DDPhotoField": _photos, "TableField": _plain, "DDAttachment": _files, "InnerContactField": _people,
    "DepartmentField": _departments, "RelateField": _related, "AddressField": _address, "StarRatingField": _stars,
    "TimeAndLocationField": _place,
}  # fmt: skip
KINDS = tuple(_WRITES)
"""Every component that can be filled; a table's rows are made of the others."""
_PACKED = frozenset((
    "DDMultiSelectField", "DDDateRangeField", "DDPhotoField", "DDAttachment", "InnerContactField", "RelateField",
    "TimeAndLocationField",
))  # fmt: skip
_LISTED = frozenset(("DepartmentField", "AddressField"))


# ------------------------------------------------------------------------------------------------------- in


def _read(kind: str, text: object) -> Json:
    if not isinstance(text, str):
        return text  # type: ignore[return-value]  # decoded JSON
    if kind == "TableField":
        return _rows(text)
    if kind in _PACKED:
        found = _unpacked(text)
        return found if isinstance(found, list) else text
    if kind in _LISTED:
        return [part for part in text.split(",") if part]
    return text.replace("\r\n", "\n")


def _rows(text: str) -> Json:
    """Return the rows of a table, each by label and by id; cells come bare or wrapped in ``rowValue``."""
    rows = _unpacked(text)
    if not isinstance(rows, list):
        return text
    found: list[Json] = []
    for row in rows:
        cells = row.get("rowValue") if isinstance(row, dict) else row
        if not isinstance(cells, list):
            return text
        shown: dict[str, Json] = {}
        for cell in cells:
            if isinstance(cell, dict):
                value = _read(str(cell.get("componentType") or ""), cell.get("value"))
                names = (
                    cell.get("key") or cell.get("id"),
                    cell.get("bizAlias"),
                    cell.get("label") or cell.get("name"),
                )
                shown |= {name: value for name in names if isinstance(name, str) and name}
        found.append(shown)
    return found


def _unpacked(text: str) -> Json:
    try:
        found: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found


def _refused(message: str, field: str, cause: Cause) -> Refused:
    return Refused(message, cause=cause, vendor="dingtalk", field=field)
