"""The vendor's own users at the screen: they seed, edit and move objects without the API's keys and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from connectors.yonyou.sandbox.answers import CodeError
from connectors.yonyou.sandbox.books import BASE_DATA, CUSTOMER, OLDER, PERIOD, RECEIPT, Row
from connectors.yonyou.sandbox.merchants import change, new_customer, stop_one, tell
from connectors.yonyou.sandbox.receipts import move, new_receipt
from connectors.yonyou.sandbox.receivebill import act_older, new_older
from connectors.yonyou.sandbox.site import Site
from hub.sdk.sandbox import Json

__all__ = ["Desk"]

Fields: TypeAlias = Mapping[str, Any]
NEW: Mapping[str, Callable[..., Row]] = {CUSTOMER: new_customer, RECEIPT: new_receipt, OLDER: new_older}


class Desk:
    """Everything here raises CodeError with the vendor's text when it cannot be done."""

    def __init__(self, site: Site) -> None:
        """Work on a tenant."""
        self._site = site

    def objects(self, form: str) -> list[dict[str, Json]]:
        """Return all objects of a form."""
        return [{"id": row.id, **row.body} for row in self._site.books.rows(_form(form))]

    def seed(self, form: str, fields: Fields, *, silent: bool = True) -> dict[str, Json]:
        """Put an object there as if it had always been; ``silent``: no event tells of it."""
        row = NEW[_form(form)](
            self._site, fields, "seed" if silent else "user", "seed" if silent else "create"
        )
        if form == CUSTOMER and not silent:
            tell(self._site, "INSERT", row)
        return {"id": row.id, **row.body}

    def edit(self, form: str, row_id: str, fields: Fields) -> dict[str, Json]:
        """Change fields as a user does on the screen, a receipt's too."""
        row = self.find(form, row_id)
        if form == CUSTOMER:
            row = change(self._site, row, fields, "user")
            tell(self._site, "UPDATE", row)
        else:
            row = row.clone()
            row.body |= fields
            self._site.books.put(row, "edit", "user")
        return {"id": row.id, **row.body}

    def act(self, form: str, row_id: str, verb: str) -> dict[str, Json]:
        """Submit, audit, unsubmit, unaudit, delete; stop, unstop, delete for a customer."""
        row: Row | None = self.find(form, row_id)
        assert row is not None
        if form == CUSTOMER:
            row = self._of_customer(row, verb)
        elif form == RECEIPT and verb in ("submit", "audit", "unsubmit", "unaudit", "delete"):
            row = move(self._site, row, verb, "user")
        elif form == OLDER and verb in ("audit", "unaudit", "delete"):
            row = act_older(self._site, row, verb, "user")
        else:
            raise CodeError("1001", f"操作{verb[:20]}不存在")
        return {} if row is None else {"id": row.id, **row.body}

    def _of_customer(self, row: Row, verb: str) -> Row | None:
        if verb in ("stop", "unstop"):
            return stop_one(self._site, row, verb == "stop", "user")
        if verb != "delete":
            raise CodeError("1001", f"操作{verb[:20]}不存在")
        self._site.books.drop(row, "delete", "user")
        tell(self._site, "DELETE", row)
        return None

    def period(self, org: str, month: str, *, closed: bool) -> None:
        """Close or open an accounting month of an organisation."""
        if org not in BASE_DATA["org"]:
            raise CodeError("1002", "所属组织不存在")
        books, code = self._site.books, f"{org}:{month}"
        found = books.where(PERIOD, code=code)
        if closed and not found:
            books.put(Row(PERIOD, books.new_id(), {"code": code}), "close_period", "user")
        for row in [] if closed else found:
            books.drop(row, "open_period", "user")

    def find(self, form: str, row_id: str) -> Row:
        """Return the object with this id, or with this code. Raises CodeError 1002."""
        books = self._site.books
        row = books.get(_form(form), row_id) or next(iter(books.where(form, code=row_id)), None)
        if row is None:
            raise CodeError("1002")
        return row


def _form(form: str) -> str:
    if form not in NEW:
        raise CodeError("1001", f"没有{form[:20]}; 有 {', '.join(NEW)}")
    return form
