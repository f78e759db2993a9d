"""Every event type of the open platform and its effect here: one table (fact sheet 3.4).

An event means "this id changed": the object is read again, and no time inside an event is used. Receipts have none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.yonyou.shape import id_of
from hub.sdk import InboundEvent, Received, VendorKey

__all__ = ["EVENTS", "HANDSHAKE", "Row", "effect_of"]

HANDSHAKE = "CHECK_URL"
DEEPEST = 4
LONGEST_ID = 60
MOST_IDS = 500


@dataclass(frozen=True, slots=True)
class Row:
    """What events of these types do; ``stream``: of which the ids inside are read again, "" for none."""

    zh: str
    en: str
    stream: str = ""


_CUSTOMER = Row("重新读取客户", "the customer is read again", "customer")
_NOT_READ = Row("不读取组织、部门和员工", "organisations, departments and employees are not read")
_MERCHANT = "INSERT UPDATE DELETE CARD_DELETE BATCH_STOP BATCH_UNSTOP ALLOCATEORG"
_PEOPLE = ("ADD", "UPDATE", "ENABLE", "DISABLE", "DELETE")
_ORDERS = "SAVE SUBMIT UNSUBMIT AUDIT UNAUDIT OPPOSE CLOSE OPEN DELETE"

EVENTS: Mapping[str, Row] = {
    HANDSHAKE: Row("保存事件订阅时的验证，只应答", "the test when a subscription is saved: answered alone"),
    **{f"YXYBASEDOC_AA_MERCHANT_{name}": _CUSTOMER for name in _MERCHANT.split()},
    **{f"YXYBASEDOC_AA_MERCHANTLIST_{name}": _CUSTOMER for name in ("STOP", "UNSTOP")},
    **{f"{what}_{name}": _NOT_READ for what in ("STAFF", "DEPT", "USER") for name in _PEOPLE},
    **{f"BASE_ORG_EVENT_{name}_AFTER": _NOT_READ for name in _PEOPLE},
    **{
        f"SALE_{name}ORDER_NOTIFY_SENT": Row("不读取销售订单", "sales orders are not read")
        for name in _ORDERS.split()
    },
    "SALE_AUDITORDER": Row("不读取销售订单", "sales orders are not read"),
    "TODO_CENTER_ADD_TODO": Row("不读取待办", "to-dos are not read"),
    "TODO_CENTER_UPDATE_TODO": Row("不读取待办", "to-dos are not read"),
}
"""Type -> its effect, or why it has none."""


def effect_of(event: Mapping[str, Any], plain: bytes, org: str) -> Received:
    """Return what an event means; one that is unknown or names nothing is acknowledged and counted.

    ``plain``: the decrypted bytes, whose digest stands in for an ``eventId`` that is missing. ``org``: the organisation
    whose customers are read, for an event names none.
    """
    word = event.get("type")
    if not isinstance(word, str) or not word.isprintable() or not 0 < len(word) <= 100:
        return Received(ignored="unknown")
    row = EVENTS.get(word)
    if row is None:
        return Received(ignored=f"unknown: {word}")
    if not row.stream:
        return Received(ignored=word)
    ids = list(dict.fromkeys(_ids(event)))[:MOST_IDS]
    if not ids:
        return Received(ignored=f"incomplete: {word}")
    name = _event_id(event.get("eventId"), plain)
    return Received(
        tuple(InboundEvent(row.stream, VendorKey(org, one), f"{name}.{one}"[:128], word) for one in ids)
    )


def _event_id(said: object, plain: bytes) -> str:
    """Return what is the same for every copy of an event: the vendor's own id, or a digest."""
    if isinstance(said, str) and said.isprintable() and 0 < len(said) <= LONGEST_ID:
        return said
    return hashlib.sha256(plain).hexdigest()[:LONGEST_ID]


def _ids(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the ids of the objects an event is about.

    They lie in ``content``, usually JSON as a text, sometimes inline, in a list, or below ``model`` (UNCONFIRMED, 3.4).
    """
    if depth > DEEPEST:
        return
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if isinstance(value, list):
        for one in value:
            yield from _ids(one, depth + 1)
    elif isinstance(value, dict):
        own = id_of(value.get("id")) if depth else ""  # the envelope's own id, if any, is the event's
        if own:
            yield own
            return
        for name in ("content", "model", "data"):
            if name in value:
                yield from _ids(value[name], depth + 1)
