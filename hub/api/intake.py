"""From a caller's body to a checked write: fields, references by the caller's own ids, legal entity, region.

Every problem of a body is named at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from hub.api.problem import ApiProblem, ProblemKind
from hub.api.services import Services
from hub.api.wire import Loose
from hub.crm.external import ExternalWrite
from hub.crm.query import Stored, by_external, get
from hub.model.fields import Field, InvalidFields
from hub.model.kinds import KINDS, Kind, check_body
from hub.model.record import Json, Scope
from hub.pipe.patch import DERIVED, FIXED, RecordPatch, unasked
from hub.pipe.people import FOLLOW
from hub.project.files import file_problems
from hub.project.values import API, Connection
from hub.store.tx import Tx

__all__ = ["checked_patch", "checked_write"]

OWNER = "owner"
"""The employee a record belongs to: not a field of the kinds, it decides the region."""

_UNRESOLVED = "0" * 32
_LONGEST_OWNER = 100
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class _Reference:
    """A record named in a body: by the caller's own id in ``system``, or by ours (system None)."""

    kind: str
    id: str
    system: str | None


_References = dict[str, _Reference]
_Problems = list[tuple[str, str]]


async def checked_write(
    services: Services,
    connection: Connection,
    kind: Kind,
    external_id: str,
    *,
    body: dict[str, Loose],
    if_version: int | None,
) -> ExternalWrite:
    """Return the write a body asks for, in stored form.

    Raises:
        ApiProblem: 422 that names every field: unknown, of a wrong type, one that the record's region does not have, a
            reference nobody sent yet, a legal entity that is not in the table.
    """
    project = services.project()
    kind = project.kind(kind.name)
    owner, problems = _take_owner(body)
    problems += _take_fixed(body, DERIVED.get(kind.name, {})) + unasked(kind.name, body)
    references = _take_references(kind, body, system=connection.name, problems=problems)
    if connection.entity and kind.field("entity"):
        body.setdefault("entity", connection.entity)
    region = project.region_of(connection.name, _owner_of(kind, body, owner))
    if kind.is_regional and (known := await _known(services, connection, kind, external_id)) is not None:
        region = known.region  # a record stays where it lies
    checked = await _accepted(services, kind, body, references, problems, complete=True, region=region)
    entity = checked.get("entity")
    return ExternalWrite(
        system=connection.name,
        kind=kind.name,
        external_id=external_id,
        body=checked,
        region=project.region_of(connection.name, owner),
        entity=entity if isinstance(entity, str) and entity else connection.entity,
        owner=owner,
        if_version=if_version,
    )


async def checked_patch(
    services: Services,
    system: str | None,
    kind: Kind,
    record: bytes,
    *,
    body: dict[str, Loose],
    if_version: int | None,
) -> RecordPatch:
    """Return the change of fields a body asks for, in stored form; ``system``: whose own ids its references use.

    Raises:
        ApiProblem: 422 that names every field, as :func:`checked_write`, and those that are not changed by hand.
            What the record's region does not have is refused where the record is locked (:func:`hub.pipe.patch.patch`).
    """
    kind = services.project().kind(kind.name)
    problems = _take_fixed(body, FIXED[kind.name])
    references = _take_references(kind, body, system=system, problems=problems)
    checked = await _accepted(services, kind, body, references, problems, complete=False)
    by = API if system is None else f"{API}:{system}"
    return RecordPatch(record, kind.name, checked, services.scope, by, if_version)


async def _accepted(
    services: Services,
    kind: Kind,
    body: dict[str, Loose],
    references: _References,
    problems: _Problems,
    *,
    complete: bool,
    region: str | None = None,
) -> dict[str, Json]:
    """Return the body in stored form, its references as record ids; refuse it with whatever is wrong by now."""
    checked = _checked(kind, body, problems, complete=complete, region=region)
    _check_entity(services, checked, problems)
    problems += file_problems(services.project().shown_files, checked)
    checked |= await _resolved(services, references, problems)
    if problems:
        raise ApiProblem(ProblemKind.INVALID, errors=problems)
    return checked


def _owner_of(kind: Kind, body: Mapping[str, Loose], owner: str | None) -> str | None:
    """Return whose region a new record gets: a follow lies where its employee does."""
    employee = body.get("employee") if kind.name == FOLLOW else None
    return employee if isinstance(employee, str) else owner


