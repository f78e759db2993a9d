"""Contracts, approvals, consent: rows with typed cells, what is required, which keys a record is recognised by."""

from __future__ import annotations

import pytest

from hub.mapping import Context, Schemas, crm_schemas
from hub.mapping import compile as compile_mapping
from hub.model import KINDS, InvalidFields, check_body, key_values, normalise
from hub.project.sections import DEFAULT_RULES

APPROVAL, CONSENT, CONTRACT = (KINDS[name] for name in ("approval", "consent", "contract"))
ID = "0190a1b2c3d4e5f60718293a4b5c6d7e"
DEAL = {"no": "HT-1", "customer": ID, "amount_total": "150000", "currency": "CNY"}
PLAN = [
    {"period_no": 1, "due_on": "2026-01-31", "amount_due": 50000},
    {"period_no": 2, "due_on": "2026-03-31", "amount_due": "100000.5", "status": "planned"},
]


def refusals(kind, body):
    with pytest.raises(InvalidFields) as caught:
        check_body(kind, body)
    return dict(caught.value.problems)


def test_the_rows_of_a_contract_are_stored_in_one_form():
    lines = [{"name": "软件", "quantity": "2.50", "price": 100, "unit": None}]
    body = check_body(CONTRACT, {**DEAL, "payment_plan": PLAN, "lines": lines})
    assert body["amount_total"] == "150000.00"
    assert body["payment_plan"] == [
        {"period_no": 1, "due_on": "2026-01-31", "amount_due": "50000.00"},
        {"period_no": 2, "due_on": "2026-03-31", "amount_due": "100000.50", "status": "planned"},
    ]
    assert body["lines"] == [{"name": "软件", "quantity": "2.5", "price": "100.00"}]
    assert normalise(CONTRACT, "payment_plan", body["payment_plan"]) == body["payment_plan"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("x", "a list of rows"),
        ({}, "a list of rows"),
        (["x"], "row 1"),
        ([PLAN[0], {"period_no": 2, "due_on": "2026-01-31"}], "row 2: amount_due is required"),
        ([{**PLAN[0], "amount": 1}], "'amount' is no column"),
        ([{**PLAN[0], "amount_due": 0.1}], "row 1: amount_due"),
        ([{**PLAN[0], "due_on": "2026-02-30"}], "row 1: due_on"),
        ([{**PLAN[0], "status": "late"}], "row 1: status"),
        ([PLAN[0]] * 201, "more than 200 rows"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(rows, said):
    assert said in refusals(CONTRACT, {**DEAL, "payment_plan": rows})["payment_plan"]


def test_an_amount_in_a_row_has_no_more_decimals_than_the_contracts_currency():
    plan = [{**PLAN[0], "amount_due": "50000.005"}]
    assert refusals(CONTRACT, {**DEAL, "payment_plan": plan}).keys() == {"payment_plan[0].amount_due"}
    assert check_body(CONTRACT, {**DEAL, "currency": "KWD", "payment_plan": plan})


def test_what_a_contract_an_approval_and_a_consent_cannot_be_without():
    assert refusals(CONTRACT, {}).keys() == {"no", "customer", "amount_total", "currency"}
    assert refusals(APPROVAL, {}).keys() == {"no", "subject", "status"}
    assert refusals(CONSENT, {}).keys() == {"contact", "channel", "state"}


def test_a_status_outside_the_closed_set_is_refused():
    assert "status" in refusals(APPROVAL, {"no": "1", "subject": "contract", "status": "agree"})
    assert "state" in refusals(CONSENT, {"contact": ID, "channel": "email", "state": "subscribed"})
    assert "status" in refusals(CONTRACT, {**DEAL, "status": "signed"})


def test_a_contract_is_its_number_and_an_approval_with_our_number_is_only_a_candidate():
    assert key_values(CONTRACT, check_body(CONTRACT, DEAL))[0] == ("contract.no", "ht-1", True)
    body = {"no": "HT-1-1", "subject": "contract", "status": "draft", "contract": ID}
    assert key_values(APPROVAL, check_body(APPROVAL, body)) == [
        ("approval.no", "ht-1-1", False),
        ("approval.contract", ID, False),
    ]
    assert [rule.confidence for rule in DEFAULT_RULES["approval"].match] == ["unsure"]


def test_a_text_where_a_mapping_must_give_rows_is_a_failed_mapping():
    text = "mapping: shop/x.in\ntarget: crm.contract\nsource: shop.x\nkey: [a]\nfields:\n  payment_plan: a\n"
    compiled = compile_mapping(text, Schemas({"shop.x": {"a": "text"}}, crm_schemas()), file="x.yaml")
    assert "rows" in compiled.run({"a": "monthly"}, Context()).message
