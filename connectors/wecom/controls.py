"""Values of form controls on their way out: each control has its own shape on the wire (fact sheet 4.3, write column).

A value is held against the live form before anything is sent: what WeCom would answer with 301025, which names
nothing, is refused here by the title people see.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.wecom.templates import Control, Template, meant
from hub.sdk import Cause, InvalidMoney, Json, Refused, parse_amount

__all__ = ["KINDS", "Names", "Writing", "form_values", "named_in"]

MOST_FILES = 6
"""Attachments of a whole form."""
SERVED = frozenset(["Tips", "Formula"])
"""Controls the server fills, required or not."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ESCAPED = re.compile(r"[\x00-\x07\x0b\x0e-\x1f]")
"""What JSON carries only as ``\\uXXXX``, which WeCom refuses (40033)."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of who is named in a form: userid -> name, department id -> name."""

    people: Mapping[str, str] = field(default_factory=dict)
    departments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Writing:
    """What values are written with. ``bank_account``: send one in the shape it is read in (UNCONFIRMED)."""

    zone: datetime.timezone
    names: Names
    bank_account: bool = False


class _Wrong(Exception):
    """A value cannot be put into a control; the text says why."""


def form_values(template: Template, form: Mapping[str, Json], writing: Writing) -> list[dict[str, Any]]:
    """Return ``apply_data.contents`` for a form given by id or title; an absent value is not sent.

    Raises:
        Refused: a field the form does not have or has twice, an option it does not know, a required one that is missing,
            a value that does not fit; ``field`` is the title, in a table ``title[row].title``.
    """
    values = _filled(template.controls, form, writing, "")
    files = sum(len(one["value"]["files"]) for one in _flat(values) if one["control"] == "File")
    if files > MOST_FILES:
        label = next(one.label for one in _all(template.controls) if one.kind == "File")
        raise _refused(
            f"{label}: {files} 个附件，整张表单最多 {MOST_FILES} 个 / {files} files, a form takes {MOST_FILES}",
            label,
        )
    return values


