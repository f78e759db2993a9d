"""What an approval, a contract or a payment means beyond itself: its route, what its decision changes, who was waiting.

Pure over what the view has loaded (:mod:`hub.pipe.dealings`): the records that an approval names, a payment's contract,
a contract's payments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from hub.crm.decide import Change, Park, RecordChange, Same, Verdict
from hub.crm.merge import Merged
from hub.errors import Cause
from hub.model.text import key_text
from hub.project.effects import ABOUT, Effect, Effects
from hub.project.routes import Facts, Route, route_of

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.store.rows import Record
    from hub.store.view import View

__all__ = ["KINDS_HERE", "Dealings", "approvers_of", "contract_key", "extend", "follow_from"]

APPROVAL, CONTRACT, PAYMENT = "approval", "contract", "payment"
KINDS_HERE: Final = frozenset({APPROVAL, CONTRACT, PAYMENT})
_ACTIVE: Final = ("active", "fulfilled")


@dataclass(frozen=True, slots=True)
class Dealings:
    """The rules: routing table, effects, owner -> region path, and whether payments wait for their contracts.

    ``accounts``: our bank account -> the legal entity whose it is.
    ``shown_by``: the connection of the approval system that shows the record, None where it is submitted here.
    """

    routes: tuple[Route, ...]
    effects: Effects
    region_of: Callable[[str], str]
    regions: tuple[str, ...]
    releases: bool
    accounts: Mapping[str, str]
    shown_by: str | None = None


def extend(view: View, verdict: Verdict, rules: Dealings | None) -> Verdict:
    """Extend what an arrival means for its own record by what follows from it."""
    if rules is None or not isinstance(verdict, Change | Same):
        return verdict
    own = verdict.records[0] if isinstance(verdict, Change) else _unchanged(view, verdict)
    if own is None:
        return verdict
    found = follow_from(view, own, rules)
    if isinstance(found, Park):
        return found
    records, then = found
    if isinstance(verdict, Change):
        return replace(verdict, records=records, then=verdict.then or then)
    if records == (own,):
        return replace(verdict, then=verdict.then or then)
    return Change(records, Merged(pairs=verdict.pairs), gone=verdict.gone, then=verdict.then or then)


def follow_from(
    view: View, own: RecordChange, rules: Dealings
) -> tuple[tuple[RecordChange, ...], Park | None] | Park:
    """Return the change with what follows from it, its own first, and what a person must look at.

    A Park instead: nothing of it may take effect (no route, or what was decided is not what stands there): once that
    is mended a replay decides anew.
    """
    if own.kind == PAYMENT:
        contract = _contract(view, own.body)
        strangers = _two_entities(own.body, own.entity, contract, rules)
        if strangers is not None:
            return strangers
        return (_released(own, contract) if rules.releases else own,), None
    if own.kind == CONTRACT:
        return (own, *_payments(view, own, rules)), None
    own, untied = _tied(view, own)
    routed = _routed(view, own, rules)
    if isinstance(routed, Park):
        return routed
    change = _effect(view, routed, rules)
    if isinstance(change, Park):
        return change
    if change is None:
        return (routed,), untied
    further = _payments(view, change, rules) if change.kind == CONTRACT else ()
    return (routed, change, *further), untied


def _unchanged(view: View, verdict: Same) -> RecordChange | None:
    """Return an approval that is still to be tied to what it is about; whatever else is the same needs nothing."""
    record = view.records.get(verdict.record) if verdict.record else None
    if record is None or record.kind != APPROVAL or not _is_untied(record.body):
        return None
    return RecordChange(
        record,
        record.kind,
        record.body,
        frozenset(),
        region=record.region,
        entity=record.entity,
        owner=record.owner,
    )


def _with(one: RecordChange, **fields: Json) -> RecordChange:
    """Return a change that also sets these fields (None takes one away); what stays as it is counts as no change."""
    moved = {name: value for name, value in fields.items() if one.body.get(name) != value}
    if not moved:
        return one
    known: Mapping[str, Json] = one.record.body if one.record else {}
    body: dict[str, Json] = {
        name: value for name, value in {**one.body, **moved}.items() if value is not None
    }
    before = {**one.before, **{name: known.get(name) for name in moved}} if one.record else one.before
    return replace(one, body=body, changed=one.changed | moved.keys(), before=before)


def _changed(record: Record, **fields: Json) -> RecordChange:
    """Return the change of a record that is not the arriving one."""
    one = RecordChange(
        record, record.kind, dict(record.body), frozenset(), region=record.region, entity=record.entity,
        owner=record.owner,
    )  # fmt: skip
    return _with(one, **fields)


def _living(view: View, id_: Json, kind: str) -> Record | None:
    record = view.records.get(bytes.fromhex(id_)) if isinstance(id_, str) else None
    if record is None or record.kind != kind or not record.body or record.deleted is not None:
        return None
    return record


# an approval and what it is about -----------------------------------------------------------------------------


def contract_key(body: Mapping[str, Json]) -> tuple[str, str] | None:
    """Return the key by which the contract that a body names by its number is found."""
    number = body.get("contract_no")
    return ("contract.no", key_text(number)) if isinstance(number, str) and key_text(number) else None


def _contract(view: View, body: Mapping[str, Json]) -> Record | None:
    """Return the contract a body refers to, else the one it names by number."""
    if (found := _living(view, body.get(CONTRACT), CONTRACT)) is not None:
        return found
    key = contract_key(body)
    holders = view.keys.get(key, ()) if key else ()
    return next((one for id_, _ in holders if (one := _living(view, id_.hex(), CONTRACT))), None)


def _is_untied(body: Mapping[str, Json]) -> bool:
    about = ABOUT.get(str(body.get("subject")))
    return about is not None and not body.get(about) and body.get("status") != "draft"


def _tied(view: View, own: RecordChange) -> tuple[RecordChange, Park | None]:
    """Tie an approval to the contract whose number it shows; one of which nobody knows what it is about is a candidate."""
    if not _is_untied(own.body):
        return own, None
    about = ABOUT[str(own.body["subject"])]
    contract = _contract(view, own.body) if about == CONTRACT else None
    if contract is None:
        number = own.body.get("contract_no")
        said = f"no {about} is known by the number {number!r}" if number else f"it names no {about}"
        return own, Park(Cause.CANDIDATE, about, said)
    return _with(own, contract=contract.id.hex()), None


def _subject(view: View, body: Mapping[str, Json]) -> Record | None:
    about = ABOUT.get(str(body.get("subject")))
    return _living(view, body.get(about), about) if about else None


def _routed(view: View, own: RecordChange, rules: Dealings) -> RecordChange | Park:
    """Give an approval that was submitted here its route; one that people started there is of that system. It keeps it, whatever becomes of its record's region."""
    body = own.body
    if rules.shown_by is not None:
        return own if body.get("connection") else _with(own, connection=rules.shown_by)
    if body.get("status") != "submitted" or body.get("route") or body.get("connection"):
        return own
    about = _subject(view, body)
    facts = _facts(own, about)
    found = route_of(rules.routes, facts)
    if found.route is None:
        nearest = [one.told("zh") + " / " + one.told("en") for one in found.tried[:3]]
        return Park(
            Cause.NO_ROUTE, "subject", "; ".join([f"{facts.subject}, {facts.region or '/'}", *nearest])[:500]
        )
    route = found.route
    steps: Json = [*route.steps()] or None
    cc: Json = [*route.cc] or None
    routed = _with(
        own, route=route.name, connection=route.connection, template=route.template, approvers=steps, cc=cc,
        **_frozen(own.body, facts, rules),
    )  # fmt: skip
    return routed if about is None else replace(routed, region=about.region)


