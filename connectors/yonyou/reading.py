"""Reading changes by ``pubts``: passes over a list that shifts under the reader, overlap, memory against repeats.

Lists are paged by number, and a row that changes may change its place: one that moves back lets all behind it move up,
and a page is turned over them. So a pass counts what it saw against the list's own count; where they differ it is made
again (6.14), and what was shown already with the same content is left out (2.0).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson

from hub.sdk import SECOND, Cause, IntegrityError, Json, Page, SourceRecord, Toolbox, TryAgain

__all__ = ["ChangeReader", "Listed", "Listing", "Source"]

EARLIEST = "1970-01-01 00:00:00"
PASSES = 5
"""Times a list is gone through before it counts as one that cannot be read."""
REMEMBERED = 1000  # rows a cursor remembers against repeats; more are only shown again
HELD = 50_000  # rows a read remembers while it runs: some 5 MB


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list: its record, its change time as the vendor writes it ("" if none), what tells it apart.

    ``record`` None: it is another organisation's, and only counts.
    """

    record: SourceRecord | None
    pubts: str
    place: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page: its rows, and how many the whole list has by its own count."""

    rows: Sequence[Listed]
    total: int


class Source(Protocol):
    """What can be listed by change time."""

    async def listing(self, since: str, page: int, size: int, *, org: str, now: int) -> Listing:
        """Return a page (the first is 1) of what changed at ``since`` or later; ``now``: µs before the call."""
        ...


@dataclass(slots=True)
class _Pass:
    """One way through the list: where it began, and what it has seen."""

    since: str
    began: int
    page: int = 1
    total: int | None = None
    newest: str = ""
    counted: int = 0
    places: set[str] = field(default_factory=set)

    def shown(self) -> dict[str, Json]:
        """Return it as a cursor keeps it."""
        return {"page": self.page, "began": self.began, "total": self.total, "newest": self.newest,
                "counted": self.counted + len(self.places)}  # fmt: skip


class _ShiftedError(Exception):
    """Rows moved between two pages; ``repeats``: a page that was seen before, as a whole."""

    def __init__(self, *, repeats: bool = False) -> None:
        super().__init__()
        self.repeats = repeats


class ChangeReader:
    """One read of one stream.

    Cursor: ``{"since", "seen": {id: digest}, "pass": {page, began, total, newest, counted} | null}``; times are the
    tenant's own, as texts: they order as they stand.
    """

    def __init__(self, source: Source, tools: Toolbox, *, org: str, settings: Mapping[str, Any]) -> None:
        """``org``: code of the organisation to read, "" for all. ``settings``: overlap, page_size, time_zone."""
        self._source = source
        self._tools = tools
        self._org = org
        self._overlap = timedelta(seconds=settings["overlap"])
        self._size: int = settings["page_size"]
        self._zone = timedelta(hours=settings["time_zone"])

    async def pages(self, after: Json) -> AsyncIterator[Page]:
        """Yield every page after a cursor, the last with the cursor of a finished pass.

        Raises:
            IntegrityError: the vendor shows the same page again and again.
            TryAgain: the list shifted in every pass.
            RemoteError: as the client.
        """
        cursor: dict[str, Any] = dict(after) if isinstance(after, dict) else {}
        since = str(cursor.get("since") or EARLIEST)
        seen: dict[str, str] = dict(cursor.get("seen") or {})
        kept = cursor.get("pass")
        way = _Pass(since, **kept) if isinstance(kept, dict) else _Pass(since, self._tools.clock.now())
        repeats = 0
        for _ in range(PASSES):
            try:
                async for records in self._through(way, seen):
                    yield Page(records, self._cursor(way, seen), total=way.total)
            except _ShiftedError as shifted:
                repeats += shifted.repeats
                way = _Pass(since, way.began)
            else:
                return
        if repeats == PASSES:
            raise IntegrityError(Cause.CURSOR, "YonBIP shows the same page again and again")
        message = f"the list of changes since {since} shifted in each of {PASSES} passes"
        raise TryAgain(message, cause=Cause.BAD_ANSWER, vendor="yonyou")

    async def _through(self, way: _Pass, seen: dict[str, str]) -> AsyncIterator[list[SourceRecord]]:
        """Yield what is new on each page of one pass. Raises _ShiftedError."""
        while way.page > 0:
            now = self._tools.clock.now()
            found = await self._source.listing(way.since, way.page, self._size, org=self._org, now=now)
            fresh = {row.place for row in found.rows} - way.places
            if found.rows and not fresh:
                raise _ShiftedError(repeats=True)
            if way.total is not None and found.total != way.total:
                raise _ShiftedError
            way.places |= fresh
            way.total = found.total
            if way.counted + len(way.places) > way.total:  # more than there are: it never ends by itself
                raise _ShiftedError
            way.newest = max([way.newest, *(row.pubts for row in found.rows)])
            records = [*_fresh(found.rows, seen)]
            way.page += 1
            if len(found.rows) < self._size:  # not the count: the last page is the one that is not full (2.1)
                if way.counted + len(way.places) != way.total:
                    if records:
                        yield records
                    raise _ShiftedError
                way.page = 0
            yield records

    def _cursor(self, way: _Pass, seen: dict[str, str]) -> Json:
        """Return the cursor that is safe behind what was shown."""
        if way.page > 0:
            return {"since": way.since, "seen": _newest(seen), "pass": way.shown()}
        since = way.since
        if way.newest:
            # The next pass looks back over the time this one took: a row changed meanwhile, on a page read before, is
            # then still in front of it. A row dated ahead of time must not carry the poll beyond all that follows.
            now = self._tools.clock.now()
            site_now = (datetime.fromtimestamp(now // SECOND, UTC) + self._zone).replace(tzinfo=None)
            took = timedelta(seconds=max(0, now - way.began) / SECOND)
            reached = min(datetime.fromisoformat(way.newest), site_now) - self._overlap - took
            since = max(since, reached.isoformat(" ", "seconds"))
        return {"since": since, "seen": _newest(seen), "pass": None}


def _fresh(rows: Sequence[Listed], seen: dict[str, str]) -> Iterator[SourceRecord]:
    """Yield the records that were not shown yet with this content; lines repeat their header (6.15)."""
    for row in rows:
        record = row.record
        if record is None:
            continue
        digest = hashlib.blake2b(orjson.dumps(record.body), digest_size=8).hexdigest()
        known = seen.pop(record.key.id, None)
        seen[record.key.id] = digest
        if known != digest:
            yield record


def _newest(seen: dict[str, str]) -> dict[str, Json]:
    """Return what a cursor remembers; ``seen`` itself drops its oldest beyond what a read holds."""
    for key in list(itertools.islice(seen, max(0, len(seen) - HELD))):
        del seen[key]
    return dict([*itertools.islice(reversed(seen.items()), REMEMBERED)][::-1])
