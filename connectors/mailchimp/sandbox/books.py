"""The rows of the account: every change leaves an effect, and the effects alone rebuild the rows."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from hub.sdk.sandbox import SECOND, Effect, EffectLedger, Json

__all__ = ["LISTS", "Books", "Row", "hash_of", "new_list"]

Row = dict[str, Json]
LISTS = ("a6b5da1054", "b7c6eb2165")
"""Audiences of the fresh account; the first is the one credentials name."""
DEFAULTS = (("FNAME", "First Name", "text"), ("LNAME", "Last Name", "text"), ("ADDRESS", "Address", "address"),
            ("PHONE", "Phone Number", "phone"))  # fmt: skip


def hash_of(email: str) -> str:
    """Return the subscriber hash: MD5 of the lower-cased address (0)."""
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


class Books:
    """Rows by form and id; ``put`` and ``drop`` alone change them."""

    def __init__(self, ledger: EffectLedger, now: Callable[[], int], token: Callable[[int], bytes]) -> None:
        """Take the ledger the effects go to, the clock (µs) and where random ids come from."""
        self._ledger, self.now, self._token = ledger, now, token
        self._rows: dict[str, dict[str, Row]] = {}
        self._numbers = 0
        for list_id in LISTS:
            self._store("list", list_id, new_list(list_id))
            for number, (tag, name, kind) in enumerate(DEFAULTS, start=1):
                field = {"merge_id": number, "tag": tag, "name": name, "type": kind, "required": False,
                         "default_value": "", "public": False, "display_order": number, "help_text": "",
                         "options": {"default_country": 164, "phone_format": "none"}, "list_id": list_id}  # fmt: skip
                self._store("merge_field", f"{list_id}/{number}", field)

    def time(self) -> str:
        """Return the time as the vendor writes it (0)."""
        return datetime.fromtimestamp(self.now() // SECOND, UTC).isoformat()

    def hex(self, digits: int) -> str:
        """Return a fresh id of that many hex digits."""
        return self._token(digits // 2).hex()

    def number(self) -> int:
        """Return the next whole number of the account."""
        self._numbers += 1
        return self._numbers

    def rows(self, form: str) -> Iterator[Row]:
        """Run over the rows of a form, oldest first."""
        return iter(list(self._rows.get(form, {}).values()))

    def get(self, form: str, key: str) -> Row | None:
        """Return a copy of a row, to be changed and put back; None if it is not there."""
        return copy.deepcopy(self._rows.get(form, {}).get(key))

    def put(self, form: str, key: str, row: Row, verb: str, by: str, *, number: str = "") -> None:
        """Store a row as it now is and record the effect."""
        self._store(form, key, copy.deepcopy(row))
        self._ledger.record(
            verb, form, at=self.now(), key=key, number=number or key, by=by, fields=_shown(row), after=row
        )

    def drop(self, form: str, key: str, verb: str, by: str, *, number: str = "") -> None:
        """Remove a row and record the effect."""
        row = self._rows.get(form, {}).pop(key, {})
        self._ledger.record(
            verb, form, at=self.now(), key=key, number=number or key, by=by, fields=_shown(row), after=None
        )

    def replay(self, effect: Effect) -> None:
        """Apply an effect of the journal again, without recording it."""
        if effect.after is None:
            self._rows.get(effect.form, {}).pop(str(effect.id), None)
        else:
            self._store(effect.form, str(effect.id), dict(effect.after))

    def _store(self, form: str, key: str, row: Row) -> None:
        self._rows.setdefault(form, {})[key] = row
        own = (row.get(name) for name in ("web_id", "merge_id", "tag_id"))
        self._numbers = max([self._numbers, *(one for one in own if isinstance(one, int))])


def _shown(row: Row) -> Row:
    """Return what a ledger's reader sees: no secret of a webhook."""
    return {name: value for name, value in row.items() if name not in ("signing_secret", "before")}


def new_list(list_id: str) -> Row:
    """Return an audience as an administrator makes it (2)."""
    return {
        "id": list_id, "web_id": 1, "name": f"Audience {list_id[:2]}", "permission_reminder": "You signed up on our site.",
        "contact": {"company": "Example Ltd", "address1": "1 Main St", "address2": "", "city": "Singapore", "state": "",
                    "zip": "018956", "country": "SG", "phone": ""},
        "campaign_defaults": {"from_name": "Example", "from_email": "hello@example.sg", "subject": "", "language": "en"},
        "email_type_option": False, "double_optin": False, "marketing_permissions": False, "use_archive_bar": True,
        "visibility": "prv", "list_rating": 0, "date_created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
