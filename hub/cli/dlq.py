"""``hub dlq``: dead letters, what is wrong with each, and what a person may do about it."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from hub.cli import words
from hub.cli.command import add, group
from hub.cli.letter import letter_json, print_letter
from hub.cli.rows import row_id, row_json
from hub.cli.screen import local, plain, shorten
from hub.cli.session import USAGE, Failure, Session
from hub.errors import Cause
from hub.model.record import Json, Scope
from hub.pipe import desk
from hub.pipe.desk import Done
from hub.pipe.queries import Filters, dead_letter, dead_letters
from hub.pipe.refusal import NotThere
from hub.pipe.shown import RowShown, Shown
from hub.sdk.connector import VendorRef

__all__ = ["choose", "discard", "edit", "list_", "register", "replay", "resolve", "show"]

Row = Annotated[str, typer.Argument(help="opt.row", metavar="ROW")]
OfSync = Annotated[str, typer.Option("--sync", help="opt.sync")]
OfConnection = Annotated[str, typer.Option("--connection", help="opt.connection")]
OfCause = Annotated[str, typer.Option("--cause", help="opt.cause")]
Yes = Annotated[bool, typer.Option("--yes", help="opt.yes")]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "dlq")
    for function in (list_, show, edit, replay, discard, resolve, choose):
        add(made, lang, function, function.__name__.rstrip("_"))


def list_(
    session: Session,
    *,
    sync: OfSync = "",
    connection: OfConnection = "",
    cause: OfCause = "",
    limit: Annotated[int, typer.Option("--limit", help="opt.limit", min=1, max=10_000)] = 50,
) -> None:
    """List dead letters, the oldest first."""
    filters = Filters(sync, connection, _cause(session, cause), limit=limit)
    with session.hub() as hub:
        page = hub.store.read_now(dead_letters, hub.world, Scope.ALL, filters)
    if session.as_json:
        session.screen.json(
            {"dead_letters": [row_json(row) for row in page.rows], "more": page.after is not None}
        )
        return
    if not page.rows:
        session.screen.line(session.text("label.no_dead"))
        return
    heads = [
        session.text(f"head.{name}") for name in ("id", "since", "sync", "what", "cause", "field", "place")
    ]
    session.screen.table(heads, [_line(session, row) for row in page.rows], whole=(0, 1))
    if page.after is not None:
        session.screen.line(session.text("label.more"))


def _line(session: Session, row: RowShown) -> tuple[object, ...]:
    cause = row.cause
    said = session.cause(cause.code) if cause else ""
    place = session.cause(row.place) if row.place else ""
    what = shorten(row.title or row.subject, 40)
    return (row.id.hex(), local(row.since)[:19], row.sync, what, said, cause.field if cause else "", place)


def _cause(session: Session, code: str) -> Cause | None:
    found = next((cause for cause in Cause if cause.value == code), None)
    if code and found is None:
        known = ", ".join(cause.value for cause in Cause)
        raise Failure(session.text("no_cause", what=plain(code), known=known), USAGE)
    return found


def show(session: Session, row: Row) -> None:
    """Show one dead letter: why, which field, who is blocked, where the fix belongs, the next command."""
    id_ = row_id(session, row)
    with session.hub() as hub:
        found = hub.store.read_now(dead_letter, hub.world, Scope.ALL, id_)
        now = hub.clock.now()
    if found is None:
        raise NotThere(row)
    if session.as_json:
        session.screen.json(letter_json(found))
    else:
        print_letter(session, found, now)


def edit(
    session: Session,
    row: Row,
    fields: Annotated[list[str] | None, typer.Argument(help="opt.fields", metavar="FIELD=VALUE")] = None,
    *,
    unset: Annotated[list[str] | None, typer.Option("--unset", help="opt.unset")] = None,
) -> None:
    """Correct the data a dead letter is made from, and try again."""
    given = {**_given(session, fields or []), **dict.fromkeys(unset or [], None)}
    with session.hub() as hub:
        id_ = row_id(session, row)
        done = hub.store.run_now(desk.edit, id_, given, hub.world, by=session.actor)
    _tell(session, "edit", done)


def _given(session: Session, fields: list[str]) -> dict[str, Json]:
    given: dict[str, Json] = {}
    for field in fields:
        name, sign, value = field.partition("=")
        if not sign or not name.rstrip(":"):
            raise Failure(session.text("bad_field", what=plain(field)), USAGE)
        try:
            given[name.removesuffix(":")] = json.loads(value) if name.endswith(":") else value
        except ValueError:
            raise Failure(session.text("bad_json", what=plain(field)), USAGE) from None
    return given


def replay(
    session: Session,
    rows: Annotated[list[str] | None, typer.Argument(help="opt.row", metavar="ROW")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="opt.all")] = False,
    sync: OfSync = "",
    connection: OfConnection = "",
    cause: OfCause = "",
    yes: Yes = False,
) -> None:
    """Try dead letters again: those named, or every one that matches."""
    ids = [row_id(session, row) for row in rows or []]
    if bool(ids) == all_:
        raise Failure(session.text("replay_none"), USAGE)
    filters = Filters(sync, connection, _cause(session, cause), limit=10_000)
    with session.hub() as hub:
        if all_:
            ids = [row.id for row in hub.store.read_now(dead_letters, hub.world, Scope.ALL, filters).rows]
            _ask(session, session.text("replay_ask", count=len(ids)), yes=yes or not ids)
        done = []
        for id_ in ids:
            done.append(hub.store.run_now(desk.replay, id_, hub.world, by=session.actor))
            hub.clock.crash_point("dlq.replayed")
    if len(done) == 1:
        _tell(session, "replay", done[0])
    elif session.as_json:
        session.screen.json({"ok": True, "replayed": [one.row.hex() for one in done]})
    else:
        session.screen.line(session.text("done.replayed", count=len(done)))


def _ask(session: Session, question: str, *, yes: bool) -> None:
    """Ask before what cannot be taken back; where nobody can be asked, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        raise Failure(session.text("need_yes"), USAGE)
    if not typer.confirm(question):
        raise Failure("", 1)


