"""The published JSON Schemas: what the code gives, true of what ships, refusing what the hub refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from hub.errors import SettingsError
from hub.mapping import JSON_SCHEMAS, compile, load_value_map, load_yaml, run_tests, typed  # noqa: A004 - the border's name
from tests.mapping_site import SCHEMAS, inbound, outbound

ROOT = Path(__file__).resolve().parents[2]
CHECKS = {name: Draft7Validator(schema) for name, schema in JSON_SCHEMAS.items()}
SHIPPED = sorted((ROOT / "mappings").rglob("*.yaml"))
PERSON = inbound("name: name")
MAP = "value_map: acme.way\nvalues: {a: b}\n"


def kind(file: Path) -> str:
    return {".map.yaml": "map", ".tests.yaml": "tests"}.get(
        "." + ".".join(file.name.split(".")[-2:]), "mapping"
    )


def refused(name: str, text: str) -> list[str]:
    """Return what the schema says of a text, read as an editor reads it."""
    return [error.message for error in CHECKS[name].iter_errors(typed(load_yaml(text, file="x"), ()))]


@pytest.mark.parametrize("name", JSON_SCHEMAS)
def test_a_published_schema_is_what_the_code_gives(name):
    Draft7Validator.check_schema(JSON_SCHEMAS[name])
    published = (ROOT / f"docs/schema/{name}.schema.json").read_text("utf-8")
    assert published == json.dumps(JSON_SCHEMAS[name], ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_shipped_file_is_valid(file):
    assert refused(kind(file), file.read_text("utf-8")) == []


def test_files_of_every_kind_ship():
    assert {kind(file) for file in SHIPPED} == set(JSON_SCHEMAS)


@pytest.mark.parametrize(
    "text",
    [
        PERSON.replace("key: [id]\n", ""),
        PERSON.replace("key: [id]", "key: []"),
        PERSON.replace("key: [id]", "key: id"),
        PERSON.replace("fields:", "feilds:"),
        PERSON.replace("crm.customer", "acme.paper"),
        PERSON.replace("acme/person.in", "acme.person"),
        PERSON.replace("acme/person.in", "acme/person"),
        PERSON.replace("source: acme.person\n", ""),
        PERSON + "when:\n",
        PERSON + "let: {Upper: id}\n",
        PERSON + "regions: {cn: {field: {name: name}}}\n",
        PERSON + "regions: {cn: 1}\n",
        inbound("name: {valeu: name}"),
        inbound("name: {value: name, with: [phone]}"),
        inbound("name: []"),
        inbound("name: [phone]"),
        outbound("Name: name", more="key: [id]\n"),
        outbound("Name: name").replace("crm.customer", "acme.person"),
        "[]",
    ],
)
def test_a_mapping_that_the_hub_refuses_for_its_form_the_schema_refuses_too(text):
    with pytest.raises(SettingsError):
        compile(text, SCHEMAS, file="x")
    assert refused("mapping", text)


@pytest.mark.parametrize(
    "text",
    [
        "value_map: acme\nvalues: {a: b}\n",
        "value_map: acme.way\n",
        "value_map: acme.way\nvalues: {a: [b]}\n",
        "value_map: acme.way\nvalues: [a]\n",
        MAP + "valeus: {}\n",
        "[]",
    ],
)
def test_a_value_map_that_the_hub_refuses_the_schema_refuses_too(text):
    with pytest.raises(SettingsError):
        load_value_map(text, file="x")
    assert refused("map", text)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "name: x",
        "- {name: a, source: {}}",
        "- {source: {}, left: true}",
        "- {name: a, left: true}",
        "- {name: a, source: {}, left: true, waits: x}",
        "- {name: a, source: {}, left: true, contxet: {}}",
        "- {name: a, source: {}, left: true, context: {regoin: cn}}",
        "- {name: a, source: {}, left: true, context: cn}",
        "- x",
    ],
)
def test_cases_that_the_hub_refuses_the_schema_refuses_too(text, tmp_path):
    file = tmp_path / "person.in.yaml"
    file.write_text(PERSON, "utf-8")
    file.with_name("person.in.tests.yaml").write_text(text, "utf-8")
    with pytest.raises(SettingsError):
        run_tests(file, SCHEMAS)
    assert refused("tests", text)


def test_what_an_editor_takes_for_a_number_or_a_flag_is_a_text_to_the_hub_and_goes():
    assert refused("map", 'value_map: acme.way\ntitle: 5\nvalues: {1: 2, yes: true, n: null, e: ""}\n') == []
    assert refused("mapping", outbound("Count: 5\nActive: True")) == []


def test_the_widest_form_of_each_part_is_valid():
    text = PERSON.replace("fields:", "title: x\nwhen: active\nlet: {a: name}\nfields:") + (
        "  remark: {value: a, with: name}\nregions:\n  cn/southwest/: {let: {a: phone}, fields: {remark: a}}\n"
    )
    compile(text, SCHEMAS, file="x")
    assert refused("mapping", text) == []
    rows = outbound("Rows:\n  - {Item.Number: name}\n  - {Amount: decimal(credit_limit)}")
    compile(rows, SCHEMAS, file="x")
    assert refused("mapping", rows) == []
