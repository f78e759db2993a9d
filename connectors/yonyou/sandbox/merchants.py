"""Customers 客户档案 (2.1): the idempotent insert, the update without a key, three lists, stop, allocation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.books import BASE_DATA, CUSTOMER, Row
from connectors.yonyou.sandbox.site import Site, batch, field_of, one_page, ordered, required
from hub.sdk.sandbox import Json

__all__ = ["MERCHANTS", "change", "made", "new_customer", "stop_one", "tell"]

Body: TypeAlias = Mapping[str, Any]
HEAD = frozenset((
    "id", "resubmitCheckKey", "code", "name", "createOrgCode", "belongOrgCode", "transTypeCode", "shortname", "countryCode",
    "countryName", "customerClassCode", "customerIndustryCode", "parentCustomerCode", "enterpriseNature", "enterpriseName",
    "personName", "orgName", "licenseType", "creditCode", "contactName", "contactTel", "address", "regionCode", "email", "fax",
    "blank", "merchantAppliedDetail", "merchantRole", "merchantsManager",
))  # fmt: skip
TABLES: Mapping[str, frozenset[str]] = {
    name: frozenset(("id", "entityStatus", *fields.split()))
    for name, fields in {
        "merchantAddressInfos": "addressCode address regionCode receiver mobile telePhone email zipCode remarks stopStatus isDefault",
        "merchantContactInfos": "fullName gender positionName areaCodeMobile mobile telePhone email qq weChat remarks isDefault",
        "merchantAgentFinancialInfos": "currencyName accountType bankName openBankName bankAccount bankAccountName jointLineNo isDefault",
        "merchantAgentInvoiceInfos": "bdBillingTypeName bdBillingTypeCode title taxNo receievInvoiceMobile receievInvoiceEmail isDefault",
        "merchantApplyRanges": "orgIdCode orgId",
        "customerAreas": "saleAreaIdCode isDefault",
        "principals": "specialManagementDepCode professSalesmanCode isDefault",
        "invoicingCustomers": "invoicingCustomersIdCode isDefault",
    }.items()
}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "merchantAddressInfos": ("addressCode", "address", "isDefault"),
    "merchantContactInfos": ("fullName", "isDefault"),
    "merchantAgentFinancialInfos": (
        "currencyName", "accountType", "bankName", "openBankName", "bankAccount", "bankAccountName", "isDefault",
    ),
    "merchantAgentInvoiceInfos": ("title", "isDefault"),
}  # fmt: skip
NAMES = HEAD | TABLES.keys()
LONGEST_NAME = 200
FILTERS = ("id", "code", "createOrgCode", "customerClassCode", "creditCode")
_REGION = re.compile(r"\d{12}")


def made(row: Row) -> Json:
    """Return what an insert answers: an array of one (2.1)."""
    return [{"id": row.id, "code": row.body["code"]}]


def tell(site: Site, word: str, row: Row) -> None:
    """Let subscribers know."""
    name = field_of(row.body, "name", "simplifiedName")
    content: dict[str, Json] = {"id": row.id, "code": row.body["code"], "name": {"zh_CN": name}}
    site.emit(f"YXYBASEDOC_AA_MERCHANT_{word}", content)


def new_customer(site: Site, data: Body, by: str, verb: str = "create") -> Row:
    """Put a customer there. Raises CodeError."""
    required(data, "code", "createOrgCode")
    _check_name(data.get("name"))
    _check(site, data)
    if site.books.where(CUSTOMER, code=data["code"]):
        raise CodeError("0", f"客户编码[{data['code']}]重复!", number=True)  # UNCONFIRMED: local words
    key = str(data.get("resubmitCheckKey") or "")
    row = Row(CUSTOMER, site.books.new_id(), {}, key, site.books.now())
    row.body = {
        name: value for name, value in data.items() if name not in TABLES and name != "resubmitCheckKey"
    }
    for table in TABLES:
        row.body[table] = [
            {"id": site.books.new_id(), **{k: v for k, v in line.items() if k != "entityStatus"}}
            for line in _lines(site, data, table)
        ]
    ranges = row.body["merchantApplyRanges"]
    if data["createOrgCode"] not in [one["orgIdCode"] for one in ranges]:
        ranges.append({"id": site.books.new_id(), "orgIdCode": data["createOrgCode"]})
    row.body |= {"stopStatus": False, "createTime": site.books.time(), "modifyTime": site.books.time()}
    site.books.put(row, verb, by)
    return row


def change(site: Site, row: Row, data: Body, by: str) -> Row:
    """Change the named fields of a customer; a null overwrites (2.0). Raises CodeError."""
    _check(site, data)
    if data.get("code") and any(one.id != row.id for one in site.books.where(CUSTOMER, code=data["code"])):
        raise CodeError("0", f"客户编码[{data['code']}]重复!", number=True)
    new = row.clone()
    if data.get("blank") is True:
        kept = {"code", "stopStatus", "createTime", *TABLES}
        new.body = {name: value for name, value in new.body.items() if name in kept}
    for name, value in data.items():
        if name in TABLES:
            new.body[name] = _merged(site, new.body.get(name) or [], _lines(site, data, name, update=True))
        elif name not in ("id", "blank"):
            new.body[name] = value
    new.body["modifyTime"] = site.books.time()
    site.books.put(new, "update", by)
    return new


def _check_name(name: Json) -> None:
    text = field_of(name, "simplifiedName")
    if not isinstance(text, str) or not text.strip():
        raise CodeError("0", "客户名称不能为空!", number=True)
    if len(text) > LONGEST_NAME:
        raise CodeError("0", f"客户名称长度不能超过{LONGEST_NAME}!", number=True)  # local words


def _check(site: Site, data: Body) -> None:
    site.strict(data, NAMES, "客户")
    if "name" in data:
        _check_name(data["name"])
    for name, kind, label in (
        ("createOrgCode", "org", "管理组织"), ("customerClassCode", "customerClass", "客户分类"),
        ("transTypeCode", "transType", "客户类型"), ("countryCode", "country", "国家"),
    ):  # fmt: skip
        if data.get(name) is not None:
            site.known(kind, data[name], label)
    if data.get("enterpriseNature") not in (None, 0, 1, 2):
        raise CodeError("310023", "参数[enterpriseNature]类型不正确")
    if data.get("regionCode") and not _REGION.fullmatch(str(data["regionCode"])):
        raise CodeError("1001", "行政区划编码不正确")


def _lines(site: Site, data: Body, table: str, *, update: bool = False) -> list[dict[str, Any]]:
    lines = data.get(table) or []
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise CodeError("310023", f"参数[{table}]类型不正确")
    kept = []
    for line in lines:
        site.strict(line, TABLES[table], table)
        status = line.get("entityStatus")
        if update and status not in ("Insert", "Update", "Delete"):
            if site.dials.child_status == "refuse":
                raise CodeError("999", f"服务端逻辑异常: {table}的entityStatus不正确")
            continue
        if status != "Delete":
            required(line, *(() if status == "Update" else NEEDED.get(table, ())))
        if table == "merchantApplyRanges":
            site.known("org", line.get("orgIdCode"), "适用组织")
        kept.append(line)
    return kept


def _merged(site: Site, old: list[dict[str, Any]], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = {row["id"]: dict(row) for row in old}
    for line in lines:
        given = {name: value for name, value in line.items() if name not in ("id", "entityStatus")}
        if line["entityStatus"] == "Insert":
            fresh = site.books.new_id()
            rows[fresh] = {"id": fresh, **given}
        elif line.get("id") not in rows:
            raise CodeError("1002")
        elif line["entityStatus"] == "Delete":
            del rows[line["id"]]
        else:
            rows[line["id"]] |= given
    return list(rows.values())


# the APIs ------------------------------------------------------------------------------------------------------


def _insert(site: Site, body: Body) -> Json:
    data = body.get("data")
    if not isinstance(data, dict):
        raise CodeError("310008", "参数校验失败，参数[data]是必填的。")
    if (known := site.repeated(data)) is not None:
        return made(known)
    row = new_customer(site, data, "api")
    tell(site, "INSERT", row)
    return made(row)


def _update(site: Site, body: Body) -> Json:
    if not body.get("id"):
        required(body, "code")
    row = _named(site, body, "id", "code")
    required(body, "createOrgCode")
    if body.get("enterpriseNature") is None:
        required(body, "enterpriseNature")
    _check_name(body.get("name"))
    changed = change(site, row, body, "api")
    tell(site, "UPDATE", changed)
    return made(changed)


def _named(site: Site, asked: Body, by_id: str, by_code: str) -> Row:
    """Return the customer somebody names; the first name given wins. Raises CodeError 1002."""
    if asked.get(by_id):
        row = site.books.get(CUSTOMER, asked[by_id])
    else:
        row = next(iter(site.books.where(CUSTOMER, code=asked.get(by_code))), None)
    if row is None:
        raise CodeError("1002")
    return row


def _matching(site: Site, body: Body) -> list[Row]:
    found = [
        row
        for row in site.books.rows(CUSTOMER)
        if all(
            str(_shown(site, row).get(name)) == str(body[name])
            for name in FILTERS
            if body.get(name) is not None
        )
        and (not body.get("pubts") or str(row.body["pubts"]) >= str(body["pubts"]))
        and (body.get("name") is None or field_of(row.body, "name", "simplifiedName") == body["name"])
        and str(body.get("fuzzyName") or "") in str(field_of(row.body, "name", "simplifiedName"))
    ]
    return ordered(found, body, site.dials)


def _shown(site: Site, row: Row) -> dict[str, Json]:
    shown = {name: value for name, value in row.body.items() if name not in TABLES}
    shown = {"id": row.id, "belongOrgCode": row.body["createOrgCode"], **shown}
    if row.body.get("countryCode"):
        shown["countryName"] = BASE_DATA["country"].get(str(row.body["countryCode"]))
    if site.dials.unknown_enums:
        shown["taxPayingCategories"] = 77
    return shown


def _newlist(site: Site, body: Body) -> Json:
    found, _, _ = one_page(_matching(site, body), body, site.dials, largest=5000)
    if site.dials.foreign_row and body.get("code"):
        return [_shown(site, row) | {"code": "SOMEBODY-ELSE"} for row in site.books.rows(CUSTOMER)][:1]
    return [_shown(site, row) for row in found]


def _newlistrange(site: Site, body: Body) -> Json:
    rows = _matching(site, body)
    found, number, size = one_page(rows, body, site.dials, largest=5000)
    counts = {
        "pageIndex": number,
        "pageSize": size,
        "pageCount": -(-len(rows) // size),
        "recordCount": len(rows),
    }
    listed = [
        _shown(site, row) | {"merchantApplyRanges": row.body.get("merchantApplyRanges") or []}
        for row in found
    ]
    if site.dials.foreign_row and body.get("createOrgCode"):
        listed = [row | {"createOrgCode": "ORG999"} for row in listed]
    return {**{name: str(count) for name, count in counts.items()}, "recordList": listed}


def _details(site: Site, body: Json) -> Json:
    if not isinstance(body, list) or not all(isinstance(one, dict) for one in body):
        raise CodeError("310023", "请求体必须是数组")
    found = []
    for one in body:
        try:
            row = _named(site, one, "id", "code")
        except CodeError:
            continue  # UNCONFIRMED: left out here
        found.append(_shown(site, row) | {table: row.body.get(table) or [] for table in TABLES})
    if site.dials.foreign_row:
        return [row | {"id": int(str(row["id"])) + 777} for row in found]
    return found


def _each(body: Body, act: Callable[[dict[str, Any]], int]) -> Json:
    rows = body.get("data")
    if not isinstance(rows, list):
        raise CodeError("310008", "参数校验失败，参数[data]是必填的。")
    results: list[tuple[int, str | None]] = []
    for one in rows:
        try:
            results.append((act(one), None))
        except CodeError as error:
            results.append((0, str(error)))
    return batch(results)


def _stopping(stop: bool) -> Callable[[Site, Body], Json]:
    def run(site: Site, body: Body) -> Json:
        def one(asked: dict[str, Any]) -> int:
            first = ("", "merchantCode") if asked.get("merchantCode") else ("merchantId", "")
            row = _named(site, asked, *first)  # the code wins here, unlike everywhere else (2.1)
            return stop_one(site, row, stop, "api").id

        return _each(body, one)

    return run


def stop_one(site: Site, row: Row, stop: bool, by: str) -> Row:
    """Stop a customer or take it into use again."""
    new = row.clone()
    new.body |= {"stopStatus": stop, "modifyTime": site.books.time()}
    site.books.put(new, "stop" if stop else "unstop", by)
    tell(site, "BATCH_STOP" if stop else "BATCH_UNSTOP", new)
    return new


def _allocate(site: Site, body: Body) -> Json:
    def one(asked: dict[str, Any]) -> int:
        row = _named(site, asked, "merchantId", "merchantCode").clone()
        for org in asked.get("orgIds") or []:
            site.known("org", org, "使用组织")
            if org not in [line["orgIdCode"] for line in row.body["merchantApplyRanges"]]:
                row.body["merchantApplyRanges"].append({"id": site.books.new_id(), "orgIdCode": org})
        site.books.put(row, "allocate", "api")
        tell(site, "ALLOCATEORG", row)
        return row.id

    return _each(body, one)


MERCHANTS: Mapping[str, Callable[[Site, Any], Json]] = {
    "digitalModel/merchant/newlist": _newlist,
    "digitalModel/merchant/newlistrange": _newlistrange,
    "digitalModel/merchant/newBatchDetail": _details,
    "digitalModel/merchant/idempotent/newinsert": _insert,
    "digitalModel/merchant/newupdate": _update,
    "digitalModel/merchant/stop": _stopping(stop=True),
    "digitalModel/merchant/unstop": _stopping(stop=False),
    "digitalModel/merchant/batchDo": _allocate,
}
"""Path behind ``/yonbip/`` -> what it does. ``newinsert_copy``, a doc trap, is not among them (2.1)."""