def _frozen(body: Mapping[str, Json], facts: Facts, rules: Dealings) -> dict[str, Json]:
    """Return the amount that is submitted, so that another one is not what was approved; a refund states its own part."""
    effect = rules.effects.get((facts.subject, "approved"))
    if facts.amount is None or (effect is not None and effect.amount):
        return {}
    return {
        "amount": body.get("amount") or str(facts.amount),
        "currency": body.get("currency") or facts.currency,
    }


def _facts(own: RecordChange, about: Record | None) -> Facts:
    """Return what the route is chosen by: who is concerned, as the record it is about says, and the amount to be approved.

    The approval itself is asked only for what that record leaves open: else who submits it chose who decides.
    """
    said = about.body if about is not None else {}
    amount = own.body.get("amount") or said.get("amount_total") or said.get("amount")
    currency = own.body.get("currency") or said.get("currency")
    entity = (about.entity if about is not None else None) or own.body.get("entity") or own.entity
    department = said.get("department") or own.body.get("department")
    return Facts(
        subject=str(own.body.get("subject")),
        region=own.region if about is None else about.region,
        entity=str(entity) if entity else None,
        department=str(department) if department else None,
        amount=Decimal(amount) if isinstance(amount, str) else None,
        currency=str(currency) if currency else None,
    )


# what a decision changes --------------------------------------------------------------------------------------


def _effect(view: View, own: RecordChange, rules: Dealings) -> RecordChange | Park | None:
    """Return the change of the record the approval is about, if its state has just come to one with an effect."""
    subject, state = str(own.body.get("subject")), str(own.body.get("status"))
    effect = rules.effects.get((subject, state))
    known = own.record.body.get("status") if own.record else None
    about = _subject(view, own.body)
    if effect is None or about is None or (known == state and ABOUT[subject] not in own.changed):
        return None
    wrong = _misfit(own.body, about, effect, state)
    if wrong is not None:
        return wrong
    if any(about.body.get(name) not in values for name, values in effect.when.items()):
        return None  # late, or done already: what stands there is newer than this decision
    change = replace(_changed(about, **_values(own.body, about, effect)), by=approvers_of(own.body))
    return _moved(own.body, change, rules) if effect.move else (change if change.changed else None)


