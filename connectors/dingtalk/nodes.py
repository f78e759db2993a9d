"""What people did with an approval, as the rows an approval of the hub has (fact sheet 2.3, operationRecords)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub.sdk import Json

__all__ = ["last_opinion", "nodes_of"]

DECIDED = frozenset(["EXECUTE_TASK_NORMAL", "EXECUTE_TASK_AGENT", "EXECUTE_TASK_AUTO"])
RESULTS: Mapping[str, str] = {"AGREE": "agree", "REFUSE": "reject"}
TYPES: Mapping[str, str] = {
    "REDIRECT_TASK": "transfer", "REDIRECT_PROCESS": "return", "ADD_REMARK": "comment", "TERMINATE_PROCESS_INSTANCE": "withdraw",
}  # fmt: skip


def nodes_of(records: Sequence[Json]) -> list[Json]:
    """Return a row for everything somebody did; starts, ends, copies and added approvers are none."""
    rows: list[Json] = []
    for one in records:
        if not isinstance(one, dict):
            continue
        type_, result = str(one.get("type")), str(one.get("result"))
        action = RESULTS.get(result) if type_ in DECIDED else TYPES.get(type_)
        if action is not None:
            rows.append({
                "seq": len(rows) + 1, "name": one.get("showName") or None, "approver": one.get("userId") or None, "action": action,
                "opinion": one.get("remark") or None, "acted_at": one.get("date"),
            })  # fmt: skip
    return rows


def last_opinion(nodes: Sequence[Json]) -> Json:
    """Return what was said last by somebody who decided; remarks do not count."""
    for one in reversed(nodes):
        if isinstance(one, dict) and one["opinion"] and one["action"] != "comment":
            return one["opinion"]
    return None
