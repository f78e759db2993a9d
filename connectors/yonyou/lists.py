"""What every list and answer of YonBIP has in common: counts as texts, rows that may be missing, foreign rows (2.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.yonyou.outcomes import bad_answer
from connectors.yonyou.shape import id_of
from hub.sdk import Cause, IntegrityError

__all__ = ["change_time", "foreign", "objects_in", "paged", "vendor_id"]


def objects_in(value: object, what: str) -> list[Mapping[str, Any]]:
    """Return a list of objects. Raises TryAgain if it is none."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise bad_answer(f"YonBIP answered {what} of another shape than documented", read=True)
    return value


def paged(body: Mapping[str, Any], what: str) -> tuple[list[Mapping[str, Any]], int]:
    """Return the rows of a paged answer and the count of the whole list. Raises TryAgain for another shape."""
    data = body.get("data")
    if not isinstance(data, dict):
        raise bad_answer(f"YonBIP answered {what} without data", read=True)
    count = str(data.get("recordCount"))
    if not (count.isascii() and count.isdigit() and len(count) < 12):
        raise bad_answer(f"YonBIP answered {what} without recordCount", read=True)
    rows = data.get("recordList")
    return objects_in([] if rows is None else rows, what), int(count)


def vendor_id(row: Mapping[str, Any], what: str) -> str:
    """Return the id of a row. Raises TryAgain if it has none."""
    found = id_of(row.get("id"))
    if not found:
        raise bad_answer(f"YonBIP answered {what} without an id", read=True)
    return found


def change_time(row: Mapping[str, Any]) -> str:
    """Return ``pubts``, or what stands for it, as ``yyyy-MM-dd HH:mm:ss``; "" if there is none to rely on."""
    text = str(row.get("pubts") or row.get("modifyTime") or "")[:19].replace("T", " ")
    try:
        return datetime.fromisoformat(text).isoformat(" ", "seconds")
    except ValueError:
        return ""


def foreign(asked: Sequence[str] | str, shown: object, what: str) -> IntegrityError:
    """Return the error for an answer about another object than the one asked for."""
    return IntegrityError(Cause.FOREIGN, f"{what}: asked for {asked}, YonBIP showed {str(shown)[:60]}")
