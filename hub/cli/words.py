"""Words for what the pipe knows by code: states people see, outcomes of acts, what a row waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hub.pipe.shown import Shown

if TYPE_CHECKING:
    from hub.pipe.shown import RowShown

__all__ = ["outcome", "state", "state_of", "waits_for"]

_STATES: Final[Mapping[Shown, tuple[str, str]]] = {
    Shown.SCHEDULED: ("待处理", "scheduled"),
    Shown.PROCESSING: ("处理中", "processing"),
    Shown.RETRYING: ("重试中", "retrying"),
    Shown.IN_DOUBT: ("结果不明", "in doubt"),
    Shown.WAITING: ("等待", "waiting"),
    Shown.BLOCKED: ("被挡住", "blocked"),
    Shown.FAILED: ("失败", "failed"),
}
_WAITS: Final[Mapping[str, tuple[str, str]]] = {
    "xref": ("等待 {what} 在对方建好", "waiting for {what} to exist there"),
    "target": ("等待对 {what} 的写入结束", "waiting for a write of {what} to end"),
    "arrival": ("等待 {what} 到来", "waiting for {what} to arrive"),
    "admit": ("等待准入条件", "waiting for admission"),
    "mode": ("观察模式，不发送", "observed, not sent"),
    "export": ("{what} 没有出境依据，不发送", "{what} has no recorded basis to leave the country: not sent"),
    "period": ("等待会计期间", "waiting for the accounting period"),
    "person": ("等待人工确认", "waiting for a person"),
    "field": ("等待字段", "waiting for a field"),
}
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "created": ("建立记录", "record created"),
    "changed": ("记录变更", "record changed"),
    "same": ("无变化", "no change"),
    "owed": ("产生欠账", "delivery owed"),
    "claimed": ("开始处理", "attempt begun"),
    "next": ("一步已生效", "step applied"),
    "agree": ("已送达并一致", "delivered, both sides agree"),
    "adopt": ("在对方找到，已关联", "found there, linked"),
    "both_moved": ("双方都改过，合并", "both sides had moved: merged"),
    "doubt": ("结果不明", "outcome unknown"),
    "again": ("稍后重试", "to be tried again"),
    "step_again": ("该步骤稍后重试", "the step is tried again"),
    "park": ("被拒，停下", "refused"),
    "park_open": ("结果不明，停下", "stopped, outcome unknown"),
    "parked": ("成为死信", "became a dead letter"),
    "gone": ("对方对象已删除", "gone at the vendor"),
    "moved": ("对方先被修改，重读", "moved there first: read again"),
    "innocent": ("因我方改动被拒，重来", "refused because of our own change: again"),
    "waiting": ("等待", "waits"),
    "observed": ("观察：算出但不发送", "observed: computed, not sent"),
    "unchanged": ("无需发送", "nothing to send"),
    "left": ("不再需要发送", "not to be sent any more"),
    "lapsed": ("处理者失联，收回", "its worker was lost, taken back"),
    "retry": ("读取失败，稍后重试", "reading failed, to be tried again"),
    "absent": ("完整读取未见到，将单独核实", "not shown by a complete read: to be looked at"),
    "stale": ("已过时，稍后重读", "stale: to be read again"),
    "joined": ("并入已有的待办", "joined what is owed already"),
    "read_again": ("已收下，其余另行重读", "taken in: the rest to be read again"),
    "candidate": ("可能是同一主体", "may be the same subject"),
    "possible_duplicate": ("可能重复", "a duplicate is possible"),
    "late": ("迟到的回答，仅记录", "a late answer, only noted"),
    "paused": ("已暂停", "paused"),
    "resumed": ("已恢复", "resumed"),
    "replayed": ("人工重放", "replayed by a person"),
    "edited": ("人工修改", "edited by a person"),
    "resolved": ("人工说明结果", "resolved by a person"),
    "discarded": ("人工放弃", "discarded by a person"),
    "chosen": ("人工认领", "chosen by a person"),
    "repair_owed": ("因映射修复而待办", "owed by the repair of a mapping"),
    "told": ("已通知相关人员", "people were told"),
}


def _said(pair: tuple[str, str], lang: str) -> str:
    return pair[0] if lang == "zh" else pair[1]


def state(shown: Shown, lang: str) -> str:
    """Return the word for a state."""
    return _said(_STATES[shown], lang)


def outcome(code: str, lang: str) -> str:
    """Return the words for an outcome; one without words stands for itself."""
    return _said(_OUTCOMES.get(code, (code, code)), lang)


def waits_for(key: str, lang: str) -> str:
    """Return what a key means to a person."""
    name, _, what = key.partition(":")
    pair = _WAITS.get(name)
    return key if pair is None else _said(pair, lang).format(what=what)


def state_of(row: RowShown, lang: str) -> str:
    """Return the state of a row in words, with what it waits for."""
    return waits_for(row.waits_for, lang) if row.waits_for else state(row.state, lang)
