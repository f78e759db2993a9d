"""The form service: one function per operation, from what is asked to what is answered (2.1 to 2.6)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from connectors.kingdee.sandbox.answers import RefusalError, Trouble, failed, json_answer, status_body
from connectors.kingdee.sandbox.books import Actor, Books, Row
from connectors.kingdee.sandbox.dials import KingdeeDials
from connectors.kingdee.sandbox.envelope import Ask, Options, whole
from connectors.kingdee.sandbox.lifecycle import allocate, move, move_all, pick
from connectors.kingdee.sandbox.metadata import Form, business_info
from connectors.kingdee.sandbox.query import known_form, run_query
from connectors.kingdee.sandbox.saving import Rules, Saving
from connectors.kingdee.sandbox.view import view_document
from hub.sdk.sandbox import Json

__all__ = ["OPERATIONS", "Site", "perform"]


@dataclass(slots=True)
class Site:
    """What an operation works on."""

    books: Books
    dials: KingdeeDials
    seen_models: set[str] = field(default_factory=set)
    queries: int = 0


def perform(site: Site, ask: Ask, actor: Actor) -> Response:
    """Carry out one operation; a refusal becomes the failure body of that operation."""
    try:
        return OPERATIONS[ask.op](site, ask, actor)
    except RefusalError as refusal:
        return failed(ask.op, refusal.trouble, in_list=site.dials.bill_query_error_in_list)


def _save(site: Site, ask: Ask, actor: Actor) -> Response:
    form, model = known_form(ask.form), ask.data.get("model")
    if not isinstance(model, dict):
        raise RefusalError("参数Model不能为空", 8)
    troubles, row = _save_one(site, ask, form, model, actor=actor, index=0)
    if row is None:
        return json_answer(status_body(troubles, Id="", NeedReturnData=[{}]))
    returned = _returned(site.books, row, ask.data)
    number = row.head.get(form.number, "")
    return json_answer(
        status_body(troubles, [_done(form, row, 0)], Id=row.id, Number=number, NeedReturnData=[returned])
    )


def _batch_save(site: Site, ask: Ask, actor: Actor) -> Response:
    form, models = known_form(ask.form), ask.data.get("model")
    if not isinstance(models, list) or not models or not all(isinstance(model, dict) for model in models):
        raise RefusalError("参数Model不能为空", 8)
    if ask.data.number("batchcount") >= len(models) > 1:
        raise RefusalError("参数BatchCount必须小于单据数量", 8)
    troubles: list[Trouble] = []
    done: list[Mapping[str, Json]] = []
    returned: list[Json] = []
    for index, model in enumerate(models):
        found, row = _save_one(site, ask, form, model, actor=actor, index=index)
        troubles += found
        if row is not None:
            done.append(_done(form, row, index))
            returned.append(_returned(site.books, row, ask.data))
    return json_answer(status_body(troubles, done, NeedReturnData=returned or [{}]))


def _save_one(
    site: Site, ask: Ask, form: Form, model: Mapping[str, Json], *, actor: Actor, index: int
) -> tuple[list[Trouble], Row | None]:
    """Save one document in its own transaction; with IsAutoSubmitAndAudit go on to C as far as it goes."""
    digest = hashlib.sha256(json.dumps([form.id, model], default=str, sort_keys=True).encode()).hexdigest()
    if ask.data.flag("ValidateRepeatJson", default=False) and digest in site.seen_models:
        return [Trouble("重复提交的JSON数据", 11, None, index)], None  # wording and window UNCONFIRMED (4)
    saving = Saving(site.books, form, actor, _rules(site.dials, ask), index)
    row = saving.save(model)
    if row is None:
        return saving.troubles, None
    site.seen_models.add(digest)
    if ask.data.flag("IsAutoSubmitAndAudit", default=False):
        try:
            for op in ("submit", "audit"):
                row = _carry(site, form, row, op=op, actor=actor)
        except RefusalError as refusal:
            return [refusal.at(index)], row
    return [], row


def _rules(dials: KingdeeDials, ask: Ask) -> Rules:
    data = ask.data
    return Rules(
        needed=frozenset(name.upper() for name in data.names("NeedUpDateFields")),
        delete_rows=data.flag("IsDeleteEntry", default=True),
        verify=data.flag("IsVerifyBaseDataField", default=False),
        validate=data.flag("ValidateFlag", default=True),
        by_number=data.flag("NumberSearch", default=True),
        reorder=data.flag("IsAutoAdjustField", default=False),
        draft=ask.op == "draft",
        strict_fields=dials.strict_fields,
        strict_references=dials.strict_references,
        unique=("FTHIRDBILLNO",) if dials.unique_third_bill_no else (),
    )


def _done(form: Form, row: Row, index: int) -> dict[str, Json]:
    return {"Id": row.id, "Number": row.head.get(form.number, ""), "DIndex": index}


def _returned(books: Books, row: Row, data: Options) -> dict[str, Json]:
    """Return what NeedReturnFields asks for: ``FBillNo``, ``FEntity.FEntryID``."""
    shown, answer = books.readable(row), dict[str, Json]()
    spelt = {key.upper(): key for key in shown}
    for name in data.names("NeedReturnFields"):
        head, _, inner = name.partition(".")
        value = shown.get(spelt.get(head.upper(), ""), "")
        if inner and isinstance(value, list):
            lines = answer.setdefault(head, [{} for _ in value])
            for line, stored in zip(lines, value, strict=True):
                line[inner] = next((cell for key, cell in stored.items() if key.upper() == inner.upper()), "")
        else:
            answer[name] = value
    return answer


def _carry(site: Site, form: Form, row: Row, *, op: str, actor: Actor) -> Row:
    return move(site.books, form, row, op, actor=actor, audit_stamps=site.dials.audit_moves_modify_date)


def _move(site: Site, ask: Ask, actor: Actor) -> Response:
    return _move_named(site, ask, actor, ask.op)


def _operate(site: Site, ask: Ask, actor: Actor) -> Response:
    if not ask.number:
        raise RefusalError("操作编码不能为空", 3)
    op = ask.number.lower()
    if op not in ("forbid", "enable", "cancel"):
        raise RefusalError(f"操作编码“{ask.number[:50]}”不存在", 8)
    return _move_named(site, ask, actor, op)


def _move_named(site: Site, ask: Ask, actor: Actor, op: str) -> Response:
    form = known_form(ask.form)
    ids, numbers = ask.data.names("Ids") or ask.data.names("PkEntryIds"), ask.data.names("Numbers")
    if not ids and not numbers:
        raise RefusalError("参数Ids和Numbers不能同时为空", 8)
    found = pick(site.books, form, ids, numbers, actor=actor)
    troubles, done = move_all(found, lambda row: _carry(site, form, row, op=op, actor=actor), form.number)
    return json_answer(status_body(troubles, done))


def _view(site: Site, ask: Ask, actor: Actor) -> Response:
    form = known_form(ask.form)
    ids, numbers = ask.data.names("Id"), ask.data.names("Number")
    if not ids and not numbers:
        raise RefusalError("参数Id和Number不能同时为空", 8)
    found = pick(site.books, form, ids[:1], [] if ids else numbers[:1], actor=actor)[0]
    if isinstance(found, str):
        raise RefusalError(f'编码值["{found[:80]}"]不存在', 9)
    return json_answer(status_body([], Result=view_document(site.books, form, found)))


def _query_cells(site: Site, ask: Ask, actor: Actor) -> tuple[list[str], list[list[Json]]]:
    site.queries += 1
    shuffle = site.queries if site.dials.turn_open_order else 0
    return run_query(site.books, ask.data, actor=actor, cap=site.dials.page_cap, shuffle=shuffle)


def _execute_bill_query(site: Site, ask: Ask, actor: Actor) -> Response:
    return json_answer(_query_cells(site, ask, actor)[1])


def _bill_query(site: Site, ask: Ask, actor: Actor) -> Response:
    keys, cells = _query_cells(site, ask, actor)
    return json_answer([dict(zip(keys, row, strict=True)) for row in cells])


def _business_info(_: Site, ask: Ask, __: Actor) -> Response:
    return json_answer(status_body([], NeedReturnData=business_info(known_form(ask.form))))


def _allocate(site: Site, ask: Ask, actor: Actor) -> Response:
    form, audited = known_form(ask.form), ask.data.flag("IsAutoSubmitAndAudit", default=False)
    sources = pick(site.books, form, ask.data.names("PkIds"), (), actor=actor)
    orgs = [site.books.get("ORG_Organizations", whole(text)) for text in ask.data.names("TOrgIds")]
    if not sources or not orgs:
        raise RefusalError("参数PkIds和TOrgIds不能为空", 8)
    troubles: list[Trouble] = []
    done: list[Mapping[str, Json]] = []
    for index, source in enumerate(sources):
        for org in orgs:
            try:
                if isinstance(source, str) or org is None:
                    raise RefusalError(
                        f"内码值[{source if isinstance(source, str) else ''}]对应的数据不存在", 10
                    )
                twin = allocate(site.books, form, source, org, actor=actor, audited=audited)
                done.append(_done(form, twin, index))
            except RefusalError as refusal:
                troubles.append(refusal.at(index))
    return json_answer(status_body(troubles, done))


OPERATIONS: Mapping[str, Callable[[Site, Ask, Actor], Response]] = {
    "save": _save,
    "draft": _save,
    "batchsave": _batch_save,
    "submit": _move,
    "audit": _move,
    "unaudit": _move,
    "cancelassign": _move,
    "delete": _move,
    "excuteoperation": _operate,
    "executeoperation": _operate,
    "view": _view,
    "executebillquery": _execute_bill_query,
    "billquery": _bill_query,
    "querybusinessinfo": _business_info,
    "allocate": _allocate,
}
"""Operation in lower case → what does it; the rest of 2.1 is not played."""
