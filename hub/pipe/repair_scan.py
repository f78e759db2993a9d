"""What bad revisions of a mapping wrote, read from the acts; pure but for opening the values that acts keep sealed.

Inbound an act tells which fields of which record a revision changed, and from what. Outbound it tells which deliveries
were rendered by it. What a repair did stands in acts as well, so that a second one begins where the first one ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hub.model.record import Json

__all__ = ["BY_REPAIR", "REPAIRED", "Changed", "Found", "Wanted", "Written", "take_act"]

REPAIRED: Final = "repair_owed"
"""Outcome of a debt that a repair raised."""
BY_REPAIR: Final = "repair"
"""What an act names as the sync of a change that a repair made; also the verb of its act."""

Open = Callable[[bytes, str, bytes], Mapping[str, Any]]
"""(record, sealed values, additional data) -> the values; {} where the record's key is gone."""


@dataclass(slots=True)
class Written:
    """One field as the bad revisions left it. ``old``: the last value that was not theirs; ``last``: digest of what they wrote last."""

    old: Json
    last: str


@dataclass(slots=True)
class Changed:
    """One object of a vendor whose arrival a bad revision mapped. ``record``: its own record, None where only others changed by it."""

    sync: str
    subject: str
    record: bytes | None = None
    fields: dict[str, Written] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """What was read so far. ``deliveries``: (sync, record) rendered by a bad revision. ``upto``: the last act that was read."""

    changed: dict[tuple[str, str], Changed] = field(default_factory=dict)
    deliveries: dict[tuple[str, bytes], None] = field(default_factory=dict)
    upto: int = 0
    echoes: dict[tuple[str, bytes], dict[str, Written]] = field(default_factory=dict)
    """(sync, record) of such a delivery -> CRM fields that changed behind it by what the vendor's object showed."""
    of_record: dict[bytes, list[Changed]] = field(default_factory=dict)
    """Record -> what was written of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose acts are looked for.

    ``bad``: sync -> the revisions of its mapping that were bad. ``kinds``: inbound sync -> kind of the records it makes; the
    others are outbound. ``shows``: sync by which an act tells what an object shows -> the outbound sync that writes it.
    """

    bad: Mapping[str, Collection[int]]
    kinds: Mapping[str, str]
    shows: Mapping[str, str]


def take_act(
    found: Found, act: int, items: Iterable[Mapping[str, Any]], wanted: Wanted, open_values: Open
) -> None:
    """Take one act in, in the order of their numbers; ``open_values`` opens what a record's key has sealed."""
    for item in items:
        sync = item.get("sync", "")
        record = bytes.fromhex(item.get("record") or "") or None
        if item.get("outcome") == REPAIRED:
            found.changed.pop((sync, item.get("subject", "")), None)
            if record:
                found.deliveries.pop((sync, record), None)
                found.echoes.pop((sync, record), None)
        elif sync == BY_REPAIR:
            for one in found.of_record.get(record or b"", ()):
                for name in item.get("fields") or ():
                    one.fields.pop(name, None)
        elif record and item.get("revision") in wanted.bad.get(sync, ()):
            _take_bad(found, act, item, wanted, open_values)
        elif record and "kind" in item and (wanted.shows.get(sync, ""), record) in found.deliveries:
            fields = found.echoes.setdefault((wanted.shows[sync], record), {})
            _take_fields(fields, act, item, open_values)
    found.upto = act


def _take_bad(found: Found, act: int, item: Mapping[str, Any], wanted: Wanted, open_values: Open) -> None:
    if item["sync"] not in wanted.kinds:
        found.deliveries[item["sync"], bytes.fromhex(item["record"])] = None
    elif "kind" in item:  # else it changed nothing
        _take_arrival(found, act, item, wanted.kinds[item["sync"]], open_values)


def _take_arrival(found: Found, act: int, item: Mapping[str, Any], kind: str, open_values: Open) -> None:
    key = (item["sync"], item["subject"])
    one = found.changed.setdefault(key, Changed(*key))
    if item["kind"] != kind:
        return  # what follows from it: it comes right when the object itself does
    if one.record is None:
        one.record = bytes.fromhex(item["record"])
        found.of_record.setdefault(one.record, []).append(one)
    _take_fields(one.fields, act, item, open_values)


def _take_fields(fields: dict[str, Written], act: int, item: Mapping[str, Any], open_values: Open) -> None:
    sealed = item.get("values")
    record = bytes.fromhex(item["record"])
    before = open_values(record, sealed, str(act).encode()).get("before", {}) if sealed else {}
    for name, (was, now) in (item.get("fields") or {}).items():
        known = fields.get(name)
        if known is not None and known.last == was:
            known.last = now
        elif name in before:  # somebody else's value, or the first one: this is the way back
            fields[name] = Written(before[name], now)
