"""The whole read: employees with customers in chunks, their relations page by page (fact sheet 2.6).

A short or an empty page is not the end; only an empty ``next_cursor`` is (pitfall 9). A page carries the relations as
records and their contacts beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.directory import follow_users
from connectors.wecom.outcomes import BAD_CURSOR, NO_CUSTOMERS, NO_RELATION, bad_answer
from connectors.wecom.relations import contact_record, follow_record
from connectors.wecom.tags import TagLibrary
from hub.sdk import (
    Cause,
    IntegrityError,
    Json,
    Page,
    Refused,
    RemoteError,
    SourceRecord,
    Toolbox,
    TryAgain,
)

__all__ = ["FollowReader"]

CHUNK = 100
LEAST_CHUNK, PARTS = 5, 20
"""Employees a chunk has at least, and chunks of a read where 100 would make fewer: they are its progress."""
BATCH = "externalcontact/batch/get_by_user"
MOST_EMPTY = 1_000
"""Empty pages in a row after which a listing does not end."""
NOT_VISIBLE = frozenset(["40031", "60111"])
RESTARTS = 3
"""How often a chunk starts again because its cursor expired."""


@dataclass(slots=True)
class _Place:
    """Where a read is: chunks behind it, the last userid of those, and inside a chunk the vendor's cursor."""

    done: int = 0
    of: int = 0
    after: str = ""
    seen: int = 0
    skipped: int = 0
    chunk: str = ""
    cursor: str = ""
    digests: set[bytes] = field(default_factory=set)
    page: bytes = b""
    empty: int = 0
    restarts: int = 0
    whole: int = 0
    """Relations seen when the last chunk ended, as far as this process saw it."""

    @classmethod
    def at(cls, cursor: Json) -> _Place:
        """Return the place a cursor names; the beginning for none."""
        if not isinstance(cursor, dict):
            return cls()

        def number(name: str) -> int:
            value = cursor.get(name)
            return value if isinstance(value, int) else 0

        def text(name: str) -> str:
            return str(cursor.get(name) or "")

        done, of, seen, skipped = map(number, ("done", "of", "seen", "skipped"))
        return cls(done, of, text("after"), seen, skipped, text("chunk"), text("cursor"))

    def shown(self) -> dict[str, Json]:
        """Return the cursor."""
        inside: dict[str, Json] = {"chunk": self.chunk, "cursor": self.cursor} if self.cursor else {}
        counted: dict[str, Json] = {
            "done": self.done,
            "of": self.of,
            "after": self.after,
            "seen": self.seen,
            "skipped": self.skipped,
        }
        return {**counted, **inside}

    def leave(self, last: str) -> None:
        """Be behind a chunk."""
        self.whole = self.seen
        self.done, self.after = self.done + 1, last.lower()
        self.restart()
        self.restarts = 0

    def restart(self) -> None:
        """Be at the beginning of the chunk."""
        self.chunk = self.cursor = ""
        self.digests = set()
        self.page, self.empty = b"", 0


