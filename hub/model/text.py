"""Normal forms of texts: names, phones, e-mail addresses and credit codes.

What a person wrote is kept for display; the forms here are for keys, comparison and other systems.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Final

import phonenumbers

__all__ = [
    "InvalidText",
    "bare_text",
    "company_core",
    "company_key",
    "company_name",
    "credit_code",
    "domestic_phone",
    "email",
    "key_text",
    "person_name",
    "phone",
    "plain_text",
    "storable",
]


class InvalidText(ValueError):
    """The text has no normal form of this kind."""


# Zero-width, bidirectional and other invisible formatting characters; U+00AD soft hyphen and the BOM among them.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
_CONTROL: Final = re.compile("[\u0000-\u001f\u007f-\u009f]")
_BLANKS: Final = re.compile(r"\s+")
# 汉字 of all planes, the ideographic zero and the compatibility blocks.
_HAN: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_HAS_HAN: Final = re.compile(f"[{_HAN}]")
_BLANK_BESIDE_HAN: Final = re.compile(f"(?<=[{_HAN}（）]) | (?=[{_HAN}（）])")
_MIDDLE_DOTS: Final = str.maketrans(
    dict.fromkeys("\u2022\u2027\u2219\u22c5\u30fb\uff65\u16eb\u2e31", "\u00b7")
)
_DASHES: Final = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-")
)
_WIDE_BRACKETS: Final = str.maketrans("()", "（）")


def storable(text: str) -> str:
    """Return the text unchanged if every store can hold it.

    Raises:
        InvalidText: a NUL or half of a surrogate pair.
    """
    if "\0" in text:
        raise InvalidText("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidText("holds half of a surrogate pair") from None
    return text


def bare_text(text: str) -> str:
    r"""Return the text as NFC without outer blanks, with line ends as ``\n``: the form free text is compared in."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()


def key_text(text: str) -> str:
    """Return the form a text has as a key: NFKC, nothing invisible, single blanks, letter case folded."""
    return plain_text(text).casefold()


def plain_text(text: str) -> str:
    """NFKC (fullwidth letters, half-width kana, NFD), invisible characters out, controls and blanks to one blank."""
    if text.isascii() and text.isalnum():
        return text
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return _BLANKS.sub(" ", _CONTROL.sub(" ", folded)).strip()


@functools.lru_cache(maxsize=1024)  # one record's name is asked for several times in a row: keys, digests
def company_name(text: str) -> str:
    """Return a company's full name in its normal form; the legal form (有限责任公司) is kept.

    A Chinese name has fullwidth brackets and no blank beside a 汉字, any other name half-width brackets.
    """
    plain = plain_text(text).translate(_DASHES).translate(_MIDDLE_DOTS)
    if _HAS_HAN.search(plain):
        return _BLANK_BESIDE_HAN.sub("", plain.translate(_WIDE_BRACKETS))
    return plain


def company_key(text: str) -> str:
    """Return the match key of a company's full name."""
    return company_name(text).casefold()


_LEGAL_FORM: Final = re.compile(
    r"(?:股份)?(?:有限)?(?:责任)?(?:总)?公司$|集团(?:股份)?(?:有限)?(?:责任)?公司$|集团$|"
    r"(?:,|\.|\s)*\b(?:co|ltd|limited|inc|corp|corporation|llc|gmbh|company)\.?$"
)
_BRACKETED: Final = re.compile(r"（[^（）]*）|\([^()]*\)")
_PLACE: Final = re.compile(
    r"(?:中国|北京|上海|天津|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|"
    r"云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门|深圳|广州|杭州|南京|苏州|成都|武汉|西安|青岛|大连|宁波|厦门|"
    r"东莞|佛山|珠海|无锡|长沙|郑州|合肥|济南|福州|沈阳|昆明)(?:省|市|自治区|特别行政区)?"
)


@functools.lru_cache(maxsize=1024)  # as above
def company_core(text: str) -> str:
    """Return what people call a company: its name without place, brackets and legal form; "" if under two characters stay.

    Two companies may share it (subsidiaries, namesakes): it only proposes candidates to a person.
    """
    plain = _BRACKETED.sub("", company_key(text))
    shorter = _LEGAL_FORM.sub("", _LEGAL_FORM.sub("", plain)).strip(" .,")
    core = (
        _PLACE.sub("", shorter, count=1)
        if (found := _PLACE.match(shorter)) and len(shorter) - found.end() > 1
        else shorter
    )
    return core if len(core) > 1 else ""


def person_name(text: str) -> str:
    """Return a person's name in its normal form: one middle dot, no blank beside a 汉字."""
    plain = plain_text(text).translate(_MIDDLE_DOTS)
    return _BLANK_BESIDE_HAN.sub("", plain)


