"""The judge of payments sees what is planted: one lost, one doubled, one changed, one for somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.judge import judge_payments, kingdee_receipts


def customer(number: str, name: str) -> dict[str, Any]:
    return {
        "verb": "create",
        "form": "BD_Customer",
        "by": "api",
        "fields": {"FNumber": number, "FName": name},
    }


def receipt(no: str, amount: str = "10.00", number: str = "c1") -> dict[str, Any]:
    rows = [{"FCOMMENT": no, "FRECAMOUNTFOR_E": amount}]
    fields = {"FCONTACTUNIT": number, "FRECEIVEBILLENTRY": rows}
    return {"verb": "create", "form": "AR_RECEIVEBILL", "by": "api", "fields": fields}


def sent(no: str, answer: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "no": no,
        "amount": "10.0",
        "customer": "甲公司",
        **({"answer": answer} if answer else {}),
        **more,
    }


def dead(no: str, code: str | None = "rejected", state: str = "failed") -> dict[str, Any]:
    cause = None if code is None else {"code": code}
    return {"sync": "k3.payment.out", "title": no, "state": state, "cause": cause}


def facts(**changes: Any) -> dict[str, Any]:
    """Return a run in which all went well: one booked, one refused, two of unknown fate, one poisoned."""
    good = {
        "intents": [
            sent("P1"), sent("P1", "ok"), sent("P2", "refused"), sent("P3"), sent("P4", "unknown"),
            sent("P5", "ok", poison=True),
        ],
        "effects": [customer("c1", "甲公司"), customer("c2", "乙公司"), receipt("P1"), receipt("P3")],
        "debts": [dead("P5")],
    }  # fmt: skip
    return good | changes


def judged(**changes: Any) -> list[dict[str, Any]]:
    found = facts(**changes)
    return judge_payments(found["intents"], kingdee_receipts(found["effects"]), found["debts"])


def wrong(**changes: Any) -> list[str]:
    return [line["invariant"] for line in judged(**changes) if line["violations"]]


def test_a_run_without_faults_is_found_clean() -> None:
    lines = judged()
    assert [line["violations"] for line in lines] == [[]] * len(lines)
    assert all(line["looked_at"] for line in lines)


GOOD: list[Any] = facts()["effects"]


@pytest.mark.parametrize(
    ("planted", "invariant"),
    [
        ({"effects": GOOD[:2]}, "nothing lost: what was accepted is booked or a dead letter"),
        ({"effects": [*GOOD, receipt("P1")]}, "nothing doubled: one receipt per payment"),
        ({"effects": [*GOOD, receipt("P3")]}, "nothing doubled: one receipt per payment"),
        ({"effects": [*GOOD, receipt("P2")]}, "what was refused is not booked"),
        ({"effects": [*GOOD, receipt("P9")]}, "nothing invented"),
        ({"effects": [*GOOD[:3], receipt("P3", "10.01")]}, "amounts as sent"),
        ({"effects": [*GOOD[:3], receipt("P3", number="c2")]}, "booked for the customer who paid"),
        ({"debts": [dead("P5"), dead("P3")]}, "poison, and nothing else, is a dead letter with a cause"),
        ({"debts": [dead("P5", None)]}, "poison, and nothing else, is a dead letter with a cause"),
        ({"effects": [*GOOD, receipt("P5")]}, "poison, and nothing else, is a dead letter with a cause"),
    ],
    ids=["lost", "doubled", "unknown doubled", "refused", "invented", "amount", "other customer", "good one parked",
         "no cause", "poison booked"],
)  # fmt: skip
def test_what_is_planted_is_found(planted: dict[str, Any], invariant: str) -> None:
    assert wrong(**planted) == [invariant]


def test_a_poisoned_payment_that_is_nowhere_is_lost() -> None:
    assert "nothing lost: what was accepted is booked or a dead letter" in wrong(debts=[])


def test_what_waits_is_no_dead_letter() -> None:
    found = wrong(effects=GOOD[:2], debts=[dead("P5"), dead("P1", state="waiting")])
    assert found == ["nothing lost: what was accepted is booked or a dead letter"]


def test_a_payment_whose_process_died_three_times_is_counted() -> None:
    lines = judged(effects=[*GOOD[:3]], debts=[dead("P5"), dead("P3", "crashed")])
    assert [line["violations"] for line in lines] == [[]] * len(lines)
    assert lines[-1]["crashed"] == 1
