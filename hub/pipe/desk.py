"""The repair desk: what a person may do about owed rows, syncs and connections (``pipe.md`` 3).

Plain transaction functions; each writes an act in the person's name (``by``) that says what was done. They run beside
workers and the sealer, from any process on the same store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.crm.relate import TIE, contact_of
from hub.errors import Cause
from hub.mapping import nearest
from hub.model.fields import InvalidFields
from hub.model.kinds import KINDS, Kind, check_body, key_values
from hub.pipe import rows
from hub.pipe.arrive import owe_reread
from hub.pipe.change import load_debts
from hub.pipe.claim import Attempt
from hub.pipe.decide import Send
from hub.pipe.patch import DECIDED, DERIVED, decisive, unasked
from hub.pipe.pauses import pause, resume
from hub.pipe.people import load_around
from hub.pipe.refusal import NotPossible, NotThere, Reason
from hub.pipe.revise import change_record, join_customer
from hub.pipe.settle import Settling  # the table's actions: a person's word is carried out like a look-up's
from hub.pipe.world import World
from hub.sdk.connector import Absent, Found, VendorRef
from hub.store import sql
from hub.store.engine import Tx
from hub.store.rows import Owed, Record
from hub.store.schema import owed
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = [
    "Done",
    "NotPossible",
    "NotThere",
    "Reason",
    "choose",
    "discard",
    "edit",
    "pause",
    "replay",
    "resolve",
    "resume",
]

_peek = sql.bulk_select(owed, "id sync subject target", key="id")


@dataclass(frozen=True, slots=True)
class Done:
    """What the row is now: its state, None when it is gone. ``syncs``: the deliveries an edit of a record owes."""

    row: bytes
    state: str | None
    syncs: tuple[str, ...] = ()


def replay(tx: Tx, row_id: bytes, world: World, *, by: str) -> Done:
    """Try a dead letter again; one whose write is unanswered is looked up first.

    Raises:
        NotThere: no such row.
        NotPossible: it is not parked.
    """
    view = View(tx, world.vault)
    row = _locked(view, row_id, world)
    _require_parked(row)
    cause = _code(row)
    rows.replay(view, row)
    _note(view, row, "replayed", world, cause=cause)
    return _flushed(view, row, by, "replay")


def edit(tx: Tx, row_id: bytes, fields: Mapping[str, Json], world: World, *, by: str) -> Done:
    """Repair what a dead letter is made from, never a payload.

    A delivery: the record it renders from, an ordinary new version that every sync is owed. An arrival: its source
    body, observed now. A null takes a field away. On a row whose write is unanswered only its want moves.

    Raises:
        NotThere: no such row.
        NotPossible: it is not parked, the fields are not accepted, or there is nothing to edit.
    """
    view = View(tx, world.vault)
    row = _locked(view, row_id, world)
    _require_parked(row)
    if not fields:
        raise NotPossible(Reason.FIELDS, "none are named")
    if row.is_read:
        return _edit_source(view, row, fields, world, by)
    return _edit_record(view, row, fields, world, by)


def _edit_source(view: View, row: Owed, fields: Mapping[str, Json], world: World, by: str) -> Done:
    view.load_sealed([row])
    body = row.source.get("body") if isinstance(row.source, dict) else None
    if not isinstance(body, dict):
        raise NotPossible(Reason.NO_BODY)
    changed = _edited(body, _known_fields(row, fields, world))
    row.source = {**row.source, "body": changed, "observed_at": view.now}
    _owed_again(view, row)
    _note(view, row, "edited", world, edited=sorted(fields))
    return _flushed(view, row, by, "edit")


def _owed_again(view: View, row: Owed) -> None:
    """As an owe of a parked row that is not open (an arrival never is): repaired, with a fresh budget."""
    row.want, row.cause = view.act, None
    rows.ready(view, row, repaired=True)


def _known_fields(row: Owed, fields: Mapping[str, Json], world: World) -> Mapping[str, Json]:
    """Return the fields in the form the source has them."""
    sync = world.sync(row.sync)
    if sync is None:
        raise NotPossible(Reason.NO_SYNC, row.sync)
    if not sync.mapped:  # the CRM's own fields
        return _checked(world.project.kind(sync.kind), fields)
    stream = world.stream(sync)
    known = stream.fields if stream else {}
    said = decisive(sync)
    for name in fields:
        if name.partition(".")[0] in said:
            raise NotPossible(Reason.FIELDS, f"{name}: {DECIDED}")
        if name not in known or "[]" in name:
            near = nearest(name, known)
            raise NotPossible(
                Reason.FIELDS,
                f"{name}: is no field of {sync.stream}" + (f"; did you mean {near!r}?" if near else ""),
            )
    return fields


def _edited(body: dict[str, Any], fields: Mapping[str, Json]) -> dict[str, Any]:
    """Return a copy of a source body with values set at dotted names."""
    changed = dict(body)
    for name, value in fields.items():
        head, _, rest = name.partition(".")
        if not rest or name in changed:
            changed[name] = value
        else:
            inner = changed.get(head)
            changed[head] = _edited(inner if isinstance(inner, dict) else {}, {rest: value})
    return changed


def _edit_record(view: View, row: Owed, fields: Mapping[str, Json], world: World, by: str) -> Done:
    record = view.records.get(bytes.fromhex(row.subject))
    if record is None or record.deleted is not None or record.merged_into is not None or not record.body:
        raise NotPossible(Reason.GONE, row.subject)
    checked = _checked(world.project.kind(record.kind), fields, region=record.region)
    if all(record.body.get(name) == value for name, value in checked.items()):
        raise NotPossible(Reason.SAME)
    _check_references(view, record, checked, world)
    _check_keys(view, record, checked)
    syncs = change_record(view, record, checked, world, by=by)
    _note(view, row, "edited", world, edited=sorted(checked), cause=_code(row))
    return _flushed(view, row, by, "edit", syncs=syncs)


def _checked(kind: Kind, fields: Mapping[str, Json], *, region: str | None = None) -> dict[str, Json]:
    """Return fields of a record in stored form; what the hub or an approval system says is nobody's to write here."""
    derived = DERIVED.get(kind.name, {})
    problems = [(name, derived[name]) for name in fields if name in derived] + unasked(kind.name, fields)
    checked: dict[str, Json] = {}
    try:
        checked = check_body(kind, dict(fields), complete=False, region=region)
    except InvalidFields as error:
        problems += error.problems
    if problems:
        raise NotPossible(Reason.FIELDS, "; ".join(f"{name}: {text}" for name, text in problems))
    return checked


