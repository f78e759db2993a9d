"""Reading the section ``approvals`` of hub.yaml."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from hub.model.kinds import KINDS, Kind
from hub.model.money import InvalidMoney, exponent, parse_amount
from hub.project.effects import Effects, read_effects
from hub.project.routes import SUBJECTS, Amounts, Approvers, Route
from hub.project.section import Section
from hub.project.values import API, Connection, LegalEntity
from hub.sdk.spec import ConnectorSpec

__all__ = ["Tables", "read_approvals"]

_MOST_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Tables:
    """What routes may name. ``employees``: their codes; none known: a code is what the other system calls somebody."""

    connections: Mapping[str, Connection]
    entities: Mapping[str, LegalEntity]
    regions: tuple[str, ...]
    specs: Mapping[str, ConnectorSpec]
    employees: Collection[str]
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)


def read_approvals(top: Section, tables: Tables) -> tuple[tuple[Route, ...], Effects]:
    """Return the routing table and what follows from decisions.

    Written ``approvals: {routes: {NAME: {region, subjects, amount, connection, …}}, effects: {…}}``.
    """
    section = top.section("approvals")
    routes = tuple(_route(name, one, tables) for name, one in section.each("routes"))
    effects = read_effects(section, tables.kinds)
    section.close()
    return routes, effects


def _route(name: str, section: Section, tables: Tables) -> Route:
    vendors = {name: one for name, one in tables.connections.items() if one.connector != API}
    route = Route(
        name=name,
        region=section.region("region", tables.regions),
        subjects=_subjects(section),
        connection=section.named("connection", vendors, "connection to another system", required=True) or "",
        template=section.text("template", required=True) or "",
        entity=section.named("entity", tables.entities, "legal entity in the table (entities)"),
        department=section.text("department"),
        amounts=_amounts(section) if section.has("amount") else None,
        approvers=tuple(_approvers(item, tables) for item in section.items("approvers") or ()),
        cc=tuple(_people(section, "cc", tables)),
    )
    if len(route.approvers) > _MOST_STEPS:
        section.problem("approvers", f"at most {_MOST_STEPS} steps")
    _fits(section, route, tables)
    section.close()
    return route


def _fits(section: Section, route: Route, tables: Tables) -> None:
    """Hold a route against what its system can do, and which of its templates are taken in."""
    connection = tables.connections.get(route.connection)
    spec = tables.specs.get(connection.connector) if connection is not None else None
    if connection is None or spec is None or spec.approvals is None:
        return
    setting = spec.approvals.templates
    known = [one.strip() for one in str(connection.settings.get(setting) or "").split(",") if one.strip()]
    if known and route.template and route.template not in known:
        text = f"{setting} of {connection.name} does not name {route.template!r}: what is decided there would not come home"
        section.problem("template", text, known=known, named=route.template)
    if route.cc and not route.approvers and not spec.approvals.cc_alone:
        text = f"{spec.title_en} takes cc together with approvers alone: where its template decides, the template says who is in cc"
        section.problem("cc", text)


def _subjects(section: Section) -> tuple[str, ...]:
    found = section.texts("subjects") or []
    if not found:
        section.problem(None, f"subjects: a list of {', '.join(SUBJECTS)} is expected")
    for name in found:
        if name not in SUBJECTS:
            section.problem(
                "subjects", f"{name!r} is not one of {', '.join(SUBJECTS)}", known=SUBJECTS, named=name
            )
    return tuple(found)


def _amounts(section: Section) -> Amounts | None:
    amount = section.section("amount")
    currency = amount.text("currency", required=True)
    low, below = _limit(amount, "from"), _limit(amount, "below")
    amount.close()
    if currency is None:
        return None
    try:
        exponent(currency)
    except InvalidMoney as error:
        amount.problem("currency", str(error))
        return None
    if low is None and below is None:
        amount.problem(None, "from, below or both are expected")
    if low is not None and below is not None and low >= below:
        amount.problem("below", "is not more than from: no amount lies between them")
    return Amounts(currency, low or Decimal(0), below)


def _limit(section: Section, key: str) -> Decimal | None:
    value = section.text(key)
    if value is None:
        return None
    try:
        found = parse_amount(value)
    except InvalidMoney as error:
        section.problem(key, str(error))
        return None
    if found < 0:
        section.problem(key, "is less than nothing")
    return found


def _approvers(section: Section, tables: Tables) -> Approvers:
    if section.has("all") == section.has("any"):
        section.problem(None, "one of all: [...] and any: [...] is expected")
    found = {mode: _people(section, mode, tables) for mode in ("all", "any")}
    for mode, people in found.items():
        if section.has(mode) and not people:
            section.problem(mode, "nobody is named: a step has one approver at least")
    section.close()
    return Approvers("all" if section.has("all") else "any", tuple(found["all"] or found["any"]))


def _people(section: Section, key: str, tables: Tables) -> list[str]:
    """Return the employees a list names; one that nobody knows is a typing mistake more often than a new employee."""
    found = section.texts(key) or []
    for name in found if tables.employees else ():
        if name not in tables.employees:
            section.problem(
                key, f"there is no employee {name!r} in owners", known=tables.employees, named=name
            )
    return found
