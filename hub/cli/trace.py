"""``hub trace ID``: one record through every hop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from hub.cli import words
from hub.cli.command import add
from hub.cli.rows import row_json
from hub.cli.screen import duration, instant, local, plain, shorten
from hub.cli.session import NOT_FOUND, Failure, Session
from hub.clock import SECOND
from hub.model.kinds import KINDS
from hub.model.record import Scope
from hub.pipe.queries import Hop, Identity, Trace, trace
from hub.pipe.shown import title_of

__all__ = ["register", "show"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the command."""
    add(app, lang, show, "trace")


def show(
    session: Session,
    id: Annotated[str, typer.Argument(help="opt.id", metavar="ID")],
    *,
    values: Annotated[bool, typer.Option("--values", help="opt.values")] = False,
) -> None:
    """Show one record through every hop with its times."""
    with session.hub() as hub:
        opener = hub.vault.open_values if values else None
        found = hub.store.read_now(trace, hub.world, Scope.ALL, id, open_values=opener)
    if found is None:
        raise Failure(session.text("nothing_traced", what=plain(id)), NOT_FOUND)
    if session.as_json:
        session.screen.json(_json(found))
    else:
        _print(session, found)


def _print(session: Session, found: Trace) -> None:
    screen, lang = session.screen, session.lang
    _print_record(session, found)
    if found.identities:
        screen.line(session.text("label.identity"), style="bold")
        heads = [
            session.text(f"head.{name}")
            for name in ("system", "number", "vendor_id", "status_there", "complete")
        ]
        screen.table(heads, [_identity(one) for one in found.identities], whole=(1, 2))
    screen.line(session.text("label.hops"), style="bold")
    heads = [session.text(f"head.{name}") for name in ("time", "after", "step", "sync", "known", "who")]
    screen.table(heads, [_hop(hop, lang) for hop in _told_once(found.hops)], whole=(0, 1, 2, 3))
    if found.earlier:
        screen.line(session.text("label.earlier"))
    if not found.owed:
        screen.line(session.text("label.nothing_owed"))
        return
    screen.line(session.text("label.owed"), style="bold")
    for row in found.owed:
        cause = f"{session.cause(row.cause.code)}: {shorten(row.cause.message or '')}" if row.cause else ""
        screen.pairs({row.sync: words.state_of(row, lang), row.id.hex(): f"{local(row.due)}  {cause}"})
    for row in found.blocked_by:
        screen.line(f"{session.text('label.blocked_by')}: {row.sync} {row.title or row.subject} "
                    f"({words.state_of(row, lang)}) {row.id.hex()}")  # fmt: skip


def _print_record(session: Session, found: Trace) -> None:
    if found.record is None:
        return
    kind, record = KINDS[found.record.kind], found.record
    name = kind.title_zh if session.lang == "zh" else kind.title_en
    session.screen.line(f"{name} {title_of(record.body) or ''}  {record.id.hex()}", style="bold")
    session.screen.pairs(
        {
            session.text("label.version"): record.version,
            session.text("label.region"): record.region,
            session.text("label.entity"): record.entity,
            session.text("label.also"): ", ".join(found.also),
        }
    )


def _identity(one: Identity) -> tuple[object, ...]:
    place = "/".join(part for part in (one.connection, one.object, one.org) if part)
    gone = f"gone {local(one.gone)}" if one.gone else local(one.complete)
    return (place, one.number, one.vendor_id, one.stage, gone)


def _hop(hop: Hop, lang: str) -> tuple[object, ...]:
    said = words.outcome(hop.outcome, lang)
    return (
        local(hop.at),
        f"+{duration(hop.since)}" if hop.since is not None else "",
        said,
        hop.sync,
        _details(hop),
        hop.actor,
    )


_REFUSED = ("park", "park_open")
_NOISE = frozenset({"answer", "key", "kind"})


def _told_once(hops: Sequence[Hop]) -> Iterator[Hop]:
    """Leave out "became a dead letter" right behind the refusal that says why."""
    before: Hop | None = None
    for hop in hops:
        if not (before and hop.outcome == "parked" and hop.act == before.act and before.outcome in _REFUSED):
            yield hop
        before = hop


def _details(hop: Hop) -> str:
    known = {name: value for name, value in _known(hop).items() if name not in _NOISE}
    if hop.values:
        known.pop("fields", None)
    said = [f"{name}={shorten(value, 80)}" for name, value in known.items()]
    for name, value in ((hop.values or {}).get("after") or {}).items():
        before = ((hop.values or {}).get("before") or {}).get(name)
        change = shorten(value, 60) if before is None else f"{shorten(before, 60)} → {shorten(value, 60)}"
        said.append(f"{name}: {change}")
    return "  ".join(said)


def _known(hop: Hop) -> dict[str, Any]:
    """Return an item's facts; of changed fields their names alone: their digests tell nobody anything."""
    known = dict(hop.known)
    fields = known.get("fields")
    if isinstance(fields, Mapping):
        known["fields"] = sorted(fields)
    return known


def _json(found: Trace) -> dict[str, Any]:
    record = found.record
    return {
        "record": None
        if record is None
        else {
            "id": record.id.hex(),
            "kind": record.kind,
            "title": title_of(record.body),
            "version": record.version,
            "region": record.region,
            "entity": record.entity,
            "owner": record.owner,
            "deleted": instant(record.deleted),
        },
        "identities": [
            {
                "connection": one.connection,
                "object": one.object,
                "org": one.org,
                "id": one.vendor_id,
                "number": one.number,
                "primary": one.primary,
                "stage": one.stage,
                "complete": instant(one.complete),
                "gone": instant(one.gone),
                "seen": instant(one.seen),
            }
            for one in found.identities
        ],
        "hops": [
            {
                "at": instant(hop.at),
                "after_seconds": None if hop.since is None else hop.since / SECOND,
                "act": hop.act,
                "seq": hop.sealed,
                "actor": hop.actor,
                "verb": hop.verb,
                "outcome": hop.outcome,
                "sync": hop.sync,
                "subject": hop.subject,
                "known": _known(hop),
                **({"values": hop.values} if hop.values else {}),
            }
            for hop in found.hops
        ],
        "owed": [row_json(row) for row in found.owed],
        "blocked_by": [row_json(row) for row in found.blocked_by],
        "earlier_left_out": found.earlier,
        "also": list(found.also),
    }
