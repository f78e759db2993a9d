"""The connector's pages list every setting as the spec declares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kingdee import KingdeeConnector

HERE = Path(__file__).parents[2] / "connectors" / "kingdee"


@pytest.mark.parametrize(("page", "language"), [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_the_settings_table_is_the_spec(page: str, language: str):
    rows = [
        line
        for line in (HERE / page).read_text("utf-8").splitlines()
        if line.startswith("| `") and line.count("|") == 5
    ]
    table = [
        row for row in rows if row.split("|")[2].strip() in ("url", "text", "secret", "integer", "number")
    ]
    assert table == [
        f"| `{one.name}` | {one.type} | {'–' if one.default is None else one.default} | {getattr(one, language)} |"
        for one in KingdeeConnector.spec.settings
    ]
