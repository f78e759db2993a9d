"""Reading changes by ``last_changed``: forward from the last row seen, never by a place in a list that shifts (6).

"since" is exclusive and counts whole seconds, so every page begins one second before the last row of the page before it
and what was shown already with the same content is left out. Page numbers are only used inside one second that fills
more than a page, with a count of who was met. Archived contacts are in a list of their own; those deleted for good are in none.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from connectors.mailchimp.client import MailchimpClient
from connectors.mailchimp.members import ARCHIVED, Members
from connectors.mailchimp.outcomes import bad_answer
from connectors.mailchimp.shape import contact_id
from hub.sdk import Json, Page, SourceRecord, Toolbox

__all__ = ["ChangeReader"]

PASSES = ("", ARCHIVED)
"""The lists that a read goes through: everybody but the archived, then they."""
REMEMBERED = 1000  # members a cursor remembers against repeats; more are only shown again
HELD = 50_000  # members a read remembers while it runs: some 5 MB
SECOND = timedelta(seconds=1)
TRIES = 5
"""Times a crowded second is gone through again before the list counts as one that cannot be read."""
SHOWN = (
    "contact_id", "id", "email_address", "unique_email_id", "status", "email_type", "language", "source",
    "unsubscribe_reason", "merge_fields", "interests", "tags", "vip", "ip_signup", "ip_opt", "timestamp_signup",
    "timestamp_opt", "last_changed",
)  # fmt: skip
FIELDS = ",".join(["total_items", *(f"members.{name}" for name in SHOWN)])


@dataclass(slots=True)
class _Place:
    """Where a read stands. Times are texts of UTC, whole seconds.

    ``list``: which of `PASSES`; ``since``: after when its pages ask; ``newest``: the last change seen. ``second``: the one
    second whose members fill more than a page, "" outside of one; it is gone through by page number until as many have
    been met as the list counts, ``tries`` times at most.
    """

    list: int
    since: str
    newest: str
    second: str = ""
    offset: int = 0
    tries: int = 0
    total: int | None = None
    met: set[str] = field(default_factory=set)

    def shown(self) -> dict[str, Json]:
        """Return it as a cursor keeps it; a crowded second is begun anew."""
        return {"list": self.list, "since": self.since, "newest": self.newest, "second": self.second}

    def into(self, since: str, second: str = "") -> None:
        """Go on after ``since``, or through one second."""
        self.since, self.second, self.offset, self.tries, self.total, self.met = (
            since,
            second,
            0,
            0,
            None,
            set(),
        )


class ChangeReader:
    """One read of one stream. Cursor: ``{"since", "seen": {contact: digest}, "at": {…} | null}``."""

    def __init__(
        self,
        stream: str,
        client: MailchimpClient,
        members: Members,
        tools: Toolbox,
        settings: Mapping[str, Any],
        *,
        org: str,
    ) -> None:
        """Take checked settings; ``org``: passed through to the keys."""
        self._stream, self._client, self._members, self._tools, self._org = (
            stream,
            client,
            members,
            tools,
            org,
        )
        self._size: int = settings["page_size"]
        self._overlap = timedelta(seconds=settings["overlap"])

    async def pages(self, after: Json) -> AsyncIterator[Page]:
        """Yield every page after a cursor, the last with the cursor of a finished read.

        Raises:
            TryAgain: a second's members cannot be gone through, the list shifts each time.
            RemoteError: as the client.
        """
        cursor: dict[str, Any] = dict(after) if isinstance(after, dict) else {}
        since: str = cursor.get("since") or ""
        seen: dict[str, str] = dict(cursor.get("seen") or {})
        kept = cursor.get("at")
        at = _Place(**kept) if isinstance(kept, dict) else _Place(0, since, since)
        while at.list < len(PASSES):
            observed = self._tools.clock.now()
            rows, total = await self._page(at)
            records = [
                *_fresh((self._members.record(self._stream, row, self._org, observed) for row in rows), seen)
            ]
            self._advance(at, rows, total, since)
            yield Page(records, self._cursor(at, since, seen))

    async def _page(self, at: _Place) -> tuple[list[dict[str, Any]], int]:
        asked: dict[str, str | int] = {
            "count": self._size,
            "offset": at.offset,
            "sort_field": "last_changed",
            "sort_dir": "ASC",
        }
        asked |= {"fields": FIELDS, **({"status": PASSES[at.list]} if PASSES[at.list] else {})}
        if at.second:
            asked |= {
                "since_last_changed": _moved(at.second, -SECOND),
                "before_last_changed": _moved(at.second, SECOND),
            }
        elif at.since:
            asked["since_last_changed"] = at.since
        body = await self._client.get(f"{self._client.list_path}/members", **asked)
        rows, total = body.get("members"), body.get("total_items")
        if (
            not isinstance(rows, list)
            or not all(isinstance(row, dict) for row in rows)
            or not isinstance(total, int)
        ):
            raise bad_answer("Mailchimp answered members of another shape than documented", read=True)
        return rows, total

    def _advance(self, at: _Place, rows: list[dict[str, Any]], total: int, since: str) -> None:
        """Move on behind a page: to the second of its last row, or through the one second that fills it."""
        last = max((_moment(row) for row in rows), default="")
        at.newest = max(at.newest, last)
        if at.second:
            self._through(at, rows, total)
        elif len(rows) < self._size:  # the list ends here
            at.list += 1
            at.into(since)
        elif (further := _moved(last, -SECOND)) > at.since:
            at.into(further)
        else:
            at.into(at.since, last)

    def _through(self, at: _Place, rows: list[dict[str, Any]], total: int) -> None:
        """Go on inside a crowded second; its members have no order that holds from page to page."""
        # somebody left this second, or came into it: whoever was met may be gone
        moved = at.total not in (None, total)
        fresh = {contact_id(row) for row in rows} - at.met
        at.met |= fresh
        at.offset, at.total = at.offset + len(rows), total
        if not moved and len(at.met) >= total:
            at.into(at.second)
        elif moved or len(rows) < self._size or not fresh:
            if at.tries == TRIES:
                raise bad_answer(
                    f"the members that changed at {at.second} shifted in each of {TRIES} passes", read=True
                )
            at.offset, at.tries, at.total, at.met = 0, at.tries + 1, None, set()

    def _cursor(self, at: _Place, since: str, seen: dict[str, str]) -> Json:
        if at.list < len(PASSES):
            return {"since": since, "seen": _newest(seen), "at": at.shown()}
        reached = max(since, _moved(at.newest, -self._overlap)) if at.newest else since
        return {"since": reached, "seen": _newest(seen), "at": None}


def _moment(row: Mapping[str, Any]) -> str:
    """Return when a member changed, as the vendor's filter takes it. Raises TryAgain if it does not say."""
    try:
        moment = datetime.fromisoformat(str(row.get("last_changed")))
    except ValueError:
        raise bad_answer("Mailchimp showed a member without last_changed", read=True) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _moved(moment: str, by: timedelta) -> str:
    return (datetime.fromisoformat(moment) + by).isoformat(timespec="seconds")


def _fresh(records: Any, seen: dict[str, str]) -> Any:
    """Yield the records that were not shown yet with this content."""
    for record in records:
        shown: SourceRecord = record
        digest = hashlib.blake2b(orjson.dumps([shown.body, shown.deleted]), digest_size=8).hexdigest()
        known = seen.pop(shown.key.id, None)
        seen[shown.key.id] = digest
        if known != digest:
            yield shown


def _newest(seen: dict[str, str]) -> dict[str, Json]:
    """Return what a cursor remembers; ``seen`` itself drops its oldest beyond what a read holds."""
    for key in list(itertools.islice(seen, max(0, len(seen) - HELD))):
        del seen[key]
    return dict([*itertools.islice(reversed(seen.items()), REMEMBERED)][::-1])
