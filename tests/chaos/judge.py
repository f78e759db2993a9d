"""Who compares the payments that were sent with the receipts the vendor booked. Imports nothing from the hub.

A payment is intended before it is sent and its answer is noted behind: ok, refused, or unknown where none came. What
was accepted is booked once, for its customer and with its amount, or stands among the dead letters with a cause. Of
what got no answer nobody can say whether it was accepted: it may be booked, but never twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Receipt",
    "booked_only",
    "judge_payments",
    "kingdee_receipts",
    "read_lines",
    "told",
    "yonyou_receipts",
]

Line = Mapping[str, Any]
RECEIPTS = ("k3.payment.out", "yonyou.payment.out")
SOUTH, NORTH = "Kingdee", "Yonyou"
"""In whose books a company's receipts are."""
CRASHED = "crashed"
"""Why a payment stops whose process died three times while it had it: here that is chance, so it is counted, not blamed."""
FIELDS = ("FNumber", "FName", "FCONTACTUNIT", "FRECEIVEBILLENTRY")


def told(invariant: str, looked_at: int, violations: Iterable[str], **more: Any) -> dict[str, Any]:
    """Return what is printed of an invariant: how many were looked at, what breaks it."""
    return {"invariant": invariant, "looked_at": looked_at, "violations": sorted(violations), **more}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines one by one; a torn last line (its writer was killed) counts for nothing."""
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def booked_only(effects: Iterable[Line]) -> list[Line]:
    """Return what Kingdee created through its API, with no more of it than the judges ask: a ledger may be long."""
    return [
        {
            "verb": "create", "form": one["form"], "by": "api",
            "fields": {name: one["fields"][name] for name in FIELDS if name in one["fields"]},
        }
        for one in effects
        if (one["verb"], one["by"]) == ("create", "api")
    ]  # fmt: skip


@dataclass(frozen=True)
class Receipt:
    """What stands in somebody's books: the CRM's number of the payment, how much, whose, and in which books."""

    no: str
    amount: float
    customer: str | None
    books: str


def kingdee_receipts(effects: Iterable[Line]) -> list[Receipt]:
    """Return the receipts that Kingdee's ledger shows as made through its API; their customers are in it before them."""
    names: dict[str, str] = {}
    made = []
    for effect in effects:
        fields = effect["fields"]
        if effect["form"] == "BD_Customer" and "FNumber" in fields:
            names[str(fields["FNumber"])] = str(fields.get("FName"))
        if (effect["verb"], effect["form"], effect["by"]) == ("create", "AR_RECEIVEBILL", "api"):
            row = (fields.get("FRECEIVEBILLENTRY") or [{}])[0]
            made.append((row, fields))
    return [
        Receipt(str(row.get("FCOMMENT")), float(row.get("FRECAMOUNTFOR_E") or "nan"), names.get(str(fields.get("FCONTACTUNIT"))), SOUTH)
        for row, fields in made
    ]  # fmt: skip


def yonyou_receipts(effects: Iterable[Line]) -> list[Receipt]:
    """Return the receipts that Yonyou's ledger shows as made through its API."""
    names: dict[str, str] = {}
    made = []
    for effect in effects:
        fields = effect["fields"]
        if effect["form"] == "customer" and "code" in fields and isinstance(fields.get("name"), dict):
            names[str(fields["code"])] = str(fields["name"].get("simplifiedName"))
        if (effect["verb"], effect["form"], effect["by"]) == ("create", "receipt", "api"):
            made.append(fields)
    return [
        Receipt(str(one.get("remarks")), float(one["bodyItem"][0]["oriTaxIncludedAmount"]), names.get(str(one.get("customerCode"))), NORTH)
        for one in made
    ]  # fmt: skip


def judge_payments(
    intents: Iterable[Line], receipts: Iterable[Receipt], debts: Iterable[Line]
) -> list[dict[str, Any]]:
    """Return one line per invariant. ``debts``: what the hub still owes at rest, as ``hub dlq list`` shows it."""
    sent: dict[str, Line] = {}
    answers: dict[str, str] = {}
    for intent in intents:
        sent.setdefault(intent["no"], intent)
        answers[intent["no"]] = intent.get("answer") or answers.get(intent["no"], "unknown")
    made = list(receipts)
    booked = Counter(one.no for one in made)
    parked = {str(one["title"]): one for one in debts if one["sync"] in RECEIPTS and one["state"] == "failed"}
    codes = {no: (one["cause"] or {}).get("code") for no, one in parked.items()}
    known = [one for one in made if one.no in sent]
    accepted = {no for no, answer in answers.items() if answer == "ok"}
    refused = {no for no, answer in answers.items() if answer == "refused"}
    poison = {no for no in answers if sent[no].get("poison")}
    return [
        told("nothing lost: what was accepted is booked or a dead letter", len(accepted), accepted - booked.keys() - parked.keys()),
        told("nothing doubled: one receipt per payment", len(booked), (no for no, count in booked.items() if count > 1)),
        told("what was refused is not booked", len(refused), refused & booked.keys()),
        told("nothing invented", len(booked), booked.keys() - answers.keys()),
        told("amounts as sent", len(known), (one.no for one in known if one.amount != float(sent[one.no]["amount"]))),
        told("booked for the customer who paid", len(known),
             (one.no for one in known if one.customer != sent[one.no]["customer"])),
        told("booked in the books of its company", len(known),
             (one.no for one in known if one.books != (NORTH if sent[one.no].get("north") else SOUTH))),
        told("poison, and nothing else, is a dead letter with a cause", len(poison | parked.keys()),
             [*(no for no, code in codes.items() if not code or (no not in poison and code != CRASHED)),
              *((poison & accepted) - parked.keys()), *(poison & booked.keys())],
             crashed=sum(code == CRASHED for code in codes.values())),
    ]  # fmt: skip
