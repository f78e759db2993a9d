"""Sealed acts as thin events on ``hub.changes``: which record changed and which fields, never a value.

A subscriber that wants the record fetches it, so that no personal value outlives its erasure on the bus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from hub.bus.port import Message
from hub.clock import SECOND
from hub.model.event import Event
from hub.store import sql
from hub.store.tx import Tx

__all__ = ["SOURCE", "Published", "changes_after"]

SOURCE: Final = "hub/records"
"""``source`` of these events; ``id`` is unique within it and the same in every repeat."""

_OUTCOMES: Final = frozenset({"created", "changed", "deleted", "merged"})
"""What an act says of a record that subscribers are told."""

_acts = sql.query("SELECT seq, id, at, actor, body FROM acts WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?")
_sealed = sql.query("SELECT last_seq FROM seals ORDER BY last_seq DESC LIMIT 1")


@dataclass(frozen=True, slots=True)
class Published:
    """Messages of the acts up to ``last``, in order; ``last`` is where the next ones begin."""

    messages: tuple[Message, ...]
    last: int


def changes_after(tx: Tx, seq: int, limit: int = 500) -> Published:
    """Return what the next ``limit`` sealed acts behind the number ``seq`` tell subscribers."""
    sealed = _sealed(tx)
    acts = _acts(tx, seq, sealed[0][0] if sealed else 0, limit)
    messages = tuple(message for act in acts for message in _messages(*act))
    return Published(messages, acts[-1][0] if acts else seq)


def _messages(seq: int, id_: int, at: int, actor: str, body: str) -> Iterator[Message]:
    del seq
    for number, item in enumerate(orjson.loads(body).get("items", ())):
        if item.get("outcome") in _OUTCOMES and item.get("record") and item.get("kind"):
            yield _message(f"{id_}.{number}", id_, at, actor, item)


def _message(event_id: str, act: int, at: int, actor: str, item: Mapping[str, Any]) -> Message:
    record, origin = item["record"], item.get("sync") or actor
    data = {
        "id": record,
        "kind": item["kind"],
        "version": item.get("version"),
        "changed": sorted(item.get("fields") or ()),
        "origin": origin,
    }
    extensions = {"act": str(act), "version": str(item.get("version")), "origin": origin}
    if traceparent := item.get("traceparent"):
        extensions["traceparent"] = traceparent
    event = Event(
        id=event_id,
        source=SOURCE,
        type=f"hub.{item['kind']}.{item['outcome']}",
        subject=record,
        time=datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        data=orjson.dumps(data),
        extensions=extensions,
    )
    return Message(record, {name: value.decode() for name, value in event.headers()}, event.data)
