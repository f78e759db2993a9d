"""The status machine (3.1): Submit, Audit, UnAudit, CancelAssign, Delete; flags; Allocate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from connectors.kingdee.sandbox.answers import RefusalError, Trouble
from connectors.kingdee.sandbox.books import Actor, Books, Row
from connectors.kingdee.sandbox.envelope import whole
from connectors.kingdee.sandbox.metadata import Form
from connectors.kingdee.sandbox.saving import check_complete, check_period
from hub.sdk.sandbox import Json

__all__ = ["MOVES", "Move", "allocate", "move", "move_all", "pick"]


@dataclass(frozen=True, slots=True)
class Move:
    """One step of the status machine: allowed from these statuses to that one, else a refusal by status."""

    start: str
    end: str
    refusals: Mapping[str, tuple[str, int]]
    default: tuple[str, int]


NOT_SUBMITTED = ("单据未提交，不允许审核", 12)  # text UNCONFIRMED
DELETABLE = ("只有处于暂存/创建/重新审核状态的单据才允许删除", 12)

MOVES: Mapping[str, Move] = {
    "submit": Move("AD", "B", {"C": ("单据已经审核，不允许提交", 12)}, ("单据当前状态不允许提交", 12)),
    "audit": Move("B", "C", {"C": ("单据已经审核", 11)}, NOT_SUBMITTED),
    "unaudit": Move("C", "D", {}, ("单据未审核，不允许反审核", 12)),
    "cancelassign": Move("B", "D", {}, ("单据未提交，不允许撤销", 12)),
    "delete": Move("ZAD", "", {}, DELETABLE),
    "cancel": Move("ZAD", "=", {}, ("单据当前状态不允许作废", 12)),
    "forbid": Move("C", "=", {}, ("数据未审核，不允许禁用", 12)),
    "enable": Move("C", "=", {}, ("数据未审核，不允许反禁用", 12)),
}
"""Operation in lower case → its move; the end ``=`` leaves the status, "" removes the row."""

FLAGS: Mapping[str, tuple[str, str, str]] = {
    "cancel": ("FCancelStatus", "B", "单据已经作废"),
    "forbid": ("FForbidStatus", "B", "数据已经禁用"),
    "enable": ("FForbidStatus", "A", "数据未禁用"),
}
"""Operation → flag, its new value, and the refusal when it has that value already."""


def move(books: Books, form: Form, row: Row, op: str, *, actor: Actor, audit_stamps: bool = False) -> Row:
    """Carry one object through one move and return it as stored.

    Raises:
        RefusalError: the status, a closed month, a missing field or a successor forbids it.
    """
    step = MOVES[op]
    if row.status not in step.start:
        raise RefusalError(*step.refusals.get(row.status, step.default))
    _check(books, form, row, op)
    changed = row.clone()
    if not step.end:
        books.drop(changed, op, actor.by)
        return changed
    if op in FLAGS:
        _turn(form, changed, op)
    else:
        changed.head["FDocumentStatus"] = step.end
    _stamp(books, form, changed, op, actor=actor, audit_stamps=audit_stamps)
    books.put(changed, op, actor.by)
    return changed


def _check(books: Books, form: Form, row: Row, op: str) -> None:
    if op in ("submit", "audit"):
        troubles = check_complete(form, row, 0)
        if op == "audit":
            troubles += check_period(books, form, row, 0)
        if troubles:
            raise RefusalError(troubles[0].message, troubles[0].code, troubles[0].field)
    if op == "unaudit" and row.successors:
        raise RefusalError(f"单据已有下游单据[{row.successors[0]}]，不允许反审核", 12)


def _turn(form: Form, row: Row, op: str) -> None:
    key, value, already = FLAGS[op]
    if form.find_field(key) is None:
        raise RefusalError(f"业务对象“{form.title}”没有该操作", 8)
    if row.head.get(key) == value:
        raise RefusalError(already, 12)
    row.head[key] = value


def _stamp(books: Books, form: Form, row: Row, op: str, *, actor: Actor, audit_stamps: bool) -> None:
    user, now = books.user_id(actor.user), books.now()
    if form.find_field("FApproveDate") is not None and op in ("audit", "unaudit"):
        audited = op == "audit"
        row.head |= {"FApproverId": user if audited else 0, "FApproveDate": now if audited else ""}
    if op in FLAGS or (audit_stamps and op in ("audit", "unaudit")):
        row.head |= {"FModifierId": user, "FModifyDate": now}


def pick(
    books: Books, form: Form, ids: Sequence[str], numbers: Sequence[str], *, actor: Actor
) -> list[Row | str]:
    """Return what ids and numbers name, in order: the row, or the name itself when the actor sees none."""
    found: list[Row | str] = []
    for text in ids:
        one = books.get(form.id, whole(text))
        found.append(one if one is not None and books.visible(one, actor) else text)
    for number in numbers:
        rows = [row for row in books.having(form, form.number, number) if books.visible(row, actor)]
        own = [row for row in rows if books.org_of(row) == actor.org]
        found.append((own or rows)[0] if rows else number)
    return found


def move_all(
    found: Sequence[Row | str], carry: Callable[[Row], Row], number_key: str
) -> tuple[list[Trouble], list[dict[str, Json]]]:
    """Carry every row on its own (2.4: partly successful); unknown names count only if all are unknown."""
    troubles: list[Trouble] = []
    done: list[dict[str, Json]] = []
    rows = [(index, one) for index, one in enumerate(found) if isinstance(one, Row)]
    if not rows:
        named = "、".join(f'"{name}"' for name in found)
        return [Trouble(f"编码值[{named}]不存在", 10)], []
    for index, row in rows:
        try:
            stored = carry(row)
        except RefusalError as refusal:
            troubles.append(refusal.at(index))
        else:
            done.append({"Id": stored.id, "Number": stored.head.get(number_key, ""), "DIndex": index})
    return troubles, done


def allocate(books: Books, form: Form, row: Row, org: Row, *, actor: Actor, audited: bool) -> Row:
    """Make the copy of base data for another use org: a new id, the same number, status A (3.3).

    Raises:
        RefusalError: the source is not audited, or that org has its copy.
    """
    if not form.base or not form.org:
        raise RefusalError(f"业务对象“{form.title}”不支持分配", 8)
    if row.status != "C":
        raise RefusalError("数据未审核，不允许分配", 12)
    number = str(row.head[form.number])
    if any(one.head.get(form.org) == org.id for one in books.having(form, form.number, number)):
        raise RefusalError(f"[{number}]已分配到组织“{org.head['FNumber']}”", 12)
    twin = row.clone()
    twin.id, twin.successors = books.new_id(form), []
    now, user = books.now(), books.user_id(actor.user)
    twin.head |= {
        form.org: org.id,
        "FDocumentStatus": "C" if audited else "A",
        "FModifyDate": now,
        "FCreateDate": now,
    }
    twin.head |= {"FModifierId": user, "FCreatorId": user}
    for key, lines in twin.lines.items():
        entity = form.find_entity(key)
        for line in lines:
            line[entity.row_id if entity is not None else "FEntryID"] = books.new_id(form)
    books.put(twin, "allocate", actor.by)
    return twin
