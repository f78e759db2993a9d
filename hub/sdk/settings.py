"""The settings of a connection, checked against what its connector declares."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hub.errors import SettingsError
from hub.sdk.net import parse_url
from hub.sdk.secret import Secret
from hub.sdk.spec import SettingSpec

__all__ = ["check_settings"]


def check_settings(specs: Iterable[SettingSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every declared setting in its type, defaults filled in; numbers may be given as text.

    Raises:
        SettingsError: unknown (with the nearest name), missing, of the wrong type or out of range; ``field`` names it.
    """
    known = {spec.name: spec for spec in specs}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"
            raise SettingsError(f"unknown setting{hint}", field=name)
    return {name: _value(spec, given.get(name)) for name, spec in known.items()}


def _value(spec: SettingSpec, value: Any) -> Any:
    if value is None or value == "":
        if spec.required and spec.default is None:
            raise SettingsError(f"is missing ({spec.en})", field=spec.name)
        return spec.default
    try:
        found = _READ[spec.type](value)
    except (ValueError, TypeError, SettingsError) as error:
        # The value may be a secret put into the wrong place: it is not shown.
        raise SettingsError(f"is not {_WANTED[spec.type]} ({spec.en})", field=spec.name) from error
    if (why := spec.beyond(found)) is not None:
        raise SettingsError(why, field=spec.name)
    return found


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        raise ValueError("text")
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("integer")
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("number")
    number = float(value)
    if not abs(number) < float("inf"):
        raise ValueError("number")
    return number


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise ValueError("flag")
    return value == "true"


def _url(value: object) -> str:
    text = _text(value)
    parse_url(text)
    return text


def _secret(value: object) -> Secret:
    if not isinstance(value, Secret):
        raise ValueError("secret")
    return value


_READ: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "flag": _flag,
    "url": _url,
    "secret": _secret,
}
_WANTED = {
    "text": "a text without outer blanks and control characters",
    "integer": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "url": "an address such as https://erp.example.com/",
    "secret": "a secret: write ${secret:name} or ${env:NAME}",
}
