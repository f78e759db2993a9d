"""The people of a storm of approvals: the CRM's users who submit, and those who decide in WeCom, seeded.

Every form gets a plan when somebody first sees it: what will be done with it, step by step, by whoever's turn it is.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import ActOnForm, Submit
from connectors.wecom.sandbox.approving import turns
from connectors.wecom.sandbox.templates import CONTRACT
from tests.storm.approval_site import APPLICANTS

__all__ = ["People", "body_of"]

PLANS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (6, ("one", "agree")),
    (4, ("agree",)),
    (3, ("agree", "revoke")),
    (2, ("comment", "one", "agree", "revoke")),
    (1, ("agree", "pay")),
    (3, ("reject",)),
    (2, ("one", "reject")),
    (2, ("urge", "transfer", "reject")),
    (2, ("withdraw",)),
    (2, ("one", "comment", "withdraw")),
    (1, ("one", "return", "one", "agree")),
    (1, ("delete",)),
    (1, ("one", "delete")),
    (1, ("agree", "delete")),
    (1, ("reject", "delete")),
    (1, ()),
    (1, ("one",)),
)
"""Weight and steps. ``one``: whose turn it is agrees; ``agree``: everybody does, to the end."""
SUBJECTS = ("contract", "custom")
SPEECHES = ("", "同意", "请核对金额", "折扣太大", "OK 👌")


def body_of(no: str, draw: random.Random) -> dict[str, Any]:
    """Return an approval as the CRM sends it."""
    amount = Decimal(draw.randrange(100, 30_000_000)) / 100
    subject = draw.choice(SUBJECTS)
    return {
        "no": no, "subject": subject, "title": f"示例审批 {no}", "status": "submitted",
        "applicant": draw.choice(list(APPLICANTS)), "amount": str(amount), "currency": "CNY",
        "form": {"客户名称": f"示例{no}有限公司", "合同金额": str(amount)},
        **({"contract": {"external": no}} if subject == "contract" else {}),
    }  # fmt: skip


@dataclass
class People:
    """Those at WeCom's screens. ``tick``: lets a second pass. ``before``: sp_no -> its status when it was deleted."""

    sandbox: WeComSandbox
    tick: Callable[[], None]
    draw: random.Random
    plans: dict[str, list[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    before: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def meet(self) -> None:
        """Make plans for the forms nobody has seen yet."""
        for sp_no in self.sandbox.corp.forms:
            if sp_no in self.known:
                continue
            self.known.add(sp_no)
            weights, plans = zip(*PLANS, strict=True)
            plan = self.draw.choices(plans, weights)[0]
            if plan:
                self.plans[sp_no] = list(plan)

    def begin(self) -> str:
        """Have somebody start a form in WeCom himself."""
        self.tick()
        userid = self.draw.choice(list(APPLICANTS.values()))
        values = {"客户名称": "自己发起", "合同金额": "88.00"}
        (told,) = self.sandbox.act(Submit(template_id=CONTRACT, userid=userid, values=values))
        self.done["submit"] += 1
        return str(told["sp_no"])

    def play(self, count: int) -> int:
        """Do the next step of so many forms; return how many there were."""
        for played in range(count):
            if not self.plans:
                return played
            sp_no = self.draw.choice(list(self.plans))
            plan = self.plans[sp_no]
            self._act(sp_no, plan.pop(0))
            if not plan:
                del self.plans[sp_no]
        return count

    def _act(self, sp_no: str, step: str) -> None:
        form = self.sandbox.corp.forms[sp_no]
        userid = to = ""
        if step == "one":
            userid = turns(form)[0]
        elif step == "transfer":
            userid, to = turns(form)[0], self.draw.choice(list(APPLICANTS.values()))
        elif step == "delete":
            self.before[sp_no] = form.sp_status
        self.tick()
        act = {"act": "agree" if step == "one" else step, "sp_no": sp_no, "userid": userid, "to": to,
               "speech": self.draw.choice(SPEECHES)}  # fmt: skip
        self.sandbox.act(ActOnForm.model_validate(act))
        self.done[step] += 1
