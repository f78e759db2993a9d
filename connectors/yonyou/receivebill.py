"""Receipts of the older YonSuite receivables: `fi/receivebill` (2.3 b), behind the setting ``receipts``.

The same receipt under other names. Its number is ours (``code``), for it knows no external code; a submit does not exist;
audits are batches that need the ``pubts`` last seen and answer 200 even when they failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.yonyou.client import YonyouClient
from connectors.yonyou.lists import foreign, paged
from connectors.yonyou.objects import LINES
from connectors.yonyou.shape import id_of, wire_id
from hub.sdk import Cause, Refused

__all__ = ["ReceiveBill"]

PREFIX = "/yonbip/fi/receivebill"
HEAD: Mapping[str, str] = {
    "financeOrgCode": "accentity_code", "billDate": "vouchdate", "bustypeCode": "tradetype_code", "orgCode": "org_code",
    "oriCurrencyCode": "currency", "customerCode": "customer_code", "exchangeRateTypeCode": "exchangeRateType_code",
    "exchangeRate": "exchRate", "settleModeCode": "settlemode_code",
    "enterpriseBankAccountNo": "enterprisebankaccount_code", "enterpriseCashAccountNo": "cashaccount_code",
    "deptCode": "dept_code", "staffCode": "operator_code", "projectCode": "project_code", "orderNo": "orderno",
    "contractNo": "contractno", "remarks": "description",
}  # fmt: skip
"""The new generation's name -> this one's; what is not here does not exist (objectType, exchangeRateDate, …)."""
LINE: Mapping[str, str] = {
    "quickTypeCode": "quickType_code", "materialCode": "material_code", "oriTaxIncludedAmount": "oriSum",
    "localTaxIncludedAmount": "natSum", "customerCode": "customer_code", "orderNo": "orderno",
    "contractNo": "contractno", "remarks": "description",
}  # fmt: skip
AMOUNTS = {"oriTaxIncludedAmount": "oriSum", "localTaxIncludedAmount": "natSum"}
CALLS = {"audit": "batchaudit", "unaudit": "batchunaudit", "delete": "delete"}
STATES = {"0": "0", "1": "2", "2": "2", "3": "1"}
"""Its ``status`` (0 未审核, 1 已审核, 2 已关闭, 3 审核中) -> the new generation's ``verifyState``."""

Row = Mapping[str, Any]


class ReceiveBill:
    """The calls; rows come back with the names of the new generation."""

    name = "receivebill"
    skipped: frozenset[str] = frozenset({"submit", "unsubmit"})

    def __init__(self, client: YonyouClient, settings: Mapping[str, Any]) -> None:  # noqa: ARG002 - as its sibling
        """Take the client."""
        self._client = client

    async def save(self, model: Mapping[str, Any], our_key: str, key: str, *, deadline: float) -> Row:
        """Insert under our number. Raises RemoteError; Refused for a customer that is none (objectType)."""
        if model.get("objectType", "1") != "1":
            message = "the older receivables take receipts of customers alone"
            raise Refused(message, cause=Cause.INVALID, vendor="yonyou", field="objectType")
        lines = [{**_renamed(line, LINE), "_status": "Insert"} for line in model.get(LINES) or []]
        data = {
            "resubmitCheckKey": key, **_renamed(model, HEAD), "code": our_key, "_status": "Insert", "ReceiveBill_b": lines,
            **{theirs: _sum(model.get(LINES) or [], ours) for ours, theirs in AMOUNTS.items()},
        }  # fmt: skip
        data["vouchdate"] = str(data.get("vouchdate", ""))[:10]
        answer = await self._client.write(f"{PREFIX}/single/save", {"data": data}, deadline=deadline)
        row = answer.get("data")
        if not isinstance(row, dict):
            return {}
        if row.get("code") not in (None, "", our_key):
            raise foreign(our_key, row.get("code"), "a saved receipt")
        return _shown(row)

    async def act(self, step: str, one: str, *, deadline: float) -> None:
        """Audit, un-audit or delete. Raises RemoteError: a row of the batch that failed is one."""
        asked: dict[str, Any] = {"id": wire_id(one)}
        if step != "delete":
            asked["pubts"] = str((await self.detail(one)).get("pubts") or "")  # an optimistic lock (6.28)
        await self._client.write(f"{PREFIX}/{CALLS[step]}", {"data": [asked]}, deadline=deadline)

    async def detail(self, one: str) -> Row:
        """Return one receipt with its lines. Raises Refused (not found)."""
        data = (await self._client.read(f"{PREFIX}/detail", id=one)).get("data")
        row = data if isinstance(data, dict) else {}
        if id_of(row.get("id")) != one:
            raise foreign(one, row.get("id"), "a receipt")
        return _shown(row)

    async def by_key(self, our_key: str) -> list[Row]:
        """Return the headers under our number."""
        rows = await self._listed(1, 10, "code", "eq", our_key)
        for row in rows[0]:
            if row.get("code") != our_key:
                raise foreign(our_key, row.get("code"), "a receipt by its number")
        return rows[0]

    by_code = by_key

    async def changed(self, since: str, page: int, size: int) -> tuple[list[Row], int]:
        """Return a page of headers changed at ``since`` or later, and the count of all."""
        return await self._listed(page, size, "pubts", "egt", since)

    async def _listed(self, page: int, size: int, name: str, op: str, value: str) -> tuple[list[Row], int]:
        condition = {"logicOp": "and", "conditions": [{"field": name, "op": op, "value1": value}]}
        asked = {
            "pageIndex": str(page), "pageSize": str(size), "isSum": True, "simpleVOs": [condition],
            "queryOrders": [{"field": "id", "order": "asc"}],
        }  # fmt: skip
        rows, total = paged(await self._client.read(f"{PREFIX}/list/v2", asked), "receipts")
        return [_shown(row) for row in rows], total


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in row.items() if name in names}


def _sum(lines: list[Mapping[str, Any]], name: str) -> Decimal:
    return sum((line[name] for line in lines if name in line), Decimal(0))


def _shown(row: Mapping[str, Any]) -> Row:
    """Return a row under the new generation's names, its status with the new generation's meaning."""
    shown = dict(row)
    shown |= {ours: row[theirs] for ours, theirs in {**HEAD, **AMOUNTS}.items() if theirs in row}
    lines = row.get("ReceiveBill_b")
    if isinstance(lines, list):
        shown[LINES] = [
            {**line, **{ours: line[theirs] for ours, theirs in LINE.items() if theirs in line}}
            for line in lines
            if isinstance(line, dict)
        ]
    shown["extVouchCode"] = row.get("code")
    shown["verifyState"] = STATES.get(str(row.get("status")), row.get("status"))
    return shown