def _misfit(approval: Mapping[str, Json], about: Record, effect: Effect, state: str) -> Park | None:
    """What was decided must be what stands there: an amount that changed meanwhile has not been approved."""
    if state != "approved" or approval.get("amount") is None:
        return None
    decided = Decimal(str(approval["amount"])), approval.get("currency")
    stands = about.body.get("amount_total") or about.body.get("amount")
    if stands is None:
        return None
    actual = Decimal(str(stands)), about.body.get("currency")
    fits = decided[1] in (None, actual[1]) and (
        decided[0] <= actual[0] if effect.amount else decided[0] == actual[0]
    )
    if fits:
        return None
    said = f"{decided[0]} {decided[1] or ''} was approved, {actual[0]} {actual[1] or ''} stands there"
    return Park(Cause.CONFLICT, "amount", said)


def _values(approval: Mapping[str, Json], about: Record, effect: Effect) -> dict[str, Json]:
    values = dict(effect.set)
    if effect.amount is not None and approval.get("amount") is not None:
        values[effect.amount] = approval["amount"]
    if effect.comment is not None:
        values[effect.comment] = _last_words(approval)
    plan = about.body.get("payment_plan")
    if effect.open_plan and isinstance(plan, list):
        values["payment_plan"] = [
            {**row, "status": "open"}
            if isinstance(row, dict) and row.get("status") in (None, "planned")
            else row
            for row in plan
        ]
    return values


def _moved(approval: Mapping[str, Json], change: RecordChange, rules: Dealings) -> RecordChange | Park:
    """Return the change with the owner and region an approved transfer names."""
    owner, stated = approval.get("to_owner"), approval.get("to_region")
    region = change.region
    if isinstance(stated, str) and stated:
        region = stated.rstrip("/") + "/"
        if region not in rules.regions:
            return Park(Cause.MAPPING, "to_region", f"{stated[:80]!r} is not in the region tree")
    elif isinstance(owner, str):
        region = rules.region_of(owner) or region
    return replace(change, owner=str(owner) if owner else change.owner, region=region)


def _nodes(approval: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    nodes = approval.get("nodes")
    yield from (one for one in (nodes if isinstance(nodes, list) else ()) if isinstance(one, dict))


def _last_words(approval: Mapping[str, Json]) -> Json:
    said = [one["opinion"] for one in _nodes(approval) if one.get("opinion")]
    return approval.get("opinion") or (said[-1] if said else None)


def approvers_of(approval: Mapping[str, Json]) -> tuple[str, ...]:
    """Return who acted, in order: what an act says of a decision."""
    return tuple(dict.fromkeys(str(one["approver"]) for one in _nodes(approval) if one.get("approver")))


# payments that wait for their contract ------------------------------------------------------------------------


def _is_free(contract: Record | None, body: Mapping[str, Json], status: Json) -> bool:
    if contract is None:
        return not body.get(CONTRACT) and not body.get("contract_no")
    return status in _ACTIVE


def _two_entities(
    payment: Mapping[str, Json], entity: str | None, contract: Record | None, rules: Dealings
) -> Park | None:
    """Money on one legal entity's account for another one's contract is booked by nobody until a person looked."""
    account = rules.accounts.get(str(payment.get("account_no")))
    named = {
        "account_no": account, "entity": entity, "contract": contract.entity if contract is not None else None,
    }  # fmt: skip
    stated = {name: one for name, one in named.items() if one is not None}
    if len(set(stated.values())) <= 1:
        return None
    said = ", ".join(f"{name} {one}" for name, one in stated.items())
    return Park(
        Cause.ENTITY, "account_no" if account is not None else "entity", f"not of one legal entity: {said}"
    )


def _released(own: RecordChange, contract: Record | None) -> RecordChange:
    status = contract.body.get("status") if contract is not None else None
    return _with(own, released=_is_free(contract, own.body, status) or None)


def _payments(view: View, own: RecordChange, rules: Dealings) -> Iterator[RecordChange]:
    """Yield the payments of a contract whose state now lets them go, or stops them."""
    if not rules.releases:
        return
    keys = [("payment.contract_no", key_text(str(own.body.get("no"))))]
    if own.record is not None:
        keys.append(("payment.contract", own.record.id.hex()))
    is_active = own.body.get("status") in _ACTIVE
    for id_ in sorted({id_ for key in keys for id_, _ in view.keys.get(key, ())}):
        record = _living(view, id_.hex(), PAYMENT)
        if record is None:
            continue
        fits = record.entity in (None, own.entity)  # another one's money stays where a person sees it
        free = (is_active and fits) or None
        if (change := _changed(record, released=free)).changed:
            yield change
