"""Save, Draft and their options: a model becomes a row, or a list of troubles and no row (2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from connectors.kingdee.sandbox.answers import RefusalError, Trouble
from connectors.kingdee.sandbox.books import Actor, Books, Row
from connectors.kingdee.sandbox.envelope import whole
from connectors.kingdee.sandbox.forms import find_form
from connectors.kingdee.sandbox.metadata import Entity, Field, Form, read_value
from hub.sdk.sandbox import Json

__all__ = ["Rules", "Saving", "check_complete", "check_period"]

Values = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Rules:
    """The options of one Save that change what happens, and the sandbox's own switches."""

    needed: frozenset[str] = frozenset()
    delete_rows: bool = True
    verify: bool = False
    validate: bool = True
    by_number: bool = True
    reorder: bool = False
    draft: bool = False
    any_status: bool = False
    strict_fields: bool = False
    strict_references: bool = False
    unique: Sequence[str] = ()


@dataclass(slots=True)
class Saving:
    """One document on its way into the books; nothing is stored unless ``troubles`` stays empty."""

    books: Books
    form: Form
    actor: Actor
    rules: Rules
    index: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    org: str = ""
    """The org the document belongs to: it decides which copy of a customer a reference finds."""

    def save(self, model: Mapping[str, Json]) -> Row | None:
        """Create or update from ``model`` and return the stored row, None when there were troubles."""
        try:
            row, fresh = self._open(model)
        except RefusalError as refusal:
            self.troubles.append(refusal.at(self.index))
            return None
        try:
            self.org = self._org(row, model)
            for key, value in self._ordered(model):
                self._set_top(row, key, value, fresh=fresh)
            if not fresh and self.rules.delete_rows and not self.rules.needed:
                self._drop_absent(row, model)
            self._complete(row, fresh=fresh)
        except RefusalError as refusal:
            self.troubles.append(refusal.at(self.index))
        if self.troubles:
            return None
        self.books.put(row, "create" if fresh else "update", self.actor.by)
        return row

    def _open(self, model: Mapping[str, Json]) -> tuple[Row, bool]:
        key = next((key for key in model if key.upper() == self.form.pk.upper()), "")
        text = str(model.get(key) or 0)
        if text != "0" and not whole(text):
            raise RefusalError(f"主键“{self.form.pk}”的值“{text[:50]}”格式不正确", 8, self.form.pk)
        if text == "0":
            enabled = {"FForbidStatus": "A"} if self.form.find_field("FForbidStatus") else {}
            return Row(self.form.id, 0, enabled), True
        row = self.books.get(self.form.id, whole(text))
        if row is None or not self.books.visible(row, self.actor):
            raise RefusalError(f"内码值[{text}]对应的数据不存在", 10, self.form.pk)
        self._check_status(row)
        return row.clone(), False

    def _check_status(self, row: Row) -> None:
        if self.rules.any_status:
            return
        if row.status == "C":
            raise RefusalError("单据已审核，不允许修改", 12)
        if row.status == "B":
            raise RefusalError("单据审核中，不允许修改", 12)
        if self.rules.draft and row.status != "Z":
            raise RefusalError("单据已保存，不允许暂存", 12)

    def _ordered(self, model: Mapping[str, Json]) -> list[tuple[str, Json]]:
        items = [
            (str(key), value) for key, value in model.items() if str(key).upper() != self.form.pk.upper()
        ]
        if not self.rules.reorder:
            return items
        places = {item.key.upper(): place for place, item in enumerate(self.form.head)}
        return sorted(items, key=lambda item: places.get(item[0].upper(), len(places)))

    def _set_top(self, row: Row, key: str, value: Json, *, fresh: bool) -> None:
        entity = self.form.find_entity(key)
        if self.rules.needed and not fresh and key.upper() not in self.rules.needed:
            return
        if entity is None:
            self._set(row, row.head, key, value, entity="")
        elif not entity.many:
            for inner, item in (value if isinstance(value, dict) else {}).items():
                if self.rules.needed and not fresh and inner.upper() not in self.rules.needed:
                    continue
                self._set(row, row.head, inner, item, entity=entity.key)
        else:
            self._set_lines(row, entity, value, fresh=fresh)

    def _set(self, row: Row, values: Values, key: str, value: Json, *, entity: str) -> None:
        item = self.form.find_field(key)
        if item is None or item.entity != entity:
            if self.rules.strict_fields:
                raise RefusalError(f"元数据中标识为{key}的字段不存在", 9, key)
            return
        if item.system:
            return  # FDOCUMENTSTATUS in a Model: effect UNCONFIRMED, ignored (3.1)
        if item.kind in ("ref", "multi"):
            values[item.key] = self._reference(row, item, value)
            return
        stored = read_value(item, value)
        if item.options and stored and stored not in item.options:
            raise RefusalError(f"字段“{item.label}”的值“{stored[:50]}”不在取值范围内", 11, item.key)
        if item.kind == "enum" and values.get(item.key) != stored:
            self._forget_dependents(values, item)
        values[item.key] = stored

    def _forget_dependents(self, values: Values, changed: Field) -> None:
        """A new type empties the multi-class reference that depends on it (field order matters, 2.3)."""
        for item in self.form.head:
            if item.kind == "multi" and item.target.upper() == changed.key.upper():
                values.pop(item.key, None)

    def _set_lines(self, row: Row, entity: Entity, value: Json, *, fresh: bool) -> None:
        if not isinstance(value, list):
            raise RefusalError(f"单据体“{entity.label}”不是数组", 8, entity.key)
        stored = {line[entity.row_id]: line for line in row.lines.get(entity.key, [])}
        kept: list[Values] = []
        for raw in value:
            if not isinstance(raw, dict):
                raise RefusalError(f"单据体“{entity.label}”的行不是对象", 8, entity.key)
            kept.append(self._line(row, entity, raw, stored, fresh=fresh))
        sent = {line[entity.row_id] for line in kept}
        rest = [] if self.rules.delete_rows else [line for key, line in stored.items() if key not in sent]
        row.lines[entity.key] = rest + kept

    def _line(
        self, row: Row, entity: Entity, raw: Mapping[str, Json], stored: Mapping[int, Values], *, fresh: bool
    ) -> Values:
        sent = next((value for key, value in raw.items() if key.upper() == entity.row_id.upper()), 0)
        row_id = whole(sent)
        if row_id and row_id not in stored:
            raise RefusalError(f"单据体“{entity.label}”内码值[{row_id}]对应的数据不存在", 10, entity.row_id)
        line = stored[row_id] if row_id else {entity.row_id: self.books.new_id(self.form)}
        for key, value in raw.items():
            skipped = self.rules.needed and not fresh and row_id and key.upper() not in self.rules.needed
            if key.upper() != entity.row_id.upper() and not skipped:
                self._set(row, line, key, value, entity=entity.key)
        return line

    def _drop_absent(self, row: Row, model: Mapping[str, Json]) -> None:
        """IsDeleteEntry, default true: what the request does not carry is deleted, whole entries too."""
        sent = {str(key).upper() for key in model}
        for key in [key for key in row.lines if key.upper() not in sent]:
            del row.lines[key]

    def _reference(self, row: Row, item: Field, value: Json) -> int:
        number, row_id = self._named(item, value)
        if not number and not row_id:
            return 0
        target = self._target(row, item)
        if target is None:
            return 0  # the type stands behind its reference: the value is lost (8.3.13)
        found = self._candidates(target, number, row_id)
        if found:
            return found[0].id
        if self.rules.verify:
            text = f'字段“{item.label}”编码值["{number or row_id}"]不存在'  # wording UNCONFIRMED (3.7)
            self.troubles.append(Trouble(text, 9, item.key, self.index))
        return 0

    def _candidates(self, target: Form, number: str, row_id: int) -> list[Row]:
        if number:
            rows = self.books.having(target, target.number, number)
        else:
            rows = [one for one in (self.books.get(target.id, row_id),) if one is not None]
        return [
            one
            for one in rows
            if one.status == "C"
            and one.head.get("FForbidStatus") == "A"
            and (not target.org or target.id == self.form.id or self.books.org_of(one) == self.org)
        ]

    def _named(self, item: Field, value: Json) -> tuple[str, int]:
        if value in (None, "", {}):
            return "", 0
        if not isinstance(value, dict):
            raise RefusalError(f"字段“{item.label}”的值“{str(value)[:50]}”格式不正确", 8, item.key)
        number, row_id = "", 0
        for key, inner in value.items():
            exact = key == item.inner if self.rules.strict_references else key.upper() == item.inner.upper()
            if exact and self.rules.by_number:
                number = str(inner or "").strip()
            elif key.upper() in ("ID", "FID", "F" + item.key.upper()):
                row_id = whole(inner)
        return number, row_id

    def _target(self, row: Row, item: Field) -> Form | None:
        if item.kind == "ref":
            return find_form(item.target)
        chosen = self.form.find_field(item.target)
        return find_form(str(row.head.get(chosen.key, ""))) if chosen is not None else None

    def _org(self, row: Row, model: Mapping[str, Json]) -> str:
        """Read the org ahead of the walk: in the template it stands behind fields that depend on it."""
        sent = {key.upper(): value for key, value in model.items()}
        for key in filter(None, (self.form.org, "FCreateOrgId")):
            value, item = sent.get(key.upper()), self.form.find_field(key)
            number = self._named(item, value)[0] if item is not None and value else ""
            if number:
                return number
        return self.books.org_of(row) or self.actor.org

    def _complete(self, row: Row, *, fresh: bool) -> None:
        form, rules = self.form, self.rules
        if fresh and "FUseOrgId" in (item.key for item in form.head) and not row.head.get("FUseOrgId"):
            row.head["FUseOrgId"] = row.head.get("FCreateOrgId", 0)
        self._sum_up(row)
        if not self.books.visible(row, self.actor):
            raise RefusalError(f"没有组织“{self.books.org_of(row)}”的“{form.title}”操作权限", 2)
        if rules.validate and not rules.draft and not self.troubles:
            self.troubles += check_complete(form, row, self.index)
            self.troubles += check_period(self.books, form, row, self.index)
        self._check_unique(row)
        if self.troubles:
            return
        if not row.head.get(form.number):
            row.head[form.number] = self.books.new_number(form)
        self._stamp(row, fresh=fresh)

    def _sum_up(self, row: Row) -> None:
        for key, (entity, summed) in self.form.totals.items():
            lines = row.lines.get(entity, [])
            field = self.form.find_field(key)
            if field is not None:
                row.head[key] = read_value(field, sum(Decimal(line.get(summed) or 0) for line in lines))

    def _check_unique(self, row: Row) -> None:
        for key in (self.form.number, *self.rules.unique):
            field = self.form.find_field(key)
            if field is None or not row.head.get(field.key):
                continue
            others = self.books.having(self.form, field.key, str(row.head[field.key]))
            here = self.books.org_of(row)
            if any(
                one.id != row.id and (not self.form.base or self.books.org_of(one) == here) for one in others
            ):
                label = self.form.unique_label if key == self.form.number else field.label
                text = f"违反字段唯一性要求：{label}唯一。[{row.head[field.key]}]在当前系统中已经被使用。"
                self.troubles.append(Trouble(text, 11, field.key, self.index))

    def _stamp(self, row: Row, *, fresh: bool) -> None:
        now, user = self.books.now(), self.books.user_id(self.actor.user)
        if fresh:
            row.id = self.books.new_id(self.form)
            row.head |= {"FCreatorId": user, "FCreateDate": now}
            row.head["FDocumentStatus"] = "Z" if self.rules.draft else "A"
        elif row.status == "Z" and not self.rules.draft:
            row.head["FDocumentStatus"] = "A"
        row.head |= {"FModifierId": user, "FModifyDate": now}


def check_complete(form: Form, row: Row, index: int) -> list[Trouble]:
    """Return a trouble for every required field that is empty, in template language (9.8)."""
    found = [
        Trouble(f"字段“{item.label}”是必填项", 11, item.key, index)
        for item in form.head
        if item.must and not row.head.get(item.key)
    ]
    for entity in form.entities:
        if any(item.must for item in entity.fields) and not row.lines.get(entity.key):
            found.append(
                Trouble(f"单据体“{entity.label}”至少要有一行", 11, entity.key, index)
            )  # text UNCONFIRMED
        for number, line in enumerate(row.lines.get(entity.key, []), start=1):
            found += [
                Trouble(f"单据体“{entity.label}”第{number}行字段“{item.label}”是必填项", 11, item.key, index)
                for item in entity.fields
                if item.must and not line.get(item.key)
            ]
    return found


def check_period(books: Books, form: Form, row: Row, index: int) -> list[Trouble]:
    """Return a trouble when the document's date lies in a closed month of its org (text UNCONFIRMED)."""
    day = str(row.head.get(form.period, "")) if form.period else ""
    if not day or not books.closed(books.org_of(row), day):
        return []
    return [Trouble("业务日期所在的会计期间已经关账", 11, form.period, index)]
