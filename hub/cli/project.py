"""``hub validate``: whether what is written fits together."""

from __future__ import annotations

import typer

from hub import registry
from hub.cli.command import add
from hub.cli.session import OK, PROBLEM, Session
from hub.project import ProjectInvalid, load_project

__all__ = ["register", "validate"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, validate, "validate")


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
    if project.shown_files is not None and not session.settings.public_url:
        session.screen.warn(session.text("files_no_url"))
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
