"""Campaigns and their reports: who was sent one, opened, clicked, bounced (7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.books import Books, Row, hash_of
from connectors.mailchimp.sandbox.members import Members
from hub.sdk.sandbox import Json

__all__ = ["ACTIONS", "Reports"]

ACTIONS = ("open", "click", "bounce")


@dataclass(slots=True)
class Reports:
    """What was sent and what became of it. Raises ProblemError."""

    books: Books
    members: Members

    def send(self, list_id: str, subject: str, emails: Sequence[str] = ()) -> Row:
        """Send a campaign to these addresses, or to everybody who is subscribed, as a marketer does."""
        rows = [row for row in self.members.of(list_id) if row["status"] == "subscribed"]
        wanted = {hash_of(one) for one in emails} or {hash_of(row["email_address"]) for row in rows}
        sent = [hash_of(row["email_address"]) for row in rows if hash_of(row["email_address"]) in wanted]
        row: Row = {
            "id": self.books.hex(10), "web_id": self.books.number(), "type": "regular", "status": "sent",
            "send_time": self.books.time(), "create_time": self.books.time(), "emails_sent": len(sent),
            "recipients": {"list_id": list_id}, "settings": {"subject_line": subject, "title": subject},
            "sent_to": {digest: self._address(list_id, digest) for digest in sent}, "activity": {},
        }  # fmt: skip
        self.books.put("campaign", row["id"], row, "send", "user", number=subject)
        self.members.emit(
            list_id,
            "campaign",
            "admin",
            {"id": row["id"], "list_id": list_id, "subject": subject, "status": "sent", "reason": ""},
        )
        return self.campaign(row)

    def act(self, campaign_id: str, email: str, action: str, *, url: str = "") -> Row:
        """Let a recipient open, click or bounce."""
        row = self._need(campaign_id)
        digest = hash_of(email)
        if digest not in row["sent_to"] or action not in ACTIONS:
            raise ProblemError("ResourceNotFound")
        done: dict[str, Json] = {"action": action, "timestamp": self.books.time(), "ip": "203.0.113.9"}
        done |= {"url": url or "https://www.example.sg/"} if action == "click" else {}
        done |= {"type": "hard"} if action == "bounce" else {}
        row["activity"].setdefault(digest, []).append(done)
        self.books.put("campaign", campaign_id, row, action, "user", number=email)
        return self.report(row)

    def campaigns(self, query: Mapping[str, str]) -> list[Row]:
        """Return campaigns by the filters of 7."""
        rows = [row for row in self.books.rows("campaign") if self._meets(row, query)]
        key = query.get("sort_field") or "create_time"
        rows.sort(key=lambda row: str(row[key]), reverse=query.get("sort_dir", "DESC").upper() == "DESC")
        return rows

    def _meets(self, row: Row, query: Mapping[str, str]) -> bool:
        since, before = query.get("since_send_time"), query.get("before_send_time")
        return (
            (not since or str(row["send_time"]) > since)
            and (not before or str(row["send_time"]) < before)
            and query.get("list_id") in (None, row["recipients"]["list_id"])
            and query.get("status") in (None, row["status"])
            and query.get("member_id") in (None, *row["sent_to"])
        )

    def campaign(self, row: Row) -> Row:
        """Return a campaign as the API shows it."""
        return {name: value for name, value in row.items() if name not in ("sent_to", "activity")}

    def need(self, campaign_id: str) -> Row:
        """Return one campaign as the API shows it."""
        return self.campaign(self._need(campaign_id))

    def report(self, row: Row | str) -> Row:
        """Return the figures of a campaign."""
        row = self._need(row) if isinstance(row, str) else row
        found = {
            action: [one for one in row["activity"].values() if any(act["action"] == action for act in one)]
            for action in ACTIONS
        }
        total = {
            action: sum(act["action"] == action for one in row["activity"].values() for act in one)
            for action in ACTIONS
        }
        return {
            "id": row["id"], "campaign_title": row["settings"]["title"], "subject_line": row["settings"]["subject_line"],
            "list_id": row["recipients"]["list_id"], "type": "regular", "emails_sent": row["emails_sent"], "abuse_reports": 0,
            "unsubscribed": 0, "send_time": row["send_time"],
            "bounces": {"hard_bounces": len(found["bounce"]), "soft_bounces": 0, "syntax_errors": 0},
            "opens": {"opens_total": total["open"], "unique_opens": len(found["open"])},
            "clicks": {"clicks_total": total["click"], "unique_clicks": len(found["click"]),
                       "unique_subscriber_clicks": len(found["click"])},
        }  # fmt: skip

    def sent_to(self, campaign_id: str) -> list[Row]:
        """Return who was sent a campaign and what became of it."""
        row = self._need(campaign_id)
        return [self._sent(row, digest, email) for digest, email in row["sent_to"].items()]

    def _sent(self, row: Row, digest: str, email: str) -> Row:
        acts = row["activity"].get(digest, [])
        opened = [one["timestamp"] for one in acts if one["action"] == "open"]
        bounced = any(one["action"] == "bounce" for one in acts)
        return {"email_id": digest, "email_address": email, "status": "hard" if bounced else "sent", "open_count": len(opened),
                "last_open": opened[-1] if opened else "", "campaign_id": row["id"], "list_id": row["recipients"]["list_id"]}  # fmt: skip

    def email_activity(self, campaign_id: str, since: str = "") -> list[Row]:
        """Return what each recipient did."""
        row = self._need(campaign_id)
        return [
            {"campaign_id": row["id"], "list_id": row["recipients"]["list_id"], "email_id": digest, "email_address": email,
             "activity": [one for one in row["activity"].get(digest, []) if one["timestamp"] > since]}
            for digest, email in row["sent_to"].items()
        ]  # fmt: skip

    def _need(self, campaign_id: str) -> Row:
        row = self.books.get("campaign", campaign_id)
        if row is None:
            raise ProblemError("ResourceNotFound")
        return row

    def _address(self, list_id: str, digest: str) -> str:
        found = self.members.find(list_id, digest)
        return "" if found is None else str(found["email_address"])