async def _known(services: Services, connection: Connection, kind: Kind, external_id: str) -> Stored | None:
    """Return the record that a caller's own id names already."""
    found: Stored | None = await services.read(
        by_external, services.scope, kind.name, system=connection.name, external_id=external_id
    )
    return found


def _take_fixed(body: dict[str, Loose], fixed: Mapping[str, str]) -> _Problems:
    """Take out what is not the caller's to say; required fields among it are no second problem."""
    return [(name, why) for name, why in fixed.items() if body.pop(name, _ABSENT) is not _ABSENT]


def _take_owner(body: dict[str, Loose]) -> tuple[str | None, _Problems]:
    owner = body.pop(OWNER, None)
    if owner is None:
        return None, []
    if not isinstance(owner, str) or not 0 < len(owner) <= _LONGEST_OWNER or not owner.isprintable():
        return None, [(OWNER, f"a text of 1 to {_LONGEST_OWNER} characters is expected")]
    return owner, []


def _take_references(
    kind: Kind, body: dict[str, Loose], *, system: str | None, problems: _Problems
) -> _References:
    """Return what must be looked up; {"external": id} leaves a placeholder that the field check accepts."""
    found: _References = {}
    for name, field in kind.fields.items():
        value = body.get(name)
        if field.reference is None or value is None:
            continue
        if not isinstance(value, dict):
            found[name] = _Reference(field.reference, str(value), None)
            continue
        own_id = value.get("external")
        if set(value) != {"external"} or not isinstance(own_id, str) or not own_id or "\0" in own_id:
            problems.append((name, 'a record id, or {"external": "<your id>"}, is expected'))
        elif system is None:
            problems.append((name, "say whose id this is: ?system=<your connection>"))
        else:
            found[name] = _Reference(field.reference, own_id, system)
        body[name] = _UNRESOLVED
    return found


def _checked(
    kind: Kind, body: dict[str, Loose], problems: _Problems, *, complete: bool, region: str | None
) -> dict[str, Json]:
    plain = {
        name: _plain_numbers(value) if _is_free(kind.field(name)) else value for name, value in body.items()
    }
    try:
        return check_body(kind, plain, complete=complete, region=region)
    except InvalidFields as error:
        problems += error.problems
        return {}


def _is_free(field: Field | None) -> bool:
    """Say whether a field takes any JSON: the cells of rows have types of their own."""
    return field is not None and field.type == "json" and not field.columns


def _plain_numbers(value: Loose) -> Loose:
    """What takes any JSON: a fraction becomes a float if that is the same number, else it stays and is refused."""
    if isinstance(value, Decimal):
        as_float = float(value)
        return as_float if Decimal(repr(as_float)) == value else value
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value


def _check_entity(services: Services, body: Mapping[str, Json], problems: _Problems) -> None:
    named = body.get("entity")
    known = services.project().entities
    if isinstance(named, str) and named and named not in known:
        problems.append(
            ("entity", f"is not in the legal-entity table (签约主体): {', '.join(sorted(known)) or 'empty'}")
        )


async def _resolved(services: Services, references: _References, problems: _Problems) -> dict[str, Json]:
    """Return the record ids of the references; one that names nobody joins the problems."""
    wrong = {name for name, _ in problems}
    wanted = {name: reference for name, reference in references.items() if name not in wrong}
    if not wanted:
        return {}
    found: dict[str, Stored | None] = await services.read(_look_up, services.scope, wanted)
    problems += [(name, _not_there(wanted[name])) for name, record in found.items() if record is None]
    return {name: record.id.hex() for name, record in found.items() if record is not None}


def _look_up(tx: Tx, scope: Scope, references: _References) -> dict[str, Stored | None]:
    return {name: _living(tx, scope, reference) for name, reference in references.items()}


def _living(tx: Tx, scope: Scope, wanted: _Reference) -> Stored | None:
    if wanted.system is None:
        found = get(tx, scope, bytes.fromhex(wanted.id), kind=wanted.kind)
    else:
        found = by_external(tx, scope, wanted.kind, system=wanted.system, external_id=wanted.id)
    return found if found is not None and found.deleted is None else None


def _not_there(wanted: _Reference) -> str:
    kind = KINDS[wanted.kind]
    if wanted.system is None:
        return f"there is no {kind.name} with this id"
    return (
        f"no {kind.name} with your id {wanted.id[:80]!a} was sent yet: send the {kind.name} first "
        f"(请先发送{kind.title_zh})"
    )
