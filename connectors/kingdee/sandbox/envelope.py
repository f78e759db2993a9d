"""Requests: path to operation, five body forms to one shape, options in any spelling (2.1, 2.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl

from hub.sdk.sandbox import Json

__all__ = ["Ask", "MalformedError", "Options", "operation", "read_body", "read_login", "whole"]

SERVICES: Mapping[str, str] = {
    "kingdee.bos.webapi.servicesstub.dynamicformservice": "form",
    "kingdee.bos.webapi.servicesstub.authservice": "auth",
    "kingdee.bos.servicefacade.servicesstub.account.accountservice": "account",
}
SUFFIX = ".common.kdsvc"
MAX_DIGITS = 18
QUERIES = frozenset(("executebillquery", "billquery", "querybusinessinfo"))
"""Operations whose form id stands inside ``data``."""


class MalformedError(Exception):
    """The body cannot be read: the site answers HTTP 500."""


class Options(Mapping[str, Json]):
    """An object of a request whose keys are found in any case of letters."""

    def __init__(self, raw: Mapping[str, Json]) -> None:
        """Index the keys."""
        self._items = {str(key).lower(): value for key, value in raw.items()}

    def __getitem__(self, key: str) -> Json:
        """Return the value under a key, in any case."""
        return self._items[key.lower()]

    def __iter__(self) -> Iterator[str]:
        """Run over the keys, in lower case."""
        return iter(self._items)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._items)

    def flag(self, key: str, *, default: bool) -> bool:
        """Read a boolean: true, "true" and "True" are the same; anything else is false."""
        value = self.get(key, "")
        return default if value in ("", None) else str(value).lower() in ("true", "1")

    def text(self, key: str) -> str:
        """Read a text, "" when absent."""
        value = self.get(key)
        return "" if value is None else str(value).strip()

    def number(self, key: str) -> int:
        """Read a number that may come as text; 0 when absent or unreadable."""
        return whole(self.get(key))

    def names(self, key: str) -> list[str]:
        """Read a list that may come as one comma-separated text."""
        value = self.get(key)
        parts: Sequence[Json] = value if isinstance(value, list) else str(value or "").split(",")
        return [text for part in parts if (text := str(part).strip()) and text != "0"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks: operation in lower case, form id as sent, data object, operation number."""

    op: str
    form: str
    data: Options
    number: str = ""


def whole(raw: Json) -> int:
    """Read a whole number that may come as text; 0 for anything else."""
    text = str(raw).strip()
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else 0


def operation(service: str) -> tuple[str, str] | None:
    """Split ``{Service}.common.kdsvc`` into service and operation, None when there is no such service."""
    path = service.lower()
    name, _, op = path.removesuffix(SUFFIX).rpartition(".")
    return (SERVICES[name], op) if path.endswith(SUFFIX) and name in SERVICES else None


def read_body(op: str, raw: bytes) -> Ask:
    """Read a body in any of its five forms.

    Raises:
        MalformedError: no form fits; a bare JSON array among others.
    """
    envelope = Options(_envelope(raw))
    parameters = envelope.get("parameters")
    if isinstance(parameters, str):
        parameters = _parse(parameters)
    if isinstance(parameters, list):
        return _from_parameters(op, parameters)
    if op in QUERIES:
        data = _object(envelope.get("data"))
        return Ask(op, data.text("formid") or envelope.text("formid"), data)
    return Ask(op, envelope.text("formid"), _object(envelope.get("data")), envelope.text("opnumber"))


def read_login(raw: bytes, names: Sequence[str]) -> Mapping[str, str]:
    """Read a login's arguments by place (``parameters``) or by name.

    Raises:
        MalformedError: the body cannot be read.
    """
    envelope = Options(_envelope(raw)) if raw.strip() else Options({})
    parameters = envelope.get("parameters")
    if isinstance(parameters, str):
        parameters = _parse(parameters)
    if isinstance(parameters, list):
        return dict(zip(names, map(str, parameters), strict=False))
    return {name: envelope.text(name) for name in names}


def _from_parameters(op: str, parameters: Sequence[Json]) -> Ask:
    if op in QUERIES:
        data = _object(parameters[0] if parameters else None)
        return Ask(op, data.text("formid"), data)
    padded: list[Json] = [*parameters, None, None, None]
    if op in ("excuteoperation", "executeoperation"):
        return Ask(op, str(padded[0] or ""), _object(padded[2]), str(padded[1] or ""))
    return Ask(op, str(padded[0] or ""), _object(padded[1]))


def _envelope(raw: bytes) -> Mapping[str, Json]:
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8") from error
    body = _parse(text) if text[:1] in ("{", "[") else dict(parse_qsl(text, keep_blank_values=True))
    if not isinstance(body, dict) or not body:
        raise MalformedError("neither an object nor a form")
    return body


def _object(value: Json) -> Options:
    if isinstance(value, str):
        value = _parse(value) if value.strip() else {}
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise MalformedError("data is not an object")
    return Options(value)


def _parse(text: str) -> Json:
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise MalformedError("not JSON") from error
