"""The ten-field WeCom mapping in other mapping languages, JSON in and JSON out, measured in turns with ours.

They are no dependency: ``pip install jmespath common-expression-language jsonata-python singer-sdk`` beside the hub; one that
is not installed is left out and said. Each gets our own functions for phones, moments and look-ups, as its users would
write them, so that what is measured is the language. Each one's output is compared with the hand-written one's first.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from benchmarks import mapping
from benchmarks.measure import Row, row

ROUNDS = 5
Make = Callable[[], Callable[[dict[str, Any]], Any]]


def _instant(seconds: int) -> str:
    return mapping.dt.datetime.fromtimestamp(seconds, mapping.dt.UTC).isoformat()[:19] + "Z"


def _person(id_: str) -> str:
    return mapping.PEOPLE[id_]


def _way(code: float | str) -> str:
    return mapping.WAYS.get(str(int(code)), "unknown")


def _jmespath() -> Callable[[dict[str, Any]], Any]:
    jmespath = importlib.import_module("jmespath")
    functions = importlib.import_module("jmespath.functions")

    class Ours(functions.Functions):  # type: ignore[misc, name-defined]  # of a module that may be absent
        @functions.signature({"types": ["string"]})  # type: ignore[untyped-decorator]
        def _func_phone(self, text: str) -> str:
            return mapping._phone(text)

        @functions.signature({"types": ["string"]})  # type: ignore[untyped-decorator]
        def _func_person(self, id_: str) -> str:
            return _person(id_)

        @functions.signature({"types": ["string"]})  # type: ignore[untyped-decorator]
        def _func_trim(self, text: str) -> str:
            return text.strip()

        @functions.signature({"types": ["number"]})  # type: ignore[untyped-decorator]
        def _func_instant(self, seconds: int) -> str:
            return _instant(seconds)

        @functions.signature({"types": ["number"]})  # type: ignore[untyped-decorator]
        def _func_way(self, code: int) -> str:
            return _way(code)

    found = jmespath.compile(
        "{contact: person(external_userid), employee: userid, remark: trim(remark), mobiles: remark_mobiles[].phone(@), "
        "company_name: remark_corp_name || contact.corp_full_name || contact.corp_name, since: instant(createtime), "
        "way: way(add_way), tags: tags[].tag_name, state: 'active', \"custom.channel\": state}"
    )
    options = jmespath.Options(custom_functions=Ours())
    return lambda source: found.search(source, options=options)


def _cel() -> Callable[[dict[str, Any]], Any]:
    cel = importlib.import_module("cel")
    context = cel.Context()
    for name, function in (("phone", mapping._phone), ("person", _person), ("trimmed", str.strip), ("instant", _instant), ("way", _way)):  # fmt: skip
        context.add_function(name, function)
    found = cel.compile(
        "{'contact': person(r.external_userid), 'employee': r.userid, 'remark': trimmed(r.remark), "
        "'mobiles': r.remark_mobiles.map(m, phone(m)), 'company_name': r.remark_corp_name != '' ? r.remark_corp_name : "
        "(r.contact.corp_full_name != '' ? r.contact.corp_full_name : r.contact.corp_name), 'since': instant(r.createtime), "
        "'way': way(r.add_way), 'tags': r.tags.map(t, t.tag_name), 'state': 'active', 'custom.channel': r.state}"
    )

    def run(source: dict[str, Any]) -> Any:
        context.add_variable("r", source)
        return found.execute(context)

    return run


def _jsonata() -> Callable[[dict[str, Any]], Any]:
    jsonata = importlib.import_module("jsonata").Jsonata
    found = jsonata(
        '{"contact": $person(external_userid), "employee": userid, "remark": $trimmed(remark), '
        '"mobiles": [remark_mobiles.$phone($)], "company_name": remark_corp_name != "" ? remark_corp_name : '
        '(contact.corp_full_name != "" ? contact.corp_full_name : contact.corp_name), "since": $instant(createtime), '
        '"way": $way(add_way), "tags": [tags.tag_name], "state": "active", "custom.channel": state}'
    )
    for name, function in (("phone", mapping._phone), ("person", _person), ("trimmed", lambda text: text.strip()), ("instant", lambda seconds: _instant(int(seconds))), ("way", _way)):  # fmt: skip
        found.register_lambda(name, function)
    run: Callable[[dict[str, Any]], Any] = found.evaluate
    return run


def _singer() -> Callable[[dict[str, Any]], Any]:
    mapper = importlib.import_module("singer_sdk.mapper")
    rules = {
        "contact": "config['people'][external_userid]",
        "employee": "userid",
        "remark": "remark.strip()",
        "mobiles": "['+86' + m for m in remark_mobiles]",
        "company_name": "remark_corp_name or record['contact']['corp_full_name'] or record['contact']['corp_name']",
        "since": "datetime.datetime.fromtimestamp(createtime, datetime.timezone.utc).isoformat()[:19] + 'Z'",
        "way": "config['ways'].get(str(add_way), 'unknown')",
        "tags": "[t['tag_name'] for t in record['tags']]",
        "state": "'active'",
        "custom_channel": "record['state']",
        "__key_properties__": ["employee"],
        "__else__": None,
    }
    logging.getLogger("singer_sdk").setLevel(logging.ERROR)
    plugin = mapper.PluginMapper(
        {
            "stream_maps": {"follow": rules},
            "stream_map_config": {"people": dict(mapping.PEOPLE), "ways": mapping.WAYS},
        },
        logging.getLogger("singer_sdk"),
    )
    kinds = {"text": "string", "integer": "integer", "json": "object"}
    properties: dict[str, Any] = {name: {"type": kinds[one]} for name, one in mapping.FIELDS.items()}
    properties["remark_mobiles"] = properties["tags"] = {"type": "array", "items": {}}
    plugin.register_raw_stream_schema(
        "follow", {"type": "object", "properties": properties}, ["userid", "external_userid"]
    )
    found = plugin.stream_maps["follow"][-1]

    def run(source: dict[str, Any]) -> Any:
        made = found.transform(source)
        made["custom.channel"] = made.pop("custom_channel")
        return made

    return run


PEERS: Mapping[str, Make] = {
    "jmespath": _jmespath, "CEL (common-expression-language)": _cel, "jsonata-python": _jsonata, "singer-sdk stream maps": _singer,
}  # fmt: skip


def run() -> list[Row]:
    """Measure each that is installed beside ours; the ratio is to the hand-written rules, as ours is."""
    work = mapping.records()
    rows = []
    for name, make in PEERS.items():
        try:
            found = make()
        except ImportError:
            print(f"{name} is left out: it is not installed", flush=True)
            continue

        def one(raw: bytes, found: Callable[[dict[str, Any]], Any] = found) -> bytes:
            source = orjson.loads(raw)
            key = f"{source['userid']}/{source['external_userid']}"
            return orjson.dumps([key, found(source)])

        for raw in work[:50]:
            if orjson.loads(one(raw)) != orjson.loads(mapping.by_hand(raw)):
                raise ValueError(f"{name} gives {one(raw)!r}, not {mapping.by_hand(raw)!r}")
        pairs = [(mapping._rate(one, work), mapping._rate(mapping.by_hand, work)) for _ in range(ROUNDS)]
        rows.append(
            row(f"mapping by {name}", max(a for a, _ in pairs), max(b for _, b in pairs), None, "records/s")
        )
    return rows


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
