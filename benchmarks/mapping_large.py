"""Mappings of another size: sixty fields, lists of a thousand rows, and how long a shipped one takes to compile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from benchmarks.measure import Row, in_turns, row
from hub import registry
from hub.mapping import Context, Mapped, Schemas, ValueMap, crm_schemas, load_value_maps
from hub.mapping import compile as compile_mapping
from hub.project import schemas_of

FIELDS, ROWS, ROUNDS = 60, 1_000, 7
BUDGET, COMPILE_MS = 0.6, 5.0
ROOT = Path(__file__).parents[1]


def _wide() -> tuple[str, dict[str, str], bytes, Callable[[bytes], bytes]]:
    names = [f"f{number}" for number in range(FIELDS)]
    text = "mapping: x/wide.in\nsource: x.wide\ntarget: crm.customer\nkey: [id]\nfields:\n"
    text += "".join(f"  custom.{name}: trim({name}) or 'none'\n" for name in names)
    raw = orjson.dumps({"id": "1", **{name: f" value of {name} " if name != "f7" else "" for name in names}})
    rules = ", ".join(f"'custom.{name}': s.get('{name}', '').strip() or 'none'" for name in names)
    made: dict[str, Any] = {"loads": orjson.loads, "dumps": orjson.dumps}
    exec(f"def by_hand(raw):\n    s = loads(raw)\n    return dumps([s['id'], {{{rules}}}])\n", made)
    return text, {"id": "text", **dict.fromkeys(names, "text")}, raw, made["by_hand"]


def _long() -> tuple[str, dict[str, str], bytes, Callable[[bytes], bytes]]:
    text = (
        "mapping: x/long.in\nsource: x.long\ntarget: crm.customer\nkey: [id]\nfields:\n"
        "  custom.names: '[trim(line.name) for line in lines]'\n  custom.count: '[line.count + 1 for line in lines]'\n"
    )
    lines = [{"name": f" row {number} ", "count": number} for number in range(ROWS)]

    def by_hand(raw: bytes) -> bytes:
        source = orjson.loads(raw)
        rows = source["lines"]
        return orjson.dumps([source["id"], {"custom.names": [one["name"].strip() for one in rows],
                                            "custom.count": [one["count"] + 1 for one in rows]}])  # fmt: skip

    return text, {"id": "text", "lines": "json"}, orjson.dumps({"id": "1", "lines": lines}), by_hand


def _compared(
    name: str,
    made: tuple[str, dict[str, str], bytes, Callable[[bytes], bytes]],
    times: int,
    budget: float | None,
) -> Row:
    text, fields, raw, by_hand = made
    crm = crm_schemas()
    target = text.split("source: ")[1].split("\n")[0]
    compiled = compile_mapping(text, Schemas({**crm, target: fields}, crm), file=name)
    context = Context()

    def ours(given: bytes) -> bytes:
        outcome = compiled.run(orjson.loads(given), context)
        if not isinstance(outcome, Mapped):
            raise TypeError(outcome)
        return orjson.dumps([outcome.key, outcome.fields])

    if orjson.loads(ours(raw)) != orjson.loads(by_hand(raw)):
        raise ValueError(f"{name}: the two differ")
    rate, limit = in_turns(ROUNDS, lambda: _rate(ours, raw, times), lambda: _rate(by_hand, raw, times))
    return row(name, rate, limit, budget, "records/s")


def _rate(one: Callable[[bytes], bytes], raw: bytes, times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        one(raw)
    return times / (time.perf_counter() - began)


def _compiling() -> Row:
    maps: dict[str, ValueMap] = {}
    for folder in sorted((ROOT / "mappings").iterdir()):
        maps |= load_value_maps(folder)
    schemas = schemas_of(registry.specs(), maps)
    files = [
        file
        for file in sorted((ROOT / "mappings").rglob("*.yaml"))
        if not file.name.endswith((".tests.yaml", ".map.yaml"))
    ]
    best: Mapping[str, float] = {
        str(file.relative_to(ROOT)): min(_once(file, schemas) for _ in range(30)) for file in files
    }
    slowest = max(best, key=lambda name: best[name])
    return row(f"mapping, compile the slowest shipped one ({slowest})", best[slowest], None, COMPILE_MS, "ms")


def _once(file: Path, schemas: Schemas) -> float:
    text = file.read_text("utf-8")
    began = time.perf_counter()
    compile_mapping(text, schemas, file=file.name)
    return (time.perf_counter() - began) * 1000


def run() -> list[Row]:
    """Measure the three."""
    return [
        _compared(f"mapping, {FIELDS} fields", _wide(), 2_000, BUDGET),
        _compared(f"mapping, a list of {ROWS} rows", _long(), 60, None),
        _compiling(),
    ]


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
