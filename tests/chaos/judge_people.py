"""Who compares WeCom with the CRM. Imports nothing from the hub: it reads the vendor's ledger, its people, the deliveries
of its callbacks, the edits that were intended, and what the API showed before and after the final sweep.

Rules. A callback that was answered 200 has its effect: if it told the last change its users made to a relation, the CRM
shows the relation as it is, before any sweep; a leaving that was told stays known. One that was never answered 200 may
be lost, and the sweep finds what it told. A write is a PUT: it may reach WeCom again with the same content (counted as
repeats), but nothing older may come behind something newer. Tags, people, relations and customers exist once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Evidence", "judge_people", "stuck"]

Line = Mapping[str, Any]
TOLD = {
    "add_contact": "add_external_contact", "edit_follow": "edit_external_contact",
    "delete_by_employee": "del_external_contact", "delete_by_customer": "del_follow_user",
}  # fmt: skip


@dataclass
class Evidence:
    """``people``: WeCom's, with relations; ``before`` and ``after``: the CRM's records by kind; ``parked``: dead letters."""

    ledger: list[Line]
    people: list[Line]
    deliveries: list[Line]
    intents: list[Line]
    before: Mapping[str, list[Line]]
    after: Mapping[str, list[Line]]
    kingdee: list[Line]
    stuck: set[str] = field(default_factory=set)
    """Pairs with a dead letter."""


def judge_people(found: Evidence) -> list[dict[str, Any]]:
    """Return one line per invariant: name, how many were looked at, the violations."""
    shown = {f"{_code(one['userid'])}/{one['external_userid']}": one for one in _relations(found.people)}
    left = _Leavings(_left(_taken(found.deliveries)), _left(_told(found.deliveries)))
    return [
        _acknowledged(found, shown, left),
        _leavings(found, shown, left.known),
        _same(found, shown, left),
        _derived(found),
        _once(found),
        _customers(found),
        _tags(found.ledger),
        _order(found.ledger),
        _edits(found, shown),
    ]


def stuck(letters: Iterable[Line], shown: Mapping[str, list[Line]]) -> set[str]:
    """Return the relations with a dead letter, as ``employee/external_userid``; of those nobody promises more."""
    external = {one["id"]: one["fields"].get("wecom_external_userid") for one in shown["contacts"]}
    pairs = {
        one["id"]: f"{one['fields']['employee']}/{external.get(one['fields']['contact'])}"
        for one in shown["follows"]
    }
    found = {pairs[one["subject"]] for one in letters if one["subject"] in pairs}
    for one in letters:
        if one["sync"] == "wecom.follow.in":
            userid, _, person = one["subject"].strip("/").partition("/")
            found.add(f"{_code(userid)}/{person}")
    return found


def _line(invariant: str, looked_at: int, violations: Iterable[str], **more: Any) -> dict[str, Any]:
    return {"invariant": invariant, "looked_at": looked_at, "violations": sorted(violations), **more}


def _relations(people: Iterable[Line]) -> list[Line]:
    return [one for person in people for one in person["follows"] if one["stage"] != "half"]


def _code(userid: str) -> str:
    return f"e-{int(userid[-2:])}"


def _crm(records: Mapping[str, list[Line]]) -> dict[str, Line]:
    """Return the relations of the CRM by pair."""
    external = {one["id"]: one["fields"].get("wecom_external_userid") for one in records["contacts"]}
    return {
        f"{one['fields']['employee']}/{external.get(one['fields']['contact'])}": one["fields"]
        for one in records["follows"]
    }


def _element(plain: str, name: str) -> str:
    found = re.search(f"<{name}>(?:<!\\[CDATA\\[)?([^\\]<]*)", plain)
    return found[1] if found else ""


def _said(delivery: Line) -> tuple[str, str, int]:
    plain = delivery["plain"]
    pair = f"{_code(_element(plain, 'UserID'))}/{_element(plain, 'ExternalUserID')}"
    return pair, _element(plain, "ChangeType"), int(_element(plain, "CreateTime"))


def _told(deliveries: Iterable[Line]) -> set[tuple[str, str, int]]:
    """Return (pair, change, second) of callbacks."""
    return {_said(one) for one in deliveries if "<ExternalUserID>" in one["plain"]}


def _taken(deliveries: Iterable[Line]) -> set[tuple[str, str, int]]:
    """Return (pair, change, second) of every callback that was acknowledged."""
    return _told(one for one in deliveries if one["status"] == 200)


def _left(told: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    """Return pair -> second of the latest leaving that was told."""
    found: dict[str, int] = {}
    for pair, change, second in told:
        if change == "del_follow_user":
            found[pair] = max(second, found.get(pair, 0))
    return found


@dataclass(frozen=True)
class _Leavings:
    """Per pair the latest leaving: ``known`` was acknowledged; of one ``told`` without an answer nobody knows."""

    known: Mapping[str, int]
    told: Mapping[str, int]

    def states(self, pair: str, since: int) -> set[str]:
        """Return what the CRM may hold of a relation that began then (unix seconds)."""
        if self.known.get(pair, -1) >= since:
            return {"deleted_by_contact"}
        return {"active", "deleted_by_contact"} if self.told.get(pair, -1) >= since else {"active"}


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _wanted(relation: Line) -> dict[str, Any]:
    """Return what the CRM must hold of a relation that WeCom shows, but its state."""
    return {
        "since": _instant(relation["createtime"]),
        "remark": relation["remark"].strip() or None,
        "company_name": relation["remark_corp_name"] or None,
        "mobiles": sorted("+86" + number for number in relation["remark_mobiles"]),
        "tags": sorted(relation["tag_names"]),
    }


def _differences(pair: str, relation: Line | None, held: Line | None, left: _Leavings) -> list[str]:
    if relation is None:
        gone = held is None or held["state"] == "deleted_by_employee"
        return [] if gone else [f"{pair}: state {held['state'] if held else None}, it ended at WeCom"]
    if held is None:
        return [f"{pair}: is not in the CRM"]
    shown = {
        name: sorted(held.get(name) or ()) if name in ("mobiles", "tags") else held.get(name)
        for name in _FIELDS
    }
    wanted, states = _wanted(relation), left.states(pair, relation["createtime"])
    wrong = [] if held["state"] in states else [f"{pair}: state is {held['state']!r}, not {min(states)!r}"]
    return wrong + [
        f"{pair}: {name} is {shown[name]!r}, not {wanted[name]!r}"
        for name in _FIELDS
        if shown[name] != wanted[name]
    ]


_FIELDS = ("since", "remark", "company_name", "mobiles", "tags")


def _acknowledged(found: Evidence, shown: Mapping[str, Line], left: _Leavings) -> dict[str, Any]:
    last: dict[str, Line] = {}
    crowded: set[str] = set()  # two changes of a pair in one second: the callback does not say which was told
    for effect in found.ledger:
        if effect["form"] == "follow" and effect["by"] == "user":
            pair = _pair(effect)
            before = last.get(pair)
            (crowded.add if before and _second(before) == _second(effect) else crowded.discard)(pair)
            last[pair] = effect
    taken, crm = _taken(found.deliveries), _crm(found.before)
    judged = [
        pair
        for pair, effect in last.items()
        if (pair, TOLD[effect["verb"]], _second(effect)) in taken and pair not in crowded | found.stuck
    ]
    wrong = [one for pair in judged for one in _differences(pair, shown.get(pair), crm.get(pair), left)]
    return _line("nothing lost: what was acknowledged shows, before the sweep", len(judged), wrong)


def _pair(effect: Line) -> str:
    userid, _, external = str(effect["id"]).partition(":")
    return f"{_code(userid)}/{external}"


def _second(effect: Line) -> int:
    return int(effect["at"]) // 1_000_000


def _leavings(found: Evidence, shown: Mapping[str, Line], left: Mapping[str, int]) -> dict[str, Any]:
    crm = _crm(found.before)
    due = {pair: at for pair, at in left.items() if pair in shown and at >= shown[pair]["createtime"]}
    wrong = [pair for pair in due if crm.get(pair, {}).get("state") != "deleted_by_contact"]
    return _line("a leaving that no read shows is remembered", len(due), wrong)


def _same(found: Evidence, shown: Mapping[str, Line], left: _Leavings) -> dict[str, Any]:
    crm = _crm(found.after)
    pairs = (shown.keys() | crm.keys()) - found.stuck
    wrong = [one for pair in pairs for one in _differences(pair, shown.get(pair), crm.get(pair), left)]
    return _line("after the sweep both sides agree on every relation", len(pairs), wrong)


def _derived(found: Evidence) -> dict[str, Any]:
    crm = _crm(found.after)
    of: dict[str, list[Line]] = {}
    for pair, fields in crm.items():
        if fields["state"] != "deleted_by_employee":
            of.setdefault(pair.partition("/")[2], []).append(fields)
    wrong = []
    for one in found.after["contacts"]:
        fields, external = one["fields"], one["fields"].get("wecom_external_userid")
        follows = sorted(of.get(external, ()), key=lambda each: (each["since"], each["employee"]))
        for name in ("mobiles", "tags"):
            union = sorted({value for each in follows for value in each.get(name) or ()})
            if sorted(fields.get(name) or ()) != union:
                wrong.append(f"{external}: {name} {fields.get(name)}, not {union}")
        if follows and one["owner"] != follows[0]["employee"]:
            wrong.append(f"{external}: owner {one['owner']}, not {follows[0]['employee']}")
    return _line(
        "owner, mobiles and tags of a person follow from the relations", len(found.after["contacts"]), wrong
    )


def _once(found: Evidence) -> dict[str, Any]:
    contacts = Counter(str(one["fields"].get("wecom_external_userid")) for one in found.after["contacts"])
    follows = Counter((one["fields"]["contact"], one["fields"]["employee"]) for one in found.after["follows"])
    customers = Counter(one["fields"]["name"] for one in found.after["customers"])
    doubled = [
        str(key) for counted in (contacts, follows, customers) for key, count in counted.items() if count > 1
    ]
    return _line(
        "nothing doubled in the CRM: people, relations, customers",
        len(contacts) + len(follows) + len(customers),
        doubled,
    )


def _customers(found: Evidence) -> dict[str, Any]:
    """Every company an employee noted is a customer by now, and every customer stands once in Kingdee."""
    made = Counter(
        str(one["fields"].get("FName"))
        for one in found.kingdee
        if (one["verb"], one["form"], one["by"]) == ("create", "BD_Customer", "api")
    )
    names = {one["fields"]["name"] for one in found.after["customers"]}
    wrong = [f"{name}: {count} times" for name, count in made.items() if count > 1]
    wrong += [f"{name}: not in Kingdee" for name in names - made.keys()]
    noted = {one["remark_corp_name"] for one in _relations(found.people) if one["remark_corp_name"]}
    wrong += [f"{name}: no customer was made" for name in noted - names]
    return _line("a customer of every noted company, once in Kingdee", len(names), wrong)


def _tags(ledger: Iterable[Line]) -> dict[str, Any]:
    names = Counter(
        (one["fields"]["group_name"], one["fields"]["name"])
        for one in ledger
        if one["form"] == "tag" and one["verb"] == "add_corp_tag"
    )
    return _line(
        "no tag made twice",
        len(names),
        [f"{name}: {count} times" for (_, name), count in names.items() if count > 1],
    )


def _order(ledger: Iterable[Line]) -> dict[str, Any]:
    """What the CRM wrote to one relation never goes back; the numbers of its edits rise, equal ones are repeats."""
    last: dict[tuple[str, str], int] = {}
    held: dict[tuple[str, str], str] = {}
    wrong, looked, repeats = [], 0, 0
    for one in ledger:
        if one["by"] != "api" or one["verb"] not in ("remark", "mark_tag"):
            continue
        looked += 1
        repeats += not one["fields"]["changed"]
        asked = json.dumps(one["fields"]["asked"], ensure_ascii=False, sort_keys=True)
        pattern = r"客户经理(\d+)" if one["verb"] == "remark" else r"批次(\d+)"
        text = asked if one["verb"] == "remark" else " ".join(one["fields"]["tag_names"])
        numbers = [int(number) for number in re.findall(pattern, text)]
        at = (_pair(one), one["verb"])
        if numbers and max(numbers) < last.get(at, 0):
            wrong.append(f"{at[0]}: {one['verb']} {max(numbers)} behind {last[at]}")
        last[at] = max([*numbers, last.get(at, 0)])
        held[at] = asked
    return _line("order kept: no write of a relation behind a newer one", looked, wrong, repeats=repeats)


def _edits(found: Evidence, shown: Mapping[str, Line]) -> dict[str, Any]:
    """An accepted edit is at WeCom, unless a newer edit, or the relation's end or new beginning, came after it."""
    last: dict[str, Line] = {}
    unknown: dict[str, set[str]] = {}
    for one in found.intents:
        if "edit" in one and one.get("answer") == "ok":
            last[one["pair"]] = one
            unknown[one["pair"]] = set()
        elif "edit" in one:
            unknown.setdefault(one["pair"], set()).add(one["remark"])
    begun = {_pair(one) for one in found.ledger if one["form"] == "follow" and one["verb"] in ("add_contact", "delete_by_employee")
             and one["by"] == "user" and int(one["at"]) > last.get(_pair(one), {}).get("at", 1 << 62)}  # fmt: skip
    judged = [pair for pair in last if pair in shown and pair not in begun | found.stuck]
    wrong = [
        f"{pair}: {shown[pair]['remark']!r}, not {last[pair]['remark']!r}"
        for pair in judged
        if shown[pair]["remark"] not in {last[pair]["remark"], *unknown[pair]}
    ]
    return _line("accepted edits of the CRM are at WeCom", len(judged), wrong)
