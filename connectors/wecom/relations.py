"""Contacts and follows as records: one form, whether they came by ``get`` or by ``batch/get_by_user`` (2.2, 2.3).

The vendor says "nothing" by leaving a field out or by an empty text; a record says null. What a partial record does
not name is absent from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.wecom.tags import PERSONAL, Tag, TagLibrary, tag_type
from hub.sdk import Cause, IntegrityError, Json, SourceRecord, VendorKey

__all__ = [
    "CONTACT_FIELDS",
    "FOLLOW_FIELDS",
    "contact_record",
    "follow_key",
    "follow_record",
    "is_external",
    "is_userid",
    "number",
    "pair_of",
]

CONTACT_FIELDS: Mapping[str, str] = {
    "external_userid": "text",
    "name": "text",
    "type": "integer",
    "gender": "integer",
    "avatar": "text",
    "unionid": "text",
    "position": "text",
    "corp_name": "text",
    "corp_full_name": "text",
    "external_profile": "json",
}
FOLLOW_FIELDS: Mapping[str, str] = {
    "userid": "text",
    "external_userid": "text",
    "remark": "text",
    "description": "text",
    "createtime": "integer",
    "tags": "json",
    "remark_corp_name": "text",
    "remark_mobiles": "texts",
    "state": "text",
    "oper_userid": "text",
    "add_way": "integer",
    "wechat_channels": "json",
    "deleted_by_contact_at": "integer",
    **{f"contact.{name}": kind for name, kind in CONTACT_FIELDS.items()},
}
"""Fields of a follow; ``deleted_by_contact_at`` (seconds) comes by callback alone, in a partial record."""

_READ = tuple(
    name
    for name in FOLLOW_FIELDS
    if "." not in name and name not in ("external_userid", "tags", "deleted_by_contact_at")
)
# Wider than the documents say (letters, digits, a few signs): what matters is that a key stays one key.
_USERID = re.compile(r"[!-.0-~]{1,64}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_EXTERNAL = re.compile(r"[!-.0-~]{1,128}", re.ASCII)


def is_userid(value: object) -> bool:
    """Say whether a value has the form of an employee's id (0)."""
    return isinstance(value, str) and _USERID.fullmatch(value) is not None


def is_external(value: object) -> bool:
    """Say whether a value has the form of an external contact's id."""
    return isinstance(value, str) and _EXTERNAL.fullmatch(value) is not None


def follow_key(userid: str, external_userid: str) -> VendorKey:
    """Return the key of a relation; userids are the same in any case of letters (0)."""
    return VendorKey("", f"{userid.lower()}/{external_userid}")


def pair_of(id: str) -> tuple[str, str] | None:
    """Return (userid, external_userid) of a relation's id, None if it is none."""
    userid, _, external = id.rpartition("/")
    return (userid, external) if is_userid(userid) and is_external(external) else None


def contact_record(contact: Mapping[str, Any], observed_at: int) -> SourceRecord:
    """Return an ``external_contact`` object as a record; unknown fields are kept. Raises IntegrityError without an id."""
    return SourceRecord(VendorKey("", _external_of(contact)), _contact_body(contact), observed_at)


def follow_record(
    contact: Mapping[str, Any], follow: Mapping[str, Any], library: TagLibrary, observed_at: int
) -> SourceRecord:
    """Return one relation as a record; ``follow`` is an item of ``follow_user`` or a ``follow_info``.

    Raises:
        IntegrityError: the vendor named no employee or no contact.
    """
    external, userid = _external_of(contact), follow.get("userid")
    if not is_userid(userid):
        raise IntegrityError(Cause.FOREIGN, "WeCom showed a relation without a userid")
    body: dict[str, Json] = {name: _plain(follow.get(name), FOLLOW_FIELDS[name]) for name in _READ}
    body |= {
        "userid": str(userid),
        "external_userid": external,
        "remark_mobiles": [str(one) for one in follow.get("remark_mobiles") or () if one],
        "tags": [tag.shown() for tag in _tags(follow, library)],
        "contact": _contact_body(contact),
    }
    return SourceRecord(follow_key(str(userid), external), body, observed_at)


def _tags(follow: Mapping[str, Any], library: TagLibrary) -> list[Tag]:
    """Return the tags in the order of their ids: the vendor states none."""
    shown = follow.get("tags")
    if isinstance(shown, list):
        found: Iterable[Tag] = [
            Tag(
                str(tag["tag_id"]),
                str(tag.get("tag_name") or ""),
                str(tag.get("group_name") or ""),
                tag_type(tag),
            )
            for tag in shown
            if isinstance(tag, dict) and tag_type(tag) != PERSONAL and tag.get("tag_id")
        ]
    else:
        found = library.named(str(one) for one in follow.get("tag_id") or ())
    return sorted(found, key=lambda tag: tag.id)


def _contact_body(contact: Mapping[str, Any]) -> dict[str, Json]:
    shown = {name: _plain(value, CONTACT_FIELDS.get(name)) for name, value in contact.items()}
    return {**dict.fromkeys(CONTACT_FIELDS), **shown}


def _external_of(contact: Mapping[str, Any]) -> str:
    external = contact.get("external_userid")
    if not is_external(external):
        raise IntegrityError(Cause.FOREIGN, "WeCom showed a contact without an external_userid")
    return str(external)


def number(value: Any) -> Json:
    """Return a whole number that came as a text as a number, anything else as it is (pitfall 19)."""
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _plain(value: Any, kind: str | None = None) -> Json:
    if value == "":
        return None
    return number(value) if kind == "integer" else value
