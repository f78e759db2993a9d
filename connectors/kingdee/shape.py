"""Between the hub's values and Kingdee's: a payload becomes a Model, a row of a query a record's body.

Kingdee has no zone in its times (2.6), shows an empty text as blanks and wants numbers for amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import orjson

from connectors.kingdee.objects import Form
from hub.sdk import Cause, InvalidMoney, Json, Refused, amount_text, parse_amount

__all__ = ["Shape", "leaves", "rows_of"]


class Shape:
    """Converts for one form at one site. ``hours``: the site's offset to UTC."""

    def __init__(self, form: Form, hours: float) -> None:
        """Prepare the columns of a read."""
        self.form = form
        self.zone = timezone(timedelta(hours=hours))
        self.columns = tuple(form.read)
        self._types = {name.casefold(): kind for name, kind in (form.written | form.read).items()}
        self._plan = [(name.split("."), self._readers[kind]) for name, kind in form.read.items()]

    def body(self, row: Mapping[str, Any]) -> dict[str, Json]:
        """Return a record's body, nested where its field names are dotted."""
        body: dict[str, Json] = {}
        for name, (path, read) in zip(self.columns, self._plan, strict=True):
            value = read(self, row[name])
            if len(path) == 1:
                body[name] = value
            else:
                inner = body.setdefault(path[0], {})
                assert isinstance(inner, dict)
                inner[path[1]] = value
        return body

    def model(self, payload: Mapping[str, Json], *, create: bool) -> dict[str, Any]:
        """Return the payload as a Model, in its order (2.3: order matters); empty fields of a create are left out.

        Raises:
            Refused: a value is not of its field's type.
        """
        model: dict[str, Any] = {}
        for name, value in payload.items():
            if isinstance(value, list):
                model[name] = [
                    {key: self._sent(f"{name}[].{key}", inner) for key, inner in row.items()}
                    for row in rows_of(payload, name)
                ]
                continue
            if create and (value is None or (isinstance(value, dict) and set(value.values()) <= {None})):
                continue
            model[name] = self._sent(name, value)
        return model

    def _sent(self, name: str, value: Json) -> Any:
        if isinstance(value, dict):
            return {key: self._sent(f"{name}.{key}", inner) for key, inner in value.items()}
        kind = self._types.get(name.casefold())
        try:
            if kind == "text":
                return "" if value is None else value  # a null does not clear a text, an empty one does
            if kind == "decimal" and value is not None:
                return orjson.Fragment(amount_text(_exact(value)).encode())  # exact: never through a float
            if kind == "instant" and isinstance(value, str):
                moment = datetime.fromisoformat(value)
                return moment.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")
        except (InvalidMoney, ValueError) as error:
            raise Refused(f"{name} {error}", cause=Cause.INVALID, vendor="kingdee", field=name) from error
        return value

    def same(self, name: str, sent: Json, stored: Any) -> bool:
        """Say whether a stored value is the one that was sent, whatever Kingdee did to its form."""
        kind = self._types.get(name.casefold(), "text")
        if _blank(sent) or _blank(stored):
            return _blank(sent) and _blank(stored)
        try:
            if kind == "decimal":
                return _exact(sent) == _exact(stored)
            if kind == "instant":
                return _moment(str(sent), self.zone) == _moment(str(stored), self.zone)
        except (InvalidMoney, ValueError):
            return False
        if kind == "date":
            return str(sent)[:10] == str(stored)[:10]
        return str(sent).strip() == str(stored).strip()

    def _text(self, value: Any) -> Json:
        return None if value is None or not str(value).strip() else str(value)

    def _integer(self, value: Any) -> Json:
        return None if _blank(value) else int(value)

    def _decimal(self, value: Any) -> Json:
        return None if _blank(value) else amount_text(_exact(value))

    def _date(self, value: Any) -> Json:
        return None if _blank(value) else str(value)[:10]

    def _instant(self, value: Any) -> Json:
        if _blank(value):
            return None
        moment = _moment(str(value), self.zone).astimezone(UTC)
        return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace(
            "+00:00", "Z"
        )

    _readers: Mapping[str, Callable[[Shape, Any], Json]] = {
        "text": _text,
        "integer": _integer,
        "decimal": _decimal,
        "date": _date,
        "instant": _instant,
    }


def rows_of(payload: Mapping[str, Json], entry: str) -> Sequence[Mapping[str, Json]]:
    """Return the rows a payload gives for an entity. Raises Refused if it is no list of objects."""
    rows = payload.get(entry) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(f"{entry} is not a list of rows", cause=Cause.BUG, vendor="kingdee", field=entry)
    return rows  # type: ignore[return-value]  # just checked


def leaves(values: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    """Yield (dotted name, value) of an object's single values; lists are left out."""
    for key, value in values.items():
        name = prefix + key
        if isinstance(value, dict):
            yield from leaves(value, name + ".")
        elif not isinstance(value, list):
            yield name, value


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _exact(value: Any) -> Decimal:
    """Return an amount; Kingdee's ten decimals and a float's shortest text are exact for it."""
    return parse_amount(Decimal(repr(value)) if isinstance(value, float) else value)


def _moment(text: str, zone: timezone) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
