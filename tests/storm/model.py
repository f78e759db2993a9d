"""What the CRM must hold at the end, worked out from the vendor's final state and from what its users told.

Written from the rules (design.md 5; the defaults of ``kinds.contact``), without the hub's code. A customer who removed
an employee is shown by no read, so the model knows which of those callbacks were acknowledged. What history alone
decides (who of the past keeps a contact that nobody has any more) is a set of allowed values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.storm.players import Person
from tests.storm.site import code_of, home_of

__all__ = ["Crm", "Difference", "Model", "compare", "left_at"]

WAYS = {
    0: "unknown", 1: "qr_scan", 2: "phone_search", 3: "card_share", 4: "group_chat", 5: "phone_book",
    6: "wechat_contact", 8: "service_staff", 9: "email_search", 10: "channels", 11: "calendar", 12: "meeting",
    13: "wechat_friend", 14: "smart_hardware", 15: "onsite_service", 16: "acquisition_link", 17: "custom_development",
    18: "request_reply", 21: "presales", 22: "possible_partner", 24: "friend_request", 201: "internal_share",
    202: "assigned",
}  # fmt: skip
GENDERS = ("unknown", "male", "female")


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it must be; ``external``: whose timeline explains it."""

    external: str
    what: str
    wanted: Any
    found: Any


@dataclass
class Crm:
    """What the CRM holds; ``parked``: (userid, external) in the store's spelling -> the cause of its dead letter."""

    contacts: list[dict[str, Any]]
    follows: list[dict[str, Any]]
    customers: list[dict[str, Any]]
    parked: Mapping[tuple[str, str], Mapping[str, Any]]
    other_debts: list[dict[str, Any]]


@dataclass
class Model:
    """``shown``: the vendor's people with their follows; ``ever``: pairs that were related at any time."""

    people: Mapping[str, Person]
    shown: Mapping[str, Mapping[str, Any]]
    ever: set[tuple[str, str]]
    left: Mapping[tuple[str, str], list[int]]
    customers: Mapping[str, str]
    """Customers the CRM had from the start: name, or phone -> record id."""
    found: list[Difference] = field(default_factory=list)

    def living(self, external: str) -> list[Mapping[str, Any]]:
        """Return the relations a read shows, the oldest first."""
        follows = [one for one in self.shown[external]["follows"] if one["stage"] != "half"]
        return sorted(follows, key=lambda one: (one["createtime"], code_of(one["userid"])))

    def differ(self, external: str, what: str, wanted: Any, found: Any) -> None:
        """Note a difference, if it is one."""
        if wanted != found:
            self.found.append(Difference(external, what, wanted, found))

    def among(self, external: str, what: str, allowed: Iterable[Any], found: Any) -> None:
        """Note a value that is none of the allowed ones."""
        known = list(allowed)
        if found not in known:
            self.found.append(Difference(external, what, known, found))


