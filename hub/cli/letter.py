"""One dead letter in full: for a person with the exact next command, for a program as JSON."""

from __future__ import annotations

from typing import Any

from hub.cli import words
from hub.cli.rows import row_json
from hub.cli.screen import local, shorten
from hub.cli.session import Session
from hub.errors import Cause
from hub.model.kinds import KINDS
from hub.pipe.advice import Place
from hub.pipe.queries import DeadLetter
from hub.pipe.shown import RowShown, Shown

__all__ = ["letter_json", "next_commands", "print_letter"]


def next_commands(letter: DeadLetter) -> list[str]:
    """Return the commands that repair a row, the likeliest first."""
    row = letter.row
    id_ = row.id.hex()
    again = f"hub dlq replay {id_}"
    if row.state is not Shown.FAILED:
        return [f"hub trace {row.record.hex() if row.record else id_}"]
    if row.open:
        return [
            again,
            f"hub dlq resolve {id_} --applied ID --evidence TEXT",
            f"hub dlq resolve {id_} --not-applied --evidence TEXT",
        ]
    if row.cause and row.cause.code is Cause.CANDIDATE:
        return [*(f"hub dlq choose {id_} {one}" for one in row.cause.candidates), f"hub dlq choose {id_} new"]
    edit = f"hub dlq edit {id_} {' '.join(f'{name}=VALUE' for name in _fields(row)) or 'FIELD=VALUE'}"
    match row.place:
        case Place.RECORD:
            return [edit, again]
        case Place.PERIOD:
            return [again, edit]
        case Place.MAPPING | Place.VALUE_MAP:
            return [f"hub mapping test {row.origin.file if row.origin else ''}".strip(), again, edit]
        case Place.CONNECTION:
            return [f"hub check {row.connection}", again]
        case Place.VENDOR:
            return [again, edit] if _fields(row) else [again, f"hub check {row.connection}"]
        case Place.IDENTITY:
            return [again, edit, f"hub dlq discard {id_} --reason TEXT"]
        case _:
            return [again, f"hub trace {row.record.hex() if row.record else id_} --output json"]


def _fields(row: RowShown) -> list[str]:
    """Return the fields an edit would name: of a delivery the record's, of an arrival the source's."""
    if row.origin is not None:
        return list(row.origin.reads)[:3]
    named = row.cause.field if row.cause else None
    known = KINDS.get(row.kind or "")
    return [named] if named and (row.inbound or (known and known.field(named))) else []


def print_letter(session: Session, letter: DeadLetter, now: int) -> None:
    """Print a row for the person who repairs it."""
    row, cause, text = letter.row, letter.row.cause, session.text
    screen = session.screen
    screen.line(f"{row.sync}  {row.title or row.subject}", style="bold")
    origin = row.origin
    screen.pairs(
        {
            text("head.id"): row.id.hex(),
            text("head.state"): f"{words.state_of(row, session.lang)}  {local(row.since)}",
            text("label.attempts"): row.attempts or None,
            text("head.cause"): _cause(session, row),
            text("label.said"): cause.message if cause else None,
            text("label.code"): cause.vendor_code if cause else None,
            text("head.field"): cause.field if cause else None,
            text("label.from"): f"{origin.file}:{origin.line}" if origin else None,
            text("label.reads"): ", ".join(origin.reads) if origin else None,
            text("label.candidates"): "  ".join(
                f"{id_} {title or ''}" for id_, title in letter.candidates.items()
            ),
            text("label.refs"): ", ".join(cause.refs) if cause else None,
            text("label.open"): _open(session, row, now),
            text("head.place"): session.cause(row.place) if row.place else None,
            text("label.record"): row.record.hex() if row.record else None,
        }
    )
    _print_fields(session, letter)
    if letter.blocked_count:
        screen.line(f"{text('label.blocked')}: {letter.blocked_count}", style="bold")
        screen.table(
            [text("head.id"), text("head.sync"), text("head.what")],
            [(one.id.hex(), one.sync, one.title or one.subject) for one in letter.blocked],
        )
    screen.line(text("label.next"), style="bold")
    for command in next_commands(letter):
        screen.line(f"  {command}")


def _cause(session: Session, row: RowShown) -> str | None:
    cause = row.cause
    if cause is None:
        return None
    why = f" ({session.cause(cause.why)})" if cause.why and cause.why is not cause.code else ""
    return f"{session.cause(cause.code)}{why}  [{cause.code.value}]"


def _open(session: Session, row: RowShown, now: int) -> str | None:
    if not row.open or row.inbound:
        return None
    if row.absent_after is not None and row.absent_after > now:
        return session.text("label.open.later", at=local(row.absent_after))
    return session.text("label.open.now")


def _print_fields(session: Session, letter: DeadLetter) -> None:
    """Show what an edit would change."""
    kept = letter.source.get("body") if letter.source else letter.body
    if not isinstance(kept, dict):
        return
    label = "label.source" if letter.source else "label.record"
    session.screen.line(session.text(label), style="bold")
    session.screen.pairs({name: shorten(value) for name, value in kept.items()})


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a row for programs."""
    return {
        **row_json(letter.row),
        "source": letter.source,
        "body": letter.body,
        "blocked_count": letter.blocked_count,
        "blocked": [{"id": one.id.hex(), "sync": one.sync, "title": one.title} for one in letter.blocked],
        "candidate_titles": dict(letter.candidates),
        "next": next_commands(letter),
    }
