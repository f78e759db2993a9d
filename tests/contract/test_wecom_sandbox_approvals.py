"""The WeCom stand-in: templates, submissions, forms, people who decide, and the events of it all (section 4, 7.3)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import ActOnForm, Submit
from connectors.wecom.sandbox.templates import CONTRACT, EVERYTHING
from tests.contract.wecom_sandbox_site import Site, field, open_site

CREATE, LIST, DETAIL, TEMPLATE = (
    "oa/applyevent",
    "oa/getapprovalinfo",
    "oa/getapprovaldetail",
    "oa/gettemplatedetail",
)
TEXT, NAME, MONEY, KIND, TABLE = (f"{kind}-{1_570_000_000_000 + number}" for kind, number in (
    ("Text", 1), ("Text", 2), ("Money", 3), ("Selector", 4), ("Table", 5),
))  # fmt: skip
DAY = 86_400


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


def cell(id_: str, **value: Any) -> dict[str, Any]:
    return {"control": id_.partition("-")[0], "id": id_, "value": value}


def contents(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell(NAME, text="示例"), cell(MONEY, new_money="5000"), *more]


async def submit(site: Site, *more: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {
        "creator_userid": "zhangsan", "template_id": CONTRACT, "use_template_approver": 1,
        "apply_data": {"contents": contents(*more)}, **fields,
    }  # fmt: skip
    return await site.post(CREATE, **{name: value for name, value in body.items() if value is not None})


async def act(site: Site, name: str, sp_no: str, **more: Any) -> dict[str, Any]:
    return await site.act(name, sp_no=sp_no, **more)


async def detail(site: Site, sp_no: str) -> dict[str, Any]:
    answer = await site.post(DETAIL, sp_no=sp_no)
    assert answer["errcode"] == 0, answer
    return dict(answer["info"])


def now(site: Site) -> int:
    return int(site.box.clock.now() // 1_000_000)


async def listed(site: Site, **more: Any) -> dict[str, Any]:
    start = now(site) - 3600
    return await site.post(
        LIST, **({"starttime": str(start), "endtime": str(start + 7200), "new_cursor": ""} | more)
    )


# ----------------------------------------------------------------------------------------------- submission


async def test_a_form_is_submitted_read_and_in_the_ledger(site: Site) -> None:
    await site.dials(strict=True)
    answer = await submit(site, cell(KIND, selector={"type": "single", "options": [{"key": "option-1"}]}))
    assert answer["errcode"] == 0
    info = await detail(site, answer["sp_no"])
    assert (info["sp_status"], info["applyer"], info["template_id"]) == (
        1,
        {"userid": "zhangsan", "partyid": "4"},
        CONTRACT,
    )
    shown = {one["id"]: one["value"] for one in info["apply_data"]["contents"]}
    assert shown[KIND]["selector"]["options"] == [
        {"key": "option-1", "value": [{"text": "新签", "lang": "zh_CN"}]}
    ]
    assert shown[NAME]["text"] == "示例"
    assert (
        shown[NAME]["members"] == shown[NAME]["children"] == []
    )  # padded with what belongs to other controls
    (effect,) = site.box.ledger().effects(by="api")
    assert (effect.verb, effect.form, effect.id) == ("applyevent", "approval", answer["sp_no"])


async def test_there_is_no_idempotency_the_same_body_twice_makes_two_forms(site: Site) -> None:
    assert (await submit(site))["sp_no"] != (await submit(site))["sp_no"]


@pytest.mark.parametrize(
    "more",
    [
        cell("Text-99", text="x"),
        {**cell(TEXT, text="x"), "control": "Textarea"},
        cell(TEXT, text="一\n二"),
        cell(TEXT, text=5),
        cell(KIND, selector={"type": "single", "options": [{"key": "option-9"}]}),
        cell(KIND, selector={"type": "multi", "options": [{"key": "option-1"}]}),
        cell(NAME, text="twice"),
        {"control": "Text", "id": TEXT},
        cell(TABLE, children=[{"list": [cell("Text-1570000000006", text="甲")]}]),
        cell("File-1570000000010", files=[{"file_id": str(number)} for number in range(7)]),
        cell("File-1570000000010", files=[{"file_name": "x"}]),
    ],
    ids=range(11),
)
async def test_a_form_that_does_not_fit_its_template_is_301025(site: Site, more: dict[str, Any]) -> None:
    assert (await submit(site, more))["errcode"] == 301025
    assert not site.box.corp.forms


async def test_what_is_required_must_be_there_and_say_something(site: Site) -> None:
    for given in (
        [cell(NAME, text="示例")],
        contents()[1:],
        [cell(NAME, text=""), cell(MONEY, new_money="5")],
    ):
        assert (await submit(site, apply_data={"contents": given}))["errcode"] == 301025
    row = [
        cell("Text-1570000000006", text="甲"),
        cell("Number-1570000000007", new_number=""),
        cell("Money-1570000000008", new_money=""),
    ]
    assert (await submit(site, cell(TABLE, children=[{"list": row}])))["errcode"] == 0
    row[0]["value"]["text"] = ""
    assert (await submit(site, cell(TABLE, children=[{"list": row}])))["errcode"] == 301025


@pytest.mark.parametrize("money", [5000, "五千", "1e3", "", "5,000"])
async def test_money_is_a_decimal_in_a_string(site: Site, money: Any) -> None:
    given = [cell(NAME, text="示例"), cell(MONEY, new_money=money)]
    assert (await submit(site, apply_data={"contents": given}))["errcode"] == 301025


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"creator_userid": "nobody"}, 301055),
        ({"template_id": "3TmNever"}, 301025),
        ({"use_template_approver": 0}, 301025),
        ({"use_template_approver": None}, 301025),
        ({"use_template_approver": 0, "process": {"node_list": [{"type": 1, "userid": ["lisi"]}]}}, 301025),
        (
            {
                "use_template_approver": 0,
                "process": {"node_list": [{"type": 1, "apv_rel": 1, "userid": ["nobody"]}]},
            },
            301025,
        ),
        (
            {
                "use_template_approver": 0,
                "process": {"node_list": [{"type": 4, "apv_rel": 1, "userid": ["lisi"]}]},
            },
            301025,
        ),
        (
            {"use_template_approver": 0, "process": {"node_list": [{"type": 1, "apv_rel": 1, "userid": []}]}},
            301025,
        ),
        ({"choose_department": 5}, 301025),
        ({"summary_list": [{"summary_info": [{"text": "x", "lang": "zh-CN"}]}]}, 301025),
        ({"summary_list": [{"summary_info": [{"text": "字" * 21, "lang": "zh_CN"}]}]}, 301025),
        ({"summary_list": [{"summary_info": []}] * 4}, 301025),
        ({"apply_data": {"contents": {}}}, 301025),
        ({"apply_data": None}, 40058),
    ],
)
async def test_people_flow_and_lines_are_checked(site: Site, fields: dict[str, Any], code: int) -> None:
    assert (await submit(site, **fields))["errcode"] == code


async def test_the_old_way_to_name_approvers_still_works_with_its_other_count(site: Site) -> None:
    old = [{"attr": 2, "userid": ["lisi", "wangwu"]}]
    answer = await submit(site, use_template_approver=0, approver=old, notifyer=["ZhaoLiu"], notify_type=1)
    info = await detail(site, answer["sp_no"])
    assert [one["approverattr"] for one in info["sp_record"]] == [2]  # all of them
    assert info["process_list"]["node_list"][0]["apv_rel"] == 1  # the same, counted the other way round
    assert info["notifyer"] == [{"userid": "ZhaoLiu"}]


async def test_a_template_is_shown_and_one_out_of_use_is_not(site: Site) -> None:
    answer = await site.post(TEMPLATE, template_id=EVERYTHING)
    controls = answer["template_content"]["controls"]
    assert controls[0]["property"]["title"] == [{"text": "CRM单号", "lang": "zh_CN"}]
    await site.act("put_template", template_id=EVERYTHING, enabled=False)
    assert (await site.post(TEMPLATE, template_id=EVERYTHING))["errcode"] == 301025
    await site.dials(disabled_template="shown")
    assert (await site.post(TEMPLATE, template_id=EVERYTHING))["errcode"] == 0
    await site.act("put_template", template_id=CONTRACT, chosen=True)
    assert (await submit(site))["errcode"] == 301025


async def test_an_app_that_the_module_does_not_list_gets_301055(site: Site) -> None:
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"grants": ["contacts", "externalcontact"]})
    for api in (TEMPLATE, DETAIL, LIST, CREATE):
        assert (await site.post(api))["errcode"] == 301055


async def test_the_four_calls_have_a_lower_limit_a_minute_than_the_others(site: Site) -> None:
    await site.dials(approval_per_minute=2)
    codes = [(await site.post(TEMPLATE, template_id=CONTRACT))["errcode"] for _ in range(4)]
    assert codes == [0, 0, 45009, 45009]
    assert (await listed(site))["errcode"] == 0  # each for itself
    await site.advance(61)
    assert (await site.post(TEMPLATE, template_id=CONTRACT))["errcode"] == 0


# --------------------------------------------------------------------------------------------------- listing


async def test_numbers_are_listed_by_submission_with_an_opaque_cursor_and_no_cursor_at_the_end(
    site: Site,
) -> None:
    ids = [(await submit(site))["sp_no"] for _ in range(5)]
    found, cursor, pages, start = [], "", 0, now(site) - 60
    while True:
        page = await listed(site, size=2, new_cursor=cursor, starttime=start, endtime=str(start + 120))
        found += page["sp_no_list"]
        pages += 1
        if "new_next_cursor" not in page:
            break
        cursor = page["new_next_cursor"]
        assert not cursor.isdigit()
    assert (found, pages) == (ids, 3)
    assert (await listed(site, size=2, new_cursor="nonsense"))["errcode"] == 50100


async def test_the_old_pair_of_numbers_pages_too(site: Site) -> None:
    ids = [(await submit(site))["sp_no"] for _ in range(3)]
    start = now(site) - 60
    first = await site.post(LIST, starttime=start, endtime=start + 120, cursor=0, size=2)
    second = await site.post(LIST, starttime=start, endtime=start + 120, cursor=first["next_cursor"], size=2)
    assert first["sp_no_list"] + second["sp_no_list"] == ids
    assert "next_cursor" not in second


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ([{"key": "template_id", "value": CONTRACT}], 2),
        ([{"key": "template_id", "value": EVERYTHING}], 0),
        ([{"key": "creator", "value": "ZHANGSAN"}], 1),
        ([{"key": "sp_status", "value": "1"}, {"key": "creator", "value": "lisi"}], 1),
        ([{"key": "department", "value": "4"}, {"key": "department", "value": "5"}], 2),
        ([{"key": "sp_status", "value": "2"}], 0),
        ([{"key": "sp_status", "value": "1"}, {"key": "sp_status", "value": "2"}], 301025),
        ([{"key": "changed", "value": "1"}], 301025),
        ([{"key": "sp_status", "value": 1}], 301025),
        ([{"key": "creator", "value": "nobody"}], 301055),
    ],
)
async def test_filters_of_different_keys_narrow_and_only_department_may_repeat(
    site: Site, filters: list[dict[str, Any]], count: int
) -> None:
    await submit(site)
    await submit(site, creator_userid="lisi")
    answer = await listed(site, filters=filters)
    assert (len(answer["sp_no_list"]) if answer["errcode"] == 0 else answer["errcode"]) == count


async def test_a_window_has_a_begin_an_end_behind_it_and_at_most_31_days(site: Site) -> None:
    end = now(site)
    for start, code in (
        (end - 31 * DAY, 0),
        (end - 31 * DAY - 1, 301025),
        (end, 301025),
        (end + 1, 301025),
        ("x", 301025),
    ):
        assert (await listed(site, starttime=str(start), endtime=str(end)))["errcode"] == code
    assert (await listed(site, size=101))["errcode"] == 301025
    await site.dials(approval_window_rows=1)
    await submit(site)
    await submit(site)
    assert (await listed(site))["errcode"] == 301112


async def test_a_change_of_status_is_not_listed_by_its_time(site: Site) -> None:
    sp_no = (await submit(site))["sp_no"]
    await site.advance(3 * DAY)
    await site.login()
    await act(site, "agree", sp_no)
    assert (await listed(site))["sp_no_list"] == []


async def test_forms_of_people_out_of_sight_are_taken_out_of_their_page(site: Site) -> None:
    hidden = (await submit(site, creator_userid="lisi"))["sp_no"]
    ours = (await submit(site))["sp_no"]
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"visible_departments": [4]})
    page = await listed(site, size=1)
    assert page["sp_no_list"] == []
    assert (await listed(site, size=2))["sp_no_list"] == [ours]
    assert (await site.post(DETAIL, sp_no=hidden))["errcode"] == 301055
    assert (await site.post(DETAIL, sp_no="202601010001"))["errcode"] == 301025


# ------------------------------------------------------------------------------------------------ people decide


async def test_nodes_ask_one_after_another_and_each_in_its_way(site: Site) -> None:
    nodes = [
        {"type": 1, "apv_rel": 1, "userid": ["lisi", "wangwu"]},
        {"type": 1, "apv_rel": 2, "userid": ["lisi", "wangwu"]},
        {"type": 1, "apv_rel": 3, "userid": ["wangwu", "lisi"]},
        {"type": 3, "apv_rel": 1, "userid": ["ZhaoLiu"]},
    ]
    sp_no = (await submit(site, use_template_approver=0, process={"node_list": nodes}))["sp_no"]
    steps = [
        ("lisi", ["wangwu"]),
        ("wangwu", ["lisi", "wangwu"]),
        ("wangwu", ["wangwu"]),
        ("wangwu", ["lisi"]),
        ("lisi", ["ZhaoLiu"]),
    ]
    for userid, turns in steps:
        assert (await act(site, "agree", sp_no, userid=userid))["turns"] == turns
    wrong = await site.control(
        "POST", "/act", {"act": "agree", "sp_no": sp_no, "userid": "ZhaoLiu"}, status=409
    )
    assert "does not belong" in str(wrong)
    assert (await act(site, "handle", sp_no, userid="ZhaoLiu"))["sp_status"] == 2


@pytest.mark.parametrize(
    ("acts", "status"),
    [
        (["reject"], 3), (["withdraw"], 4), (["agree"], 2), (["agree", "revoke"], 6), (["agree", "pay"], 10), (["delete"], 7),
        (["comment", "urge"], 1),
    ],
)  # fmt: skip
async def test_every_end_has_its_status(site: Site, acts: list[str], status: int) -> None:
    sp_no = (await submit(site))["sp_no"]
    for one in acts:
        await act(site, one, sp_no)
    assert (await detail(site, sp_no))["sp_status"] == status


async def test_a_final_form_is_not_decided_again_and_only_an_approved_one_is_revoked(site: Site) -> None:
    sp_no = (await submit(site))["sp_no"]
    await site.control("POST", "/act", {"act": "revoke", "sp_no": sp_no}, status=409)
    await act(site, "reject", sp_no)
    for one in ("agree", "withdraw", "revoke", "pay"):
        await site.control("POST", "/act", {"act": one, "sp_no": sp_no}, status=409)


async def test_a_task_is_handed_on_added_to_and_sent_back(site: Site) -> None:
    sp_no = (await submit(site))["sp_no"]
    assert (await act(site, "transfer", sp_no, userid="zhangsan", to="ZhaoLiu"))["turns"] == ["ZhaoLiu"]
    assert (await act(site, "add_approver", sp_no, userid="ZhaoLiu", to="lisi"))["turns"] == [
        "lisi",
        "ZhaoLiu",
    ]
    await act(site, "agree", sp_no, userid="lisi")
    assert (await act(site, "agree_and_add", sp_no, userid="ZhaoLiu", to="wangwu"))["turns"] == ["wangwu"]
    assert (await act(site, "agree", sp_no, userid="wangwu"))["turns"] == ["lisi", "wangwu"]
    back = await act(site, "return", sp_no, userid="lisi", speech="补充材料")
    assert back["sp_status"] == 1
    assert set(back["turns"]) == {"zhangsan", "ZhaoLiu", "lisi", "wangwu"}


# ---------------------------------------------------------------------------------------------------- events


async def test_every_act_is_told_with_its_number_and_without_the_form(site: Site) -> None:
    await site.listen()
    sp_no = (await submit(site))["sp_no"]
    for one in ("urge", "comment", "agree", "revoke"):
        await act(site, one, sp_no, speech="备注")
    other = (await submit(site))["sp_no"]
    for one in ("withdraw", "delete"):
        await act(site, one, other)
    await site.flush()
    told = [(field(one, "SpNoStr"), int(field(one, "StatuChangeEvent"))) for one in site.receiver.plain]
    assert told == [
        (sp_no, 1),
        (sp_no, 5),
        (sp_no, 10),
        (sp_no, 2),
        (sp_no, 2),
        (sp_no, 8),
        (other, 1),
        (other, 6),
    ]
    assert all(field(one, "AgentID") == "3010040" for one in site.receiver.plain)
    assert not any("示例" in one for one in site.receiver.plain)


@pytest.mark.parametrize(
    ("numbers", "text", "number"), [("both", True, True), ("text", True, False), ("number", False, True)]
)
async def test_one_element_and_many_stand_side_by_side_without_a_list_around(
    site: Site, numbers: str, text: bool, number: bool
) -> None:
    await site.dials(sp_no=numbers)
    await site.listen()
    await submit(site)
    await site.flush()
    (plain,) = site.receiver.plain
    assert ("<SpNoStr>" in plain, "<SpNo>" in plain) == (text, number)
    assert re.findall(r"<SpRecord><SpStatus>1</SpStatus><ApproverAttr>(\d)</ApproverAttr>", plain) == [
        "2",
        "1",
    ]
    assert plain.count("<Details>") == plain.count("<SubNodeList>") == 3
    assert plain.count("<Notifyer>") == 1


async def test_an_app_without_the_module_hears_nothing(site: Site) -> None:
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"grants": ["contacts", "externalcontact"]})
    await site.listen()
    await site.act(
        "submit_form", template_id=CONTRACT, userid="lisi", values={"客户名称": "示例", "合同金额": "1"}
    )
    await site.flush()
    assert site.receiver.plain == []


async def test_what_a_person_fills_in_is_checked_as_well(site: Site) -> None:
    for values in (
        {"客户名称": "示例"},
        {"客户名称": "示例", "合同金额": "1", "合同类型": "转让"},
        {"颜色": "红"},
    ):
        body = {"act": "submit_form", "template_id": CONTRACT, "userid": "lisi", "values": values}
        await site.control("POST", "/act", body, status=409)


async def test_the_control_door_shows_forms_and_templates(site: Site) -> None:
    sp_no = (await submit(site))["sp_no"]
    (shown,) = await site.control("GET", "/approvals")
    assert (shown["sp_no"], shown["turns"]) == (sp_no, ["zhangsan"])
    assert {one["template_id"] for one in await site.control("GET", "/templates")} == {CONTRACT, EVERYTHING}


def test_forms_survive_a_restart_with_their_decisions_and_new_numbers_differ(tmp_path: Path) -> None:
    first = WeComSandbox(state=tmp_path / "state")
    fill = Submit(template_id=CONTRACT, userid="zhangsan", values={"客户名称": "示例", "合同金额": "1"})
    (made,) = first.act(fill)
    first.act(ActOnForm(act="agree", sp_no=str(made["sp_no"])))
    first.ledger().close()
    second = WeComSandbox(state=tmp_path / "state")
    assert second.corp.forms[str(made["sp_no"])].sp_status == 2
    (other,) = second.act(fill)
    assert other["sp_no"] != made["sp_no"]
    second.ledger().close()
