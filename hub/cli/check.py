"""``hub check``: whether a connection really works, step by step; ``--deep``: what its documents leave open."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hub import wiring
from hub.cli.command import add
from hub.cli.report import OUTCOMES, default_name, probe_report, save_report
from hub.cli.screen import plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, USAGE, Failure, Session
from hub.errors import RemoteError
from hub.sdk.connector import CheckReport, Connector, Probe
from hub.wiring import Hub

__all__ = ["check", "register"]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a connector said. ``probes`` None: not asked; the error that cut the probing short, if one did."""

    connector: Connector
    steps: CheckReport
    probes: Sequence[Probe] | RemoteError | None


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, check, "check")


def check(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.connection_name", metavar="CONNECTION")],
    *,
    deep: Annotated[bool, typer.Option("--deep", help="opt.deep")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="opt.report", metavar="FILE")] = None,
) -> int:
    """Test one connection step by step, then perhaps look at what its vendor's documents leave open."""
    if report is not None and not deep:
        raise Failure(session.text("report_deep"), USAGE)
    with session.hub(create=True) as hub:
        if name not in hub.project.connections:
            known = ", ".join(sorted(hub.project.connections))
            raise Failure(f"{session.text('not_there', what=plain(name))} ({known})", NOT_FOUND)
        found = asyncio.run(_ask(hub, name, deep=deep))
        if not session.as_json:
            _print_steps(session, name, found.steps, deep=deep)
        if isinstance(found.probes, RemoteError):
            raise found.probes
        told = {} if found.probes is None else _probed(session, hub, found.connector, found.probes, report)
    if session.as_json:
        session.screen.json({"ok": found.steps.ok, "steps": _steps(found.steps), **told})
    return OK if found.steps.ok else PROBLEM


async def _ask(hub: Hub, name: str, *, deep: bool) -> _Found:
    """Ask the connector; close what belongs to this event loop while it runs."""
    try:
        connector = wiring.connect(hub, name)
        report = await connector.check()
        probes: Sequence[Probe] | RemoteError | None = None
        if deep and report.ok:
            try:
                probes = await connector.probe()
            except RemoteError as error:
                probes = error
        return _Found(connector, report, probes)
    finally:
        await hub.disconnect()


def _steps(report: CheckReport) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "ok": one.ok, "zh": one.zh, "en": one.en, "code": one.code} for one in report.steps
    ]


def _print_steps(session: Session, name: str, report: CheckReport, *, deep: bool) -> None:
    for one in report.steps:
        mark, code = "✓" if one.ok else "✗", f"  [{one.code}]" if one.code else ""
        session.screen.line(f"{mark} {session.cause(one)}{code}", style="" if one.ok else "red")
    session.screen.line(session.text("check_ok" if report.ok else "check_failed", name=name))
    if deep and not report.ok:
        session.screen.line(session.text("probe_later"))


def _probed(
    session: Session, hub: Hub, connector: Connector, probes: Sequence[Probe], to: Path | None
) -> dict[str, Any]:
    """Write the report and show it; return what a program gets. Raises Failure if the file cannot be written."""
    now = hub.clock.now()
    report = probe_report(connector, probes, now)
    if not probes:
        if not session.as_json:
            session.screen.line(session.text("probe_none", connector=connector.spec.name))
        return {**report, "report": None}
    path = to or hub.settings.data_dir / default_name(report, now)
    try:
        save_report(path, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise Failure(f"{plain(path)}: {error.strerror}") from error
    if not session.as_json:
        _print_probes(session, report["probes"])
        session.screen.line(session.text("probe_saved", file=plain(path)))
    return {**report, "report": str(path)}


def _print_probes(session: Session, probes: Sequence[dict[str, str]]) -> None:
    outcomes = {name: session.text(f"probe.{name}") for name in OUTCOMES}
    session.screen.table(
        [session.text(f"head.{name}") for name in ("point", "claim", "outcome", "seen")],
        [(one["point"], one[session.lang], outcomes[one["outcome"]], one["seen"]) for one in probes],
        whole=(2,),
    )
    counts = Counter(one["outcome"] for one in probes)
    session.screen.line("  ".join(f"{outcomes[name]} {counts[name]}" for name in OUTCOMES if counts[name]))
