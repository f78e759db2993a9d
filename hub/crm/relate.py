"""What a follow's arrival means beyond itself: its contact's owner, mobiles and tags, and that contact's customer.

Pure over what the view has loaded: the contact, all its follows, the keys of :func:`hub.crm.tie.tie_keys` and the
records they name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hub.crm.decide import Arrival, Change, Park, People, RecordChange, Same, Verdict
from hub.crm.follows import derive, state_of
from hub.crm.merge import Merged
from hub.crm.tie import Join, Make, Undecided, tie
from hub.errors import Cause
from hub.model.kinds import KINDS, normal_form
from hub.model.region import region_path

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.store.rows import Record
    from hub.store.view import View

__all__ = ["TIE", "contact_of", "follow_on", "follows_of", "new_customer", "placed", "relate"]

TIE: Final = "customer"
"""The field a candidate is about when the question is which customer a contact belongs to."""
_SOURCE: Final = "wechat"


def placed(verdict: Verdict, regions: tuple[str, ...]) -> Verdict:
    """Put an employee where its own region says; one that is not in the tree is a mistake of the mapping."""
    if not isinstance(verdict, Change):
        return verdict
    one = verdict.records[0]
    stated = one.body.get("region")
    if not stated:
        return verdict
    try:
        path = region_path(str(stated))
    except ValueError:
        path = None
    if path not in regions:
        return Park(Cause.MAPPING, "region", f"{str(stated)[:80]!r} is not in the region tree")
    return replace(verdict, records=(replace(one, region=path), *verdict.records[1:]))


def contact_of(view: View, body: Mapping[str, Json]) -> Record | None:
    """Return the living contact that a follow's body names."""
    named = body.get("contact")
    record = view.records.get(bytes.fromhex(named)) if isinstance(named, str) else None
    return record if record is not None and record.body and record.deleted is None else None


def follows_of(view: View, contact: bytes, *, without: bytes | None = None) -> list[Mapping[str, Json]]:
    """Return the bodies of a contact's follows, but for one."""
    holders = view.keys.get(("follow.contact", contact.hex()), ())
    found = [view.records.get(record) for record, _ in holders if record != without]
    return [record.body for record in found if record is not None and record.body]


def relate(view: View, arrival: Arrival, verdict: Verdict) -> Verdict:
    """Extend what a follow's arrival means for itself by what follows from it."""
    people = arrival.people
    if people is None or not isinstance(verdict, Change | Same):
        return verdict
    own = _own(view, arrival, verdict, people)
    if own is None:
        return verdict
    if isinstance(verdict, Same) and not own.changed and _has_customer(view, own):
        return verdict  # the contact was derived when the follow changed
    records, then = follow_on(view, own, people)
    if arrival.deleted:
        then = None  # nobody is asked about what ended
    return _together(verdict, (own, *records), then)


def follow_on(view: View, own: RecordChange, people: People) -> tuple[tuple[RecordChange, ...], Park | None]:
    """Return what a follow's change means for its contact, and for the customer that one makes.

    A customer to be made stands at place 2 of the change whose place 0 is the follow's own.
    """
    contact = contact_of(view, own.body)
    if contact is None:
        return (), None
    others = follows_of(view, contact.id, without=own.record.id if own.record else None)
    before = [*others, {**own.body, **own.before}] if own.record else others
    follows = [*others, own.body]
    derived = derive(contact.body, before, follows, rules=people.rules, region_of=people.region_of)
    owner = derived.owner or contact.owner
    region = contact.region if owner == contact.owner else people.region_of(owner) or contact.region
    body = {name: value for name, value in {**contact.body, **derived.fields}.items() if value is not None}
    return _tied(view, contact, body, follows, owner=owner, region=region, people=people)


def _has_customer(view: View, own: RecordChange) -> bool:
    contact = contact_of(view, own.body)
    return contact is not None and bool(contact.body.get("customer"))


def _own(view: View, arrival: Arrival, verdict: Change | Same, people: People) -> RecordChange | None:
    """Return the follow's own change with its state, owner and region; None: the CRM knows nothing of it."""
    if isinstance(verdict, Change):
        one = verdict.records[0]
    else:
        record = view.records.get(verdict.record) if verdict.record else None
        if record is None or not record.body:
            return None
        one = RecordChange(
            record, record.kind, record.body, frozenset(), region=record.region, entity=record.entity
        )
    state = state_of(one.body, gone=arrival.deleted)
    employee = one.body.get("employee")
    owner = employee if isinstance(employee, str) else None
    known = one.record.body.get("state") if one.record else None
    before = {**one.before, "state": known} if known != state else one.before
    changed = one.changed | {"state"} if known != state else one.changed
    return replace(
        one,
        body={**one.body, "state": state},
        changed=changed,
        before=before,
        owner=owner,
        region=people.region_of(owner),
    )


def _tied(
    view: View,
    contact: Record,
    body: dict[str, Json],
    follows: list[Mapping[str, Json]],
    *,
    owner: str | None,
    region: str,
    people: People,
) -> tuple[tuple[RecordChange, ...], Park | None]:
    """Return the contact's change and, where one is made, its customer's."""
    made: tuple[RecordChange, ...] = ()
    refers: tuple[tuple[str, int], ...] = ()
    then = None
    if not body.get("customer"):
        match tie(view, body, follows, region=region, rules=people.rules, itself=contact.id):
            case Join(customer=customer):
                body = {**body, "customer": customer.hex()}
            case Make(name=name):
                made = (new_customer(name, owner=owner, region=region, entity=people.entity),)
                refers = (("customer", 2),)
            case Undecided(candidates=candidates, rule=rule):
                named = tuple(id_.hex() for id_ in candidates)
                then = Park(Cause.CANDIDATE, TIE, f"by {rule}", candidates=named)
    kind = KINDS["contact"]
    changed = {
        name
        for name in {*body, *contact.body}
        if normal_form(kind, name, body.get(name)) != normal_form(kind, name, contact.body.get(name))
    }
    if made:
        changed.add("customer")
    if not changed and owner == contact.owner and region == contact.region:
        return (), then
    before = {name: contact.body.get(name) for name in changed}
    kept = {**contact.body, **{name: body.get(name) for name in changed}}
    one = RecordChange(
        contact,
        "contact",
        {name: value for name, value in kept.items() if value is not None},
        frozenset(changed),
        before,
        region,
        contact.entity,
        owner,
        refers,
    )
    return (one, *made), then


def new_customer(name: str, *, owner: str | None, region: str, entity: str | None) -> RecordChange:
    """Return the customer that a company's name makes."""
    body: dict[str, Json] = {"name": name, "source": _SOURCE, "status": "prospect"}
    if entity is not None:
        body["entity"] = entity
    return RecordChange(None, "customer", body, frozenset(body), region=region, entity=entity, owner=owner)


def _together(verdict: Change | Same, records: tuple[RecordChange, ...], then: Park | None) -> Verdict:
    own, then = records[0], then or verdict.then
    if isinstance(verdict, Change):
        return replace(verdict, records=records, then=then)
    is_moved = own.record is not None and (own.region != own.record.region or own.owner != own.record.owner)
    if len(records) == 1 and not own.changed and not is_moved:
        return replace(verdict, then=then)
    return Change(records, Merged(pairs=verdict.pairs), gone=verdict.gone, then=then)
