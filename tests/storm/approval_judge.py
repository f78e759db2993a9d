"""What must hold after a storm of approvals, from the vendor's own forms and ledger and from what the CRM is shown.

Written from the rules (wecom fact sheet 4.2, design: states only go forward), without the hub's code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.rows import Form
from tests.storm.approval_site import number_in

__all__ = ["Held", "Invariant", "judged"]

STATES = {1: "in_progress", 2: "approved", 3: "rejected", 4: "withdrawn", 6: "revoked", 10: "approved"}
OPEN, DELETED = 1, 7


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


def judged(sandbox: WeComSandbox, before: Mapping[str, int], held: Held) -> list[Invariant]:
    """Judge. ``before``: form -> its status when it was deleted."""
    forms = sandbox.corp.forms
    once = Invariant("exactly one form at the vendor for each approval of the CRM")
    same = Invariant("the CRM shows each of its approvals in the state the vendor has")
    decided = Invariant("who decided at the vendor stands on the CRM's approval once it has ended")
    one = Invariant("each form at the vendor is one approval of the hub, and no approval is without its form")
    deal = Invariant("a contract is active where its approval was given, and is not where it never was")
    home = Invariant("what people started at the vendor is in the hub in the state the vendor has")
    rest = Invariant(
        "nothing is owed but the question which contract people meant who started a form themselves"
    )
    created = Counter(_own(str(number_in(forms[str(effect.id)])))
                      for effect in sandbox.ledger().effects(by="api") if effect.verb == "applyevent")  # fmt: skip
    of = {_own(number_in(form)): form for form in forms.values() if number_in(form)}
    for no, shown in held.shown.items():
        once.look(no, holds=created[no] == 1, forms=created[no])
        form = of.get(no)
        if form is None:
            same.look(no, holds=False, hub=shown.get("status"), vendor=None)
            continue
        _state(same, no, form, before, shown)
        acted = [str(sub["sptime"]) for node in form.nodes for sub in node["subs"] if sub["sp_yj"] != 1]
        if no in held.contracts and STATES.get(form.sp_status) != "revoked" and form.sp_status != DELETED:
            active, given = held.contracts[no].get("status") == "active", STATES[form.sp_status] == "approved"
            deal.look(
                no, holds=active == given, contract=held.contracts[no].get("status"), vendor=form.sp_status
            )
        if form.sp_status not in (OPEN, DELETED):  # of one that is open the sweep does not read how far it is
            told = [node for node in shown.get("nodes") or () if node.get("action") != "comment"]
            decided.look(no, holds=len(told) == len(acted), hub=len(told), vendor=len(acted))
    for extra in sorted(set(created) - set(held.shown)):
        once.look(extra, holds=False, forms=created[extra])
    refs = Counter(str(body.get("external_ref")) for body in held.records)
    for sp_no, form in forms.items():
        allowed = (0, 1) if _may_be_unknown(form, before) else (1,)
        one.look(sp_no, holds=refs.pop(sp_no, 0) in allowed, number=number_in(form))
    for ref, count in refs.items():
        one.look(ref, holds=False, records=count)
    bodies = {str(body.get("external_ref")): body for body in held.records}
    for sp_no, form in forms.items():
        if not number_in(form) and (sp_no in bodies or not _may_be_unknown(form, before)):
            _state(home, sp_no, form, before, bodies.get(sp_no, {}))
    asked = {f"/{sp_no}" for sp_no, form in forms.items() if not number_in(form)}
    for debt in held.owed:
        is_question = debt["state"] == "parked" and (debt["cause"] or {}).get("code") == "candidate"
        rest.look(str(debt["subject"]), holds=is_question and debt["subject"] in asked, debt=debt)
    return [once, same, decided, deal, one, home, rest]


def _may_be_unknown(form: Form, before: Mapping[str, int]) -> bool:
    """Say whether people started it and deleted it: nothing keeps what was gone before the hub heard of it."""
    return not number_in(form) and form.sp_no in before


def _own(number: str) -> str:
    """Return the CRM's number: the hub puts digits of its own behind it."""
    return number.partition(" [")[0]


def _state(
    same: Invariant, subject: str, form: Form, before: Mapping[str, int], shown: Mapping[str, Any]
) -> None:
    if form.sp_status != DELETED:
        wanted = {STATES[form.sp_status]}
    else:  # a decided one stays; whether the decision was heard of before the deletion is the weather's
        was = STATES[before[form.sp_no]]
        wanted = {"terminated"} | ({was} - {"in_progress"})
    same.look(
        subject,
        holds=shown.get("status") in wanted,
        hub=shown.get("status"),
        vendor=sorted(wanted),
        form=form.sp_no,
    )
