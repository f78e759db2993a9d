"""``hub validate`` and ``hub check``: what is written, and whether a connection really works."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hub import registry, wiring
from hub.cli.command import add
from hub.cli.screen import plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, Failure, Session
from hub.project import ProjectInvalid, load_project
from hub.sdk.connector import CheckReport
from hub.wiring import Hub

__all__ = ["check", "register", "validate"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the commands."""
    add(app, lang, validate, "validate")
    add(app, lang, check, "check")


def validate(session: Session) -> int:
    """Check hub.yaml and the mappings it names; every problem with its file, line, column and field."""
    try:
        project = load_project(session.project, registry.specs())
    except ProjectInvalid as error:
        if session.as_json:
            session.screen.json({"ok": False, "problems": [_problem(problem) for problem in error.problems]})
        else:
            for problem in error.problems:
                session.screen.warn(str(problem), style="red")
            session.screen.warn(session.text("problems", count=len(error.problems)))
        return PROBLEM
    if session.as_json:
        session.screen.json(
            {"ok": True, "connections": list(project.connections), "syncs": list(project.syncs)}
        )
    else:
        counts = {"connections": len(project.connections), "syncs": len(project.syncs)}
        session.screen.line(session.text("valid", **counts))
    return OK


def _problem(problem: object) -> dict[str, object]:
    return {
        name: getattr(problem, name) for name in ("file", "line", "column", "field", "message", "nearest")
    }


def check(
    session: Session, name: Annotated[str, typer.Argument(help="opt.connection_name", metavar="CONNECTION")]
) -> int:
    """Test one connection step by step."""
    with session.hub(create=True) as hub:
        if name not in hub.project.connections:
            known = ", ".join(sorted(hub.project.connections))
            raise Failure(f"{session.text('not_there', what=plain(name))} ({known})", NOT_FOUND)
        report = asyncio.run(_ask(hub, name))
    if session.as_json:
        steps = [
            {"name": one.name, "ok": one.ok, "zh": one.zh, "en": one.en, "code": one.code}
            for one in report.steps
        ]
        session.screen.json({"ok": report.ok, "steps": steps})
    else:
        for one in report.steps:
            mark, code = "✓" if one.ok else "✗", f"  [{one.code}]" if one.code else ""
            session.screen.line(f"{mark} {session.cause(one)}{code}", style="" if one.ok else "red")
        session.screen.line(session.text("check_ok" if report.ok else "check_failed", name=name))
    return OK if report.ok else PROBLEM


async def _ask(hub: Hub, name: str) -> CheckReport:
    return await _closing(hub, await wiring.connect(hub, name).check())


async def _closing(hub: Hub, report: CheckReport) -> CheckReport:
    """Close what belongs to this event loop while it runs."""
    for connector in hub.connectors.values():
        await connector.close()
    for client in hub.clients:
        await client.close()
    hub.connectors.clear()
    hub.clients.clear()
    return report
