"""Who let personal fields leave for a foreign host: legal basis and field list, as hub.yaml records them (design.md 5).

A connection is foreign because its connector says so (the vendor keeps what it is sent abroad) or because hub.yaml does.
Nothing personal leaves for it but the fields a record's region has an export for; no export, no field. A change of
hub.yaml is a revision with an act: that is the record of who allowed what, and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hub.model.kinds import Kind
from hub.model.region import is_within
from hub.project.section import Section

__all__ = ["BASES", "Export", "held_back", "read_exports"]

BASES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "assessment": ("安全评估", "security assessment"),
        "certification": ("保护认证", "certification"),
        "standard_contract": ("标准合同", "standard contract"),
        "other": ("法律规定的其他条件", "another condition set by law"),
    }
)
"""The routes of PIPL article 38, with their titles."""


@dataclass(frozen=True, slots=True)
class Export:
    """One leave to export. ``reference``: number or file of the basis. ``region``: whose records, "" all.

    ``fields``: ``contact.email`` and so on, kind and field of the CRM.
    """

    basis: str
    reference: str
    fields: frozenset[str]
    region: str = ""


def held_back(exports: Iterable[Export], kind: Kind, region: str, names: Iterable[str]) -> str | None:
    """Return the first personal field of a record that may not leave, as ``contact.email``; None: all may.

    A field is personal if its kind says so, and every custom field that nobody declared is.
    """
    personal = [name for name in names if kind.is_personal(name)]
    if not personal:
        return None
    allowed = {name for one in exports if is_within(region, one.region) for name in one.fields}
    return next(
        (name for name in sorted(f"{kind.name}.{one}" for one in personal) if name not in allowed), None
    )


def read_exports(section: Section, regions: tuple[str, ...], kinds: Mapping[str, Kind]) -> tuple[Export, ...]:
    """Return what ``exports:`` of a connection records; a problem for what is incomplete or names no field."""
    found = []
    for item in section.items("exports") or ():
        basis = item.choice("basis", tuple(BASES), "")
        if not basis and not item.has("basis"):
            item.problem(None, f"basis is missing: {', '.join(BASES)}")
        reference = item.text("reference", required=True)
        region = item.region("region", regions)
        fields = item.texts("fields") or []
        for name in fields:
            _check_field(item, name, kinds)
        item.close()
        if basis and reference:
            found.append(Export(basis, reference, frozenset(fields), region))
    return tuple(found)


def _check_field(item: Section, name: str, kinds: Mapping[str, Kind]) -> None:
    kind, dot, field = name.partition(".")
    if not dot or kind not in kinds:
        item.problem("fields", f"{name!r} names no kind: write contact.email", known=kinds, named=kind)
    elif kinds[kind].field(field) is None:
        item.problem("fields", f"{field!r} is not a field of {kind}", known=kinds[kind].names(), named=field)
