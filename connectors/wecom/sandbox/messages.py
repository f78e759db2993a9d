"""Messages of an app to members (section 6): who is in its range gets them, what comes twice or too often is dropped.

Nothing says so: a suppressed repeat and what is beyond a member's limits are answered with errcode 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.rows import Message
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = ["send"]

MOST, MOST_BYTES = 1000, 2048
NEEDED = {"text": ("content",), "markdown": ("content",), "textcard": ("title", "description", "url")}
INTERVAL, LONGEST_INTERVAL = 1800, 14_400
LIMITS = ((60, 30), (3600, 1000))
"""Seconds, and how many messages a member gets in them."""


def send(call: Call) -> Mapping[str, Json]:
    """Send a message to members; departments and tags are not in this stand-in."""
    if str(call.fields.get("agentid")) != call.app.agentid:
        raise ErrcodeError(301002, "agentid is not the token's app")
    if call.text("toparty") or call.text("totag"):
        call.forgive("toparty and totag are not in this sandbox")
    wanted = list(dict.fromkeys(user for user in call.text("touser").split("|") if user))
    if not wanted:
        raise ErrcodeError(82001)
    if len(wanted) > MOST:
        raise ErrcodeError(40058, f"more than {MOST} users")
    kind, body = _body(call)
    everybody = wanted == ["@all"]
    keys = list(call.corp.members) if everybody else [user.lower() for user in wanted]
    seen = [
        key
        for key in keys
        if (one := call.corp.members.get(key)) and one.status == 1 and call.app.sees(call.corp, key)
    ]
    licensed = [key for key in seen if call.corp.members[key].licensed]
    invalid = [] if everybody else [key for key in keys if key not in seen]
    if not licensed:
        raise ErrcodeError(81013)
    now = call.corp.seconds()
    message = Message(f"msg{call.corp.new_number():08d}", call.app.agentid, kind, body, wanted, now)
    if not _is_repeat(call, message, now):
        message = replace(message, delivered=[key for key in licensed if _has_room(call, key, now)])
    call.corp.put(message, "send", "api")
    return {
        "msgid": message.msgid, "invaliduser": "|".join(invalid),
        "unlicenseduser": "|".join(key for key in seen if key not in licensed),
    }  # fmt: skip


def _body(call: Call) -> tuple[str, dict[str, Json]]:
    kind = call.text("msgtype")
    body = call.fields.get(kind) if kind in NEEDED else None
    if not isinstance(body, dict) or not all(
        isinstance(body.get(name), str) and body[name] for name in NEEDED[kind]
    ):
        raise ErrcodeError(40058, f"msgtype {kind[:20]!r} is unknown here, or its body is not whole")
    if "content" in body:  # longer is cut
        body = {**body, "content": body["content"].encode()[:MOST_BYTES].decode(errors="ignore")}
    return kind, body


def _is_repeat(call: Call, message: Message, now: int) -> bool:
    """Say whether the same request was made inside its interval; only who asks for the check gets it."""
    if call.integer("enable_duplicate_check", 0) != 1:
        return False
    interval = min(call.integer("duplicate_check_interval", INTERVAL), LONGEST_INTERVAL)
    return any(
        (one.agentid, one.msgtype, one.body, one.touser)
        == (message.agentid, message.msgtype, message.body, message.touser)
        and now - one.sent < interval
        and one.delivered
        for one in call.corp.messages.values()
    )


def _has_room(call: Call, key: str, now: int) -> bool:
    got = [one.sent for one in call.corp.messages.values() if key in one.delivered]
    return all(sum(now - sent < seconds for sent in got) < most for seconds, most in LIMITS)
