"""The WeCom stand-in: reading customers, paging, contacts, the computed population (sections 2 and 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.wecom.sandbox.population import Population, Spec
from tests.contract.wecom_sandbox_site import CUSTOMER, Body, Site, open_site

BATCH = f"{CUSTOMER}batch/get_by_user"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_get_shows_tags_by_name_and_the_batch_only_their_ids(site: Site) -> None:
    external = await site.add(
        tags=["重要客户"], personal_tags=[{"group_name": "我的", "tag_name": "球友"}], remark_mobiles=["13800000000"],
        remark_corp_name="示例公司",
    )  # fmt: skip
    follow = (await site.get(f"{CUSTOMER}get", external_userid=external))["follow_user"][0]
    assert follow["tags"] == [
        {"group_name": "客户等级", "tag_name": "重要客户", "tag_id": "etSbxLevel1", "type": 1},
        {"group_name": "我的", "tag_name": "球友", "type": 2},
    ]
    row = (await site.post(BATCH, userid_list=["zhangsan"]))["external_contact_list"][0]
    assert row["follow_info"]["tag_id"] == ["etSbxLevel1"]
    assert "tags" not in row["follow_info"]
    assert row["follow_info"]["remark_mobiles"] == ["13800000000"]
    assert row["follow_info"]["remark_corp_name"] == "示例公司"
    assert "state" not in row["follow_info"]


async def test_a_customer_of_two_members_comes_twice_in_the_batch_and_once_in_get(site: Site) -> None:
    external = await site.add("zhangsan")
    await site.add("lisi", external_userid=external)
    assert await site.all_rows(["zhangsan", "lisi"]) == [("zhangsan", external), ("lisi", external)]
    shown = await site.get(f"{CUSTOMER}get", external_userid=external)
    assert [one["userid"] for one in shown["follow_user"]] == ["zhangsan", "lisi"]


async def test_unionid_is_shown_only_of_wechat_users_of_a_bound_corp(site: Site) -> None:
    wechat = await site.add(type=1)
    wecom = await site.add(type=2, unionid="u1", corp_name="外部公司", position="经理")

    async def shown(external: str) -> Body:
        return dict((await site.get(f"{CUSTOMER}get", external_userid=external))["external_contact"])

    assert "unionid" in await shown(wechat)
    assert "corp_name" not in await shown(wechat)
    assert "unionid" not in await shown(wecom)
    assert (await shown(wecom))["corp_name"] == "外部公司"
    await site.dials(bound_to_developer=False)
    assert "unionid" not in await shown(wechat)


async def test_a_half_added_person_is_no_customer_before_the_member_accepts(site: Site) -> None:
    external = await site.add(half=True)
    pair = {"userid": "zhangsan", "external_userid": external}
    assert (await site.get(f"{CUSTOMER}get", external_userid=external))["errcode"] == 84061
    assert (await site.post(f"{CUSTOMER}remark", **pair, remark="x"))["errcode"] == 84061
    assert await site.all_rows(["zhangsan"]) == []
    assert (await site.get(f"{CUSTOMER}list", userid="zhangsan"))["external_userid"] == []
    await site.act("accept", **pair)
    assert await site.all_rows(["zhangsan"]) == [("zhangsan", external)]


async def test_a_one_way_relation_stays_and_a_removed_one_is_gone(site: Site) -> None:
    external = await site.add()
    pair = {"userid": "zhangsan", "external_userid": external}
    await site.act("delete_by_customer", **pair)
    assert (await site.get(f"{CUSTOMER}get", external_userid=external))["errcode"] == 0
    assert (await site.post(f"{CUSTOMER}remark", **pair, remark="x"))["errcode"] == 0
    await site.act("delete_by_employee", **pair)
    assert (await site.get(f"{CUSTOMER}get", external_userid=external))["errcode"] == 84061
    assert (await site.post(f"{CUSTOMER}remark", **pair, remark="x"))["errcode"] == 84061
    assert await site.all_rows(["zhangsan"]) == []
    assert await site.add(external_userid=external) == external
    assert await site.all_rows(["zhangsan"]) == [("zhangsan", external)]


async def test_an_unknown_person_and_an_unseen_one_answer_the_same(site: Site) -> None:
    external = await site.add("lisi")
    assert (await site.get(f"{CUSTOMER}get", external_userid="wmNobody"))["errcode"] == 40096
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"visible_departments": [4]})
    assert (await site.get(f"{CUSTOMER}get", external_userid=external))["errcode"] == 40096


async def test_the_visible_range_filters_every_list(site: Site) -> None:
    external = await site.add("zhangsan")
    await site.add("lisi", external_userid=external)
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"visible_departments": [2]})
    assert (await site.get(f"{CUSTOMER}get_follow_user_list"))["follow_user"] == ["zhangsan", "wangwu"]
    assert [one["id"] for one in (await site.get("department/list"))["department"]] == [2, 4]
    assert (await site.get("user/get", userid="lisi"))["errcode"] == 60111
    assert (await site.get("user/simplelist", department_id=5))["errcode"] == 60123
    assert (await site.post(BATCH, userid_list=["zhangsan", "lisi"]))["errcode"] == 60111
    shown = await site.get(f"{CUSTOMER}get", external_userid=external)
    assert [one["userid"] for one in shown["follow_user"]] == ["zhangsan"]
    await site.dials(unknown_member="skip")
    assert await site.all_rows(["zhangsan", "lisi"]) == [("zhangsan", external)]


async def test_a_member_without_customer_contact_does_not_count(site: Site) -> None:
    external = await site.add("zhangsan")
    await site.act("put_member", userid="zhangsan", follows=False)
    assert "zhangsan" not in (await site.get(f"{CUSTOMER}get_follow_user_list"))["follow_user"]
    assert (await site.get(f"{CUSTOMER}get", external_userid=external))["errcode"] == 40096


async def test_unlicensed_members_are_named_and_all_of_them_refuse_the_call(site: Site) -> None:
    await site.act("put_member", userid="lisi", licensed=False)
    page = await site.post(BATCH, userid_list=["zhangsan", "lisi"])
    assert page["fail_info"] == {"unlicensed_userid_list": ["lisi"]}
    assert (await site.post(BATCH, userid_list=["lisi"]))["errcode"] == 701008


async def test_userids_are_compared_without_case(site: Site) -> None:
    external = await site.add("zhaoliu")
    assert await site.all_rows(["ZHAOLIU"]) == [("ZhaoLiu", external)]
    assert (await site.get("user/get", userid="zhaoLIU"))["userid"] == "ZhaoLiu"


@pytest.mark.parametrize("count", [0, 1, 4, 5])
async def test_pages_show_every_row_once_also_when_the_last_is_full(site: Site, count: int) -> None:
    made = [("zhangsan", await site.add("zhangsan")) for _ in range(count)]
    assert await site.all_rows(["zhangsan", "lisi"], limit=2) == made


async def test_short_and_empty_pages_are_not_the_end(site: Site) -> None:
    made = [("zhangsan", await site.add("zhangsan")) for _ in range(20)]
    await site.dials(short_pages=0.4, empty_pages=0.4)
    assert await site.all_rows(["zhangsan"], limit=6) == made
    await site.dials(empty_pages=1.0)
    page = await site.post(BATCH, userid_list=["zhangsan"])
    assert (page["external_contact_list"], bool(page["next_cursor"])) == ([], True)


async def test_a_large_limit_is_clamped_and_the_default_is_50(site: Site) -> None:
    await site.control("POST", "/population", {"people": 300, "follows": 300, "employees": 1}, status=201)

    async def size(**limit: int) -> int:
        return len((await site.post(BATCH, userid_list=["Sales00000"], **limit))["external_contact_list"])

    assert [await size(), await size(limit=1000), await size(limit=7)] == [50, 100, 7]


async def test_a_cursor_holds_only_for_its_own_listing(site: Site) -> None:
    for _ in range(3):
        await site.add("zhangsan")
    cursor = (await site.post(BATCH, userid_list=["zhangsan"], limit=1))["next_cursor"]
    assert (await site.post(BATCH, userid_list=["lisi"], cursor=cursor))["errcode"] == 50100
    assert (await site.post(BATCH, userid_list=["zhangsan"], cursor="x" + cursor))["errcode"] == 50100
    assert (await site.post(BATCH, userid_list=["zhangsan"], cursor="nonsense"))["errcode"] == 50100
    await site.dials(cursor_seconds=30)
    assert (await site.post(BATCH, userid_list=["zhangsan"], cursor=cursor))["errcode"] == 0
    await site.advance(31)
    assert (await site.post(BATCH, userid_list=["zhangsan"], cursor=cursor))["errcode"] == 50100


async def test_what_is_removed_while_paging_does_not_shift_the_rest(site: Site) -> None:
    made = [await site.add("zhangsan") for _ in range(4)]
    page = await site.post(BATCH, userid_list=["zhangsan"], limit=2)
    await site.act("delete_by_employee", userid="zhangsan", external_userid=made[0])
    late = await site.add("zhangsan")
    rest = await site.post(BATCH, userid_list=["zhangsan"], limit=10, cursor=page["next_cursor"])
    assert [one["external_contact"]["external_userid"] for one in rest["external_contact_list"]] == [
        *made[2:],
        late,
    ]


async def test_the_old_userid_spelling_is_taken_until_a_switch_or_strict_mode_refuses_it(site: Site) -> None:
    external = await site.add("zhangsan")
    rows = (await site.post(BATCH, userid="zhangsan"))["external_contact_list"]
    assert rows[0]["external_contact"]["external_userid"] == external
    await site.dials(old_userid_field=False)
    assert (await site.post(BATCH, userid="zhangsan"))["errcode"] == 40058
    await site.dials(old_userid_field=True, strict=True)
    assert (await site.post(BATCH, userid="zhangsan"))["errcode"] == 40058


async def test_more_than_a_hundred_members_are_refused(site: Site) -> None:
    assert (await site.post(BATCH, userid_list=["zhangsan"] * 101))["errcode"] == 40058


async def test_many_followers_come_in_pages(site: Site) -> None:
    external = await site.add("zhangsan")
    for userid in ("lisi", "wangwu"):
        await site.add(userid, external_userid=external)
    await site.dials(followers_page=2)
    first = await site.get(f"{CUSTOMER}get", external_userid=external)
    last = await site.get(f"{CUSTOMER}get", external_userid=external, cursor=first["next_cursor"])
    assert [one["userid"] for one in first["follow_user"] + last["follow_user"]] == [
        "zhangsan",
        "lisi",
        "wangwu",
    ]
    assert "next_cursor" not in last


async def test_an_empty_member_lists_nothing_or_84061_by_a_switch(site: Site) -> None:
    assert (await site.get(f"{CUSTOMER}list", userid="lisi"))["external_userid"] == []
    await site.dials(empty_list_errcode=84061)
    assert (await site.get(f"{CUSTOMER}list", userid="lisi"))["errcode"] == 84061


async def test_unknown_values_and_fields_appear_by_dial(site: Site) -> None:
    externals = [await site.add() for _ in range(6)]
    await site.dials(unknown_enums=True, unknown_fields=True)
    rows = (await site.post(BATCH, userid_list=["zhangsan"]))["external_contact_list"]
    assert len(rows) == len(externals)
    assert {row["follow_info"]["add_way"] for row in rows} == {1, 999}
    assert all("field_of_next_year" in row["external_contact"] for row in rows)


async def test_a_new_app_sees_no_personal_fields_of_members(site: Site) -> None:
    assert not {"mobile", "gender", "email", "avatar"} & set(await site.get("user/get", userid="lisi"))
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"old": True})
    assert (await site.get("user/get", userid="lisi"))["gender"] == "0"


async def test_departments_list_recursively_and_members_do_not(site: Site) -> None:
    assert [one["id"] for one in (await site.get("department/list", id=2))["department"]] == [2, 4]
    ids = await site.get("department/simplelist")
    assert [one["id"] for one in ids["department_id"]] == [1, 2, 3, 4, 5]
    assert "name" not in ids["department_id"][0]
    assert (await site.get("department/get", id=4))["department"]["name"] == "上海销售部"
    assert (await site.get("user/simplelist", department_id=2))["userlist"] == []
    listed = (await site.get("user/list", department_id=4))["userlist"]
    assert [one["userid"] for one in listed] == ["zhangsan", "wangwu"]


async def test_ids_are_listed_only_with_the_contact_sync_secret_which_reads_no_names(site: Site) -> None:
    assert (await site.post("user/list_id"))["errcode"] == 48002
    await site.login(site.given["contact_secret"])
    first = await site.post("user/list_id", limit=3)
    last = await site.post("user/list_id", limit=3, cursor=first["next_cursor"])
    assert [one["userid"] for one in first["dept_user"] + last["dept_user"]] == [
        "lisi",
        "wangwu",
        "zhangsan",
        "ZhaoLiu",
    ]
    assert last["next_cursor"] == ""
    for api, query in (
        ("user/get", {"userid": "lisi"}),
        ("department/list", {}),
        ("user/list", {"department_id": 1}),
    ):
        assert (await site.get(api, **query))["errcode"] == 48009


async def test_members_and_departments_change_at_the_screen(site: Site) -> None:
    await site.act("put_department", id=9, name="新部门", parentid=2)
    await site.act("put_member", userid="newman", name="新人", department=[9])
    assert (await site.get("user/simplelist", department_id=9))["userlist"][0]["name"] == "新人"
    await site.control("POST", "/act", {"act": "delete_department", "id": 9}, status=409)
    await site.act("delete_member", userid="newman")
    await site.act("delete_department", id=9)
    assert (await site.get("department/get", id=9))["errcode"] == 60123
    assert (await site.get("user/get", userid="newman"))["errcode"] == 60111


async def test_a_population_is_the_same_each_time_and_every_follow_is_listed_once(site: Site) -> None:
    spec = {"people": 101, "follows": 250, "employees": 7, "seed": 5}
    await site.control("POST", "/population", spec, status=201)
    users = [
        one
        for one in (await site.get(f"{CUSTOMER}get_follow_user_list"))["follow_user"]
        if one[:5] == "Sales"
    ]
    rows = await site.all_rows(users, limit=13)
    assert len(rows) == len(set(rows)) == 250
    assert len({external for _, external in rows}) == 101
    before = [await site.get(f"{CUSTOMER}get", external_userid=external) for _, external in rows[:3]]
    await site.control("POST", "/reset")
    await site.control("POST", "/population", spec, status=201)
    await site.login()
    assert [await site.get(f"{CUSTOMER}get", external_userid=external) for _, external in rows[:3]] == before


async def test_people_of_a_population_can_be_written_added_and_removed(site: Site) -> None:
    await site.control("POST", "/population", {"people": 20, "follows": 30, "employees": 3}, status=201)
    rows = await site.all_rows(["Sales00001"], limit=4)
    userid, external = rows[3]
    assert (await site.post(f"{CUSTOMER}remark", userid=userid, external_userid=external, remark="改"))[
        "errcode"
    ] == 0
    await site.act("delete_by_employee", userid=userid, external_userid=rows[0][1])
    new = await site.add("Sales00001")
    assert await site.all_rows(["Sales00001"], limit=4) == [*rows[1:], ("Sales00001", new)]
    await site.add("Sales00001", external_userid=rows[0][1])
    assert await site.all_rows(["Sales00001"], limit=4) == [*rows[1:], ("Sales00001", new), rows[0]]
    shown = await site.get(f"{CUSTOMER}get", external_userid=external)
    assert "改" in [one["remark"] for one in shown["follow_user"]]
    answer = await site.http.get("/control/people", params={"changed": True})
    assert len(answer.text.splitlines()) == 3
    assert len((await site.http.get("/control/people")).text.splitlines()) == 21


def test_the_arithmetic_of_a_population_holds_in_both_directions() -> None:
    one = Population(Spec(97, 260, 11, seed=3))
    pairs = {}
    for serial in range(260):
        follow = one.follow(serial)
        number = one.number(follow.external_userid)
        assert number is not None
        assert one.serial(follow.userid, number) == serial
        assert serial in one.serials_of_person(number)
        pairs[follow.key] = serial
    assert len(pairs) == 260
    for place in range(11):
        serials = list(one.serials_of_user(one.userid(place)))
        assert serials == sorted(s for (user, _), s in pairs.items() if user == one.userid(place).lower())
        for after in serials:
            assert list(one.serials_of_user(one.userid(place), after)) == [s for s in serials if s > after]
    assert one.number("wmAbzz") is None
    assert one.number("wmSbx0000000000000001") is None


@pytest.mark.parametrize("spec", [(0, 0, 1), (5, 4, 1), (5, 11, 2)])
def test_an_impossible_population_is_refused(spec: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"least|less|more"):
        Spec(*spec)


async def test_three_hundred_thousand_people_are_there_at_once(site: Site) -> None:
    await site.control(
        "POST", "/population", {"people": 300_000, "follows": 450_000, "employees": 300}, status=201
    )
    assert len((await site.get(f"{CUSTOMER}list", userid="Sales00299"))["external_userid"]) == 1500
    assert len(site.box.ledger()) == 1
