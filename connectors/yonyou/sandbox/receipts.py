"""Receipts of the new finance, `EFI/collection` (2.3 a): insert only, then submit, audit, and their reverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.books import CUSTOMER, RECEIPT, Row, digits
from connectors.yonyou.sandbox.site import Site, one_page, ordered, required
from hub.sdk.sandbox import Json

__all__ = ["COLLECTION", "amount", "for_customer", "move", "new_receipt", "open_month"]

Body: TypeAlias = Mapping[str, Any]
HEAD = frozenset((
    "resubmitCheckKey", "extSystemCode", "extVouchCode", "code", "financeOrg", "financeOrgCode", "billDate", "bustype",
    "bustypeCode", "org", "orgCode", "oriCurrency", "oriCurrencyCode", "objectType", "customer", "customerCode", "employee",
    "employeeCode", "funder", "funder_code", "exchangeRateType", "exchangeRateTypeCode", "exchangeRate", "exchangeRateDate",
    "settleMode", "settleModeCode", "enterpriseBankAccount", "enterpriseBankAccountNo", "enterpriseCashAccount",
    "enterpriseCashAccountNo", "customerBankAccount", "customerBankAccountNo", "dept", "deptCode", "staff", "staffCode",
    "project", "projectCode", "contractNo", "remarks", "blnWriteOff", "retailer", "_status", "srcBillType", "orderNo",
    "srcBillId", "sourceId", "bizFlowMakeBillCode", "bodyItem",
))  # fmt: skip
LINE = frozenset((
    "quickType", "quickTypeCode", "oriTaxIncludedAmount", "localTaxIncludedAmount", "customerCode", "orgCode", "expireDate",
    "orderNo", "contractNo", "invoiceNo", "extRowNo", "material", "materialCode", "expenseItem", "expenseItemCode",
    "taxSubject", "taxRate", "remarks", "_status",
))  # fmt: skip
LABELS = {
    "financeOrgCode": "收款组织", "billDate": "单据日期", "bustypeCode": "交易类型", "orgCode": "业务组织",
    "oriCurrencyCode": "原币币种", "objectType": "收款对象类型", "exchangeRateTypeCode": "汇率类型", "exchangeRate": "汇率",
    "exchangeRateDate": "汇率日期",
}  # fmt: skip
KINDS = {
    "financeOrgCode": "org", "orgCode": "org", "bustypeCode": "bustype", "oriCurrencyCode": "currency",
    "exchangeRateTypeCode": "rateType", "settleModeCode": "settleMode",
}  # fmt: skip
LINE_NAMES = {
    "extRowNo": "bodyItem_extRowNo",
    "taxSubject": "bodyItem_taxSubject",
    "quickType": "quickType",
    "taxRate": "taxRate",
}
"""Names of lines in lists that are not camel-prefixed (2.0)."""

# verb -> states it starts from, state it leads to, text when it is in another state (2.3; those of no fact sheet are local)
MOVES: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "submit": (("0", "4"), "1", "提交失败,当前单据已提交,不允许重复操作!"),
    "unsubmit": (("1",), "0", "撤回提交失败,当前单据未提交,不允许撤回操作!"),
    "audit": (("1",), "2", "审核失败,当前单据已审核, 不允许重复操作!"),
    "unaudit": (("2",), "", "弃审失败,当前单据已弃审, 不允许重复操作!"),
    "delete": (("0", "4"), "", "删除失败,当前单据已提交,不允许删除!"),
}
UNKNOWN_ID = {"delete": CodeError("999", "删除失败,数据库查询异常!")}


def amount(value: Json, name: str) -> str:
    """Return an amount as exact text. Raises CodeError for anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise CodeError("310023", f"参数[{name}]类型不正确")
    try:
        return format(Decimal(value), "f")
    except InvalidOperation:
        raise CodeError("310023", f"参数[{name}]类型不正确") from None


def for_customer(site: Site, code: Json, org: Json) -> None:
    """See that an organisation may book for a customer: it exists, is in use and allocated (6.17). Raises CodeError."""
    found = site.books.where(CUSTOMER, code=code)
    if not found:
        raise CodeError("1002", "客户数据不存在")
    if found[0].body.get("stopStatus"):
        raise CodeError("999", "客户已停用")
    if org not in [line["orgIdCode"] for line in found[0].body["merchantApplyRanges"]]:
        raise CodeError("999", "客户未分配到当前组织")


def open_month(site: Site, org: Json, day: Json) -> None:
    """See that the month is open. Raises CodeError."""
    if site.books.closed(str(org), str(day)):
        raise CodeError("999", "当前会计期间已经结账,单据不能维护")


