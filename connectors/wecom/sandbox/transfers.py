"""Customers handed from one employee to another: started by the API, done 24 hours later (2.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from connectors.wecom.sandbox import cursors
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.customers import visible_member
from connectors.wecom.sandbox.events import Event
from connectors.wecom.sandbox.rows import Follow, Member, Transfer
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = ["finish_due", "transfer_customer", "transfer_result"]

DAY = 86_400
WINDOW = 90 * DAY
PAGE = 1000
LONGEST = 200
REASONS = {3: "customer_refused", 4: "customer_limit_exceed"}


def transfer_customer(call: Call) -> Mapping[str, Json]:
    """Start transfers; each customer has a code of his own, 0 means only started."""
    handover = visible_member(call, call.text("handover_userid"))
    takeover = visible_member(call, call.text("takeover_userid"))
    customers = call.texts("external_userid")
    if not customers or len(customers) > 100:
        raise ErrcodeError(40058, "external_userid must hold 1 to 100 customers")
    if len(call.text("transfer_success_msg")) > LONGEST:
        raise ErrcodeError(40058, "transfer_success_msg is too long")
    if handover.userid.lower() == takeover.userid.lower():
        raise ErrcodeError(40130)
    for member in (handover, takeover):
        if member.idle_days > 365:
            raise ErrcodeError(40205)
    if takeover.status != 1 or not takeover.verified or not takeover.follows:
        raise ErrcodeError(40098)
    return {
        "customer": [
            {"external_userid": one, "errcode": _start(call, handover, takeover, one)} for one in customers
        ]
    }


def _start(call: Call, handover: Member, takeover: Member, external_userid: str) -> int:
    corp, now = call.corp, call.corp.seconds()
    if corp.person(external_userid) is None:
        return 40096
    follow = corp.follow(handover.userid, external_userid)
    if follow is None or follow.stage == "half":
        return 40131
    earlier = [one for one in corp.transfers.values() if one.external_userid == external_userid]
    if any(one.status == 2 for one in earlier):
        return 40129
    if sum(one.status == 1 and one.started > now - WINDOW for one in earlier) >= 2:
        return 40128
    if takeover.room < 1:
        return 40099
    made = Transfer(corp.new_number(), handover.userid, takeover.userid, external_userid, now, now + DAY)
    corp.put(made, "transfer_customer", "api", {"agentid": call.app.agentid})
    return 0


def transfer_result(call: Call) -> Mapping[str, Json]:
    """List the transfers between two members with what became of them."""
    pair = call.text("handover_userid").lower(), call.text("takeover_userid").lower()
    filters = [call.api, call.app.agentid, *pair]
    cursor = call.text("cursor")
    after = (
        cursors.take(cursor, filters, now=call.corp.now(), life=call.dials.cursor_seconds) if cursor else 0
    )
    rest = [
        one
        for one in call.corp.transfers.values()
        if (one.handover_userid.lower(), one.takeover_userid.lower()) == pair and one.id > after
    ]
    page = rest[:PAGE]
    return {
        "customer": [
            {"external_userid": one.external_userid, "status": one.status, "takeover_time": one.takeover_time}
            for one in page
        ],
        "next_cursor": cursors.give(filters, page[-1].id, call.corp.now()) if len(rest) > len(page) else "",
    }


def finish_due(corp: Corp, emit: Callable[[Event], None]) -> None:
    """Carry out the transfers whose time has come; these events do come, nobody wrote them by API."""
    now = corp.seconds()
    for one in [one for one in corp.transfers.values() if one.status == 2 and one.takeover_time <= now]:
        _finish(corp, one, emit)


def _finish(corp: Corp, one: Transfer, emit: Callable[[Event], None]) -> None:
    corp.put(replace(one, status=one.will), "finish_transfer", "user")
    ids = {"ExternalUserID": one.external_userid}
    if one.will in REASONS:
        fields = {"UserID": one.takeover_userid, **ids, "FailReason": REASONS[one.will]}
        emit(_event(corp, "transfer_fail", fields))
        return
    old = corp.follow(one.handover_userid, one.external_userid)
    if old is not None:
        corp.drop(old, "delete_by_transfer", "user")
        fields = {"UserID": old.userid, **ids, "Source": "DELETE_BY_TRANSFER"}
        emit(_event(corp, "del_external_contact", fields))
    friend = corp.follow(one.takeover_userid, one.external_userid)
    if friend is not None and friend.stage != "half":
        return  # the taker has the customer already: nothing is added
    made = Follow(
        corp.new_serial(), one.takeover_userid, one.external_userid, corp.seconds(), add_way=202,
        oper_userid=one.handover_userid,
    )  # fmt: skip
    if old is not None:
        made = replace(made, remark=old.remark, description=old.description, tag_ids=list(old.tag_ids),
                       remark_mobiles=list(old.remark_mobiles), remark_corp_name=old.remark_corp_name)  # fmt: skip
    corp.put(made, "add_contact", "user")
    emit(_event(corp, "add_external_contact", {"UserID": one.takeover_userid, **ids}))


def _event(corp: Corp, change_type: str, fields: dict[str, str]) -> Event:
    return Event("change_external_contact", change_type, corp.seconds(), fields, fields["UserID"])
