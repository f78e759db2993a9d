"""The judges as a process of their own, after everybody else has ended. Reads files; imports nothing from the hub.

``python -m tests.chaos.checker FOLDER`` prints one JSON line per invariant with the seed, and ends with 1 if one is
broken. The folder holds what the generator intended (``intents.jsonl``), what the vendors did (``kingdee.jsonl``,
``wecom.jsonl``, ``wecom.deliveries``, ``people.jsonl``, ``forms.json``; with all vendors ``yonyou.jsonl``), what the hub showed (``before.json``, ``after.json``,
``letters.json``), what the conductor did (``run.json``) and the audit trail.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.judge import (
    Receipt,
    booked_only,
    judge_payments,
    kingdee_receipts,
    read_lines,
    yonyou_receipts,
)
from tests.chaos.judge_approvals import judge_approvals
from tests.chaos.judge_audit import judge_audit
from tests.chaos.judge_people import Evidence, judge_people, stuck
from tests.chaos.judge_run import judge_run, judge_secrets

__all__ = ["check"]

MAY_BE_EMPTY = ("what was refused is not booked", "no tag made twice")
"""Invariants whose case a short run may not meet. Any other that looked at nothing proves nothing."""


def check(folder: Path) -> list[dict[str, Any]]:
    """Return one line per invariant."""
    run: Mapping[str, Any] = json.loads((folder / "run.json").read_text("utf-8"))
    intents = folder / "intents.jsonl"
    kingdee = booked_only(read_lines(folder / "kingdee.jsonl"))
    letters = json.loads((folder / "letters.json").read_text("utf-8"))
    before, after = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("before", "after"))
    evidence = Evidence(
        list(read_lines(folder / "wecom.jsonl")), list(read_lines(folder / "people.jsonl")),
        list(read_lines(folder / "wecom.deliveries")), [one for one in read_lines(intents) if "edit" in one],
        before, after, kingdee, stuck(letters, after),
    )  # fmt: skip
    lines = [
        *judge_payments(
            (one for one in read_lines(intents) if "no" in one), _receipts(folder, kingdee), letters
        ),
        *judge_people(evidence),
        *(_approvals(folder, after, letters) if run.get("all") else ()),
        *judge_run(run),
        *judge_audit(folder, run["audit"]),
        judge_secrets(folder, run["secrets"]),
    ]
    for line in lines:
        if not line["looked_at"] and line["invariant"] not in MAY_BE_EMPTY:
            line["violations"] = ["nothing was looked at"]
    return lines


def _receipts(folder: Path, kingdee: Sequence[Mapping[str, Any]]) -> list[Receipt]:
    yonyou = folder / "yonyou.jsonl"
    return [*kingdee_receipts(kingdee), *(yonyou_receipts(read_lines(yonyou)) if yonyou.exists() else ())]


def _approvals(
    folder: Path, after: Mapping[str, Any], letters: list[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    intents = (one for one in read_lines(folder / "intents.jsonl") if "approval" in one)
    return judge_approvals(intents, json.loads((folder / "forms.json").read_text("utf-8")), after, letters)


def main() -> int:
    """Print what was found."""
    folder = Path(sys.argv[1])
    seed = json.loads((folder / "run.json").read_text("utf-8"))["seed"]
    broken = 0
    for line in check(folder):
        found = line["violations"]
        broken += len(found)
        shown = {**line, "violations": len(found), "which": found[:5], "seed": seed}
        print(json.dumps(shown, ensure_ascii=False), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
