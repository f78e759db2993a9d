"""What `hub mapping rollback --repair` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["REPAIR"]

REPAIR: Final[Mapping[str, tuple[str, str]]] = {
    "opt.repair": (
        "连数据一起修复：列出坏修订写过的每条记录和字段，确认后通过正常的待办修复",
        "repair the data too: what the bad revisions wrote is listed by field, then undone by ordinary debts",
    ),
    "opt.repair.yes": ("不询问，直接修复", "repair without asking"),
    "repair_yes_alone": ("--yes 只与 --repair 一起用", "--yes goes with --repair"),
    "repair_none": ("没有要修复的：坏修订没有生效过", "nothing to repair: no other revision was in force"),
    "repair_head": ("坏修订：{names}", "bad revisions: {names}"),
    "repair_exported": (
        "坏修订发布时的操作记录已导出并删除：那之前写入的，这里看不到；请用导出文件核对（hub audit verify）",
        "the acts of the time when it was published have been exported and dropped: what it wrote then is not seen here; look it up in the exports",
    ),
    "repair_whole": ("（整条）", "(all of it)"),
    "repair_reread": ("重读并按现行映射写入", "read anew, mapped by what is in force"),
    "repair_restore": ("恢复旧值（只有坏映射写过）", "gets its old value back (only the bad mapping wrote it)"),
    "repair_send": ("重新发送", "sent again"),
    "repair_person": ("之后被改过：留给人决定", "changed since: left to a person"),
    "repair_posted": ("已入账或已发起：请人工冲销", "posted or asked for: a person reverses it"),
    "repair_no_source": ("来源不能再读，总线上也没有：请人工处理", "its source cannot be asked and the bus has it no more: a person's"),
    "repair_kept": ("对方原值不详，保持已发送的值：请人工核对", "what the vendor held before is not known: it keeps what was sent, look at it"),
    "repair_left": ("留给人处理：{count}", "left to a person: {count}"),
    "repair_nothing": ("没有可以修复的", "nothing to repair"),
    "repair_ask": ("修复这 {count} 项？", "repair these {count}?"),
    "repair_done": (
        "已修复或已待办：{count}。运行中的中枢接着完成；双方都改过的字段会成为死信（hub dlq list）",
        "repaired or owed: {count}. The running hub does the rest; a field that both sides changed becomes a dead letter (hub dlq list)",
    ),
    "repair_goes_on": (
        "仍有进程按坏修订写入：请检查各进程是否已采用新的修订（hub status），然后再次执行",
        "some process still writes by the bad revision: see that all have taken up the new one (hub status), then run it again",
    ),
    "head.becomes": ("处理", "what becomes of it"),
}  # fmt: skip
"""Merged into :data:`hub.cli.texts.TEXTS`."""