_MOBILE: Final = re.compile(r"1[3-9]\d{9}", re.ASCII)
_WHOLE_MOBILE: Final = 14
_EXTENSION: Final = re.compile(
    r"(?:转|轉|分机|分機|内线|内線|#|;?\s*ext\.?\s*=?|x)\s*[:：]?\s*(\d{1,8})\s*$", re.ASCII | re.IGNORECASE
)
# 0755-12345678-801: the third group of a Chinese landline is the extension.
_THIRD_GROUP: Final = re.compile(r"((?:\+?86[- ]?)?\(?0?\d{2,3}\)?[- ]?\d{7,8})[- ](\d{1,6})", re.ASCII)
_PHONE_LENGTH: Final = 40


def phone(text: str, region: str = "CN") -> str:
    """Return a phone number in international form: ``+8613800000000``, ``+862162123456;ext=801`` (RFC 3966).

    ``region``: the country of a number written without its code (ISO 3166).

    Raises:
        InvalidText: not one valid number.
    """
    # A mainland mobile is eleven digits; the library's table of issued prefixes lags behind and is not asked.
    if region == "CN" and _MOBILE.fullmatch(text):
        return "+86" + text
    if len(text) == _WHOLE_MOBILE and text.startswith("+86") and _MOBILE.fullmatch(text, 3):
        return text
    return _phone(text, region)


_COUNTRY: Final = {"CN": "+86"}


def domestic_phone(text: str, region: str = "CN") -> str:
    """Return a mobile of the country without its code (``13800138000``); any other number stays in international form."""
    code = _COUNTRY.get(region, "")
    bare = text.removeprefix(code) if code else text
    return bare if bare != text and _MOBILE.fullmatch(bare) else text


@functools.lru_cache(maxsize=8192)
def _phone(text: str, region: str) -> str:
    plain = plain_text(text).translate(_DASHES)
    if not plain or len(plain) > _PHONE_LENGTH:
        raise InvalidText("is not a phone number")
    extension = ""
    if found := _EXTENSION.search(plain) or (_THIRD_GROUP.fullmatch(plain) if region == "CN" else None):
        extension = found.group(found.lastindex or 1)
        plain = found.group(1) if found.lastindex == 2 else plain[: found.start()].rstrip(" ,-")
    if plain.startswith("00"):
        plain = "+" + plain[2:]
    digits = re.sub(r"[-. ()]", "", plain)
    mobile = digits.removeprefix("+86") if digits.startswith("+86") else digits
    if (region == "CN" or digits != mobile) and _MOBILE.fullmatch(mobile):
        number = "+86" + mobile
    else:
        number = _international(plain, region)
    return f"{number};ext={extension}" if extension else number


def _international(plain: str, region: str) -> str:
    try:
        number = phonenumbers.parse(plain, region)
    except phonenumbers.NumberParseException:
        raise InvalidText("is not a phone number") from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise InvalidText("is not a valid phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# The local part without quoting; one dot-separated host with at least two labels. Length limits: RFC 5321, 4.5.3.
_EMAIL: Final = re.compile(
    r"(?=.{1,64}@)[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
    r"@(?=.{1,253}$)(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])?"
)


def email(text: str) -> str:
    """Return an e-mail address in lower case.

    Raises:
        InvalidText: not one address (lists and display names are refused too).
    """
    plain = key_text(text)
    if len(plain) > 254 or not _EMAIL.fullmatch(plain):
        raise InvalidText("is not an e-mail address")
    return plain


# GB 32100-2015: 31 characters (no I, O, S, V, Z), weights 3^i mod 31.
_CREDIT_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_VALUE: Final = {letter: value for value, letter in enumerate(_CREDIT_ALPHABET)}
_CREDIT_WEIGHTS: Final = tuple(pow(3, index, 31) for index in range(17))
_CREDIT: Final = re.compile(f"[{_CREDIT_ALPHABET}]{{2}}\\d{{6}}[{_CREDIT_ALPHABET}]{{10}}", re.ASCII)


def credit_code(text: str) -> str:
    """Return a unified social credit code (统一社会信用代码): 18 characters, upper case.

    Raises:
        InvalidText: wrong form or wrong check character (GB 32100-2015).
    """
    plain = re.sub(r"[\s-]", "", plain_text(text)).upper()
    if not _CREDIT.fullmatch(plain):
        raise InvalidText("is not a credit code of 18 characters")
    total = sum(
        weight * _CREDIT_VALUE[letter] for weight, letter in zip(_CREDIT_WEIGHTS, plain[:17], strict=True)
    )
    if _CREDIT_VALUE[plain[17]] != (31 - total % 31) % 31:
        raise InvalidText("is not a credit code: its check character is wrong")
    return plain
