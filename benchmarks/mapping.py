"""A compiled mapping of ten fields, JSON in and JSON out, beside the same rules written by hand in Python."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping

import orjson

from hub.mapping import Context, Mapped, Schemas, compile, crm_schemas, load_value_map  # noqa: A004 - the border's name

BUDGET = 0.6
RECORDS = 2_000
ROUNDS = 15
PEOPLE: Mapping[str, str] = {f"wm{index:04}": f"{index:032x}" for index in range(RECORDS)}
WAYS = {str(code): name for code, name in enumerate(("unknown", "scan", "mobile", "card", "chat", "invite"))}
TEXT = """
mapping: wecom/follow.in
source: wecom.follow
target: crm.follow
key: [userid, external_userid]
when: contact.type in (1, 2)
let:
  company: remark_corp_name or contact.corp_full_name or contact.corp_name
fields:
  contact: xref("wecom.contact", external_userid)
  employee: userid
  remark: trim(remark)
  mobiles: '[phone(m, "CN") for m in remark_mobiles]'
  company_name: company
  since: instant(createtime)
  way: value_map("wecom.add_way", add_way, "unknown")
  tags: '[t.tag_name for t in tags]'
  state: '"active"'
  custom.channel: state
"""
FIELDS = {
    "userid": "text",
    "external_userid": "text",
    "remark": "text",
    "remark_mobiles": "json",
    "remark_corp_name": "text",
    "contact": "json",
    "createtime": "integer",
    "add_way": "integer",
    "tags": "json",
    "state": "text",
}


def records() -> list[bytes]:
    """Return source records as they come off the wire."""
    return [
        orjson.dumps(
            {
                "userid": f"zhang{index % 7}",
                "external_userid": f"wm{index:04}",
                "remark": f" 张三 {index} ",
                "remark_mobiles": ["13800138000", "13900139000"][: index % 3],
                "remark_corp_name": "" if index % 2 else f"示例科技{index}有限公司",
                "createtime": 1_768_000_000 + index,
                "add_way": index % 6,
                "state": f"channel-{index % 5}",
                "tags": [
                    {"group_name": "级别", "tag_name": "重要", "type": 1},
                    {"tag_name": f"t{index % 9}"},
                ],
                "contact": {
                    "type": 1 + index % 2,
                    "name": "张三",
                    "corp_name": "示例",
                    "corp_full_name": "示例有限公司",
                },
            }
        )
        for index in range(RECORDS)
    ]


_MOBILE = re.compile(r"1[3-9]\d{9}", re.ASCII)


def _phone(text: str) -> str:
    if not _MOBILE.fullmatch(text):
        raise ValueError(text)
    return "+86" + text


def by_hand(raw: bytes) -> bytes:
    """Map one record as a programmer writes it for this one case: the limit."""
    source = orjson.loads(raw)
    contact = source.get("contact") or {}
    if contact.get("type") not in (1, 2):
        return b""
    key = f"{source['userid']}/{source['external_userid']}"
    company = source.get("remark_corp_name") or contact.get("corp_full_name") or contact.get("corp_name")
    fields = {
        "contact": PEOPLE[source["external_userid"]],
        "employee": source["userid"],
        "remark": source["remark"].strip(),
        "mobiles": [_phone(mobile) for mobile in source["remark_mobiles"]],
        "company_name": company,
        "since": dt.datetime.fromtimestamp(source["createtime"], dt.UTC).isoformat()[:19] + "Z",
        "way": WAYS.get(str(source["add_way"]), "unknown"),
        "tags": [tag["tag_name"] for tag in source["tags"] if "tag_name" in tag],
        "state": "active",
        "custom.channel": source.get("state"),
    }
    return orjson.dumps([key, fields])


def _compiled() -> Callable[[bytes], bytes]:
    table = load_value_map(
        "value_map: wecom.add_way\nvalues: " + str(WAYS).replace("'", '"'), file="add_way.map.yaml"
    )
    crm = crm_schemas()
    schemas = Schemas({**crm, "wecom.follow": FIELDS, "wecom.contact": {}}, crm, {table.name: table})
    mapping = compile(TEXT, schemas, file="follow.in.yaml")
    context = Context(xref=lambda _target, value: PEOPLE[value])

    def ours(raw: bytes) -> bytes:
        outcome = mapping.run(orjson.loads(raw), context)
        if not isinstance(outcome, Mapped):
            raise TypeError(outcome)
        return orjson.dumps([outcome.key, outcome.fields])

    return ours


def _rate(map_one: Callable[[bytes], bytes], work: list[bytes]) -> float:
    started = time.perf_counter()
    for raw in work:
        map_one(raw)
    return len(work) / (time.perf_counter() - started)


def run() -> list[dict[str, object]]:
    """Measure both in turns, best of each; their output is compared first."""
    work, ours = records(), _compiled()
    for raw in work:
        if orjson.loads(ours(raw)) != orjson.loads(by_hand(raw)):
            raise ValueError(f"the two differ: {ours(raw)!r} and {by_hand(raw)!r}")
    pairs = [(_rate(ours, work), _rate(by_hand, work)) for _ in range(ROUNDS)]
    rate, limit = max(found for found, _ in pairs), max(found for _, found in pairs)
    row = {
        "path": "mapping, JSON in, JSON out",
        "rate": round(rate),
        "limit": round(limit),
        "ratio": round(rate / limit, 3),
    }
    return [{**row, "budget": BUDGET, "unit": "records/s"}]


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
