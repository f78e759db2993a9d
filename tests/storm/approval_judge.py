"""What must hold after a storm of approvals, from the vendor's own forms and ledger and from what the CRM is shown.

Written from the rules (fact sheets: wecom 4.2, dingtalk 2; design: states only go forward), without the hub's code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.storm.approval_vendor import Form, Vendor

__all__ = ["Held", "Invariant", "judged"]

OPEN = "in_progress"


@dataclass
class Invariant:
    """One thing that must hold: how many were looked at, and what is wrong with which of them."""

    name: str
    looked_at: int = 0
    violations: list[str] = field(default_factory=list)

    def look(self, subject: str, *, holds: bool, **seen: Any) -> None:
        """Look at one."""
        self.looked_at += 1
        if not holds:
            self.violations.append(f"{subject}: {seen}")


@dataclass
class Held:
    """What the hub has. ``shown``: the CRM's number -> fields the API shows; ``contracts``: the same of those they are about;
    ``records``: fields of every approval.
    """

    shown: Mapping[str, Mapping[str, Any]]
    contracts: Mapping[str, Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]
    owed: Sequence[Mapping[str, Any]]


def judged(vendor: Vendor, held: Held) -> list[Invariant]:
    """Judge."""
    once = Invariant("exactly one form at the vendor for each approval of the CRM")
    same = Invariant("the CRM shows each of its approvals in the state the vendor has")
    decided = Invariant("who decided at the vendor stands on the CRM's approval once it has ended")
    one = Invariant("each form at the vendor is one approval of the hub, and no approval is without its form")
    deal = Invariant("a contract is active where its approval was given, and is not where it never was")
    home = Invariant("what people started at the vendor is in the hub in the state the vendor has")
    rest = Invariant(
        "nothing is owed but the question which contract people meant who started a form themselves"
    )
    forms = {form.id: form for form in vendor.forms()}
    created = Counter(_own(forms[id_].number) for id_ in vendor.created())
    unseen = Counter(_own(form.number) for form in forms.values() if form.unseen)
    of = {_own(form.number): form for form in forms.values() if form.number}
    for no, shown in held.shown.items():
        once.look(no, holds=1 <= created[no] <= 1 + unseen[no], forms=created[no])
        form = of.get(no)
        if form is None:
            same.look(no, holds=False, hub=shown.get("status"), vendor=None)
            continue
        _state(same, no, form, shown)
        _contract(deal, no, form, held.contracts)
        if (
            form.state != OPEN and not form.deleted
        ):  # of one that is open the sweep does not read how far it is
            told = [node for node in shown.get("nodes") or () if node.get("action") != "comment"]
            decided.look(no, holds=len(told) == form.acted, hub=len(told), vendor=form.acted)
    for extra in sorted(set(created) - set(held.shown)):
        once.look(extra, holds=False, forms=created[extra])
    bodies = {str(body.get("external_ref")): body for body in held.records}
    refs = Counter(str(body.get("external_ref")) for body in held.records)
    for id_, form in forms.items():
        allowed = (0, 1) if _may_be_unknown(form) else (1,)
        one.look(id_, holds=refs.pop(id_, 0) in allowed, number=form.number)
        if form.number:
            continue
        if id_ in bodies or not _may_be_unknown(form):
            _state(home, id_, form, bodies.get(id_, {}))
        if form.contract:
            _contract(deal, form.contract, form, held.contracts)
    for ref, count in refs.items():
        one.look(ref, holds=False, records=count)
    asked = {id_ for id_, form in forms.items() if not form.number and not form.contract}
    for debt in held.owed:
        is_question = debt["state"] == "parked" and (debt["cause"] or {}).get("code") == "candidate"
        about = str(debt["subject"]).rpartition("/")[2]
        rest.look(str(debt["subject"]), holds=is_question and about in asked, debt=debt)
    return [once, same, decided, deal, one, home, rest]


def _may_be_unknown(form: Form) -> bool:
    """Say whether nothing kept what was gone before the hub heard of it: people started it, or its answer was lost."""
    return form.deleted and (not form.number or form.unseen)


def _own(number: str) -> str:
    """Return the CRM's number: the hub puts digits of its own behind it."""
    return number.partition(" [")[0]


def _contract(deal: Invariant, no: str, form: Form, contracts: Mapping[str, Mapping[str, Any]]) -> None:
    if no not in contracts or form.state == "revoked" or form.deleted:
        return
    active = contracts[no].get("status") == "active"
    deal.look(
        no,
        holds=active == (form.state == "approved"),
        contract=contracts[no].get("status"),
        vendor=form.state,
    )


def _state(same: Invariant, subject: str, form: Form, shown: Mapping[str, Any]) -> None:
    """Look at a state; whether the decision about a form was heard of before its deletion is the weather's."""
    wanted = {"terminated"} | ({form.state} - {OPEN}) if form.deleted else {form.state}
    same.look(
        subject,
        holds=shown.get("status") in wanted,
        hub=shown.get("status"),
        vendor=sorted(wanted),
        form=form.id,
    )
