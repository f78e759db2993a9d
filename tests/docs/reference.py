"""The generated pages of the mapping language: every function with its example's result, and the cookbook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from hub.mapping import Context, Outcome, Schemas, compile, crm_schemas, load_value_map  # noqa: A004 - the border's name
from hub.mapping.functions import CATALOGUE, Function

__all__ = ["cookbook", "pages", "result_of"]

ROOT: Final = Path(__file__).parents[2]
SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "texts": ("文本", "Texts"),
    "amounts": ("数与金额", "Numbers and money"),
    "moments": ("日期与时间", "Days and moments"),
    "people": ("人、公司、账号", "People, companies, accounts"),
    "addresses": ("地址", "Addresses"),
    "lists": ("列表", "Lists"),
    "lookups": ("查找", "Look-ups"),
}
INTRODUCTION: Final = (
    "本页由 `make docs` 生成。空值进、空值出，缺失进、缺失出；其他不能处理的值使该记录成为死信并写明字段。方括号内的参数可省略。",
    "Made by `make docs`. Null gives null, absent gives absent; what a function cannot take parks the record. [Arguments] may be left out.",
)
HEADS: Final = (
    ("函数", "Function"),
    ("含义", "Meaning"),
    ("类型", "Types"),
    ("示例", "Example"),
    ("结果", "Result"),
)


def cookbook() -> list[dict[str, Any]]:
    """Return the cases of docs/cookbook.yaml."""
    cases: list[dict[str, Any]] = YAML(typ="safe").load((ROOT / "docs/cookbook.yaml").read_text("utf-8"))
    return cases


def result_of(expression: str, source: Mapping[str, Any]) -> Outcome:
    """Run an expression over a source of any shape."""
    crm = crm_schemas()
    table = (ROOT / "mappings/kingdee/settle_type.map.yaml").read_text("utf-8")
    schemas = Schemas(
        {**crm, "x.y": {"id": "integer", **dict.fromkeys(source, "json")}, "kingdee.customer": {}}, crm,
        {"kingdee.settle_type": load_value_map(table, file="settle_type.map.yaml")},
    )  # fmt: skip
    text = f"mapping: x/y.in\nsource: x.y\ntarget: crm.customer\nkey: [id]\nfields:\n  custom.x: {json.dumps(expression)}\n"
    context = Context(
        org="100", business_key="0f3a…", xref=lambda _target, _value: "CRM-ID", user=str.lower, user_at=str,
        legal_entity=lambda _name, _column: "100", file_link=lambda _url: "https://…",
    )  # fmt: skip
    return compile(text, schemas, file="cookbook").run({"id": 1, **source}, context)


def shown(expression: str, source: Mapping[str, Any]) -> str:
    """Return what it gives, as a page shows it."""
    fields = result_of(expression, source).fields  # type: ignore[union-attr]  # examples succeed
    return json.dumps(fields.get("custom.x"), ensure_ascii=False)


def _types(function: Function) -> str:
    takes = [" | ".join(sorted(one)) for one in function.takes]
    needed = len(takes) - function.optional
    return ", ".join([*takes[:needed], *(f"[{one}]" for one in takes[needed:])]) + f" → {function.returns}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _functions(lang: int) -> Iterator[str]:
    yield ("# 映射函数", "# Functions of mappings")[lang]
    yield ""
    other = ("[English](functions.md)", "[中文](functions.zh-CN.md)")[lang]
    yield f"{other} · " + ("[常用写法](cookbook.zh-CN.md)", "[Cookbook](cookbook.md)")[lang]
    yield ""
    yield INTRODUCTION[lang]
    for subject, functions in CATALOGUE.items():
        yield from ("", f"## {SUBJECTS[subject][lang]}", "")
        yield "| " + " | ".join(head[lang] for head in HEADS) + " |"
        yield "|" + "---|" * len(HEADS)
        for function in sorted(functions, key=lambda one: one.name):
            source = {"form": {"name": "…"}, "attachments": [{"name": "a.pdf", "url": "https://crm/a.pdf"}]}
            result = shown(function.example, source)
            cells = (f"`{function.name}`", (function.zh, function.en)[lang], f"`{_types(function)}`", f"`{function.example}`", f"`{result}`")  # fmt: skip
            yield "| " + " | ".join(map(_cell, cells)) + " |"
    yield from _value_maps(lang)


def _value_maps(lang: int) -> Iterator[str]:
    yield from ("", ("## 自带的值映射", "## Value maps that come with it")[lang], "")
    yield ("| 名称 | 含义 | 文件 | 值 |", "| Name | Meaning | File | Values |")[lang]
    yield "|---|---|---|---|"
    for file in sorted((ROOT / "mappings").rglob("*.map.yaml")):
        one = load_value_map(file.read_text("utf-8"), file=file.name)
        some = ", ".join(f"{key} → {value}" for key, value in list(one.values.items())[:3])
        more = f", … ({len(one.values)})" if len(one.values) > 3 else ""
        place = file.relative_to(ROOT)
        yield f"| `{one.name}` | {_cell(one.title)} | [{place}](../{place}) | {_cell(some + more)} |"


def _cookbook(lang: int) -> Iterator[str]:
    yield ("# 映射常用写法", "# Mapping cookbook")[lang]
    yield ""
    other = ("[English](cookbook.md)", "[中文](cookbook.zh-CN.md)")[lang]
    yield f"{other} · " + ("[全部函数](functions.zh-CN.md)", "[All functions](functions.md)")[lang]
    yield ""
    yield ("本页由 `make docs` 从 [cookbook.yaml](cookbook.yaml) 生成，每一条都由测试运行。",
           "Made by `make docs` from [cookbook.yaml](cookbook.yaml); each of them is run by a test.")[lang]  # fmt: skip
    for number, case in enumerate(cookbook(), start=1):
        yield from ("", f"## {number}. {case[('zh', 'en')[lang]]}", "", "```text")
        yield json.dumps(case["source"], ensure_ascii=False)
        yield case["expression"]
        yield f"→ {json.dumps(case['gives'], ensure_ascii=False)}"
        yield "```"


def _page(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return file -> text of every generated page."""
    return {
        "docs/functions.zh-CN.md": _page(_functions(0)),
        "docs/functions.md": _page(_functions(1)),
        "docs/cookbook.zh-CN.md": _page(_cookbook(0)),
        "docs/cookbook.md": _page(_cookbook(1)),
    }
