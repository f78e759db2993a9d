"""Reading changes by time: keyset pages that lose nothing, overlap for late commits, memory against repeats.

Offsets would skip a row whenever an earlier one changes and moves to the end (8.3.9); a key (time, id) does not.
A row gets its time before its transaction commits, so a pass looks back by the overlap; what it has shown already
with the same content it leaves out.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from connectors.kingdee.client import KingdeeClient
from connectors.kingdee.shape import Shape
from hub.sdk import SECOND, Cause, IntegrityError, Json, Page, SourceRecord, Toolbox, VendorKey

__all__ = ["ChangeReader", "literal", "record_of"]

EARLIEST = "1900-01-01 00:00:00"
OLD_PAGE_CAP = 2000  # older versions answer no more, whatever Limit says
REMEMBERED = 1000  # rows a cursor remembers against repeats; more are only shown again
HELD = 50_000  # rows a read remembers while it runs: some 5 MB


def literal(value: object) -> str:
    """Return a value as a text of FilterString."""
    return "'" + str(value).replace("'", "''") + "'"


def record_of(shape: Shape, row: Mapping[str, Any], org: str, observed_at: int) -> SourceRecord:
    """Return a row as a stream record."""
    form = shape.form
    return SourceRecord(
        key=VendorKey(org, str(row[form.pk])),
        body=shape.body(row),
        observed_at=observed_at,
        stage=row["FDocumentStatus"] or None,
        stable_key=row[form.number] or None,
    )


def _newest(seen: dict[str, str]) -> dict[str, str]:
    """Return what a cursor remembers; ``seen`` itself drops its oldest beyond what a read holds."""
    for key in list(itertools.islice(seen, max(0, len(seen) - HELD))):
        del seen[key]
    return dict([*itertools.islice(reversed(seen.items()), REMEMBERED)][::-1])


def _as_literal(time: object) -> str:
    """Return an answered time as a filter takes it: a datetime column refuses more than three decimals."""
    whole, _, fraction = str(time).replace("T", " ").partition(".")
    return f"{whole}.{fraction[:3]}" if fraction.strip("0") else whole


class ChangeReader:
    """One read of one stream: a pass per time field, pages with the cursor that is safe after each.

    Cursor: ``{field: {"since", "after": [time, id] | null, "began": µs}, "seen": {id: digest}}``; ``after`` is set
    inside a pass. Times are the site's own, as texts: they order as they stand.
    """

    def __init__(
        self, client: KingdeeClient, shape: Shape, tools: Toolbox, *, org: str, settings: Any
    ) -> None:
        """``org``: number of the organisation to read, "" for all. ``settings``: overlap, page_size."""
        self._client = client
        self._shape = shape
        self._tools = tools
        self._org = org
        self._overlap = timedelta(seconds=settings["overlap"])
        self._limit = settings["page_size"]

    async def pages(self, after: Json, key_org: str) -> AsyncIterator[Page]:
        """Yield every page after a cursor, the last with the cursor of a finished pass.

        Raises:
            IntegrityError: the site repeats a page, or shows another organisation's object.
            RemoteError: as the client.
        """
        cursor: dict[str, Any] = dict(after) if isinstance(after, dict) else {}
        seen: dict[str, str] = dict(cursor.get("seen") or {})
        for time_field in self._shape.form.times:
            place = dict(cursor.get(time_field) or {"since": EARLIEST})
            place.setdefault("began", self._tools.clock.now())
            ended = False
            while not ended:
                observed_at = self._tools.clock.now()
                rows = await self._page(time_field, place)
                ended = self._move(time_field, place, rows, observed_at)
                records = self._fresh(rows, seen, key_org, observed_at)
                cursor = {**cursor, time_field: dict(place), "seen": _newest(seen)}
                yield Page(records, cursor)

    async def _page(self, time_field: str, place: Mapping[str, Any]) -> list[dict[str, Any]]:
        form = self._shape.form
        if place.get("after"):
            time, last = place["after"]
            bound = (
                f"({time_field}>{literal(time)} or ({time_field}={literal(time)} and {form.pk}>{int(last)}))"
            )
        else:
            bound = f"{time_field}>={literal(place['since'])}"
        if self._org:
            bound = f"{form.org}={literal(self._org)} and {bound}"
        return await self._client.query(
            form.form, self._shape.columns, bound, order=f"{time_field} ASC,{form.pk} ASC", limit=self._limit
        )

    def _move(self, time_field: str, place: dict[str, Any], rows: list[dict[str, Any]], now: int) -> bool:
        """Move on behind a page; say whether the pass has ended."""
        if rows:
            last = rows[-1]
            key = [_as_literal(last[time_field]), int(last[self._shape.form.pk])]
            full = len(rows) >= self._limit or len(rows) == OLD_PAGE_CAP
            if full and place.get("after") and key <= list(place["after"]):
                raise IntegrityError(
                    Cause.CURSOR, f"{self._shape.form.form}: the page after {place['after']} repeats"
                )
            place["after"] = key
            if full:
                return False
        if place.get("after"):
            # The next pass also looks back over the time this one took: a row that committed meanwhile, behind the
            # pages read first, is then still in front of it.
            took = timedelta(seconds=max(0, now - place["began"]) / SECOND)
            # A row dated ahead of time (a site's clock once was) must not carry the poll beyond all that follows.
            site_now = datetime.fromtimestamp(now // SECOND, self._shape.zone).replace(tzinfo=None)
            reached = min(datetime.fromisoformat(place["after"][0]), site_now) - self._overlap - took
            place["since"] = max(place["since"], reached.isoformat(" ", "seconds"))
        del place["began"]
        place.pop("after", None)
        return True

    def _fresh(
        self, rows: list[dict[str, Any]], seen: dict[str, str], key_org: str, observed_at: int
    ) -> list[SourceRecord]:
        fresh = []
        for row in rows:
            if self._org and str(row[self._shape.form.org]) != self._org:
                raise IntegrityError(
                    Cause.FOREIGN, f"{self._shape.form.form} of organisation {row[self._shape.form.org]}"
                )
            record = record_of(self._shape, row, key_org, observed_at)
            digest = hashlib.blake2b(orjson.dumps(record.body), digest_size=8).hexdigest()
            if seen.pop(record.key.id, None) != digest:
                fresh.append(record)
            seen[record.key.id] = digest
        return fresh