def _check_references(view: View, record: Record, fields: Mapping[str, Json], world: World) -> None:
    named = {
        name: bytes.fromhex(value)
        for name, value in fields.items()
        if (known := KINDS[record.kind].field(name)) and known.reference and isinstance(value, str)
    }
    view.load_records(named.values(), lock=False)
    for name, id_ in named.items():
        known, found = KINDS[record.kind].fields[name], view.records.get(id_)
        if found is None or found.kind != known.reference or found.deleted is not None:
            raise NotPossible(Reason.FIELDS, f"{name}: there is no {known.reference} with this id")
    entity = fields.get("entity")
    if isinstance(entity, str) and world.project.entities and entity not in world.project.entities:
        raise NotPossible(
            Reason.FIELDS,
            f"entity: is not in the legal-entity table: {', '.join(sorted(world.project.entities))}",
        )


def _check_keys(view: View, record: Record, fields: Mapping[str, Json]) -> None:
    """A strong key (credit code) belongs to one record: say whose it is instead of failing at the index."""
    keys = key_values(KINDS[record.kind], dict(fields))
    view.lock_keys([(name, value) for name, value, _ in keys])
    view.load_keys([(name, value) for name, value, _ in keys])
    for name, value, strong in keys:
        for holder, _ in view.keys.get((name, value), ()) if strong else ():
            if holder != record.id:
                raise NotPossible(Reason.TAKEN, f"{name.partition('.')[2]} {value}: {holder.hex()}")