def new_receipt(site: Site, data: Body, by: str, verb: str = "create") -> Row:
    """Put a receipt there. Raises CodeError."""
    for name, label in LABELS.items():
        if data.get(name) in (None, "") and data.get(name.removesuffix("Code")) in (None, ""):
            raise CodeError("999", f"{label}不允许为空!")
    if data.get("_status") != "Insert":
        raise CodeError("999", "服务端逻辑异常: _status只支持Insert")
    site.strict(data, HEAD, "收款单")
    for name, kind in KINDS.items():
        if data.get(name) is not None:
            site.known(kind, data[name], LABELS.get(name, name))
    if data["objectType"] not in ("1", "2", "3"):
        raise CodeError("310023", "参数[objectType]类型不正确")
    lines = _lines(site, data)
    if data["objectType"] == "1":
        for_customer(site, data.get("customerCode"), data["financeOrgCode"])
    open_month(site, data["financeOrgCode"], data["billDate"])
    key = str(data.get("resubmitCheckKey") or "")
    row = Row(RECEIPT, site.books.new_id(), {}, key, site.books.now())
    row.body = {
        name: value for name, value in data.items() if name not in ("resubmitCheckKey", "_status", "bodyItem")
    }
    row.body |= {
        "code": data.get("code") or site.books.new_number("RECar"), "busiObj": "collection", "verifyState": 0,
        "status": 0, "effectState": 0, "settleState": 1, "settleSubmitType": 0, "postStatus": 0, "writeOffState": 0,
        "srcSystem": 3, "isWfControlled": False, "createTime": site.books.time(), "bodyItem": lines,
        "exchangeRate": amount(data["exchangeRate"], "exchangeRate"),
        **{name: _total(lines, name) for name in ("oriTaxIncludedAmount", "localTaxIncludedAmount")},
    }  # fmt: skip
    for line in lines:
        line["headerId"] = row.id
    site.books.put(row, verb, by)
    return row


def _lines(site: Site, data: Body) -> list[dict[str, Json]]:
    given = data.get("bodyItem")
    if not isinstance(given, list) or not given or not all(isinstance(line, dict) for line in given):
        raise CodeError("999", "收款明细不允许为空!")
    lines = []
    for line in given:
        site.strict(line, LINE, "收款明细")
        if line.get("_status") != "Insert":
            if site.dials.child_status == "refuse":
                raise CodeError("999", "服务端逻辑异常: 明细_status只支持Insert")
            continue
        if line.get("quickTypeCode") is not None:
            site.known("quickType", line["quickTypeCode"], "款项类型")
        amounts = {
            name: amount(line.get(name), name) for name in ("oriTaxIncludedAmount", "localTaxIncludedAmount")
        }
        kept = {name: value for name, value in line.items() if name != "_status"}
        lines.append({"id": site.books.new_id(), **kept, **amounts})
    return lines


def _total(lines: list[dict[str, Json]], name: str) -> str:
    return format(sum((Decimal(line[name]) for line in lines), Decimal(0)), "f")


def move(site: Site, row: Row, verb: str, by: str) -> Row | None:
    """Submit, audit, take back or delete a receipt; return it as it is then, None if it is gone. Raises CodeError."""
    starts, leads, text = MOVES[verb]
    state = str(row.body["verifyState"])
    if state not in starts:
        early = verb == "audit" and state in ("0", "4")
        raise CodeError("999", "审核失败,当前单据未提交, 不允许审核!" if early else text)
    if verb in ("audit", "unaudit", "delete"):
        open_month(site, row.body["financeOrgCode"], row.body["billDate"])
    if verb == "delete":
        site.books.drop(row, verb, by)
        return None
    new = row.clone()
    if verb == "audit" and by == "api" and site.dials.workflow:
        new.body["isWfControlled"] = True
        site.books.put(new, "vote", by)
        return new
    to = int(leads or site.dials.unaudit_to)
    new.body |= {"verifyState": to, "status": {0: 0, 1: 3, 2: 1}[to], "effectState": int(to == 2)}
    if verb == "submit" and site.dials.workflow:
        new.body["isWfControlled"] = True
    if verb == "audit":
        new.body["auditTime"] = site.books.time()
    site.books.put(new, verb, by)
    return new


# the APIs ------------------------------------------------------------------------------------------------------


def _shown(site: Site, row: Row) -> dict[str, Any]:
    """Return a receipt as an answer has it: its id is a text here (2.3)."""
    shown = {"id": str(row.id), **row.body}
    if site.dials.unknown_enums:
        shown["verifyState"] = 9
    return dict(digits(shown))


