"""Which call does what: one table of method, path and operation (2, 3, 5, 7, 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.audiences import Audiences
from connectors.mailchimp.sandbox.batches import subscribe
from connectors.mailchimp.sandbox.books import Row, hash_of
from connectors.mailchimp.sandbox.dials import MailchimpDials
from connectors.mailchimp.sandbox.gate import page_of
from connectors.mailchimp.sandbox.members import Members
from connectors.mailchimp.sandbox.reports import Reports
from hub.sdk.sandbox import Json

__all__ = ["ROUTES", "Call", "Parts", "Route", "find_route"]


@dataclass(slots=True)
class Parts:
    """What the calls work on."""

    audiences: Audiences
    members: Members
    reports: Reports
    dials: MailchimpDials


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the values in its path, its query, its body."""

    at: tuple[str, ...]
    query: Mapping[str, str]
    body: Mapping[str, Json]

    def flag(self, name: str) -> bool:
        """Return a switch of the query, in any case of letters (0)."""
        return self.query.get(name, "").lower() == "true"


Apply: TypeAlias = Callable[[Parts, Call], Json]
"""Returns the body of a 200; None answers 204."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. ``op``: its name for the dials; ``form``: what it is about."""

    method: str
    path: re.Pattern[str]
    op: str
    form: str
    apply: Apply


FILTERS: Mapping[str, tuple[str, bool]] = {
    "since_last_changed": ("last_changed", True),
    "before_last_changed": ("last_changed", False),
    "since_timestamp_opt": ("timestamp_opt", True),
    "before_timestamp_opt": ("timestamp_opt", False),
}
"""Filter of members -> what it looks at, and whether later ones are meant; the time itself never is (6)."""


def _listed(parts: Parts, call: Call, name: str, rows: Sequence[Json], **more: Json) -> Json:
    return {name: list(page_of(rows, call.query, parts.dials)), **more, "total_items": len(rows)}


def _members(parts: Parts, call: Call) -> Json:
    """List members: archived ones only when asked for, ``since_last_changed`` exclusive (6)."""
    list_id, query = call.at[0], call.query
    parts.audiences.need(list_id)
    wanted = query.get("status")
    rows = [row for row in parts.members.of(list_id) if row["status"] == (wanted or row["status"])]
    rows = [row for row in rows if wanted == "archived" or row["status"] != "archived"]
    if unique := query.get("unique_email_id"):
        rows = [row for row in rows if row["unique_email_id"] == unique]
    for name, (key, after) in FILTERS.items():
        if at := query.get(name):
            moment = _moment(at)
            rows = [row for row in rows if row[key] != moment and (row[key] > moment) == after]
    if order := query.get("sort_field"):
        rows.sort(
            key=lambda row: (str(row.get(order, "")), row["contact_id"]),
            reverse=query.get("sort_dir", "ASC").upper() == "DESC",
        )
    page = [parts.members.shown(row) for row in page_of(rows, query, parts.dials)]
    return {"members": page, "list_id": list_id, "total_items": len(rows)}


