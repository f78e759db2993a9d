"""Members of an audience: upsert as a merge, refusals, archive and forget, tags (3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.books import Books, Row, hash_of
from connectors.mailchimp.sandbox.dials import MailchimpDials
from connectors.mailchimp.sandbox.fields import RESOURCE, checked_fields, shown_fields
from hub.sdk.sandbox import Json

__all__ = ["STATUSES", "Emit", "Members"]

Emit: TypeAlias = Callable[[str, str, str, Mapping[str, Json]], None]
"""(list id, type of event, source: user admin api, data)."""
STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
_EMAIL = re.compile(r"[^\s@\"<>]{1,64}@([^\s@.]+\.)+[^\s@.]{2,}")
FAKE = ("example.com", "example.org", "example.net")
BUSY = "signups-"
"""Addresses that begin so have signed up to a lot of lists very recently."""
PLAIN = ("email_type", "language", "vip", "ip_signup", "timestamp_signup", "ip_opt", "timestamp_opt")
NOT_REMOVED = (
    "This list member cannot be removed. Can not archive a contact that is bounced, pending or archived"
)


@dataclass(slots=True)
class Members:
    """The members of every audience; ``emit`` tells webhooks. Raises ProblemError with the vendor's text."""

    books: Books
    dials: MailchimpDials
    emit: Emit

    # looking ----------------------------------------------------------------------------------------------------

    def of(self, list_id: str) -> list[Row]:
        """Return the members of an audience, the oldest first."""
        return [row for row in self.books.rows("member") if row["list_id"] == list_id]

    def find(self, list_id: str, name: str) -> Row | None:
        """Return a member by hash, plain address or contact id."""
        found = self.books.get("member", name)
        if found is not None and found["list_id"] == list_id:
            return found
        wanted = hash_of(name) if "@" in name else name
        rows = (row for row in self.of(list_id) if hash_of(row["email_address"]) == wanted)
        row = next(rows, None)
        return None if row is None else self.books.get("member", row["contact_id"])

    def need(self, list_id: str, name: str) -> Row:
        """Return a member. Raises ProblemError ResourceNotFound, of a forgotten one too (3.4)."""
        found = self.find(list_id, name)
        if found is None:
            raise ProblemError("ResourceNotFound")
        return found

    def fields(self, list_id: str) -> list[Row]:
        """Return the merge fields of an audience."""
        return [row for row in self.books.rows("merge_field") if row["list_id"] == list_id]

    def shown(self, row: Row) -> Row:
        """Return a member as the API shows it (3.2)."""
        merge = shown_fields(self.fields(row["list_id"]), row["merge_fields"])
        interests = {one["id"]: bool(row["interests"].get(one["id"])) for one in self.books.rows("interest")
                     if one["list_id"] == row["list_id"]}  # fmt: skip
        body = {name: value for name, value in row.items() if name not in ("before", "compliance")}
        if row["status"] != "unsubscribed":
            body.pop("unsubscribe_reason", None)
        return body | {
            "id": hash_of(row["email_address"]), "merge_fields": merge, "interests": interests,
            "full_name": f"{merge.get('FNAME', '')} {merge.get('LNAME', '')}".strip(),
            "tags_count": len(row["tags"]), "stats": {"avg_open_rate": 0, "avg_click_rate": 0}, "member_rating": 2,
            "consents_to_one_to_one_messaging": True, "email_client": "",
            "location": {"latitude": 0, "longitude": 0, "gmtoff": 0, "dstoff": 0, "country_code": "", "timezone": "", "region": ""},
            "marketing_permissions": [],
            "_links": [{"rel": "self", "href": f"https://us19.api.mailchimp.com/3.0/lists/{row['list_id']}/members/{hash_of(row['email_address'])}",
                        "method": "GET", "targetSchema": "", "schema": ""}],
        }  # fmt: skip

    # writing ----------------------------------------------------------------------------------------------------

    def put(
        self, list_id: str, name: str, body: Mapping[str, Json], *, skip: bool = False, by: str = "api"
    ) -> Row:
        """Insert or merge (3.1): ``status_if_new`` acts on a new address alone."""
        row = self.find(list_id, name)
        if row is not None and not (row["status"] == "archived" and self.dials.archived_is_new):
            return self._merge(row, body, skip=skip, by=by, source="api")
        email = self._email(body)
        if row is None and hash_of(email) != (hash_of(name) if "@" in name else name):
            raise ProblemError(
                "InvalidResource", RESOURCE, [("email_address", "The subscriber hash does not fit.")]
            )
        status = body.get("status") or body.get("status_if_new")
        if status not in STATUSES:
            raise ProblemError(
                "InvalidResource", RESOURCE, [("status_if_new", "This value should not be blank.")]
            )
        return self.add(list_id, email, status, body, skip=skip, by=by, source="api")

    def post(self, list_id: str, body: Mapping[str, Json], *, skip: bool = False, by: str = "api") -> Row:
        """Add a new member; one that is there is refused (3.1)."""
        email = self._email(body)
        found = self.find(list_id, email)
        if found is not None and found["status"] != "archived":
            detail = f"{email} is already a list member. Use PUT to insert or update list members."
            raise ProblemError("MemberExists", detail, typed=False)
        if body.get("status") not in STATUSES:
            raise ProblemError("InvalidResource", RESOURCE, [("status", "This value should not be blank.")])
        row = self.add(list_id, email, body["status"], body, skip=skip, by=by, source="api")
        tags = body.get("tags") or []
        return self.tag(row, [{"name": one, "status": "active"} for one in tags], by=by) if tags else row

    def patch(
        self, list_id: str, name: str, body: Mapping[str, Json], *, skip: bool = False, by: str = "api"
    ) -> Row:
        """Change a member that is there (3.1)."""
        return self._merge(self.need(list_id, name), body, skip=skip, by=by, source="api")

    def add(
        self,
        list_id: str,
        email: str,
        status: str,
        body: Mapping[str, Json],
        *,
        skip: bool,
        by: str,
        source: str,
    ) -> Row:
        """Put a new member there, or bring an archived one back."""
        old = self.find(list_id, email)
        self._may_come(list_id, email, old, status)
        now = self.books.time()
        row = old or {
            "contact_id": self.books.hex(32), "list_id": list_id, "email_address": email,
            "unique_email_id": self.books.hex(10), "web_id": self.books.number(), "email_type": "html", "vip": False,
            "language": "", "ip_signup": "", "timestamp_signup": "", "ip_opt": "", "timestamp_opt": "",
            "merge_fields": {}, "interests": {}, "tags": [], "source": "API - Generic" if by == "api" else "Admin Add",
        }  # fmt: skip
        self._fill(row, body, skip=skip)
        row |= {"status": status, "last_changed": now}
        row.pop("before", None)
        if status == "subscribed":
            row["timestamp_opt"] = body.get("timestamp_opt") or now
        self._store(row, "create" if old is None else "return", by)
        if status == "subscribed":
            self.emit(list_id, "subscribe", source, self._told(row))
        return row

    def _merge(self, row: Row, body: Mapping[str, Json], *, skip: bool, by: str, source: str) -> Row:
        before = {**row, "merge_fields": dict(row["merge_fields"]), "interests": dict(row["interests"])}
        email = self._email(body) if "email_address" in body else row["email_address"]
        if email.lower() != before["email_address"].lower():
            self._rename(row, email)
        status = body.get("status")
        if status is not None:
            self._become(row, status)
        self._fill(row, body, skip=skip)
        if row == before:
            return row
        row["last_changed"] = self.books.time()
        self._store(row, "update", by)
        self._tell_change(before, row, source)
        return row

    def _rename(self, row: Row, email: str) -> None:
        """Give another address; the contact keeps its id (3.3)."""
        if self.find(row["list_id"], email) is not None:
            raise ProblemError("MemberExists", f"{email} is already a list member. Use PUT to insert or update list members.",
                               typed=False)  # fmt: skip
        self._may_come(row["list_id"], email, None, "pending")
        row["email_address"] = email

    def _become(self, row: Row, status: Json) -> None:
        """Change a status (3.1, 3.4): who left by themselves comes back by a confirmation alone."""
        if status not in STATUSES:
            raise ProblemError(
                "InvalidResource", RESOURCE, [("status", "The value you selected is not a valid choice.")]
            )
        self._may_come(row["list_id"], row["email_address"], row, status)
        if status == "unsubscribed" != row["status"]:
            row["unsubscribe_reason"] = "N/A (Unsubscribed by an admin)"
        if status == "subscribed" != row["status"]:
            row["timestamp_opt"] = self.books.time()
        row["status"] = status

    def _may_come(self, list_id: str, email: str, row: Row | None, status: str) -> None:
        """See that an address may be on the list with a status. Raises ProblemError of 3.4."""
        if self.books.get("forgotten", f"{list_id}/{hash_of(email)}") is not None:
            text = f"{email} was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the list."
            raise ProblemError("ForgottenEmailNotSubscribed", text)
        if row is not None and row.get("compliance") and status in ("subscribed", "transactional"):
            text = f"{email} is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed."
            raise ProblemError("MemberInComplianceState", text)
        if email.lower().startswith(BUSY):
            text = f"{email} has signed up to a lot of lists very recently; we're not allowing more signups for now"
            raise ProblemError("InvalidResource", text)
        if email.rpartition("@")[2].lower() in FAKE:
            raise ProblemError(
                "InvalidResource", f"{email} looks fake or invalid, please enter a real email address."
            )

    def _fill(self, row: Row, body: Mapping[str, Json], *, skip: bool) -> None:
        for name in PLAIN:
            if name in body:
                if body[name] is None:
                    raise ProblemError(
                        "InvalidResource", RESOURCE, [(name, "Schema describes string, NULL found instead")]
                    )
                row[name] = body[name]
        fields = self.fields(row["list_id"])
        row["merge_fields"] = checked_fields(
            body.get("merge_fields", {}), fields, row["merge_fields"], skip_required=skip
        )
        known = {one["id"] for one in self.books.rows("interest") if one["list_id"] == row["list_id"]}
        for one, wanted in (body.get("interests") or {}).items():
            if one not in known:
                raise ProblemError(
                    "InvalidResource", RESOURCE, [(f"interests.{one}", "Invalid interest ID.")]
                )
            if wanted:
                row["interests"][one] = True
            else:
                row["interests"].pop(one, None)

    def _email(self, body: Mapping[str, Json]) -> str:
        email = body.get("email_address")
        if not isinstance(email, str) or not _EMAIL.fullmatch(email):
            if email is None:
                raise ProblemError(
                    "InvalidResource", RESOURCE, [("email_address", "This value should not be blank.")]
                )
            raise ProblemError("InvalidResource", "Please provide a valid email address.")
        return email

    # leaving ----------------------------------------------------------------------------------------------------

    def archive(self, list_id: str, name: str, *, by: str = "api") -> None:
        """Archive a member; a cleaned, pending or archived one is refused with 405 (3.1)."""
        row = self.need(list_id, name)
        if row["status"] in ("archived", "pending", "cleaned"):
            raise ProblemError("MethodNotAllowed", NOT_REMOVED)
        row |= {"before": row["status"], "status": "archived", "last_changed": self.books.time()}
        self._store(row, "archive", by)
        self.emit(
            list_id,
            "unsubscribe",
            "api" if by == "api" else "admin",
            self._told(row) | {"action": "delete", "reason": "manual"},
        )

    def forget(self, list_id: str, name: str, *, by: str = "api") -> None:
        """Delete for good: the address never comes back by the API (3.4)."""
        row = self.need(list_id, name)
        digest = hash_of(row["email_address"])
        self.books.put("forgotten", f"{list_id}/{digest}", {"hash": digest, "list_id": list_id}, "forget", by)
        self.books.drop("member", row["contact_id"], "delete", by, number=row["email_address"])

    def leave(self, row: Row, *, reason: str = "manual", source: str = "user") -> Row:
        """Let the person unsubscribe by the link in a mail, or an administrator do it."""
        row |= {"status": "unsubscribed", "last_changed": self.books.time(), "unsubscribe_reason": reason,
                "compliance": source == "user"}  # fmt: skip
        self._store(row, "unsubscribe", "user")
        self.emit(
            row["list_id"], "unsubscribe", source, self._told(row) | {"action": "unsub", "reason": reason}
        )
        return row

    def bounce(self, row: Row) -> Row:
        """Clean an address that bounces."""
        row |= {"status": "cleaned", "last_changed": self.books.time(), "compliance": True}
        self._store(row, "clean", "user")
        data = {"list_id": row["list_id"], "campaign_id": "", "reason": "hard", "email": row["email_address"]}
        self.emit(row["list_id"], "cleaned", "admin", data)
        return row

    def confirm(self, row: Row) -> Row:
        """Let the person answer the confirmation mail of a double opt-in."""
        row |= {
            "status": "subscribed",
            "last_changed": self.books.time(),
            "timestamp_opt": self.books.time(),
            "compliance": False,
        }
        self._store(row, "confirm", "user")
        self.emit(row["list_id"], "subscribe", "user", self._told(row))
        return row

    def edit(self, row: Row, body: Mapping[str, Json]) -> Row:
        """Let an administrator, or the person, change the profile."""
        return self._merge(row, body, skip=True, by="user", source="user")

    # tags -------------------------------------------------------------------------------------------------------

    def tag(self, row: Row, tags: Sequence[Mapping[str, Json]], *, by: str = "api") -> Row:
        """Add and take away tags; those not named stay, unknown ones are made (3.6)."""
        names = {one["name"]: one for one in row["tags"]}
        for one in tags:
            name = one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str) or not name or one.get("status") not in ("active", "inactive"):
                raise ProblemError(
                    "InvalidResource",
                    RESOURCE,
                    [("tags", "Data did not match any of the schemas described in anyOf.")],
                )
            if one["status"] == "inactive":
                names.pop(name, None)
            elif name not in names:
                names[name] = {
                    "id": self._segment(row["list_id"], name, by),
                    "name": name,
                    "date_added": self.books.time(),
                }
        after = list(names.values())
        if after != row["tags"]:
            row["tags"] = after
            if self.dials.tags_move_last_changed:
                row["last_changed"] = self.books.time()
            self.books.put("member", row["contact_id"], row, "tag", by, number=row["email_address"])
        return row

    def _segment(self, list_id: str, name: str, by: str) -> int:
        """Return the id of a tag, which is a static segment; made if it is not there."""
        for one in self.books.rows("segment"):
            if (one["list_id"], one["name"]) == (list_id, name):
                return int(one["tag_id"])
        number = self.books.number()
        row = {"tag_id": number, "id": number, "name": name, "list_id": list_id, "type": "static"}
        self.books.put("segment", str(number), row, "create", by, number=name)
        return number

    # telling ----------------------------------------------------------------------------------------------------

    def _store(self, row: Row, verb: str, by: str) -> None:
        self.books.put("member", row["contact_id"], row, verb, by, number=row["email_address"])

    def _told(self, row: Row) -> dict[str, Json]:
        """Return what an event says of a member (9)."""
        merge = shown_fields(self.fields(row["list_id"]), row["merge_fields"])
        own = hash_of(row["email_address"]) if self.dials.hash_as_id else row["unique_email_id"]
        return {
            "id": own, "list_id": row["list_id"], "email": row["email_address"], "email_type": row["email_type"],
            "ip_opt": row["ip_opt"], "web_id": row["web_id"],
            "merges": {"EMAIL": row["email_address"], **{tag: one for tag, one in merge.items() if isinstance(one, str)}},
        }  # fmt: skip

    def _tell_change(self, before: Row, row: Row, source: str) -> None:
        list_id = row["list_id"]
        if before["email_address"].lower() != row["email_address"].lower():
            data = {"list_id": list_id, "new_id": row["unique_email_id"], "new_email": row["email_address"],
                    "old_email": before["email_address"]}  # fmt: skip
            self.emit(list_id, "upemail", source, data)
        if row["status"] != before["status"] and row["status"] == "unsubscribed":
            self.emit(
                list_id, "unsubscribe", source, self._told(row) | {"action": "unsub", "reason": "manual"}
            )
        elif row["status"] != before["status"] and row["status"] == "subscribed":
            self.emit(list_id, "subscribe", source, self._told(row))
        elif row["status"] == "subscribed":
            self.emit(list_id, "profile", source, self._told(row))
