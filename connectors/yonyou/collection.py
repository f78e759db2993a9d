"""Receipts of the new finance: `EFI/collection` (2.3 a). Insert only, one document a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.yonyou.client import YonyouClient
from connectors.yonyou.lists import foreign, paged
from connectors.yonyou.objects import LINES
from connectors.yonyou.shape import id_of

__all__ = ["Collection"]

PREFIX = "/yonbip/EFI/collection"
BY_ID = [{"field": "id", "order": "asc"}]
"""An order that a change does not move (2.0, queryOrders)."""

Row = Mapping[str, Any]


class Collection:
    """The calls; rows come back with the names of this generation, which are ours."""

    name = "collection"
    skipped: frozenset[str] = frozenset()
    """Steps this generation has no call for."""

    def __init__(self, client: YonyouClient, settings: Mapping[str, Any]) -> None:
        """Take checked settings."""
        self._client = client
        self._system: str = settings["ext_system_code"]

    async def save(self, model: Mapping[str, Any], our_key: str, key: str, *, deadline: float) -> Row:
        """Insert. ``our_key``: the external code it is found by; ``key``: the one-hour key. Raises RemoteError."""
        lines = [
            {**line, "extRowNo": line.get("extRowNo") or str(number), "_status": "Insert"}
            for number, line in enumerate(model.get(LINES) or [], start=1)
        ]
        data = {
            "resubmitCheckKey": key, **model, "extSystemCode": self._system, "extVouchCode": our_key,
            "_status": "Insert", LINES: lines,
        }  # fmt: skip
        answer = await self._client.write(f"{PREFIX}/save", {"data": data}, deadline=deadline)
        row = _row(answer)
        if row.get("extVouchCode") not in (None, "", our_key):
            raise foreign(our_key, row.get("extVouchCode"), "a saved receipt")
        return row

    async def act(self, step: str, one: str, *, deadline: float) -> None:
        """Submit, audit, unsubmit, unaudit or delete. Raises RemoteError, IntegrityError."""
        row = _row(await self._client.write(f"{PREFIX}/{step}", {"data": {"id": one}}, deadline=deadline))
        if id_of(row.get("id")) not in ("", one):
            raise foreign(one, row.get("id"), f"{step} of a receipt")

    async def detail(self, one: str) -> Row:
        """Return one receipt with its lines. Raises Refused (not found: deleted, or no permission)."""
        row = _row(await self._client.read(f"{PREFIX}/detail", id=one))
        if id_of(row.get("id")) != one:
            raise foreign(one, row.get("id"), "a receipt")
        return row

    async def by_key(self, our_key: str) -> list[Row]:
        """Return the headers under our external code."""
        asked = {"extSystemCode": self._system, "extVouchCode": our_key}
        rows = await self._listed({"pageIndex": 1, "pageSize": 10, "isSum": True, **asked})
        for row in rows[0]:
            if row.get("extVouchCode") not in (None, our_key):
                raise foreign(our_key, row.get("extVouchCode"), "a receipt by its external code")
        return rows[0]

    async def by_code(self, code: str) -> list[Row]:
        """Return the headers under the vendor's own number."""
        return (await self._listed({"pageIndex": 1, "pageSize": 10, "isSum": True, "code": code}))[0]

    async def changed(self, since: str, page: int, size: int) -> tuple[list[Row], int]:
        """Return a page of headers changed at ``since`` or later, and the count of all."""
        asked = {"pageIndex": page, "pageSize": size, "isSum": True, "queryOrders": BY_ID}
        return await self._listed({**asked, "simple": {"open_pubts_begin": since}})

    async def _listed(self, asked: Mapping[str, Any]) -> tuple[list[Row], int]:
        rows, total = paged(await self._client.read(f"{PREFIX}/list", dict(asked)), "receipts")
        return list(rows), total


def _row(answer: Mapping[str, Any]) -> Row:
    data = answer.get("data")
    return data if isinstance(data, dict) else {}
