"""Values of a form: what a submission may carry (4.3, write column), how it is kept, and how it is read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.rows import Template
from connectors.wecom.sandbox.templates import controls_of, kind_of, named, options_of, property_of, text_of
from hub.sdk.sandbox import Json

__all__ = ["MOST_FILES", "checked", "settable", "shown"]

MOST_FILES = 6
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)
HALF = 43_200
EAST = 28_800
"""Seconds by which the corp's clocks are ahead of UTC: half days are its own."""
SERVED = frozenset(["Tips", "Formula", "PunchCorrection"])
"""Controls nobody submits."""
PADDING = ("tips", "members", "departments", "files", "children", "stat_field")


def _bad(title: str, why: str) -> ErrcodeError:
    return ErrcodeError(301025, f"invalid parameter: control {title}: {why}")


def checked(corp: Corp, template: Template, contents: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return a form's values as they are kept; one entry for each control that has a value.

    Raises:
        ErrcodeError: 301025, the form does not fit the template.
    """
    kept = _kept(corp, template.controls, contents, "")
    files = [one for one in kept if one["control"] == "File"]
    for one in kept:
        for row in one["value"].get("children", ()):
            files += [cell for cell in row["list"] if cell["control"] == "File"]
    if sum(len(one["value"]["files"]) for one in files) > MOST_FILES:
        raise _bad("File", f"more than {MOST_FILES} attachments")
    return kept


def _kept(
    corp: Corp, controls: list[dict[str, Json]], contents: list[dict[str, Json]], under: str
) -> list[dict[str, Json]]:
    given = _given(controls, contents)
    kept = []
    for control in controls:
        said, kind = property_of(control), kind_of(control)
        title, here = under + text_of(said["title"]), given.get(str(said["id"]))
        if kind in SERVED:
            if here is not None:
                raise _bad(title, f"a {kind} cannot be submitted")
            kept += [_entry(control, {"formula": {"value": "5.0"}})] if kind == "Formula" else []
            continue
        if here is None:
            if under:
                raise _bad(title, "every control of a row must be present")
            if said["require"]:
                raise _bad(title, "is required")
            continue
        if not _is_empty(kind, here["value"]):
            kept.append(_entry(control, _TAKES[kind](corp, control, here["value"], title)))
        elif said["require"]:
            raise _bad(title, "is required")
        elif under:
            kept.append(_entry(control, here["value"]))
    return kept


def _given(controls: list[dict[str, Json]], contents: list[dict[str, Json]]) -> dict[str, dict[str, Json]]:
    """Return the entries of a submission by the id of their control."""
    given: dict[str, dict[str, Json]] = {}
    for one in contents:
        id_ = str(one.get("id"))
        known = next((control for control in controls if property_of(control)["id"] == id_), None)
        if known is None:
            raise _bad(id_, "is not in the template")
        if one.get("control") != kind_of(known):
            raise _bad(id_, f"is a {kind_of(known)}")
        if id_ in given or not isinstance(one.get("value"), dict):
            raise _bad(id_, "stands twice, or has no value object")
        given[id_] = one
    return given


def _entry(control: Mapping[str, Json], value: Mapping[str, Json]) -> dict[str, Json]:
    said = property_of(control)
    return {"control": said["control"], "id": said["id"], "title": said["title"], "value": dict(value)}


def _is_empty(kind: str, value: Mapping[str, Json]) -> bool:
    """Tell whether a value says nothing: the control's own part is absent or empty."""
    part = value.get(PARTS.get(kind, ""))
    if kind == "Contact":
        part = value.get("members") or value.get("departments")
    if kind == "Selector":
        part = (part or {}).get("options")
    return part in (None, "", [], {})


# ---------------------------------------------------------------------------------------------- the controls


def _text(_: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    text = value["text"]
    if not isinstance(text, str) or (kind_of(control) == "Text" and "\n" in text):
        raise _bad(title, "text must be a text, of one line in a Text")
    return {"text": text}


def _figure(_: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    name = PARTS[kind_of(control)]
    if not isinstance(value[name], str) or not NUMBER.fullmatch(value[name]):
        raise _bad(title, f"{name} must be a number in a string")
    return {name: value[name]}


def _date(_: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    date = value["date"]
    wanted = control["config"]["date"]["type"]
    if not isinstance(date, dict) or date.get("type") != wanted:
        raise _bad(title, f"date.type must be {wanted}")
    if not isinstance(date.get("s_timestamp"), str) or not SECONDS.fullmatch(date["s_timestamp"]):
        raise _bad(title, "s_timestamp must be seconds in a string")
    return {"date": {"type": wanted, "s_timestamp": date["s_timestamp"]}}


def _selector(_: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    return {"selector": _chosen(control, value["selector"], title)}


def _chosen(control: Mapping[str, Json], selector: Json, title: str) -> dict[str, Json]:
    known = dict(options_of(control))
    wanted = control["config"].get("selector", {}).get("type", "single")
    rows = selector.get("options") if isinstance(selector, dict) else None
    if (
        not isinstance(rows, list)
        or selector.get("type") != wanted
        or (wanted == "single" and len(rows) != 1)
    ):
        raise _bad(title, f"selector must be {wanted} with options")
    keys = [str(row.get("key")) for row in rows if isinstance(row, dict)]
    for key in keys:
        if key not in known:
            raise _bad(title, f"no option {key[:40]}")
    return {"type": wanted, "options": [{"key": key, "value": known[key]} for key in keys]}


def _contact(
    corp: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str
) -> dict[str, Json]:
    config = control["config"]["contact"]
    name, key = ("members", "userid") if config["mode"] == "user" else ("departments", "openapi_id")
    rows = value.get(name)
    if not isinstance(rows, list) or (config["type"] == "single" and len(rows) > 1):
        raise _bad(title, f"{name} must be a list, of one in a single")
    for row in rows:
        if not isinstance(row.get(key), str) or not isinstance(row.get("name"), str):
            raise _bad(title, f"{key} and name must be texts")
        there = corp.member(row[key]) if key == "userid" else corp.departments.get(int(row[key]))
        if there is None or getattr(there, "status", 1) == 5:
            raise _bad(title, f"no {key} {row[key][:40]}")
    return {name: [{key: row[key], "name": row["name"]} for row in rows]}


def _files(_: Corp, _control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    rows = value["files"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("file_id") for row in rows):
        raise _bad(title, "each file has a file_id")
    return {"files": [dict(row) for row in rows]}


def _table(corp: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    rows = value["children"]
    children = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("list"), list):
            raise _bad(title, "children are rows with a list")
        children.append({"list": _kept(corp, controls_of(control), row["list"], f"{title}[{number}].")})
    return {"children": children}


def _range(date_range: Json, wanted: str, title: str) -> dict[str, Json]:
    if not isinstance(date_range, dict) or date_range.get("type") != wanted:
        raise _bad(title, f"date_range.type must be {wanted}")
    times = [date_range.get(name) for name in ("new_begin", "new_end", "new_duration")]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in times):
        raise _bad(title, "new_begin, new_end and new_duration are integers")
    begin, end, duration = (int(str(one)) for one in times)
    if end < begin or duration < end - begin:
        raise _bad(title, "the range does not hang together")
    if wanted == "halfday" and any((one + EAST) % HALF for one in (begin, end)):
        raise _bad(title, "half days begin at 00:00 or 12:00")
    return {"type": wanted, "new_begin": begin, "new_end": end, "new_duration": duration}


def _date_range(
    _: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str
) -> dict[str, Json]:
    return {"date_range": _range(value["date_range"], control["config"]["date_range"]["type"], title)}


def _vacation(_: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    vacation = value["vacation"]
    attendance = vacation.get("attendance") or {}
    if attendance.get("type") != 1:
        raise _bad(title, "attendance.type of a leave is 1")
    given = attendance.get("date_range") or {}
    period = _range(given, "hour" if given.get("type") == "hour" else "halfday", title)
    chosen = _chosen(control, vacation.get("selector"), title)
    return {"vacation": {"selector": chosen, "attendance": {"date_range": period, "type": 1}}}


def _attendance(
    _: Corp, control: Mapping[str, Json], value: Mapping[str, Json], title: str
) -> dict[str, Json]:
    attendance, config = value["attendance"], control["config"]["attendance"]
    if attendance.get("type") != config["type"]:
        raise _bad(title, f"attendance.type must be {config['type']}")
    period = _range(attendance.get("date_range"), config["date_range"]["type"], title)
    slices = {"day_items": [], "duration": period["new_duration"], "state": 1}
    return {"attendance": {"date_range": period, "type": config["type"], "slice_info": slices}}


def _location(
    _: Corp, _control: Mapping[str, Json], value: Mapping[str, Json], title: str
) -> dict[str, Json]:
    place = value["location"]
    texts = [place.get(name) for name in ("latitude", "longitude", "title", "address")]
    if not all(isinstance(one, str) and one for one in texts) or not isinstance(place.get("time"), int):
        raise _bad(title, "latitude, longitude, title and address are texts, time is an integer")
    return {"location": dict(place)}


def _related(
    corp: Corp, _control: Mapping[str, Json], value: Mapping[str, Json], title: str
) -> dict[str, Json]:
    rows = []
    for row in value["related_approval"]:
        form = corp.forms.get(str(row.get("sp_no")))
        if form is None:
            raise _bad(title, f"no approval {str(row.get('sp_no'))[:40]}")
        rows.append({
            "template_names": [{"text": form.sp_name, "lang": "zh_CN"}], "sp_status": form.sp_status, "name": form.sp_name,
            "create_time": form.apply_time, "sp_no": form.sp_no,
        })  # fmt: skip
    return {"related_approval": rows}


def _bank(_: Corp, _control: Mapping[str, Json], value: Mapping[str, Json], title: str) -> dict[str, Json]:
    account = value["bank_account"]
    if account.get("account_type") not in (1, 2) or not account.get("account_number"):
        raise _bad(title, "account_type 1 or 2 and account_number")
    return {"bank_account": dict(account)}


PARTS = {
    "Text": "text", "Textarea": "text", "Number": "new_number", "Money": "new_money", "Date": "date", "Selector": "selector",
    "File": "files", "Table": "children", "DateRange": "date_range", "Vacation": "vacation", "Attendance": "attendance",
    "Location": "location", "RelatedApproval": "related_approval", "BankAccount": "bank_account", "Formula": "formula",
}  # fmt: skip
Taker = Callable[[Corp, Mapping[str, Json], Mapping[str, Json], str], dict[str, Json]]
_TAKES: Mapping[str, Taker] = {
    "Text": _text, "Textarea": _text, "Number": _figure, "Money": _figure, "Date": _date, "Selector": _selector,
    "Contact": _contact, "File": _files, "Table": _table, "DateRange": _date_range, "Vacation": _vacation,
    "Attendance": _attendance, "Location": _location, "RelatedApproval": _related, "BankAccount": _bank,
}  # fmt: skip


def settable(template: Template, values: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return what a person filled in, by title or id: a text for the simple controls, else the value as the API has it.

    Raises:
        ErrcodeError: 301025, no such control or option.
    """
    contents = []
    for name, value in values.items():
        control = named(template.controls, name)
        if control is None:
            raise _bad(name, "is not in the template")
        contents.append(_entry(control, _typed(control, value) if isinstance(value, str) else value))
    return contents


def _typed(control: Mapping[str, Json], text: str) -> dict[str, Json]:
    """Return the value of a text that was typed, or of an option that was clicked on."""
    kind = kind_of(control)
    if kind != "Selector":
        return {PARTS[kind]: text}
    keys = [key for key, texts in options_of(control) if text_of(texts) == text]
    options = [{"key": key} for key in keys or [text]]
    return {"selector": {"type": control["config"]["selector"]["type"], "options": options}}


def shown(contents: list[dict[str, Json]], *, date_shape: str) -> list[dict[str, Json]]:
    """Return the values as ``getapprovaldetail`` shows them: padded with what belongs to other controls (4.2)."""
    rows = []
    for one in contents:
        value = dict(one["value"])
        if one["control"] == "Date" and date_shape == "flat" and value.get("date"):
            value = dict(value["date"])
        if one["control"] == "Table":
            value["children"] = [
                {"list": shown(row["list"], date_shape=date_shape)} for row in value["children"]
            ]
        rows.append({**one, "value": {**{name: [] for name in PADDING}, **value}})
    return rows
