"""The shapes a mapping is checked against, and the static types of its expressions.

Field types are those of the CRM's kinds (:mod:`hub.model.fields`) and, for a vendor, ``text integer decimal flag date
instant texts json``. Static types are fewer: ``text amount number exact flag list json null``; an *amount* is a text of
digits (the CRM's money), a *number* a JSON number, *exact* the result of ``decimal`` and ``money``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hub.mapping.value_map import ValueMap
from hub.model.kinds import KINDS, Kind

__all__ = ["Schemas", "Shape", "accepts", "advice", "comparable", "crm_schemas", "spoken", "static_type"]

_NO_MAPS: Final[Mapping[str, ValueMap]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Schemas:
    """What streams give (``sources``) and objects take (``targets``): name → {field: type}, and the value maps.

    A field name with dots is a path into nested objects, ``ROWS[].FIELD`` a field of each row of a list, and a name that ends
    in ``*`` stands for all that begin like it. ``kinds``: those of the CRM, with the custom fields that are declared.
    """

    sources: Mapping[str, Mapping[str, str]]
    targets: Mapping[str, Mapping[str, str]]
    value_maps: Mapping[str, ValueMap] = field(default_factory=lambda: _NO_MAPS)
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)

    def kind(self, name: str) -> Kind | None:
        """Return the kind of a source or target ``crm.<kind>``, None for a vendor's."""
        return self.kinds[name.removeprefix("crm.")] if name.startswith("crm.") else None


def crm_schemas(kinds: Mapping[str, Kind] = KINDS) -> dict[str, dict[str, str]]:
    """Return the shapes of the CRM's kinds, ``crm.customer`` and so on, with the custom fields that are declared.

    Of a kind for which none are declared every custom name goes, with any JSON value.
    """
    return {
        f"crm.{kind.name}": {field.name: field.type for field in (*kind.fields.values(), *(kind.custom or {}).values())}
        | ({"custom.*": "json"} if kind.custom is None else {})
        for kind in kinds.values()
    }  # fmt: skip


class Shape:
    """One source or target: which names exist and what type they have."""

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        """Index the fields of the stream or object ``name``."""
        self.name = name
        self.is_crm = name.startswith("crm.")
        self._fields = dict(fields)
        self._prefixes = tuple(key[:-1] for key in fields if key.endswith("*"))
        self._parents = {
            name[:index].removesuffix("[]")
            for name in fields
            for index in range(len(name))
            if name[index] == "."
        }

    def type(self, name: str) -> str | None:
        """Return the type of a field; ``json`` for an object that holds known fields; None when it does not exist."""
        if found := self._fields.get(name):
            return found
        if name in self._parents and not (self.is_crm and name == "custom"):
            return "json"
        for prefix in self._prefixes:
            if name.startswith(prefix) and len(name) > len(prefix):
                return self._fields[prefix + "*"]
        return None

    def has_fields(self, name: str) -> bool:
        """Tell whether ``name`` is an object or a list of rows whose fields are known."""
        return name in self._parents and name not in self._fields

    def is_open(self, name: str) -> bool:
        """Tell whether nothing is known below ``name``, so that any path goes."""
        return self._fields.get(name) == "json" or (name not in self._parents and self.type(name) == "json")

    def names(self) -> list[str]:
        """Return every name, for the nearest one."""
        return [name for name in self._fields if not name.endswith("*")]


_STATIC: Final = {
    "decimal": "number",
    "flag": "flag",
    "integer": "number",
    "json": "json",
    "money": "amount",
    "phones": "list",
    "texts": "list",
}


def static_type(field_type: str, *, is_crm: bool) -> str:
    """Return the static type that a field of this type has as a source."""
    if is_crm and field_type == "decimal":
        return "amount"
    return _STATIC.get(field_type, "text")


_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "decimal": frozenset({"exact", "number"}),
    "flag": frozenset({"flag"}),
    "integer": frozenset({"number"}),
    "json": frozenset({"text", "amount", "number", "exact", "flag", "list"}),
    "money": frozenset({"exact", "amount"}),
    "phones": frozenset({"list"}),
    "texts": frozenset({"list"}),
}
_TEXTS: Final = frozenset({"text"})
_VENDOR_TEXTS: Final = frozenset({"text", "amount"})
_ALWAYS: Final = frozenset({"json", "null"})


def accepts(field_type: str, static: str, *, is_crm: bool) -> bool:
    """Tell whether a target field of this type takes a value of this static type (``json``: checked when it runs)."""
    takes = _TAKES.get(field_type, _TEXTS if is_crm else _VENDOR_TEXTS)
    if is_crm and field_type == "decimal":
        takes = _TAKES["money"]
    return static in takes or static in _ALWAYS


def advice(field_type: str, static: str) -> str:
    """Return how to bring a value of this static type into a field of this type, as the end of a sentence."""
    if field_type in ("money", "decimal") and static in ("text", "amount", "number"):
        return "; write decimal(…) or money(…, currency)"
    if static in ("number", "exact") and field_type not in _TAKES:
        return "; write text(…)"
    return ""


def spoken(types: frozenset[str]) -> str:
    """Return static types as words of a sentence."""
    return " or ".join(sorted({_SPOKEN.get(name, f"a {name}") for name in types}))


_SPOKEN: Final[Mapping[str, str]] = {
    "amount": "an amount",
    "exact": "a number",
    "flag": "true or false",
    "null": "nothing",
}
_NUMBERS: Final = frozenset({"number", "exact"})


def comparable(left: frozenset[str], right: frozenset[str]) -> bool:
    """Tell whether comparing two values of these static types can mean anything."""
    return bool((left | right) & _ALWAYS or left & right or (left & _NUMBERS and right & _NUMBERS))
