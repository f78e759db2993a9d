"""Approvals through the pipe: events in any order, what an approval changes, who is told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from hub.crm.external import ExternalWrite, WriteRefused
from hub.errors import Cause
from hub.mapping import compile as compile_mapping
from hub.model.lattice import LATTICES
from hub.pipe.accept import accept
from hub.pipe.desk import NotPossible, edit
from hub.pipe.items import Item
from hub.project.routes import Amounts, Approvers, Route
from hub.project.sections import DEFAULT_RULES
from hub.project.values import Admission, Connection
from hub.sdk.connector import SourceRecord, VendorKey
from hub.store import sql
from tests.approval_desk import AGREED, ROUTES, Desk
from tests.worlds import RECEIPT_OUT, project, schemas

STEPS = LATTICES["approval"].steps
SEED = 20261130


@pytest.fixture
def desk() -> Iterator[Desk]:
    opened = Desk()
    yield opened
    opened.close()


def history(draw: random.Random) -> list[dict[str, Any]]:
    """Return the moments of one approval, from its start to where it ended."""
    state, nodes = "submitted", []
    moments: list[dict[str, Any]] = [{"status": state}]
    while following := STEPS.get(state, ()):
        if state == "approved" and draw.random() < 0.7:
            break
        state = draw.choice(following)
        nodes = [*nodes, {"seq": len(nodes), "approver": "li.lei", "opinion": state}]
        moments.append({"status": state, "nodes": nodes})
    return moments


def test_a_thousand_approvals_whose_events_are_shuffled_repeated_and_lost_end_as_the_approval_system_says(
    desk: Desk,
):
    draw = random.Random(SEED)
    print(f"seed {SEED}")
    ends, events = {}, []
    for number in range(1_000):
        id_, moments = f"A-{number}", history(draw)
        ends[id_] = moments[-1]
        events += [(id_, moment) for moment in draw.choices(moments, k=draw.randrange(6))]
        events.append((id_, moments[-1]))
    draw.shuffle(events)
    while events:  # what one read shows of an object is one state: a batch names each approval once
        batch = dict(events[:100])
        desk.take_items([desk.event(id_, **moment) for id_, moment in batch.items()])
        events = [event for event in events[:100] if event not in batch.items()] + events[100:]
    found = desk.approvals()
    assert {id_: one["status"] for id_, one in found.items()} == {
        id_: end["status"] for id_, end in ends.items()
    }
    assert {id_: one.get("nodes") for id_, one in found.items()} == {
        id_: end.get("nodes") for id_, end in ends.items()
    }
    assert desk.letters() == []


def test_an_open_approval_that_is_deleted_there_ends_and_a_decided_one_stays(desk: Desk):
    desk.says("A-1", status="in_progress")
    desk.says("A-2", status="approved")
    for id_ in ("A-1", "A-2"):
        desk.says(id_, deleted=True)
    assert {id_: one["status"] for id_, one in desk.approvals().items()} == {
        "A-1": "terminated",
        "A-2": "approved",
    }


def test_what_cannot_be_read_again_is_believed_as_it_comes_also_behind_a_deletion_nobody_knew(desk: Desk):
    late = desk.event("OA-9", status="in_progress")
    desk.clock.at += 1_000_000
    desk.says("OA-9", deleted=True)
    desk.take_items([late])
    assert desk.rows() == []
    assert desk.approvals()["OA-9"]["status"] == "in_progress"


def test_two_ends_of_one_approval_are_a_dead_letter_and_the_first_one_stands(desk: Desk):
    desk.says("A-1", status="rejected", opinion="价格太低")
    desk.says("A-1", status="approved", opinion="同意")
    (one,) = desk.approvals().values()
    assert (one["status"], one["opinion"]) == ("rejected", "价格太低")
    assert desk.letters() == [("/A-1", "conflict", "status")]


# where it goes ------------------------------------------------------------------------------------------------


def test_an_approval_that_is_submitted_gets_the_route_of_its_contracts_region_and_the_contract_is_in_approval(
    desk: Desk,
):
    contract = desk.sign()
    approval = desk.body(desk.ask_for("A-1", contract=contract))
    assert (approval["route"], approval["connection"], approval["template"]) == ("south", "oa", "T-SOUTH")
    assert approval["approvers"] == [{"mode": "all", "approvers": ["li.lei"]}]
    assert desk.body(contract)["status"] == "in_approval"


def test_an_approval_that_comes_before_its_contract_is_sent_to_nobody_until_the_contract_says_by_which_route(
    desk: Desk,
):
    body = {"no": "A-1", "subject": "contract", "status": "submitted", "contract_no": "HT-1"}
    desk.store.run_now(accept, ExternalWrite("crm", "approval", "A-1", body, "cn/south/"), desk.world)
    assert [cause for _, cause, _ in desk.letters()] == ["candidate"]
    assert not {"route", "connection", "approvers"} & desk.approvals()["A-1"].keys()
    assert not desk.owes("oa.approval.out")
    contract = desk.sign(amount_total="900000.00")
    desk.store.run_now(accept, ExternalWrite("crm", "approval", "A-1", body, "cn/south/"), desk.world)
    sent = desk.approvals()["A-1"]
    assert (sent["contract"], sent["amount"], bool(sent["route"])) == (contract, "900000.00", True)


def test_a_draft_has_no_route_yet(desk: Desk):
    approval = desk.ask_for("A-1", contract=desk.sign(), status="draft")
    assert "route" not in desk.body(approval)
    desk.ask_for("A-1", contract=desk.sign())
    assert desk.body(approval)["route"] == "south"


def test_an_open_approval_keeps_its_route_when_the_region_changes_and_the_next_attempt_goes_by_the_new_one(
    desk: Desk,
):
    contract = desk.sign()
    first = desk.ask_for("A-1", contract=contract)
    desk.store.run_now(sql.command("UPDATE records SET region = 'cn/north/' WHERE kind = 'contract'"))
    desk.decide("A-1", "in_progress", nodes=AGREED[:1])
    assert desk.body(first)["route"] == "south"
    desk.decide("A-1", "rejected")
    assert desk.body(desk.ask_for("A-2", contract=contract))["route"] == "north"


def test_an_approval_that_no_route_fits_is_a_dead_letter_and_goes_when_the_table_is_mended(desk: Desk):
    contract = desk.sign()
    desk.world = replace(desk.world, project=replace(desk.world.project, routes=ROUTES[:1]))
    body = {"no": "A-1", "subject": "contract", "status": "submitted", "contract": contract}
    held = desk.store.run_now(accept, ExternalWrite("crm", "approval", "A-1", body, "cn/south/"), desk.world)
    assert isinstance(held, WriteRefused)
    assert held.cause is Cause.NO_ROUTE
    assert "cn/north/" in str(held)
    assert desk.body(contract)["status"] == "draft"
    desk.world = replace(desk.world, project=replace(desk.world.project, routes=ROUTES))
    assert desk.body(desk.ask_for("A-1", contract=contract))["route"] == "south"
    assert desk.letters() == []


# what follows -------------------------------------------------------------------------------------------------


def test_an_approved_contract_is_active_its_plan_open_and_the_receipt_that_waited_for_it_goes(desk: Desk):
    contract = desk.sign()
    payment = desk.put("P-1", "payment", no="P-1", customer=desk.customer, contract=contract, amount="50000.00",
                       currency="CNY", received_on="2026-01-10")  # fmt: skip
    desk.ask_for("A-1", contract=contract, amount="150000.00", currency="CNY")
    desk.run()
    assert desk.row("receipt.out", payment)["state"] == "waiting"
    assert desk.effects("receipt") == []
    desk.decide("A-1", "approved", nodes=AGREED)
    found = desk.body(contract)
    assert found["status"] == "active"
    assert [row["status"] for row in found["payment_plan"]] == ["open", "written_off"]
    desk.run()
    assert len(desk.effects("receipt")) == 1
    assert desk.told(contract)[-1]["by"] == ["li.lei", "han.mei"]


def test_a_payment_without_a_contract_goes_at_once(desk: Desk):
    desk.sign()
    desk.pay("P-1", desk.customer)
    desk.run()
    assert len(desk.effects("receipt")) == 1


def test_a_payment_that_names_a_contract_nobody_sent_yet_goes_when_that_is_active(desk: Desk):
    desk.sign("HT-0")
    desk.put("P-1", "payment", no="P-1", customer=desk.customer, contract_no="HT-9", amount="1.00", currency="CNY",
             received_on="2026-01-10")  # fmt: skip
    desk.run()
    desk.sign("ht-9 ")
    desk.run()
    assert desk.effects("receipt") == []
    desk.put(
        "HT-9",
        "contract",
        status="active",
        no="HT-9",
        customer=desk.customer,
        amount_total="1.00",
        currency="CNY",
    )
    desk.run()
    assert len(desk.effects("receipt")) == 1


def test_a_rejected_contract_comes_back_with_the_approvers_words(desk: Desk):
    contract = desk.sign()
    desk.ask_for("A-1", contract=contract)
    desk.decide(
        "A-1", "rejected", nodes=[{"seq": 1, "approver": "li.lei", "action": "reject", "opinion": "折扣太大"}]
    )
    found = desk.body(contract)
    assert (found["status"], found["approval_comment"]) == ("draft", "折扣太大")
    assert [row.get("status") for row in found["payment_plan"]] == [None, "written_off"]


def test_a_late_decision_of_an_earlier_attempt_does_not_touch_the_contract(desk: Desk):
    contract = desk.sign()
    for attempt in ("A-1", "A-2"):
        desk.ask_for(attempt, contract=contract)
    desk.decide("A-2", "approved")
    for _ in range(2):
        desk.decide("A-1", "rejected")
    assert desk.body(contract)["status"] == "active"


def test_an_event_that_comes_again_does_not_approve_what_was_taken_back_for_another_attempt(desk: Desk):
    contract = desk.sign()
    desk.ask_for("A-1", contract=contract)
    desk.decide("A-1", "approved", nodes=AGREED[:1])
    desk.sign(status="active")  # as the CRM saw it
    desk.sign(status="draft")
    desk.decide("A-1", "approved", nodes=AGREED)
    assert desk.body(contract)["status"] == "draft"
    assert len(desk.approvals()["A-1"]["nodes"]) == len(AGREED)


def test_what_was_revoked_after_approval_is_suspended_and_its_receipts_stop(desk: Desk):
    contract = desk.sign()
    desk.ask_for("A-1", contract=contract)
    desk.decide("A-1", "revoked", opinion="客户撤单")  # the event of the approval itself was lost
    assert desk.body(contract)["status"] == "in_approval"
    desk.ask_for("A-2", contract=contract)
    desk.decide("A-2", "approved")
    desk.decide("A-2", "revoked", opinion="客户撤单")
    payment = desk.put("P-1", "payment", no="P-1", customer=desk.customer, contract=contract, amount="1.00",
                       currency="CNY", received_on="2026-01-10")  # fmt: skip
    desk.run()
    found = desk.body(contract)
    assert (found["status"], found["approval_comment"]) == ("suspended", "客户撤单")
    assert desk.row("receipt.out", payment)["state"] == "waiting"


def test_what_was_revoked_is_active_again_by_a_new_attempt(desk: Desk):
    contract = desk.sign()
    desk.ask_for("A-1", contract=contract)
    desk.decide("A-1", "approved")
    desk.decide("A-1", "revoked", opinion="客户撤单")
    assert desk.body(contract)["status"] == "suspended"
    desk.ask_for("A-2", contract=contract)
    assert desk.body(contract)["status"] == "in_approval"
    desk.decide("A-2", "approved")
    assert desk.body(contract)["status"] == "active"


def test_another_amount_than_the_one_approved_is_a_dead_letter_that_a_correction_lets_go(desk: Desk):
    contract = desk.sign(amount_total="900000.00")
    desk.ask_for("A-1", contract=contract, amount="150000.00", currency="CNY")
    desk.decide("A-1", "approved")
    assert desk.letters() == [("/F-A-1", "conflict", "amount")]
    assert desk.body(contract)["status"] == "in_approval"
    desk.sign(status="in_approval")
    desk.replay_form("F-A-1")
    assert desk.body(contract)["status"] == "active"
    assert desk.letters() == []


def test_a_contract_that_was_raised_while_its_approval_was_open_is_not_active_by_it(desk: Desk):
    contract = desk.sign()
    desk.ask_for("A-1", contract=contract)  # no amount is stated: the contract's own is what was submitted
    assert (desk.approvals()["A-1"]["amount"], desk.approvals()["A-1"]["currency"]) == ("150000.00", "CNY")
    desk.sign(amount_total="9000000.00", status="in_approval")
    desk.decide("A-1", "approved")
    assert desk.letters() == [("/F-A-1", "conflict", "amount")]
    assert desk.body(contract)["status"] == "in_approval"


def test_an_approved_refund_starts_with_its_amount_and_never_exceeds_its_payment(desk: Desk):
    desk.sign()
    payment = desk.pay("P-1", desk.customer)
    desk.ask_for("A-1", "refund", payment=payment, amount="40.00", currency="CNY")
    assert desk.body(payment)["refund_status"] == "requested"
    desk.decide("A-1", "approved")
    assert (desk.body(payment)["refund_status"], desk.body(payment)["refund_amount"]) == ("started", "40.00")
    other = desk.pay("P-2", desk.customer)
    desk.ask_for("A-2", "refund", payment=other, amount="100.01", currency="CNY")
    desk.decide("A-2", "approved")
    assert desk.letters() == [("/F-A-2", "conflict", "amount")]
    assert desk.body(other)["refund_status"] == "requested"


def test_a_second_refund_that_is_approved_while_one_is_on_its_way_is_a_dead_letter_until_it_may_start(
    desk: Desk,
):
    desk.sign()
    payment = desk.pay("P-1", desk.customer)
    for attempt, amount in (("A-1", "40.00"), ("A-2", "30.00")):
        desk.ask_for(attempt, "refund", payment=payment, amount=amount, currency="CNY")
    desk.decide("A-1", "approved")
    desk.decide("A-1", "approved", nodes=AGREED)  # the same decision once more is nobody's second refund
    assert desk.letters() == []
    desk.decide("A-2", "approved")
    assert desk.letters() == [("/F-A-2", "conflict", "refund_status")]
    assert "started already (40.00)" in desk.parked("F-A-2")["cause"]["message"]
    told = desk.told(desk.ask_for("A-2", "refund", payment=payment, amount="30.00", currency="CNY"))
    assert [(one["cause"], "40.00" in one["message"]) for one in told if one["outcome"] == "parked"] == [
        ("conflict", True)
    ]
    assert desk.body(payment)["refund_amount"] == "40.00"
    desk.pay("P-1", desk.customer, refund_status="refused")  # the bank sent the first one back
    desk.replay_form("F-A-2")
    assert (desk.body(payment)["refund_status"], desk.body(payment)["refund_amount"]) == ("started", "30.00")


def test_an_approved_transfer_moves_owner_and_region_and_owes_the_sync_of_the_new_region(desk: Desk):
    desk.sign()
    syncs = dict(desk.world.project.syncs)
    syncs["customer.out"] = replace(syncs["customer.out"], region="cn/north/")
    desk.world = replace(desk.world, project=replace(desk.world.project, syncs=syncs))
    desk.run()  # what the south's sync once owed is not for this one
    assert desk.effects("customer") == []
    desk.ask_for("A-1", "transfer", customer=desk.customer, to_owner="han.mei")
    desk.decide("A-1", "approved", nodes=AGREED)
    ((owner, region),) = desk.ask(
        "SELECT owner, region FROM records WHERE id = ?", bytes.fromhex(desk.customer)
    )
    assert (owner, region) == ("han.mei", "cn/north/")
    (moved,) = [item for item in desk.told(desk.customer) if item.get("by")]
    assert (moved["outcome"], moved["by"]) == ("changed", ["li.lei", "han.mei"])
    desk.run()
    assert desk.effects("customer") == ["save", "submit", "audit"]


# who may decide -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["in_progress", "approved", "rejected", "withdrawn", "terminated", "revoked"]
)
def test_a_decision_that_the_crm_states_itself_takes_no_effect_on_an_approval_that_is_open_or_new(
    desk: Desk, said: str
):
    contract = desk.sign()
    approval = desk.ask_for("A-1", contract=contract)
    for id_ in ("A-1", "A-2"):
        body = {"no": id_, "subject": "contract", "contract": contract, "status": said}
        write = ExternalWrite("crm", "approval", id_, body, "cn/south/")
        held = desk.store.run_now(accept, write, desk.world)
        assert isinstance(held, WriteRefused)
        assert (held.cause, held.field) == (Cause.CONFLICT, "status")
    assert desk.body(approval)["status"] == "submitted"
    assert desk.body(contract)["status"] == "in_approval"
    assert list(desk.approvals()) == ["A-1"]


def test_steps_that_the_crm_states_itself_are_not_taken(desk: Desk):
    approval = desk.ask_for("A-1", contract=desk.sign())
    body = {"no": "A-1", "subject": "contract", "status": "submitted", "nodes": AGREED}
    held = desk.store.run_now(accept, ExternalWrite("crm", "approval", "A-1", body, "cn/south/"), desk.world)
    assert isinstance(held, WriteRefused)
    assert (held.cause, held.field) == (Cause.CONFLICT, "nodes")
    assert "nodes" not in desk.body(approval)


def test_an_approval_that_was_decided_may_be_sent_again_as_it_was_asked_for(desk: Desk):
    contract = desk.sign()
    approval = desk.ask_for("A-1", contract=contract)
    desk.decide("A-1", "approved", nodes=AGREED)
    assert desk.ask_for("A-1", contract=contract) == approval
    assert desk.body(approval)["status"] == "approved"
    assert desk.letters() == []


def test_a_system_that_an_approval_was_not_routed_to_does_not_decide_about_it(desk: Desk):
    contract = desk.sign()
    approval = desk.ask_for("A-1", contract=contract)
    desk.decide("A-1", "approved", by="strange")
    assert desk.letters() == [("/F-A-1", "conflict", "status")]
    assert "only the system it was routed to (oa)" in desk.parked("F-A-1")["cause"]["message"]
    assert desk.body(approval)["status"] == "submitted"
    assert desk.body(contract)["status"] == "in_approval"


def test_an_operator_who_repairs_a_dead_letter_does_not_decide_either(desk: Desk):
    desk.ask_for("A-1", contract=desk.sign(amount_total="900000.00"), amount="150000.00", currency="CNY")
    body = {"no": "A-2", "subject": "contract", "status": "submitted", "contract_no": "HT-7"}
    desk.store.run_now(accept, ExternalWrite("crm", "approval", "A-2", body, "cn/south/"), desk.world)
    (row,) = [row for row in desk.rows() if row["state"] == "parked"]
    for fields in ({"status": "approved"}, {"nodes": AGREED}, {"route": "south"}, {"connection": "oa"}):
        with pytest.raises(NotPossible, match=next(iter(fields))):
            desk.store.run_now(edit, row["id"], fields, desk.world, by="operator")


def test_an_operator_who_mends_what_a_system_showed_states_no_decision_of_it(desk: Desk):
    desk.says("2026001", subject="contract", status="in_progress", contract_no="HT-1")
    (row,) = [row for row in desk.rows() if row["state"] == "parked"]
    for name in ("status", "nodes", "template", "no"):
        with pytest.raises(NotPossible, match=f"{name}: is said by the system"):
            desk.store.run_now(edit, row["id"], {name: "approved"}, desk.world, by="operator")


# started over there -------------------------------------------------------------------------------------------


def test_an_approval_started_over_there_is_tied_to_its_contract_by_number(desk: Desk):
    contract = desk.sign()
    desk.says("2026001", subject="contract", status="in_progress", contract_no="HT-1", amount="150000.00")
    assert desk.body(contract)["status"] == "in_approval"
    desk.says(
        "2026001", subject="contract", status="approved", contract_no="HT-1", amount="150000.00", nodes=AGREED
    )
    assert desk.approvals()["2026001"]["contract"] == contract
    assert desk.body(contract)["status"] == "active"


def test_one_that_nobody_knows_a_contract_for_is_a_candidate_and_takes_effect_once_it_is_known(desk: Desk):
    desk.says("2026001", subject="contract", status="approved", contract_no="HT-1", nodes=AGREED)
    assert desk.letters() == [("/2026001", "candidate", "contract")]
    contract = desk.sign()
    assert desk.body(contract)["status"] == "draft"
    (row,) = [row for row in desk.rows() if row["state"] == "parked"]
    desk.replay(row["id"])
    desk.read_on()
    assert desk.approvals()["2026001"]["contract"] == contract
    assert desk.body(contract)["status"] == "active"


def test_a_form_of_another_template_than_the_contracts_route_names_decides_nothing_until_the_table_says_so(
    desk: Desk,
):
    contract = desk.sign()
    shown = {
        "subject": "contract",
        "template": "T-NORTH",
        "contract_no": "HT-1",
        "amount": "150000.00",
        "nodes": AGREED,
    }
    desk.says("2026001", status="in_progress", **shown)
    assert desk.letters() == [("/2026001", "no_route", "template")]
    desk.says("2026001", status="approved", **shown)
    desk.read_on()
    assert desk.letters() == [("/2026001", "no_route", "template")]
    said = desk.parked("2026001")["cause"]["message"]
    assert "south" in said
    assert "T-SOUTH" in said
    assert "T-NORTH" in said
    assert said in {item.get("message") for item in desk.noted("/2026001")}
    assert desk.approvals()["2026001"]["status"] == "approved"
    assert "contract" not in desk.approvals()["2026001"]
    assert desk.body(contract)["status"] == "draft"
    desk.world = replace(
        desk.world, project=replace(desk.world.project, routes=(replace(ROUTES[1], template="T-NORTH"),))
    )
    desk.replay_form("2026001")
    assert desk.body(contract)["status"] == "active"
    assert desk.letters() == []


def test_a_form_of_another_system_than_the_contracts_route_names_decides_nothing(desk: Desk):
    contract = desk.sign()
    desk.says("2026001", by="strange", subject="contract", status="approved", contract_no="HT-1")
    assert desk.letters() == [("/2026001", "no_route", "template")]
    assert desk.body(contract)["status"] == "draft"


@pytest.mark.parametrize(
    ("steps", "missing"),
    [
        ([("all", "li.lei", "wang.fang")], "wang.fang"),
        ([("any", "wang.fang", "zhao.liu")], "wang.fang, zhao.liu"),
        ([("all", "li.lei"), ("all", "wang.fang")], "wang.fang"),
        ([("all", "li.lei"), ("any", "han.mei", "wang.fang")], ""),
        ([("all", "sun.li")], ""),
    ],
)
def test_a_form_that_took_the_templates_flow_past_an_approver_of_the_route_decides_nothing(
    desk: Desk, steps: list[tuple[str, ...]], missing: str
):
    named = tuple(Approvers(mode, people) for mode, *people in steps)  # type: ignore[arg-type]
    routes = (replace(ROUTES[1], approvers=named),)
    desk.world = replace(desk.world, project=replace(desk.world.project, routes=routes))
    contract = desk.sign()
    handed_on = {"seq": 3, "approver": "sun.li", "action": "transfer"}
    refused = {"seq": 4, "approver": "wang.fang", "action": "comment"}
    shown = {"subject": "contract", "contract_no": "HT-1", "nodes": [*AGREED, handed_on, refused]}
    desk.says("2026001", status="in_progress", **shown)
    assert desk.letters() == []
    desk.says("2026001", status="approved", **shown)
    assert desk.letters() == ([("/2026001", "no_route", "nodes")] if missing else [])
    assert desk.body(contract)["status"] == ("in_approval" if missing else "active")
    if missing:
        assert desk.parked("2026001")["cause"]["message"].endswith(f"did not agree: {missing}")


def test_a_form_about_what_no_route_is_for_decides_nothing_and_says_what_was_looked_for(desk: Desk):
    contract = desk.sign()
    desk.world = replace(desk.world, project=replace(desk.world.project, routes=ROUTES[:1]))
    desk.says("2026001", subject="contract", status="approved", contract_no="HT-1")
    assert "cn/north/" in desk.parked("2026001")["cause"]["message"]
    assert desk.body(contract)["status"] == "draft"


def test_a_smaller_amount_typed_into_the_branchs_form_does_not_pass_for_headquarters(desk: Desk):
    few, many = Amounts("CNY", below=Decimal(100_000)), Amounts("CNY", Decimal(100_000))
    routes = (
        Route("branch", "cn/", ("contract",), "oa", "T-SOUTH", amounts=few),
        Route("headquarters", "cn/", ("contract",), "oa", "T-HEAD", amounts=many),
    )
    desk.world = replace(desk.world, project=replace(desk.world.project, routes=routes))
    contract = desk.sign()
    for form, stated in (("2026001", {"amount": "1.00", "currency": "CNY"}), ("2026002", {})):
        desk.says(form, subject="contract", status="approved", contract_no="HT-1", **stated)
    assert desk.letters() == [("/2026001", "conflict", "amount"), ("/2026002", "no_route", "template")]
    assert desk.body(contract)["status"] == "draft"


def test_a_form_that_names_its_payment_by_reference_starts_a_refund_by_its_route_alone(desk: Desk):
    desk.sign()
    payment = desk.pay("P-1", desk.customer)
    shown = {
        "subject": "refund",
        "status": "approved",
        "payment": payment,
        "amount": "40.00",
        "currency": "CNY",
    }
    desk.says("2026001", **shown)
    assert desk.letters() == [("/2026001", "no_route", "template")]
    assert "refund_status" not in desk.body(payment)
    desk.says("2026002", **{**shown, "template": "T-MONEY"})
    assert desk.body(payment)["refund_status"] == "started"


def test_a_form_into_which_somebody_typed_our_number_is_a_candidate_and_decides_nothing(desk: Desk):
    contract = desk.sign()
    desk.ask_for("A-1", contract=contract)
    desk.says("A-1", subject="contract", status="approved", contract_no="HT-1")
    assert desk.body(contract)["status"] == "in_approval"
    assert desk.letters() == [("/A-1", "candidate", "no")]


def test_a_mapping_names_an_employee_as_the_other_side_knows_them(desk: Desk):
    desk.sign()
    made = desk.world.project
    text = RECEIPT_OUT.replace("remark: remark", 'remark: user_at("li.lei")')
    named = replace(made.syncs["receipt.out"], mapping=compile_mapping(text, schemas(), file="x.yaml"))
    syncs, user_ids = {**made.syncs, named.name: named}, {("mem", "li.lei"): "LiLei"}
    desk.world = replace(desk.world, project=replace(made, syncs=syncs, user_ids=user_ids))
    payment = desk.pay("P-1", desk.customer)
    desk.run()
    assert desk.thing("receipt", payment).fields["remark"] == "LiLei"
