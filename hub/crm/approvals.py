"""An approval: what it is about, which route it takes, who may say how it goes on, and what a decision changes.

Pure over what the view has loaded (:mod:`hub.pipe.dealings`). Who submits an approval does not choose who decides: a
decision counts from the connection its route names, and from what people started themselves only where the same route
would have sent it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from hub.crm.decide import Park, RecordChange
from hub.errors import Cause
from hub.model.lattice import LATTICES
from hub.model.text import key_text
from hub.project.effects import ABOUT, Effect
from hub.project.files import ATTACHMENTS
from hub.project.routes import Facts, Route, Routing, route_of

if TYPE_CHECKING:
    from hub.crm.dealings import Dealings
    from hub.model.record import Json
    from hub.store.rows import Record
    from hub.store.view import View

__all__ = [
    "APPROVAL",
    "CONTRACT",
    "approvers_of",
    "changed_to",
    "contract_key",
    "contract_of",
    "effect_of",
    "is_untied",
    "living",
    "routed",
    "stranger",
    "tied",
    "with_fields",
]

APPROVAL, CONTRACT = "approval", "contract"
_STATES: Final = LATTICES[APPROVAL]
_TAKEN: Final = ("agree", "transfer")
"""What somebody does at a step that is his: decides it, or names who shall."""


def with_fields(one: RecordChange, **fields: Json) -> RecordChange:
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


def changed_to(record: Record, **fields: Json) -> RecordChange:
    """Return the change of a record that is not the arriving one."""
    one = RecordChange(
        record, record.kind, dict(record.body), frozenset(), region=record.region, entity=record.entity,
        owner=record.owner,
    )  # fmt: skip
    return with_fields(one, **fields)


def living(view: View, id_: Json, kind: str) -> Record | None:
    """Return the record of an id in hex, None if there is none of that kind any more."""
    record = view.records.get(bytes.fromhex(id_)) if isinstance(id_, str) else None
    if record is None or record.kind != kind or not record.body or record.deleted is not None:
        return None
    return record


# an approval and what it is about -----------------------------------------------------------------------------


def contract_key(body: Mapping[str, Json]) -> tuple[str, str] | None:
    """Return the key by which the contract that a body names by its number is found."""
    number = body.get("contract_no")
    return ("contract.no", key_text(number)) if isinstance(number, str) and key_text(number) else None


def contract_of(view: View, body: Mapping[str, Json]) -> Record | None:
    """Return the contract a body refers to, else the one it names by number."""
    if (found := living(view, body.get(CONTRACT), CONTRACT)) is not None:
        return found
    key = contract_key(body)
    holders = view.keys.get(key, ()) if key else ()
    return next((one for id_, _ in holders if (one := living(view, id_.hex(), CONTRACT))), None)


def is_untied(body: Mapping[str, Json]) -> bool:
    """Say whether an approval that has begun names no record that it is about."""
    about = ABOUT.get(str(body.get("subject")))
    return about is not None and not body.get(about) and body.get("status") != "draft"


def tied(view: View, own: RecordChange, rules: Dealings) -> tuple[RecordChange, Park | None]:
    """Tie an approval to the contract whose number it shows, if it may decide about that one.

    One of which nobody knows what it is about is a candidate; one that the routing table would not have sent there
    stays untied: it decides nothing, and is looked at again once the table is mended.
    """
    if not is_untied(own.body):
        return own, None
    about = ABOUT[str(own.body["subject"])]
    contract = contract_of(view, own.body) if about == CONTRACT else None
    if contract is None:
        number = own.body.get("contract_no")
        said = f"no {about} is known by the number {number!r}" if number else f"it names no {about}"
        return own, Park(Cause.CANDIDATE, about, said)
    if (unfit := _unfit(own, contract, rules)) is not None:
        return own, unfit
    return with_fields(own, contract=contract.id.hex()), None


def _subject(view: View, body: Mapping[str, Json]) -> Record | None:
    about = ABOUT.get(str(body.get("subject")))
    return living(view, body.get(about), about) if about else None


def routed(view: View, own: RecordChange, rules: Dealings) -> RecordChange | Park:
    """Give an approval that was submitted here its route; one that people started there is of that system. It keeps it, whatever becomes of its record's region."""
    body = own.body
    if rules.shown_by is not None:
        return own if body.get("connection") else with_fields(own, connection=rules.shown_by)
    if body.get("status") != "submitted" or body.get("route") or body.get("connection"):
        return own
    about = _subject(view, body)
    facts = _facts(own, about)
    found = route_of(rules.routes, facts)
    if found.route is None:
        return Park(Cause.NO_ROUTE, "subject", _no_route(facts, found))
    route = found.route
    steps: Json = [*route.steps()] or None
    cc: Json = [*route.cc] or None
    routed = with_fields(
        own, route=route.name, connection=route.connection, template=route.template, approvers=steps, cc=cc,
        attachments=own.body.get(ATTACHMENTS) or (about.body.get(ATTACHMENTS) if about is not None else None),
        **_frozen(own.body, facts, rules),
    )  # fmt: skip
    return routed if about is None else replace(routed, region=about.region)


