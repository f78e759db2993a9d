"""Members: a create is an upsert by the address's hash, a change names the contact's id, nobody is ever subscribed again.

The one rule of consent (4): no request of ours carries the status `subscribed`. A new member's status is
``status_if_new``, which the vendor ignores for everybody it knows; of a known one only `unsubscribed` is written, and
`pending`, the confirmation mail, for somebody who was never asked (`transactional`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from connectors.mailchimp.audience import Audience
from connectors.mailchimp.client import MailchimpClient
from connectors.mailchimp.objects import NEW_STATUSES
from connectors.mailchimp.outcomes import VENDOR, bad_answer
from connectors.mailchimp.shape import consent_body, contact_id, hash_of, member_body, merge_value, same_value
from hub.sdk import (
    Absent,
    Applied,
    CannotTell,
    Cause,
    ConnectionDown,
    Failed,
    FindResult,
    Found,
    Gone,
    IntegrityError,
    Json,
    NotSent,
    OutcomeUnknown,
    Refused,
    RemoteError,
    SourceRecord,
    TryAgain,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)

__all__ = ["BODIES", "Members", "Ready", "email_of", "ref_of", "same_person"]

Row = Mapping[str, Any]
BODIES = {"member": member_body, "consent": consent_body}
"""Stream -> how a member's row is shown in it."""
WITHOUT = "_links,stats,location,marketing_permissions,last_note"
PLAIN = ("email_type", "language", "vip", "ip_signup", "timestamp_signup", "ip_opt", "timestamp_opt")
ARCHIVED, LEFT = "archived", "unsubscribed"


@dataclass(frozen=True, slots=True)
class Ready:
    """A payload as the audience takes it. ``status``: what a known member becomes, None for nothing; ``tags``: all, or None."""

    body: dict[str, Json]
    status_if_new: str | None
    status: str | None
    tags: tuple[str, ...] | None


