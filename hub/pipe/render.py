"""What a delivery would send now: mapping out, only fields that are due, with the plan its object needs.

Pure over what the claim has loaded: records (unlocked: whoever changes one touches its owed rows in the same
transaction) and xrefs. The result is pinned by the claim.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from hub.crm.merge import due_fields
from hub.errors import Cause
from hub.mapping import Context, Failed, Left, Mapped, Wait
from hub.pipe.file_links import file_link
from hub.pipe.rows import target_key, xref_key
from hub.pipe.world import World, business_key
from hub.project.values import Sync
from hub.sdk.connector import Found

if TYPE_CHECKING:
    from hub.mapping import Outcome
    from hub.model.record import Json
    from hub.sdk.spec import ObjectSpec
    from hub.store.rows import Owed, Record, Xref
    from hub.store.view import View

__all__ = [
    "Finished",
    "Gone",
    "Lookups",
    "Rendered",
    "Rendering",
    "Stop",
    "Unchanged",
    "context_of",
    "is_reopening",
    "next_step",
    "render",
    "satisfied",
]

Ref: TypeAlias = tuple[str, str, str, bytes]
"""(connection, object, organisation, record) of an xref that a payload names."""


@dataclass(slots=True)  # not frozen: see Attempt
class Rendered:
    """What is pinned. ``base``: CRM field -> digest of what is sent. ``refs``: the xrefs the payload names."""

    payload: dict[str, Json]
    plan: tuple[str, ...]
    base: dict[str, str]
    refs: tuple[Ref, ...]
    xref: Xref | None
    version: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing is due."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The record left `when`, or is deleted, and the policy is to leave the vendor's object alone."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is due and the object's stage shows that a person finished the plan."""

    xref: Xref


@dataclass(frozen=True, slots=True)
class Stop:
    """A person must look, before anything is sent."""

    cause: Cause
    field: str | None = None
    message: str | None = None


Rendering: TypeAlias = Rendered | Unchanged | Gone | Finished | Stop | Wait


@dataclass(slots=True)
class Lookups:
    """The xrefs one rendering asked for; ``missing`` are loaded in bulk and the rendering is made again.

    ``awaited``: a document of the sync's legal entity waits for the record.
    """

    awaited: bool = False
    used: list[Ref] = field(default_factory=list)
    missing: list[Ref] = field(default_factory=list)


def is_reopening(row: Owed, obj: ObjectSpec | None) -> bool:
    """Say whether the row's plan makes its object or re-opens it: until it ends nobody may name the object."""
    if row.ref is None:
        return True
    return obj is not None and any(obj.steps[name].reopens for name in row.plan)


def next_step(row: Owed, obj: ObjectSpec | None, result: object) -> int:
    """Return which step of the plan follows an answer: finishing steps that a look-up shows done are left out.

    After a restore the plan was made before, whole; and a user may finish an object whose save was in doubt.
    """
    following = row.step + 1
    if obj is None or not isinstance(result, Found) or obj.write_step not in row.plan:
        return following
    finish = row.plan.index(obj.write_step) + 1
    if row.step + 1 < finish:  # what re-opens comes before the write: nothing is finished yet
        return following
    return min(len(row.plan), max(following, finish + obj.reached.get(result.ref.stage or "", 0)))


def satisfied(view: View, ref: Ref, world: World) -> bool:
    """Say whether an xref is complete at the vendor and no open attempt makes or re-opens it."""
    xref = view.primary.get(ref)
    if xref is None or xref.complete is None or xref.gone is not None:
        return False
    attempt = view.targets.get(target_key(*ref))
    if attempt is None:
        return True
    sync = world.sync(attempt.sync)
    return not is_reopening(attempt, world.object(sync) if sync else None)


def render(view: View, row: Owed, sync: Sync, world: World, asked: Lookups) -> Rendering:
    """Return what the row would send now."""
    record = view.records.get(bytes.fromhex(row.subject))
    obj = world.object(sync)
    if obj is None:
        return Stop(Cause.SETTINGS, message=f"{sync.connection} writes no object {sync.object}")
    if record is None or record.deleted is not None:
        return Gone()
    xref = view.primary.get((sync.connection, sync.object, sync.org, record.id))
    if not world.serves(sync, record, needed=xref is not None or asked.awaited):
        return Gone()
    if xref is None and sync.admission and not all(record.body.get(name) for name in sync.admission.fields):
        return Wait(f"admit:{record.id.hex()}")
    plan = _plan(record, row, sync, obj, world, xref)
    if not isinstance(plan, _Plan):
        return plan
    return _pin(view, record, sync, world, plan, asked)


