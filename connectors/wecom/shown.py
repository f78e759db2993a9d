"""Values of form controls as an approval shows them, turned into plain ones (fact sheet 4.3, read column).

The answer pads each ``value`` with empty lists of other controls: the control's own name says what is read, never what
is there. A value that is not as documented stays as it came, for a person to see.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from connectors.wecom.relations import number
from connectors.wecom.templates import label_of
from hub.sdk import Json

__all__ = ["instant_text", "shown_form"]

LONGEST_OFFSET = 14


def shown_form(contents: object, zone: datetime.timezone) -> tuple[list[Json], dict[str, Json]]:
    """Return the controls of an approval as it holds them, and their values by id and by title.

    A title that stands twice names no value; ``extValue``: the whole value of a control whose plain one says less.
    """
    fields: list[Json] = []
    form: dict[str, Json] = {}
    titles: dict[str, list[Json]] = {}
    for one in contents if isinstance(contents, list) else ():
        if not isinstance(one, dict):
            continue
        kind, label, given = str(one.get("control") or ""), label_of(one.get("title")), one.get("value")
        value = _read(kind, given, zone)
        shown = {"id": one.get("id"), "name": label, "componentType": kind, "value": value}
        fields.append(
            {**shown, "extValue": given if kind in _MORE else None, "hidden": str(one.get("hidden")) == "1"}
        )
        if isinstance(one.get("id"), str) and one["id"]:
            form[one["id"]] = value
        titles.setdefault(label, []).append(value)
    return fields, {name: found[0] for name, found in titles.items() if name and len(found) == 1} | form


def instant_text(value: object, zone: datetime.timezone) -> Json:
    """Return unix seconds as a time with its offset; 0 and nothing are null, what cannot be read stays as it is."""
    seconds = number(value)
    if seconds in (None, "", 0) or isinstance(seconds, bool):
        return None
    if not isinstance(seconds, int):
        return str(seconds)[:64]
    try:
        return datetime.datetime.fromtimestamp(seconds, zone).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(seconds)


# ---------------------------------------------------------------------------------------------- the controls


def _read(kind: str, value: object, zone: datetime.timezone) -> Json:
    read = _READS.get(kind)
    if read is None or not isinstance(value, dict):
        return value  # type: ignore[return-value]  # decoded JSON
    try:
        return read(value, zone)
    except (KeyError, TypeError, AttributeError, ValueError):
        return value


def _named(name: str) -> Callable[[Mapping[str, Any], datetime.timezone], Json]:
    def read(value: Mapping[str, Any], _zone: datetime.timezone) -> Json:
        found = value.get(name)
        return None if found in (None, "") else str(found)

    return read


def _date(value: Mapping[str, Any], zone: datetime.timezone) -> Json:
    """Return a day or a moment; both the nested and the flat shape are live (UNCONFIRMED which)."""
    date = value["date"] if isinstance(value.get("date"), dict) and value["date"] else value
    at = instant_text(date.get("s_timestamp"), _zone_of(date, zone))
    return at[:10] if isinstance(at, str) and date.get("type") == "day" and "T" in at else at


def _zone_of(date: Mapping[str, Any], zone: datetime.timezone) -> datetime.timezone:
    """Return the zone a date was given in, where it says one ("-8"); else ours."""
    told = date.get("timezone_info")
    if not isinstance(told, dict):
        return zone
    try:
        hours = float(str(told.get("zone_offset")))
    except ValueError:
        return zone
    return datetime.timezone(datetime.timedelta(hours=hours)) if abs(hours) <= LONGEST_OFFSET else zone


def _selector(value: Mapping[str, Any], _zone: datetime.timezone) -> Json:
    selector = value["selector"]
    chosen: list[Json] = [label_of(one.get("value")) or str(one["key"]) for one in selector["options"]]
    if selector.get("type") == "multi":
        return chosen
    return chosen[0] if len(chosen) == 1 else chosen or None


def _contact(value: Mapping[str, Any], _zone: datetime.timezone) -> Json:
    """Return userids, or department ids: the one control has both modes, and the other list is the padding."""
    members: list[Json] = [str(one["userid"]) for one in value.get("members") or ()]
    return members or [str(one["openapi_id"]) for one in value.get("departments") or ()]


def _range(date_range: Mapping[str, Any], zone: datetime.timezone) -> Json:
    if not date_range:
        return None
    own = _zone_of(date_range, zone)
    return [instant_text(date_range["new_begin"], own), instant_text(date_range["new_end"], own)]


def _vacation(value: Mapping[str, Any], zone: datetime.timezone) -> Json:
    vacation = value["vacation"]
    period = _range(vacation["attendance"]["date_range"], zone)
    return {"type": _selector(vacation, zone), "range": period}


def _table(value: Mapping[str, Any], zone: datetime.timezone) -> Json:
    """Return the rows of a table, each by title and by id."""
    return [shown_form(row["list"], zone)[1] for row in value["children"] if isinstance(row, dict)]


def _related(value: Mapping[str, Any], _zone: datetime.timezone) -> Json:
    return [str(one["sp_no"]) for one in value["related_approval"]]


_READS: Mapping[str, Callable[[Mapping[str, Any], datetime.timezone], Json]] = {
    "Text": _named("text"),
    "Textarea": _named("text"),
    "Number": _named("new_number"),
    "Money": _named("new_money"),
    "Date": _date,
    "Selector": _selector,
    "Contact": _contact,
    "File": lambda value, _zone: list(value["files"]),
    "Table": _table,
    "DateRange": lambda value, zone: _range(value["date_range"], zone),
    "Vacation": _vacation,
    "Attendance": lambda value, zone: _range(value["attendance"]["date_range"], zone),
    "Location": lambda value, _zone: dict(value["location"]),
    "RelatedApproval": _related,
    "Formula": lambda value, _zone: _named("value")(value["formula"], _zone),
    "BankAccount": lambda value, _zone: dict(value["bank_account"]),
    "PunchCorrection": lambda value, _zone: dict(value["punch_correction"]),
    "Tips": lambda _value, _zone: None,
}
_MORE = frozenset(["DateRange", "Vacation", "Attendance", "RelatedApproval", "Selector"])
