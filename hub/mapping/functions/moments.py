"""Days and moments: with their zone, or refused."""

from __future__ import annotations

import datetime as dt
import functools
import re
import zoneinfo
from typing import Any, Final

from hub.mapping.functions.entry import KEYS, TEXT, Function, Unmappable, other, types
from hub.model.fields import store_date, store_instant

__all__ = ["MOMENTS"]

# A day as vendors send it: alone, or with a time of day that carries no zone and is left out.
_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?)?", re.ASCII)


def _date(value: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "a date")
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
        return other(value, "a moment")
    if _LOCAL.fullmatch(value):
        if offset is None:
            raise Unmappable("has no zone; name the site's, as in instant(x, '+08:00')")
        head, _, fraction = value.replace(" ", "T").partition(".")
        value = head + (f".{fraction[:6]}" if fraction else "") + offset
    return store_instant(value)


_OFFSET: Final = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d", re.ASCII)


@functools.lru_cache(maxsize=256)
def _zone(name: str) -> dt.tzinfo | None:
    """Return the zone of a name (Asia/Shanghai) or an offset (+08:00), None if there is none."""
    if _OFFSET.fullmatch(name):
        hours, minutes = int(name[1:3]), int(name[4:])
        return dt.timezone((-1 if name[0] == "-" else 1) * dt.timedelta(hours=hours, minutes=minutes))
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _known_zone(name: str) -> str:
    return (
        "" if _zone(name) else f"there is no zone {name[:40]!r}; write one such as Asia/Shanghai, or +08:00"
    )


def _day_in(value: Any, zone: str) -> Any:
    if value.__class__ is not str:
        return other(value, "a moment")
    moment = dt.datetime.fromisoformat(store_instant(value))
    return store_date(moment.astimezone(_zone(zone)).date().isoformat())


def _moment_in(value: Any, zone: str) -> Any:
    if value.__class__ is not str:
        return other(value, "a time of day without zone")
    if not _LOCAL.fullmatch(value):
        raise Unmappable("a time such as 2026-01-10 08:00:00, without zone, is expected")
    local, known = dt.datetime.fromisoformat(value), _zone(zone)
    first, second = (local.replace(tzinfo=known, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise Unmappable("there was no such time in this zone, or it came twice: clocks were set that night")
    return store_instant(first.isoformat())


_EXCEL_FIRST, _EXCEL_LAST = 61, 109_574
_EXCEL_EPOCH: Final = dt.date(1899, 12, 30)


def _excel_day(value: Any) -> Any:
    if value.__class__ is not int:
        return (
            other(value, "a serial number of Excel's")
            if value.__class__ is not float
            else _excel_day(_whole(value))
        )
    if not _EXCEL_FIRST <= value <= _EXCEL_LAST:
        raise Unmappable("is not a day in Excel's numbers: from 61 (1900-03-01) on, before 2200")
    return store_date((_EXCEL_EPOCH + dt.timedelta(value)).isoformat())


def _whole(value: float) -> int:
    if value != int(value):
        raise Unmappable("has a time of day: a whole number is expected")
    return int(value)


MOMENTS: Final = (
    Function("date", _date, (TEXT,), "text", "日期", "Calendar day", 'date("2026-01-10T00:00:00")', proves="date"),
    Function(
        "instant", _instant, (KEYS, TEXT), "text", "时间点", "Moment in UTC",
        'instant("2026-01-10T08:00:00", "+08:00")', optional=1, constant=(1,), proves="instant",
        because="kingdee.md 8.3, pitfall 16: site-local time without zone",
    ),
    Function(
        "day_in", _day_in, (TEXT, TEXT), "text", "某时区的日期", "Calendar day of a moment in a zone",
        'day_in("2026-01-09T16:30:00Z", "Asia/Shanghai")', constant=(1,), checks={1: _known_zone}, proves="date",
        because="kingdee.md 8.3: dates are the site's, moments are ours",
    ),
    Function(
        "excel_day", _excel_day, (types("number"),), "text", "Excel 日期序号", "Calendar day of Excel's serial number",
        "excel_day(45292)", proves="date", because="reliability.md M14: imported sheets",
    ),
    Function(
        "moment_in", _moment_in, (TEXT, TEXT), "text", "某时区的时间点", "Moment of a time that a site wrote without its zone",
        'moment_in("2026-01-10 08:00:00", "Asia/Shanghai")', constant=(1,), checks={1: _known_zone}, proves="instant",
        because="mailchimp.md, kingdee.md 8.3: zones with summer time",
    ),
)  # fmt: skip
"""Days and moments."""
