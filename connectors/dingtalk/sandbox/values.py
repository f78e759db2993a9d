"""Values of form components as create takes them: always a string, structures as JSON inside it (sheet 2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from connectors.dingtalk.sandbox.answers import NewError
from connectors.dingtalk.sandbox.rows import Template
from hub.sdk.sandbox import Json

__all__ = ["check_form", "component_of", "options_of", "settable"]

MOST_CHARS = 65_535
MOST_FIELDS = 150
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,10})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?")
_ATTACHMENT = ("spaceId", "fileName", "fileSize", "fileType", "fileId")


def settable(template: Template) -> list[dict[str, Any]]:
    """Return the components a create may fill."""
    return [item for item in template.items if item["componentName"] != "TextNote"]


def component_of(items: list[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the component a value means: by id, by bizAlias, else by its label (sheet 2.2)."""
    for item in items:
        props = item["props"]
        if given.get("id") and given["id"] == props["id"]:
            return item
        if given.get("bizAlias") and given["bizAlias"] == props.get("bizAlias"):
            return item
    if given.get("id") or given.get("bizAlias"):
        return None
    return next((item for item in items if item["props"]["label"] == given.get("name")), None)


def options_of(item: Mapping[str, Any]) -> list[str]:
    """Return the texts a choice may take; options come as text or as JSON in a text (sheet 2.6)."""
    found = []
    for option in item["props"].get("options") or []:
        decoded = orjson.loads(option) if option.startswith("{") else {"value": option}
        found.append(str(decoded["value"]))
    return found


class _Wrong(Exception):
    """A value cannot be taken; the text says why."""


def check_form(template: Template, given: Json, *, people: Callable[[str], bool], depts: Callable[[int], bool],
               approvals: Callable[[str], bool], strict: bool) -> list[dict[str, Json]]:  # fmt: skip
    """Return the values as an instance keeps them.

    Raises:
        NewError: formConverterError with the component's label, or illegalComponent.
    """
    if not isinstance(given, list) or not given:
        raise NewError("invalidParameter", "formComponentValues 不能为空")
    if len(given) > MOST_FIELDS:
        raise NewError("invalidParameter", f"formComponentValues 最多 {MOST_FIELDS} 个")
    look = _Look(people, depts, approvals, strict)
    items, kept, seen = template.items, [], set()
    for one in given:
        item = component_of(items, one) if isinstance(one, dict) else None
        if item is None:
            raise NewError("formConverterError", f"表单控件不存在：{_shown(one)}")
        props = item["props"]
        if item["componentName"] == "TextNote":
            raise NewError("illegalComponent", f"控件 {props['label']} 不支持赋值")
        _string(one, props["label"])
        try:
            look.check(item, str(one["value"]))
        except _Wrong as wrong:
            raise NewError("formConverterError", f"控件 {props['label']} 校验失败：{wrong}") from wrong
        seen.add(props["id"])
        kept.append(
            {
                "id": props["id"], "name": props["label"], "value": one["value"], "extValue": one.get("extValue") or "",
                "componentType": item["componentName"], "bizAlias": props.get("bizAlias") or "",
            }
        )  # fmt: skip
    for item in settable(template):
        props = item["props"]
        filled = [one for one in kept if one["id"] == props["id"] and one["value"] not in ("", "[]")]
        if props.get("required") and not filled:
            raise NewError("formConverterError", f"控件 {props['label']} 为必填项")
    return kept


def _string(one: Mapping[str, Any], label: str) -> None:
    for name in ("value", "extValue"):
        value = one.get(name)
        if value is None and name == "extValue":
            continue
        if not isinstance(value, str):
            raise NewError("formConverterError", f"控件 {label} 的 {name} 必须为字符串")
        if len(value) > MOST_CHARS:
            raise NewError("formConverterError", f"控件 {label} 的 {name} 超过 {MOST_CHARS} 个字符")


def _shown(one: object) -> str:
    given = one if isinstance(one, dict) else {}
    return str(given.get("id") or given.get("bizAlias") or given.get("name") or "?")[:64]


