"""The net under the events: approvals that began since the last read, and those known as open that have ended since.

A listing goes by the time of the start (2.4), so what is open is kept in the cursor and held against the list of what
still runs. Every `get` is billed: an approval is read when it is new and when it has ended, its steps come by event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.dingtalk.approvals import Approvals, Seen, key_of, started_ms
from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.listing import DAY, list_ids
from hub.sdk import Json, Page, SourceRecord, Toolbox

__all__ = ["ApprovalReader"]

OVERLAP = 600_000
"""ms of the last read that are listed again: an instance may be listed a little after it began."""
MARGIN = DAY
"""ms by which the start of an open instance is taken earlier: its time has no sure offset."""


@dataclass(slots=True)
class _Place:
    """Where reads are. ``since``: template -> ms; ``open``: id -> (template, start in ms); ``recent``: id -> ms, closed, may be listed again."""

    since: dict[str, int] = field(default_factory=dict)
    open: dict[str, tuple[str, int]] = field(default_factory=dict)
    recent: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, cursor: Json) -> _Place:
        """Return the place a cursor names; the beginning for none."""
        if not isinstance(cursor, dict):
            return cls()
        parts = {name: cursor.get(name) for name in ("since", "open", "recent")}
        since, opened, recent = (one if isinstance(one, dict) else {} for one in parts.values())
        return cls(
            {code: int(at) for code, at in since.items() if isinstance(at, int)},
            {
                id_: (str(one[0]), int(str(one[1])))
                for id_, one in opened.items()
                if isinstance(one, list) and len(one) == 2
            },
            {id_: int(at) for id_, at in recent.items() if isinstance(at, int)},
        )

    def shown(self) -> dict[str, Json]:
        """Return the cursor."""
        opened: dict[str, Json] = {id_: [code, at] for id_, (code, at) in self.open.items()}
        return {"since": dict[str, Json](self.since), "open": opened, "recent": dict[str, Json](self.recent)}


class ApprovalReader:
    """One read of the templates of a connection.

    Cursor: ``{"since": {template: ms}, "open": {id: [template, start]}, "recent": {id: ms}}``; a read that was cut lists
    again and shows what its cursor does not know.
    """

    def __init__(
        self, client: DingTalkClient, approvals: Approvals, tools: Toolbox, settings: Mapping[str, object]
    ) -> None:
        """``settings``: page_size and history_days."""
        self._client, self._approvals, self._tools = client, approvals, tools
        self._size = int(str(settings["page_size"]))
        self._history = int(str(settings["history_days"])) * DAY

    async def pages(self, after: Json, codes: Sequence[str], org: str = "") -> AsyncIterator[Page]:
        """Yield every page behind a cursor; one without records at least. Raises RemoteError, IntegrityError."""
        place = _Place.at(after)
        now = self._tools.clock.now() // 1000
        shown = False
        for code in codes:
            since = place.since.get(code, now - self._history)
            todo = await self._todo(code, place, since - OVERLAP, now)
            for index in range(0, len(todo), self._size):
                chunk = todo[index : index + self._size]
                records = await self._read(code, chunk, place, now, org)
                shown = True
                yield Page(records, place.shown(), total=len(todo) if len(codes) == 1 else None)
                for id_ in chunk:  # the cursor knows it now, or that it is gone was told
                    self._approvals.opened.pop(id_, None)
            place.since[code] = now
            place.recent = {id_: at for id_, at in place.recent.items() if at >= now - 2 * OVERLAP}
        yield Page([], place.shown(), total=None if shown else 0)

    async def _todo(self, code: str, place: _Place, start: int, now: int) -> list[str]:
        """Return what began since, and what is open no longer; also of those that an event or a create alone made known."""
        begun = await list_ids(self._client, code, start, now, size=self._size)
        listed = set(begun)
        for id_, (of, at) in self._approvals.opened.items():
            if of == code and id_ not in listed:
                place.open.setdefault(id_, (of, at))
        new = [id_ for id_ in begun if id_ not in place.open and id_ not in place.recent]
        opened = {id_: at for id_, (of, at) in place.open.items() if of == code}
        if not opened:
            return new
        first = min(opened.values()) - MARGIN
        running = set(await list_ids(self._client, code, first, now, size=self._size, statuses=["RUNNING"]))
        return [*(id_ for id_ in opened if id_ not in running), *new]

    async def _read(
        self, code: str, ids: Sequence[str], place: _Place, now: int, org: str
    ) -> list[SourceRecord]:
        began = self._tools.clock.now()
        seen = await asyncio.gather(*(self._approvals.see(code, id_, org=org) for id_ in ids))
        records: list[SourceRecord] = []
        mains: dict[str, None] = {}
        for id_, one in zip(ids, seen, strict=True):
            known = place.open.pop(id_, None)
            if one is None:
                if known is not None:  # it was there, and was deleted since
                    records.append(
                        SourceRecord(key_of(code, id_, org), {}, began, deleted=True, stable_key=id_)
                    )
                continue
            if one.body["state"] == "in_progress":
                place.open[id_] = (code, started_ms(one.body) or now)
                if known is not None:
                    continue  # the list of what runs was behind
            else:
                place.recent[id_] = min(now, (started_ms(one.body) or now) + MARGIN)
            records.append(one.record)
            if one.action in ("REVOKE", "MODIFY") and one.main:
                mains[one.main] = None
        for id_ in mains:
            main: Seen | None = await self._approvals.see(code, id_, org=org)
            if main is not None:
                records.append(main.record)
        return records
