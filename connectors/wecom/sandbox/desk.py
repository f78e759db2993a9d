"""The vendor's own users at their screens: what they do has effects and, other than the API, events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

from connectors.wecom.sandbox import acts, approval_desk, directory, tags
from connectors.wecom.sandbox.answers import ErrcodeError
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.events import Event
from connectors.wecom.sandbox.rows import Follow, Member, Person, Tag
from connectors.wecom.sandbox.transfers import finish_due
from hub.sdk.sandbox import Json

__all__ = ["perform"]

Emit: TypeAlias = Callable[[Event], None]
NOTED = ("remark", "description", "remark_corp_name", "remark_mobiles", "personal_tags")
OUTCOMES = {"done": 1, "refused": 3, "full": 4}


def perform(corp: Corp, act: acts.Act, emit: Emit, dials: WeComDials) -> Mapping[str, Json]:
    """Do what somebody does; return the ids it made.

    Raises:
        ErrcodeError: it cannot be done.
    """
    say: Emit = (lambda _: None) if act.silent else emit
    if type(act) in APPROVERS:
        approve: Any = APPROVERS[type(act)]
        made: Mapping[str, Json] = approve(corp, act, say, dials)
        return made
    do: Any = DOERS[type(act)]  # the table pairs each model with the function that takes it
    result: Mapping[str, Json] = do(corp, act, say)
    return result


def _by(act: acts.Act) -> str:
    return "seed" if act.silent else "user"


def _say(corp: Corp, emit: Emit, change_type: str, follow: Follow, **more: str) -> None:
    named = {"UserID": follow.userid, "ExternalUserID": follow.external_userid}
    said = named | {name: value for name, value in more.items() if value}
    emit(Event("change_external_contact", change_type, corp.seconds(), said, follow.userid))


def _member(corp: Corp, userid: str) -> Member:
    found = corp.member(userid)
    if found is None:
        raise ErrcodeError(60111, f"no member {userid}")
    return found


def _relation(corp: Corp, act: acts.EditFollow | acts._Pair) -> Follow:
    found = corp.follow(act.userid, act.external_userid)
    if found is None:
        raise ErrcodeError(84061, f"{act.userid} does not follow {act.external_userid}")
    return found


def _noted(corp: Corp, act: acts._Noted) -> dict[str, Any]:
    changes = {name: value for name in NOTED if (value := getattr(act, name)) is not None}
    tag_ids = list(act.tag_ids or ())
    for name in act.tags or ():
        found = [one.id for one in corp.tags.values() if one.name == name and not one.deleted]
        if len(found) != 1:
            raise ErrcodeError(40068, f"{len(found)} tags are named {name}")
        tag_ids += found
    for tag_id in tag_ids:
        if tag_id not in corp.tags:
            raise ErrcodeError(40068, f"no tag {tag_id}")
    if act.tag_ids is not None or act.tags is not None:
        changes["tag_ids"] = tag_ids
    return changes


def _add_contact(corp: Corp, act: acts.AddContact, emit: Emit) -> Mapping[str, Json]:
    member = _member(corp, act.userid)
    external_userid = act.external_userid or _new_external_userid(corp, act.type)
    person = corp.person(external_userid)
    old = corp.follow(member.userid, external_userid)
    if old is not None and old.stage == "normal":
        raise ErrcodeError(84061, f"{member.userid} follows {external_userid} already")
    noted = _noted(corp, act)
    if person is None:
        given = {one.name: getattr(act, one.name) for one in fields(Person) if hasattr(act, one.name)}
        person = Person(**{**given, "external_userid": external_userid})
        if person.type == 1 and not person.unionid:
            person.unionid = f"ozynqs{external_userid[-12:]:0>22}"
        corp.put(person, "create_contact", _by(act))
    follow = Follow(
        old.serial if old is not None else corp.new_serial(), member.userid, external_userid,
        act.createtime or corp.seconds(), state=act.state, oper_userid=act.oper_userid or member.userid,
        add_way=act.add_way, wechat_channels=dict(act.wechat_channels), stage="half" if act.half else "normal",
        **noted,
    )  # fmt: skip
    corp.put(follow, "half_add_contact" if act.half else "add_contact", _by(act))
    change = "add_half_external_contact" if act.half else "add_external_contact"
    welcome = "" if person.type == 2 else f"WELCOME{corp.new_number():09d}"
    _say(corp, emit, change, follow, State=act.state, WelcomeCode=welcome)
    return {"userid": follow.userid, "external_userid": external_userid, "createtime": follow.createtime}


def _new_external_userid(corp: Corp, type_: int) -> str:
    return f"{'wo' if type_ == 2 else 'wm'}Sbx{corp.new_number():016d}"


def _accept(corp: Corp, act: acts.Accept, emit: Emit) -> Mapping[str, Json]:
    old = _relation(corp, act)
    if old.stage != "half":
        raise ErrcodeError(84061, "nothing to accept")
    corp.put(replace(old, stage="normal"), "add_contact", _by(act))
    _say(corp, emit, "add_external_contact", old, State=old.state)
    return {}


def _edit_follow(corp: Corp, act: acts.EditFollow, emit: Emit) -> Mapping[str, Json]:
    old = _relation(corp, act)
    changes = _noted(corp, act)
    new = replace(old, **changes)
    changed = sorted(name for name in changes if getattr(old, name) != getattr(new, name))
    corp.put(new, "edit_follow", _by(act), {"changed": changed})
    _say(corp, emit, "edit_external_contact", new)
    return {"changed": changed}


def _edit_person(corp: Corp, act: acts.EditPerson, _: Emit) -> Mapping[str, Json]:
    old = corp.person(act.external_userid)
    if old is None:
        raise ErrcodeError(40096)
    given = act.model_dump(exclude={"act", "silent", "external_userid"}, exclude_none=True)
    corp.put(replace(old, **given), "edit_contact", _by(act))
    return {}


def _delete_by_employee(corp: Corp, act: acts.DeleteByEmployee, emit: Emit) -> Mapping[str, Json]:
    old = _relation(corp, act)
    corp.drop(old, "delete_by_employee", _by(act))
    _say(corp, emit, "del_external_contact", old)
    return {}


def _delete_by_customer(corp: Corp, act: acts.DeleteByCustomer, emit: Emit) -> Mapping[str, Json]:
    old = _relation(corp, act)
    corp.put(replace(old, stage="one_way"), "delete_by_customer", _by(act))
    _say(corp, emit, "del_follow_user", old)
    return {}


def _transfer_outcome(corp: Corp, act: acts.TransferOutcome, emit: Emit) -> Mapping[str, Json]:
    waiting = [
        one
        for one in corp.transfers.values()
        if one.external_userid == act.external_userid and one.status == 2
    ]
    if not waiting:
        raise ErrcodeError(40096, "no transfer of this customer is under way")
    due = corp.seconds() if act.now else waiting[0].takeover_time
    corp.put(replace(waiting[0], will=OUTCOMES[act.outcome], takeover_time=due), "decide_transfer", _by(act))
    finish_due(corp, emit)
    return {}


def _tag_event(corp: Corp, change_type: str, tag_type: str, tag_id: str) -> Event:
    said = {"Id": tag_id, "TagType": tag_type} if tag_type else {"Id": tag_id}
    return Event("change_external_tag", change_type, corp.seconds(), said)


def _make_tags(corp: Corp, act: acts.MakeTags, emit: Emit) -> Mapping[str, Json]:
    known = {one.group_id for one in corp.tag_groups.values()}
    group, made = tags.make_tags(
        corp, act.group_name, list(dict.fromkeys(act.names)), group_id="", order=act.order, orders={},
        maker="", by=_by(act), limit=10_000, duplicate=40071,
    )  # fmt: skip
    if group.group_id not in known:
        emit(_tag_event(corp, "create", "tag_group", group.group_id))
    for tag in made:
        emit(_tag_event(corp, "create", "tag", tag.id))
    return {"group_id": group.group_id, "tag_ids": {tag.name: tag.id for tag in made}}


def _edit_tag(corp: Corp, act: acts.EditTag, emit: Emit) -> Mapping[str, Json]:
    row = corp.tags.get(act.id) or corp.tag_groups.get(act.id)
    if row is None or row.deleted:
        raise ErrcodeError(40068, f"no tag or group {act.id}")
    order = row.order if act.order is None else act.order
    if isinstance(row, Tag):
        corp.put(replace(row, name=act.name or row.name, order=order), "edit_tag", _by(act))
    else:
        corp.put(replace(row, group_name=act.name or row.group_name, order=order), "edit_tag", _by(act))
    emit(_tag_event(corp, "update", "tag" if isinstance(row, Tag) else "tag_group", act.id))
    return {}


def _delete_tags(corp: Corp, act: acts.DeleteTags, emit: Emit) -> Mapping[str, Json]:
    for one in (*act.tag_ids, *act.group_ids):
        row = corp.tags.get(one) if one in act.tag_ids else corp.tag_groups.get(one)
        if row is None or row.deleted:
            raise ErrcodeError(40068, f"no tag or group {one}")
    groups = {one.group_id for one in tags.delete_tags(corp, act.tag_ids, act.group_ids, by=_by(act))}
    for tag_id in act.tag_ids:
        if corp.tags[tag_id].group_id not in groups:  # those of a deleted group are not told one by one
            emit(_tag_event(corp, "delete", "tag", tag_id))
    for group_id in sorted(groups):
        emit(_tag_event(corp, "delete", "tag_group", group_id))
    return {}


def _shuffle_tags(corp: Corp, act: acts.ShuffleTags, emit: Emit) -> Mapping[str, Json]:
    groups = [one for one in corp.tag_groups.values() if not one.deleted]
    if not act.group_id:
        for order, group in enumerate(groups):
            corp.put(replace(group, order=order), "shuffle_tags", _by(act))
    else:
        mine = [one for one in corp.tags.values() if one.group_id == act.group_id and not one.deleted]
        for order, tag in enumerate(mine):
            corp.put(replace(tag, order=order), "shuffle_tags", _by(act))
    emit(_tag_event(corp, "shuffle", "", act.group_id))
    return {}


def _raw_event(corp: Corp, act: acts.RawEvent, emit: Emit) -> Mapping[str, Json]:
    emit(Event(act.event, act.change_type, act.created or corp.seconds(), act.fields, grant=act.grant))
    return {}


DOERS: Mapping[type[object], Callable[..., Mapping[str, Json]]] = {
    acts.AddContact: _add_contact, acts.Accept: _accept, acts.EditFollow: _edit_follow,
    acts.EditPerson: _edit_person, acts.DeleteByEmployee: _delete_by_employee,
    acts.DeleteByCustomer: _delete_by_customer, acts.TransferOutcome: _transfer_outcome,
    acts.MakeTags: _make_tags, acts.EditTag: _edit_tag, acts.DeleteTags: _delete_tags,
    acts.ShuffleTags: _shuffle_tags, acts.PutMember: directory.put_member,
    acts.DeleteMember: directory.delete_member, acts.PutDepartment: directory.put_department,
    acts.DeleteDepartment: directory.delete_department, acts.RawEvent: _raw_event,
}  # fmt: skip
APPROVERS: Mapping[type[object], Callable[..., Mapping[str, Json]]] = {
    acts.Submit: approval_desk.submit, acts.ActOnForm: approval_desk.act_on_form, acts.PutTemplate: approval_desk.put_template,
}  # fmt: skip
"""Those whose events look as the dials say."""
