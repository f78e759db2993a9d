"""Campaign results per address: the newest campaign that was sent to it, and what became of that (7).

Read whole each time: reports have no change time. Campaigns come newest first, so that an address is shown once, with its
newest; what a read has shown is remembered by its hash. Opens are inflated by mail-privacy proxies: they are for people
to look at, nothing is decided by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.mailchimp.client import MailchimpClient
from connectors.mailchimp.outcomes import bad_answer
from hub.sdk import (
    SECOND,
    ConnectionDown,
    Failed,
    Gone,
    Json,
    Page,
    RemoteError,
    SourceRecord,
    Toolbox,
    VendorKey,
)

__all__ = ["Results"]

Row = Mapping[str, Any]
PAGE = 500
"""Rows of an email-activity page: 1000 gives 504 at times."""
BOUNCED = ("hard", "soft")


class Results:
    """What became of the campaigns of one audience. Raises RemoteError."""

    def __init__(self, client: MailchimpClient, tools: Toolbox, settings: Mapping[str, Any]) -> None:
        """Take checked settings."""
        self._client, self._tools = client, tools
        self._list: str = settings["list_id"]
        self._days = timedelta(days=settings["results_days"])
        self._size = min(int(settings["page_size"]), PAGE)

    async def pages(self, after: Json, org: str) -> AsyncIterator[Page]:
        """Yield every address of every campaign in the window, newest first; a cursor resumes a read that was cut.

        Cursor: ``{"done": [campaign ids], "campaign", "offset"}``; null fields at the end of a read.
        """
        cursor: dict[str, Any] = dict(after) if isinstance(after, dict) and after.get("campaign") else {}
        shown: set[str] = set()
        done: list[str] = []
        for campaign in await self._campaigns():
            name = str(campaign["id"])
            if name in cursor.get("done", ()):
                shown |= {str(row["email_id"]) async for page in self._rows(name, 0) for row in page}
                done.append(name)
                continue
            start = int(cursor["offset"]) if cursor.get("campaign") == name else 0
            if start:
                shown |= await self._before(name, start)
            acts = await self._acts(name)
            offset = start
            async for rows in self._rows(name, start):
                now = self._tools.clock.now()
                fresh = [row for row in rows if row["email_id"] not in shown]
                shown |= {str(row["email_id"]) for row in rows}
                offset += len(rows)
                records = [
                    self._record(campaign, row, acts.get(row["email_id"], ()), org, now) for row in fresh
                ]
                yield Page(records, {"done": list(done), "campaign": name, "offset": offset})
            done.append(name)
        yield Page([], {"done": [], "campaign": None, "offset": 0})

    async def fetch(self, keys: Sequence[VendorKey], now: int) -> list[SourceRecord | Gone | Failed]:
        """Read what became of the newest campaign sent to each address."""
        return list(await asyncio.gather(*(self._fetch_one(key, now) for key in keys)))

    async def _fetch_one(self, key: VendorKey, now: int) -> SourceRecord | Gone | Failed:
        try:
            found = await self._campaigns(member_id=key.id, count=1)
            if not found:
                return Gone(key)
            at = f"/reports/{found[0]['id']}"
            row = await self._client.get(f"{at}/sent-to/{key.id}", exclude_fields="_links,merge_fields")
            acts = await self._client.get(f"{at}/email-activity/{key.id}", exclude_fields="_links")
        except ConnectionDown as error:
            return Gone(key) if error.code == "ResourceNotFound" else Failed(error)
        except RemoteError as error:
            return Failed(error)
        return self._record(found[0], row, acts.get("activity") or (), key.org, now)

    async def _campaigns(self, **more: str | int) -> list[Row]:
        """Return the campaigns sent in the window, newest first."""
        since = datetime.fromtimestamp(self._tools.clock.now() // SECOND, UTC) - self._days
        asked: dict[str, str | int] = {"status": "sent", "list_id": self._list, "since_send_time": since.isoformat(timespec="seconds"), "count": 1000,
                                       "sort_field": "send_time", "sort_dir": "DESC", "fields": "campaigns.id,campaigns.send_time,campaigns.settings.title"}  # fmt: skip
        return _rows(await self._client.get("/campaigns", **{**asked, **more}), "campaigns", "id")

    async def _rows(self, campaign: str, start: int) -> AsyncIterator[list[Row]]:
        offset = start
        while True:
            asked: dict[str, str | int] = {
                "count": self._size,
                "offset": offset,
                "exclude_fields": "_links,sent_to._links,sent_to.merge_fields",
            }
            rows = _rows(
                await self._client.get(f"/reports/{campaign}/sent-to", **asked), "sent_to", "email_id"
            )
            yield rows
            offset += len(rows)
            if len(rows) < self._size:
                return

    async def _before(self, campaign: str, end: int) -> set[str]:
        found: set[str] = set()
        async for rows in self._rows(campaign, 0):
            found |= {str(row["email_id"]) for row in rows}
            if len(found) >= end:
                break
        return found

    async def _acts(self, campaign: str) -> dict[str, Sequence[Row]]:
        """Return what each address did, those alone that did something."""
        found: dict[str, Sequence[Row]] = {}
        offset = 0
        while True:
            asked: dict[str, str | int] = {
                "count": PAGE,
                "offset": offset,
                "fields": "emails.email_id,emails.activity",
            }
            rows = _rows(
                await self._client.get(f"/reports/{campaign}/email-activity", **asked), "emails", "email_id"
            )
            found.update((str(row["email_id"]), row["activity"]) for row in rows if row.get("activity"))
            offset += len(rows)
            if len(rows) < PAGE:
                return found

    def _record(self, campaign: Row, row: Row, acts: Sequence[Row], org: str, now: int) -> SourceRecord:
        clicks = [one for one in acts if isinstance(one, dict) and one.get("action") == "click"]
        body: dict[str, Json] = {
            "email_id": str(row["email_id"]), "email_address": row.get("email_address") or None,
            "campaign_id": str(campaign["id"]), "campaign_title": (campaign.get("settings") or {}).get("title") or None,
            "status": row.get("status") or None, "open_count": int(row.get("open_count") or 0), "click_count": len(clicks),
            "bounced": row.get("status") in BOUNCED, "send_time": _instant(campaign.get("send_time")),
            "last_open": _instant(row.get("last_open")),
            "last_click": _instant(max((str(one.get("timestamp")) for one in clicks), default="")),
        }  # fmt: skip
        return SourceRecord(VendorKey(org, str(row["email_id"])), body, now)


def _rows(body: Row, name: str, key: str) -> list[Row]:
    rows = body.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get(key) for row in rows):
        raise bad_answer(f"Mailchimp answered {name} of another shape than documented", read=True)
    return rows


def _instant(value: Any) -> Json:
    return str(value).replace("+00:00", "Z") if value else None
