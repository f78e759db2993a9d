"""What an arrival means for the CRM: identify → merge → verdict. Pure over what the view has loaded.

The caller has mapped the source in and loaded xref, match keys and records; it applies the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hub.crm.follows import newest_leaving
from hub.crm.identity import Known, New, Unsure, identify
from hub.crm.merge import Conflict, Digest, Merged, merge
from hub.errors import Cause
from hub.mapping import Failed, Left, Wait
from hub.model.fields import InvalidField
from hub.model.kinds import KINDS, Kind, key_values, normalise, strange_tags
from hub.model.lattice import LATTICES, forward
from hub.project.values import ContactRules, KindRules

if TYPE_CHECKING:
    from hub.mapping import Outcome
    from hub.model.record import Json
    from hub.store.rows import Record, Xref
    from hub.store.view import View

__all__ = ["Arrival", "Change", "Park", "People", "RecordChange", "Same", "Verdict", "change_of", "decide"]


@dataclass(slots=True)
class Arrival:
    """One record of a source, mapped in. ``at``: (connection, object, org, vendor id). ``entity``: whose books the source is."""

    kind: str
    at: tuple[str, str, str, str]
    outcome: Outcome
    region: str
    authority: Callable[[str], str]
    entity: str | None = None
    owner: str | None = None
    deleted: bool = False
    newer: bool | None = None
    repair: bool = False
    """It comes again because a mapping was bad: what the CRM changed since is not overwritten, a person decides."""
    chosen: bytes | None = None
    """A person decided: it is this record (b"" = a new one)."""
    people: People | None = None
    """What a follow needs to know beside: how contacts follow from it."""
    known: Kind | None = None
    """The kind with the custom fields that the project declares; None: it declares none."""


@dataclass(slots=True)  # not frozen: that makes five times as dear what is made for every record
class RecordChange:
    """One record after the change. ``record`` is None for a new one; ``before`` holds the old values of ``changed``."""

    record: Record | None
    kind: str
    body: dict[str, Json]
    changed: frozenset[str]
    before: dict[str, Json] = field(default_factory=dict)
    region: str = ""
    entity: str | None = None
    owner: str | None = None
    refers: tuple[tuple[str, int], ...] = ()
    """References to records of the same change that are still to be made: (field, place in ``Change.records``)."""
    by: tuple[str, ...] = ()
    """Who decided it: the approvers that an act names."""


@dataclass(slots=True)  # as RecordChange
class Change:
    """Records to write and what both sides agree on now (``pairs`` of the arriving object's xref).

    The first record is the arriving object's own. ``gone``: the vendor shows the object no more. ``then``: what stays
    for a person once the change took effect.
    """

    records: tuple[RecordChange, ...]
    merged: Merged
    conflicts: tuple[Conflict, ...] = ()
    gone: bool = False
    then: Park | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """Nothing changed; ``pairs`` may still be new (both sides came to the same value). ``then``: as in `Change`."""

    record: bytes | None
    pairs: dict[str, list[Any]] = field(default_factory=dict)
    gone: bool = False
    then: Park | None = None


@dataclass(frozen=True, slots=True)
class People:
    """How contacts follow from follows: the rules, and employee -> region path (None: the connection's own)."""

    rules: ContactRules
    region_of: Callable[[str | None], str]
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """A person must decide."""

    cause: Cause
    field: str | None = None
    message: str | None = None
    candidates: tuple[str, ...] = ()


Verdict: TypeAlias = Change | Same | Park | Wait


def decide(view: View, arrival: Arrival, rules: KindRules, digest: Digest) -> Verdict:
    """Return what the arrival means, for its own record alone (`hub.crm.relate` goes on to what hangs on it)."""
    xref = view.xrefs.get(arrival.at)
    record = view.records.get(xref.record) if xref else None
    if arrival.deleted:
        return _ended(record, xref)
    outcome = arrival.outcome
    if isinstance(outcome, Wait):
        return outcome
    if isinstance(outcome, Failed):
        return Park(Cause.MAPPING, outcome.field, outcome.message)
    if isinstance(outcome, Left):
        return Same(xref.record if xref else None)
    checked = _checked(arrival.known or KINDS[arrival.kind], outcome.fields)
    if isinstance(checked, Park):
        return checked
    return _resolved(view, arrival, checked, xref, record, rules=rules, digest=digest)


def _ended(record: Record | None, xref: Xref | None) -> Change | Same:
    """The vendor shows the object no more: a state that was still open ends, everything else stays as it is."""
    lattice = LATTICES.get(record.kind) if record is not None else None
    if record is None or lattice is None or record.deleted is not None:
        return Same(xref.record if xref else None, gone=xref is not None)
    ended = forward(record.kind, record.body, {lattice.field: lattice.gone}).fields
    return replace(change_of(record, Merged(taken=ended)), gone=True)


def _resolved(
    view: View,
    arrival: Arrival,
    checked: dict[str, Json],
    xref: Xref | None,
    record: Record | None,
    *,
    rules: KindRules,
    digest: Digest,
) -> Verdict:
    """Say whose record it is, then create or merge."""
    if record is not None and record.data_key is None and not record.body:
        return Same(record.id)  # erased: a later item of the same object changes nothing
    if record is None:
        chosen = _chosen(view, arrival)
        found = identify(view, arrival.kind, checked, arrival.region, rules) if chosen is None else chosen
        if isinstance(found, Unsure):
            candidates = tuple(id_.hex() for id_ in found.candidates)
            return Park(Cause.CANDIDATE, "+".join(found.rule), candidates=candidates)
        record = found.record if isinstance(found, Known) else None
    seen = _seen_in(arrival, record, checked)
    if isinstance(seen, Park):
        return seen
    checked, hidden = seen
    made = (
        _create(arrival, checked, digest)
        if record is None
        else _update(arrival, record, checked, xref, digest)
    )
    if hidden and isinstance(made, Change):
        made = replace(made, conflicts=(*made.conflicts, *hidden))
    return _unless_taken(view, made)


def _seen_in(
    arrival: Arrival, record: Record | None, fields: dict[str, Json]
) -> tuple[dict[str, Json], tuple[Conflict, ...]] | Park:
    """Return the fields that the record's region has, and those it has not as conflicts that its region won.

    A record that moved to another region goes on arriving with the fields of the region it left: what the CRM holds of
    them stays as it is, and the rest takes effect. A tag that the region does not have is a mistake at the source.
    """
    kind = arrival.known
    if kind is None or not kind.is_regional:
        return fields, ()
    region = record.region if record is not None else _region_of_new(arrival, fields)
    if strange := strange_tags(kind, fields, region):
        return Park(Cause.MAPPING, *strange[0])
    hidden = kind.hidden(region, fields)
    if not hidden:
        return fields, ()
    held = record.body if record is not None else {}
    lost = tuple(Conflict(name, "region", fields[name]) for name in hidden if fields[name] != held.get(name))
    return {name: value for name, value in fields.items() if name not in hidden}, lost


def _region_of_new(arrival: Arrival, fields: Mapping[str, Json]) -> str:
    """Return where a record that is made will lie: a follow where its employee does."""
    employee = fields.get("employee")
    if arrival.people is not None and isinstance(employee, str):
        return arrival.people.region_of(employee)
    return arrival.region


def _unless_taken(view: View, verdict: Verdict) -> Verdict:
    """A strong key (credit code) belongs to one record: a change that would give it to a second one waits for a person."""
    for one in verdict.records if isinstance(verdict, Change) else ():
        if not any(one.body.get(name) for name in KINDS[one.kind].strong_keys):
            continue
        own = one.record.id if one.record else None
        for name, value, strong in key_values(KINDS[one.kind], one.body):
            other = next((id_ for id_, _ in view.keys.get((name, value), ()) if id_ != own), None)
            if strong and other is not None:
                return Park(
                    Cause.TAKEN, name.partition(".")[2], f"{value} belongs to {other.hex()}", (other.hex(),)
                )
    return verdict


def _chosen(view: View, arrival: Arrival) -> Known | New | None:
    if arrival.chosen is None:
        return None
    return Known(view.records[arrival.chosen]) if arrival.chosen else New()


def _checked(kind: Kind, fields: Mapping[str, Json]) -> dict[str, Json] | Park:
    try:
        return {name: normalise(kind, name, value) for name, value in fields.items()}
    except InvalidField as error:
        return Park(Cause.MAPPING, error.field, str(error))


def _create(arrival: Arrival, fields: dict[str, Json], digest: Digest) -> Verdict:
    needed = KINDS[arrival.kind].required
    if arrival.known is not None:
        needed = arrival.known.required_in(_region_of_new(arrival, fields))
    for name in needed:
        if fields.get(name) in (None, ""):
            return Park(Cause.MISSING_FIELD, name)
    body: dict[str, Json] = {name: value for name, value in fields.items() if value is not None}
    merged = merge({}, fields, {}, digest=digest, authority=arrival.authority)
    change = RecordChange(
        None,
        arrival.kind,
        body,
        frozenset(body),
        region=arrival.region,
        entity=_text(body, "entity") or arrival.entity,
        owner=arrival.owner,
    )
    return Change((change,), merged)


def _text(body: Mapping[str, Json], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None


def _update(
    arrival: Arrival, record: Record, fields: dict[str, Json], xref: Xref | None, digest: Digest
) -> Verdict:
    may = forward(record.kind, record.body, newest_leaving(record.body, fields))
    merged = merge(
        record.body,
        may.fields,
        xref.snapshot if xref else {},
        digest=digest,
        authority=_of_repair(arrival.authority) if arrival.repair else arrival.authority,
        newer=arrival.newer,
        late=xref is not None and xref.seen < xref.rest_until,
    )
    if merged.manual:
        return Park(Cause.CONFLICT, merged.manual)
    if merged.flipping:
        return Park(Cause.FLIP_FLOP, merged.flipping)
    verdict = change_of(record, merged, owner=arrival.owner)
    refused = may.refused or ((merged.left,) if merged.left else None)
    return replace(verdict, then=Park(Cause.CONFLICT, *refused)) if refused else verdict


def _of_repair(authority: Callable[[str], str]) -> Callable[[str], str]:
    """Where the CRM wins anyway its later value stays; where it would lose, a person says."""
    return lambda name: "crm" if authority(name) == "crm" else "person"


def change_of(record: Record, merged: Merged, *, owner: str | None = None) -> Change | Same:
    """Turn a merge into the change of a record, or into Same when the CRM keeps its values.

    What a write's answer shows passes here too: its state may be older than what came meanwhile.
    """
    merged.taken = forward(record.kind, record.body, merged.taken).fields
    if not merged.taken and not merged.owe_back and owner in (None, record.owner):
        return Same(record.id, merged.pairs)
    body = {**record.body, **merged.taken}
    body = {name: value for name, value in body.items() if value is not None}
    changed = frozenset(name for name in merged.taken if record.body.get(name) != body.get(name))
    before = {name: record.body.get(name) for name in changed}
    entity = _text(body, "entity") or record.entity
    return Change(
        (
            RecordChange(
                record, record.kind, body, changed, before, record.region, entity, owner or record.owner
            ),
        ),
        merged,
        tuple(merged.conflicts),
    )
