"""Approvals started, withdrawn, commented on: what is refused before it is sent, and what a lost answer leaves (2.1 to 2.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.forms import KINDS
from connectors.dingtalk.sandbox.acts import Decide, DropTemplate, Leave, PutTemplate, PutUser, Withdraw
from hub.errors import Cause, IntegrityError, OutcomeUnknown, Refused, SettingsError, TryAgain
from hub.sdk import Absent, Applied, Failed, Found, Gone, Several, VendorKey, VendorRef
from hub.sdk.kit import Bench, Fault
from tests.contract.dingtalk_stand import CONTRACT, CUSTOM, LABEL, SELLER, bench, dingtalk, writing


def contract(**form: Any) -> dict[str, Any]:
    given = {"客户名称": "示例有限公司", "合同金额": "5000.00", **form}
    return {
        "processCode": CONTRACT, "originatorUserId": SELLER, "correlation": "HT-2026-0001-1",
        "form": {name: value for name, value in given.items() if value is not None},
    }  # fmt: skip


async def refused(dingtalk: DingTalkConnector, bench: Bench, payload: dict[str, Any]) -> Refused:
    (result,) = await dingtalk.write([writing(bench, payload)])
    assert isinstance(result, Failed), result
    assert isinstance(result.error, Refused), result.error
    assert not bench.stand.effects("approval")
    return result.error


async def started(
    dingtalk: DingTalkConnector, bench: Bench, payload: dict[str, Any], number: int = 1
) -> VendorRef:
    (result,) = await dingtalk.write([writing(bench, payload, number=number)])
    assert isinstance(result, Applied), result
    return result.ref


# ------------------------------------------------------------------------------------------- the number


async def test_our_number_is_readable_in_a_field_of_the_form_and_tells_two_records_apart(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    first = await started(dingtalk, bench, contract(), 1)
    second = await started(dingtalk, bench, contract(), 2)
    values = [
        next(
            one["value"]
            for one in bench.stand.sandbox.company.instances[ref.stable_key].values
            if one["name"] == LABEL
        )
        for ref in (first, second)
    ]
    assert all(value.startswith("HT-2026-0001-1 [") for value in values)
    assert values[0] != values[1]
    found = await dingtalk.find([writing(bench, contract(), number=number) for number in (1, 2, 3)])
    assert [one.ref.vendor_id if isinstance(one, Found) else one for one in found] == [
        first.vendor_id,
        second.vendor_id,
        Absent(),
    ]


async def test_an_approval_its_originator_copied_is_told_as_several(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    write = writing(bench, contract())
    await dingtalk.write([write])
    await dingtalk.write([write])
    (found,) = await dingtalk.find([write])
    assert isinstance(found, Several)


async def test_the_revocation_of_an_approval_carries_its_number_and_is_not_taken_for_it(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    ref = await started(dingtalk, bench, contract())
    box = bench.stand.sandbox
    box.act(Decide(act="agree", id=ref.stable_key))
    revoked = box.engine.attach(box.company.instances[ref.stable_key], "REVOKE", by="user")
    fresh = bench.connect()
    (found,) = await fresh.find([writing(bench, contract())])
    assert isinstance(found, Found)
    assert found.ref.vendor_id == ref.vendor_id != f"{CONTRACT}/{revoked.id}"


async def test_a_template_without_the_field_is_refused_with_the_clicks_that_add_it(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    items = [
        one for one in bench.stand.sandbox.company.templates[CONTRACT].items if one["props"]["label"] != LABEL
    ]
    bench.stand.sandbox.act(PutTemplate(act="put_template", process_code=CONTRACT, items=items))
    error = await refused(dingtalk, bench, contract())
    assert (error.cause, error.field) == (Cause.SETTINGS, LABEL)
    assert "拖入“单行输入框”" in str(error)
    assert "drag in" in str(error)


async def test_a_mapping_may_not_fill_the_field_of_our_number(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    error = await refused(dingtalk, bench, contract(crm_key="mine"))
    assert error.field == LABEL


# ------------------------------------------------------------------- the live form, before anything is sent


@pytest.mark.parametrize(
    ("form", "field", "cause"),
    [
        ({"合同类型": "转让"}, "合同类型", Cause.INVALID),
        ({"客户名称": None}, "客户名称", Cause.MISSING_FIELD),
        ({"客户名称": ""}, "客户名称", Cause.MISSING_FIELD),
        ({"合同金额": "五千"}, "合同金额", Cause.INVALID),
        ({"合同金额": True}, "合同金额", Cause.INVALID),
        ({"没有这个控件": "x"}, "没有这个控件", Cause.INVALID),
        ({"说明": "x"}, "说明", Cause.INVALID),
        ({"产品明细": [{"产品": "甲"}, {"数量": "3"}]}, "产品明细[2].产品", Cause.MISSING_FIELD),
        ({"产品明细": [{"产品": "甲", "颜色": "红"}]}, "产品明细[1].颜色", Cause.INVALID),
        ({"产品明细": ["甲"]}, "产品明细", Cause.INVALID),
        ({"产品明细": [{"产品": "甲"}] * 101}, "产品明细", Cause.INVALID),
        ({"备注": "字" * 65_536}, "备注", Cause.INVALID),
    ],
)
async def test_what_the_form_would_not_take_is_refused_by_the_label_people_see(
    bench: Bench, dingtalk: DingTalkConnector, form: dict[str, Any], field: str, cause: Cause
) -> None:
    error = await refused(dingtalk, bench, contract(**form))
    assert (error.field, error.cause) == (field, cause)


async def test_an_option_that_was_taken_away_is_noticed_by_the_event(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    await started(dingtalk, bench, contract(合同类型="新签"))
    items = orjson.loads(orjson.dumps(bench.stand.sandbox.company.templates[CONTRACT].items))
    kind = next(one for one in items if one["props"]["label"] == "合同类型")
    kind["props"]["options"] = ["续签"]
    bench.stand.sandbox.act(PutTemplate(act="put_template", process_code=CONTRACT, items=items))
    (stale,) = await dingtalk.write([writing(bench, contract(合同类型="新签"), number=2)])
    assert isinstance(stale, Failed)  # the vendor's own refusal of what the remembered form allowed
    assert (stale.error.code, stale.error.field) == ("formConverterError", "合同类型")
    (fresh,) = await dingtalk.write([writing(bench, contract(合同类型="新签"), number=3)])
    assert isinstance(fresh, Failed)
    assert (fresh.error.code, fresh.error.field) == (None, "合同类型")  # refused here: the form was read anew
    assert len(bench.stand.effects("approval")) == 1


@pytest.mark.parametrize("act", [
    PutTemplate(act="put_template", process_code=CONTRACT, status="INVALID"),
    DropTemplate(act="drop_template", process_code=CONTRACT),
    PutTemplate(act="put_template", process_code=CONTRACT, status="SAVED"),
])  # fmt: skip
async def test_a_template_that_is_not_in_use_is_named(
    bench: Bench, dingtalk: DingTalkConnector, act: Any
) -> None:
    bench.stand.sandbox.act(act)
    error = await refused(dingtalk, bench, contract())
    assert error.field == "processCode"
    assert error.cause in (Cause.STATE, Cause.NOT_FOUND)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"originatorUserId": "nobody"}, "originatorUserId"),
        ({"approvers": [{"actionType": "NONE", "userIds": ["nobody"]}]}, "approvers[0]"),
        ({"approvers": [{"actionType": "OR", "userIds": ["manager", "gone"]}]}, "approvers[0]"),
        ({"approvers": [{"actionType": "AND", "userIds": ["manager"]}]}, "approvers[0]"),
        ({"approvers": [{"actionType": "NONE", "userIds": ["manager", "head"]}]}, "approvers[0]"),
        ({"approvers": [{"userIds": ["manager"]}] * 21}, "approvers"),
        ({"approvers": [{"actionType": "NONE", "userIds": ["asleep"]}]}, "approvers[0]"),
        ({"ccList": ["head", "gone"]}, "ccList[1]"),
        ({"ccList": ["head"] * 51}, "ccList"),
        ({"ccList": ["head"], "ccPosition": "MIDDLE"}, "ccPosition"),
        ({"deptId": 100}, "deptId"),
        ({"deptId": "南"}, "deptId"),
    ],
)
async def test_people_and_departments_that_do_not_fit_are_refused_by_name(
    bench: Bench, dingtalk: DingTalkConnector, payload: dict[str, Any], field: str
) -> None:
    bench.stand.sandbox.act(
        PutUser(act="put_user", userid="gone", name="走了"),
        Leave(act="leave", userid="gone"),
        PutUser(act="put_user", userid="asleep", name="未激活", active=False),
    )
    error = await refused(dingtalk, bench, contract() | payload)
    assert error.field == field


async def test_a_refusal_of_the_forms_check_names_the_component(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.inject("code_formConverterError", op="create")
    (result,) = await dingtalk.write([writing(bench, contract())])
    assert isinstance(result, Failed)
    assert result.error.field == "form"  # it named none


async def test_a_root_department_is_sent_as_minus_one(bench: Bench, dingtalk: DingTalkConnector) -> None:
    payload = contract() | {"originatorUserId": "head"}
    ref = await started(dingtalk, bench, payload | {"deptId": 1})
    other = await started(dingtalk, bench, payload, 2)
    assert {bench.stand.sandbox.company.instances[one.stable_key].dept_id for one in (ref, other)} == {-1}


# ------------------------------------------------------------------------------------------------- the flow


async def test_the_amount_decides_who_is_asked_and_a_forecast_goes_before(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    small = await started(dingtalk, bench, contract(), 1)
    large = await started(dingtalk, bench, contract(合同金额="150000"), 2)
    company = bench.stand.sandbox.company
    assert [len(company.instances[one.stable_key].nodes) for one in (small, large)] == [1, 2]
    assert bench.stand.sandbox.gate.calls["v1.0/workflow/processes/forecast"] == 2


def everything(**more: Any) -> dict[str, Any]:
    return {"processCode": CUSTOM, "originatorUserId": SELLER, "correlation": "ALL-1", "form": {}, **more}


async def test_a_node_whose_approver_is_chosen_wants_a_choice_within_its_range(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    missing = await refused(dingtalk, bench, everything())
    assert (missing.field, missing.cause) == ("targetSelectActioners", Cause.MISSING_FIELD)
    assert "manual_1" in str(missing)
    outside = [{"actionerKey": "manual_1", "actionerUserIds": ["deputy"]}]
    assert "deputy" in str(await refused(dingtalk, bench, everything(targetSelectActioners=outside)))
    chosen = [{"actionerKey": "manual_1", "actionerUserIds": ["head"]}]
    ref = await started(dingtalk, bench, everything(targetSelectActioners=chosen))
    assert [task.userid for task in bench.stand.sandbox.company.instances[ref.stable_key].tasks] == ["head"]


async def test_without_a_forecast_the_vendors_own_refusal_arrives(bench: Bench) -> None:
    dingtalk = bench.connect(bench.stand.settings() | {"forecast": False})
    error = await refused(dingtalk, bench, everything())
    assert error.code == "targetSelectApproverMissing"


async def test_a_flow_with_nobody_left_is_refused_before_it_is_started(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    bench.stand.sandbox.act(Leave(act="leave", userid="manager"), Leave(act="leave", userid="deputy"))
    assert (await refused(dingtalk, bench, contract())).field == "processCode"


async def test_explicit_approvers_replace_the_flow_in_their_order(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    approvers = [
        {"actionType": "NONE", "userIds": ["finance"]},
        {"actionType": "AND", "userIds": ["manager", "head"]},
    ]
    ref = await started(dingtalk, bench, contract() | {"approvers": approvers, "ccList": ["east"]})
    one = bench.stand.sandbox.company.instances[ref.stable_key]
    assert [(node["method"], node["users"]) for node in one.nodes] == [
        ("ONE_BY_ONE", ["finance"]),
        ("AND", ["manager", "head"]),
    ]
    assert one.cc == ["east"]


async def test_steps_as_an_approval_of_the_hub_has_them_are_approvers_too(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    steps = [
        {"mode": "any", "approvers": ["finance"]},
        {"mode": "all", "approvers": ["manager", "head"]},
        {"mode": "any", "approvers": ["manager", "head"]},
    ]
    ref = await started(dingtalk, bench, contract() | {"approvers": steps})
    one = bench.stand.sandbox.company.instances[ref.stable_key]
    assert [(node["method"], len(node["users"])) for node in one.nodes] == [
        ("ONE_BY_ONE", 1),
        ("AND", 2),
        ("OR", 2),
    ]


# ------------------------------------------------------------------------------------------- every component

VALUES: dict[str, tuple[Any, str, Any]] = {
    "文本": ("单行", "单行", "单行"),
    "多行": ("第一行\n第二行", "第一行\r\n第二行", "第一行\n第二行"),
    "数字": (3, "3", "3"),
    "金额": ("1234.50", "1234.50", "1234.50"),
    "单选": ("选项2", "选项2", "选项2"),
    "多选": (["选项1", "选项3"], '["选项1","选项3"]', ["选项1", "选项3"]),
    "日期": ("2026-08-17", "2026-08-17", "2026-08-17"),
    "时刻": ("2026-08-17T10:30:00", "2026-08-17 10:30", "2026-08-17 10:30"),
    '["开始时间","结束时间"]': (["2026-02-19", "2026-02-25"], '["2026-02-19","2026-02-25"]', ["2026-02-19", "2026-02-25"]),
    "电话": ("15700000000", "15700000000", "15700000000"),
    "图片": (["https://example.com/1.png"], '["https://example.com/1.png"]', ["https://example.com/1.png"]),
    "明细": (
        [{"品名": "甲", "颜色": ["红"]}, {"品名": "乙"}],
        '[[{"name":"品名","value":"甲"},{"name":"颜色","value":"[\\"红\\"]"}],[{"name":"品名","value":"乙"}]]',
        [{"品名": "甲", "颜色": '["红"]'}, {"品名": "乙"}],
    ),
    "附件": (
        [{"spaceId": 1, "fileName": "合同.pdf", "fileSize": 1024, "fileType": "pdf", "fileId": "f1"}],
        '[{"spaceId":"1","fileName":"合同.pdf","fileSize":"1024","fileType":"pdf","fileId":"f1"}]',
        [{"spaceId": "1", "fileName": "合同.pdf", "fileSize": "1024", "fileType": "pdf", "fileId": "f1"}],
    ),
    "联系人": (["manager", "head"], '["manager","head"]', ["manager", "head"]),
    "部门": (["100", "210"], "100,210", ["100", "210"]),
    "省市区": (["北京", "北京市", "河东区"], "北京,北京市,河东区", ["北京", "北京市", "河东区"]),
    "评分": (5, "5", "5"),
    '["当前时间","当前地点"]': (
        ["2026-05-27 14:27:20", 120.02, 30.28, "杭州", 100],
        '["2026-05-27 14:27:20",120.02,30.28,"杭州",100]',
        ["2026-05-27 14:27:20", 120.02, 30.28, "杭州", 100],
    ),
}  # fmt: skip
"""Label -> (what a mapping gives, what goes over the wire, what comes back)."""


async def test_every_component_goes_out_as_the_sheet_writes_it_and_comes_back_as_a_value(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    earlier = await started(dingtalk, bench, contract())
    related = {"关联审批单": ([earlier.vendor_id], f'["{earlier.stable_key}"]', [earlier.stable_key])}
    wanted = VALUES | related
    chosen = [{"actionerKey": "manual_1", "actionerUserIds": ["head"]}]
    form = {label: given for label, (given, _, _) in wanted.items()}
    ref = await started(dingtalk, bench, everything(form=form, targetSelectActioners=chosen), 2)
    stored = {one["name"]: one for one in bench.stand.sandbox.company.instances[ref.stable_key].values}
    assert {one["componentType"] for one in stored.values()} == set(KINDS)
    for label, (_, wire, _) in wanted.items():
        assert stored[label]["value"] == wire, label
    (record,) = await dingtalk.fetch("approval", [VendorKey("", ref.vendor_id)])
    shown = record.body["form"]
    for label, (_, _, back) in wanted.items():
        assert shown[stored[label]["id"]] == back, label


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("多选", ["选项1", "选项9"]), ("日期", "2026-02-30"), ("日期", "17.8.2026"), ("时刻", "10:30"), ("评分", 6),
        ('["开始时间","结束时间"]', ["2026-02-19"]), ("图片", ["https://example.com"] * 10), ("附件", [{"spaceId": "1"}]),
        ("关联审批单", ["x"] * 10), ("联系人", ["nobody"]), ("明细", [{"颜色": ["绿"]}]), ("数字", {"a": 1}), ("数字", "1e400000"),
        ('["当前时间","当前地点"]', "杭州"),
    ],
)  # fmt: skip
async def test_a_value_that_does_not_fit_its_component_is_refused(
    bench: Bench, dingtalk: DingTalkConnector, label: str, value: Any
) -> None:
    error = await refused(dingtalk, bench, everything(form={label: value}))
    assert error.field == label or error.field.startswith(f"{label}[")


async def test_a_field_is_meant_by_id_or_alias_also_when_its_label_was_changed(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    items = orjson.loads(orjson.dumps(bench.stand.sandbox.company.templates[CONTRACT].items))
    for one in items:
        one["props"]["label"] = f"新{one['props']['label']}"
    bench.stand.sandbox.act(PutTemplate(act="put_template", process_code=CONTRACT, items=items))
    dingtalk = bench.connect(bench.stand.settings() | {"correlation_field": "crm_key"})
    form = {"TextField-CUST0001": "示例有限公司", "MoneyField-AMT00001": "1"}
    ref = await started(dingtalk, bench, contract() | {"form": form})
    assert ref.vendor_id.startswith(CONTRACT)


# ----------------------------------------------------------------------------------- after the start


async def test_an_approval_cannot_be_changed_once_it_was_started(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    ref = await started(dingtalk, bench, contract())
    for payload in (
        {"form": {"合同金额": "1"}},
        {"comment": {"text": "a"}, "terminate": {"remark": "b"}},
        {},
    ):
        (result,) = await dingtalk.write([writing(bench, payload, ref=ref)])
        assert isinstance(result, Failed)
        assert result.error.cause is Cause.STATE
    assert len(bench.stand.effects("approval")) == 1


async def test_a_withdrawal_waits_for_the_fifteen_seconds_and_is_found_afterwards(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    ref = await started(dingtalk, bench, contract())
    write = writing(bench, {"terminate": {"operatingUserId": SELLER, "remark": "客户改主意"}}, ref=ref)
    (early,) = await dingtalk.write([write])
    assert isinstance(early, Failed)
    assert isinstance(early.error, TryAgain)
    assert early.error.after == 15.0
    bench.stand.sandbox.advance(16)
    (before,) = await dingtalk.find([write])
    bench.stand.sandbox.inject("apply_then_drop", op="terminate")
    (lost,) = await dingtalk.write([write])
    (after,) = await dingtalk.find([write])
    assert isinstance(lost, Failed)
    assert isinstance(lost.error, OutcomeUnknown)
    assert isinstance(before, Found)
    assert isinstance(after, Found)
    assert (before.as_sent, after.as_sent) == (False, True)
    (again,) = await dingtalk.write([write])  # somebody has withdrawn it: that is what was wanted
    assert isinstance(again, Applied)


async def test_the_system_may_withdraw_without_a_person(bench: Bench, dingtalk: DingTalkConnector) -> None:
    ref = await started(dingtalk, bench, contract())
    bench.stand.sandbox.advance(16)
    (result,) = await dingtalk.write([writing(bench, {"terminate": {"remark": "合同作废"}}, ref=ref)])
    assert isinstance(result, Applied)
    assert bench.stand.sandbox.company.instances[ref.stable_key].status == "TERMINATED"


async def test_what_has_ended_is_not_withdrawn_any_more(bench: Bench, dingtalk: DingTalkConnector) -> None:
    ref = await started(dingtalk, bench, contract())
    bench.stand.sandbox.act(Decide(act="refuse", id=ref.stable_key))
    (result,) = await dingtalk.write([writing(bench, {"terminate": {"remark": "x"}}, ref=ref)])
    assert isinstance(result, Failed)
    assert (result.error.cause, result.error.code) == (Cause.STATE, "aflowProcessInstStatusException")


async def test_acting_on_an_approval_that_was_deleted_says_gone(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    ref = VendorRef(f"{CONTRACT}/never", "never")
    for payload in ({"comment": {"text": "a", "commentUserId": SELLER}}, {"terminate": {"remark": "x"}}):
        write = writing(bench, payload, ref=ref)
        assert isinstance((await dingtalk.write([write]))[0], Gone)
        assert isinstance((await dingtalk.find([write]))[0], Gone)


async def test_a_comment_of_somebody_who_left_is_refused(bench: Bench, dingtalk: DingTalkConnector) -> None:
    ref = await started(dingtalk, bench, contract())
    bench.stand.sandbox.act(Leave(act="leave", userid="east"))
    (result,) = await dingtalk.write(
        [writing(bench, {"comment": {"text": "a", "commentUserId": "east"}}, ref=ref)]
    )
    assert isinstance(result, Failed)
    assert result.error.field == "comment.commentUserId"


# --------------------------------------------------------------------------- somebody else's id (U8)


async def test_a_create_that_answers_another_approvals_id_stops_the_sync(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    other = await bench.stand.seed("approval", 1)
    bench.stand.sandbox.dials.same_instance_id = other[0].rpartition("/")[2]
    with pytest.raises(IntegrityError) as caught:
        await dingtalk.write([writing(bench, contract())])
    assert caught.value.cause is Cause.FOREIGN


async def test_a_get_that_answers_for_another_approval_stops_the_sync(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    first, second = await bench.stand.seed("approval", 2)
    bench.stand.sandbox.dials.foreign_instance = second.rpartition("/")[2]
    with pytest.raises(IntegrityError) as caught:
        await dingtalk.fetch("approval", [VendorKey("", first)])
    assert caught.value.cause is Cause.FOREIGN


# ---------------------------------------------------------------------------------------- the other faults


@pytest.mark.parametrize("code", ["systemError", "systemError.busy", "sysErrror"])
async def test_a_server_error_on_a_create_is_in_doubt_and_found_by_the_number(
    bench: Bench, dingtalk: DingTalkConnector, code: str
) -> None:
    write = writing(bench, contract())
    bench.stand.sandbox.inject(f"apply_then_code_{code}", op="create")
    (result,) = await dingtalk.write([write])
    assert isinstance(result, Failed)
    assert isinstance(result.error, OutcomeUnknown)
    (found,) = await bench.connect().find([write])
    assert isinstance(found, Found)


async def test_one_that_was_seen_and_deleted_before_its_look_up_is_found_as_gone_and_not_started_again(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    write, box = writing(bench, contract()), bench.stand.sandbox
    bench.stand.inject(Fault.DROPPED, "save", "approval")
    await dingtalk.write([write])
    (instance,) = box.company.instances
    await dingtalk.fetch("approval", [VendorKey("", f"{CONTRACT}/{instance}")])  # the event of its start
    del box.company.instances[instance]
    (found,) = await dingtalk.find([write])
    assert found == Found(VendorRef(f"{CONTRACT}/{instance}", instance, gone=True), as_sent=True)
    (another,) = await dingtalk.find([writing(bench, contract(), number=2)])
    assert another == Absent()


async def test_a_look_up_that_fails_tells_nothing(bench: Bench, dingtalk: DingTalkConnector) -> None:
    bench.stand.inject(Fault.HTML, "read", "approval")
    (found,) = await dingtalk.find([writing(bench, contract())])
    assert type(found).__name__ == "CannotTell"


async def test_the_form_is_read_once_for_many_approvals(bench: Bench, dingtalk: DingTalkConnector) -> None:
    for number in (1, 2, 3):
        await started(dingtalk, bench, contract(), number)
    calls = bench.stand.sandbox.gate.calls
    assert calls["v1.0/workflow/forms/schemas/processCodes"] == 1
    assert calls["v1.0/workflow/processInstances"] == 6  # three creates, three looks at what was made


async def test_with_a_third_of_the_answers_lost_no_approval_is_started_twice_and_none_is_missing(
    bench: Bench,
) -> None:
    box = bench.stand.sandbox
    box.dials.seed, box.dials.only = 2026, ["create"]
    box.dials.apply_then_drop, box.dials.fail_before, box.dials.cut_body = 0.2, 0.1, 0.1
    print("seed", box.dials.seed)
    for number in range(25):
        write = writing(bench, contract(客户名称=f"客户{number}"), number=number)
        for _ in range(20):
            dingtalk = bench.connect()  # a new process each time: it knows nothing but the write
            (result,) = await dingtalk.write([write])
            if isinstance(result, Applied):
                break
            assert isinstance(result, Failed)
            (found,) = await bench.connect().find([write])
            if isinstance(found, Found):
                break
            assert isinstance(found, Absent), found
    started_for = [
        value["value"] for one in box.company.started() for value in one.values if value["name"] == "客户名称"
    ]
    assert sorted(started_for) == sorted(f"客户{number}" for number in range(25))
