"""The small corp everybody knows: departments with regions, people, two templates."""

from __future__ import annotations

from typing import Any

from connectors.dingtalk.sandbox.rows import Department, Row, Template, User

__all__ = ["CONTRACT", "CORRELATION", "CUSTOM", "fresh_rows"]

CONTRACT = "PROC-SANDBOX-CONTRACT"
CUSTOM = "PROC-SANDBOX-EVERYTHING"
CORRELATION = "CRM单号"
MODIFIED = 1_767_225_600_000


def _item(kind: str, id_: str, label: str, **props: Any) -> dict[str, Any]:
    return {"componentName": kind, "props": {"id": id_, "label": label, "required": False, **props}}


def _options(*texts: str) -> list[str]:
    """Return options as the vendor has them: JSON inside a text (sheet 2.6)."""
    return [f'{{"value":"{text}","key":"option_{number}"}}' for number, text in enumerate(texts)]


def _contract() -> Template:
    items: list[dict[str, Any]] = [
        _item("TextField", "TextField-CRM00001", CORRELATION, bizAlias="crm_key"),
        _item("TextField", "TextField-CUST0001", "客户名称", required=True),
        _item("MoneyField", "MoneyField-AMT00001", "合同金额", required=True),
        _item("DDSelectField", "DDSelectField-KIND01", "合同类型", options=_options("新签", "续签", "增购")),
        {
            **_item("TableField", "TableField-LINES01", "产品明细"),
            "children": [
                _item("TextField", "TextField-LINE0001", "产品", required=True),
                _item("NumberField", "NumberField-LINE002", "数量"),
                _item("MoneyField", "MoneyField-LINE0003", "小计"),
            ],
        },
        _item("TextareaField", "TextareaField-NOTE1", "备注"),
        {
            "componentName": "TextNote",
            "props": {"id": "TextNote-00000001", "label": "说明", "content": "按区域审批"},
        },
    ]
    nodes: list[dict[str, Any]] = [
        {"activityId": "manager", "name": "区域经理", "kind": "approval", "method": "OR", "users": ["manager", "deputy"]},
        {
            "activityId": "head", "name": "总部", "kind": "approval", "method": "AND", "users": ["head"],
            "when": {"MoneyField-AMT00001": [">=", 100_000]},
        },
    ]  # fmt: skip
    return Template(CONTRACT, "合同审批", items, nodes, modified=MODIFIED)


def _everything() -> Template:
    items = [
        _item("TextField", "TextField-CRM00002", CORRELATION),
        _item("TextField", "TextField-A", "文本"), _item("TextareaField", "TextareaField-A", "多行"),
        _item("NumberField", "NumberField-A", "数字"), _item("MoneyField", "MoneyField-A", "金额"),
        _item("DDSelectField", "DDSelectField-A", "单选", options=["选项1", "选项2"]),
        _item("DDMultiSelectField", "DDMultiSelectField-A", "多选", options=_options("选项1", "选项2", "选项3")),
        _item("DDDateField", "DDDateField-A", "日期", format="yyyy-MM-dd", unit="天"),
        _item("DDDateField", "DDDateField-B", "时刻", format="yyyy-MM-dd HH:mm", unit="小时"),
        _item("DDDateRangeField", "DDDateRangeField-A", '["开始时间","结束时间"]', format="yyyy-MM-dd", unit="天"),
        _item("PhoneField", "PhoneField-A", "电话"), _item("DDPhotoField", "DDPhotoField-A", "图片"),
        {
            **_item("TableField", "TableField-A", "明细"),
            "children": [_item("TextField", "TextField-T1", "品名"), _item("DDMultiSelectField", "DDMultiSelectField-T2", "颜色", options=["红", "蓝"])],
        },
        _item("DDAttachment", "DDAttachment-A", "附件"), _item("InnerContactField", "InnerContactField-A", "联系人", choice="1"),
        _item("DepartmentField", "DepartmentField-A", "部门"), _item("RelateField", "RelateField-A", "关联审批单"),
        _item("AddressField", "AddressField-A", "省市区"), _item("StarRatingField", "StarRatingField-A", "评分"),
        _item("TimeAndLocationField", "TimeAndLocationField-A", '["当前时间","当前地点"]'),
    ]  # fmt: skip
    nodes: list[dict[str, Any]] = [
        {
            "activityId": "choose", "name": "自选", "kind": "target_select", "method": "OR", "actorKey": "manual_1", "users": [],
            "range": ["manager", "head"], "required": True,
        }
    ]  # fmt: skip
    return Template(CUSTOM, "全控件", items, nodes, modified=MODIFIED)


def fresh_rows() -> list[Row]:
    """Return the rows of the fresh seed."""
    departments: list[Row] = [
        Department(1, "示例集团有限公司", 0),
        Department(100, "华东大区", 1, "cn/east", "E"),
        Department(200, "华南大区", 1, "cn/south", "S"),
        Department(210, "深圳分公司", 200, "", "S1"),
        Department(-7, "家校通讯录", 1),
    ]
    people = (
        ("seller", "李销售", [210]), ("manager", "王经理", [200]), ("deputy", "赵副经理", [200]), ("head", "张总", [1]),
        ("east", "周华东", [100, 210]), ("finance", "钱财务", [1]),
    )  # fmt: skip
    users: list[Row] = [
        User(userid, name, depts, f"union-{userid}", f"1380013800{number}", job_number=f"E{number:03}")
        for number, (userid, name, depts) in enumerate(people)
    ]
    return [*departments, *users, _contract(), _everything()]
