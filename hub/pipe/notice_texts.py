"""What people read in a notice: plain words, the first few records, what to do; in Chinese, or English where that is set.

Texts of records were written by others: they stand on one line, without control characters, and are cut.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hub.errors import Cause
from hub.model.kinds import KINDS
from hub.pipe.advice import Place
from hub.project.notices import Addressee
from hub.sdk.notice import MOST_BYTES, Notice

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["SHOWN", "Stuck", "ended", "plain", "stuck", "trial"]

SHOWN: Final = 5
"""Records that a notice names."""
_LINE, _TITLE = 150, 80
"""Bytes of a line, and of a title, at most."""

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "out": ("{count} 笔{kind}未能写入{system}：{cause}", "{count} {kind} not written to {system}: {cause}"),
    "in": ("{count} 笔{kind}未能从{system}读入：{cause}", "{count} {kind} not taken in from {system}: {cause}"),
    "said": ("对方说明：{said}", "In its words: {said}"),
    "more": ("……另有 {count} 笔", "... and {count} more"),
    "do": ("在哪里处理：{place}", "Where to mend it: {place}"),
    "list": ("全部：hub dlq list --cause {cause}", "All of them: hub dlq list --cause {cause}"),
    "nobody": ("本应通知{to}，但未登记或未送达，故通知 IT。", "This is for {to}, whom nobody named or who could not be reached: so IT is told."),
    "applicant": ("本应通知申请人 {who}，但未送达，故通知 IT。", "This is for the applicant, {who}, who could not be reached: so IT is told."),
    "subject": ("事项：{subject}", "Subject: {subject}"),
    "amount": ("金额：{amount} {currency}", "Amount: {amount} {currency}"),
    "opinion": ("审批意见：{opinion}", "Comment: {opinion}"),
    "by": ("审批人：{by}", "Decided by: {by}"),
    "approved": ("审批已通过：{what}", "Approved: {what}"),
    "rejected": ("审批被驳回：{what}", "Rejected: {what}"),
    "revoked": ("审批在通过后被撤销：{what}", "Revoked after approval: {what}"),
    "trial": ("集成中枢测试通知", "A test notice of the integration hub"),
    "trial_text": ("这是一条测试通知，无需处理。发给：{to}。", "This is a test, nothing has to be done. It is for {to}."),
}  # fmt: skip
_SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "contract": ("合同", "contract"),
    "payment": ("回款", "payment"),
    "refund": ("退款", "refund"),
    "discount": ("折扣", "discount"),
    "transfer": ("客户转移", "transfer of a customer"),
    "custom": ("其他", "other"),
}


@dataclass(frozen=True, slots=True)
class Stuck:
    """One dead letter as people are told of it. ``who``: the customer's name; ``said``: the vendor's own words."""

    kind: str | None
    inbound: bool
    system: tuple[str, str]
    title: str
    who: str = ""
    amount: str = ""
    said: str = ""
    place: Place | None = None

    def line(self) -> str:
        """Return ``HK-1，示例科技有限公司，100.00 CNY``."""
        return "- " + "，".join(plain(one) for one in (self.title, self.who, self.amount) if one)


def plain(text: str) -> str:
    """Return a text on one line: what is no character to be seen, or turns the reading direction, is a blank."""
    seen = (" " if unicodedata.category(one)[0] in "CZ" else one for one in text)
    return " ".join("".join(seen).split())


def _say(key: str, lang: str, **known: object) -> str:
    return _pick(_TEXTS[key], lang).format(**known)


def _pick(pair: tuple[str, str], lang: str) -> str:
    return pair[lang == "en"]


def _cut(text: str, most: int) -> str:
    """Return a text of at most so many bytes of UTF-8."""
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"


def _notice(title: str, lines: Sequence[str], reference: str) -> Notice:
    kept: list[str] = []
    left = MOST_BYTES - len(_cut(title, _TITLE * 2).encode()) - len(reference) - 8
    for line in filter(None, lines):
        left -= len(line.encode()) + 2  # a line feed is two bytes in JSON
        if left >= 0:
            kept.append(line)
    return Notice(_cut(title, _TITLE * 2), "\n".join(kept), reference)


def stuck(
    found: Sequence[Stuck], count: int, cause: Cause, lang: str, reference: str, missing: Addressee | None
) -> Notice:
    """Return the notice of dead letters of one cause; ``found``: the first few of ``count``.

    ``missing``: for whom it was meant, where IT is told instead.
    """
    first = found[0]
    kind = KINDS.get(first.kind or "")
    same = len({(one.kind, one.inbound, one.system) for one in found}) == 1 and kind is not None
    named = _pick((kind.title_zh, kind.title_en.lower()) if same and kind else ("记录", "record"), lang)
    named += "s" if lang == "en" and count != 1 else ""
    system = _pick(first.system, lang)
    title = _say("in" if first.inbound else "out", lang, count=count, kind=named, system=system,
                 cause=_pick((cause.zh, cause.en), lang))  # fmt: skip
    lines = [_cut(one.line(), _LINE) for one in found[:SHOWN]]
    if count > len(lines):
        lines.append(_say("more", lang, count=count - len(lines)))
    tail = [
        _say("said", lang, said=_cut(plain(first.said), _LINE)) if first.said else "",
        _say("do", lang, place=_pick((first.place.zh, first.place.en), lang)) if first.place else "",
        _say("nobody", lang, to=_pick((missing.zh, missing.en), lang)) if missing else "",
        _say("list", lang, cause=cause.value),
    ]
    return _notice(title, lines + tail, reference)


def ended(body: Mapping[str, Json], lang: str, reference: str, missing: str = "") -> Notice:
    """Return the notice to the applicant of an approval that ended: what was decided, the comment, by whom.

    ``missing``: the applicant, where IT is told instead.
    """
    state = str(body["status"])
    nodes = body.get("nodes")
    steps = [one for one in nodes if isinstance(one, dict)] if isinstance(nodes, list) else []
    by = dict.fromkeys(
        str(one["approver"]) for one in steps if one.get("approver") and one.get("action") == "agree"
    )
    if state != "approved":
        by = dict.fromkeys(str(one["approver"]) for one in steps[-1:] if one.get("approver"))
    said = body.get("opinion") or next((one["opinion"] for one in reversed(steps) if one.get("opinion")), "")
    amount, subject = body.get("amount"), str(body.get("subject"))
    what = plain(str(body.get("title") or body.get("no") or ""))
    return _notice(
        _say(state, lang, what=_cut(what, _TITLE)),
        [
            _say("subject", lang, subject=_pick(_SUBJECTS.get(subject, (subject, subject)), lang))
            + (f"，{plain(str(body['no']))}" if body.get("no") and body.get("title") else ""),
            _say("amount", lang, amount=amount, currency=body.get("currency") or "") if amount else "",
            _say("opinion", lang, opinion=_cut(plain(str(said)), 600)) if said else "",
            _say("by", lang, by=plain(", ".join(by))) if by else "",
            _say("applicant", lang, who=plain(missing)) if missing else "",
        ],
        reference,
    )


def trial(to: Addressee, who: str, lang: str, reference: str) -> Notice:
    """Return a test notice."""
    named = _pick((to.zh, to.en), lang) + (f" {plain(who)}" if who else "")
    return _notice(_say("trial", lang), [_say("trial_text", lang, to=named)], reference)
