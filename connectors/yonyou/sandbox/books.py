"""The rows of the tenant: customers, receipts of both generations, closed months, and the keys that made them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hub.sdk.sandbox import SECOND, Effect, EffectLedger, Json

__all__ = ["AMOUNTS", "BASE_DATA", "CUSTOMER", "OLDER", "PERIOD", "RECEIPT", "Books", "Row", "digits"]

CUSTOMER, RECEIPT, OLDER, PERIOD = "customer", "receipt", "receivebill", "period"
FIRST_ID = 1_500_000_000_000_000_000
"""Ids have 19 digits (2.0): who reads them as floats loses some."""
ZONE = timedelta(hours=8)
AMOUNTS = frozenset((
    "oriTaxIncludedAmount", "localTaxIncludedAmount", "exchangeRate", "exchRate", "oriSum", "natSum", "balance",
    "bodyItemOriTaxIncludedAmount", "bodyItemLocalTaxIncludedAmount", "taxRate",
))  # fmt: skip
"""Kept as texts, written as JSON numbers."""

BASE_DATA: Mapping[str, Mapping[str, str]] = {
    "org": {"ORG001": "示例科技（北京）有限公司", "ORG002": "示例科技（天津）有限公司"},
    "customerClass": {"01": "企业客户", "02": "个人客户"},
    "transType": {"SYCSR001": "一般客户"},
    "currency": {"CNY": "人民币", "USD": "美元", "EUR": "欧元", "HKD": "港元"},
    "settleMode": {"system_0001": "银行转账", "system_0002": "现金"},
    "bustype": {"ar_colsale": "销售收款", "ar_colproj": "项目收款"},
    "rateType": {"01": "基准汇率"},
    "quickType": {"1": "预收款", "2": "应收款"},
    "country": {"CN": "中国"},
}
"""Tenant data by code; its values are illustrations (2.1, 2.3)."""


def digits(value: Json) -> Json:
    """Return a value with its amounts as decimals, ready to be written as numbers."""
    if isinstance(value, Mapping):
        return {
            name: Decimal(inner) if name in AMOUNTS and isinstance(inner, str) else digits(inner)
            for name, inner in value.items()
        }
    return [digits(one) for one in value] if isinstance(value, list) else value


@dataclass(slots=True)
class Row:
    """One stored object. ``key``: the resubmitCheckKey that made it, ``made``: when (µs)."""

    form: str
    id: int
    body: dict[str, Json] = field(default_factory=dict)
    key: str = ""
    made: int = 0

    def clone(self) -> Row:
        """Return an independent copy, to be changed and then put back."""
        return copy.deepcopy(self)


class Books:
    """All rows of the tenant; ``put`` and ``drop`` alone change them, and both leave an effect."""

    def __init__(self, ledger: EffectLedger, now: Callable[[], int]) -> None:
        """Take the ledger the effects go to and the clock (µs)."""
        self._ledger = ledger
        self.now = now
        self._rows: dict[str, dict[int, Row]] = {}
        self._next = FIRST_ID
        self._numbers = 0
        self.keys: dict[str, Row] = {}
        """resubmitCheckKey -> the row it made, as it was then; a row's later fate changes no answer."""

    def time(self) -> str:
        """Return the tenant's local time as it writes it: UTC+8, whole seconds (2.0)."""
        moment = datetime.fromtimestamp(self.now() // SECOND, UTC).replace(tzinfo=None) + ZONE
        return moment.isoformat(" ", "seconds")

    def new_id(self) -> int:
        """Return a fresh id."""
        self._next += 1
        return self._next

    def new_number(self, prefix: str) -> str:
        """Return the next number by the tenant's numbering rule."""
        self._numbers += 1
        return f"{prefix}{self.time()[2:10].replace('-', '')}{self._numbers:06d}"

    def rows(self, form: str) -> Iterator[Row]:
        """Run over the rows of a form by id."""
        return iter(list(self._rows.get(form, {}).values()))

    def get(self, form: str, row_id: int | str | None) -> Row | None:
        """Return the row with this id, given as a number or as a text."""
        text = str(row_id)
        return self._rows.get(form, {}).get(int(text)) if text.isascii() and text.isdigit() else None

    def where(self, form: str, **values: Json) -> list[Row]:
        """Return the rows of a form with these values, by id."""
        return [
            row
            for row in self.rows(form)
            if all(row.body.get(name) == value for name, value in values.items())
        ]

    def closed(self, org: str, day: str) -> bool:
        """Tell whether the month of ``day`` (ISO text) is closed for an org."""
        return bool(self.where(PERIOD, code=f"{org}:{day[:7]}"))

    def put(self, row: Row, verb: str, by: str) -> None:
        """Store a row as it now is, its ``pubts`` moved, and record the effect."""
        row.body = _storable(row.body) | {"pubts": self.time()}
        self._store(row)
        self._record(verb, row, by, asdict(row))

    def drop(self, row: Row, verb: str, by: str) -> None:
        """Remove a row and record the effect."""
        self._rows.get(row.form, {}).pop(row.id, None)
        self._record(verb, row, by, None)

    def replay(self, effect: Effect) -> None:
        """Apply an effect of the journal again, without recording it."""
        if effect.after is None:
            self._rows.get(effect.form, {}).pop(int(effect.id), None)
        else:
            self._store(Row(**effect.after))

    def _store(self, row: Row) -> None:
        self._rows.setdefault(row.form, {})[row.id] = row
        self._next = max(self._next, row.id, *_line_ids(row))
        tail = str(row.body.get("code", ""))[-6:]
        self._numbers = max(self._numbers, int(tail) if tail.isascii() and tail.isdigit() else 0)
        if row.key and row.key not in self.keys:
            self.keys[row.key] = row.clone()

    def _record(self, verb: str, row: Row, by: str, after: Json) -> None:
        fields = {name: value for name, value in row.body.items() if name != "pubts"}
        self._ledger.record(
            verb, row.form, at=self.now(), key=row.id, number=str(row.body.get("code", "")), by=by, fields=fields,
            after=after,
        )  # fmt: skip


def _line_ids(row: Row) -> Iterator[int]:
    for value in row.body.values():
        if isinstance(value, list):
            for line in value:
                if isinstance(line, dict):
                    yield int(line.get("id") or 0)


def _storable(value: Json) -> Json:
    """Return a value with its decimals as texts, as the journal keeps them."""
    if isinstance(value, Mapping):
        return {name: _storable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return format(value, "f") if isinstance(value, Decimal) else value
