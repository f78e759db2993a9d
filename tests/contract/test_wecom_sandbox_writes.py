"""The WeCom stand-in: remark, tags, transfers, lost answers, the ledger (2.1, 2.4, 9 and 10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import AddContact, DeleteByEmployee, DeleteMember, MakeTags, PutMember
from connectors.wecom.sandbox.control import shown_person
from connectors.wecom.sandbox.population import Spec
from tests.contract.wecom_sandbox_site import CUSTOMER, Body, Inbox, Site, open_site

DAY = 86_400


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def follow(site: Site, external: str) -> Body:
    return dict((await site.get(f"{CUSTOMER}get", external_userid=external))["follow_user"][0])


async def remark(site: Site, external: str, **more: Any) -> int:
    return int(
        (await site.post(f"{CUSTOMER}remark", userid="zhangsan", external_userid=external, **more))["errcode"]
    )


async def mark(site: Site, external: str, **more: Any) -> int:
    return int(
        (await site.post(f"{CUSTOMER}mark_tag", userid="zhangsan", external_userid=external, **more))[
            "errcode"
        ]
    )


async def add_tag(site: Site, *names: str, **more: Any) -> Body:
    return await site.post(f"{CUSTOMER}add_corp_tag", tag=[{"name": name} for name in names], **more)


async def tag_list(site: Site, **more: Any) -> list[Body]:
    return list((await site.post(f"{CUSTOMER}get_corp_tag_list", **more))["tag_group"])


async def test_a_remark_changes_only_the_named_fields_of_one_employee(site: Site) -> None:
    external = await site.add(remark="旧", description="说明", remark_mobiles=["13800000000"])
    await site.add("lisi", external_userid=external, remark="李四的")
    assert await remark(site, external, remark="新", remark_company="示例公司") == 0
    mine, other = (await site.get(f"{CUSTOMER}get", external_userid=external))["follow_user"]
    assert (mine["remark"], mine["description"], mine["remark_corp_name"]) == ("新", "说明", "示例公司")
    assert mine["remark_mobiles"] == ["13800000000"]
    assert other["remark"] == "李四的"


async def test_mobiles_are_replaced_as_a_whole_and_cleared_by_one_empty_text(site: Site) -> None:
    external = await site.add(remark_mobiles=["13800000000"])
    assert await remark(site, external, remark_mobiles=["13900000000", "13900000001"]) == 0
    assert (await follow(site, external))["remark_mobiles"] == ["13900000000", "13900000001"]
    assert await remark(site, external, remark_mobiles=[]) == 0
    assert len((await follow(site, external))["remark_mobiles"]) == 2
    assert await remark(site, external, remark_mobiles=[""]) == 0
    assert (await follow(site, external))["remark_mobiles"] == []


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, 40058), ({"remark": "字" * 20}, 0), ({"remark": "字" * 21}, 40058), ({"description": "字" * 150}, 0),
        ({"description": "字" * 151}, 40058), ({"remark_company": "字" * 21}, 40058), ({"remark": 5}, 40058),
        ({"remark_mobiles": "138"}, 40058),
    ],
)  # fmt: skip
async def test_a_remark_has_limits_in_characters(site: Site, given: Body, code: int) -> None:
    assert await remark(site, await site.add(), **given) == code


async def test_relations_that_are_not_there_are_told_apart(site: Site) -> None:
    external = await site.add("lisi")
    assert await remark(site, external, remark="x") == 84061
    assert await remark(site, "wmNobody", remark="x") == 40096
    body = {"userid": "nobody", "external_userid": external, "remark": "x"}
    assert (await site.post(f"{CUSTOMER}remark", **body))["errcode"] == 60111


async def test_the_company_of_a_wecom_user_is_not_changed(site: Site) -> None:
    external = await site.add(type=2)
    assert await remark(site, external, remark_company="x") == 0
    assert "remark_corp_name" not in await follow(site, external)


async def test_tags_are_put_on_and_taken_off(site: Site) -> None:
    external = await site.add(tags=["重要客户"])
    assert await mark(site, external, add_tag=["etSbxLevel2"], remove_tag=[]) == 0
    assert await mark(site, external, add_tag=["etSbxLevel2"], remove_tag=["etSbxLevel1"]) == 0
    assert [one["tag_name"] for one in (await follow(site, external))["tags"]] == ["普通客户"]
    assert await mark(site, external, add_tag=[], remove_tag=[]) == 40058
    assert await mark(site, external, add_tag=["etNone"]) == 40068


async def test_two_marks_of_one_pair_at_once_answer_45035(site: Site) -> None:
    external, other = await site.add(), await site.add()
    await site.dials(latency_ms=50)
    calls = (mark(site, external, add_tag=["etSbxLevel1"]) for _ in range(3))
    codes = await asyncio.gather(*calls, mark(site, other, add_tag=["etSbxLevel1"]))
    assert sorted(codes[:3]) == [0, 45035, 45035]
    assert codes[3] == 0


async def test_the_ledger_says_what_was_asked_changed_and_is_there_now(site: Site) -> None:
    external = await site.add(remark="旧")
    await remark(site, external, remark="新", description="")
    await mark(site, external, add_tag=["etSbxLevel1"])
    first, second = await site.control("GET", "/ledger?by=api&form=follow")
    assert (first["verb"], first["id"], first["number"]) == ("remark", f"zhangsan:{external}", external)
    assert first["fields"]["asked"] == {"remark": "新", "description": ""}
    assert first["fields"]["changed"] == ["remark"]
    assert (second["verb"], second["fields"]["tag_names"]) == ("mark_tag", ["重要客户"])
    assert second["fields"]["asked"] == {"add_tag": ["etSbxLevel1"], "remove_tag": []}


async def test_an_answer_lost_after_the_commit_left_its_effect(site: Site) -> None:
    external = await site.add()
    for fault in ("apply_then_drop", "cut_body"):
        await site.dials(next=[{"fault": fault, "op": f"{CUSTOMER}remark"}])
        with pytest.raises(httpx.TransportError):
            await remark(site, external, remark=fault)
        assert (await follow(site, external))["remark"] == fault


async def test_half_of_a_json_is_answered_although_it_was_applied(site: Site) -> None:
    external = await site.add()
    await site.dials(next=[{"fault": "truncated_json", "op": f"{CUSTOMER}remark"}])
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        await remark(site, external, remark="x")
    assert (await follow(site, external))["remark"] == "x"


async def test_a_late_write_takes_effect_when_time_has_moved_on(site: Site) -> None:
    external = await site.add()
    await site.dials(next=[{"fault": "apply_late", "op": f"{CUSTOMER}remark"}], late_by=60)
    with pytest.raises(httpx.TransportError):
        await remark(site, external, remark="x")
    assert (await follow(site, external))["remark"] == ""
    await site.advance(61)
    assert (await follow(site, external))["remark"] == "x"


async def test_a_gateway_page_may_hide_an_applied_write_or_not(site: Site) -> None:
    external = await site.add()
    url, query = f"/cgi-bin/{CUSTOMER}remark", {"access_token": site.token}
    body = {"userid": "zhangsan", "external_userid": external, "remark": "x"}
    await site.dials(next=[{"fault": "http_502"}, {"fault": "http_429"}, {"fault": "apply_then_errcode_-1"}])
    assert (await site.http.post(url, params=query, json=body)).status_code == 502
    assert (await site.http.post(url, params=query, json=body)).status_code == 429
    assert not site.box.ledger().effects(by="api")
    assert (await site.http.post(url, params=query, json=body)).json()["errcode"] == -1
    assert len(site.box.ledger().effects(by="api")) == 1


async def test_a_tag_group_comes_with_its_first_tag_and_grows_by_name(site: Site) -> None:
    made = (await add_tag(site, "甲", "甲", "乙", group_name="行业", order=5))["tag_group"]
    assert ([one["name"] for one in made["tag"]], made["order"]) == (["甲", "乙"], 5)
    more = (await add_tag(site, "丙", group_name="行业"))["tag_group"]
    assert more["group_id"] == made["group_id"]
    by_id = (await add_tag(site, "丁", group_id=made["group_id"], group_name="别的"))["tag_group"]
    assert by_id["group_name"] == "行业"
    (group,) = await tag_list(site, group_id=[made["group_id"]])
    assert {one["name"] for one in group["tag"]} == {"甲", "乙", "丙", "丁"}


async def test_tag_names_are_short_and_unique_in_their_group(site: Site) -> None:
    await add_tag(site, "甲", group_name="行业")
    assert (await add_tag(site, "甲", group_name="行业"))["errcode"] == 40071
    assert (await add_tag(site, "甲", group_name="别的"))["errcode"] == 0
    assert (await add_tag(site, "字" * 31, group_name="行业"))["errcode"] == 40072
    assert (await add_tag(site, group_name="行业"))["errcode"] == 40058
    assert (await add_tag(site, "甲"))["errcode"] == 40058
    assert (await add_tag(site, "甲", group_id="etNone"))["errcode"] == 40068
    await site.dials(max_tags=4)
    assert (await add_tag(site, "乙", group_name="行业"))["errcode"] == 40126


async def test_the_larger_order_comes_first(site: Site) -> None:
    tags = [{"name": "低", "order": 1}, {"name": "高", "order": 9}]
    await site.post(f"{CUSTOMER}add_corp_tag", group_name="后", order=0, tag=tags)
    await site.post(f"{CUSTOMER}add_corp_tag", group_name="先", order=9, tag=tags)
    groups = await tag_list(site)
    assert [one["group_name"] for one in groups] == ["先", "客户等级", "后"]
    assert [one["name"] for one in groups[0]["tag"]] == ["高", "低"]


async def test_an_app_edits_and_deletes_only_what_it_made(site: Site) -> None:
    made = (await add_tag(site, "甲", group_name="行业"))["tag_group"]["tag"][0]["id"]
    assert (await site.post(f"{CUSTOMER}edit_corp_tag", id=made, name="乙"))["errcode"] == 0
    assert (await site.post(f"{CUSTOMER}edit_corp_tag", id="etSbxLevel1", name="乙"))["errcode"] == 40068
    assert (await site.post(f"{CUSTOMER}del_corp_tag", tag_id=["etSbxLevel1"]))["errcode"] == 40068
    assert (await site.post(f"{CUSTOMER}del_corp_tag"))["errcode"] == 40058


async def test_a_group_goes_with_its_last_tag_and_the_deleted_flag_depends_on_the_question(
    site: Site,
) -> None:
    external = await site.add()
    group = (await add_tag(site, "甲", "乙", group_name="行业"))["tag_group"]
    first, last = (one["id"] for one in group["tag"])
    await mark(site, external, add_tag=[first, last])
    assert (await site.post(f"{CUSTOMER}del_corp_tag", tag_id=[first]))["errcode"] == 0
    (by_group,) = await tag_list(site, group_id=[group["group_id"]])
    assert "deleted" not in by_group
    assert {one["id"]: one["deleted"] for one in by_group["tag"]} == {first: True, last: False}
    assert [one["tag_id"] for one in (await follow(site, external))["tags"]] == [last]
    await site.post(f"{CUSTOMER}del_corp_tag", tag_id=[last])
    assert [one["group_name"] for one in await tag_list(site)] == ["客户等级"]
    (by_tag,) = await tag_list(site, tag_id=[last])
    assert by_tag["deleted"] is True
    assert [one["deleted"] for one in by_tag["tag"]] == [True]
    assert (await add_tag(site, "甲", group_name="行业"))["tag_group"]["group_id"] != group["group_id"]


async def test_a_transfer_is_done_a_day_later_and_told(site: Site) -> None:
    await site.listen()
    external = await site.add("zhangsan", remark="老客户")
    await site.flush()
    site.receiver.plain.clear()
    pair = {"handover_userid": "zhangsan", "takeover_userid": "lisi"}
    started = await site.post(f"{CUSTOMER}transfer_customer", **pair, external_userid=[external, "wmNobody"])
    assert [one["errcode"] for one in started["customer"]] == [0, 40096]
    again = await site.post(f"{CUSTOMER}transfer_customer", **pair, external_userid=[external])
    assert again["customer"][0]["errcode"] == 40129
    await site.advance(DAY - 60)
    await site.login()
    (row,) = (await site.post(f"{CUSTOMER}transfer_result", **pair))["customer"]
    assert row["status"] == 2
    await site.flush()
    assert site.receiver.plain == []
    await site.advance(120)
    await site.login()
    result = await site.post(f"{CUSTOMER}transfer_result", **pair)
    assert (result["customer"][0]["status"], result["next_cursor"]) == (1, "")
    await site.flush()
    assert site.receiver.changes() == ["del_external_contact", "add_external_contact"]
    assert "DELETE_BY_TRANSFER" in site.receiver.plain[0]
    assert (await follow(site, external))["userid"] == "lisi"


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [("refused", 3, "customer_refused"), ("full", 4, "customer_limit_exceed")],
)
async def test_a_transfer_may_fail(site: Site, outcome: str, status: int, reason: str) -> None:
    external = await site.add("zhangsan")
    pair = {"handover_userid": "zhangsan", "takeover_userid": "lisi"}
    await site.post(f"{CUSTOMER}transfer_customer", **pair, external_userid=[external])
    await site.listen()
    await site.act("transfer_outcome", external_userid=external, outcome=outcome, now=True)
    (row,) = (await site.post(f"{CUSTOMER}transfer_result", **pair))["customer"]
    assert row["status"] == status
    await site.flush()
    assert site.receiver.changes() == ["transfer_fail"]
    assert reason in site.receiver.plain[0]
    assert (await follow(site, external))["userid"] == "zhangsan"


async def test_a_taker_who_has_the_customer_gets_no_add_event(site: Site) -> None:
    external = await site.add("zhangsan")
    await site.add("lisi", external_userid=external)
    pair = {"handover_userid": "zhangsan", "takeover_userid": "lisi"}
    await site.post(f"{CUSTOMER}transfer_customer", **pair, external_userid=[external])
    await site.listen()
    await site.advance(DAY + 1)
    await site.flush()
    assert site.receiver.changes() == ["del_external_contact"]


async def test_a_customer_is_transferred_twice_in_ninety_days_and_the_rules_have_codes(site: Site) -> None:
    external = await site.add("zhangsan")

    async def start(handover: str, takeover: str) -> int:
        body = {"handover_userid": handover, "takeover_userid": takeover, "external_userid": [external]}
        answer = await site.post(f"{CUSTOMER}transfer_customer", **body)
        return int(answer["errcode"] or answer["customer"][0]["errcode"])

    assert await start("zhangsan", "zhangsan") == 40130
    assert await start("lisi", "zhangsan") == 40131
    await site.act("put_member", userid="wangwu", verified=False)
    assert await start("zhangsan", "wangwu") == 40098
    for handover, takeover, code in (
        ("zhangsan", "lisi", 0),
        ("lisi", "zhangsan", 0),
        ("zhangsan", "lisi", 40128),
    ):
        assert await start(handover, takeover) == code
        await site.advance(DAY + 1)
        await site.login()
    await site.advance(90 * DAY)
    await site.login()
    assert await start("zhangsan", "lisi") == 0


async def test_a_restart_goes_on_from_the_journal(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    box = WeComSandbox(state=file)
    made = box.act(AddContact(userid="zhangsan", name="甲"), AddContact(userid="lisi", name="乙"))
    box.ledger().close()
    again = WeComSandbox(state=file)
    assert [one.name for one in again.corp.persons()] == ["甲", "乙"]
    assert again.corp.follow("zhangsan", str(made[0]["external_userid"])) is not None
    new = again.act(AddContact(userid="zhangsan"))[0]["external_userid"]
    assert new not in {one["external_userid"] for one in made}
    again.ledger().close()


async def test_a_population_and_what_was_done_to_it_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    box = WeComSandbox(state=file)
    box.callbacks.transport = httpx.MockTransport(Inbox(dict(box.credentials(""))).answer)
    await box.save_receiver("http://receiver.example/hooks")
    box.corp.seed(Spec(100, 150, 5))
    first = next(box.corp.follows_of("Sales00001"))
    box.act(
        DeleteByEmployee(userid=first.userid, external_userid=first.external_userid),
        PutMember(userid="newman", department=[2]),
        DeleteMember(userid="newman"),
        MakeTags(group_name="行业", names=["甲"]),
    )
    box.ledger().close()
    again = WeComSandbox(state=file)
    assert [shown_person(again.corp, one) for one in again.corp.persons()] == [
        shown_person(box.corp, one) for one in box.corp.persons()
    ]
    assert (again.corp.tags, again.corp.members) == (box.corp.tags, box.corp.members)
    assert again.callbacks.receivers == box.callbacks.receivers
    again.ledger().close()