class FollowReader:
    """One read of all relations and contacts the app may see.

    Cursor: ``{"done": chunks read, "of": chunks in all, "after": last userid of those, "seen": relations so far,
    "skipped": employees that showed nothing for want of a licence}`` and inside a chunk ``"chunk"`` (a digest of its
    employees) and ``"cursor"`` (the vendor's). At the end done equals of; behind such a cursor nothing is left.
    """

    def __init__(self, client: WeComClient, library: TagLibrary, tools: Toolbox, *, limit: int) -> None:
        """``limit``: rows a page."""
        self._client = client
        self._library = library
        self._tools = tools
        self._limit = limit

    async def pages(self, after: Json) -> AsyncIterator[Page]:
        """Yield every page behind a cursor.

        Raises:
            IntegrityError: the vendor's listing goes in a circle or never ends.
            RemoteError: as the client.
        """
        place = _Place.at(after)
        if after is not None and place.done == place.of:
            yield Page([], place.shown(), total=place.seen)
            return
        self._library.forget()
        users = await follow_users(self._client)
        left = [one for one in users if one.lower() > place.after]
        size = min(CHUNK, max(LEAST_CHUNK, -(-len(users) // PARTS)))
        chunks = [left[index : index + size] for index in range(0, len(left), size)]
        place.of = place.done + len(chunks)
        if not chunks:
            yield Page([], place.shown(), total=place.seen)
        for chunk in chunks:
            digest = hashlib.sha256("\n".join(chunk).lower().encode()).hexdigest()[:16]
            if place.chunk != digest:
                place.restart()  # other employees than when the cursor was made: it is bound to them
            place.chunk = digest
            async for page in self._chunk(chunk, place):
                yield page

    async def _chunk(self, chunk: Sequence[str], place: _Place) -> AsyncIterator[Page]:
        digest = place.chunk
        while True:
            observed_at = self._tools.clock.now()
            reply = await self._page(chunk, place)
            if reply is None:
                place.restart()
                place.chunk = digest
                continue
            rows = _rows(reply)
            contacts, follows = await self._records(rows, observed_at)
            place.seen += len(follows)
            place.skipped += _unlicensed(reply)
            following = str(reply.get("next_cursor") or "")
            if following:
                _no_circle(place, following, rows)
                place.cursor = following
            else:
                place.leave(chunk[-1])
            beside = [("contact", record) for record in contacts]
            yield Page(follows, place.shown(), beside=beside, total=_total(place))
            if not following:
                return

    async def _page(self, chunk: Sequence[str], place: _Place) -> dict[str, Any] | None:
        """Return one page, an empty last one for employees that show nobody, None if the chunk starts again."""
        body = {"userid_list": list(chunk), "cursor": place.cursor, "limit": self._limit}
        try:
            return await self._client.look(BATCH, body)
        except RemoteError as error:
            if error.code in NO_CUSTOMERS:
                skipped = list(chunk) if error.code == "701008" else []
                return {
                    "external_contact_list": [],
                    "next_cursor": "",
                    "fail_info": {"unlicensed_userid_list": skipped},
                }
            if (
                error.code in NOT_VISIBLE
            ):  # somebody left since the employees were listed: they are listed anew
                raise TryAgain(str(error), cause=Cause.CURSOR, vendor="wecom", code=error.code) from error
            if error.code not in BAD_CURSOR or not place.cursor or place.restarts >= RESTARTS:
                raise
        place.restarts += 1
        self._tools.log.info("wecom.read.cursor_expired", done=place.done, of=place.of)
        return None

    async def _records(
        self, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], observed_at: int
    ) -> tuple[list[SourceRecord], list[SourceRecord]]:
        """Return (contacts, each once; follows) of a page."""
        await self._name_tags(rows)
        contacts = {str(contact.get("external_userid")): contact for contact, _ in rows}
        return (
            [contact_record(contact, observed_at) for contact in contacts.values()],
            [follow_record(contact, follow, self._library, observed_at) for contact, follow in rows],
        )

    async def _name_tags(self, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """See that every tag id of a page has a name; a strategy tag's is learnt from a contact that has it."""
        where = {str(tag): contact for contact, follow in rows for tag in follow.get("tag_id") or ()}
        if not where:
            return
        for tag in sorted(await self._library.unknown(where)):
            if not self._library.named([tag]):
                await self._learn_from(str(where[tag].get("external_userid")))
            if not self._library.named([tag]):
                self._tools.log.warning("wecom.tag.unknown", tag_id=tag)

    async def _learn_from(self, external: str) -> None:
        """Learn tag names from one contact; one that went since the page was made teaches none."""
        try:
            shown = await self._client.get("externalcontact/get", external_userid=external)
        except Refused as error:
            if error.code not in NO_RELATION:
                raise
            return
        for follower in shown.get("follow_user") or ():
            self._library.learn(follower.get("tags") or ())


def _rows(reply: Mapping[str, Any]) -> Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    rows = reply.get("external_contact_list")
    if rows is None and "next_cursor" in reply:
        return []
    if not isinstance(rows, list):
        raise bad_answer(f"{BATCH} answered no external_contact_list", read=True)
    pairs = [(row.get("external_contact"), row.get("follow_info")) for row in rows if isinstance(row, dict)]
    whole = [
        (contact, follow)
        for contact, follow in pairs
        if isinstance(contact, dict) and isinstance(follow, dict)
    ]
    if len(whole) != len(rows):
        raise bad_answer(f"{BATCH} answered rows of another shape", read=True)
    return whole


def _unlicensed(reply: Mapping[str, Any]) -> int:
    failed = reply.get("fail_info")
    listed = failed.get("unlicensed_userid_list") if isinstance(failed, dict) else None
    return len(listed) if isinstance(listed, list) and not reply.get("next_cursor") else 0


def _no_circle(
    place: _Place, following: str, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> None:
    """Raise IntegrityError for a cursor that comes again, a page that comes again, and pages that stay empty."""
    digest = hashlib.blake2b(following.encode(), digest_size=8).digest()
    pairs = "\n".join(f"{contact.get('external_userid')} {follow.get('userid')}" for contact, follow in rows)
    page = hashlib.blake2b(pairs.encode(), digest_size=8).digest() if rows else b""
    place.empty = 0 if rows else place.empty + 1
    if digest in place.digests or following == place.cursor:
        raise IntegrityError(
            Cause.CURSOR, f"{BATCH}: WeCom gave the same next_cursor twice; the listing would never end"
        )
    if rows and page == place.page:
        raise IntegrityError(Cause.CURSOR, f"{BATCH}: WeCom gave the same page twice under two cursors")
    if place.empty > MOST_EMPTY:
        raise IntegrityError(Cause.CURSOR, f"{BATCH}: {MOST_EMPTY} empty pages in a row")
    place.digests.add(digest)
    place.page = page


def _total(place: _Place) -> int | None:
    """Estimate the relations of the whole read from what is behind it; None inside the first chunk."""
    if place.done and place.whole:
        return max(place.seen, round(place.whole * place.of / place.done))
    behind = place.done + (0.5 if place.cursor else 0.0)
    return round(place.seen * place.of / behind) if place.done else None
