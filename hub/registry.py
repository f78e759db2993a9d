"""Which connectors and sandboxes are installed: found by entry points, so that the hub imports none by name.

A package offers them in the groups ``hub.connectors`` and ``hub.sandboxes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hub.errors import SettingsError
from hub.mapping.problems import nearest
from hub.sdk.connector import Connector
from hub.sdk.spec import ConnectorSpec

__all__ = ["CONNECTORS", "SANDBOXES", "connector", "connectors", "sandbox", "sandboxes", "specs"]

CONNECTORS = "hub.connectors"
SANDBOXES = "hub.sandboxes"


def connectors() -> list[str]:
    """Return the names of the installed connectors."""
    return sorted(entry.name for entry in entry_points(group=CONNECTORS))


def sandboxes() -> list[str]:
    """Return the names of the installed sandboxes."""
    return sorted(entry.name for entry in entry_points(group=SANDBOXES))


def connector(name: str) -> type[Connector]:
    """Return a connector's class.

    Raises:
        SettingsError: none of that name is installed, it cannot be imported, or its spec has another name.
    """
    loaded = _load(CONNECTORS, "connector", name)
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        raise SettingsError(f"the connector {name} is not a hub.sdk.Connector", field="connector")
    if loaded.spec.name != name:
        raise SettingsError(f"the connector {name} calls itself {loaded.spec.name}", field="connector")
    return loaded


def sandbox(name: str) -> Any:
    """Return a sandbox's class.

    Raises:
        SettingsError: none of that name is installed, or it cannot be imported.
    """
    return _load(SANDBOXES, "sandbox", name)


def specs() -> Mapping[str, ConnectorSpec]:
    """Return the spec of every installed connector by name; raises as :func:`connector`."""
    return {name: connector(name).spec for name in connectors()}


def _load(group: str, what: str, name: str) -> Any:
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=group)}
    entry = found.get(name)
    if entry is None:
        near = nearest(name, found)
        hint = f"; did you mean {near!r}?" if near else ""
        raise SettingsError(
            f"no {what} {name!r} is installed; installed: {', '.join(sorted(found)) or 'none'}{hint}",
            field=what,
        )
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"the {what} {name} cannot be loaded: {error}", field=what) from error
