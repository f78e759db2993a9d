"""Customer contact, writing: remark and mark_tag. What the API writes is never called back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.customers import relation
from connectors.wecom.sandbox.rows import Follow, fields_of
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = ["mark_tag", "pair_of", "remark"]

LONGEST = {"remark": 20, "description": 150, "remark_company": 20}
STORED = {"remark": "remark", "description": "description", "remark_company": "remark_corp_name"}
OPTIONAL = (*LONGEST, "remark_mobiles", "remark_pic_mediaid")


def remark(call: Call) -> Mapping[str, Json]:
    """Change what one employee notes about a person."""
    follow, person = relation(call, call.text("userid"), call.text("external_userid"))
    asked = {name: call.fields[name] for name in OPTIONAL if name in call.fields}
    if not asked:
        raise ErrcodeError(40058, "at least one of remark, description, remark_company, … is needed")
    for name, longest in LONGEST.items():
        if len(asked.get(name, "")) > longest:
            raise ErrcodeError(40058, f"{name} is longer than {longest} characters")
    changes: dict[str, Json] = {STORED[name]: value for name, value in asked.items() if name in STORED}
    if "remark_company" in asked and person.type != 1:
        call.forgive("remark_company of a WeCom user")
        del changes["remark_corp_name"]
    if "remark_mobiles" in asked:
        changes |= _mobiles(call, asked["remark_mobiles"])
    _put(call, follow, replace(follow, **changes), "remark", asked)
    return {}


def mark_tag(call: Call) -> Mapping[str, Json]:
    """Put corp tags on a relation and take others off."""
    follow, _ = relation(call, call.text("userid"), call.text("external_userid"))
    add, remove = call.texts("add_tag"), call.texts("remove_tag")
    if not add and not remove:
        raise ErrcodeError(40058, "add_tag and remove_tag are both empty")
    for tag_id in (*add, *remove):
        tag = call.corp.tags.get(tag_id)
        if tag is None or tag.deleted:
            raise ErrcodeError(40068, f"invalid tagid: {tag_id[:64]}")
    kept = [tag_id for tag_id in follow.tag_ids if tag_id not in remove]
    tag_ids = list(dict.fromkeys([*kept, *(tag_id for tag_id in add if tag_id not in remove)]))
    _put(call, follow, replace(follow, tag_ids=tag_ids), "mark_tag", {"add_tag": add, "remove_tag": remove})
    return {}


def pair_of(fields: Mapping[str, Json]) -> tuple[str, str]:
    """Return the pair a mark_tag writes, so that two at once can be refused."""
    return str(fields.get("userid")).lower(), str(fields.get("external_userid"))


def _mobiles(call: Call, given: list[str]) -> dict[str, Json]:
    if not given and not call.dials.empty_array_clears_mobiles:
        return {}  # a list without entries changes nothing; one empty text clears
    return {"remark_mobiles": [one for one in given if one]}


def _put(call: Call, old: Follow, new: Follow, verb: str, asked: Mapping[str, Json]) -> None:
    name_of: Callable[[str], str] = lambda tag_id: call.corp.tags[tag_id].name  # noqa: E731 - two uses, one line
    before, after = fields_of(old), fields_of(new)
    more = {
        "asked": dict(asked),
        "changed": sorted(name for name in after if after[name] != before[name]),
        "tag_names": [name_of(tag_id) for tag_id in new.tag_ids if tag_id in call.corp.tags],
        "agentid": call.app.agentid,
    }
    call.corp.put(new, verb, "api", more)
