"""The pipe by hand with approvals: a CRM that signs and submits, an approval system whose events nobody puts in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from hub.mapping import Schemas, crm_schemas
from hub.mapping import compile as compile_mapping
from hub.pipe.items import Item
from hub.project.routes import Approvers, Route
from hub.project.sections import DEFAULT_RULES
from hub.project.values import LANE_MONEY, Admission, Connection, Sync
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store.rows import Xref
from hub.store.view import View
from tests.pipe_stand import Stand
from tests.worlds import project

__all__ = ["AGREED", "ROUTES", "Desk"]

ROUTES = (
    Route("north", "cn/north/", ("contract",), "oa", "T-NORTH"),
    Route("south", "cn/south/", ("contract",), "oa", "T-SOUTH", approvers=(Approvers("all", ("li.lei",)),)),
    Route("money", "cn/", ("refund", "transfer", "payment"), "oa", "T-MONEY", cc=("han.mei",)),
)
PLAN = [
    {"period_no": 1, "due_on": "2026-01-31", "amount_due": "50000.00"},
    {"period_no": 2, "due_on": "2026-03-31", "amount_due": "100000.00", "status": "written_off"},
]
AGREED = [
    {"seq": 1, "approver": "li.lei", "action": "agree"},
    {"seq": 2, "approver": "han.mei", "action": "agree"},
]


SHOWN: dict[str, str] = {
    "id": "text", "no": "text", "subject": "text", "status": "text", "template": "text", "contract_no": "text", "payment": "text",
    "amount": "text", "currency": "text", "nodes": "json", "opinion": "text",
}  # fmt: skip
"""What an approval system shows of a form."""


def _shows(connection: str) -> Sync:
    """Return the sync of a system that shows approvals in the hub's own words, and never again."""
    plain = (name for name in SHOWN if name not in ("id", "amount"))
    fields = "\n".join(
        [*(f"  {name}: {name}" for name in plain), '  amount: money(amount, currency or "CNY")']
    )
    text = (
        f"mapping: oa/approval.in\nsource: oa.approval\ntarget: crm.approval\nkey: [id]\nfields:\n{fields}\n"
    )
    crm = crm_schemas()
    mapping = compile_mapping(text, Schemas({**crm, "oa.approval": SHOWN}, crm), file="approval.in.yaml")
    return Sync(
        name=f"{connection}.approval.in", direction="in", connection=connection, object="approval", stream="approval",
        kind="approval", mapping=mapping, mode="write", lane=LANE_MONEY, region="cn/south/", authority={"*": "source"},
    )  # fmt: skip


class Desk(Stand):
    """A stand with an approval system whose events nobody puts in order: "oa" shows whole approvals, never read again.

    "strange" is another one, to which nothing is routed.
    """

    def __init__(self, url: str = "sqlite://") -> None:
        made = project(("customer", "receipt"), receipt={"admission": Admission(("released",))})
        super().__init__(
            url=url,
            made=replace(
                made,
                connections={
                    **made.connections,
                    "oa": Connection("oa", "oa", region="cn/south/"),
                    "strange": Connection("strange", "oa", region="cn/south/"),
                },
                syncs={
                    **made.syncs,
                    **{f"{name}.approval.in": _shows(name) for name in ("oa", "strange")},
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

    def decide(self, id_: str, status: str, *, by: str = "oa", **fields: Any) -> None:
        """Have the form of a routed approval come to a state in the system that decides about it."""
        form = f"F-{id_}"
        if not self.ask("SELECT 1 FROM xrefs WHERE connection = ? AND vendor_id = ?", by, form):
            ((record,),) = self.ask(
                "SELECT record FROM xrefs WHERE connection = 'crm' AND vendor_id = ?", id_
            )
            self.store.run_now(self._sent, Xref(by, "approval", "", form, bytes(record), is_primary=True))
        self.says(form, by=by, status=status, **fields)

    def _sent(self, tx: Any, xref: Xref) -> None:
        """Note that an approval of the CRM was sent there and is this form."""
        view = View(tx, self.world.vault)
        view.save_xref(xref)
        view.flush("test", "sent")

    def event(self, id_: str, *, by: str = "oa", deleted: bool = False, **fields: Any) -> Item:
        """Return what the approval system says about one of its forms now."""
        key = VendorKey("", id_)
        known = self.ask("SELECT 1 FROM xrefs WHERE connection = ? AND vendor_id = ?", by, id_)
        started = {} if known else {"no": id_, "subject": "custom", "template": "T-SOUTH"}
        source = SourceRecord(key, {"id": id_, **started, **fields}, self.clock.now(), deleted=deleted)
        return Item(by, "approval", key, source, self.world.inbound(by, "approval"), event="e")

    def says(self, id_: str, *, by: str = "oa", deleted: bool = False, **fields: Any) -> None:
        """Have one event taken."""
        self.take_items([self.event(id_, by=by, deleted=deleted, **fields)])

    def parked(self, form: str) -> dict[str, Any]:
        """Return the dead letter of a form."""
        (row,) = [row for row in self.rows() if row["state"] == "parked" and row["subject"] == f"/{form}"]
        return row

    def replay_form(self, form: str) -> None:
        """Have an operator send a form's dead letter on its way again."""
        self.replay(self.parked(form)["id"])
        self.read_on()

    def read_on(self) -> None:
        """Have the worker decide about what is owed of the approval system's forms."""
        for attempt in self.claim(connection="oa"):
            self.settle(attempt, self.send(attempt))

    def approvals(self) -> dict[str, dict[str, Any]]:
        """Return every approval by its number."""
        found = self.ask("SELECT body FROM records WHERE kind = 'approval'")
        return {one["no"]: one for (body,) in found if (one := orjson.loads(body))}

    def told(self, record: str) -> list[dict[str, Any]]:
        """Return what acts say of a record, in order."""
        bodies = [orjson.loads(body) for (body,) in self.ask("SELECT body FROM acts ORDER BY id")]
        return [item for body in bodies for item in body.get("items", ()) if item.get("record") == record]

    def noted(self, subject: str) -> list[dict[str, Any]]:
        """Return what acts say of an object that came in, in order."""
        bodies = [orjson.loads(body) for (body,) in self.ask("SELECT body FROM acts ORDER BY id")]
        return [item for body in bodies for item in body.get("items", ()) if item.get("subject") == subject]

    def letters(self) -> list[tuple[str, str, str | None]]:
        """Return (subject, cause, field) of every dead letter."""
        stopped = [row for row in self.rows() if row["state"] == "parked"]
        return [(row["subject"], row["cause"]["code"], row["cause"].get("field")) for row in stopped]
