"""Mappings: field rules in YAML, checked and compiled to Python functions. Pure but for reading test files."""

from __future__ import annotations

from hub.mapping.cases import TestOutcome, case_of, load_value_maps, run_cases, run_tests
from hub.mapping.compiler import Compiled, CompiledField, compile  # noqa: A004 - the name of the border
from hub.mapping.coverage import Coverage, coverage_of
from hub.mapping.functions import FUNCTIONS, Function
from hub.mapping.json_schema import JSON_SCHEMAS
from hub.mapping.lint import lint
from hub.mapping.outcome import Context, Failed, Left, Mapped, Outcome, Wait
from hub.mapping.problems import MappingInvalid, Mark, Problem, YamlInvalid, nearest
from hub.mapping.sarif import sarif_log
from hub.mapping.schema import Schemas, crm_schemas
from hub.mapping.strict_yaml import Document, Yaml, load_yaml, typed
from hub.mapping.value_map import ValueMap, load_value_map

__all__ = [
    "FUNCTIONS",
    "JSON_SCHEMAS",
    "Compiled",
    "CompiledField",
    "Context",
    "Coverage",
    "Document",
    "Failed",
    "Function",
    "Left",
    "Mapped",
    "MappingInvalid",
    "Mark",
    "Outcome",
    "Problem",
    "Schemas",
    "TestOutcome",
    "ValueMap",
    "Wait",
    "Yaml",
    "YamlInvalid",
    "case_of",
    "compile",
    "coverage_of",
    "crm_schemas",
    "lint",
    "load_value_map",
    "load_value_maps",
    "load_yaml",
    "nearest",
    "run_cases",
    "run_tests",
    "sarif_log",
    "typed",
]