def resolve(tx: Tx, row_id: bytes, world: World, *, ref: VendorRef | None, evidence: str, by: str) -> Done:
    """Say how an unanswered write ended: it was applied to ``ref``, or (None) it was not and is made anew.

    Raises:
        NotThere: no such row.
        NotPossible: it is not parked or not open, an earlier send may still take effect, ``ref`` is another object's,
            or there is no evidence.
    """
    view = View(tx, world.vault)
    row = _locked(view, row_id, world)
    _require_parked(row)
    if not row.open or row.is_read:
        raise NotPossible(Reason.NOT_OPEN)
    if view.now < (row.absent_after or 0):
        raise NotPossible(Reason.TOO_EARLY)
    if not evidence.strip():
        raise NotPossible(Reason.NO_WORDS)
    sync = world.sync(row.sync)
    if sync is None or world.object(sync) is None:
        raise NotPossible(Reason.NO_SYNC, row.sync)
    cause = _code(row)
    result = Absent() if ref is None else Found(ref, as_sent=True)
    attempt = Attempt(row.id, row.sync, row.subject, row.fence or 0, tx.epoch, row.attempts, Send.FIND,
                      passed=True, prior=row.absent_after)  # fmt: skip
    settling = Settling(view, world)
    row = settling.load([(attempt, result)])[row.id] or row
    if ref is None:
        row.want = view.act  # a new debt, so that the next attempt carries a new key
    else:
        _require_ours(view, row, ref, (sync.connection, sync.object, sync.org))
    row.cause = None
    settling.one(row, attempt, result)
    if ref is not None:
        owe_reread(view, sync, ref.vendor_id, world, at=view.now, record=row.subject)
    answer = "not_applied" if ref is None else "applied"
    _note(
        view,
        row,
        "resolved",
        world,
        answer=answer,
        evidence=evidence,
        vendor_id=ref.vendor_id if ref else None,
        cause=cause,
    )
    return _flushed(view, row, by, "resolve")


def _require_ours(view: View, row: Owed, ref: VendorRef, at: tuple[str, str, str]) -> None:
    if row.ref is not None and row.ref["vendor_id"] != ref.vendor_id:
        raise NotPossible(Reason.OTHER_OBJECT, row.ref["vendor_id"])
    known = view.xrefs.get((*at, ref.vendor_id))
    if known is not None and known.record.hex() != row.subject:
        raise NotPossible(Reason.TAKEN, f"{ref.vendor_id}: {known.record.hex()}")


def discard(tx: Tx, row_id: bytes, reason: str, world: World, *, by: str) -> Done:
    """Give a debt up, in whatever state it is; who waits for its object is woken and raises it again, visibly.

    Raises:
        NotThere: no such row.
        NotPossible: a write of it is unanswered, or no reason is given.
    """
    view = View(tx, world.vault)
    row = _locked(view, row_id, world)
    if row.open:
        raise NotPossible(Reason.BUSY if row.is_read else Reason.OPEN)
    if not reason.strip():
        raise NotPossible(Reason.NO_WORDS)
    _note(view, row, "discarded", world, reason=reason, state=row.state, cause=_code(row))
    if row.target:
        view.wake(rows.xref_key(row.target))
    rows.delete(view, row)
    view.flush(by, "discard")
    return Done(row_id, None)