class _Look:
    """Checks single values; the strict rules only when they are in force."""

    def __init__(self, people: Callable[[str], bool], depts: Callable[[int], bool],
                 approvals: Callable[[str], bool], strict: bool) -> None:  # fmt: skip
        self._people, self._depts, self._approvals, self._strict = people, depts, approvals, strict

    def check(self, item: Mapping[str, Any], value: str) -> None:
        """Raise _Wrong for a value the component does not take; an empty one is no value."""
        if value == "":
            return
        check = _CHECKS.get(item["componentName"])
        if check is None:
            raise _Wrong(f"不支持的控件类型 {item['componentName']}")
        check(self, item, value)

    def text(self, _item: Mapping[str, Any], _value: str) -> None:
        """Take any text."""

    def number(self, _item: Mapping[str, Any], value: str) -> None:
        """Take a decimal number."""
        if not _NUMBER.fullmatch(value):
            raise _Wrong("不是数字")

    def choice(self, item: Mapping[str, Any], value: str) -> None:
        """Take the text of an option."""
        if self._strict and value not in options_of(item):
            raise _Wrong(f"选项不存在：{value}")

    def choices(self, item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of options."""
        for one in _texts(value):
            self.choice(item, one)

    def date(self, item: Mapping[str, Any], value: str) -> None:
        """Take a day, or a day with a time where the template counts in hours."""
        if not _DATE.fullmatch(value):
            raise _Wrong("日期格式不正确")
        if " " in value and "HH" not in str(item["props"].get("format", "")):
            raise _Wrong("日期格式不正确")

    def dates(self, item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of two days."""
        found = _texts(value)
        if len(found) != 2:
            raise _Wrong("日期区间需要两个日期")
        for one in found:
            self.date(item, one)

    def photos(self, _item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of at most nine addresses."""
        found = _texts(value)
        if len(found) > 9 or any(not one.startswith(("http://", "https://", "@")) for one in found):
            raise _Wrong("图片地址不正确")

    def files(self, _item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of files with all five texts."""
        for one in _array(value):
            if not isinstance(one, dict) or any(not isinstance(one.get(name), str) for name in _ATTACHMENT):
                raise _Wrong("附件缺少 spaceId、fileName、fileSize、fileType 或 fileId")

    def contacts(self, _item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of active employees."""
        for one in _texts(value):
            if self._strict and not self._people(one):
                raise _Wrong(f"联系人不存在或已离职：{one}")

    def departments(self, _item: Mapping[str, Any], value: str) -> None:
        """Take ids with commas between them."""
        for one in value.split(","):
            if not one.strip().lstrip("-").isdecimal() or (self._strict and not self._depts(int(one))):
                raise _Wrong(f"部门不存在：{one}")

    def related(self, _item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of at most nine instances."""
        found = _texts(value)
        if len(found) > 9 or (self._strict and any(not self._approvals(one) for one in found)):
            raise _Wrong("关联审批单不存在")

    def stars(self, _item: Mapping[str, Any], value: str) -> None:
        """Take one to five."""
        if value not in tuple("012345"):
            raise _Wrong("评分不正确")

    def place(self, _item: Mapping[str, Any], value: str) -> None:
        """Take a JSON list of time, longitude, latitude, address, accuracy."""
        found = _array(value)
        if len(found) < 4 or not isinstance(found[0], str):
            raise _Wrong("时间地点不正确")

    def table(self, item: Mapping[str, Any], value: str) -> None:
        """Take rows of cells: a 2-D array (pitfall 18)."""
        rows = _array(value)
        if not all(isinstance(row, list) for row in rows):
            raise _Wrong("明细必须是二维数组")
        children = item.get("children") or []
        for row in rows:
            for cell in row:
                child = component_of(children, cell) if isinstance(cell, dict) else None
                if child is None or not isinstance(cell.get("value"), str):
                    raise _Wrong(f"明细子控件不存在：{_shown(cell)}")
                self.check(child, cell["value"])
            for child in _required(children):
                if not any(component_of([child], cell) and cell["value"] for cell in row):
                    raise _Wrong(f"子控件 {child['props']['label']} 为必填项")


def _required(children: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (child for child in children if child["props"].get("required"))


_CHECKS: Mapping[str, Callable[[_Look, Mapping[str, Any], str], None]] = {
    "TextField": _Look.text, "TextareaField": _Look.text, "NumberField": _Look.number, "MoneyField": _Look.number,
    "DDSelectField": _Look.choice, "DDMultiSelectField": _Look.choices, "DDDateField": _Look.date,
    "DDDateRangeField": _Look.dates, "PhoneField": _Look.text, "DDPhotoField": _Look.photos, "TableField": _Look.table,
    "DDAttachment": _Look.files, "InnerContactField": _Look.contacts, "DepartmentField": _Look.departments,
    "RelateField": _Look.related, "AddressField": _Look.text, "StarRatingField": _Look.stars,
    "TimeAndLocationField": _Look.place,
}  # fmt: skip


def _array(value: str) -> list[Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _Wrong("不是 JSON 数组") from error
    if not isinstance(found, list):
        raise _Wrong("不是 JSON 数组")
    return found


def _texts(value: str) -> list[str]:
    found = _array(value)
    if not all(isinstance(one, str) for one in found):
        raise _Wrong("不是字符串数组")
    return found