def discard(
    session: Session,
    row: Row,
    *,
    reason: Annotated[str, typer.Option("--reason", help="opt.reason")],
    yes: Yes = False,
) -> None:
    """Give a debt up."""
    id_ = row_id(session, row)
    if sys.stdin.isatty() and not os.environ.get("CI"):  # the reason is the second word of a script
        _ask(session, session.text("discard_ask", what=row), yes=yes)
    with session.hub() as hub:
        done = hub.store.run_now(desk.discard, id_, reason, hub.world, by=session.actor)
    _tell(session, "discard", done)


def resolve(
    session: Session,
    row: Row,
    *,
    evidence: Annotated[str, typer.Option("--evidence", help="opt.evidence")],
    applied: Annotated[str, typer.Option("--applied", help="opt.applied", metavar="ID")] = "",
    number: Annotated[str, typer.Option("--number", help="opt.number")] = "",
    stage: Annotated[str, typer.Option("--stage", help="opt.stage")] = "",
    not_applied: Annotated[bool, typer.Option("--not-applied", help="opt.not_applied")] = False,
) -> None:
    """Say how a write of unknown outcome ended."""
    id_ = row_id(session, row)
    if bool(applied) == not_applied:
        raise Failure(session.text("one_answer"), USAGE)
    ref = VendorRef(applied, number or None, stage or None) if applied else None
    with session.hub() as hub:
        done = hub.store.run_now(desk.resolve, id_, hub.world, ref=ref, evidence=evidence, by=session.actor)
    _tell(session, "resolve", done)


def choose(
    session: Session,
    row: Row,
    record: Annotated[str, typer.Argument(help="opt.choice", metavar="RECORD|new")],
) -> None:
    """Answer a candidate: which record it is, or a new one."""
    id_ = row_id(session, row)
    chosen = None if record == "new" else row_id(session, record)
    with session.hub() as hub:
        done = hub.store.run_now(desk.choose, id_, chosen, hub.world, by=session.actor)
    _tell(session, "choose", done)


_AFTER = {
    "ready": Shown.SCHEDULED,
    "in_doubt": Shown.IN_DOUBT,
    "waiting": Shown.WAITING,
    "parked": Shown.FAILED,
}


def _tell(session: Session, action: str, done: Done) -> None:
    row = done.row.hex()
    if session.as_json:
        told: dict[str, Any] = {"ok": True, "row": row, "state": done.state, "syncs": list(done.syncs)}
        session.screen.json(told)
        return
    state = words.state(_AFTER[done.state], session.lang) if done.state else session.text("done.gone")
    session.screen.line(session.text(f"done.{action}", row=row, state=state))
