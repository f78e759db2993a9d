"""A contact follows from the employees who have it: owner, mobiles and tags are derived, never one follower's word.

Pure: bodies of follows in, fields of the contact out. What the CRM itself added to a list stays; what came from the
follows goes when no follow says it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.project.values import ContactRules

__all__ = ["CLOSED", "LEFT", "Derived", "derive", "newest_leaving", "state_of"]

ACTIVE: Final = "active"
CLOSED: Final = "deleted_by_employee"
LEFT: Final = "deleted_by_contact"
_LISTS: Final = ("mobiles", "tags")


@dataclass(frozen=True, slots=True)
class Derived:
    """What a contact's follows say: fields of its body, and its owner (None: nobody has it any more)."""

    fields: dict[str, Json] = field(default_factory=dict)
    owner: str | None = None


def state_of(body: Mapping[str, Json], *, gone: bool) -> str:
    """Return a follow's state: closed when the vendor shows no relation, left while the contact's leaving is newer.

    A contact that comes back is added anew: `since` is then later than the leaving.
    """
    if gone:
        return CLOSED
    left, since = body.get("deleted_by_contact_at"), body.get("since")
    if isinstance(left, str) and not (isinstance(since, str) and since > left):
        return LEFT
    return ACTIVE


def newest_leaving(known: Mapping[str, Json], fields: dict[str, Json]) -> dict[str, Json]:
    """Return what came of a follow without a leaving that is older than the one known: callbacks overtake each other."""
    before, now = known.get("deleted_by_contact_at"), fields.get("deleted_by_contact_at")
    if isinstance(before, str) and isinstance(now, str) and now < before:
        return {name: value for name, value in fields.items() if name != "deleted_by_contact_at"}
    return fields


def derive(
    contact: Mapping[str, Json],
    before: Sequence[Mapping[str, Json]],
    after: Sequence[Mapping[str, Json]],
    *,
    rules: ContactRules,
    region_of: Callable[[str | None], str],
) -> Derived:
    """Return the fields of a contact that its follows decide.

    Args:
        contact: the contact's body as the CRM has it.
        before: the bodies of all its follows, before the change under way.
        after: the same after it.
        rules: whose follow makes the owner.
        region_of: employee -> region path.
    """
    was, now = _living(before), _living(after)
    fields: dict[str, Json] = {}
    for name in _LISTS:
        derived, known = _union(was, name), _texts(contact.get(name))
        kept = [value for value in known if value not in derived]
        fields[name] = [
            *_union(now, name),
            *(value for value in kept if value not in _union(now, name)),
        ] or None
    mobiles, mobile = _texts(fields["mobiles"]), contact.get("mobile")
    if mobile is None or (mobile in _union(was, "mobiles") and mobile not in mobiles):
        fields["mobile"] = mobiles[0] if mobiles else None
    return Derived(fields, _owner(now, rules, region_of))


def _living(follows: Sequence[Mapping[str, Json]]) -> list[Mapping[str, Json]]:
    """Return the follows that an employee still has, the oldest first."""
    living = [body for body in follows if body.get("state") != CLOSED]
    return sorted(living, key=lambda body: (str(body.get("since") or "~"), str(body.get("employee"))))


def _union(follows: Sequence[Mapping[str, Json]], name: str) -> list[str]:
    return list(dict.fromkeys(value for body in follows for value in _texts(body.get(name))))


def _texts(value: Json) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _owner(
    follows: Sequence[Mapping[str, Json]], rules: ContactRules, region_of: Callable[[str | None], str]
) -> str | None:
    owners = [body["employee"] for body in follows if isinstance(body.get("employee"), str)]
    if rules.owner == "latest":
        owners.reverse()
    for region in rules.owner_regions:
        preferred = [owner for owner in owners if region_of(str(owner)).startswith(region)]
        if preferred:
            return str(preferred[0])
    return str(owners[0]) if owners else None
