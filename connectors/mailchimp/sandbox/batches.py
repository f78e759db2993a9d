"""Bulk: the synchronous batch of an audience (5.1) and asynchronous batches of any calls (5.2)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.books import Row
from connectors.mailchimp.sandbox.dials import MailchimpDials
from connectors.mailchimp.sandbox.fields import RESOURCE
from connectors.mailchimp.sandbox.members import STATUSES, Members
from hub.sdk.sandbox import SECOND, Json, SandboxClock

__all__ = ["LONGEST", "Batches", "Call", "subscribe"]

LONGEST = 500
PENDING = 500
WALK = ("pending", "preprocessing", "started", "finalizing", "finished")
Call: TypeAlias = Callable[[str, str, Mapping[str, str], Json], Awaitable[tuple[int, Json]]]
"""(method, path, params, body) -> (status, body): one operation as if it came by itself."""


def subscribe(
    members: Members, list_id: str, body: Mapping[str, Json], *, skip: bool, skip_duplicates: bool
) -> Json:
    """Add many members at once; 200 even when rows fail. Raises ProblemError for the call as a whole."""
    rows = body.get("members")
    if not isinstance(rows, list) or not rows:
        raise ProblemError("InvalidResource", RESOURCE, [("members", "This value should not be blank.")])
    if len(rows) > LONGEST:
        raise ProblemError("BadRequest", f"The number of members submitted exceeds the limit of {LONGEST}.")
    answer: dict[str, list[Json]] = {"new_members": [], "updated_members": [], "errors": []}
    met: set[str] = set()
    for one in rows:
        email = str(one.get("email_address") or "") if isinstance(one, dict) else ""
        if email.lower() in met and skip_duplicates:
            continue
        met.add(email.lower())
        try:
            kind, row = _one(members, list_id, one, update=_true(body.get("update_existing")), skip=skip)
            answer[kind].append(members.shown(row))
        except ProblemError as error:
            answer["errors"].append(_row_error(email, error))
    totals = {"total_created": len(answer["new_members"]), "total_updated": len(answer["updated_members"]),
              "error_count": len(answer["errors"])}  # fmt: skip
    return {**answer, **totals}


def _one(members: Members, list_id: str, body: Row, *, update: bool, skip: bool) -> tuple[str, Row]:
    found = members.find(list_id, str(body.get("email_address") or ""))
    if found is not None and found["status"] != "archived":
        if not update:
            email = body["email_address"]
            raise ProblemError(
                "MemberExists",
                f"{email} is already a list member, do you want to update? please provide update_existing:true in the request body",
            )
        return "updated_members", members.patch(list_id, found["contact_id"], body, skip=skip)
    status = body.get("status")
    if status not in STATUSES:
        raise ProblemError("InvalidResource", RESOURCE, [("status", "This value should not be blank.")])
    row = members.post(list_id, {name: value for name, value in body.items() if name != "tags"}, skip=skip)
    tags = [{"name": name, "status": "active"} for name in body.get("tags") or []]
    return "new_members", members.tag(row, tags) if tags else row


def _row_error(email: str, error: ProblemError) -> Json:
    field, message = error.errors[0] if error.errors else ("", "")
    code = "ERROR_CONTACT_EXISTS" if error.title == "Member Exists" else "ERROR_GENERIC"
    return {
        "email_address": email,
        "error": str(error),
        "error_code": code,
        "field": field,
        "field_message": message,
    }


def _true(value: Json) -> bool:
    return str(value).lower() == "true"


@dataclass(slots=True)
class _Batch:
    """One batch: its operations, and its results once they were made."""

    id: str
    operations: Sequence[Mapping[str, Json]]
    submitted_at: str
    looks: int = 0
    stage: int = 0
    completed_at: str = ""
    results: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Batches:
    """The batches of an account; they are gone after a restart, as after seven days."""

    clock: SandboxClock
    now: Callable[[], str]
    _batches: dict[str, _Batch] = field(default_factory=dict)
    _urls: dict[str, tuple[str, int]] = field(default_factory=dict)

    def submit(self, body: Mapping[str, Json]) -> Json:
        """Take operations in; the body of each must be a text (5.2)."""
        operations = body.get("operations")
        if not isinstance(operations, list) or not operations:
            raise ProblemError(
                "InvalidResource", RESOURCE, [("operations", "This value should not be blank.")]
            )
        for place, one in enumerate(operations):
            if (
                not isinstance(one, dict)
                or not str(one.get("path", "")).startswith("/")
                or not one.get("method")
            ):
                raise ProblemError(
                    "InvalidResource",
                    RESOURCE,
                    [(f"operations.item:{place}", "path and method are required.")],
                )
            if one.get("body") is not None and not isinstance(one["body"], str):
                raise ProblemError(
                    "InvalidResource",
                    RESOURCE,
                    [(f"operations.item:{place}.body", "Schema describes string, object found instead")],
                )
        if sum(one.stage < len(WALK) - 1 for one in self._batches.values()) >= PENDING:
            raise ProblemError("TooManyRequests", "You have more than 500 pending batches.")
        made = _Batch(self.clock.token(5).hex(), operations, self.now())
        self._batches[made.id] = made
        return self._shown(made, "", 0)

    async def look(self, batch_id: str, base_url: str, call: Call, dials: MailchimpDials) -> Json:
        """Return a batch, one state further at each look; the operations run when it starts."""
        batch = self._need(batch_id)
        batch.looks += 1
        last = len(WALK) - 1
        batch.stage = last if batch.looks > dials.batch_polls else min(batch.looks, last - 1)
        if batch.stage >= WALK.index("started") and not batch.completed_at:
            batch.results = [await self._run(one, call) for one in batch.operations]
            batch.completed_at = self.now()
        if batch.stage < last:
            return self._shown(batch, "", len(batch.operations))
        token = self.clock.token(16).hex()
        self._urls[token] = (batch.id, self.clock.now() + round(dials.batch_url_seconds * SECOND))
        return self._shown(batch, f"{base_url}/batch-results/{token}.tar.gz", len(batch.operations))

    def stop(self, batch_id: str) -> None:
        """Stop a batch; its results go too."""
        self._need(batch_id)
        del self._batches[batch_id]

    def archive(self, name: str, dials: MailchimpDials) -> bytes | None:
        """Return the results as gzipped tar, shuffled, with a folder entry; None once the address has expired."""
        batch_id, until = self._urls.get(name.removesuffix(".tar.gz"), ("", 0))
        batch = self._batches.get(batch_id)
        if batch is None or until < self.clock.now():
            return None
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            folder = tarfile.TarInfo(f"{batch.id}/")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for place, result in enumerate(reversed(batch.results)):
                content = b"" if dials.batch_empty_file and place == 0 else json.dumps([result]).encode()
                entry = tarfile.TarInfo(f"{batch.id}/{self.clock.token(6).hex()}.json")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    async def _run(self, one: Mapping[str, Json], call: Call) -> Row:
        try:
            body = json.loads(one["body"]) if one.get("body") else None
            params = {name: str(value) for name, value in (one.get("params") or {}).items()}
            status, answered = await call(str(one["method"]).upper(), str(one["path"]), params, body)
        except ValueError:
            status, answered = 400, {"title": "JSON Parse Error", "status": 400}
        return {
            "status_code": status,
            "operation_id": one.get("operation_id"),
            "response": json.dumps(answered),
        }

    def _need(self, batch_id: str) -> _Batch:
        if batch_id not in self._batches:
            raise ProblemError("ResourceNotFound")
        return self._batches[batch_id]

    def _shown(self, batch: _Batch, url: str, total: int) -> Json:
        done = len(batch.results)
        return {
            "id": batch.id, "status": WALK[batch.stage], "total_operations": total, "finished_operations": done,
            "errored_operations": sum(one["status_code"] >= 400 for one in batch.results),
            "submitted_at": batch.submitted_at, "completed_at": batch.completed_at if url else "", "response_body_url": url,
        }  # fmt: skip
