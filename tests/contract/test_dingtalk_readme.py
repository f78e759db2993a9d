"""The connector's pages list every setting, every event, every permission and every component as the code declares them."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.events import EVENTS
from connectors.dingtalk.sandbox.gate import SCOPES

HERE = Path(__file__).parents[2] / "connectors" / "dingtalk"
PAGES = [("README.md", "en"), ("README.zh-CN.md", "zh")]


def lines(page: str) -> list[str]:
    return (HERE / page).read_text("utf-8").splitlines()


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_settings_table_is_the_spec(page: str, language: str) -> None:
    types = ("url", "text", "secret", "integer", "number", "flag")
    table = [line for line in lines(page) if line.startswith("| `") and line.split("|")[2].strip() in types]
    assert table == [
        f"| `{one.name}` | {one.type} | {'–' if one.default in (None, '') else one.default} | {getattr(one, language)} |"
        for one in DingTalkConnector.spec.settings
    ]


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_table_of_events_is_the_one_that_runs(page: str, language: str) -> None:
    shown = [
        line
        for line in lines(page)
        if line.startswith("| `") and line.count("|") == 3 and line.split("|")[2].strip()[:1] in ("→", "–")
    ]
    assert shown == [
        f"| `{word}` | {'→' if row.make else '–'} {getattr(row, language)} |" for word, row in EVENTS.items()
    ]


@pytest.mark.parametrize("page", [page for page, _ in PAGES])
def test_the_setup_names_every_permission_the_calls_want(page: str) -> None:
    text = "\n".join(lines(page))
    assert not [scope for scope in SCOPES if f"`{scope}`" not in text]
