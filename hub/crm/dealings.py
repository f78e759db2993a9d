"""What an approval, a contract or a payment means beyond itself: its route, what its decision changes, who was waiting.

Pure over what the view has loaded (:mod:`hub.pipe.dealings`): the records that an approval names, a payment's contract,
a contract's payments. What is particular to approvals is in :mod:`hub.crm.approvals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hub.crm.approvals import (
    APPROVAL,
    CONTRACT,
    changed_to,
    contract_of,
    effect_of,
    is_untied,
    living,
    routed,
    stranger,
    tied,
    with_fields,
)
from hub.crm.decide import Change, Park, RecordChange, Same, Verdict
from hub.crm.merge import Merged
from hub.errors import Cause
from hub.model.text import key_text
from hub.project.effects import Effects
from hub.project.routes import Route

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.store.rows import Record
    from hub.store.view import View

__all__ = ["KINDS_HERE", "Dealings", "extend", "follow_from"]

PAYMENT = "payment"
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
        contract = contract_of(view, own.body)
        strangers = _two_entities(own.body, own.entity, contract, rules)
        if strangers is not None:
            return strangers
        own = _in_books(own, contract, rules)
        return (_released(own, contract) if rules.releases else own,), None
    if own.kind == CONTRACT:
        return (own, *_payments(view, own, rules)), None
    if (said := stranger(own, rules)) is not None:
        return said
    own, untied = tied(view, own, rules)
    if untied is not None and rules.shown_by is None:
        return (own,), untied  # what it is about decides its route: unknown, it is sent to nobody
    sent = routed(view, own, rules)
    if isinstance(sent, Park):
        return sent
    change = effect_of(view, sent, rules)
    if isinstance(change, Park):
        return change
    if change is None:
        return (sent,), untied
    further = _payments(view, change, rules) if change.kind == CONTRACT else ()
    return (sent, change, *further), untied


def _unchanged(view: View, verdict: Same) -> RecordChange | None:
    """Return an approval that is still to be tied to what it is about; whatever else is the same needs nothing."""
    record = view.records.get(verdict.record) if verdict.record else None
    if record is None or record.kind != APPROVAL or not is_untied(record.body):
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


def _in_books(own: RecordChange, contract: Record | None, rules: Dealings) -> RecordChange:
    """Give a payment that names no legal entity the one whose account it is on, or whose contract it is for."""
    if own.entity is not None:
        return own
    entity = rules.accounts.get(str(own.body.get("account_no"))) or (contract.entity if contract else None)
    return own if entity is None else with_fields(replace(own, entity=entity), entity=entity)


def _released(own: RecordChange, contract: Record | None) -> RecordChange:
    status = contract.body.get("status") if contract is not None else None
    return with_fields(own, released=_is_free(contract, own.body, status) or None)


def _payments(view: View, own: RecordChange, rules: Dealings) -> Iterator[RecordChange]:
    """Yield the payments of a contract whose state now lets them go, or stops them."""
    if not rules.releases:
        return
    keys = [("payment.contract_no", key_text(str(own.body.get("no"))))]
    if own.record is not None:
        keys.append(("payment.contract", own.record.id.hex()))
    is_active = own.body.get("status") in _ACTIVE
    for id_ in sorted({id_ for key in keys for id_, _ in view.keys.get(key, ())}):
        record = living(view, id_.hex(), PAYMENT)
        if record is None:
            continue
        fits = record.entity in (None, own.entity)  # another one's money stays where a person sees it
        free = (is_active and fits) or None
        if (change := changed_to(record, released=free)).changed:
            yield change
