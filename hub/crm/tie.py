"""Person ≠ customer: by which rule a contact joins a customer, or makes one. Pure over the keys a view has loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hub.model.text import company_core, company_key

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.project.values import ContactRules, TieRule
    from hub.store.view import View

__all__ = ["Join", "Make", "Tie", "Undecided", "companies", "tie", "tie_keys"]


@dataclass(frozen=True, slots=True)
class Join:
    """The contact belongs to this customer (16 bytes)."""

    customer: bytes


@dataclass(frozen=True, slots=True)
class Make:
    """Nobody has this company: it becomes a customer."""

    name: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """It may be one of these; a person decides. ``rule``: what matched."""

    candidates: tuple[bytes, ...]
    rule: str


Tie: TypeAlias = Join | Make | Undecided | None


def companies(contact: Mapping[str, Json], follows: Sequence[Mapping[str, Json]]) -> dict[str, list[str]]:
    """Return the company names known of a contact: stated by the vendor, and noted by employees (oldest follow first)."""
    stated = contact.get("company_name")
    ordered = sorted(follows, key=lambda body: str(body.get("since") or "~"))
    noted = dict.fromkeys(str(body["company_name"]) for body in ordered if body.get("company_name"))
    return {"company_name": [str(stated)] if stated else [], "remark_company": list(noted)}


def tie_keys(contact: Mapping[str, Json], follows: Sequence[Mapping[str, Json]]) -> list[tuple[str, str]]:
    """Return every key a decision about this contact looks at: (name of the key, value)."""
    names = [name for found in companies(contact, follows).values() for name in found]
    keys = [("customer.name", company_key(name)) for name in names]
    keys += [("customer.name~core", core) for name in names if (core := company_core(name))]
    for mobile in _mobiles(contact, follows):
        keys += [("customer.phone", mobile), ("contact.mobiles", mobile), ("contact.mobile", mobile)]
    return keys


def _mobiles(contact: Mapping[str, Json], follows: Sequence[Mapping[str, Json]]) -> list[str]:
    lists = [contact.get("mobiles"), *(body.get("mobiles") for body in follows), [contact.get("mobile")]]
    found = (one for some in lists if isinstance(some, list) for one in some)
    return list(dict.fromkeys(one for one in found if isinstance(one, str)))


def tie(
    view: View,
    contact: Mapping[str, Json],
    follows: Sequence[Mapping[str, Json]],
    *,
    region: str,
    rules: ContactRules,
    itself: bytes | None,
) -> Tie:
    """Return which customer the contact belongs to, by the first rule that hits.

    The view must hold the keys of :func:`tie_keys` and the records they name. ``itself``: the contact's id.
    """
    known, mobiles = companies(contact, follows), _mobiles(contact, follows)
    if not mobiles and not any(known.values()):
        return None
    for rule in rules.customer:
        hits = _hits(view, rule, known, mobiles, region=region, itself=itself)
        if len(hits) == 1 and rule.confidence == "sure":
            return Join(hits[0])
        if hits:
            return Undecided(tuple(hits), rule.by)
    names = [*known["company_name"], *known["remark_company"]]
    return Make(names[0]) if names and rules.create else None


def _hits(
    view: View,
    rule: TieRule,
    known: Mapping[str, Sequence[str]],
    mobiles: Sequence[str],
    *,
    region: str,
    itself: bytes | None,
) -> list[bytes]:
    if rule.by == "mobile":
        found = [*_holders(view, "customer.phone", mobiles), *_customers_of(view, mobiles, itself)]
    elif rule.by == "company_core":
        cores = [core for names in known.values() for name in names if (core := company_core(name))]
        found = _holders(view, "customer.name~core", cores)
    else:
        found = _holders(view, "customer.name", [company_key(name) for name in known[rule.by]])
    return [
        id_ for id_ in dict.fromkeys(found) if _is_customer(view, id_, region if rule.within_region else None)
    ]


def _holders(view: View, key: str, values: Iterable[str]) -> list[bytes]:
    return [record for value in values for record, _ in view.keys.get((key, value), ())]


def _customers_of(view: View, mobiles: Sequence[str], itself: bytes | None) -> list[bytes]:
    """Return the customers of other contacts with one of these mobiles."""
    holders = [*_holders(view, "contact.mobiles", mobiles), *_holders(view, "contact.mobile", mobiles)]
    bodies = [view.records[id_].body for id_ in holders if id_ != itself and id_ in view.records]
    return [bytes.fromhex(body["customer"]) for body in bodies if body.get("customer")]


def _is_customer(view: View, id_: bytes, region: str | None) -> bool:
    record = view.records.get(id_)
    return (
        record is not None
        and record.kind == "customer"
        and record.merged_into is None
        and record.deleted is None
        and (region is None or record.region == region)
    )