@dataclass(slots=True)  # as Rendered
class _Plan:
    steps: tuple[str, ...]
    only: frozenset[str] | None
    writes: bool
    xref: Xref | None


def _plan(
    record: Record, row: Owed, sync: Sync, obj: ObjectSpec, world: World, xref: Xref | None
) -> _Plan | Unchanged | Finished | Stop:
    stop_at = world.stop_at(sync)
    if (
        xref is None and not obj.creates
    ):  # stopped here nothing was sent; refused by the connector it might have been
        return Stop(Cause.NOT_FOUND, message="it is not there, and the vendor's people alone make it")
    if xref is None:
        return _Plan(obj.plan(None, stop_at, due=True), None, writes=True, xref=None)
    names = {name for target in sync.mapping.fields.values() for name in target.reads}
    due = due_fields(world.visible(record), xref.snapshot, names, world.digests[sync.kind])
    if due or row.force is not None:
        steps = obj.plan(xref.stage, stop_at, due=True)
        reopened = next((name for name in steps if obj.steps[name].reopens), None)
        if reopened and (sync.on_audited or obj.on_audited) == "park":
            return Stop(Cause.AUDITED, field=min(due, default=None))
        whole = row.force is not None or obj.writes == "whole"
        return _Plan(steps, None if whole else sync.mapping.due(due), writes=True, xref=xref)
    if xref.complete is not None:
        return Unchanged()
    steps = obj.plan(xref.stage, stop_at, due=False)
    return _Plan(steps, frozenset(), writes=False, xref=xref) if steps else Finished(xref)


def _pin(view: View, record: Record, sync: Sync, world: World, plan: _Plan, asked: Lookups) -> Rendering:
    outcome = _run(view, record, sync, world, plan, asked)
    if isinstance(outcome, Wait):
        return outcome
    if isinstance(outcome, Failed):
        return Stop(Cause.MAPPING, outcome.field, outcome.message)
    if isinstance(outcome, Left):
        return Gone()
    payload = outcome.fields
    if plan.writes and plan.only is not None and not payload:
        return Unchanged()
    digest = world.digests[sync.kind]
    reads = sorted(_reads(sync, plan))
    if (kept := world.held_back(sync, record, reads)) is not None:
        return Wait(f"export:{sync.connection}/{kept}")
    body = world.visible(record)
    base = {name: digest(name, body.get(name)) for name in reads}
    return Rendered(payload, plan.steps, base, tuple(asked.used), plan.xref, record.version)


def _reads(sync: Sync, plan: _Plan) -> Iterable[str]:
    targets = sync.mapping.fields.values()
    return {
        name for target in targets if plan.only is None or target.name in plan.only for name in target.reads
    }


def context_of(view: View, record: Record, sync: Sync, world: World, asked: Lookups) -> Context:
    """Return what the sync's mapping may ask beside the record; what it looks up is noted in ``asked``."""

    def xref(target: str, value: str) -> str | Wait:
        ref = (sync.connection, target.rpartition(".")[2], sync.org, bytes.fromhex(value))
        if satisfied(view, ref, world):
            asked.used.append(ref)
            return view.primary[ref].usable_key
        asked.missing.append(ref)
        return Wait(xref_key(target_key(*ref)))

    return Context(
        region=record.region,
        record=record.id.hex(),
        org=sync.org,
        business_key=business_key(sync.connection, sync.object, record.id),
        xref=xref,
        user_at=lambda code: world.project.user_id(sync.connection, code),
        legal_entity=world.project.legal_entity,
        file_link=lambda url: file_link(world, record.id, url, view.now),
    )


def _run(view: View, record: Record, sync: Sync, world: World, plan: _Plan, asked: Lookups) -> Outcome:
    context = context_of(view, record, sync, world, asked)
    body = world.visible(record)
    if not plan.writes:
        return Mapped(record.id.hex(), {}) if sync.mapping.when(body, context) is not False else Left()
    return sync.mapping.run(body, context, only=plan.only)
