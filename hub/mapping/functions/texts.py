"""Texts: their plain form, cutting that hurts no character, patterns that run in linear time."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import re2

from hub.mapping.functions.amounts import exact
from hub.mapping.functions.entry import TEXT, Function, Unmappable, bounded, form, other, types
from hub.model import text as forms

__all__ = ["TEXTS"]


def _text(value: Any) -> Any:
    if value.__class__ is str:
        return value
    if value.__class__ is int:
        return str(bounded(value))
    if value.__class__ in (float, Decimal):
        return format(exact(value).normalize(), "f")
    return other(value, "a text or a number")


_JOINER, _KEYCAP = "\u200d", "\u20e3"
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})


def _characters(value: str) -> Iterator[str]:
    """Yield what a reader sees as one character each: with its marks, its skin, its joined parts, both halves of a flag."""
    found = ""
    for letter in value:
        flags = len(found) == 1 and _is_flag(found) and _is_flag(letter)
        if found and not (flags or _belongs(found, letter)):
            yield found
            found = ""
        found += letter
    if found:
        yield found


def _belongs(before: str, letter: str) -> bool:
    if letter.isascii() or before[-1] == "\n":
        return before[-1] == _JOINER
    return (
        before[-1] == _JOINER
        or letter in (_JOINER, _KEYCAP)
        or "\U0001f3fb" <= letter <= "\U0001f3ff"
        or unicodedata.category(letter) in _MARKS
    )


def _is_flag(letter: str) -> bool:
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def _cut(value: Any, most: Any) -> Any:
    return _kept(value, most, len)


def _cut_bytes(value: Any, most: Any) -> Any:
    return _kept(value, most, lambda part: len(part.encode("utf-8", "surrogatepass")))


def _kept(value: Any, most: Any, size: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    if most.__class__ is not int or most < 0:
        raise Unmappable("a length is a whole number")
    if size(value) <= most:
        return value
    kept, length = [], 0
    for one in _characters(value):
        length += size(one)
        if length > most:
            break
        kept.append(one)
    return "".join(kept)


def _replace(value: Any, old: str, new: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    if new.__class__ is not str:
        raise Unmappable("a text is expected in its place")
    found = value.replace(old, new)
    if len(found) > _LONGEST:
        raise Unmappable(f"a text of more than {_LONGEST} characters")
    return found


_LONGEST: Final = 16 * 1024
_MOST_PARTS: Final = 1_000


def _split(value: Any, separators: str) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    for separator in separators[1:]:
        value = value.replace(separator, separators[0])
    parts = [part.strip() for part in value.split(separators[0])]
    if len(parts) > _MOST_PARTS:
        raise Unmappable(f"has more than {_MOST_PARTS} parts")
    return [part for part in parts if part]


@functools.lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(text, options=options)


def _no_pattern(text: str) -> str:
    try:
        found = _pattern(text)
    except (re2.error, UnicodeEncodeError):
        return f"{text[:40]!r} is not a pattern as RE2 reads it: no look-around, no references back"
    return "" if found.groups <= 1 else "a pattern has one group at most: what is taken"


def _matches(value: Any, pattern: str) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    return _pattern(pattern).fullmatch(value) is not None


def _extract(value: Any, pattern: str, *default: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    known = _pattern(pattern)
    found = known.search(value)
    taken = found.group(known.groups) if found else None
    if taken is not None:
        return taken
    return default[0] if default else None


def _one(text: str) -> str:
    return "" if text else "an empty text separates nothing"


_WHOLE: Final = types("number")

TEXTS: Final = (
    Function(
        "text", _text, (types("text", "number", "exact", "amount"),), "text", "转为文本", "Number as text", "text(100029)",
        because="reliability.md M2: a number never becomes a text without a rule",
    ),
    Function("trim", form(str.strip, "a text"), (TEXT,), "text", "去空白", "Text without outer blanks", 'trim("  A ")'),
    Function(
        "company_name", form(forms.company_name, "a name"), (TEXT,), "text", "公司全称", "Company's full name",
        'company_name("示例科技(上海)有限公司")', proves="company",
    ),
    Function(
        "cut", _cut, (TEXT, _WHOLE), "text", "按字数截断", "At most so many characters, none of them cut in two",
        'cut("示例科技有限公司", 4)', because="kingdee.md 4: lengths in characters; reliability.md M9",
    ),
    Function(
        "cut_bytes", _cut_bytes, (TEXT, _WHOLE), "text", "按字节截断", "At most so many bytes (UTF-8), no character cut in two",
        'cut_bytes("示例科技", 7)', because="wecom.md: lengths in bytes; reliability.md M9",
    ),
    Function(
        "extract", _extract, (TEXT, TEXT, TEXT), "text", "按模式取", "What a pattern finds: its group, or all of it; else the default, or null",
        'extract("合同 HT-1004 补充", "HT-[0-9]+")', optional=1, constant=(1,), checks={1: _no_pattern},
        because="wecom.md, dingtalk.md: numbers typed into the texts of forms",
    ),
    Function(
        "matches", _matches, (TEXT, TEXT), "flag", "符合模式", "Whether a pattern fits all of a text",
        'matches("HT-1004", "HT-[0-9]+")', constant=(1,), checks={1: _no_pattern}, because="reliability.md M7",
    ),
    Function(
        "plain", form(forms.plain_text, "a text"), (TEXT,), "text", "规范文本",
        "Half-width, NFC, nothing invisible, single blanks", 'plain("ＡＢＣ\u200b公司")', because="reliability.md M10",
    ),
    Function(
        "replace", _replace, (TEXT, TEXT, TEXT), "text", "替换", "Every place of a text replaced by another",
        'replace("010-6212 3456", " ", "")', constant=(1,), checks={1: _one}, because="yonyou.md: numbers without blanks",
    ),
    Function(
        "split", _split, (TEXT, TEXT), "list", "拆分", "Parts between any of these characters, trimmed, without empty ones",
        'split("13800138000/13900139000", "/、,")', constant=(1,), checks={1: _one},
        because="wecom.md: several numbers typed into one remark",
    ),
)  # fmt: skip
"""Texts."""
