"""Receipts of the older receivables, `fi/receivebill` (2.3 b): batches that answer 200 whatever became of their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.books import OLDER, Row, digits
from connectors.yonyou.sandbox.receipts import amount, for_customer, open_month
from connectors.yonyou.sandbox.site import Site, batch, condition, one_page, ordered, required
from hub.sdk.sandbox import Json

__all__ = ["RECEIVEBILL", "act_older", "new_older"]

Body: TypeAlias = Mapping[str, Any]
HEAD = frozenset((
    "resubmitCheckKey", "id", "accentity_code", "vouchdate", "accountdate", "code", "customer_code", "settlemode_code",
    "enterprisebankaccount_code", "cashaccount_code", "tradetype_code", "currency", "exchangeRateType_code", "exchRate",
    "oriSum", "natSum", "org_code", "dept_code", "operator_code", "orderno", "contractno", "project_code", "description",
    "initflag", "_status", "ReceiveBill_b",
))  # fmt: skip
LINE = frozenset((
    "quickType_code", "material_code", "oriSum", "natSum", "customer_code", "orderno", "contractno", "description", "_status",
))  # fmt: skip
NEEDED = (
    "accentity_code", "vouchdate", "customer_code", "tradetype_code", "currency", "exchangeRateType_code", "exchRate",
    "oriSum", "natSum",
)  # fmt: skip
KINDS = {
    "accentity_code": "org", "org_code": "org", "tradetype_code": "bustype", "currency": "currency",
    "exchangeRateType_code": "rateType", "settlemode_code": "settleMode",
}  # fmt: skip


def new_older(site: Site, data: Body, by: str, verb: str = "create") -> Row:
    """Put a receipt there. Raises CodeError."""
    required(data, *NEEDED)
    site.strict(data, HEAD, "收款单")
    if data.get("_status") != "Insert":
        raise CodeError("999", "服务端逻辑异常: _status不正确")
    for name, kind in KINDS.items():
        if data.get(name) is not None:
            site.known(kind, data[name], name)
    if len(str(data["vouchdate"])) != 10:
        raise CodeError("310009", "参数[vouchdate]格式不正确")
    lines = _lines(site, data)
    for name in ("oriSum", "natSum"):
        if Decimal(amount(data[name], name)) != sum(Decimal(line[name]) for line in lines):
            raise CodeError("999", f"表头{name}与明细合计不一致")  # local words
    for_customer(site, data["customer_code"], data["accentity_code"])
    open_month(site, data["accentity_code"], data["vouchdate"])
    code = data.get("code") or site.books.new_number("RECar")
    if site.books.where(OLDER, code=code):
        raise CodeError("999", "单据编号重复!")  # UNCONFIRMED: local words
    row = Row(OLDER, site.books.new_id(), {}, str(data.get("resubmitCheckKey") or ""), site.books.now())
    row.body = {
        name: value for name, value in data.items() if name not in ("resubmitCheckKey", "_status", "id")
    }
    row.body |= {
        "code": code, "status": 0, "auditstatus": 2, "settlestatus": 1, "writeoffstatus": 2, "voucherstatus": 1,
        "verifystate": 0, "isWfControlled": False, "billnum": "arap_receivebill", "caobject": 1, "srcitem": 20,
        "createTime": site.books.time(), "ReceiveBill_b": lines,
        **{name: amount(data[name], name) for name in ("oriSum", "natSum", "exchRate")},
    }  # fmt: skip
    site.books.put(row, verb, by)
    return row


def _lines(site: Site, data: Body) -> list[dict[str, Any]]:
    given = data.get("ReceiveBill_b")
    if not isinstance(given, list) or not given:
        required({}, "ReceiveBill_b")
    lines = []
    for line in given or []:
        site.strict(line, LINE, "收款明细")
        if line.get("_status") != "Insert":
            if site.dials.child_status == "refuse":
                raise CodeError("999", "服务端逻辑异常: 明细_status不正确")
            continue
        if line.get("quickType_code") is not None:
            site.known("quickType", line["quickType_code"], "款项类型")
        sums = {name: amount(line.get(name), name) for name in ("oriSum", "natSum")}
        kept = {name: value for name, value in line.items() if name != "_status"}
        lines.append({"id": site.books.new_id(), **kept, **sums})
    return lines


def act_older(site: Site, row: Row, verb: str, by: str) -> Row | None:
    """Audit, un-audit or delete; return it as it is then, None if it is gone. Raises CodeError."""
    audited = row.body["status"] == 1
    if verb in ("audit", "delete") and audited:
        raise CodeError("999", f"单据已审核 id:{row.id}")
    if verb == "unaudit" and not audited:
        raise CodeError("999", f"单据未审核 id:{row.id}")
    open_month(site, row.body["accentity_code"], row.body["vouchdate"])
    if verb == "delete":
        site.books.drop(row, verb, by)
        return None
    new = row.clone()
    new.body |= {"status": int(verb == "audit"), "auditstatus": 1 if verb == "audit" else 2}
    site.books.put(new, verb, by)
    return new


def _shown(row: Row) -> dict[str, Any]:
    return dict(digits({"id": row.id, **row.body}))


def _save(site: Site, body: Body) -> Json:
    data = body.get("data")
    if not isinstance(data, dict):
        raise CodeError("310008", "参数校验失败，参数[data]是必填的。")
    known = site.repeated(data)
    return _shown(known if known is not None else new_older(site, data, "api"))


def _list(site: Site, body: Body) -> Json:
    if not all(isinstance(body.get(name), str) for name in ("pageIndex", "pageSize")):
        raise CodeError("310023", "参数[pageIndex]类型不正确")  # this API wants them as texts (2.3)
    asked = body.get("simpleVOs") or []
    rows = [row for row in site.books.rows(OLDER) if all(condition(row, one) for one in asked)]
    listed = [
        flat
        for row in ordered(rows, body, site.dials)
        for flat in (
            [_shown(row)] if body.get("isSum") is True else [_shown(row)] * len(row.body["ReceiveBill_b"])
        )
    ]
    found, number, size = one_page(listed, body, site.dials, largest=500)
    found = [{name: value for name, value in row.items() if name != "ReceiveBill_b"} for row in found]
    return {
        "pageIndex": number, "pageSize": size, "pageCount": -(-len(listed) // size), "recordCount": len(listed),
        "recordList": found, "sumRecordList": [],
    }  # fmt: skip


def _detail(site: Site, query: Body) -> Json:
    required(query, "id")
    row = site.books.get(OLDER, query["id"])
    if row is None:
        raise CodeError("1002", f"单据不存在 id:{query['id']}")  # UNCONFIRMED: local words
    return _shown(row)


def _batch(verb: str) -> Callable[[Site, Body], Json]:
    def run(site: Site, body: Body) -> Json:
        rows = body.get("data")
        if not isinstance(rows, list):
            raise CodeError("310008", "参数校验失败，参数[data]是必填的。")
        return batch([_one(site, verb, one) for one in rows])

    return run


def _one(site: Site, verb: str, asked: Body) -> tuple[int, str | None]:
    row = site.books.get(OLDER, asked.get("id"))
    if row is None:
        return 0, f"单据不存在 id:{asked.get('id')}"
    if verb != "delete" and asked.get("pubts") != row.body["pubts"]:
        return row.id, f"单据已被修改,请刷新后重试 id:{row.id}"  # an optimistic lock (6.28); local words
    try:
        act_older(site, row, verb, "api")
    except CodeError as error:
        return row.id, str(error)
    return row.id, None


RECEIVEBILL: Mapping[str, Callable[[Site, Any], Json]] = {
    "fi/receivebill/single/save": _save,
    "fi/receivebill/list/v2": _list,
    "fi/receivebill/detail": _detail,
    "fi/receivebill/batchaudit": _batch("audit"),
    "fi/receivebill/batchunaudit": _batch("unaudit"),
    "fi/receivebill/delete": _batch("delete"),
}
"""Path behind ``/yonbip/`` -> what it does."""
