"""What `hub mapping check`, `test` and `schema` say beyond the first words of :mod:`hub.cli.texts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["CHECKS"]

CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "help.mapping.schema": ("映射、值映射表、用例文件的 JSON Schema，供编辑器使用。", "JSON Schema of a mapping, a value map or a file of cases, for editors."),
    "mapping_doubt": ("提醒：{said}", "warning: {said}"),
    "opt.schema": ("mapping（字段映射）、map（值映射表）或 tests（用例）", "mapping, map (a value map) or tests (cases)"),
    "output_not_here": ("此命令没有 --output {given}，可用：{known}", "this command has no --output {given}, only {known}"),
    "opt.require_coverage": (
        "每个映射至少有百分之几的字段被用例填写，否则失败（没有用例的映射算 0）",
        "fail unless cases fill at least this many percent of each mapping's fields (a mapping without cases: 0)",
    ),
    "coverage": ("{name}：字段 {filled}/{fields}", "{name}: fields {filled} of {fields}"),
    "coverage_never": ("；从未填写：{names}", "; never filled: {names}"),
    "coverage_regions": ("；没有用例的地区：{names}", "; regions no case uses: {names}"),
    "coverage_when": ("；when 没有用例触及：{names}", "; outcomes of when no case touches: {names}"),
    "coverage_when.inside": ("满足", "inside"),
    "coverage_when.outside": ("不满足", "outside"),
    "coverage_low": ("{name}：覆盖不足 {percent}%（{filled}/{fields}）", "{name}: below {percent} percent ({filled} of {fields})"),
}  # fmt: skip
"""Merged into :data:`hub.cli.texts.TEXTS`."""