def left_at(told: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """Return pair -> when the customer left, of the callbacks that were acknowledged."""
    found: dict[tuple[str, str], list[int]] = {}
    for one in told:
        plain = one["plain"]
        if one["status"] == 200 and "<![CDATA[del_follow_user]]>" in plain:
            pair = _element(plain, "UserID").lower(), _element(plain, "ExternalUserID")
            found.setdefault(pair, []).append(int(_element(plain, "CreateTime")))
    return found


def _element(plain: str, name: str) -> str:
    found = re.search(f"<{name}>(?:<!\\[CDATA\\[)?([^\\]<]*)", plain)
    assert found is not None, (name, plain)
    return found[1]


def compare(model: Model, crm: Crm) -> list[Difference]:
    """Return everything in which the CRM is not as it must be."""
    contacts = _once(model, "contact", crm.contacts, lambda one: str(one["wecom_external_userid"]))
    owner_of = {one["_id"]: external for external, one in contacts.items()}
    follows = _once(
        model, "follow", crm.follows, lambda one: (one["employee"], owner_of.get(one["contact"], "?"))
    )
    for external in model.shown:
        living = model.living(external)
        _contact(model, external, living, contacts.get(external))
        for one in living:
            body = follows.get((code_of(one["userid"]), external))
            _follow(model, external, one, body, contacts.get(external))
    _closed(model, follows)
    _customers(model, crm, contacts)
    for debt in crm.other_debts:
        model.found.append(Difference(debt["subject"].rpartition("/")[2], "a debt is left", None, debt))
    return model.found


def _once(model: Model, kind: str, records: list[dict[str, Any]], key: Any) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for one in records:
        if key(one) in found:
            model.found.append(Difference(str(key(one)), f"{kind} is there twice", 1, 2))
        found[key(one)] = one
    return found


def _follow(
    model: Model,
    external: str,
    one: Mapping[str, Any],
    body: dict[str, Any] | None,
    contact: dict[str, Any] | None,
) -> None:
    at = f"follow of {one['userid']}"
    if body is None:
        model.differ(external, at, "there", None)
        return
    person = model.shown[external]
    company = (
        (one["remark_corp_name"] if person["type"] == 1 else "")
        or person["corp_full_name"]
        or person["corp_name"]
    )
    code = code_of(one["userid"])
    left = [
        seconds
        for seconds in model.left.get((one["userid"].lower(), external), ())
        if seconds >= one["createtime"]
    ]
    wanted = {
        "contact": contact["_id"] if contact else None,
        "employee": code,
        "_owner": code,
        "_region": home_of(int(one["userid"][-2:])),
        "state": "deleted_by_contact" if left else "active",
        "since": _instant(one["createtime"]),
        "way": WAYS.get(one["add_way"], "unknown"),
        "remark": one["remark"].strip() or None,
        "mobiles": sorted(map(_phone, one["remark_mobiles"])),
        "company_name": _company(company) or None,
        "tags": sorted(one["tag_names"]),
        "custom.channel": one["state"] or None,
        "custom.description": one["description"] or None,
    }
    for name, value in wanted.items():
        held = body.get(name)
        model.differ(
            external, f"{at}: {name}", value, sorted(held or ()) if name in ("mobiles", "tags") else held
        )
    if left:
        model.differ(external, f"{at}: left at", _instant(max(left)), body.get("deleted_by_contact_at"))


def _contact(
    model: Model, external: str, living: list[Mapping[str, Any]], body: dict[str, Any] | None
) -> None:
    if body is None:
        if living:
            model.differ(external, "contact", "there", None)
        return
    person = model.shown[external]
    mobiles = sorted({_phone(number) for one in living for number in one["remark_mobiles"]})
    model.differ(external, "mobiles", mobiles, sorted(body.get("mobiles") or ()))
    model.among(external, "mobile", mobiles or [None], body.get("mobile"))
    tags = sorted({name for one in living for name in one["tag_names"]})
    model.differ(external, "tags", tags, sorted(body.get("tags") or ()))
    if not living:
        once = [code_of(userid) for userid, who in model.ever if who == external]
        model.among(external, "owner of the past", [*once, None], body["_owner"])
        return
    owner = code_of(living[0]["userid"])
    model.differ(external, "owner", owner, body["_owner"])
    model.differ(external, "region", home_of(int(living[0]["userid"][-2:])), body["_region"])
    two = person["type"] == 2
    wanted = {
        "name": person["name"].strip(), "gender": GENDERS[person["gender"]],
        "wechat_unionid": None if two else person["unionid"], "title": person["position"] if two else None,
        "company_name": _company(person["corp_full_name"]) if two else None,
        "custom.wecom_type": "wecom" if two else "wechat",
    }  # fmt: skip
    for name, value in wanted.items():
        model.differ(external, f"contact: {name}", value, body.get(name))


def _closed(model: Model, follows: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    there = {(code_of(one["userid"]), external) for external in model.shown for one in model.living(external)}
    once = {(code_of(userid), external) for userid, external in model.ever}
    for pair, body in follows.items():
        if pair not in there:
            model.differ(pair[1], f"closed follow of {pair[0]}", "deleted_by_employee", body.get("state"))
            model.differ(pair[1], f"follow of {pair[0]} was related once", True, pair in once)


def _customers(model: Model, crm: Crm, contacts: Mapping[str, dict[str, Any]]) -> None:
    made: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in crm.customers:
        if one["_id"] not in model.customers.values():
            made.setdefault((one["name"], one["_region"]), []).append(one)
    known: set[tuple[str, str]] = set()
    for external, person in model.people.items():
        body = contacts.get(external)
        tied = body.get("customer") if body else None
        sure = _is_sure(model, person)
        if person.sort in ("made", "colleague"):
            known.add((_company(person.company), person.home))
            own = [one["_id"] for one in made.get((_company(person.company), person.home), ())]
            model.among(external, "customer made", own[:1] if sure else [*own[:1], None], tied)
        elif person.sort in ("joined", "mobile"):
            own = [model.customers[person.mobile if person.sort == "mobile" else person.company]]
            model.among(external, "customer joined", own if sure else [*own, None], tied)
        else:
            model.differ(external, "no customer", None, tied)
        _questions(model, crm, person)
    for (name, region), ones in made.items():
        model.differ(name, "customers of one name", 1, len(ones))
        model.differ(name, "somebody's company", True, (name, region) in known)
        model.differ(name, "source", {"wechat"}, {one.get("source") for one in ones})
        homes = {home_of(int(str(one["_owner"])[-2:])) for one in ones}
        model.differ(name, "owner's region", {region}, homes)


def _is_sure(model: Model, person: Person) -> bool:
    """Say whether what is there at the end alone decides his customer."""
    living = model.living(person.external)
    if person.sort == "mobile":
        return any(
            _phone(number) == _phone(person.mobile) for one in living for number in one["remark_mobiles"]
        )
    if person.sort == "colleague":
        return bool(living)
    return any(one["remark_corp_name"].strip() for one in living)


def _questions(model: Model, crm: Crm, person: Person) -> None:
    """Whoever may be somebody's contact waits for a person: at the relation that names the company, perhaps at others."""
    for one in model.living(person.external):
        at = f"question about {one['userid']}"
        cause = crm.parked.get((one["userid"].lower(), person.external))
        shown = None if cause is None else (cause["code"], cause.get("candidates"))
        if person.sort not in ("unsure", "core"):
            model.differ(person.external, at, None, shown)
            continue
        question = ("candidate", [model.customers[person.company]])
        noted = bool(one["remark_corp_name"].strip())
        model.among(person.external, at, [question] if noted else [question, None], shown)


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _phone(number: str) -> str:
    return "+86" + number.removeprefix("+86").replace(" ", "")


def _company(name: str) -> str:
    return name.strip().replace("(", "（").replace(")", "）")