class Members:
    """The members of one audience. Raises RemoteError."""

    def __init__(self, client: MailchimpClient, audience: Audience, settings: Mapping[str, Any]) -> None:
        """Take checked settings."""
        self._client, self._audience = client, audience
        self._automations: bool = settings["automations"]

    # reading --------------------------------------------------------------------------------------------------

    async def fetch(
        self, stream: str, keys: Sequence[VendorKey], now: int
    ) -> list[SourceRecord | Gone | Failed]:
        """Read single members; a key's id is a contact's id or the hash that a webhook's address gave."""
        return list(await asyncio.gather(*(self._fetch_one(stream, key, now) for key in keys)))

    async def _fetch_one(self, stream: str, key: VendorKey, now: int) -> SourceRecord | Gone | Failed:
        try:
            row = await self.look(key.id)
            return Gone(key) if row is None else self.record(stream, row, key.org, now)
        except RemoteError as error:
            return Failed(error)

    def record(self, stream: str, row: Row, org: str, now: int) -> SourceRecord:
        """Return a member's row as a record of a stream; who is archived is no member any more (6)."""
        key = VendorKey(org, contact_id(row))
        return SourceRecord(key, BODIES[stream](row), now, deleted=row.get("status") == ARCHIVED)

    async def look(self, name: str) -> Row | None:
        """Return a member by contact id, hash or address; None if nobody is there. Raises RemoteError."""
        try:
            row = await self._client.get(self._path(name), exclude_fields=WITHOUT)
        except ConnectionDown as error:
            if error.code != "ResourceNotFound":
                raise
            await self._audience.look()  # the audience itself may be what is missing: then this raises
            return None
        if not same_person(name, row):
            raise IntegrityError(
                Cause.FOREIGN, f"asked for member {name}, Mailchimp showed {contact_id(row)}"
            )
        return row

    def _path(self, name: str) -> str:
        return f"{self._client.list_path}/members/{quote(name, safe='')}"

    # looking up -----------------------------------------------------------------------------------------------

    async def find(self, writes: Sequence[Write]) -> list[FindResult]:
        """Answer each write of unknown outcome; what could not be asked is CannotTell."""
        return list(await asyncio.gather(*(self._guarded(write) for write in writes)))

    async def _guarded(self, write: Write) -> FindResult:
        try:
            name = write.ref.vendor_id if write.ref else hash_of(email_of(write))
            row = await self.look(name)
            if row is None or row.get("status") == ARCHIVED:
                return Absent() if write.ref is None else Gone(VendorKey(write.org, write.ref.vendor_id))
            return Found(ref_of(row), await self._holds(write, row), member_body(row))
        except RemoteError as error:
            return CannotTell(str(error), error)

    async def _holds(self, write: Write, row: Row) -> bool:
        """Say whether a member holds what a write says; ``status_if_new`` is no part of it.

        Values are held against the form in which they were sent: cut, without the year, a day of a moment (3.5).
        """
        sent = write.payload
        email = sent.get("email_address")
        interests = _object(sent.get("interests"))
        stored, kept = _object(row.get("merge_fields")), _object(row.get("interests"))
        try:
            merge = await self._merge_fields(sent)
        except Refused:  # a field that was taken away, or changed its type, since: not as it was sent
            return False
        return (
            (email is None or str(email).lower() == str(row.get("email_address")).lower())
            and sent.get("status") in (None, row.get("status"))
            and all(same_value(value, stored.get(tag)) for tag, value in merge.items())
            and all(bool(value) == bool(kept.get(one)) for one, value in interests.items())
            and all(same_value(_plain(name, sent[name]), row.get(name)) for name in PLAIN if name in sent)
            and ("tags" not in sent or set(_texts(sent["tags"])) == _tags(row))
        )

    # writing --------------------------------------------------------------------------------------------------

    async def ready(self, write: Write) -> Ready:
        """Check a payload and put it into the audience's form, before anything is sent.

        Raises:
            Refused: a status that may not be written, an unknown merge field, a value that its type does not take.
        """
        sent = write.payload
        body: dict[str, Json] = {name: _plain(name, sent[name]) for name in PLAIN if name in sent}
        if write.ref is None or "email_address" in sent:
            body["email_address"] = email_of(write)
        if "merge_fields" in sent:
            body["merge_fields"] = await self._merge_fields(sent)
        if "interests" in sent:
            body["interests"] = {one: bool(value) for one, value in _object(sent["interests"]).items()}
        if_new, status = sent.get("status_if_new"), sent.get("status")
        if if_new not in (None, *NEW_STATUSES):
            raise _unfit("status_if_new", f"{if_new!r} is none of {', '.join(NEW_STATUSES)}")
        if status not in (None, LEFT):
            raise _unfit(
                "status", f"only {LEFT} is ever written, not {status!r}: nobody is subscribed again by a sync"
            )
        new = None if if_new is None else await self._audience.status_of_new(str(if_new))
        tags = tuple(_texts(sent["tags"])) if "tags" in sent else None
        return Ready(body, new, None if status is None else str(status), tags)

    async def _merge_fields(self, sent: Mapping[str, Json]) -> dict[str, Json]:
        """Return a payload's merge fields as their types take them. Raises Refused."""
        given = _object(sent.get("merge_fields")).items()
        return {tag: merge_value(tag, value, await self._audience.field(tag)) for tag, value in given}

    async def save(self, write: Write) -> WriteResult:
        """Insert or change one member, then its tags; both may be repeated. Never raises RemoteError."""
        try:
            ready = await self.ready(write)
            row = await (
                self._create(write, ready) if write.ref is None else self._change(write, write.ref, ready)
            )
        except RemoteError as error:
            return Failed(error)
        if row is None:
            assert write.ref is not None
            return Gone(VendorKey(write.org, write.ref.vendor_id))
        return await self.finish(write, ready, row)

    async def finish(self, write: Write, ready: Ready, row: Row) -> WriteResult:
        """Write the tags of a member that was just written, and say what is there now."""
        try:
            if ready.tags is not None and (changes := _tag_changes(row, ready.tags)):
                body = {"tags": changes, "is_syncing": not self._automations}
                await self._client.send(
                    "POST", f"{self._path(contact_id(row))}/tags", body, deadline=write.deadline
                )
                row = {**row, "tags": [{"name": name} for name in ready.tags]}
            return Applied(ref_of(row), member_body(row))
        except (TryAgain, NotSent) as error:  # the member was written: not "nothing took effect"
            return Failed(
                OutcomeUnknown(
                    f"the member is written, its tags are not: {error}", cause=error.cause, vendor=VENDOR
                )
            )
        except ConnectionDown as error:
            if error.code != "ResourceNotFound":
                return Failed(error)
            return Failed(await self._left_meanwhile())
        except RemoteError as error:
            return Failed(error)

    async def _left_meanwhile(self) -> RemoteError:
        """Return what tags mean that met nobody (3.6): the member went since it was written, or the audience is not there."""
        try:
            await self._audience.look()
        except RemoteError as error:
            return error
        return OutcomeUnknown(
            "the member is not there any more, its tags are not written", cause=Cause.NOT_FOUND, vendor=VENDOR
        )

    async def _create(self, write: Write, ready: Ready) -> Row:
        body = {**ready.body, "status_if_new": ready.status_if_new}
        if body["status_if_new"] is None:
            raise Refused(
                "a new member needs status_if_new",
                cause=Cause.MISSING_FIELD,
                vendor=VENDOR,
                field="status_if_new",
            )
        name = hash_of(str(body["email_address"]))
        if ready.status is not None:
            # Somebody who opted out before the hub knew them there: no row is made for them, one that is there leaves.
            if await self.look(name) is None:
                raise Refused(
                    "opted out: such a person is not put on an audience",
                    cause=Cause.STATE,
                    vendor=VENDOR,
                    field="status",
                )
            body["status"] = ready.status
        return self._answered(
            name, await self._client.send("PUT", self._path(name), body, deadline=write.deadline)
        )

    async def _change(self, write: Write, ref: VendorRef, ready: Ready) -> Row | None:
        """Change a member; None if it is not there any more."""
        body = dict(ready.body)
        if ready.status is not None:
            body["status"] = ready.status
        elif ready.status_if_new in ("subscribed", "pending"):
            row = await self.look(ref.vendor_id)
            if row is None:
                return None
            if row.get("status") == "transactional":
                body["status"] = "pending"  # who was never asked is asked now, by the confirmation mail
            if not body:
                return row
        try:
            found = await self._client.send("PATCH", self._path(ref.vendor_id), body, deadline=write.deadline)
        except ConnectionDown as error:
            if error.code != "ResourceNotFound":
                raise
            await self._audience.look()
            return None
        return self._answered(ref.vendor_id, found)

    def _answered(self, name: str, row: Row) -> Row:
        """Return the member an answer holds.

        Raises:
            OutcomeUnknown: it names nobody.
            IntegrityError: it is another member than the one that was written.
        """
        if not isinstance(row.get("contact_id"), str) or not row["contact_id"].isalnum():
            raise bad_answer("Mailchimp wrote a member without saying its contact_id", read=False)
        if not same_person(name, row):
            raise IntegrityError(
                Cause.FOREIGN, f"member {name} was written, Mailchimp answered {row['contact_id']}"
            )
        return row


