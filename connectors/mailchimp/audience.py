"""What is known of an audience beside its members: opt-in and merge fields, asked for once and again when in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from connectors.mailchimp.client import MailchimpClient
from connectors.mailchimp.outcomes import VENDOR, bad_answer
from hub.sdk import Cause, Clock, Refused

__all__ = ["Audience"]

FRESH = 300.0
"""Seconds after which settings of the audience are asked for again: an administrator may change them any time."""


class Audience:
    """The settings of one audience; safe for concurrent use in one event loop. Raises RemoteError."""

    def __init__(self, client: MailchimpClient, clock: Clock) -> None:
        """Ask nothing yet."""
        self._client, self._clock = client, clock
        self._asking = asyncio.Lock()
        self._asked = -FRESH
        self._double = False
        self._fields: dict[str, Mapping[str, Any]] = {}

    async def status_of_new(self, wanted: str) -> str:
        """Return the status a new member begins with: on a double opt-in list `subscribed` becomes `pending` (4).

        The API's own `subscribed` skips the confirmation mail even on such a list.
        """
        if wanted != "subscribed":
            return wanted
        await self._ensure()
        return "pending" if self._double else wanted

    async def field(self, tag: str) -> Mapping[str, Any]:
        """Return a merge field.

        Raises:
            Refused: there is none: the vendor would ignore it without a word (3.5).
        """
        await self._ensure()
        if tag not in self._fields:
            await self._ensure(again=True)
        if tag not in self._fields:
            known = ", ".join(sorted(self._fields))
            raise Refused(
                f"the audience has no merge field {tag}; it has {known}", cause=Cause.SETTINGS, vendor=VENDOR,
                field=f"merge_fields.{tag}",
            )  # fmt: skip
        return self._fields[tag]

    async def look(self) -> Mapping[str, Any]:
        """Return the audience's own record."""
        return await self._client.get(self._client.list_path, exclude_fields="_links")

    async def merge_fields(self) -> dict[str, Mapping[str, Any]]:
        """Return every merge field by its tag."""
        body = await self._client.get(
            f"{self._client.list_path}/merge-fields", count=1000, exclude_fields="_links,merge_fields._links"
        )
        rows = body.get("merge_fields")
        if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("tag") for row in rows):
            raise bad_answer("Mailchimp answered merge fields of another shape than documented", read=True)
        return {str(row["tag"]): row for row in rows}

    async def _ensure(self, *, again: bool = False) -> None:
        async with self._asking:
            if not again and self._clock.monotonic() - self._asked < FRESH:
                return
            self._fields = await self.merge_fields()
            self._double = bool((await self.look()).get("double_optin"))
            self._asked = self._clock.monotonic()
