"""The connector's pages list every setting and every event as the code declares them."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.events import EVENTS

HERE = Path(__file__).parents[2] / "connectors" / "wecom"
PAGES = [("README.md", "en"), ("README.zh-CN.md", "zh")]


def lines(page: str) -> list[str]:
    return (HERE / page).read_text("utf-8").splitlines()


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_settings_table_is_the_spec(page: str, language: str):
    types = ("url", "text", "secret", "integer", "number", "flag")
    table = [line for line in lines(page) if line.startswith("| `") and line.split("|")[2].strip() in types]
    assert table == [
        f"| `{one.name}` | {one.type} | {'–' if one.default in (None, '') else one.default} | {getattr(one, language)} |"
        for one in WeComConnector.spec.settings
    ]


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_table_of_events_is_the_one_that_runs(page: str, language: str):
    shown = [
        line
        for line in lines(page)
        if line.startswith("| `") and line.split("|")[2].strip()[:1] in ("→", "–")
    ]
    shown = [line for line in shown if line.count("|") == 3]
    assert shown == [
        f"| `{word}` | {'→' if row.make else '–'} {getattr(row, language)} |" for word, row in EVENTS.items()
    ]
