"""The error tree. The class says what happens next; ``cause`` says why.

HubError
├── SettingsError             an operator must change something     → that part does not start
├── InboundRefused(cause)     a caller sent something unacceptable   → one identical refusal
├── RemoteError               a vendor (or the way to it) failed
│   ├── TryAgain(after)       rate limit, unavailable                → retry with a decision
│   ├── Refused(cause, field) invalid, not found, conflict, period   → parked or a policy, keep going
│   ├── ConnectionDown(cause) credential, permission, IP, quota      → pause the connection
│   ├── OutcomeUnknown        sent, no answer; unknown code          → in doubt
│   └── NotSent               the deadline passed before the bytes   → as if never claimed
└── IntegrityError(cause)     cursor went back, fenced out, seal     → stop that part, alarm
"""

from __future__ import annotations

import enum
from typing import Self

__all__ = [
    "Bilingual",
    "Cause",
    "ConnectionDown",
    "HubError",
    "InboundRefused",
    "IntegrityError",
    "NotSent",
    "OutcomeUnknown",
    "Refused",
    "RemoteError",
    "SettingsError",
    "TryAgain",
    "Unreachable",
]


class Bilingual(enum.StrEnum):
    """A closed set whose members carry a Chinese and an English text each."""

    zh: str
    en: str

    def __new__(cls, value: str, zh: str, en: str) -> Self:
        """Make a member that carries both texts."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.zh, member.en = zh, en
        return member


class Cause(Bilingual):
    """Why something stopped: a closed set with a Chinese and an English sentence each."""

    INVALID = "invalid", "对方系统拒绝了数据", "the other system refused the data"
    MISSING_FIELD = "missing_field", "缺少必填字段", "a required field is missing"
    NOT_FOUND = "not_found", "引用的资料在对方系统中不存在", "a referenced object does not exist there"
    DUPLICATE = "duplicate", "编号或名称在对方系统中已被使用", "the number or name is already taken there"
    STATE = "state", "单据当前状态不允许此操作", "the document's status does not allow this"
    AUDITED = "audited", "单据已审核，按规则不自动修改", "the document is audited and is not changed by rule"
    PERIOD_CLOSED = "period_closed", "会计期间已关账", "the accounting period is closed"
    MOVED = "moved", "对方数据在写入前已被修改", "the object changed there before the write"
    ALREADY_DONE = "already_done", "对方表示已经处理过", "the other side says it is done already"
    CREDENTIAL = "credential", "凭证无效", "the credential is not accepted"
    PERMISSION = "permission", "缺少权限", "a permission is missing"
    ADDRESS = "address", "来源地址不在白名单", "our address is not on the allow list"
    LICENCE = "licence", "许可不足", "the licence does not cover this"
    QUOTA = "quota", "调用额度已用完", "the call quota is used up"
    SETTINGS = "settings", "连接或映射配置有误", "the connection or mapping is configured wrongly"
    RATE = "rate", "调用过于频繁", "too many calls"
    UNAVAILABLE = "unavailable", "对方系统暂不可用", "the other system is unavailable"
    UNREACHABLE = "unreachable", "无法连接对方系统", "the other system cannot be reached"
    LOCKED = "locked", "对方单据正被他人使用", "somebody else holds the document there"
    BAD_ANSWER = "bad_answer", "对方返回了无法识别的内容", "the other system answered something unreadable"
    DOUBT = "doubt", "写入结果不明，需要人工核实", "the outcome of a write is unknown; a person must check"
    DOUBLED = "doubled", "对方存在重复对象", "the other system holds the object more than once"
    GAVE_UP = "gave_up", "重试次数已用完", "the retry budget is spent"
    BUG = "bug", "处理该记录时程序出错", "the program failed on this record"
    CRASHED = "crashed", "处理该记录时进程多次崩溃", "the process died repeatedly on this record"
    MAPPING = "mapping", "字段映射失败", "a field could not be mapped"
    TAKEN = (
        "taken",
        "识别码已属于另一条记录，需要人工决定",
        "another record holds this identifying number; a person decides",
    )
    CANDIDATE = "candidate", "可能是同一主体，需要人工确认", "may be the same subject; a person decides"
    CONFLICT = "conflict", "双方修改冲突，需要人工决定", "both sides changed it; a person decides"
    FLIP_FLOP = "flip_flop", "字段来回变化，需要人工决定", "a field flips back and forth; a person decides"
    NO_SYNC = "no_sync", "没有集成流能产生所依赖的对象", "no sync can produce what this depends on"
    BLOCKED = "blocked", "所依赖的记录停在死信中", "the record this depends on is a dead letter"
    NO_ROUTE = "no_route", "没有适用的审批路由", "no approval route fits"
    ENTITY = "entity", "签约主体不一致或未登记", "the legal entity is unknown or does not match"
    MISSING_TARGET = "missing_target", "对方对象已被删除", "the object was deleted there"
    FOREIGN = "foreign", "对方返回了不属于本次请求的对象", "the answer is about another object"
    CURSOR = "cursor", "读取位置倒退或重复", "a read position went back or repeats"
    FENCED = "fenced", "处理权已转移", "somebody else took over"
    SEAL = "seal", "审计封签不一致", "the audit seal does not match"
    KEY = "key", "缺少密钥版本", "a key version is missing"
    TAMPERED = (
        "tampered",
        "密文无法解开：被改动或放错位置",
        "a sealed value does not open: changed, or moved from its place",
    )
    EPOCH = "epoch", "数据库已被恢复或更换", "the store was restored or replaced"
    POSITION = "position", "总线位置不可能", "an impossible bus position"
    REPLACED = (
        "replaced",
        "运行中有文件被删除或替换",
        "a file of the hub was removed or replaced while it was open",
    )
    DISK = "disk", "磁盘已满或无法写入", "the disk is full or fails"
    DEADLINE = "deadline", "已过发送期限，未发送", "the deadline passed; nothing was sent"
    SIGNATURE = "signature", "请求未通过校验", "the request was not accepted"
    OPERATOR = "operator", "由操作员暂停", "a person paused it"
    CLOCK = "clock", "回调时间戳超出允许范围", "the callback's time is outside the window"
    CIPHER = "cipher", "回调不是用本连接的密钥加密的", "the callback is not encrypted with our key"
    RECEIVER = "receiver", "回调发给了另一个企业或应用", "the callback is for another receiver"


class HubError(Exception):
    """Something went wrong in the hub."""

    def __init__(self, message: str | None = None, *, detail: object = None) -> None:
        """Take the message for an operator and an optional detail (redacted before shown)."""
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.detail = detail


class SettingsError(HubError):
    """A setting must be changed by an operator before this part can start."""

    def __init__(
        self,
        message: str | None = None,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        """Say what is wrong and where: file, line (1-based) and field."""
        where = ":".join(str(part) for part in (file, line) if part is not None)
        text = message or (type(self).__doc__ or "").strip()
        super().__init__(": ".join(part for part in (where, field, text) if part))
        self.file = file
        self.line = line
        self.field = field


class Unreachable(SettingsError):
    """What this part stands on does not answer: it may be starting still, or the setting that names it is wrong."""


class InboundRefused(HubError):
    """The request was not accepted."""

    def __init__(self, cause: Cause = Cause.SIGNATURE, message: str | None = None) -> None:
        """Take the cause; the caller of a door never learns more than the refusal."""
        super().__init__(message)
        self.cause = cause


class RemoteError(HubError):
    """The other system, or the way to it, failed."""

    def __init__(
        self,
        message: str | None = None,
        *,
        cause: Cause = Cause.UNAVAILABLE,
        vendor: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        field: str | None = None,
        detail: object = None,
    ) -> None:
        """Take what the vendor said: its name, code, request id and the field it named."""
        super().__init__(message, detail=detail)
        self.cause = cause
        self.vendor = vendor
        self.code = code
        self.request_id = request_id
        self.field = field


class TryAgain(RemoteError):
    """The other system asks to try again later; nothing took effect."""

    def __init__(self, message: str | None = None, *, after: float | None = None, **known: object) -> None:
        """``after``: seconds the vendor asked us to wait, None when it did not say."""
        super().__init__(message, **known)  # type: ignore[arg-type]  # known: the keywords of RemoteError
        self.after = after


class Refused(RemoteError):
    """The other system refused this record; nothing took effect."""

    def __init__(self, message: str | None = None, *, cause: Cause = Cause.INVALID, **known: object) -> None:
        """``cause`` may start a policy (``period_closed``, ``moved``, ``already_done``)."""
        super().__init__(message, cause=cause, **known)  # type: ignore[arg-type]  # as above


class ConnectionDown(RemoteError):
    """The connection as a whole is not usable; its rows stay owed."""

    def __init__(
        self,
        message: str | None = None,
        *,
        cause: Cause = Cause.CREDENTIAL,
        until: float | None = None,
        **known: object,
    ) -> None:
        """``until``: seconds until a probe makes sense, None for the default."""
        super().__init__(message, cause=cause, **known)  # type: ignore[arg-type]  # as above
        self.until = until


class OutcomeUnknown(RemoteError):
    """The request was sent and no usable answer came; it may have taken effect."""


class NotSent(RemoteError):
    """The deadline passed before the bytes went out; nothing was sent."""

    def __init__(self, message: str | None = None) -> None:
        """Nothing to know but that it was not sent."""
        super().__init__(message, cause=Cause.DEADLINE)


class IntegrityError(HubError):
    """Something that must never happen was seen; this part stops."""

    def __init__(self, cause: Cause, message: str | None = None, *, detail: object = None) -> None:
        """Take the cause that an alarm shows."""
        super().__init__(message or cause.en, detail=detail)
        self.cause = cause
