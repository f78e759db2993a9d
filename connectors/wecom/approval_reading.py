"""The net under the events: approvals submitted since the last read, and those known that have become another since.

A listing goes by the time of submission (4.1), so what is open is kept in the cursor and held against the list of what is
still in progress; what is revoked, paid or deleted after it was approved is listed by that status over a longer time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.wecom.approval_listing import DAY, list_numbers
from connectors.wecom.approvals import DELETED, IN_PROGRESS, Approvals, Seen
from connectors.wecom.pacing import ApprovalCalls
from hub.sdk import SECOND, Cause, Json, Page, Refused, SourceRecord, Toolbox, VendorKey

__all__ = ["ApprovalReader"]

OVERLAP = 600
"""Seconds of the last read that are listed again: an approval may be listed a little after it was submitted."""
TURNED = ("6", DELETED, "10")
"""What an approval may become after it was approved: revoked, deleted, paid."""


@dataclass(slots=True)
class _Place:
    """Where reads are; times are unix seconds of submission but for ``since``, when a template was read last.

    ``open``: sp_no -> (template, time). ``recent``: sp_no -> time, has ended and may be listed again. ``turned``: sp_no ->
    (status, time), shown as that.
    """

    since: dict[str, int] = field(default_factory=dict)
    open: dict[str, tuple[str, int]] = field(default_factory=dict)
    recent: dict[str, int] = field(default_factory=dict)
    turned: dict[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def at(cls, cursor: Json) -> _Place:
        """Return the place a cursor names; the beginning for none."""
        if not isinstance(cursor, dict):
            return cls()
        return cls(
            _times(cursor.get("since")),
            _pairs(cursor.get("open")),
            _times(cursor.get("recent")),
            _pairs(cursor.get("turned")),
        )

    def shown(self) -> dict[str, Json]:
        """Return the cursor."""
        return {
            "since": dict[str, Json](self.since),
            "open": {id_: list[Json](pair) for id_, pair in self.open.items()},
            "recent": dict[str, Json](self.recent),
            "turned": {id_: list[Json](pair) for id_, pair in self.turned.items()},
        }


def _times(given: Json) -> dict[str, int]:
    rows = given.items() if isinstance(given, dict) else ()
    return {id_: at for id_, at in rows if isinstance(at, int)}


def _pairs(given: Json) -> dict[str, tuple[str, int]]:
    rows = given.items() if isinstance(given, dict) else ()
    return {
        id_: (str(one[0]), int(str(one[1]))) for id_, one in rows if isinstance(one, list) and len(one) == 2
    }


class ApprovalReader:
    """One read of the templates of a connection; one that was cut lists again and shows what its cursor does not know."""

    def __init__(
        self, calls: ApprovalCalls, approvals: Approvals, tools: Toolbox, settings: Mapping[str, object]
    ) -> None:
        """``settings``: page_size, history_days, revocable_days."""
        self._calls, self._approvals, self._tools = calls, approvals, tools
        self._size = int(str(settings["page_size"]))
        self._history = int(str(settings["history_days"])) * DAY
        self._revocable = int(str(settings["revocable_days"])) * DAY

    async def pages(self, after: Json, codes: Sequence[str], org: str = "") -> AsyncIterator[Page]:
        """Yield every page behind a cursor; one without records at least. Raises RemoteError, IntegrityError."""
        place = _Place.at(after)
        now = self._tools.clock.now() // SECOND
        shown = False
        for code in codes:
            todo = await self._todo(code, place, now)
            for index in range(0, len(todo), self._size):
                chunk = todo[index : index + self._size]
                records = await self._read(code, chunk, place, now, org)
                shown = True
                yield Page(records, place.shown(), total=len(todo) if len(codes) == 1 else None)
            place.since[code] = now
        place.recent = {id_: at for id_, at in place.recent.items() if at >= now - 2 * OVERLAP}
        place.turned = {
            id_: one for id_, one in place.turned.items() if one[1] >= now - self._revocable - DAY
        }
        yield Page([], place.shown(), total=None if shown else 0)

    async def _todo(self, code: str, place: _Place, now: int) -> list[str]:
        """Return what is open no longer, what was submitted since, and what has turned after it was approved."""
        since = place.since.get(code, now - self._history)
        begun = await self._listed(code, since - OVERLAP, now)
        new = [id_ for id_ in begun if id_ not in place.open and id_ not in place.recent]
        opened = {id_: at for id_, (of, at) in place.open.items() if of == code}
        closed: list[str] = []
        if opened:
            running = set(await self._listed(code, min(opened.values()) - OVERLAP, now, status=IN_PROGRESS))
            closed = [id_ for id_ in opened if id_ not in running]
        turned: list[str] = []
        for status in TURNED:
            listed = await self._listed(code, now - self._revocable, now, status=status)
            turned += [id_ for id_ in listed if place.turned.get(id_, ("", 0))[0] != status]
        return list(dict.fromkeys([*closed, *new, *turned]))

    async def _listed(self, code: str, start: int, now: int, *, status: str = "") -> list[str]:
        filters = {"template_id": code, "sp_status": status}
        return await list_numbers(self._calls, start, now, size=self._size, filters=filters)

    async def _read(
        self, code: str, numbers: Sequence[str], place: _Place, now: int, org: str
    ) -> list[SourceRecord]:
        began = self._tools.clock.now()
        found = await asyncio.gather(*(self._see(one, org) for one in numbers))
        records: list[SourceRecord] = []
        for id_, (seen, hidden) in zip(numbers, found, strict=True):
            if hidden:  # its applicant is out of sight: it is looked at again, and comes back with him
                place.open.setdefault(id_, (code, now))
                continue
            known = place.open.pop(id_, None)
            if seen is None:
                if known is not None:  # it was there, and is not any more
                    records.append(SourceRecord(VendorKey(org, id_), {}, began, deleted=True, stable_key=id_))
                continue
            status, applied = str(seen.body["status"]), seen.applied or now
            if status == IN_PROGRESS:
                place.open[id_] = (code, applied)
                if known is not None:
                    continue  # the list of what is in progress was behind, or does not show it
            else:
                place.recent[id_] = applied
            if status in TURNED:
                place.turned[id_] = (status, applied)
            records.append(seen.record)
        return records

    async def _see(self, number: str, org: str) -> tuple[Seen | None, bool]:
        try:
            return await self._approvals.see(number, org=org), False
        except Refused as error:
            if error.cause is not Cause.PERMISSION:
                raise
            self._tools.log.info("wecom.approval.hidden", sp_no=number)
            return None, True
