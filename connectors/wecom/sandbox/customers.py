"""Customer contact, reading (2.1 to 2.3): the same relation shows differently in get and in the batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

from connectors.wecom.sandbox import cursors
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.rows import Follow, Member, Person
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = ["batch_get_by_user", "get", "get_follow_user_list", "list_customers", "relation", "visible_member"]

MAX_USERS = 100
WECOM_FIELDS = ("position", "corp_name", "corp_full_name", "external_profile")


def visible_member(call: Call, userid: str) -> Member:
    """Return a member in the app's range.

    Raises:
        ErrcodeError: 60111.
    """
    member = call.corp.member(userid)
    if member is None or member.status == 5 or not call.app.sees(call.corp, userid):
        raise ErrcodeError(60111, f"userid not found: {userid[:64]}")
    return member


def relation(call: Call, userid: str, external_userid: str) -> tuple[Follow, Person]:
    """Return the live relation of a pair; a one-way one lives, a half one does not yet.

    Raises:
        ErrcodeError: 60111, 40096, 84061.
    """
    member = visible_member(call, userid)
    person = call.corp.person(external_userid)
    if person is None:
        raise ErrcodeError(40096)
    follow = call.corp.follow(member.userid, external_userid)
    if follow is None or follow.stage == "half" or not member.follows:
        raise ErrcodeError(84061)
    return follow, person


def get_follow_user_list(call: Call) -> Mapping[str, Json]:
    """List the members in range that have 客户联系."""
    seen = call.app.members(call.corp)
    return {
        "follow_user": [
            one.userid
            for key, one in call.corp.members.items()
            if key in seen and one.follows and one.status != 5
        ]
    }


def list_customers(call: Call) -> Mapping[str, Json]:
    """List one member's customers, all at once."""
    member = visible_member(call, call.text("userid"))
    follows = call.corp.follows_of(member.userid) if member.follows else iter(())
    found = [one.external_userid for one in follows if one.stage != "half"]
    if not found and call.dials.empty_list_errcode:
        raise ErrcodeError(call.dials.empty_list_errcode)
    return {"external_userid": found}


def get(call: Call) -> Mapping[str, Json]:
    """Show one person with the followers in range, tags by name."""
    external_userid = call.text("external_userid")
    person = call.corp.person(external_userid)
    if person is None:
        raise ErrcodeError(40096)
    live = [one for one in call.corp.followers(external_userid) if one.stage != "half"]
    if not live:
        raise ErrcodeError(84061)
    seen = call.app.members(call.corp)
    shown = [one for one in live if one.key[0] in seen and _has_contact(call, one)]
    if not shown:
        raise ErrcodeError(40096)
    filters = [call.api, call.app.agentid, external_userid]
    after = _place(call, filters) or [0, -1]
    rest = [one for one in shown if [one.createtime, one.serial] > after]
    page = rest[: call.dials.followers_page]
    body = {
        "external_contact": _external_contact(call, person),
        "follow_user": [_follow_user(call, one, person) for one in page],
    }
    if len(rest) > len(page):
        body["next_cursor"] = cursors.give(filters, [page[-1].createtime, page[-1].serial], call.corp.now())
    return body


def batch_get_by_user(call: Call) -> Mapping[str, Json]:
    """List the relations of up to 100 members, one row per pair; the end is an empty cursor."""
    userids = call.texts("userid_list")
    if not userids and call.dials.old_userid_field and call.text("userid"):
        call.forgive("the old field userid")
        userids = [call.text("userid")]
    elif call.text("userid"):
        call.forgive("unknown field userid")
    if not userids or len(userids) > MAX_USERS:
        raise ErrcodeError(40058, "userid_list must hold 1 to 100 members")
    members = _members(call, userids)
    unlicensed = [one.userid for one in members if not one.licensed]
    if members and len(unlicensed) == len(members):
        raise ErrcodeError(701008)
    readable = [one.userid for one in members if one.licensed and one.follows]
    limit = min(call.integer("limit", 50), MAX_USERS)
    if limit < 1:
        raise ErrcodeError(40058, "limit must be at least 1")
    filters = [call.api, call.app.agentid, userids]
    start = _place(call, filters) or ["", -1]
    rows, cursor = _batch_page(call, readable, start, _shortened(call, limit))
    body: dict[str, Json] = {
        "external_contact_list": rows,
        "next_cursor": cursors.give(filters, cursor, call.corp.now()) if cursor else "",
    }
    if unlicensed:
        body["fail_info"] = {"unlicensed_userid_list": unlicensed}
    return body


