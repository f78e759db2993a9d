"""The site's database: rows by form, look-up indexes, numbers, and one effect for every change."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from connectors.kingdee.sandbox.forms import find_form
from connectors.kingdee.sandbox.metadata import Field, Form
from connectors.kingdee.sandbox.site_time import site_time
from hub.sdk.sandbox import Effect, EffectLedger, Json

__all__ = ["PERIODS", "Actor", "Books", "Row"]

PERIODS = "GL_PERIOD"
"""Where closed months are kept: rows numbered ``ORG:YYYY-MM``."""

FIRST_DOCUMENT = 100001
OPENED = "2020-01-01T00:00:00"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: login name, context org, permitted orgs (None: all), ``by`` as in the ledger."""

    user: str
    org: str = "100"
    orgs: frozenset[str] | None = None
    by: str = "api"


@dataclass(slots=True)
class Row:
    """One stored object: head values, rows of its entities, documents made from it.

    References are stored as ids, a multi-class one under the form its type field names.
    """

    form: str
    id: int
    head: dict[str, Json] = field(default_factory=dict)
    lines: dict[str, list[dict[str, Json]]] = field(default_factory=dict)
    successors: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Return FDocumentStatus."""
        return str(self.head.get("FDocumentStatus", ""))

    def clone(self) -> Row:
        """Return an independent copy, to be changed and then put back."""
        return copy.deepcopy(self)


class Books:
    """All rows of the site; ``put`` and ``drop`` alone change them, and both leave an effect."""

    def __init__(self, ledger: EffectLedger, now: Callable[[], int]) -> None:
        """Take the ledger the effects go to and the site's clock (µs)."""
        self._ledger = ledger
        self._now = now
        self._rows: dict[str, dict[int, Row]] = {}
        self._index: dict[tuple[str, str, str], dict[int, None]] = {}
        self._counters: dict[str, int] = {}
        self._next = {False: 1, True: FIRST_DOCUMENT}

    def now(self) -> str:
        """Return the site's local time as text."""
        return site_time(self._now())

    def new_id(self, form: Form | None = None) -> int:
        """Return a fresh id; customers, documents and rows start at 100001, base data at 1."""
        document = form is not None and bool(form.org)
        self._next[document] += 1
        return self._next[document] - 1

    def new_number(self, form: Form) -> str:
        """Return the next free number by the form's numbering rule."""
        while True:
            self._counters[form.id] = self._counters.get(form.id, 0) + 1
            number = f"{form.prefix}{self._counters[form.id]:0{form.digits}d}"
            if not self.having(form, form.number, number):
                return number

    def rows(self, form: str) -> Iterator[Row]:
        """Run over the rows of a form, oldest first."""
        return iter(self._rows.get(form, {}).values())

    def get(self, form: str, row_id: int) -> Row | None:
        """Return the row with this id."""
        return self._rows.get(form, {}).get(row_id)

    def having(self, form: Form, key: str, value: str) -> list[Row]:
        """Return the rows whose indexed field has this value, oldest first."""
        return [self._rows[form.id][row_id] for row_id in sorted(self._index.get((form.id, key, value), ()))]

    def org_of(self, row: Row) -> str:
        """Return the number of the org a row belongs to, "" for shared base data."""
        form = find_form(row.form)
        org = (
            self.get("ORG_Organizations", row.head.get(form.org, 0))
            if form is not None and form.org
            else None
        )
        return str(org.head["FNumber"]) if org is not None else ""

    def visible(self, row: Row, actor: Actor) -> bool:
        """Tell whether the actor's data permission covers a row (9.18)."""
        return actor.orgs is None or self.org_of(row) in actor.orgs or not self.org_of(row)

    def user_id(self, name: str) -> int:
        """Return the id of the user with this login name, 0 when there is none."""
        form = find_form("SEC_User")
        return next((row.id for row in self.having(form, "FNumber", name)), 0) if form is not None else 0

    def closed(self, org: str, day: str) -> bool:
        """Tell whether the month of ``day`` (ISO text) is closed for an org."""
        return any(row.head["FNumber"] == f"{org}:{day[:7]}" for row in self.rows(PERIODS))

    def put(self, row: Row, verb: str, by: str) -> None:
        """Store a row as it now is and record the effect."""
        self._store(row)
        self._record(verb, row, by, asdict(row))

    def preload(self, form: str, number: str, name: str) -> None:
        """Store base data that was always there, audited and enabled: no effect."""
        stamps = {"FForbidStatus": "A", "FDocumentStatus": "C", "FCreateDate": OPENED, "FModifyDate": OPENED}
        self._store(Row(form, self.new_id(), {"FNumber": number, "FName": name, **stamps}))

    def add_user(self, name: str) -> None:
        """Let a user be known by name, once."""
        if not self.user_id(name):
            self.preload("SEC_User", name, name)

    def drop(self, row: Row, verb: str, by: str) -> None:
        """Remove a row and record the effect."""
        self._remove(row.form, row.id)
        self._record(verb, row, by, None)

    def replay(self, effect: Effect) -> None:
        """Apply an effect of the journal again, without recording it."""
        if effect.after is None:
            self._remove(effect.form, int(effect.id))
        else:
            self._store(Row(**effect.after))

    def readable(self, row: Row) -> dict[str, Json]:
        """Return a row as a person reads it: references as numbers, amounts as exact text."""
        form = find_form(row.form)
        if form is None:
            return dict(row.head)
        shown: dict[str, Json] = {form.pk: row.id} | self._read_values(form, row.head, row)
        for key, lines in row.lines.items():
            entity = form.find_entity(key)
            row_id = entity.row_id if entity is not None else "FEntryID"
            shown[key] = [{row_id: line[row_id]} | self._read_values(form, line, row) for line in lines]
        return shown

    def referred(self, form: Form, field: Field, values: dict[str, Json], row: Row) -> Row | None:
        """Return the row a reference field points to."""
        target = field.target if field.kind == "ref" else str(row.head.get(_spelt(form, field.target), ""))
        found = find_form(target)
        return self.get(found.id, values.get(field.key) or 0) if found is not None else None

    def _read_values(self, form: Form, values: dict[str, Json], row: Row) -> dict[str, Json]:
        shown: dict[str, Json] = {}
        for key, value in values.items():
            field = form.find_field(key)
            if field is not None and field.kind in ("ref", "multi"):
                target = self.referred(form, field, values, row)
                shown[key] = target.head.get("FNumber", "") if target is not None else ""
            elif field is not None:
                shown[key] = value
        return shown

    def _store(self, row: Row) -> None:
        self._remove(row.form, row.id, keep_place=True)
        self._rows.setdefault(row.form, {})[row.id] = row
        for used in (row.id, *_line_ids(row)):
            self._next[used >= FIRST_DOCUMENT] = max(self._next[used >= FIRST_DOCUMENT], used + 1)
        form = find_form(row.form)
        if form is None:
            return
        for key in form.indexed:
            self._index.setdefault((form.id, key, str(row.head.get(key, ""))), {})[row.id] = None
        number = str(row.head.get(form.number, ""))
        digits = number.removeprefix(form.prefix)
        if form.prefix and digits != number and digits.isdecimal() and len(digits) == form.digits:
            self._counters[form.id] = max(self._counters.get(form.id, 0), int(digits))

    def _remove(self, form_id: str, row_id: int, *, keep_place: bool = False) -> None:
        old = self.get(form_id, row_id)
        form = find_form(form_id)
        if old is None:
            return
        for key in form.indexed if form is not None else ():
            self._index.get((form_id, key, str(old.head.get(key, ""))), {}).pop(row_id, None)
        if not keep_place:
            del self._rows[form_id][row_id]

    def _record(self, verb: str, row: Row, by: str, after: Json) -> None:
        form = find_form(row.form)
        number = str(row.head.get(form.number if form is not None else "FNumber", ""))
        self._ledger.record(
            verb,
            row.form,
            at=self._now(),
            key=row.id,
            number=number,
            by=by,
            fields=self.readable(row),
            after=after,
        )


def _spelt(form: Form, key: str) -> str:
    field = form.find_field(key)
    return field.key if field is not None else key


def _line_ids(row: Row) -> Iterator[int]:
    for lines in row.lines.values():
        for line in lines:
            yield max((value for key, value in line.items() if key.upper() == "FENTRYID"), default=0)
