"""Merge fields: what each type takes, what is stored, and what an empty one shows (3.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from connectors.mailchimp.sandbox.answers import ProblemError
from connectors.mailchimp.sandbox.books import Row
from hub.sdk.sandbox import Json

__all__ = ["TYPES", "checked_fields", "shown_fields"]

LONGEST = 255
"""Bytes of a text."""
INVALID = "Your merge fields were invalid."
RESOURCE = (
    "The resource submitted could not be validated. For field-specific details, see the 'errors' array."
)
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d-%m-%Y", "%m/%d/%Y")
WHOLE = ("addr1", "city", "state", "zip")


class _UnfitError(ValueError):
    """The value does not suit the type; the text is the vendor's message."""


def _text(value: Json, _: Row) -> Json:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _UnfitError("Please enter a value")
    return str(value).encode()[:LONGEST].decode("utf-8", "ignore")


def _number(value: Json, _: Row) -> Json:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _UnfitError("Please enter a number") from None
    return int(number) if number.is_integer() else number


def _phone(value: Json, field: Row) -> Json:
    text = str(value)
    if field["options"].get("phone_format") == "US" and not re.fullmatch(r"\d{3}-?\d{3}-?\d{4}", text):
        raise _UnfitError("Please enter a valid US phone number")
    return text


def _date(value: Json, _: Row) -> Json:
    for form in DATES:
        try:
            return datetime.strptime(str(value), form).date().isoformat()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise _UnfitError("Please enter a valid date")


def _birthday(value: Json, _: Row) -> Json:
    try:
        datetime.strptime(f"2000/{value}", "%Y/%m/%d")  # noqa: DTZ007 - as above
    except ValueError:
        raise _UnfitError("Please enter a month (01-12) and a day (01-31)") from None
    return value


def _zip(value: Json, _: Row) -> Json:
    if not re.fullmatch(r"\d{5}", str(value), re.ASCII):
        raise _UnfitError("Please enter a valid ZIP code")
    return str(value)


def _choice(value: Json, field: Row) -> Json:
    if value not in field["options"].get("choices", []):
        raise _UnfitError("Please select one of the choices")
    return value


def _url(value: Json, _: Row) -> Json:
    if not re.fullmatch(r"https?://[^\s]+", str(value)):
        raise _UnfitError("Please enter a valid URL")
    return value


TYPES: Mapping[str, Callable[[Json, Row], Json]] = {
    "text": _text, "number": _number, "phone": _phone, "date": _date, "birthday": _birthday, "zip": _zip,
    "radio": _choice, "dropdown": _choice, "url": _url, "imageurl": _url, "address": lambda value, _: value,
}  # fmt: skip
"""Type -> how a value is read; an address is looked at as a whole before."""


def checked_fields(
    given: Json, fields: Sequence[Row], stored: Mapping[str, Json], *, skip_required: bool
) -> dict[str, Json]:
    """Return the merge fields after a write: what is left out keeps its value, "" clears, unknown tags are ignored.

    Raises:
        ProblemError: every field that is not as its type wants, by its tag; null or a partial address refuse the member.
    """
    if not isinstance(given, dict):
        raise ProblemError(
            "InvalidResource",
            RESOURCE,
            [("merge_fields", "Data did not match any of the schemas described in anyOf.")],
        )
    _no_nulls(given)
    after, errors = dict(stored), []
    for field in fields:
        tag = field["tag"]
        if tag in given:
            try:
                after[tag] = "" if given[tag] == "" else TYPES[field["type"]](given[tag], field)
            except _UnfitError as error:
                errors.append((tag, str(error)))
        if field["required"] and not skip_required and after.get(tag, "") == "":
            errors.append((tag, "Please enter a value"))
    if errors:
        raise ProblemError("InvalidResource", INVALID, errors)
    return {tag: value for tag, value in after.items() if value != ""}


def _no_nulls(given: Mapping[str, Json]) -> None:
    """See that nothing is null and an address is whole (3.4, 3.5). Raises ProblemError."""
    errors = list(_bent(given))
    if errors:
        raise ProblemError("InvalidResource", RESOURCE, errors)


def _bent(given: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for tag, value in given.items():
        if value is None:
            yield f"merge_fields.{tag}", "Schema describes string, NULL found instead"
        elif isinstance(value, dict):
            if not all(isinstance(value.get(name), str) and value[name] for name in WHOLE):
                yield f"merge_fields.{tag}", "Data did not match any of the schemas described in anyOf."
        elif isinstance(value, list | bool):
            yield f"merge_fields.{tag}", "Data did not match any of the schemas described in anyOf."


def shown_fields(fields: Sequence[Row], stored: Mapping[str, Json]) -> dict[str, Json]:
    """Return every field of the audience with its value, "" for an empty one."""
    return {field["tag"]: stored.get(field["tag"], "") for field in fields}
