"""Chinese addresses: province, city, district and the rest, by the names of provinces and the suffixes of what lies below.

What the text does not say is null: no gazetteer stands behind it, so a city without its province stays without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hub.mapping.functions.entry import TEXT, Function, other
from hub.model.text import plain_text

__all__ = ["ADDRESSES"]

# GB/T 2260: the 34 of the first level, by the name that people write, with the suffix of the full one.
_SUFFIXES: Final = {
    "市": "北京 天津 上海 重庆",
    "省": "河北 山西 辽宁 吉林 黑龙江 江苏 浙江 安徽 福建 江西 山东 河南 湖北 湖南 广东 海南 四川 贵州 云南 陕西 甘肃 青海 台湾",
    "自治区": "内蒙古 西藏",
    "壮族自治区": "广西",
    "回族自治区": "宁夏",
    "维吾尔自治区": "新疆",
    "特别行政区": "香港 澳门",
}
_PROVINCES: Final[Mapping[str, str]] = {
    name: name + suffix for suffix, names in _SUFFIXES.items() for name in names.split()
}
_ITSELF: Final = frozenset(name + "市" for name in _SUFFIXES["市"].split())
"""Municipalities: province and city are one."""
_PROVINCE: Final = re.compile(
    rf"(?:中国|中华人民共和国)?\s*({'|'.join(sorted(_PROVINCES, key=len, reverse=True))})(?:省|市|特别行政区|(?:壮族|回族|维吾尔)?自治区)?\s*"
)
_CITY: Final = re.compile(r"([^\s\d路街号巷弄]{2,10}?(?:自治州|地区|市|盟))\s*")
_DISTRICT: Final = re.compile(r"([^\s\d路街号巷弄]{1,12}?(?:自治县|自治旗|新区|区|县|旗|市))\s*")


def _address(value: Any) -> Any:
    if value.__class__ is not str:
        return other(value, "an address")
    rest = plain_text(value)
    found: dict[str, str | None] = {"province": None, "city": None, "district": None}
    if known := _PROVINCE.match(rest):
        found["province"], rest = _PROVINCES[known.group(1)], rest[known.end() :]
    if found["province"] in _ITSELF:
        found["city"] = found["province"]
        rest = rest.removeprefix(f"{found['city']}")  # 北京市北京市朝阳区
    elif city := _CITY.match(rest):
        found["city"], rest = city.group(1), rest[city.end() :]
    if (found["province"] or found["city"]) and (district := _DISTRICT.match(rest)):
        found["district"], rest = district.group(1), rest[district.end() :]
    return {**found, "rest": rest}


ADDRESSES: Final = (
    Function(
        "address", _address, (TEXT,), "json", "拆分地址", "An address as province, city, district and rest",
        'address("广东省深圳市南山区科技路12号").city', because="kingdee.md, yonyou.md: 省 市 区 are fields of their own",
    ),
)  # fmt: skip
"""Addresses."""
