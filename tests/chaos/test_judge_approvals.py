"""The judge of approvals sees what is planted: a form lost, one made twice, one elsewhere, a state that differs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.judge import NORTH, yonyou_receipts
from tests.chaos.judge_approvals import judge_approvals


def asked(number: int, region: str, answer: str | None = "ok") -> dict[str, Any]:
    said = {"answer": answer} if answer else {}
    return {
        "approval": f"HT-{number}-1",
        "contract": f"HT-{number}",
        "region": region,
        "amount": "1.00",
        **said,
    }


def at_wecom(number: int, status: int) -> dict[str, Any]:
    title = [{"text": "CRM单号", "lang": "zh_CN"}]
    return {"sp_status": status, "contents": [{"title": title, "value": {"text": f"HT-{number}-1 [a1b2]"}}]}


def at_dingtalk(number: int, status: str, result: str = "") -> dict[str, Any]:
    values = [{"name": "CRM单号", "value": f"HT-{number}-1 [a1b2]"}]
    return {"status": status, "result": result, "values": values}


def shown(**states: str) -> list[dict[str, Any]]:
    return [{"fields": {"no": name.replace("_", "-"), "status": state}} for name, state in states.items()]


def facts(**changes: Any) -> dict[str, Any]:
    """Return a run in which all went well: one approved in each system, one refused, one open, one of unknown fate."""
    good = {
        "intents": [asked(1, "south"), asked(2, "north"), asked(3, "north"), asked(4, "south"), asked(5, "south", None)],
        "forms": {
            "dingtalk": [at_dingtalk(1, "COMPLETED", "agree"), at_dingtalk(4, "RUNNING")],
            "wecom": [at_wecom(2, 2), at_wecom(3, 3)],
        },
        "shown": {
            "approvals": shown(HT_1_1="approved", HT_2_1="approved", HT_3_1="rejected", HT_4_1="in_progress"),
            "contracts": shown(HT_1="active", HT_2="active", HT_3="draft", HT_4="in_approval"),
        },
        "letters": [],
    }  # fmt: skip
    return good | changes


def wrong(**changes: Any) -> list[str]:
    found = facts(**changes)
    lines = judge_approvals(found["intents"], found["forms"], found["shown"], found["letters"])
    return [line["invariant"] for line in lines if line["violations"]]


def test_a_run_without_faults_is_found_clean() -> None:
    assert wrong() == []


GOOD = facts()


@pytest.mark.parametrize(
    ("changes", "invariant"),
    [
        ({"forms": {**GOOD["forms"], "wecom": [at_wecom(2, 2)]}}, "every approval the CRM was promised has its form"),
        (
            {"forms": {**GOOD["forms"], "wecom": [*GOOD["forms"]["wecom"], at_wecom(3, 3)]}},
            "no form doubled: one for each approval",
        ),
        ({"forms": {**GOOD["forms"], "wecom": [*GOOD["forms"]["wecom"], at_wecom(9, 1)]}}, "no form invented"),
        (
            {"forms": {"dingtalk": [*GOOD["forms"]["dingtalk"], at_dingtalk(3, "COMPLETED", "refuse")], "wecom": [at_wecom(2, 2)]}},
            "forms are where the routing table says",
        ),
        (
            {"shown": {**GOOD["shown"], "approvals": shown(HT_1_1="approved", HT_2_1="approved", HT_3_1="in_progress", HT_4_1="in_progress")}},
            "the CRM shows each approval as the vendor has it",
        ),
        (
            {"shown": {**GOOD["shown"], "contracts": shown(HT_1="in_approval", HT_2="active", HT_3="draft")}},
            "a contract is active where its approval was given, and nowhere else",
        ),
    ],
)  # fmt: skip
def test_each_planted_fault_is_seen_by_the_invariant_it_breaks(
    changes: dict[str, Any], invariant: str
) -> None:
    assert wrong(**changes) == [invariant]


def test_a_form_that_could_not_be_made_is_no_loss_while_a_person_is_told() -> None:
    letters = [{"sync": "wecom.approval.out", "title": "HT-3-1 示例合同"}]
    assert wrong(forms={**GOOD["forms"], "wecom": [at_wecom(2, 2)]}, letters=letters) == []


def test_receipts_in_yonyou_are_read_with_the_name_of_their_customer() -> None:
    ledger = [
        {"verb": "create", "form": "customer", "by": "api", "fields": {"code": "c1", "name": {"simplifiedName": "甲公司"}}},
        {"verb": "create", "form": "receipt", "by": "api",
         "fields": {"remarks": "P1", "customerCode": "c1", "bodyItem": [{"oriTaxIncludedAmount": "10.50"}]}},
        {"verb": "create", "form": "receipt", "by": "seed", "fields": {"remarks": "P0", "bodyItem": []}},
    ]  # fmt: skip
    (one,) = yonyou_receipts(ledger)
    assert (one.no, one.amount, one.customer, one.books) == ("P1", 10.5, "甲公司", NORTH)