def _moment(text: str) -> str:
    """Return a filter's time; a ``+`` that was not escaped arrives as a blank and breaks it (6)."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", text):
        raise ProblemError("BadRequest", f"{text!r} is not a valid date.")
    return text


def _search(parts: Parts, call: Call) -> Json:
    wanted = call.query.get("query", "").lower()
    lists = (
        [call.query["list_id"]] if call.query.get("list_id") else [row["id"] for row in parts.audiences.all()]
    )
    rows = [row for one in lists for row in parts.members.of(one) if row["status"] != "archived"]
    exact = [parts.members.shown(row) for row in rows if row["email_address"].lower() == wanted]
    full = [parts.members.shown(row) for row in rows if wanted in row["email_address"].lower()]
    return {"exact_matches": {"members": exact, "total_items": len(exact)},
            "full_search": {"members": full, "total_items": len(full)}}  # fmt: skip


def _put(parts: Parts, call: Call) -> Json:
    parts.audiences.need(call.at[0])
    return parts.members.shown(
        parts.members.put(call.at[0], call.at[1], call.body, skip=call.flag("skip_merge_validation"))
    )


def _post(parts: Parts, call: Call) -> Json:
    parts.audiences.need(call.at[0])
    return parts.members.shown(
        parts.members.post(call.at[0], call.body, skip=call.flag("skip_merge_validation"))
    )


def _patch(parts: Parts, call: Call) -> Json:
    return parts.members.shown(
        parts.members.patch(call.at[0], call.at[1], call.body, skip=call.flag("skip_merge_validation"))
    )


def _tag(parts: Parts, call: Call) -> Json:
    parts.members.tag(parts.members.need(*call.at), call.body.get("tags") or [])


def _subscribe(parts: Parts, call: Call) -> Json:
    parts.audiences.need(call.at[0])
    skips = {"skip": call.flag("skip_merge_validation"), "skip_duplicates": call.flag("skip_duplicate_check")}
    return subscribe(parts.members, call.at[0], call.body, **skips)


def _ping(_: Parts, __: Call) -> Json:
    return {"health_status": "Everything's Chimpy!"}


def _root(parts: Parts, _: Call) -> Json:
    total = sum(row["stats"]["member_count"] for row in parts.audiences.all())
    return {"account_id": "8d3a3db4d97663a9074efcc16", "account_name": "Example Asia", "login_id": "1", "email": "it@example.sg",
            "role": "owner", "pricing_plan_type": "monthly", "account_timezone": "Asia/Singapore",
            "contact": {"company": "Example Asia Pte Ltd", "addr1": "1 Main St", "addr2": "", "city": "Singapore", "state": "",
                        "zip": "018956", "country": "SG"},
            "total_subscribers": total, "last_login": "2026-01-01T00:00:00+00:00"}  # fmt: skip


def _reports(parts: Parts, call: Call) -> Json:
    rows = parts.reports.campaigns({**call.query, "sort_field": "send_time", "status": "sent"})
    return _listed(parts, call, "reports", [parts.reports.report(row["id"]) for row in rows])


def _recipient(rows: Sequence[Row], digest: str) -> Row:
    found = next(
        (row for row in rows if row["email_id"] == (hash_of(digest) if "@" in digest else digest)), None
    )
    if found is None:
        raise ProblemError("ResourceNotFound")
    return found


def _segments(parts: Parts, call: Call) -> Json:
    parts.audiences.need(call.at[0])
    return _listed(parts, call, "segments", parts.audiences.segments(call.at[0]))


def _tags(parts: Parts, call: Call) -> Json:
    return _listed(parts, call, "tags", parts.members.need(*call.at)["tags"])


_TABLE: tuple[tuple[str, str, str, str, Apply], ...] = (
    ("GET", "/ping", "ping", "account", _ping),
    ("GET", "/", "root", "account", _root),
    ("GET", "/lists", "lists.list", "list", lambda p, c: _listed(p, c, "lists", p.audiences.all())),
    ("GET", "/lists/{}", "lists.get", "list", lambda p, c: p.audiences.need(c.at[0])),
    ("PATCH", "/lists/{}", "lists.patch", "list", lambda p, c: p.audiences.change(c.at[0], c.body)),
    ("POST", "/lists/{}", "lists.subscribe", "member", _subscribe),
    ("GET", "/lists/{}/members", "members.list", "member", _members),
    ("POST", "/lists/{}/members", "members.post", "member", _post),
    ("GET", "/lists/{}/members/{}", "members.get", "member", lambda p, c: p.members.shown(p.members.need(*c.at))),
    ("PUT", "/lists/{}/members/{}", "members.put", "member", _put),
    ("PATCH", "/lists/{}/members/{}", "members.patch", "member", _patch),
    ("DELETE", "/lists/{}/members/{}", "members.delete", "member", lambda p, c: p.members.archive(*c.at)),
    ("POST", "/lists/{}/members/{}/actions/delete-permanent", "members.forget", "member", lambda p, c: p.members.forget(*c.at)),
    ("POST", "/lists/{}/members/{}/tags", "members.tag", "tag", _tag),
    ("GET", "/lists/{}/members/{}/tags", "members.tags", "tag", _tags),
    ("GET", "/lists/{}/tag-search", "tags.search", "tag",
     lambda p, c: {"tags": [{"id": one["id"], "name": one["name"]} for one in p.audiences.segments(c.at[0], c.query.get("name", ""))]}),
    ("GET", "/lists/{}/segments", "segments.list", "tag", _segments),
    ("GET", "/search-members", "members.search", "member", _search),
    ("GET", "/lists/{}/merge-fields", "fields.list", "merge_field",
     lambda p, c: _listed(p, c, "merge_fields", p.members.fields(p.audiences.need(c.at[0])["id"]))),
    ("POST", "/lists/{}/merge-fields", "fields.post", "merge_field", lambda p, c: p.audiences.add_field(c.at[0], c.body)),
    ("PATCH", "/lists/{}/merge-fields/{}", "fields.patch", "merge_field", lambda p, c: p.audiences.change_field(c.at[0], c.at[1], c.body)),
    ("DELETE", "/lists/{}/merge-fields/{}", "fields.delete", "merge_field", lambda p, c: p.audiences.drop_field(*c.at)),
    ("GET", "/lists/{}/interest-categories", "interests.categories", "interest",
     lambda p, c: _listed(p, c, "categories", p.audiences.categories(c.at[0]))),
    ("POST", "/lists/{}/interest-categories", "interests.category", "interest", lambda p, c: p.audiences.add_category(c.at[0], c.body)),
    ("GET", "/lists/{}/interest-categories/{}/interests", "interests.list", "interest",
     lambda p, c: _listed(p, c, "interests", p.audiences.interests(*c.at))),
    ("POST", "/lists/{}/interest-categories/{}/interests", "interests.post", "interest",
     lambda p, c: p.audiences.add_interest(c.at[0], c.at[1], c.body)),
    ("GET", "/lists/{}/webhooks", "webhooks.list", "webhook", lambda p, c: _listed(p, c, "webhooks", p.audiences.webhooks(c.at[0]))),
    ("POST", "/lists/{}/webhooks", "webhooks.post", "webhook", lambda p, c: p.audiences.add_webhook(c.at[0], c.body)),
    ("PATCH", "/lists/{}/webhooks/{}", "webhooks.patch", "webhook", lambda p, c: p.audiences.change_webhook(c.at[0], c.at[1], c.body)),
    ("DELETE", "/lists/{}/webhooks/{}", "webhooks.delete", "webhook", lambda p, c: p.audiences.drop_webhook(*c.at)),
    ("GET", "/campaigns", "campaigns.list", "campaign",
     lambda p, c: _listed(p, c, "campaigns", [p.reports.campaign(row) for row in p.reports.campaigns(c.query)])),
    ("GET", "/campaigns/{}", "campaigns.get", "campaign", lambda p, c: p.reports.need(c.at[0])),
    ("GET", "/reports", "reports.list", "report", _reports),
    ("GET", "/reports/{}", "reports.get", "report", lambda p, c: p.reports.report(c.at[0])),
    ("GET", "/reports/{}/sent-to", "reports.sent", "report", lambda p, c: _listed(p, c, "sent_to", p.reports.sent_to(c.at[0]))),
    ("GET", "/reports/{}/sent-to/{}", "reports.sent_one", "report", lambda p, c: _recipient(p.reports.sent_to(c.at[0]), c.at[1])),
    ("GET", "/reports/{}/email-activity", "reports.activity", "report",
     lambda p, c: _listed(p, c, "emails", p.reports.email_activity(c.at[0], c.query.get("since", "")))),
    ("GET", "/reports/{}/email-activity/{}", "reports.activity_one", "report",
     lambda p, c: _recipient(p.reports.email_activity(c.at[0], c.query.get("since", "")), c.at[1])),
)  # fmt: skip


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\{\}", "([^/]+)") + "/?")


ROUTES: tuple[Route, ...] = tuple(
    Route(method, _pattern(path), op, form, apply) for method, path, op, form, apply in _TABLE
)
"""Every call but batches, whose results run over all the others."""


def find_route(method: str, path: str) -> tuple[Route, tuple[str, ...]] | list[str]:
    """Return the row for a call with the values in its path, else the methods the path takes ([]: there is no such path)."""
    allowed = []
    for route in ROUTES:
        if match := route.path.fullmatch(path):
            if route.method == method:
                return route, match.groups()
            allowed.append(route.method)
    return allowed
