"""``hub exports``: which personal fields may leave the country on what basis, how many people's did, who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hub.cli.command import add
from hub.cli.session import Session
from hub.pipe.exports import ExportStatus, export_status
from hub.project.exports import BASES

if TYPE_CHECKING:
    from hub.project.exports import Export

__all__ = ["register", "show"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, show, "exports")


def show(session: Session) -> None:
    """Show every foreign connection: legal basis and fields by region, people by year, what is held back by field."""
    with session.hub() as hub:
        found = hub.store.read_now(export_status, hub.project)
    if session.as_json:
        session.screen.json([_as_json(one) for one in found])
        return
    if not found:
        session.screen.line(session.text("export.foreign"))
    for one in found:
        _tell(session, one)


def _tell(session: Session, one: ExportStatus) -> None:
    screen, text = session.screen, session.text
    if not one.exports:
        screen.line(text("export.none", name=one.connection), style="yellow")
    for export in one.exports:
        known = {
            "basis": _basis(session, export),
            "reference": export.reference,
            "region": export.region.rstrip("/") or "/",
        }
        screen.line(
            text("export.leave", name=one.connection, fields=", ".join(sorted(export.fields)), **known)
        )
    for year, people in one.people.items():
        screen.line(text("export.people", name=one.connection, year=year, count=people))
    for field, count in one.held.items():
        screen.line(text("export.held", name=one.connection, field=field, count=count), style="yellow")


def _basis(session: Session, export: Export) -> str:
    zh, en = BASES[export.basis]
    return zh if session.lang == "zh" else en


def _as_json(one: ExportStatus) -> dict[str, object]:
    return {
        "connection": one.connection,
        "exports": [
            {
                "basis": export.basis,
                "reference": export.reference,
                "region": export.region,
                "fields": sorted(export.fields),
            }
            for export in one.exports
        ],
        "people": {str(year): count for year, count in one.people.items()},
        "held": dict(one.held),
    }
