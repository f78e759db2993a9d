"""Audiences and what hangs on them: merge fields, interests, tags as segments, webhooks (2, 3.5, 3.6, 7, 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.books import Books, Row
from connectors.mailchimp.sandbox.dials import MailchimpDials
from connectors.mailchimp.sandbox.fields import RESOURCE, TYPES
from connectors.mailchimp.sandbox.members import Members
from hub.sdk.sandbox import Json

__all__ = ["EVENTS", "SOURCES", "Audiences", "shown"]

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")
BLANK = "This value should not be blank."


def _needed(body: Mapping[str, Json], *names: str) -> None:
    errors = [(name, BLANK) for name in names if body.get(name) in (None, "")]
    if errors:
        raise ProblemError("InvalidResource", RESOURCE, errors)


@dataclass(slots=True)
class Audiences:
    """Everything of an audience but its members. Raises ProblemError."""

    books: Books
    dials: MailchimpDials
    members: Members

    def need(self, list_id: str) -> Row:
        """Return an audience with its figures."""
        row = self.books.get("list", list_id)
        if row is None:
            raise ProblemError("ResourceNotFound")
        counts: dict[str, int] = {}
        for one in self.members.of(list_id):
            counts[one["status"]] = counts.get(one["status"], 0) + 1
        stats = {"member_count": counts.get("subscribed", 0), "unsubscribe_count": counts.get("unsubscribed", 0),
                 "cleaned_count": counts.get("cleaned", 0), "total_contacts": sum(counts.values())}  # fmt: skip
        return {**row, "stats": stats}

    def all(self) -> list[Row]:
        """Return every audience."""
        return [self.need(row["id"]) for row in self.books.rows("list")]

    def change(self, list_id: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Change settings of an audience."""
        row = self.books.get("list", list_id)
        if row is None:
            raise ProblemError("ResourceNotFound")
        known = {name: value for name, value in body.items() if name in row and name not in ("id", "web_id")}
        self.books.put("list", list_id, row | known, "update", by)
        return self.need(list_id)

    # merge fields ---------------------------------------------------------------------------------------------

    def add_field(self, list_id: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Make a merge field."""
        _needed(body, "name", "type")
        if body["type"] not in TYPES:
            raise ProblemError(
                "InvalidResource", RESOURCE, [("type", "The value you selected is not a valid choice.")]
            )
        fields = self.members.fields(list_id)
        number = max([0, *(one["merge_id"] for one in fields)]) + 1
        tag = body.get("tag") or f"MERGE{number}"
        if any(one["tag"] == tag for one in fields):
            raise ProblemError(
                "InvalidResource", f'A Merge Field with the tag "{tag}" already exists for this list.'
            )
        row = {"merge_id": number, "tag": tag, "name": body["name"], "type": body["type"], "list_id": list_id,
               "required": bool(body.get("required")), "default_value": str(body.get("default_value") or ""),
               "public": bool(body.get("public")), "display_order": number, "help_text": "",
               "options": dict(body.get("options") or {})}  # fmt: skip
        self.books.put("merge_field", f"{list_id}/{number}", row, "create", by, number=tag)
        return row

    def change_field(self, list_id: str, merge_id: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Change a merge field."""
        row = self._field(list_id, merge_id)
        row |= {
            name: body[name]
            for name in ("name", "required", "default_value", "public", "options")
            if name in body
        }
        self.books.put("merge_field", f"{list_id}/{merge_id}", row, "update", by, number=row["tag"])
        return row

    def drop_field(self, list_id: str, merge_id: str, by: str = "api") -> None:
        """Remove a merge field."""
        row = self._field(list_id, merge_id)
        self.books.drop("merge_field", f"{list_id}/{merge_id}", "delete", by, number=row["tag"])

    def _field(self, list_id: str, merge_id: str) -> Row:
        row = self.books.get("merge_field", f"{list_id}/{merge_id}")
        if row is None:
            raise ProblemError("ResourceNotFound")
        return row

    # interests and tags ---------------------------------------------------------------------------------------

    def categories(self, list_id: str) -> list[Row]:
        """Return the groups of interests."""
        return [row for row in self.books.rows("interest_category") if row["list_id"] == list_id]

    def add_category(self, list_id: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Make a group of interests."""
        _needed(body, "title", "type")
        row = {
            "id": self.books.hex(10),
            "list_id": list_id,
            "title": body["title"],
            "type": body["type"],
            "display_order": 0,
        }
        self.books.put("interest_category", row["id"], row, "create", by, number=row["title"])
        return row

    def interests(self, list_id: str, category: str) -> list[Row]:
        """Return the interests of a group."""
        if category not in [one["id"] for one in self.categories(list_id)]:
            raise ProblemError("ResourceNotFound")
        return [row for row in self.books.rows("interest") if row["category_id"] == category]

    def add_interest(self, list_id: str, category: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Make an interest."""
        _needed(body, "name")
        order = len(self.interests(list_id, category))
        row = {"id": self.books.hex(10), "list_id": list_id, "category_id": category, "name": body["name"],
               "subscriber_count": "0", "display_order": order}  # fmt: skip
        self.books.put("interest", row["id"], row, "create", by, number=row["name"])
        return row

    def segments(self, list_id: str, prefix: str = "") -> list[Row]:
        """Return the static segments, which are the tags, whose names begin so."""
        rows = [row for row in self.books.rows("segment") if row["list_id"] == list_id]
        return [{**row, "member_count": self._tagged(row)} for row in rows if row["name"].startswith(prefix)]

    def _tagged(self, segment: Row) -> int:
        members = self.members.of(segment["list_id"])
        return sum(any(tag["name"] == segment["name"] for tag in row["tags"]) for row in members)

    # webhooks -------------------------------------------------------------------------------------------------

    def webhooks(self, list_id: str) -> list[Row]:
        """Return the webhooks of an audience without what is shown once only."""
        return [shown(row) for row in self.books.rows("webhook") if row["list_id"] == list_id]

    def webhook(self, list_id: str, webhook_id: str) -> Row:
        """Return one webhook as it is stored."""
        row = self.books.get("webhook", webhook_id)
        if row is None or row["list_id"] != list_id:
            raise ProblemError("ResourceNotFound")
        return row

    def may_add_webhook(self, list_id: str, body: Mapping[str, Json]) -> str:
        """Check a new webhook before its address is asked (9); return the address."""
        _needed(body, "url")
        if any(row["url"] == body["url"] for row in self.webhooks(list_id)):
            raise ProblemError("BadRequest", "Sorry, you can't set up multiple WebHooks for one URL")
        return str(body["url"])

    def add_webhook(self, list_id: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Make a webhook whose address has answered; the secret is shown this once."""
        row = {"id": self.books.hex(10), "list_id": list_id, "url": body["url"], "enabled": True,
               "events": _flags(body.get("events"), EVENTS), "sources": _flags(body.get("sources"), SOURCES),
               "signing_enabled": self.dials.signing,
               "signing_secret": self.books.hex(64) if self.dials.signing else ""}  # fmt: skip
        self.books.put("webhook", row["id"], row, "create", by, number=row["url"])
        return row

    def change_webhook(self, list_id: str, webhook_id: str, body: Mapping[str, Json], by: str = "api") -> Row:
        """Change what a webhook is told of."""
        row = self.webhook(list_id, webhook_id)
        row["events"] |= _named(body.get("events"), EVENTS)
        row["sources"] |= _named(body.get("sources"), SOURCES)
        self.books.put("webhook", webhook_id, row, "update", by, number=row["url"])
        return shown(row)

    def drop_webhook(self, list_id: str, webhook_id: str, by: str = "api") -> None:
        """Remove a webhook."""
        row = self.webhook(list_id, webhook_id)
        self.books.drop("webhook", webhook_id, "delete", by, number=row["url"])


def shown(row: Row) -> Row:
    """Return a webhook as later answers show it."""
    return {name: value for name, value in row.items() if name not in ("signing_secret", "enabled")}


def _flags(given: Json, names: Sequence[str]) -> dict[str, bool]:
    """Return every switch, those that are not named off; all on where nothing is given."""
    if given is None:
        return dict.fromkeys(names, True)
    return dict.fromkeys(names, False) | _named(given, names)


def _named(given: Json, names: Sequence[str]) -> dict[str, bool]:
    if not isinstance(given, dict):
        return {}
    return {name: str(value).lower() == "true" for name, value in given.items() if name in names}