def _no_route(facts: Facts, found: Routing) -> str:
    """Return what no route fits, and why the nearest ones do not."""
    nearest = [one.told("zh") + " / " + one.told("en") for one in found.tried[:3]]
    return "; ".join([f"{facts.subject}, {facts.region or '/'}", *nearest])[:500]


def _unfit(own: RecordChange, about: Record, rules: Dealings) -> Park | None:
    """What people started themselves decides where the route of that record leads, and nowhere else.

    Else who chooses the form chooses who decides: the branch's template for what is headquarters' to approve. Where
    the route names approvers, those must have agreed: what is started there takes the template's own flow.
    """
    if own.body.get("route") or rules.shown_by is None:
        return None  # the hub chose, or chooses now
    facts = _facts(own, about)
    found = route_of(rules.routes, facts)
    route, template = found.route, own.body.get("template")
    if route is None:
        return Park(Cause.NO_ROUTE, "template", _no_route(facts, found))
    connection = own.body.get("connection") or rules.shown_by
    if (route.connection, route.template) == (connection, template):
        return _passed_over(own.body, route)
    zh = f"该记录由路由 {route.name} 决定（{route.connection}，模板 {route.template}），而不是 {connection} 的模板 {template}"
    en = f"the route {route.name} decides about it ({route.connection}, template {route.template}), not {connection} with {template}"
    return Park(Cause.NO_ROUTE, "template", f"{zh} / {en}"[:500])


def _passed_over(approval: Mapping[str, Json], route: Route) -> Park | None:
    """A step of the route that nobody of its own took, neither by agreeing nor by handing it on."""
    if approval.get("status") != "approved":
        return None
    agreed = {str(one.get("approver")) for one in _nodes(approval) if one.get("action") in _TAKEN}
    for step in route.approvers:
        missing = [name for name in step.people if name not in agreed]
        if missing and (step.mode == "all" or len(missing) == len(step.people)):
            names = ", ".join(missing)
            zh = f"路由 {route.name} 指定的审批人没有同意：{names}"
            en = f"the route {route.name} names approvers who did not agree: {names}"
            return Park(Cause.NO_ROUTE, "nodes", f"{zh} / {en}"[:500])
    return None


def stranger(own: RecordChange, rules: Dealings) -> Park | None:
    """Nobody but the system an approval was routed to, or was started in, says how it goes on."""
    decides = own.body.get("connection")
    if rules.shown_by is not None and decides in (None, rules.shown_by):
        return None
    said = _STATES.decides({name: own.body.get(name) for name in own.changed})
    if not said:
        return None
    who = decides or "-"
    zh = f"只有该审批所在的系统（{who}）能决定它，{rules.shown_by or 'API'} 不能"
    en = f"only the system it was routed to ({who}) says this, not {rules.shown_by or 'the API'}"
    return Park(Cause.CONFLICT, said[0], f"{zh} / {en}")


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


def effect_of(view: View, own: RecordChange, rules: Dealings) -> RecordChange | Park | None:
    """Return the change of the record the approval is about, if its state has just come to one with an effect."""
    subject, state = str(own.body.get("subject")), str(own.body.get("status"))
    effect = rules.effects.get((subject, state))
    known = own.record.body.get("status") if own.record else None
    about = _subject(view, own.body)
    if effect is None or about is None or (known == state and ABOUT[subject] not in own.changed):
        return None
    stands = [name for name, values in effect.when.items() if about.body.get(name) not in values]
    wrong = _misfit(own.body, about, effect, state)
    if wrong is None and stands:  # late, or done already: what stands there is newer than this decision
        return _second(about, effect, stands[0]) if state == "approved" else None
    if (wrong := wrong or _unfit(own, about, rules)) is not None:
        return wrong
    change = replace(changed_to(about, **_values(own.body, about, effect)), by=approvers_of(own.body))
    return _moved(own.body, change, rules) if effect.move else (change if change.changed else None)


def _second(about: Record, effect: Effect, field: str) -> Park | None:
    """Money of its own was approved while other money is on its way: unlike a decision that is late it may not go by unseen."""
    if effect.amount is None:
        return None
    zh = f"已是 {about.body.get(field)}，这一笔批准不会再生效"
    en = f"is {about.body.get(field)} already ({about.body.get(effect.amount) or '-'}): this approval has no effect"
    return Park(Cause.CONFLICT, field, f"{zh} / {en}")


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
