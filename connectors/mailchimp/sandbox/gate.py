"""What stands before every call: credentials, connections at the same time, projection, pages (0, 1, 10)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.dials import MailchimpDials
from hub.sdk.sandbox import Json

__all__ = ["Account", "Gate", "page_of", "project"]

MOST = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """One account; all values are made up. ``token``: what OAuth gave, without a data centre."""

    api_key: str = "0123456789abcdef0123456789abcdef-us19"
    token: str = "fedcba9876543210fedcba9876543210"


@dataclass(slots=True)
class Gate:
    """Who may come in, and how many at a time. ``revoked``: no key and no token is known any more."""

    account: Account
    revoked: bool = False
    disabled: bool = False
    open_calls: int = 0
    most_open: int = 0
    """The most calls that were under way at once."""
    seen: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Forget what an administrator did."""
        self.revoked = self.disabled = False
        self.most_open = 0

    def enter(self, authorization: str) -> None:
        """Check the credential: Basic with any user, Bearer key or token, OAuth token (1). Raises ProblemError."""
        if not authorization:
            raise ProblemError("APIKeyMissing")
        scheme, _, value = authorization.partition(" ")
        known = [self.account.api_key, self.account.token]
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                value = ""
            known = known[:1]
        elif scheme.lower() == "oauth":
            known = known[1:]
        elif scheme.lower() != "bearer":
            raise ProblemError("APIKeyMissing")
        if self.revoked or not any(hmac.compare_digest(value.encode(), one.encode()) for one in known):
            raise ProblemError("APIKeyInvalid")
        if self.disabled:
            raise ProblemError("UserDisabled")


def page_of(rows: Sequence[Json], query: Mapping[str, str], dials: MailchimpDials) -> Sequence[Json]:
    """Return one page of rows: ``count`` (10 if absent) and ``offset`` (0). Raises ProblemError for other numbers."""
    count, offset = query.get("count", "10"), query.get("offset", "0")
    if not (count.isdecimal() and offset.isdecimal()):
        raise ProblemError("BadRequest", "count and offset must be integers.")
    if int(count) > MOST and not dials.clamp_count:
        raise ProblemError("BadRequest", f"count may be at most {MOST}.")
    size = min(int(count), MOST)
    return rows[int(offset) : int(offset) + size]


def project(body: Json, query: Mapping[str, str]) -> Json:
    """Return a body with ``fields`` alone, or without ``exclude_fields``: dotted paths from its root (0)."""
    if wanted := query.get("fields"):
        return _only(body, [path.split(".") for path in wanted.split(",")])
    if unwanted := query.get("exclude_fields"):
        return _without(body, [path.split(".") for path in unwanted.split(",")])
    return body


def _only(value: Json, paths: Sequence[Sequence[str]]) -> Json:
    if isinstance(value, list):
        return [_only(one, paths) for one in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Json] = {}
    for name, inner in value.items():
        below = [path[1:] for path in paths if path[0] == name]
        if below:
            kept[name] = inner if any(not rest for rest in below) else _only(inner, below)
    return kept


def _without(value: Json, paths: Sequence[Sequence[str]]) -> Json:
    if isinstance(value, list):
        return [_without(one, paths) for one in value]
    if not isinstance(value, dict):
        return value
    gone = {path[0] for path in paths if len(path) == 1}
    below = {name: [path[1:] for path in paths if path[0] == name and len(path) > 1] for name in value}
    return {
        name: _without(inner, below[name]) if below[name] else inner
        for name, inner in value.items()
        if name not in gone
    }
