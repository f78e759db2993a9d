"""What an operator is told when an action is not possible."""

from __future__ import annotations

from hub.errors import Bilingual

__all__ = ["NotPossible", "NotThere", "Reason"]


class Reason(Bilingual):
    """Why an action is not possible, with a sentence each that says what is."""

    NOT_PARKED = "not_parked", "该行不是死信，无需处理", "the row is not a dead letter: nothing to repair"
    OPEN = (
        "open",
        "有一次写入结果不明，请先用 resolve 说明结果",
        "a write of it has no known outcome: resolve it first",
    )
    BUSY = "busy", "正在读取，请稍候", "it is being read just now: wait a moment"
    NOT_OPEN = (
        "not_open",
        "没有结果不明的写入，无需 resolve",
        "no write of it is unanswered: there is nothing to resolve",
    )
    TOO_EARLY = (
        "too_early",
        "先前的写入此刻仍可能生效，请稍后再判断",
        "an earlier send may still take effect: decide later",
    )
    NO_BODY = (
        "no_body",
        "此行未保存原始数据，请用 replay 重新读取",
        "no body of it is kept: replay reads the object again",
    )
    FIELDS = "fields", "字段未被接受", "fields are not accepted"
    SAME = (
        "same",
        "记录已是这些值；重发请用 replay",
        "the record has these values already: replay sends it again",
    )
    NO_WORDS = "no_words", "必须说明理由或证据", "a reason, or evidence, is needed"
    OTHER_OBJECT = "other_object", "该写入针对另一个对象", "the write is about another object"
    TAKEN = "taken", "已属于另一条记录", "it belongs to another record"
    NOT_CANDIDATE = (
        "not_candidate",
        "该行没有待选的记录，或所选不在其中",
        "the row asks for no choice, or this is not one of its candidates",
    )
    NO_SYNC = "no_sync", "集成流已不在配置中", "its sync is not configured any more"
    READ_WITH = (
        "read_with",
        "它没有自己的读取：随另一条集成流一起读取，请运行那一条",
        "it has no read of its own: it is read together with another sync, run that one",
    )
    NOT_TAKEN = (
        "not_taken",
        "没有进程取走总线上的消息：请启动 hub up；读取位置已保存，再次运行即继续",
        "nobody takes what lies on the bus: start hub up; the position is kept, run it again to go on",
    )
    NOT_HELD = (
        "not_held",
        "没有等待确认的缺失：上一次完整读取无需人工决定",
        "nothing waits to be confirmed: the last complete read asks for no decision",
    )
    WRITES_OPEN = "writes_open", "写入未停止", "writes are open: there is nothing to resume"
    NOT_MOVED = (
        "not_moved",
        "这个数据库不只是被移动过，请用 hub writes resume",
        "the store was not only moved: hub writes resume settles what may have been sent",
    )
    GONE = "gone", "记录已删除、已合并或已擦除", "the record was deleted, merged or erased"


class NotPossible(Exception):
    """The action is refused and nothing changed; ``reason`` says why, ``detail`` what exactly."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """Take the reason and what it is about."""
        super().__init__(f"{reason.en}: {detail}" if detail else reason.en)
        self.reason = reason
        self.detail = detail


class NotThere(LookupError):
    """There is no such row, sync or connection (any more)."""
