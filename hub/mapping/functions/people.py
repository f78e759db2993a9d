"""What identifies people, companies and accounts: one form, a check digit, a mask."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import Any, Final

from hub.mapping.functions.entry import TEXT, Function, Unmappable, form, other, types
from hub.model import text as forms

__all__ = ["PEOPLE"]


def _phone(value: Any, region: str = "CN") -> Any:
    if value.__class__ is not str:
        return other(value, "a phone number")
    return forms.phone(value, region) if value else ""


def _domestic(value: Any, region: str = "CN") -> Any:
    if value.__class__ is not str:
        return other(value, "a phone number")
    return forms.domestic_phone(value, region)


_ID_CARD: Final = re.compile(r"\d{17}[\dX]", re.ASCII)
_ID_WEIGHTS: Final = tuple(pow(2, 17 - place, 11) for place in range(17))
_ID_CHECK: Final = "10X98765432"


def _id_card(text: str) -> str:
    """GB 11643-1999: 18 characters, a day of birth, a check character (ISO 7064, MOD 11-2)."""
    plain = re.sub(r"[\s-]", "", forms.plain_text(text)).upper()
    if not _ID_CARD.fullmatch(plain):
        raise Unmappable("is not an identity card's number of 18 characters")
    if _ID_CHECK[sum(w * int(d) for w, d in zip(_ID_WEIGHTS, plain, strict=False)) % 11] != plain[17]:
        raise Unmappable("is not an identity card's number: its check character is wrong")
    try:
        dt.date(int(plain[6:10]), int(plain[10:12]), int(plain[12:14]))
    except ValueError:
        raise Unmappable("is not an identity card's number: its day of birth is none") from None
    return plain


_CARD: Final = re.compile(r"\d{12,19}", re.ASCII)


def _bank_card(text: str) -> str:
    """ISO/IEC 7812: 12 to 19 digits, the last one by Luhn's rule."""
    plain = re.sub(r"[\s-]", "", forms.plain_text(text))
    if not _CARD.fullmatch(plain):
        raise Unmappable("is not a bank card's number of 12 to 19 digits")
    doubled = (sum(divmod(int(digit) * 2, 10)) for digit in plain[-2::-2])
    if (sum(doubled) + sum(int(digit) for digit in plain[-1::-2])) % 10:
        raise Unmappable("is not a bank card's number: its check digit is wrong")
    return plain


def _masked(value: Any, first: Any, last: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    if first.__class__ is not int or last.__class__ is not int or first < 0 or last < 0:
        raise Unmappable("how many characters stay is a whole number")
    if len(value) <= first + last:
        return "*" * len(value)
    return value[:first] + "*" * (len(value) - first - last) + (value[-last:] if last else "")


_SHORTEST_KEY: Final = 16


def _hash(value: Any, key: str) -> Any:
    if value.__class__ is not str:
        return other(value, "a text")
    if not value:
        return ""
    return hashlib.blake2b(value.encode(), key=key.encode(), digest_size=16).hexdigest()


def _no_key(key: str) -> str:
    if _SHORTEST_KEY <= len(key.encode()) <= hashlib.blake2b.MAX_KEY_SIZE:
        return ""
    return f"a key has {_SHORTEST_KEY} to {hashlib.blake2b.MAX_KEY_SIZE} bytes: a short one is guessed"


_WHOLE: Final = types("number")

PEOPLE: Final = (
    Function(
        "bank_card", form(_bank_card, "a card's number"), (TEXT,), "text", "银行卡号", "Bank card's number, checked",
        'bank_card("6222 0212 3456 7890 128")', because="kingdee.md, yonyou.md: accounts of customers",
    ),
    Function(
        "credit_code", form(forms.credit_code, "a credit code"), (TEXT,), "text", "统一社会信用代码", "Credit code",
        'credit_code("91350100m000100y43")', proves="credit_code",
    ),
    Function(
        "domestic_phone", _domestic, (TEXT, TEXT), "text", "国内号码", "Phone number as people of the country write it",
        'domestic_phone("+8613800138000", "CN")', optional=1, constant=(1,),
    ),
    Function(
        "phone", _phone, (TEXT, TEXT), "text", "电话", "Phone number", 'phone("138-0013-8000", "CN")',
        optional=1, constant=(1,), proves="phone",
    ),
    Function(
        "hash", _hash, (TEXT, TEXT), "text", "摘要", "Keyed digest of a text: equal for equal texts, not to be turned back",
        'hash("wang@example.com", "a key of 16 bytes or more")', constant=(1,), checks={1: _no_key},
        because="mailchimp.md: people matched without their address being shown",
    ),
    Function(
        "id_card", form(_id_card, "an identity card's number"), (TEXT,), "text", "身份证号", "Identity card's number, checked",
        'id_card("11010519491231002X")', because="dingtalk.md: forms of people",
    ),
    Function(
        "masked", _masked, (TEXT, _WHOLE, _WHOLE), "text", "脱敏", "A text of which only the first and last characters stay",
        'masked("11010519491231002X", 6, 4)', because="dingtalk.md, wecom.md: what an approver sees of a person",
    ),
)  # fmt: skip
"""People, companies, accounts."""
