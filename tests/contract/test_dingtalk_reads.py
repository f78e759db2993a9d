"""Reading: the net under the events, what was attached to an approval later, people and departments (2.3, 2.4, 3, U7, U8)."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.listing import DAY, list_ids
from connectors.dingtalk.sandbox.acts import (
    Comment,
    Decide,
    Delete,
    DropDepartment,
    Leave,
    PutDepartment,
    PutUser,
    Revoke,
    Start,
    Transfer,
    Withdraw,
)  # fmt: skip
from hub.errors import Cause, IntegrityError, Refused, RemoteError, TryAgain
from hub.sdk import Applied, Failed, Gone, SourceRecord, VendorKey
from hub.sdk.kit import Bench, latest, scripted
from tests.contract.dingtalk_stand import (
    CONTRACT,
    CUSTOM,
    SELLER,
    TOKEN,
    answer,
    bench,
    dingtalk,
    old,
    writing,
)

VALUES = {"客户名称": "示例", "合同金额": "5000"}


def start(bench: Bench, **values: str) -> str:
    (made,) = bench.stand.sandbox.act(
        Start(act="start", process_code=CONTRACT, userid=SELLER, values=VALUES | values)
    )
    return str(made["id"])


async def read(
    bench: Bench, dingtalk: DingTalkConnector, after: Any = None, stream: str = "approval"
) -> tuple[dict[str, Any], Any]:
    pages = await bench.pages(dingtalk, stream, after)
    return {id_.rpartition("/")[2]: record for id_, record in latest(pages).items()}, pages[-1].cursor


async def one(bench: Bench, dingtalk: DingTalkConnector, id_: str) -> dict[str, Any]:
    (record,) = await dingtalk.fetch("approval", [VendorKey("", f"{CONTRACT}/{id_}")])
    assert isinstance(record, SourceRecord), record
    return record.body  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------ what get shows


async def test_an_approval_shows_who_did_what_and_when_with_the_offset(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    id_ = start(bench, 合同金额="150000", CRM单号="HT-1")
    box.act(
        Comment(act="comment", id=id_, userid=SELLER, text="急"), Transfer(act="transfer", id=id_, userid="manager", to="east"),
        Decide(act="agree", id=id_, userid="east", remark="同意"), Decide(act="agree", id=id_),
    )  # fmt: skip
    body = await one(bench, dingtalk, id_)
    assert (body["state"], body["status"], body["result"]) == ("approved", "COMPLETED", "agree")
    assert (body["correlation"], body["number"], body["ours"]) == ("HT-1", "HT-1", False)
    assert body["form"]["MoneyField-AMT00001"] == "150000"
    kinds = [record["type"] for record in body["operationRecords"]]
    assert kinds == [
        "START_PROCESS_INSTANCE", "ADD_REMARK", "REDIRECT_TASK", "EXECUTE_TASK_NORMAL", "EXECUTE_TASK_NORMAL",
        "FINISH_PROCESS_INSTANCE",
    ]  # fmt: skip
    assert [(task["userId"], task["status"], task["result"]) for task in body["tasks"]] == [
        ("manager", "COMPLETED", "REDIRECTED"), ("deputy", "CANCELED", "NONE"), ("east", "COMPLETED", "AGREE"), ("head", "COMPLETED", "AGREE"),
    ]  # fmt: skip
    assert all(record["date"].endswith("+08:00") for record in body["operationRecords"])
    assert body["createTime"].endswith("+08:00")
    assert body["originatorDeptId"] == 210
    assert [(node["seq"], node["action"], node["approver"], node["opinion"]) for node in body["nodes"]] == [
        (1, "comment", SELLER, "急"), (2, "transfer", "manager", None), (3, "agree", "east", "同意"), (4, "agree", "head", None),
    ]  # fmt: skip
    assert body["opinion"] == "同意"
    assert [node["acted_at"] for node in body["nodes"]] == [
        record["date"] for record in body["operationRecords"][1:-1]
    ]


@pytest.mark.parametrize(
    ("correlation", "number"), [("HT-2026-0001-1 [0a1b2c3d]", "HT-2026-0001-1"), ("0a1b2c3d" * 4, None)]
)
async def test_what_the_hub_started_is_told_by_the_digits_of_its_key(
    bench: Bench, dingtalk: DingTalkConnector, correlation: str, number: str | None
) -> None:
    body = await one(bench, dingtalk, start(bench, CRM单号=correlation))
    assert (body["number"], body["ours"]) == (number, True)


async def test_the_offset_of_times_is_a_setting(bench: Bench) -> None:
    bench.stand.sandbox.dials.z_is_local = False
    id_ = start(bench)
    local = await one(bench, bench.connect(bench.stand.settings() | {"time_offset": "+00:00"}), id_)
    assert local["createTime"].endswith("+00:00")


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (lambda id_: Decide(act="refuse", id=id_, remark="不行"), "rejected"),
        (lambda id_: Withdraw(act="withdraw", id=id_), "withdrawn"),
        (lambda id_: Decide(act="agree", id=id_), "approved"),
        (lambda id_: Comment(act="comment", id=id_, userid=SELLER, text="等"), "in_progress"),
    ],
)
async def test_every_end_is_told_apart(
    bench: Bench, dingtalk: DingTalkConnector, act: Any, state: str
) -> None:
    id_ = start(bench)
    bench.stand.sandbox.act(act(id_))
    assert (await one(bench, dingtalk, id_))["state"] == state


async def test_an_approval_revoked_after_it_was_approved_is_told_as_revoked(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    id_ = start(bench)
    box.act(Decide(act="agree", id=id_))
    (pending,) = box.act(Revoke(act="revoke", id=id_, agreed=False))
    assert (await one(bench, dingtalk, id_))["state"] == "approved"  # asked for is not agreed
    box.act(Decide(act="agree", id=str(pending["id"])))
    body = await one(bench, dingtalk, id_)
    assert (body["state"], body["status"]) == ("revoked", "COMPLETED")
    assert [(one["bizAction"], one["result"]) for one in body["attached"]] == [("REVOKE", "agree")]
    assert body["main"] is None


async def test_the_event_of_a_revocation_leads_to_the_approval_it_is_about(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    id_ = start(bench)
    (_, attached) = box.act(Decide(act="agree", id=id_), Revoke(act="revoke", id=id_))
    (shown,) = await dingtalk.fetch("approval", [VendorKey("", f"{CONTRACT}/{attached['id']}")])
    assert isinstance(shown, SourceRecord)
    assert shown.key == VendorKey("", f"{CONTRACT}/{id_}")
    assert (shown.body["processInstanceId"], shown.body["state"]) == (id_, "revoked")


async def test_a_change_that_was_agreed_revokes_nothing(bench: Bench, dingtalk: DingTalkConnector) -> None:
    id_ = start(bench)
    bench.stand.sandbox.act(Decide(act="agree", id=id_), Revoke(act="modify", id=id_))
    assert (await one(bench, dingtalk, id_))["state"] == "approved"


@pytest.mark.parametrize(
    "code", ["processInstanceNotExist", "processInstanceIdError", "processFormDataIsNull"]
)
async def test_whatever_says_that_it_is_not_there_is_gone(
    bench: Bench, dingtalk: DingTalkConnector, code: str
) -> None:
    bench.stand.sandbox.dials.missing_instance = code  # type: ignore[assignment]
    gone = await dingtalk.fetch("approval", [VendorKey("", f"{CONTRACT}/never"), VendorKey("", "no pair")])
    assert all(isinstance(result, Gone) for result in gone)


async def test_a_permission_that_was_taken_away_is_not_taken_for_gone(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    id_ = start(bench)
    for fault in ("code_needAuth", "code_Forbidden.AccessDenied.AccessTokenPermissionDenied"):
        bench.stand.sandbox.inject(fault, op="get")
        with pytest.raises(RemoteError) as caught:
            await dingtalk.fetch("approval", [VendorKey("", f"{CONTRACT}/{id_}")])
        assert caught.value.cause is Cause.PERMISSION


# -------------------------------------------------------------------------------------------- the net


async def test_an_event_that_was_lost_is_swept_in(bench: Bench, dingtalk: DingTalkConnector) -> None:
    box = bench.stand.sandbox
    box.mode = "off"
    ids = [start(bench) for _ in range(5)]
    seen, cursor = await read(bench, dingtalk)
    assert seen.keys() == set(ids)
    box.act(
        Decide(act="agree", id=ids[0]), Withdraw(act="withdraw", id=ids[1]), Delete(act="delete", id=ids[2])
    )
    new = start(bench)
    seen, cursor = await read(bench, dingtalk, cursor)
    assert {id_: record.deleted or record.body["state"] for id_, record in seen.items()} == {
        ids[0]: "approved", ids[1]: "withdrawn", ids[2]: True, new: "in_progress",
    }  # fmt: skip
    assert (await read(bench, dingtalk, cursor))[0] == {}


@pytest.mark.parametrize("known_by", ["its event", "its create"])
async def test_one_that_was_deleted_before_any_read_listed_it_is_swept_in_as_gone_once(
    bench: Bench, dingtalk: DingTalkConnector, known_by: str
) -> None:
    _, cursor = await read(bench, dingtalk)
    if known_by == "its event":
        id_ = start(bench)
        await one(bench, dingtalk, id_)
    else:
        (result,) = await dingtalk.write([writing(bench, bench.stand.payload("approval", 1))])
        assert isinstance(result, Applied)
        id_ = result.ref.vendor_id.rpartition("/")[2]
    bench.stand.sandbox.act(Delete(act="delete", id=id_))  # and no event tells
    seen, cursor = await read(bench, dingtalk, cursor)
    assert {id_: record.deleted for id_, record in seen.items()} == {id_: True}
    assert (await read(bench, dingtalk, cursor))[0] == {}


async def test_a_quiet_hour_costs_two_calls_however_many_are_open(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    for _ in range(18):
        start(bench)
    dingtalk = bench.connect(bench.stand.settings() | {"page_size": 20})
    _, cursor = await read(bench, dingtalk)
    before = bench.stand.sandbox.gate.billed
    await read(bench, dingtalk, cursor)
    assert bench.stand.sandbox.gate.billed - before == 2


async def test_a_revocation_shows_the_approval_it_revokes_beside_it(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    id_ = start(bench)
    bench.stand.sandbox.act(Decide(act="agree", id=id_))
    _, cursor = await read(bench, dingtalk)
    (made,) = bench.stand.sandbox.act(Revoke(act="revoke", id=id_))
    seen, _ = await read(bench, dingtalk, cursor)
    assert seen.keys() == {id_, made["id"]}
    assert seen[id_].body["state"] == "revoked"
    attached = seen[made["id"]].body
    assert (attached["bizAction"], attached["mainProcessInstanceId"]) == ("REVOKE", id_)
    assert (attached["main"]["processInstanceId"], attached["main"]["state"]) == (id_, "revoked")


async def test_only_the_templates_of_the_settings_are_read(bench: Bench, dingtalk: DingTalkConnector) -> None:
    bench.stand.sandbox.act(Start(act="start", process_code=CUSTOM, userid=SELLER, values={}))
    id_ = start(bench)
    assert (await read(bench, dingtalk))[0].keys() == {id_}
    both = bench.connect(bench.stand.settings() | {"process_codes": f"{CONTRACT}, {CUSTOM}"})
    assert len((await read(bench, both))[0]) == 2
    none = bench.connect(bench.stand.settings() | {"process_codes": ""})
    assert (await read(bench, none))[0] == {}


async def test_a_year_is_listed_in_windows_the_vendor_allows(bench: Bench) -> None:
    box = bench.stand.sandbox
    id_ = start(bench)
    box.company.instances[id_].created -= 300 * DAY
    near = start(bench)
    dingtalk = bench.connect(bench.stand.settings() | {"history_days": 364})
    assert (await read(bench, dingtalk))[0].keys() == {id_, near}
    assert box.gate.calls["v1.0/workflow/processes/instanceIds/query"] == 4


async def test_an_old_open_approval_is_still_seen_to_end(bench: Bench) -> None:
    box = bench.stand.sandbox
    id_ = start(bench)
    box.company.instances[id_].created -= 200 * DAY
    dingtalk = bench.connect(bench.stand.settings() | {"history_days": 364})
    _, cursor = await read(bench, dingtalk)
    box.act(Decide(act="agree", id=id_))
    assert (await read(bench, dingtalk, cursor))[0].keys() == {id_}


async def test_the_cursor_of_a_closed_backlog_stays_small(bench: Bench, dingtalk: DingTalkConnector) -> None:
    for _ in range(10):
        id_ = start(bench)
        bench.stand.sandbox.act(Decide(act="agree", id=id_))
        bench.stand.sandbox.company.instances[id_].created -= 5 * DAY
    seen, cursor = await read(bench, dingtalk)
    assert len(seen) == 10
    assert (cursor["open"], cursor["recent"]) == ({}, {})


# ------------------------------------------------------------------------------------------- U7, U8


async def test_u7_a_listing_that_repeats_its_page_for_ever_is_stopped(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    for _ in range(7):
        start(bench)
    bench.stand.sandbox.dials.same_page = True
    with pytest.raises(IntegrityError) as caught:
        await read(bench, dingtalk)
    assert caught.value.cause is Cause.CURSOR


@pytest.mark.parametrize("token", ["20", "next", "0x14"])
async def test_u7_a_next_token_that_comes_again_or_is_none_is_stopped(bench: Bench, token: str) -> None:
    dingtalk = bench.connect(http=scripted(TOKEN, answer({"result": {"list": [], "nextToken": token}})))
    with pytest.raises(IntegrityError):
        await bench.pages(dingtalk, "approval")


async def test_u7_members_that_repeat_their_page_for_ever_are_stopped(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    for number in range(7):
        bench.stand.sandbox.act(
            PutUser(act="put_user", userid=f"u{number}", name="人", dept_id_list=[100], silent=True)
        )
    bench.stand.sandbox.dials.same_page = True
    with pytest.raises(IntegrityError):
        await read(bench, dingtalk, stream="user")


@pytest.mark.parametrize(
    "body",
    [
        {"result": {"list": "x"}}, {"result": []}, {}, {"result": None, "success": False}, {"success": "false"},
        {"errcode": "0"}, {"errcode": 0, "result": {}},
    ],
)  # fmt: skip
async def test_u7_a_listing_of_another_shape_may_be_tried_again_or_is_empty(
    bench: Bench, body: dict[str, Any]
) -> None:
    dingtalk = bench.connect(http=scripted(TOKEN, answer(body)))
    if body == {"errcode": 0, "result": {}}:
        assert latest(await bench.pages(dingtalk, "approval")) == {}
        return
    with pytest.raises(TryAgain):
        await bench.pages(dingtalk, "approval")


async def test_u7_numbers_as_text_and_an_unknown_status_are_taken_as_they_are(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    id_ = start(bench)
    bench.stand.sandbox.dials.unknown_status = "SUSPENDED"
    body = await one(bench, dingtalk, id_)
    assert (body["state"], body["status"]) == ("unknown", "SUSPENDED")
    bench.stand.sandbox.inject("text_numbers", op="topapi/v2/user/list")
    assert "head" in (await read(bench, dingtalk, stream="user"))[0]


async def test_u7_an_html_page_with_200_and_a_blocked_address_are_told_apart(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    for fault, cause in (
        ("html_200", Cause.BAD_ANSWER),
        ("blocked_ip", Cause.BAD_ANSWER),
        ("blocked_ip_json", Cause.RATE),
    ):
        bench.stand.sandbox.inject(fault, op="list")
        with pytest.raises(TryAgain) as caught:
            await read(bench, bench.connect())
        assert caught.value.cause is cause


async def test_u8_a_department_or_person_that_is_another_stops_the_read(bench: Bench) -> None:
    for stream, key, shown in (
        ("user", "seller", {"userid": "somebody-else", "dept_id_list": []}),
        ("department", "100", {"dept_id": 200, "name": "别的"}),
    ):
        dingtalk = bench.connect(http=scripted(TOKEN, old(result=shown)))
        with pytest.raises(IntegrityError) as caught:
            await dingtalk.fetch(stream, [VendorKey("", key)])
        assert caught.value.cause is Cause.FOREIGN


# ------------------------------------------------------------------------------- people and departments


async def test_a_person_carries_the_departments_with_region_marks_from_above(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    seen, _ = await read(bench, dingtalk, stream="user")
    assert seen.keys() == {"seller", "manager", "deputy", "head", "east", "finance"}
    (place,) = seen["seller"].body["departments"]
    assert place["path"] == ["1", "200", "210"]
    assert place["path_names"] == ["示例集团有限公司", "华南大区", "深圳分公司"]
    assert (place["source_identifier"], place["code"]) == ("cn/south", "S1")  # the nearest that says so
    assert [one["source_identifier"] for one in seen["east"].body["departments"]] == ["cn/east", "cn/south"]
    assert seen["seller"].body["mobile"] == "13800138000"


async def test_without_the_permission_a_mobile_number_is_not_there(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.gate.app.scopes.discard("qyapi_get_member_by_mobile")
    assert (await read(bench, dingtalk, stream="user"))[0]["seller"].body["mobile"] is None


async def test_departments_are_read_without_the_root_and_without_education_trees(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    seen, _ = await read(bench, dingtalk, stream="department")
    assert seen.keys() == {"100", "200", "210"}
    assert seen["210"].body["path"] == ["1", "200", "210"]


async def test_what_is_out_of_range_is_neither_gone_nor_read(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.gate.app.visible = [100]
    failed = await dingtalk.fetch(
        "user", [VendorKey("", "seller"), VendorKey("", "manager"), VendorKey("", "nobody")]
    )
    assert isinstance(failed[2], Gone)
    for one_ in failed[:2]:
        assert isinstance(one_, Failed)
        assert isinstance(one_.error, Refused)
        assert one_.error.cause is Cause.PERMISSION


async def test_a_person_who_left_and_a_department_that_was_removed_are_gone(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    box.act(Leave(act="leave", userid="east"), DropDepartment(act="drop_department", dept_id=100))
    (person,) = await dingtalk.fetch("user", [VendorKey("", "east")])
    (department,) = await dingtalk.fetch("department", [VendorKey("", "100")])
    assert isinstance(person, Gone)
    assert isinstance(department, Gone)


async def test_a_person_in_two_departments_is_read_once(bench: Bench, dingtalk: DingTalkConnector) -> None:
    pages = await bench.pages(dingtalk, "user")
    shown = [record.key.id for page in pages for record in page.records]
    assert shown.count("east") == 1


async def test_a_department_moved_elsewhere_has_another_path_at_once(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    await read(bench, dingtalk, stream="department")
    bench.stand.sandbox.act(PutDepartment(act="put_department", dept_id=210, parent_id=100))
    (moved,) = await dingtalk.fetch("department", [VendorKey("", "210")])
    assert isinstance(moved, SourceRecord)
    assert moved.body["path"] == ["1", "100", "210"]  # type: ignore[index, call-overload]


async def test_a_window_with_too_many_ids_is_cut_in_two(
    bench: Bench, dingtalk: DingTalkConnector, monkeypatch: Any
) -> None:
    from connectors.dingtalk import listing

    monkeypatch.setattr(listing, "MOST", 6)
    ids = []
    for number in range(20):
        ids.append(start(bench))
        bench.stand.sandbox.company.instances[ids[-1]].created -= (20 - number) * DAY // 10
    now = bench.clock.now() // 1000
    found = await list_ids(dingtalk._client, CONTRACT, now - 30 * DAY, now, size=3)
    assert set(found) == set(ids)
