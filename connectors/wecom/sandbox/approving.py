"""The life of a form (4.2): whose turn it is, what somebody does, what becomes of it. Pure: a form in, another out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.rows import Form
from hub.sdk.sandbox import Json

__all__ = ["EVENTS", "act_on", "nodes_of", "turns"]

PENDING, AGREED, REJECTED, TRANSFERRED = 1, 2, 3, 4
RETURNED, ADDED, AGREED_ADDED, HANDLED, HANDED_OVER = 11, 12, 13, 14, 15
APPROVER, COPY, HANDLER = 1, 2, 3
ALL, ANY, IN_TURN = 1, 2, 3
EVENTS: Mapping[str, int] = {
    "submit": 1, "agree": 2, "reject": 3, "transfer": 4, "urge": 5, "withdraw": 6, "revoke": 8, "comment": 10, "return": 11,
    "add_approver": 12, "agree_and_add": 13, "handle": 14, "hand_over": 15,
}  # fmt: skip
"""What is done -> StatuChangeEvent (7.3); a deletion and a payment have none there."""


def nodes_of(node_list: list[dict[str, Json]]) -> tuple[list[dict[str, Json]], list[str]]:
    """Return the nodes of a form that begins, and who is in cc, from ``process.node_list``."""
    nodes, copied = [], []
    for one in node_list:
        users = [str(user) for user in one["userid"]]
        if one["type"] == COPY:
            copied += users
        else:
            nodes.append({
                "node_type": one["type"], "apv_rel": one.get("apv_rel", ALL), "sp_status": PENDING,
                "subs": [_sub(user) for user in users],
            })  # fmt: skip
    return nodes, copied


def _sub(userid: str) -> dict[str, Json]:
    return {"userid": userid, "speech": "", "sp_yj": PENDING, "sptime": 0, "media_ids": []}


def turns(form: Form) -> list[str]:
    """Return whose turn it is."""
    if form.sp_status != PENDING:
        return []
    node = next((one for one in form.nodes if one["sp_status"] == PENDING), None)
    waiting = [sub["userid"] for sub in node["subs"] if sub["sp_yj"] == PENDING] if node else []
    return waiting[:1] if node and node["apv_rel"] == IN_TURN else waiting


def act_on(form: Form, verb: str, userid: str, now: int, *, speech: str = "", to: str = "") -> Form:
    """Return the form after somebody did something.

    Raises:
        ErrcodeError: 301025, it is not his turn, or the form is not in that state.
    """
    if verb in ENDS:
        before, after = ENDS[verb]
        if form.sp_status not in before:
            raise ErrcodeError(301025, f"a form of status {form.sp_status} cannot {verb}")
        return replace(form, sp_status=after)
    if verb == "comment":
        said = {
            "commentUserInfo": {"userid": userid}, "commenttime": now, "commentcontent": speech,
            "commentid": str(7_000_000_000 + len(form.comments)), "media_id": [],
        }  # fmt: skip
        return replace(form, comments=[*form.comments, said])
    if verb == "urge":
        return form
    return _at_node(form, verb, userid, now, speech, to)


ENDS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "withdraw": ((1,), 4), "revoke": ((2,), 6), "pay": ((2,), 10), "delete": ((1, 2, 3, 4, 6), 7),
}  # fmt: skip
DONE = {
    "agree": AGREED, "reject": REJECTED, "transfer": TRANSFERRED, "return": RETURNED, "add_approver": ADDED,
    "agree_and_add": AGREED_ADDED, "handle": HANDLED, "hand_over": HANDED_OVER,
}  # fmt: skip


def _at_node(form: Form, verb: str, userid: str, now: int, speech: str, to: str) -> Form:
    if userid.lower() not in [one.lower() for one in turns(form)]:
        raise ErrcodeError(301025, f"it is not the turn of {userid}")
    nodes = copy.deepcopy(form.nodes)
    place = next(index for index, one in enumerate(nodes) if one["sp_status"] == PENDING)
    node = nodes[place]
    if (node["node_type"] == HANDLER) != (verb in ("handle", "hand_over")):
        raise ErrcodeError(301025, f"{verb} does not belong to a node of type {node['node_type']}")
    sub = next(
        one for one in node["subs"] if one["userid"].lower() == userid.lower() and one["sp_yj"] == PENDING
    )
    sub |= {"sp_yj": DONE[verb], "sptime": now, "speech": speech}
    added = {
        "transfer": [_sub(to)],
        "hand_over": [_sub(to)],
        "add_approver": [_sub(to), _sub(userid)],  # he is asked first, and whoever added him afterwards
        "agree_and_add": [_sub(to)],
    }.get(verb, [])
    after = node["subs"].index(sub) + 1
    node["subs"][after:after] = added
    if verb == "return":
        _return(nodes, place)
    elif verb == "reject":
        node["sp_status"] = REJECTED
        return replace(form, nodes=nodes, sp_status=REJECTED)
    elif not added:
        _decide(node)
    over = all(one["sp_status"] != PENDING for one in nodes)
    return replace(form, nodes=nodes, sp_status=AGREED if over else PENDING)


def _return(nodes: list[dict[str, Json]], place: int) -> None:
    """Ask the node before again, or the first one itself."""
    earlier = nodes[max(0, place - 1)]
    for one in (earlier, nodes[place]):
        one["sp_status"] = PENDING
    earlier["subs"] += [_sub(user) for user in dict.fromkeys(sub["userid"] for sub in earlier["subs"])]


def _decide(node: dict[str, Json]) -> None:
    """End a node that asks nobody any more."""
    waiting = [one for one in node["subs"] if one["sp_yj"] == PENDING]
    if not waiting or node["apv_rel"] == ANY:
        node["sp_status"] = HANDLED if node["node_type"] == HANDLER else AGREED
