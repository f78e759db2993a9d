"""Who compares the approvals the CRM asked for with the forms at the vendors and with what the CRM is shown.

Imports nothing from the hub. There is no key by which a form is created once: a number that the hub writes into a field of
the form is all that ties it to what was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.chaos.judge import told

__all__ = ["judge_approvals"]

Line = Mapping[str, Any]
NUMBER = "CRM单号"
"""The field with the CRM's number; the hub puts digits of its own behind it."""
WECOM = {1: "in_progress", 2: "approved", 3: "rejected", 4: "withdrawn"}
DINGTALK = {"RUNNING": "in_progress", "TERMINATED": "withdrawn"}
HOME = {"south": "dingtalk", "north": "wecom"}


def judge_approvals(
    intents: Iterable[Line],
    forms: Mapping[str, list[Line]],
    shown: Mapping[str, list[Line]],
    letters: Iterable[Line],
) -> list[dict[str, Any]]:
    """Return one line per invariant. ``forms``: vendor -> its forms at the end; ``shown``: the CRM's records by kind."""
    asked: dict[str, Line] = {}
    answers: dict[str, str] = {}
    for intent in intents:
        asked.setdefault(intent["approval"], intent)
        answers[intent["approval"]] = intent.get("answer") or answers.get(intent["approval"], "unknown")
    accepted = {no for no, answer in answers.items() if answer == "ok"}
    found: dict[str, list[tuple[str, str]]] = {}
    for vendor, ones in forms.items():
        for form in ones:
            found.setdefault(_number(vendor, form), []).append((vendor, _state(vendor, form)))
    states = {one["fields"].get("no"): one["fields"].get("status") for one in shown["approvals"]}
    deals = {one["fields"].get("no"): one["fields"].get("status") for one in shown["contracts"]}
    stopped = {str(one["title"]).partition(" ")[0] for one in letters if ".approval." in one["sync"]}
    once = {no: ones[0] for no, ones in found.items() if no in asked}
    given = {asked[no]["contract"] for no, (_, state) in once.items() if state == "approved"}
    counts = Counter({no: len(ones) for no, ones in found.items()})
    return [
        told("every approval the CRM was promised has its form", len(accepted), accepted - found.keys() - stopped),
        told("no form doubled: one for each approval", len(found), (no for no, count in counts.items() if count > 1)),
        told("no form invented", len(found), found.keys() - asked.keys()),
        told("forms are where the routing table says", len(once),
             (no for no, (vendor, _) in once.items() if vendor != HOME[asked[no]["region"]])),
        told("the CRM shows each approval as the vendor has it", len(once),
             (f"{no}: {states.get(no)}, {state} at {vendor}" for no, (vendor, state) in once.items()
              if states.get(no) != state and no not in stopped)),
        told("a contract is active where its approval was given, and nowhere else", len(deals),
             (f"{no}: {status}" for no, status in deals.items() if (status == "active") != (no in given))),
    ]  # fmt: skip


def _number(vendor: str, form: Line) -> str:
    if vendor == "dingtalk":
        texts = [str(one.get("value")) for one in form["values"] if one.get("name") == NUMBER]
    else:
        texts = [
            str(one["value"].get("text")) for one in form["contents"]
            if any(title["text"] == NUMBER for title in one.get("title") or ())
        ]  # fmt: skip
    return texts[0].partition(" [")[0] if texts else ""


def _state(vendor: str, form: Line) -> str:
    if vendor == "wecom":
        return WECOM.get(form["sp_status"], str(form["sp_status"]))
    if form["status"] == "COMPLETED":
        return "approved" if form["result"] == "agree" else "rejected"
    return DINGTALK.get(form["status"], str(form["status"]))
