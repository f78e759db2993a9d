"""What a call carries: JSON whatever the Content-Type, declared fields, notes on what is odd (section 0)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import orjson

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.apps import App
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.events import Event
from hub.sdk.sandbox import Json

__all__ = ["Api", "Call", "Oddities", "read_fields", "read_json"]

WRONG_JSON = "Warning: wrong json format. "
MISSING = {"userid": 41009, "external_userid": 41035}
"""Codes of their own for a field that is absent; the others answer 40058."""


def _integer(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


KINDS: Mapping[str, Callable[[Json], bool]] = {
    "text": lambda value: isinstance(value, str),
    "integer": _integer,
    "texts": _texts,
    "objects": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "object": lambda value: isinstance(value, dict),
    "scalar": lambda value: _integer(value) or isinstance(value, str),
}


class Oddities:
    """What clients sent that the vendor forgives; a reader of the control door looks here."""

    def __init__(self) -> None:
        """Keep the last thousand."""
        self.seen: deque[dict[str, str]] = deque(maxlen=1000)

    def note(self, api: str, what: str) -> None:
        """Add one."""
        self.seen.append({"api": api, "what": what})


@dataclass(frozen=True, slots=True)
class Call:
    """One call that got in: who asks, with which fields, what the corp is like, and where events go."""

    api: str
    corp: Corp
    app: App
    dials: WeComDials
    fields: Mapping[str, Json]
    oddities: Oddities
    emit: Callable[[Event], None]

    def text(self, name: str) -> str:
        """Return a text field, "" when absent."""
        return str(self.fields.get(name) or "")

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, [] when absent."""
        return list(self.fields.get(name) or ())

    def integer(self, name: str, default: int) -> int:
        """Return an integer field."""
        value = self.fields.get(name)
        return default if value is None else int(value)

    def forgive(self, what: str, errcode: int = 40058) -> None:
        """Note what is odd; in strict mode it is an error.

        Raises:
            ErrcodeError: the dial ``strict`` is on.
        """
        self.oddities.note(self.api, what)
        if self.dials.strict:
            raise ErrcodeError(errcode, f"strict sandbox: {what}")


@dataclass(frozen=True, slots=True)
class Api:
    """One API: ``fields`` name → kind, ``!`` behind a required one; ``grant``: the module it needs, else ``forbidden``."""

    method: str
    run: Callable[[Call], Mapping[str, Json]]
    grant: str = ""
    fields: Mapping[str, str] | None = None
    inner: Mapping[str, frozenset[str]] | None = None
    """Known names inside list fields of objects."""
    forbidden: int = 48002


def read_json(raw: bytes, dials: WeComDials) -> Mapping[str, Json]:
    """Return the body of a POST; an empty one is an empty object.

    Raises:
        ErrcodeError: it is no JSON object in UTF-8.
    """
    try:
        body = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ErrcodeError(dials.bad_json_errcode, warning=WRONG_JSON) from error
    if not isinstance(body, dict):
        raise ErrcodeError(dials.bad_json_errcode, warning=WRONG_JSON)
    return body


def read_fields(call: Call, api: Api, raw: bytes) -> Call:
    """Return the call with its fields checked by the API's declaration.

    Raises:
        ErrcodeError: a field is missing or of the wrong kind, or, in strict mode, unknown.
    """
    if b"\\u" in raw:
        call.forgive("\\uXXXX escapes in the body", 40033)
    declared = api.fields or {}
    values: dict[str, Json] = {}
    for name, value in call.fields.items():
        if name not in declared:
            call.forgive(f"unknown field {name[:64]}")
        elif value is not None:
            values[name] = _checked(name, declared[name].rstrip("!"), value, in_query=api.method == "GET")
            _look_inside(call, api, name, values[name])
    for name, kind in declared.items():
        if kind.endswith("!") and values.get(name) in (None, ""):
            raise ErrcodeError(MISSING.get(name, 40058), f"{name} missing")
    return replace(call, fields=values)


def _checked(name: str, kind: str, value: Json, *, in_query: bool) -> Json:
    if in_query and kind == "integer":
        if not str(value).lstrip("-").isdecimal() or len(str(value)) > 18:
            raise ErrcodeError(40058, f"{name} must be an integer")
        return int(value)
    if not KINDS[kind](value):
        raise ErrcodeError(40058, f"{name} has a wrong type: {kind} expected")
    return value


def _look_inside(call: Call, api: Api, name: str, value: Json) -> None:
    known = (api.inner or {}).get(name)
    for one in value if known is not None else ():
        for odd in sorted(set(one) - (known or set())):
            call.forgive(f"unknown field {name}.{odd[:64]}")
