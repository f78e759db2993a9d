"""Single contacts and relations read again through ``externalcontact/get``, one call per contact (fact sheet 2.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.directory import follow_users
from connectors.wecom.outcomes import NO_RELATION, bad_answer
from connectors.wecom.relations import contact_record, follow_record, is_external, pair_of
from connectors.wecom.tags import TagLibrary
from hub.sdk import (
    Cause,
    ConnectionDown,
    Failed,
    Gone,
    IntegrityError,
    Refused,
    RemoteError,
    SourceRecord,
    Toolbox,
    VendorKey,
)

__all__ = ["Lookup", "Seen"]

GET = "externalcontact/get"
MOST_PAGES = 100
"""Pages of 500 followers after which one contact's followers do not end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A contact as one look shows it. ``follows``: the items of ``follow_user`` by lower-case userid."""

    contact: Mapping[str, Any]
    follows: Mapping[str, Mapping[str, Any]]
    observed_at: int


class Lookup:
    """Reads single records; what is not there any more is Gone."""

    def __init__(self, client: WeComClient, library: TagLibrary, tools: Toolbox) -> None:
        """Share the client and the tags of the connection."""
        self._client = client
        self._library = library
        self._tools = tools

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> list[SourceRecord | Gone | Failed]:
        """Answer each key; keys of one contact share one look.

        Raises:
            RemoteError: the connection is down, or nothing could be read.
        """
        results = await asyncio.gather(
            *(self._of_contact(stream, group) for group in self._groups(stream, keys))
        )
        found = {key: result for group in results for key, result in group.items()}
        if stream == "follow":
            found |= await self._hidden([key for key, result in found.items() if isinstance(result, Gone)])
        answers = [found[key] for key in keys]
        failed = [answer.error for answer in answers if isinstance(answer, Failed)]
        for error in failed:
            if isinstance(error, ConnectionDown) or len(failed) == len(answers):
                raise error
        return answers

    async def _hidden(self, gone: Sequence[VendorKey]) -> dict[VendorKey, Failed]:
        """Answer for relations that cannot be said to be gone: their employee is out of the app's view, or has left.

        WeCom answers the same for both; a relation closed by mistake would take its mobiles and tags from the contact.
        """
        pairs = {key: pair for key in gone if (pair := pair_of(key.id))}
        if not pairs:
            return {}
        visible = {user.lower() for user in await follow_users(self._client)}
        return {
            key: Failed(
                Refused(
                    f"{pair[0]} is not in the app's visible range, or has left: nothing can be said of this relation",
                    cause=Cause.PERMISSION,
                    vendor="wecom",
                    field="userid",
                )
            )
            for key, pair in pairs.items()
            if pair[0].lower() not in visible
        }

    def record(self, seen: Seen, userid: str) -> SourceRecord | None:
        """Return the relation of an employee, None if it is not among those seen."""
        follow = seen.follows.get(userid.lower())
        return (
            None if follow is None else follow_record(seen.contact, follow, self._library, seen.observed_at)
        )

    async def see(self, external: str, userids: Sequence[str] = ()) -> Seen | None:
        """Look at a contact until every employee asked for was seen or its followers end; None: it is not there.

        Raises:
            IntegrityError: the answer is about another contact, or its pages never end.
            RemoteError: as the client.
        """
        wanted = {one.lower() for one in userids}
        observed_at = self._tools.clock.now()
        follows: dict[str, Mapping[str, Any]] = {}
        cursors: list[str] = [""]
        while True:
            try:
                reply = await self._client.get(GET, external_userid=external, cursor=cursors[-1])
            except Refused as error:
                if error.code in NO_RELATION:
                    return None
                raise
            contact = _contact_of(reply, external)
            for follow in reply.get("follow_user") or ():
                if isinstance(follow, dict) and isinstance(follow.get("userid"), str):
                    self._library.learn(follow.get("tags") or ())
                    follows[follow["userid"].lower()] = follow
            following = str(reply.get("next_cursor") or "")
            if not following or wanted <= follows.keys():
                return Seen(contact, follows, observed_at)
            if following in cursors or len(cursors) >= MOST_PAGES:
                raise IntegrityError(Cause.CURSOR, f"{GET}: the followers of one contact do not end")
            cursors.append(following)

    def _groups(self, stream: str, keys: Sequence[VendorKey]) -> list[tuple[str, list[VendorKey]]]:
        groups: dict[str, list[VendorKey]] = {}
        for key in dict.fromkeys(keys):
            pair = pair_of(key.id) if stream == "follow" else ("", key.id)
            groups.setdefault(pair[1] if pair and is_external(pair[1]) else "", []).append(key)
        return list(groups.items())

    async def _of_contact(
        self, stream: str, group: tuple[str, list[VendorKey]]
    ) -> dict[VendorKey, SourceRecord | Gone | Failed]:
        external, keys = group
        pairs = {key: pair_of(key.id) for key in keys} if stream == "follow" else {}
        try:
            seen = (
                await self.see(external, [pair[0] for pair in pairs.values() if pair]) if external else None
            )
        except RemoteError as error:
            return dict.fromkeys(keys, Failed(error))
        if seen is None:
            return {key: Gone(key) for key in keys}
        if stream == "contact":
            return dict.fromkeys(keys, contact_record(seen.contact, seen.observed_at))
        found = {key: self.record(seen, pair[0]) for key, pair in pairs.items() if pair}
        return {key: Gone(key) if record is None else record for key, record in found.items()}


def _contact_of(reply: Mapping[str, Any], external: str) -> Mapping[str, Any]:
    contact = reply.get("external_contact")
    if not isinstance(contact, dict) or not isinstance(reply.get("follow_user"), list):
        raise bad_answer(f"{GET} answered no external_contact with its follow_user", read=True)
    if contact.get("external_userid") != external:
        raise IntegrityError(Cause.FOREIGN, f"{GET} was asked for one contact and answered for another")
    return contact
