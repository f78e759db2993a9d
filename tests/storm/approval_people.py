"""The people of a storm of approvals: the CRM's users who submit, and those who decide at the vendor, seeded.

Every form gets a plan when somebody first sees it: what will be done with it, step by step, by whoever's turn it is.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.storm.approval_vendor import AMOUNT, CUSTOMER_NAME, NUMBER, Vendor

__all__ = ["OWN_AMOUNT", "People", "body_of"]

SUBJECTS = ("contract", "custom")
SPEECHES = ("", "同意", "请核对金额", "折扣太大", "OK 👌")
OWN_AMOUNT = "88.00"
"""What a form is about that people start themselves: the branch's own flow decides."""


def body_of(no: str, applicants: Sequence[str], draw: random.Random) -> dict[str, Any]:
    """Return an approval as the CRM sends it. ``applicants``: codes of those who may ask."""
    amount = Decimal(draw.randrange(100, 30_000_000)) / 100
    subject = draw.choice(SUBJECTS)
    return {
        "no": no, "subject": subject, "title": f"示例审批 {no}", "status": "submitted",
        "applicant": draw.choice(applicants), "amount": str(amount), "currency": "CNY",
        "form": {CUSTOMER_NAME: f"示例{no}有限公司", AMOUNT: str(amount)},
        **({"contract": {"external": no}} if subject == "contract" else {}),
    }  # fmt: skip


@dataclass
class People:
    """Those at the vendor's screens. ``tick``: lets a second pass."""

    vendor: Vendor
    tick: Callable[[], None]
    draw: random.Random
    plans: dict[str, list[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)

    def meet(self) -> None:
        """Make plans for the forms nobody has seen yet."""
        for id_ in self.vendor.ids():
            if id_ in self.known:
                continue
            self.known.add(id_)
            weights, plans = zip(*self.vendor.plans, strict=True)
            plan = self.draw.choices(plans, weights)[0]
            if plan:
                self.plans[id_] = list(plan)

    def begin(self, contract: str = "") -> str:
        """Have somebody start a form himself, with the number of a contract or without."""
        self.tick()
        userid = self.draw.choice(list(self.vendor.applicants.values()))
        values = {CUSTOMER_NAME: "自己发起", AMOUNT: OWN_AMOUNT} | ({NUMBER: contract} if contract else {})
        self.done["start_with_number" if contract else "start"] += 1
        return self.vendor.start(userid, values)

    def play(self, count: int) -> int:
        """Do the next step of so many forms; return how many there were."""
        for played in range(count):
            if not self.plans:
                return played
            id_ = self.draw.choice(list(self.plans))
            plan = self.plans[id_]
            self._act(id_, plan.pop(0))
            if not plan:
                del self.plans[id_]
        return count

    def _act(self, id_: str, step: str) -> None:
        userid = to = ""
        if step == "one":
            userid = self.vendor.turns(id_)[0]
        elif step == "transfer":
            userid, to = self.vendor.turns(id_)[0], self.draw.choice(list(self.vendor.applicants.values()))
        self.tick()
        act = "agree" if step == "one" else step
        self.vendor.do(id_, act, userid=userid, to=to, said=self.draw.choice(SPEECHES))
        self.done[step] += 1