def ref_of(row: Row) -> VendorRef:
    """Return the reference of a member's row. Raises TryAgain without a contact_id."""
    return VendorRef(contact_id(row))


def same_person(name: str, row: Row) -> bool:
    """Say whether a row is the member that was asked for, by whatever name."""
    email = str(row.get("email_address") or "")
    return name in (row.get("contact_id"), hash_of(email)) or name.lower() == email.lower()


def email_of(write: Write) -> str:
    """Return the address of a payload. Raises Refused if there is none."""
    email = write.payload.get("email_address")
    if not isinstance(email, str) or not email.strip():
        raise Refused(
            "a member needs an address", cause=Cause.MISSING_FIELD, vendor=VENDOR, field="email_address"
        )
    return email.strip()


def _plain(name: str, value: Json) -> Json:
    """Return a field outside the merge fields as it is sent: empty is "", for null is refused (3.4), a switch is off."""
    if value is not None:
        return value
    return False if name == "vip" else ""


def _unfit(field: str, why: str) -> Refused:
    return Refused(why, cause=Cause.INVALID, vendor=VENDOR, field=field)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _texts(value: Json) -> list[str]:
    return list(dict.fromkeys(str(one) for one in value if one)) if isinstance(value, list) else []


def _tags(row: Row) -> set[str]:
    tags = row.get("tags")
    return (
        {str(one.get("name")) for one in tags if isinstance(one, dict)} if isinstance(tags, list) else set()
    )


def _tag_changes(row: Row, wanted: Sequence[str]) -> list[Json]:
    """Return what makes a member's tags these: the missing ones, and those to take away (3.6)."""
    there = _tags(row)
    added: list[Json] = [{"name": name, "status": "active"} for name in wanted if name not in there]
    return added + [{"name": name, "status": "inactive"} for name in sorted(there - set(wanted))]
