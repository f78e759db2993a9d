"""Reading WeCom whole and singly: two streams from one listing, cut reads, listings that go wrong, employees."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.directory import path_up
from connectors.wecom.sandbox.acts import AddContact, DeleteByCustomer, PutDepartment, PutMember
from connectors.wecom.sandbox.server import AGENTID, CONTACT_SECRET
from hub.errors import Cause, ConnectionDown, IntegrityError, TryAgain
from hub.sdk import Failed, Gone, Json, Page, Secret, VendorKey
from hub.sdk.kit import Bench, latest
from tests.wecom_door import CORP, KEY, TOKEN, event
from tests.wecom_stand import HOME, SELLER, Recorder, answer, bench, wecom

USERS = answer(follow_user=["b", "A"])
EMPTY_LIBRARY = answer(tag_group=[])


def row(external: str, userid: str = "A", **follow: Any) -> dict[str, Any]:
    return {
        "external_contact": {"external_userid": external, "name": external, "type": 1},
        "follow_info": {"userid": userid, "createtime": 1, "tag_id": [], **follow},
    }


def listing(*rows: dict[str, Any], cursor: str = "", **more: Any) -> Any:
    return answer(external_contact_list=list(rows), next_cursor=cursor, **more)


async def read(bench: Bench, *answers: Any, after: Json = None) -> tuple[list[Page], Recorder]:
    recorder = Recorder(*answers)
    return await bench.pages(bench.connect(http=recorder), "follow", after), recorder


def ids(pages: list[Page]) -> list[str]:
    return [record.key.id for page in pages for record in page.records]


# ------------------------------------------------------------------------------------------- two streams


async def test_a_page_shows_relations_and_each_contact_once_beside_them(bench: Bench):
    rows = [row("wm1", "A"), row("wm1", "b"), row("wm2", "b")]
    (page,), _ = await read(bench, USERS, listing(*rows))
    assert [record.key.id for record in page.records] == ["a/wm1", "b/wm1", "b/wm2"]
    assert [(stream, record.key) for stream, record in page.beside] == [
        ("contact", VendorKey("", one)) for one in ("wm1", "wm2")
    ]
    assert page.records[0].body["userid"] == "A"


async def test_a_relation_looks_the_same_by_batch_and_by_get(bench: Bench, wecom: WeComConnector):
    people = [
        AddContact(userid=SELLER, name="甲", tags=["普通客户", "重要客户"], remark="甲总", remark_corp_name="示例科技", state="展会",
                   remark_mobiles=["13800138000"], personal_tags=[{"group_name": "我的", "tag_name": "球友"}], silent=True),
        AddContact(userid=SELLER, name="乙", type=2, corp_name="示例", corp_full_name="示例有限公司", position="经理", silent=True),
        AddContact(userid=SELLER, name="丙", add_way=10, wechat_channels={"nickname": "频道", "source": 1}, silent=True),
    ]  # fmt: skip
    bench.stand.sandbox.act(*people)
    bench.stand.sandbox.dials.unknown_fields = True
    pages = await bench.pages(wecom, "follow")
    shown = latest(pages)
    singly = await wecom.fetch("follow", [VendorKey("", one) for one in shown])
    assert [record.body for record in singly] == [record.body for record in shown.values()]
    contacts = {record.key: record.body for page in pages for _, record in page.beside}
    again = await wecom.fetch("contact", list(contacts))
    assert [record.body for record in again] == list(contacts.values())


async def test_a_customer_who_removed_the_employee_is_still_read(bench: Bench, wecom: WeComConnector):
    (one,) = await bench.stand.seed("follow", 1)
    userid, _, external = one.partition("/")
    bench.stand.sandbox.act(DeleteByCustomer(userid=userid, external_userid=external, silent=True))
    assert latest(await bench.pages(wecom, "follow")).keys() == {one}
    assert not isinstance((await wecom.fetch("follow", [VendorKey("", one)]))[0], Gone)


async def test_an_unlisted_stream_and_the_one_that_comes_beside_have_no_read(wecom: WeComConnector):
    for stream in ("contact", "groupchat"):
        with pytest.raises(NotImplementedError):
            wecom.read(stream, None)


# ------------------------------------------------------------------------------------------- the listing


async def test_employees_are_asked_for_in_chunks_of_a_hundred_in_one_order(bench: Bench):
    users = [f"U{number:04}" for number in reversed(range(2_050))]
    empty = [listing()] * 20
    pages, recorder = await read(bench, answer(follow_user=users), listing(row("wm1")), *empty)
    asked = [body["userid_list"] for _, _, body in recorder.sent[1:]]
    assert [len(one) for one in asked] == [100] * 20 + [50]
    assert [userid for one in asked for userid in one] == sorted(users)
    assert [(page.cursor["done"], page.cursor["of"]) for page in pages] == [
        (done, 21) for done in range(1, 22)
    ]
    assert [page.total for page in pages[:3]] == [21, 10, 7]


@pytest.mark.parametrize(("employees", "chunks"), [(4, 1), (50, 10), (300, 20)])
async def test_a_small_corp_is_read_in_enough_chunks_to_show_progress(
    bench: Bench, employees: int, chunks: int
):
    users = [f"U{number:04}" for number in range(employees)]
    pages, _ = await read(bench, answer(follow_user=users), *[listing()] * chunks)
    assert [(page.cursor["done"], page.cursor["of"]) for page in pages][-1] == (chunks, chunks)


async def test_a_short_or_empty_page_is_not_the_end(bench: Bench):
    pages, _ = await read(
        bench, USERS, listing(row("wm1"), cursor="c1"), listing(cursor="c2"), listing(row("wm2"))
    )
    assert ids(pages) == ["a/wm1", "a/wm2"]


async def test_short_and_empty_pages_of_the_sandbox_lose_nothing(bench: Bench, wecom: WeComConnector):
    there = await bench.stand.seed("follow", 20)
    bench.stand.sandbox.dials.short_pages = 0.5
    bench.stand.sandbox.dials.empty_pages = 0.3
    assert latest(await bench.pages(wecom, "follow")).keys() == set(there)


async def test_a_read_that_was_cut_goes_on_inside_its_chunk(bench: Bench):
    pages, _ = await read(bench, USERS, listing(row("wm1"), cursor="c1"), listing(row("wm2")))
    rest, recorder = await read(bench, USERS, listing(row("wm2")), after=pages[0].cursor)
    assert ids(rest) == ["a/wm2"]
    assert recorder.sent[-1][2]["cursor"] == "c1"
    none, recorder = await read(bench, after=pages[1].cursor)
    assert (ids(none), recorder.sent) == ([], [])


async def test_a_chunk_of_other_employees_begins_anew(bench: Bench):
    pages, _ = await read(bench, USERS, listing(row("wm1"), cursor="c1"), listing())
    _, recorder = await read(bench, answer(follow_user=["A", "b", "c"]), listing(), after=pages[0].cursor)
    assert recorder.sent[-1][2]["cursor"] == ""


async def test_a_read_resumed_after_a_chunk_skips_the_employees_behind_it(bench: Bench):
    users = [f"u{number}" for number in range(6)]
    pages, _ = await read(bench, answer(follow_user=users), listing(), listing())
    _, recorder = await read(bench, answer(follow_user=users), listing(), after=pages[0].cursor)
    assert recorder.sent[-1][2]["userid_list"] == ["u5"]


@pytest.mark.parametrize("code", [50100, 60268])
async def test_an_expired_cursor_begins_its_chunk_again(bench: Bench, code: int):
    pages, recorder = await read(
        bench,
        USERS,
        listing(row("wm1"), cursor="c1"),
        answer(errcode=code),
        listing(row("wm1"), cursor="c2"),
        listing(row("wm2")),
    )
    assert [body["cursor"] for _, _, body in recorder.sent[1:]] == ["", "c1", "", "c2"]
    assert set(ids(pages)) == {"a/wm1", "a/wm2"}


async def test_a_cursor_that_always_expires_is_an_error(bench: Bench):
    again = [listing(row("wm1"), cursor="c1"), answer(errcode=50100)] * 5
    with pytest.raises(TryAgain) as caught:
        await read(bench, USERS, *again)
    assert caught.value.code == "50100"


@pytest.mark.parametrize(
    "pages",
    [
        [listing(row("wm1"), cursor="c1"), listing(row("wm2"), cursor="c1")],
        [
            listing(row("wm1"), cursor="c1"),
            listing(row("wm2"), cursor="c2"),
            listing(row("wm3"), cursor="c1"),
        ],
        [listing(row("wm1"), cursor="c1"), listing(row("wm1"), cursor="c2")],
        [listing(cursor=f"c{number}") for number in range(1_002)],
    ],
    ids=["the same cursor", "a circle", "the same page", "empty for ever"],
)
async def test_u7_a_listing_that_never_ends_is_an_error(bench: Bench, pages: list[Any]):
    with pytest.raises(IntegrityError) as caught:
        await read(bench, USERS, *pages)
    assert caught.value.cause is Cause.CURSOR


@pytest.mark.parametrize("code", [84061, 701008])
async def test_employees_that_show_nobody_are_empty_and_those_without_licence_are_counted(
    bench: Bench, code: int
):
    (page,), _ = await read(bench, USERS, answer(errcode=code))
    assert page.records == []
    assert page.cursor["skipped"] == (2 if code == 701008 else 0)


async def test_some_without_licence_are_counted(bench: Bench):
    pages, _ = await read(bench, USERS, listing(row("wm1"), fail_info={"unlicensed_userid_list": ["b"]}))
    assert pages[-1].cursor["skipped"] == 1


async def test_an_employee_who_left_since_the_list_was_made_lets_the_read_try_again(bench: Bench):
    with pytest.raises(TryAgain):
        await read(bench, USERS, answer(errcode=60111))


async def test_nobody_in_the_visible_range_is_a_wrong_set_up_and_not_an_empty_corp(bench: Bench):
    with pytest.raises(ConnectionDown) as caught:
        await read(bench, answer(follow_user=[]))
    assert caught.value.cause is Cause.PERMISSION


@pytest.mark.parametrize(
    "body",
    [
        answer(),
        answer(external_contact_list=None),
        answer(external_contact_list={}),
        answer(external_contact_list=[1], next_cursor=""),
        answer(external_contact_list=[{"external_contact": {}}], next_cursor=""),
    ],
    ids=["no data", "null", "an object", "numbers", "half a row"],
)
async def test_u7_success_without_its_data_is_no_empty_page(bench: Bench, body: Any):
    with pytest.raises(TryAgain) as caught:
        await read(bench, USERS, body)
    assert caught.value.cause is Cause.BAD_ANSWER


@pytest.mark.parametrize("body", [answer(), answer(follow_user=None), answer(follow_user="a")])
async def test_u7_a_list_of_employees_that_is_none_is_no_empty_corp(bench: Bench, body: Any):
    with pytest.raises(TryAgain) as caught:
        await read(bench, body)
    assert caught.value.cause is Cause.BAD_ANSWER


async def test_a_null_list_beside_a_cursor_is_an_empty_page(bench: Bench):
    pages, _ = await read(
        bench, USERS, answer(external_contact_list=None, next_cursor="c"), listing(row("wm1"))
    )
    assert ids(pages) == ["a/wm1"]


async def test_a_row_without_an_id_stops_the_read(bench: Bench):
    for bad in (row(""), row("wm1", ""), row("a/b")):
        with pytest.raises(IntegrityError):
            await read(bench, USERS, listing(bad))


# ------------------------------------------------------------------------------------------- tags


SETTINGS = {"corp_id": CORP, "token": Secret(TOKEN), "encoding_aes_key": Secret(KEY)}
GROUP = {"group_id": "g", "group_name": "等级", "tag": [{"id": "et1", "name": "重要"}]}


async def test_ids_get_their_names_from_a_library_that_is_loaded_once(bench: Bench):
    first, second = listing(row("wm1", tag_id=["et1"]), cursor="c"), listing(row("wm2", tag_id=["et1"]))
    pages, recorder = await read(bench, USERS, first, answer(tag_group=[GROUP]), second)
    shown = {"tag_name": "重要", "tag_id": "et1", "type": 1, "group_name": "等级"}
    assert [record.body["tags"] for page in pages for record in page.records] == [[shown], [shown]]
    assert [path for _, path, _ in recorder.sent].count("externalcontact/get_corp_tag_list") == 1


async def test_an_id_nobody_knows_loads_the_library_again_and_then_asks_one_contact(bench: Bench):
    strategy = {"tag_name": "华东", "tag_id": "st1", "type": 3, "group_name": "大区"}
    got = answer(
        external_contact={"external_userid": "wm1"}, follow_user=[{"userid": "A", "tags": [strategy]}]
    )
    pages, recorder = await read(
        bench,
        USERS,
        listing(row("wm1", tag_id=["st1"]), cursor="c"),
        EMPTY_LIBRARY,
        EMPTY_LIBRARY,
        got,
        listing(row("wm2", tag_id=["st1"])),
    )
    assert [record.body["tags"] for page in pages for record in page.records] == [[strategy], [strategy]]
    assert [path for _, path, _ in recorder.sent].count("externalcontact/get") == 1


@pytest.mark.parametrize("code", [84061, 40096])
async def test_a_contact_that_went_meanwhile_teaches_no_tag_and_stops_no_read(bench: Bench, code: int):
    pages, _ = await read(
        bench,
        USERS,
        listing(row("wm1", tag_id=["st1"])),
        EMPTY_LIBRARY,
        EMPTY_LIBRARY,
        answer(errcode=code),
    )
    assert ids(pages) == ["a/wm1"]
    with pytest.raises(ConnectionDown):
        await read(
            bench,
            USERS,
            listing(row("wm1", tag_id=["st1"])),
            EMPTY_LIBRARY,
            EMPTY_LIBRARY,
            answer(errcode=48002),
        )


async def test_numbers_that_come_as_texts_are_numbers(bench: Bench):
    contact = {"external_userid": "wo1", "name": "1", "type": "2", "gender": "1"}
    follow = {"userid": "A", "createtime": "1525779812", "add_way": "10", "state": "7", "remark": "8"}
    tags = [{"tag_id": "et1", "tag_name": "a", "type": "1"}, {"tag_name": "b", "type": "2", "tag_id": "p"}]
    batch, _ = await read(
        bench, USERS, listing({"external_contact": contact, "follow_info": {**follow, "tag_id": []}})
    )
    shown = answer(external_contact=contact, follow_user=[{**follow, "tags": tags}])
    (got,) = await bench.connect(http=Recorder(shown)).fetch("follow", [VendorKey("", "a/wo1")])
    for body in (batch[0].records[0].body, got.body):
        assert (body["createtime"], body["add_way"], body["state"], body["remark"]) == (
            1525779812,
            10,
            "7",
            "8",
        )
        assert {name: body["contact"][name] for name in ("type", "gender", "name")} == {
            "type": 2,
            "gender": 1,
            "name": "1",
        }
    assert got.body["tags"] == [{"tag_id": "et1", "tag_name": "a", "type": 1, "group_name": ""}]


async def test_departments_that_come_as_texts_are_numbers(bench: Bench):
    tree = answer(department=[{"id": "1", "parentid": "0"}, {"id": "4", "parentid": "1"}])
    user = {"userid": "A", "name": "甲", "department": ["4"], "main_department": "4", "status": "1"}
    recorder = Recorder(
        tree, answer(userlist=[]), answer(userlist=[{"userid": "A", "department": ["4"]}]), answer(**user)
    )
    pages = await bench.pages(bench.connect(http=recorder), "user")
    (record,) = [one for page in pages for one in page.records]
    assert (record.body["department_path"], record.body["department"], record.body["status"]) == (
        [4, 1],
        [4],
        1,
    )


async def test_a_tag_event_lets_the_library_be_loaded_again(bench: Bench):
    recorder = Recorder(EMPTY_LIBRARY, answer(tag_group=[GROUP]))
    connector = bench.connect(bench.stand.settings() | SETTINGS, http=recorder)
    assert await connector._library.unknown([]) == set()
    assert await connector._library.unknown([]) == set()
    assert len(recorder.sent) == 1
    connector.receive(event("change_external_tag/update", Id="et1", TagType="tag"))
    assert await connector._library.unknown(["et1"]) == set()
    assert len(recorder.sent) == 2


# ------------------------------------------------------------------------------------------- single records


async def test_keys_of_one_contact_share_one_call(bench: Bench):
    got = answer(external_contact={"external_userid": "wm1"}, follow_user=[{"userid": "A"}, {"userid": "B"}])
    recorder = Recorder(got, answer(follow_user=["A", "B", "C"]))
    keys = [VendorKey("", f"{userid}/wm1") for userid in ("b", "c", "a")]
    second, missing, first = await bench.connect(http=recorder).fetch("follow", keys)
    assert missing == Gone(keys[1])
    assert [one.key for one in (second, first)] == [keys[0], keys[2]]
    assert len(recorder.sent) == 2  # the second: may the app see employee c at all?


async def test_a_relation_of_an_employee_out_of_sight_is_not_taken_for_a_deleted_one(bench: Bench):
    got = answer(external_contact={"external_userid": "wm1"}, follow_user=[{"userid": "A"}])
    recorder = Recorder(got, answer(follow_user=["A"]))
    there, hidden = await bench.connect(http=recorder).fetch(
        "follow", [VendorKey("", "a/wm1"), VendorKey("", "left/wm1")]
    )
    assert there.key == VendorKey("", "a/wm1")
    assert isinstance(hidden, Failed)
    assert (hidden.error.cause, hidden.error.field) == (Cause.PERMISSION, "userid")


async def test_a_follower_on_a_later_page_is_found_and_the_pages_behind_him_are_not_asked_for(bench: Bench):
    bench.stand.sandbox.dials.followers_page = 2
    sandbox = bench.stand.sandbox
    for number in range(7):
        sandbox.act(
            PutMember(userid=f"m{number}", name="员工", department=[HOME], main_department=HOME, silent=True)
        )
    (made,) = sandbox.act(AddContact(userid="m0", silent=True))
    external = str(made["external_userid"])
    sandbox.act(
        *(AddContact(userid=f"m{number}", external_userid=external, silent=True) for number in range(1, 7))
    )
    connector = bench.connect()
    (found, missing) = await connector.fetch(
        "follow", [VendorKey("", f"m3/{external}"), VendorKey("", f"{SELLER}/{external}")]
    )
    assert found.body["userid"] == "m3"
    assert isinstance(missing, Gone)
    sandbox.limits.calls.clear()
    await connector.fetch("follow", [VendorKey("", f"m3/{external}")])
    assert sandbox.limits.calls["externalcontact/get"] == 2


async def test_followers_that_never_end_are_an_error(bench: Bench):
    got = answer(external_contact={"external_userid": "wm1"}, follow_user=[], next_cursor="c")
    with pytest.raises(IntegrityError):
        await bench.connect(http=Recorder(got, got)).fetch("follow", [VendorKey("", "a/wm1")])


async def test_u8_an_answer_about_another_contact_stops(bench: Bench):
    got = answer(external_contact={"external_userid": "wm2"}, follow_user=[])
    with pytest.raises(IntegrityError) as caught:
        await bench.connect(http=Recorder(got)).fetch("contact", [VendorKey("", "wm1")])
    assert caught.value.cause is Cause.FOREIGN


async def test_one_contact_that_cannot_be_read_stops_no_other(bench: Bench, wecom: WeComConnector):
    first, second = await bench.stand.seed("contact", 2)
    bench.stand.sandbox.inject("errcode_45033", op="externalcontact/get")
    results = await wecom.fetch("contact", [VendorKey("", first), VendorKey("", second)])
    assert sorted(type(one).__name__ for one in results) == ["Failed", "SourceRecord"]
    bench.stand.sandbox.inject("errcode_45033", op="externalcontact/get")
    with pytest.raises(TryAgain):
        await wecom.fetch("contact", [VendorKey("", first)])


async def test_a_lost_permission_is_the_connections_matter(bench: Bench, wecom: WeComConnector):
    first, second = await bench.stand.seed("contact", 2)
    bench.stand.sandbox.inject("errcode_48002", op="externalcontact/get")
    with pytest.raises(ConnectionDown):
        await wecom.fetch("contact", [VendorKey("", first), VendorKey("", second)])


# ------------------------------------------------------------------------------------------- employees


async def test_an_employee_carries_the_path_of_his_main_department_as_far_as_it_is_visible(
    bench: Bench, wecom: WeComConnector
):
    sandbox = bench.stand.sandbox
    sandbox.act(PutDepartment(id=101, name="一组", parentid=HOME, silent=True))
    sandbox.act(
        PutMember(
            userid="Deep",
            name="深",
            department=[101, HOME],
            main_department=101,
            position="经理",
            silent=True,
        )
    )
    shown = latest(await bench.pages(wecom, "user"))
    assert shown.keys() == {"deep", SELLER.lower()}
    body = shown["deep"].body
    assert (body["userid"], body["department"], body["department_path"]) == ("Deep", [101, HOME], [101, HOME])
    sandbox.gate.apps[AGENTID].visible_departments = [1]
    assert latest(await bench.pages(bench.connect(), "user"))["deep"].body["department_path"] == [
        101,
        HOME,
        1,
    ]


def test_a_path_ends_where_a_parent_is_not_visible_and_where_it_goes_in_a_circle():
    assert path_up({2: 1, 4: 2}, 4) == [4, 2]
    assert path_up({1: 0, 2: 1}, 2) == [2, 1]
    assert path_up({2: 4, 4: 2}, 4) == [4, 2]
    assert path_up({}, 9) == [9]
    assert path_up({1: 0}, None) == []


async def test_the_secret_of_the_contact_sync_shows_ids_and_departments(bench: Bench):
    sandbox = bench.stand.sandbox
    connector = bench.connect(bench.stand.settings() | {"secret": Secret(CONTACT_SECRET)})
    shown = latest(await bench.pages(connector, "user"))
    assert shown.keys() == set(sandbox.corp.members)
    body = shown["lisi"].body
    assert body["department"] == [5]
    assert body["department_path"] == [5, 3, 1]


async def test_employees_of_several_departments_are_shown_once(bench: Bench, wecom: WeComConnector):
    bench.stand.sandbox.act(PutDepartment(id=102, name="二组", parentid=HOME, silent=True))
    bench.stand.sandbox.act(
        PutMember(userid="both", name="双", department=[102, HOME], main_department=102, silent=True)
    )
    pages = await bench.pages(wecom, "user")
    assert sorted(ids(pages)) == ["both", SELLER.lower()]


async def test_an_employee_who_left_is_gone_and_his_id_in_other_letters_is_his(
    bench: Bench, wecom: WeComConnector
):
    there, gone = await wecom.fetch("user", [VendorKey("", SELLER.lower()), VendorKey("", "nobody")])
    assert there.key == VendorKey("", SELLER.lower())
    assert gone == Gone(VendorKey("", "nobody"))


def test_a_department_out_of_sight_is_no_deletion():
    assert not WeComConnector.spec.streams["user"].complete_sweep
