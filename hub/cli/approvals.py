"""``hub approvals route``: which approval system would decide, and rule by rule why."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub import registry
from hub.cli.command import add, group
from hub.cli.session import OK, PROBLEM, Session
from hub.errors import SettingsError
from hub.model.money import InvalidMoney, exponent, parse_amount
from hub.model.region import region_path
from hub.project import load_project
from hub.project.routes import SUBJECTS, Facts, Routing, Why, route_of

if TYPE_CHECKING:
    from hub.project.routes import Route
    from hub.project.values import Project

__all__ = ["register", "route"]

_MARKS: Final = {Why.CHOSEN: "✓", Why.FARTHER: "·", Why.WIDER: "·"}

Region = Annotated[str, typer.Option("--region", help="opt.route.region", show_default=False)]
Subject = Annotated[str, typer.Option("--subject", help="opt.route.subject", show_default=False)]
Amount = Annotated[str | None, typer.Option("--amount", help="opt.route.amount", show_default=False)]
Currency = Annotated[str, typer.Option("--currency", help="opt.route.currency")]
Entity = Annotated[str | None, typer.Option("--entity", help="opt.route.entity", show_default=False)]
Department = Annotated[
    str | None, typer.Option("--department", help="opt.route.department", show_default=False)
]
Explain = Annotated[bool, typer.Option("--explain", help="opt.route.explain")]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    add(group(app, lang, "approvals"), lang, route, "route", key="help.approvals.route")


def route(
    session: Session,
    *,
    region: Region,
    subject: Subject,
    amount: Amount = None,
    currency: Currency = "CNY",
    entity: Entity = None,
    department: Department = None,
    explain: Explain = False,
) -> int:
    """Say which route decides about an approval; nothing is sent. With ``--explain`` every route says why, or why not."""
    project = load_project(session.project, registry.specs())
    asked = Facts(
        subject=_known("subject", subject, SUBJECTS),
        region=_region(region, project),
        entity=None if entity is None else _known("entity", entity, project.entities),
        department=department,
        amount=_amount(amount),
        currency=_currency(currency),
    )
    found = route_of(project.routes, asked)
    if session.as_json:
        session.screen.json(_as_json(found))
    else:
        _tell(session, found, explain=explain)
    return OK if found.route else PROBLEM


def _known(option: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise SettingsError(f"--{option} {value!r}: {', '.join(known) or '-'}")
    return value


def _region(value: str, project: Project) -> str:
    try:
        path = region_path(value)
    except ValueError as error:
        raise SettingsError(f"--region: {error}") from None
    return _known("region", path, project.regions)


def _amount(value: str | None) -> Decimal | None:
    try:
        return None if value is None else parse_amount(value)
    except InvalidMoney as error:
        raise SettingsError(f"--amount {error}") from None


def _currency(value: str) -> str:
    try:
        exponent(value)
    except InvalidMoney as error:
        raise SettingsError(f"--currency {error}") from None
    return value


def _tell(session: Session, found: Routing, *, explain: bool) -> None:
    if found.route is None:
        session.screen.warn(session.text("route.none", count=len(found.tried)), style="red")
    else:
        session.screen.line(_headline(session, found.route))
    for number, tried in enumerate(found.tried if explain else (), 1):
        mark, told = _MARKS.get(tried.why, "✗"), tried.told(session.lang)
        session.screen.line(f"  {number}. {mark} {tried.route.name} ({tried.route.region or '/'}): {told}")


def _headline(session: Session, route: Route) -> str:
    own = session.text("route.own_flow")
    steps = " → ".join(
        session.text(f"route.{one.mode}", people=", ".join(one.people)) for one in route.approvers
    )
    line = session.text(
        "route.found",
        name=route.name,
        connection=route.connection,
        template=route.template,
        steps=steps or own,
    )
    return line + (session.text("route.cc", people=", ".join(route.cc)) if route.cc else "")


def _as_json(found: Routing) -> dict[str, object]:
    route = found.route
    tried = [
        {"route": one.route.name, "region": one.route.region, "why": one.why.value,
         "zh": one.told("zh"), "en": one.told("en")}
        for one in found.tried
    ]  # fmt: skip
    if route is None:
        return {"route": None, "tried": tried}
    return {
        "route": route.name, "connection": route.connection, "template": route.template,
        "approvers": route.steps(), "cc": list(route.cc), "tried": tried,
    }  # fmt: skip
