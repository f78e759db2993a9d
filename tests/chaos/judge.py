"""Who compares intents with the vendor's ledger. Imports nothing from the hub: it reads two files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a torn last line (its writer was killed) counts for nothing."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def judge(intents: Iterable[Mapping[str, Any]], effects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one line per invariant: name, how many were looked at, the violations."""
    answers: dict[str, str] = {}
    amounts: dict[str, str] = {}
    for intent in intents:
        answers[intent["no"]] = intent.get("answer") or answers.get(intent["no"], "unknown")
        amounts[intent["no"]] = intent["amount"]
    creates = [
        e for e in effects if e["verb"] == "create" and e["form"] == "AR_RECEIVEBILL" and e["by"] == "api"
    ]
    booked = Counter(_no(effect) for effect in creates)
    sums = {_no(effect): _amount(effect) for effect in creates}
    accepted = {no for no, answer in answers.items() if answer == "ok"}
    refused = {no for no, answer in answers.items() if answer == "refused"}
    return [
        {"invariant": "nothing lost: accepted ⊆ booked", "looked_at": len(accepted),
         "violations": sorted(accepted - booked.keys())},
        {"invariant": "nothing doubled: one receipt per payment", "looked_at": len(booked),
         "violations": sorted(no for no, count in booked.items() if count > 1)},
        {"invariant": "refused ∩ booked = ∅", "looked_at": len(refused),
         "violations": sorted(refused & booked.keys())},
        {"invariant": "nothing invented", "looked_at": len(booked), "violations": sorted(booked.keys() - answers.keys())},
        {"invariant": "amounts as sent", "looked_at": len(sums),
         "violations": sorted(no for no, amount in sums.items() if no in amounts and float(amount) != float(amounts[no]))},
    ]  # fmt: skip


def _row(effect: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = effect["fields"].get("FRECEIVEBILLENTRY") or [{}]
    row: Mapping[str, Any] = rows[0]
    return row


def _no(effect: Mapping[str, Any]) -> str:
    return str(_row(effect).get("FCOMMENT"))


def _amount(effect: Mapping[str, Any]) -> str:
    return str(_row(effect).get("FRECAMOUNTFOR_E"))
