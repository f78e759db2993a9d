"""Remarks and tags written back to the WeCom sandbox: no more than is due, tags made on demand, lost answers settled."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.sandbox.acts import AddContact, DeleteByCustomer, DeleteByEmployee, EditFollow, MakeTags
from hub.errors import Cause, NotSent, OutcomeUnknown, Refused, TryAgain
from hub.sdk import Absent, Applied, CannotTell, Failed, Found, Gone, Next, VendorKey, VendorRef
from hub.sdk.kit import Bench, Fault
from tests.wecom_stand import SELLER, Recorder, answer, bench, related, wecom, writing

FULL = {
    "external_contact": {"external_userid": "wm1", "type": 1},
    "follow_user": [{"userid": "Rocky", "tags": []}],
}
REF = VendorRef("rocky/wm1")


async def held(connector: WeComConnector, ref: VendorRef) -> dict[str, Any]:
    (record,) = await connector.fetch("follow", [VendorKey("", ref.vendor_id)])
    return record.body


def tags(body: dict[str, Any]) -> set[str]:
    return {tag["tag_name"] for tag in body["tags"]}


async def refused(bench: Bench, connector: Any, write: Any) -> Any:
    result = await bench.one(connector, write)
    assert isinstance(result, Failed), result
    return result.error


# ------------------------------------------------------------------------------------------- remark


async def test_a_plan_writes_remark_then_tags_with_one_effect_each(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    assert await bench.one(wecom, writing(bench, ref, "remark")) == Next(ref)
    assert isinstance(await bench.one(wecom, writing(bench, ref, "tag")), Applied)
    assert bench.stand.effects("follow") == [("remark", ref.vendor_id), ("tag", ref.vendor_id)]
    body = await held(wecom, ref)
    assert (body["remark"], body["description"], body["remark_corp_name"]) == (
        "王总1",
        "展会认识",
        "示例科技有限公司",
    )
    assert body["remark_mobiles"] == ["13800138000"]
    assert tags(body) == {"重要客户", "新标签1"}


async def test_a_second_write_of_the_same_changes_nothing(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    for step in ("remark", "tag", "remark", "tag"):
        await bench.one(wecom, writing(bench, ref, step))
    before = await held(wecom, ref)
    assert [step for step, _ in bench.stand.effects("follow")] == [
        "remark",
        "tag",
        "remark",
    ]  # no tag to mark
    assert await held(wecom, ref) == before


async def test_only_what_is_due_is_sent(bench: Bench):
    recorder = Recorder(answer())
    await bench.one(bench.connect(http=recorder), writing(bench, REF, "remark", {"remark": "王总"}))
    assert recorder.sent == [
        ("POST", "externalcontact/remark", {"userid": "rocky", "external_userid": "wm1", "remark": "王总"})
    ]


async def test_where_no_remark_is_due_no_request_is_made(bench: Bench):
    recorder = Recorder()
    connector = bench.connect(http=recorder)
    assert await bench.one(connector, writing(bench, REF, "remark", {"tags": ["a"]})) == Next(REF)
    assert await bench.one(connector, writing(bench, REF, "tag", {"remark": "a"})) == Applied(REF)
    assert recorder.sent == []


async def test_null_and_empty_clear_a_field(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    await bench.one(wecom, writing(bench, ref, "remark"))
    await bench.one(
        wecom, writing(bench, ref, "remark", {"remark": None, "description": "", "remark_mobiles": []})
    )
    body = await held(wecom, ref)
    assert (body["remark"], body["description"], body["remark_mobiles"]) == (None, None, [])
    assert body["remark_corp_name"] == "示例科技有限公司"


async def test_clearing_mobiles_is_refused_where_the_setting_does_not_allow_it(bench: Bench):
    recorder = Recorder()
    connector = bench.connect(bench.stand.settings() | {"clear_mobiles": False}, http=recorder)
    error = await refused(bench, connector, writing(bench, REF, "remark", {"remark_mobiles": []}))
    assert (type(error), error.field) == (Refused, "remark_mobiles")
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"remark": "字" * 21}, "remark"),
        ({"description": "字" * 151}, "description"),
        ({"remark_company": "字" * 21}, "remark_company"),
        ({"remark": 7}, "remark"),
        ({"remark_mobiles": "13800138000"}, "remark_mobiles"),
        ({"tags": ["字" * 31]}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"remark": "a\x00b"}, "remark"),
        ({"remark_mobiles": ["1\x1f"]}, "remark_mobiles"),
        ({"tags": ["\x07"]}, "tags"),
    ],
)
async def test_what_the_vendor_would_cut_is_refused_before_any_request(
    bench: Bench, payload: Any, field: str
):
    recorder = Recorder()
    for step in ("remark", "tag"):
        error = await refused(bench, bench.connect(http=recorder), writing(bench, REF, step, payload))
        assert (type(error), error.cause, error.field) == (Refused, Cause.INVALID, field)
    assert recorder.sent == []


async def test_limits_count_characters_not_bytes(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    assert await bench.one(
        wecom, writing(bench, ref, "remark", {"remark": "𠮷" * 20, "description": "字" * 150})
    ) == Next(ref)
    assert (await held(wecom, ref))["remark"] == "𠮷" * 20


@pytest.mark.parametrize("ref", [None, VendorRef("no-relation"), VendorRef("/wm1"), VendorRef("rocky/")])
async def test_a_relation_is_never_made(bench: Bench, ref: VendorRef | None):
    recorder = Recorder()
    error = await refused(bench, bench.connect(http=recorder), writing(bench, ref, "remark"))
    assert (type(error), error.cause) == (Refused, Cause.NOT_FOUND)
    assert recorder.sent == []


async def test_nothing_is_sent_after_the_deadline(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    late = replace(writing(bench, ref, "remark"), deadline=bench.clock.monotonic() - 1)
    assert isinstance(await refused(bench, wecom, late), NotSent)
    assert not bench.stand.effects("follow")


# ------------------------------------------------------------------------------------------- gone


async def test_a_relation_the_employee_ended_is_gone_for_every_verb(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    userid, _, external = ref.vendor_id.partition("/")
    bench.stand.sandbox.act(DeleteByEmployee(userid=userid, external_userid=external, silent=True))
    gone = Gone(VendorKey("", ref.vendor_id))
    for step in ("remark", "tag"):
        assert await bench.one(wecom, writing(bench, ref, step)) == gone
        assert await wecom.find([writing(bench, ref, step)]) == [gone]
    assert await wecom.fetch("follow", [VendorKey("", ref.vendor_id)]) == [gone]


async def test_a_relation_the_customer_ended_can_still_be_written(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    userid, _, external = ref.vendor_id.partition("/")
    bench.stand.sandbox.act(DeleteByCustomer(userid=userid, external_userid=external, silent=True))
    assert await bench.one(wecom, writing(bench, ref, "remark")) == Next(ref)


# ------------------------------------------------------------------------------------------- tags


async def test_a_missing_tag_is_made_once_in_our_group(bench: Bench, wecom: WeComConnector):
    refs = await related(bench, 3)
    writes = [writing(bench, ref, "tag", {"tags": ["同一个新标签"]}) for ref in refs]
    results = await wecom.write(writes)
    assert all(isinstance(result, Applied) for result in results)
    made = [tag for tag in bench.stand.sandbox.corp.tags.values() if tag.name == "同一个新标签"]
    assert len(made) == 1
    assert bench.stand.sandbox.corp.tag_groups[made[0].group_id].group_name == "CRM"


async def test_tags_nobody_wants_any_more_are_taken_off(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    await bench.one(wecom, writing(bench, ref, "tag", {"tags": ["重要客户", "a"]}))
    await bench.one(wecom, writing(bench, ref, "tag", {"tags": ["a", "b"]}))
    assert tags(await held(wecom, ref)) == {"a", "b"}
    await bench.one(wecom, writing(bench, ref, "tag", {"tags": None}))
    assert tags(await held(wecom, ref)) == set()


async def test_personal_tags_are_neither_read_nor_touched(bench: Bench, wecom: WeComConnector):
    (made,) = bench.stand.sandbox.act(
        AddContact(
            userid=SELLER,
            personal_tags=[{"group_name": "我的", "tag_name": "球友"}],
            tags=["普通客户"],
            silent=True,
        )
    )
    ref = VendorRef(f"{SELLER.lower()}/{made['external_userid']}")
    assert tags(await held(wecom, ref)) == {"普通客户"}
    await bench.one(wecom, writing(bench, ref, "tag", {"tags": []}))
    (follow,) = bench.stand.sandbox.corp.followers(str(made["external_userid"]))
    assert follow.tag_ids == []
    assert follow.personal_tags == [{"group_name": "我的", "tag_name": "球友"}]


async def test_a_name_in_two_groups_means_the_one_that_is_held_then_the_one_of_our_group(
    bench: Bench, wecom: WeComConnector
):
    bench.stand.sandbox.act(
        MakeTags(group_name="旧组", names=["双"], silent=True),
        MakeTags(group_name="CRM", names=["双"], silent=True),
    )
    ids = {
        bench.stand.sandbox.corp.tag_groups[tag.group_id].group_name: tag.id
        for tag in bench.stand.sandbox.corp.tags.values()
        if tag.name == "双"
    }
    first, second = await related(bench, 2)
    userid, _, external = first.vendor_id.partition("/")
    bench.stand.sandbox.act(
        EditFollow(userid=userid, external_userid=external, tag_ids=[ids["旧组"]], silent=True)
    )
    await bench.one(wecom, writing(bench, first, "tag", {"tags": ["双"]}))
    await bench.one(wecom, writing(bench, second, "tag", {"tags": ["双"]}))
    assert [[tag["tag_id"] for tag in (await held(wecom, ref))["tags"]] for ref in (first, second)] == [
        [ids["旧组"]],
        [ids["CRM"]],
    ]


async def test_a_strategy_tag_that_is_wanted_is_there_already_and_is_never_taken_off(bench: Bench):
    strategy = {"tag_name": "华东", "tag_id": "st1", "type": 3, "group_name": "大区"}
    seen = {**FULL, "follow_user": [{"userid": "Rocky", "tags": [strategy]}]}
    recorder = Recorder(answer(**seen), answer(**seen))
    connector = bench.connect(http=recorder)
    for wanted in (["华东"], []):
        assert isinstance(await bench.one(connector, writing(bench, REF, "tag", {"tags": wanted})), Applied)
    assert [path for _, path, _ in recorder.sent] == ["externalcontact/get"] * 2


async def test_a_tag_somebody_else_makes_at_the_same_moment_is_used(bench: Bench):
    group = {"group_id": "g", "group_name": "CRM", "tag": [{"id": "et9", "name": "新"}]}
    recorder = Recorder(
        answer(**FULL),
        answer(tag_group=[]),
        answer(tag_group=[]),
        answer(errcode=40071),
        answer(tag_group=[group]),
        answer(),
    )
    assert isinstance(
        await bench.one(bench.connect(http=recorder), writing(bench, REF, "tag", {"tags": ["新"]})), Applied
    )
    assert recorder.sent[-1] == (
        "POST", "externalcontact/mark_tag", {"userid": "rocky", "external_userid": "wm1", "add_tag": ["et9"], "remove_tag": []}
    )  # fmt: skip


async def test_a_full_tag_library_is_a_refusal_of_the_field(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    bench.stand.sandbox.inject("errcode_40126", op="externalcontact/add_corp_tag")
    error = await refused(bench, wecom, writing(bench, ref, "tag"))
    assert (type(error), error.code, error.field) == (Refused, "40126", "tags")


async def test_a_concurrent_write_at_the_vendor_is_tried_again_later(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    bench.stand.sandbox.inject("errcode_45035", op="externalcontact/mark_tag")
    error = await refused(bench, wecom, writing(bench, ref, "tag"))
    assert (type(error), error.cause) == (TryAgain, Cause.LOCKED)


async def test_writes_to_one_contact_follow_each_other(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    bench.stand.sandbox.dials.latency_ms = 5
    writes = [writing(bench, ref, "tag", {"tags": [name]}) for name in ("a", "b", "c")]
    results = await wecom.write(writes)
    assert all(isinstance(result, Applied) for result in results), results
    assert tags(await held(wecom, ref)) == {"c"}


async def test_one_bad_item_of_a_batch_stops_no_other(bench: Bench, wecom: WeComConnector):
    first, second, third = await related(bench, 3)
    bad = writing(bench, second, "remark", bench.stand.bad("follow"))
    results = await wecom.write([writing(bench, first, "remark"), bad, writing(bench, third, "remark")])
    assert [type(result) for result in results] == [Next, Failed, Next]
    assert {one for _, one in bench.stand.effects("follow")} == {first.vendor_id, third.vendor_id}


async def test_two_connectors_may_write_at_the_same_time(bench: Bench):
    refs = await related(bench, 4)
    connectors = [bench.connect() for _ in refs]
    results = await asyncio.gather(
        *(bench.one(one, writing(bench, ref, "remark")) for one, ref in zip(connectors, refs, strict=True))
    )
    assert all(isinstance(result, Next) for result in results)


# ------------------------------------------------------------------------------------------- lost answers


@pytest.mark.parametrize("step", ["remark", "tag"])
@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.CUT, Fault.GARBLED])
async def test_a_write_whose_answer_is_lost_is_found(
    bench: Bench, wecom: WeComConnector, step: str, fault: Fault
):
    (ref,) = await related(bench)
    write = writing(bench, ref, step)
    (before,) = await wecom.find([write])
    bench.stand.inject(fault, step, "follow")
    assert isinstance(await refused(bench, wecom, write), OutcomeUnknown)
    (after,) = await wecom.find([write])
    assert isinstance(before, Found)
    assert isinstance(after, Found)
    assert (before.as_sent, after.as_sent) == (False, True)
    assert after.ref == ref
    assert bench.stand.effects("follow") == [(step, ref.vendor_id)]


@pytest.mark.parametrize("step", ["remark", "tag"])
async def test_a_write_that_takes_effect_late_is_found_by_the_second_look(
    bench: Bench, wecom: WeComConnector, step: str
):
    (ref,) = await related(bench)
    write = writing(bench, ref, step)
    bench.stand.inject(Fault.LATE, step, "follow")
    assert isinstance(await refused(bench, wecom, write), OutcomeUnknown)
    (before,) = await wecom.find([write])
    bench.stand.sandbox.advance(bench.stand.late)
    (after,) = await wecom.find([write])
    assert [one.as_sent for one in (before, after) if isinstance(one, Found)] == [False, True]


async def test_a_step_that_sends_nothing_is_found_as_sent(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    found = await wecom.find(
        [writing(bench, ref, "remark", {"tags": ["a"]}), writing(bench, ref, "tag", {"remark": "a"})]
    )
    assert [one.as_sent for one in found if isinstance(one, Found)] == [True, True]


async def test_a_look_up_of_several_writes_to_one_contact_is_one_call(bench: Bench):
    recorder = Recorder(answer(**FULL))
    writes = [writing(bench, REF, step) for step in ("remark", "tag")]
    assert all(isinstance(one, Found) for one in await bench.connect(http=recorder).find(writes))
    assert len(recorder.sent) == 1


async def test_a_look_up_that_fails_tells_nothing(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    bench.stand.sandbox.inject("html_200", op="externalcontact/get")
    (found,) = await wecom.find([writing(bench, ref, "remark")])
    assert isinstance(found, CannotTell)
    assert isinstance(found.error, TryAgain)


async def test_a_create_is_absent(bench: Bench, wecom: WeComConnector):
    assert await wecom.find([writing(bench, None, "remark")]) == [Absent()]


async def test_the_company_of_a_wecom_user_is_not_kept_and_not_compared(bench: Bench, wecom: WeComConnector):
    (made,) = bench.stand.sandbox.act(AddContact(userid=SELLER, type=2, corp_name="示例", silent=True))
    ref = VendorRef(f"{SELLER.lower()}/{made['external_userid']}")
    write = writing(bench, ref, "remark", {"remark": "王总", "remark_company": "别的公司"})
    assert await bench.one(wecom, write) == Next(ref)
    (found,) = await wecom.find([write])
    assert isinstance(found, Found)
    assert found.as_sent


@pytest.mark.parametrize(
    ("kind", "sent"), [(1, {"remark": "王总", "remark_company": "示例"}), (2, {"remark": "王总"})]
)
async def test_a_company_is_sent_for_wechat_users_alone(bench: Bench, kind: int, sent: dict[str, str]):
    contact = {"external_userid": "wm1", "type": kind, "name": "王"}
    recorder = Recorder(answer(external_contact=contact, follow_user=[]), answer())
    write = writing(bench, REF, "remark", {"remark": "王总", "remark_company": "示例"})
    assert await bench.one(bench.connect(http=recorder), write) == Next(REF)
    assert recorder.sent[1:] == [
        ("POST", "externalcontact/remark", {"userid": "rocky", "external_userid": "wm1", **sent})
    ]


async def test_a_company_alone_is_no_request_for_a_wecom_user(bench: Bench, wecom: WeComConnector):
    (made,) = bench.stand.sandbox.act(AddContact(userid=SELLER, type=2, corp_name="示例", silent=True))
    ref = VendorRef(f"{SELLER.lower()}/{made['external_userid']}")
    assert await bench.one(wecom, writing(bench, ref, "remark", {"remark_company": "别的公司"})) == Next(ref)
    assert bench.stand.effects("follow") == []


async def test_a_rate_limit_blocks_that_api_alone_and_is_not_asked_again(bench: Bench, wecom: WeComConnector):
    (ref,) = await related(bench)
    bench.stand.inject(Fault.RATE, "remark", "follow")
    error = await refused(bench, wecom, writing(bench, ref, "remark"))
    assert (type(error), error.cause, error.after) == (TryAgain, Cause.RATE, 60.0)
    again = await refused(bench, wecom, writing(bench, ref, "remark"))
    assert 0 < again.after <= 60.0
    assert "nothing was sent" in str(again)
    assert isinstance(await bench.one(wecom, writing(bench, ref, "tag")), Applied)


async def test_a_token_that_ended_before_a_write_is_renewed_with_one_effect(
    bench: Bench, wecom: WeComConnector
):
    (ref,) = await related(bench)
    for fault in ("revoke_token", "expire_token", "errcode_40001"):
        bench.stand.sandbox.inject(fault, op="externalcontact/remark")
        assert await bench.one(wecom, writing(bench, ref, "remark", {"remark": fault})) == Next(ref)
    assert len(bench.stand.effects("follow")) == 3
