"""The shipped DingTalk mappings against the connector's own spec: cases as data, and the way out and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.dingtalk.declared import SPEC
from hub.mapping import (
    Schemas,
    crm_schemas,
    load_value_maps,
    run_tests,
)

FOLDER = Path(__file__).parents[2] / "mappings" / "dingtalk"
MAPPINGS = sorted(path for path in FOLDER.glob("*.yaml") if path.name.endswith((".in.yaml", ".out.yaml")))


def named(specs: dict) -> dict:
    return {f"dingtalk.{name}": spec.fields for name, spec in specs.items()}


SCHEMAS = Schemas(
    {**crm_schemas(), **named(SPEC.streams)},
    {**crm_schemas(), **named(SPEC.objects)},
    load_value_maps(FOLDER),
)


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: path.name)
def test_every_shipped_mapping_compiles_and_passes_its_cases(path):
    outcomes = run_tests(path, SCHEMAS)
    assert len(outcomes) >= 3
    assert [outcome for outcome in outcomes if not outcome.passed] == []