def named_in(template: Template, form: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    """Give (title, "user" or "department", id) of everybody a form's contact controls name, tables included."""
    return _named(template.controls, form, "")


def _named(
    controls: Sequence[Control], form: Mapping[str, Json], under: str
) -> Iterator[tuple[str, str, str]]:
    for name, value in form.items():
        for control in meant(controls, name)[:1]:
            label = under + control.label
            if control.kind == "Contact":
                for one in _many(value):
                    if one not in (None, ""):
                        yield label, control.mode or "user", str(one)
            elif control.kind == "Table":
                for row_number, row in enumerate(_many(value), start=1):
                    if isinstance(row, dict):
                        yield from _named(control.children, row, f"{label}[{row_number}].")


# ------------------------------------------------------------------------------------------------- one form


def _filled(
    controls: Sequence[Control],
    form: Mapping[str, Json],
    writing: Writing,
    under: str,
    *,
    whole: bool = False,
) -> list[dict[str, Any]]:
    """Return the values of one form, or with ``whole`` of one row of a table: then empty ones stand there too."""
    given: dict[str, Json] = {}
    for name, value in form.items():
        given[_one(controls, name, under).id] = value
    values = []
    for control in controls:
        label, value = under + control.label, given.get(control.id)
        empty = value is None or value in ("", [])
        if empty and control.required and control.kind not in SERVED:
            text = f"必填项“{label}”没有值 / the required field {label} has no value"
            raise Refused(text, cause=Cause.MISSING_FIELD, vendor="wecom", field=label)
        if not empty:
            values.append(_sent(control, value, writing, label))
        elif whole and control.kind in _EMPTY:
            values.append(
                _row(control, _EMPTY_DEPARTMENT if control.mode == "department" else _EMPTY[control.kind])
            )
    return values


def _one(controls: Sequence[Control], name: str, under: str) -> Control:
    found = meant(controls, name)
    if not found:
        known = "、".join(one.label for one in controls)
        raise _refused(
            f"表单没有控件“{name}” / the form has no field {name!r}; it has: {known}", under + name
        )
    if len(found) > 1:
        ids = "、".join(one.id for one in found)
        text = (
            f"表单有多个控件“{name}”，请用控件 id / the form has several fields {name!r}, use the id: {ids}"
        )
        raise _refused(text, under + name)
    return found[0]


def _sent(control: Control, value: Json, writing: Writing, label: str) -> dict[str, Any]:
    try:
        if control.kind == "Table":
            return _row(control, _table(control, value, writing, label))
        write = _WRITES.get(control.kind)
        if write is None:
            raise _Wrong(
                f"控件类型 {control.kind} 不能由接口填写 / a {control.kind} control cannot be filled by the API"
            )
        return _row(control, write(control, value, writing))
    except _Wrong as wrong:
        raise _refused(f"{label}: {wrong}", label) from None


def _row(control: Control, value: Mapping[str, Any]) -> dict[str, Any]:
    title = [{"text": control.label, "lang": "zh_CN"}]
    return {"control": control.kind, "id": control.id, "title": title, "value": dict(value)}


def _table(control: Control, value: Json, writing: Writing, label: str) -> dict[str, Any]:
    children = []
    for row_number, row in enumerate(_many(value), start=1):
        if not isinstance(row, dict):
            raise _Wrong(f"第 {row_number} 行不是一组字段 / row {row_number} is no row of fields")
        filled = _filled(control.children, row, writing, f"{label}[{row_number}].", whole=True)
        children.append({"list": filled})
    return {"children": children}


# ---------------------------------------------------------------------------------------------- the controls


def _plain(value: Json) -> str:
    if isinstance(value, bool | list | dict) or value is None:
        raise _Wrong("应为文本 / a text is expected")
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")
    if _ESCAPED.search(text):
        raise _Wrong("含有企业微信不接受的控制字符 / holds a control character, which WeCom does not take")
    return text


def _text(_control: Control, value: Json, _writing: Writing) -> dict[str, Any]:
    text = _plain(value)
    if "\n" in text:
        raise _Wrong(
            "单行文本不能换行，请改用多行文本控件 / a Text takes no line breaks, a Textarea does (4.3)"
        )
    return {"text": text}


def _lines(_control: Control, value: Json, _writing: Writing) -> dict[str, Any]:
    return {"text": _plain(value)}


def _amount(value: Json) -> str:
    try:
        return f"{parse_amount(_plain(value)):f}"
    except InvalidMoney as error:
        raise _Wrong(f"应为数字 / a number is expected ({error})") from None


def _selector(control: Control, value: Json, _writing: Writing) -> dict[str, Any]:
    keys = [_option(control, one) for one in _many(value)]
    if control.type != "multi" and len(keys) > 1:
        raise _Wrong("只能选一项 / takes one option alone")
    return {"selector": {"type": control.type or "single", "options": [{"key": key} for key in keys]}}


def _option(control: Control, value: Json) -> str:
    """Return the key of an option given by key or text."""
    text = _plain(value)
    if any(key == text for key, _ in control.options):
        return text
    keys = [key for key, texts in control.options if text in texts]
    if len(keys) != 1:
        known = "、".join(texts[0] if texts else key for key, texts in control.options)
        raise _Wrong(f"没有选项“{text}” / it has no option {text!r}; it has: {known}")
    return keys[0]


def _contact(control: Control, value: Json, writing: Writing) -> dict[str, Any]:
    ids = [_plain(one) for one in _many(value)]
    if control.type != "multi" and len(ids) > 1:
        raise _Wrong("只能选一个 / takes one alone")
    if control.mode == "department":
        names = writing.names.departments
        return {"departments": [{"openapi_id": one, "name": names.get(one, one)} for one in ids]}
    return {"members": [{"userid": one, "name": writing.names.people.get(one, one)} for one in ids]}


def _moment(value: Json, zone: datetime.timezone) -> datetime.datetime:
    text = _plain(value).strip()
    try:
        if _DAY.fullmatch(text):
            return datetime.datetime.combine(datetime.date.fromisoformat(text), datetime.time(), zone)
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise _Wrong(
            f"{text[:40]!r} 不是日期，如 2026-08-17 或 2026-08-17T10:00 / is no date or time"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _date(control: Control, value: Json, writing: Writing) -> dict[str, Any]:
    at = _moment(value, writing.zone)
    kind = "hour" if control.type == "hour" else "day"
    if kind == "day":
        at = at.astimezone(writing.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"date": {"type": kind, "s_timestamp": str(int(at.timestamp()))}}


HALF = 43_200


def _range(control: Control, value: Json, zone: datetime.timezone) -> dict[str, Any]:
    """Return a date_range of [begin, end]; half days are both counted, so a day is from its 00:00 to its 12:00."""
    given = _many(value)
    if len(given) != 2:
        raise _Wrong("应为开始和结束两个时间 / begin and end are expected")
    begin, end = (_moment(one, zone) for one in given)
    halves = all(at.astimezone(zone).time() in (datetime.time(), datetime.time(12)) for at in (begin, end))
    kind = control.type or ("halfday" if halves else "hour")
    if kind == "halfday" and not halves:
        raise _Wrong("半天只能是 00:00 或 12:00 / a half day begins and ends at 00:00 or 12:00")
    first, last = int(begin.timestamp()), int(end.timestamp())
    if last < first:
        raise _Wrong("结束早于开始 / the end is before the begin")
    duration = last - first + (HALF if kind == "halfday" else 0)
    return {"type": kind, "new_begin": first, "new_end": last, "new_duration": duration}


def _ranged(control: Control, value: Json, writing: Writing) -> dict[str, Any]:
    return {"date_range": _range(control, value, writing.zone)}


def _vacation(control: Control, value: Json, writing: Writing) -> dict[str, Any]:
    given = _object(value, ("type", "range"))
    key = _option(control, given["type"])
    return {
        "vacation": {
            "selector": {"type": "single", "options": [{"key": key}]},
            "attendance": {"date_range": _range(control, given["range"], writing.zone), "type": 1},
        }
    }


def _attendance(control: Control, value: Json, writing: Writing) -> dict[str, Any]:
    return {
        "attendance": {"date_range": _range(control, value, writing.zone), "type": control.attendance or 1}
    }


def _files(_control: Control, value: Json, _writing: Writing) -> dict[str, Any]:
    """Return temporary media ids, bare or with what else is known of the file."""
    files = []
    for one in _many(value):
        given = one if isinstance(one, dict) else {"file_id": one}
        if not given.get("file_id"):
            raise _Wrong("附件需要 file_id（临时素材 media_id） / a file needs file_id, a temporary media_id")
        names = ("file_id", "file_name", "file_size", "file_type", "file_url")
        files.append({name: given[name] for name in names if given.get(name) not in (None, "")})
    return {"files": files}


def _place(_control: Control, value: Json, _writing: Writing) -> dict[str, Any]:
    given = _object(value, ("latitude", "longitude", "title", "address", "time"))
    at = given["time"]
    if isinstance(at, bool) or not str(at).isascii() or not str(at).isdigit():
        raise _Wrong("time 应为 unix 秒 / time is a number of unix seconds")
    shown = {name: _plain(given[name]) for name in ("latitude", "longitude", "title", "address")}
    return {"location": {**shown, "time": int(str(at))}}


def _related(_control: Control, value: Json, _writing: Writing) -> dict[str, Any]:
    return {"related_approval": [{"sp_no": _plain(one)} for one in _many(value)]}


def _bank(_control: Control, value: Json, writing: Writing) -> dict[str, Any]:
    if not writing.bank_account:
        raise _Wrong(
            "企业微信没有公开收款账户的提交格式；确认后打开设置 send_bank_account / WeCom documents no shape for a bank account; "
            "switch send_bank_account on once it is confirmed"
        )
    return {"bank_account": dict(_object(value, ("account_type", "account_name", "account_number")))}


def _object(value: Json, needed: Sequence[str]) -> Mapping[str, Json]:
    if not isinstance(value, dict) or any(value.get(name) in (None, "") for name in needed):
        raise _Wrong(f"需要 {'、'.join(needed)} / {', '.join(needed)} are needed")
    return value


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _all(controls: Sequence[Control]) -> Iterator[Control]:
    for one in controls:
        yield one
        yield from one.children


def _flat(values: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in values:
        yield one
        for row in one["value"].get("children", ()):
            yield from row["list"]


_WRITES: Mapping[str, Callable[[Control, Json, Writing], dict[str, Any]]] = {
    "Text": _text,
    "Textarea": _lines,
    "Number": lambda _control, value, _writing: {"new_number": _amount(value)},
    "Money": lambda _control, value, _writing: {"new_money": _amount(value)},
    "Date": _date,
    "Selector": _selector,
    "Contact": _contact,
    "File": _files,
    "DateRange": _ranged,
    "Vacation": _vacation,
    "Attendance": _attendance,
    "Location": _place,
    "RelatedApproval": _related,
    "BankAccount": _bank,
}
KINDS = ("Table", *_WRITES)
"""Every control that can be filled; a table's rows are made of the others."""
_EMPTY: Mapping[str, Mapping[str, Any]] = {
    "Text": {"text": ""}, "Textarea": {"text": ""}, "Number": {"new_number": ""}, "Money": {"new_money": ""},
    "Date": {"date": {}}, "Selector": {"selector": {"options": []}}, "Contact": {"members": []}, "File": {"files": []},
    "RelatedApproval": {"related_approval": []}, "DateRange": {"date_range": {}}, "Location": {"location": {}},
}  # fmt: skip
"""What a control of a row says that has no value: every control of each row is present (4.3)."""
_EMPTY_DEPARTMENT: Mapping[str, Any] = {"departments": []}
"""The same of a Contact that takes departments."""


def _refused(message: str, label: str) -> Refused:
    return Refused(message, cause=Cause.INVALID, vendor="wecom", field=label)
