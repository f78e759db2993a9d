"""The pipe by hand with approvals: a CRM that signs and submits, an approval system whose events nobody puts in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from hub.pipe.items import Item
from hub.project.routes import Approvers, Route
from hub.project.sections import DEFAULT_RULES
from hub.project.values import Admission, Connection
from hub.sdk.connector import SourceRecord, VendorKey
from tests.pipe_stand import Stand
from tests.worlds import project

__all__ = ["AGREED", "ROUTES", "Desk"]

ROUTES = (
    Route("north", "cn/north/", ("contract",), "mem", "T-NORTH"),
    Route("south", "cn/south/", ("contract",), "mem", "T-SOUTH", approvers=(Approvers("all", ("li.lei",)),)),
    Route("money", "cn/", ("refund", "transfer", "payment"), "mem", "T-MONEY", cc=("han.mei",)),
)
PLAN = [
    {"period_no": 1, "due_on": "2026-01-31", "amount_due": "50000.00"},
    {"period_no": 2, "due_on": "2026-03-31", "amount_due": "100000.00", "status": "written_off"},
]
AGREED = [
    {"seq": 1, "approver": "li.lei", "action": "agree"},
    {"seq": 2, "approver": "han.mei", "action": "agree"},
]


class Desk(Stand):
    """A stand with an approval system whose events nobody puts in order: "oa" shows whole approvals, never read again."""

    def __init__(self, url: str = "sqlite://") -> None:
        made = project(("customer", "receipt"), receipt={"admission": Admission(("released",))})
        super().__init__(
            url=url,
            made=replace(
                made,
                connections={
                    **made.connections,
                    "oa": Connection("oa", "api", kind="api", region="cn/south/"),
                },
                kinds={**DEFAULT_RULES, **made.kinds},
                regions=("", "cn/", "cn/south/", "cn/north/"),
                owners={"han.mei": "cn/north/"},
                routes=ROUTES,
            ),
        )
        self.customer = ""

    def sign(self, no: str = "HT-1", **fields: Any) -> str:
        """Have the CRM send a contract of 150,000 with its customer; return its id."""
        self.customer = self.customer or self.put("C-1", name="示例科技有限公司")
        deal = {"no": no, "customer": self.customer, "amount_total": "150000.00", "currency": "CNY"}
        return self.put(no, "contract", **{**deal, "payment_plan": PLAN, "status": "draft", **fields})

    def ask_for(self, id_: str, subject: str = "contract", **fields: Any) -> str:
        """Have the CRM send an approval, or more of one; return its id."""
        return self.put(id_, "approval", no=id_, subject=subject, **{"status": "submitted", **fields})

    def decide(self, id_: str, status: str, subject: str = "contract", **fields: Any) -> None:
        """Have the approval come to a state."""
        self.ask_for(id_, subject, status=status, **fields)

    def event(self, id_: str, *, deleted: bool = False, **fields: Any) -> Item:
        """Return what the approval system says about one approval now."""
        key = VendorKey("", id_)
        body = {"no": id_, "subject": "custom", "connection": "oa", **fields}
        source = SourceRecord(key, body, self.clock.now(), deleted=deleted)
        return Item("oa", "approval", key, source, self.world.inbound("oa", "approval"), event="e")

    def says(self, id_: str, *, deleted: bool = False, **fields: Any) -> None:
        """Have one event taken."""
        self.take_items([self.event(id_, deleted=deleted, **fields)])

    def approvals(self) -> dict[str, dict[str, Any]]:
        """Return every approval by its number."""
        found = self.ask("SELECT body FROM records WHERE kind = 'approval'")
        return {one["no"]: one for (body,) in found if (one := orjson.loads(body))}

    def told(self, record: str) -> list[dict[str, Any]]:
        """Return what acts say of a record, in order."""
        bodies = [orjson.loads(body) for (body,) in self.ask("SELECT body FROM acts ORDER BY id")]
        return [item for body in bodies for item in body.get("items", ()) if item.get("record") == record]

    def letters(self) -> list[tuple[str, str, str | None]]:
        """Return (subject, cause, field) of every dead letter."""
        stopped = [row for row in self.rows() if row["state"] == "parked"]
        return [(row["subject"], row["cause"]["code"], row["cause"].get("field")) for row in stopped]
