"""The approval templates everybody knows, as ``gettemplatedetail`` shows them (4.5): a contract, and every control there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from connectors.wecom.sandbox.rows import Template
from hub.sdk.sandbox import Json

__all__ = [
    "CONTRACT",
    "EVERYTHING",
    "LABEL",
    "SEED",
    "control",
    "controls_of",
    "kind_of",
    "named",
    "options_of",
    "property_of",
    "text_of",
]

CONTRACT = "3TmSbxContract000000000000000000000000000001"
EVERYTHING = "1970324962063171_1688852032415116_1215384131_1569465360"
"""An old id: long groups of digits."""
LABEL = "CRM单号"


def control(kind: str, number: int, title: str, *, require: int = 0, **config: Json) -> dict[str, Json]:
    """Return one control as the vendor keeps it."""
    shown = {
        "control": kind, "id": f"{kind}-{1_570_000_000_000 + number}", "title": _text(title), "placeholder": _text(""),
        "require": require, "un_print": 0,
    }  # fmt: skip
    return {"property": shown, "config": config} if config else {"property": shown}


def _text(text: str) -> list[dict[str, str]]:
    return [{"text": text, "lang": "zh_CN"}]


def _options(kind: str, *texts: str) -> Json:
    rows = [{"key": f"option-{number}", "value": _text(text)} for number, text in enumerate(texts, start=1)]
    return {"type": kind, "exp_type": 0, "options": rows, "op_relations": []}


def _table(*children: dict[str, Json]) -> Json:
    return {"children": list(children), "stat_field": []}


def _node(*users: str, rel: int = 1) -> dict[str, Json]:
    return {"type": 1, "apv_rel": rel, "userid": list(users)}


SEED = (
    Template(
        CONTRACT,
        _text("合同审批"),
        [
            control("Text", 1, LABEL),
            control("Text", 2, "客户名称", require=1),
            control("Money", 3, "合同金额", require=1),
            control("Selector", 4, "合同类型", selector=_options("single", "新签", "续签", "变更")),
            control("Table", 5, "产品明细", table=_table(
                control("Text", 6, "产品", require=1), control("Number", 7, "数量"), control("Money", 8, "金额"),
            )),
            control("Textarea", 9, "备注"),
            control("File", 10, "合同附件"),
        ],
        [_node("zhangsan"), _node("lisi", "wangwu", rel=2)],
        ["ZhaoLiu"],
    ),
    Template(
        EVERYTHING,
        _text("全部控件"),
        [
            control("Text", 20, LABEL),
            control("Text", 21, "文本"),
            control("Textarea", 22, "多行"),
            control("Number", 23, "数字"),
            control("Money", 24, "金额"),
            control("Date", 25, "日期", date={"type": "day"}),
            control("Date", 26, "时刻", date={"type": "hour"}),
            control("Selector", 27, "单选", selector=_options("single", "选项1", "选项2", "选项3")),
            control("Selector", 28, "多选", selector=_options("multi", "选项1", "选项2", "选项3")),
            control("Contact", 29, "成员", contact={"type": "multi", "mode": "user"}),
            control("Contact", 30, "部门", contact={"type": "multi", "mode": "department"}),
            control("File", 31, "附件"),
            control("Table", 32, "明细", table=_table(
                control("Text", 33, "品名", require=1), control("Selector", 34, "颜色", selector=_options("multi", "红", "绿")),
                control("Contact", 35, "经办", contact={"type": "single", "mode": "user"}),
            )),
            control("DateRange", 36, "时长", date_range={"type": "hour"}),
            control("DateRange", 37, "天数", date_range={"type": "halfday"}),
            control("Vacation", 38, "请假", vacation_list={"item": [{"id": 1, "name": _text("年假")}, {"id": 2, "name": _text("事假")}]}),
            control("Attendance", 39, "出差", attendance={"type": 3, "date_range": {"type": "hour"}}),
            control("Location", 40, "位置"),
            control("RelatedApproval", 41, "关联审批单"),
            control("Formula", 42, "合计", require=1),
            control("BankAccount", 43, "收款账户"),
            control("PunchCorrection", 44, "补卡"),
            control("Tips", 45, "说明", tips={"tips_content": []}),
        ],
        [_node("zhangsan")],
    ),
)  # fmt: skip


def property_of(one: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the property of a control."""
    found: Mapping[str, Json] = one["property"]
    return found


def kind_of(one: Mapping[str, Json]) -> str:
    """Return the kind of a control."""
    return str(property_of(one)["control"])


def controls_of(one: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return the controls inside a table."""
    config = one.get("config") or {}
    return list(config.get("table", {}).get("children", ()))


def named(controls: list[dict[str, Json]], name: str) -> dict[str, Json] | None:
    """Return the control with this id or title."""
    for one in controls:
        if property_of(one)["id"] == name:
            return one
    return next((one for one in controls if text_of(property_of(one)["title"]) == name), None)


def text_of(texts: Json) -> str:
    """Return the first text of ``[{text, lang}]``."""
    return str(texts[0]["text"]) if texts else ""


def options_of(one: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Give key and value of each option of a Selector, id and name of each kind of leave of a Vacation."""
    config = one.get("config") or {}
    for option in config.get("selector", {}).get("options", ()):
        yield str(option["key"]), option["value"]
    for item in config.get("vacation_list", {}).get("item", ()):
        yield str(item["id"]), item["name"]