def choose(tx: Tx, row_id: bytes, chosen: bytes | None, world: World, *, by: str) -> Done:
    """Answer a candidate: the arrival is this record, or (None) somebody new.

    Raises:
        NotThere: no such row.
        NotPossible: the row asks for no choice, the record is not among its candidates, or its body is not kept.
    """
    view = View(tx, world.vault)
    row = _locked(view, row_id, world)
    _require_parked(row)
    candidates = (row.cause or {}).get("candidates") or ()
    if _code(row) != Cause.CANDIDATE or (chosen is not None and chosen.hex() not in candidates):
        raise NotPossible(Reason.NOT_CANDIDATE, ", ".join(candidates))
    if chosen is not None:
        view.load_records([chosen], lock=False)
        found = view.records.get(chosen)
        if found is None or found.deleted is not None or found.merged_into is not None:
            raise NotPossible(Reason.GONE, chosen.hex())
    if (row.cause or {}).get("field") == TIE:
        _join(view, row, chosen, world, by=by)
    else:
        view.load_sealed([row])
        if not isinstance(row.source, dict):
            raise NotPossible(Reason.NO_BODY)
        row.source = {**row.source, "chosen": chosen.hex() if chosen else ""}
    _owed_again(view, row)
    _note(
        view,
        row,
        "chosen",
        world,
        record=chosen.hex() if chosen else None,
        choice=chosen.hex() if chosen else "new",
    )
    return _flushed(view, row, by, "choose")


def _join(view: View, row: Owed, chosen: bytes | None, world: World, *, by: str) -> None:
    """Give the contact of a follow its customer; the follow itself has taken effect and is only read once more."""
    follow = _arriving(view, row, world)
    if follow is None:
        raise NotPossible(Reason.GONE, row.subject)
    load_debts(view, [bytes.fromhex(follow)], world)
    record = view.records[bytes.fromhex(follow)]
    load_around(view, [record.body], world)
    contact = contact_of(view, record.body)
    if contact is None or contact.body.get("customer"):
        raise NotPossible(Reason.SAME)
    if join_customer(view, contact, chosen, world, by=by, connection=row.connection) is None:
        raise NotPossible(
            Reason.FIELDS, "no company's name is known of this person: a customer cannot be made"
        )
    row.source = None


# what they share --------------------------------------------------------------------------------------------


def _locked(view: View, row_id: bytes, world: World) -> Owed:
    """Lock a row in the lock order: for a delivery its record and that record's deliveries first."""
    found = _peek(view.tx, [(row_id,)])
    if not found:
        raise NotThere(row_id.hex())
    _, sync, subject, target = found[0]
    if target is not None:
        load_debts(view, [bytes.fromhex(subject)], world)
    if (sync, subject) not in view.owed:
        view.lock_owed([(sync, subject)])
    row = view.owed.get((sync, subject))
    if row is None or row.id != row_id:  # paid between the look and the lock
        raise NotThere(row_id.hex())
    return row


def _require_parked(row: Owed) -> None:
    if row.state != rows.PARKED:
        raise NotPossible(Reason.NOT_PARKED, row.state)


def _code(row: Owed) -> str | None:
    return (row.cause or {}).get("code")


def _note(
    view: View, row: Owed, outcome: str, world: World, *, record: str | None = None, **known: Any
) -> None:
    told = {name: value for name, value in known.items() if value is not None}
    about = record or (_arriving(view, row, world) if row.is_read else row.subject)
    view.note(record=about, row=row.id.hex(), sync=row.sync, subject=row.subject, outcome=outcome, **told)


def _arriving(view: View, row: Owed, world: World) -> str | None:
    """Return the record an arrival's object is known as, None while nobody has decided."""
    sync = world.sync(row.sync)
    if sync is None:
        return None
    org, _, vendor_id = row.subject.partition("/")
    at = (sync.connection, sync.object, org, vendor_id)
    if at not in view.xrefs:
        view.load_xrefs([at], lock=False)
    found = view.xrefs.get(at)
    return found.record.hex() if found else None


def _flushed(view: View, row: Owed, by: str, verb: str, *, syncs: list[str] | None = None) -> Done:
    view.flush(by, verb)
    left = view.owed.get((row.sync, row.subject))
    return Done(row.id, left.state if left is not None and left.id == row.id else None, tuple(syncs or ()))
