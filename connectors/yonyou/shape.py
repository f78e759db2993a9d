"""Between the hub's values and YonBIP's: exact amounts, times without a zone, ids that are numbers or texts (2.0)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hub.sdk import Cause, InvalidMoney, Json, Refused, amount_text, company_key, parse_amount

__all__ = ["Shape", "id_of", "leaves", "rows_of", "same_name", "value_at", "wire_id"]


def id_of(value: object) -> str:
    """Return an id as text: 16 to 19 digits that come as a number or as a text; "" if it is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    return text if text.isascii() and text.isdigit() and len(text) <= 40 else ""


def wire_id(one: str) -> int | str:
    """Return an id as YonBIP takes it: a number, or what is none as it stands (it will not be found)."""
    return int(one) if one.isascii() and one.isdigit() and len(one) < 20 else one


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """Return the value at a dotted name, None where nothing lies."""
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def leaves(values: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    """Yield (dotted name, value) of an object's single values; lists are left out."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            yield prefix + key, value


def rows_of(payload: Mapping[str, Json], table: str) -> Sequence[Mapping[str, Json]]:
    """Return the rows a payload gives for a sub-table. Raises Refused if it is no list of objects."""
    rows = payload.get(table) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(f"{table} is not a list of rows", cause=Cause.BUG, vendor="yonyou", field=table)
    return rows  # type: ignore[return-value]  # just checked


def same_name(ours: Json, theirs: Any) -> bool:
    """Say whether two texts name the same company."""
    try:
        return company_key(str(ours)) == company_key(str(theirs))
    except ValueError:  # no name at all, only signs
        return str(ours).strip() == str(theirs).strip()


class Shape:
    """Converts for one object at one tenant."""

    def __init__(self, written: Mapping[str, str], read: Mapping[str, str], hours: float) -> None:
        """``written``, ``read``: field -> type. ``hours``: offset of the tenant's times to UTC (UNCONFIRMED, 2.0)."""
        self.zone = timezone(timedelta(hours=hours))
        self._written = written
        self._plan = [(name, name.split("."), _READERS[kind]) for name, kind in read.items()]

    def body(self, row: Mapping[str, Any]) -> dict[str, Json]:
        """Return a record's body with every declared field, null where the vendor sent none or none of its kind."""
        body: dict[str, Json] = {}
        for name, path, read in self._plan:
            value = value_at(row, name)
            shown = None if _blank(value) or isinstance(value, Mapping | list) else read(self, value)
            inner = body
            for part in path[:-1]:
                deeper = inner.setdefault(part, {})
                assert isinstance(deeper, dict)
                inner = deeper
            inner[path[-1]] = shown
        return body

    def model(self, payload: Mapping[str, Json], *, nulls: bool) -> dict[str, Any]:
        """Return the payload as YonBIP takes it. ``nulls``: keep them, for a null clears a field of an update (2.0).

        Raises:
            Refused: a value is not of its field's type.
        """
        return self._object(payload, "", nulls=nulls)

    def _object(self, values: Mapping[str, Json], prefix: str, *, nulls: bool) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in values.items():
            full = prefix + name
            if isinstance(value, dict):
                inner = self._object(value, f"{full}.", nulls=nulls)
                if inner:
                    made[name] = inner
            elif isinstance(value, list):
                made[name] = [
                    self._object(row, f"{full}[].", nulls=False) for row in rows_of({name: value}, name)
                ]
            elif value is not None or nulls:
                made[name] = self._sent(full, value)
        return made

    def _sent(self, name: str, value: Json) -> Any:
        kind = self._written.get(name, "text")
        if value is None:
            return None
        try:
            if kind == "decimal":
                return _exact(value)  # the client writes it digit by digit
            if kind == "date":
                return f"{datetime.fromisoformat(str(value)[:10]).date()} 00:00:00"
        except (InvalidMoney, ValueError) as error:
            raise Refused(f"{name} {error}", cause=Cause.INVALID, vendor="yonyou", field=name) from error
        return value

    def same(self, name: str, sent: Json, stored: Any) -> bool:
        """Say whether a stored value is the one that was sent, whatever YonBIP did to its form."""
        kind = self._written.get(name, "text")
        if _blank(sent) or _blank(stored):
            return _blank(sent) and _blank(stored)
        if kind == "flag":
            return _flag(sent) == _flag(stored)
        if kind == "date":
            return str(sent)[:10] == str(stored)[:10]
        if kind == "decimal":
            try:
                return _exact(sent) == _exact(stored)
            except InvalidMoney:
                return False
        return str(sent).strip() == str(stored).strip()

    def same_row(self, table: str, sent: Mapping[str, Json], stored: Mapping[str, Any]) -> bool:
        """Say whether a stored row holds everything that a row sent says."""
        return all(
            self.same(f"{table}[].{name}", value, value_at(stored, name))
            for name, value in leaves(sent)
            if value is not None
        )

    def moment(self, text: object) -> datetime | None:
        """Return a time of the tenant in UTC, None if it is none."""
        try:
            found = datetime.fromisoformat(str(text))
        except ValueError:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=self.zone)).astimezone(UTC)

    def _instant(self, value: Any) -> Json:
        found = self.moment(value)
        if found is None:
            return str(value)  # shown as it is: a mapping that needs it stops there, with its name
        return found.isoformat(timespec="microseconds" if found.microsecond else "seconds").replace(
            "+00:00", "Z"
        )


def _text(_: Shape, value: Any) -> Json:
    return str(value)


def _integer(_: Shape, value: Any) -> Json:
    text = str(value).strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else text


def _decimal(_: Shape, value: Any) -> Json:
    try:
        return amount_text(_exact(value))
    except InvalidMoney:
        return str(value)


def _date(_: Shape, value: Any) -> Json:
    return str(value)[:10]


def _flag_of(_: Shape, value: Any) -> Json:
    return _flag(value)


_READERS: Mapping[str, Callable[[Shape, Any], Json]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "date": _date,
    "instant": Shape._instant,  # noqa: SLF001 - its own table
    "flag": _flag_of,
}


def _flag(value: Any) -> bool:
    """Return a flag that comes as true, 1, "1" or "true" (2.0: types drift)."""
    return str(value).strip().lower() in ("true", "1")


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _exact(value: Any) -> Decimal:
    return parse_amount(Decimal(repr(value)) if isinstance(value, float) else value)
