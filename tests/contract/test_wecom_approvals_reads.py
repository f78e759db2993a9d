"""Approvals as they are read: what a detail shows, the events that hint at them, the net under the events (4.1, 4.2, 7.3)."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.approval_listing import DAY
from connectors.wecom.sandbox.acts import ActOnForm, PutMember, Submit
from connectors.wecom.sandbox.server import AGENTID
from hub.clock import SECOND, SystemClock
from hub.errors import Cause, ConnectionDown, IntegrityError, RemoteError
from hub.sdk import Failed, Gone, InboundEvent, InboundRequest, Received, VendorKey
from hub.sdk.kit import Bench, latest, scripted
from tests.contract.wecom_approval_stand import (
    CONTRACT,
    EVERYTHING,
    LABEL,
    SELLER,
    VALUES,
    bench,
    shown,
    started,
    wecom,
)
from tests.wecom_stand import TOKEN, answer


def submit(bench: Bench, template: str = CONTRACT, **values: Any) -> str:
    given = (VALUES if template == CONTRACT else {}) | values
    (made,) = bench.stand.sandbox.act(Submit(template_id=template, userid=SELLER, values=given))
    return str(made["sp_no"])


def act(bench: Bench, name: str, sp_no: str, userid: str = "", *, speech: str = "", to: str = "") -> None:
    one = ActOnForm.model_validate(
        {"act": name, "sp_no": sp_no, "userid": userid, "speech": speech, "to": to}
    )
    bench.stand.sandbox.act(one)


async def read(bench: Bench, wecom: Any, after: Any = None) -> tuple[dict[str, Any], Any]:
    pages = await bench.pages(wecom, "approval", after)
    return latest(pages), pages[-1].cursor


# ------------------------------------------------------------------------------------------ what a detail shows


@pytest.mark.parametrize("newer", [True, False])
async def test_an_approval_shows_who_did_what_and_when_in_either_form_of_the_answer(
    bench: Bench, wecom: WeComConnector, newer: bool
) -> None:
    bench.stand.sandbox.dials.process_list = newer
    sp_no = submit(bench, **{LABEL: "HT-1"})
    for name, userid, more in (
        ("comment", SELLER, {"speech": "急"}),
        ("transfer", "zhangsan", {"to": "ZhaoLiu", "speech": "请代批"}),
        ("agree", "ZhaoLiu", {"speech": "同意"}),
        ("agree", "wangwu", {}),
    ):
        bench.stand.sandbox.advance(1)
        act(bench, name, sp_no, userid, **more)
    body = await shown(wecom, sp_no)
    assert (body["state"], body["status"], body["result"], body["paid"]) == ("approved", "2", "agree", False)
    assert (body["processCode"], body["processInstanceId"], body["title"]) == (CONTRACT, sp_no, "合同审批")
    assert (body["correlation"], body["originatorUserId"], body["originatorDeptId"]) == ("HT-1", SELLER, 100)
    assert [
        (one["type"], one["userId"], one["result"], one["remark"]) for one in body["operationRecords"]
    ] == [
        ("START_PROCESS_INSTANCE", SELLER, "NONE", None),
        ("ADD_REMARK", SELLER, "NONE", "急"),
        ("REDIRECT_TASK", "zhangsan", "REDIRECTED", "请代批"),
        ("EXECUTE_TASK_NORMAL", "ZhaoLiu", "AGREE", "同意"),
        ("EXECUTE_TASK_NORMAL", "wangwu", "AGREE", None),
    ]
    assert [(one["seq"], one["mode"], one["userId"], one["status"]) for one in body["tasks"]] == [
        (1, "all", "zhangsan", "COMPLETED"),
        (1, "all", "ZhaoLiu", "COMPLETED"),
        (2, "any", "lisi", "RUNNING"),
        (2, "any", "wangwu", "COMPLETED"),
    ]
    assert body["ccUserIds"] == ["ZhaoLiu"]
    assert (body["number"], body["ours"]) == ("HT-1", False)
    rows = [
        ("comment", SELLER, "急", None),
        ("transfer", "zhangsan", "请代批", "all"),
        ("agree", "ZhaoLiu", "同意", "all"),
        ("agree", "wangwu", None, "any"),
    ]
    assert [(one["action"], one["approver"], one["opinion"], one["mode"]) for one in body["nodes"]] == rows
    assert body["opinion"] == "同意"
    times = [one["date"] for one in body["operationRecords"]]
    assert times == sorted(times)
    assert all(one.endswith("+08:00") for one in (*times, body["createTime"], body["finishTime"]))
    assert body["finishTime"] == times[-1]


@pytest.mark.parametrize(
    ("correlation", "number", "ours"),
    [
        ("HT-2026-0001-1 [0a1b2c3d]", "HT-2026-0001-1", True),
        ("0a1b2c3d" * 4, None, True),
        ("HT-2026-0001-1", "HT-2026-0001-1", False),
        ("HT [附件]", "HT [附件]", False),
        ("", None, False),
    ],
)
async def test_what_the_hub_started_is_told_from_what_people_did_by_the_digits_of_its_key(
    bench: Bench, wecom: WeComConnector, correlation: str, number: str | None, ours: bool
) -> None:
    body = await shown(wecom, submit(bench, **{LABEL: correlation}))
    assert (body["correlation"], body["number"], body["ours"]) == (correlation or None, number, ours)


async def test_what_people_did_never_gets_shorter(bench: Bench, wecom: WeComConnector) -> None:
    sp_no, seen = submit(bench), []
    for name, userid, to in (
        ("add_approver", "zhangsan", "lisi"),
        ("agree", "lisi", ""),
        ("agree_and_add", "zhangsan", "wangwu"),
        ("return", "wangwu", ""),
        ("comment", SELLER, ""),
        ("agree", "", ""),
    ):
        bench.stand.sandbox.advance(1)
        act(bench, name, sp_no, userid, speech="。", to=to)
        seen.append((await shown(wecom, sp_no))["nodes"])
    assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(seen))
    assert [len(one) for one in seen[:5]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("acts", "state", "result"),
    [
        ([("comment", SELLER)], "in_progress", None),
        ([("reject", "zhangsan")], "rejected", "refuse"),
        ([("withdraw", SELLER)], "withdrawn", None),
        ([("agree", "")], "approved", "agree"),
        ([("agree", ""), ("revoke", SELLER)], "revoked", "agree"),
        ([("agree", ""), ("pay", "")], "approved", "agree"),
        ([("return", "zhangsan")], "in_progress", None),
    ],
)
async def test_every_end_is_told_apart(
    bench: Bench, wecom: WeComConnector, acts: list[tuple[str, str]], state: str, result: str | None
) -> None:
    sp_no = submit(bench)
    for name, userid in acts:
        act(bench, name, sp_no, userid, speech="。")
    body = await shown(wecom, sp_no)
    assert (body["state"], body["result"], body["paid"]) == (state, result, acts[-1][0] == "pay")
    assert (body["finishTime"] is None) == (result is None)


async def test_a_deletion_is_told_as_one(bench: Bench, wecom: WeComConnector) -> None:
    sp_no = submit(bench)
    act(bench, "delete", sp_no)
    (record,) = await wecom.fetch("approval", [VendorKey("", sp_no)])
    assert not isinstance(record, Gone | Failed)
    assert record.deleted
    assert record.body["state"] == "deleted"  # type: ignore[index, call-overload]


async def test_a_status_of_next_year_is_unknown_and_no_end(bench: Bench) -> None:
    info = {
        "sp_no": "1", "sp_status": "42", "template_id": CONTRACT, "apply_time": 0,
        "apply_data": {"contents": [
            {"control": "Hologram", "id": "H-1", "title": [{"text": "全息", "lang": "zh_CN"}], "value": {"beam": 1}},
            {"control": "Date", "id": "D-1", "title": [], "value": {"date": {"type": "day", "s_timestamp": "soon"}}},
            {"control": "Selector", "id": "S-1", "title": [], "value": {"tips": []}, "hidden": 1},
        ]},
    }  # fmt: skip
    wecom = bench.connect(http=scripted(TOKEN, answer(info=info)))
    body = await shown(wecom, "1")  # type: ignore[arg-type]
    assert (body["state"], body["status"], body["createTime"], body["operationRecords"][0]["date"]) == (
        "unknown",
        "42",
        None,
        None,
    )
    assert body["form"] == {"全息": {"beam": 1}, "H-1": {"beam": 1}, "D-1": "soon", "S-1": {"tips": []}}
    assert [one["hidden"] for one in body["fields"]] == [False, False, True]


async def test_a_day_in_another_zone_is_the_day_it_says(bench: Bench) -> None:
    value = {
        "date": {
            "type": "day",
            "s_timestamp": "1569859200",
            "timezone_info": {"zone_offset": "-8", "zone_desc": "LA"},
        }
    }
    info = {
        "sp_no": "1",
        "sp_status": 1,
        "apply_data": {"contents": [{"control": "Date", "id": "D-1", "value": value}]},
    }
    body = await shown(bench.connect(http=scripted(TOKEN, answer(info=info))), "1")  # type: ignore[arg-type]
    assert body["form"]["D-1"] == "2019-09-30"


async def test_what_is_not_there_is_gone_and_a_permission_taken_away_is_not(
    bench: Bench, wecom: WeComConnector
) -> None:
    gone = await wecom.fetch("approval", [VendorKey("", "never"), VendorKey("", "")])
    assert all(isinstance(result, Gone) for result in gone)
    sp_no = submit(bench)
    bench.stand.sandbox.gate.apps[AGENTID].grants.discard("approval")
    with pytest.raises(ConnectionDown) as caught:
        await shown(wecom, sp_no)
    assert caught.value.cause is Cause.PERMISSION


async def test_one_applicant_out_of_sight_stops_no_other(bench: Bench, wecom: WeComConnector) -> None:
    hidden, seen = submit(bench), submit(bench)
    bench.stand.sandbox.corp.forms[hidden].userid = "lisi"
    bench.stand.sandbox.gate.apps[AGENTID].visible_departments = [100]
    first, second = await wecom.fetch("approval", [VendorKey("", hidden), VendorKey("", seen)])
    assert isinstance(first, Failed)
    assert first.error.cause is Cause.PERMISSION
    assert not isinstance(second, Failed | Gone)


# ---------------------------------------------------------------------------------------------------- events


@contextlib.asynccontextmanager
async def door(bench: Bench, wecom: WeComConnector) -> AsyncIterator[list[Received]]:
    """Save an address that hands every callback to the connector; give what it made of them."""

    received: list[Received] = []

    async def take(request: httpx.Request) -> httpx.Response:
        query = tuple(request.url.params.multi_items())
        given = InboundRequest(request.method, query, {}, request.content, bench.stand.sandbox.clock.now())
        result = wecom.receive(given)
        if request.method == "POST":
            received.append(result)
        return httpx.Response(result.status, content=result.body)

    box = bench.stand.sandbox
    box.callbacks.transport = httpx.MockTransport(take)
    await box.save_receiver("http://hub.example/hooks/wecom")
    yield received


@pytest.mark.parametrize("numbers", ["both", "text", "number"])
async def test_every_change_of_an_approval_is_a_hint_with_an_id_of_its_own(
    bench: Bench, wecom: WeComConnector, numbers: Any
) -> None:
    bench.stand.sandbox.dials.sp_no = numbers
    async with door(bench, wecom) as received:
        ref = await started(wecom, bench)  # by the API, and yet there is an event
        sp_no = ref.vendor_id
        act(bench, "comment", sp_no, SELLER, speech="急")
        act(bench, "agree", sp_no)
        act(bench, "revoke", sp_no)
        await bench.stand.sandbox.callbacks.flush()
    events: list[InboundEvent] = [event for one in received for event in one.events]
    assert [(event.stream, event.key, event.record) for event in events] == [
        ("approval", VendorKey("", sp_no), None)
    ] * 5
    assert len({event.id for event in events}) == 5
    assert {event.type for event in events} == {"sys_approval_change"}


async def test_an_urge_and_an_approval_of_another_template_have_no_effect(
    bench: Bench, wecom: WeComConnector
) -> None:
    async with door(bench, wecom) as received:
        act(bench, "urge", submit(bench))
        submit(bench, EVERYTHING)
        await bench.stand.sandbox.callbacks.flush()
    assert [(len(one.events), one.ignored) for one in received] == [
        (1, None),
        (0, "not taken in: sys_approval_change"),
        (0, "not taken in: sys_approval_change"),
    ]


async def test_many_decisions_of_one_second_are_as_many_hints(bench: Bench, wecom: WeComConnector) -> None:
    ids = [submit(bench) for _ in range(5)]
    async with door(bench, wecom) as received:
        box = bench.stand.sandbox
        box.act(*(ActOnForm(act="reject", sp_no=one, userid="zhangsan") for one in ids))  # one moment for all
        await box.callbacks.flush()
    assert sorted(event.key.id for one in received for event in one.events) == sorted(ids)
    assert len({event.id for one in received for event in one.events}) == 5


# --------------------------------------------------------------------------------------------------- the net


async def test_an_event_that_was_lost_is_swept_in(bench: Bench, wecom: WeComConnector) -> None:
    ids = [submit(bench) for _ in range(6)]
    seen, cursor = await read(bench, wecom)
    assert seen.keys() == set(ids)
    act(bench, "agree", ids[0])
    act(bench, "withdraw", ids[1])
    act(bench, "delete", ids[2])
    act(bench, "reject", ids[3])
    new = submit(bench)
    seen, cursor = await read(bench, wecom, cursor)
    assert {id_: record.deleted or record.body["state"] for id_, record in seen.items()} == {
        ids[0]: "approved", ids[1]: "withdrawn", ids[2]: True, ids[3]: "rejected", new: "in_progress",
    }  # fmt: skip
    assert (await read(bench, wecom, cursor))[0] == {}


@pytest.mark.parametrize(
    ("name", "state"), [("revoke", "revoked"), ("pay", "approved"), ("delete", "deleted")]
)
async def test_what_an_approved_one_turns_into_is_swept_in_once(
    bench: Bench, wecom: WeComConnector, name: str, state: str
) -> None:
    sp_no = submit(bench)
    act(bench, "agree", sp_no)
    seen, cursor = await read(bench, wecom)
    assert seen[sp_no].body["state"] == "approved"
    bench.stand.sandbox.advance(3 * 3600)  # the first look is long over
    act(bench, name, sp_no)
    seen, cursor = await read(bench, wecom, cursor)
    assert seen[sp_no].body["state"] == state
    assert (await read(bench, wecom, cursor))[0] == {}
    if name == "revoke":
        act(bench, "delete", sp_no)
        seen, cursor = await read(bench, wecom, cursor)
        assert seen[sp_no].body["state"] == "deleted"
        assert (await read(bench, wecom, cursor))[0] == {}


async def test_whatever_people_do_between_two_reads_the_last_one_shows_where_everything_has_come_to(
    bench: Bench,
) -> None:
    """Without any event: two hundred approvals, random acts, a read now and then that may be cut in the middle."""
    seed = 20261130
    print("seed", seed)
    draw, box = random.Random(seed), bench.stand.sandbox

    class Shared(SystemClock):
        """The hub's clock goes with the vendor's."""

        def now(self) -> int:
            return int(box.clock.now())

    bench.clock = Shared()
    wecom = bench.connect(bench.stand.settings() | {"page_size": 20})
    shown_states: dict[str, str] = {}
    cursor: Any = None
    for _ in range(8):
        for _ in range(25):
            submit(bench)
        for form in draw.sample(list(box.corp.forms.values()), 25):
            names = {
                1: ["agree", "agree", "reject", "withdraw", "comment", "delete"],
                2: ["revoke", "pay", "delete"],
                6: ["delete"],
            }
            if choices := names.get(form.sp_status):
                act(bench, draw.choice(choices), form.sp_no, speech="。")
        box.advance(draw.choice([1, 700, 7_000, 3 * DAY]))
        left = draw.choice([1, 3, 99])  # pages until the process dies
        async for page in wecom.read("approval", cursor):
            shown_states |= {one.key.id: str(one.body["status"]) for one in page.records}  # type: ignore[call-overload, index]
            cursor, left = page.cursor, left - 1
            if not left:
                break
    async for page in wecom.read("approval", cursor):
        shown_states |= {one.key.id: str(one.body["status"]) for one in page.records}  # type: ignore[call-overload, index]
        cursor = page.cursor
    assert shown_states == {id_: str(form.sp_status) for id_, form in box.corp.forms.items()}
    assert (await read(bench, wecom, cursor))[0] == {}


async def test_an_approval_open_for_months_is_found_in_windows_of_at_most_thirty_one_days(
    bench: Bench, wecom: WeComConnector
) -> None:
    now = bench.clock.now() // SECOND
    sp_no = submit(bench)
    bench.stand.sandbox.corp.forms[sp_no].apply_time = now - 80 * DAY
    seen, cursor = await read(bench, wecom)
    assert seen.keys() == {sp_no}
    act(bench, "agree", sp_no)
    seen, _ = await read(bench, wecom, cursor)  # the sandbox refuses a longer window
    assert seen[sp_no].body["state"] == "approved"


async def test_a_quiet_hour_costs_a_few_listings_however_many_are_open(
    bench: Bench, wecom: WeComConnector
) -> None:
    for _ in range(12):
        submit(bench)
    wecom = bench.connect(bench.stand.settings() | {"page_size": 100, "revocable_days": 30})  # type: ignore[assignment]
    _, cursor = await read(bench, wecom)
    calls = bench.stand.sandbox.limits.calls
    before, details = calls["oa/getapprovalinfo"], calls["oa/getapprovaldetail"]
    await read(bench, wecom, cursor)
    assert calls["oa/getapprovaldetail"] == details
    assert calls["oa/getapprovalinfo"] - before <= 8  # new, open, and three ends over a month and its margin


async def test_an_open_approval_whose_applicant_is_out_of_sight_comes_back_with_him(
    bench: Bench, wecom: WeComConnector
) -> None:
    sp_no = submit(bench)
    _, cursor = await read(bench, wecom)
    app = bench.stand.sandbox.gate.apps[AGENTID]
    app.visible_departments, app.visible_userids = [], ["zhangsan"]
    act(bench, "agree", sp_no)
    seen, cursor = await read(bench, wecom, cursor)
    assert seen == {}
    app.visible_departments = [1]
    seen, _ = await read(bench, wecom, cursor)
    assert seen[sp_no].body["state"] == "approved"


async def test_a_new_approval_whose_detail_is_refused_is_looked_at_again(
    bench: Bench, wecom: WeComConnector
) -> None:
    sp_no = submit(bench)
    bench.stand.sandbox.inject("errcode_301055", op="oa/getapprovaldetail")
    seen, cursor = await read(bench, wecom)
    assert seen == {}
    act(bench, "agree", sp_no)
    bench.stand.sandbox.corp.forms[sp_no].apply_time -= 3600  # the window of new ones is behind it
    seen, _ = await read(bench, wecom, cursor)
    assert seen.keys() == {sp_no}


async def test_only_the_templates_of_the_settings_are_read(bench: Bench, wecom: WeComConnector) -> None:
    other, ours = submit(bench, EVERYTHING), submit(bench)
    assert (await read(bench, wecom))[0].keys() == {ours}
    both = bench.connect(bench.stand.settings() | {"template_ids": f"{CONTRACT}，{EVERYTHING}"})
    assert (await read(bench, both))[0].keys() == {ours, other}
    none = bench.connect(bench.stand.settings() | {"template_ids": ""})
    assert (await read(bench, none))[0] == {}


async def test_short_and_empty_pages_and_a_window_that_is_too_full_lose_nothing(bench: Bench) -> None:
    ids = {submit(bench) for _ in range(30)}
    now = bench.clock.now() // SECOND
    for place, one in enumerate(bench.stand.sandbox.corp.forms.values()):
        one.apply_time = now - place * DAY
    dials = bench.stand.sandbox.dials
    dials.seed, dials.short_pages, dials.empty_pages, dials.approval_window_rows = 7, 0.4, 0.4, 12
    print("seed", dials.seed)
    wecom = bench.connect(bench.stand.settings() | {"page_size": 4})
    assert (await read(bench, wecom))[0].keys() == ids


async def test_an_approval_just_submitted_is_listed_though_the_vendors_clock_is_ahead(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.advance(300)
    sp_no = submit(bench)
    assert (await read(bench, wecom))[0].keys() == {sp_no}


async def test_a_listing_that_goes_in_a_circle_stops(bench: Bench) -> None:
    page = answer(sp_no_list=["1"], new_next_cursor="again")
    wecom = bench.connect(http=scripted(TOKEN, page, page, page))
    with pytest.raises(IntegrityError) as caught:
        await bench.pages(wecom, "approval")
    assert caught.value.cause is Cause.CURSOR


@pytest.mark.parametrize("body", [{"sp_no_list": {"1": 2}}, {"sp_no_list": "1"}])
async def test_a_listing_of_another_shape_is_not_the_end(bench: Bench, body: dict[str, Any]) -> None:
    wecom = bench.connect(http=scripted(TOKEN, answer(**body)))
    with pytest.raises(RemoteError) as caught:
        await bench.pages(wecom, "approval")
    assert caught.value.cause is Cause.BAD_ANSWER


async def test_a_cursor_that_is_none_is_the_beginning(bench: Bench, wecom: WeComConnector) -> None:
    sp_no = submit(bench)
    for cursor in ("x", {"open": {"1": "x"}, "since": 3, "turned": {"2": []}}):
        assert (await read(bench, wecom, cursor))[0].keys() == {sp_no}


# ------------------------------------------------------------------------------------------- what the probe sees


@pytest.mark.parametrize(("code", "outcome"), [(301025, "confirmed"), (301112, "contradicted")])
async def test_a_probe_sees_what_a_window_of_more_than_a_month_answers(
    bench: Bench, wecom: WeComConnector, code: int, outcome: str
) -> None:
    bench.stand.sandbox.dials.approval_window_errcode = code
    bench.stand.sandbox.act(PutMember(userid=SELLER, follows=True, silent=True))
    found = {probe.point: probe for probe in await wecom.probe()}
    assert found["approval_window"].outcome == outcome


__all__ = ["bench", "wecom"]