def _save(site: Site, body: Body) -> Json:
    data = body.get("data")
    if not isinstance(data, dict):
        raise CodeError("310008", "参数校验失败，参数[data]是必填的。")
    if (known := site.repeated(data)) is not None:
        return _shown(site, known)
    system, code = data.get("extSystemCode"), data.get("extVouchCode")
    if system and not code:
        raise CodeError("999", "外部单据编码不允许为空!")
    twin = site.books.where(RECEIPT, extSystemCode=system, extVouchCode=code) if code else []
    if twin and site.dials.ext_duplicate == "existing":
        return _shown(site, twin[0])
    if twin:
        raise CodeError("999", "外部单据编码重复!")  # UNCONFIRMED: local words
    return _shown(site, new_receipt(site, data, "api"))


def _save_and_submit(site: Site, body: Body) -> Json:
    saved = _save(site, body)
    row = site.books.get(RECEIPT, saved["id"])
    moved = move(site, row, "submit", "api") if row is not None and row.body["verifyState"] == 0 else row
    return _shown(site, moved) if moved is not None else saved


def _moving(verb: str) -> Callable[[Site, Body], Json]:
    def run(site: Site, body: Body) -> Json:
        data = body.get("data")
        if not isinstance(data, dict):
            raise CodeError("310008", "参数校验失败，参数[data]是必填的。")
        required(data, "id")
        row = site.books.get(RECEIPT, data["id"])
        if row is None:
            raise UNKNOWN_ID.get(verb, CodeError("1002"))
        move(site, row, verb, "api")
        return {"id": str(row.id) if not site.dials.foreign_row else str(row.id + 777)}

    return run


def _detail(site: Site, query: Body) -> Json:
    required(query, "id")
    row = site.books.get(RECEIPT, query["id"])
    if row is None:
        raise CodeError("999", "当前单据被删除或没有权限")
    shown = _shown(site, row)
    return shown | {"id": str(row.id + 777)} if site.dials.foreign_row else shown


def _list(site: Site, body: Body) -> Json:
    simple = body.get("simple") or {}
    rows = [row for row in site.books.rows(RECEIPT) if _fits(row, body, simple)]
    rows = ordered(rows, body, site.dials)
    listed = [
        flat
        for row in rows
        for flat in ([_header(site, row)] if body.get("isSum") is True else _flat(site, row))
    ]
    found, number, size = one_page(listed, body, site.dials, largest=500)
    return {
        "pageIndex": number,
        "pageSize": size,
        "recordCount": len(listed),
        "recordList": found,
        "sumRecordList": [],
    }


def _fits(row: Row, body: Body, simple: Body) -> bool:
    named = {
        name: body[name] for name in ("code", "extSystemCode", "extVouchCode") if body.get(name) is not None
    }
    lists = {name: body[name] for name in ("verifyState", "objectType") if body.get(name)}
    customer = simple.get("customer.code")
    return (
        all(row.body.get(name) == value for name, value in named.items())
        and all(str(row.body.get(name)) in map(str, values) for name, values in lists.items())
        and str(simple.get("open_pubts_begin") or "") <= str(row.body["pubts"])
        and str(row.body["pubts"]) <= str(simple.get("open_pubts_end") or "9")
        and (customer is None or row.body.get("customerCode") == customer)
    )


def _header(site: Site, row: Row) -> dict[str, Any]:
    return {
        name: value for name, value in _shown(site, row).items() if name not in ("bodyItem", "customerCode")
    }


def _flat(site: Site, row: Row) -> list[dict[str, Any]]:
    """Return header × line: the header repeats once per line, under names of a habit of their own (2.0)."""
    lines = []
    for line in digits(row.body["bodyItem"]):
        named = {
            LINE_NAMES.get(name) or f"bodyItem{name[0].upper()}{name[1:]}": value
            for name, value in line.items()
        }
        named |= {"bodyItemCustomer": row.body.get("customerCode"), "bodyItemPubts": row.body["pubts"]}
        head = {
            n: v
            for n, v in _header(site, row).items()
            if n not in ("oriTaxIncludedAmount", "localTaxIncludedAmount")
        }
        lines.append(head | named)
    return lines


COLLECTION: Mapping[str, Callable[[Site, Any], Json]] = {
    "EFI/collection/save": _save,
    "EFI/collection/saveandsubmit": _save_and_submit,
    "EFI/collection/list": _list,
    "EFI/collection/detail": _detail,
    **{f"EFI/collection/{verb}": _moving(verb) for verb in MOVES},
}
"""Path behind ``/yonbip/`` -> what it does."""