def _members(call: Call, userids: list[str]) -> list[Member]:
    found: dict[str, Member] = {}
    for userid in userids:
        try:
            found.setdefault(userid.lower(), visible_member(call, userid))
        except ErrcodeError:
            if call.dials.unknown_member == "refuse":
                raise
    return list(found.values())


def _shortened(call: Call, limit: int) -> int:
    if call.dials.happens("empty_pages"):
        return 0
    return max(1, limit // 3) if call.dials.happens("short_pages") else limit


def _batch_page(
    call: Call, userids: list[str], start: list[Json], limit: int
) -> tuple[list[Json], list[Json] | None]:
    """Return rows from behind ``start`` and the place of the last one, None when nothing is left."""
    user, after = start
    rows: list[Json] = []
    last: list[Json] = start
    for follow in _walk(call, userids, str(user), int(after)):
        if len(rows) >= limit:
            return rows, last
        person = call.corp.person(follow.external_userid)
        if person is None:
            continue
        rows.append(
            {
                "external_contact": _external_contact(call, person),
                "follow_info": _follow_info(call, follow, person),
            }
        )
        last = [follow.key[0], follow.serial]
    return rows, None


def _walk(call: Call, userids: list[str], user: str, after: int) -> Iterator[Follow]:
    names = [userid.lower() for userid in userids]
    begin = names.index(user) if user in names else 0
    for place, name in enumerate(names[begin:]):
        for follow in call.corp.follows_of(name, after if place == 0 and name == user else -1):
            if follow.stage != "half":
                yield follow


def _place(call: Call, filters: Json) -> Json:
    cursor = call.text("cursor")
    if not cursor:
        return None
    return cursors.take(cursor, filters, now=call.corp.now(), life=call.dials.cursor_seconds)


def _has_contact(call: Call, follow: Follow) -> bool:
    member = call.corp.member(follow.userid)
    return member is not None and member.follows and member.status != 5


def _external_contact(call: Call, person: Person) -> dict[str, Json]:
    """Show a person (2.2): unionid by its rule, the corp's fields only of a WeCom user."""
    shown: dict[str, Json] = {
        "external_userid": person.external_userid, "name": person.name, "type": person.type,
        "avatar": person.avatar, "gender": person.gender,
    }  # fmt: skip
    if person.type == 1 and person.unionid and call.dials.bound_to_developer:
        shown["unionid"] = person.unionid
    if person.type == 2:
        shown |= {name: value for name in WECOM_FIELDS if (value := getattr(person, name))}
    if call.dials.unknown_enums and _every_third(person.external_userid):
        shown |= {"type": 7, "gender": 9}
    if call.dials.unknown_fields:
        shown["field_of_next_year"] = {"anything": [1, None, "值"]}
    return shown


def _common(call: Call, follow: Follow, person: Person) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "userid": follow.userid, "remark": follow.remark, "description": follow.description,
        "createtime": follow.createtime, "remark_mobiles": list(follow.remark_mobiles),
        "oper_userid": follow.oper_userid, "add_way": follow.add_way,
    }  # fmt: skip
    if person.type == 1 and follow.remark_corp_name:
        shown["remark_corp_name"] = follow.remark_corp_name
    if follow.state:
        shown["state"] = follow.state
    if follow.add_way == 10:
        shown["wechat_channels"] = dict(follow.wechat_channels)
    if call.dials.unknown_enums and _every_third(follow.external_userid):
        shown["add_way"] = 999
    if call.dials.unknown_fields:
        shown["field_of_next_year"] = "值"
    return shown


def _follow_user(call: Call, follow: Follow, person: Person) -> dict[str, Json]:
    tags: list[Json] = []
    for tag in _tags(call, follow):
        group = call.corp.tag_groups[tag.group_id]
        tags.append({"group_name": group.group_name, "tag_name": tag.name, "tag_id": tag.id, "type": 1})
    tags += [{**one, "type": 2} for one in follow.personal_tags]
    return {**_common(call, follow, person), "tags": tags}


def _follow_info(call: Call, follow: Follow, person: Person) -> dict[str, Json]:
    return {**_common(call, follow, person), "tag_id": [tag.id for tag in _tags(call, follow)]}


def _tags(call: Call, follow: Follow) -> list[Json]:
    found = [call.corp.tags.get(tag_id) for tag_id in follow.tag_ids]
    return [tag for tag in found if tag is not None and not tag.deleted]


def _every_third(external_userid: str) -> bool:
    return zlib.crc32(external_userid.encode()) % 3 == 0
