"""Approvals started in WeCom: what is refused before it is sent, every control out and back, what a lost answer leaves (4)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.controls import KINDS
from connectors.wecom.sandbox.acts import ActOnForm, DeleteMember, PutMember, PutTemplate, Submit
from connectors.wecom.sandbox.server import AGENTID
from connectors.wecom.sandbox.templates import control
from hub.errors import Cause, ConnectionDown, IntegrityError, OutcomeUnknown, Refused, SettingsError, TryAgain
from hub.sdk import Absent, Applied, CannotTell, Failed, Found, Several, VendorRef
from hub.sdk.kit import Bench, Fault
from tests.contract.wecom_approval_stand import (
    CONTRACT,
    EVERYTHING,
    LABEL,
    SELLER,
    VALUES,
    bench,
    contract,
    everything,
    refused,
    shown,
    started,
    stored,
    wecom,
    writing,
)


def change_template(bench: Bench, edit: Any, template: str = CONTRACT) -> None:
    """Let the administrator change the controls of a template."""
    controls = copy.deepcopy(bench.stand.sandbox.corp.templates[template].controls)
    bench.stand.sandbox.act(PutTemplate(template_id=template, controls=edit(controls)))


def titled(controls: list[dict[str, Any]], title: str) -> dict[str, Any]:
    return next(one for one in controls if one["property"]["title"][0]["text"] == title)


def without(title: str) -> Any:
    return lambda controls: [one for one in controls if one is not titled(controls, title)]


# ------------------------------------------------------------------------------------------- the number


async def test_our_number_is_readable_in_a_field_of_the_form_and_tells_two_records_apart(
    bench: Bench, wecom: WeComConnector
) -> None:
    first = await started(wecom, bench, contract(), 1)
    second = await started(wecom, bench, contract(), 2)
    values = [stored(bench, ref).contents[0]["value"]["text"] for ref in (first, second)]
    assert all(value.startswith("HT-2026-0001-1 [") for value in values)
    assert values[0] != values[1]
    found = await bench.connect().find([writing(bench, contract(), number=number) for number in (1, 2, 3)])
    assert [one.ref.vendor_id if isinstance(one, Found) else one for one in found] == [
        first.vendor_id,
        second.vendor_id,
        Absent(),
    ]


async def test_an_approval_that_stands_twice_under_our_number_is_told_as_several(
    bench: Bench, wecom: WeComConnector
) -> None:
    write = writing(bench, contract())
    await wecom.write([write])
    await wecom.write([write])
    (found,) = await wecom.find([write])
    assert isinstance(found, Several)


async def test_a_template_without_the_field_is_refused_with_the_clicks_that_add_it(
    bench: Bench, wecom: WeComConnector
) -> None:
    change_template(bench, without(LABEL))
    error = await refused(wecom, bench, contract())
    assert (error.cause, error.field) == (Cause.SETTINGS, LABEL)
    assert "拖入“文本”" in str(error)
    assert "drag in" in str(error)


async def test_a_field_of_another_kind_or_twice_there_carries_no_number(
    bench: Bench, wecom: WeComConnector
) -> None:
    change_template(bench, lambda controls: [*controls, copy.deepcopy(controls[0])])
    assert (await refused(wecom, bench, contract())).field == LABEL
    other = bench.connect(bench.stand.settings() | {"correlation_field": "备注"})
    assert (await refused(other, bench, contract())).cause is Cause.SETTINGS


async def test_a_mapping_may_not_fill_the_field_of_our_number(bench: Bench, wecom: WeComConnector) -> None:
    error = await refused(wecom, bench, contract(form={LABEL: "mine"}))
    assert error.field == LABEL


async def test_the_check_refuses_a_template_without_the_field_and_says_how_to_add_it(
    bench: Bench, wecom: WeComConnector
) -> None:
    steps = [(step.name, step.ok) for step in (await wecom.check()).steps]
    assert (f"template {CONTRACT}", True) in steps
    change_template(bench, without(LABEL))
    failed = (await wecom.check()).steps[-1]
    assert (failed.name, failed.ok, failed.code) == (f"template {CONTRACT}", False, "settings")
    assert "从控件区拖入“文本”" in failed.zh
    assert "correlation_field" in failed.en


async def test_the_check_names_a_template_that_is_not_in_use_and_a_module_that_does_not_list_the_app(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.act(PutTemplate(template_id=CONTRACT, enabled=False))
    failed = (await wecom.check()).steps[-1]
    assert failed.name == f"template {CONTRACT}"
    assert "template_ids" in failed.zh
    bench.stand.sandbox.gate.apps[AGENTID].grants.discard("approval")
    failed = (await bench.connect().check()).steps[-1]
    assert "可调用接口的应用" in failed.zh
    assert "301055" in failed.en


# ------------------------------------------------------------------- the live form, before anything is sent


@pytest.mark.parametrize(
    ("form", "field", "cause"),
    [
        ({"合同类型": "转让"}, "合同类型", Cause.INVALID),
        ({"合同类型": ["新签", "续签"]}, "合同类型", Cause.INVALID),
        ({"客户名称": None}, "客户名称", Cause.MISSING_FIELD),
        ({"客户名称": ""}, "客户名称", Cause.MISSING_FIELD),
        ({"客户名称": "第一行\n第二行"}, "客户名称", Cause.INVALID),
        ({"客户名称": "响铃\x07"}, "客户名称", Cause.INVALID),
        ({"合同金额": "五千"}, "合同金额", Cause.INVALID),
        ({"合同金额": True}, "合同金额", Cause.INVALID),
        ({"没有这个控件": "x"}, "没有这个控件", Cause.INVALID),
        ({"产品明细": [{"产品": "甲"}, {"数量": "3"}]}, "产品明细[2].产品", Cause.MISSING_FIELD),
        ({"产品明细": [{"产品": "甲", "颜色": "红"}]}, "产品明细[1].颜色", Cause.INVALID),
        ({"产品明细": [{"产品": "甲", "数量": "三"}]}, "产品明细[1].数量", Cause.INVALID),
        ({"产品明细": ["甲"]}, "产品明细", Cause.INVALID),
        ({"合同附件": [f"media-{number}" for number in range(7)]}, "合同附件", Cause.INVALID),
        ({"合同附件": [{"file_name": "合同.pdf"}]}, "合同附件", Cause.INVALID),
    ],
)
async def test_what_the_form_would_not_take_is_refused_by_the_title_people_see(
    bench: Bench, wecom: WeComConnector, form: dict[str, Any], field: str, cause: Cause
) -> None:
    error = await refused(wecom, bench, contract(form=form))
    assert (error.field, error.cause, error.code) == (field, cause, None)


async def test_an_option_or_a_required_field_of_today_is_named_though_the_form_was_read_before(
    bench: Bench, wecom: WeComConnector
) -> None:
    await started(wecom, bench, contract(form={"合同类型": "新签"}))

    def renamed(controls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        titled(controls, "合同类型")["config"]["selector"]["options"] = [
            {"key": "option-9", "value": [{"text": "框架协议", "lang": "zh_CN"}]}
        ]
        titled(controls, "备注")["property"]["require"] = 1
        return controls

    change_template(bench, renamed)
    stale = await refused(wecom, bench, contract(form={"合同类型": "新签", "备注": "x"}))
    assert (stale.field, stale.code) == (
        "合同类型",
        "301025",
    )  # WeCom's own refusal, explained by the form of today
    fresh = await refused(wecom, bench, contract(form={"合同类型": "框架协议"}))
    assert (fresh.field, fresh.code, fresh.cause) == ("备注", None, Cause.MISSING_FIELD)


@pytest.mark.parametrize("display", ["hidden", "shown"])
async def test_a_template_that_was_disabled_is_named_whether_it_is_remembered_or_still_shown(
    bench: Bench, wecom: WeComConnector, display: Any
) -> None:
    await started(wecom, bench)
    bench.stand.sandbox.dials.disabled_template = display
    bench.stand.sandbox.act(PutTemplate(template_id=CONTRACT, enabled=False))
    assert (await refused(wecom, bench, contract())).field == "processCode"
    error = await refused(bench.connect(), bench, contract())  # type: ignore[arg-type]
    assert (error.field, error.code) == ("processCode", "301025")
    assert "停用" in str(error)


async def test_a_template_that_never_was_is_named(bench: Bench, wecom: WeComConnector) -> None:
    error = await refused(wecom, bench, contract(processCode="3TmNever"))
    assert (error.field, error.cause) == ("processCode", Cause.STATE)


async def test_a_flow_with_a_node_the_applicant_chooses_is_told_as_such(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.act(PutTemplate(template_id=CONTRACT, chosen=True))
    error = await refused(wecom, bench, contract())
    assert (error.field, error.code) == ("processCode", "301025")
    assert "自选" in str(error)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"originatorUserId": "nobody"}, "originatorUserId"),
        ({"originatorUserId": "left.one"}, "originatorUserId"),
        ({"originatorUserId": ""}, "originatorUserId"),
        ({"processCode": None}, "processCode"),
        ({"approvers": [{"actionType": "NONE", "userIds": ["nobody"]}]}, "approvers[0]"),
        ({"approvers": [{"userIds": ["zhangsan"]}, {"actionType": "OR", "userIds": ["lisi", "left.one"]}]}, "approvers[1]"),
        ({"approvers": [{"actionType": "NONE", "userIds": ["asleep"]}]}, "approvers[0]"),
        ({"approvers": [{"actionType": "AND", "userIds": ["zhangsan"]}]}, "approvers[0]"),
        ({"approvers": [{"actionType": "NONE", "userIds": ["zhangsan", "lisi"]}]}, "approvers[0]"),
        ({"approvers": [{"actionType": "SOME", "userIds": ["zhangsan", "lisi"]}]}, "approvers[0]"),
        ({"approvers": "zhangsan"}, "approvers"),
        ({"approvers": [{"userIds": ["zhangsan"]}], "ccList": ["lisi", "left.one"]}, "ccList[1]"),
        ({"ccList": ["lisi"]}, "ccList"),
        ({"deptId": 5}, "deptId"),
        ({"deptId": "南"}, "deptId"),
        ({"summary": ["1", "2", "3", "4"]}, "summary"),
    ],
)  # fmt: skip
async def test_people_and_departments_that_do_not_fit_are_refused_by_name(
    bench: Bench, wecom: WeComConnector, payload: dict[str, Any], field: str
) -> None:
    bench.stand.sandbox.act(
        PutMember(userid="left.one", name="走了", department=[1]),
        DeleteMember(userid="left.one"),
        PutMember(userid="asleep", name="未激活", department=[1], status=4),
    )
    error = await refused(wecom, bench, contract(**payload))
    assert error.field == field


async def test_an_approver_who_left_a_moment_ago_is_named_although_he_was_known(
    bench: Bench, wecom: WeComConnector
) -> None:
    payload = contract(approvers=[{"userIds": ["lisi"]}])
    await started(wecom, bench, payload)
    bench.stand.sandbox.act(DeleteMember(userid="lisi"))
    error = await refused(wecom, bench, payload)
    assert (error.field, error.cause) == ("approvers[0]", Cause.NOT_FOUND)


async def test_a_person_in_a_field_of_the_form_who_left_is_refused_by_the_fields_title(
    bench: Bench, wecom: WeComConnector
) -> None:
    assert (await refused(wecom, bench, everything({"成员": ["zhangsan", "nobody"]}))).field == "成员"
    assert (await refused(wecom, bench, everything({"部门": ["77"]}))).field == "部门"
    rows = [{"品名": "甲", "经办": "nobody"}]
    assert (await refused(wecom, bench, everything({"明细": rows}))).field == "明细[1].经办"


async def test_an_applicant_out_of_sight_is_a_matter_of_his_record_and_a_missing_permission_of_the_connection(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.inject("errcode_301055", op="oa/applyevent")
    error = await refused(wecom, bench, contract())
    assert (error.field, error.cause) == ("originatorUserId", Cause.PERMISSION)
    bench.stand.sandbox.gate.apps[AGENTID].grants.discard("approval")
    (result,) = await wecom.write([writing(bench, contract())])
    assert isinstance(result, Failed)
    assert isinstance(result.error, ConnectionDown)
    assert result.error.cause is Cause.PERMISSION


async def test_whether_it_is_the_applicant_or_the_permission_is_asked_again_where_it_could_not_be_asked(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.inject("errcode_301055", op="oa/applyevent")
    bench.stand.sandbox.inject("errcode_45009", op="oa/getapprovalinfo")
    (result,) = await wecom.write([writing(bench, contract())])
    assert isinstance(result, Failed)
    assert isinstance(result.error, TryAgain)  # one busy minute is no reason to stop the connection
    assert bench.stand.effects("approval") == []


# ------------------------------------------------------------------------------------------------- the flow


async def test_without_approvers_the_flow_and_the_cc_are_the_templates_own(
    bench: Bench, wecom: WeComConnector
) -> None:
    form = stored(bench, await started(wecom, bench))
    assert [[sub["userid"] for sub in node["subs"]] for node in form.nodes] == [
        ["zhangsan"],
        ["lisi", "wangwu"],
    ]
    assert form.notifyer == ["ZhaoLiu"]


async def test_explicit_approvers_replace_the_flow_in_their_order_with_their_way_of_deciding(
    bench: Bench, wecom: WeComConnector
) -> None:
    approvers = [
        {"userIds": ["wangwu"]},
        {"actionType": "AND", "userIds": ["zhangsan", "lisi"]},
        {"actionType": "OR", "userIds": ["zhangsan", "lisi"]},
        {"actionType": "ONE_BY_ONE", "userIds": ["lisi", "wangwu"]},
    ]
    form = stored(bench, await started(wecom, bench, contract(approvers=approvers, ccList=["ZhaoLiu"])))
    assert [(node["apv_rel"], [sub["userid"] for sub in node["subs"]]) for node in form.nodes] == [
        (1, ["wangwu"]),
        (1, ["zhangsan", "lisi"]),
        (2, ["zhangsan", "lisi"]),
        (3, ["lisi", "wangwu"]),
    ]
    assert form.notifyer == ["ZhaoLiu"]


async def test_steps_as_an_approval_of_the_hub_has_them_are_a_flow_too(
    bench: Bench, wecom: WeComConnector
) -> None:
    steps = [
        {"mode": "any", "approvers": ["wangwu"]},
        {"mode": "all", "approvers": ["zhangsan", "lisi"]},
        {"mode": "any", "approvers": ["zhangsan", "lisi"]},
    ]
    form = stored(bench, await started(wecom, bench, contract(approvers=steps)))
    assert [(node["apv_rel"], len(node["subs"])) for node in form.nodes] == [(1, 1), (1, 2), (2, 2)]


async def test_the_department_and_the_lines_of_the_list_are_given_and_long_lines_are_cut(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.act(PutMember(userid=SELLER, department=[100, 4], main_department=100))
    bench.stand.sandbox.dials.strict = True
    payload = contract(deptId=4, summary=["客户：示例信息技术有限责任公司华南分公司", "金额：\n5000.00"])
    assert stored(bench, await started(wecom, bench, payload)).partyid == "4"


# ------------------------------------------------------------------------------------------- every control

AT = 1_570_550_400
"""2019-10-09 00:00 in Shanghai."""
PLACE = {"latitude": "30.28", "longitude": "120.02", "title": "总部", "address": "杭州", "time": AT}
BANK = {"account_type": 1, "account_name": "示例有限公司", "account_number": "6222000000000000000"}
OUT: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "文本": ("单行", {"text": "单行"}, "单行"),
    "多行": ("第一行\r\n第二行", {"text": "第一行\n第二行"}, "第一行\n第二行"),
    "数字": (700, {"new_number": "700"}, "700"),
    "金额": ("1234.50", {"new_money": "1234.50"}, "1234.50"),
    "日期": ("2019-10-09", {"date": {"type": "day", "s_timestamp": str(AT)}}, "2019-10-09"),
    "时刻": ("2019-10-09T10:30:00", {"date": {"type": "hour", "s_timestamp": str(AT + 37_800)}}, "2019-10-09T10:30:00+08:00"),
    "单选": ("选项2", {"selector": {"type": "single", "options": [{"key": "option-2"}]}}, "选项2"),
    "多选": (["选项1", "option-3"], {"selector": {"type": "multi", "options": [{"key": "option-1"}, {"key": "option-3"}]}}, ["选项1", "选项3"]),
    "成员": (["zhangsan", "lisi"], {"members": [{"userid": "zhangsan", "name": "张三"}, {"userid": "lisi", "name": "李四"}]}, ["zhangsan", "lisi"]),
    "部门": ([2, "3"], {"departments": [{"openapi_id": "2", "name": "华东大区"}, {"openapi_id": "3", "name": "华南大区"}]}, ["2", "3"]),
    "附件": (["media-1"], {"files": [{"file_id": "media-1"}]}, [{"file_id": "media-1"}]),
    "时长": (
        ["2019-10-09T09:00", "2019-10-09T18:00"],
        {"date_range": {"type": "hour", "new_begin": AT + 32_400, "new_end": AT + 64_800, "new_duration": 32_400}},
        ["2019-10-09T09:00:00+08:00", "2019-10-09T18:00:00+08:00"],
    ),
    "天数": (
        ["2019-10-09", "2019-10-09T12:00"],
        {"date_range": {"type": "halfday", "new_begin": AT, "new_end": AT + 43_200, "new_duration": 86_400}},
        ["2019-10-09T00:00:00+08:00", "2019-10-09T12:00:00+08:00"],
    ),
    "请假": (
        {"type": "年假", "range": ["2019-10-09", "2019-10-10"]},
        {"vacation": {
            "selector": {"type": "single", "options": [{"key": "1"}]},
            "attendance": {"date_range": {"type": "halfday", "new_begin": AT, "new_end": AT + 86_400, "new_duration": 129_600}, "type": 1},
        }},
        {"type": "年假", "range": ["2019-10-09T00:00:00+08:00", "2019-10-10T00:00:00+08:00"]},
    ),
    "出差": (
        ["2019-10-09T09:00", "2019-10-09T18:00"],
        {"attendance": {"date_range": {"type": "hour", "new_begin": AT + 32_400, "new_end": AT + 64_800, "new_duration": 32_400}, "type": 3}},
        ["2019-10-09T09:00:00+08:00", "2019-10-09T18:00:00+08:00"],
    ),
    "位置": (PLACE, {"location": PLACE}, PLACE),
    "收款账户": (BANK, {"bank_account": BANK}, BANK),
}  # fmt: skip
"""Title -> (what a mapping gives, what goes over the wire, what comes back)."""


class Wire:
    """Passes calls on to the sandbox and keeps what was submitted."""

    def __init__(self, bench: Bench) -> None:
        self.sent: list[dict[str, Any]] = []
        apply = bench.stand.sandbox._read

        def read(name: str, api: Any, app: Any, request: Any, raw: bytes) -> Any:
            call = apply(name, api, app, request, raw)
            if name == "oa/applyevent":
                self.sent.append(
                    {one["title"][0]["text"]: one for one in call.fields["apply_data"]["contents"]}
                )
            return call

        bench.stand.sandbox._read = read


@pytest.mark.parametrize("shape", ["nested", "flat"])
async def test_every_control_goes_out_as_the_sheet_writes_it_and_comes_back_as_a_value(
    bench: Bench, shape: Any
) -> None:
    bench.stand.sandbox.dials.strict, bench.stand.sandbox.dials.date_shape = True, shape
    wire = Wire(bench)
    wecom = bench.connect(bench.stand.settings() | {"send_bank_account": True})
    earlier = await started(wecom, bench)  # type: ignore[arg-type]
    rows = [{"品名": "甲", "颜色": ["红", "绿"], "经办": "zhangsan"}, {"品名": "乙"}]
    related = {"关联审批单": [earlier.vendor_id], "明细": rows}
    form = {title: given for title, (given, _, _) in OUT.items()} | related
    ref = await started(wecom, bench, everything(form), 2)  # type: ignore[arg-type]
    assert {one["control"] for one in wire.sent[-1].values()} == set(KINDS)
    back = await shown(wecom, ref.vendor_id)  # type: ignore[arg-type]
    for title, (_, sent, value) in OUT.items():
        assert wire.sent[-1][title]["value"] == sent, title
        assert back["form"][title] == value, title
        assert back["form"][wire.sent[-1][title]["id"]] == value, title
    assert wire.sent[-1]["关联审批单"]["value"] == {"related_approval": [{"sp_no": earlier.vendor_id}]}
    assert back["form"]["关联审批单"] == [earlier.vendor_id]
    cells = [[cell["control"] for cell in row["list"]] for row in wire.sent[-1]["明细"]["value"]["children"]]
    assert (
        cells == [["Text", "Selector", "Contact"]] * 2
    )  # every control of each row, those without a value too
    assert [{name: row[name] for name in ("品名", "颜色", "经办")} for row in back["form"]["明细"]] == [
        {"品名": "甲", "颜色": ["红", "绿"], "经办": ["zhangsan"]},
        {"品名": "乙", "颜色": None, "经办": []},
    ]
    assert back["form"]["合计"] == "5.0"  # computed there, never sent


@pytest.mark.parametrize(
    ("title", "value"),
    [
        ("多选", ["选项1", "选项9"]), ("单选", ["选项1", "选项2"]), ("日期", "2026-02-30"), ("日期", "17.8.2026"), ("时刻", "十点"),
        ("时长", ["2026-02-19"]), ("时长", ["2026-02-20", "2026-02-19"]), ("天数", ["2026-02-19T09:00", "2026-02-20"]),
        ("请假", {"type": "婚假", "range": ["2026-02-19", "2026-02-20"]}), ("请假", "年假"), ("位置", {"title": "总部"}),
        ("数字", {"a": 1}), ("数字", "1e400000"), ("合计", "5"), ("补卡", "x"), ("说明", "x"), ("收款账户", BANK),
        ("附件", [""]), ("明细", [{"品名": "甲", "颜色": ["蓝"]}]), ("明细", [{"品名": "甲", "经办": ["zhangsan", "lisi"]}]),
    ],
)  # fmt: skip
async def test_a_value_that_does_not_fit_its_control_is_refused_by_its_title(
    bench: Bench, wecom: WeComConnector, title: str, value: Any
) -> None:
    error = await refused(wecom, bench, everything({title: value}))
    assert error.field == title or str(error.field).startswith(f"{title}["), error


async def test_a_cell_for_a_department_that_has_none_is_an_empty_list_of_departments(bench: Bench) -> None:
    def with_department(controls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        cell = control("Contact", 90, "部门", contact={"type": "single", "mode": "department"})
        titled(controls, "产品明细")["config"]["table"]["children"].append(cell)
        return controls

    change_template(bench, with_department)
    wire = Wire(bench)
    await started(bench.connect(), bench, contract(form={"产品明细": [{"产品": "甲"}]}))  # type: ignore[arg-type]
    (row,) = wire.sent[-1]["产品明细"]["value"]["children"]
    assert [cell["value"] for cell in row["list"] if cell["control"] == "Contact"] == [{"departments": []}]


async def test_two_controls_of_one_title_are_told_apart_by_id_alone(
    bench: Bench, wecom: WeComConnector
) -> None:
    def doubled(controls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        second = copy.deepcopy(titled(controls, "备注"))
        second["property"]["id"] = "Textarea-2"
        return [*controls, second]

    change_template(bench, doubled)
    assert "Textarea-2" in str(await refused(wecom, bench, contract(form={"备注": "x"})))
    ref = await started(wecom, bench, contract(form={"Textarea-2": "第二个"}))
    body = await shown(wecom, ref.vendor_id)
    assert body["form"]["Textarea-2"] == "第二个"


async def test_a_field_is_meant_by_id_also_when_its_title_was_changed(bench: Bench) -> None:
    def renamed(controls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for one in controls:
            one["property"]["title"][0]["text"] = f"新{one['property']['title'][0]['text']}"
        return controls

    change_template(bench, renamed)
    wecom = bench.connect(bench.stand.settings() | {"correlation_field": "Text-1570000000001"})
    form = {"Text-1570000000002": "示例有限公司", "Money-1570000000003": "1"}
    payload = contract() | {"form": form}
    ref = await started(wecom, bench, payload)  # type: ignore[arg-type]
    assert (await shown(wecom, ref.vendor_id))["correlation"].startswith("HT-2026-0001-1 [")  # type: ignore[arg-type]


def test_an_offset_that_is_none_is_a_wrong_setting(bench: Bench) -> None:
    with pytest.raises(SettingsError) as caught:
        bench.connect(bench.stand.settings() | {"time_offset": "Shanghai"})
    assert caught.value.field == "time_offset"


# ----------------------------------------------------------------------------------- after the start


async def test_an_approval_cannot_be_changed_withdrawn_or_commented_on_by_the_hub(
    bench: Bench, wecom: WeComConnector
) -> None:
    ref = await started(wecom, bench)
    for payload in ({"form": {"合同金额": "1"}}, {}):
        (result,) = await wecom.write([writing(bench, payload, ref=ref)])
        assert isinstance(result, Failed)
        assert result.error.cause is Cause.STATE
        (found,) = await wecom.find([writing(bench, payload, ref=ref)])
        assert isinstance(found, Found)
        assert not found.as_sent
    assert len(bench.stand.effects("approval")) == 1


# --------------------------------------------------------------------------- somebody else's number (U8)


async def test_a_create_that_answers_another_approvals_number_stops_the_sync(
    bench: Bench, wecom: WeComConnector
) -> None:
    (other,) = await bench.stand.seed("approval", 1)
    bench.stand.sandbox.dials.foreign_sp_no = other
    with pytest.raises(IntegrityError) as caught:
        await wecom.write([writing(bench, contract())])
    assert caught.value.cause is Cause.FOREIGN


async def test_a_detail_of_another_approval_stops_the_sync(bench: Bench, wecom: WeComConnector) -> None:
    first, second = await bench.stand.seed("approval", 2)
    bench.stand.sandbox.dials.foreign_detail = second
    with pytest.raises(IntegrityError) as caught:
        await shown(wecom, first)
    assert caught.value.cause is Cause.FOREIGN


# ---------------------------------------------------------------------------------------- the other faults


@pytest.mark.parametrize("code", [301057, 987654, -1, 301026, 81026, 2000111])
async def test_a_code_that_leaves_a_create_in_doubt_is_settled_by_the_number(
    bench: Bench, wecom: WeComConnector, code: int
) -> None:
    write = writing(bench, contract())
    bench.stand.sandbox.inject(f"apply_then_errcode_{code}", op="oa/applyevent")
    (result,) = await wecom.write([write])
    assert isinstance(result, Failed)
    assert isinstance(result.error, OutcomeUnknown)
    (found,) = await bench.connect().find([write])
    assert isinstance(found, Found)


async def test_what_was_started_is_found_also_when_its_applicant_has_left_since(
    bench: Bench, wecom: WeComConnector
) -> None:
    write = writing(bench, contract())
    bench.stand.inject(Fault.DROPPED, "save", "approval")
    await wecom.write([write])
    bench.stand.sandbox.act(PutMember(userid=SELLER, status=5))
    (found,) = await bench.connect().find([write])
    assert isinstance(found, Found)


async def test_a_look_up_that_fails_tells_nothing(bench: Bench, wecom: WeComConnector) -> None:
    bench.stand.inject(Fault.HTML, "read", "approval")
    (found,) = await wecom.find([writing(bench, contract())])
    assert isinstance(found, CannotTell)


async def test_the_form_is_read_once_for_many_approvals(bench: Bench, wecom: WeComConnector) -> None:
    for number in (1, 2, 3):
        await started(wecom, bench, contract(), number)
    calls = bench.stand.sandbox.limits.calls
    assert calls["oa/gettemplatedetail"] == 1
    assert calls["user/get"] == 1
    assert (calls["oa/applyevent"], calls["oa/getapprovaldetail"]) == (3, 3)


async def test_more_calls_than_the_minute_allows_are_not_made(bench: Bench) -> None:
    wecom = bench.connect(bench.stand.settings() | {"approval_calls": 2, "verify_create": False})
    for number in (1, 2):
        await started(wecom, bench, contract(), number)  # type: ignore[arg-type]
    (result,) = await wecom.write([writing(bench, contract(), number=3)])
    assert isinstance(result, Failed)
    assert isinstance(result.error, TryAgain)
    assert result.error.cause is Cause.RATE
    assert 0 < (result.error.after or 0) <= 60
    assert bench.stand.sandbox.limits.calls["oa/applyevent"] == 2


async def test_a_refusal_that_names_nothing_names_the_form(bench: Bench, wecom: WeComConnector) -> None:
    bench.stand.sandbox.inject("errcode_301079", op="oa/applyevent")
    (result,) = await wecom.write([writing(bench, contract())])
    assert isinstance(result, Failed)
    assert isinstance(result.error, Refused)
    assert result.error.field == "form"


async def test_with_a_third_of_the_answers_lost_no_approval_is_started_twice_and_none_is_missing(
    bench: Bench,
) -> None:
    box = bench.stand.sandbox
    box.dials.seed, box.dials.only = 2026, ["oa/applyevent"]
    box.dials.apply_then_drop, box.dials.fail_before, box.dials.cut_body = 0.2, 0.1, 0.1
    print("seed", box.dials.seed)
    for number in range(25):
        write = writing(bench, contract(form={"客户名称": f"客户{number}"}), number=number)
        for _ in range(20):
            (result,) = await bench.connect().write(
                [write]
            )  # a new process each time: it knows nothing but the write
            if isinstance(result, Applied):
                break
            assert isinstance(result, Failed)
            (found,) = await bench.connect().find([write])
            if isinstance(found, Found):
                break
            assert isinstance(found, Absent), found
    customers = [
        one["value"]["text"]
        for form in box.corp.forms.values()
        for one in form.contents
        if one["title"][0]["text"] == "客户名称"
    ]
    assert sorted(customers) == sorted(f"客户{number}" for number in range(25))


async def test_what_people_submitted_themselves_is_not_taken_for_ours(
    bench: Bench, wecom: WeComConnector
) -> None:
    box = bench.stand.sandbox
    box.act(Submit(template_id=CONTRACT, userid=SELLER, values=VALUES | {LABEL: "HT-2026-0001-1"}))
    box.act(ActOnForm(act="agree", sp_no=next(iter(box.corp.forms))))
    assert await wecom.find([writing(bench, contract())]) == [Absent()]


def test_the_template_of_every_control_has_every_control(bench: Bench) -> None:
    kinds = {one["property"]["control"] for one in bench.stand.sandbox.corp.templates[EVERYTHING].controls}
    assert set(KINDS) <= kinds


__all__ = ["bench", "wecom"]
