"""Between the hub's values and an audience's: merge fields by their type, texts of 255 bytes, "" for empty (3.2, 3.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.mailchimp.objects import CONSENT, MEMBER_READ
from connectors.mailchimp.outcomes import VENDOR, bad_answer
from hub.sdk import Cause, Json, Refused

__all__ = ["MERGE_TYPES", "consent_body", "contact_id", "hash_of", "member_body", "merge_value", "same_value"]

LONGEST = 255
"""Bytes a text field keeps; more is cut there, in the middle of a character if need be."""
WHOLE = ("addr1", "city", "state", "zip")
"""Parts an address must have, all four."""


def hash_of(email: str) -> str:
    """Return the subscriber hash: lower-case hex MD5 of the lower-cased address (the vendor's key, no protection)."""
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


def contact_id(row: Mapping[str, Any]) -> str:
    """Return what names a contact for life; the hash changes with its address (3.3). Raises TryAgain if it is missing."""
    found = row.get("contact_id")
    if not isinstance(found, str) or not found.isalnum() or not found.isascii():
        raise bad_answer("Mailchimp showed a member without contact_id", read=True)
    return found


def member_body(row: Mapping[str, Any]) -> dict[str, Json]:
    """Return a member as the stream declares it; what is empty there is null here."""
    body = {name: _shown(row.get(name), kind) for name, kind in MEMBER_READ.items()}
    fields, interests = row.get("merge_fields"), row.get("interests")
    body["merge_fields"] = {tag: None if value == "" else value for tag, value in _object(fields).items()}
    body["interests"] = dict(_object(interests))
    tags = row.get("tags")
    named = (one.get("name") for one in tags if isinstance(one, dict)) if isinstance(tags, list) else ()
    texts: list[Json] = [*sorted(str(name) for name in named if name)]
    body["tags"] = texts
    return body


def consent_body(row: Mapping[str, Any]) -> dict[str, Json]:
    """Return what a member agreed to."""
    return {name: _shown(row.get(name), kind) for name, kind in CONSENT.items()}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _shown(value: Any, kind: str) -> Json:
    if value is None or value == "" or isinstance(value, dict | list):
        return None
    if kind == "flag":
        return str(value).lower() == "true"
    if kind == "instant":
        return str(value).replace("+00:00", "Z")
    return str(value)


# merge fields ---------------------------------------------------------------------------------------------------


class _UnfitError(ValueError):
    """The value does not suit the field; the text says why."""

    def __init__(self, why: str, cause: Cause = Cause.INVALID) -> None:
        super().__init__(why)
        self.cause = cause


def _text(value: Json, _: Mapping[str, Any]) -> Json:
    """Cut on a character's border: 85 Chinese characters fit."""
    return str(value).encode()[:LONGEST].decode("utf-8", "ignore")


def _number(value: Json, _: Mapping[str, Any]) -> Json:
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        raise _UnfitError("is no number") from None
    if not exact.is_finite():
        raise _UnfitError("is no number")
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _date(value: Json, _: Mapping[str, Any]) -> Json:
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        raise _UnfitError("is no date such as 2026-01-31") from None


def _birthday(value: Json, _: Mapping[str, Any]) -> Json:
    """Drop the year: the vendor keeps none (3.5)."""
    text = str(value)
    try:
        if len(text) == 5:
            return datetime.strptime(f"2000/{text}", "%Y/%m/%d").strftime("%m/%d")  # noqa: DTZ007 - a day has no zone
        return date.fromisoformat(text[:10]).strftime("%m/%d")
    except ValueError:
        raise _UnfitError("is no day such as 01/31 or 1990-01-31") from None


def _zip(value: Json, _: Mapping[str, Any]) -> Json:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) == 5):
        raise _UnfitError("is no ZIP code of five digits: use a text field for other countries")
    return text


def _choice(value: Json, options: Mapping[str, Any]) -> Json:
    if value not in (options.get("choices") or []):
        raise _UnfitError("is none of the choices of the field: add it there first")
    return value


def _address(value: Json, _: Mapping[str, Any]) -> Json:
    if not isinstance(value, dict):
        raise _UnfitError("is no address: addr1, city, state and zip, or use a text field")
    missing = [name for name in WHOLE if not (isinstance(value.get(name), str) and str(value[name]).strip())]
    if missing:
        raise _UnfitError(f"an address lacks {', '.join(missing)}", Cause.MISSING_FIELD)
    return {name: part for name, part in value.items() if part is not None}


MERGE_TYPES: Mapping[str, Callable[[Json, Mapping[str, Any]], Json]] = {
    "text": _text, "number": _number, "address": _address, "date": _date, "birthday": _birthday, "zip": _zip,
    "radio": _choice, "dropdown": _choice, "phone": _text, "url": _text, "imageurl": _text,
}  # fmt: skip
"""Type of a merge field -> how a value of ours is written there (3.5)."""


def merge_value(tag: str, value: Json, field: Mapping[str, Any]) -> Json:
    """Return a value as a merge field takes it; null and "" clear it.

    Raises:
        Refused: the value is not as the field's type wants it; ``field`` names it.
    """
    if value is None or value == "":
        return ""
    write = MERGE_TYPES.get(str(field.get("type")), _text)
    try:
        return write(value, _object(field.get("options")))
    except _UnfitError as error:
        name = f"merge_fields.{tag}"
        raise Refused(f"{name} {error}", cause=error.cause, vendor=VENDOR, field=name) from error


def same_value(sent: Json, stored: Any) -> bool:
    """Say whether a merge field holds what was sent, whatever the vendor did to its form."""
    if sent in ("", None) or stored in ("", None):
        return sent in ("", None) and stored in ("", None)
    if isinstance(sent, dict) and isinstance(stored, dict):
        return all(str(stored.get(name, "")) == str(part) for name, part in sent.items())
    if isinstance(sent, int | float) and not isinstance(sent, bool):
        try:
            return Decimal(str(sent)) == Decimal(str(stored))
        except InvalidOperation:
            return False
    return str(sent).strip() == str(stored).strip()
