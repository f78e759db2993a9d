"""An owed row as JSON, and the ids that commands take."""

from __future__ import annotations

from typing import Any

from hub.cli.screen import instant, plain
from hub.cli.session import NOT_FOUND, Failure, Session
from hub.pipe.shown import CauseShown, RowShown

__all__ = ["row_id", "row_json"]


def row_id(session: Session, text: str) -> bytes:
    """Return the id a person typed.

    Raises:
        Failure: it is no id; exit 3, for nothing has that name.
    """
    plain_text = text.strip().replace("-", "").lower()
    if len(plain_text) != 32 or set(plain_text) - set("0123456789abcdef"):
        raise Failure(session.text("bad_id", what=plain(text)), NOT_FOUND)
    return bytes.fromhex(plain_text)


def row_json(row: RowShown) -> dict[str, Any]:
    """Return a row for programs; times are ISO 8601."""
    return {
        "id": row.id.hex(),
        "sync": row.sync,
        "subject": row.subject,
        "connection": row.connection,
        "direction": "in" if row.inbound else "out",
        "record": row.record.hex() if row.record else None,
        "kind": row.kind,
        "title": row.title,
        "state": row.state.value,
        "due": instant(row.due),
        "since": instant(row.since),
        "attempts": row.attempts,
        "open": row.open,
        "step": row.step,
        "absent_after": instant(row.absent_after),
        "waits_for": row.waits_for,
        "cause": _cause(row.cause) if row.cause else None,
        "fix": row.place.value if row.place else None,
        "made_by": None
        if row.origin is None
        else {
            "file": row.origin.file,
            "line": row.origin.line,
            "fields": list(row.origin.reads),
            "value_map": row.origin.value_map,
        },
    }


def _cause(cause: CauseShown) -> dict[str, Any]:
    return {
        "code": cause.code.value,
        "zh": cause.code.zh,
        "en": cause.code.en,
        "message": cause.message,
        "vendor_code": cause.vendor_code,
        "field": cause.field,
        "at": instant(cause.at),
        "candidates": list(cause.candidates),
        "refs": list(cause.refs),
        "blocked_by": cause.by,
        "why": cause.why.value if cause.why else None,
    }
