"""References in settings: ``${secret:name}`` and ``${env:NAME}``, resolved when a connection starts, never written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hub.errors import SettingsError
from hub.project.values import Connection, Setting
from hub.sdk.spec import ConnectorSpec, SettingSpec
from hub.secret import Secret

__all__ = ["convert", "is_reference", "malformed", "resolve", "secret_names", "secret_of"]

_SECRET: Final = re.compile(r"\$\{secret:([a-z0-9][a-z0-9._-]{0,79})\}", re.ASCII)
_ENV: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]{0,79})\}", re.ASCII)
_ANY: Final = re.compile(r"\$\{[^}]*\}?")

_INTEGER: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)


def is_reference(text: str) -> bool:
    """Tell whether the whole text is one reference to a secret or an environment variable."""
    return bool(_SECRET.fullmatch(text) or _ENV.fullmatch(text))


def secret_of(text: str) -> str | None:
    """Return the name of the secret that the whole text refers to, None if it is no such reference."""
    match = _SECRET.fullmatch(text)
    return match[1] if match else None


def malformed(text: str) -> str | None:
    """Return the first ``${...}`` of a text that is no reference the hub knows, or a secret inside other text."""
    for match in _ANY.finditer(text):
        if _ENV.fullmatch(match[0]) or (_SECRET.fullmatch(match[0]) and match[0] == text):
            continue
        return match[0]
    return None


def secret_names(connection: Connection) -> list[str]:
    """Return the names of the secrets a connection refers to."""
    texts = (value for value in connection.settings.values() if isinstance(value, str))
    return sorted({match[1] for text in texts for match in _SECRET.finditer(text)})


def convert(spec: SettingSpec, text: str) -> Setting:
    """Return a literal setting as its type says; ValueError with a sentence for a person."""
    value = _typed(spec, text)
    if (why := spec.beyond(value)) is not None:
        raise ValueError(why)
    return value


def _typed(spec: SettingSpec, text: str) -> Setting:
    match spec.type:
        case "integer":
            if not _INTEGER.fullmatch(text):
                raise ValueError("a whole number is expected")
            return int(text)
        case "number":
            if not _NUMBER.fullmatch(text):
                raise ValueError("a number is expected")
            return float(text)
        case "flag":
            if text not in ("true", "false"):
                raise ValueError("true or false is expected")
            return text == "true"
        case _:
            return text


def resolve(
    connection: Connection,
    spec: ConnectorSpec,
    *,
    secret: Callable[[str], str | None],
    env: Mapping[str, str],
) -> dict[str, Any]:
    """Return a connection's settings by the names of the spec: defaults filled in, references resolved.

    Settings of type secret come as :class:`hub.secret.Secret`. An optional setting that is not there is left out.

    Raises:
        SettingsError: names every secret and environment variable that is missing, and every value of a wrong type.
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    for setting in spec.settings:
        value = connection.settings.get(setting.name, setting.default)
        if value is None or value == "":
            continue
        if isinstance(value, str):
            try:
                value = _value(setting, value, secret, env)
            except ValueError as error:
                problems.append(f"{setting.name}: {error}")
                continue
        found[setting.name] = Secret(str(value)) if setting.type == "secret" else value
    if problems:
        raise SettingsError("; ".join(problems), field=f"connections.{connection.name}.settings")
    return found


def _value(
    setting: SettingSpec, text: str, secret: Callable[[str], str | None], env: Mapping[str, str]
) -> Setting:
    if match := _SECRET.fullmatch(text):
        value = secret(match[1])
        if value is None:
            raise ValueError(f"the secret {match[1]} is not stored: hub secrets set {match[1]}")
        return convert(setting, value)

    def variable(match: re.Match[str]) -> str:
        value = env.get(match[1])
        if value is None:
            raise ValueError(f"the environment variable {match[1]} is not set")
        return value

    return convert(setting, _ENV.sub(variable, text))
