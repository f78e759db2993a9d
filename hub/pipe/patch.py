"""Fields of one record through the API: the change, its debts and its act in one transaction; the answer is the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.crm.external import VersionMoved, WriteAnswer
from hub.crm.query import Stored, get
from hub.model.fields import InvalidFields
from hub.model.kinds import KINDS, key_values, misplaced
from hub.model.lattice import LATTICES
from hub.model.record import Scope
from hub.pipe.change import load_debts
from hub.pipe.people import FOLLOW
from hub.pipe.refusal import NotThere
from hub.pipe.revise import change_record
from hub.pipe.world import World
from hub.store.rows import Record
from hub.store.tx import Tx
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.project.values import Sync

__all__ = ["DECIDED", "DERIVED", "FIXED", "RecordPatch", "decisive", "patch", "unasked"]

_VENDOR: Final = "comes from the vendor alone: it changes there and is read from there"

_ROUTED: Final = "comes from the routing table (approvals in hub.yaml): it cannot be set"

DECIDED: Final = "is said by the system that decides, the one the approval was routed to: it cannot be set"

DERIVED: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        FOLLOW: {"state": "is derived from what the vendor shows of the relation: it cannot be set"},
        "approval": {
            **dict.fromkeys(("route", "connection", "template", "approvers", "cc"), _ROUTED),
            **dict.fromkeys((*LATTICES["approval"].told, "external_ref"), DECIDED),
        },
        "payment": {"released": "follows from the payment's contract: it cannot be set"},
    }
)
"""Per kind: fields that the hub itself works out, each with the sentence that says so."""


def unasked(kind: str, fields: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the problem of a state that whoever asks for a decision would decide himself."""
    lattice = LATTICES.get(kind)
    if lattice is None or lattice.field not in lattice.decides(fields):
        return []
    return [(lattice.field, f"one of {', '.join(lattice.asked)} is asked for; what it comes to {DECIDED}")]


def decisive(sync: Sync) -> frozenset[str]:
    """Return the fields of a source by which a system says what it decided, and on which form: nobody says it here."""
    lattice, targets = LATTICES.get(sync.kind), sync.mapping.fields
    if lattice is None:
        return frozenset()
    told = [targets[name] for name in (lattice.field, *lattice.told, "template", "no") if name in targets]
    return frozenset(name.partition(".")[0] for target in told for name in target.reads)


FIXED: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "contact": {"owner": "is derived from the employees who follow the contact: it cannot be set"},
        "customer": {"owner": "is not changed here: send the record by your own id (PUT) with its owner"},
        FOLLOW: {
            **DERIVED[FOLLOW],
            "owner": "is the employee of the follow: it cannot be set",
            **dict.fromkeys(("contact", "employee", "since", "deleted_by_contact_at", "way"), _VENDOR),
        },
    }
)
"""Per kind whose records may be changed: what stays as it is, each with the sentence that says why."""


@dataclass(frozen=True, slots=True)
class RecordPatch:
    """One checked change of a record (16 bytes). ``fields``: in stored form, references are record ids, None takes away.

    ``scope``: what the caller may see. ``by``: whose act it is. ``if_version``: the version the caller has seen, None:
    any.
    """

    record: bytes
    kind: str
    fields: dict[str, Json]
    scope: Scope
    by: str
    if_version: int | None = None


def patch(tx: Tx, asked: RecordPatch, world: World) -> WriteAnswer:
    """Change a record: an ordinary new version that every sync is owed. What changes nothing writes nothing.

    Raises:
        NotThere: no such living record of the kind in the caller's scope.
        VersionMoved: ``if_version`` was given and is not the record's.
        InvalidFields: a field or tag that the record's region does not have, a reference to nobody, a strong key that another record holds, a legal entity out of scope.
    """
    view = View(tx, world.vault)
    keys = [(name, value) for name, value, strong in key_values(KINDS[asked.kind], asked.fields) if strong]
    view.lock_keys(keys)
    record = _locked(view, asked, world)
    if asked.if_version not in (None, record.version):
        raise VersionMoved(record.version)
    fields = {name: value for name, value in asked.fields.items() if record.body.get(name) != value}
    if fields:
        problems = misplaced(world.project.kind(record.kind), fields, record.region)
        problems += [*_nobody(view, record, fields), *_taken(view, record, keys, asked.scope)]
        entity = fields.get("entity") or record.entity
        if not asked.scope.admits(record.region, str(entity) if entity else None, record.owner):
            problems.append(("entity", "is not one of yours"))
        if problems:
            raise InvalidFields(problems)
        record.entity = str(entity) if entity else None
        change_record(view, record, fields, world, by=asked.by)
        view.flush(asked.by, "patch")
    return WriteAnswer(
        record.id,
        record.version,
        created=False,
        body=record.body,
        region=record.region,
        entity=record.entity,
        owner=record.owner,
    )


def _locked(view: View, asked: RecordPatch, world: World) -> Record:
    """Lock the record, with a follow its contact too, and what a change of them may owe; look again under the lock."""
    seen = get(view.tx, asked.scope, asked.record, kind=asked.kind)
    if seen is None:
        raise NotThere(asked.record.hex())
    load_debts(view, sorted({seen.id, *_beside(seen)}), world)
    record = view.records.get(seen.id)
    if (
        record is None
        or not record.body
        or record.deleted is not None
        or record.merged_into is not None
        or not asked.scope.admits(record.region, record.entity, record.owner)
    ):
        raise NotThere(asked.record.hex())
    return record


def _beside(seen: Stored) -> tuple[bytes, ...]:
    contact = seen.body.get("contact") if seen.kind == FOLLOW else None
    return (bytes.fromhex(contact),) if isinstance(contact, str) else ()


def _nobody(view: View, record: Record, fields: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return the references to records that are not there: they may have gone since the caller's body was read."""
    known = KINDS[record.kind].fields
    named = {
        name: bytes.fromhex(value)
        for name, value in fields.items()
        if name in known and known[name].reference and isinstance(value, str)
    }
    view.load_records(named.values(), lock=False)
    found = {name: view.records.get(id_) for name, id_ in named.items()}
    return [
        (name, f"there is no {known[name].reference} with this id")
        for name, one in found.items()
        if one is None
        or one.kind != known[name].reference
        or one.deleted is not None
        or one.merged_into is not None
    ]


def _taken(view: View, record: Record, keys: list[tuple[str, str]], scope: Scope) -> list[tuple[str, str]]:
    """Return the strong keys that another record holds; whose they are is told to who may see it."""
    view.load_keys(keys)
    problems = []
    for name, value in keys:
        other = next((id_ for id_, _ in view.keys.get((name, value), ()) if id_ != record.id), None)
        if other is not None:
            holder = other.hex() if get(view.tx, scope, other) else "another record"
            problems.append((name.partition(".")[2], f"{value} belongs to {holder}"))
    return problems
