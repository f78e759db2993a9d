"""The vendor's own user at the screen: seeds, edits and moves objects without the API's rules."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.kingdee.sandbox.answers import RefusalError
from connectors.kingdee.sandbox.books import PERIODS, Actor, Books, Row
from connectors.kingdee.sandbox.forms import SEED_DEFAULTS
from connectors.kingdee.sandbox.lifecycle import MOVES, move
from connectors.kingdee.sandbox.metadata import Form
from connectors.kingdee.sandbox.query import known_form
from connectors.kingdee.sandbox.saving import Rules, Saving
from hub.sdk.sandbox import Json

__all__ = ["Desk"]

Fields = Mapping[str, Json]
SEEDING = Rules(
    verify=True, validate=False, any_status=True, strict_fields=True, delete_rows=False, reorder=True
)


class Desk:
    """Everything here raises RefusalError with the vendor's text when it cannot be done."""

    def __init__(self, books: Books) -> None:
        """Work on ``books``."""
        self._books = books

    def seed(self, form: str, fields: Fields, status: str = "C") -> dict[str, Json]:
        """Put an object there as if it had always been: unchecked but for references, keys and numbers."""
        known = known_form(form)
        defaults = SEED_DEFAULTS.get(known.id, {})
        given = {key.upper() for key in fields}
        model = {key: value for key, value in defaults.items() if key.upper() not in given} | dict(fields)
        row = self._save(known, model, Actor("Administrator", by="seed")).clone()
        if status not in ("Z", "A", "B", "C", "D"):
            raise RefusalError(f"单据状态“{status[:10]}”不存在", 8)
        row.head["FDocumentStatus"] = status
        self._books.put(row, "seed", "seed")
        return self._books.readable(row)

    def edit(
        self, form: str, key: str | int, fields: Fields, *, user: str = "zhangsan", org: str = ""
    ) -> dict[str, Json]:
        """Change fields as a user does on the screen, whatever the status; FModifyDate moves."""
        known = known_form(form)
        row = self.find(known, key, org)
        saved = self._save(
            known, {known.pk: row.id, **fields}, Actor(user, self._books.org_of(row), by="user")
        )
        return self._books.readable(saved)

    def act(
        self, form: str, key: str | int, verb: str, *, user: str = "zhangsan", org: str = ""
    ) -> dict[str, Json]:
        """Submit, audit, unaudit, cancelassign, delete, forbid, enable or cancel as a user."""
        known = known_form(form)
        if verb not in MOVES:
            raise RefusalError(f"操作“{verb[:50]}”不存在", 8)
        row = self.find(known, key, org)
        actor = Actor(user, self._books.org_of(row), by="user")
        return self._books.readable(move(self._books, known, row, verb, actor=actor, audit_stamps=True))

    def plant_successor(self, form: str, key: str | int, number: str) -> None:
        """Make a document downstream of this one exist, so that UnAudit is refused."""
        row = self.find(known_form(form), key, "").clone()
        row.successors.append(number)
        self._books.put(row, "successor", "user")

    def close_period(self, org: str, month: str) -> None:
        """Close a month (``2026-01``) of an org; nothing happens when it is closed."""
        if not self._books.closed(org, month):
            self._books.put(
                Row(PERIODS, self._books.new_id(), {"FNumber": f"{org}:{month}"}), "close", "user"
            )

    def open_period(self, org: str, month: str) -> None:
        """Open a closed month again; nothing happens when it is open."""
        for row in list(self._books.rows(PERIODS)):
            if row.head["FNumber"] == f"{org}:{month}":
                self._books.drop(row, "open", "user")

    def objects(self, form: str) -> list[dict[str, Json]]:
        """Return all objects of a form, oldest first, as a person reads them."""
        return [self._books.readable(row) for row in self._books.rows(known_form(form).id)]

    def find(self, form: Form, key: str | int, org: str) -> Row:
        """Return one row by id (int) or number; the first org's copy unless ``org`` says which."""
        if isinstance(key, int):
            one = self._books.get(form.id, key)
            rows = [one] if one is not None else []
        else:
            rows = self._books.having(form, form.number, key)
        for row in rows:
            if org in ("", self._books.org_of(row)):
                return row
        raise RefusalError(f'编码值["{key}"]不存在', 9)

    def _save(self, form: Form, model: Fields, actor: Actor) -> Row:
        saving = Saving(self._books, form, actor, SEEDING)
        row = saving.save(_with_references(form, model))
        if row is None:
            first = saving.troubles[0]
            raise RefusalError(first.message, first.code, first.field)
        return row


def _with_references(form: Form, model: Fields) -> dict[str, Json]:
    """Let references be given as plain numbers."""
    found: dict[str, Json] = {}
    for key, value in model.items():
        field = form.find_field(key)
        if field is not None and field.kind in ("ref", "multi") and isinstance(value, str):
            found[key] = {field.inner: value}
        elif isinstance(value, list):
            found[key] = [_with_references(form, line) if isinstance(line, dict) else line for line in value]
        else:
            found[key] = value
    return found
