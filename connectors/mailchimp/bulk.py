"""Many new members in one call: the synchronous batch of at most 500, which says per row what became of it (5.1).

``update_existing`` is false, always: a row of this call carries ``status``, and for somebody who is there already that
would undo an unsubscribe. Whoever turns out to be there goes by the upsert, alone, which leaves a status as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.mailchimp.client import MailchimpClient
from connectors.mailchimp.members import Members, Ready
from connectors.mailchimp.outcomes import VENDOR, bad_answer, row_error
from hub.sdk import Failed, Json, OutcomeUnknown, Refused, RemoteError, Write, WriteResult

__all__ = ["LONGEST", "write_all"]

LONGEST = 500
"""Members of one call."""
EXISTS = "ERROR_CONTACT_EXISTS"


async def write_all(
    client: MailchimpClient, members: Members, writes: Sequence[Write], *, batch_from: int
) -> list[WriteResult]:
    """Make the writes: new members together if there are ``batch_from`` or more, everybody else alone."""
    fresh = _first_of_each([write for write in writes if write.ref is None and "status" not in write.payload])
    together = fresh if len(fresh) >= batch_from else []
    batched = {id(write) for write in together}
    chunks = [together[start : start + LONGEST] for start in range(0, len(together), LONGEST)]
    found = await asyncio.gather(*(_together(client, members, chunk) for chunk in chunks))
    # Only then those that name an address once more: they meet the member that was made.
    alone = [write for write in writes if id(write) not in batched]
    single = await asyncio.gather(*(members.save(write) for write in alone))
    results = {id(write): result for write, result in zip(alone, single, strict=True)}
    for part in found:
        results |= part
    return [results[id(write)] for write in writes]


def _first_of_each(writes: Sequence[Write]) -> list[Write]:
    """Return the first write of each address; what has none is refused alone."""
    found: dict[str, Write] = {}
    for write in writes:
        email = write.payload.get("email_address")
        if isinstance(email, str) and email.strip():
            found.setdefault(email.strip().lower(), write)
    return list(found.values())


async def _together(
    client: MailchimpClient, members: Members, writes: Sequence[Write]
) -> dict[int, WriteResult]:
    results: dict[int, WriteResult] = {}
    ready: list[tuple[Write, Ready]] = []
    for write in writes:
        try:
            ready.append((write, await members.ready(write)))
        except RemoteError as error:
            results[id(write)] = Failed(error)
    if not ready:
        return results
    body = {"members": [_row(one) for _, one in ready], "update_existing": False}
    deadline = min(write.deadline for write, _ in ready)
    try:
        answer = await client.send("POST", client.list_path, body, deadline=deadline)
        made, refused = _by_address(answer)
    except Refused:  # the call as a whole: one row may be to blame, so each goes alone
        made, refused = {}, {}
        answer = {
            "errors": [{"email_address": one.body["email_address"], "error_code": EXISTS} for _, one in ready]
        }
        _, refused = _by_address(answer | {"new_members": [], "updated_members": []})
    except RemoteError as error:
        return results | {id(write): Failed(error) for write, _ in ready}
    settled = await asyncio.gather(*(_one(members, write, one, made, refused) for write, one in ready))
    return results | {id(write): result for (write, _), result in zip(ready, settled, strict=True)}


async def _one(
    members: Members, write: Write, ready: Ready, made: Mapping[str, Any], refused: Mapping[str, Any]
) -> WriteResult:
    """Say what became of one row; who is there already, and what was refused as a whole, goes alone."""
    email = str(ready.body["email_address"]).lower()
    if email in made:
        return await members.finish(write, ready, made[email])
    if email not in refused:
        return Failed(OutcomeUnknown(f"the batch says nothing of {email}", vendor=VENDOR))
    error = row_error(refused[email])
    if refused[email].get("error_code") == EXISTS or "already a list member" in str(error):
        return await members.save(write)
    return Failed(error)


def _row(ready: Ready) -> dict[str, Json]:
    return {**ready.body, "status": ready.status_if_new}


def _by_address(answer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return new members and refused rows by lower-cased address. Raises OutcomeUnknown for another shape."""
    lists = [answer.get(name) for name in ("new_members", "updated_members", "errors")]
    if not all(isinstance(one, list) and all(isinstance(row, dict) for row in one) for one in lists):
        raise bad_answer("Mailchimp answered a batch of another shape than documented", read=False)
    new, updated, errors = (
        {str(row.get("email_address")).lower(): row for row in one or []} for one in lists
    )
    return new | updated, errors
