"""The corp tag library (2.4): groups appear with their first tag and go with their last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.rows import Tag, TagGroup
from connectors.wecom.sandbox.wire import Call
from hub.sdk.sandbox import Json

__all__ = ["add_corp_tag", "del_corp_tag", "delete_tags", "edit_corp_tag", "get_corp_tag_list", "make_tags"]

LONGEST = 30


def get_corp_tag_list(call: Call) -> Mapping[str, Json]:
    """List the library, or the asked groups or tags with their deleted flags."""
    corp, group_ids, tag_ids = call.corp, call.texts("group_id"), call.texts("tag_id")
    tags: Iterable[Tag]
    if group_ids:
        tags = [one for one in corp.tags.values() if one.group_id in group_ids]
        tags = [one for one in tags if not corp.tag_groups[one.group_id].deleted]
    elif tag_ids:
        tags = [one for one in corp.tags.values() if one.id in tag_ids]
    else:
        tags = [one for one in corp.tags.values() if not one.deleted]
    by_group: dict[str, list[Tag]] = {}
    for tag in tags:
        by_group.setdefault(tag.group_id, []).append(tag)
    groups = sorted((corp.tag_groups[one] for one in by_group), key=_place)
    flags = "tag" if tag_ids and not group_ids else "group" if group_ids else ""
    return {"tag_group": [_shown(group, by_group[group.group_id], flags) for group in groups]}


def add_corp_tag(call: Call) -> Mapping[str, Json]:
    """Add tags to a group that is named by id or by name; a new name makes the group."""
    group_id, names = call.text("group_id"), [one.get("name") for one in call.fields.get("tag", ())]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ErrcodeError(40058, "tag must hold at least one name")
    orders = {one["name"]: one.get("order", 0) for one in reversed(call.fields["tag"])}
    for name in (*names, *(() if group_id else (call.text("group_name"),))):
        if len(name) > LONGEST:
            raise ErrcodeError(40072)
    if not all(_is_order(order) for order in (*orders.values(), call.integer("order", 0))):
        raise ErrcodeError(40058, "order must be a uint32")
    group, tags = make_tags(
        call.corp, call.text("group_name"), list(dict.fromkeys(names)), group_id=group_id,
        order=call.integer("order", 0), orders=orders, maker=call.app.agentid, by="api",
        limit=call.dials.max_tags, duplicate=call.dials.duplicate_tag_errcode,
    )  # fmt: skip
    return {"tag_group": _shown(group, tags, "")}


def edit_corp_tag(call: Call) -> Mapping[str, Json]:
    """Rename or reorder a tag or a group the app made."""
    row = _editable(call, call.text("id"))
    name, order = call.text("name"), call.fields.get("order")
    if not name and order is None:
        raise ErrcodeError(40058, "name or order is needed")
    if len(name) > LONGEST:
        raise ErrcodeError(40072)
    if order is not None and not _is_order(order):
        raise ErrcodeError(40058, "order must be a uint32")
    more = {"agentid": call.app.agentid}
    order = row.order if order is None else order
    if isinstance(row, TagGroup):
        others = [one for one in call.corp.tag_groups.values() if not one.deleted and one is not row]
        if name in [one.group_name for one in others]:
            raise ErrcodeError(40071)
        call.corp.put(
            replace(row, group_name=name or row.group_name, order=order), "edit_corp_tag", "api", more
        )
        return {}
    if name in [one.name for one in _live(call.corp, row.group_id) if one is not row]:
        raise ErrcodeError(40071)
    call.corp.put(replace(row, name=name or row.name, order=order), "edit_corp_tag", "api", more)
    return {}


def del_corp_tag(call: Call) -> Mapping[str, Json]:
    """Delete tags and whole groups the app made."""
    tag_ids, group_ids = call.texts("tag_id"), call.texts("group_id")
    if not tag_ids and not group_ids:
        raise ErrcodeError(40058, "tag_id and group_id are both empty")
    for one in (*tag_ids, *group_ids):
        _editable(call, one)
    delete_tags(call.corp, tag_ids, group_ids, by="api")
    return {}


def make_tags(
    corp: Corp,
    group_name: str,
    names: list[str],
    *,
    group_id: str,
    order: int,
    orders: Mapping[str, int],
    maker: str,
    by: str,
    limit: int,
    duplicate: int,
) -> tuple[TagGroup, list[Tag]]:
    """Make tags, and their group when no live one has this id or name; ``maker`` "" is the console.

    Raises:
        ErrcodeError: 40068 no such group, 40058 no group named, 40126 too many, ``duplicate`` a taken name.
    """
    if not group_id and not group_name:
        raise ErrcodeError(40058, "group_id or group_name is needed")
    live = [one for one in corp.tag_groups.values() if not one.deleted]
    found = [one for one in live if (one.group_id == group_id if group_id else one.group_name == group_name)]
    if group_id and not found:
        raise ErrcodeError(40068)
    taken = {one.name for one in _live(corp, found[0].group_id)} if found else set()
    if taken & set(names):
        raise ErrcodeError(duplicate)
    if sum(not one.deleted for one in corp.tags.values()) + len(names) > limit:
        raise ErrcodeError(40126)
    now, verb = corp.seconds(), "add_corp_tag"
    if found:
        group = found[0]
    else:
        group = TagGroup(f"etSbxGroup{corp.new_number():08d}", group_name, now, order, maker=maker)
        corp.put(group, verb, by)
    tags = [
        Tag(f"etSbxTag{corp.new_number():010d}", group.group_id, name, now, orders.get(name, 0), maker=maker)
        for name in names
    ]
    for tag in tags:
        corp.put(tag, verb, by, {"group_name": group.group_name})
    return group, tags


def delete_tags(corp: Corp, tag_ids: Iterable[str], group_ids: Iterable[str], *, by: str) -> list[TagGroup]:
    """Delete tags and groups; return the groups that went, named or emptied."""
    gone = set(group_ids)
    doomed = [one for one in corp.tags.values() if one.id in set(tag_ids) or one.group_id in gone]
    for tag in doomed:
        if not tag.deleted:
            corp.put(replace(tag, deleted=True), "del_corp_tag", by)
    gone |= {tag.group_id for tag in doomed if not _live(corp, tag.group_id)}
    groups = [corp.tag_groups[one] for one in sorted(gone) if not corp.tag_groups[one].deleted]
    for group in groups:
        corp.put(replace(group, deleted=True), "del_corp_tag", by)
    return groups


def _editable(call: Call, tag_id: str) -> Tag | TagGroup:
    row = call.corp.tags.get(tag_id) or call.corp.tag_groups.get(tag_id)
    if row is None or row.deleted:
        raise ErrcodeError(40068, f"invalid tagid: {tag_id[:64]}")
    if row.maker != call.app.agentid:
        raise ErrcodeError(call.dials.foreign_tag_errcode, "made by another app")
    return row


def _live(corp: Corp, group_id: str) -> list[Tag]:
    return [one for one in corp.tags.values() if one.group_id == group_id and not one.deleted]


def _is_order(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _place(row: Tag | TagGroup) -> tuple[int, int, str]:
    """Order by ``order``, the larger first; then as they were made."""
    return -row.order, row.create_time, row.id if isinstance(row, Tag) else row.group_id


def _shown(group: TagGroup, tags: list[Tag], flags: str) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "group_id": group.group_id, "group_name": group.group_name, "create_time": group.create_time,
        "order": group.order,
    }  # fmt: skip
    if flags == "tag":
        shown["deleted"] = group.deleted
    shown["tag"] = [
        {"id": one.id, "name": one.name, "create_time": one.create_time, "order": one.order}
        | ({"deleted": one.deleted} if flags else {})
        for one in sorted(tags, key=_place)
    ]
    return shown
